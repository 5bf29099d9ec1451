"""The REST client on the local exchange, on its faults, and on answers no exchange should give."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from alpaca.trading.models import Order, TradeAccount

from builders import build_wire_order
from canned_server import Answer, canned_server
from config import SettingsError, reset_settings
from trading import asset_rules_cache
from trading.asset_rules_cache import AssetRulesCache
from utils import alpaca_http
from utils.alpaca_client_rest import (
    cancel_order,
    get_account_info,
    get_latest_crypto_price,
    get_open_orders,
    get_trading_client,
    place_limit_buy_order,
    place_market_sell_order,
)
from utils.alpaca_http import (
    CredentialsRefused,
    ExchangeError,
    ExchangeRefused,
    ExchangeUnavailable,
    OrderOutcomeUnknown,
    RateLimited,
    UnreadableAnswer,
)
from utils.alpaca_orders import fetch_order_page
from utils.alpaca_queries import (
    fetch_account_id,
    fetch_asset_rules,
    fetch_latest_quote,
    fetch_open_orders_of,
    fetch_order,
    fetch_order_by_client_id,
    fetch_orders,
    fetch_position,
    fetch_positions,
)
from utils.request_pace import RequestPace

BTC, FAR = "BTC/USD", Decimal(1000)
URL_NAMES = (
    "ALPACA_TRADING_URL",
    "ALPACA_DATA_URL",
    "ALPACA_DATA_STREAM_URL",
    "ALPACA_TRADING_STREAM_URL",
)


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch):
    """Reads are tried three times without a pause, and no test inherits another's request count."""
    monkeypatch.setattr(alpaca_http, "READ_WAITS_SECONDS", (0, 0))
    monkeypatch.setattr(alpaca_http, "_pace", RequestPace())


@pytest.fixture
def client(settings):
    return get_trading_client()


@pytest.fixture
def canned(bot_environment, monkeypatch):
    """A server whose answers the test writes, where Alpaca is expected."""
    with canned_server() as server:
        for name in ("ALPACA_TRADING_URL", "ALPACA_DATA_URL"):
            monkeypatch.setenv(name, server.url)
        reset_settings()
        yield server


def requests_made(exchange, route="POST /v2/orders"):
    return exchange.state()["requests"]["by_route"].get(route, 0)


def buy_far(client, qty="0.011", identity=None, **how):
    return place_limit_buy_order(
        client, BTC, Decimal(qty), FAR, client_order_id=identity or f"test-{uuid.uuid4()}", **how
    )


# The plan's tests.


def test_get_trading_client_initialization(bot_environment, exchange, tmp_path, monkeypatch):
    env_file = tmp_path / "bot.env"
    env_file.write_text("ALPACA_API_KEY=local-key\nALPACA_SECRET_KEY=local-secret\n")
    monkeypatch.setenv("ENV_FILE", str(env_file))
    for name in ("ALPACA_API_KEY", "ALPACA_SECRET_KEY"):
        monkeypatch.delenv(name)
    reset_settings()
    client = get_trading_client()
    assert get_trading_client() is client, "one client for the process"
    assert fetch_account_id(client), "its keys are those of the file"
    reset_settings()
    assert get_trading_client() is not client, "other settings, another client"
    for name in URL_NAMES:
        monkeypatch.delenv(name)
    reset_settings()
    assert get_trading_client()._base_url == "https://paper-api.alpaca.markets"
    with monkeypatch.context() as without_keys:
        without_keys.setenv("ENV_FILE", str(tmp_path / "none.env"))
        reset_settings()
        with pytest.raises(SettingsError, match="ALPACA_API_KEY is missing"):
            get_trading_client()


def test_get_account_info_parsing(client, exchange):
    exchange.set_balance("USD", "12345.67")
    account = get_account_info(client)
    assert isinstance(account, TradeAccount)
    assert str(account.id) == fetch_account_id(client)
    assert Decimal(account.cash) == Decimal("12345.67")
    assert Decimal(account.non_marginable_buying_power) == Decimal("12345.67")
    assert account.status.value == "ACTIVE"


