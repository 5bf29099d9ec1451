"""Reports, equity, the doctor and the monitors' figures: the same as everywhere else."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from cli.report import main as report
from config import PROJECT_ROOT
from page_history import make_history
from web.access import load_tokens


@pytest.fixture(scope="module", autouse=True)
def asset(page, exchange, db_conn):
    exchange.push_quote("BTC/USD", "61000", "61010")
    exchange.set_balance("BTC/USD", "0.02", price="60000")
    return make_history(db_conn, datetime.now(UTC) - timedelta(hours=1))


@pytest.mark.parametrize("by", ["asset", "day", "week", "month", "cycle"])
def test_a_report_has_the_figures_of_the_script(browser, by, capsys):
    body = browser.get(f"/api/report?by={by}").body
    assert report(["--by", by, "--json"]) == 0
    theirs = json.loads(capsys.readouterr().out)
    for moving in ("end", "account"):
        del body[moving], theirs[moving]
    for line in (*body["lines"], body["total"], *theirs["lines"], theirs["total"]):
        line["mean_capital_usd"] = None  # over a span that ends now
    assert body == theirs
    assert body["total"]["profit_usd"] == "20"


def test_a_report_can_be_saved_with_the_bytes_of_the_script(browser, capsys):
    answer = browser.get("/api/report.csv?by=cycle")
    assert report(["--by", "cycle", "--csv"]) == 0
    assert answer.raw.decode() == capsys.readouterr().out
    assert answer.headers["Content-Disposition"] == 'attachment; filename="report-cycle.csv"'
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"


def test_what_no_report_can_be_of_is_said(browser):
    assert browser.get("/api/report?by=year").status == 400
    assert "expected 2026-01-31" in browser.get("/api/report?since=soon").body["error"]
    assert browser.get("/api/report?since=7d&until=8d").status == 422
    assert "the journal knows no ETH/USD" in browser.get("/api/report?asset=ethusd").body["error"]
    assert browser.get("/api/report?since=2030-01").body["total"]["cycles"] == 0


def test_equity_is_asked_of_the_exchange_and_profit_of_the_journal(browser, exchange):
    body = browser.get("/api/equity?days=7").body
    assert body["why_no_equity"] is None
    assert body["equity"]
    assert body["profit"][-1]["usd"] == "20"
    exchange.arm("http_500")
    try:
        body = browser.get("/api/equity?days=8").body
        assert body["equity"] is None
        assert "the exchange does not say" in body["why_no_equity"]
        assert body["profit"][-1]["usd"] == "20", "one that is away does not hide the other"
        assert browser.get("/api/equity?days=7").body["equity"], "kept"
    finally:
        exchange.clear_faults()


def test_the_doctor_says_what_is_wrong_and_how_to_cure_it(browser):
    findings = browser.get("/api/doctor").body["findings"]
    levels = {one["level"] for one in findings}
    assert levels <= {"ok", "warning", "error"}
    daemon = next(one for one in findings if one["subject"] == "daemon")
    assert daemon["level"] == "warning"
    assert daemon["cure"]
    assert browser.get("/api/doctor").body["findings"] == findings, "kept for a while"


def test_a_monitor_reads_metrics_with_its_own_token_and_nothing_else_with_that(page, browser):
    stranger = page.stranger()
    assert stranger.get("/metrics").status == 401
    bearer = {"Authorization": f"Bearer {load_tokens(page.settings).metrics_token}"}
    assert stranger.get("/api/status", headers=bearer).status == 401
    answer = stranger.get("/metrics", headers=bearer)
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    lines = answer.raw.decode().splitlines()
    assert 'dca_profit_realised_usd{symbol="BTC/USD"} 20.0' in lines
    assert 'dca_bid_price_usd{symbol="BTC/USD"} 61000.0' in lines
    assert 'dca_cycle_state{state="watching",symbol="BTC/USD"} 1.0' in lines
    assert 'dca_cycles_completed_total{symbol="BTC/USD"} 1.0' in lines
    assert any(line.startswith("process_cpu_seconds_total ") for line in lines)
    assert browser.get("/metrics").status == 200, "its owner may"
    assert stranger.get("/metrics", headers={"Authorization": "Bearer x"}).status == 401


def test_whoever_asks_is_told_in_two_words_whether_all_is_well(page):
    answer = page.stranger().get("/healthz")
    assert (answer.status, answer.raw) == (503, b"not well")


def test_the_manual_names_every_metric(page, browser):
    shown = set(
        re.findall(r"^# TYPE (dca_\w+)", browser.get("/metrics").raw.decode(), re.MULTILINE)
    )
    manual = (PROJECT_ROOT / "docs" / "page.md").read_text("utf-8")
    named = set(re.findall(r"`(dca_\w+)`", manual))
    moving = {
        "dca_events",
        "dca_heartbeat_age_seconds",
        "dca_comparison_age_seconds",
        "dca_quote_age_seconds",
    }
    assert named - moving == shown - moving
