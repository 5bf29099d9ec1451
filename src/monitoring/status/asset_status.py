"""The status of one asset: its cycle, the market, and how far away the prices are at which the bot
acts. Pure. Those prices come from the functions with which the bot itself decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from domain.asset import DcaAsset
from domain.cycle import CycleStatus, DcaCycle
from domain.holding import HeldCoins
from domain.journal import Purpose, RealisedProfit
from domain.market import AssetRules, Quote
from domain.orders import ExchangeOrder
from domain.trading_state import TradingState
from monitoring.status.held_back import HeldBack
from strategy.asset_checks import find_row_problem, find_state_problem
from strategy.entry import describe_wait
from strategy.fees import compute_coins_held
from strategy.ladder import compute_ladder_usd
from strategy.losses import compute_unrealised_usd
from strategy.order_identity import compute_client_order_id
from strategy.sizing import is_dust
from strategy.triggers import ANY_PRICE, compute_triggers
from utils.formatting import span

LONG_OPEN_SECONDS = 900.0
# Where the exchange cannot be asked: everything held counts as coins, no price is rounded away.
_FINEST = Decimal("1e-9")
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOrderStatus:
    """The open order. `limit_price` None: a market order; `age_seconds` None: not known."""

    side: str
    status: str
    qty: Decimal | None
    limit_price: Decimal | None
    filled_qty: Decimal
    age_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetStatus:
    """One line of the table. USD and coins; None: there is none, or it is not known.

    `quantity` is what the cycle bought, `coins_held` what the coin fees left of it.
    `buy_distance_percent` is how far the ask must go to the next buy (negative: down),
    `sell_distance_percent` the bid to the take profit. `unrealised_usd`: what selling all now at
    the bid would earn after the fees of both sides, estimated. `realised_..._is_estimated`: a fee
    in it is not posted yet. `held`: what keeps it from trading. `leftover`: coins that earlier
    cycles could not sell. `waits_until`: no base order before, after a cooldown or an error. With a
    trail `sell_price` is the target until the bid has reached it, then below the `peak`.
    `stop_price`: the bid that fires the stop loss; `is_stopped`: it has fired. `invested_usd`: what
    the coins held cost; `capital_usd`: what its whole ladder can cost, with what is invested.
    """

    symbol: str
    is_enabled: bool
    status: CycleStatus | None
    cycle_id: int | None
    quantity: Decimal
    coins_held: Decimal
    average_price: Decimal | None = None
    safety_orders: int
    max_safety_orders: int
    bid: Decimal | None
    ask: Decimal | None
    quoted_at: datetime | None
    buys_at_any_price: bool = False
    buy_purpose: Purpose | None = None
    buy_price: Decimal | None = None
    buy_distance_percent: Decimal | None = None
    sell_price: Decimal | None = None
    sell_distance_percent: Decimal | None = None
    peak: Decimal | None = None
    stop_price: Decimal | None = None
    is_stopped: bool = False
    unrealised_usd: Decimal | None = None
    waits_until: datetime | None = None
    order: OpenOrderStatus | None = None
    order_is_unseen: bool = False
    cycles: int = 0
    realised_usd: Decimal = Decimal(0)
    cycles_today: int = 0
    realised_today_usd: Decimal = Decimal(0)
    realised_is_estimated: bool = False
    realised_today_is_estimated: bool = False
    held: HeldBack | None = None
    leftover: Decimal = Decimal(0)
    invested_usd: Decimal = Decimal(0)
    capital_usd: Decimal = Decimal(0)
    problem: str | None = None


def asset_status_of(
    asset: DcaAsset,
    state: TradingState | None,
    *,
    rules: AssetRules | None,
    quote: Quote | None,
    open_orders: Sequence[ExchangeOrder] | None,
    realised: RealisedProfit | None,
    held: HeldBack | None,
    fee_rate: Decimal,
    now: datetime,
) -> AssetStatus:
    """Everything about one asset. Without its latest cycle (`state` None) nothing trades it."""
    bid, ask = (quote.bid, quote.ask) if quote else (None, None)
    cycle = state.cycle if state else None
    row_problem = find_state_problem(state) if state else find_row_problem(asset)
    common = AssetStatus(
        symbol=asset.asset_symbol,
        is_enabled=asset.is_enabled,
        status=cycle.status if cycle else None,
        cycle_id=cycle.id if cycle else None,
        quantity=cycle.quantity if cycle else Decimal(0),
        coins_held=_coins_held(state, fee_rate) if state and state.cycle.is_open else Decimal(0),
        safety_orders=cycle.safety_orders if cycle else 0,
        max_safety_orders=asset.max_safety_orders,
        bid=bid,
        ask=ask,
        quoted_at=quote.quoted_at if quote else None,
        held=held,
        leftover=state.leftover if state else Decimal(0),
        invested_usd=(invested_usd := _invested_usd(cycle)),
        capital_usd=max(invested_usd, compute_ladder_usd(asset) if asset.is_enabled else _ZERO),
        cycles=realised.cycles if realised else 0,
        realised_usd=realised.profit_usd if realised else Decimal(0),
        cycles_today=realised.recent_cycles if realised else 0,
        realised_today_usd=realised.recent_profit_usd if realised else Decimal(0),
        realised_is_estimated=bool(realised and realised.is_estimated),
        realised_today_is_estimated=bool(realised and realised.recent_is_estimated),
    )
    if row_problem:
        return replace(common, problem=f"{asset.asset_symbol} is not traded: {row_problem}")
    if state is None or cycle is None or not cycle.is_open:
        return replace(common, problem=_no_open_cycle(asset, cycle))
    known = rules or _any_rules(asset.asset_symbol)
    triggers = compute_triggers(state, known, fee_rate)
    at_any_price = triggers.buy_at_or_below == ANY_PRICE
    buy_price = None if at_any_price else triggers.buy_at_or_below
    order = _find_order(cycle, open_orders)
    trail, sell_price = triggers.trail, triggers.sell_at_or_above
    if trail is not None:
        sell_price = trail.sell_at_or_below or trail.confirm_at_or_above
    cooldown_ends = state.cooldown_until if cycle.status is CycleStatus.COOLDOWN else None
    return replace(
        common,
        held=held or _waiting(state, known, fee_rate, ask),
        average_price=cycle.average_purchase_price if cycle.quantity > 0 else None,
        buys_at_any_price=at_any_price,
        buy_purpose=triggers.buy_purpose,
        buy_price=buy_price,
        buy_distance_percent=_distance_percent(ask, buy_price),
        sell_price=sell_price,
        sell_distance_percent=_distance_percent(bid, sell_price),
        peak=trail.peak if trail is not None else None,
        stop_price=triggers.stop_at_or_below,
        is_stopped=cycle.stop_loss_fired,
        unrealised_usd=None if bid is None else _unrealised_usd(state, known, fee_rate, bid),
        waits_until=cooldown_ends or triggers.buy_not_before,
        order=_order_status(order, now) if order else None,
        order_is_unseen=order is None and cycle.latest_order_id is not None,
        problem=_order_problem(order, now) if order else None,
    )


def _unrealised_usd(
    state: TradingState, rules: AssetRules, fee_rate: Decimal, bid: Decimal
) -> Decimal | None:
    cycle = state.cycle
    held = HeldCoins(
        symbol=state.asset.asset_symbol,
        quantity=cycle.quantity,
        coin_fees=state.coin_fees,
        average_price=cycle.average_purchase_price,
    )
    return compute_unrealised_usd(held, rules, fee_rate, bid)


def _waiting(
    state: TradingState, rules: AssetRules, fee_rate: Decimal, ask: Decimal | None
) -> HeldBack | None:
    """What its base order waits for by the user's own settings."""
    asset, cycle = state.asset, state.cycle
    holds_coins = not is_dust(cycle.quantity, rules, fee_rate)
    wait = describe_wait(asset, cycle, holds_coins=holds_coins, ask=ask)
    if wait is None:
        return None
    return HeldBack(symbol=asset.asset_symbol, seconds=None, reason=wait, is_requested=True)


