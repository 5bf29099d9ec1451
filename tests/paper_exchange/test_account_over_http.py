"""Configurations, portfolio history and closing positions with the real alpaca-py."""

from datetime import UTC, datetime, timedelta

import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.models import FailedClosePositionDetails, Order
from alpaca.trading.requests import (
    ClosePositionRequest,
    GetPortfolioHistoryRequest,
    LimitOrderRequest,
    MarketOrderRequest,
)

BTC, ETH = "BTC/USD", "ETH/USD"
KEYS = {"APCA-API-KEY-ID": "local-key", "APCA-API-SECRET-KEY": "local-secret"}


def ask(exchange, method, path, **options):
    url = exchange.urls.trading_url + path
    return requests.request(method, url, headers=KEYS, timeout=10, **options)


def buy(clients, symbol=BTC, qty=0.1):
    return clients.trading.submit_order(
        MarketOrderRequest(
            symbol=symbol, qty=qty, side=OrderSide.BUY, time_in_force=TimeInForce.GTC
        )
    )


# Configurations.


def test_the_sdk_reads_and_writes_the_configurations(clients):
    found = clients.trading.get_account_configurations()
    assert (found.suspend_trade, found.max_margin_multiplier) == (False, "2")
    found.trade_confirm_email = "all"
    found.suspend_trade = True
    assert clients.trading.set_account_configurations(found) == found
    assert clients.trading.get_account_configurations() == found
    assert clients.trading.get_account().trade_suspended_by_user

    clients.exchange.push_quote(BTC, 50_000, 50_001)
    with pytest.raises(APIError, match="rejected by user request") as refusal:
        buy(clients)
    assert (refusal.value.status_code, refusal.value.code) == (403, 40310000)
    found.suspend_trade = False
    clients.trading.set_account_configurations(found)
    assert buy(clients).id


@pytest.mark.parametrize(
    "change",
    [
        {"colour": "red"},
        {"suspend_trade": "yes"},
        {"suspend_trade": 1},
        {"max_margin_multiplier": "3"},
        {"max_options_trading_level": 9},
        {"no_shorting": True, "trade_confirm_email": "some"},
    ],
)
def test_a_configuration_that_does_not_exist_changes_nothing(exchange, change):
    path = "/v2/account/configurations"
    before = ask(exchange, "GET", path).json()
    assert ask(exchange, "PATCH", path, json=change).status_code == 422
    assert ask(exchange, "GET", path).json() == before


# Closing.


def test_all_positions_are_closed_at_once(clients):
    clients.exchange.push_quote(BTC, 50_000, 50_001)
    clients.exchange.push_quote(ETH, 2_000, 2_001)
    clients.exchange.set_balance(BTC, "0.5")
    clients.exchange.set_balance(ETH, "2.00009")
    answers = clients.trading.close_all_positions()
    assert [(one.symbol, one.status) for one in answers] == [("BTCUSD", 200), ("ETHUSD", 200)]
    assert all(isinstance(one.body, Order) for one in answers)
    clients.exchange.finish()
    # What is left is less than a step of the quantity.
    (dust,) = clients.trading.get_all_positions()
    assert (dust.symbol, dust.qty) == ("ETHUSD", "0.00009")


@pytest.mark.parametrize("cancels", [True, False])
def test_open_sells_hold_their_coins_back_unless_they_are_canceled_first(clients, cancels):
    clients.exchange.push_quote(BTC, 50_000, 50_001)
    clients.exchange.push_quote(ETH, 2_000, 2_001)
    clients.exchange.set_balance(BTC, "0.5")
    clients.exchange.set_balance(ETH, "2")
    sell = LimitOrderRequest(
        symbol=BTC, qty=0.5, side=OrderSide.SELL, time_in_force=TimeInForce.GTC, limit_price=60_000
    )
    resting = clients.trading.submit_order(sell)
    clients.exchange.finish()
    btc, eth = clients.trading.close_all_positions(cancel_orders=cancels)
    clients.exchange.finish()
    assert eth.status == 200
    left = [one.symbol for one in clients.trading.get_all_positions()]
    status = clients.trading.get_order_by_id(resting.id).status.value
    if cancels:
        assert (btc.status, left, status) == (200, [], "canceled")
    else:
        assert (btc.status, left, status) == (403, ["BTCUSD"], "new")
        assert isinstance(btc.body, FailedClosePositionDetails)
        assert "insufficient balance for BTC" in btc.body.message


