"""One look at the running demo: what the bot's database, its heartbeat and the exchange say now.

Reads only. The prices it names come from the functions that the bot itself decides with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from mysql.connector.abstracts import MySQLConnectionAbstract

from domain.cycle import CycleStatus
from domain.market import AssetRules
from domain.trading_state import TradingState
from local_stack.stack import LocalStack
from models.realised_profit import get_realised_profits
from models.trading_state import load_all_trading_states
from strategy.triggers import compute_triggers

FEE_RATE = Decimal("0.0025")  # the default of TAKER_FEE_PERCENT, and what the exchange takes
MAKER_FEE_RATE = Decimal("0.0015")  # likewise of MAKER_FEE_PERCENT
STALE_BEAT_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Realised:
    """Completed cycles and what they earned after fees, as the journal tells.

    Estimated: a fee in it is not posted yet.
    """

    cycles: int = 0
    profit_usd: Decimal = Decimal(0)
    is_estimated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOrder:
    """The order under way. Price None: a market order."""

    side: str
    qty: Decimal
    price: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetRow:
    """One line of the table. Prices in USD, None where there is none."""

    symbol: str
    price_step: Decimal
    status: CycleStatus
    rests_for_seconds: float | None
    quantity: Decimal
    average: Decimal
    safety_orders: int
    max_safety_orders: int
    bid: Decimal | None
    ask: Decimal | None
    buys_at: Decimal | None
    sells_at: Decimal | None
    order: OpenOrder | None
    realised: Realised


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What the whole screen shows."""

    rows: tuple[AssetRow, ...]
    daemon: str
    daemon_is_well: bool
    market_status: str
    market_at: datetime | None
    requests_peak: int

    @property
    def total(self) -> Realised:
        return Realised(
            cycles=sum(row.realised.cycles for row in self.rows),
            profit_usd=sum((row.realised.profit_usd for row in self.rows), Decimal(0)),
            is_estimated=any(row.realised.is_estimated for row in self.rows),
        )


def take_snapshot(
    stack: LocalStack, db_conn: MySQLConnectionAbstract, rules: Mapping[str, AssetRules]
) -> Snapshot:
    """Look once.

    Raises:
        StackError, DatabaseError: a part does not answer.
    """
    exchange = stack.exchange.state()
    realised = load_realised(db_conn)
    orders = {order["id"]: order for order in exchange["orders"]["open"]}
    now = datetime.now(UTC)
    rows = tuple(
        _row(
            state,
            rules[state.asset.asset_symbol],
            exchange["quotes"].get(state.asset.asset_symbol),
            orders.get(state.cycle.latest_order_id or ""),
            realised.get(state.asset.asset_symbol, Realised()),
            now,
        )
        for state in load_all_trading_states(db_conn)
    )
    daemon, is_well = _daemon(stack)
    position = exchange["market"]["position"]
    return Snapshot(
        rows=rows,
        daemon=daemon,
        daemon_is_well=is_well,
        market_status=exchange["market"]["status"],
        market_at=datetime.fromisoformat(position) if isinstance(position, str) else None,
        requests_peak=exchange["requests"]["peak_per_minute"],
    )


def load_realised(db_conn: MySQLConnectionAbstract) -> dict[str, Realised]:
    """By symbol."""
    profits = get_realised_profits(db_conn, datetime.now(UTC))
    return {
        symbol: Realised(cycles=one.deals, profit_usd=one.profit_usd, is_estimated=one.is_estimated)
        for symbol, one in profits.items()
    }


def _row(
    state: TradingState,
    rules: AssetRules,
    quote: Mapping[str, Any] | None,
    order: Mapping[str, Any] | None,
    realised: Realised,
    now: datetime,
) -> AssetRow:
    asset, cycle = state.asset, state.cycle
    # While an order is under way no trigger is armed; what a person wants to see are the next ones.
    armed = (
        replace(state, cycle=replace(cycle, status=CycleStatus.WATCHING))
        if cycle.status in (CycleStatus.BUYING, CycleStatus.SELLING)
        else state
    )
    triggers = compute_triggers(armed, rules, FEE_RATE)
    buys_at = triggers.buy_at_or_below
    rest = state.cooldown_until if cycle.status is CycleStatus.COOLDOWN else None
    return AssetRow(
        symbol=asset.asset_symbol,
        price_step=rules.price_increment,
        status=cycle.status,
        rests_for_seconds=max(0.0, (rest - now).total_seconds()) if rest else None,
        quantity=cycle.quantity,
        average=cycle.average_purchase_price,
        safety_orders=cycle.safety_orders,
        max_safety_orders=asset.max_safety_orders,
        bid=Decimal(quote["bid"]) if quote else None,
        ask=Decimal(quote["ask"]) if quote else None,
        buys_at=buys_at if buys_at is not None and buys_at.is_finite() else None,
        sells_at=triggers.sell_at_or_above,
        order=_open_order(order) if order else None,
        realised=realised,
    )


def _open_order(order: Mapping[str, Any]) -> OpenOrder:
    price = order["limit_price"]
    return OpenOrder(
        side=order["side"],
        qty=Decimal(order["qty"]) - Decimal(order["filled_qty"]),
        price=None if price is None else Decimal(price),
    )


def _daemon(stack: LocalStack) -> tuple[str, bool]:
    """One phrase for the bot's state, and whether it is a good one."""
    beat = stack.heartbeat()
    if beat is None:
        return "bot: starting", False
    age = beat.age_seconds()
    if age > STALE_BEAT_SECONDS:
        return f"bot: no heartbeat for {age:.0f} s", False
    if beat.state != "trading":
        return f"bot: {beat.state} ({beat.reason})", False
    streams = {"quotes": beat.data_stream_connected, "orders": beat.trade_stream_connected}
    if lost := [name for name, is_connected in streams.items() if not is_connected]:
        return f"bot: stream of {' and '.join(lost)} is down", False
    return f"bot: trading, heartbeat {age:.0f} s ago", True