def _invested_usd(cycle: DcaCycle | None) -> Decimal:
    """What its coins cost."""
    if cycle is None or not cycle.is_open:
        return _ZERO
    return cycle.quantity * cycle.average_purchase_price


def _coins_held(state: TradingState, fee_rate: Decimal) -> Decimal:
    return compute_coins_held(state.cycle.quantity, state.coin_fees, fee_rate)


def _no_open_cycle(asset: DcaAsset, cycle: DcaCycle | None) -> str | None:
    if not asset.is_enabled:
        return None
    last = f" (its last one is in {cycle.status})" if cycle else ""
    symbol = asset.asset_symbol
    return f"{symbol} has no open cycle{last}, nothing trades it: scripts/assets enable {symbol}"


def _any_rules(symbol: str) -> AssetRules:
    return AssetRules(
        symbol=symbol,
        min_order_size=_FINEST,
        min_trade_increment=_FINEST,
        price_increment=_FINEST,
        min_cost_usd=Decimal(0),
    )


def _distance_percent(price: Decimal | None, target: Decimal | None) -> Decimal | None:
    return None if price is None or target is None else (target / price - 1) * 100


def _find_order(
    cycle: DcaCycle, open_orders: Sequence[ExchangeOrder] | None
) -> ExchangeOrder | None:
    """The cycle's open order, linked already or not."""
    own_id = compute_client_order_id(cycle)
    for order in open_orders or ():
        if order.id == cycle.latest_order_id or order.client_order_id == own_id:
            return order
    return None


def _order_age_seconds(order: ExchangeOrder, now: datetime) -> float | None:
    moment = order.submitted_at or order.created_at
    return None if moment is None else max(0.0, (now - moment).total_seconds())


def _order_status(order: ExchangeOrder, now: datetime) -> OpenOrderStatus:
    return OpenOrderStatus(
        side=order.side.value,
        status=order.status,
        qty=order.qty,
        limit_price=order.limit_price,
        filled_qty=order.filled_qty,
        age_seconds=_order_age_seconds(order, now),
    )


def _order_problem(order: ExchangeOrder, now: datetime) -> str | None:
    age_seconds = _order_age_seconds(order, now)
    if age_seconds is None or age_seconds <= LONG_OPEN_SECONDS:
        return None
    return (
        f"the {order.side} order of {order.symbol} is open for {span(age_seconds)}"
        f" ({order.status}): does order_manager run?"
    )
