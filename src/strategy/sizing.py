"""How much, at which price: rounding to what the exchange accepts. Pure.

Rounding always names its direction: quantities go down (never buy or sell more than meant), the
limit price of a buy goes up by less than one increment (so that it reaches the ask it was computed
from).
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Context, Decimal
from functools import lru_cache

from domain.market import AssetRules
from domain.records import Record
from strategy.fees import compute_coin_fee, compute_coins_taken

MAXIMUM_ORDER_USD = Decimal(200_000)  # alpaca-facts: maximum cost of one crypto order
STORED_STEP = Decimal("1e-18")  # DECIMAL(36,18) of our tables
WIDE = Context(prec=60)  # the default's 28 digits are fewer than our columns hold
_PLACES_MAX, _ADJUSTED_MAX = 18, 40  # with them a multiple has fewer digits than WIDE
_NOTHING, _SPARE = Decimal(0), Decimal("1.1")


class SizingError(ValueError):
    """No order can be made of this; the message says why."""


class SizedBuy(Record, frozen=True):
    """Coins and USD a coin. `qty * limit_price` never exceeds the amount asked for."""

    qty: Decimal
    limit_price: Decimal


def round_to_increment(value: Decimal, increment: Decimal, rounding: str) -> Decimal:
    """`value` as a multiple of `increment`, in plain notation."""
    place = _find_place(increment)
    if place is not None and value.adjusted() < _ADJUSTED_MAX:
        multiple = value.quantize(place, rounding, WIDE)  # the same, in one step
    else:
        steps = WIDE.divide(value, increment).to_integral_value(rounding, WIDE)
        multiple = WIDE.multiply(steps, increment)
    return WIDE.add(multiple.normalize(WIDE), _NOTHING)


@lru_cache(maxsize=256)
def _find_place(increment: Decimal) -> Decimal | None:
    """`increment` with one digit (so that 0.010 is the place of 0.01), where that is a 1 at one of
    the places that prices and quantities have.
    """
    place = increment.normalize(WIDE)
    sign, digits, exponent = place.as_tuple()
    return place if (sign, digits) == (0, (1,)) and abs(int(exponent)) <= _PLACES_MAX else None


def raise_price(price: Decimal, percent: Decimal) -> Decimal:
    """USD: `percent` above `price`, not rounded."""
    return WIDE.multiply(price, _compute_factor(percent, 1))


def lower_price(price: Decimal, percent: Decimal) -> Decimal:
    """USD: `percent` below `price`, not rounded."""
    return WIDE.multiply(price, _compute_factor(percent, -1))


@lru_cache(maxsize=4096)
def _compute_factor(percent: Decimal, sign: int) -> Decimal:
    return WIDE.add(1, WIDE.multiply(sign, WIDE.divide(percent, 100)))


def floor_quantity(quantity: Decimal, rules: AssetRules) -> Decimal:
    """Down: more than this is not there, or was not meant."""
    return round_to_increment(quantity, rules.min_trade_increment, ROUND_FLOOR)


def round_stored(value: Decimal) -> Decimal:
    """To the 18 places of our tables, toward zero: an average never claims more than was paid."""
    return value.quantize(STORED_STEP, ROUND_DOWN, WIDE)


def is_dust(quantity: Decimal, rules: AssetRules, fee_rate: Decimal) -> bool:
    """Whether `quantity` (as filled) leaves too little to be sold after the coin fee."""
    if quantity <= _NOTHING:
        return True
    return is_unsellable(quantity - compute_coin_fee(quantity, fee_rate), rules)


def is_unsellable(available: Decimal, rules: AssetRules) -> bool:
    """Whether `available` coins are below what the asset's rules let us sell."""
    if WIDE.subtract(available, rules.min_trade_increment) >= rules.min_order_size:
        return False  # rounding down takes less than one increment
    sellable = floor_quantity(available, rules)
    return sellable <= 0 or sellable < rules.min_order_size


def size_buy(amount_usd: Decimal, ask: Decimal, rules: AssetRules) -> SizedBuy:
    """The limit buy that spends at most `amount_usd` at `ask`.

    Raises:
        SizingError: no price, or the amount buys less than the exchange accepts.
    """
    if ask <= _NOTHING:
        raise SizingError("there is no ask price to buy at")
    amount = amount_usd if amount_usd <= MAXIMUM_ORDER_USD else MAXIMUM_ORDER_USD
    # Up, by less than one increment: floored, the limit could lie below the ask and stay unfilled.
    limit_price = round_to_increment(ask, rules.price_increment, ROUND_CEILING)
    qty = floor_quantity(WIDE.divide(amount, limit_price), rules)
    cost = WIDE.multiply(qty, limit_price)
    if qty <= _NOTHING or qty < rules.min_order_size:
        raise SizingError(
            f"{amount} USD buy {qty} coins at {limit_price},"
            f" below the minimum {rules.min_order_size}"
        )
    if cost < rules.min_cost_usd:
        raise SizingError(
            f"cost {cost:.4f} USD is below the exchange's minimum {rules.min_cost_usd}"
        )
    return SizedBuy(qty=qty, limit_price=limit_price)


def size_take_profit(
    quantity: Decimal,
    coin_fees: Decimal,
    available: Decimal,
    rules: AssetRules,
    fee_rate: Decimal,
    leftover: Decimal = Decimal(0),
) -> Decimal:
    """Coins to sell of a cycle that bought `quantity` while `available` are free in the account.

    The exchange took its fee from the coins, so fewer are there than were filled; where more are
    there than the cycle holds, they are the user's own and stay. `leftover`: coins that earlier
    cycles could not sell; they go with this sale.

    Raises:
        SizingError: when what is there is dust.
    """
    ours = quantity - compute_coins_taken(quantity, coin_fees, fee_rate) + leftover
    wanted = ours if available > quantity + leftover else available
    qty = floor_quantity(wanted, rules)
    if is_unsellable(wanted, rules):
        raise SizingError(f"only {available} coins are free, below what can be sold")
    return qty


def is_short_beyond_fees(
    quantity: Decimal, coin_fees: Decimal, available: Decimal, rules: AssetRules, fee_rate: Decimal
) -> bool:
    """Whether more coins are missing from the account than fees and rounding explain."""
    return quantity - available > _explained(quantity, coin_fees, rules, fee_rate)


def is_explained_by_fees(
    quantity: Decimal, left: Decimal, coin_fees: Decimal, rules: AssetRules, fee_rate: Decimal
) -> bool:
    """Whether `left` of the `quantity` that was bought is only what the fees took, or so little
    more that it cannot be sold.
    """
    return is_unsellable(left - _explained(quantity, coin_fees, rules, fee_rate), rules)


def _explained(
    quantity: Decimal, coin_fees: Decimal, rules: AssetRules, fee_rate: Decimal
) -> Decimal:
    """Coins that may be missing of `quantity`. Fees are rounded up per execution and the rate is
    our estimate: a tenth more explains both.
    """
    taken = compute_coins_taken(quantity, coin_fees, fee_rate)
    return taken * _SPARE + rules.min_trade_increment


def minimum_base_order_usd(rules: AssetRules, price: Decimal, fee_rate: Decimal) -> Decimal:
    """USD of the least base order that leaves a sellable position, with a tenth to spare."""
    return _SPARE * max(rules.min_cost_usd, rules.min_order_size * price) / (1 - fee_rate)
