"""The exchange itself.

The only place where orders, balances, prices and activities meet and change. Every method runs to
its end without waiting, so that two requests can never interleave. What takes time on a real
exchange (acceptance, the first match, a cancel) is put off with the given scheduler. Knows no
sockets and no JSON.
"""

import random
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Protocol

from . import errors, matching, order_rules
from .account import Account, InsufficientFunds, Reservation
from .activities import ActivityLog, ExecutionRecord, FeeActivity
from .assets import Asset, AssetCatalog
from .clock import Clock
from .config import ExchangeConfig
from .decimals import ZERO, floor_to
from .fees import FeeSchedule
from .market import MarketBoard, Quote, Tick
from .order_rules import Ticket
from .orders import Event, Order, OrderBook, OrderType, Side, Status, TimeInForce, advance


class Scheduler(Protocol):
    """Runs a function later; the event loop's call_later in a server, a plain list in tests."""

    def __call__(
        self, delay_seconds: float, function: Callable[..., None], *args: object
    ) -> object: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeUpdate:
    """What the trade stream says.

    An event, the order after it, and the execution if there was one.
    """

    event: Event
    order: Order
    at_ns: int
    execution_id: str | None = None
    price: Decimal | None = None
    qty: Decimal | None = None
    position_qty: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Adjustment:
    """A balance changed by the operator.

    So much more (or less) of `unit`, which is USD or a symbol.
    """

    unit: str
    amount: Decimal


@dataclass(slots=True)
class Habits:
    """What the operator may change while the exchange runs."""

    latency_seconds: float
    partial_fill_probability: float
    duplicate_ids_refused: bool


