"""`scripts/bot open`: a manual start buys one base order for each request, and says so."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from bot_parts import BotParts
from builders import NOW
from cli import assets as assets_command
from cli import bot as bot_command
from daemon_process import DaemonProcess, wait_until
from domain.cycle import CycleStatus
from models.asset_config import update_asset_config
from models.cycle_data import create_cycle, get_cycle, get_latest_cycle, update_cycle
from models.events import get_events
from monitoring.status.status import StatusReader
from runtime.operator_flags import PAUSED, set_flag
from said import Said, runner
from utils.db_utils import execute_query

BTC = "BTC/USD"
HELD = {"quantity": Decimal("0.002"), "average_purchase_price": Decimal(50000)}
DUST = HELD | {"quantity": Decimal("0.000000001")}


@pytest.fixture
def bot(settings, db_conn, capsys) -> Callable[..., Said]:
    """Run `scripts/bot` in this process; no daemon runs."""
    return runner(bot_command.main, capsys)


@pytest.fixture
async def parts(settings, exchange):
    parts = BotParts(settings, exchange)
    yield parts
    await parts.market.stop()


@pytest.fixture
def manual(db_conn, make_asset):
    """The cycle of an asset with a manual start."""
    return create_cycle(db_conn, make_asset(start_mode="manual").id, "watching")


def kinds(db_conn) -> list[str]:
    return [row["kind"] for row in get_events(db_conn)]


async def trade(parts, price) -> None:
    await parts.see(parts.quote_both(price, price + 1))
    parts.sweep()


async def test_each_request_opens_one_cycle_and_the_next_one_waits_again(
    bot, parts, db_conn, manual
):
    await trade(parts, 50000)
    assert parts.orders() == [], "it waits"
    said = bot("open", "btcusd")
    assert (said.code, said.errors) == (0, "")
    assert said.output.startswith("BTC/USD is to be opened with 100 USD (")
    assert "the daemon does not run (scripts/bot start)" in " ".join(said.output.split())
    await trade(parts, 50000)
    [base] = parts.orders()
    assert base.client_order_id == f"dca-{manual.id}-{manual.order_key}-0"
    assert get_cycle(db_conn, manual.id).open_requested is False, "its fill ends the request"

    await trade(parts, 49000)
    assert len(parts.orders()) == 2, "its safety orders come by themselves"
    await trade(parts, 52000)
    assert get_cycle(db_conn, manual.id).status is CycleStatus.COMPLETE
    execute_query("UPDATE dca_cycles SET status = 'watching' WHERE status = 'cooldown'")
    await trade(parts, 52000)
    assert len(parts.orders()) == 3, "the next cycle waits again"
    assert kinds(db_conn) == ["open_requested"]


def test_asked_twice_is_asked_once(bot, db_conn, manual):
    assert bot("open", BTC).code == 0
    said = bot("open", BTC, "--json")
    assert (said.code, said.json["requested"], said.json["was_requested"]) == (0, True, True)
    assert kinds(db_conn) == ["open_requested"]


def test_a_request_is_withdrawn_and_an_asset_that_is_disabled_has_none(bot, db_conn, manual):
    assert bot("open", BTC, "--withdraw").errors == (
        "bot: nobody asked to open BTC/USD, or it is open already\n"
    )
    bot("open", BTC)
    assert bot("open", BTC, "--withdraw").output == "The request to open BTC/USD is withdrawn.\n"
    assert get_cycle(db_conn, manual.id).open_requested is False
    bot("open", BTC)
    assert assets_command.main(["disable", BTC]) == 0
    assert get_cycle(db_conn, manual.id).open_requested is False
    assert sorted(kinds(db_conn)) == [
        "asset_disabled",
        "open_requested",
        "open_requested",
        "open_withdrawn",
    ]


@pytest.mark.parametrize(
    ("asset", "cycle", "words"),
    [
        ({"is_enabled": False}, {}, "BTC/USD is disabled: scripts/assets enable BTC/USD"),
        ({}, {"status": "buying"}, "the cycle of BTC/USD is open already: it is buying now"),
        ({}, HELD, "the cycle of BTC/USD is open already: it bought 0.002 coins"),
        ({}, {"close_requested": True}, "BTC/USD is to be closed: scripts/bot close BTC/USD"),
        ({}, {"status": "error", "completed_at": NOW}, "BTC/USD has no cycle to open"),
        ({"max_entry_price": Decimal("-1")}, {}, "BTC/USD cannot be traded: the highest price"),
    ],
)
def test_what_cannot_begin_is_refused_and_nothing_is_written(
    bot, db_conn, manual, asset, cycle, words
):
    if asset:
        update_asset_config(db_conn, manual.asset_id, asset)
    if cycle:
        update_cycle(db_conn, manual.id, cycle)
    said = bot("open", BTC)
    assert (said.code, said.output) == (2, "")
    assert said.errors.startswith(f"bot: {words}")
    assert get_cycle(db_conn, manual.id).open_requested is False
    assert kinds(db_conn) == []


def test_an_unknown_asset_is_refused(bot, db_conn, manual):
    said = bot("open", "ETH/USD")
    assert (said.code, said.errors) == (
        2,
        "bot: ETH/USD is not configured (configured: BTC/USD)\n",
    )


async def test_dust_is_no_open_cycle_and_is_added_to(bot, parts, db_conn, manual):
    update_cycle(db_conn, manual.id, DUST)
    assert bot("open", BTC).code == 0
    await trade(parts, 50000)
    assert [order.side for order in parts.orders()] == ["buy"]


async def test_a_request_ends_the_cooldown_with_its_base_order(bot, parts, db_conn, manual):
    update_cycle(db_conn, manual.id, {"status": "cooldown"})
    said = bot("open", BTC)
    assert said.output.endswith("Its cooldown ends with that.\n")
    await trade(parts, 50000)
    cycle = get_cycle(db_conn, manual.id)
    assert (cycle.status, cycle.quantity > 0) == (CycleStatus.WATCHING, True)


@pytest.mark.parametrize("status", ["watching", "cooldown"])
async def test_an_order_that_ends_unfilled_leaves_the_request_standing(
    bot, parts, exchange, db_conn, manual, status
):
    update_cycle(db_conn, manual.id, {"status": "complete", "completed_at": datetime.now(UTC)})
    cycle = create_cycle(db_conn, manual.asset_id, status)
    bot("open", BTC)
    fault = exchange.arm("reject_order", count=1)
    await trade(parts, 50000)
    exchange.clear_faults(fault)
    [rejected] = parts.orders()
    cycle = get_cycle(db_conn, cycle.id)
    assert (rejected.status, cycle.order_seq, cycle.open_requested) == ("rejected", 1, True)
    assert cycle.status is CycleStatus.COOLDOWN, "it has not begun"


def test_an_asset_that_begins_at_once_needs_no_request(bot, db_conn, make_asset):
    cycle = create_cycle(db_conn, make_asset().id, "watching")
    said = bot("open", BTC, "--json")
    assert (said.code, said.json["requested"]) == (0, False)
    assert "BTC/USD opens its cycles by itself" in said.json["text"]
    assert get_cycle(db_conn, cycle.id).open_requested is False
    update_cycle(db_conn, cycle.id, {"status": "cooldown"})
    assert bot("open", BTC, "--json").json["requested"] is True, "it ends the cooldown"


def test_what_it_waits_for_is_said(bot, settings, db_conn, manual):
    update_asset_config(db_conn, manual.asset_id, {"max_entry_price": Decimal(48000)})
    set_flag(settings.run_dir, PAUSED, wanted=True)
    assert bot("open", BTC, "--json").json["waits_for"] == [
        "the daemon does not run (scripts/bot start)",
        "buying is paused (scripts/bot resume)",
        "for a price at or below 48000 USD",
    ]


def test_status_says_what_a_base_order_waits_for_and_calls_nothing_wrong(
    bot, settings, exchange, db_conn, manual
):
    exchange.push_quote(BTC, 50000, 50001)

    def held():
        status = StatusReader(settings).load()
        [asset] = status.assets
        assert not any("waits" in problem for problem in status.problems)
        return asset.held and asset.held.words

    assert held() == "waits for scripts/bot open BTC/USD"
    bot("open", BTC)
    assert held() is None
    update_asset_config(db_conn, manual.asset_id, {"max_entry_price": Decimal(48000)})
    assert held() == "waits for a price at or below 48000 USD"


def test_assets_list_and_show_say_it_too(settings, exchange, db_conn, manual, capsys):
    exchange.push_quote(BTC, 50000, 50001)
    assets = runner(assets_command.main, capsys)
    assert "BTC/USD waits for scripts/bot open BTC/USD" in assets("list").output
    shown = " ".join(assets("show", BTC, "--max-entry", "48000").output.split())
    assert "each cycle waits for scripts/bot open BTC/USD" in shown
    assert "no base order above 48000 USD" in shown
    assert "that starts at 48000.00 USD" in shown.replace("48,000", "48000")
    assert "WARNING: no base order comes above 48000 USD" in shown


def test_the_daemon_carries_out_a_request_within_a_refresh(
    bot, bot_environment, exchange, db_conn, manual
):
    with DaemonProcess(bot_environment) as daemon:
        daemon.wait_until_trading()
        daemon.wait_for_line("symbols.watched")

        def see() -> int:
            exchange.push_quote(BTC, 50000, 50001)
            return len(exchange.ledger()["orders"])

        wait_until(lambda: see() or "symbols.watched" in daemon.output)
        assert bot("open", BTC).code == 0
        wait_until(lambda: see() and get_latest_cycle(db_conn, manual.asset_id).quantity > 0)
        daemon.stop()
    assert len(exchange.ledger()["orders"]) == 1
