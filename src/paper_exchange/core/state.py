"""What the exchange is made of at any moment, and the few ways in which it may change.

An order changes only through `change` (published to the listeners) or `note` (not published). What
takes time is put off with the given scheduler and counted, so that one can wait until nothing is
under way. Decides nothing.
"""

import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Protocol

from paper_exchange.core import errors
from paper_exchange.core.account import Account, Position
from paper_exchange.core.activities import ActivityLog
from paper_exchange.core.assets import Asset, AssetCatalog
from paper_exchange.core.clock import Clock
from paper_exchange.core.config import ExchangeConfig, SymbolsFilter
from paper_exchange.core.decimals import ZERO
from paper_exchange.core.equity import EquityCurve
from paper_exchange.core.fees import FeeSchedule
from paper_exchange.core.history import History
from paper_exchange.core.orders import Event, Order, OrderBook, advance
from paper_exchange.core.prices import MarketBoard, Tick
from paper_exchange.core.profile import AccountProfile
from paper_exchange.faults.armed import FaultBoard


class Scheduler(Protocol):
    """Runs a function later; the event loop's call_later in a server, a plain list in tests."""

    def __call__(
        self, delay_seconds: float, function: Callable[..., None], *args: object
    ) -> object: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeUpdate:
    """An event, the order after it, and the execution if there was one."""

    event: Event
    order: Order
    at_ns: int
    execution_id: str | None = None
    price: Decimal | None = None
    qty: Decimal | None = None
    position_qty: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Adjustment:
    """A balance changed by hand: so much more (or less) of `unit`, which is USD or a symbol."""

    unit: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Step:
    """A trade update as the ledger keeps it: with the true time, whatever the skewed clock says."""

    update: TradeUpdate
    true_ns: int


@dataclass(slots=True)
class Switches:
    """What the operator may change while the exchange runs."""

    latency_seconds: float
    partial_fill_probability: float
    duplicate_ids_refused: bool
    symbols_filter: SymbolsFilter


class State:
    def __init__(
        self, config: ExchangeConfig, clock: Clock, schedule: Scheduler, faults: FaultBoard
    ) -> None:
        self.config, self.clock, self.faults = config, clock, faults
        self.seed = config.seed
        self.switches = Switches(
            config.latency_seconds,
            config.partial_fill_probability,
            config.duplicate_ids_refused,
            config.symbols_filter,
        )
        self.assets = AssetCatalog(config.assets)
        self.book = OrderBook()
        self.account = Account(config.cash)
        self.initial_cash = config.cash
        self.adjustments: list[Adjustment] = []
        self.steps: list[Step] = []
        self.profile = AccountProfile(clock.now_ns(), config.cash)
        self.equity_curve = EquityCurve()
        self.market = MarketBoard()
        self.history = History()
        self.activities = ActivityLog()
        self.fees = FeeSchedule(
            maker=config.maker_fee, taker=config.taker_fee, usd_increment=config.usd_fee_increment
        )
        self.steps_in_flight = 0
        self.trade_update_listeners: list[Callable[[TradeUpdate], None]] = []
        self.tick_listeners: list[Callable[[Tick], None]] = [self.history.on_tick]
        self.turn_listeners: list[Callable[[], None]] = []
        self.id_counts: Counter[str] = Counter()
        self._schedule = schedule
        self._depth = 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """What one call changes is saved together, when the outermost call ends.

        Nothing of it has left the process by then: messages wait for the event loop.
        """
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                for listener in self.turn_listeners:
                    listener()

    def order(self, order_id: str) -> Order:
        """Raises ApiError (404)."""
        order = self.book.get(order_id)
        if order is None:
            raise errors.order_not_found(order_id)
        return order

    def asset(self, symbol: str) -> Asset:
        """By symbol, position name or id. Raises ApiError (404)."""
        asset = self.assets.find(symbol)
        if asset is None:
            raise errors.ApiError(404, f"asset not found for {symbol}", 40410000)
        return asset

    def change(self, order: Order, event: Event, **changes: Any) -> Order:
        """The order after the event, stored and published."""
        now_ns = self.clock.now_ns()
        order = advance(order, event, now_ns, **changes)
        self.book.put(order)
        execution_id = self.new_id("execution")
        self.publish(TradeUpdate(event=event, order=order, at_ns=now_ns, execution_id=execution_id))
        return order

    def note(self, order: Order, **changes: Any) -> Order:
        """A change that is not published."""
        order = replace(order, **changes)
        self.book.put(order)
        return order

    def publish(self, update: TradeUpdate) -> None:
        self.steps.append(Step(update, self.clock.last_true_ns))
        for listener in self.trade_update_listeners:
            listener(update)

    def run(self, function: Callable[..., None], *args: object) -> None:
        with self.turn():
            function(*args)

    def schedule(
        self, delay_seconds: float, function: Callable[..., None], *args: object
    ) -> object:
        """Runs the function later, as a turn of its own."""
        return self._schedule(delay_seconds, self.run, function, *args)

    def later(self, function: Callable[[str], None], order_id: str) -> None:
        """A step of an order that takes the usual time."""
        self.steps_in_flight += 1
        self.schedule(self.switches.latency_seconds, self._step, function, order_id)

    def new_id(self, kind: str) -> str:
        """Depends only on the seed, the kind and how many of the kind there were."""
        self.id_counts[kind] += 1
        bits = random.Random(f"{self.seed}:{kind}:{self.id_counts[kind]}").getrandbits(128)
        return str(uuid.UUID(int=bits, version=4))

    def set_balance(self, unit: str, amount: Decimal, price: Decimal | None = None) -> None:
        """The operator's hand: cash ("USD") or coins; `price` is a new position's entry price."""
        if amount < 0:
            raise errors.invalid(f"a balance cannot be negative: {amount}")
        before = self.balance(unit)
        if unit == "USD":
            self.account.cash = amount
        else:
            unit = self.asset(unit).symbol
            quote = self.market.quote(unit)
            entry = price if price is not None else quote.bid if quote is not None else Decimal(1)
            self.account.set_coins(unit, amount, entry)
        self.adjustments.append(Adjustment(unit, amount - before))

    def balance(self, unit: str) -> Decimal:
        return self.account.cash if unit == "USD" else self.account.qty(self.asset(unit).symbol)

    def price(self, position: Position) -> Decimal:
        """The last trade's, or the entry price while there was none."""
        trade = self.market.trades.get(position.symbol)
        return trade.price if trade is not None else position.avg_entry_price

    def equity(self) -> Decimal:
        """Cash and coins, in USD."""
        values = (one.qty * self.price(one) for one in self.account.positions())
        return self.account.cash + sum(values, ZERO)

    def _step(self, function: Callable[[str], None], order_id: str) -> None:
        self.steps_in_flight -= 1
        function(order_id)


def order_facts(order: Order) -> dict[str, str]:
    """What a fault can match an order on."""
    return {
        "symbol": order.symbol,
        "side": order.side.value,
        "type": order.type.value,
        "order_id": order.id,
        "client_order_id": order.client_order_id,
    }
