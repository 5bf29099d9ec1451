"""When to buy and when to sell. Pure: state in, prices and decisions out."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from domain.asset import DcaAsset
from domain.cycle import CycleStatus, DcaCycle
from domain.journal import Purpose
from domain.market import AssetRules
from domain.orders import Side
from domain.records import Record
from domain.trading_state import TradingState
from strategy.entry import compute_entry_price
from strategy.exits import (
    ANY_SELL_PRICE,
    Trail,
    compute_exit_price,
    compute_stop_price,
    compute_trail,
    get_sale_purpose,
    is_stop_due,
    may_stop,
)
from strategy.ladder import compute_buy_usd, compute_safety_order_trigger
from strategy.sizing import is_dust

ANY_PRICE = Decimal("Infinity")
# Looked up once: see strategy.ladder.
_WATCHING, _BUYING, _COOLDOWN = CycleStatus.WATCHING, CycleStatus.BUYING, CycleStatus.COOLDOWN
_BASE, _SAFETY, _BUY, _SELL = Purpose.BASE, Purpose.SAFETY, Side.BUY, Side.SELL


class Triggers(Record, frozen=True, kw_only=True):
    """The prices that matter in one state: buy when ask <= `buy_at_or_below`, sell when bid >=
    `sell_at_or_above`; None: never.

    `buy_not_before` holds a buy back until then whatever the price. While a buy is open, a bid at
    or above `cancel_buy_at_or_above` asks for its cancellation: nothing can be sold before it ends.
    With a `trail` the target is where the peak begins, and the sale comes below it. A bid that
    stays at or below `stop_at_or_below` fires the stop loss.
    """

    buy_at_or_below: Decimal | None = None
    buy_purpose: Purpose | None = None
    buy_not_before: datetime | None = None
    sell_at_or_above: Decimal | None = None
    cancel_buy_at_or_above: Decimal | None = None
    trail: Trail | None = None
    stop_at_or_below: Decimal | None = None


NEVER = Triggers()


class Decision(Record, frozen=True):
    """What to do now. `amount_usd` is set for buys; a sale is of the whole position.

    `cancels_buy`: a sale is due while a buy is open, which is canceled first. `is_peak`: the bid is
    to be followed, nothing is sold yet. `fires_stop`: the cycle is to be sold from now on.
    `is_falling`: the bid came down to the trigger.
    """

    side: Side
    purpose: Purpose
    trigger_price: Decimal
    amount_usd: Decimal | None = None
    cancels_buy: bool = False
    is_peak: bool = False
    fires_stop: bool = False
    is_falling: bool = False

    @property
    def is_sale(self) -> bool:
        """Whether an order is to be sent that sells."""
        others = self.cancels_buy or self.is_peak or self.fires_stop
        return self.side is Side.SELL and not others

    @property
    def at_any_price(self) -> bool:
        """Whether this sale is wanted now, whatever the market says."""
        return self.side is Side.SELL and self.trigger_price == ANY_SELL_PRICE


def compute_early_restart_trigger(asset: DcaAsset) -> Decimal | None:
    """USD: how far below the last sell price a cooling-down asset may buy early; None: never."""
    if asset.buy_order_price_deviation_percent is None or asset.last_sell_price is None:
        return None
    return asset.last_sell_price * (1 - asset.buy_order_price_deviation_percent / 100)


def compute_triggers(state: TradingState, rules: AssetRules, fee_rate: Decimal) -> Triggers:
    """The prices that matter in `state`. A cycle in buying or selling waits for its order's end,
    but an open buy does not keep what is held from its take profit.
    """
    asset, cycle = state.asset, state.cycle
    if state.other_symbol:
        return NEVER  # the quantity counts other coins than those whose price we would compare
    holds_coins = not is_dust(cycle.quantity, rules, fee_rate)
    may_fire = asset.stop_loss_percent is not None and holds_coins and may_stop(cycle)
    stop = compute_stop_price(asset, cycle) if may_fire else None
    status = cycle.status
    if status is _BUYING:
        wants_to_sell = holds_coins or cycle.sells_now
        exit_price = compute_exit_price(asset, cycle) if wants_to_sell else None
        return Triggers(cancel_buy_at_or_above=exit_price, stop_at_or_below=stop)
    if cycle.sells_now:  # no buys, not even a base order: it would be sold at once
        can_sell = holds_coins and status is _WATCHING
        return Triggers(sell_at_or_above=ANY_SELL_PRICE) if can_sell else NEVER
    if status is _WATCHING and holds_coins:
        return _compute_triggers_of_coins(asset, cycle, stop)
    begins = (status is _WATCHING or status is _COOLDOWN) and not holds_coins
    return _compute_triggers_of_entry(state, rules) if begins and asset.is_enabled else NEVER


def _compute_triggers_of_coins(asset: DcaAsset, cycle: DcaCycle, stop: Decimal | None) -> Triggers:
    trail = compute_trail(asset, cycle)
    buys_more = asset.is_enabled and asset.max_safety_orders > cycle.safety_orders
    return Triggers(
        buy_at_or_below=compute_safety_order_trigger(asset, cycle) if buys_more else None,
        buy_purpose=_SAFETY if buys_more else None,
        sell_at_or_above=compute_exit_price(asset, cycle) if trail is None else None,
        trail=trail,
        stop_at_or_below=stop,
    )


def _compute_triggers_of_entry(state: TradingState, rules: AssetRules) -> Triggers:
    asset, cycle = state.asset, state.cycle
    price: Decimal | None = ANY_PRICE
    not_before = None
    if cycle.status is _COOLDOWN:
        # What the user wants opened now ends the cooldown with its base order.
        if not cycle.open_requested:
            price = None if state.previous_stop_loss else compute_early_restart_trigger(asset)
    elif state.previous_status is CycleStatus.ERROR:
        not_before = state.cooldown_until
    entry = compute_entry_price(asset, cycle, rules, price)
    if entry is None:
        return NEVER
    return Triggers(buy_at_or_below=entry, buy_purpose=_BASE, buy_not_before=not_before)


def decide_close(state: TradingState, rules: AssetRules, fee_rate: Decimal) -> Decision | None:
    """The sale that the user asked for, or that a stop loss began; or None. It needs no quote."""
    sells_at = compute_triggers(state, rules, fee_rate).sell_at_or_above
    if not state.cycle.sells_now or sells_at is None:
        return None
    return Decision(Side.SELL, get_sale_purpose(state.cycle), ANY_SELL_PRICE)


def decide(
    state: TradingState,
    rules: AssetRules,
    fee_rate: Decimal,
    *,
    bid: Decimal,
    ask: Decimal,
    now: datetime,
    may_buy: bool = True,
) -> Decision | None:
    """What `state` asks for at this quote: a stop loss before a safety order, a safety order before
    a take profit (phase 6). `may_buy`: False where the buy is kept back: a trail sells.
    """
    triggers = compute_triggers(state, rules, fee_rate)
    return decide_by(triggers, state, bid=bid, ask=ask, now=now, may_buy=may_buy)


def decide_by(
    triggers: Triggers,
    state: TradingState,
    *,
    bid: Decimal,
    ask: Decimal,
    now: datetime,
    may_buy: bool = True,
) -> Decision | None:
    """The same by the triggers of `state`, where they are known."""
    stop = triggers.stop_at_or_below
    if stop is not None and is_stop_due(state, bid, stop):
        return Decision(Side.SELL, Purpose.STOP_LOSS, stop, fires_stop=True, is_falling=True)
    price, not_before = triggers.buy_at_or_below, triggers.buy_not_before
    waits = not may_buy or (not_before is not None and now < not_before)
    if price is not None and ask <= price and not waits:
        purpose = triggers.buy_purpose
        assert purpose is not None, "a buy trigger always has a purpose"
        amount_usd = compute_buy_usd(state, purpose)
        return Decision(_BUY, purpose, price, amount_usd)
    if triggers.sell_at_or_above is not None and bid >= triggers.sell_at_or_above:
        return Decision(_SELL, get_sale_purpose(state.cycle), triggers.sell_at_or_above)
    if triggers.trail is not None:
        return _decide_trail(triggers.trail, bid)
    cancel = triggers.cancel_buy_at_or_above
    if cancel is not None and bid >= cancel:
        return Decision(Side.SELL, get_sale_purpose(state.cycle), cancel, cancels_buy=True)
    return None


def _decide_trail(trail: Trail, bid: Decimal) -> Decision | None:
    sell, peak = trail.sell_at_or_below, trail.confirm_at_or_above
    if sell is not None and bid <= sell:
        return Decision(Side.SELL, Purpose.TAKE_PROFIT, sell, is_falling=True)
    if bid >= peak:
        return Decision(Side.SELL, Purpose.TAKE_PROFIT, peak, is_peak=True)
    return None
