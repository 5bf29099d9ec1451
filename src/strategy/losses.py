"""What the limits on losses count: what is lost while it is held, and what a day lost. Pure.

Open loss: what selling everything now at the bid would lose, over all open cycles, gains and losses
counted together, after the fees of both sides: the figure that status shows as unrealised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from domain.holding import HeldCoins
from domain.market import AssetRules
from strategy.cycle_plan import CyclePlan
from strategy.fees import compute_coins_held, compute_usd_fee
from strategy.sizing import SizingError, is_dust, size_take_profit


def compute_unrealised_usd(
    held: HeldCoins, rules: AssetRules, fee_rate: Decimal, bid: Decimal
) -> Decimal | None:
    """USD that selling everything at `bid` would earn, after the coin fee of the buys and the USD
    fee of the sale. None where nothing is held.
    """
    if is_dust(held.quantity, rules, fee_rate):
        return None
    left = compute_coins_held(held.quantity, held.coin_fees, fee_rate)
    try:
        qty = size_take_profit(held.quantity, held.coin_fees, left, rules, fee_rate)
    except SizingError:
        qty = Decimal(0)
    cost_usd = held.quantity * held.average_price
    return qty * bid - compute_usd_fee(qty, bid, fee_rate) - cost_usd


def compute_open_loss_usd(
    held: Sequence[HeldCoins],
    rules: Mapping[str, AssetRules],
    fee_rate: Decimal,
    bids: Mapping[str, Decimal],
) -> Decimal:
    """USD; 0 where all together are in profit. Dust counts as nothing.

    Raises:
        KeyError: of what is held there are no rules or no bid.
    """
    total = Decimal(0)
    for one in held:
        found = compute_unrealised_usd(one, rules[one.symbol], fee_rate, bids[one.symbol])
        total += found or Decimal(0)
    return loss_of(total)


def loss_of(result_usd: Decimal) -> Decimal:
    """A result as a loss: 0 where it is none."""
    return max(Decimal(0), -result_usd)


def find_stopped_order(plan: CyclePlan, fee_rate: Decimal, limit_usd: Decimal) -> int | None:
    """The first safety order that `limit_usd` of open loss would stop if this cycle were alone and
    the price fell to it; None: none.
    """
    before = plan.start
    for order in plan.orders:
        if before is not None and before.sale is not None:
            price, qty = order.trigger_price, before.sale.qty
            fee_usd = compute_usd_fee(qty, price, fee_rate)
            if loss_of(qty * price - fee_usd - before.paid_usd) >= limit_usd:
                return order.number
        before = order.after
    return None