def test_one_position_is_closed_by_its_quantity_or_its_share(clients):
    clients.exchange.push_quote(BTC, 50_000, 50_001)
    clients.exchange.set_balance(BTC, "1")
    order = clients.trading.close_position("BTCUSD", ClosePositionRequest(qty="0.25"))
    assert (order.qty, order.side) == ("0.25", OrderSide.SELL)
    clients.exchange.finish()
    order = clients.trading.close_position("BTCUSD", ClosePositionRequest(percentage="50"))
    assert order.qty == "0.375"
    clients.exchange.finish()
    for wrong in ("qty=1&percentage=1", "percentage=101", "percentage=0", "qty=x", "qty=0.5"):
        answer = ask(clients.exchange, "DELETE", f"/v2/positions/BTCUSD?{wrong}")
        assert answer.status_code in (403, 422), wrong
    assert ask(clients.exchange, "DELETE", "/v2/positions/ETHUSD").status_code == 404
    assert clients.trading.get_open_position("BTCUSD").qty == "0.375"


# Portfolio history.


def pass_minutes(exchange, minutes, *prices):
    """The exchange's clock goes on, then quotes come."""
    exchange.arm("skew_clock", seconds=60 * minutes)
    for price in prices:
        exchange.push_quote(BTC, price, price)


def test_the_history_shows_the_equity_at_the_end_of_each_minute(clients, turn_clock):
    exchange = clients.exchange
    turn_clock(exchange, second=1)
    exchange.push_quote(BTC, 50_000, 50_000)
    exchange.set_balance("USD", "50000")
    exchange.set_balance(BTC, "1", "50000")
    pass_minutes(exchange, 1, 51_000, 52_000)
    pass_minutes(exchange, 3, 49_000)
    found = clients.trading.get_portfolio_history(
        GetPortfolioHistoryRequest(period="1D", timeframe="1Min", pnl_reset="no_reset")
    )
    # Minutes without a quote repeat the last value; the running one is worth what it is now.
    assert found.equity == [100_000, 102_000, 102_000, 102_000, 99_000]
    assert {b - a for a, b in zip(found.timestamp, found.timestamp[1:], strict=False)} == {60}
    assert found.profit_loss == [0, 2_000, 2_000, 2_000, -1_000]
    assert found.profit_loss_pct[-1] == pytest.approx(-0.01)
    assert (found.base_value, found.timeframe) == (100_000, "1Min")


def test_a_window_of_the_past_ends_where_it_is_asked_to(clients, turn_clock):
    exchange = clients.exchange
    turn_clock(exchange, second=60, of=3600)
    exchange.set_balance("USD", "50000")
    exchange.set_balance(BTC, "1", "50000")
    exchange.push_quote(BTC, 50_000, 50_000)
    for price in (51_000, 52_000, 53_000, 54_000):
        pass_minutes(exchange, 60, price)

    def equity(**window):
        return clients.trading.get_portfolio_history(GetPortfolioHistoryRequest(**window)).equity

    now = datetime.fromtimestamp(turn_clock(exchange, second=120, of=3600) / 1e9, UTC)
    everything = equity(start=now - timedelta(hours=5), timeframe="1H")
    assert everything == [100_000, 101_000, 102_000, 103_000, 104_000]
    past = equity(start=now - timedelta(hours=3), end=now - timedelta(hours=2), timeframe="1H")
    assert past == [101_000, 102_000]
    assert equity(end=now - timedelta(days=2), period="1D", timeframe="1H") == []
    assert equity() == equity(timeframe="1D", period="1M")
    assert equity()[-1] == 104_000


@pytest.mark.parametrize(
    "query",
    [
        "period=1X",
        "period=0D",
        "timeframe=2Min",
        "period=2M&timeframe=1H",
        "period=1D&start=2026-01-01&end=2026-01-02",
        "start=2026-01-02&end=2026-01-01",
        "intraday_reporting=never",
        "pnl_reset=weekly",
        "extended_hours=perhaps",
    ],
)
def test_a_wrong_window_is_refused(exchange, query):
    answer = ask(exchange, "GET", f"/v2/account/portfolio/history?{query}")
    assert answer.status_code == 422
