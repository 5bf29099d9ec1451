"""What the stream lost is found by comparing: start-up, reconnect and sweep on real parts."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from bot_parts import BTC, FAR, HELD, BotParts, buy
from domain.cycle import CycleStatus
from models.cycle_data import create_cycle, get_cycle, get_latest_cycle, update_cycle
from models.events import get_error_events, get_events
from models.order_journal import get_entries_of_cycle
from strategy.order_identity import compute_client_order_id
from trading import cycle_changes
from trading.reconciler import Reconciler
from trading.sweep_result import log_sweep
from trading.waiting_cycles import MAX_UNANSWERED
from utils import alpaca_http, db_utils
from utils.alpaca_client_rest import place_market_sell_order
from utils.alpaca_http import ExchangeUnavailable, UnreadableAnswer
from utils.db_utils import DatabaseUnavailable, execute_query

FAKE = "c2470331-8993-4051-bf5d-428d5bdc9a48"


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch):
    monkeypatch.setattr(alpaca_http, "READ_WAITS_SECONDS", ())


@pytest.fixture
def sweeper(parts):
    """A reconciler that confirms what is missing after a while, as the daemon's does."""
    return Reconciler(parts.client, parts.rules, Decimal("0.0025"), confirm_seconds=0.2)


def requests_made(exchange):
    return dict(exchange.state()["requests"]["by_route"])


def long_ago(exchange, hours=2):
    """From here on the exchange's clock is behind: what it does now happened hours ago."""
    exchange.arm("skew_clock", seconds=-3600 * hours)


def now_again(exchange):
    exchange.clear_faults("skew_clock")


# Found again.


def test_an_order_whose_events_were_all_lost_is_linked_then_its_fill_applied(parts, start, db_conn):
    cycle = start()
    order_id = buy(parts, cycle, **FAR)
    parts.reconciler.recover()
    linked = get_cycle(db_conn, cycle.id)
    assert (linked.status, linked.latest_order_id) == ("buying", order_id)
    parts.exchange.push_quote(BTC, 999, 1000)
    parts.reconciler.sweep()
    found = get_cycle(db_conn, cycle.id)
    assert (found.status, found.quantity, found.order_seq) == ("watching", Decimal("0.02"), 1)
    assert [order.id for order in parts.changed] == [order_id, order_id]


@pytest.mark.parametrize(
    ("hours", "source", "level", "name"),
    [
        (0, "sweep", logging.INFO, "events.overtaken"),
        (0.1, "sweep", logging.WARNING, "sweep.repaired"),
        (0, "recovery", logging.WARNING, "sweep.repaired"),
    ],
)
def test_a_sweep_claims_a_repair_only_of_what_no_event_is_about_to_book(
    parts, start, exchange, caplog, hours, source, level, name
):
    """The list can be read between the exchange's fill and the booking of its event."""
    long_ago(exchange, hours)
    exchange.push_quote(BTC, 49999, 50000)
    buy(parts, start())
    now_again(exchange)
    with caplog.at_level(logging.INFO):
        result = parts.reconciler.sweep() if source == "sweep" else parts.reconciler.recover()
        log_sweep(result, source, datetime.now(UTC))
    [line] = [one for one in caplog.records if one.name == "trading.sweep_result"]
    assert (line.levelno, line.getMessage().split()[0]) == (level, name)
    assert "changed=1" in line.getMessage()


def test_a_healthy_sweep_costs_one_list_and_changes_nothing(parts, start, db_conn, exchange):
    start("buying", latest_order_id=None)
    cycle = get_latest_cycle(db_conn, 1)
    buy(parts, cycle, **FAR)
    parts.reconciler.recover()
    before, asked = get_cycle(db_conn, cycle.id), requests_made(exchange)
    result = parts.reconciler.sweep()
    made = Counter(requests_made(exchange)) - Counter(asked)
    assert made == {"GET /v2/orders": 1}
    assert get_cycle(db_conn, cycle.id) == before
    assert (result.changed, result.reset_cycles, result.unresolved_cycles) == ([], 0, 0)


def test_a_database_restored_from_a_backup_catches_up_by_asking_for_one_id_after_another(
    parts, start, db_conn, exchange
):
    cycle = start()
    long_ago(exchange)
    exchange.push_quote(BTC, 49999, 50000)
    for seq in range(4):
        buy(parts, cycle, seq=seq)
    now_again(exchange)
    assert parts.reconciler.sweep().changed == [], "no list of the last hour has them"
    result = parts.reconciler.recover()
    found = get_cycle(db_conn, cycle.id)
    assert len(result.changed) == 4
    assert (found.order_seq, found.quantity, found.safety_orders) == (4, Decimal("0.008"), 3)
    assert [entry.order_seq for entry in get_entries_of_cycle(db_conn, cycle.id)] == [0, 1, 2, 3]


