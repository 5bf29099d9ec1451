"""What became of a crossed trigger, and for how long its symbol backs off then. A frozen record."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import Enum

from domain.orders import Side
from strategy.exits import ExitTrack

NOTHING_SECONDS = 0.25  # bounds the reads of a state that asks for nothing at this price
QUOTE_SECONDS = 1.0  # until the market may say something else
UNAVAILABLE_SECONDS = 5.0
SKIP_SECONDS = 30.0  # what passes by itself
HOPELESS_SECONDS = 600.0  # what only a person can change


class Outcome(Enum):
    NOTHING = "nothing"  # the state asks for no order at this quote
    SENT = "sent"
    SKIPPED = "skipped"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    FOLLOWED = "followed"  # the bid is a peak that a second source has confirmed
    FIRED = "fired"  # the stop loss: the cycle is to be sold from now on
    NEEDS_TURN = "needs_turn"  # a limit is set: only one buy at a time may be checked and sent
    WAITING = (
        "waiting"  # for what comes of an order that was sent for this very state, or a refusal
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """One outcome. `side`: which orders back off; None: both.

    `cure`: what a person can do about it. `is_requested`: the user wants it so, or another alert
    says it. `has_foreign_coins`: coins that no cycle bought stand where a base order would be.
    `track`: what was confirmed (FOLLOWED).
    """

    outcome: Outcome
    reason: str = ""
    backs_off_seconds: float = 0.0
    side: Side | None = None
    level: int = logging.WARNING
    cure: str | None = None
    is_requested: bool = False
    has_foreign_coins: bool = False
    track: ExitTrack | None = None


class Skip(Exception):
    """No order now; `placement` says why, and when it is tried again."""

    def __init__(
        self,
        reason: str,
        backs_off_seconds: float = SKIP_SECONDS,
        level: int = logging.WARNING,
        *,
        side: Side | None = None,
        cure: str | None = None,
        is_requested: bool = False,
        has_foreign_coins: bool = False,
    ) -> None:
        super().__init__(reason)
        self.placement = Placement(
            outcome=Outcome.SKIPPED,
            reason=reason,
            backs_off_seconds=backs_off_seconds,
            side=side,
            level=level,
            cure=cure,
            is_requested=is_requested,
            has_foreign_coins=has_foreign_coins,
        )

    @classmethod
    def of(cls, placement: Placement) -> Skip:
        """What `placement` says already."""
        skip = cls(placement.reason)
        skip.placement = placement
        return skip
