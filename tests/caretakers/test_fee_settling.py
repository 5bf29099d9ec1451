"""Posted fees reach the journal: trades of two days ago on the local exchange, a real database."""

from datetime import date
from decimal import Decimal

import pytest

from caretaker_process import dry_run, real_run
from caretakers.fee_settlement import settle_fees
from models.cycle_data import create_cycle
from models.events import get_events
from models.order_journal import get_entries_of_cycle
from strategy.order_identity import compute_client_order_id
from trading.engine import build_engine
from utils.alpaca_client_rest import (
    get_trading_client,
    place_limit_buy_order,
    place_market_sell_order,
)
from utils.alpaca_http import ExchangeUnavailable
from utils.alpaca_queries import fetch_trade_records

DAY = 86400
# Late enough for the day to be finished, and early enough for a fee to be posted still.
DAY_AND_A_HALF = 1.5 * DAY


@pytest.fixture
def days_ago():
    """When the trades were made."""
    return 2.0


@pytest.fixture
def in_parts():
    """Whether each order fills in two parts, some of them charged at the maker's rate."""
    return False


@pytest.fixture
def traded(settings, exchange, db_conn, make_asset, days_ago, in_parts):
    """Two buys and a sell of one cycle, made and journaled some days ago. Gives its rows."""
    if in_parts:
        exchange.configure(partial_fill_probability=1)
        exchange.arm("fee_maker", probability=0.5)

    def fill():
        exchange.finish()
        exchange.push_quote("BTC/USD", 50000, 50001)

    client = get_trading_client()
    skew = exchange.arm("skew_clock", seconds=-days_ago * DAY)
    exchange.push_quote("BTC/USD", 50000, 50001)
    cycle = create_cycle(db_conn, make_asset().id, "watching")
    for seq, qty in enumerate(("0.002", "0.0013")):
        identity = compute_client_order_id(cycle, seq)
        place_limit_buy_order(client, "BTC/USD", Decimal(qty), 50001, client_order_id=identity)
        fill()
    identity = compute_client_order_id(cycle, 2)
    place_market_sell_order(client, "BTC/USD", Decimal("0.0032"), client_order_id=identity)
    fill()
    build_engine(settings, confirm_seconds=0).reconciler.recover()
    exchange.clear_faults(skew)
    return lambda: get_entries_of_cycle(db_conn, cycle.id)


def charged(exchange):
    """What the exchange took of each order, by its own records: coins, USD."""
    fees: dict[str, tuple[Decimal, Decimal]] = {}
    for one in exchange.ledger()["executions"]:
        coins, usd = fees.get(one["order_id"], (Decimal(0), Decimal(0)))
        coins, usd = coins + Decimal(one["fee_coins"]), usd + Decimal(one["fee_usd"])
        fees[one["order_id"]] = coins, usd
    return fees


def journaled(rows):
    return {row.alpaca_order_id: (row.fee_qty, row.fee_usd) for row in rows}


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
    exchange.finish()
    build_engine(settings, confirm_seconds=0).reconciler.recover()
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


def test_trades_of_the_user_on_the_same_coin_keep_their_own_fees(settings, exchange, traded):
    client = get_trading_client()
    skew = exchange.arm("skew_clock", seconds=-2 * DAY)
    exchange.push_quote("BTC/USD", 50000, 50001)
    place_limit_buy_order(client, "BTC/USD", Decimal("0.5"), 50001)
    exchange.finish()
    exchange.clear_faults(skew)
    exchange.end_of_day()
    settle(settings)
    assert not any(row.fee_is_estimated for row in traded())
    assert journaled(traded()).items() <= charged(exchange).items()


def test_the_journals_estimate_is_what_the_exchange_charges(exchange, traded):
    """To the last digit, of orders that were filled at once by a taker."""
    assert all(row.fee_is_estimated for row in traded())
    assert journaled(traded()) == charged(exchange)


POSTINGS = {
    "late": [("fee_late", {})],
    "on the next day": [("fee_late", {"seconds": DAY})],
    "in parts": [("fee_split", {})],
    "in parts of which one is a day later": [("fee_split", {"fraction": 0.7, "seconds": DAY})],
    "in parts of which one is dated the day before": [("fee_split", {}), ("fee_misdated", {})],
    "in USD without a coin": [("fee_unnamed", {})],
    "in every way at once": [
        ("fee_late", {}),
        ("fee_split", {"fraction": 0.3, "seconds": 7200}),
        ("fee_misdated", {"days": 1}),
        ("fee_unnamed", {}),
    ],
}


@pytest.mark.parametrize(
    ("in_parts", "days_ago"),
    [(False, 2.0), (True, 4.0)],  # the maker's fee can be a part of the taker's: believed later
    ids=["filled at once", "at both rates"],
)
@pytest.mark.parametrize("faults", POSTINGS.values(), ids=POSTINGS)
def test_however_fees_are_posted_each_order_gets_what_it_was_charged(
    settings, exchange, traded, faults, in_parts
):
    makers = [one["is_maker"] for one in exchange.ledger()["executions"]]
    assert (len(makers), set(makers)) == ((6, {True, False}) if in_parts else (3, {False}))
    for name, parameters in faults:
        exchange.arm(name, **parameters)
    exchange.end_of_day()
    settle(settings)
    assert not any(row.fee_is_estimated for row in traded())
    assert journaled(traded()) == charged(exchange)
    assert settle(settings).plan == []


@pytest.mark.parametrize("days_ago", [1.5])
def test_what_is_not_posted_yet_keeps_its_estimate_and_is_found_by_a_later_run(
    settings, exchange, traded, db_conn
):
    """Half of each fee: less than the maker's rate takes."""
    exchange.arm("fee_split", seconds=DAY_AND_A_HALF + 30)
    exchange.end_of_day()
    before = traded()
    assert settle(settings).plan == []
    assert traded() == before
    exchange.arm("skew_clock", seconds=60)
    exchange.end_of_day()
    settle(settings)
    assert not any(row.fee_is_estimated for row in traded())
    assert journaled(traded()) == charged(exchange)


@pytest.mark.parametrize("days_ago", [6])
def test_fees_that_never_come_whole_stay_estimates_and_are_reported_once(
    settings, exchange, traded, db_conn
):
    exchange.arm("fee_split", seconds=100 * DAY)
    exchange.end_of_day()
    before = traded()
    run = settle(settings)
    assert [step["action"] for step in run.done] == ["report", "report"]
    assert traded() == before
    written = [event for event in get_events(db_conn) if event["kind"] != "sale_incomplete"]
    assert {event["kind"] for event in written} == {"fees_incomplete"}
    assert all("the estimates stay" in event["reason"] for event in written)
    assert settle(settings).plan == []


def test_more_fees_than_one_page_are_read_to_the_end(settings, exchange, traded):
    exchange.configure(rate_limit_per_minute=0)
    client = get_trading_client()
    skew = exchange.arm("skew_clock", seconds=-2 * DAY)
    exchange.push_quote("BTC/USD", 50000, 50001)
    for _ in range(120):
        place_limit_buy_order(client, "BTC/USD", Decimal("0.001"), 50001)
    exchange.finish()
    exchange.clear_faults(skew)
    posted = exchange.end_of_day()
    first = date.fromisoformat(min(one["date"] for one in posted))
    records = fetch_trade_records(client, first)
    assert len(records.fees) == len(records.executions) == len(posted) == 123
