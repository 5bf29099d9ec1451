"""A filter, a parameter or a field is honoured or refused, never ignored."""

import uuid

import pytest
import requests

BTC, ETH = "BTC/USD", "ETH/USD"
KEYS = {"APCA-API-KEY-ID": "local-key", "APCA-API-SECRET-KEY": "local-secret"}


def ask(exchange, method, path, **options):
    url = exchange.urls.trading_url + path
    return requests.request(method, url, headers=KEYS, timeout=10, **options)


def listed(exchange, query):
    answer = ask(exchange, "GET", f"/v2/orders?status=all&direction=asc&{query}")
    assert answer.status_code == 200, answer.text
    return [one["client_order_id"] for one in answer.json()]


def submit(exchange, name, symbol=BTC, **fields):
    order = {"symbol": symbol, "side": "buy", "type": "limit", "time_in_force": "gtc"}
    order |= {"qty": "0.1", "limit_price": "2000", "client_order_id": name, **fields}
    answer = ask(exchange, "POST", "/v2/orders", json=order)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize(
    ("spelling", "pair", "joined"),
    [("pair", ["btc"], []), ("joined", [], ["btc"]), ("both", ["btc"], ["btc"])],
)
def test_the_symbols_filter_matches_the_spelling_that_is_switched_on(
    exchange, spelling, pair, joined
):
    submit(exchange, "btc")
    submit(exchange, "eth", ETH)
    exchange.configure(symbols_filter=spelling)
    assert listed(exchange, "symbols=BTC/USD") == pair
    assert listed(exchange, "symbols=BTCUSD") == joined
    assert set(listed(exchange, "symbols=BTC/USD,ETHUSD")) == {*pair, *(["eth"] if joined else [])}


def test_by_default_only_the_pair_matches_as_users_of_the_real_exchange_saw(exchange):
    submit(exchange, "btc")
    assert (listed(exchange, "symbols=BTCUSD"), listed(exchange, "symbols=BTC/USD")) == (
        [],
        ["btc"],
    )


def test_orders_are_listed_before_and_after_an_order(exchange):
    ids = [submit(exchange, name)["id"] for name in ("a", "b", "c")]
    assert listed(exchange, f"before_order_id={ids[1]}") == ["a"]
    assert listed(exchange, f"after_order_id={ids[1]}") == ["c"]
    assert listed(exchange, f"before_order_id={ids[2]}&limit=1") == ["a"]
    for wrong, status in (
        (f"before_order_id={ids[1]}&after_order_id={ids[0]}", 422),
        (f"before_order_id={ids[1]}&after=2020-01-01", 422),
        (f"before_order_id={uuid.uuid4()}", 404),
        ("before_order_id=x", 422),
    ):
        assert ask(exchange, "GET", f"/v2/orders?{wrong}").status_code == status, wrong


def test_orders_are_listed_by_asset_class(exchange):
    submit(exchange, "a")
    assert listed(exchange, "asset_class=us_equity,us_option") == []
    assert listed(exchange, "asset_class=us_equity,crypto") == ["a"]
    assert listed(exchange, "asset_class=us_equity&asset_class=all") == ["a"]
    assert ask(exchange, "GET", "/v2/orders?asset_class=coins").status_code == 422


def test_activities_are_listed_by_order_and_by_category(exchange):
    exchange.push_quote(BTC, 1_990, 2_000)
    orders = [submit(exchange, name)["id"] for name in ("a", "b")]
    exchange.finish()
    exchange.end_of_day()

    def kinds(query):
        answer = ask(exchange, "GET", f"/v2/account/activities{query}")
        assert answer.status_code == 200, answer.text
        return [(one["activity_type"], one.get("order_id")) for one in answer.json()]

    assert kinds(f"?order_id={orders[1]}") == [("FILL", orders[1])]
    assert kinds(f"/FILL?order_id={orders[0]}") == [("FILL", orders[0])]
    assert kinds(f"?order_id={uuid.uuid4()}") == []
    assert {kind for kind, _ in kinds("?category=trade_activity")} == {"FILL"}
    assert {kind for kind, _ in kinds("?category=non_trade_activity")} == {"CFEE"}
    assert kinds("/DIV") == []
    for wrong in ("?category=x", "?category=trade_activity&activity_types=FILL", "/X"):
        assert ask(exchange, "GET", f"/v2/account/activities{wrong}").status_code == 422, wrong


