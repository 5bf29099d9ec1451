"""After a restore: what happened since the backup, booked from the exchange's own list of orders.

A cycle that was open in the backup is caught up by any recovery, because the ids of its orders
follow from its row. The cycles after it are lost, and with them what says which orders are theirs;
but each order bears its cycle's id and key. So the orders are booked one after the other, in the
order of their submission, and the fresh cycle of an asset takes the identity that its first order
names. To be called only where the bot is stopped and the user restores: anywhere else an order that
no cycle claims is an alert.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from config import Settings
from domain.cycle import DcaCycle
from domain.events import Severity
from domain.market import AssetRules
from domain.orders import ExchangeOrder, Side, UnreadableOrder
from models.asset_config import get_all_assets, get_asset_by_id
from models.cycle_data import get_cycle, get_latest_cycle
from models.lost_cycles import reserve_cycle_ids, take_identity
from models.meta import check_account, get_meta
from operations.refused import Refused
from operations.restore import CYCLE_IDS_FROM, RESTORED_FROM
from strategy.booking import CycleChange, compute_stop_loss_change
from strategy.exits import looks_like_stop_loss
from strategy.lifecycle import Circumstances
from strategy.order_identity import OrderIdentity, parse_client_order_id
from trading.asset_rules_cache import AssetRulesCache
from trading.cycle_changes import Applied, apply_order, apply_to_cycle
from trading.order_claims import fetch_current_order
from utils.alpaca_client_rest import get_trading_client
from utils.alpaca_queries import fetch_account_id, fetch_orders
from utils.db_utils import thread_connection

# An order of the last cycle may have been sent long before the backup and ended after it.
_EARLIER = timedelta(days=2)


@dataclass(slots=True, kw_only=True)
class CaughtUp:
    """What was booked. `left`: orders that belong to no cycle still, by symbol."""

    orders: int = 0
    cycles: list[int] = field(default_factory=list)
    left: Counter[str] = field(default_factory=Counter)


def catch_up(settings: Settings) -> CaughtUp:
    """Book every order since the backup. Run again, it goes on where it stopped.

    Raises:
        Refused: this database was not restored.
        ForeignDatabase: the keys are those of another account.
        ExchangeError, DatabaseError: not finished.
    """
    connection = thread_connection()
    restored_from = get_meta(connection, RESTORED_FROM)
    if restored_from is None:
        raise Refused("this database was not restored from a backup: there is nothing to catch up")
    client = get_trading_client()
    check_account(connection, fetch_account_id(client))
    since = datetime.fromisoformat(restored_from).replace(tzinfo=UTC) - _EARLIER
    unreadable: list[UnreadableOrder] = []  # the next sweep of the daemon alerts
    listed = fetch_orders(client, status="all", after=since, on_unreadable=unreadable.append)
    orders = sorted(listed, key=lambda order: order.submitted_at or since)
    rules = AssetRulesCache(client, settings.minimum_order_usd)
    rules.prefetch({order.symbol for order in orders})
    ids_from = int(get_meta(connection, CYCLE_IDS_FROM) or 1)
    lost = _find_lost(orders, ids_from)
    reserve_cycle_ids(connection, max(lost, default=ids_from - 1))
    done = CaughtUp()
    for order in orders:
        identity = parse_client_order_id(order.client_order_id)
        if identity is None:
            continue
        if identity.cycle_id in lost and _take(order, identity, since):
            done.cycles.append(identity.cycle_id)
        cycle = get_cycle(connection, identity.cycle_id)
        if cycle is None or cycle.order_key != identity.order_key:
            if identity.cycle_id in lost:
                done.left[order.symbol] += 1
            continue
        if order.side is Side.SELL:
            _note_stop_loss(order, cycle, rules.get(order.symbol), settings)
        result = apply_order(
            order,
            rules.get(order.symbol),
            settings.taker_fee_rate,
            datetime.now(UTC),
            source="restore",
            find_current=partial(fetch_current_order, client),
        )
        done.orders += result.applied in (Applied.CHANGED, Applied.CORRECTED)
    return done


def _find_lost(orders: Sequence[ExchangeOrder], ids_from: int) -> set[int]:
    """Ids of cycles that have orders and no row, and that began after the backup: an older id
    without a row was deleted, or is another database's.
    """
    named = [parse_client_order_id(order.client_order_id) for order in orders]
    ids = {one.cycle_id for one in named if one is not None and one.cycle_id >= ids_from}
    return {one for one in ids if get_cycle(thread_connection(), one) is None}


def _take(order: ExchangeOrder, identity: OrderIdentity, since: datetime) -> bool:
    """Whether the asset's fresh cycle became the one that `order` names."""
    connection = thread_connection()
    if get_cycle(connection, identity.cycle_id) is not None:
        return False
    cycle = _fresh_cycle_of(order.symbol)
    return cycle is not None and take_identity(
        connection,
        cycle,
        cycle_id=identity.cycle_id,
        order_key=identity.order_key,
        began_at=order.submitted_at or since,
    )


def _note_stop_loss(
    order: ExchangeOrder, cycle: DcaCycle, rules: AssetRules, settings: Settings
) -> None:
    """That the stop loss had fired stood in the lost row only; the price of its sale still says it.
    Without it the asset would buy again though its stop loss disabled it.
    """
    asset, price = get_asset_by_id(thread_connection(), cycle.asset_id), order.filled_avg_price
    if asset is None or price is None or not looks_like_stop_loss(asset, cycle, price):
        return
    apply_to_cycle(
        _fired_before,
        expected=cycle,
        rules=rules,
        fee_rate=settings.taker_fee_rate,
        now=datetime.now(UTC),
    )


def _fired_before(cycle: DcaCycle, circumstances: Circumstances) -> CycleChange | None:
    """It was alerted when it happened: nobody is told again."""
    change = compute_stop_loss_change(cycle, circumstances)
    if change is None:
        return None
    events = tuple(replace(event, severity=Severity.INFO) for event in change.events)
    return replace(change, events=events)


def _fresh_cycle_of(symbol: str) -> DcaCycle | None:
    connection = thread_connection()
    for asset in get_all_assets(connection):
        if asset.asset_symbol == symbol:
            cycle = get_latest_cycle(connection, asset.id)
            return cycle if cycle is not None and cycle.is_open else None
    return None
