"""With which amounts and take profits a cycle earns after the fees of both sides. Pure.

The fees take their percent whatever is bought; what the steps of a coin cost does not shrink with
the order: up to one step of its quantity cannot be sold, and the USD fee rounds up to the cent. So
a take profit that earns can lose with an order that is too small for its coin.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_CEILING, Decimal, localcontext

from domain.asset import DcaAsset
from domain.market import AssetRules
from strategy.cycle_plan import CyclePlan, plan_cycle
from strategy.exits import compute_take_profit_price, compute_trail_price
from strategy.fees import COIN_FEE_STEP, USD_FEE_STEP, compute_qty_before_fee
from strategy.sizing import WIDE, minimum_base_order_usd, round_to_increment

MAX_TAKE_PROFIT_PERCENT = Decimal(1000)
USUAL_ORDER_USD = Decimal(20)
MAX_DEFAULT_ORDER_USD = Decimal(100)  # more than that, the user must name
NET_PERCENT = Decimal("0.7")  # what the usual take profit leaves after the fees of both sides
_CENT = Decimal("0.01")
_SPARE = Decimal("1.1")  # the price may rise after the asset was added


def compute_worst_profit_usd(plan: CyclePlan) -> Decimal:
    """Of the places where the cycle can end, the one that earns least; nothing where none can."""
    return min((sale.net_profit_usd for sale in plan.sales), default=Decimal(0))


def compute_earning_percent(
    asset: DcaAsset, plan: CyclePlan, rules: AssetRules, fee_rate: Decimal
) -> Decimal | None:
    """The least take profit, in steps of 0.01 percent, that earns wherever the cycle ends."""
    low, high = 0, int(MAX_TAKE_PROFIT_PERCENT * 100)

    def earns(steps: int) -> bool:
        other = replace(asset, take_profit_percent=Decimal(steps) / 100)
        return compute_worst_profit_usd(plan_cycle(other, rules, fee_rate, plan.ask)) > 0

    if not earns(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if earns(middle) else (middle, high)
    return Decimal(high) / 100


def compute_earning_order_usd(
    asset: DcaAsset, rules: AssetRules, fee_rate: Decimal, ask: Decimal
) -> Decimal | None:
    """USD of a base order that earns with the asset's take profit, however its coins are rounded;
    None: the take profit is below the fees of both sides, no order earns.

    Rounded up throughout: a whole step of the coin cannot be sold, a whole cent is lost to the fee.
    With each safety order the cost grows and this loss does not: the base order decides.
    """
    with localcontext(WIDE):
        sold_at = compute_trail_price(asset, compute_take_profit_price(asset, Decimal(1)))
        factor = sold_at * (1 - fee_rate)
        earned_rate = factor * (1 - fee_rate) - 1
        if earned_rate <= 0:
            return None
        step = rules.min_trade_increment
        lost_usd = (step + COIN_FEE_STEP) * ask * factor + USD_FEE_STEP
        limit = round_to_increment(ask, rules.price_increment, ROUND_CEILING)
        # The buy is rounded down by a step as well, and its limit is above the ask.
        amount_usd = (lost_usd / earned_rate + step * ask) * limit / ask
        return round_to_increment(amount_usd, _CENT, ROUND_CEILING)


def compute_safe_order_usd(rules: AssetRules, fee_rate: Decimal, ask: Decimal) -> Decimal:
    """USD that buy what the exchange accepts and takes back, at any price below the ask too."""
    sellable = compute_qty_before_fee(
        max(rules.min_order_size, rules.min_trade_increment), fee_rate
    )
    with localcontext(WIDE):
        safe = max(rules.min_cost_usd, sellable * ask) + rules.min_trade_increment * ask
        return round_to_increment(safe, _CENT, ROUND_CEILING)


def compute_default_order_usd(
    asset: DcaAsset, rules: AssetRules, fee_rate: Decimal, ask: Decimal
) -> Decimal:
    """USD of the orders of an asset for which the user named none: 20, or as much more as the
    coin's steps need to be accepted and to earn, in steps of 5.

    The usual 20 where even MAX_DEFAULT_ORDER_USD would not do: the checks say what would.
    """
    needed = max(
        compute_earning_order_usd(asset, rules, fee_rate, ask) or Decimal(0),
        compute_safe_order_usd(rules, fee_rate, ask),
        minimum_base_order_usd(rules, ask, fee_rate),
    )
    if needed <= USUAL_ORDER_USD:
        return USUAL_ORDER_USD
    amount = round_to_increment(needed * _SPARE, Decimal(5), ROUND_CEILING)
    return amount if amount <= MAX_DEFAULT_ORDER_USD else USUAL_ORDER_USD


def compute_default_take_profit_percent(taker_fee_percent: Decimal) -> Decimal:
    """1.2 at Alpaca's first tier (0.25 a side); more where the fees are higher."""
    gross = NET_PERCENT + 2 * taker_fee_percent
    return max(Decimal("1.2"), round_to_increment(gross, Decimal("0.1"), ROUND_CEILING))