def test_catching_up_goes_over_the_end_of_the_cycle(parts, start, db_conn, exchange):
    cycle = start()
    long_ago(exchange)
    exchange.push_quote(BTC, 50000, 50000)
    buy(parts, cycle, seq=0)
    identity = compute_client_order_id(cycle, 1)
    place_market_sell_order(parts.client, BTC, Decimal("0.001995"), client_order_id=identity)
    exchange.finish()
    now_again(exchange)
    parts.reconciler.recover()
    assert get_cycle(db_conn, cycle.id).status == "complete"
    fresh = get_latest_cycle(db_conn, cycle.asset_id)
    assert (fresh.status, fresh.order_seq) == ("cooldown", 0)
    parts.reconciler.recover()
    assert get_latest_cycle(db_conn, cycle.asset_id) == fresh


def test_an_order_that_was_open_for_hours_and_ended_is_found(parts, start, db_conn, exchange):
    cycle = start()
    long_ago(exchange, hours=30)
    order_id = buy(parts, cycle, **FAR)
    parts.reconciler.recover()
    now_again(exchange)
    exchange.push_quote(BTC, 999, 1000)
    assert get_cycle(db_conn, cycle.id).latest_order_id == order_id
    parts.reconciler.sweep()
    assert get_cycle(db_conn, cycle.id).quantity == Decimal("0.02")


def test_resolving_asks_for_the_one_id_the_state_can_have(parts, start, db_conn, exchange):
    cycle = start()
    assert parts.reconciler.resolve(cycle) is False
    exchange.push_quote(BTC, 49999, 50000)
    buy(parts, cycle)
    assert parts.reconciler.resolve(cycle) is True
    assert get_cycle(db_conn, cycle.id).quantity == Decimal("0.002")
    exchange.arm("http_500")
    with pytest.raises(ExchangeUnavailable):
        parts.reconciler.resolve(cycle)


# Missing.


@pytest.mark.parametrize("status", ["buying", "selling"])
@pytest.mark.parametrize("order_id", ["fake_id", FAKE, None])
def test_a_cycle_is_freed_only_when_its_order_is_missing_twice_some_time_apart(
    sweeper, start, db_conn, status, order_id
):
    cycle = start(status, **HELD, latest_order_id=order_id)
    began = time.monotonic()
    assert sweeper.sweep().unresolved_cycles == 1
    assert get_cycle(db_conn, cycle.id) == cycle
    while sweeper.sweep().reset_cycles == 0:
        time.sleep(0.02)  # a minute has 160 reads
        assert time.monotonic() - began < 60
    assert time.monotonic() - began >= 0.2
    found = get_cycle(db_conn, cycle.id)
    assert (found.status, found.latest_order_id) == ("watching", None)
    assert (found.order_seq, found.quantity) == (cycle.order_seq, cycle.quantity)
    [event] = get_events(db_conn)
    assert (event["kind"], event["severity"]) == ("order_missing", "warning")


def test_an_order_that_appears_between_the_sweeps_is_linked(sweeper, parts, start, db_conn):
    cycle = start("buying")
    assert sweeper.sweep().unresolved_cycles == 1
    order_id = buy(parts, cycle, **FAR)
    sweeper.sweep()
    found = get_cycle(db_conn, cycle.id)
    assert (found.status, found.latest_order_id) == ("buying", order_id)


def test_a_missing_hand_linked_order_is_asked_for_by_our_own_id_too(parts, start, db_conn):
    cycle = start("buying", latest_order_id="fake_id")
    order_id = buy(parts, cycle, **FAR)
    parts.reconciler.sweep()
    assert get_cycle(db_conn, cycle.id).latest_order_id == order_id


def test_a_cycle_that_moves_while_it_is_read_is_left_alone(parts, start, db_conn, monkeypatch):
    cycle = start("buying", latest_order_id="fake_id")
    apply_to_cycle = cycle_changes.apply_to_cycle

    def moved_meanwhile(*args, **kwargs):
        update_cycle(db_conn, cycle.id, {"latest_order_id": "another"})
        return apply_to_cycle(*args, **kwargs)

    monkeypatch.setattr("trading.waiting_cycles.apply_to_cycle", moved_meanwhile)
    assert parts.reconciler.sweep().reset_cycles == 0
    found = get_cycle(db_conn, cycle.id)
    assert (found.status, found.latest_order_id) == ("buying", "another")


