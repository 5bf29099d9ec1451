"""Trade updates become rows: phases 7 to 9, in any order, twice or never, with the same end."""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from unittest.mock import patch

import pytest
from alpaca.trading.models import TradeUpdate as SdkTradeUpdate

from bot_parts import BotParts
from builders import build_wire_update
from models.asset_config import get_asset_by_id
from models.cycle_data import create_cycle, get_cycle, get_latest_cycle, lock_cycle, update_cycle
from models.events import get_events
from models.order_journal import get_entries_of_cycle
from strategy import unclaimed
from strategy.order_identity import compute_client_order_id
from trading import trade_update_handler
from trading.cycle_changes import Applied, apply_order
from utils import alpaca_http
from utils.alpaca_client_rest import cancel_order, place_limit_buy_order, place_market_sell_order
from utils.alpaca_queries import fetch_order
from utils.db_utils import close_thread_connection, execute_query, get_db_connection

BTC = "BTC/USD"
HELD = {"quantity": Decimal("0.002"), "average_purchase_price": Decimal(50000)}
HELD |= {"last_order_fill_price": Decimal(50000)}
FEE_RATE = Decimal("0.0025")


@asynccontextmanager
async def running(parts: BotParts):
    task = asyncio.create_task(parts.updates.run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def deliver(parts, messages):
    """Hand messages to the handler as the stream would, and wait until they are applied."""
    async with running(parts):
        for message in messages:
            await parts.updates.on_crypto_trade_update(message)
        await parts.updates.wait_until_idle()


async def until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not in time"
        await asyncio.sleep(0.01)


def buy(parts, cycle=None, *, qty="0.002", price="50000", identity=None):
    """A limit buy under the cycle's own id, or by hand."""
    if cycle is not None:
        identity = compute_client_order_id(cycle)
    order = place_limit_buy_order(
        parts.client, BTC, Decimal(qty), Decimal(price), client_order_id=identity
    )
    parts.exchange.finish()
    return order


def sell(parts, cycle, qty="0.002"):
    order = place_market_sell_order(
        parts.client, BTC, Decimal(qty), client_order_id=compute_client_order_id(cycle)
    )
    parts.exchange.finish()
    return order


def cancel(parts, order):
    assert cancel_order(parts.client, str(order.id))
    parts.exchange.finish()


def warnings(caplog, level=logging.WARNING):
    return [record.getMessage() for record in caplog.records if record.levelno == level]


# The plan's tests: the cycle knows the order by latest_order_id, whoever placed it.


async def test_buy_fill_updates_cycle_base_order(parts, start, db_conn, sent_updates):
    parts.exchange.push_quote(BTC, 49999, 50000)
    order = buy(parts)
    cycle = start("buying", latest_order_id=str(order.id))
    await deliver(parts, sent_updates)
    found = get_cycle(db_conn, cycle.id)
    assert (found.status, found.quantity) == ("watching", Decimal("0.002"))
    assert found.average_purchase_price == found.last_order_fill_price == 50000
    assert (found.safety_orders, found.latest_order_id, found.order_seq) == (0, None, 1)


async def test_buy_fill_updates_cycle_safety_order(parts, start, db_conn, sent_updates):
    parts.exchange.push_quote(BTC, 39999, 40000)
    order = buy(parts, price="40000")
    cycle = start("buying", **HELD, latest_order_id=str(order.id))
    await deliver(parts, sent_updates)
    found = get_cycle(db_conn, cycle.id)
    assert (found.status, found.quantity) == ("watching", Decimal("0.004"))
    assert (found.average_purchase_price, found.last_order_fill_price) == (45000, 40000)
    assert (found.safety_orders, found.latest_order_id) == (1, None)


async def test_sell_fill_completes_cycle_and_creates_cooldown_cycle(
    parts, start, db_conn, sent_updates
):
    parts.exchange.push_quote(BTC, 51000, 51001)
    parts.exchange.set_balance(BTC, "0.002")
    order = place_market_sell_order(parts.client, BTC, Decimal("0.002"))
    parts.exchange.finish()
    cycle = start("selling", **HELD, latest_order_id=str(order.id))
    await deliver(parts, sent_updates)
    done, fresh = get_cycle(db_conn, cycle.id), get_latest_cycle(db_conn, cycle.asset_id)
    assert (done.status, done.latest_order_id) == ("complete", None)
    assert done.completed_at == fetch_order(parts.client, str(order.id)).ended_at
    assert get_asset_by_id(db_conn, cycle.asset_id).last_sell_price == 51000
    assert fresh.id != done.id
    assert (fresh.status, fresh.quantity, fresh.average_purchase_price) == ("cooldown", 0, 0)
    assert (fresh.safety_orders, fresh.latest_order_id) == (0, None)
    assert (fresh.last_order_fill_price, fresh.completed_at) == (None, None)


async def test_order_cancellation_reverts_buying_cycle_to_watching(
    parts, start, db_conn, sent_updates
):
    order = buy(parts)
    cycle = start("buying", latest_order_id=str(order.id))
    cancel(parts, order)
    await deliver(parts, sent_updates)
    found = get_cycle(db_conn, cycle.id)
    assert (found.status, found.latest_order_id, found.quantity) == ("watching", None, 0)


async def test_order_cancellation_for_unknown_order_logs_warning(
    parts, start, db_conn, sent_updates, caplog
):
    cycle = start()
    order = buy(parts)
    cancel(parts, order)
    await deliver(parts, sent_updates)
    [warning] = warnings(caplog)
    assert f"Received canceled for order {order.id} not actively tracked" in warning
    assert get_cycle(db_conn, cycle.id) == cycle
    assert get_entries_of_cycle(db_conn, cycle.id) == []
    assert parts.sweeps_requested == []


# One order after another.


async def test_an_order_is_linked_by_its_first_event_and_a_partial_fill_is_only_logged(
    parts, start, db_conn, sent_updates, caplog
):
    caplog.set_level(logging.INFO)
    cycle = start()
    parts.exchange.arm("rest_after_part", fraction=0.5)
    parts.exchange.push_quote(BTC, 49999, 50000)
    order = buy(parts, cycle)
    assert [message["data"]["event"] for message in sent_updates] == [
        "pending_new", "new", "partial_fill",
    ]  # fmt: skip
    for message in sent_updates:
        await deliver(parts, [message])
        linked = get_cycle(db_conn, cycle.id)
        assert (linked.status, linked.latest_order_id) == ("buying", str(order.id))
        assert (linked.quantity, linked.order_seq) == (0, 0)
    assert "event=partial_fill" in caplog.text


@pytest.mark.parametrize("side", ["buy", "sell"])
async def test_what_was_filled_before_a_cancel_is_kept(parts, start, db_conn, sent_updates, side):
    cycle = start(**HELD)
    parts.exchange.arm("rest_after_part", fraction=0.5)
    parts.exchange.push_quote(BTC, 50000, 50000)
    order = buy(parts, cycle) if side == "buy" else sell(parts, cycle)
    cancel(parts, order)
    await deliver(parts, sent_updates)
    found = get_cycle(db_conn, cycle.id)
    assert (found.status, found.order_seq, found.latest_order_id) == ("watching", 1, None)
    assert found.quantity == Decimal("0.003" if side == "buy" else "0.001")
    assert found.safety_orders == (1 if side == "buy" else 0)
    [entry] = get_entries_of_cycle(db_conn, cycle.id)
    assert (entry.final_status, entry.filled_qty) == ("canceled", Decimal("0.001"))
    assert get_latest_cycle(db_conn, cycle.asset_id).id == cycle.id


@pytest.mark.parametrize(("end", "status"), [("expire", "expired"), ("reject", "rejected")])
@pytest.mark.parametrize("side", ["buy", "sell"])
async def test_every_other_end_frees_the_cycle_too(
    parts, start, db_conn, sent_updates, side, end, status
):
    cycle = start(**HELD)
    parts.exchange.push_quote(BTC, 50000, 50001)
    parts.exchange.arm("rest_market_order")
    order = buy(parts, cycle, price="1000", qty="0.02") if side == "buy" else sell(parts, cycle)
    getattr(parts.exchange, end)(str(order.id))
    await deliver(parts, sent_updates)
    found = get_cycle(db_conn, cycle.id)
    assert (found.status, found.quantity, found.order_seq) == ("watching", Decimal("0.002"), 1)
    [entry] = get_entries_of_cycle(db_conn, cycle.id)
    assert entry.final_status == status


async def test_a_base_order_of_dust_is_bought_again_within_the_budget(
    parts, start, db_conn, exchange
):
    cycle = start(asset={"max_safety_orders": 0})
    exchange.arm("rest_after_part", fraction=0.004, count=1)
    quote = parts.quote_both(50000, 50000)
    await parts.see(quote)
    exchange.finish()
    [order] = parts.orders()
    exchange.cancel(order.id)
    parts.sweep()
    dust = get_cycle(db_conn, cycle.id)
    assert (dust.status, dust.quantity) == ("watching", Decimal("0.000008"))
    assert (dust.safety_orders, dust.last_order_fill_price) == (0, None)
    exchange.clear_faults()
    await parts.see(quote)
    parts.sweep()
    found = get_cycle(db_conn, cycle.id)
    assert (found.safety_orders, found.order_seq) == (0, 2)
    assert found.last_order_fill_price == 50000
    cost = found.quantity * found.average_purchase_price
    assert Decimal("99.99") < cost <= 100, "base order and dust together keep to the budget"
    purposes = [entry.purpose for entry in get_entries_of_cycle(db_conn, cycle.id)]
    assert purposes == ["base", "base"]


async def test_a_sell_that_leaves_dust_completes_and_the_journal_says_how_much(
    parts, start, db_conn, sent_updates
):
    cycle = start(**HELD)
    parts.exchange.arm("rest_after_part", fraction=0.996)
    parts.exchange.push_quote(BTC, 51000, 51001)
    order = sell(parts, cycle)
    cancel(parts, order)
    await deliver(parts, sent_updates)
    assert get_cycle(db_conn, cycle.id).status == "complete"
    assert get_latest_cycle(db_conn, cycle.asset_id).status == "cooldown"
    [entry] = get_entries_of_cycle(db_conn, cycle.id)
    assert entry.note == "0.000008 coins could not be sold"


@pytest.mark.parametrize("order_of_events", ["as sent", "reversed"])
async def test_a_replaced_order_is_followed(parts, start, db_conn, sent_updates, order_of_events):
    cycle = start()
    first = buy(parts, cycle, price="1000", qty="0.02")
    await deliver(parts, sent_updates)
    sent_updates.clear()
    parts.client.patch(f"/orders/{first.id}", {"limit_price": "50000", "qty": "0.002"})
    parts.exchange.finish()
    parts.exchange.push_quote(BTC, 49999, 50000)
    step = 1 if order_of_events == "as sent" else -1
    await deliver(parts, sent_updates[::step])
    if order_of_events == "reversed":
        parts.reconciler.sweep()
        parts.reconciler.sweep()
    found = get_cycle(db_conn, cycle.id)
    assert (found.status, found.quantity, found.order_seq) == ("watching", Decimal("0.002"), 2)
    entries = get_entries_of_cycle(db_conn, cycle.id)
    assert [(entry.order_seq, entry.final_status) for entry in entries] == [
        (0, "replaced"), (1, "filled"),
    ]  # fmt: skip
    assert entries[1].alpaca_order_id == fetch_order(parts.client, str(first.id)).replaced_by


async def test_a_canceled_early_restart_goes_back_to_its_cooldown(
    parts, start, db_conn, sent_updates
):
    done = start("complete", completed_at=datetime.now(UTC) - timedelta(seconds=5))
    cycle = create_cycle(db_conn, done.asset_id, "cooldown")
    order = buy(parts, cycle, price="1000", qty="0.02")
    await deliver(parts, sent_updates)
    assert get_cycle(db_conn, cycle.id).status == "buying"
    cancel(parts, order)
    await deliver(parts, sent_updates[-1:])
    found = get_cycle(db_conn, cycle.id)
    assert (found.status, found.order_seq, found.latest_order_id) == ("cooldown", 1, None)


@pytest.mark.parametrize("heard", ["from the stream", "by the sweep"])
async def test_a_fill_after_the_cancel_is_booked_as_a_correction_with_an_alert(
    parts, start, db_conn, sent_updates, caplog, heard
):
    cycle = start()
    parts.exchange.arm("rest_after_part", fraction=0.5)
    parts.exchange.push_quote(BTC, 49999, 50000)
    order = buy(parts, cycle)
    cancel(parts, order)
    await deliver(parts, sent_updates)
    assert get_cycle(db_conn, cycle.id).quantity == Decimal("0.001")
    sent_updates.clear()
    _fill_late(parts.exchange, str(order.id), "0.0015")
    if heard == "from the stream":
        await deliver(parts, [_fill_message(parts, order)])
    for _ in range(2):
        await asyncio.to_thread(parts.reconciler.sweep)
    found = get_cycle(db_conn, cycle.id)
    assert (found.status, found.order_seq) == ("watching", 1)
    assert found.quantity == Decimal("0.0015")
    entries = get_entries_of_cycle(db_conn, cycle.id)
    assert [entry.filled_qty for entry in entries] == [Decimal("0.001"), Decimal("0.0005")]
    assert entries[1].client_order_id == f"{entries[0].client_order_id}/c1"
    [error] = warnings(caplog, logging.ERROR)
    assert error.startswith("fill.corrected symbol=BTC/USD")
    assert [event["kind"] for event in get_events(db_conn)] == ["fill_corrected"]


def _fill_late(exchange, order_id, total):
    """More was filled of a canceled order than its last event said."""
    inside = exchange.server.exchange

    async def fill():
        order = inside.order(order_id)
        value = Decimal(total) * 50000
        inside.book.put(replace(order, filled_qty=Decimal(total), filled_value=value))

    exchange.run(fill())


def _fill_message(parts, order):
    found = fetch_order(parts.client, str(order.id))
    return build_wire_update(
        "partial_fill", id=found.id, client_order_id=found.client_order_id, status=found.status,
        filled_qty=str(found.filled_qty), filled_avg_price=str(found.filled_avg_price),
    )  # fmt: skip


async def test_a_fill_for_a_closed_cycle_is_journaled_and_an_error(
    parts, start, db_conn, sent_updates, caplog
):
    cycle = start("error")
    parts.exchange.push_quote(BTC, 49999, 50000)
    buy(parts, cycle)
    await deliver(parts, sent_updates)
    await deliver(parts, sent_updates)
    assert get_cycle(db_conn, cycle.id) == cycle
    [entry] = get_entries_of_cycle(db_conn, cycle.id)
    assert entry.filled_qty == Decimal("0.002")
    assert len(warnings(caplog, logging.ERROR)) == 1


# Any order, any number.


def end_state(db_conn):
    """Everything that could depend on what was delivered, without ids and times of ours."""
    cycles = execute_query(
        "SELECT asset_id, status, quantity, average_purchase_price, safety_orders, latest_order_id,"
        " last_order_fill_price, completed_at, order_seq FROM dca_cycles ORDER BY id",
        fetch_all=True, db_conn=db_conn,
    )  # fmt: skip
    journal = execute_query(
        "SELECT cycle_id, order_seq, purpose, side, alpaca_order_id, client_order_id, filled_qty,"
        " filled_avg_price, final_status, ended_at, fee_qty, fee_usd, note FROM dca_orders"
        " ORDER BY client_order_id",
        fetch_all=True, db_conn=db_conn,
    )  # fmt: skip
    sold_at = execute_query(
        "SELECT last_sell_price FROM dca_assets", fetch_all=True, db_conn=db_conn
    )
    return cycles, journal, sold_at, [event["kind"] for event in get_events(db_conn)]


def shuffled(seed):
    def shuffle(messages):
        mixed = messages * 2
        random.Random(seed).shuffle(mixed)
        return mixed

    return shuffle


def only(*events):
    return lambda messages: [message for message in messages if message["data"]["event"] in events]


DELIVERIES = {
    "in order": lambda messages: messages,
    "each twice": lambda messages: [message for message in messages for _ in range(2)],
    "all twice": lambda messages: messages * 2,
    "only the ends": only("fill", "canceled"),
    "reversed": lambda messages: messages[::-1],
    "shuffled, twice, 1": shuffled(1),
    "shuffled, twice, 2": shuffled(2),
    "not at all": lambda messages: [],
    "only the last": lambda messages: messages[-1:],
    "only news": only("new"),
}  # fmt: skip
NEEDS_NO_SWEEP = {"in order", "each twice", "all twice", "only the ends"}


async def test_any_delivery_of_a_round_leads_to_the_same_end(
    parts, start, db_conn, exchange, sent_updates
):
    cycle = start()
    exchange.configure(partial_fill_probability=1)
    for bid in (50000, 50000, 49000, 49000, 51500, 51500):
        await parts.see(parts.quote_both(bid, bid + 1))
        exchange.push_quote(BTC, bid, bid + 1)  # the second part
        parts.sweep()
    expected = end_state(db_conn)
    statuses = [row["status"] for row in expected[0]]
    assert statuses == ["complete", "cooldown"]
    assert [row["purpose"] for row in expected[1]] == ["base", "safety", "take_profit"]
    assert {message["data"]["event"] for message in sent_updates} >= {"new", "partial_fill", "fill"}

    for name, choose in DELIVERIES.items():
        _rewind(db_conn, cycle)
        parts.sweeps_requested.clear()
        await deliver(parts, choose(sent_updates))
        if name not in NEEDS_NO_SWEEP:
            await asyncio.to_thread(parts.reconciler.recover)
        assert end_state(db_conn) == expected, name
        assert bool(parts.sweeps_requested) <= (name not in NEEDS_NO_SWEEP), name
        before = execute_query("SELECT * FROM dca_cycles", fetch_all=True, db_conn=db_conn)
        result = await asyncio.to_thread(parts.reconciler.sweep)
        assert result.changed == [], f"{name}: a second pass finds nothing"
        assert execute_query("SELECT * FROM dca_cycles", fetch_all=True, db_conn=db_conn) == before


def _rewind(db_conn, cycle):
    """The database as it was before the round; the cycle keeps its id and token."""
    for table in ("dca_orders", "dca_events"):
        execute_query(f"DELETE FROM {table}", db_conn=db_conn)
    execute_query("DELETE FROM dca_cycles WHERE id <> %s", (cycle.id,), db_conn=db_conn)
    execute_query("UPDATE dca_assets SET last_sell_price = NULL", db_conn=db_conn)
    fresh = {"status": "watching", "quantity": 0, "average_purchase_price": 0, "safety_orders": 0}
    fresh |= dict.fromkeys(("latest_order_id", "last_order_fill_price", "completed_at"))
    update_cycle(db_conn, cycle.id, fresh | {"order_seq": 0})


async def test_a_fill_applied_by_many_at_once_is_applied_once(parts, start, db_conn):
    cycle = start()
    parts.exchange.push_quote(BTC, 49999, 50000)
    order = fetch_order(parts.client, str(buy(parts, cycle).id))
    rules = parts.rules.get(BTC)

    def apply(_):
        try:
            return apply_order(order, rules, FEE_RATE, datetime.now(UTC), source="test").applied
        finally:
            close_thread_connection()

    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(apply, range(6)))
    assert sorted(outcome.value for outcome in outcomes) == ["changed"] + ["nothing_new"] * 5
    assert get_cycle(db_conn, cycle.id).quantity == Decimal("0.002")
    assert len(get_entries_of_cycle(db_conn, cycle.id)) == 1


