"""order_manager's work on the local exchange and a real database."""

import pytest

from caretaker_process import dry_run, real_run
from caretakers import order_manager as order_cancelling
from caretakers.order_manager import manage_orders
from daemon_process import wait_until
from models.cycle_data import create_cycle, get_cycle, update_cycle
from models.events import get_events
from strategy.order_identity import compute_client_order_id
from utils.alpaca_client_rest import (
    get_trading_client,
    place_limit_buy_order,
    place_market_sell_order,
)
from utils.alpaca_queries import fetch_order, fetch_orders
from utils.db_utils import execute_query

HOUR = 3600


@pytest.fixture
def client(settings):
    return get_trading_client()


@pytest.fixture
def quoted(exchange):
    exchange.push_quote("BTC/USD", 50000, 50001)
    exchange.push_quote("ETH/USD", 3000, 3001)
    return exchange


def let_time_pass(exchange, seconds=HOUR):
    """At the exchange only: the clock of this machine stays."""
    exchange.finish()
    exchange.arm("skew_clock", seconds=seconds)


def buy_far_below(client, symbol="BTC/USD", price=1000, **fields):
    return str(place_limit_buy_order(client, symbol, 20 / price, price, **fields).id)


def status_of(client, order_id):
    return fetch_order(client, order_id).status


def wait_for_canceled(exchange, client, *order_ids):
    exchange.finish()
    wait_until(lambda: all(status_of(client, one) == "canceled" for one in order_ids))


def test_stale_buys_and_orphans_are_canceled_and_the_rows_are_left_alone(
    settings, quoted, client, db_conn, make_asset
):
    asset = make_asset()
    make_asset("ETH/USD", is_enabled=False)
    order_id = buy_far_below(client)
    cycle = create_cycle(db_conn, asset.id, "buying", latest_order_id=order_id)
    orphan = buy_far_below(client)
    of_disabled = buy_far_below(client, "ETH/USD", 100)
    let_time_pass(quoted)
    run = real_run(settings)
    manage_orders(run)
    assert {step["order"] for step in run.done} == {order_id, orphan, of_disabled}
    assert not run.failed
    wait_for_canceled(quoted, client, order_id, orphan, of_disabled)
    assert get_cycle(db_conn, cycle.id) == cycle, "only the stream and the reconciler write cycles"
    again = real_run(settings)
    manage_orders(again)
    assert again.plan == []


def test_young_orders_and_orders_on_other_symbols_stay(
    settings, quoted, client, db_conn, make_asset
):
    make_asset()
    foreign = buy_far_below(client, "ETH/USD", 100)
    let_time_pass(quoted)
    young = buy_far_below(client)
    run = real_run(settings)
    manage_orders(run)
    assert run.plan == []
    assert {status_of(client, foreign), status_of(client, young)} == {"new"}


def test_ages_are_counted_by_the_exchanges_clock(settings, exchange, client, db_conn, make_asset):
    """A machine whose clock is an hour fast must not cancel an order of this moment."""
    make_asset()
    exchange.arm("skew_clock", seconds=-HOUR)
    exchange.push_quote("BTC/USD", 50000, 50001)
    order_id = buy_far_below(client)
    exchange.finish()
    run = real_run(settings)
    manage_orders(run)
    assert run.plan == []
    assert status_of(client, order_id) == "new"


def test_a_sell_that_stays_open_is_canceled_for_its_cycle_to_sell_again(
    settings, quoted, client, db_conn, make_asset
):
    asset = make_asset()
    quoted.set_balance("BTC/USD", "0.01", "50000")
    cycle = create_cycle(db_conn, asset.id, "watching", quantity="0.01")
    quoted.arm("rest_market_order", percent=2.0)
    identity = compute_client_order_id(cycle)
    sell = place_market_sell_order(client, "BTC/USD", "0.01", client_order_id=identity)
    let_time_pass(quoted)
    run = real_run(settings)
    manage_orders(run)
    assert [step["fault"] for step in run.done] == ["stuck sell"], "claimed, though never linked"
    wait_for_canceled(quoted, client, str(sell.id))


