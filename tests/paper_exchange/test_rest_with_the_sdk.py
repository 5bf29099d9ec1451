"""The real alpaca-py against the exchange over a socket: every call of the SDK that a bot makes."""

import threading
from datetime import UTC, datetime
from decimal import Decimal

import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.data.requests import (
    CryptoLatestBarRequest,
    CryptoLatestQuoteRequest,
    CryptoLatestTradeRequest,
)
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import AssetClass, OrderSide, OrderStatus, QueryOrderStatus, TimeInForce
from alpaca.trading.requests import (
    ClosePositionRequest,
    GetAssetsRequest,
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLimitOrderRequest,
)

BTC = "BTC/USD"


def limit_buy(price=50_000, qty=0.1, **fields):
    fields = {"symbol": BTC, "side": OrderSide.BUY, "time_in_force": TimeInForce.GTC} | fields
    return LimitOrderRequest(qty=qty, limit_price=price, **fields)


def market_order(side, qty, symbol=BTC):
    return MarketOrderRequest(symbol=symbol, qty=qty, side=side, time_in_force=TimeInForce.GTC)


def raw(clients, method, path, **options):
    config = clients.exchange.config
    headers = {"APCA-API-KEY-ID": config.key, "APCA-API-SECRET-KEY": config.secret}
    url = clients.exchange.urls.trading_url + path
    return requests.request(method, url, headers=headers, timeout=10, **options)


def test_account_assets_and_clock_are_parsed_by_the_sdk(clients):
    account = clients.trading.get_account()
    assert (account.status.value, account.cash, account.currency) == ("ACTIVE", "100000", "USD")
    assert account.non_marginable_buying_power == "100000"
    assert account.trading_blocked is False
    assert account.account_number.startswith("PA")
    assert clients.trading.get_clock().is_open
    everything = clients.trading.get_all_assets(GetAssetsRequest(asset_class=AssetClass.CRYPTO))
    assert {"BTC/USD", "ETH/USD", "SOL/USD"} <= {one.symbol for one in everything}
    assert clients.trading.get_all_assets(GetAssetsRequest(asset_class=AssetClass.US_EQUITY)) == []
    by_name = [clients.trading.get_asset(name) for name in (BTC, "BTCUSD", everything[0].id)]
    assert {one.symbol for one in by_name} == {BTC}
    assert clients.trading.get("/assets/BTCUSD")["min_trade_increment"] == "0.000000001"


def test_the_same_key_is_the_same_account_and_another_key_another(clients):
    from paper_exchange.api.wire import account_id

    assert str(clients.trading.get_account().id) == account_id("local-key")
    assert account_id("local-key") != account_id("other-key")


def test_market_data_needs_no_keys(clients):
    clients.exchange.push_quote(BTC, "60000.01", "60010.02", bid_size="0.5", ask_size=2)
    quote = clients.data.get_crypto_latest_quote(CryptoLatestQuoteRequest(symbol_or_symbols=BTC))
    assert (quote[BTC].bid_price, quote[BTC].ask_price) == (60000.01, 60010.02)
    assert (datetime.now(UTC) - quote[BTC].timestamp).total_seconds() < 5
    trade = clients.data.get_crypto_latest_trade(CryptoLatestTradeRequest(symbol_or_symbols=[BTC]))
    assert trade[BTC].price == 60010.02
    bar = clients.data.get_crypto_latest_bar(CryptoLatestBarRequest(symbol_or_symbols=BTC))
    assert bar[BTC].close == 60010.02


def test_symbols_without_a_price_are_left_out_and_bad_ones_refused(clients):
    ask = CryptoLatestQuoteRequest
    assert clients.data.get_crypto_latest_quote(ask(symbol_or_symbols="ETH/USD")) == {}
    with pytest.raises(APIError) as refusal:
        clients.data.get_crypto_latest_quote(ask(symbol_or_symbols="BTCUSD"))
    assert refusal.value.status_code == 400


def test_wrong_keys_are_unauthorized(clients):
    stranger = TradingClient("x", "y", url_override=clients.exchange.urls.trading_url)
    with pytest.raises(APIError) as refusal:
        stranger.get_account()
    assert refusal.value.status_code == 401
    assert str(refusal.value) == '{"message": "unauthorized."}'


def test_an_order_goes_from_pending_new_to_filled_and_becomes_a_position(clients):
    clients.exchange.push_quote(BTC, 59_990, 60_010)
    order = clients.trading.submit_order(limit_buy(60_020, client_order_id="dca-1"))
    assert order.status is OrderStatus.PENDING_NEW
    assert clients.exchange.finish()

    order = clients.trading.get_order_by_client_id("dca-1")
    assert order.status is OrderStatus.FILLED
    assert (order.filled_qty, order.filled_avg_price) == ("0.1", "60010")
    assert order.submitted_at <= order.filled_at
    assert clients.trading.get_order_by_id(order.id).client_order_id == "dca-1"

    (position,) = clients.trading.get_all_positions()
    assert (position.symbol, position.qty, position.qty_available) == (
        "BTCUSD",
        "0.09975",
        "0.09975",
    )
    assert position.avg_entry_price == "60010"
    assert clients.trading.get_open_position("BTCUSD").qty == "0.09975"
    assert clients.trading.get_account().cash == "93999"


