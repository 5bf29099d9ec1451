"""Every fault of the table, from the client's side of the wire."""

import asyncio
import json
import math
import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import aiohttp
import msgpack
import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.data.requests import CryptoLatestQuoteRequest
from alpaca.trading.enums import OrderStatus

from paper_exchange.core.config import ExchangeConfig, MarketConfig, MarketKind
from paper_exchange.faults.armed import FaultBoard
from paper_exchange.faults.table import KINDS, Seam
from paper_exchange.quotes.synthetic import synthetic_quotes
from paper_exchange.server import PaperExchange

BTC = "BTC/USD"
BUY = {"symbol": BTC, "side": "buy", "type": "limit", "time_in_force": "gtc"}
KEYS = {"APCA-API-KEY-ID": "local-key", "APCA-API-SECRET-KEY": "local-secret"}


def buy(clients, limit="60020", qty="0.1", **fields):
    return clients.trading.post("/orders", {**BUY, "qty": qty, "limit_price": limit, **fields})


def ask(clients, method, path, **options):
    url = clients.exchange.urls.trading_url + path
    return requests.request(method, url, headers=KEYS, timeout=10, **options)


def status_of(clients, order):
    return clients.trading.get_order_by_id(order["id"]).status


@pytest.fixture
def listening(clients):
    """Clients that receive trade updates, and a market that fills a buy at 60020."""
    clients.listen_to_trades()
    clients.exchange.push_quote(BTC, 59_990, 60_010)
    return clients


# Trade updates


def test_a_dropped_update_is_never_received_though_the_order_filled(listening):
    listening.exchange.arm("drop_update", match={"event": "fill"}, count=1)
    first, second = buy(listening), buy(listening)
    listening.wait_for_event(second["id"], "fill")
    assert listening.events(first["id"]) == ["pending_new", "new"]
    assert status_of(listening, first) is OrderStatus.FILLED
    assert listening.exchange.times_applied("drop_update") == 1


def test_a_duplicated_update_is_received_twice_word_for_word(listening, eventually):
    listening.exchange.arm("duplicate_update", match={"event": "fill"}, count=1, seconds=0.01)
    order = buy(listening)
    eventually(lambda: listening.events(order["id"]).count("fill") == 2)
    first, second = [one for one in listening.trade_updates if one["event"] == "fill"]
    assert first == second


def test_a_delayed_update_comes_after_the_fill_shows_over_rest(listening):
    listening.exchange.arm("delay_update", match={"event": "fill"}, count=1, seconds=0.1)
    order = buy(listening)
    listening.exchange.finish()
    assert status_of(listening, order) is OrderStatus.FILLED
    assert "fill" not in listening.events(order["id"])
    listening.wait_for_event(order["id"], "fill")


def test_a_reordered_update_comes_after_the_next_one(listening, eventually):
    listening.exchange.arm("reorder_update", match={"event": "new"}, count=1)
    order = buy(listening)
    eventually(lambda: len(listening.events(order["id"])) == 3)
    assert listening.events(order["id"]) == ["pending_new", "fill", "new"]


def test_a_reordered_update_that_nothing_overtakes_comes_late(listening):
    listening.exchange.arm("reorder_update", match={"event": "new"}, count=1, seconds=0.05)
    order = buy(listening, limit="50000")
    listening.wait_for_event(order["id"], "new")


# Connections


def test_a_cut_trade_stream_is_opened_again_by_the_sdk_and_what_was_due_is_lost(
    listening, eventually
):
    listening.exchange.arm("cut_stream", match={"stream": "trading", "event": "fill"}, count=1)
    order = buy(listening)
    eventually(lambda: listening.state()["clients"]["trading_connections"] == 2)
    eventually(lambda: any(one["listening"] for one in listening.state()["clients"]["trading"]))
    assert listening.events(order["id"]) == ["pending_new", "new"]
    second = buy(listening)
    listening.wait_for_event(second["id"], "fill")


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_cut_without_an_event_happens_at_once(clients, eventually, how):
    clients.listen_to_quotes(BTC)
    clients.exchange.arm("cut_stream", match={"stream": "data"}, count=1, how=how)
    eventually(lambda: clients.state()["clients"]["data_connections"] == 2)
    eventually(lambda: any(one["subscriptions"] for one in clients.state()["clients"]["data"]))
    clients.exchange.push_quote(BTC, 60_000, 60_010)
    eventually(lambda: clients.quotes)