# What the handler must survive.


async def test_garbage_is_a_warning_and_a_sweep_and_the_handler_lives(
    parts, start, db_conn, sent_updates, caplog
):
    cycle = start()
    parts.exchange.push_quote(BTC, 49999, 50000)
    buy(parts, cycle)
    garbage = [None, 5, {}, {"data": None}, build_wire_update("fill", side="hold"), b"x"]
    await deliver(parts, [*garbage, *sent_updates])
    assert len(warnings(caplog)) == len(parts.sweeps_requested) == len(garbage)
    assert get_cycle(db_conn, cycle.id).quantity == Decimal("0.002")


async def test_updates_of_the_users_stocks_are_none_of_our_business(parts, caplog):
    caplog.set_level(logging.INFO)
    await deliver(parts, [build_wire_update("fill", asset_class="us_equity", symbol="AAPL")])
    assert (caplog.records, parts.sweeps_requested) == ([], [])


async def test_the_sdk_object_of_the_plans_tests_is_taken_too(parts, start, db_conn, sent_updates):
    cycle = start()
    parts.exchange.push_quote(BTC, 49999, 50000)
    buy(parts, cycle)
    await deliver(parts, [SdkTradeUpdate(**message["data"]) for message in sent_updates])
    assert get_cycle(db_conn, cycle.id).quantity == Decimal("0.002")