def test_a_position_asked_for_with_a_slash_or_not_held_is_a_404(clients):
    clients.exchange.set_balance(BTC, "1", "50000")
    with pytest.raises(APIError) as refusal:
        clients.trading.get_open_position(BTC)
    assert refusal.value.status_code == 404
    with pytest.raises(APIError, match="position does not exist") as refusal:
        clients.trading.get_open_position("ETHUSD")
    assert (refusal.value.status_code, refusal.value.code) == (404, 40410000)


def test_closing_a_position_sells_all_or_a_part_of_it(clients):
    clients.exchange.push_quote(BTC, 60_000, 60_010)
    clients.exchange.set_balance(BTC, "1", "50000")
    clients.trading.close_position("BTCUSD", ClosePositionRequest(percentage="25"))
    clients.exchange.finish()
    assert clients.trading.get_open_position("BTCUSD").qty == "0.75"
    assert clients.trading.close_position("BTCUSD").side is OrderSide.SELL
    clients.exchange.finish()
    assert clients.trading.get_all_positions() == []


def test_two_posts_with_one_client_order_id_at_the_same_moment_make_one_order(clients):
    start, outcomes = threading.Barrier(8), []

    def post():
        body = {"symbol": BTC, "qty": "0.01", "side": "buy", "type": "limit"}
        body |= {"limit_price": "50000", "time_in_force": "gtc", "client_order_id": "same"}
        start.wait()
        outcomes.append(raw(clients, "POST", "/v2/orders", json=body))

    threads = [threading.Thread(target=post) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.status_code for one in outcomes) == [200] + [422] * 7
    refusal = next(one.json() for one in outcomes if one.status_code == 422)
    assert refusal == {"code": 40010001, "message": "client_order_id must be unique"}
    assert len(clients.exchange.ledger()["orders"]) == 1


def test_floats_of_the_sdk_arrive_as_the_decimals_they_print(clients):
    clients.exchange.push_quote(BTC, 59_990, 60_010)
    order = clients.trading.submit_order(limit_buy(60_000.1, qty=0.00123))
    assert (order.qty, order.limit_price) == ("0.00123", "60000.1")


def test_unknown_and_malformed_order_ids(clients):
    unknown = "00000000-0000-4000-8000-000000000000"
    with pytest.raises(APIError, match=f"order not found for {unknown}") as refusal:
        clients.trading.get_order_by_id(unknown)
    assert (refusal.value.status_code, refusal.value.code) == (404, 40410000)
    with pytest.raises(APIError) as refusal:
        clients.trading.get_order_by_client_id("nobody's")
    assert refusal.value.status_code == 404
    assert raw(clients, "GET", "/v2/orders/fake_id").status_code == 422
    assert raw(clients, "DELETE", f"/v2/orders/{unknown}").status_code == 404
    assert raw(clients, "POST", "/v2/orders", data="{nonsense").status_code == 400
    assert raw(clients, "GET", "/v2/nothing").status_code == 404


def test_canceling_one_order_and_all(clients):
    first = clients.trading.submit_order(limit_buy())
    clients.exchange.finish()
    assert clients.trading.cancel_order_by_id(first.id) is None
    clients.exchange.finish()
    assert clients.trading.get_order_by_id(first.id).status is OrderStatus.CANCELED
    with pytest.raises(APIError, match="already in") as refusal:
        clients.trading.cancel_order_by_id(first.id)
    assert (refusal.value.status_code, refusal.value.code) == (422, 42210000)

    others = {clients.trading.submit_order(limit_buy()).id for _ in range(3)}
    answers = clients.trading.cancel_orders()
    assert {one.id for one in answers} == others
    assert {one.status for one in answers} == {200}
    clients.exchange.finish()
    assert clients.trading.get_orders() == []


def test_replacing_an_order_gives_it_a_new_id(clients):
    old = clients.trading.submit_order(limit_buy())
    clients.exchange.finish()
    new = clients.trading.replace_order_by_id(old.id, ReplaceOrderRequest(limit_price=51_000))
    old = clients.trading.get_order_by_id(old.id)
    assert (old.status, old.replaced_by, new.replaces) == (OrderStatus.REPLACED, new.id, old.id)
    assert new.limit_price == "51000"


def test_a_stop_limit_order_is_taken(clients):
    order = clients.trading.submit_order(
        StopLimitOrderRequest(
            symbol=BTC,
            qty=0.01,
            side=OrderSide.BUY,
            time_in_force=TimeInForce.GTC,
            stop_price=61_000,
            limit_price=61_100,
        )
    )
    assert (order.stop_price, order.limit_price) == ("61000", "61100")