def test_get_latest_crypto_price_parsing(client, exchange):
    assert get_latest_crypto_price(client, BTC) is None, "there was no trade yet"
    exchange.push_quote(BTC, 50000, 50001)
    price = get_latest_crypto_price(client, BTC)
    assert isinstance(price, float)
    assert price == 50001
    assert get_latest_crypto_price(client, "BTCUSD") == 50001


# Garbage and absence.


NO_PRICES = ["0", "-1", "NaN", "Infinity", '"x"', "[]", "null"]


@pytest.mark.parametrize(
    "body",
    [
        "null",
        "[]",
        "{}",
        '{"trades":{}}',
        '{"trades":{"BTC/USD":null}}',
        "<html>",
        *(f'{{"trades":{{"BTC/USD":{{"p":{price}}}}}}}' for price in NO_PRICES),
    ],
)
def test_a_price_that_cannot_be_is_no_price(canned, body):
    canned.say(200, body)
    assert get_latest_crypto_price(get_trading_client(), BTC) is None


def test_an_account_that_cannot_be_read_is_none_and_an_error(canned, caplog):
    for status, body in [(200, "{}"), (200, "[]"), (200, ""), (500, "{}"), (200, "<html>")]:
        caplog.clear()
        canned.say(status, body)
        assert get_account_info(get_trading_client()) is None
        assert [record.levelno for record in caplog.records] == [logging.ERROR]


@pytest.mark.parametrize(
    "read",
    [
        lambda client: fetch_account_id(client),
        lambda client: fetch_orders(client, status="all"),
        lambda client: get_open_orders(client),
        lambda client: fetch_positions(client),
        lambda client: fetch_position(client, BTC),
        lambda client: fetch_order(client, str(uuid.uuid4())),
        lambda client: fetch_order_by_client_id(client, "x"),
        lambda client: fetch_open_orders_of(client, BTC),
        lambda client: fetch_asset_rules(client, BTC, min_cost_usd=Decimal(10)),
        lambda client: fetch_latest_quote(BTC),
    ],
    ids=[
        "account", "orders", "open orders", "positions", "position", "order", "client id",
        "orders of", "rules", "quote",
    ],
)  # fmt: skip
def test_no_unreadable_answer_is_ever_taken_for_an_empty_one(canned, read):
    client = get_trading_client()
    unreadable = ["", "null", '"x"', "5", "{}", '[{"symbol":5}]', "<html>Bad</html>", "{", "[1]"]
    failed = [(500, ""), (502, "<html>"), (504, "")]
    for status, body in [*((200, body) for body in unreadable), *failed]:
        canned.say(status, body)
        with pytest.raises(ExchangeUnavailable) as caught:
            read(client)
        assert "\n" not in str(caught.value)
    canned.say(401, '{"message": "unauthorized."}')
    with pytest.raises(CredentialsRefused):
        read(client)


# Reads: bounded retry.


@pytest.mark.parametrize(
    "fault", ["http_429", "http_500", "http_504", "http_html", "http_truncated"]
)
def test_a_read_is_tried_again_and_heals(client, exchange, fault):
    exchange.arm(fault, count=2)
    assert fetch_account_id(client)
    assert exchange.times_applied(fault) == 2


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("http_429", RateLimited),
        ("http_500", ExchangeUnavailable),
        ("http_html", ExchangeUnavailable),
    ],
)
def test_a_read_gives_up_after_three_tries(client, exchange, fault, kind):
    exchange.arm(fault)
    with pytest.raises(kind):
        fetch_account_id(client)
    assert exchange.times_applied(fault) == 3


def test_a_silent_exchange_is_unavailable_after_its_time(client, exchange, monkeypatch):
    monkeypatch.setattr(alpaca_http, "ANSWER_TIMEOUT_SECONDS", 0.1)
    exchange.arm("http_hang", seconds=5)
    with pytest.raises(ExchangeUnavailable, match="no answer"):
        fetch_account_id(client)
    assert exchange.times_applied("http_hang") == 3


def test_nobody_there_is_unavailable(bot_environment):
    with pytest.raises(ExchangeUnavailable, match="no answer"):
        fetch_account_id(get_trading_client())