def test_a_stalled_trade_stream_is_connected_and_sends_nothing(listening):
    listening.exchange.arm("stall_stream", match={"stream": "trading"}, count=1)
    order = buy(listening)
    listening.exchange.finish()
    assert status_of(listening, order) is OrderStatus.FILLED
    assert listening.events(order["id"]) == []
    assert listening.state()["clients"]["trading"] != []


def test_a_stalled_data_stream_sends_again_after_its_time(clients, eventually):
    clients.listen_to_quotes(BTC)
    clients.exchange.arm("stall_stream", match={"stream": "data"}, count=1, seconds=0.1)
    clients.exchange.push_quote(BTC, 60_000, 60_010)

    def received():
        clients.exchange.push_quote(BTC, 61_000, 61_010)
        return clients.quotes

    eventually(received)
    assert clients.quotes[0]["bp"] == 61_000


@pytest.mark.parametrize("stream", ["data", "trading"])
def test_a_refused_handshake_answers_with_its_status(exchange, stream):
    exchange.arm("refuse_handshake", match={"stream": stream}, status=503, count=1)
    urls = exchange.urls
    url = urls.data_stream_url if stream == "data" else urls.trading_stream_url

    async def connect():
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
                await session.ws_connect(url)
            await (await session.ws_connect(url)).close()
            return refusal.value.status

    assert asyncio.run(connect()) == 503


def test_right_keys_can_be_refused_on_the_data_stream(exchange):
    exchange.arm("refuse_auth", match={"stream": "data"}, code=406, count=1)

    async def log_in():
        async with aiohttp.ClientSession() as session:
            stream = await session.ws_connect(
                exchange.urls.data_stream_url, headers={"Content-Type": "application/msgpack"}
            )
            await stream.receive()
            keys = {"action": "auth", "key": "local-key", "secret": "local-secret"}
            await stream.send_bytes(msgpack.packb(keys))
            return msgpack.unpackb((await stream.receive()).data)

    assert asyncio.run(log_in())[0]["code"] == 406
    assert asyncio.run(log_in())[0]["msg"] == "authenticated"


def test_right_keys_can_be_refused_on_the_trade_stream(clients):
    clients.exchange.arm("refuse_auth", match={"stream": "trading"}, count=1)
    clients.listen_to_trades()
    assert clients.exchange.times_applied("refuse_auth") == 1
    assert clients.state()["clients"]["trading_connections"] == 2


# HTTP

# fault | what the client sees: status, or the kind of failure | is the order on the book?
HTTP = [
    ("http_429", {}, 429, False),
    ("http_500", {}, 500, False),
    ("http_500", {"when": "after"}, 500, True),
    ("http_504", {}, 504, True),
    ("http_504", {"when": "before"}, 504, False),
    ("http_timeout", {"seconds": 0.05}, "closed", True),
    ("http_hang", {"seconds": 0.05}, "closed", False),
    ("http_slow", {"seconds": 0.05}, 200, True),
    ("http_html", {}, 502, False),
    ("http_truncated", {}, "no json", True),
]


@pytest.mark.parametrize(("name", "fields", "seen", "is_taken"), HTTP)
def test_a_post_can_fail_before_or_after_the_order_was_taken(clients, name, fields, seen, is_taken):
    clients.exchange.arm(name, match={"method": "POST", "path": "/v2/orders"}, count=1, **fields)
    order = {**BUY, "qty": "0.1", "limit_price": "50000", "client_order_id": "mine"}
    try:
        answer = ask(clients, "POST", "/v2/orders", json=order)
        outcome = answer.status_code
        if outcome == 200:
            answer.json()
    except requests.exceptions.JSONDecodeError:
        outcome = "no json"
    except requests.exceptions.ConnectionError:
        outcome = "closed"
    assert outcome == seen
    found = ask(clients, "GET", "/v2/orders:by_client_order_id?client_order_id=mine")
    assert found.status_code == (200 if is_taken else 404)


def test_a_page_of_html_is_an_error_that_the_sdk_cannot_parse(clients):
    clients.exchange.arm("http_html", match={"path": "/v2/account"}, count=1)
    with pytest.raises(APIError) as failure:
        clients.trading.get_account()
    assert failure.value.status_code == 502
    with pytest.raises(json.JSONDecodeError):
        _ = failure.value.code