def test_orders_are_listed_by_status_symbol_side_and_time(clients):
    clients.exchange.push_quote(BTC, 59_990, 60_010)
    filled = clients.trading.submit_order(market_order(OrderSide.BUY, 0.01))
    clients.exchange.finish()
    resting = clients.trading.submit_order(limit_buy(50_000))
    other = clients.trading.submit_order(limit_buy(2_000, symbol="ETH/USD"))
    clients.exchange.finish()

    def listed(**fields):
        return [one.id for one in clients.trading.get_orders(GetOrdersRequest(**fields))]

    assert listed() == [other.id, resting.id]
    assert listed(status=QueryOrderStatus.CLOSED) == [filled.id]
    assert listed(status=QueryOrderStatus.ALL, direction="asc") == [filled.id, resting.id, other.id]
    assert listed(symbols=["ETH/USD"]) == [other.id]
    assert listed(status=QueryOrderStatus.ALL, side=OrderSide.SELL) == []
    assert listed(status=QueryOrderStatus.ALL, limit=1) == [other.id]


def test_after_and_until_exclude_the_very_moment(clients):
    orders = [clients.trading.submit_order(limit_buy()) for _ in range(3)]
    second = raw(clients, "GET", f"/v2/orders/{orders[1].id}").json()["submitted_at"]
    for bound, expected in (("after", orders[2]), ("until", orders[0])):
        found = clients.trading.get("/orders", {"status": "all", bound: second})
        assert [one["id"] for one in found] == [str(expected.id)]


def test_orders_and_activities_are_paged_to_the_end(clients):
    clients.exchange.push_quote(BTC, 59_990, 60_000)
    server = clients.exchange.server

    async def trade_much():
        for _ in range(620):
            order = {"symbol": BTC, "side": "buy", "type": "market", "time_in_force": "gtc"}
            server.exchange.submit({**order, "qty": Decimal("0.001")})

    clients.exchange.run(trade_much())
    clients.exchange.finish()
    assert raw(clients, "GET", "/v2/orders?limit=501").status_code == 422
    assert len(clients.trading.get("/orders", {"status": "all"})) == 50

    orders, until = [], None
    while page := clients.trading.get("/orders", {"status": "all", "limit": 500, "until": until}):
        orders += page
        until = page[-1]["submitted_at"]
    assert len({one["id"] for one in orders}) == len(orders) == 620

    fills, token = [], None
    while page := clients.trading.get("/account/activities/FILL", {"page_token": token}):
        assert len(page) <= 100
        fills += page
        token = page[-1]["id"]
    assert {one["order_id"] for one in fills} == {one["id"] for one in orders}
    assert len(fills) == 620
    oldest = clients.trading.get("/account/activities", {"direction": "asc", "page_size": 1})
    assert oldest[0]["id"] == fills[-1]["id"]


def test_activities_list_fills_and_posted_fees(clients):
    clients.exchange.push_quote(BTC, 59_990, 60_000)
    clients.trading.submit_order(market_order(OrderSide.BUY, 0.1))
    clients.exchange.finish()
    clients.trading.submit_order(market_order(OrderSide.SELL, 0.05))
    clients.exchange.finish()
    assert clients.trading.get("/account/activities", {"activity_types": "CFEE,FEE"}) == []
    clients.exchange.end_of_day()
    (coin_fee,) = clients.trading.get("/account/activities/CFEE")
    (usd_fee,) = clients.trading.get("/account/activities/FEE")
    assert (coin_fee["qty"], coin_fee["symbol"]) == ("-0.00025", "BTCUSD")
    assert (usd_fee["net_amount"], usd_fee["date"]) == ("-7.5", coin_fee["date"])
    sell, buy = clients.trading.get("/account/activities/FILL")
    assert (buy["side"], buy["qty"], buy["price"], buy["symbol"]) == ("buy", "0.1", "60000", BTC)
    today = {"date": sell["transaction_time"][:10]}
    assert len(clients.trading.get("/account/activities", today)) == 4
    assert (
        clients.trading.get("/account/activities/FILL", {"after": sell["transaction_time"]}) == []
    )
    before = {"until": sell["transaction_time"]}
    assert [one["id"] for one in clients.trading.get("/account/activities/FILL", before)] == [
        buy["id"]
    ]


def test_the_rate_limit_answers_429_and_every_answer_says_what_is_left(clients):
    clients.exchange.configure(rate_limit_per_minute=5)
    answers = [raw(clients, "GET", "/v2/clock") for _ in range(12)]
    codes = [one.status_code for one in answers]
    assert 429 in codes
    assert codes[0] == 200
    assert answers[0].headers["X-RateLimit-Limit"] == "5"
    left = [int(one.headers["X-RateLimit-Remaining"]) for one in answers]
    assert left[0] == 4
    refused = answers[codes.index(429)]
    assert refused.headers["X-RateLimit-Remaining"] == "0"
    assert refused.json() == {"message": "too many requests."}
    assert clients.state()["requests"]["peak_per_minute"] >= 12