def test_an_open_order_is_never_given_up_however_old_and_is_one_alert(
    parts, start, db_conn, exchange, caplog
):
    cycle = start()
    long_ago(exchange, hours=0.5)
    buy(parts, cycle, **FAR)
    now_again(exchange)
    for _ in range(3):
        parts.reconciler.recover()
    assert get_cycle(db_conn, cycle.id).status == "buying"
    errors = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "more than 15 minutes" in errors[0]


def test_a_cycle_that_waits_for_an_order_that_was_booked_already_is_freed(
    sweeper, parts, start, db_conn, exchange
):
    cycle = start()
    exchange.push_quote(BTC, 49999, 50000)
    order_id = buy(parts, cycle)
    sweeper.recover()
    update_cycle(db_conn, cycle.id, {"status": "buying", "latest_order_id": order_id})
    began = time.monotonic()
    while sweeper.sweep().reset_cycles == 0:
        time.sleep(0.02)  # a minute has 160 reads
        assert time.monotonic() - began < 60
    found = get_cycle(db_conn, cycle.id)
    assert (found.status, found.latest_order_id, found.order_seq) == ("watching", None, 1)
    assert found.quantity == Decimal("0.002"), "and nothing was booked twice"


# Never "empty".


@pytest.mark.parametrize("fault", ["http_500", "http_429", "http_html", "http_truncated"])
def test_a_failed_answer_changes_nothing(parts, start, db_conn, exchange, fault):
    cycle = start("buying", latest_order_id="fake_id")
    exchange.arm(fault)
    for work in (parts.reconciler.sweep, parts.reconciler.recover):
        with pytest.raises(ExchangeUnavailable):
            work()
    assert get_cycle(db_conn, cycle.id) == cycle


def test_a_failed_question_about_one_order_changes_nothing(parts, start, db_conn, exchange):
    cycle = start("buying", latest_order_id=FAKE)
    exchange.arm("http_500", match={"path": "/v2/orders:by_client_order_id"})
    with pytest.raises(ExchangeUnavailable):
        parts.reconciler.sweep()
    assert get_cycle(db_conn, cycle.id) == cycle


# The user's own orders.


def test_orders_of_the_users_own_are_not_touched_and_not_mentioned(
    parts, start, db_conn, exchange, caplog
):
    cycle = start()
    exchange.push_quote(BTC, 49999, 50000)
    for identity in ("mine-1", "my-dca-2"):
        buy(parts, None, identity=identity)
    result = parts.reconciler.recover()
    assert (result.changed, parts.reconciler.blocked_symbols()) == ([], set())
    assert get_cycle(db_conn, cycle.id) == cycle
    assert caplog.records == []


# The same end, however often.


def test_a_second_pass_finds_nothing_to_do(parts, start, db_conn, exchange):
    done = start("complete", completed_at=datetime.now(UTC) - timedelta(hours=1))
    cycle = create_cycle(db_conn, done.asset_id, "watching")
    exchange.push_quote(BTC, 49999, 50000)
    buy(parts, cycle)
    buy(parts, cycle, seq=1, **FAR)
    parts.reconciler.recover()
    tables = ("dca_assets", "dca_cycles", "dca_orders", "dca_events")
    before = [execute_query(f"SELECT * FROM {t}", fetch_all=True, db_conn=db_conn) for t in tables]
    for work in (parts.reconciler.sweep, parts.reconciler.recover, parts.reconciler.sweep):
        assert work().changed == []
    after = [execute_query(f"SELECT * FROM {t}", fetch_all=True, db_conn=db_conn) for t in tables]
    assert after == before
    assert get_cycle(db_conn, cycle.id).status is CycleStatus.BUYING


def test_two_reconcilers_at_once_book_everything_once(parts, settings, start, db_conn, exchange):
    cycle = start()
    exchange.push_quote(BTC, 49999, 50000)
    for seq in range(3):
        buy(parts, cycle, seq=seq)
    others = [BotParts(settings, exchange) for _ in range(3)]

    async def all_at_once():
        await asyncio.gather(*(asyncio.to_thread(one.reconciler.recover) for one in others))

    asyncio.run(all_at_once())
    found = get_cycle(db_conn, cycle.id)
    assert (found.order_seq, found.quantity) == (3, Decimal("0.006"))
    assert len(get_entries_of_cycle(db_conn, cycle.id)) == 3


