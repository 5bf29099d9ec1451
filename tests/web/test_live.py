"""What an open page is told as it happens: figures, records, and what is gone and comes back."""

from __future__ import annotations

import logging
import time
from contextlib import closing
from datetime import UTC, datetime

import pytest

from daemon_process import DaemonProcess, wait_until
from domain.events import Event, EventKind, Severity
from models.events import append_event, end_alert, get_open_alerts
from monitoring.status.kept_status import PRICES_SECONDS
from page_history import make_history
from page_server import PageServer
from utils.alpaca_http import requests_sent
from utils.db_utils import execute_query, get_db_connection
from utils.log_events import LogEvent, log_event
from utils.logging_setup import setup_logging


@pytest.fixture(scope="module", autouse=True)
def asset(page, exchange, db_conn):
    exchange.push_quote("BTC/USD", "60100", "60110")
    exchange.set_balance("BTC/USD", "0.02", price="60000")
    return make_history(db_conn, datetime.now(UTC))


@pytest.fixture
def stream(browser):
    found = browser.stream()
    yield found
    found.close()


def wait_for_row(stream, **wanted):
    """The next status whose only row says so."""
    while True:
        [row] = stream.wait_for("status")["assets"]
        if wanted.items() <= row.items():
            return row


def test_a_new_price_comes_by_itself(stream, exchange):
    wait_for_row(stream, bid="60100")
    exchange.push_quote("BTC/USD", "60200", "60210")
    row = wait_for_row(stream, bid="60200")
    assert row["shown"]["bid"] == "60,200.00"
    exchange.push_quote("BTC/USD", "60100", "60110")
    wait_for_row(stream, bid="60100")


def test_all_viewers_share_one_reading_and_without_a_viewer_nothing_is_read(page, browser):
    streams = [browser.stream() for _ in range(5)]
    before, began_at = requests_sent(), time.monotonic()
    for one in streams:
        one.wait_for("status")
    for one in streams:
        one.close()
    wait_until(lambda: page.site.live.viewers == 0)
    looks = 1 + (time.monotonic() - began_at) / PRICES_SECONDS
    assert requests_sent() - before <= 5 + looks, "not one for each viewer"
    browser.get("/api/status")
    after = requests_sent()
    browser.get("/api/session")
    assert requests_sent() == after


def test_alerts_events_and_edges_of_the_log_come_by_themselves(stream, page, db_conn):
    stream.wait_for("status")
    setup_logging(page.settings, "app", console=False)
    log_event(logging.getLogger("bot"), LogEvent.ORDER_DECIDED, symbol="BTC/USD")
    page.site.live.forget()
    alert = Event(kind=EventKind.POSITION_SHORT, severity=Severity.ERROR, reason="coins missing")
    append_event(db_conn, alert)
    record = stream.wait_for("record")
    assert (record["source"], record["words"]) == ("alert", "coins missing")
    log_event(logging.getLogger("bot"), LogEvent.ORDER_REFUSED, symbol="BTC/USD", reason="poor")
    record = stream.wait_for("record")
    assert (record["source"], record["kind"], record["symbol"]) == (
        "log",
        "order.refused",
        "BTC/USD",
    )
    end_alert(db_conn, get_open_alerts(db_conn)[0], "they are there")
    record = stream.wait_for("record")
    assert (record["source"], record["words"]) == ("event", "over: they are there")


def test_who_comes_while_something_is_gone_is_told_and_told_when_it_is_back(
    browser, page, bot_environment
):
    with closing(browser.stream()) as stream:
        gone = stream.wait_for("gone")
        assert (gone["what"], gone["cure"]) == ("daemon", "scripts/bot start")
        assert gone["words"] == "the bot does not run"
        with DaemonProcess(bot_environment):
            while stream.wait_for("back")["what"] != "daemon":
                pass
            while (status := stream.wait_for("status"))["status"]["daemon"]["state"] != "trading":
                pass
            assert status["status"]["daemon"]["pid"]
        while stream.wait_for("gone")["what"] != "daemon":
            pass


def test_an_exchange_that_is_away_is_said_and_the_database_shown(stream, exchange):
    wait_for_row(stream, bid="60100")
    exchange.arm("http_500")
    try:
        gone = stream.wait_for("gone")
        while gone["what"] != "exchange":
            gone = stream.wait_for("gone")
        assert "the exchange cannot be asked" in gone["words"]
        row = wait_for_row(stream, average_price="60000")
        assert row["symbol"] == "BTC/USD"
    finally:
        exchange.clear_faults()
    while stream.wait_for("back")["what"] != "exchange":
        pass
    wait_for_row(stream, bid="60100")


def test_a_database_that_hangs_is_said_and_nothing_else_hangs(page, db_conn, exchange):
    with PageServer(page.settings, read_seconds=0.5) as other, closing(get_db_connection()) as lock:
        browser = other.browser()
        with closing(browser.stream()) as stream:
            good = stream.wait_for("status")
            execute_query("LOCK TABLES dca_events WRITE", db_conn=lock)
            while (gone := stream.wait_for("gone"))["what"] != "database":
                pass
            assert gone["words"] == "the database does not answer"
            assert browser.get("/api/status").body["as_of"] >= good["as_of"]
            paused = browser.post("/api/pause").body["done"]
            assert "It stands in the log only" in paused
            execute_query("UNLOCK TABLES", db_conn=lock)
            while stream.wait_for("back")["what"] != "database":
                pass
            stream.wait_for("status")
            browser.post("/api/resume")


def test_without_the_database_the_last_good_figures_stay_with_their_time(
    stream, browser, mariadb_server
):
    good = stream.wait_for("status")
    mariadb_server.stop()
    try:
        gone = stream.wait_for("gone")
        while gone["what"] != "database":
            gone = stream.wait_for("gone")
        status = browser.get("/api/status").body
        assert status["assets"][0]["average_price"] == "60000"
        assert status["as_of"] >= good["as_of"]
        assert not status["is_well"]
        session = browser.get("/api/session")
        assert session.status == 200, "the page opens all the same"
        assert browser.get("/api/events").status == 503
        assert browser.post("/api/pause").body["done"].startswith("No new buys from now on")
    finally:
        mariadb_server.start()
    while stream.wait_for("back")["what"] != "database":
        pass
    assert stream.wait_for("status")["as_of"] > status["as_of"]
    assert browser.post("/api/resume").status == 200


def test_a_bug_of_one_look_is_logged_once_and_ends_no_stream(page, browser, monkeypatch, caplog):
    with closing(browser.stream()) as stream:
        stream.wait_for("status")
        monkeypatch.setattr(page.site.source._reader, "load", lambda: 1 / 0)
        wait_until(lambda: "page.failed" in caplog.text)
        page.site.live.forget()
        monkeypatch.undo()
        page.site.live.forget()
        stream.wait_for("status")
    assert caplog.text.count("page.failed path=live") == 1
