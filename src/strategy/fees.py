"""What the exchange takes of a fill: the one place where a fee is computed before it is posted.
Pure.

Alpaca takes its fee from what is received, at each execution: coins of a buy, rounded up to their
ninth place; USD of a sell, rounded up to the cent (seen in the fees that accounts were posted:
0.000035007 coins are 0.15 % of 0.023337901, 10.95 USD are 0.25 % of 4,379.80). How an order was cut
into executions is not known when it ends, so its fee is estimated as that of one: each execution
more can cost up to one such step more, and an execution as maker costs less.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Context, Decimal
from functools import lru_cache

COIN_FEE_STEP = Decimal("1e-9")
USD_FEE_STEP = Decimal("0.01")
_WIDE = Context(prec=80)  # 36 digits of coins times 36 digits of USD, and the rate


@lru_cache(maxsize=1024)  # what a fill leaves is asked of it several times
def compute_coin_fee(bought_qty: Decimal, fee_rate: Decimal) -> Decimal:
    """Coins taken of a buy: rounded up, never more than was bought."""
    fee = _WIDE.multiply(bought_qty, fee_rate)
    return min(bought_qty, fee.quantize(COIN_FEE_STEP, ROUND_CEILING, _WIDE))


@lru_cache(maxsize=1024)
def compute_usd_fee(sold_qty: Decimal, price: Decimal, fee_rate: Decimal) -> Decimal:
    """USD taken of a sell: rounded up, never more than it brought."""
    proceeds_usd = _WIDE.multiply(sold_qty, price)
    fee_usd = _WIDE.multiply(proceeds_usd, fee_rate)
    return min(proceeds_usd, fee_usd.quantize(USD_FEE_STEP, ROUND_CEILING, _WIDE))


def compute_coins_taken(quantity: Decimal, coin_fees: Decimal, fee_rate: Decimal) -> Decimal:
    """What is missing of `quantity` (as filled) in the account: `coin_fees` of its ended buys, or
    what the rate says where that is more. Too much is safe: what is left can be sold.
    """
    return max(coin_fees, compute_coin_fee(quantity, fee_rate))


def compute_coins_held(quantity: Decimal, coin_fees: Decimal, fee_rate: Decimal) -> Decimal:
    """What the fees left of `quantity` (as filled): the coins that are in the account."""
    return quantity - compute_coins_taken(quantity, coin_fees, fee_rate)


def compute_qty_before_fee(received_qty: Decimal, fee_rate: Decimal) -> Decimal:
    """What was bought where `received_qty` is left of it after the coin fee: the inverse."""
    fee = _WIDE.divide(_WIDE.multiply(received_qty, fee_rate), _WIDE.subtract(1, fee_rate))
    return _WIDE.add(received_qty, fee.quantize(COIN_FEE_STEP, ROUND_CEILING, _WIDE))