@pytest.mark.parametrize("away", ["the exchange", "the database"])
async def test_what_cannot_be_applied_now_asks_for_a_sweep_that_applies_it(
    parts, start, db_conn, exchange, sent_updates, monkeypatch, caplog, away
):
    monkeypatch.setattr(alpaca_http, "READ_WAITS_SECONDS", ())
    cycle = start()
    exchange.push_quote(BTC, 49999, 50000)
    buy(parts, cycle)
    parts.rules.get(BTC)
    if away == "the exchange":
        exchange.arm("http_500")
    else:
        execute_query("RENAME TABLE dca_cycles TO away", db_conn=db_conn)
    await deliver(parts, sent_updates[-1:])
    exchange.clear_faults()
    if away == "the database":
        execute_query("RENAME TABLE away TO dca_cycles", db_conn=db_conn)
    assert "update.postponed" in caplog.text
    assert parts.sweeps_requested == ["an update could not be applied"]
    assert get_cycle(db_conn, cycle.id) == cycle
    await asyncio.to_thread(parts.reconciler.sweep)
    assert get_cycle(db_conn, cycle.id).quantity == Decimal("0.002")


async def test_an_end_that_the_exchange_does_not_confirm_changes_nothing(parts, start, db_conn):
    cycle = start()
    order = buy(parts, cycle, price="1000", qty="0.02")
    early = build_wire_update(
        "fill", id=str(order.id), client_order_id=order.client_order_id, status="filled",
        filled_qty="0.02", filled_avg_price="1000",
    )  # fmt: skip
    unknown = build_wire_update("canceled", id=str(uuid.uuid4()), status="canceled")
    await deliver(parts, [early, unknown])
    assert get_cycle(db_conn, cycle.id) == cycle
    assert len(parts.sweeps_requested) == 2