def test_an_order_that_the_tables_refuse_blocks_its_own_symbol_and_no_other(
    parts, start, db_conn, exchange, make_asset
):
    """Two orders with one id, which Alpaca never lets in: the journal takes only one of them."""
    cycle = start()
    exchange.configure(duplicate_ids_refused=False)
    exchange.push_quote(BTC, 49999, 50000)
    for _ in range(2):
        buy(parts, cycle)
    eth = create_cycle(db_conn, make_asset(symbol="ETH/USD").id, "watching")
    exchange.push_quote("ETH/USD", 2499, 2500)
    buy(parts, eth, symbol="ETH/USD", qty="0.02", price="2500")
    for _ in range(2):
        parts.reconciler.recover()
    assert get_cycle(db_conn, cycle.id).quantity == Decimal("0.002")
    assert get_cycle(db_conn, eth.id).quantity == Decimal("0.02")
    assert parts.reconciler.blocked_symbols() == {BTC}
    [event] = [one for one in get_events(db_conn) if one["kind"] == "order_unwritable"]
    assert event["severity"] == "error"


@pytest.mark.parametrize(
    "errno", [1021, 1028, 1037, 1038, 1041, 1114, 1206, 1290, 1317, 1836, 1969, 3024, 3169]
)
def test_trouble_of_the_server_is_no_fault_of_the_order_that_meets_it(
    parts, start, db_conn, exchange, monkeypatch, errno
):
    """Interrupted, out of time, no room, no memory, read-only: the order is booked later."""
    monkeypatch.setattr(db_utils, "_REPLAY_WAITS_SECONDS", (0,))
    cycle = start()
    exchange.push_quote(BTC, 49999, 50000)
    buy(parts, cycle)
    execute_query(
        "CREATE TRIGGER trouble BEFORE INSERT ON dca_orders FOR EACH ROW"
        f" SIGNAL SQLSTATE '70100' SET MYSQL_ERRNO = {errno}, MESSAGE_TEXT = 'not now'",
        db_conn=db_conn,
    )
    with pytest.raises(DatabaseUnavailable, match="not now") as caught:
        parts.reconciler.sweep()
    assert caught.value.errno == errno
    assert parts.reconciler.blocked_symbols() == set()
    assert get_events(db_conn) == []
    execute_query("DROP TRIGGER trouble", db_conn=db_conn)
    parts.reconciler.sweep()
    assert get_cycle(db_conn, cycle.id).quantity == Decimal("0.002")


def test_a_row_that_cannot_be_locked_in_the_servers_time_is_booked_by_a_later_sweep(
    parts, start, db_conn, exchange, monkeypatch
):
    monkeypatch.setattr(db_utils, "_REPLAY_WAITS_SECONDS", (0,))
    cycle = start()
    exchange.push_quote(BTC, 49999, 50000)
    buy(parts, cycle)
    execute_query("SET max_statement_time = 0.05")
    db_conn.start_transaction()
    execute_query("SELECT id FROM dca_cycles FOR UPDATE", fetch_all=True, db_conn=db_conn)
    with pytest.raises(DatabaseUnavailable, match="max_statement_time"):
        parts.reconciler.sweep()
    assert parts.reconciler.blocked_symbols() == set()
    db_conn.rollback()
    execute_query("SET max_statement_time = 0")
    parts.reconciler.sweep()
    assert get_cycle(db_conn, cycle.id).quantity == Decimal("0.002")


# What cannot be read.


def spoil(exchange, order_id):
    """From here on the exchange lists a fill without a price. Returns what undoes that."""
    inside = exchange.server.exchange
    before = []

    async def put(order):
        inside.book.put(order)

    async def break_it():
        before.append(inside.order(order_id))
        await put(replace(before[0], filled_qty=Decimal("0.001"), filled_value=Decimal(0)))

    exchange.run(break_it())
    return lambda: exchange.run(put(before[0]))


def test_an_order_that_cannot_be_read_on_a_coin_that_is_not_ours_is_passed_over(
    parts, start, db_conn, exchange, caplog
):
    cycle = start()
    spoil(exchange, buy(parts, None, symbol="ETH/USD", identity="mine", **FAR))
    exchange.push_quote(BTC, 49999, 50000)
    buy(parts, cycle)
    for work in (parts.reconciler.recover, parts.reconciler.sweep):
        assert work().unresolved_cycles == 0
    assert get_cycle(db_conn, cycle.id).order_seq == 1
    assert parts.reconciler.blocked_symbols() == set()
    assert parts.limits.load_usage().on_order_usd == {}
    assert [one for one in caplog.records if one.levelno > logging.INFO] == []


