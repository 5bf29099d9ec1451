"""`scripts/assets add`: what is saved, and everything that is refused before it is."""

from __future__ import annotations

import threading
from decimal import Decimal

import pytest

from domain.asset import SafetyOrderReference
from domain.cycle import CycleStatus
from models.asset_config import get_all_assets, get_asset_config
from models.cycle_data import get_latest_cycle
from models.events import get_events
from operations import asset_changes
from operations.asset_input import DEFAULTS, build_asset, read_symbol, read_values
from operations.refused import Refused
from utils.db_utils import DatabaseError, close_thread_connection


def test_an_added_asset_has_its_values_its_first_cycle_and_an_event(assets, db_conn):
    said = assets("add", "BTC/USD", "--base", "50", "--fee-aware", "--early-restart", "2", "--yes")
    assert (said.code, said.errors) == (0, "")
    asset = get_asset_config(db_conn, "BTC/USD")
    assert asset.is_enabled
    assert asset.base_order_amount == 50
    assert (asset.safety_order_amount, asset.max_safety_orders) == (20, 5)
    assert asset.safety_order_deviation == Decimal("1.5")
    assert asset.take_profit_percent == Decimal("1.2")
    assert asset.take_profit_fee_percent == Decimal("0.25")
    assert (asset.buy_order_price_deviation_percent, asset.cooldown_period) == (2, 300)
    cycle = get_latest_cycle(db_conn, asset.id)
    assert (cycle.status, cycle.quantity) == (CycleStatus.WATCHING, 0)
    [event] = get_events(db_conn)
    assert (event["kind"], event["symbol"]) == ("asset_added", "BTC/USD")


@pytest.mark.parametrize("spelling", ["btcusd", "BTC-USD", " btc/usd ", "BTC_USD", "Btc:Usd"])
def test_every_spelling_of_a_symbol_means_the_same(spelling):
    assert read_symbol(spelling) == "BTC/USD"


def test_a_symbol_is_saved_as_the_exchange_spells_it(assets, db_conn):
    assert assets("add", "btcusd", "--yes").code == 0
    assert [asset.asset_symbol for asset in get_all_assets(db_conn)] == ["BTC/USD"]


def test_without_a_terminal_and_without_yes_the_plan_is_shown_and_nothing_is_saved(assets, db_conn):
    said = assets("add", "BTC/USD")
    assert said.code == 2
    assert "safety 5" in said.output
    assert "55,632.99" in said.output
    assert said.is_one_line
    assert "add --yes" in said.errors
    assert get_all_assets(db_conn) == []
    asked = assets("add", "BTC/USD", "--json")
    assert (asked.code, asked.json["done"]) == (2, False)
    assert len(asked.json["preview"]["plan"]["orders"]) == 6
    assert "\x1b" not in said.output, "no colours off a terminal"


def test_json_names_every_order_exactly(assets, db_conn):
    said = assets("show", "BTC/USD", "--json", "--max-safety", "1")
    plan = said.json["preview"]["plan"]
    assert [order["qty"] for order in plan["orders"]] == ["0.000333333", "0.000338409"]
    assert plan["orders"][1]["trigger_price"] == "59100"
    assert plan["capital_usd"] == "39.9999519"
    assert said.json["preview"]["account"]["needed_usd"] == "40"
    assert get_all_assets(db_conn) == []


def test_what_is_configured_already_is_refused(assets):
    assets("add", "BTC/USD", "--yes")
    said = assets("add", "btcusd", "--yes")
    assert said.code == 2
    assert said.is_one_line
    assert "scripts/assets edit BTC/USD" in said.errors