class Exchange:
    def __init__(self, config: ExchangeConfig, clock: Clock, schedule: Scheduler) -> None:
        self.clock = clock
        self.seed = config.seed
        self.habits = Habits(
            config.latency_seconds, config.partial_fill_probability, config.duplicate_ids_refused
        )
        self.assets = AssetCatalog(config.assets)
        self.book = OrderBook()
        self.account = Account(config.cash)
        self.market = MarketBoard()
        self.activities = ActivityLog()
        self.fees = FeeSchedule(
            maker=config.maker_fee, taker=config.taker_fee, usd_increment=config.usd_fee_increment
        )
        self.steps_in_flight = 0
        self.trade_update_listeners: list[Callable[[TradeUpdate], None]] = []
        self.tick_listeners: list[Callable[[Tick], None]] = []
        self._schedule = schedule
        self.initial_cash = config.cash
        self.adjustments: list[Adjustment] = []
        self._id_counts: Counter[str] = Counter()
        for symbol, qty, price in config.coins:
            self.set_balance(symbol, qty, price)

    # What clients ask for

    def submit(self, request: Mapping[str, object]) -> Order:
        """Takes an order or raises ApiError.

        The returned order is pending_new; all else follows as events.
        """
        ticket = order_rules.parse_ticket(request, self.assets)
        self._check_client_order_id(ticket)
        self._check_wash_trade(ticket)
        reservation = self._plan_reservation(ticket, freed=None)
        return self._accept(ticket, reservation)

    def cancel(self, order_id: str) -> None:
        """Asks for a cancel; `canceled` follows as an event. Fills can still come before it."""
        order = self.order(order_id)
        if not order.status.is_open or order.status is Status.PENDING_CANCEL:
            raise errors.not_cancelable(order.status.value)
        self._change(order, Event.PENDING_CANCEL)
        self._later(self._finish_cancel, order_id)

    def replace(self, order_id: str, request: Mapping[str, object]) -> Order:
        """Ends the order as `replaced` and takes a new one for what was unfilled."""
        order = self.order(order_id)
        if not order.status.is_open or order.status is Status.PENDING_CANCEL:
            raise errors.unprocessable(f'order is not replaceable in "{order.status.value}" state')
        ticket = order_rules.parse_replacement(request, order, self.asset(order.symbol))
        self._check_client_order_id(ticket)
        self._check_wash_trade(ticket)
        reservation = self._plan_reservation(ticket, freed=self.account.reservation(order_id))
        new_id = self._new_id("order")
        self._end(order, Event.REPLACED, replaced_by=new_id)
        return self._accept(ticket, reservation, order_id=new_id, replaces=order_id)

    def order(self, order_id: str) -> Order:
        order = self.book.get(order_id)
        if order is None:
            raise errors.order_not_found(order_id)
        return order

    def asset(self, symbol: str) -> Asset:
        asset = self.assets.find(symbol)
        if asset is None:
            raise errors.asset_not_found(symbol)
        return asset

    # What the market does

    def post_quote(self, quote: Quote) -> None:
        """Takes a quote, tells the listeners, and fills what has become marketable."""
        tick = self.market.post(quote)
        for listener in self.tick_listeners:
            listener(tick)
        if not quote.is_usable:
            return
        for order in self.book.open_on(quote.symbol):
            if order.is_working:
                self._match(order, quote)
            elif (
                order.has_arrived
                and not order.is_triggered
                and matching.stop_is_reached(order, quote)
            ):
                self._trigger(order, quote)

    # What the operator does

    def expire(self, order_id: str) -> Order:
        return self._end(self.order(order_id), Event.EXPIRED)

    def reject(self, order_id: str) -> Order:
        return self._end(self.order(order_id), Event.REJECTED)

    def cancel_now(self, order_id: str) -> Order:
        return self._end(self.order(order_id), Event.CANCELED)

    def set_balance(self, unit: str, amount: Decimal, price: Decimal | None = None) -> None:
        """Sets the cash ("USD") or the coins of a symbol, whatever orders are open.

        `price` enters a new position.
        """
        if amount < 0:
            raise errors.invalid(f"a balance cannot be negative: {amount}")
        if unit == "USD":
            before = self.account.cash
            self.account.set_cash(amount)
        else:
            unit = self.asset(unit).symbol
            before = self.account.qty(unit)
            quote = self.market.quote(unit)
            entry = price if price is not None else quote.bid if quote is not None else Decimal(1)
            self.account.set_coins(unit, amount, entry)
        self.adjustments.append(Adjustment(unit, amount - before))

    def balance(self, unit: str) -> Decimal:
        return self.account.cash if unit == "USD" else self.account.qty(self.asset(unit).symbol)

    def post_fees(self) -> list[FeeActivity]:
        return self.activities.post_fees(lambda: self._new_id("activity"))

    # From acceptance to the book

    def _check_client_order_id(self, ticket: Ticket) -> None:
        wanted = ticket.client_order_id
        if wanted and self.habits.duplicate_ids_refused and self.book.has_client_id(wanted):
            raise errors.duplicate_client_order_id()

    def _check_wash_trade(self, ticket: Ticket) -> None:
        wash = order_rules.find_wash_trade(ticket, self.book.open_on(ticket.asset.symbol))
        if wash is not None:
            raise errors.wash_trade(wash[0].id, wash[1])

    def _plan_reservation(self, ticket: Ticket, freed: Reservation | None) -> Reservation:
        """What the order will hold back.

        Raises when the account lacks it or the cost is out of bounds.
        """
        symbol, quote = ticket.asset.symbol, self.market.quote(ticket.asset.symbol)
        likely_price, worst_price = ticket.limit_price, ticket.limit_price
        if ticket.type is OrderType.MARKET and quote is not None:
            likely_price = quote.ask if ticket.side is Side.BUY else quote.bid
            worst_price = matching.collar_price(ticket.side, quote, ticket.asset.price_increment)
        order_rules.check_cost(ticket.side, ticket.notional or _times(ticket.qty, likely_price))
        if ticket.side is Side.BUY:
            usd = ticket.notional or _times(ticket.qty, worst_price) or ZERO
            available = self.account.available_usd() + (freed.usd if freed else ZERO)
            if usd > available:
                raise errors.insufficient_balance("USD", usd, available, self.account.cash)
            return Reservation(symbol, usd=usd)
        coins = ticket.qty
        if coins is None:
            assert ticket.notional is not None
            step = ticket.asset.min_trade_increment
            coins = floor_to(ticket.notional / likely_price, step) if likely_price else ZERO
        available = self.account.available_coins(symbol) + (freed.coins if freed else ZERO)
        if coins > available or not available:
            held = self.account.qty(symbol)
            raise errors.insufficient_balance(ticket.asset.coin, coins, available, held)
        return Reservation(symbol, coins=coins)

    def _accept(
        self,
        ticket: Ticket,
        reservation: Reservation,
        order_id: str | None = None,
        replaces: str | None = None,
    ) -> Order:
        now_ns = self.clock.now_ns()
        ordinal = len(self.book) + 1
        quote = self.market.quote(ticket.asset.symbol)
        order = Order(
            id=order_id or self._new_id("order"),
            client_order_id=ticket.client_order_id or self._new_id("order"),
            ordinal=ordinal,
            symbol=ticket.asset.symbol,
            side=ticket.side,
            type=ticket.type,
            time_in_force=ticket.time_in_force,
            qty=ticket.qty,
            notional=ticket.notional,
            limit_price=ticket.limit_price,
            stop_price=ticket.stop_price,
            submitted_at_ns=now_ns,
            created_at_ns=now_ns,
            updated_at_ns=now_ns,
            replaces=replaces,
            first_part=matching.draw_first_part(
                self.seed, ordinal, self.habits.partial_fill_probability
            ),
            collar_price=self._collar(ticket.type, ticket.side, ticket.asset, quote),
        )
        self.book.add(order)
        self.account.reserve(order.id, reservation)
        self._tell(TradeUpdate(event=Event.PENDING_NEW, order=order, at_ns=now_ns))
        self._later(self._open, order.id)
        return order

    def _open(self, order_id: str) -> None:
        order = self.order(order_id)
        if order.status is not Status.PENDING_NEW:
            return
        self._change(order, Event.NEW)
        self._later(self._arrive, order_id)

    def _arrive(self, order_id: str) -> None:
        """The order meets the market for the first time.

        Here it is decided who pays the taker's fee.
        """
        order = self.order(order_id)
        if not order.status.is_open:
            return
        order = self._store(order, has_arrived=True)
        quote = self.market.quote(order.symbol)
        if order.type is OrderType.STOP_LIMIT:
            if quote is not None and matching.stop_is_reached(order, quote):
                self._trigger(order, quote)
            return
        self._meet(order, quote)

    def _trigger(self, order: Order, quote: Quote) -> None:
        self._meet(self._store(order, is_triggered=True), quote)

    def _meet(self, order: Order, quote: Quote | None) -> None:
        """Fills at once as taker, or rests as maker; an ioc order does not rest."""
        if quote is not None:
            price = matching.marketable_price(order.side, order.working_limit, quote)
            is_taker = price is not None or order.type is OrderType.MARKET
            order = self._match(self._store(order, is_taker=is_taker), quote)
        if order.time_in_force is TimeInForce.IOC and order.status.is_open:
            self._end(order, Event.CANCELED)

    # Filling

    def _match(self, order: Order, quote: Quote) -> Order:
        if order.type is OrderType.MARKET and order.collar_price is None:
            order = self._price_market_order(order, quote)
        if not order.is_working:
            return order
        asset = self.asset(order.symbol)
        execution = matching.plan_execution(order, quote, asset.min_trade_increment)
        return order if execution is None else self._execute(order, execution)

    def _price_market_order(self, order: Order, quote: Quote) -> Order:
        """A market order taken before there was a price gets its collar from the first quote."""
        collar = self._collar(order.type, order.side, self.asset(order.symbol), quote)
        if order.side is Side.BUY and order.qty is not None:
            usd = _times(order.qty, collar) or ZERO
            if usd > self.account.available_usd():
                return self._end(order, Event.REJECTED)
            self.account.reserve(order.id, Reservation(order.symbol, usd=usd))
        return self._store(order, collar_price=collar, is_taker=True)

    def _execute(self, order: Order, execution: matching.Execution) -> Order:
        is_maker = not order.is_taker
        fee = self.fees.fee(
            side=order.side, qty=execution.qty, price=execution.price, is_maker=is_maker
        )
        try:
            change = self.account.plan_fill(
                order.symbol, order.side, execution.qty, execution.price, fee
            )
        except InsufficientFunds:
            # The balance was changed behind the order's back: it can never fill.
            return self._end(order, Event.CANCELED if order.filled_qty else Event.REJECTED)
        now_ns = self.clock.now_ns()
        order = advance(
            order,
            Event.FILL if execution.is_final else Event.PARTIAL_FILL,
            now_ns,
            filled_qty=order.filled_qty + execution.qty,
            filled_value=order.filled_value + execution.qty * execution.price,
        )
        record = ExecutionRecord(
            execution_id=self._new_id("execution"),
            order_id=order.id,
            client_order_id=order.client_order_id,
            symbol=order.symbol,
            side=order.side,
            qty=execution.qty,
            price=execution.price,
            fee=fee,
            is_maker=is_maker,
            at_ns=now_ns,
        )
        self.account.commit(change)
        self.book.put(order)
        self._shrink_reservation(order)
        self.activities.record_fill(record, order, is_final=execution.is_final)
        self._tell(
            TradeUpdate(
                event=Event.FILL if execution.is_final else Event.PARTIAL_FILL,
                order=order,
                at_ns=now_ns,
                execution_id=record.execution_id,
                price=execution.price,
                qty=execution.qty,
                position_qty=self.account.qty(order.symbol),
            )
        )
        return order

    def _shrink_reservation(self, order: Order) -> None:
        held = self.account.reservation(order.id)
        if held is None:
            return
        if not order.status.is_open:
            self.account.release(order.id)
        elif order.notional is not None:
            usd = max(ZERO, order.notional - order.filled_value) if held.usd else ZERO
            coins = max(ZERO, held.coins - order.filled_qty)
            self.account.reserve(order.id, replace(held, usd=usd, coins=coins))
        else:
            remaining = (order.qty or ZERO) - order.filled_qty
            usd = _times(remaining, order.working_limit) or ZERO if held.usd else ZERO
            self.account.reserve(
                order.id, replace(held, usd=usd, coins=remaining if held.coins else ZERO)
            )

    # Ending

    def _finish_cancel(self, order_id: str) -> None:
        order = self.order(order_id)
        if order.status is Status.PENDING_CANCEL:
            self._end(order, Event.CANCELED)

    def _end(self, order: Order, event: Event, **changes: object) -> Order:
        if not order.status.is_open:
            raise errors.not_cancelable(order.status.value)
        self.account.release(order.id)
        return self._change(order, event, **changes)

    # Small parts

    def _new_id(self, kind: str) -> str:
        """The n-th id of its kind is the same for the same seed, whatever happened between."""
        self._id_counts[kind] += 1
        bits = random.Random(f"{self.seed}:{kind}:{self._id_counts[kind]}").getrandbits(128)
        return str(uuid.UUID(int=bits, version=4))

    def _collar(
        self, order_type: OrderType, side: Side, asset: Asset, quote: Quote | None
    ) -> Decimal | None:
        if order_type is not OrderType.MARKET or quote is None:
            return None
        return matching.collar_price(side, quote, asset.price_increment)

    def _change(self, order: Order, event: Event, **changes: object) -> Order:
        now_ns = self.clock.now_ns()
        order = advance(order, event, now_ns, **changes)
        self.book.put(order)
        self._tell(
            TradeUpdate(
                event=event, order=order, at_ns=now_ns, execution_id=self._new_id("execution")
            )
        )
        return order

    def _store(self, order: Order, **changes: object) -> Order:
        """A change that nobody is told of."""
        order = replace(order, **changes)
        self.book.put(order)
        return order

    def _tell(self, update: TradeUpdate) -> None:
        for listener in self.trade_update_listeners:
            listener(update)

    def _later(self, function: Callable[[str], None], order_id: str) -> None:
        self.steps_in_flight += 1
        self._schedule(self.habits.latency_seconds, self._step, function, order_id)

    def _step(self, function: Callable[[str], None], order_id: str) -> None:
        self.steps_in_flight -= 1
        function(order_id)


def _times(qty: Decimal | None, price: Decimal | None) -> Decimal | None:
    return None if qty is None or price is None else qty * price