def test_faults_of_http_apply_to_what_they_match_and_count_what_they_did(clients):
    clients.exchange.arm(
        "http_500", match={"path": "/v2/positions*", "method": ["GET", "DELETE"]}, count=2
    )
    codes = [
        ask(clients, method, path).status_code
        for method, path in (
            ("GET", "/v2/account"),
            ("GET", "/v2/positions"),
            ("GET", "/v2/positions/BTCUSD"),
            ("GET", "/v2/positions"),
        )
    ]
    assert codes == [200, 500, 500, 200]
    report = clients.exchange.faults()
    assert report["active"] == []
    assert report["applied"] == {"http_500": 2}
    assert report["history"][1]["facts"]["path"] == "/v2/positions/BTCUSD"


def test_market_data_requests_can_fail_too(clients):
    clients.exchange.arm("http_500", match={"path": "*latest/quotes"}, count=1)
    with pytest.raises(APIError):
        clients.data.get_crypto_latest_quote(CryptoLatestQuoteRequest(symbol_or_symbols=BTC))


def test_a_hanging_request_does_not_keep_the_exchange_from_ending(exchange):
    exchange.arm("http_hang", seconds=60)
    with pytest.raises(requests.exceptions.Timeout):
        requests.get(f"{exchange.urls.trading_url}/v2/account", headers=KEYS, timeout=0.1)
    started = time.monotonic()
    exchange.stop()
    assert time.monotonic() - started < 30


# Positions


def test_the_positions_list_can_be_empty_or_partial_for_once(clients):
    clients.exchange.set_balance(BTC, "1", "50000")
    clients.exchange.set_balance("ETH/USD", "1", "2000")
    clients.exchange.arm("positions_empty", count=1)
    clients.exchange.arm("positions_partial", count=2)
    lengths = [len(clients.trading.get_all_positions()) for _ in range(3)]
    assert lengths == [0, 1, 2]
    clients.exchange.arm("positions_empty", count=1, match={"route": "single"})
    answers = [ask(clients, "GET", "/v2/positions/BTCUSD") for _ in range(2)]
    assert [one.status_code for one in answers] == [404, 200]
    assert answers[0].json()["code"] == 40410000


def test_a_position_can_lag_behind_its_fills(clients):
    clients.exchange.set_balance(BTC, "1", "50000")
    clients.exchange.arm("position_lags", count=1, fraction=0.4)
    shown = [ask(clients, "GET", "/v2/positions/BTCUSD").json() for _ in range(2)]
    assert [(one["qty"], one["qty_available"]) for one in shown] == [("0.4", "0.4"), ("1", "1")]
    clients.exchange.arm("position_lags", count=1, match={"route": "list"})
    [position] = ask(clients, "GET", "/v2/positions").json()
    assert (position["qty"], position["qty_available"]) == ("0.5", "0.5")


def test_a_request_for_quotes_is_matched_by_its_symbol(clients):
    clients.exchange.push_quote(BTC, 60_000, 60_010)
    clients.exchange.arm("http_500", match={"path": "*/latest/quotes", "symbol": "ETH/USD"})
    request = CryptoLatestQuoteRequest(symbol_or_symbols=BTC)
    assert clients.data.get_crypto_latest_quote(request)[BTC].bid_price == 60_000
    assert clients.exchange.times_applied("http_500") == 0


def test_the_market_itself_can_move_for_a_while():
    market = MarketConfig(kind=MarketKind.SYNTHETIC, symbols=(BTC,), speed=0, paused=True)

    def bids(*faults):
        server = PaperExchange(ExchangeConfig(market=market, faults=faults, seed=3))
        source = synthetic_quotes([server.exchange.asset(BTC)], 3)
        for _ in range(5):
            server._post(next(source))
            yield server.exchange.market.quote(BTC).bid

    plain, fallen = list(bids()), list(bids({"name": "market_moves", "count": 3}))
    ratios = [low / high for low, high in zip(fallen, plain, strict=True)]
    assert all(abs(one - Decimal("0.97")) < Decimal("1e-6") for one in ratios[:3])
    assert ratios[3:] == [1, 1]


# Orders


def test_an_order_can_be_rejected_by_an_event_only(listening):
    listening.exchange.arm("reject_order", count=1, match={"side": "buy"})
    order = buy(listening)
    assert order["status"] == "pending_new"
    listening.wait_for_event(order["id"], "rejected")
    assert listening.events(order["id"]) == ["pending_new", "rejected"]
    assert listening.trading.get_account().non_marginable_buying_power == "100000"


