"""The exchange as its clients, its market and its operator see it.

Every call runs to its end without waiting, so that two requests can never interleave: of two orders
with one client_order_id the first is taken and the second refused, however close they come. Knows
no sockets and no JSON.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from paper_exchange.core import errors, order_rules
from paper_exchange.core.activities import FeeActivity
from paper_exchange.core.buying_power import plan_reservation
from paper_exchange.core.clock import Clock
from paper_exchange.core.config import ExchangeConfig
from paper_exchange.core.execution import OrderExecution
from paper_exchange.core.orders import Event, Order, Status
from paper_exchange.core.prices import Quote
from paper_exchange.core.quotes_sent import QuotesSent
from paper_exchange.core.state import Scheduler, State
from paper_exchange.faults.armed import FaultBoard

P = ParamSpec("P")
R = TypeVar("R")


def _one_turn(
    method: Callable[Concatenate["Exchange", P], R],
) -> Callable[Concatenate["Exchange", P], R]:
    """All that the call changes goes into the state file together."""

    @wraps(method)
    def wrapper(self: "Exchange", /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.turn():
            return method(self, *args, **kwargs)

    return wrapper


class Exchange(State):
    def __init__(
        self,
        config: ExchangeConfig,
        clock: Clock,
        schedule: Scheduler,
        faults: FaultBoard | None = None,
    ) -> None:
        super().__init__(config, clock, schedule, faults or FaultBoard(config.seed))
        self._execution = OrderExecution(self)
        self.quotes_sent = QuotesSent()
        self.trade_update_listeners.append(self.quotes_sent.on_trade_update)
        for symbol, qty, price in config.coins:
            self.set_balance(symbol, qty, price)
        self.profile.last_equity = self.equity()

    @_one_turn
    def resume(self) -> None:
        """After a restart: orders that were on their way go on."""
        self._execution.resume()

    # What clients ask for

    @_one_turn
    def submit(self, request: Mapping[str, object]) -> Order:
        """Takes an order or raises ApiError. It is pending_new; all else follows as events."""
        if self.profile.is_suspended:
            raise errors.forbidden("new orders are rejected by user request")
        ticket = order_rules.parse_ticket(request, self.assets)
        return self._execution.accept(ticket, plan_reservation(self, ticket))

    @_one_turn
    def cancel(self, order_id: str) -> None:
        """Asks for a cancel; `canceled` follows as an event. Fills can still come before it."""
        order = self.order(order_id)
        if not order.status.is_open or order.status is Status.PENDING_CANCEL:
            raise errors.not_cancelable(order.status.value)
        self._execution.ask_to_cancel(order)

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
        reservation = plan_reservation(self, ticket, self.account.reservation(order_id))
        new_id = self.new_id("order")
        self._execution.end(order, Event.REPLACED, replaced_by=new_id)
        return self._execution.accept(ticket, reservation, order_id=new_id, replaces=order_id)

    @_one_turn
    def configure_account(self, changes: Mapping[str, object]) -> Mapping[str, object]:
        """Raises ApiError."""
        return self.profile.configure(changes)

    # What the market does

    @_one_turn
    def post_quote(self, quote: Quote) -> None:
        """Takes a quote, passes it to the listeners, and fills what has become marketable."""
        if self.equity_curve.is_due(quote.at_ns):
            self.equity_curve.note(quote.at_ns, self.equity())
        tick = self.market.post(quote)
        for listener in self.tick_listeners:
            listener(tick)
        if quote.is_usable:
            self._execution.on_quote(quote)

    # What the operator does

    @_one_turn
    def end(self, order_id: str, event: Event) -> Order:
        """Expires, rejects or cancels an open order at once. Raises ApiError."""
        return self._execution.end(self.order(order_id), event)

    @_one_turn
    def set_balance(self, unit: str, amount: Decimal, price: Decimal | None = None) -> None:
        super().set_balance(unit, amount, price)

    @_one_turn
    def end_day(self) -> list[FeeActivity]:
        """Posts the fees taken so far, which moves no balance, and notes the day's last equity."""
        self.profile.last_equity = self.equity()
        return self.activities.post_fees(
            self.clock.now_ns(), self.faults, lambda: self.new_id("activity")
        )