async def test_an_end_that_is_confirmed_late_is_booked_without_a_sweep_and_holds_up_no_other(
    parts, start, db_conn, exchange, sent_updates, monkeypatch
):
    """The stream is ahead of REST. The later updates of the symbol keep their order."""
    monkeypatch.setattr(trade_update_handler, "FIRST_CONFIRM_SECONDS", 0.02)
    parts.updates.confirm_end_seconds = 60.0
    cycle, eth = start(), start(symbol="ETH/USD")
    order = buy(parts, cycle, price="1000", qty="0.02")
    early = build_wire_update(
        "fill", id=str(order.id), client_order_id=order.client_order_id, status="filled",
        filled_qty="0.02", filled_avg_price="1000",
    )  # fmt: skip
    async with running(parts):
        await parts.updates.on_crypto_trade_update(early)
        for message in list(sent_updates):  # `new` of the same order, now behind its end
            await parts.updates.on_crypto_trade_update(message)
        exchange.push_quote("ETH/USD", 2499, 2500)
        place_limit_buy_order(
            parts.client, "ETH/USD", Decimal("0.02"), Decimal(2500),
            client_order_id=compute_client_order_id(eth),
        )  # fmt: skip
        exchange.finish()
        await parts.updates.on_crypto_trade_update(sent_updates[-1])
        await until(lambda: get_cycle(db_conn, eth.id).order_seq == 1)
        assert get_cycle(db_conn, cycle.id) == cycle, "and what came behind it waits"
        exchange.push_quote(BTC, 999, 1000)
        await parts.updates.wait_until_idle()
    found = get_cycle(db_conn, cycle.id)
    assert (found.quantity, found.order_seq, found.status) == (Decimal("0.02"), 1, "watching")
    assert parts.sweeps_requested == []


