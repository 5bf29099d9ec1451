"""What a sweep needs of memory at once is bounded: an hour of a lively market has thousands of
orders, and what was once needed stays with the process.
"""

from __future__ import annotations

import asyncio
import gc
import sys

import pytest

from bot_parts import BTC
from domain.orders import ExchangeOrder
from trading import order_lists
from trading.order_lists import ORDERS_AT_ONCE
from utils.alpaca_orders import PAGE_SIZE

ORDERS = PAGE_SIZE + 3 * ORDERS_AT_ONCE


BLOCKS_AN_ORDER = 10  # of memory: at the least, as it came over the wire


def count_records():
    return sum(type(one) is ExchangeOrder for one in gc.get_objects())


@pytest.fixture
def users_own_orders(parts, exchange):
    """More than a page of them, all filled within the last hour."""
    exchange.push_quote(BTC, 999, 1000)

    async def submit():
        plain = {"symbol": BTC, "qty": "0.02", "side": "buy", "type": "limit"}
        plain |= {"limit_price": "1000", "time_in_force": "gtc"}
        for number in range(ORDERS):
            exchange.server.exchange.submit(plain | {"client_order_id": f"mine-{number}"})
            await asyncio.sleep(0)

    exchange.run(submit())
    exchange.finish()


def test_a_sweep_holds_few_records_of_orders_and_of_a_page_only_what_it_has_not_read(
    parts, users_own_orders, monkeypatch
):
    parts.sweep()  # what the first one makes for good
    read_claims, found = order_lists.read_claims, []
    read_claims, found, before = order_lists.read_claims, [], count_records()

    def count_and_read(connection, orders, cycles):
        found.append((len(orders), count_records() - before, sys.getallocatedblocks()))
        return read_claims(connection, orders, cycles)

    monkeypatch.setattr(order_lists, "read_claims", count_and_read)
    result = parts.reconciler.sweep()
    assert result.orders_seen == ORDERS == sum(read for read, _, _ in found)
    assert max(records for _, records, _ in found) <= ORDERS_AT_ONCE
    page = found[: PAGE_SIZE // ORDERS_AT_ONCE]
    let_go = page[0][2] - page[-1][2]
    assert let_go > BLOCKS_AN_ORDER * (PAGE_SIZE - 2 * ORDERS_AT_ONCE), found
