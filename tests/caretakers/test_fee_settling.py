"""Posted fees reach the journal: trades of two days ago on the local exchange, a real database."""

from datetime import date
from decimal import Decimal

import pytest

from caretaker_process import dry_run, real_run
from caretaker_work.fee_settling import settle_fees
from models.cycle_data import create_cycle
from models.events import get_events
from models.order_journal import get_entries_of_cycle
from reconciler import Reconciler
from strategy.order_identity import compute_client_order_id
from utils.alpaca_client_rest import (
    get_trading_client,
    place_limit_buy_order,
    place_market_sell_order,
)
from utils.alpaca_http import ExchangeUnavailable
from utils.alpaca_records import fetch_fee_activities
from utils.asset_rules_cache import AssetRulesCache

TWO_DAYS = 2 * 86400


@pytest.fixture
def traded(settings, exchange, db_conn, make_asset):
    """Two buys and a sell of one cycle, made and journaled two days ago. Gives its rows."""
    client = get_trading_client()
    skew = exchange.arm("skew_clock", seconds=-TWO_DAYS)
    exchange.push_quote("BTC/USD", 50000, 50001)
    cycle = create_cycle(db_conn, make_asset().id, "watching")
    for seq, qty in enumerate(("0.002", "0.0013")):
        identity = compute_client_order_id(cycle, seq)
        place_limit_buy_order(client, "BTC/USD", Decimal(qty), 50001, client_order_id=identity)
    exchange.settle()
    identity = compute_client_order_id(cycle, 2)
    place_market_sell_order(client, "BTC/USD", Decimal("0.0032"), client_order_id=identity)
    exchange.settle()
    rules = AssetRulesCache(client, settings.minimum_order_usd)
    Reconciler(client, rules, settings.taker_fee_rate, confirm_seconds=0).recover()
    exchange.clear_faults(skew)
    return lambda: get_entries_of_cycle(db_conn, cycle.id)


def settle(settings):
    run = real_run(settings)
    settle_fees(run)
    return run


def test_posted_fees_replace_the_estimates(settings, exchange, traded, db_conn):
    assert [entry.fee_is_estimated for entry in traded()] == [True] * 3
    assert settle(settings).plan == [], "nothing was posted yet"
    posted = exchange.end_of_day()
    run = settle(settings)
    assert [step["action"] for step in run.done] == ["settle fees", "settle fees"]
    rows = traded()
    assert [entry.fee_is_estimated for entry in rows] == [False] * 3
    coins = -sum(Decimal(one["qty"]) for one in posted if one["activity_type"] == "CFEE")
    usd = -sum(Decimal(one["net_amount"]) for one in posted if one["activity_type"] == "FEE")
    assert sum(entry.fee_qty for entry in rows) == coins
    assert sum(entry.fee_usd for entry in rows) == usd
    assert rows[2].fee_qty == 0
    assert settle(settings).plan == []


def test_a_dry_run_writes_nothing(settings, exchange, traded):
    exchange.end_of_day()
    before = traded()
    run = dry_run(settings)
    settle_fees(run)
    assert len(run.plan) == 2
    assert traded() == before


def test_fees_of_today_wait_for_the_end_of_the_day(settings, exchange, db_conn, make_asset):
    client = get_trading_client()
    exchange.push_quote("BTC/USD", 50000, 50001)
    cycle = create_cycle(db_conn, make_asset().id, "watching")
    identity = compute_client_order_id(cycle)
    place_limit_buy_order(client, "BTC/USD", Decimal("0.002"), 50001, client_order_id=identity)
    exchange.settle()
    rules = AssetRulesCache(client, settings.minimum_order_usd)
    Reconciler(client, rules, settings.taker_fee_rate, confirm_seconds=0).recover()
    exchange.end_of_day()
    before = exchange.state()["requests"]["total"]
    assert settle(settings).plan == []
    assert exchange.state()["requests"]["total"] == before, "and nothing is asked for"


def test_an_outage_leaves_the_estimates(settings, exchange, traded, monkeypatch):
    monkeypatch.setattr("utils.alpaca_http.READ_WAITS_SECONDS", (0.0,))
    exchange.end_of_day()
    before = traded()
    exchange.arm("http_500", match={"path": "/v2/account/activities"})
    with pytest.raises(ExchangeUnavailable):
        settle(settings)
    assert traded() == before


def test_fees_that_our_orders_cannot_have_cost_are_reported_once(
    settings, exchange, traded, db_conn
):
    """Somebody traded the same coin by hand on that day."""
    client = get_trading_client()
    skew = exchange.arm("skew_clock", seconds=-TWO_DAYS)
    exchange.push_quote("BTC/USD", 50000, 50001)
    place_limit_buy_order(client, "BTC/USD", Decimal("0.5"), 50001)
    exchange.settle()
    exchange.clear_faults(skew)
    exchange.end_of_day()
    run = settle(settings)
    assert [step["action"] for step in run.done] == ["report", "settle fees"]
    assert [entry.fee_is_estimated for entry in traded()] == [True, True, False]
    assert [event["kind"] for event in get_events(db_conn)] == ["fees_implausible"]
    assert settle(settings).plan == []


def test_more_fees_than_one_page_are_read_to_the_end(settings, exchange, traded):
    exchange.configure(rate_limit_per_minute=0)
    client = get_trading_client()
    skew = exchange.arm("skew_clock", seconds=-TWO_DAYS)
    exchange.push_quote("BTC/USD", 50000, 50001)
    for _ in range(120):
        place_limit_buy_order(client, "BTC/USD", Decimal("0.001"), 50001)
    exchange.settle()
    exchange.clear_faults(skew)
    posted = exchange.end_of_day()
    days = sorted(one["date"] for one in posted)
    first, last = date.fromisoformat(days[0]), date.fromisoformat(days[-1])
    assert len(fetch_fee_activities(client, first, last)) == len(posted) == 123
