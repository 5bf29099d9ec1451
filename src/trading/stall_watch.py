"""Who wants to trade and cannot: since when, why, and when that is an alert.

The one rule: an asset whose trigger is crossed and that could not trade for STALLED_ALERT_SECONDS,
or a daemon that could not compare with the exchange for as long, has stalled: one ERROR when that
begins, one line when it ends. Pure but for `log_edges`: times are arguments (monotonic seconds).
Never decides an order.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace

from runtime.heartbeat import HeldBack
from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)

THE_DAEMON = None  # in the place of a symbol: what holds back everything
SECOND_TRY_SECONDS = 60.0  # for each asset to try again after an outage


@dataclass(frozen=True, slots=True, kw_only=True)
class StallEdge:
    """A stall begins (`reason` says why it cannot trade) or ends (`reason` says why it is over)."""

    symbol: str | None
    has_begun: bool
    seconds: float
    reason: str
    cure: str | None = None


class StallWatch:
    """What holds back each symbol, and the daemon as a whole. Not thread-safe."""

    def __init__(self, alert_seconds: float) -> None:
        self._alert_seconds = alert_seconds
        self._holds: dict[str | None, HeldBack] = {}
        self._trying: set[str | None] = set()  # an order is under way: what comes of it decides
        self._ended: list[tuple[HeldBack, str]] = []
        self._outage_at = float("-inf")  # when the daemon as a whole was last seen held back

    def hold(
        self,
        symbol: str | None,
        reason: str,
        now: float,
        *,
        cure: str | None = None,
        since: float | None = None,
        is_requested: bool = False,
        has_foreign_coins: bool = False,
    ) -> None:
        """`symbol` wants to trade and cannot. What held it before goes on, under the new reason.

        Args:
            since: when that began, where it was noticed later.
            is_requested: the user wants it so (a pause, a buy limit): shown, and no stall.
            has_foreign_coins: see Placement.
        """
        before = self._holds.get(symbol)
        if before is not None and before.is_requested is not is_requested:
            self.release(symbol, reason)
            before = None
        began = now if since is None else since
        self._trying.discard(symbol)
        self._holds[symbol] = HeldBack(
            symbol=symbol,
            since=began if before is None else min(before.since, began),
            reason=reason,
            cure=cure,
            is_stalled=before is not None and before.is_stalled,
            is_requested=is_requested,
            has_foreign_coins=has_foreign_coins,
        )

    def trying(self, symbol: str) -> None:
        """An order is under way. A refusal goes on with what was; a fill or the price ends it."""
        self._trying |= self._holds.keys() & {symbol}

    def release(self, symbol: str | None, because: str) -> None:
        """Nothing holds it back any more, or it wants nothing any more."""
        self._trying.discard(symbol)
        hold = self._holds.pop(symbol, None)
        if hold is not None and hold.is_stalled:
            self._ended.append((hold, because))

    def edges(self, now: float) -> list[StallEdge]:
        """The stalls that ended or began since the last call.

        While the daemon as a whole is held back, only that is an alert; each asset has some time
        to try again after it.
        """
        found = [
            StallEdge(symbol=hold.symbol, has_begun=False, seconds=now - hold.since, reason=because)
            for hold, because in self._ended
        ]
        self._ended = []
        if THE_DAEMON in self._holds:
            self._outage_at = now
        is_outage = now - self._outage_at < SECOND_TRY_SECONDS
        for symbol, hold in self._holds.items():
            seconds, is_covered = now - hold.since, is_outage and symbol is not THE_DAEMON
            is_no_news = hold.is_stalled or hold.is_requested or symbol in self._trying
            if is_no_news or is_covered or seconds < self._alert_seconds:
                continue
            self._holds[symbol] = replace(hold, is_stalled=True)
            found.append(
                StallEdge(
                    symbol=symbol,
                    has_begun=True,
                    seconds=seconds,
                    reason=hold.reason,
                    cure=hold.cure,
                )
            )
        return found

    def held_back(self) -> tuple[HeldBack, ...]:
        """Everything that is held back now, for the heartbeat; the longest first."""
        found = [
            hold
            for symbol, hold in self._holds.items()
            if hold.is_stalled or symbol not in self._trying
        ]
        return tuple(sorted(found, key=lambda hold: hold.since))


def log_edges(edges: Iterable[StallEdge]) -> None:
    """The lines that a person is mailed."""
    for edge in edges:
        log_event(
            log,
            LogEvent.TRADING_STALLED if edge.has_begun else LogEvent.STALL_ENDED,
            mail=True,
            about=f"stall of {edge.symbol}",
            case=edge.reason,  # each is logged once: also one that begins after a restart
            symbol=edge.symbol,
            seconds=round(edge.seconds),
            reason=edge.reason,
            cure=edge.cure,
        )
