"""An alert ends with what it is about, whoever cured that; its end is told once."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from caretaker_process import real_run
from caretakers import consistency_checker as consistency_checking
from caretakers.consistency_checker import check_consistency
from caretakers.plans.alert_endings import AlertFacts, why_over
from cli.alerts import main
from domain.cycle import CycleStatus
from domain.events import NEWS_KINDS, Event, EventKind, EventRow, Severity
from models.asset_config import update_asset_config
from models.cycle_data import create_cycle, update_cycle
from models.events import (
    acknowledge,
    append_event,
    get_error_events,
    get_events,
    get_open_alerts,
    was_written,
)
from said import runner
from trading.unclaimed_orders import alert_unclaimed
from utils.alert_outbox import Outbox
from utils.alpaca_client_rest import cancel_order, get_trading_client, place_limit_buy_order
from utils.alpaca_queries import fetch_order
from utils.db_utils import execute_query

DAY_SECONDS = 86_400.0


@pytest.fixture(autouse=True)
def two_snapshots_at_once(monkeypatch):
    monkeypatch.setattr(consistency_checking, "SECONDS_BETWEEN_SNAPSHOTS", 0.02)


@pytest.fixture
def check(settings, db_conn, caplog):
    """Run consistency_checker's work; the lines about ends that it logged, with their levels."""
    caplog.set_level(logging.INFO)
    check_consistency(real_run(settings))  # what was before the first run is not told

    def call() -> list[tuple[int, str]]:
        caplog.clear()
        check_consistency(real_run(settings))
        lines = [(record.levelno, record.getMessage()) for record in caplog.records]
        return [(level, line) for level, line in lines if line.startswith("alert.ended ")]

    return call


@pytest.fixture
def alerts(capsys):
    return runner(main, capsys)


def open_kinds(db_conn) -> list[str]:
    """What status calls wrong."""
    return [one.kind for one in get_error_events(db_conn, DAY_SECONDS, 50)]


def write_error(db_conn, kind: EventKind, **about) -> Event:
    event = Event(kind=kind, severity=Severity.ERROR, reason="something is wrong", **about)
    append_event(db_conn, event)
    return event


def test_coins_that_are_gone_again_end_their_alert_once_and_may_come_back(
    check, exchange, db_conn, make_asset
):
    exchange.push_quote("BTC/USD", 50000, 50001)
    create_cycle(db_conn, make_asset().id, "watching")
    for _ in range(2):
        exchange.set_balance("BTC/USD", "0.5", price="50000")
        assert check() == []
        assert open_kinds(db_conn) == ["position_unexpected"]
        assert check() == [], "it goes on"
        exchange.set_balance("BTC/USD", "0", price="50000")
        [(level, line)] = check()
        assert level == logging.WARNING
        assert "position_unexpected symbol=BTC/USD" in line
        assert open_kinds(db_conn) == []
        assert check() == [], "told once"


def test_the_end_is_mailed_as_news_of_the_same_matter_so_that_a_new_alert_is_mailed_too(
    check, exchange, db_conn, make_asset, caplog
):
    exchange.push_quote("BTC/USD", 50000, 50001)
    create_cycle(db_conn, make_asset().id, "watching")
    outbox = Outbox()
    for number in range(2):
        for quantity, name in (("0.5", "position.unexpected"), ("0", "alert.ended")):
            exchange.set_balance("BTC/USD", quantity, price="50000")
            check()
            [record] = [one for one in caplog.records if one.getMessage().startswith(f"{name} ")]
            assert record.mail or record.levelno == logging.ERROR
            outbox.add(record.alert, f"{name} {number}", now=float(number))
    assert outbox.waiting == [
        "position.unexpected 0", "alert.ended 0", "position.unexpected 1", "alert.ended 1"
    ]  # fmt: skip
    assert outbox.held_back == 0


def test_an_asset_that_has_its_name_back_ends_the_alert(check, exchange, db_conn, make_asset):
    asset = make_asset("ETH/USD")
    cycle = create_cycle(db_conn, asset.id, "watching")
    kind = EventKind.ASSET_RENAMED
    write_error(db_conn, kind, symbol="BTC/USD", cycle_id=cycle.id, dedupe_key="ETH/USD")
    assert check() == []
    update_asset_config(db_conn, asset.id, {"asset_symbol": "BTC/USD"})
    [(_, line)] = check()
    assert 'reason="over: its asset is BTC/USD again"' in line
    assert open_kinds(db_conn) == []


def test_an_unclaimed_order_needs_not_the_daemon_that_saw_it(
    check, exchange, settings, db_conn, make_asset
):
    exchange.push_quote("BTC/USD", 50000, 50001)
    create_cycle(db_conn, make_asset().id, "watching")
    client = get_trading_client()
    far = {"limit_price": Decimal(1000), "qty": Decimal("0.02")}
    placed = place_limit_buy_order(client, "BTC/USD", **far, client_order_id="dca-77-DEADBEEF-0")
    alert_unclaimed(fetch_order(client, str(placed.id)))
    assert check() == []
    assert open_kinds(db_conn) == ["order_unclaimed"]
    cancel_order(client, str(placed.id))
    assert exchange.finish()
    [(_, line)] = check()
    assert "ended without a fill" in line
    assert open_kinds(db_conn) == []


def test_an_exchange_that_is_away_ends_nothing(check, exchange, db_conn, make_asset, monkeypatch):
    create_cycle(db_conn, make_asset().id, "watching")
    write_error(db_conn, EventKind.ORDER_UNREADABLE, symbol="BTC/USD", order_id="dca-1-ABCDEFGH-0")
    facts = AlertFacts(age_seconds=1e6)
    [alert] = get_open_alerts(db_conn)
    assert why_over(alert, facts) is None
    [(_, line)] = check()  # the exchange is there, and knows no such order
    assert "knows no such order" in line