def test_a_market_sell_can_be_left_resting_by_its_collar(clients):
    clients.exchange.set_balance(BTC, "1", "50000")
    clients.exchange.push_quote(BTC, 60_000, 60_010)
    clients.exchange.arm("rest_market_order", match={"side": "sell"}, count=1)
    sell = {"symbol": BTC, "side": "sell", "type": "market", "time_in_force": "gtc", "qty": "1"}
    order = clients.trading.post("/orders", sell)
    clients.exchange.finish()
    assert status_of(clients, order) is OrderStatus.NEW
    clients.exchange.push_quote(BTC, 61_199, 61_210)
    assert status_of(clients, order) is OrderStatus.NEW
    clients.exchange.push_quote(BTC, 61_200, 61_210)
    assert status_of(clients, order) is OrderStatus.FILLED


def test_a_partial_fill_can_rest_until_the_fault_is_cleared(listening):
    fault = listening.exchange.arm("rest_after_part", fraction=0.4, count=1)
    order = buy(listening)
    for ask_price in (60_000, 59_000):
        listening.exchange.push_quote(BTC, ask_price - 10, ask_price)
    assert status_of(listening, order) is OrderStatus.PARTIALLY_FILLED
    assert listening.trading.get_order_by_id(order["id"]).filled_qty == "0.04"
    listening.exchange.clear_faults(fault)
    listening.exchange.push_quote(BTC, 58_990, 59_000)
    assert status_of(listening, order) is OrderStatus.FILLED


def test_a_resting_part_can_be_canceled(listening):
    listening.exchange.arm("rest_after_part", count=1)
    order = buy(listening)
    listening.exchange.finish()
    listening.trading.cancel_order_by_id(order["id"])
    listening.wait_for_event(order["id"], "canceled")
    assert listening.trade_updates[-1]["order"]["filled_qty"] == "0.05"


def test_the_balance_can_change_without_an_event_after_a_fill(listening):
    listening.exchange.arm("vanish_balance", fraction=0.25, count=1, match={"event": "fill"})
    order = buy(listening)
    listening.wait_for_event(order["id"], "fill")
    assert listening.trade_updates[-1]["position_qty"] == "0.09975"
    assert listening.trading.get_open_position("BTCUSD").qty == "0.0748125"
    assert listening.exchange.ledger()["adjustments"] == [{"unit": BTC, "amount": "-0.0249375"}]


def test_a_cancel_can_stick_until_the_fault_is_cleared(listening):
    listening.exchange.arm("stick_cancel", count=1)
    order = buy(listening, limit="50000")
    listening.exchange.finish()
    listening.trading.cancel_order_by_id(order["id"])
    assert listening.exchange.finish()
    assert status_of(listening, order) is OrderStatus.PENDING_CANCEL
    listening.exchange.clear_faults("stick_cancel")
    assert status_of(listening, order) is OrderStatus.CANCELED


def test_a_cancel_can_stick_for_a_while(listening):
    listening.exchange.arm("stick_cancel", count=1, seconds=1)
    order = buy(listening, limit="50000")
    listening.trading.cancel_order_by_id(order["id"])
    assert status_of(listening, order) is OrderStatus.PENDING_CANCEL
    listening.wait_for_event(order["id"], "canceled")


@pytest.mark.parametrize(
    ("fraction", "event", "status"),
    [(1, "fill", OrderStatus.FILLED), (0.5, "partial_fill", OrderStatus.CANCELED)],
)
def test_a_fill_can_come_after_canceled(listening, fraction, event, status):
    listening.exchange.arm("fill_late", count=1, seconds=0.02, fraction=fraction)
    order = buy(listening, limit="50000")
    listening.exchange.finish()
    listening.trading.cancel_order_by_id(order["id"])
    listening.wait_for_event(order["id"], event)
    assert listening.events(order["id"])[-2:] == ["canceled", event]
    assert status_of(listening, order) is status
    assert float(listening.trading.get_open_position("BTCUSD").qty) == 0.09985 * fraction


# Quotes


