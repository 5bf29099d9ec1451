"""`scripts/bot close`: everything that is held is sold once, booked, and never by accident."""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Decimal

import pytest

from bot_parts import BotParts
from cli import bot as bot_command
from config import get_settings
from daemon_process import DaemonProcess, wait_until
from domain.cycle import CycleStatus, DcaCycle
from models.asset_config import get_asset_by_id
from models.cycle_data import create_cycle, get_cycle, get_latest_cycle, update_cycle
from models.events import get_events
from models.order_journal import get_entries_of_cycle
from monitoring.status.status import StatusReader
from operations import close_execution
from operations.close_cycle import prepare_close, request_close
from operations.close_execution import Closer
from runtime.account_lock import AccountLock
from runtime.daemon_process import WATCHDOG_LOCK
from said import Said, runner
from utils.alpaca_client_rest import get_trading_client
from utils.alpaca_queries import fetch_account_id, fetch_position
from utils.db_utils import close_thread_connection
from utils.formatting import ESTIMATE_LEGEND
from utils.state_file import locked

SURE = ("--confirm", "BTC/USD")


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(close_execution, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(close_execution, "POLL_SECONDS", 0.2)


@pytest.fixture
def bot(settings, db_conn, capsys) -> Callable[..., Said]:
    """Run `scripts/bot` in this process; nobody sits at the terminal, no daemon runs."""
    return runner(bot_command.main, capsys)


@pytest.fixture
async def parts(settings, exchange):
    parts = BotParts(settings, exchange)
    yield parts
    await parts.market.stop()


@pytest.fixture
async def bought(parts: BotParts, db_conn, make_asset) -> DcaCycle:
    """A cycle that bought for 100 USD at 50,001."""
    cycle = create_cycle(db_conn, make_asset().id, "watching")
    await parts.see(parts.quote_both(50000, 50001))
    parts.sweep()
    cycle = get_cycle(db_conn, cycle.id)
    assert cycle.quantity > 0
    return cycle


@pytest.fixture
def open_buy(parts: BotParts, exchange, db_conn, bought) -> DcaCycle:
    """The same cycle with a safety order that stays open below the market."""
    from utils.alpaca_client_rest import place_limit_buy_order

    identity = f"dca-{bought.id}-{bought.order_key}-1"
    place_limit_buy_order(
        get_trading_client(), "BTC/USD", Decimal("0.001"), 40000, client_order_id=identity
    )
    parts.sweep()
    cycle = get_cycle(db_conn, bought.id)
    assert cycle.status is CycleStatus.BUYING
    return cycle


def sells(parts: BotParts) -> list[str]:
    return [order.client_order_id for order in parts.orders() if order.side == "sell"]


def held(symbol: str = "BTC/USD") -> Decimal:
    position = fetch_position(get_trading_client(), symbol)
    return position.qty if position else Decimal(0)


# Without a daemon.


def test_it_sells_all_at_a_loss_and_books_it_as_any_sale(bot, parts, exchange, db_conn, bought):
    exchange.push_quote("BTC/USD", 40000, 40001)
    said = bot("close", "btcusd", *SURE)
    assert (said.code, said.errors) == (0, "")
    assert "The daemon does not run: selling from here." in said.output
    assert "LOSS of ~" in said.output, "what it would be"
    assert "a loss of ~" in said.output, "what it was"
    assert said.output.count(ESTIMATE_LEGEND) == 2
    assert "cools down for 60 s, then buys again" in said.output
    assert sells(parts) == [f"dca-{bought.id}-{bought.order_key}-1"]
    done, cooling = get_cycle(db_conn, bought.id), get_latest_cycle(db_conn, bought.asset_id)
    assert (done.status, cooling.status) == (CycleStatus.COMPLETE, CycleStatus.COOLDOWN)
    entries = get_entries_of_cycle(db_conn, bought.id)
    assert [entry.purpose for entry in entries] == ["base", "take_profit"]
    assert entries[1].note.startswith("closed by the user")
    assert held() < Decimal("0.00001")
    assert [row["kind"] for row in get_events(db_conn)] == ["close_requested"]


def test_the_figures_are_those_of_the_journal(bot, exchange, db_conn, bought):
    exchange.push_quote("BTC/USD", 60000, 60001)
    plan = bot("close", "BTC/USD", "--json").json["plan"]
    said = bot("close", "BTC/USD", "--yes", "--yes", "--json")
    assert said.code == 0
    [buy, sale] = get_entries_of_cycle(db_conn, bought.id)
    profit = sale.filled_usd - sale.fee_usd - buy.filled_usd
    assert said.json["done"] is said.json["closed"] is True
    assert Decimal(said.json["profit_usd"]) == profit
    assert profit > 0
    assert Decimal(plan["profit_usd"]) == profit, "the preview, to the last digit"
    assert said.json["fees_are_estimated"] is plan["fees_are_estimated"] is True
    charged = sum(Decimal(one["fee_usd"]) for one in exchange.ledger()["executions"])
    assert sale.fee_usd == charged
    assert Decimal(said.json["sold_qty"]) == sale.filled_qty
    assert said.json["status"] == "complete"


def test_the_preview_shows_what_will_be_sold_in_the_exchanges_own_steps(bot, exchange, bought):
    exchange.push_quote("BTC/USD", 60000, 60001)
    said = bot("close", "BTC/USD", "--json")
    coins = Decimal(said.json["plan"]["coins_held"])
    assert 0 < coins < bought.quantity
    assert coins % Decimal("1e-9") == 0
    said = bot("close", "BTC/USD", *SURE)
    assert f"coins held: about {coins} BTC" in said.output
    assert f"{coins} sold at" in said.output


def test_status_and_close_tell_the_same_coins_held(bot, exchange, bought):
    exchange.push_quote("BTC/USD", 60000, 60001)
    [asset] = StatusReader(get_settings()).load().assets
    plan = bot("close", "BTC/USD", "--json").json["plan"]
    assert f"{asset.coins_held:.9f}".rstrip("0") == plan["coins_held"]
    assert asset.coins_held == held() < asset.quantity == bought.quantity


def test_a_open_buy_is_canceled_first(bot, parts, db_conn, open_buy):
    said = bot("close", "BTC/USD", *SURE)
    assert said.code == 0
    assert "Canceling its open buy." in said.output
    assert [order.status for order in parts.orders()] == ["filled", "canceled", "filled"]
    assert sells(parts) == [f"dca-{open_buy.id}-{open_buy.order_key}-2"]
    assert get_cycle(db_conn, open_buy.id).status is CycleStatus.COMPLETE


def test_what_a_buy_filled_before_its_end_is_sold_too(bot, parts, exchange, db_conn, open_buy):
    exchange.arm("rest_after_part", match={"side": "buy"}, fraction=0.5)
    exchange.push_quote("BTC/USD", 39990, 39999)
    said = bot("close", "BTC/USD", *SURE)
    assert said.code == 0
    entries = get_entries_of_cycle(db_conn, open_buy.id)
    assert entries[1].filled_qty == Decimal("0.0005")
    assert held() < Decimal("0.00001")
    assert get_cycle(db_conn, open_buy.id).status is CycleStatus.COMPLETE


def test_a_fill_that_comes_after_the_cancel_is_sold_too(bot, parts, exchange, db_conn, open_buy):
    exchange.arm("fill_late", match={"side": "buy"}, seconds=0.0, fraction=1.0)
    said = bot("close", "BTC/USD", *SURE)
    parts.sweep()
    assert said.code == 0
    bought = sum(
        e.filled_qty for e in get_entries_of_cycle(db_conn, open_buy.id) if e.side == "buy"
    )
    assert bought > Decimal("0.0025"), "the late fill is booked"


def test_a_first_buy_that_did_not_fill_ends_the_cycle_without_a_sale(
    bot, parts, exchange, db_conn, make_asset
):
    from utils.alpaca_client_rest import place_limit_buy_order

    cycle = create_cycle(db_conn, make_asset().id, "watching")
    exchange.push_quote("BTC/USD", 50000, 50001)
    identity = f"dca-{cycle.id}-{cycle.order_key}-0"
    place_limit_buy_order(
        get_trading_client(), "BTC/USD", Decimal("0.001"), 40000, client_order_id=identity
    )
    parts.sweep()
    said = bot("close", "BTC/USD", *SURE)
    assert said.code == 0
    assert "its buy is canceled and nothing was held" in said.output
    assert get_cycle(db_conn, cycle.id).status is CycleStatus.COMPLETE
    assert get_latest_cycle(db_conn, cycle.asset_id).status is CycleStatus.COOLDOWN
    assert len(parts.orders()) == 1


def test_a_take_profit_that_rests_is_sold_anew(bot, parts, exchange, db_conn, bought, monkeypatch):
    monkeypatch.setattr(close_execution, "OLD_SELL_SECONDS", 0.0)
    exchange.arm("rest_market_order", match={"side": "sell"}, count=1)
    update_cycle(db_conn, bought.id, {"close_requested": True})
    parts.placer.consider("BTC/USD", lambda: None)
    parts.sweep()
    update_cycle(db_conn, bought.id, {"close_requested": False})
    assert get_cycle(db_conn, bought.id).status is CycleStatus.SELLING
    said = bot("close", "BTC/USD", *SURE)
    assert said.code == 0
    assert [order.status for order in parts.orders()] == ["filled", "canceled", "filled"]


def test_disable_switches_the_asset_off_with_the_same_request(bot, db_conn, bought):
    said = bot("close", "BTC/USD", "--disable", *SURE)
    assert said.code == 0
    assert "It buys no more." in said.output
    assert not get_asset_by_id(db_conn, bought.asset_id).is_enabled
    assert get_cycle(db_conn, bought.id).status is CycleStatus.COMPLETE


# Never by accident.


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("BTC/USD",), 2, "no terminal to ask you on; to agree, add --confirm BTC/USD"),
        (("BTC/USD", "--yes"), 2, "no terminal to ask you on"),
        (("BTC/USD", "--json"), 2, "no terminal to ask you on"),
        (("BTC/USD", "--confirm", "ETH/USD"), 2, "--confirm names ETH/USD"),
        (("ETH/USD", "--confirm", "ETH/USD"), 2, "ETH/USD is not configured (configured: BTC/USD)"),
        (("B!", "--yes", "--yes"), 2, "is no trading pair"),
        (("BTC/USD", *SURE, "--wait", "0"), 2, "--wait: expected seconds"),
        (("BTC/USD", *SURE, "--wait", "nan"), 2, "--wait: expected seconds"),
        (("BTC/USD", *SURE, "--now"), 2, "unrecognized arguments: --now"),
        (("BTC/USD", "--withdraw"), 2, "nobody asked to close BTC/USD"),
    ],
)
def test_what_is_not_confirmed_sells_nothing(bot, parts, db_conn, bought, arguments, code, says):
    said = bot("close", *arguments)
    assert said.code == code
    assert says in said.complaint
    if "--json" in arguments:
        assert said.json["plan"]["close_requested"] is False
    assert not get_cycle(db_conn, bought.id).close_requested
    assert sells(parts) == []