BAD_INPUT = [
    ("--base -5", "more than 0 USD, not -5"),
    ("--base=-0", "more than 0 USD, not 0"),
    ("--base 0", "more than 0 USD"),
    ("--base nan", "--base takes a plain number like 20 or 1.5, not 'nan'"),
    ("--base inf", "not 'inf'"),
    ("--base 1e3", "not '1e3'"),
    ("--base 1_000", "not '1_000'"),
    ("--base 1,5", "not '1,5'"),
    ("--base ٢٠", "plain number"),
    ("--base 20$", "not '20$'"),
    ("--base", "--base: expected one argument"),
    ("--base 99999999999999999999999", "at most 20 digits before the point"),
    ("--base 300000", "at most 200000 USD"),
    ("--base 199000", "one order can sell at most 200000 USD"),
    ("--base 20.123456789", "at most 8 decimal places"),
    ("--base 11", "at least 11.03 USD"),
    ("--safety 10", "at least 10.01 USD"),
    ("--safety 0", "more than 0 USD"),
    ("--max-safety 101", "0 to 100"),
    ("--max-safety -1", "0 to 100"),
    ("--max-safety 2.5", "takes a whole number, not '2.5'"),
    ("--deviation 100", "below 100 percent"),
    ("--deviation 0", "more than 0"),
    ("--deviation 99 --max-safety 9", "below the smallest price step"),
    ("--take-profit -1", "more than 0"),
    ("--take-profit 0.0000001", "at most 6 decimal places"),
    ("--take-profit 5000", "at most 1000 percent"),
    ("--cooldown -1", "cooldown seconds must be 0 to"),
    ("--cooldown soon", "whole number"),
    ("--early-restart 100", "below 100 percent"),
    ("--fee-aware 7", "at most 5 percent"),
    ("--base x --safety y", "--safety takes a plain number"),
    ("--bsae 20", "unrecognized arguments: --bsae"),
]


def test_bad_values_are_refused_in_one_line_and_nothing_is_written(assets, db_conn):
    for options, words in BAD_INPUT:
        said = assets("add", "BTC/USD", "--yes", *options.split())
        assert said.code == 2, options
        assert said.is_one_line, options
        assert words in said.errors
        assert said.output == ""
    assert get_all_assets(db_conn) == []
    assert get_events(db_conn) == []


BAD_SYMBOLS = [
    ("BTD/USD", "did you mean"),
    ("QQQQQQ/USD", "it trades AAVE/USD"),
    ("BTC", "write it like BTC/USD"),
    ("", "is no trading pair"),
    ("BTC/USDT", "not quoted in USD, and this bot pays in USD only: BTC/USD"),
    ("ETH/BTC", "ETH/USD"),
    ("GONE/USD", "not tradable"),
    ("'; DROP TABLE dca_assets; --", "is no trading pair"),
    ("BTC/USD/EUR", "is no trading pair"),
]


def test_symbols_that_cannot_be_traded_are_refused(assets, exchange, db_conn):
    exchange.push_quote("GONE/USD", 10, 10)
    for symbol, words in BAD_SYMBOLS:
        said = assets("add", symbol, "--yes")
        assert said.code == 2, symbol
        assert said.is_one_line, symbol
        assert words in said.errors
    assert get_all_assets(db_conn) == []


def test_without_a_price_there_is_no_plan_and_nothing_is_saved(assets, db_conn):
    said = assets("add", "SOL/USD", "--yes")
    assert (said.code, said.is_one_line) == (1, True)
    assert "no quote of SOL/USD" in said.errors
    assert get_all_assets(db_conn) == []


def test_a_wrong_command_is_one_line_too(assets):
    for arguments in ([], ["frobnicate"], ["add"], ["list", "BTC/USD"]):
        said = assets(*arguments)
        assert said.code == 2
        assert said.is_one_line


def test_an_asset_and_its_first_cycle_are_saved_together_or_not_at_all(
    assets, db_conn, monkeypatch
):
    def fail(*arguments):
        raise DatabaseError("the disk is full")

    monkeypatch.setattr(asset_changes, "create_cycle", fail)
    said = assets("add", "BTC/USD", "--yes")
    assert (said.code, said.errors) == (1, "assets: the disk is full\n")
    assert get_all_assets(db_conn) == []
    assert get_events(db_conn) == []


def test_a_lost_answer_to_the_commit_does_not_turn_success_into_a_refusal(
    settings, db_conn, monkeypatch
):
    wanted = build_asset("BTC/USD", read_values(DEFAULTS, Decimal("0.25")))
    real = asset_changes.transaction

    def commits_and_forgets(work):
        real(work)
        return real(work)

    monkeypatch.setattr(asset_changes, "transaction", commits_and_forgets)
    saved = asset_changes.save_new_asset(wanted)
    assert [asset.id for asset in get_all_assets(db_conn)] == [saved.id]