@pytest.mark.parametrize(
    ("name", "fields", "check"),
    [
        ("quote_zero", {}, lambda bid, ask: bid == ask == 0),
        ("quote_zero", {"side": "ask"}, lambda bid, ask: (bid, ask) == (60_000, 0)),
        ("quote_crossed", {}, lambda bid, ask: bid > ask),
        ("quote_nonfinite", {}, lambda bid, ask: math.isnan(bid) and math.isnan(ask)),
        ("quote_nonfinite", {"value": "inf"}, lambda bid, ask: math.isinf(bid)),
        ("quote_spike", {"percent": 50}, lambda bid, ask: (bid, ask) == (90_000, 90_015)),
        ("quote_spike", {"percent": -50}, lambda bid, ask: (bid, ask) == (30_000, 30_005)),
    ],
)
def test_a_bad_quote_is_sent_on_the_stream_once_and_matches_nothing(
    clients, eventually, name, fields, check
):
    clients.listen_to_quotes(BTC)
    clients.exchange.arm(name, count=1, **fields)
    for _ in range(2):
        clients.exchange.push_quote(BTC, 60_000, 60_010)
    eventually(lambda: len(clients.quotes) == 2)
    bad, good = clients.quotes
    assert check(bad["bp"], bad["ap"])
    assert (good["bp"], good["ap"]) == (60_000, 60_010)
    latest = clients.data.get_crypto_latest_quote(CryptoLatestQuoteRequest(symbol_or_symbols=BTC))
    assert latest[BTC].bid_price == 60_000


def test_a_stale_quote_carries_an_old_time(clients, eventually):
    clients.listen_to_quotes(BTC)
    clients.exchange.arm("quote_stale", count=1, seconds=100)
    clients.exchange.push_quote(BTC, 60_000, 60_010)
    eventually(lambda: clients.quotes)
    age = (datetime.now(UTC) - clients.quotes[0]["t"].to_datetime()).total_seconds()
    assert 99 < age < 105


def test_the_latest_quote_over_rest_can_be_bad_too(clients):
    clients.exchange.push_quote(BTC, 60_000, 60_010)
    clients.exchange.arm("quote_zero", count=1, match={"feed": "rest", "symbol": BTC})
    request = CryptoLatestQuoteRequest(symbol_or_symbols=BTC)
    prices = [clients.data.get_crypto_latest_quote(request)[BTC].bid_price for _ in range(2)]
    assert prices == [0, 60_000]


def test_a_skewed_clock_shows_in_every_time_the_exchange_sends(clients):
    fault = clients.exchange.arm("skew_clock", seconds=-3600)
    order = clients.trading.get_order_by_id(buy(clients)["id"])
    assert 3590 < (datetime.now(UTC) - order.submitted_at).total_seconds() < 3610
    clients.exchange.clear_faults(fault)
    order = clients.trading.get_order_by_id(buy(clients)["id"])
    assert (datetime.now(UTC) - order.submitted_at).total_seconds() < 10


# Fees


@pytest.fixture
def fees_of(clients):
    """Buys 0.1 and sells 0.05 a day ago; gives what the end of the day posts then."""
    skew = clients.exchange.arm("skew_clock", seconds=-86_400)
    clients.exchange.push_quote(BTC, 59_990, 60_000)
    buy(clients)
    clients.exchange.finish()
    sale = {"symbol": BTC, "side": "sell", "type": "market", "time_in_force": "gtc"}
    clients.trading.post("/orders", {**sale, "qty": "0.05"})
    clients.exchange.finish()
    clients.exchange.clear_faults(skew)

    def post(*faults):
        for name, parameters in faults:
            clients.exchange.arm(name, **parameters)
        clients.exchange.end_of_day()
        return clients.trading.get("/account/activities", {"activity_types": "CFEE,FEE"})[::-1]

    return post


def made_at(activity):
    return datetime.fromisoformat(activity["created_at"])


def test_a_fee_bears_the_time_at_which_it_was_posted(fees_of):
    coins, usd = fees_of()
    assert (coins["qty"], usd["net_amount"]) == ("-0.00025", "-7.5")
    day_ago = datetime.now(UTC) - timedelta(days=1)
    assert all(abs((made_at(one) - day_ago).total_seconds()) < 60 for one in (coins, usd))
    assert [one["date"] for one in (coins, usd)] == [one["created_at"][:10] for one in (coins, usd)]


def test_a_fee_can_be_posted_late_and_so_on_the_next_day(clients, fees_of):
    assert fees_of(("fee_late", {"seconds": 86_400.5})) == []
    clients.exchange.arm("skew_clock", seconds=5)
    coins, usd = fees_of()
    assert (coins["qty"], usd["net_amount"]) == ("-0.00025", "-7.5")
    assert coins["date"] == coins["created_at"][:10]
    assert abs((made_at(coins) - datetime.now(UTC)).total_seconds()) < 60


