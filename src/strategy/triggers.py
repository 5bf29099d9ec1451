"""When to buy and when to sell. Pure: state in, prices and decisions out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from domain.asset import DcaAsset
from domain.cycle import CycleStatus
from domain.journal import Purpose
from domain.market import AssetRules
from domain.orders import Side
from domain.trading_state import TradingState
from strategy.entry import compute_entry_price
from strategy.exits import ANY_SELL_PRICE, compute_exit_price
from strategy.ladder import compute_buy_usd, compute_safety_order_trigger, count_safety_orders_left
from strategy.sizing import is_dust

ANY_PRICE = Decimal("Infinity")


@dataclass(frozen=True, slots=True, kw_only=True)
class Triggers:
    """The prices that matter in one state: buy when ask <= `buy_at_or_below`, sell when bid >=
    `sell_at_or_above`; None: never.

    `buy_not_before` holds a buy back until then whatever the price. While a buy is open, a bid at
    or above `cancel_buy_at_or_above` asks for its cancellation: nothing can be sold before it ends.
    """

    buy_at_or_below: Decimal | None = None
    buy_purpose: Purpose | None = None
    buy_not_before: datetime | None = None
    sell_at_or_above: Decimal | None = None
    cancel_buy_at_or_above: Decimal | None = None


NEVER = Triggers()


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now. `amount_usd` is set for buys; a take profit sells the whole position.
    `cancels_buy`: the take profit is reached while a buy is open, which is canceled first.
    """

    side: Side
    purpose: Purpose
    trigger_price: Decimal
    amount_usd: Decimal | None = None
    cancels_buy: bool = False

    @property
    def at_any_price(self) -> bool:
        """Whether the user wants this sale now, whatever the market says."""
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
    if cycle.status is CycleStatus.BUYING:
        wants_to_sell = holds_coins or cycle.close_requested
        exit_price = compute_exit_price(asset, cycle) if wants_to_sell else None
        return Triggers(cancel_buy_at_or_above=exit_price)
    if cycle.close_requested:  # no buys, not even a base order: it would be sold at once
        can_sell = holds_coins and cycle.status is CycleStatus.WATCHING
        return Triggers(sell_at_or_above=ANY_SELL_PRICE) if can_sell else NEVER
    match cycle.status:
        case CycleStatus.COOLDOWN:
            # What the user wants opened now ends the cooldown with its base order.
            early = ANY_PRICE if cycle.open_requested else compute_early_restart_trigger(asset)
            entry = compute_entry_price(asset, cycle, rules, early)
            if not asset.is_enabled or entry is None or holds_coins:
                return NEVER
            return Triggers(buy_at_or_below=entry, buy_purpose=Purpose.BASE)
        case CycleStatus.WATCHING if not holds_coins:
            entry = compute_entry_price(asset, cycle, rules, ANY_PRICE)
            if not asset.is_enabled or entry is None:
                return NEVER
            after_error = state.previous_status is CycleStatus.ERROR
            return Triggers(
                buy_at_or_below=entry,
                buy_purpose=Purpose.BASE,
                buy_not_before=state.cooldown_until if after_error else None,
            )
        case CycleStatus.WATCHING:
            sell = compute_exit_price(asset, cycle)
            if not asset.is_enabled or count_safety_orders_left(asset, cycle) == 0:
                return Triggers(sell_at_or_above=sell)
            return Triggers(
                buy_at_or_below=compute_safety_order_trigger(asset, cycle),
                buy_purpose=Purpose.SAFETY,
                sell_at_or_above=sell,
            )
        case _:
            return NEVER


def decide_close(state: TradingState, rules: AssetRules, fee_rate: Decimal) -> Decision | None:
    """The sale that the user asked for, or None. It needs no quote."""
    sells_at = compute_triggers(state, rules, fee_rate).sell_at_or_above
    if not state.cycle.close_requested or sells_at is None:
        return None
    return Decision(Side.SELL, Purpose.TAKE_PROFIT, ANY_SELL_PRICE)


def decide(
    state: TradingState,
    rules: AssetRules,
    fee_rate: Decimal,
    *,
    bid: Decimal,
    ask: Decimal,
    now: datetime,
) -> Decision | None:
    """What `state` asks for at this quote: a safety order before a take profit (phase 6)."""
    triggers = compute_triggers(state, rules, fee_rate)
    waits = triggers.buy_not_before is not None and now < triggers.buy_not_before
    if triggers.buy_at_or_below is not None and ask <= triggers.buy_at_or_below and not waits:
        purpose = triggers.buy_purpose
        assert purpose is not None, "a buy trigger always has a purpose"
        amount_usd = compute_buy_usd(state, purpose)
        return Decision(Side.BUY, purpose, triggers.buy_at_or_below, amount_usd)
    if triggers.sell_at_or_above is not None and bid >= triggers.sell_at_or_above:
        return Decision(Side.SELL, Purpose.TAKE_PROFIT, triggers.sell_at_or_above)
    cancel = triggers.cancel_buy_at_or_above
    if cancel is not None and bid >= cancel:
        return Decision(Side.SELL, Purpose.TAKE_PROFIT, cancel, cancels_buy=True)
    return None
