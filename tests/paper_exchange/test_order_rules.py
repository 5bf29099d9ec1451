"""Which orders are refused, with which status, code and text."""

from decimal import Decimal

import pytest

from paper_exchange.core.errors import ApiError
from paper_exchange.core.orders import Event

D = Decimal
GOOD = {
    "symbol": "BTC/USD",
    "side": "buy",
    "type": "limit",
    "time_in_force": "gtc",
    "qty": "0.1",
    "limit_price": "60000",
}
MARKET = {"type": "market", "limit_price": None}

# what is changed in a good order | HTTP status, code, text
REFUSALS = [
    ({"time_in_force": "day"}, 422, 42210000, "invalid crypto time_in_force"),
    ({"time_in_force": None}, 422, 42210000, "invalid crypto time_in_force"),
    ({"type": "stop", "stop_price": "1"}, 422, 42210000, "invalid order type for crypto order"),
    ({"type": "trailing_stop"}, 422, 42210000, "invalid order type for crypto order"),
    ({"side": "hold"}, 422, 40010001, "side is required"),
    ({"symbol": "FOO/USD"}, 422, 42210000, 'asset "FOO/USD" not found'),
    ({"symbol": None}, 422, 40010001, "symbol is required"),
    ({"qty": None}, 422, 40010001, "qty or notional is required"),
    ({"notional": "100"}, 422, 40010001, "only one of qty or notional is accepted"),
    ({"qty": None, "notional": "10.001"}, 422, 42210000, "limited to 2 decimal places"),
    ({"qty": "abc"}, 422, 40010001, "qty must be a number"),
    ({"qty": "NaN"}, 422, 40010001, "qty must be a number"),
    ({"qty": "-1"}, 422, 40010001, "qty must be > 0"),
    ({"qty": "0.1234567891"}, 422, 42210000, "qty must be limited to 9 decimal places"),
    ({"qty": "0.00001"}, 403, 40310000, "order qty must be >= minimal qty of order 0.000011"),
    (
        {"symbol": "ETH/USD", "qty": "1.00005"},
        422,
        42210000,
        "multiple of the trade increment 0.0001",
    ),
    ({"limit_price": "60000.001"}, 422, 42210000, "multiple of the price increment 0.01"),
    ({"limit_price": None}, 422, 40010001, "limit orders require a limit price"),
    ({"type": "market"}, 422, 40010001, "market orders require no stop or limit price"),
    ({"type": "stop_limit"}, 422, 40010001, "require both stop and limit price"),
    ({"qty": "0.0001"}, 403, 40310000, "cost basis must be >= minimal amount of order 10"),
    ({"qty": "4"}, 403, 40310000, "order cost must be <= maximal amount of order 200000"),
    (
        {"qty": "2"},
        403,
        40310000,
        "insufficient balance for USD (requested: 120000, available: 100000)",
    ),
    (
        {"side": "sell"},
        403,
        40310000,
        "insufficient balance for BTC (requested: 0.1, available: 0)",
    ),
    ({"client_order_id": "x" * 129}, 422, 40010001, "no more than 128 characters"),
    ({"order_class": "bracket"}, 422, 42210000, "crypto orders not allowed"),
]


@pytest.mark.parametrize(("change", "status", "code", "text"), REFUSALS)
def test_a_bad_order_is_refused_in_the_words_of_the_real_exchange(desk, change, status, code, text):
    with pytest.raises(ApiError) as refusal:
        desk.exchange.submit({**GOOD, **change})
    assert refusal.value.http_status == status
    assert refusal.value.body["code"] == code
    assert text in refusal.value.message
    assert len(desk.exchange.book) == 0
    assert desk.exchange.account.available_usd() == 100_000


def test_the_refusal_for_lack_of_money_carries_the_numbers(desk):
    desk.order("buy", "1", "90000")
    with pytest.raises(ApiError) as refusal:
        desk.exchange.submit({**GOOD, "qty": "0.2"})
    assert refusal.value.body == {
        "code": 40310000,
        "message": "insufficient balance for USD (requested: 12000, available: 10000)",
        "available": "10000",
        "balance": "100000",
        "symbol": "USD",
    }


def test_a_sell_below_ten_dollars_passes(make_desk):
    desk = make_desk(coins=(("BTC/USD", D(1), D(50_000)),))
    desk.quote(59990, 60010)
    assert desk.order("sell", "0.00002").status.value == "filled"


def test_client_order_ids_are_unique_for_ever(desk):
    first = desk.order("buy", "0.1", "50000", client_order_id="mine")
    for _ in range(2):
        with pytest.raises(ApiError, match="client_order_id must be unique") as refusal:
            desk.order("buy", "0.1", "50000", client_order_id="mine")
        assert (refusal.value.http_status, refusal.value.body["code"]) == (422, 40010001)
        if desk.now(first).status.is_open:
            desk.exchange.end(first.id, Event.CANCELED)


def test_a_refused_order_does_not_use_up_its_client_order_id(desk):
    with pytest.raises(ApiError):
        desk.order("buy", "100", "50000", client_order_id="mine")
    assert desk.order("buy", "0.1", "50000", client_order_id="mine").client_order_id == "mine"


def test_refusal_of_duplicates_can_be_switched_off(desk):
    desk.exchange.switches.duplicate_ids_refused = False
    for _ in range(2):
        desk.order("buy", "0.1", "50000", client_order_id="mine")
    assert len(desk.exchange.book) == 2


# an open sell at 61000 | the new buy | refused?
@pytest.mark.parametrize(
    ("limit", "is_refused"), [("60999", False), ("61000", True), ("62000", True), (None, True)]
)
def test_a_buy_that_could_trade_with_an_open_sell_is_a_wash_trade(make_desk, limit, is_refused):
    desk = make_desk(coins=(("BTC/USD", D(1), D(50_000)),))
    desk.quote(59990, 60010)
    sell = desk.order("sell", "0.5", "61000")
    if not is_refused:
        assert desk.order("buy", "0.1", limit)
        return
    with pytest.raises(ApiError, match="potential wash trade detected") as refusal:
        desk.order("buy", "0.1", limit)
    assert refusal.value.http_status == 403
    assert refusal.value.body["existing_order_id"] == sell.id


def test_json_numbers_are_taken_as_they_are_written(desk):
    order = desk.exchange.submit({**GOOD, "qty": D("1e-3"), "limit_price": 60000})
    assert order.qty == D("0.001")
