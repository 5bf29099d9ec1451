"""The exchange as its clients, its market and its operator see it.

Every call runs to its end without waiting, so that two requests can never interleave: of two orders
with one client_order_id the first is taken and the second refused, however close they come. Knows
no sockets and no JSON.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from paper_exchange.api.quotes_sent import QuotesSent
from paper_exchange.core import errors, order_rules
from paper_exchange.core.activities import FeeActivity
from paper_exchange.core.assets import Asset
from paper_exchange.core.buying_power import plan_reservation
from paper_exchange.core.clock import Clock
from paper_exchange.core.config import ExchangeConfig
from paper_exchange.core.execution import TradingFloor
from paper_exchange.core.journal import Journal
from paper_exchange.core.orders import Event, Order, Status
from paper_exchange.core.prices import Quote
from paper_exchange.core.state import Scheduler, State
from paper_exchange.faults.armed import FaultBoard

P = ParamSpec("P")
R = TypeVar("R")


def _one_turn(
    method: Callable[Concatenate["Exchange", P], R],
) -> Callable[Concatenate["Exchange", P], R]:
    """All that the call changes is kept together."""

    @wraps(method)
    def wrapper(self: "Exchange", /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self._state.turn():
            return method(self, *args, **kwargs)

    return wrapper


class Exchange:
    def __init__(
        self,
        config: ExchangeConfig,
        clock: Clock,
        schedule: Scheduler,
        faults: FaultBoard | None = None,
    ) -> None:
        state = State(config, clock, schedule, faults or FaultBoard(config.seed))
        self._state = state
        self._floor = TradingFloor(state)
        self.seed, self.clock, self.faults = state.seed, state.clock, state.faults
        self.habits, self.assets, self.book = state.habits, state.assets, state.book
        self.account, self.market, self.activities = state.account, state.market, state.activities
        self.adjustments, self.steps = state.adjustments, state.steps
        self.profile, self.equity_curve = state.profile, state.equity_curve
        self.history = state.history
        self.trade_update_listeners = state.trade_update_listeners
        self.tick_listeners = state.tick_listeners
        self.equity, self.price = state.equity, state.price
        self.quotes_sent = QuotesSent()
        self.trade_update_listeners.append(self.quotes_sent.remember_before)
        for symbol, qty, price in config.coins:
            self.set_balance(symbol, qty, price)
        state.profile.last_equity = state.equity()

    @property
    def initial_cash(self) -> Decimal:
        return self._state.initial_cash

    def keep_in(self, journal: Journal) -> None:
        """Becomes the exchange that the state file holds. Raises StateFileError."""
        journal.attach(self._state)

    @_one_turn
    def resume(self) -> None:
        """After a restart: orders that were on their way go on."""
        self._floor.resume()

    @property
    def steps_in_flight(self) -> int:
        """How many steps of orders (new, first match, cancel) are under way."""
        return self._state.steps_in_flight

    # What clients ask for

    @_one_turn
    def submit(self, request: Mapping[str, object]) -> Order:
        """Takes an order or raises ApiError. It is pending_new; all else follows as events."""
        if self.profile.is_suspended:
            raise errors.trading_suspended()
        ticket = order_rules.parse_ticket(request, self.assets)
        return self._floor.accept(ticket, plan_reservation(self._state, ticket))

    @_one_turn
    def cancel(self, order_id: str) -> None:
        """Asks for a cancel; `canceled` follows as an event. Fills can still come before it."""
        order = self.order(order_id)
        if not order.status.is_open or order.status is Status.PENDING_CANCEL:
            raise errors.not_cancelable(order.status.value)
        self._floor.ask_to_cancel(order)

    @_one_turn
    def replace(self, order_id: str, request: Mapping[str, object]) -> Order:
        """Ends the order as `replaced` and takes a new one for what was unfilled.

        Not before the order is `new` (Alpaca's description: not while it is accepted, pending_new,
        pending_cancel or pending_replace).
        """
        order = self.order(order_id)
        if order.status not in (Status.NEW, Status.PARTIALLY_FILLED):
            raise errors.unprocessable(f'order is not replaceable in "{order.status.value}" state')
        ticket = order_rules.parse_replacement(request, order, self.asset(order.symbol))
        freed = self.account.reservation(order_id)
        reservation = plan_reservation(self._state, ticket, freed)
        new_id = self._state.new_id("order")
        self._floor.end(order, Event.REPLACED, replaced_by=new_id)
        return self._floor.accept(ticket, reservation, order_id=new_id, replaces=order_id)

    @_one_turn
    def configure_account(self, changes: Mapping[str, object]) -> Mapping[str, object]:
        """Raises ApiError."""
        return self.profile.configure(changes)

    def order(self, order_id: str) -> Order:
        """Raises ApiError (404)."""
        return self._state.order(order_id)

    def asset(self, symbol: str) -> Asset:
        """By symbol, position name or id. Raises ApiError (404)."""
        return self._state.asset(symbol)

    # What the market does

    @_one_turn
    def post_quote(self, quote: Quote) -> None:
        """Takes a quote, tells the listeners, and fills what has become marketable."""
        if self.equity_curve.is_due(quote.at_ns):
            self.equity_curve.note(quote.at_ns, self.equity())
        tick = self.market.post(quote)
        for listener in self.tick_listeners:
            listener(tick)
        if quote.is_usable:
            self._floor.on_quote(quote)

    # What the operator does

    @_one_turn
    def expire(self, order_id: str) -> Order:
        return self._floor.end(self.order(order_id), Event.EXPIRED)

    @_one_turn
    def reject(self, order_id: str) -> Order:
        return self._floor.end(self.order(order_id), Event.REJECTED)

    @_one_turn
    def cancel_now(self, order_id: str) -> Order:
        return self._floor.end(self.order(order_id), Event.CANCELED)

    @_one_turn
    def set_balance(self, unit: str, amount: Decimal, price: Decimal | None = None) -> None:
        """Sets the cash ("USD") or the coins of a symbol, behind everyone's back."""
        self._state.set_balance(unit, amount, price)

    def balance(self, unit: str) -> Decimal:
        return self._state.balance(unit)

    @_one_turn
    def post_fees(self) -> list[FeeActivity]:
        """Puts the fees taken so far on the record. Moves no balance."""
        return self.activities.post_fees(
            self.clock.now_ns(), self.faults, lambda: self._state.new_id("activity")
        )
