"""Where what a cycle holds is sold. Pure."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal, localcontext

from domain.asset import DcaAsset
from domain.cycle import DcaCycle
from strategy.sizing import STORED_STEP, WIDE, round_to_increment

ANY_SELL_PRICE = Decimal(0)  # the trigger of a sale that the user wants now: every bid reaches it


def compute_take_profit_price(asset: DcaAsset, average_price: Decimal) -> Decimal:
    """USD: `take_profit_percent` above the average price.

    With `take_profit_fee_percent` the fee of both sides is earned first, so that the percent is
    net. That price is rounded up to the 18 places of our tables: never less than the percent.
    """
    with localcontext(WIDE):
        price = average_price * (1 + asset.take_profit_percent / 100)
        if not asset.take_profit_fee_percent:
            return price
        kept = 1 - asset.take_profit_fee_percent / 100
        return round_to_increment(price / (kept * kept), STORED_STEP, ROUND_CEILING)


def compute_exit_price(asset: DcaAsset, cycle: DcaCycle) -> Decimal | None:
    """USD: the lowest bid at which the cycle's coins are sold; None without an average price."""
    if cycle.close_requested:
        return ANY_SELL_PRICE
    if cycle.average_purchase_price <= 0:
        return None
    return compute_take_profit_price(asset, cycle.average_purchase_price)