async def test_an_end_that_is_never_confirmed_is_left_to_a_sweep_and_the_later_ones_are_applied(
    parts, start, db_conn, sent_updates, monkeypatch
):
    monkeypatch.setattr(trade_update_handler, "FIRST_CONFIRM_SECONDS", 0.01)
    parts.updates.confirm_end_seconds = 0.1
    cycle = start()
    order = buy(parts, cycle, price="1000", qty="0.02")
    never = build_wire_update(
        "canceled", id=str(order.id), client_order_id=order.client_order_id, status="canceled"
    )
    async with running(parts):
        await parts.updates.on_crypto_trade_update(never)
        await parts.updates.on_crypto_trade_update(sent_updates[-1])
        await parts.updates.wait_until_idle()
    assert parts.sweeps_requested == ["the exchange does not confirm an update"]
    assert get_cycle(db_conn, cycle.id).status == "buying"


async def test_a_symbol_whose_booking_waits_holds_up_no_other(
    parts, start, db_conn, exchange, sent_updates
):
    cycle, eth = start(), start(symbol="ETH/USD")
    exchange.push_quote(BTC, 49999, 50000)
    exchange.push_quote("ETH/USD", 2499, 2500)
    buy(parts, cycle)
    place_limit_buy_order(
        parts.client, "ETH/USD", Decimal("0.02"), Decimal(2500),
        client_order_id=compute_client_order_id(eth),
    )  # fmt: skip
    exchange.finish()
    with closing(get_db_connection()) as holder:
        holder.start_transaction()
        lock_cycle(holder, cycle.id)
        async with running(parts):
            for message in sent_updates:  # all of BTC before the first of ETH
                await parts.updates.on_crypto_trade_update(message)
            await until(lambda: get_cycle(db_conn, eth.id).order_seq == 1)
            assert get_cycle(db_conn, cycle.id) == cycle
            holder.rollback()
            await parts.updates.wait_until_idle()
    assert [order.symbol for order in parts.changed if order.is_ended] == ["ETH/USD", BTC]
    assert get_cycle(db_conn, cycle.id).order_seq == 1
    assert get_cycle(db_conn, cycle.id).quantity == Decimal("0.002")
    assert parts.sweeps_requested == []


