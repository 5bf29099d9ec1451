"""History, snapshots and order books with the real alpaca-py, over a socket."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import requests
from alpaca.common.enums import Sort
from alpaca.data.requests import (
    CryptoBarsRequest,
    CryptoLatestOrderbookRequest,
    CryptoQuoteRequest,
    CryptoSnapshotRequest,
    CryptoTradesRequest,
)
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit

from paper_exchange.core import history
from paper_exchange.core.clock import parse_time
from paper_exchange.core.prices import Bar

BTC, ETH = "BTC/USD", "ETH/USD"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def raw(exchange, kind, **query):
    url = f"{exchange.urls.data_url}/v1beta3/crypto/us/{kind}"
    return requests.get(url, params=query, timeout=10)


def push_many(exchange, count):
    for number in range(count):
        exchange.push_quote(BTC, 60_000 + number, 60_010 + number)
        exchange.push_quote(ETH, 2_000 + number, 2_001 + number)


def next_minute(exchange, minutes=1):
    """Turns the clock of the exchange forward: bars need minutes, which a test cannot wait for."""
    exchange.arm("skew_clock", seconds=60 * minutes)


def test_quotes_and_trades_of_the_past_come_in_the_order_of_time(clients):
    push_many(clients.exchange, 5)
    ask = {"symbol_or_symbols": [BTC, ETH], "start": LONG_AGO}
    quotes = clients.data.get_crypto_quotes(CryptoQuoteRequest(**ask))
    assert [one.bid_price for one in quotes[BTC]] == [60_000, 60_001, 60_002, 60_003, 60_004]
    assert [one.ask_price for one in quotes[ETH]] == [2_001, 2_002, 2_003, 2_004, 2_005]
    times = [one.timestamp for one in quotes[BTC]]
    assert times == sorted(times)
    trades = clients.data.get_crypto_trades(CryptoTradesRequest(**ask, sort=Sort.DESC))
    assert [one.id for one in trades[BTC]] == [9, 7, 5, 3, 1]
    assert clients.data.get_crypto_trades(
        CryptoTradesRequest(symbol_or_symbols="SOL/USD", start=LONG_AGO)
    ).data == {}  # fmt: skip


def test_an_interval_has_both_its_ends(clients):
    push_many(clients.exchange, 4)
    every = raw(clients.exchange, "quotes", symbols=BTC).json()["quotes"][BTC]
    first, last = every[1]["t"], every[2]["t"]
    inside = raw(clients.exchange, "quotes", symbols=BTC, start=first, end=last).json()
    assert inside["quotes"][BTC] == every[1:3]
    nothing = raw(clients.exchange, "quotes", symbols=BTC, end="2020-01-01", start="2020-01-01")
    assert nothing.json() == {"quotes": {}, "next_page_token": None}


@pytest.mark.parametrize("sort", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 3, 4, 7, 8, 100])
def test_pages_join_to_the_whole_whatever_their_size(exchange, sort, limit):
    push_many(exchange, 4)
    query = {"symbols": f"{ETH},{BTC}", "sort": sort}
    whole = raw(exchange, "quotes", **query).json()
    pages, token = [], None
    while True:
        page = raw(exchange, "quotes", **query, limit=limit, page_token=token).json()
        assert sum(map(len, page["quotes"].values())) == min(limit, 8 - limit * len(pages))
        pages.append(page)
        token = page["next_page_token"]
        if token is None:
            break
    joined = {}
    for page in pages:
        for symbol, quotes in page["quotes"].items():
            joined.setdefault(symbol, []).extend(quotes)
    assert list(joined.items()) == list(whole["quotes"].items())
    assert len(pages) == -(-8 // limit)


def test_the_sdk_turns_the_pages_itself(clients):
    async def fill():
        from paper_exchange.core.prices import Quote

        server = clients.exchange.server
        for number in range(1_200):
            price = Decimal(1_000 + number)
            now_ns = server.clock.now_ns()
            server.exchange.post_quote(Quote(BTC, price, Decimal(1), price, Decimal(1), now_ns))

    clients.exchange.run(fill())
    page = raw(clients.exchange, "trades", symbols=BTC).json()
    assert (len(page["trades"][BTC]), bool(page["next_page_token"])) == (1_000, True)
    trades = clients.data.get_crypto_trades(
        CryptoTradesRequest(symbol_or_symbols=BTC, start=LONG_AGO)
    )
    assert [one.price for one in trades[BTC]] == [1_000 + number for number in range(1_200)]
    some = CryptoTradesRequest(symbol_or_symbols=BTC, start=LONG_AGO, limit=1_050)
    assert len(clients.data.get_crypto_trades(some)[BTC]) == 1_050


def test_bars_of_whole_minutes_are_joined_to_longer_ones(clients, turn_clock):
    exchange = clients.exchange
    begin = datetime.fromtimestamp(turn_clock(exchange, second=1) / 1e9, UTC)
    prices = [100, 104, 98, 102]
    for price in prices:
        exchange.push_quote(BTC, price, price, bid_size=2, ask_size=2)
        exchange.push_quote(BTC, price + 1, price + 1, bid_size=1, ask_size=1)
        next_minute(exchange)

    def bars(timeframe, **more):
        ask = CryptoBarsRequest(
            symbol_or_symbols=BTC, timeframe=timeframe, start=LONG_AGO, **more
        )  # fmt: skip
        return clients.data.get_crypto_bars(ask).data.get(BTC, [])

    minutes = bars(TimeFrame.Minute)
    # The fourth minute is not over: no quote has come after it.
    assert [(one.open, one.high, one.low, one.close) for one in minutes] == [
        (price, price + 1, price, price + 1) for price in prices[:3]
    ]
    assert [(one.volume, one.trade_count) for one in minutes] == [(3, 2)] * 3
    assert minutes[0].vwap == pytest.approx((2 * 100 + 101) / 3)
    assert [one.timestamp.second for one in minutes] == [0, 0, 0]
    assert begin - timedelta(minutes=1) < minutes[0].timestamp <= begin

    months = bars(TimeFrame(12, TimeFrameUnit.Month), end=begin + timedelta(days=400))
    assert sum(one.trade_count for one in months) == 6
    assert (months[0].open, months[-1].close) == (100, 99)
    assert [one.close for one in bars(TimeFrame.Minute, limit=1)] == [101]


@pytest.mark.parametrize(
    ("timeframe", "at", "begin"),
    [
        ("1Min", "2026-03-04T05:06:07Z", "2026-03-04T05:06:00Z"),
        ("15T", "2026-03-04T05:16:07Z", "2026-03-04T05:15:00Z"),
        ("59Min", "2026-03-04T01:00:00Z", "2026-03-04T00:59:00Z"),
        ("4Hour", "2026-03-04T05:06:07Z", "2026-03-04T04:00:00Z"),
        # The days of recorded bars begin at midnight in Chicago: winter and summer.
        ("1Day", "2026-01-04T05:59:59Z", "2026-01-03T06:00:00Z"),
        ("1D", "2026-07-04T05:00:00Z", "2026-07-04T05:00:00Z"),
        ("1Week", "2026-07-04T12:00:00Z", "2026-06-29T05:00:00Z"),
        ("1M", "2026-07-01T04:00:00Z", "2026-06-01T05:00:00Z"),
        ("3Month", "2026-06-15T12:00:00Z", "2026-04-01T05:00:00Z"),
        ("12M", "2026-06-15T12:00:00Z", "2026-01-01T06:00:00Z"),
    ],
)
def test_a_bar_begins_where_its_timeframe_says(timeframe, at, begin):
    frame = history.TimeFrame.parse(timeframe)
    assert frame.begin(parse_time(at)) == parse_time(begin)
    assert frame.begin(parse_time(begin)) == parse_time(begin)


@pytest.mark.parametrize("wrong", ["60Min", "0Min", "24Hour", "2Day", "5Month", "1Year", "Min", ""])
def test_a_timeframe_that_is_not_listed_is_refused(exchange, wrong):
    answer = raw(exchange, "bars", symbols=BTC, timeframe=wrong)
    assert answer.status_code == 400
    assert "timeframe" in answer.json()["message"]


@pytest.mark.parametrize(
    "query",
    [
        {"symbols": ""},
        {"symbols": "BTCUSD"},
        {"symbols": BTC, "start": "x"},
        {"symbols": BTC, "start": "2026-01-02", "end": "2026-01-01"},
        {"symbols": BTC, "limit": "0"},
        {"symbols": BTC, "limit": "10001"},
        {"symbols": BTC, "sort": "up"},
        {"symbols": BTC, "page_token": "%%"},
        {"symbols": BTC, "page_token": "YQ=="},
    ],
)
def test_a_wrong_request_for_the_past_is_refused(exchange, query):
    answer = raw(exchange, "trades", **query)
    assert answer.status_code == 400
    assert set(answer.json()) == {"message"}


def test_a_snapshot_shows_what_is_known_and_leaves_out_what_is_not(clients):
    exchange = clients.exchange
    ask = CryptoSnapshotRequest(symbol_or_symbols=[BTC, ETH])
    exchange.push_quote(BTC, 60_000, 60_010)
    snapshot = clients.data.get_crypto_snapshot(ask)[BTC]
    assert (snapshot.latest_quote.bid_price, snapshot.latest_trade.price) == (60_000, 60_010)
    assert (snapshot.minute_bar.close, snapshot.daily_bar.close) == (60_010, 60_010)
    assert snapshot.previous_daily_bar is None
    assert raw(exchange, "snapshots", symbols=ETH).json() == {"snapshots": {ETH: {}}}

    next_minute(exchange, 26 * 60)  # no day is that long, not even when the clocks go back
    exchange.push_quote(BTC, 61_000, 61_010)
    snapshot = clients.data.get_crypto_snapshot(ask)[BTC]
    assert (snapshot.daily_bar.close, snapshot.previous_daily_bar.close) == (61_000, 60_010)


def test_the_order_book_is_the_best_bid_and_ask(clients):
    clients.exchange.push_quote(BTC, 60_000, 60_010, bid_size=2, ask_size=3)
    ask = CryptoLatestOrderbookRequest(symbol_or_symbols=[BTC, ETH])
    records = clients.data.get_crypto_latest_orderbook(ask)
    assert list(records) == [BTC]
    (bid,), (ask,) = records[BTC].bids, records[BTC].asks
    assert (bid.price, bid.size, ask.price, ask.size) == (60_000, 2, 60_010, 3)


def test_the_history_drops_its_oldest(exchange, monkeypatch):
    monkeypatch.setattr(history, "MAX_TICKS", 3)
    push_many(exchange, 5)
    quotes = raw(exchange, "quotes", symbols=BTC).json()["quotes"][BTC]
    assert [one["bp"] for one in quotes] == [60_002, 60_003, 60_004]


def test_joined_minutes_lose_nothing():
    def minute(number, price):
        value = Decimal(price)
        at_ns = parse_time("2026-03-04") + number * 60_000_000_000
        return Bar(BTC, value, value + 1, value - 1, value, Decimal(2), 2 * value, 3, at_ns)

    minutes = [minute(number, 100 + number) for number in range(10)]
    bars = list(history.TimeFrame.parse("4Min").joined(minutes))
    assert [one.trade_count for one in bars] == [12, 12, 6]
    assert sum(one.volume for one in bars) == sum(one.volume for one in minutes)
    assert [(one.open, one.close, one.high, one.low) for one in bars] == [
        (100, 103, 104, 99),
        (104, 107, 108, 103),
        (108, 109, 110, 107),
    ]