def test_wrong_keys_are_refused_at_once_and_said_plainly(bot_environment, exchange, monkeypatch):
    monkeypatch.setenv("ALPACA_SECRET_KEY", "wrong-secret")
    reset_settings()
    client = get_trading_client()
    with pytest.raises(CredentialsRefused, match="check ALPACA_API_KEY") as caught:
        fetch_account_id(client)
    assert "wrong-secret" not in str(caught.value)
    with pytest.raises(CredentialsRefused):
        get_account_info(client)
    exchange_saw = exchange.state()["requests"]["total"]
    assert exchange_saw <= 2, "what cannot help is not repeated"


def test_reads_pause_when_the_minute_is_nearly_used_up_and_posts_do_not(canned, caplog):
    client = get_trading_client()

    def say_remaining(remaining, seconds):
        limits = {"X_RateLimit_Reset": f"{time.time() + seconds}"}
        canned.say(200, {"id": "a"}, X_RateLimit_Remaining=remaining, **limits)

    def pauses():
        return sum("requests.paused" in one.getMessage() for one in caplog.records)

    say_remaining("20", 1.0)
    began = time.monotonic()
    fetch_account_id(client)
    canned.say(422, {"code": 1, "message": "no"})
    assert buy_far(client) is None
    assert pauses() == 0
    say_remaining("199", 60)
    fetch_account_id(client)
    assert pauses() == 1
    assert time.monotonic() - began >= 0.9
    fetch_account_id(client)
    assert pauses() == 1
    say_remaining("20", 1.0)
    fetch_account_id(client)
    say_remaining("199", 60)
    fetch_account_id(client)
    assert pauses() == 1, "a busy minute says so once"


def test_a_proxy_of_the_machine_is_not_asked_for_loopback(client, exchange, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert fetch_account_id(client)


# Submitting.


def test_an_order_is_submitted_as_exact_text_without_exponents(canned):
    canned.answer = lambda request: Answer(200, build_wire_order(**request.body))
    client = get_trading_client()
    for qty, text in [(Decimal("0.00001"), "0.00001"), (1e-05, "0.00001"), (7, "7"), (0.1, "0.1")]:
        place_limit_buy_order(client, "BTCUSD", qty, Decimal("1E+3"), client_order_id="mine")
        assert canned.requests[-1].body == {
            "symbol": BTC,
            "qty": text,
            "side": "buy",
            "type": "limit",
            "limit_price": "1000",
            "time_in_force": "gtc",
            "client_order_id": "mine",
        }
        place_market_sell_order(client, BTC, qty, "ioc", client_order_id="mine")
        assert canned.requests[-1].body == {
            "symbol": BTC,
            "qty": text,
            "side": "sell",
            "type": "market",
            "time_in_force": "ioc",
            "client_order_id": "mine",
        }


def test_a_limit_buy_and_a_market_sell_are_placed_seen_and_canceled(client, exchange):
    exchange.push_quote(BTC, 50000, 50001)
    order = place_limit_buy_order(client, BTC, 0.011, 1000.0)
    assert isinstance(order, Order)
    [found] = get_open_orders(client)
    assert (found.id, found.status.value in {"new", "pending_new"}) == (order.id, True)
    assert cancel_order(client, str(order.id))
    exchange.finish()
    assert get_open_orders(client) == []
    assert fetch_order(client, str(order.id)).status == "canceled"

    exchange.set_balance(BTC, "0.1")
    sale = place_market_sell_order(client, BTC, 0.1)
    exchange.finish()
    assert fetch_order(client, str(sale.id)).status == "filled"


@pytest.mark.parametrize("time_in_force", ["day", "fok", "opg", "", "GTC"])
def test_a_time_in_force_that_crypto_lacks_is_refused_before_it_is_sent(
    client, exchange, caplog, time_in_force
):
    assert buy_far(client, time_in_force=time_in_force) is None
    assert place_market_sell_order(client, BTC, 1, time_in_force) is None
    assert requests_made(exchange) == 0
    assert all("gtc or ioc" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    ("why", "order", "words"),
    [
        ("too little money", {"qty": "200"}, "insufficient balance for USD"),
        ("too cheap", {"qty": "0.001"}, "minimal amount of order 10"),
        ("too small", {"qty": "0.00001"}, "minimal qty"),
        ("the id exists", {"identity": "taken"}, "client_order_id must be unique"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_refusal_is_none_with_the_reason_logged_once(client, exchange, caplog, why, order, words):
    assert buy_far(client, identity="taken")
    assert buy_far(client, **order) is None
    [record] = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert record.getMessage().startswith("order.refused symbol=BTC/USD side=buy")
    assert words in record.getMessage()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, {"message": "unauthorized."}),
        (403, {"message": "forbidden."}),
        (403, {"code": 40310000, "message": "potential wash trade detected. use complex orders"}),
        (422, {"code": 42210000, "message": "asset MKR/USD is not active"}),
        (400, "not json"),
    ],
)
def test_every_4xx_of_a_post_is_a_refusal_and_sent_once(canned, status, body):
    canned.say(status, body)
    assert buy_far(get_trading_client()) is None
    assert len(canned.requests) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        *((200, body) for body in ("", "{}", "[]", "<html>", '{"id": "x"}')),
        *((status, "") for status in (302, 500, 503, 504)),
        (502, "<html>"),
    ],
)
def test_any_other_answer_to_a_post_is_unknown_and_sent_once(canned, status, body):
    canned.say(status, body)
    with pytest.raises(OrderOutcomeUnknown, match="mine"):
        buy_far(get_trading_client(), identity="mine")
    assert len(canned.requests) == 1


