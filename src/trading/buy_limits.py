"""The buy limits, which do not depend on the strategy being right: checked before every buy, never
before a sell.

Owns: the reasons not to buy (pause, unclaimed orders, MAX_BUY_USD_PER_DAY, MAX_POSITION_USD,
MAX_OPEN_CYCLES) and what each limit counts: the journal, the open orders, and buys so young
that they stand in neither. The limits on losses are in loss_limits, the dump guard in dump_guard.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from decimal import Decimal

from mysql.connector.abstracts import MySQLConnectionAbstract

from config import Settings
from domain.journal import Purpose
from domain.market import AssetRules
from domain.orders import ExchangeOrder, Side, UnreadableOrder
from domain.trading_state import TradingState
from models.buy_usage import load_buy_records
from models.trading_state import load_all_trading_states
from runtime.operator_flags import is_paused
from strategy.limits import AccountLimits, Usage, find_exceeded, start_of_day
from strategy.order_identity import has_our_prefix, may_be_ours
from strategy.sizing import is_dust
from trading.dump_guard import utc_now
from trading.loss_limits import LossLimits
from trading.open_orders import OpenOrders, fetch_open_orders
from trading.placement import Placement, Skip
from utils.alpaca_client_rest import ExchangeRefused, UnreadableAnswer
from utils.alpaca_sdk import TradingClient
from utils.db_utils import thread_connection

PAUSE_SECONDS = 3.0  # reading a file costs nothing, and whoever resumes does not want to wait
YOUNG_SECONDS = 300.0  # by then the journal or the list of open orders has it


@dataclass(eq=False)
class BuyLimits:
    """Thread-safe. Between the check and the order's acceptance `held()` keeps other buys out.

    Args:
        blocked_symbols: symbols with an order of ours that belongs to no cycle.
        rules_of: an asset's rules, which say what of it is dust; None where they are unknown.
        now: the clock that the days and pauses of all limits go by.
    """

    settings: Settings
    client: TradingClient
    blocked_symbols: Callable[[], set[str]] = set
    _: KW_ONLY
    rules_of: Callable[[str], AssetRules | None]
    now: Callable[[], datetime] = utc_now
    losses: LossLimits = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    # client_order_id -> symbol, USD, sent or seen open at
    _young: dict[str, tuple[str, Decimal, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.losses = LossLimits(self.settings, rules_of=self.rules_of, now=self.now)

    @property
    def has_buy_limits(self) -> bool:
        """Whether any limit is set that buys use up: without one none waits for another, and the
        exchange is not asked. (Losses are not used up by buys.)
        """
        limits = (
            self.settings.max_buy_usd_per_day,
            self.settings.max_position_usd,
            self.settings.max_open_cycles,
        )
        return any(limit is not None for limit in limits)

    @contextmanager
    def held(self) -> Iterator[None]:
        """One buy at a time from check to acceptance: two must not spend the same last dollar."""
        if not self.has_buy_limits:
            yield
            return
        with self._lock:
            yield

    def sent(self, client_order_id: str, symbol: str, amount_usd: Decimal) -> None:
        """A buy is being submitted, or is open; counted until the journal has it."""
        if self.has_buy_limits:
            self._young[client_order_id] = (symbol, amount_usd, time.monotonic())

    def forget(self, client_order_id: str) -> None:
        """That buy was certainly not accepted: it must not stand in the way of another."""
        self._young.pop(client_order_id, None)

    def why_none_at_all(self, symbol: str) -> Placement | None:
        """Why nothing can be bought of `symbol` now, whatever it costs; asks nothing."""
        if is_paused(self.settings.run_dir):
            reason = "buying is paused: scripts/bot resume"
            return Skip(reason, PAUSE_SECONDS, logging.INFO, is_requested=True).placement
        if symbol in self.blocked_symbols():
            reason = "an order of ours on this symbol belongs to no cycle: see dca_events"
            return Skip(reason).placement
        return self.losses.why_paused()

    def why_no_buys(
        self,
        state: TradingState,
        purpose: Purpose,
        amount_usd: Decimal,
        open_orders: Callable[[], OpenOrders] | None = None,
    ) -> Placement | None:
        """Why `amount_usd` cannot be spent on this asset now, or None. Blocking.

        Args:
            open_orders: asks for them, where the caller needs them, too; called only with a limit.

        Raises:
            Skip: the open loss cannot be judged.
            ExchangeError, DatabaseError: nothing certain is known, so no buy.
        """
        if block := self.why_none_at_all(state.asset.asset_symbol) or self.losses.why_no_buys():
            return block
        if not self.has_buy_limits:
            return None
        usage = self._count(open_orders() if open_orders else fetch_open_orders(self.client))
        limits = AccountLimits.of(self.settings)
        name = find_exceeded(limits, usage, state, purpose, amount_usd)
        if name is None:
            return None
        # The text stays the same meanwhile: it is said once.
        reason = f"buy limit: {name}={limits.set_ones[name]} is reached, no buys; sells go on"
        return Skip(reason, level=logging.ERROR, is_requested=True).placement

    def load_usage(self, open_orders: Sequence[ExchangeOrder] | None = None) -> Usage:
        """What counts against the buy limits now. Blocking.

        Args:
            open_orders: all open orders, where the caller has just fetched them.

        Raises:
            ExchangeError, DatabaseError: nothing certain is known.
        """
        if open_orders is None:
            return self._count(fetch_open_orders(self.client))
        return self._count(OpenOrders(list(open_orders), []))

    def _count(self, orders: OpenOrders) -> Usage:
        connection = thread_connection()
        if orders.unreadable:
            _refuse_our_own(orders.unreadable, connection)
        open_buys = [order for order in orders.readable if order.side is Side.BUY]
        young = self._still_young()
        symbols = {order.symbol for order in open_buys} | {symbol for symbol, *_ in young.values()}
        records = load_buy_records(connection, start_of_day(self.now()), symbols, young)
        for identity in records.journaled:
            self._young.pop(identity, None)
        for order in open_buys:
            # It stays: from its fill to its row it stands neither here nor in the journal.
            if has_our_prefix(order.client_order_id):
                self.sent(order.client_order_id, order.symbol, _cost_usd(order))
        costs = {identity: (symbol, usd) for identity, (symbol, usd, _) in self._young.items()}
        costs |= {
            order.client_order_id or order.id: (order.symbol, _cost_usd(order))
            for order in open_buys
        }
        on_order: dict[str, Decimal] = {}
        for symbol, usd in costs.values():
            on_order[symbol] = on_order.get(symbol, Decimal(0)) + usd
        invested = {name for name, qty in records.in_cycles.items() if self._is_invested(name, qty)}
        return Usage(
            bought_today_usd=records.bought_usd,
            on_order_usd=on_order,
            # A buy that was sent a moment ago stands in no cycle yet.
            open_symbols=frozenset(invested | records.configured & on_order.keys()),
        )

    def _is_invested(self, symbol: str, quantity: Decimal | None) -> bool:
        """Dust is no position: its asset opens the cycle that it waits for with its next buy."""
        if quantity is None or self.settings.max_open_cycles is None:
            return True  # a buy is under way; or no limit counts them
        try:
            rules = self.rules_of(symbol)
        except ExchangeRefused:  # Alpaca knows the coin no more, nor what can be sold of it
            return True
        return rules is None or not is_dust(quantity, rules, self.settings.taker_fee_rate)

    def _still_young(self) -> dict[str, tuple[str, Decimal, float]]:
        """The buys that may stand in neither the journal nor the open orders yet."""
        not_before = time.monotonic() - YOUNG_SECONDS
        for identity in [one for one, (*_, at) in list(self._young.items()) if at < not_before]:
            self._young.pop(identity, None)
        return dict(self._young)


def _refuse_our_own(unreadable: list[UnreadableOrder], connection: MySQLConnectionAbstract) -> None:
    states = load_all_trading_states(connection)
    linked = {state.cycle.latest_order_id for state in states if state.cycle.latest_order_id}
    symbols = {state.asset.asset_symbol for state in states}
    if ours := [one for one in unreadable if may_be_ours(one, linked, symbols)]:
        raise UnreadableAnswer(f"what order {ours[0].client_order_id} costs cannot be read")


def _cost_usd(order: ExchangeOrder) -> Decimal:
    price = order.limit_price or order.filled_avg_price or Decimal(0)
    return (order.qty or Decimal(0)) * price
