"""Alpaca's own OpenAPI description against the answers of the local exchange."""

import re

import pytest
import requests

from alpaca_description import SEEN, Answers, check_answer, operations, schema
from paper_exchange.core import order_rules

BTC, ETH = "BTC/USD", "ETH/USD"
DATA = "/v1beta3/crypto/us"


class Asking:
    """A session on the exchange; each answer is validated as it comes."""

    def __init__(self, exchange):
        self.answers = Answers()
        self._origin = exchange.urls.trading_url
        self._session = requests.Session()
        self._session.hooks["response"].append(self.answers.hook)
        keys = (exchange.config.key, exchange.config.secret)
        self._session.headers.update(
            zip(("APCA-API-KEY-ID", "APCA-API-SECRET-KEY"), keys, strict=True)
        )

    def __call__(self, method, path, **body):
        return self._session.request(method, self._origin + path, json=body or None, timeout=10)

    def order(self, **fields):
        order = {"symbol": BTC, "side": "buy", "type": "limit", "time_in_force": "gtc"}
        return self("POST", "/v2/orders", **{**order, "qty": "0.1", **fields}).json()


@pytest.fixture
def ask(exchange):
    return Asking(exchange)


def routes_of(exchange):
    server = exchange.server
    return [*server.trading_api.routes, *server.data_api.routes]


def template_of(path):
    """The exchange's path with the description's names in it."""
    path = path.replace("/v1beta3/crypto/us/", "/v1beta3/crypto/{loc}/")
    path = path.replace("activities/{kind}", "activities/{activity_type}")
    path = re.sub(r"(positions|assets)/\{name.*\}", r"\1/{symbol_or_asset_id}", path)
    return path


def test_every_route_gives_described_answers_in_every_state_of_an_order(exchange, ask, turn_clock):
    exchange.push_quote(ETH, 2_000, 2_001)
    exchange.push_quote(BTC, 50_000, 50_001)
    filled = ask.order(type="market")
    exchange.finish()
    canceled = ask.order(limit_price="40000")
    resting = ask.order(limit_price="41000", client_order_id="resting")
    ask.order(type="stop_limit", stop_price="60000", limit_price="60001")
    ask.order(type="market", symbol=ETH, qty=None, notional="50.5")
    expired, rejected = ask.order(limit_price="39000"), ask.order(limit_price="38000")
    exchange.finish()
    exchange.expire(expired["id"])
    exchange.reject(rejected["id"])
    ask("DELETE", f"/v2/orders/{canceled['id']}")
    ask("PATCH", f"/v2/orders/{resting['id']}", limit_price="42000")
    exchange.configure(partial_fill_probability=1)
    ask.order(limit_price="50002")
    exchange.finish()
    exchange.end_of_day()

    ask("GET", "/v2/orders?status=all&limit=500")
    ask("GET", "/v2/orders:by_client_order_id?client_order_id=resting")
    for order in (filled, canceled, resting, expired, rejected):
        ask("GET", f"/v2/orders/{order['id']}")
    for path in ("", "/configurations", "/activities", "/activities/FILL", "/activities/CFEE"):
        ask("GET", f"/v2/account{path}")
    ask("PATCH", "/v2/account/configurations", no_shorting=True)
    ask("GET", "/v2/account/portfolio/history?period=1D&timeframe=1Min&cashflow_types=ALL")
    ask("GET", "/v2/account/portfolio/history")
    ask("GET", "/v2/clock")
    ask("GET", "/v2/assets?asset_class=crypto")
    ask("GET", f"/v2/assets/{BTC}")
    ask("GET", "/v2/positions")
    ask("GET", "/v2/positions/BTCUSD")
    ask("DELETE", "/v2/positions/BTCUSD?percentage=10")
    exchange.finish()

    for _ in range(2):
        turn_clock(exchange, second=1)
        exchange.push_quote(BTC, 50_000, 50_001)
        turn_clock(exchange, second=31)
    symbols = f"symbols={BTC},{ETH},SOL/USD"
    for kind in ("quotes", "trades", "bars", "orderbooks"):
        ask("GET", f"{DATA}/latest/{kind}?{symbols}")
    for query in ("quotes?limit=1", "trades?limit=1", "bars?timeframe=1Min", "bars?timeframe=1D"):
        ask("GET", f"{DATA}/{query}&{symbols}")
    ask("GET", f"{DATA}/snapshots?{symbols}")

    closing = ask("DELETE", "/v2/positions?cancel_orders=true").json()
    assert {one["status"] for one in closing} == {200}
    ask.order(limit_price="30000")
    ask("DELETE", "/v2/orders")
    exchange.finish()
    statuses = {one["status"] for one in ask("GET", "/v2/orders?status=all").json()}
    assert statuses == {"filled", "canceled", "replaced", "expired", "rejected"}
    everything = {(one.method, template_of(one.path)) for one in routes_of(exchange)}
    assert ask.answers.checked == everything