@pytest.mark.parametrize(
    ("answers", "given", "sold"),
    [
        (["y", "BTC/USD"], (), True),
        (["yes", "btc/usd"], (), True),
        (["BTC/USD"], ("--yes",), True),
        (["n"], (), False),
        ([""], (), False),
        (["y", "BTC"], (), False),
        (["y", ""], (), False),
        (["y", "y"], (), False),
    ],
)
def test_on_a_terminal_it_asks_twice_and_the_symbol_is_typed(
    bot, parts, bought, monkeypatch, answers, given, sold
):
    left = list(answers)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: left.pop(0))
    said = bot("close", "BTC/USD", *given)
    assert said.code == (0 if sold else 1)
    assert left == []
    assert bool(sells(parts)) == sold
    assert sold or said.complaint == "bot: nothing was done"


def test_nothing_held_is_refused_and_disable_alone_is_done(bot, parts, db_conn, make_asset):
    asset = make_asset()
    assert "holds nothing to sell" in bot("close", "BTC/USD", *SURE).complaint
    cycle = create_cycle(db_conn, asset.id, "cooldown")
    said = bot("close", "BTC/USD", *SURE)
    assert said.code == 2
    assert "scripts/assets disable BTC/USD" in said.complaint
    said = bot("close", "BTC/USD", "--disable", *SURE)
    assert said.code == 0
    assert not get_asset_by_id(db_conn, asset.id).is_enabled
    assert not get_cycle(db_conn, cycle.id).close_requested
    assert parts.orders() == []