def test_an_endless_cooldown_ends_when_it_can_be_computed_again(
    check, exchange, db_conn, make_asset
):
    asset = make_asset()
    cycle = create_cycle(db_conn, asset.id, "cooldown")  # of no cycle before it
    assert check() == []
    assert open_kinds(db_conn) == ["cooldown_endless"]
    update_cycle(db_conn, cycle.id, {"status": CycleStatus.WATCHING})
    [(_, line)] = check()
    assert "cooldown_endless" in line
    assert open_kinds(db_conn) == []


def test_what_was_acknowledged_is_wrong_no_more_comes_not_again_and_ends_without_a_mail(
    check, exchange, db_conn, make_asset, alerts
):
    exchange.push_quote("BTC/USD", 50000, 50001)
    create_cycle(db_conn, make_asset().id, "watching")
    exchange.set_balance("BTC/USD", "0.5", price="50000")
    check()
    listed = alerts()
    assert listed.code == 1
    [alert] = alerts("--json").json["alerts"]
    assert str(alert["number"]) in listed.output
    assert alert["cure"] in listed.output
    acknowledge(db_conn, get_open_alerts(db_conn)[0])  # the command would take the log from us
    assert alerts().code == 0
    assert ", acknowledged " in alerts().output
    assert open_kinds(db_conn) == []
    rows = len(get_events(db_conn))
    assert check() == []
    assert len(get_events(db_conn)) == rows, "not said again"
    exchange.set_balance("BTC/USD", "0", price="50000")
    [(level, _)] = check()
    assert level == logging.INFO
    assert alerts().output == "No alert is open.\n"
    exchange.set_balance("BTC/USD", "0.5", price="50000")
    check()
    assert open_kinds(db_conn) == ["position_unexpected"], "a new one"


def test_an_acknowledged_alert_of_the_daemon_is_not_written_again(db_conn, bot_environment, alerts):
    event = write_error(db_conn, EventKind.ORDER_LONG_OPEN, symbol="BTC/USD", order_id="x")
    [alert] = alerts("--json").json["alerts"]
    said = alerts("ack", str(alert["number"]))
    assert (said.code, said.output) == (0, f"acknowledged: {alert['number']}\n")
    assert alerts("ack", "all").output == "acknowledged: nothing\n"
    assert open_kinds(db_conn) == []
    assert was_written(db_conn, event)


def test_a_number_that_is_no_open_alert_is_refused(db_conn, bot_environment, alerts):
    write_error(db_conn, EventKind.POSITION_GONE, symbol="BTC/USD")
    for arguments in (("ack", "99"), ("ack",), ("list", "1"), ("ack", "one")):
        assert alerts(*arguments).code == 2
    assert open_kinds(db_conn) == ["position_gone"]


def test_news_end_by_themselves_and_are_not_mailed(check, exchange, db_conn, bot_environment):
    for kind in NEWS_KINDS:
        write_error(db_conn, kind, symbol="BTC/USD")
    assert check() == []
    execute_query(
        "UPDATE dca_events SET created_at = created_at - INTERVAL 61 MINUTE", db_conn=db_conn
    )
    assert [level for level, _ in check()] == [logging.INFO] * len(NEWS_KINDS)
    assert get_open_alerts(db_conn) == []


def test_neither_the_end_of_news_nor_their_acknowledgement_counts_as_another_one(
    check, exchange, db_conn, bot_environment
):
    write_error(db_conn, EventKind.POSITION_GONE, symbol="BTC/USD", cycle_id=1)
    write_error(db_conn, EventKind.POSITION_GONE, symbol="ETH/USD", cycle_id=2)
    write_error(db_conn, EventKind.POSITIONS_DOUBTED)
    for alert in get_open_alerts(db_conn)[1:]:
        acknowledge(db_conn, alert)
    assert check() == [], "two ended within the hour: the others are held back"
    execute_query(
        "UPDATE dca_events SET created_at = created_at - INTERVAL 61 MINUTE", db_conn=db_conn
    )
    told = " ".join(line for _, line in check())
    assert "positions_doubted" in told
    assert open_kinds(db_conn) == []


def test_a_warning_that_never_was_an_error_is_no_alert(db_conn):
    event = Event(kind=EventKind.FEES_IMPLAUSIBLE, severity=Severity.WARNING, reason="odd")
    append_event(db_conn, event)
    assert get_open_alerts(db_conn) == []


def test_no_alert_ends_because_something_is_unknown():
    nothing_known = AlertFacts(age_seconds=1.0)
    about_a_cycle = {
        EventKind.ASSET_RENAMED,
        EventKind.COOLDOWN_ENDLESS,
        EventKind.POSITION_EXCESS,
        EventKind.POSITION_SHORT,
        EventKind.POSITION_UNEXPECTED,
    }  # of these the database always knows whether there is a cycle
    for kind in set(EventKind) - about_a_cycle:
        assert why_over(row_of(kind), nothing_known) is None, kind


def row_of(kind: str) -> EventRow:
    return EventRow(
        id=1,
        kind=kind,
        severity=Severity.ERROR,
        reason="r",
        asset_id=None,
        symbol="BTC/USD",
        cycle_id=1,
        order_id="x",
        dedupe_key=None,
        created_at=datetime.now(UTC) - timedelta(seconds=1),
    )
