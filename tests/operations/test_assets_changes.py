"""`scripts/assets` list, show, edit, enable, disable, remove; warnings; what cannot be done now."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from rich.console import Console

from bot_parts import BotParts, wire_quote
from config import reset_settings
from domain.cycle import CycleStatus
from domain.market import Quote
from models.asset_config import get_all_assets, get_asset_config
from models.cycle_data import create_cycle, get_cycle, get_latest_cycle, update_cycle
from models.events import get_events
from models.meta import put_meta
from models.order_journal import get_entries_of_cycle
from operations.refused import Refused
from operations.remove_asset import finish_removal
from strategy.order_identity import compute_client_order_id
from utils.alpaca_client_rest import get_trading_client, place_limit_buy_order
from utils.db_utils import execute_query


@pytest.fixture
def btc(assets, db_conn):
    """BTC/USD, added by the command."""
    assert assets("add", "BTC/USD", "--yes").code == 0
    return get_asset_config(db_conn, "BTC/USD")


def hold(db_conn, asset, quantity="0.001", average="60000", **columns):
    """Let the open cycle of `asset` hold coins."""
    cycle = get_latest_cycle(db_conn, asset.id)
    values = {
        "quantity": Decimal(quantity),
        "average_purchase_price": Decimal(average),
        "last_order_fill_price": Decimal(average),
    }
    update_cycle(db_conn, cycle.id, values | columns)
    return get_latest_cycle(db_conn, asset.id)


# list and show


def test_on_80_columns_the_tables_are_stacked_and_no_line_is_wrapped(
    assets, db_conn, btc, monkeypatch
):
    hold(db_conn, btc, quantity="0.123456789012345678", average="60123.45", safety_orders=2)
    wide = assets("list").output + assets("show", "BTC/USD").output
    monkeypatch.setattr("cli.runner.make_console", lambda: Console(width=80, color_system=None))
    for command in (["list"], ["show", "BTC/USD"]):
        lines = assets(*command).output.splitlines()
        table = [line for line in lines if re.match(r"BTC/USD +\d|yes|held|base|safety", line)]
        assert table
        assert max(map(len, table)) <= 80
        for figure in re.findall(r"[\d,.]{4,}", " ".join(table)):
            assert figure in wide, "none is cut"


def test_a_list_names_every_asset_with_its_open_cycle(assets, db_conn, btc):
    assert assets("add", "ETH/USD", "--take-profit", "3", "--yes").code == 0
    assert assets("disable", "ETH/USD").code == 0
    hold(db_conn, btc, safety_orders=2)
    said = assets("list")
    head, bitcoin, ether = said.output.splitlines()
    assert head.split()[:2] == ["asset", "on"]
    assert bitcoin.split()[-4:] == ["watching", "0.0009975", "60,000.00", "2"]
    assert (ether.split()[:2], ether.split()[-3:]) == (["ETH/USD", "no"], ["-", "-", "-"])
    listed = assets("list", "--json").json["assets"]
    assert [asset["asset_symbol"] for asset in listed] == ["BTC/USD", "ETH/USD"]
    assert listed[0]["cycle"]["quantity"] == "0.001"
    assert listed[1]["take_profit_percent"] == "3"


def test_an_empty_list_says_what_to_do(assets):
    assert "scripts/assets add BTC/USD" in assets("list").output
    assert assets("list", "--json").json == {"assets": []}


def test_show_plans_the_next_cycle_and_the_rest_of_the_open_one(assets, db_conn, btc):
    hold(db_conn, btc, safety_orders=4)
    said = assets("show", "BTC/USD")
    assert said.code == 0
    assert "The open cycle, from what it holds now" in said.output
    assert "The plan of the next cycle that starts at 60,000.00 USD" in said.output
    shown = assets("show", "BTC/USD", "--json").json["preview"]
    assert shown["rest_of_open_cycle"]["start"]["quantity"] == "0.001"
    [order] = shown["rest_of_open_cycle"]["orders"]
    assert (order["number"], order["trigger_price"]) == (5, "59100")


def test_show_with_values_changes_nothing(assets, db_conn, btc):
    said = assets("show", "BTC/USD", "--base", "500")
    assert "500.00" in said.output
    assert get_asset_config(db_conn, "BTC/USD") == btc
    assert "nothing of this is saved" in assets("show", "ETH/USD").output
    assert assets("show", "BTC/USD", "--base", "1").code == 2


def test_show_shows_what_runs_although_it_would_not_be_added_like_that(assets, db_conn, btc):
    execute_query("UPDATE dca_assets SET base_order_amount = 199000", db_conn=db_conn)
    said = assets("show", "BTC/USD")
    assert (said.code, said.is_one_line) == (2, True)
    assert "one order can sell at most 200000 USD" in said.errors
    assert "The plan of a cycle that" in said.output
    shown = assets("show", "BTC/USD", "--json").json
    assert shown["preview"]["refusals"] == [shown["error"]]


# edit


def test_an_edit_changes_only_what_it_names(assets, db_conn, btc):
    said = assets(
        "edit", "BTC/USD", "--take-profit", "2.5%", "--early-restart", "3", "--fee-aware", "--yes"
    )
    assert said.code == 0
    edited = get_asset_config(db_conn, "BTC/USD")
    assert edited.take_profit_percent == Decimal("2.5")
    assert edited.buy_order_price_deviation_percent == 3
    assert edited.take_profit_fee_percent == Decimal("0.25")
    assert (edited.base_order_amount, edited.cooldown_period) == (20, 300)
    assert get_events(db_conn)[0]["kind"] == "asset_edited"
    assert (
        assets("edit", "BTC/USD", "--early-restart", "off", "--fee-aware", "off", "--yes").code == 0
    )
    cleared = get_asset_config(db_conn, "BTC/USD")
    assert cleared.buy_order_price_deviation_percent is None
    assert cleared.take_profit_fee_percent is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "nothing would change for BTC/USD: name what should"),
        (["--base", "20.00"], "has these values already"),
        (["--base", "10"], "at least 11.03 USD"),
        (["--base", "30"], "add --yes"),
    ],
)
def test_an_edit_that_makes_no_sense_changes_nothing(assets, db_conn, btc, options, words):
    yes = [] if words == "add --yes" else ["--yes"]
    said = assets("edit", "BTC/USD", *options, *yes)
    assert said.code == 2
    assert said.is_one_line
    assert words in said.errors
    assert get_asset_config(db_conn, "BTC/USD") == btc


@pytest.mark.parametrize("command", ["edit", "enable", "disable", "remove", "adopt"])
def test_what_is_not_configured_cannot_be_changed(assets, btc, command):
    said = assets(command, "ETH/USD")
    assert said.code == 2
    assert said.is_one_line
    assert "ETH/USD is not configured (configured: BTC/USD)" in said.errors


# enable and disable


def test_an_enabled_asset_has_an_open_cycle(assets, db_conn, make_asset):
    asset = make_asset("BTC/USD", is_enabled=False)  # as an INSERT by hand leaves it
    assert assets("enable", "BTC/USD").code == 0
    assert get_asset_config(db_conn, "BTC/USD").is_enabled
    first = get_latest_cycle(db_conn, asset.id)
    assert first.status is CycleStatus.WATCHING
    assert assets("enable", "BTC/USD").code == 0
    assert get_latest_cycle(db_conn, asset.id) == first, "an open cycle stays"
    update_cycle(db_conn, first.id, {"status": CycleStatus.ERROR})
    assert assets("enable", "BTC/USD").code == 0
    assert get_latest_cycle(db_conn, asset.id).id > first.id


def test_an_asset_that_cannot_work_is_not_enabled(assets, db_conn, make_asset):
    make_asset("BTC/USD", is_enabled=False, base_order_amount=Decimal(5))
    said = assets("enable", "BTC/USD")
    assert said.code == 2
    assert "at least 11.03 USD" in said.errors
    assert not get_asset_config(db_conn, "BTC/USD").is_enabled


def test_disabling_says_what_goes_on_and_needs_no_exchange(assets, exchange, db_conn, btc):
    hold(db_conn, btc)
    exchange.stop()
    said = assets("disable", "BTC/USD")
    assert said.code == 0
    assert "its 0.0009975 coins are still watched and sold" in said.output  # after the coin fee
    assert not get_asset_config(db_conn, "BTC/USD").is_enabled


async def test_a_disabled_asset_buys_no_more_and_is_still_sold(
    assets, settings, exchange, db_conn, btc
):
    parts = BotParts(settings, exchange)
    await parts.see(parts.quote_both(60000, 60000))
    parts.sweep()
    cycle = get_latest_cycle(db_conn, btc.id)
    assert cycle.quantity > 0
    assert assets("disable", "BTC/USD").code == 0
    await parts.see(parts.quote_both(58000, 58000))
    assert len(parts.orders()) == 1
    await parts.see(parts.quote_both(61000, 61000))
    parts.sweep()
    assert get_cycle(db_conn, cycle.id).status is CycleStatus.COMPLETE
    await parts.see(parts.quote_both(58000, 58000))
    assert len(parts.orders()) == 2


# remove


def test_a_removed_asset_is_gone_and_its_journal_stays(assets, db_conn, btc, exchange):
    create_cycle(db_conn, btc.id, "complete")
    assert assets("remove", "BTC/USD").code == 2, "nobody was asked"
    assert get_asset_config(db_conn, "BTC/USD") == btc
    assert assets("remove", "BTC/USD", "--yes").code == 0
    assert get_all_assets(db_conn) == []
    assert execute_query("SELECT * FROM dca_cycles", fetch_all=True, db_conn=db_conn) == []
    kinds = [event["kind"] for event in get_events(db_conn)]
    assert kinds == ["asset_removed", "asset_disabled", "asset_added"]
    assert assets("add", "BTC/USD", "--yes").code == 0, "and can come back"


def test_an_asset_that_holds_coins_is_removed_only_when_they_are_to_be_kept(assets, db_conn, btc):
    cycle = hold(db_conn, btc)
    said = assets("remove", "BTC/USD", "--yes")
    assert said.code == 2
    assert said.is_one_line
    assert "scripts/bot close BTC/USD" in said.errors
    assert "--keep-coins" in said.errors
    assert get_latest_cycle(db_conn, btc.id) == cycle
    assert get_asset_config(db_conn, "BTC/USD").is_enabled
    said = assets("remove", "BTC/USD", "--keep-coins", "--yes")
    assert said.code == 0
    assert "0.001 coins are yours" in said.output
    assert get_all_assets(db_conn) == []
    assert "0.001 coins at 60000 USD" in get_events(db_conn)[0]["reason"]


@pytest.mark.parametrize("where", ["linked", "on the exchange", "filled and not booked"])
def test_an_asset_with_an_order_is_never_removed(assets, exchange, db_conn, btc, where):
    cycle = get_latest_cycle(db_conn, btc.id)
    if where == "linked":
        update_cycle(db_conn, cycle.id, {"status": "buying", "latest_order_id": "x"})
    else:
        limit = 50000 if where == "on the exchange" else 60000
        place_limit_buy_order(
            get_trading_client(),
            "BTC/USD",
            Decimal("0.001"),
            limit,
            client_order_id=compute_client_order_id(cycle),
        )
        exchange.finish()
    for options in ([], ["--keep-coins"]):
        said = assets("remove", "BTC/USD", "--yes", *options)
        assert said.code == 2
        assert said.is_one_line
        assert "order" in said.errors
    assert get_asset_config(db_conn, "BTC/USD").is_enabled
    assert get_latest_cycle(db_conn, btc.id).id == cycle.id


# A buy that is on its way while the asset is removed.


@pytest.mark.parametrize("quotes_before", range(6))
@pytest.mark.parametrize("command", ["remove", "disable"])
async def test_no_buy_is_sent_after_the_asset_was_removed_or_disabled(
    assets, settings, exchange, db_conn, btc, command, quotes_before
):
    """The bot decides from a row that it read before; the command comes between two reads of the
    quote, at each of them in turn.
    """
    parts, seen = BotParts(settings, exchange), []

    def newest_quote():
        seen.append(1)
        if len(seen) == quotes_before + 1:
            assert assets(command, "BTC/USD", *(["--yes"] * (command == "remove"))).code == 0
        wire = wire_quote("BTC/USD", 60000, 60000)
        return Quote.from_wire("BTC/USD", wire)

    parts.placer.consider("BTC/USD", newest_quote)
    exchange.finish()
    if len(seen) <= quotes_before:  # nobody disturbed it
        assert len(parts.orders()) == 1
    else:
        assert parts.orders() == []
    await parts.market.stop()


@pytest.mark.parametrize("limit", [50000, 60000], ids=["it stays open", "it is filled"])
@pytest.mark.parametrize("options", [{"keep_coins": False}, {"keep_coins": True}])
def test_a_buy_that_reaches_the_exchange_late_keeps_its_cycle_and_is_booked(
    assets, settings, exchange, db_conn, btc, limit, options
):
    """Its POST was under way when the exchange said for the first time that there is none."""
    cycle = get_latest_cycle(db_conn, btc.id)
    client = get_trading_client()

    def arrive(seconds):
        assert seconds == settings.unknown_outcome_seconds
        identity = compute_client_order_id(cycle)
        place_limit_buy_order(client, "BTC/USD", Decimal("0.001"), limit, client_order_id=identity)
        exchange.finish()

    with pytest.raises(Refused, match="order"):
        finish_removal(btc, **options, wait=arrive)
    assert get_asset_config(db_conn, "BTC/USD").is_enabled, "it goes on as before"
    parts = BotParts(settings, exchange)
    parts.reconciler.recover()
    [order] = parts.orders()
    found = get_cycle(db_conn, cycle.id)
    assert order.is_ended or found.latest_order_id == order.id
    assert found.quantity == order.filled_qty
    assert parts.reconciler.blocked_symbols() == set()


def test_a_removal_that_is_interrupted_leaves_the_asset_as_it_was(assets, exchange, db_conn, btc):
    def interrupt(_seconds):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finish_removal(btc, keep_coins=False, wait=interrupt)
    assert get_asset_config(db_conn, "BTC/USD").is_enabled


# Warnings


def test_what_the_account_cannot_carry_is_warned_of(assets, exchange, db_conn, btc):
    assert "WARNING" not in assets("show", "BTC/USD").output
    exchange.set_balance("USD", "150")
    said = assets("show", "ETH/USD", "--base", "100", "--max-safety", "0")
    assert "the account has 150.00 USD to spend" in said.output
    assert (
        "WARNING: the account has 150.00 USD to spend, all enabled ladders together" in said.output
    )
    assert "220.00 USD" in said.output


def test_what_is_invested_and_on_order_counts_once(assets, exchange, db_conn, btc):
    assert assets("add", "ETH/USD", "--base", "100", "--max-safety", "0", "--yes").code == 0
    exchange.set_balance("USD", "1000")
    hold(db_conn, btc, safety_orders=3)  # two safety orders of 20 are to come
    cycle = get_latest_cycle(db_conn, get_asset_config(db_conn, "ETH/USD").id)
    place_limit_buy_order(
        get_trading_client(),
        "ETH/USD",
        Decimal("0.04"),
        Decimal(2500),
        client_order_id=compute_client_order_id(cycle),
    )
    exchange.finish()
    account = assets("show", "BTC/USD", "--json").json["preview"]["account"]
    assert account["ladders"] == [
        {"symbol": "BTC/USD", "remaining_usd": "40"},
        {"symbol": "ETH/USD", "remaining_usd": "100"},
    ]
    assert (account["needed_usd"], account["spendable_usd"]) == ("140", "1000")


def test_coins_and_orders_of_the_user_are_warned_of(assets, exchange, db_conn):
    exchange.set_balance("BTC/USD", "0.5", "59000")
    said = assets("show", "BTC/USD", "--json")
    [warning] = said.json["preview"]["warnings"]
    assert "holds 0.5 BTC that no cycle claims" in warning
    assert "scripts/assets adopt BTC/USD" in warning
    place_limit_buy_order(get_trading_client(), "ETH/USD", Decimal("0.01"), Decimal(2000))
    exchange.finish()
    [warning] = assets("show", "ETH/USD", "--take-profit", "5", "--json").json["preview"][
        "warnings"
    ]
    assert "an order on ETH/USD is open" in warning


def test_a_loss_is_warned_of_and_can_be_saved(assets, db_conn):
    said = assets("add", "BTC/USD", "--take-profit", "0.3", "--yes")
    assert said.code == 0
    assert "WARNING: a take profit of 0.3 % loses money" in said.output


def test_a_brake_below_the_ladder_is_warned_of(assets, monkeypatch, db_conn):
    monkeypatch.setenv("MAX_POSITION_USD", "100")
    reset_settings()
    assert "MAX_POSITION_USD is 100" in assets("show", "BTC/USD").output


def test_a_limit_on_open_losses_that_a_cycle_alone_reaches_is_warned_of(
    assets, monkeypatch, db_conn
):
    for limit, words in (
        ("2", "where safety order 3 comes, this cycle alone is 2 USD"),
        ("90", ""),
    ):
        monkeypatch.setenv("MAX_OPEN_LOSS_USD", limit)
        reset_settings()
        shown = " ".join(assets("show", "BTC/USD").output.split())
        assert words in shown
        assert ("MAX_OPEN_LOSS_USD will stop it and those after it" in shown) is bool(words)


def test_a_manual_start_and_a_highest_price_are_shown_and_saved(assets, db_conn):
    said = assets("add", "BTC/USD", "--start", "manual", "--yes")
    assert "the base order waits for scripts/bot open BTC/USD" in said.output
    said = assets("edit", "BTC/USD", "--start", "at-once", "--max-entry", "50000", "--yes")
    words = " ".join(said.output.split())
    assert "start manual -> at-once" in words
    assert "highest entry off -> 50000 USD" in words
    assert "WARNING: no base order comes above 50000 USD, and the ask is 60000 USD now" in words
    shown = assets("list", "--json").json["assets"][0]
    assert (shown["start_mode"], Decimal(shown["max_entry_price"])) == ("at_once", 50000)


# What cannot be done now


def test_an_exchange_that_is_away_is_one_line(assets, exchange, db_conn, btc, monkeypatch):
    monkeypatch.setattr("utils.alpaca_http.READ_WAITS_SECONDS", ())
    exchange.stop()
    for arguments in (
        ("show", "BTC/USD"),
        ("add", "ETH/USD", "--yes"),
        ("enable", "BTC/USD"),
        ("remove", "BTC/USD", "--yes"),
        ("adopt", "BTC/USD", "--yes"),
    ):
        said = assets(*arguments)
        assert said.code == 1
        assert said.is_one_line
        assert "Alpaca: no answer" in said.errors
    assert [asset.asset_symbol for asset in get_all_assets(db_conn)] == ["BTC/USD"]
    assert get_asset_config(db_conn, "BTC/USD") == btc
    failed = assets("show", "BTC/USD", "--json")
    assert (failed.code, failed.json["done"]) == (1, False)


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"DB_SOCKET": "", "DB_PORT": "9"}, 1, "cannot use database"),
        ({"DB_NAME": "nowhere_test"}, 1, "cannot use database"),
        ({"ALPACA_SECRET_KEY": "wrong"}, 1, "Alpaca refused the keys"),
        ({"ALPACA_API_KEY": ""}, 2, "ALPACA_API_KEY is missing"),
    ],
)
def test_settings_that_lead_nowhere_are_one_line(assets, monkeypatch, changes, code, words):
    with monkeypatch.context() as broken:
        for name, value in changes.items():
            broken.setenv(name, value)
        reset_settings()
        said = assets("add", "BTC/USD", "--yes")
    reset_settings()
    assert said.code == code
    assert said.is_one_line
    assert words in said.errors


def test_a_database_of_another_account_or_without_tables_is_refused(assets, db_conn):
    put_meta(db_conn, "alpaca_account_id", "another")
    said = assets("add", "BTC/USD", "--yes")
    assert (said.code, said.is_one_line) == (1, True)
    assert "belongs to Alpaca account another" in said.errors
    execute_query("DROP TABLE dca_meta", db_conn=db_conn)
    said = assets("list")
    assert (said.code, said.is_one_line) == (1, True)
    assert "run scripts/setup" in said.errors


async def test_an_open_cycle_goes_on_with_the_edited_values(
    assets, settings, exchange, db_conn, btc
):
    parts = BotParts(settings, exchange)
    await parts.see(parts.quote_both(60000, 60000))
    parts.sweep()
    assert assets("edit", "BTC/USD", "--deviation", "5", "--safety", "40", "--yes").code == 0
    await parts.see(parts.quote_both(58000, 58000))
    assert len(parts.orders()) == 1
    await parts.see(parts.quote_both(57000, 57000))
    parts.sweep()
    cycle = get_latest_cycle(db_conn, btc.id)
    entries = get_entries_of_cycle(db_conn, cycle.id)
    assert [round(entry.filled_usd) for entry in entries] == [20, 40]


def test_an_edit_shows_what_was_and_what_will_be(assets, db_conn, btc):
    values = ("--base", "150", "--take-profit", "2", "--early-restart", "3")
    said = assets("edit", "BTC/USD", *values, "--yes")
    assert said.code == 0
    shown = " ".join(said.output.split())
    assert "base order 20 USD -> 150 USD" in shown
    assert "take profit 1.2 % -> 2 %" in shown
    assert "early restart off -> 3 % down" in shown
    assert "deviation 1.5 % ->" not in shown
    changes = assets("edit", "BTC/USD", "--cooldown", "60", "--yes", "--json").json["changes"]
    assert changes == {"cooldown_period": [300, 60]}


def test_an_edit_to_six_buys_at_one_price_is_refused_whatever_is_agreed(assets, db_conn, btc):
    said = assets("edit", "BTC/USD", "--deviation", "0.000001", "--yes")
    assert said.code == 2
    assert "less than the price step of BTC/USD, 0.01 USD" in said.complaint
    assert get_asset_config(db_conn, "BTC/USD").safety_order_deviation == Decimal("1.5")


def test_a_base_order_beyond_the_account_is_named_as_the_one_that_is_refused(assets, btc):
    shown = assets("show", "BTC/USD", "--base", "150000").output
    assert "can need 150,100.00 USD: the base order would be refused" in shown


def test_removing_what_is_not_configured_does_not_suggest_adding_it(assets, btc):
    said = assets("remove", "FOO/USD")
    assert said.complaint == "assets: FOO/USD is not configured (configured: BTC/USD)"