async def test_an_error_that_nobody_expects_ends_the_handler_and_is_not_kept_silent(
    parts, sent_updates
):
    """The daemon is supervised: it ends with the reason, and is started anew."""

    def broken(_reason):
        raise AssertionError("nobody can be asked for a sweep")

    parts.updates.request_sweep = broken
    handler = asyncio.create_task(parts.updates.run())
    await parts.updates.on_crypto_trade_update(
        build_wire_update("canceled", id=str(uuid.uuid4()), status="canceled")
    )
    with pytest.raises(ExceptionGroup):
        await handler


async def test_a_flood_beyond_the_queue_asks_for_a_sweep(parts, monkeypatch):
    monkeypatch.setattr(trade_update_handler, "QUEUE_SIZE", 2)
    parts = BotParts(parts.settings, parts.exchange)
    for _ in range(5):
        await parts.updates.on_crypto_trade_update(build_wire_update("new"))
    assert parts.sweeps_requested == ["too many trade updates at once"] * 3


# Orders that nobody claims.


@pytest.mark.parametrize(
    ("why", "identity"),
    [
        ("no such cycle", "dca-999999-a1b2c3d4-0"),
        ("another token", "dca-{id}-zzzzzzzz-0"),
        ("malformed", "dca-what-is-this"),
    ],
    ids=lambda value: value if " " in value else "",
)
async def test_an_order_with_our_prefix_that_nobody_claims_is_an_error_said_once(
    parts, start, db_conn, sent_updates, caplog, monkeypatch, why, identity
):
    monkeypatch.setattr(unclaimed, "RECOVERY_TIME", timedelta(0))
    cycle = start()
    parts.exchange.push_quote(BTC, 49999, 50000)
    buy(parts, identity=identity.format(id=cycle.id))
    await deliver(parts, sent_updates)
    await deliver(parts, sent_updates)
    assert parts.reconciler.blocked_symbols() == {BTC}
    assert set(parts.sweeps_requested) == {"no cycle claims an order"}
    for _ in range(2):
        await asyncio.to_thread(parts.reconciler.sweep)
    assert get_cycle(db_conn, cycle.id) == cycle
    [event] = get_events(db_conn)
    assert (event["kind"], event["severity"]) == ("order_unclaimed", "error")
    assert len(warnings(caplog, logging.ERROR)) == 1


