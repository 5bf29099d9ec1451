"""`scripts/assets adopt`: coins that nothing claims become a cycle, and are never claimed twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from bot_parts import BotParts
from domain.cycle import CycleStatus
from models.asset_config import get_asset_config, update_asset_config
from models.cycle_data import create_cycle, get_cycle, get_latest_cycle, update_cycle
from models.events import get_events
from models.order_journal import get_bought_usd_since, get_entries_of_cycle
from operations.adopt_coins import carry_out_adoption, prepare_adoption
from operations.refused import Refused
from strategy.ladder import count_safety_orders_paid
from strategy.order_identity import compute_client_order_id
from utils.alpaca_client_rest import get_trading_client, place_limit_buy_order
from utils.alpaca_queries import fetch_position


@pytest.fixture
def btc(assets, db_conn):
    assert assets("add", "BTC/USD", "--base", "100", "--safety", "50", "--yes").code == 0
    return get_asset_config(db_conn, "BTC/USD")


def test_coins_of_the_account_become_the_open_cycle(assets, exchange, db_conn, btc):
    exchange.set_balance("BTC/USD", "0.0039900", "50000")
    before = get_latest_cycle(db_conn, btc.id)
    said = assets("adopt", "btcusd", "--yes")
    assert (said.code, said.errors) == (0, "")
    cycle = get_latest_cycle(db_conn, btc.id)
    assert (cycle.id, cycle.order_key) == (before.id, before.order_key)
    assert cycle.quantity == Decimal("0.004"), "as filled, before the fee of 0.25 %"
    assert cycle.average_purchase_price == cycle.last_order_fill_price == 50000
    assert cycle.base_order_price == 50000
    assert cycle.safety_orders == 2, "200 USD are the base order and two safety orders"
    [entry] = get_entries_of_cycle(db_conn, cycle.id)
    assert (entry.final_status, entry.filled_usd) == ("adopted", 200)
    assert entry.fee_qty == Decimal("0.00001")
    event = get_events(db_conn)[0]
    assert (event["kind"], event["cycle_id"]) == ("cycle_adopted", cycle.id)
    midnight = datetime.now(UTC) - timedelta(hours=24)
    assert get_bought_usd_since(db_conn, midnight) == 0, (
        "the buy limit counts what was bought today"
    )


def test_without_yes_the_rest_of_the_cycle_is_shown_and_nothing_changes(
    assets, exchange, db_conn, btc
):
    exchange.set_balance("BTC/USD", "0.00399", "50000")
    before = get_latest_cycle(db_conn, btc.id)
    said = assets("adopt", "BTC/USD")
    assert said.code == 2
    assert "add --yes" in said.errors
    assert "as much as the base order and 2 of" in said.output
    assert "safety 3" in said.output
    assert "safety 2" not in said.output
    assert assets("adopt", "BTC/USD", "--json").json["adoption"]["quantity"] == "0.004"
    assert get_latest_cycle(db_conn, btc.id) == before


@pytest.mark.parametrize(("bid", "is_warned"), [("50599", False), ("50600", True)])
def test_coins_that_would_be_sold_at_once_are_named_before_the_question(
    assets, exchange, db_conn, btc, bid, is_warned
):
    exchange.set_balance("BTC/USD", "0.00399", "50000")  # sold at 1.2 % above
    exchange.push_quote("BTC/USD", bid, bid)
    warning = f"the bid of {int(bid):,}.00 USD is at or above the cycle's take profit of 50,600.00"
    asked = assets("adopt", "BTC/USD")
    assert (warning in asked.output) is is_warned
    assert ("WARNING" in asked.output) is is_warned
    shown = assets("adopt", "BTC/USD", "--json").json["adoption"]["warnings"]
    assert len(shown) == is_warned
    assert get_latest_cycle(db_conn, btc.id).quantity == 0, "nobody agreed yet"


async def test_adopted_coins_are_averaged_down_and_sold_to_the_last_one(
    assets, settings, exchange, db_conn, btc
):
    exchange.set_balance("BTC/USD", "0.00199500", "60000")
    assert assets("adopt", "BTC/USD", "--yes").code == 0
    cycle = get_latest_cycle(db_conn, btc.id)
    assert (cycle.quantity, cycle.safety_orders) == (Decimal("0.002"), 1)
    parts = BotParts(settings, exchange)
    await parts.see(parts.quote_both(59000, 59000))
    parts.sweep()
    assert get_cycle(db_conn, cycle.id).safety_orders == 2
    await parts.see(parts.quote_both(61000, 61000))
    parts.sweep()
    ended = get_cycle(db_conn, cycle.id)
    assert ended.status is CycleStatus.COMPLETE
    assert fetch_position(get_trading_client(), "BTC/USD") is None
    entries = get_entries_of_cycle(db_conn, cycle.id)
    assert [(entry.purpose.value, entry.final_status) for entry in entries] == [
        ("base", "adopted"),
        ("safety", "filled"),
        ("take_profit", "filled"),
    ]
    profit = entries[2].filled_usd - entries[2].fee_usd - sum(e.filled_usd for e in entries[:2])
    assert 0 < profit < 5, "the cost of the adopted coins counts"


def test_a_new_cycle_is_made_where_none_is_open(assets, exchange, db_conn, btc):
    update_cycle(db_conn, get_latest_cycle(db_conn, btc.id).id, {"status": "error"})
    exchange.set_balance("BTC/USD", "0.1", "50000")
    assert assets("adopt", "BTC/USD", "--yes").code == 0
    cycle = get_latest_cycle(db_conn, btc.id)
    assert (cycle.status, cycle.safety_orders) == (CycleStatus.WATCHING, 5)
    assert cycle.quantity > Decimal("0.1")


def test_adopting_coins_ends_a_cooldown(assets, exchange, db_conn, btc):
    update_cycle(db_conn, get_latest_cycle(db_conn, btc.id).id, {"status": "cooldown"})
    exchange.set_balance("BTC/USD", "0.1", "50000")
    assert assets("adopt", "BTC/USD", "--yes").code == 0
    assert get_latest_cycle(db_conn, btc.id).status is CycleStatus.WATCHING


def hold_coins(db_conn, cycle, exchange):
    update_cycle(
        db_conn, cycle.id, {"quantity": Decimal("0.1"), "average_purchase_price": Decimal(1)}
    )


def wait_for_an_order(db_conn, cycle, exchange):
    update_cycle(db_conn, cycle.id, {"status": "selling", "latest_order_id": "x"})


def open_an_order_by_hand(db_conn, cycle, exchange):
    place_limit_buy_order(get_trading_client(), "BTC/USD", Decimal("0.001"), Decimal(50000))


def fill_an_order_that_is_not_booked(db_conn, cycle, exchange):
    place_limit_buy_order(
        get_trading_client(),
        "BTC/USD",
        Decimal("0.001"),
        Decimal(60000),
        client_order_id=compute_client_order_id(cycle),
    )


def hold_nothing(db_conn, cycle, exchange):
    exchange.set_balance("BTC/USD", "0")


def hold_dust(db_conn, cycle, exchange):
    exchange.set_balance("BTC/USD", "0.000001", "50000")


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (hold_coins, "already holds 0.1 coins"),
        (wait_for_an_order, "an order on BTC/USD is open"),
        (open_an_order_by_hand, "an order on BTC/USD is open"),
        (fill_an_order_that_is_not_booked, "is not booked yet"),
        (hold_nothing, "the account holds none"),
        (hold_dust, "the account holds only 0.000001"),
    ],
)
def test_what_something_else_claims_is_not_adopted(assets, exchange, db_conn, btc, prepare, words):
    exchange.set_balance("BTC/USD", "0.5", "50000")
    prepare(db_conn, get_latest_cycle(db_conn, btc.id), exchange)
    exchange.finish()
    before = get_latest_cycle(db_conn, btc.id)
    said = assets("adopt", "BTC/USD", "--yes")
    assert said.code == 2
    assert said.is_one_line
    assert words in said.errors
    assert get_latest_cycle(db_conn, btc.id) == before
    assert get_entries_of_cycle(db_conn, before.id) == []


def test_more_than_one_order_could_sell_is_not_adopted(assets, exchange, db_conn, btc):
    exchange.set_balance("BTC/USD", "5", "50000")
    said = assets("adopt", "BTC/USD", "--yes")
    assert (said.code, said.is_one_line) == (2, True)
    assert "one order can sell at most 200000 USD" in said.errors
    assert get_latest_cycle(db_conn, btc.id).quantity == 0


def test_what_moved_while_the_user_was_reading_is_not_adopted(
    assets, settings, exchange, db_conn, btc
):
    exchange.set_balance("BTC/USD", "0.5", "50000")
    adoption, _ = prepare_adoption(settings, db_conn, btc)
    exchange.set_balance("BTC/USD", "0.4")
    with pytest.raises(Refused, match="position of BTC/USD has just changed"):
        carry_out_adoption(settings, adoption, datetime.now(UTC))
    exchange.set_balance("BTC/USD", "0.5")
    cycle = get_latest_cycle(db_conn, btc.id)
    update_cycle(db_conn, cycle.id, {"status": "complete"})
    create_cycle(db_conn, btc.id, "cooldown")
    with pytest.raises(Refused, match="cycle of BTC/USD has just changed"):
        carry_out_adoption(settings, adoption, datetime.now(UTC))
    assert get_latest_cycle(db_conn, btc.id).quantity == 0


@pytest.mark.parametrize(
    ("cost", "count"),
    [("1", 0), ("100", 0), ("100.01", 1), ("150", 1), ("151", 2), ("350", 5), ("90000", 5)],
)
def test_the_cost_of_the_coins_says_how_far_down_the_ladder_they_are(btc, cost, count):
    assert count_safety_orders_paid(btc, Decimal(cost)) == count


@pytest.mark.parametrize(("bid", "is_warned"), [("45001", False), ("45000", True)])
def test_coins_that_a_stop_loss_would_sell_at_once_are_named_before_the_question(
    assets, exchange, db_conn, btc, bid, is_warned
):
    update_asset_config(db_conn, btc.id, {"stop_loss_percent": Decimal(10)})
    exchange.set_balance("BTC/USD", "0.00399", "50000")
    exchange.push_quote("BTC/USD", bid, bid)
    asked = assets("adopt", "BTC/USD")
    assert ("stop loss of 45,000 USD" in " ".join(asked.output.split())) is is_warned


@pytest.mark.parametrize(("percent", "is_warned"), [("11", False), ("10", True)])
def test_an_edit_that_makes_the_stop_loss_sell_at_once_says_so(
    assets, exchange, db_conn, btc, percent, is_warned
):
    cycle = get_latest_cycle(db_conn, btc.id)
    held = {"quantity": Decimal("0.004"), "average_purchase_price": Decimal(50000)}
    update_cycle(db_conn, cycle.id, held | {"last_order_fill_price": Decimal(50000)})
    exchange.set_balance("BTC/USD", "0.004", "50000")
    exchange.push_quote("BTC/USD", "45000", "45000")
    asked = assets("edit", "BTC/USD", "--stop-loss", percent)
    assert ("stop loss of 45,000 USD" in " ".join(asked.output.split())) is is_warned
