"""From a crossed trigger to at most one order: re-reads the row, checks the world, submits once.

Owns: the checks before an order and the in-memory guard of each symbol. Writes nothing to the
database (phase 4): the trade stream and the reconciler do. That no order is sent twice rests on
its client_order_id alone; the guard only saves requests, and losing it in a crash is harmless.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum

from alpaca.trading.client import TradingClient

from config import Settings
from domain.cycle import DcaCycle
from domain.journal import Purpose
from domain.market import AssetRules, Quote
from domain.orders import Side
from domain.trading_state import TradingState
from models.trading_state import load_trading_state, with_leftovers
from strategy.order_identity import compute_client_order_id
from strategy.sizing import (
    SizingError,
    is_dust,
    is_short_beyond_fees,
    is_unsellable,
    minimum_base_order_usd,
    size_buy,
    size_take_profit,
)
from strategy.triggers import Decision, decide, decide_close
from strategy.unclaimed import cure_of_foreign_coins
from trading.asset_rules_cache import AssetRulesCache
from trading.buy_limits import BuyLimits
from trading.placement_guard import PlacementGuard
from utils.alpaca_client_rest import (
    ExchangeError,
    OrderOutcomeUnknown,
    RateLimited,
    cancel_order,
    place_limit_buy_order,
    place_market_sell_order,
)
from utils.alpaca_queries import fetch_latest_quote, fetch_open_orders_of, fetch_position
from utils.db_utils import thread_connection
from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)

NOTHING_SECONDS = 0.25  # bounds the reads of a state that asks for nothing at this price
SKIP_SECONDS = 30.0  # how long a symbol rests when the world does not allow an order now
UNAVAILABLE_SECONDS = 5.0
SETTLE_SECONDS = 3.0  # a position can lag behind the fill that made it
CONFIRMED_SECONDS = 2.0  # an older word of the second source is asked for again before a sale
HOPELESS_SECONDS = 600.0  # what only a person can change


class Outcome(Enum):
    NOTHING = "nothing"  # the state asks for no order at this quote
    SENT = "sent"
    SKIPPED = "skipped"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    NEEDS_TURN = "needs_turn"  # a limit is set: only one buy at a time may be checked and sent
    WAITING = (
        "waiting"  # an order was sent for this very state, its result has not reached the row yet
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What became of a crossed trigger, and how long which side rests before it looks again.

    `cure`: what a person can do about it. `is_requested`: the user wants it so, or a
    louder alert says it.
    """

    outcome: Outcome
    reason: str = ""
    backs_off_seconds: float = 0.0
    side: Side | None = None  # which orders rest; None: both
    level: int = logging.WARNING
    cure: str | None = None
    is_requested: bool = False


_NOTHING = Placement(outcome=Outcome.NOTHING, backs_off_seconds=NOTHING_SECONDS)


class _Skip(Exception):
    """No order now; carries the placement that says why."""

    def __init__(
        self,
        reason: str,
        backs_off_seconds: float = SKIP_SECONDS,
        level: int = logging.WARNING,
        side: Side | None = None,
        *,
        cure: str | None = None,
        is_requested: bool = False,
    ) -> None:
        super().__init__(reason)
        self.placement = Placement(
            outcome=Outcome.SKIPPED,
            reason=reason,
            backs_off_seconds=backs_off_seconds,
            side=side,
            level=level,
            cure=cure,
            is_requested=is_requested,
        )


def _nothing(quote: Quote | None) -> Placement:
    """The state asks for no order at `quote`.

    Raises:
        _Skip: that cannot be told without one.
    """
    if quote is None:
        raise _Skip("the newest quote is too old", 1.0)
    return _NOTHING