def test_of_two_that_add_the_same_symbol_at_once_one_is_refused(settings, db_conn):
    wanted = build_asset("BTC/USD", read_values(DEFAULTS, Decimal("0.25")))
    start = threading.Barrier(2)
    outcomes = []

    def add():
        start.wait()
        try:
            outcomes.append(asset_changes.save_new_asset(wanted).asset_symbol)
        except Refused as error:
            outcomes.append(str(error))
        finally:
            close_thread_connection()

    threads = [threading.Thread(target=add) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(outcomes, key=len)[0] == "BTC/USD"
    assert "configured already" in max(outcomes, key=len)
    assert len(get_all_assets(db_conn)) == 1


def test_the_default_amounts_are_what_the_coin_needs_to_earn(assets, db_conn):
    said = assets("add", "ETH/USD", "--yes")
    assert said.code == 0
    assert "WARNING" not in said.output
    ether = get_asset_config(db_conn, "ETH/USD")
    assert ether.base_order_amount == ether.safety_order_amount == 45
    assert assets("add", "BTC/USD", "--safety", "25", "--yes").code == 0
    bitcoin = get_asset_config(db_conn, "BTC/USD")
    assert (bitcoin.base_order_amount, bitcoin.safety_order_amount) == (20, 25)


def test_an_amount_that_is_named_is_never_replaced(assets, db_conn):
    said = assets("add", "ETH/USD", "--base", "20", "--max-safety", "0", "--yes")
    assert "a base order of 40 USD earns with it" in said.output
    assert get_asset_config(db_conn, "ETH/USD").base_order_amount == 20


STEEP = ("--volume-scale", "1.5", "--step-scale", "2", "--deviation", "1")


def test_a_ladder_that_grows_is_shown_order_by_order_and_saved(assets, db_conn):
    said = assets("add", "BTC/USD", *STEEP, "--reference", "base-order", "--yes")
    assert (said.code, said.errors) == (0, "")
    for words in (
        "deviation 1 % below the base order, step scale 2, volume scale 1.5",
        "31.00 %",
        "(base 20 + 5 from 20 to 101.25)",
        "Ladder: 283.75 USD",
    ):
        assert words in " ".join(said.output.split())
    asset = get_asset_config(db_conn, "BTC/USD")
    assert asset.safety_order_volume_scale == Decimal("1.5")
    assert asset.safety_order_step_scale == 2
    assert asset.safety_order_reference is SafetyOrderReference.BASE_ORDER
    [shown] = assets("list", "--json").json["assets"]
    assert (shown["ladder_usd"], shown["safety_order_reference"]) == ("283.75", "base_order")
    assert "5 x 20, then x1.5" in assets("list").output
    orders = assets("show", "BTC/USD", "--json").json["preview"]["plan"]["orders"]
    assert [order["down_percent"] for order in orders] == ["0", "1", "3", "7", "15", "31"]


def test_an_edit_shows_the_old_and_the_new_ladder(assets):
    assert assets("add", "BTC/USD", "--yes").code == 0
    said = assets("edit", "BTC/USD", *STEEP, "--reference", "base-order", "--yes")
    assert said.code == 0
    for words in (
        "volume scale 1 -> 1.5",
        "deviation 1.5 % -> 1 %",
        "step scale 1 -> 2",
        "reference the last fill -> the base order",
    ):
        assert words in " ".join(said.output.split())
    back = ("--volume-scale", "1", "--step-scale", "1", "--reference", "last_fill")
    said = assets("edit", "BTC/USD", *back, "--yes")
    assert "scale" not in said.output.split("BTC/USD ")[-1], "what is usual is not named"


def test_a_ladder_that_reaches_the_ground_is_refused_with_the_number_of_its_order(assets, db_conn):
    said = assets("add", "BTC/USD", *STEEP, "--max-safety", "10", "--yes")
    assert said.code != 0
    assert "safety order 8 would come 128 % below the last fill" in said.errors
    said = assets("add", "BTC/USD", "--reference", "first", "--yes")
    assert "--reference takes last-fill or base-order, not 'first'" in said.errors
    assert get_all_assets(db_conn) == []
