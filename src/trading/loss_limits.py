"""The limits on losses: no asset buys while too much is lost, sells go on.

Owns: what MAX_OPEN_LOSS_USD and MAX_LOSS_USD_PER_DAY count, where the bids come from, and the one
alert of each. What cannot be judged is no buy: without a bid of everything that is held, none.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from decimal import Decimal

from config import Settings
from domain.events import Event, EventKind, Severity
from domain.holding import HeldCoins
from domain.market import AssetRules
from models.events import get_open_alerts, was_written
from models.losses import LossRecords, load_loss_records
from strategy.limits import (
    LOSS_PER_DAY,
    OPEN_LOSS,
    AccountLimits,
    find_reached,
    start_of_day,
)
from strategy.losses import compute_open_loss_usd, loss_of
from strategy.sizing import is_dust
from trading.cycle_changes import record_event
from trading.dump_guard import SETTING as DUMP_SETTING
from trading.dump_guard import DumpPause, end_alerts_of, utc_now
from trading.placement import SKIP_SECONDS, Placement, Skip
from utils.alpaca_queries import fetch_latest_quotes
from utils.db_utils import thread_connection
from utils.formatting import number, usd

_OVER = "what is lost is below the limit again"


@dataclass(eq=False)
class LossLimits:
    """Thread-safe.

    Args:
        rules_of: an asset's rules; None where they are unknown.
        fresh_bid_of: USD, from a quote of the stream that can be traded on; None: there is none,
            and the exchange is asked for its latest one.
        now: the clock that days and pauses go by.
    """

    settings: Settings
    _: KW_ONLY
    rules_of: Callable[[str], AssetRules | None]
    fresh_bid_of: Callable[[str], Decimal | None] = lambda symbol: None
    now: Callable[[], datetime] = utc_now
    pause: DumpPause = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _may_be_alerted: bool = True  # by this process, or by one before it

    def __post_init__(self) -> None:
        self.pause = DumpPause(self.settings, self.now)

    @property
    def limits(self) -> dict[str, Decimal]:
        """Those that are set, by the name of their setting."""
        return AccountLimits.of(self.settings).of_losses

    def why_paused(self) -> Placement | None:
        """Whether the market fell, as far as is known without asking anything."""
        now, until = self.now(), self.pause.until
        reason = self.pause.why_no_buys(now)
        if reason is None or until is None:
            return None
        seconds = (until - now).total_seconds()
        return _stopped(reason, min(SKIP_SECONDS, max(0.0, seconds)))

    def why_no_buys(self) -> Placement | None:
        """Why nothing is bought of any asset now, or None. Blocking.

        Raises:
            Skip: the open loss cannot be judged.
            ExchangeError, DatabaseError: nothing certain is known, so no buy.
        """
        self.pause.load()
        if block := self.why_paused():
            return block
        if not self.limits:
            return None
        reached = find_reached(AccountLimits.of(self.settings), self.load_losses())
        self._alert(reached)
        for name in reached:
            return _stopped(f"{name}={number(self.limits[name])} is reached, no buys; sells go on")
        return None

    def load_losses(self) -> dict[str, Decimal]:
        """USD that are lost of each limit that is set. Blocking.

        Raises:
            Skip: there is no bid of something that is held.
            ExchangeError, DatabaseError: nothing certain is known.
        """
        records = load_loss_records(thread_connection(), start_of_day(self.now()))
        losses = {}
        if OPEN_LOSS in self.limits:
            losses[OPEN_LOSS] = self._open_loss_usd(records)
        if LOSS_PER_DAY in self.limits:
            losses[LOSS_PER_DAY] = loss_of(records.realised_usd)
        return losses

    def is_reached(self, setting: str) -> bool:
        """Whether this limit, the dump guard among them, stops buys now. Blocking.

        Raises:
            As `load_losses`.
        """
        if setting == DUMP_SETTING:
            self.pause.load()
            return self.pause.why_no_buys(self.now()) is not None
        limit = self.limits.get(setting)
        return limit is not None and self.load_losses()[setting] >= limit

    def _open_loss_usd(self, records: LossRecords) -> Decimal:
        rules: dict[str, AssetRules] = {}
        held: list[HeldCoins] = []
        for one in records.held:
            found = self.rules_of(one.symbol)
            if found is None:
                raise _unjudged(one.symbol, "its rules are not known")
            if not is_dust(one.quantity, found, self.settings.taker_fee_rate):
                rules[one.symbol] = found
                held.append(one)
        bids = self._bids(rules)
        return compute_open_loss_usd(held, rules, self.settings.taker_fee_rate, bids)

    def _bids(self, symbols: Mapping[str, object]) -> dict[str, Decimal]:
        """From the stream; of a coin that is quoted seldom, the exchange's latest quote."""
        bids = {symbol: bid for symbol in symbols if (bid := self.fresh_bid_of(symbol)) is not None}
        if missing := [symbol for symbol in symbols if symbol not in bids]:
            quotes = fetch_latest_quotes(missing)
            for symbol in missing:
                if symbol not in quotes:
                    raise _unjudged(symbol, "the exchange has no quote of it")
                bids[symbol] = quotes[symbol].bid
        return bids

    def _alert(self, reached: Mapping[str, Decimal]) -> None:
        """One alert when a limit is reached, and its end when a buy finds it is not any more."""
        with self._lock:
            connection = thread_connection()
            for name, loss_usd in reached.items():
                event = _event(name, self.limits[name], loss_usd)
                if not was_written(connection, event):
                    record_event(connection, event)
            over = [name for name in (OPEN_LOSS, LOSS_PER_DAY) if name not in reached]
            if self._may_be_alerted and over:
                for name in over:
                    end_alerts_of(connection, name, _OVER)
                alerts = get_open_alerts(connection)
                self._may_be_alerted = any(one.kind == EventKind.BUYS_STOPPED for one in alerts)
            self._may_be_alerted |= bool(reached)


def _event(name: str, limit: Decimal, loss_usd: Decimal) -> Event:
    what = {
        OPEN_LOSS: "what the open cycles hold would lose",
        LOSS_PER_DAY: "the cycles that ended today (UTC) lost",
    }[name]
    return Event(
        kind=EventKind.BUYS_STOPPED,
        severity=Severity.ERROR,
        reason=(
            f"{what} {usd(loss_usd)} USD after fees, {name} is {number(limit)}: no asset buys;"
            " sells go on"
        ),
        dedupe_key=name,
    )


def _stopped(reason: str, seconds: float = SKIP_SECONDS) -> Placement:
    """Not an alert of each asset: the limit has one for all of them."""
    return Skip(reason, seconds, logging.INFO, is_requested=True).placement


def _unjudged(symbol: str, why: str) -> Skip:
    return Skip(
        f"{OPEN_LOSS}: what is held of {symbol} cannot be judged ({why}): no buys",
        cure=f"look at {symbol} on Alpaca's page",
    )