class OrderPlacer:
    """Places the orders of all symbols; calls for one symbol must not overlap (each has one
    worker).

    Args:
        resolve: asks the exchange for the order that this cycle's state can have and applies it;
            True when there is one, False on the exchange's own 404, ExchangeError otherwise.
        limits: the buy limits, asked before every buy.
        why_no_orders: a reason to send nothing at all (another daemon holds the account), or None.
    """

    def __init__(
        self,
        settings: Settings,
        client: TradingClient,
        rules: AssetRulesCache,
        *,
        resolve: Callable[[DcaCycle], bool],
        limits: BuyLimits,
        why_no_orders: Callable[[], str | None],
    ) -> None:
        self._settings = settings
        self._client = client
        self._rules = rules
        self._resolve = resolve
        self._limits = limits
        self._why_no_orders = why_no_orders
        self._guards: dict[str, PlacementGuard] = {}

    def guard(self, symbol: str) -> PlacementGuard:
        """The guard of `symbol`, made at its first use."""
        return self._guards.setdefault(
            symbol, PlacementGuard(symbol, self._settings.unknown_outcome_seconds)
        )

    def consider(
        self, symbol: str, newest_quote: Callable[[], Quote | None], *, has_turn: bool = False
    ) -> Placement:
        """Place the order that the state of `symbol` asks for at the newest quote, if any.
        Blocking. Without `has_turn` a buy that must wait for its turn is not begun (NEEDS_TURN).

        Raises:
            DatabaseError: the state could not be read; nothing was sent.
        """
        state = load_trading_state(thread_connection(), symbol)
        if state is None:
            return _NOTHING
        side = None
        try:
            rules = self._rules.get(symbol)
            quote = newest_quote()
            if (decision := self._decide(state, rules, quote)) is None:
                return _nothing(quote)
            side = decision.side
            if decision.cancels_buy:
                return self._cancel_resting_buy(state, rules, decision)
            if waiting := self._still_waiting(state, side):
                return waiting
            return self._place(state, rules, newest_quote, has_turn)
        except _Skip as skip:
            return replace(skip.placement, side=skip.placement.side or side)
        except ExchangeError as error:
            return Placement(
                outcome=Outcome.SKIPPED, reason=str(error), backs_off_seconds=UNAVAILABLE_SECONDS
            )

    def _decide(
        self, state: TradingState, rules: AssetRules, quote: Quote | None
    ) -> Decision | None:
        """What `state` asks for at `quote`; without one only the sale that the user wants.

        Raises:
            _Skip: it asks for a buy, and the spread is too wide for one. A sale needs a confirmed
                bid, whatever the ask.
        """
        if quote is None:
            return decide_close(state, rules, self._settings.taker_fee_rate)
        decision = decide(
            state,
            rules,
            self._settings.taker_fee_rate,
            bid=quote.bid,
            ask=quote.ask,
            now=datetime.now(UTC),
        )
        most = self._settings.max_spread_percent
        if decision is not None and decision.side is Side.BUY and quote.spread_percent > most:
            raise _Skip(
                f"the spread is wider than MAX_SPREAD_PERCENT={most.normalize():f}: no buys",
                1.0,
                side=Side.BUY,
                cure="wait for a narrower market, or raise MAX_SPREAD_PERCENT in .env",
            )
        return decision

    def _still_waiting(self, state: TradingState, side: Side) -> Placement | None:
        """An order was sent for this very state, or refused just now: that comes first."""
        guard, now = self.guard(state.asset.asset_symbol), time.monotonic()
        if (rest_seconds := guard.seconds_until_allowed(side, now)) > 0:
            return Placement(outcome=Outcome.WAITING, backs_off_seconds=rest_seconds, side=side)
        identity = compute_client_order_id(state.cycle)
        if not guard.is_waiting_for(identity):
            return None
        if guard.seconds_until_ask(now) <= 0:
            if self._resolve(state.cycle):
                guard.found(now)
            else:
                guard.not_found(now)
                if not guard.is_waiting_for(identity):
                    # Once is an accident. Again and again it is an exchange that takes no orders.
                    reason = "the order that was sent does not exist: it is decided anew"
                    raise _Skip(reason, UNAVAILABLE_SECONDS)
        return Placement(outcome=Outcome.WAITING, backs_off_seconds=guard.seconds_until_ask(now))

    def _place(
        self,
        state: TradingState,
        rules: AssetRules,
        newest_quote: Callable[[], Quote | None],
        has_turn: bool,
    ) -> Placement:
        if reason := self._why_no_orders():
            # Whoever halts says so, louder.
            raise _Skip(reason, UNAVAILABLE_SECONDS, logging.INFO, is_requested=True)
        quote = newest_quote()
        if (decision := self._decide(state, rules, quote)) is None:
            return _nothing(quote)
        if decision.side is Side.SELL:
            return self._place_take_profit(state, rules, decision, newest_quote)
        assert decision.amount_usd is not None, "a buy always names its amount"
        if not rules.is_tradable:
            raise _Skip(
                f"{rules.symbol} is not tradable on Alpaca",
                HOPELESS_SECONDS,
                cure=f"look at it on Alpaca's page; scripts/assets disable {rules.symbol}",
            )
        if self._limits.has_buy_limits and not has_turn:
            return Placement(outcome=Outcome.NEEDS_TURN)
        with self._limits.held():
            return self._place_limited_buy(state, rules, decision, newest_quote)

    def _place_limited_buy(
        self,
        state: TradingState,
        rules: AssetRules,
        decision: Decision,
        newest_quote: Callable[[], Quote | None],
    ) -> Placement:
        assert decision.amount_usd is not None, "a buy always names its amount"
        if block := self._limits.why_no_buys(state, decision.purpose, decision.amount_usd):
            raise _Skip(
                block.reason, block.backs_off_seconds, block.level, is_requested=block.is_requested
            )
        if decision.purpose is Purpose.BASE:
            self._check_base_order(state, rules, newest_quote())
        # The checks took time: the newest quote decides, and the price is taken from it.
        quote = newest_quote()
        final = self._decide(state, rules, quote)
        if quote is None or final is None or final.purpose is not decision.purpose:
            return _nothing(quote)
        if self._has_changed(state):
            return _NOTHING
        return self._place_buy(state, rules, final, quote)

    def _has_changed(self, state: TradingState) -> bool:
        """Whether the row is another one than the decision was made on: the newest decides, too.
        Who disables an asset, removes it or takes a close back must find no order after that.
        """
        newest = load_trading_state(thread_connection(), state.asset.asset_symbol)
        return newest != replace(state, leftover=Decimal(0))

    def _check_base_order(
        self, state: TradingState, rules: AssetRules, quote: Quote | None
    ) -> None:
        """A cycle opens only where nothing is held and nothing is on its way (phase 4)."""
        symbol = rules.symbol
        if quote is not None:
            least = minimum_base_order_usd(rules, quote.ask, self._settings.taker_fee_rate)
            if state.asset.base_order_amount < least:
                raise _Skip(
                    f"base_order_amount {state.asset.base_order_amount.normalize():f} USD is below"
                    f" {least:.2f} USD, the least that can be sold again: raise it",
                    HOPELESS_SECONDS,
                    logging.ERROR,
                    cure=f"scripts/assets edit {symbol} --base USD",
                )
        position = fetch_position(self._client, symbol)
        [state] = with_leftovers(thread_connection(), [state])
        if position is not None and not is_unsellable(state.foreign_coins(position.qty), rules):
            raise _Skip(
                f"Base order for {symbol} skipped, existing position found on Alpaca:"
                f" {position.qty.normalize():f}",
                cure=cure_of_foreign_coins(symbol),
            )
        if open_orders := fetch_open_orders_of(self._client, symbol):
            identity = compute_client_order_id(state.cycle)
            if any(order.client_order_id == identity for order in open_orders):
                self._resolve(state.cycle)
            raise _Skip(
                f"Base order for {symbol} skipped, open order found on Alpaca:"
                f" {open_orders[0].client_order_id}",
                UNAVAILABLE_SECONDS,
                cure="cancel it on Alpaca's page if it is yours: the symbol is the bot's",
            )

    def _place_buy(
        self, state: TradingState, rules: AssetRules, decision: Decision, quote: Quote
    ) -> Placement:
        assert decision.amount_usd is not None, "a buy always names its amount"
        try:
            sized = size_buy(decision.amount_usd, quote.ask, rules)
        except SizingError as error:
            option = "--base" if decision.purpose is Purpose.BASE else "--safety"
            raise _Skip(
                f"{decision.purpose} order cannot be placed: {error}",
                HOPELESS_SECONDS,
                cure=f"scripts/assets edit {rules.symbol} {option} USD",
            ) from None
        if decision.purpose is Purpose.BASE and is_dust(
            sized.qty, rules, self._settings.taker_fee_rate
        ):
            raise _Skip(
                f"base order of {sized.qty:f} coins could not be sold again after the fee:"
                " raise base_order_amount",
                HOPELESS_SECONDS,
                logging.ERROR,
                cure=f"scripts/assets edit {rules.symbol} --base USD",
            )
        identity = compute_client_order_id(state.cycle)
        self._limits.sent(identity, rules.symbol, sized.qty * sized.limit_price)
        return self._send(
            state,
            decision,
            lambda identity: place_limit_buy_order(
                self._client, rules.symbol, sized.qty, sized.limit_price, client_order_id=identity
            ),
        )

    def _place_take_profit(
        self,
        state: TradingState,
        rules: AssetRules,
        decision: Decision,
        newest_quote: Callable[[], Quote | None],
    ) -> Placement:
        cycle, fee_rate = state.cycle, self._settings.taker_fee_rate
        if not decision.at_any_price:
            self._confirm_take_profit(rules, decision)
        [state] = with_leftovers(thread_connection(), [state])
        confirmed_at = time.monotonic()
        available = self._available(rules.symbol)
        short = is_short_beyond_fees(cycle.quantity, state.coin_fees, available, rules, fee_rate)
        if short:
            # Positions can lag behind fills; nothing announces that they caught up.
            time.sleep(SETTLE_SECONDS)
            available = self._available(rules.symbol)
            short = is_short_beyond_fees(
                cycle.quantity, state.coin_fees, available, rules, fee_rate
            )
        try:
            qty = size_take_profit(
                cycle.quantity, state.coin_fees, available, rules, fee_rate, state.leftover
            )
        except SizingError as error:
            raise _Skip(
                f"take profit cannot be placed: {error}",
                cure="does an order of yours reserve the coins, or did you sell some?",
            ) from None
        if not decision.at_any_price:
            # The checks took time: the newest quote decides, as it does for a buy.
            if time.monotonic() - confirmed_at > CONFIRMED_SECONDS:
                self._confirm_take_profit(rules, decision)
            quote = newest_quote()
            final = self._decide(state, rules, quote)
            if final is None or final.side is not Side.SELL:
                return _nothing(quote)
            decision = final
        if self._has_changed(state):
            return _NOTHING
        if short:
            log_event(
                log,
                LogEvent.TAKE_PROFIT_SHORT,
                mail=True,
                symbol=rules.symbol,
                cycle=cycle.id,
                quantity=cycle.quantity,
                available=available,
                reason="coins of the cycle are missing from the account: what is there is sold",
            )
        return self._send(
            state,
            decision,
            lambda identity: place_market_sell_order(
                self._client, rules.symbol, qty, client_order_id=identity
            ),
        )

    def _cancel_resting_buy(
        self, state: TradingState, rules: AssetRules, decision: Decision
    ) -> Placement:
        """Ask for the end of the buy that keeps the position from its take profit. When that end
        is booked, the next quote sells.
        """
        cycle, guard, now = state.cycle, self.guard(rules.symbol), time.monotonic()
        if reason := self._why_no_orders():
            raise _Skip(reason, UNAVAILABLE_SECONDS, logging.INFO, is_requested=True)
        if cycle.latest_order_id is None or not guard.may_cancel(cycle.latest_order_id):
            raise _Skip(
                "the take profit is reached, and the buy that rests does not end",
                cure="cancel it on Alpaca's page",
            )
        if (wait_seconds := guard.seconds_until_cancel(cycle.latest_order_id, now)) > 0:
            return Placement(
                outcome=Outcome.WAITING, backs_off_seconds=wait_seconds, side=Side.SELL
            )
        if not decision.at_any_price:
            self._confirm_take_profit(rules, decision)
        guard.canceling(cycle.latest_order_id, time.monotonic())
        log_event(
            log,
            LogEvent.CANCEL_REQUESTED,
            symbol=rules.symbol,
            cycle=cycle.id,
            order=cycle.latest_order_id,
            trigger=decision.trigger_price,
            reason="the take profit of what is held is reached while this buy rests",
        )
        cancel_order(self._client, cycle.latest_order_id)
        return Placement(
            outcome=Outcome.WAITING,
            backs_off_seconds=guard.seconds_until_cancel(cycle.latest_order_id, time.monotonic()),
            side=Side.SELL,
        )

    def _confirm_take_profit(self, rules: AssetRules, decision: Decision) -> None:
        """One-tick spikes exist on the stream: a second source must agree before coins are sold.

        Asked before anything else: market data has an allowance of its own, and often says no.
        """
        confirmed = fetch_latest_quote(rules.symbol)
        if confirmed.bid < decision.trigger_price:
            raise _Skip(
                f"take profit not confirmed: bid {confirmed.bid} is below"
                f" {decision.trigger_price:f}",
                1.0,
                logging.INFO,
            )

    def _available(self, symbol: str) -> Decimal:
        position = fetch_position(self._client, symbol)
        return position.qty_available if position is not None else Decimal(0)

    def _send(
        self, state: TradingState, decision: Decision, submit: Callable[[str], object | None]
    ) -> Placement:
        """Submit once under the state's own id.

        From here on the guard waits for what became of it.
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
            backs_off_seconds = guard.seconds_until_ask(time.monotonic())
            return Placement(
                outcome=Outcome.UNKNOWN, reason=str(error), backs_off_seconds=backs_off_seconds
            )
        except RateLimited:  # no refusal of this order: it is sent again when requests are left
            guard.not_sent()
            self._limits.forget(identity)
            raise
        if order is not None:
            return Placement(
                outcome=Outcome.SENT, backs_off_seconds=guard.seconds_until_ask(time.monotonic())
            )
        # Also a refusal is asked after: "client_order_id must be unique" means that it exists.
        if self._resolve(state.cycle):
            guard.found(time.monotonic())
            return Placement(outcome=Outcome.WAITING)
        self._limits.forget(identity)
        guard.refused(decision.side, time.monotonic())
        return Placement(
            outcome=Outcome.REFUSED,
            reason=f"{decision.purpose} order refused",
            backs_off_seconds=guard.seconds_until_allowed(decision.side, time.monotonic()),
            side=decision.side,
            cure="order.refused in logs/app.log says why",
        )