@pytest.mark.parametrize(
    ("fault", "exists"),
    [
        ({"name": "http_504"}, True),
        ({"name": "http_500", "when": "after"}, True),
        ({"name": "http_500", "when": "before"}, False),
        ({"name": "http_html", "when": "after"}, True),
        ({"name": "http_truncated"}, True),
        ({"name": "http_timeout", "seconds": 3}, True),
        ({"name": "http_hang", "seconds": 3}, False),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_an_unknown_outcome_is_not_repeated_and_the_id_tells_what_became_of_it(
    client, exchange, monkeypatch, fault, exists
):
    monkeypatch.setattr(alpaca_http, "ANSWER_TIMEOUT_SECONDS", 0.2)
    exchange.arm(**fault, match={"method": "POST"})
    with pytest.raises(OrderOutcomeUnknown):
        buy_far(client, identity="mine")
    assert requests_made(exchange) <= 1
    exchange.clear_faults()
    found = fetch_order_by_client_id(client, "mine")
    assert (found is not None) is exists
    assert len(fetch_orders(client, status="all")) == exists


def test_a_429_of_a_post_did_nothing_and_is_no_refusal_of_the_order(client, exchange):
    exchange.arm("http_429", count=1, match={"method": "POST"})
    with pytest.raises(RateLimited):
        buy_far(client, identity="mine")
    assert fetch_order_by_client_id(client, "mine") is None


# Cancelling.


def test_cancelling_what_cannot_be_canceled_is_false_with_the_reason(client, exchange, caplog):
    exchange.push_quote(BTC, 999, 1000)
    filled = buy_far(client)
    exchange.finish()
    for order_id, words in [(str(uuid.uuid4()), "404"), (str(filled.id), "422"), ("x", "422")]:
        caplog.clear()
        assert not cancel_order(client, order_id)
        [record] = caplog.records
        assert record.getMessage().startswith("cancel.refused")
        assert words in record.getMessage()
    exchange.arm("http_500")
    assert not cancel_order(client, str(filled.id))


# Lists.


def submit_many(exchange, count):
    async def submit():
        request = {"symbol": BTC, "qty": "0.011", "side": "buy", "type": "limit"}
        request |= {"limit_price": "1000", "time_in_force": "gtc"}
        for number in range(count):
            exchange.server.exchange.submit(request | {"client_order_id": f"many-{number}"})
            await asyncio.sleep(0)

    exchange.run(submit())


def test_more_than_two_pages_of_orders_are_all_read_once_and_in_order(client, exchange):
    submit_many(exchange, 1001)
    expected = [f"many-{number}" for number in range(1001)]
    assert [one.client_order_id for one in fetch_orders(client, status="open")] == expected
    assert len(get_open_orders(client)) == 1001
    after = fetch_orders(client, status="all")[499].submitted_at
    assert len(fetch_orders(client, status="all", after=after)) in (501, 502)


@pytest.mark.parametrize("spelling", ["pair", "joined", "both"])
def test_the_open_orders_of_a_symbol_are_found_whatever_spelling_the_exchange_filters_by(
    client, exchange, spelling
):
    exchange.configure(symbols_filter=spelling)
    submit_many(exchange, 501)
    eth = place_limit_buy_order(client, "ETH/USD", Decimal("0.1"), Decimal(200))
    assert [one.id for one in fetch_open_orders_of(client, "ETH/USD")] == [str(eth.id)]
    assert len(fetch_open_orders_of(client, "BTCUSD")) == 501
    assert fetch_open_orders_of(client, "SOL/USD") == []


def orders_of_one_instant(count):
    """Many orders, half a page of them submitted in the same microsecond across the border."""
    begin = datetime(2024, 1, 1, tzinfo=UTC)
    moments = [begin + timedelta(seconds=min(number, 400)) for number in range(count)]
    return [
        build_wire_order(id=str(uuid.UUID(int=number)), submitted_at=moment.isoformat())
        for number, moment in enumerate(moments)
    ]


def list_orders(orders):
    """What Alpaca does with `after` and `limit`."""

    def answer(request):
        after = request.query.get("after", "")
        found = [one for one in orders if not after or one["submitted_at"] > after]
        return Answer(200, found[: int(request.query["limit"])])

    return answer


def test_orders_of_one_instant_across_a_page_border_are_all_read_once(canned):
    orders = orders_of_one_instant(700)
    canned.answer = list_orders(orders)
    found = fetch_orders(get_trading_client(), status="all")
    assert [one.id for one in found] == [one["id"] for one in orders]


def test_a_list_whose_second_page_fails_is_no_list(canned):
    pages = list_orders(orders_of_one_instant(700))
    canned.answer = lambda request: Answer(500, "") if "after" in request.query else pages(request)
    with pytest.raises(ExchangeUnavailable):
        fetch_orders(get_trading_client(), status="all")


STOCK = build_wire_order(asset_class="us_equity", symbol="AAPL", id=str(uuid.uuid4()))
OPTION_LEGS = build_wire_order(asset_class="us_option", symbol=None, side=None, qty=None)


def test_the_users_stocks_and_options_do_not_disturb(canned):
    many = [STOCK | {"id": str(uuid.uuid4())} for _ in range(499)]
    canned.answer = list_orders([build_wire_order(), *many, OPTION_LEGS | {"id": "legs"}])
    client = get_trading_client()
    [order] = fetch_orders(client, status="all")
    assert order.symbol == BTC
    canned.say(200, [{"symbol": "AAPL", "asset_class": "us_equity", "qty": "1"}])
    assert fetch_positions(client) == {}


def test_what_cannot_be_read_in_a_list_is_handed_out_and_the_rest_is_kept(canned):
    odd = build_wire_order(id=str(uuid.uuid4()), symbol="PEPE/USD", filled_qty="1")
    canned.say(200, [odd, build_wire_order()])
    client, found = get_trading_client(), []
    [order] = fetch_orders(client, status="open", on_unreadable=found.append)
    assert (order.symbol, [one.symbol for one in found]) == (BTC, ["PEPE/USD"])
    assert [one.id for one in fetch_open_orders_of(client, BTC)] == [order.id]
    with pytest.raises(UnreadableAnswer):
        fetch_orders(client, status="open")
    with pytest.raises(UnreadableAnswer):
        fetch_open_orders_of(client, "PEPE/USD")
    page = fetch_order_page(client)
    assert (len(page.orders), len(page.unreadable), page.reaches) == (1, 1, None)
    canned.say(200, [{"symbol": "PEPEUSD", "qty": "much"}, {"symbol": "BTCUSD", "qty": "1"}])
    doubtful = []
    assert list(fetch_positions(client, on_unreadable=doubtful.append)) == [BTC]
    assert doubtful == ["PEPE/USD"]


def test_pages_back_hold_every_order_once_also_at_their_borders(canned):
    orders = orders_of_one_instant(700)

    def answer(request):
        until = request.query.get("until", "9")
        found = [one for one in reversed(orders) if one["submitted_at"] < until]
        return Answer(200, found[: int(request.query["limit"])])

    canned.answer = answer
    client, pages, before = get_trading_client(), [], None
    while not pages or pages[-1].reaches:
        pages.append(fetch_order_page(client, before))
        before = pages[-1].reaches
    assert {one.id for page in pages for one in page.orders} == {one["id"] for one in orders}
    assert len(pages) == 2
    canned.say(200, orders[400:] + orders[400:600])  # a page of one instant: there is no way on
    with pytest.raises(ExchangeUnavailable, match="does not end"):
        fetch_order_page(client, pages[0].reaches)


def test_open_orders_of_a_symbol_are_only_its_own(client, exchange):
    mine = buy_far(client)
    place_limit_buy_order(client, "ETH/USD", Decimal(1), Decimal(100))
    assert [one.id for one in fetch_open_orders_of(client, "BTCUSD")] == [str(mine.id)]
    assert fetch_open_orders_of(client, "SOL/USD") == []


# Single things.


def test_an_order_that_does_not_exist_is_none_and_a_malformed_id_costs_no_request(client, exchange):
    before = exchange.state()["requests"]["total"]
    assert fetch_order(client, "fake_id") is None
    assert exchange.state()["requests"]["total"] == before
    assert fetch_order(client, str(uuid.uuid4())) is None
    assert fetch_order_by_client_id(client, "nobody") is None


def test_a_position_is_found_by_any_spelling_and_none_only_when_the_exchange_says_404(
    client, exchange
):
    assert fetch_position(client, BTC) is None
    exchange.set_balance(BTC, "0.5", price="40000")
    for spelling in ("BTC/USD", "BTCUSD"):
        position = fetch_position(client, spelling)
        assert (position.symbol, position.qty) == (BTC, Decimal("0.5"))
    assert fetch_positions(client) == {BTC: position}
    place_market_sell_order(client, BTC, Decimal("0.2"))
    assert fetch_position(client, BTC).qty_available == Decimal("0.3")
    exchange.arm("http_500")
    with pytest.raises(ExchangeUnavailable):
        fetch_position(client, BTC)


def test_the_latest_quote_is_the_exchanges_own(client, exchange):
    with pytest.raises(ExchangeUnavailable):
        fetch_latest_quote(BTC)
    exchange.push_quote(BTC, "50000.5", 50001)
    quote = fetch_latest_quote("BTCUSD")
    assert (quote.bid, quote.ask) == (Decimal("50000.5"), Decimal(50001))
    assert abs((datetime.now(UTC) - quote.quoted_at).total_seconds()) < 5


# Rules and their cache.


def test_rules_are_exact_and_an_unknown_symbol_has_none(client, exchange):
    rules = fetch_asset_rules(client, BTC, min_cost_usd=Decimal(10))
    assert rules.min_order_size == Decimal("0.000011")
    assert rules.min_trade_increment == Decimal("0.000000001")
    assert fetch_asset_rules(client, "NO/USD", min_cost_usd=Decimal(10)) is None


def test_rules_are_asked_for_once_and_kept_when_a_refresh_fails(
    client, exchange, monkeypatch, caplog
):
    cache = AssetRulesCache(client, Decimal(10))
    rules = cache.get(BTC)
    assert cache.get(BTC) is rules
    assert requests_made(exchange, "GET /v2/assets/{name}") == 1
    monkeypatch.setattr(asset_rules_cache, "REFRESH_SECONDS", 0)
    cache = AssetRulesCache(client, Decimal(10))
    rules = cache.get(BTC)
    exchange.arm("http_500")
    assert cache.get(BTC) == rules
    assert "rules.kept" in caplog.text


def test_rules_never_fetched_are_an_error_and_an_unknown_symbol_a_refusal(client, exchange):
    cache = AssetRulesCache(client, Decimal(10))
    with pytest.raises(ExchangeRefused, match="does not know the symbol NO/USD"):
        cache.get("NO/USD")
    exchange.arm("http_500")
    with pytest.raises(ExchangeError):
        cache.get(BTC)
