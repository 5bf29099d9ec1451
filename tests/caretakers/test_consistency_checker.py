"""consistency_checker's work on the local exchange and a real database."""

import logging
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
import requests
from alpaca.common.exceptions import APIError

from caretaker_process import dry_run, real_run
from caretakers import consistency_checker as consistency_checking
from caretakers import consistency_snapshot as consistency_look
from caretakers.consistency_checker import check_consistency
from domain.cycle import CycleStatus
from models.cycle_data import create_cycle, get_cycle, get_latest_cycle, update_cycle
from models.events import get_events
from models.order_journal import get_entries_of_cycle
from strategy import unclaimed
from strategy.order_identity import compute_client_order_id
from utils.alpaca_client_rest import (
    ExchangeError,
    get_trading_client,
    place_limit_buy_order,
    place_market_sell_order,
)
from utils.alpaca_http import ExchangeUnavailable, call_once
from utils.alpaca_queries import fetch_position
from utils.db_utils import execute_query, get_db_connection

UUID = "c2470331-8993-4051-bf5d-428d5bdc9a48"


@pytest.fixture(autouse=True)
def two_snapshots_at_once(monkeypatch):
    monkeypatch.setattr(consistency_checking, "SECONDS_BETWEEN_SNAPSHOTS", 0.02)


@pytest.fixture
def client(settings):
    return get_trading_client()


@pytest.fixture
def quoted(exchange):
    exchange.push_quote("BTC/USD", 50000, 50001)
    return exchange


@pytest.fixture
def check(settings, db_conn):
    """Run the work; every run is followed by one that must find nothing to do."""

    def call(*, dry=False, settles=True):
        run = dry_run(settings) if dry else real_run(settings)
        check_consistency(run)
        if not dry and settles:
            assert run.failed == []
            again = real_run(settings)
            check_consistency(again)
            assert again.plan == [], "a second run right after does nothing"
        return run

    return call


def events(db_conn):
    return [(event["kind"], event["severity"]) for event in reversed(get_events(db_conn))]


def hold(db_conn, asset, quantity, status="watching", **columns):
    """A cycle that bought `quantity` at 50,000, as rows written by hand are."""
    return create_cycle(
        db_conn,
        asset.id,
        status,
        quantity=Decimal(quantity),
        average_purchase_price=Decimal(50000),
        last_order_fill_price=Decimal(50000),
        **columns,
    )


def buy(client, cycle, qty="0.002", price=50001):
    return place_limit_buy_order(
        client, "BTC/USD", Decimal(qty), price, client_order_id=compute_client_order_id(cycle)
    )


# Scenario 1: cycles that wait -------------------------------------------------------------------


@pytest.mark.parametrize("status", ["buying", "selling"])
@pytest.mark.parametrize("order_id", ["fake_id", UUID, None])
def test_stuck_buying_cycle_no_order_on_alpaca(
    check, quoted, db_conn, make_asset, caplog, status, order_id
):
    cycle = create_cycle(db_conn, make_asset().id, status, latest_order_id=order_id)
    run = check()
    assert [step["action"] for step in run.done] == ["reset cycle"]
    after = get_cycle(db_conn, cycle.id)
    assert (after.status, after.latest_order_id) == (CycleStatus.WATCHING, None)
    assert after.order_seq == cycle.order_seq, "nothing ended"
    assert events(db_conn) == [("order_missing", "warning")]
    alerts = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(alerts) == (1 if order_id is None else 0)


def test_a_filled_order_of_a_stuck_cycle_is_booked(check, quoted, client, db_conn, make_asset):
    cycle = create_cycle(db_conn, make_asset().id, "watching")
    order = buy(client, cycle)
    quoted.finish()
    update_cycle(db_conn, cycle.id, {"status": "buying", "latest_order_id": str(order.id)})
    run = check()
    assert [step["action"] for step in run.done] == ["apply order"]
    after = get_cycle(db_conn, cycle.id)
    assert (after.status, after.quantity, after.order_seq) == ("watching", Decimal("0.002"), 1)
    assert [entry.filled_qty for entry in get_entries_of_cycle(db_conn, cycle.id)] == [
        Decimal("0.002")
    ]
    assert events(db_conn) == [("order_recovered", "warning")]
    assert get_events(db_conn)[0]["cycle_id"] == cycle.id


