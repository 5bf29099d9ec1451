"""What the strategy decided before an asset had any option beside the plan's: the functions as they
stood then, kept to be compared with. Nothing here is ever improved.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, Decimal, localcontext

from domain.asset import DcaAsset
from domain.cycle import CycleStatus, DcaCycle
from domain.journal import Purpose
from domain.market import AssetRules
from domain.orders import Side
from domain.trading_state import TradingState
from strategy.sizing import STORED_STEP, WIDE, is_dust, round_to_increment

ANY_PRICE = Decimal("Infinity")
ANY_SELL_PRICE = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Triggers:
    buy_at_or_below: Decimal | None = None
    buy_purpose: Purpose | None = None
    buy_not_before: datetime | None = None
    sell_at_or_above: Decimal | None = None
    cancel_buy_at_or_above: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    side: Side
    purpose: Purpose
    trigger_price: Decimal
    amount_usd: Decimal | None = None
    cancels_buy: bool = False


def compute_triggers(state: TradingState, rules: AssetRules, fee_rate: Decimal) -> Triggers:
    asset, cycle = state.asset, state.cycle
    if state.other_symbol:
        return Triggers()
    holds_coins = not is_dust(cycle.quantity, rules, fee_rate)
    if cycle.status is CycleStatus.BUYING:
        wants_to_sell = holds_coins or cycle.close_requested
        exit_price = _compute_exit_price(asset, cycle) if wants_to_sell else None
        return Triggers(cancel_buy_at_or_above=exit_price)
    if cycle.close_requested:
        can_sell = holds_coins and cycle.status is CycleStatus.WATCHING
        return Triggers(sell_at_or_above=ANY_SELL_PRICE) if can_sell else Triggers()
    match cycle.status:
        case CycleStatus.COOLDOWN:
            early = _compute_early_restart_trigger(asset)
            if not asset.is_enabled or early is None or holds_coins:
                return Triggers()
            return Triggers(buy_at_or_below=early, buy_purpose=Purpose.BASE)
        case CycleStatus.WATCHING if not holds_coins:
            if not asset.is_enabled:
                return Triggers()
            after_error = state.previous_status is CycleStatus.ERROR
            return Triggers(
                buy_at_or_below=ANY_PRICE,
                buy_purpose=Purpose.BASE,
                buy_not_before=state.cooldown_until if after_error else None,
            )
        case CycleStatus.WATCHING:
            sell = _compute_exit_price(asset, cycle)
            if not asset.is_enabled or max(0, asset.max_safety_orders - cycle.safety_orders) == 0:
                return Triggers(sell_at_or_above=sell)
            return Triggers(
                buy_at_or_below=_compute_safety_order_trigger(asset, cycle),
                buy_purpose=Purpose.SAFETY,
                sell_at_or_above=sell,
            )
        case _:
            return Triggers()


def decide(
    state: TradingState,
    rules: AssetRules,
    fee_rate: Decimal,
    *,
    bid: Decimal,
    ask: Decimal,
    now: datetime,
) -> Decision | None:
    triggers = compute_triggers(state, rules, fee_rate)
    waits = triggers.buy_not_before is not None and now < triggers.buy_not_before
    if triggers.buy_at_or_below is not None and ask <= triggers.buy_at_or_below and not waits:
        purpose = triggers.buy_purpose
        assert purpose is not None
        amount_usd = _compute_buy_usd(state, purpose)
        return Decision(Side.BUY, purpose, triggers.buy_at_or_below, amount_usd)
    if triggers.sell_at_or_above is not None and bid >= triggers.sell_at_or_above:
        return Decision(Side.SELL, Purpose.TAKE_PROFIT, triggers.sell_at_or_above)
    cancel = triggers.cancel_buy_at_or_above
    if cancel is not None and bid >= cancel:
        return Decision(Side.SELL, Purpose.TAKE_PROFIT, cancel, cancels_buy=True)
    return None


def _compute_early_restart_trigger(asset: DcaAsset) -> Decimal | None:
    if asset.buy_order_price_deviation_percent is None or asset.last_sell_price is None:
        return None
    return asset.last_sell_price * (1 - asset.buy_order_price_deviation_percent / 100)


def _compute_exit_price(asset: DcaAsset, cycle: DcaCycle) -> Decimal | None:
    if cycle.close_requested:
        return ANY_SELL_PRICE
    if cycle.average_purchase_price <= 0:
        return None
    with localcontext(WIDE):
        price = cycle.average_purchase_price * (1 + asset.take_profit_percent / 100)
        if not asset.take_profit_fee_percent:
            return price
        kept = 1 - asset.take_profit_fee_percent / 100
        return round_to_increment(price / (kept * kept), STORED_STEP, ROUND_CEILING)


def _compute_safety_order_trigger(asset: DcaAsset, cycle: DcaCycle) -> Decimal:
    price = cycle.last_order_fill_price or cycle.average_purchase_price
    with localcontext(WIDE):
        return price * (1 - asset.safety_order_deviation / 100)


def _compute_buy_usd(state: TradingState, purpose: Purpose) -> Decimal:
    asset = state.asset
    number = 0 if purpose is Purpose.BASE else state.cycle.safety_orders + 1
    amount = _compute_usd_of(asset, number, min(number, asset.max_safety_orders))
    ladder_usd = _compute_usd_of(asset, 0, asset.max_safety_orders)
    return max(Decimal(0), min(amount, ladder_usd - state.bought_usd))


def _compute_usd_of(asset: DcaAsset, first: int, last: int) -> Decimal:
    base_usd = asset.base_order_amount if first == 0 else Decimal(0)
    return base_usd + max(0, last - max(first, 1) + 1) * asset.safety_order_amount