def test_a_request_left_on_a_cycle_without_coins_is_named_with_its_cure(bot, db_conn, make_asset):
    cycle = create_cycle(db_conn, make_asset().id, "watching")
    update_cycle(db_conn, cycle.id, {"close_requested": True})
    said = bot("close", "BTC/USD", *SURE)
    assert said.code == 2
    assert "scripts/bot close BTC/USD --withdraw lets it trade again" in said.complaint
    assert bot("close", "BTC/USD", "--withdraw").code == 0


# What cannot be done now.


def test_a_request_outlives_an_exchange_that_is_away_and_can_be_withdrawn(
    bot, parts, exchange, db_conn, bought
):
    exchange.arm("http_500", match={"method": "POST"})
    said = bot("close", "BTC/USD", *SURE, "--wait", "1")
    assert said.code == 1
    assert "BTC/USD is not sold yet" in said.complaint
    assert "--withdraw" in said.complaint
    assert get_cycle(db_conn, bought.id).close_requested
    said = bot("close", "BTC/USD", "--withdraw")
    assert (said.code, said.output) == (0, "The request to sell BTC/USD is withdrawn.\n")
    assert not get_cycle(db_conn, bought.id).close_requested
    assert [row["kind"] for row in get_events(db_conn)] == ["close_withdrawn", "close_requested"]


