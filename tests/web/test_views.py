"""What the page shows of assets, cycles and events: the figures of scripts, exact and in words."""

from __future__ import annotations

import logging

import pytest

from builders import NOW
from domain.events import Event, EventKind, Severity
from models.events import append_event, end_alert, get_open_alerts
from page_history import SCRIPT, make_history
from utils.log_events import LogEvent, log_event
from utils.logging_setup import setup_logging


@pytest.fixture(scope="module")
def asset(page, exchange, db_conn):
    exchange.push_quote("BTC/USD", "61000", "61010")
    exchange.set_balance("BTC/USD", "0.02", price="60000")
    return make_history(db_conn, NOW)


def test_an_asset_is_shown_with_its_lines_its_rest_of_the_ladder_and_its_past(browser, asset):
    browser.get("/api/status")  # the first look learns prices and rules
    body = browser.get("/api/asset?symbol=btcusd").body
    assert body["asset"]["asset_symbol"] == "BTC/USD"
    assert body["options"]["take_profit"] == "1.2"
    lines = body["lines"]
    assert (lines["average"], lines["take_profit"]) == ("60000", "60720")
    first, *_ = lines["safety_orders"]
    assert (first["number"], first["price"]) == (2, "58115")
    assert (lines["trail_peak"], lines["stop_loss"], lines["open_order"]) == (None, None, None)
    assert body["row"]["state_words"] == "watching, safety 1/5"
    assert body["row"]["sells_now"]
    assert [entry["purpose"] for entry in body["cycle"]["journal"]] == ["base", "safety"]
    words = "base order: bought 0.01 at 61,000.00 for 610.00 USD"
    assert body["cycle"]["journal"][0]["words"] == words
    [past] = body["cycles"]
    assert past["profit_usd"] == "20"
    assert (past["end"], body["has_more"]) == ("sold", False)
    older = browser.get(f"/api/asset?symbol=BTC/USD&before={past['id']}").body
    assert older == {"cycles": [], "has_more": False}


def test_a_cycle_is_shown_with_its_marks_and_its_average(browser, asset):
    [past] = browser.get("/api/asset?symbol=BTC/USD").body["cycles"]
    body = browser.get(f"/api/cycle?id={past['id']}").body
    assert (body["symbol"], body["profit_usd"], body["status"]) == ("BTC/USD", "20", "complete")
    assert [mark["side"] for mark in body["markers"]] == ["buy", "sell"]
    assert [step["price"] for step in body["averages"]] == ["50000", "50000"]
    assert body["journal"][0]["order_id"] == f"order-0{SCRIPT}", "as it is: the page shows text"
    assert browser.get("/api/cycle?id=999999").status == 404
    assert browser.get("/api/cycle?id=-1").status == 400


def test_assets_are_listed_as_the_scripts_list_them(browser, asset):
    [listed] = browser.get("/api/assets").body
    assert listed["asset_symbol"] == "BTC/USD"
    assert listed["cycle"]["quantity"] == "0.02"


def test_the_status_has_every_figure_exact_and_as_a_person_reads_it(browser, asset):
    body = browser.get("/api/status").body
    [row] = body["assets"]
    assert (row["bid"], row["average_price"], row["safety_orders"]) == ("61000", "60000", "1/5")
    assert row["shown"]["bid"] == "61,000.00"
    assert row["shown"]["sells_at_percent"] == "due"
    assert body["capital"]["used_usd"] == "1200"
    assert body["today"]["all_usd"] == "20"
    assert body["problems"], "no daemon runs"
    assert body["status"]["assets"][0]["symbol"] == "BTC/USD"


def test_events_alerts_and_edges_of_the_log_come_in_one_order_and_can_be_filtered(
    browser, page, asset, db_conn
):
    alert = Event(
        kind=EventKind.POSITION_SHORT, severity=Severity.ERROR, reason=SCRIPT, symbol="BTC/USD"
    )
    append_event(db_conn, alert)
    setup_logging(page.settings, "app", console=False)
    log_event(logging.getLogger("bot"), LogEvent.ORDER_REFUSED, symbol="BTC/USD", reason="no money")
    log_event(logging.getLogger("bot"), LogEvent.ORDER_DECIDED, symbol="ETH/USD")
    items = browser.get("/api/events").body["items"]
    by_source = {item["source"]: item for item in items}
    assert len(items) == 3
    assert by_source["log"]["kind"] == "order.refused"
    assert by_source["event"]["kind"] == "asset_added"
    shown = by_source["alert"]
    assert shown["words"] == SCRIPT
    assert (shown["ended_at"], shown["acknowledged"]) == (None, False)
    assert shown["cure"]

    [open_alert] = get_open_alerts(db_conn)
    end_alert(db_conn, open_alert, "it is there again")
    alerts = browser.get("/api/events?level=error").body["items"]
    assert [item["source"] for item in alerts] == ["alert"]
    assert alerts[0]["ended_at"]

    def words_of(query: str) -> list[str]:
        return [item["kind"] for item in browser.get(f"/api/events?{query}").body["items"]]

    assert "order.decided" in words_of("level=info")
    assert words_of("symbol=ETH/USD&level=info") == ["order.decided"]
    assert words_of("kind=order.refused") == ["order.refused"]
    assert words_of("text=NO%20MONEY") == ["order.refused"]
    assert words_of("text=%25") == [], "no pattern, but text"
    assert browser.get("/api/events?level=loud").status == 400


def test_events_are_paged_without_a_gap(browser, asset, page, db_conn, monkeypatch):
    monkeypatch.setattr("web.records.PAGE_ITEMS", 1)
    seen, before = [], ""
    while True:
        body = browser.get(f"/api/events?level=info{before}").body
        seen += [item["id"] for item in body["items"]]
        if not body["has_more"]:
            break
        before = f"&before={seen[-1]}"
    monkeypatch.undo()
    assert seen == [item["id"] for item in browser.get("/api/events?level=info").body["items"]]
    assert len(seen) == len(set(seen)) >= 4
    assert browser.get("/api/events?before=x").status == 400
