"""The life of an order once it is taken: onto the book, to the market, filled, ended.

The only place where orders fill: the execution is planned, the balances are planned and checked,
then all is committed. The faults of orders apply here.
"""

from decimal import Decimal

from paper_exchange.core import errors, matching
from paper_exchange.core.account import InsufficientFunds, Reservation
from paper_exchange.core.activities import ExecutionRecord
from paper_exchange.core.assets import Asset
from paper_exchange.core.buying_power import needed
from paper_exchange.core.decimals import floor_to
from paper_exchange.core.fees import COIN_INCREMENT
from paper_exchange.core.matching import Execution
from paper_exchange.core.order_rules import Ticket
from paper_exchange.core.orders import Event, Order, OrderType, Side, Status, TimeInForce, advance
from paper_exchange.core.prices import Quote
from paper_exchange.core.state import State, TradeUpdate, order_facts
from paper_exchange.faults.armed import Fault
from paper_exchange.faults.table import Seam


class OrderExecution:
    def __init__(self, state: State) -> None:
        self._state = state
        self._held_by: dict[str, list[str]] = {}
        state.faults.cleared_listeners.append(lambda fault: state.run(self._release_held, fault))

    def accept(
        self,
        ticket: Ticket,
        reservation: Reservation,
        *,
        order_id: str | None = None,
        replaces: str | None = None,
    ) -> Order:
        """Takes the order as pending_new and schedules its next step."""
        state = self._state
        now_ns = state.clock.now_ns()
        ordinal = len(state.book) + 1
        probability = state.switches.partial_fill_probability
        quote = state.market.quote(ticket.asset.symbol)
        order = Order(
            id=order_id or state.new_id("order"),
            client_order_id=ticket.client_order_id or state.new_id("client order"),
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
            first_part=matching.draw_first_part(state.seed, ordinal, probability),
            collar_price=self._collar(ticket.type, ticket.side, ticket.asset, quote),
        )
        state.book.add(order)
        state.account.reserve(order.id, reservation)
        state.publish(TradeUpdate(event=Event.PENDING_NEW, order=order, at_ns=now_ns))
        state.later(self._open, order.id)
        return order

    def ask_to_cancel(self, order: Order) -> None:
        """pending_cancel now, canceled after a while; a fill may come first."""
        order = self._state.change(order, Event.PENDING_CANCEL)
        stuck = self._state.faults.first(Seam.CANCEL, **order_facts(order))
        if stuck is None:
            self._state.later(self._finish_cancel, order.id)
        elif stuck.seconds:
            self._state.schedule(stuck.seconds, self._finish_cancel, order.id)
        else:
            self._held_by.setdefault(stuck.id, []).append(order.id)

    def end(self, order: Order, event: Event, **changes: object) -> Order:
        """Ends an open order and releases what it reserved. Raises ApiError when it has ended."""
        if not order.status.is_open:
            raise errors.not_cancelable(order.status.value)
        self._state.account.release(order.id)
        order = self._state.change(order, event, **changes)
        if event is Event.CANCELED:
            for fault in self._state.faults.visit(Seam.CANCELED, **order_facts(order)):
                part = fault.number("fraction")
                self._state.schedule(fault.seconds, self._fill_late, order.id, part)
        return order

    def on_quote(self, quote: Quote) -> None:
        """Fills what the quote makes marketable, oldest order first."""
        for order in self._state.book.open_on(quote.symbol):
            if order.is_working:
                self._match(order, quote)
            elif order.has_arrived and not order.is_triggered:
                self._trigger_if_reached(order, quote)

    def resume(self) -> None:
        """Schedules again what the last process had scheduled; no fault holds an order any more."""
        for order in self._state.book.all_open():
            order = self._state.note(order, is_held=False, holds_after_part=False)
            match order.status:
                case Status.PENDING_NEW:
                    self._state.later(self._open, order.id)
                case Status.PENDING_CANCEL:
                    self._state.later(self._finish_cancel, order.id)
                case _ if not order.has_arrived:
                    self._state.later(self._arrive, order.id)

    # Onto the book

    def _open(self, order_id: str) -> None:
        order = self._state.order(order_id)
        if order.status is not Status.PENDING_NEW:
            return
        if self._state.faults.first(Seam.OPEN, **order_facts(order)) is not None:
            self.end(order, Event.REJECTED)
            return
        self._state.change(order, Event.NEW)
        self._state.later(self._arrive, order_id)

    def _arrive(self, order_id: str) -> None:
        """The order meets the market for the first time."""
        order = self._state.order(order_id)
        if not order.status.is_open:
            return
        order = self._state.note(order, has_arrived=True)
        quote = self._state.market.quote(order.symbol)
        if order.type is not OrderType.STOP_LIMIT:
            self._meet(order, quote)
        elif quote is not None:
            self._trigger_if_reached(order, quote)

    def _trigger_if_reached(self, order: Order, quote: Quote) -> None:
        if matching.stop_is_reached(order, quote):
            self._meet(self._state.note(order, is_triggered=True), quote)

    def _meet(self, order: Order, quote: Quote | None) -> None:
        """Fills at once as taker, or rests as maker; an ioc order does not rest."""
        if quote is not None:
            price = matching.marketable_price(order.side, order.working_limit, quote)
            is_taker = price is not None or order.type is OrderType.MARKET
            order = self._match(self._state.note(order, is_taker=is_taker), quote)
        if order.time_in_force is TimeInForce.IOC and order.status.is_open:
            self.end(order, Event.CANCELED)

    # Filling

    def _match(self, order: Order, quote: Quote) -> Order:
        if order.type is OrderType.MARKET and order.collar_price is None:
            order = self._price_market_order(order, quote)
        if not order.is_working:
            return order
        increment = self._state.asset(order.symbol).min_trade_increment
        if matching.plan_execution(order, quote, increment) is None:
            return order
        order = self._hold_after_part(order)
        execution = matching.plan_execution(order, quote, increment)
        assert execution is not None
        return self._execute(order, execution)

    def _price_market_order(self, order: Order, quote: Quote) -> Order:
        """A market order taken before there was a price gets its collar from the first quote."""
        account, asset = self._state.account, self._state.asset(order.symbol)
        collar = self._collar(order.type, order.side, asset, quote)
        wanted = needed(asset, order.side, order.qty, order.notional, collar)
        account.release(order.id)
        lacks_usd = wanted.usd > account.available_usd()
        if lacks_usd or wanted.coins > account.available_coins(order.symbol):
            return self.end(order, Event.REJECTED)
        account.reserve(order.id, wanted)
        return self._state.note(order, collar_price=collar, is_taker=True)

    def _execute(self, order: Order, execution: Execution) -> Order:
        state, account = self._state, self._state.account
        qty, price = execution.qty, execution.price
        pays_as_maker = state.faults.first(Seam.FEE, **order_facts(order)) is not None
        is_maker = not order.is_taker or pays_as_maker
        fee = state.fees.fee(side=order.side, qty=qty, price=price, is_maker=is_maker)
        try:
            change = account.plan_fill(order.symbol, order.side, qty, price, fee)
        except InsufficientFunds:
            return self._give_up(order)
        now_ns = state.clock.now_ns()
        event = Event.FILL if execution.is_final else Event.PARTIAL_FILL
        order = advance(
            order,
            event,
            now_ns,
            filled_qty=order.filled_qty + qty,
            filled_value=order.filled_value + qty * price,
            is_held=order.holds_after_part and not execution.is_final,
        )
        record = ExecutionRecord(
            execution_id=state.new_id("execution"),
            order_id=order.id,
            client_order_id=order.client_order_id,
            symbol=order.symbol,
            side=order.side,
            qty=qty,
            price=price,
            fee=fee,
            is_maker=is_maker,
            at_ns=now_ns,
        )
        account.commit(change)
        state.book.put(order)
        self._shrink_reservation(order)
        state.activities.record_fill(record, order, is_final=execution.is_final)
        state.publish(
            TradeUpdate(
                event=event,
                order=order,
                at_ns=now_ns,
                execution_id=record.execution_id,
                price=price,
                qty=qty,
                position_qty=account.qty(order.symbol),
            )
        )
        for fault in state.faults.visit(Seam.AFTER_FILL, event=event.value, **order_facts(order)):
            self._vanish(order.symbol, fault)
        return order

    def _give_up(self, order: Order) -> Order:
        """The operator took its balance: it can never fill."""
        if not order.status.is_open:
            return order
        return self.end(order, Event.CANCELED if order.filled_qty else Event.REJECTED)

    def _shrink_reservation(self, order: Order) -> None:
        """An order that filled in part reserves what its rest needs; a filled one nothing."""
        account = self._state.account
        if not order.status.is_open:
            account.release(order.id)
            return
        rest = None if order.qty is None else order.qty - order.filled_qty
        value = None if order.notional is None else order.notional - order.filled_value
        asset = self._state.asset(order.symbol)
        account.reserve(order.id, needed(asset, order.side, rest, value, order.working_limit))

    def _finish_cancel(self, order_id: str) -> None:
        order = self._state.order(order_id)
        if order.status is Status.PENDING_CANCEL:
            self.end(order, Event.CANCELED)

    # What faults ask for

    def _collar(
        self, order_type: OrderType, side: Side, asset: Asset, quote: Quote | None
    ) -> Decimal | None:
        if order_type is not OrderType.MARKET or quote is None:
            return None
        fault = self._state.faults.first(Seam.COLLAR, symbol=asset.symbol, side=side.value)
        width = matching.MARKET_COLLAR if fault is None else -fault.number("percent") / 100
        return matching.collar_price(side, quote, asset.price_increment, width)

    def _hold_after_part(self, order: Order) -> Order:
        if order.filled_qty:
            return order
        fault = self._state.faults.first(Seam.FILL, **order_facts(order))
        if fault is None:
            return order
        self._held_by.setdefault(fault.id, []).append(order.id)
        part = fault.number("fraction")
        return self._state.note(order, first_part=part, holds_after_part=True)

    def _fill_late(self, order_id: str, fraction: Decimal) -> None:
        """A fill that comes after the order was canceled, at the worst price it allowed."""
        order = self._state.order(order_id)
        price = order.working_limit
        if order.status is not Status.CANCELED or price is None or order.qty is None:
            return
        rest = order.qty - order.filled_qty
        qty = floor_to(rest * fraction, self._state.asset(order.symbol).min_trade_increment)
        if qty > 0:
            self._execute(order, Execution(qty, price, is_final=qty == rest))

    def _vanish(self, symbol: str, fault: Fault) -> None:
        unit = "USD" if fault.parameters["unit"] == "USD" else symbol
        left = self._state.balance(unit) * (1 - fault.number("fraction"))
        self._state.set_balance(unit, floor_to(left, COIN_INCREMENT))

    def _release_held(self, fault: Fault) -> None:
        """The fault was cleared: cancels that it held back end, orders that it held fill again."""
        for order_id in self._held_by.pop(fault.id, []):
            if fault.kind.seam is Seam.CANCEL:
                self._finish_cancel(order_id)
            else:
                order = self._state.order(order_id)
                self._state.note(order, is_held=False, holds_after_part=False)