def test_an_exchange_that_answers_nothing_is_one_line(bot, exchange, bought, db_conn):
    exchange.arm("http_500")
    said = bot("close", "BTC/USD", *SURE)
    assert said.code == 1
    assert said.complaint.startswith("bot: nothing was requested, because Alpaca cannot be")
    assert said.complaint.endswith("try again")
    assert not get_cycle(db_conn, bought.id).close_requested


def test_an_unknown_outcome_is_resolved_before_anything_is_sent_again(
    bot, parts, exchange, db_conn, bought
):
    exchange.arm("http_504", match={"method": "POST"}, count=1)  # done, though it says 504
    said = bot("close", "BTC/USD", *SURE, "--wait", "20")
    assert said.code == 0
    assert len(sells(parts)) == 1
    assert get_cycle(db_conn, bought.id).status is CycleStatus.COMPLETE


def test_a_daemon_on_another_host_is_left_to_sell(bot, parts, db_conn, bought):
    other = AccountLock(fetch_account_id(get_trading_client()))
    assert other.hold()
    try:
        said = bot("close", "BTC/USD", *SURE, "--wait", "1")
    finally:
        other.release()
    assert said.code == 1
    assert "a daemon on another host trades this account" in said.complaint
    assert sells(parts) == []


def test_a_watchdog_at_work_is_waited_for(bot, parts, db_conn, bought):
    with locked(get_settings().run_dir / WATCHDOG_LOCK):
        said = bot("close", "BTC/USD", *SURE, "--wait", "1")
    assert said.code == 1
    assert "the watchdog is about to start the daemon" in said.complaint
    assert bot("close", "BTC/USD", *SURE).code == 0
    assert len(sells(parts)) == 1


def test_two_at_once_sell_once(settings, parts, db_conn, bought):
    asset = get_asset_by_id(db_conn, bought.asset_id)
    results = []
    start = threading.Barrier(2)

    def run() -> None:
        try:
            plan = prepare_close(settings, asset)
            start.wait(10)
            request_close(plan, disable=False)
            results.append(Closer(settings, plan, lambda text: None).carry_out(20))
        finally:
            close_thread_connection()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [result.is_closed for result in results] == [True, True]
    assert len(sells(parts)) == 1
    assert [row["kind"] for row in get_events(db_conn)] == ["close_requested"]


# With the real daemon.


def test_the_daemon_cancels_nothing_but_sells_when_the_way_is_clear(
    bot, bot_environment, parts, exchange, db_conn, open_buy
):
    with DaemonProcess(bot_environment) as daemon:
        daemon.wait_until_trading()
        said = bot("close", "BTC/USD", *SURE)
        assert said.code == 0, said.errors
        assert "The daemon sells it." in said.output
        assert "Canceling its open buy." in said.output
        assert len(sells(parts)) == 1
        assert f"dca-{open_buy.id}-{open_buy.order_key}-2" in daemon.output


def test_a_request_whose_command_was_killed_is_carried_out_by_the_daemon_that_starts_later(
    settings, bot_environment, parts, db_conn, bought
):
    request_close(prepare_close(settings, get_asset_by_id(db_conn, bought.asset_id)), disable=True)
    with DaemonProcess(bot_environment):
        wait_until(lambda: get_cycle(db_conn, bought.id).status is CycleStatus.COMPLETE)
    assert len(sells(parts)) == 1