def test_a_cycle_that_waits_for_an_order_that_was_booked_already_goes_back_to_rest(
    check, quoted, client, db_conn, make_asset
):
    """As the daemon's sweep decides it: one planner serves both."""
    cycle = create_cycle(db_conn, make_asset().id, "watching")
    order = buy(client, cycle)
    quoted.finish()
    update_cycle(db_conn, cycle.id, {"status": "buying", "latest_order_id": str(order.id)})
    check()
    booked = get_cycle(db_conn, cycle.id)
    update_cycle(db_conn, cycle.id, {"status": "buying", "latest_order_id": str(order.id)})
    run = check()
    assert [step["action"] for step in run.done] == ["reset cycle"]
    healed = get_cycle(db_conn, cycle.id)
    assert replace(healed, updated_at=booked.updated_at) == booked


def test_a_filled_sell_whose_event_was_lost_completes_its_cycle(
    check, quoted, client, db_conn, make_asset
):
    asset = make_asset()
    quoted.set_balance("BTC/USD", "0.00199", "50000")
    cycle = hold(db_conn, asset, "0.002")
    place_market_sell_order(
        client, "BTC/USD", "0.00199", client_order_id=compute_client_order_id(cycle)
    )
    quoted.finish()
    run = check()
    assert [step["action"] for step in run.done] == ["apply order"]
    assert get_cycle(db_conn, cycle.id).status == "complete"
    assert get_latest_cycle(db_conn, asset.id).status == "cooldown"


def test_an_open_order_keeps_its_cycle_however_old_it_is(
    check, quoted, client, db_conn, make_asset
):
    cycle = create_cycle(db_conn, make_asset().id, "watching")
    order = buy(client, cycle, "0.02", 1000)
    quoted.finish()
    update_cycle(db_conn, cycle.id, {"status": "buying", "latest_order_id": str(order.id)})
    quoted.arm("skew_clock", seconds=7 * 3600)
    before = get_cycle(db_conn, cycle.id)
    assert check().plan == []
    assert get_cycle(db_conn, cycle.id) == before


def test_an_open_order_that_was_never_linked_is_linked(check, quoted, client, db_conn, make_asset):
    cycle = create_cycle(db_conn, make_asset().id, "buying", latest_order_id="fake_id")
    order = buy(client, cycle, "0.02", 1000)
    check()
    after = get_cycle(db_conn, cycle.id)
    assert (after.status, after.latest_order_id) == ("buying", str(order.id))


def test_a_canceled_early_restart_goes_back_to_its_cooldown(
    check, quoted, client, db_conn, make_asset
):
    asset = make_asset(cooldown_period=3600)
    execute_query(
        "INSERT INTO dca_cycles (asset_id, status, completed_at)"
        " VALUES (%s, 'complete', UTC_TIMESTAMP(6))",
        (asset.id,),
        db_conn=db_conn,
    )
    cycle = create_cycle(db_conn, asset.id, "buying", latest_order_id=UUID)
    check()
    assert get_cycle(db_conn, cycle.id).status == "cooldown"


def test_a_database_from_a_backup_catches_up(check, quoted, client, db_conn, make_asset):
    """Three orders ended since; the row knows of none."""
    cycle = create_cycle(db_conn, make_asset().id, "watching")
    for seq in range(3):
        identity = compute_client_order_id(cycle, seq)
        place_limit_buy_order(client, "BTC/USD", "0.002", 50001, client_order_id=identity)
    quoted.finish()
    check()
    after = get_cycle(db_conn, cycle.id)
    assert (after.quantity, after.order_seq) == (Decimal("0.006"), 3)


# Scenario 2: cycles that hold coins --------------------------------------------------------------


def test_watching_cycle_no_alpaca_position(check, quoted, db_conn, make_asset):
    asset = make_asset(cooldown_period=600)
    cycle = hold(db_conn, asset, "0.1")
    run = check()
    assert [step["action"] for step in run.done] == ["end cycle in error"]
    ended, fresh = get_cycle(db_conn, cycle.id), get_latest_cycle(db_conn, asset.id)
    assert ended.status == "error"
    assert ended.completed_at is not None
    assert (fresh.status, fresh.quantity, fresh.safety_orders) == ("watching", 0, 0)
    assert fresh.id != cycle.id
    assert events(db_conn) == [("position_gone", "error")]


def test_dust_is_no_position(check, quoted, db_conn, make_asset):
    cycle = hold(db_conn, make_asset(), "0.1")
    quoted.set_balance("BTC/USD", "0.0000001", "50000")
    check()
    assert get_cycle(db_conn, cycle.id).status == "error"


def test_a_cycle_of_a_disabled_asset_is_checked_too(check, quoted, db_conn, make_asset):
    cycle = hold(db_conn, make_asset(is_enabled=False), "0.1")
    check()
    assert get_cycle(db_conn, cycle.id).status == "error"


