"""What a cycle will be before any money moves: every order of the ladder, and what a sale after
each would leave. Pure.

Assumption: each order is filled in one piece at its trigger price: the base order at the ask that
is given, a safety order at its trigger (at the ask, where that is lower already), the sale at the
take profit's trigger. A price has nine places on Alpaca's wire: a buy's is cut there, a sale's
rounded up, so that both still cross their trigger. A take profit that trails is planned at the
least price at which it would sell: as if the bid fell from the target on; that and the price of a
stop loss are cut there, because the bid falls to them.

Triggers, sizes and averages come from the functions that the bot trades with, so the plan is what
the bot will do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext

from domain.asset import DcaAsset
from domain.cycle import CycleStatus, DcaCycle
from domain.journal import Purpose
from domain.market import AssetRules
from domain.orders import ExchangeOrder, Side
from domain.trading_state import TradingState
from strategy.booking import compute_order_change
from strategy.entry import compute_entry_price
from strategy.exits import (
    compute_stop_price,
    compute_take_profit_price,
    compute_trail_price,
    is_stop_due,
)
from strategy.fees import compute_coin_fee, compute_coins_held, compute_usd_fee
from strategy.ladder import get_order_number
from strategy.lifecycle import Circumstances
from strategy.sizing import (
    WIDE,
    SizedBuy,
    SizingError,
    is_dust,
    round_to_increment,
    size_buy,
    size_take_profit,
)
from strategy.triggers import compute_triggers, decide

WIRE_STEP = Decimal("1e-9")  # Alpaca's quantities and prices have nine places at most
# No rule of a plan depends on the time, but the shared functions need one.
_SOME_TIME = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSale:
    """Everything sold, at the take profit or the stop loss. `net_profit_usd` is after the fees of
    both sides. `trails_from`: the bid from which on the peak is followed; None: no trail.
    """

    price: Decimal
    qty: Decimal
    fee_usd: Decimal
    net_profit_usd: Decimal
    trails_from: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What a cycle holds: coins as filled, what the coin fees left of them (`coins_held`), and what
    was paid for them in USD. `sale` is None where what is held cannot be sold (dust), `stop` where
    there is no stop loss, too.
    """

    quantity: Decimal
    coins_held: Decimal
    average_price: Decimal
    paid_usd: Decimal
    sale: PlannedSale | None
    stop: PlannedSale | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedOrder:
    """One buy and what is held after it.

    `number` is 0 for the base order, then counts safety orders. `size_usd` is qty x limit, what the
    exchange reserves.
    """

    number: int
    purpose: Purpose
    trigger_price: Decimal
    limit_price: Decimal
    qty: Decimal
    after: Holding

    @property
    def size_usd(self) -> Decimal:
        return self.qty * self.limit_price


