"""From a crossed trigger to at most one order: re-reads the row, checks, submits once.

Owns: the order of the checks, and the guard of each symbol. What refuses a base order is in
base_order_checks, what refuses any buy in buy_limits, what a sale is checked against in
take_profit_checks. Writes nothing to the database (phase 4): the trade stream and the reconciler
do. That no order is sent twice is due to its client_order_id alone; the guard only saves requests,
and losing it in a crash is harmless.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial

from config import Settings
from domain.cycle import CycleStatus, DcaCycle
from domain.journal import Purpose
from domain.market import AssetRules, Quote
from domain.orders import Side
from domain.trading_state import TradingState
from strategy.booking import compute_stop_loss_change
from strategy.exits import (
    ExitTrack,
    compute_trail_price,
    raise_peak,
    renew_track,
    with_track,
)
from strategy.order_identity import compute_client_order_id
from strategy.sizing import SizingError, size_buy
from strategy.triggers import Decision, decide, decide_close
from trading.asset_rules_cache import AssetRulesCache
from trading.attempt import Attempt, NewestQuote, Questions, read_state
from trading.base_order_checks import BaseOrderChecks
from trading.buy_limits import BuyLimits
from trading.cycle_changes import apply_to_cycle
from trading.open_orders import OpenOrders
from trading.placement import (
    HOPELESS_SECONDS,
    NOTHING_SECONDS,
    QUOTE_SECONDS,
    UNAVAILABLE_SECONDS,
    Outcome,
    Placement,
    Skip,
)
from trading.placement_guard import PlacementGuard
from trading.take_profit_checks import Sale, available_of, confirm_take_profit, size_sale
from utils.alpaca_client_rest import (
    ExchangeError,
    OrderOutcomeUnknown,
    RateLimited,
    cancel_order,
    place_limit_buy_order,
    place_market_sell_order,
)
from utils.alpaca_queries import fetch_latest_quote
from utils.alpaca_sdk import TradingClient
from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)

CONFIRMED_SECONDS = 2.0  # an older confirmation is asked for again before a sale
_NOTHING = Placement(outcome=Outcome.NOTHING, backs_off_seconds=NOTHING_SECONDS)


def _nothing(quote: Quote | None) -> Placement:
    """The state asks for no order at `quote`.

    Raises:
        Skip: that cannot be said without one.
    """
    if quote is None:
        raise Skip("the newest quote is too old", QUOTE_SECONDS)
    return _NOTHING


@dataclass(eq=False)
class OrderPlacer:
    """Places the orders of all symbols; calls for one symbol must not overlap (each has one
    worker).

    Args:
        resolve: asks the exchange for the order that this cycle's state can have and applies it;
            True when there is one, False on the exchange's own 404, ExchangeError otherwise.
        limits: the buy limits, asked before every buy.
        why_no_orders: a reason to send nothing at all (another daemon holds the account), or None.
    """

    settings: Settings
    client: TradingClient
    rules: AssetRulesCache
    _: KW_ONLY
    resolve: Callable[[DcaCycle], bool]
    limits: BuyLimits
    why_no_orders: Callable[[], str | None]
    _guards: dict[str, PlacementGuard] = field(default_factory=dict)

    @property
    def _base_orders(self) -> BaseOrderChecks:
        return BaseOrderChecks(self.settings.taker_fee_rate, self.resolve)

    def guard(self, symbol: str) -> PlacementGuard:
        """The guard of `symbol`, made at its first use."""
        return self._guards.setdefault(
            symbol, PlacementGuard(symbol, self.settings.unknown_outcome_seconds)
        )

    def consider(
        self,
        symbol: str,
        newest_quote: NewestQuote,
        *,
        has_turn: bool = False,
        known: TradingState | None = None,
        track: Callable[[], ExitTrack | None] = lambda: None,
    ) -> Placement:
        """Place the order that the state of `symbol` asks for at the newest quote, if any.
        Blocking. Without `has_turn` a buy that must wait for its turn is not begun (NEEDS_TURN).

        Args:
            known: the state as it was read a while ago: where it is current, reading is quicker.
            track: gives what the quotes say of what is held, up to the newest.

        Raises:
            DatabaseError: the state could not be read; nothing was sent.
        """
        questions = Questions(self.client, symbol)
        if known is not None:
            self._ask_meanwhile(questions, known, newest_quote, track)
        read_at = time.monotonic()
        if (state := read_state(symbol, known)) is None:
            return _NOTHING
        if state is not known:  # what was asked was asked for another row
            questions = Questions(self.client, symbol)
        side = None
        try:
            rules = self.rules.get(symbol)
            quote = newest_quote()
            if (decision := self._decide(with_track(state, track()), rules, quote)) is None:
                return _nothing(quote)
            side = decision.side
            is_buying = state.cycle.status is CycleStatus.BUYING
            if decision.cancels_buy or (decision.fires_stop and is_buying):
                # What the buy has filled may not be booked yet, and lowers the stop: its end first.
                return self._cancel_open_buy(state, rules, decision)
            guard = self.guard(symbol)
            attempt = Attempt(state, rules, newest_quote, track, guard, read_at, questions)
            if guard.seconds_until_allowed(side, time.monotonic()) > 0:
                decision = self._sale_instead(attempt, decision) or decision
                side = decision.side
            if waiting := self._still_waiting(state, side):
                return waiting
            if decision.fires_stop:
                return self._fire_stop(attempt, decision)
            if decision.is_peak:
                return self._confirm_peak(attempt, decision)
            try:
                return self._place(attempt, decision, has_turn)
            except Skip:
                if (sale := self._sale_instead(attempt, decision)) is None:
                    raise
                side = sale.side
                return self._still_waiting(state, side) or self._place(attempt, sale, has_turn)
        except Skip as skip:
            return replace(skip.placement, side=skip.placement.side or side)
        except ExchangeError as error:
            return Skip(str(error), UNAVAILABLE_SECONDS).placement

    def _ask_meanwhile(
        self,
        questions: Questions,
        known: TradingState,
        newest_quote: NewestQuote,
        track: Callable[[], ExitTrack | None],
    ) -> None:
        """Ask what an order needs to know, while the row is read: it is nearly always as `known`.
        Where something can already be said against the order, nothing is asked.
        """
        symbol, now = known.asset.asset_symbol, time.monotonic()
        guard, rules = self.guard(symbol), self.rules.find(symbol)
        if rules is None or self.why_no_orders() or not guard.asks_at_once(now):
            return
        try:
            quote = newest_quote()
            decision = self._decide(with_track(known, track()), rules, quote)
            if decision is None or decision.cancels_buy or decision.at_any_price:
                return
            is_held = guard.seconds_until_allowed(decision.side, now) > 0
            if is_held or guard.is_waiting_for(compute_client_order_id(known.cycle)):
                return
            if decision.is_sale:
                questions.ask_meanwhile(questions.bid, questions.position)
            elif decision.side is Side.SELL:
                questions.ask_meanwhile(questions.bid)
            elif decision.purpose is Purpose.BASE and rules.is_tradable:
                self._base_orders.check_amount(known, rules, quote)
                if not (self.limits.has_buy_limits or self.limits.why_none_at_all(symbol)):
                    questions.ask_meanwhile(questions.position, questions.open_orders)
        except Skip:
            return

    def _sale_instead(self, attempt: Attempt, decision: Decision) -> Decision | None:
        """The sale of a trail whose price is reached, too, where the safety order of this decision
        is kept back: what stops buys stops no sale.
        """
        if decision.side is not Side.BUY or (quote := attempt.newest_quote()) is None:
            return None
        attempt.may_buy = False
        sale = self._decide(attempt.tracked_state(), attempt.rules, quote, may_buy=False)
        return sale if sale is not None and sale.is_sale else None

    def _decide(
        self,
        state: TradingState,
        rules: AssetRules,
        quote: Quote | None,
        *,
        may_buy: bool = True,
    ) -> Decision | None:
        """What `state` asks for at `quote`; without one only the sale that the user wants. Where
        the spread is too wide for a buy: the sale that is due, too.

        Raises:
            Skip: it asks for a buy, or sees a peak, and the spread is too wide for one. A sale
                needs a confirmed bid, whatever the ask.
        """
        fee_rate, now = self.settings.taker_fee_rate, datetime.now(UTC)
        if quote is None:
            return decide_close(state, rules, fee_rate)
        decide_at = partial(decide, state, rules, fee_rate, bid=quote.bid, ask=quote.ask, now=now)
        decision, most = decide_at(may_buy=may_buy), self.settings.max_spread_percent
        if decision is None or quote.spread_percent <= most:
            return decision
        if decision.side is Side.BUY:
            sale = decide_at(may_buy=False)
            if sale is not None and sale.is_sale:
                return sale
        if decision.side is Side.BUY or decision.is_peak:
            held_back = "no peak is followed" if decision.is_peak else "no buys"
            raise Skip(
                f"the spread is wider than MAX_SPREAD_PERCENT={most.normalize():f}: {held_back}",
                QUOTE_SECONDS,
                side=decision.side,
                cure="wait for a narrower market, or raise MAX_SPREAD_PERCENT in .env",
            )
        return decision

    def _still_waiting(self, state: TradingState, side: Side) -> Placement | None:
        """An order was sent for this very state, or refused just now: that comes first."""
        guard, now = self.guard(state.asset.asset_symbol), time.monotonic()
        if (seconds := guard.seconds_until_allowed(side, now)) > 0:
            return Placement(outcome=Outcome.WAITING, backs_off_seconds=seconds, side=side)
        identity = compute_client_order_id(state.cycle)
        if not guard.is_waiting_for(identity):
            return None
        if guard.seconds_until_ask(now) <= 0:
            if self.resolve(state.cycle):
                guard.found(now)
            else:
                guard.not_found(now)
                if not guard.is_waiting_for(identity):
                    # Repeated, this is a stall: an exchange that takes no orders.
                    reason = "the order that was sent does not exist: it is decided anew"
                    raise Skip(reason, UNAVAILABLE_SECONDS)
        return Placement(outcome=Outcome.WAITING, backs_off_seconds=guard.seconds_until_ask(now))

    def _refuse_while_halted(self) -> None:
        if reason := self.why_no_orders():
            # The halt has a log line, and an alert, of its own.
            raise Skip(reason, UNAVAILABLE_SECONDS, logging.INFO, is_requested=True)

    def _place(self, attempt: Attempt, decision: Decision, has_turn: bool) -> Placement:
        self._refuse_while_halted()
        rules = attempt.rules
        if decision.side is Side.SELL:
            return self._place_take_profit(attempt, decision)
        if not rules.is_tradable:
            raise Skip(
                f"{rules.symbol} is not tradable on Alpaca",
                HOPELESS_SECONDS,
                cure=f"look at it on Alpaca's page; scripts/assets disable {rules.symbol}",
            )
        if self.limits.has_buy_limits and not has_turn:
            return Placement(outcome=Outcome.NEEDS_TURN)
        with self.limits.held():
            return self._place_limited_buy(attempt, decision)

    def _place_limited_buy(self, attempt: Attempt, decision: Decision) -> Placement:
        with attempt.noting_refusals():
            self._check_buy(attempt, decision)
        # The checks took time: the newest quote decides, and the price is taken from it.
        quote = attempt.newest_quote()
        final = self._decide(attempt.tracked_state(), attempt.rules, quote)
        if quote is None or final is None or final.purpose is not decision.purpose:
            return _nothing(quote)
        if attempt.has_changed():
            return _NOTHING
        if block := self.limits.why_none_at_all(attempt.rules.symbol):  # it asks nothing
            raise Skip.of(block)
        return self._place_buy(attempt.state, attempt.rules, final, quote)

    def _check_buy(self, attempt: Attempt, decision: Decision) -> None:
        """Raises Skip where there is to be no buy now. A safety order without buy limits asks
        nothing of the exchange.
        """
        assert decision.amount_usd is not None, "a buy always names its amount"
        state, rules = attempt.state, attempt.rules
        is_base = decision.purpose is Purpose.BASE
        position, orders = attempt.questions.position, attempt.questions.open_orders

        def open_orders() -> OpenOrders:
            attempt.asks()
            if is_base:
                attempt.ask_ahead(orders, position)
            return orders.answer()

        amount_usd = decision.amount_usd
        if block := self.limits.why_no_buys(state, decision.purpose, amount_usd, open_orders):
            raise Skip.of(block)
        if is_base:
            self._base_orders.check_amount(state, rules, attempt.newest_quote())
            attempt.ask_ahead(position, orders)
            self._base_orders.check_account(state, rules, position, orders)

    def _place_buy(
        self, state: TradingState, rules: AssetRules, decision: Decision, quote: Quote
    ) -> Placement:
        assert decision.amount_usd is not None, "a buy always names its amount"
        symbol, is_base = rules.symbol, decision.purpose is Purpose.BASE
        try:
            sized = size_buy(decision.amount_usd, quote.ask, rules)
        except SizingError as error:
            raise Skip(
                f"{decision.purpose} order cannot be placed: {error}",
                HOPELESS_SECONDS,
                cure=f"scripts/assets edit {symbol} {'--base' if is_base else '--safety'} USD",
            ) from None
        if is_base:
            self._base_orders.check_size(sized.qty, rules)
        amount_usd = sized.qty * sized.limit_price
        self.limits.sent(compute_client_order_id(state.cycle), symbol, amount_usd)
        return self._send(
            state,
            decision,
            lambda identity: place_limit_buy_order(
                self.client, symbol, sized.qty, sized.limit_price, client_order_id=identity
            ),
        )

    def _place_take_profit(self, attempt: Attempt, decision: Decision) -> Placement:
        state, rules = attempt.state, attempt.rules
        questions = attempt.questions
        confirmed_at = questions.asked_at or time.monotonic()
        attempt.asks()
        with attempt.noting_refusals():
            if not decision.at_any_price:
                attempt.ask_ahead(questions.bid, questions.position)
                confirm_take_profit(decision, questions.bid.answer())
            fee_rate = self.settings.taker_fee_rate
            available = available_of(questions.position.answer())
            sale = size_sale(self.client, state, rules, fee_rate, available)
        if not decision.at_any_price:
            # The checks took time: the newest quote decides, as it does for a buy.
            if time.monotonic() - confirmed_at > CONFIRMED_SECONDS:
                confirm_take_profit(decision, fetch_latest_quote(rules.symbol).bid)
            quote = attempt.newest_quote()
            tracked, may_buy = attempt.tracked_state(), attempt.may_buy
            final = self._decide(tracked, rules, quote, may_buy=may_buy)
            if final is None or not final.is_sale:
                return _nothing(quote)
            decision = final
        if attempt.has_changed(at_any_price=decision.at_any_price):
            return _NOTHING
        if sale.is_short:
            _alert_short(state, sale)
        return self._send(
            state,
            decision,
            lambda identity: place_market_sell_order(
                self.client, rules.symbol, sale.qty, client_order_id=identity
            ),
        )

    def _confirm_peak(self, attempt: Attempt, decision: Decision) -> Placement:
        """Follow the bid once a second source agrees: a spike must not become a peak."""
        bid, quote = self._ask_second_source(attempt, decision)
        final = self._decide(attempt.tracked_state(), attempt.rules, quote)
        if quote is None or final is None or not final.is_peak:
            return _nothing(quote)
        cycle = attempt.state.cycle
        track = raise_peak(renew_track(None, cycle), min(bid, quote.bid))
        log_event(
            log,
            LogEvent.PEAK_CONFIRMED,
            symbol=attempt.rules.symbol,
            cycle=cycle.id,
            peak=track.peak,
            sell_at=compute_trail_price(attempt.state.asset, track.peak or bid),
        )
        return Placement(outcome=Outcome.FOLLOWED, track=track)

    def _fire_stop(self, attempt: Attempt, decision: Decision) -> Placement:
        """From here on the cycle is sold at any price, whatever happens to this process. The sale
        itself is decided anew, on the row that says so.
        """
        self._refuse_while_halted()
        _, quote = self._ask_second_source(attempt, decision)
        final = self._decide(attempt.tracked_state(), attempt.rules, quote)
        if final is None or not final.fires_stop:
            return _nothing(quote)
        if attempt.has_changed():
            return _NOTHING
        fired = apply_to_cycle(
            compute_stop_loss_change,
            expected=attempt.state.cycle,
            rules=attempt.rules,
            fee_rate=self.settings.taker_fee_rate,
            now=datetime.now(UTC),
        )
        return _NOTHING if fired.change is None else Placement(outcome=Outcome.FIRED)

    def _ask_second_source(
        self, attempt: Attempt, decision: Decision
    ) -> tuple[Decimal, Quote | None]:
        """Its bid, and the newest quote after it. Raises Skip where it does not agree."""
        attempt.asks()
        with attempt.noting_refusals():
            bid = attempt.questions.bid.answer()
            confirm_take_profit(decision, bid)
        return bid, attempt.newest_quote()

    def _cancel_open_buy(
        self, state: TradingState, rules: AssetRules, decision: Decision
    ) -> Placement:
        """Ask for the end of the buy that keeps the position from its sale. When that end is
        booked, the next quote sells.
        """
        order_id, guard = state.cycle.latest_order_id, self.guard(rules.symbol)
        due = f"the {'stop loss' if decision.fires_stop else 'take profit'} is reached"
        if decision.at_any_price:
            due = "its stop loss fired" if state.cycle.stop_loss_fired else "it is to be closed"
        self._refuse_while_halted()
        if order_id is None or not guard.may_cancel(order_id):
            raise Skip(
                f"{due}, and the open buy does not end",
                cure="cancel it on Alpaca's page",
            )
        if guard.seconds_until_cancel(order_id, time.monotonic()) <= 0:
            if not decision.at_any_price:
                confirm_take_profit(decision, fetch_latest_quote(rules.symbol).bid)
            guard.canceling(order_id, time.monotonic())
            log_event(
                log,
                LogEvent.CANCEL_REQUESTED,
                symbol=rules.symbol,
                cycle=state.cycle.id,
                order=order_id,
                trigger=decision.trigger_price,
                reason=f"{due} while this buy is open",
            )
            cancel_order(self.client, order_id)
        seconds = guard.seconds_until_cancel(order_id, time.monotonic())
        return Placement(outcome=Outcome.WAITING, backs_off_seconds=seconds, side=Side.SELL)

    def _send(
        self, state: TradingState, decision: Decision, submit: Callable[[str], object | None]
    ) -> Placement:
        """Submit once under the state's own id. From here on the guard waits for what became of
        it.
        """
        identity = compute_client_order_id(state.cycle)
        symbol, guard = state.asset.asset_symbol, self.guard(state.asset.asset_symbol)
        log_event(
            log,
            LogEvent.ORDER_DECIDED,
            symbol=symbol,
            cycle=state.cycle.id,
            seq=state.cycle.order_seq,
            purpose=decision.purpose,
            trigger=None if decision.trigger_price.is_infinite() else decision.trigger_price,
            id=identity,
        )
        guard.sending(identity, time.monotonic())
        try:
            order = submit(identity)
        except OrderOutcomeUnknown as error:
            guard.unknown(time.monotonic())
            seconds = guard.seconds_until_ask(time.monotonic())
            return Placement(outcome=Outcome.UNKNOWN, reason=str(error), backs_off_seconds=seconds)
        except RateLimited:  # no refusal of this order: it is sent again when requests are left
            guard.not_sent()
            self.limits.forget(identity)
            raise
        if order is not None:
            seconds = guard.seconds_until_ask(time.monotonic())
            return Placement(outcome=Outcome.SENT, backs_off_seconds=seconds)
        # Also a refusal is asked after: "client_order_id must be unique" means that it exists.
        if self.resolve(state.cycle):
            guard.found(time.monotonic())
            return Placement(outcome=Outcome.WAITING)
        self.limits.forget(identity)
        guard.refused(decision.side, time.monotonic())
        return Placement(
            outcome=Outcome.REFUSED,
            reason=f"{decision.purpose} order refused",
            backs_off_seconds=guard.seconds_until_allowed(decision.side, time.monotonic()),
            side=decision.side,
            cure="order.refused in logs/app.log says why",
        )


def _alert_short(state: TradingState, sale: Sale) -> None:
    log_event(
        log,
        LogEvent.TAKE_PROFIT_SHORT,
        mail=True,
        symbol=state.asset.asset_symbol,
        cycle=state.cycle.id,
        quantity=state.cycle.quantity,
        available=sale.available,
        reason="coins of the cycle are missing from the account: what is there is sold",
    )