def test_assets_are_stocks_unless_crypto_is_asked_for(exchange):
    def names(query):
        return [one["symbol"] for one in ask(exchange, "GET", f"/v2/assets?{query}").json()]

    assert names("") == names("asset_class=us_equity") == []
    assert BTC in names("asset_class=crypto&exchange=CRYPTO&status=active")
    assert names("asset_class=crypto&exchange=NYSE") == []
    assert names("asset_class=crypto&attributes=ipo") == []
    assert names("asset_class=crypto&status=inactive") == []


@pytest.mark.parametrize(
    "path",
    [
        "/v2/account",
        "/v2/account/configurations",
        "/v2/account/activities",
        "/v2/account/activities/FILL",
        "/v2/account/portfolio/history",
        "/v2/assets",
        "/v2/clock",
        "/v2/orders",
        "/v2/positions",
        "/v1beta3/crypto/us/latest/quotes?symbols=BTC/USD",
        "/v1beta3/crypto/us/snapshots?symbols=BTC/USD",
        "/v1beta3/crypto/us/bars?symbols=BTC/USD&timeframe=1Min",
    ],
)
def test_an_unknown_parameter_is_a_bad_request(exchange, path):
    assert ask(exchange, "GET", path).status_code == 200
    answer = ask(exchange, "GET", path, params={"colour": "red"})
    assert answer.status_code == 400
    assert answer.json()["message"] == "unexpected query parameter(s): colour"


def test_a_wrong_value_of_a_parameter_is_refused(exchange):
    for wrong in (
        "side=up",
        "nested=perhaps",
        "direction=up",
        "status=new",
        "limit=0",
        "after=yesterday",
        "limit=1&limit=2",
    ):
        assert ask(exchange, "GET", f"/v2/orders?{wrong}").status_code == 422, wrong


ORDER = {
    "symbol": BTC, "side": "buy", "type": "limit", "time_in_force": "gtc", "qty": "0.1",
    "limit_price": "2000",
}  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"take_profit": {"limit_price": "1"}}, 422),
        ({"stop_loss": {"stop_price": "1"}}, 422),
        ({"trail_percent": "1"}, 422),
        ({"legs": []}, 422),
        ({"extended_hours": True}, 422),
        ({"position_intent": "sell_to_open"}, 422),
        ({"order_class": "bracket"}, 422),
        ({"colour": "red"}, 400),
        ({"extended_hours": False, "position_intent": "buy_to_open", "trail_price": None}, 200),
    ],
)
def test_a_field_of_an_order_is_honoured_or_refused(exchange, fields, status):
    answer = ask(exchange, "POST", "/v2/orders", json=ORDER | fields)
    assert (answer.status_code, len(exchange.ledger()["orders"])) == (status, int(status == 200))


def test_an_order_is_replaced_once_it_is_new_and_never_when_its_size_is_in_usd(exchange):
    """Alpaca's description: not while pending_new, and no notional orders."""
    change = {"limit_price": "1990"}
    in_usd = submit(exchange, "usd", qty=None, notional="50")
    in_coins = submit(exchange, "coins")
    exchange.finish()
    exchange.configure(latency_seconds=60)
    pending = submit(exchange, "pending")
    for order, body, status in (
        (pending, change, 422),
        (in_usd, change, 422),
        (in_coins, {"trail": "1"}, 422),
        (in_coins, {"side": "sell"}, 400),
        (in_coins, change, 200),
    ):
        answer = ask(exchange, "PATCH", f"/v2/orders/{order['id']}", json=body)
        assert answer.status_code == status, answer.text


def test_market_data_has_an_allowance_of_its_own_and_its_answers_show_it(exchange):
    exchange.configure(rate_limit_per_minute=3)
    url = f"{exchange.urls.data_url}/v1beta3/crypto/us/latest/quotes?symbols=BTC/USD"
    answers = [requests.get(url, timeout=10) for _ in range(8)]
    assert answers[0].headers["X-RateLimit-Limit"] == "3"
    assert 429 in [one.status_code for one in answers]
    assert ask(exchange, "GET", "/v2/clock").status_code == 200