async def test_an_order_that_the_journal_knows_is_claimed_though_its_cycle_was_deleted(
    parts, start, db_conn, sent_updates, caplog
):
    cycle = start()
    parts.exchange.push_quote(BTC, 49999, 50000)
    buy(parts, cycle)
    await deliver(parts, sent_updates)
    execute_query("DELETE FROM dca_cycles", db_conn=db_conn)
    await deliver(parts, sent_updates[-1:])
    parts.reconciler.recover()
    assert parts.reconciler.blocked_symbols() == set()
    assert (get_events(db_conn), warnings(caplog, logging.ERROR)) == ([], [])


async def test_an_order_of_another_symbol_is_not_the_cycles(parts, start, db_conn):
    cycle = start(symbol="ETH/USD")
    parts.exchange.push_quote(BTC, 49999, 50000)
    order = buy(parts, cycle)
    outcome = apply_order(
        fetch_order(parts.client, str(order.id)),
        parts.rules.get(BTC),
        FEE_RATE,
        datetime.now(UTC),
        source="test",
    )
    assert outcome.applied is Applied.UNCLAIMED
    assert get_cycle(db_conn, cycle.id) == cycle


async def test_an_order_that_goes_through_at_once_is_booked_once(
    parts, start, db_conn, sent_updates
):
    """What comes before its end says nothing more than the end does: one request, one booking."""
    cycle = start()
    parts.exchange.push_quote(BTC, 49999, 50000)
    order = buy(parts, cycle)
    assert [message["data"]["event"] for message in sent_updates] == ["pending_new", "new", "fill"]
    applied = []
    with patch.object(parts.updates, "apply", side_effect=_noting(applied, parts.updates.apply)):
        await deliver(parts, sent_updates)
    assert [update.event for update in applied] == ["fill"]
    booked = get_cycle(db_conn, cycle.id)
    assert (booked.status, booked.order_seq) == ("watching", 1)
    assert [entry.alpaca_order_id for entry in get_entries_of_cycle(db_conn, cycle.id)] == [
        str(order.id)
    ]