def test_every_refusal_has_a_message(exchange, ask):
    exchange.set_balance(BTC, "0.00000001")
    for method, path, body in (
        ("POST", "/v2/orders", {"symbol": BTC}),
        ("GET", "/v2/orders/x", {}),
        ("GET", "/v2/positions/ETHUSD", {}),
        ("GET", "/v2/assets/XYZUSD", {}),
        ("GET", f"{DATA}/bars?symbols={BTC}", {}),
        ("PATCH", "/v2/account/configurations", {"x": 1}),
        ("GET", "/v2/nothing", {}),
        ("PUT", "/v2/orders", {}),
    ):
        answer = ask(method, path, **body)
        assert 400 <= answer.status_code < 500
        assert answer.json()["message"]
    (dust,) = ask("DELETE", "/v2/positions").json()
    assert (dust["symbol"], dust["status"]) == ("BTCUSD", 403)


def test_every_route_is_described_and_takes_every_parameter_of_its_description(exchange):
    described = {
        (method, path): {one["name"] for one in operation["parameters"] if one["in"] == "query"}
        for method, path, operation in operations()
    }
    taken = {(one.method, template_of(one.path)): set(one.takes) for one in routes_of(exchange)}
    assert taken.keys() == described.keys()
    # The SDK knows a parameter that the description does not have.
    described["GET", "/v2/account/portfolio/history"] |= {"date_end"}
    assert taken == described


def test_every_field_of_an_order_that_is_described_is_known():
    described = schema("CreateOrderRequest")["properties"].keys()
    assert described == order_rules._TICKET_FIELDS | order_rules._STOCK_FIELDS - {"trail"}
    replaceable = schema("PatchOrderRequest")["properties"].keys()
    assert replaceable - order_rules._STOCK_FIELDS == order_rules._REPLACEABLE_FIELDS


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"status": "half_done"}, "status: 'half_done' is not one of"),
        ({"qty": 0.1}, "qty: 0.1 is not of type"),
        ({"submitted_at": "yesterday"}, "submitted_at: 'yesterday' is not a 'date-time'"),
        ({"id": "x"}, "id: 'x' is not a 'uuid'"),
        ({"colour": "red"}, "'colour' was unexpected"),
    ],
)
def test_an_answer_that_is_not_as_described_is_noticed(exchange, ask, change, complaint):
    order = ask.order(limit_price="40000")
    answer = ask("GET", f"/v2/orders/{order['id']}")
    answer.json = lambda: order | change
    with pytest.raises(AssertionError, match=re.escape(complaint)):
        check_answer(answer)


def test_what_recorded_answers_have_besides_is_not_in_the_description_already():
    for kind, names in SEEN.items():
        assert names <= schema(kind)["properties"].keys()
        assert all(schema(kind)["properties"][name] == {} for name in names), kind
