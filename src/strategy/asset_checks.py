"""Whether an asset's settings can work: those that cannot are refused, those that lose money are a
warning. Pure.

Used before a user's change is saved, and before trading. Each finding is one line with its cure.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal, localcontext

from domain.asset import DcaAsset, StartMode
from domain.journal import Purpose
from domain.market import AssetRules
from domain.trading_state import TradingState
from domain.wire import WireError, normalize_symbol
from strategy.cycle_plan import CyclePlan, describe_order, plan_cycle
from strategy.earning import (
    MAX_TAKE_PROFIT_PERCENT,
    compute_earning_order_usd,
    compute_earning_percent,
    compute_safe_order_usd,
    compute_worst_profit_usd,
)
from strategy.fees import compute_qty_before_fee
from strategy.ladder import (
    MAX_SAFETY_ORDERS,
    compute_ladder_prices,
    compute_order_usd,
    compute_steps,
)
from strategy.ladder_checks import find_ladder_problems, find_scale_problems
from strategy.sizing import MAXIMUM_ORDER_USD, WIDE, minimum_base_order_usd, round_to_increment

MAX_FEE_PERCENT = Decimal(5)
MAX_COOLDOWN_SECONDS = 365 * 24 * 3600
MAX_STOP_LOSS_SECONDS = 24 * 3600
_USD_PLACES = 8
_PERCENT_PLACES = 6  # DECIMAL(12,6) of our tables: more would be rounded silently
_PRICE_PLACES, _MAX_PRICE_USD = 18, Decimal(10) ** 12  # DECIMAL(36,18)
_CENT, _ZERO = Decimal("0.01"), Decimal(0)
_SHALLOW_PERCENT = Decimal("0.5")  # what the usual fees of both sides take
_FINE_STEP_PERCENT = Decimal("0.1")  # a coin whose price moves in larger steps shares prices anyway


@dataclass(frozen=True, slots=True)
class Finding:
    """One line for a person. `refuses`: it cannot work; otherwise it is a warning."""

    text: str
    refuses: bool


def find_number_problems(asset: DcaAsset) -> list[str]:
    """What is negative, zero, not a number or absurd, whatever the market; empty: all is well."""
    needs_safety, whole = asset.max_safety_orders > 0, Decimal(100)
    most, profit = MAX_TAKE_PROFIT_PERCENT, asset.take_profit_percent
    early, fee = asset.buy_order_price_deviation_percent, asset.take_profit_fee_percent
    problems = [
        _usd_problem("the base order", asset.base_order_amount, is_needed=True),
        _usd_problem("a safety order", asset.safety_order_amount, is_needed=needs_safety),
        _count_problem("safety orders", asset.max_safety_orders, MAX_SAFETY_ORDERS),
        _percent_problem("the deviation", asset.safety_order_deviation, whole, "below"),
        _percent_problem("the take profit", profit, most, "at most"),
        _count_problem("cooldown seconds", asset.cooldown_period, MAX_COOLDOWN_SECONDS),
        _percent_problem("the early restart", early, whole, "below"),
        _percent_problem("the fee of a fee-aware take profit", fee, MAX_FEE_PERCENT, "at most"),
        _price_problem("the highest price of a base order", asset.max_entry_price),
        _percent_problem("the trail", asset.trailing_take_profit_percent, whole, "below"),
        _percent_problem("the stop loss", asset.stop_loss_percent, whole, "below"),
        _count_problem("stop loss seconds", asset.stop_loss_seconds, MAX_STOP_LOSS_SECONDS),
    ]
    symbol = asset.asset_symbol
    if not symbol.endswith("/USD"):
        cure = f"{symbol.partition('/')[0]}/USD"
        problems.append(f"{symbol} is not quoted in USD, and this bot pays in USD only: {cure}")
    found = [problem for problem in problems if problem] + find_scale_problems(asset)
    return found or find_ladder_problems(asset)


def find_row_problem(asset: DcaAsset) -> str | None:
    """Why a row of `dca_assets` must not trade: rows are written by hand too. None: it can."""
    try:
        normal = normalize_symbol(asset.asset_symbol)
    except WireError as error:
        return str(error)
    if normal != asset.asset_symbol:
        return f"its asset_symbol must be written {normal}"
    return "; ".join(find_number_problems(asset)) or None


def find_state_problem(state: TradingState) -> str | None:
    """Why an asset with this cycle must not trade. None: it can."""
    return find_row_problem(state.asset) or find_renaming(state)


def find_renaming(state: TradingState) -> str | None:
    """That the row got another symbol while its cycle is of the old one, and the cure."""
    if not state.other_symbol:
        return None
    return (
        f"its asset_symbol was changed while its cycle {state.cycle.id} is of {state.other_symbol}:"
        f" change it back, and add {state.asset.asset_symbol} beside it"
    )


def check_asset(
    asset: DcaAsset, rules: AssetRules, fee_rate: Decimal, ask: Decimal
) -> tuple[tuple[Finding, ...], CyclePlan | None]:
    """Every finding about `asset` at this ask, and the plan of its cycle if there can be one."""
    if problems := find_number_problems(asset) or _below_a_step(asset, rules):
        return tuple(Finding(problem, refuses=True) for problem in problems), None
    plan = plan_cycle(asset, rules, fee_rate, ask)
    findings = []
    if not rules.is_tradable:
        findings.append(Finding(f"{rules.symbol} is not tradable on Alpaca now", refuses=True))
    findings += _size_findings(asset, plan, rules, fee_rate)
    if not any(finding.refuses for finding in findings):
        findings += _depth_findings(asset, plan, rules)
        findings += _profit_findings(asset, plan, rules, fee_rate)
        findings += _entry_findings(asset, ask)
        findings += _stop_findings(asset, plan)
    return tuple(findings), plan


def compute_min_order_usd(rules: AssetRules, price: Decimal, fee_rate: Decimal) -> Decimal:
    """The least amount that buys at `price` what the exchange accepts and takes back, in whole
    cents.

    Rounded up throughout: the coins to their increment, so that after the coin fee a sellable
    quantity is left; the USD to the cent.
    """
    with localcontext(WIDE):
        step = rules.min_trade_increment
        limit = round_to_increment(price, rules.price_increment, ROUND_CEILING)
        sellable = round_to_increment(max(rules.min_order_size, step), step, ROUND_CEILING)
        qty = max(compute_qty_before_fee(sellable, fee_rate), rules.min_cost_usd / limit)
        cost_usd = round_to_increment(qty, step, ROUND_CEILING) * limit
        return round_to_increment(cost_usd, _CENT, ROUND_CEILING)


def _size_findings(
    asset: DcaAsset, plan: CyclePlan, rules: AssetRules, fee_rate: Decimal
) -> list[Finding]:
    """Orders that the exchange would not accept, or whose coins could not be sold again."""
    least = max(
        round_to_increment(minimum_base_order_usd(rules, plan.ask, fee_rate), _CENT, ROUND_CEILING),
        compute_min_order_usd(rules, plan.ask, fee_rate),
    )
    if asset.base_order_amount < least:
        return [_too_small("a base order", asset.base_order_amount, least, plan.ask)]
    if plan.problem is None:
        return find_sale_problems(plan) or _narrow_findings(asset, rules, fee_rate, plan)
    prices, failed = compute_ladder_prices(asset, plan.ask), len(plan.orders)
    if prices[failed] < rules.price_increment:
        text = f"{plan.problem}: use fewer safety orders or a smaller deviation"
        return [Finding(text, refuses=True)]
    # The one that fails names the price; what is asked for is enough for all of them.
    least = max(compute_min_order_usd(rules, price, fee_rate) for price in prices[failed:])
    name = describe_order(Purpose.SAFETY if failed else Purpose.BASE, failed)
    return [_too_small(name, compute_order_usd(asset, failed), least, prices[failed])]


def find_sale_problems(plan: CyclePlan) -> list[Finding]:
    """A position that has grown beyond what one order may sell could only be sold by hand."""
    sales = plan.sales
    largest = max((sale.qty * (sale.trails_from or sale.price) for sale in sales), default=_ZERO)
    if largest <= MAXIMUM_ORDER_USD:
        return []
    text = (
        f"the whole cycle would be sold for {largest:.0f} USD, and one order can sell at most"
        f" {MAXIMUM_ORDER_USD} USD (Alpaca's limit): smaller or fewer safety orders"
    )
    return [Finding(text, refuses=True)]


def _too_small(name: str, amount: Decimal, least: Decimal, price: Decimal) -> Finding:
    shown_price = Context(prec=10).plus(price)
    text = (
        f"{name} of {_shown(amount)} USD is too small at a price of {_shown(shown_price)}:"
        f" the exchange needs at least {_shown(least)} USD"
    )
    return Finding(text, refuses=True)


def _narrow_findings(
    asset: DcaAsset, rules: AssetRules, fee_rate: Decimal, plan: CyclePlan
) -> list[Finding]:
    """A safety order that only its rounding makes large enough today can be too small tomorrow."""
    safe = compute_safe_order_usd(rules, fee_rate, plan.ask)
    orders = range(1, asset.max_safety_orders + 1)
    least = min((compute_order_usd(asset, number) for number in orders), default=safe)
    if least >= safe:
        return []
    text = (
        f"a safety order of {_shown(least)} USD can be rounded below the exchange's minimum at some"
        f" prices: {_shown(safe)} USD is enough at any"
    )
    return [Finding(text, refuses=False)]


def _profit_findings(
    asset: DcaAsset, plan: CyclePlan, rules: AssetRules, fee_rate: Decimal
) -> list[Finding]:
    """A sale at the take profit that leaves less than was paid."""
    worst = compute_worst_profit_usd(plan)
    if worst > 0:
        return []
    enough = compute_earning_percent(asset, plan, rules, fee_rate)
    cure = f"{_shown(enough)} % earns" if enough else "no take profit earns with orders this small"
    amount = compute_earning_order_usd(asset, rules, fee_rate, plan.ask)
    if amount is not None and asset.base_order_amount < amount <= MAXIMUM_ORDER_USD:
        amount = round_to_increment(amount, Decimal(1), ROUND_CEILING)
        cure = f"a base order of {_shown(amount)} USD earns with it, or with this one {cure}"
    profit, loses = _shown(asset.take_profit_percent), "loses money"
    if asset.trailing_take_profit_percent is not None:
        profit += f" % that trails by {_shown(asset.trailing_take_profit_percent)}"
        loses = "can lose money, sold below break-even after a fall from the target"
    text = (
        f"a take profit of {profit} % {loses}: {worst:.4f} USD after the fees of both sides; {cure}"
    )
    return [Finding(text, refuses=False)]


def _stop_findings(asset: DcaAsset, plan: CyclePlan) -> list[Finding]:
    """A stop loss that comes before what it is to protect from, or before safety orders."""
    percent, bought = asset.stop_loss_percent, len(plan.orders)
    if percent is None:
        return []
    found = []
    if bought <= asset.max_safety_orders and plan.problem is None:
        text = (
            f"the stop loss of {_shown(percent)} % comes before safety order {bought}: that one and"
            " those below it are never bought; a wider stop loss, or smaller deviations"
        )
        found.append(Finding(text, refuses=False))
    if percent <= _SHALLOW_PERCENT:
        text = (
            f"a stop loss of {_shown(percent)} % is less than a usual move of the price: it can"
            " fire right after the base order"
        )
        found.append(Finding(text, refuses=False))
    return found


def _depth_findings(asset: DcaAsset, plan: CyclePlan, rules: AssetRules) -> list[Finding]:
    """Safety orders so close together that they are one buy, or nearly."""
    if asset.max_safety_orders == 0:
        return []
    deviation = _shown(asset.safety_order_deviation)
    limits = [order.limit_price for order in plan.orders]
    step_percent = rules.price_increment / limits[-1] * 100
    if len(set(limits)) < len(limits) and step_percent < _FINE_STEP_PERCENT:
        smallest = Context(prec=10).plus(min(compute_steps(asset)))
        text = (
            f"a deviation of {_shown(smallest)} % is less than the price step of {rules.symbol},"
            f" {_shown(rules.price_increment)} USD: several orders would be bought at one price;"
            " 1 or 2 % are usual"
        )
        return [Finding(text, refuses=True)]
    depth_percent = (1 - compute_ladder_prices(asset, plan.ask)[-1] / plan.ask) * 100
    if depth_percent >= _SHALLOW_PERCENT:
        return []
    text = (
        f"with a deviation of {deviation} % the last safety order comes {depth_percent:.2g} %"
        f" below the base order, less than a cycle pays in fees: a small dip buys everything;"
        " 1 or 2 % are usual"
    )
    return [Finding(text, refuses=False)]


def _below_a_step(asset: DcaAsset, rules: AssetRules) -> list[str]:
    highest, step = asset.max_entry_price, rules.price_increment
    if highest is None or highest >= step:
        return []
    name = f"the highest price of a base order, {_shown(highest)} USD,"
    return [f"{name} is below the smallest price step of {rules.symbol}, {_shown(step)} USD"]


def _entry_findings(asset: DcaAsset, ask: Decimal) -> list[Finding]:
    """Options that keep a base order from coming, where that may be news to the user."""
    texts, highest = [], asset.max_entry_price
    if highest is not None and highest < ask:
        texts.append(
            f"no base order comes above {_shown(highest)} USD, and the ask is"
            f" {_shown(Context(prec=10).plus(ask))} USD now: it waits"
        )
    is_manual = asset.start_mode is StartMode.MANUAL
    if is_manual and asset.buy_order_price_deviation_percent is not None:
        texts.append(
            "the early restart never comes with a manual start: each base order waits for"
            f" scripts/bot open {asset.asset_symbol}"
        )
    return [Finding(text, refuses=False) for text in texts]


def _usd_problem(name: str, amount: Decimal, *, is_needed: bool) -> str | None:
    if not amount.is_finite() or amount < 0 or (amount == 0 and is_needed):
        return f"{name} must be more than 0 USD, not {_shown(amount)}"
    if amount > MAXIMUM_ORDER_USD:
        limit = f"{MAXIMUM_ORDER_USD} USD (Alpaca's limit)"
        return f"{name} can be at most {limit}, not {_shown(amount)}"
    return _places_problem(name, amount, _USD_PLACES)


def _percent_problem(name: str, percent: Decimal | None, most: Decimal, bound: str) -> str | None:
    """`bound` is 'below' or 'at most' `most`. None is no percent at all, which fits."""
    if percent is None:
        return None
    fits = percent.is_finite() and 0 < percent <= most
    if not fits or (bound == "below" and percent == most):
        return f"{name} must be more than 0 and {bound} {most} percent, not {_shown(percent)}"
    return _places_problem(name, percent, _PERCENT_PLACES)


def _price_problem(name: str, price: Decimal | None) -> str | None:
    if price is None:
        return None
    if not price.is_finite() or not 0 < price <= _MAX_PRICE_USD:
        return f"{name} must be more than 0 and at most {_MAX_PRICE_USD} USD, not {_shown(price)}"
    return _places_problem(name, price, _PRICE_PLACES)


def _count_problem(name: str, count: int, most: int) -> str | None:
    return None if 0 <= count <= most else f"{name} must be 0 to {most}, not {count}"


def _places_problem(name: str, number: Decimal, places: int) -> str | None:
    if round_to_increment(number, Decimal(1).scaleb(-places), ROUND_CEILING) == number:
        return None
    return f"{name} can have at most {places} decimal places, not {_shown(number)}"


def _shown(number: Decimal) -> str:
    if not number.is_finite():
        return str(number)
    return f"{number.normalize():f}" if number else "0"