def test_a_fee_can_be_posted_in_two_parts_of_which_one_is_misdated(clients, fees_of):
    faults = (("fee_split", {"fraction": 0.3}), ("fee_misdated", {"match": {"side": "sell"}}))
    posted = fees_of(*faults)
    assert [one.get("qty") or one["net_amount"] for one in posted] == [
        "-0.000075", "-0.000175", "-2.25", "-5.25",
    ]  # fmt: skip
    days = [date.fromisoformat(one["date"]) - made_at(one).date() for one in posted]
    assert [one.days for one in days] == [0, 0, 0, -1]


def test_the_rest_of_a_split_fee_can_come_later(clients, fees_of):
    assert len(fees_of(("fee_split", {"seconds": 86_405}))) == 2
    clients.exchange.arm("skew_clock", seconds=60)
    assert len(fees_of()) == 4


def test_a_fee_in_usd_can_name_no_symbol(fees_of):
    coins, usd = fees_of(("fee_unnamed", {}))
    assert (coins["symbol"], coins["activity_type"]) == ("BTCUSD", "CFEE")
    assert ("symbol" in usd, usd["activity_type"]) == (False, "CFEE")
    assert usd["description"] == "Coin Pair Transaction Fee (USD)"


def test_an_execution_can_be_charged_at_the_makers_rate(clients):
    clients.exchange.push_quote(BTC, 59_990, 60_000)
    clients.exchange.arm("fee_maker", count=1)
    for _ in range(2):
        buy(clients)
        clients.exchange.finish()
    maker, taker = clients.exchange.end_of_day()
    assert (maker["qty"], taker["qty"]) == ("-0.00015", "-0.00025")
    balances = clients.exchange.ledger()["balances"]
    assert balances["coins"][BTC]["qty"] == "0.1996"


# The one mechanism


def test_chances_are_seeded(exchange):
    def applications(seed):
        board = FaultBoard(seed)
        board.arm({"name": "drop_update", "probability": 0.3})
        return [board.first(Seam.TRADE_UPDATE, event="fill") is not None for _ in range(200)]

    assert applications(1) == applications(1)
    assert applications(1) != applications(2)
    assert 30 < sum(applications(1)) < 90


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"name": "nonsense"}, "no fault is named 'nonsense'; there are drop_update"),
        ({}, "no fault is named None"),
        ({"name": "drop_update", "seconds": 1}, "drop_update does not take ['seconds']"),
        ({"name": "http_500", "match": {"event": "fill"}}, "cannot match ['event'], only"),
        ({"name": "http_500", "probability": 2}, "probability must be between 0 and 1"),
        ({"name": "http_500", "when": "never"}, "when must be one of before, after"),
        ({"name": "http_hang", "seconds": "soon"}, "could not convert"),
        ({"faults": "all"}, "faults must be a list"),
    ],
)
def test_a_fault_that_the_table_does_not_allow_is_refused(exchange, body, complaint):
    answer = requests.post(f"{exchange.urls.control_url}/faults", json=body, timeout=10)
    assert answer.status_code == 400
    assert complaint in answer.json()["message"]


def test_several_faults_are_armed_at_once_and_cleared_by_name_or_all(exchange):
    url = f"{exchange.urls.control_url}/faults"
    names = ["drop_update", "http_500", "drop_update"]
    body = {"faults": [{"name": name} for name in names]}
    armed = requests.post(url, json=body, timeout=10).json()["armed"]
    assert [one["id"] for one in armed] == ["fault-1", "fault-2", "fault-3"]
    exchange.clear_faults("drop_update")
    assert [one["name"] for one in exchange.faults()["active"]] == ["http_500"]
    exchange.clear_faults()
    assert requests.get(url, timeout=10).json()["active"] == []


def test_without_faults_nothing_applies(listening):
    order = buy(listening)
    listening.wait_for_event(order["id"], "fill")
    report = listening.exchange.faults()
    assert (report["all"], report["applied"], report["history"]) == ([], {}, [])


def test_every_fault_of_the_table_has_a_test_here():
    from pathlib import Path

    text = Path(__file__).read_text()
    assert [name for name in KINDS if f'"{name}"' not in text] == []