@pytest.mark.parametrize("status", ["watching", "buying"])
def test_one_of_ours_blocks_its_symbol_and_proves_nothing_of_its_cycle_until_it_can_be_read(
    sweeper, parts, start, db_conn, exchange, status
):
    cycle, eth = start(), start(symbol="ETH/USD")
    order_id = buy(parts, cycle, **FAR)
    if status == "buying":
        update_cycle(db_conn, cycle.id, {"status": "buying", "latest_order_id": order_id})
    before = get_cycle(db_conn, cycle.id)
    heal = spoil(exchange, order_id)
    exchange.push_quote("ETH/USD", 2499, 2500)
    buy(parts, eth, symbol="ETH/USD", qty="0.02", price="2500")
    began = time.monotonic()
    while time.monotonic() - began < 0.5:  # longer than a missing order must be missing
        for work in (sweeper.recover, sweeper.sweep):
            assert work().reset_cycles == 0
        time.sleep(0.05)  # a minute has 160 reads
    assert get_cycle(db_conn, cycle.id) == before
    assert get_cycle(db_conn, eth.id).order_seq == 1, "the other went on"
    assert sweeper.blocked_symbols() == {BTC}
    with pytest.raises(UnreadableAnswer):
        parts.limits.load_usage()
    [event] = [one for one in get_events(db_conn) if one["kind"] == "order_unreadable"]
    assert (event["severity"], event["symbol"]) == ("error", BTC)
    heal()
    sweeper.sweep()
    assert sweeper.blocked_symbols() == set()
    assert get_error_events(db_conn, 60, 9) == [], "it is over"
    assert get_cycle(db_conn, cycle.id).status is CycleStatus.BUYING


def test_one_of_ours_that_is_too_old_for_the_list_keeps_no_recovery_from_its_end(
    parts, start, db_conn, exchange
):
    cycle = start("buying", latest_order_id=None)
    long_ago(exchange, hours=30)
    order_id = buy(parts, cycle, **FAR)
    update_cycle(db_conn, cycle.id, {"latest_order_id": order_id})
    exchange.cancel(order_id)
    exchange.finish()
    now_again(exchange)
    heal = spoil(exchange, order_id)
    for work in (parts.reconciler.sweep, parts.reconciler.recover, parts.reconciler.sweep):
        assert work().unresolved_cycles == 1
        assert parts.reconciler.blocked_symbols() == {BTC}
    heal()
    parts.reconciler.sweep()
    found = get_cycle(db_conn, cycle.id)
    assert (found.status, found.order_seq) == ("watching", 1)
    assert parts.reconciler.blocked_symbols() == set()


def test_one_that_is_known_only_by_the_id_that_its_cycle_gives_is_one_alert(
    parts, start, db_conn, exchange
):
    cycle = start("buying", latest_order_id=None)
    long_ago(exchange, hours=30)
    order_id = buy(parts, cycle, **FAR)
    exchange.cancel(order_id)
    exchange.finish()
    now_again(exchange)
    heal = spoil(exchange, order_id)
    for _ in range(3):
        assert parts.reconciler.sweep().unresolved_cycles == 1
        assert parts.reconciler.blocked_symbols() == {BTC}
    events = [one for one in get_events(db_conn) if one["kind"] == "order_unreadable"]
    assert [one["severity"] for one in events] == ["error"]
    heal()
    parts.reconciler.sweep()
    assert parts.reconciler.blocked_symbols() == set()
    assert get_error_events(db_conn, 60, 9) == [], "it is over"


def test_one_order_without_an_answer_keeps_no_start_from_its_end(parts, start, exchange, db_conn):
    start("buying", latest_order_id=FAKE)
    start(symbol="ETH/USD")
    exchange.arm("http_500", match={"path": f"/v2/orders/{FAKE}"})
    for _ in range(MAX_UNANSWERED - 1):
        with pytest.raises(ExchangeUnavailable):
            parts.reconciler.recover()
    for work in (parts.reconciler.recover, parts.reconciler.sweep):
        assert work().unresolved_cycles == 1
        assert parts.reconciler.blocked_symbols() == {BTC}
    exchange.clear_faults()
    parts.reconciler.sweep()
    parts.reconciler.sweep()
    assert parts.reconciler.blocked_symbols() == set()
