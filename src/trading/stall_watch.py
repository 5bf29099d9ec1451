"""Who wants to trade and cannot: since when, why, and when a person is told of it.

The one rule: an asset whose trigger is crossed and that could not trade for STALLED_ALERT_SECONDS,
or a daemon that could not compare with the exchange for as long, has stalled: one ERROR when that
begins, one line when it ends. Pure but for `log_edges`: times are arguments (monotonic seconds).
Never decides an order.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from runtime.heartbeat import HeldBack
from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)

THE_DAEMON = None  # in the place of a symbol: what holds back everything
SECOND_TRY_SECONDS = 60.0  # after an outage each asset has this long to try again


@dataclass(slots=True, kw_only=True)
class _Hold:
    since: float
    reason: str
    cure: str | None
    is_requested: bool
    is_trying: bool = False  # an order is under way: what comes of it decides
    is_alerted: bool = False


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
        self._holds: dict[str | None, _Hold] = {}
        self._ended: list[tuple[str | None, _Hold, str]] = []
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
    ) -> None:
        """`symbol` wants to trade and cannot. What held it before goes on, under the new reason.

        Args:
            since: when that began, where it was noticed later.
            is_requested: the user wants it so (a pause, a buy limit): shown, and no stall.
        """
        before = self._holds.get(symbol)
        if before is not None and before.is_requested is not is_requested:
            self.release(symbol, reason)
            before = None
        began = now if since is None else since
        if before is None:
            self._holds[symbol] = _Hold(
                since=began, reason=reason, cure=cure, is_requested=is_requested
            )
            return
        before.since, before.is_trying = min(before.since, began), False
        before.reason, before.cure = reason, cure

    def trying(self, symbol: str) -> None:
        """An order is under way. A refusal goes on with what was; a fill or the price ends it."""
        if hold := self._holds.get(symbol):
            hold.is_trying = True

    def release(self, symbol: str | None, because: str) -> None:
        """Nothing holds it back any more, or it wants nothing any more."""
        hold = self._holds.pop(symbol, None)
        if hold is not None and hold.is_alerted:
            self._ended.append((symbol, hold, because))

    def edges(self, now: float) -> list[StallEdge]:
        """The stalls that ended or began since the last call.

        While the daemon as a whole is held back, that is told and not each asset; what an asset
        waits for after that is its own.
        """
        found = [
            StallEdge(symbol=symbol, has_begun=False, seconds=now - hold.since, reason=because)
            for symbol, hold, because in self._ended
        ]
        self._ended = []
        if THE_DAEMON in self._holds:
            self._outage_at = now
        is_outage = now - self._outage_at < SECOND_TRY_SECONDS
        for symbol, hold in self._holds.items():
            rests = hold.is_alerted or hold.is_requested or hold.is_trying
            is_covered = is_outage and symbol is not THE_DAEMON
            if rests or is_covered or now - hold.since < self._alert_seconds:
                continue
            hold.is_alerted = True
            found.append(
                StallEdge(
                    symbol=symbol,
                    has_begun=True,
                    seconds=now - hold.since,
                    reason=hold.reason,
                    cure=hold.cure,
                )
            )
        return found

    def held_back(self) -> tuple[HeldBack, ...]:
        """Everything that is held back now, for the heartbeat; the longest first."""
        found = [
            HeldBack(
                symbol=symbol,
                since=hold.since,
                reason=hold.reason,
                cure=hold.cure,
                is_stalled=hold.is_alerted,
                is_requested=hold.is_requested,
            )
            for symbol, hold in self._holds.items()
            if hold.is_alerted or not hold.is_trying
        ]
        return tuple(sorted(found, key=lambda held: held.since))


def log_edges(edges: Iterable[StallEdge]) -> None:
    """The lines that a person is mailed."""
    for edge in edges:
        log_event(
            log,
            LogEvent.TRADING_STALLED if edge.has_begun else LogEvent.STALL_ENDED,
            mail=True,
            about=f"stall of {edge.symbol}",
            symbol=edge.symbol,
            seconds=round(edge.seconds),
            reason=edge.reason,
            cure=edge.cure,
        )
