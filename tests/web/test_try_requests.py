"""Try, candles and sweeps as a browser asks for them."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from urllib.parse import urlencode

import numpy as np
import pytest

from config import get_settings
from operations.asset_changes import save_new_asset
from operations.asset_input import build_asset, read_defaults
from page_server import PageServer
from past_bars import BTC, add_history, make_bars, save_waves
from research.history import History
from research.market_rules import load_rules
from research.months import MINUTE_NS, Month
from research.series import Bars
from research.sweep_result import results_folder
from utils.db_utils import execute_query
from web.candle_rows import begins_of, merged
from web.past_candles import aggregate

JUNE = Month(2023, 6)


@pytest.fixture(scope="module")
def page(exchange, db_conn, tmp_path_factory):
    """Beside a month of prices."""
    history = History(tmp_path_factory.mktemp("history"))
    save_waves(history, BTC, 30_000, JUNE)
    settings = replace(get_settings(), history_dir=history.folder)
    with PageServer(settings) as running:
        yield running


@pytest.fixture
def history(page):
    return History(page.settings.history_dir)


@pytest.fixture
def asset(db_conn):
    values = read_defaults(Decimal("0.25")) | {"safety_order_deviation": Decimal(2)}
    saved = save_new_asset(build_asset(BTC, values))
    yield saved
    for table in ("dca_cycles", "dca_assets", "dca_events"):
        execute_query(f"DELETE FROM {table}", db_conn=db_conn)


def trying(**changes):
    return {"symbol": BTC, "settings": {}, "from": None, "to": None} | changes


# Try


def test_settings_are_tried_beside_those_that_the_asset_has(browser, asset):
    known = browser.get("/api/try?symbol=BTC/USD").body
    assert known["settings"]["deviation"] == "2"
    assert known["range"]["bars"] == 30 * 1440
    answer = browser.post("/api/try", trying(settings=known["settings"] | {"deviation": "1"}))
    found = answer.body
    assert answer.status == 200
    assert found["figures"]["result_usd"] != found["today"]["figures"]["result_usd"]
    assert found["capital_usd"] == found["today"]["capital_usd"] == known["cash_usd"]
    assert found["refusals"] == []
    assert found["milliseconds"] > 0


def test_the_rules_of_the_coin_are_asked_for_and_kept_beside_the_history(browser, history):
    assert browser.get("/api/try?symbol=btcusd").status == 200
    kept = load_rules(history, BTC, Decimal(10))
    assert kept is not None
    assert kept.asked_at is not None


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        (trying(symbol="<script>alert(1)</script>"), 422),
        (trying(symbol=["BTC/USD"]), 400),
        (trying(settings=["deviation"]), 422),
        (trying(settings={"deviation": 2}), 422),
        (trying(settings={"__class__": "x"}), 422),
        (trying(settings={"deviation": None}), 422),
        (trying(**{"from": "yesterday"}), 422),
        (trying(**{"from": 7}), 400),
        (trying(**{"from": "2023-06-01T00:00:00"}), 422),
        (trying(**{"from": "2023-06-02T00:00:00Z", "to": "2023-06-01T00:00:00Z"}), 422),
        (trying(**{"from": "2030-06-02T00:00:00Z"}), 422),
        (trying(symbol="DOGE/USD"), 422),
        (trying(symbol="../../etc/passwd"), 422),
    ],
)
def test_what_makes_no_sense_is_one_line_and_no_replay(browser, body, status):
    answer = browser.post("/api/try", body)
    assert answer.status == status
    assert set(answer.body) == {"error", "cure"}
    assert "\n" not in answer.body["error"]


def test_a_setting_that_cannot_be_traded_is_an_answer_with_its_reason(browser, asset):
    browser.get("/api/try?symbol=BTC/USD")  # what the asset has now
    found = browser.post("/api/try", trying(settings={"deviation": "120"})).body
    assert "the deviation must be" in found["refusals"][0]
    assert found["figures"] is None
    assert found["today"]["figures"]["orders"] > 0


def test_without_a_session_nothing_is_replayed(page):
    stranger = page.stranger()
    for path in ("/api/try?symbol=BTC/USD", "/api/candles?symbol=BTC/USD", "/api/sweeps"):
        assert stranger.get(path).status == 401
    assert stranger.post("/api/try", trying()).status == 401


def test_of_many_tries_of_one_browser_the_last_is_answered(browser, page):
    with ThreadPoolExecutor(8) as pool:
        tries = [
            pool.submit(browser.post, "/api/try", trying(settings={"deviation": f"0.{number}"}))
            for number in range(3, 9)
        ]
        statuses = [one.result().status for one in tries]
    assert set(statuses) <= {200, 409}
    assert 200 in statuses
    assert page.browser().post("/api/try", trying()).status == 200


# Candles


def candles(browser, **query):
    return browser.get(f"/api/candles?{urlencode({'symbol': BTC} | query)}")


def test_candles_of_the_history_are_its_minutes_put_together(browser, history):
    answer = candles(
        browser, seconds=3600, **{"from": "2023-06-10T00:00:00Z", "to": "2023-06-11T00:00:00Z"}
    ).body
    begin = Month(2023, 6).begin_ns + 9 * 1440 * MINUTE_NS
    series = history.load_bars(BTC).series
    assert answer["source"] == "history"
    assert answer["older"] is True
    assert [one[0] for one in answer["candles"]] == [
        begin // 10**9 + 3600 * number for number in range(24)
    ]
    hour = series.slice(9 * 1440 + 60, 9 * 1440 + 120)
    expected = [hour.open[0], hour.high.max(), hour.low.min(), hour.close[-1]]
    assert answer["candles"][1][1:] == [int(one) / 100 for one in expected]


def test_at_most_a_thousand_come_and_they_are_the_newest(browser):
    found = candles(browser, seconds=60, to="2023-07-01T00:00:00Z").body["candles"]
    assert len(found) == 1000
    assert found[-1][0] == JUNE.end_ns // 10**9 - 60


def test_what_the_history_lacks_comes_from_the_exchange(browser, exchange):
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    begin = now - timedelta(minutes=600)
    add_history(exchange, make_bars(begin.strftime("%Y-%m-%dT%H:%M:%S"), 590, symbol="ETH/USD"))
    query = {"symbol": "ETH/USD", "seconds": 300, "from": begin.isoformat()}
    answer = candles(browser, **query).body
    assert answer["source"] == "exchange"
    assert 116 <= len(answer["candles"]) <= 120
    times = [one[0] for one in answer["candles"]]
    assert all(one % 300 == 0 for one in times)
    assert times == sorted(set(times))
    exchange.server.exchange.history.minutes["ETH/USD"].clear()
    assert candles(browser, **query).body["candles"] == answer["candles"], "not asked for again"


def test_what_is_older_than_the_history_comes_from_the_exchange(browser, exchange):
    add_history(exchange, make_bars("2023-05-31T12:00:00", 60))
    wanted = {"from": "2023-05-31T12:00:00Z", "to": "2023-05-31T13:00:00Z"}
    answer = candles(browser, seconds=900, **wanted).body
    assert (answer["source"], len(answer["candles"])) == ("exchange", 4)


def test_a_chart_of_a_damaged_history_has_the_prices_of_the_exchange(browser, exchange, history):
    add_history(exchange, make_bars("2023-06-02T12:00:00", 30))
    wanted = {"from": "2023-06-02T12:00:00Z", "to": "2023-06-02T12:30:00Z"}
    path = history.folder_of(BTC) / "2023-07.bars"
    path.write_bytes(b"nothing of ours")
    try:
        answer = candles(browser, seconds=300, **wanted).body
    finally:
        path.unlink()
    assert (answer["source"], len(answer["candles"])) == ("exchange", 6)
    assert "is damaged" in answer["trouble"]
    assert candles(browser, seconds=300, **wanted).body["source"] == "history"


@pytest.mark.parametrize("seconds", ["0", "61", "-60", "1e3", "604860", "", "x" * 50, "٣٠٠"])
def test_a_length_that_is_none_is_refused(browser, seconds):
    assert candles(browser, seconds=seconds).status == 422


def bars_of(count):
    chance = np.random.default_rng(5)
    close = 1_000_00 + np.cumsum(chance.integers(-50, 51, count))
    kept = np.sort(chance.choice(count * 2, count, replace=False))
    return Bars(
        symbol=BTC,
        places=2,
        bar_seconds=60,
        at_ns=JUNE.begin_ns + kept * MINUTE_NS,
        open=close - 3,
        high=close + 9,
        low=close - 9,
        close=close,
    )


@pytest.mark.parametrize("seconds", [60, 300, 3600, 86400, 7 * 86400])
def test_candles_are_what_a_plain_loop_makes_of_the_bars(seconds):
    bars = bars_of(5000)
    expected = {}
    for number in range(len(bars)):
        at = begins_of(int(bars.at_ns[number]) // 10**9, seconds)
        first, high, low, close = (int(one[number]) / 100 for one in bars.prices)
        before = expected.setdefault(at, [at, first, high, low, close])
        before[2:] = [max(before[2], high), min(before[3], low), close]
    assert aggregate(bars, 0, len(bars), seconds) == list(expected.values())


def test_a_candle_that_begins_in_the_history_and_ends_at_the_exchange_is_one():
    stored, added = [[0, 1.0, 2.0, 0.5, 1.5], [60, 1.5, 1.6, 1.4, 1.5]], [
        [60, 1.45, 1.9, 1.3, 1.8], [120, 1.8, 1.8, 1.8, 1.8],
    ]  # fmt: skip
    assert merged(stored, added) == [
        [0, 1.0, 2.0, 0.5, 1.5], [60, 1.5, 1.9, 1.3, 1.8], [120, 1.8, 1.8, 1.8, 1.8],
    ]  # fmt: skip


# Sweeps


@pytest.fixture
def sweep(history):
    """A result as `scripts/sweep` writes it."""
    result = {
        "what": "sweep",
        "format": 1,
        "assets": [{"symbol": BTC}],
        "dimensions": [
            {"option": "deviation", "column": "safety_order_deviation", "values": ["1", "2"]},
            {"option": "take_profit", "column": "take_profit_percent", "values": ["1.2"]},
        ],
        "trials": [
            {"at": [1, 0], "refused": "<b>too small</b>"},
            {"at": [0, 0], "scores": [{"result_usd": "5"}, {"result_usd": "-1"}]},
        ],
    }  # fmt: skip
    folder = results_folder(history.folder)
    folder.mkdir()
    (folder / "BTC-USD-1.json").write_text(json.dumps(result))
    (folder / "broken.json").write_text("{")
    (folder / "BTC-USD-1.jsonl").write_text("a journal")
    yield result
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def test_sweeps_are_listed_and_one_opens_as_a_heat_map(browser, sweep):
    [found] = browser.get("/api/sweeps").body
    assert (found["name"], found["symbol"]) == ("BTC-USD-1", BTC)
    assert [axis["option"] for axis in found["axes"]] == ["deviation", "take_profit"]
    opened = browser.get("/api/sweep?name=BTC-USD-1").body
    assert opened["points"] == [
        {
            "settings": {"deviation": "1", "take_profit": "1.2"},
            "figures": {"result_usd": "5", "later_result_usd": "-1"},
        },
        {
            "settings": {"deviation": "2", "take_profit": "1.2"},
            "figures": {},
            "refused": "<b>too small</b>",
        },
    ]


@pytest.mark.parametrize(
    "name", ["", "none", "broken", "../rules", "..%2F..%2Fetc%2Fpasswd", "%00", "a" * 300]
)
def test_no_other_file_is_opened(browser, sweep, name):
    assert browser.get(f"/api/sweep?name={name}").status == 422


def test_without_sweeps_the_list_is_empty(browser):
    assert browser.get("/api/sweeps").body == []