def test_dust_in_the_database_without_a_position_is_left_alone(check, quoted, db_conn, make_asset):
    hold(db_conn, make_asset(), "0.0000001")
    assert check().plan == []


def test_what_fees_explain_is_no_difference(check, quoted, client, db_conn, make_asset):
    cycle = create_cycle(db_conn, make_asset().id, "watching")
    buy(client, cycle)
    quoted.finish()
    check()
    assert events(db_conn) == [("order_recovered", "warning")], "and nothing about the position"


@pytest.mark.parametrize(
    ("fault", "match"),
    [
        ("positions_empty", {"route": "list"}),
        ("positions_partial", {"route": "list"}),
    ],
)
def test_an_empty_or_partial_list_of_positions_is_not_believed(
    check, quoted, client, db_conn, make_asset, fault, match
):
    cycle = create_cycle(db_conn, make_asset().id, "watching")
    buy(client, cycle)
    quoted.finish()
    check()
    before = get_cycle(db_conn, cycle.id)
    quoted.arm(fault, match=match)
    assert check().plan == []
    assert get_cycle(db_conn, cycle.id) == before


def test_one_wrong_404_is_not_believed(check, quoted, client, db_conn, make_asset):
    """A position that lags behind its fill, for the length of one snapshot."""
    cycle = create_cycle(db_conn, make_asset().id, "watching")
    buy(client, cycle)
    quoted.finish()
    check()
    before = get_cycle(db_conn, cycle.id)
    quoted.arm("positions_empty", count=1, match={"route": "list"})
    quoted.arm("positions_empty", count=1, match={"route": "single"})
    assert check().plan == []
    assert get_cycle(db_conn, cycle.id) == before


def test_the_last_question_before_the_end_is_asked_right_then(
    check, quoted, client, db_conn, make_asset
):
    cycle = create_cycle(db_conn, make_asset().id, "watching")
    buy(client, cycle)
    quoted.finish()
    check()
    before = get_cycle(db_conn, cycle.id)
    quoted.arm("positions_empty", count=2, match={"route": "list"})
    quoted.arm("positions_empty", count=2, match={"route": "single"})
    assert [step["outcome"] for step in check().done] == ["there again"]
    assert get_cycle(db_conn, cycle.id) == before


@pytest.mark.parametrize("fault", ["http_500", "http_429", "http_html", "http_truncated"])
@pytest.mark.parametrize(
    "path", ["/v2/orders", "/v2/positions", "/v2/positions/*", "/v2/orders:by_client_order_id"]
)
def test_an_outage_changes_nothing(settings, quoted, db_conn, make_asset, monkeypatch, fault, path):
    monkeypatch.setattr("utils.alpaca_http.READ_WAITS_SECONDS", (0.0,))
    held = hold(db_conn, make_asset(), "0.1")
    stuck = create_cycle(db_conn, make_asset("ETH/USD").id, "buying", latest_order_id="fake_id")
    quoted.arm(fault, match={"path": path})
    with pytest.raises(ExchangeError):
        check_consistency(real_run(settings))
    assert quoted.times_applied(fault) > 0
    assert (get_cycle(db_conn, held.id), get_cycle(db_conn, stuck.id)) == (held, stuck)
    assert events(db_conn) == []


def test_an_order_under_way_on_the_symbol_holds_the_end_back(
    check, quoted, client, db_conn, make_asset
):
    cycle = hold(db_conn, make_asset(), "0.1")
    place_limit_buy_order(client, "BTC/USD", "0.02", 1000)
    assert check().plan == []
    assert get_cycle(db_conn, cycle.id) == cycle


def test_a_row_that_is_touched_between_the_snapshots_is_read_again(
    settings, quoted, db_conn, make_asset, monkeypatch
):
    """Waited out and read again, not skipped: the third snapshot agrees with the second."""
    asset = make_asset()
    cycle = hold(db_conn, asset, "0.1")
    touched = []

    def touch(seconds):
        if not touched:
            other = get_db_connection()
            update_cycle(other, cycle.id, {"quantity": Decimal("0.2")})
            other.close()
        touched.append(seconds)

    monkeypatch.setattr(consistency_checking.time, "sleep", touch)
    run = real_run(settings)
    check_consistency(run)
    assert len(touched) == 2
    assert [step["action"] for step in run.done] == ["end cycle in error"]
    assert get_cycle(db_conn, cycle.id).quantity == Decimal("0.2")


def test_a_row_that_always_changes_is_left_to_the_next_run(
    settings, quoted, db_conn, make_asset, monkeypatch
):
    cycle = hold(db_conn, make_asset(), "0.1")

    def touch(seconds):
        execute_query("UPDATE dca_cycles SET quantity = quantity + 1", db_conn=db_conn)

    monkeypatch.setattr(consistency_checking.time, "sleep", touch)
    run = real_run(settings)
    check_consistency(run)
    assert run.plan == []
    assert get_cycle(db_conn, cycle.id).status == "watching"


