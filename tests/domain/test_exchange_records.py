"""What the exchange says: recorded shapes are read exactly, garbage is only ever a WireError."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from alpaca.data.models import Quote as SdkQuote
from alpaca.trading.models import Order as SdkOrder
from alpaca.trading.models import TradeUpdate as SdkTradeUpdate
from hypothesis import given
from hypothesis import strategies as st
from msgpack import Timestamp

from builders import ORDER_ID, build_wire_order, build_wire_update
from domain.market import AssetRules, Position, Quote
from domain.orders import ExchangeOrder, Side, TradeUpdate
from domain.wire import (
    ForeignAssetClass,
    WireError,
    decimal_from_wire,
    is_crypto,
    normalize_symbol,
    time_from_wire,
)

# Symbols.


@pytest.mark.parametrize(
    ("spelled", "normal"),
    [
        ("BTC/USD", "BTC/USD"),
        ("BTCUSD", "BTC/USD"),
        (" btc/usd ", "BTC/USD"),
        ("BTCUSDT", "BTC/USDT"),
        ("ETHBTC", "ETH/BTC"),
        ("USDCUSD", "USDC/USD"),
        ("USDTUSD", "USDT/USD"),
        ("1INCHUSD", "1INCH/USD"),
    ],
)
def test_all_spellings_of_a_pair_are_one_symbol(spelled, normal):
    assert normalize_symbol(spelled) == normal
    assert normalize_symbol(normal) == normal


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "USD", "AAPL", "/", "BTC/", "/USD", "BTC/USD/X", "BTC-USD", "B C/USD",
        "\u0412TC/USD", "B" * 40 + "/USD", None, 5, b"BTC/USD", ["BTC/USD"],
    ],
)  # fmt: skip
def test_what_is_no_crypto_pair_has_no_symbol(text):
    with pytest.raises(WireError):
        normalize_symbol(text)


# Numbers.


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("50000.123456789", "50000.123456789"),
        ("0", "0"),
        (0.1, "0.1"),
        (1e-05, "0.00001"),
        (7, "7"),
        (Decimal("1.50"), "1.50"),
        ("-3", "-3"),
        ("0.1234567890123456789", "0.123456789012345679"),
        ("10000000000.1234567890123456789", "10000000000.123456789012345679"),
        ("99999999999999999.999999999999999999", "99999999999999999.999999999999999999"),
        ("1e-9999999", "0"),
    ],
)
def test_numbers_are_exact_to_the_eighteen_places_of_the_tables(value, expected):
    assert decimal_from_wire(value, "qty") == Decimal(expected)


@pytest.mark.parametrize(
    "value",
    [
        "", "x", "NaN", "sNaN", "Infinity", "-inf", "1e18", "-1e18", "1e9999999", "0x10", "1,5",
        None, True, False, [], {}, b"1", float("nan"), float("inf"), 1e300, 10**30, 10**5000,
        "1" * 65, "1e99999999999999999999", 1j,
    ],
    ids=lambda value: f"{type(value).__name__}-{value if isinstance(value, str) else ''}",
)  # fmt: skip
def test_what_is_no_usable_number_is_refused(value):
    with pytest.raises(WireError, match="qty"):
        decimal_from_wire(value, "qty")


# Times.


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2022-12-16T02:28:51.673531798-05:00", datetime(2022, 12, 16, 7, 28, 51, 673531, UTC)),
        ("2022-12-16T07:28:51.67621869Z", datetime(2022, 12, 16, 7, 28, 51, 676218, UTC)),
        ("2023-03-17T12:32:12.1Z", datetime(2023, 3, 17, 12, 32, 12, 100000, UTC)),
        ("2022-07-13T18:24:00Z", datetime(2022, 7, 13, 18, 24, tzinfo=UTC)),
        (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)),
        (Timestamp(1700000000, 123456789), datetime(2023, 11, 14, 22, 13, 20, 123456, UTC)),
    ],
)
def test_times_become_aware_utc(value, expected):
    found = time_from_wire(value, "t")
    assert found == expected
    assert found.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "value",
    [
        "", "yesterday", "2022-12-16T07:28:51", "2022-13-16T07:28:51Z",
        "0001-01-01T00:00:00+14:00", None, 1700000000, 1.5, True, [], {}, Timestamp(2**40, 0),
        datetime(2024, 1, 1),  # noqa: DTZ001 - a naive time is what must be refused
    ],
)  # fmt: skip
def test_a_time_without_zone_or_sense_is_refused(value):
    with pytest.raises(WireError, match="created_at"):
        time_from_wire(value, "created_at")


# Orders.


def test_the_live_new_of_a_market_buy_is_read_exactly():
    update = TradeUpdate.from_wire(build_wire_update("new"))
    assert update.event == "new"
    assert update.order == ExchangeOrder(
        id=ORDER_ID,
        client_order_id="0f1f3764-107a-4d09-8b9a-d75a11738f5c",
        symbol="BTC/USD",
        side=Side.BUY,
        order_type="market",
        qty=Decimal("0.01"),
        limit_price=None,
        filled_qty=Decimal(0),
        filled_avg_price=None,
        status="new",
        created_at=datetime(2022, 12, 16, 7, 28, 51, 673531, UTC),
        submitted_at=datetime(2022, 12, 16, 7, 28, 51, 673015, UTC),
        ended_at=None,
    )


def test_a_recorded_canceled_limit_sell_is_read_with_its_end():
    order = ExchangeOrder.from_wire(
        build_wire_order(
            symbol="LTC/USDT", qty="0.001", side="sell", type="limit", limit_price="1000",
            status="canceled", canceled_at="2023-11-17T04:22:34.399019Z",
        )
    )  # fmt: skip
    assert (order.symbol, order.side, order.limit_price) == ("LTC/USDT", "sell", Decimal(1000))
    assert order.is_ended
    assert order.ended_at == datetime(2023, 11, 17, 4, 22, 34, 399019, UTC)


def test_an_older_payload_with_numbers_and_the_joined_symbol_is_the_same_order():
    fill = {"qty": 0.01, "filled_qty": 0.01, "filled_avg_price": 14000, "status": "filled"}
    order = ExchangeOrder.from_wire(build_wire_order(symbol="BTCUSD", **fill))
    assert (order.symbol, order.qty, order.filled_avg_price) == (
        "BTC/USD",
        Decimal("0.01"),
        Decimal(14000),
    )


def test_a_notional_order_of_the_user_has_no_quantity():
    order = ExchangeOrder.from_wire(build_wire_order(notional="500", qty=None, status="accepted"))
    assert order.qty is None
    assert not order.is_ended


@pytest.mark.parametrize(
    ("status", "field"),
    [
        ("filled", "filled_at"),
        ("canceled", "canceled_at"),
        ("expired", "expired_at"),
        ("rejected", "failed_at"),
        ("replaced", "replaced_at"),
    ],
)
def test_each_end_has_its_own_time_and_else_the_last_update(status, field):
    fill = {"filled_qty": "0.01", "filled_avg_price": "1", "status": status}
    own = ExchangeOrder.from_wire(build_wire_order(**fill, **{field: "2024-01-01T00:00:00Z"}))
    assert own.ended_at == datetime(2024, 1, 1, tzinfo=UTC)
    other = ExchangeOrder.from_wire(build_wire_order(**fill))
    assert other.ended_at == datetime(2022, 12, 16, 7, 28, 51, 678736, UTC)


def test_the_sdk_objects_of_the_plans_tests_say_the_same_as_the_wire():
    fill = {"status": "filled", "filled_qty": "0.01", "filled_avg_price": "17395.5"}
    raw = build_wire_order(**fill, filled_at="2022-12-16T07:29:00Z")
    assert ExchangeOrder.from_wire(SdkOrder(**raw)) == ExchangeOrder.from_wire(raw)
    message = build_wire_update("fill", **fill, filled_at="2022-12-16T07:29:00Z")
    of_sdk = TradeUpdate.from_wire(SdkTradeUpdate(**message["data"]))
    assert of_sdk == TradeUpdate.from_wire(message) == TradeUpdate.from_wire(message["data"])


@pytest.mark.parametrize(
    "broken",
    [
        {"id": None}, {"id": ""}, {"id": "x" * 65},
        {"client_order_id": None}, {"client_order_id": "x" * 129},
        {"symbol": None}, {"symbol": "AAPL"}, {"symbol": ["BTC/USD"]},
        {"side": None}, {"side": "hold"}, {"side": {"buy": 1}},
        {"status": None}, {"status": "x" * 33},
        {"qty": "many"}, {"qty": "NaN"}, {"limit_price": "1e40"}, {"limit_price": True},
        {"filled_qty": "-1", "filled_avg_price": "1"},
        {"filled_qty": "1", "filled_avg_price": None},
        {"filled_qty": "1", "filled_avg_price": "0"},
        {"filled_qty": "1", "filled_avg_price": "-5"},
        {"status": "filled", "filled_qty": "0"},
        {"created_at": "never"}, {"submitted_at": 5}, {"status": "canceled", "updated_at": "2024"},
    ],
    ids=str,
)  # fmt: skip
def test_an_order_whose_fields_make_no_sense_is_refused(broken):
    with pytest.raises(WireError):
        ExchangeOrder.from_wire(build_wire_order(**broken))
    with pytest.raises(WireError):
        TradeUpdate.from_wire(build_wire_update(**broken))


@pytest.mark.parametrize(
    "message",
    [
        None, 5, "fill", [], {}, {"data": None}, {"data": []}, {"data": {"event": "fill"}},
        {"data": {"event": None, "order": {}}}, {"data": {"event": "fill", "order": "x"}},
        {"data": {"event": "x" * 33, "order": {}}}, {"stream": "authorization", "data": {}},
    ],
)  # fmt: skip
def test_a_message_that_is_no_trade_update_is_refused(message):
    with pytest.raises(WireError):
        TradeUpdate.from_wire(message)


def test_updates_of_stocks_and_options_are_distinguished_from_garbage():
    stock = build_wire_update("fill", asset_class="us_equity", symbol="AAPL")
    legs = build_wire_update("new", asset_class="us_option", symbol=None, side=None)
    for message in (stock, legs):
        with pytest.raises(ForeignAssetClass):
            TradeUpdate.from_wire(message)
    assert is_crypto(build_wire_order())
    assert is_crypto(SdkOrder(**build_wire_order()))
    assert not is_crypto(build_wire_order(asset_class="us_equity"))


# Quotes.

LIVE_QUOTE = {
    "T": "q", "S": "BTC/USD", "bp": 42135.56, "bs": 0.27779, "ap": 42176.435, "as": 0.550171,
    "t": "2024-01-14T23:06:25.205996645Z",
}  # fmt: skip


@pytest.mark.parametrize("at", [LIVE_QUOTE["t"], Timestamp(1705273585, 205996645)])
def test_a_live_quote_is_read_exactly(at):
    assert Quote.from_wire("BTC/USD", LIVE_QUOTE | {"t": at}) == Quote(
        symbol="BTC/USD",
        bid=Decimal("42135.56"),
        ask=Decimal("42176.435"),
        quoted_at=datetime(2024, 1, 14, 23, 6, 25, 205996, UTC),
    )


def test_the_sdk_quote_says_the_same_as_the_wire():
    of_sdk = Quote.from_wire("BTC/USD", SdkQuote("BTC/USD", LIVE_QUOTE))
    assert of_sdk == Quote.from_wire("BTC/USD", LIVE_QUOTE)


@pytest.mark.parametrize(
    "broken",
    [
        {"bp": 0}, {"ap": 0}, {"bp": -1}, {"bp": 42176.436}, {"bp": float("nan")},
        {"ap": float("inf")}, {"ap": "x"}, {"bp": None}, {"t": None}, {"t": "now"},
    ],
    ids=str,
)  # fmt: skip
def test_a_quote_with_zero_crossed_or_missing_prices_is_refused(broken):
    with pytest.raises(WireError):
        Quote.from_wire("BTC/USD", LIVE_QUOTE | broken)


# Assets and positions.

LIVE_ASSET = {
    "id": "c150e086-1e75-44e6-9c2c-093bb1e93139", "class": "crypto", "symbol": "BTC/USDT",
    "status": "active", "tradable": True, "min_order_size": "0.000026873",
    "min_trade_increment": "0.000000001", "price_increment": "1",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "tradable"),
    [({}, True), ({"tradable": False}, False), ({"status": "inactive"}, False)],
)
def test_the_rules_of_a_live_asset_are_read_exactly(changes, tradable):
    rules = AssetRules.from_wire(LIVE_ASSET | changes, min_cost_usd=Decimal(10))
    assert rules == AssetRules(
        symbol="BTC/USDT",
        min_order_size=Decimal("0.000026873"),
        min_trade_increment=Decimal("0.000000001"),
        price_increment=Decimal(1),
        min_cost_usd=Decimal(10),
        is_tradable=tradable,
    )


@pytest.mark.parametrize(
    "broken",
    [{"price_increment": "0"}, {"min_trade_increment": None}, {"min_order_size": "-1"}],
)
def test_rules_that_could_not_be_divided_by_are_refused(broken):
    with pytest.raises(WireError):
        AssetRules.from_wire(LIVE_ASSET | broken, min_cost_usd=Decimal(10))


LIVE_POSITION = {
    "symbol": "BTCUSD", "asset_class": "crypto", "qty": "0.000207296", "side": "long",
    "qty_available": "0.000107296", "avg_entry_price": "19660.5738784516887649",
}  # fmt: skip


def test_a_live_position_is_read_exactly():
    assert Position.from_wire(LIVE_POSITION) == Position(
        symbol="BTC/USD",
        qty=Decimal("0.000207296"),
        qty_available=Decimal("0.000107296"),
        average_entry_price=Decimal("19660.5738784516887649"),
    )
    without = {key: value for key, value in LIVE_POSITION.items() if key != "qty_available"}
    assert Position.from_wire(without).qty_available == Decimal("0.000207296")


@pytest.mark.parametrize("broken", [{"qty": None}, {"qty": "x"}, {"symbol": None}])
def test_a_position_without_quantity_or_symbol_is_refused(broken):
    with pytest.raises(WireError):
        Position.from_wire(LIVE_POSITION | broken)


# Garbage of any shape.

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=70),
    st.decimals(allow_nan=True, allow_infinity=True),
    st.sampled_from(["buy", "sell", "filled", "BTC/USD", "1", "1e9999999", "2024-01-01T00:00:00Z"]),
    st.sampled_from([Timestamp(0, 0), uuid.UUID(ORDER_ID), datetime.max.replace(tzinfo=UTC)]),
)
names = st.sampled_from(
    [*build_wire_order(), *LIVE_QUOTE, *LIVE_ASSET, *LIVE_POSITION, "data", "event", "order"]
)
anything = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=8)
)


@given(anything, st.dictionaries(names, anything, max_size=4))
def test_garbage_is_never_anything_but_a_wire_error(garbage, damage):
    parsers = [
        ExchangeOrder.from_wire,
        TradeUpdate.from_wire,
        Position.from_wire,
        lambda source: Quote.from_wire("BTC/USD", source),
        lambda source: AssetRules.from_wire(source, min_cost_usd=Decimal(10)),
    ]
    nearly_right = build_wire_order() | LIVE_QUOTE | LIVE_ASSET | LIVE_POSITION | damage
    for source in (garbage, nearly_right, {"event": "fill", "order": nearly_right}):
        for parse in parsers:
            try:
                record = parse(source)
            except WireError:
                continue
            for name in record.__dataclass_fields__:
                value = getattr(record, name)
                if isinstance(value, Decimal):
                    assert value.copy_abs() <= Decimal("1e17"), "arithmetic could choke on it"