@dataclass(frozen=True, slots=True, kw_only=True)
class CyclePlan:
    """The orders still to come, in their order. `start` is what an open cycle holds already.
    `problem` says why the ladder ends early. `base_price`: what an open cycle's base order was
    filled at; None: it comes at the ask.
    """

    symbol: str
    ask: Decimal
    start: Holding | None
    orders: tuple[PlannedOrder, ...]
    problem: str | None = None
    base_price: Decimal | None = None

    def compute_down_percent(self, order: PlannedOrder) -> Decimal:
        """How far `order` comes below the price at which the cycle began."""
        with localcontext(WIDE):
            return (1 - order.trigger_price / (self.base_price or self.ask)) * 100

    @property
    def capital_usd(self) -> Decimal:
        """What the exchange reserves if every order comes."""
        return sum((order.size_usd for order in self.orders), Decimal(0))

    @property
    def sales(self) -> tuple[PlannedSale, ...]:
        """Every place the cycle can end."""
        holdings = [*([self.start] if self.start else []), *(order.after for order in self.orders)]
        return tuple(holding.sale for holding in holdings if holding.sale is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ladder:
    """Where the walk down the ladder stands."""

    state: TradingState
    paid_usd: Decimal


def plan_cycle(
    asset: DcaAsset,
    rules: AssetRules,
    fee_rate: Decimal,
    ask: Decimal,
    *,
    open_cycle: TradingState | None = None,
) -> CyclePlan:
    """The whole cycle of `asset` that begins at `ask`; with `open_cycle`, the rest of that one.
    Whether the asset is enabled, and whether its start waits for the user, does not matter: this is
    what would be done. Above `max_entry_price` it begins there.
    """
    asset = replace(asset, is_enabled=True)
    with localcontext(WIDE):
        ladder = _fresh(asset) if open_cycle is None else _going_on(asset, open_cycle)
        cycle = ladder.state.cycle
        if open_cycle is None:
            ask = compute_entry_price(asset, cycle, rules, ask) or ask
        start = _holding(ladder, rules, fee_rate) if cycle.quantity > 0 else None
        orders: list[PlannedOrder] = []
        problem = None
        while (price := _next_buy_price(ladder.state, rules, fee_rate, ask)) is not None:
            try:
                order, ladder = _take_step(ladder, price, rules, fee_rate)
            except SizingError as error:
                problem = str(error)
                break
            orders.append(order)
        return CyclePlan(
            symbol=rules.symbol,
            ask=ask,
            start=start,
            orders=tuple(orders),
            problem=problem,
            base_price=cycle.base_order_price or cycle.average_purchase_price or None,
        )


def describe_order(purpose: Purpose, number: int) -> str:
    """The order's name for a person."""
    return "base order" if purpose is Purpose.BASE else f"safety order {number}"


def _fresh(asset: DcaAsset) -> _Ladder:
    cycle = DcaCycle(id=0, asset_id=asset.id, status=CycleStatus.WATCHING, open_requested=True)
    state = TradingState(asset=asset, cycle=cycle)
    return _Ladder(state=state, paid_usd=Decimal(0))


def _going_on(asset: DcaAsset, open_cycle: TradingState) -> _Ladder:
    """From what the cycle holds; an order under way counts as not sent."""
    cycle = replace(open_cycle.cycle, status=CycleStatus.WATCHING, open_requested=True)
    return _Ladder(
        state=replace(open_cycle, asset=asset, cycle=cycle, previous_status=None),
        paid_usd=cycle.quantity * cycle.average_purchase_price,
    )


def _next_buy_price(
    state: TradingState, rules: AssetRules, fee_rate: Decimal, ask: Decimal
) -> Decimal | None:
    """None: no buy comes any more; a stop loss that fires at once sells everything before it."""
    triggers = compute_triggers(state, rules, fee_rate)
    if triggers.buy_at_or_below is None:
        return None
    price = round_to_increment(min(triggers.buy_at_or_below, ask), _price_step(rules), ROUND_FLOOR)
    return None if is_stop_due(state, price, triggers.stop_at_or_below) else price


def _price_step(rules: AssetRules) -> Decimal:
    return min(WIRE_STEP, rules.price_increment)


def _take_step(
    ladder: _Ladder, price: Decimal, rules: AssetRules, fee_rate: Decimal
) -> tuple[PlannedOrder, _Ladder]:
    """Buy at `price` and book the fill, both as the bot would.

    Raises:
        SizingError: when no order can be made, or none whose coins can be sold again.
    """
    state = ladder.state
    decision = decide(state, rules, fee_rate, bid=price, ask=price, now=_SOME_TIME)
    assert decision is not None, "the price is the state's own trigger"
    assert decision.amount_usd is not None, "a buy always names its amount"
    number = get_order_number(state.cycle, decision.purpose)
    name = describe_order(decision.purpose, number)
    if price < rules.price_increment:
        raise SizingError(
            f"{name} would trigger at {price.normalize():f} USD, below the smallest price step"
            f" {rules.price_increment.normalize():f}"
        )
    try:
        sized = size_buy(decision.amount_usd, price, rules)
    except SizingError as error:
        raise SizingError(f"{name}: {error}") from None
    if is_dust(sized.qty, rules, fee_rate):
        raise SizingError(
            f"{name}: {decision.amount_usd.normalize():f} USD buy {sized.qty:f} coins,"
            " too few to be sold after the coin fee"
        )
    after = _filled(ladder, sized, price, rules, fee_rate)
    order = PlannedOrder(
        number=number,
        purpose=decision.purpose,
        trigger_price=price,
        limit_price=sized.limit_price,
        qty=sized.qty,
        after=_holding(after, rules, fee_rate),
    )
    return order, after


def _filled(
    ladder: _Ladder, sized: SizedBuy, price: Decimal, rules: AssetRules, fee_rate: Decimal
) -> _Ladder:
    """The cycle after the order's full fill at `price`."""
    state, qty = ladder.state, sized.qty
    order = ExchangeOrder(
        id="planned",
        client_order_id="planned",
        symbol=rules.symbol,
        side=Side.BUY,
        order_type="limit",
        qty=qty,
        limit_price=sized.limit_price,
        filled_qty=qty,
        filled_avg_price=price,
        status="filled",
    )
    circumstances = Circumstances(asset=state.asset, rules=rules, fee_rate=fee_rate, now=_SOME_TIME)
    change = compute_order_change(state.cycle, order, circumstances)
    assert change is not None, "a fill always changes the cycle"
    return _Ladder(
        state=replace(
            state,
            cycle=replace(state.cycle, **change.cycle_updates),
            bought_usd=state.bought_usd + qty * price,
            coin_fees=state.coin_fees + compute_coin_fee(qty, fee_rate),
        ),
        paid_usd=ladder.paid_usd + qty * price,
    )


def _holding(ladder: _Ladder, rules: AssetRules, fee_rate: Decimal) -> Holding:
    cycle = ladder.state.cycle
    return Holding(
        quantity=cycle.quantity,
        coins_held=compute_coins_held(cycle.quantity, ladder.state.coin_fees, fee_rate),
        average_price=cycle.average_purchase_price,
        paid_usd=ladder.paid_usd,
        sale=_sale(ladder, rules, fee_rate),
        stop=_stop(ladder, rules, fee_rate),
    )


def _sale(ladder: _Ladder, rules: AssetRules, fee_rate: Decimal) -> PlannedSale | None:
    asset, step = ladder.state.asset, _price_step(rules)
    trigger = compute_take_profit_price(asset, ladder.state.cycle.average_purchase_price)
    target = round_to_increment(trigger, step, ROUND_CEILING)
    if asset.trailing_take_profit_percent is None:
        return _sold_at(target, ladder, rules, fee_rate)
    least = round_to_increment(compute_trail_price(asset, target), step, ROUND_FLOOR)
    sale = _sold_at(least, ladder, rules, fee_rate)
    return sale and replace(sale, trails_from=target)


def _stop(ladder: _Ladder, rules: AssetRules, fee_rate: Decimal) -> PlannedSale | None:
    trigger = compute_stop_price(ladder.state.asset, ladder.state.cycle)
    if trigger is None:
        return None
    price = round_to_increment(trigger, _price_step(rules), ROUND_FLOOR)
    return _sold_at(price, ladder, rules, fee_rate)


def _sold_at(
    price: Decimal, ladder: _Ladder, rules: AssetRules, fee_rate: Decimal
) -> PlannedSale | None:
    """None: what is held cannot be sold."""
    cycle = ladder.state.cycle
    fees = ladder.state.coin_fees
    held = compute_coins_held(cycle.quantity, fees, fee_rate)
    try:
        qty = size_take_profit(cycle.quantity, fees, held, rules, fee_rate)
    except SizingError:
        return None
    fee_usd = compute_usd_fee(qty, price, fee_rate)
    profit_usd = qty * price - fee_usd - ladder.paid_usd
    return PlannedSale(price=price, qty=qty, fee_usd=fee_usd, net_profit_usd=profit_usd)