@pytest.mark.parametrize("body", ["<html>404</html>", "", "{}", "[]"])
def test_a_404_that_is_not_in_alpacas_words_is_no_answer(body):
    """A proxy's page for a wrong route must not say that a position is gone."""

    def answer():
        response = requests.Response()
        response.status_code = 404
        raise APIError(body, requests.HTTPError(response=response))

    with pytest.raises(ExchangeUnavailable):
        call_once(answer)


# Reports ---------------------------------------------------------------------------------------


def test_fewer_coins_than_fees_explain_are_reported_once(check, quoted, db_conn, make_asset):
    cycle = hold(db_conn, make_asset(), "0.1")
    quoted.set_balance("BTC/USD", "0.06", "50000")
    check()
    assert events(db_conn) == [("position_short", "error")]
    assert get_cycle(db_conn, cycle.id) == cycle
    quoted.set_balance("BTC/USD", "0.05", "50000")
    assert check().plan == [], "once for each cycle, whatever the number"


def test_more_coins_than_the_cycle_bought_are_a_warning(check, quoted, db_conn, make_asset):
    hold(db_conn, make_asset(), "0.1")
    quoted.set_balance("BTC/USD", "0.5", "50000")
    check()
    assert events(db_conn) == [("position_excess", "warning")]


def test_coins_that_keep_the_bot_from_buying_are_an_error_that_names_symbol_and_cure(
    check, quoted, db_conn, make_asset, caplog
):
    create_cycle(db_conn, make_asset().id, "watching")
    quoted.set_balance("BTC/USD", "0.5", "50000")
    check()
    assert events(db_conn) == [("position_unexpected", "error")]
    [line] = [one.getMessage() for one in caplog.records if one.levelname == "ERROR"]
    assert line.startswith("position.unexpected symbol=BTC/USD cycle=")
    assert "the account holds 0.5 coins that no cycle bought" in line
    assert "scripts/assets adopt BTC/USD makes a cycle of them" in line


def test_coins_that_were_reported_can_still_turn_out_to_be_gone(check, quoted, db_conn, make_asset):
    cycle = hold(db_conn, make_asset(), "0.1")
    quoted.set_balance("BTC/USD", "0.06", "50000")
    check()
    quoted.set_balance("BTC/USD", "0", "50000")
    check()
    assert get_cycle(db_conn, cycle.id).status == "error"


def test_an_order_of_ours_that_nothing_claims_is_reported_once(
    check, quoted, client, db_conn, make_asset
):
    create_cycle(db_conn, make_asset().id, "watching")
    for identity in ("dca-999-aaaaaaaa-0", "dca-what-is-this"):
        place_limit_buy_order(client, "BTC/USD", "0.02", 1000, client_order_id=identity)
    check()
    assert events(db_conn) == [("order_unclaimed", "error")] * 2


def test_a_filled_order_that_nothing_claims_is_reported_while_its_coins_are_there(
    check, quoted, client, db_conn, make_asset, monkeypatch
):
    monkeypatch.setattr(unclaimed, "RECOVERY_TIME", timedelta(0))
    create_cycle(db_conn, make_asset().id, "watching")
    place_limit_buy_order(client, "BTC/USD", "0.02", 50001, client_order_id="dca-999-aaaaaaaa-0")
    assert quoted.finish()
    coins = fetch_position(client, "BTC/USD").qty
    quoted.set_balance("BTC/USD", "0", "50000")
    check()
    assert events(db_conn) == []
    quoted.set_balance("BTC/USD", str(coins), "50000")
    check()
    assert ("order_unclaimed", "error") in events(db_conn)


def test_orders_of_the_user_are_nobodys_business(check, quoted, client, db_conn, make_asset):
    create_cycle(db_conn, make_asset().id, "watching")
    place_limit_buy_order(client, "BTC/USD", "0.02", 1000)
    assert check().plan == []


def test_a_cooldown_that_has_no_end_is_reported_once_and_left(check, quoted, db_conn, make_asset):
    cycle = create_cycle(db_conn, make_asset().id, "cooldown")
    check()
    assert events(db_conn) == [("cooldown_endless", "error")]
    assert get_cycle(db_conn, cycle.id) == cycle