async def test_what_comes_after_the_end_of_an_order_does_not_take_its_place(
    parts, start, db_conn, sent_updates
):
    cycle = start()
    parts.exchange.push_quote(BTC, 49999, 50000)
    buy(parts, cycle)
    await deliver(parts, [sent_updates[-1], *sent_updates[:-1]])
    booked = get_cycle(db_conn, cycle.id)
    assert (booked.status, booked.order_seq) == ("watching", 1)


async def test_an_end_behind_an_update_of_another_order_overtakes_only_its_own(
    parts, start, db_conn, sent_updates
):
    """By hand, so that two orders of one symbol are open at once."""
    start()
    parts.exchange.push_quote(BTC, 49999, 50000)
    buy(parts, price="40000", identity="by hand 1")
    resting = list(sent_updates)
    buy(parts, identity="by hand 2")
    applied = []
    with patch.object(parts.updates, "apply", side_effect=_noting(applied, parts.updates.apply)):
        await deliver(parts, sent_updates)
    ids = [(one.order.client_order_id, one.event) for one in applied]
    assert ids == [
        *(("by hand 1", message["data"]["event"]) for message in resting),
        ("by hand 2", "fill"),
    ]


def _noting(applied, apply):
    def note(update):
        applied.append(update)
        return apply(update)

    return note
