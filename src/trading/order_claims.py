"""Which order is whose: the facts that the daemon's sweep and consistency_checker read alike.

Reads only; what follows is the planner's (strategy/reconciliation).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from mysql.connector.abstracts import MySQLConnectionAbstract

from domain.cycle import WAITING_STATUSES, DcaCycle
from domain.orders import ExchangeOrder
from models.cycle_data import get_cycles_by_ids
from models.order_journal import get_booked_orders
from strategy.order_identity import compute_client_order_id, parse_client_order_id
from strategy.reconciliation_facts import OwnOrder
from trading.cycle_changes import find_claim
from utils.alpaca_queries import fetch_order, fetch_order_by_client_id
from utils.alpaca_sdk import TradingClient


def read_claims(
    connection: MySQLConnectionAbstract,
    orders: Collection[ExchangeOrder],
    open_cycles: Iterable[DcaCycle],
) -> list[OwnOrder]:
    """Each of `orders`, as they come, with what claims it.

    Raises:
        DatabaseError: nothing is known.
    """
    journal = get_booked_orders(connection, {order.id for order in orders})
    identities = [parse_client_order_id(order.client_order_id) for order in orders]
    cycles = {cycle.id: cycle for cycle in open_cycles}
    linked = {cycle.latest_order_id: cycle for cycle in cycles.values()}
    wanted = {one.cycle_id for one in journal.values()}
    wanted |= {one.cycle_id for one in identities if one is not None}
    cycles |= get_cycles_by_ids(connection, wanted - cycles.keys())
    claims = []
    for order in orders:
        link, booked = linked.get(order.id), journal.get(order.id)
        cycle, seq = find_claim(order, link, booked, cycles.get)
        claims.append(
            OwnOrder(
                order=order,
                cycle=cycle,
                order_seq=seq,
                journaled_qty=booked.filled_qty if booked is not None else None,
                is_linked=link is not None and link.status in WAITING_STATUSES,
            )
        )
    return claims


def fetch_current_order(client: TradingClient, cycle: DcaCycle) -> ExchangeOrder | None:
    """The one order that `cycle`'s state can have, or None on the exchange's own 404.

    Raises:
        ExchangeError: nothing certain was answered.
    """
    return fetch_order_by_client_id(client, compute_client_order_id(cycle))


def fetch_order_of(client: TradingClient, cycle: DcaCycle) -> ExchangeOrder | None:
    """The order that `cycle` waits for, asked for by both its ids before it is None.

    Raises:
        ExchangeError: nothing certain was answered.
    """
    order = fetch_order(client, cycle.latest_order_id) if cycle.latest_order_id else None
    return order or fetch_current_order(client, cycle)


def is_booked(connection: MySQLConnectionAbstract, order: ExchangeOrder) -> bool:
    """Whether the journal has the end of `order`, with all that it filled.

    Raises:
        DatabaseError: nothing is known.
    """
    booked = get_booked_orders(connection, {order.id} if order.is_ended else ()).get(order.id)
    return booked is not None and booked.filled_qty >= order.filled_qty