def test_an_asset_that_alpaca_does_not_know_does_not_hold_up_the_others(
    check, quoted, db_conn, make_asset
):
    hold(db_conn, make_asset("NOSUCH/USD"), "1")
    hold(db_conn, make_asset("not a symbol"), "1")
    cycle = hold(db_conn, make_asset(), "0.1")
    check()
    assert get_cycle(db_conn, cycle.id).status == "error"


def test_a_dry_run_finds_the_same_and_changes_nothing(check, quoted, client, db_conn, make_asset):
    held = hold(db_conn, make_asset(), "0.1")
    stuck = create_cycle(db_conn, make_asset("ETH/USD").id, "buying", latest_order_id="fake_id")
    run = check(dry=True)
    assert sorted(step["action"] for step in run.plan) == ["end cycle in error", "reset cycle"]
    assert run.done == []
    assert (get_cycle(db_conn, held.id), get_cycle(db_conn, stuck.id)) == (held, stuck)
    assert events(db_conn) == []


def test_many_positions_that_seem_to_be_gone_stay_within_the_allowance(
    settings, quoted, db_conn, make_asset
):
    """A list that comes empty must not become a storm of questions."""
    for symbol in ("BTC", "ETH", "SOL", "LTC", "DOGE", "LINK", "AVAX", "UNI", "AAVE", "BCH"):
        hold(db_conn, make_asset(f"{symbol}/USD"), "1")
    before = quoted.state()["requests"]["total"]
    run = dry_run(settings)
    check_consistency(run)
    assert len(run.plan) == consistency_look.MAX_SUSPECTS
    assert quoted.state()["requests"]["total"] - before <= 70


def test_after_the_second_cycle_that_ends_in_error_an_alert_is_sent_and_nothing_more_touched(
    check, settings, quoted, db_conn, make_asset, caplog, monkeypatch
):
    """An exchange that says 404 for every position, run after run."""
    cycles = [
        hold(db_conn, make_asset(f"{coin}/USD"), "1") for coin in ("BTC", "ETH", "SOL", "LTC")
    ]

    def ended():
        return [get_cycle(db_conn, one.id).status for one in cycles].count(CycleStatus.ERROR)

    for _ in range(3):
        run = real_run(settings)
        check_consistency(run)
        assert ended() == 2
        assert [step["action"] for step in run.failed] == ["hold back"]
    kinds = [kind for kind, severity in events(db_conn) if severity == "error"]
    assert kinds == ["position_gone"] * 2 + ["positions_doubted"] * 2, (
        "one for each that seems gone"
    )
    alerts = [one.getMessage() for one in caplog.records if "positions.doubted" in one.getMessage()]
    assert ["symbol=LTC/USD" in alerts[0], "symbol=SOL/USD" in alerts[1]] == [True, True]
    assert len(alerts) == 2
    monkeypatch.setattr(consistency_checking, "HOLD_SECONDS", 0.0)
    check_consistency(real_run(settings))
    assert ended() == 4, "the user sold them: it goes on when the time has passed"


def test_many_cycles_that_wait_for_lost_orders_are_freed_within_the_allowance(
    settings, quoted, db_conn, make_asset, monkeypatch
):
    monkeypatch.setattr(consistency_look, "MAX_LOST", 3)
    coins = ("BTC", "ETH", "SOL", "LTC", "DOGE", "LINK", "AVAX")
    for number, coin in enumerate(coins):
        lost = f"{UUID[:-2]}{number:02}"
        create_cycle(db_conn, make_asset(f"{coin}/USD").id, "buying", latest_order_id=lost)
    freed = []
    for _ in range(3):
        before = quoted.state()["requests"]["by_route"].get("GET /v2/orders/{order_id}", 0)
        run = real_run(settings)
        check_consistency(run)
        freed.append(len(run.done))
        after = quoted.state()["requests"]["by_route"]["GET /v2/orders/{order_id}"]
        assert after - before <= 2 * 3, "two snapshots"
    assert freed == [3, 3, 1]


def test_an_order_that_cannot_be_read_proves_nothing_and_holds_up_no_other(
    settings, quoted, client, db_conn, make_asset
):
    """It filled something without a price. The coins of its symbol are not called gone."""
    held, other = hold(db_conn, make_asset(), "0.1"), hold(db_conn, make_asset("ETH/USD"), "1")
    order_id = str(buy(client, held, price=1000, qty="0.02").id)
    quoted.finish()
    inside = quoted.server.exchange

    async def spoil():
        order = inside.order(order_id)
        inside.book.put(replace(order, filled_qty=Decimal("0.001"), filled_value=Decimal(0)))

    quoted.run(spoil())
    check_consistency(real_run(settings))
    assert get_cycle(db_conn, held.id) == held
    assert get_cycle(db_conn, other.id).status == "error"