def test_a_cancellation_that_stays_pending_is_asked_for_once_and_reported_once(
    settings, quoted, client, db_conn, make_asset
):
    make_asset()
    order_id = buy_far_below(client)
    let_time_pass(quoted)
    quoted.arm("stick_cancel")
    first = real_run(settings)
    manage_orders(first)
    assert [step["action"] for step in first.done] == ["cancel"]
    assert status_of(client, order_id) == "pending_cancel"
    requests = quoted.state()["requests"]["by_route"]["DELETE /v2/orders/{order_id}"]
    second = real_run(settings)
    manage_orders(second)
    assert second.plan == []

    execute_query(
        "UPDATE dca_events SET created_at = created_at - INTERVAL 11 MINUTE", db_conn=db_conn
    )
    reports = real_run(settings)
    manage_orders(reports)
    assert [step["action"] for step in reports.done] == ["report"]
    silent = real_run(settings)
    manage_orders(silent)
    assert silent.plan == []
    by_route = quoted.state()["requests"]["by_route"]
    assert by_route["DELETE /v2/orders/{order_id}"] == requests == 1
    assert [event["severity"] for event in get_events(db_conn)] == ["error", "info"]


def test_the_order_and_its_claim_are_read_again_before_it_is_canceled(
    settings, quoted, client, db_conn, make_asset, monkeypatch
):
    bitcoin = make_asset()
    make_asset("ETH/USD")
    quoted.arm("rest_market_order", percent=2.0)
    raw = {"symbol": "BTC/USD", "qty": "0.001", "side": "buy", "type": "market"}
    claimed_late = client.post("/orders", {**raw, "time_in_force": "gtc"})["id"]
    ended_late = buy_far_below(client, "ETH/USD", 100)
    let_time_pass(quoted)
    genuine = order_cancelling.fetch_order

    def change_first(client, order_id):
        if order_id == ended_late:
            quoted.cancel(order_id)
        else:
            create_cycle(db_conn, bitcoin.id, "buying", latest_order_id=order_id)
        return genuine(client, order_id)

    monkeypatch.setattr(order_cancelling, "fetch_order", change_first)
    monkeypatch.setattr(
        order_cancelling, "cancel_order", lambda *args: pytest.fail("asked for a cancellation")
    )
    run = real_run(settings)
    manage_orders(run)
    assert {step["order"]: step["outcome"] for step in run.done} == {
        claimed_late: "not needed any more",
        ended_late: "ended by itself (canceled)",
    }


def test_a_dry_run_plans_the_same_and_does_nothing(settings, quoted, client, db_conn, make_asset):
    make_asset()
    order_id = buy_far_below(client)
    let_time_pass(quoted)
    run = dry_run(settings)
    manage_orders(run)
    assert [step["order"] for step in run.plan] == [order_id]
    assert run.done == []
    assert status_of(client, order_id) == "new"
    assert get_events(db_conn) == []


def test_a_request_that_fails_is_reported_and_the_others_are_made(
    settings, quoted, client, db_conn, make_asset
):
    make_asset()
    orders = [buy_far_below(client, price=price) for price in (1000, 500, 400)]
    let_time_pass(quoted)
    quoted.arm("http_500", count=1, match={"method": "DELETE"})
    run = real_run(settings)
    manage_orders(run)
    assert len(run.done) == 2
    assert [step["error"] for step in run.failed] == ["the exchange did not take the request"]
    wait_for_canceled(quoted, client, *(step["order"] for step in run.done))
    again = real_run(settings)
    manage_orders(again)
    assert again.plan == [], "a refused request is not repeated every minute"
    assert run.failed[0]["order"] in orders


def test_it_pages_through_more_than_500_orders_and_leaves_requests_to_the_daemon(
    settings, quoted, client, db_conn, make_asset, monkeypatch
):
    make_asset()
    quoted.configure(rate_limit_per_minute=0)
    for step in range(510):
        place_limit_buy_order(client, "BTC/USD", "0.02", 600 + step)
    let_time_pass(quoted)
    run = dry_run(settings)
    manage_orders(run)
    assert len(run.plan) == 510
    assert len(fetch_orders(client, status="open")) == 510

    asked_so_far = quoted.state()["requests"]["total"]
    quoted.configure(rate_limit_per_minute=asked_so_far + 130)
    bounded = real_run(settings)
    manage_orders(bounded)
    assert 0 < len(bounded.done) < 130, "it used the whole minute, or began another"
    assert [step["action"] for step in bounded.failed] == ["postpone"]


def test_a_cycle_in_watching_does_not_claim_by_its_old_order(
    settings, quoted, client, db_conn, make_asset
):
    asset = make_asset()
    order_id = buy_far_below(client)
    cycle = create_cycle(db_conn, asset.id, "watching", latest_order_id=order_id)
    quoted.set_balance("BTC/USD", "0.01", "50000")
    update_cycle(db_conn, cycle.id, {"quantity": "0.01"})
    let_time_pass(quoted)
    run = real_run(settings)
    manage_orders(run)
    assert [step["order"] for step in run.done] == [order_id]
