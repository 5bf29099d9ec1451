"""What status tells in every situation that it can meet; the parts are real, broken for real."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from rich.console import Console

from bot_parts import BotParts
from caretaker_runs import note_runs
from cli import doctor as doctor_command
from cli import status as status_command
from cli.status_screen import render
from config import PROJECT_ROOT, get_settings, reset_settings
from domain.events import Event, EventKind, Severity
from fixtures_trading import leave_coins
from models.asset_config import update_asset_config
from models.cycle_data import create_cycle, get_cycle, update_cycle
from models.events import acknowledge, append_event, end_alert, get_open_alerts
from models.meta import put_meta
from monitoring.status import status as status_module
from runtime.operator_flags import set_flag
from utils.db_utils import execute_query
from utils.formatting import ESTIMATE_LEGEND


@pytest.fixture
def stopped(bot_environment, caretakers_ran):
    """Nothing runs, as the user wants it: nothing is wrong."""
    set_flag(get_settings().run_dir, "stopped", wanted=True)


def test_stopped_on_purpose_is_not_wrong(status, stopped, cycle):
    seen = status()
    assert (seen.code, seen.json["problems"], seen.json["is_well"]) == (0, [], True)
    assert seen.json["daemon"]["is_stopped_on_purpose"]
    assert seen.json["daemon"]["reason"] == "stopped on purpose (run/stopped)"


def test_a_full_disk_is_wrong(status, stopped, cycle, monkeypatch):
    monkeypatch.setattr("monitoring.status.disk_space.FULL_BYTES", 10**18)
    seen = status()
    assert (seen.code, len(seen.json["problems"])) == (1, 1)
    assert seen.problems.startswith("the disk is full, ")
    assert seen.problems.endswith(" cannot be written: make room")


def test_a_daemon_that_was_never_started_is_wrong_and_the_rest_is_shown(
    status, cycle, caretakers_ran
):
    seen = status()
    assert seen.code == 1
    assert seen.problems == "the daemon does not run: scripts/bot start"
    [asset] = seen.json["assets"]
    assert (asset["symbol"], asset["status"], asset["ask"]) == ("BTC/USD", "watching", "50001")


async def test_the_figures_of_a_held_position_are_those_of_an_independent_calculation(
    status, stopped, cycle, settings, exchange, db_conn
):
    parts = BotParts(settings, exchange)
    await parts.see(parts.quote_both(50000, 50001))
    parts.sweep()
    held = get_cycle(db_conn, cycle.id)
    exchange.push_quote("BTC/USD", 50400, 50410)
    [asset] = status().json["assets"]
    buy_at = held.last_order_fill_price * Decimal("0.99")
    sell_at = held.average_purchase_price * Decimal("1.02")
    assert Decimal(asset["buy_price"]) == buy_at
    assert Decimal(asset["sell_price"]) == sell_at
    down, up = Decimal(asset["buy_distance_percent"]), Decimal(asset["sell_distance_percent"])
    assert abs(down - (buy_at - 50410) / 50410 * 100) < Decimal("1e-12")
    assert abs(up - (sell_at - 50400) / 50400 * 100) < Decimal("1e-12")
    assert down < 0 < up
    # What is left after the coin fee, at the bid, less the USD fee rounded up to the cent.
    proceeds = (held.quantity * Decimal("0.9975")).quantize(Decimal("1e-9"), "ROUND_FLOOR") * 50400
    fee = (proceeds * Decimal("0.0025")).quantize(Decimal("0.01"), "ROUND_CEILING")
    earned = proceeds - fee - held.quantity * held.average_purchase_price
    assert abs(Decimal(asset["unrealised_usd"]) - earned) < Decimal("0.0002")

    exchange.push_quote("BTC/USD", sell_at, sell_at + 1)
    await parts.see(parts.quote_both(float(sell_at) + 1, float(sell_at) + 2))
    parts.sweep()
    await parts.market.stop()
    seen = status()
    [asset] = seen.json["assets"]
    assert (asset["cycles"], asset["cycles_today"], asset["status"]) == (1, 1, "cooldown")
    assert asset["realised_usd"] == asset["realised_today_usd"]
    cash = Decimal(str(parts.client.get("/account")["cash"]))
    more = cash - Decimal(100_000)
    assert Decimal(asset["realised_usd"]) == more, "estimated, and yet what the exchange took"
    assert asset["realised_is_estimated"]
    assert asset["realised_today_is_estimated"]
    assert seen.json["bought_today_usd"] != "0"
    assert seen.code == 0


async def test_the_next_safety_order_is_where_its_ladder_puts_it(
    status, stopped, cycle, settings, exchange, db_conn
):
    """With the sum of the steps below the base order: 1 + 2 %."""
    parts = BotParts(settings, exchange)
    steep = {"safety_order_step_scale": 2, "safety_order_reference": "base_order"}
    update_asset_config(db_conn, cycle.asset_id, steep)
    for bid in (50000, 49000):
        await parts.see(parts.quote_both(bid, bid + 1))
        parts.sweep()
    await parts.market.stop()
    held = get_cycle(db_conn, cycle.id)
    assert (held.safety_orders, held.base_order_price) == (1, 50001)
    [asset] = status().json["assets"]
    assert Decimal(asset["buy_price"]) == 50001 * Decimal("0.97")


def test_a_cycle_of_yesterday_and_one_of_a_removed_asset_count_for_all_time_only(
    status, stopped, cycle, db_conn, capsys
):
    from builders import build_entry, build_order
    from models.order_journal import append_journal_entry

    yesterday = datetime.now(UTC) - timedelta(days=1, minutes=1)
    for cycle_id in (cycle.id, 999):
        for seq, (side, price) in enumerate([("buy", 100), ("sell", 110)]):
            order = build_order(
                side=side,
                status="filled",
                filled_qty=1,
                filled_avg_price=price,
                client_order_id=f"dca-{cycle_id}-a1b2c3d4-{seq}",
                ended_at=yesterday,
            )
            entry = build_entry(
                order,
                asset_id=cycle.asset_id,
                cycle_id=cycle_id,
                order_seq=seq,
                fee_usd=Decimal("0.5") if side == "sell" else Decimal(0),
            )
            append_journal_entry(db_conn, entry)
    update_cycle(db_conn, cycle.id, {"status": "complete"})
    [asset] = status().json["assets"]
    assert (asset["realised_usd"], asset["cycles"]) == ("19", 2)
    assert (asset["realised_today_usd"], asset["cycles_today"]) == ("0", 0)
    assert "has no open cycle (its last one is in complete)" in asset["problem"]
    execute_query("DELETE FROM dca_cycles", db_conn=db_conn)
    execute_query("DELETE FROM dca_assets", db_conn=db_conn)
    [removed] = status().json["removed"]
    assert (removed["symbol"], removed["profit_usd"], removed["cycles"]) == ("BTC/USD", "19", 2)
    assert status_command.main([]) == 0
    shown = capsys.readouterr().out
    assert "all time ~+19.00 USD in 2 cycles, BTC/USD (removed) counted in" in shown
    assert ESTIMATE_LEGEND in shown
    execute_query("UPDATE dca_orders SET fee_is_estimated = FALSE", db_conn=db_conn)
    assert status_command.main([]) == 0
    shown = capsys.readouterr().out
    assert "all time +19.00 USD in 2 cycles" in shown
    assert "~" not in shown


def test_what_earlier_cycles_left_is_shown_and_holds_nothing_back(
    status, stopped, cycle, exchange, db_conn, capsys
):
    exchange.set_balance("BTC/USD", "0.6", "50000")
    assert status().json["assets"][0]["held"] is not None, "a stranger's, as far as is known"
    leave_coins(db_conn, "BTC/USD", "1.6", "1.0")
    [asset] = status().json["assets"]
    assert (asset["leftover"], asset["held"]) == ("0.6", None)
    assert status_command.main([]) == 0
    assert "0.6 BTC/USD: of earlier cycles, sold with the next" in capsys.readouterr().out


async def test_an_open_order_is_shown_with_its_age_and_a_very_old_one_is_wrong(
    status, stopped, cycle, settings, exchange, db_conn, monkeypatch
):
    exchange.arm("rest_after_part", fraction=0.5)
    parts = BotParts(settings, exchange)
    await parts.see(parts.quote_both(50000, 50001))
    parts.sweep()
    await parts.market.stop()
    seen = status()
    order = seen.json["assets"][0]["order"]
    assert seen.json["assets"][0]["status"] == "buying"
    assert (order["side"], order["limit_price"], seen.code) == ("buy", "50001", 0)
    assert Decimal(order["filled_qty"]) == Decimal(order["qty"]) / 2
    assert 0 <= order["age_seconds"] < 30
    monkeypatch.setattr("monitoring.status.asset_status.LONG_OPEN_SECONDS", 0.0)
    assert "the buy order of BTC/USD is open for" in status().problems


def test_no_database_is_said_and_the_rest_is_shown(status, stopped, cycle, set_env):
    set_env(DB_SOCKET="", DB_PORT="9")
    seen = status()
    assert seen.code == 1
    assert seen.problems.startswith("the database cannot be used: cannot use database")
    assert seen.json["assets"] is None
    assert seen.json["exchange_problem"] is None


def test_a_missing_migration_is_said_with_what_to_run(status, stopped, cycle, db_conn):
    put_meta(db_conn, "schema_version", "0")
    seen = status()
    assert seen.code == 1
    assert "schema version 0" in seen.problems
    assert "scripts/setup" in seen.problems


def test_wrong_keys_are_said_and_the_records_are_shown(status, stopped, cycle, set_env):
    set_env(ALPACA_SECRET_KEY="wrong-secret-value")
    seen = status()
    assert seen.code == 1
    assert "Alpaca refused the keys (HTTP 401)" in seen.problems
    assert seen.json["assets"][0]["symbol"] == "BTC/USD"


def test_an_exchange_that_is_away_takes_the_prices_along(status, stopped, cycle, set_env):
    nowhere = "http://127.0.0.1:9"
    set_env(ALPACA_TRADING_URL=nowhere, ALPACA_DATA_URL=nowhere)
    seen = status()
    assert seen.code == 1
    assert "the exchange cannot be asked: no answer: ConnectionError" in seen.problems
    assert "there are no prices: no answer: ConnectionError" in seen.problems
    [asset] = seen.json["assets"]
    assert (asset["status"], asset["ask"], asset["buys_at_any_price"]) == ("watching", None, True)


def test_an_exchange_that_hangs_holds_nobody_up(status, stopped, cycle, exchange, monkeypatch):
    monkeypatch.setattr(status_module, "ANSWER_SECONDS", 1.5)
    exchange.arm("http_hang", seconds=6)
    seen = status()
    assert seen.seconds < 5
    assert "the exchange cannot be asked: no answer within 2 s" in seen.problems
    assert seen.json["assets"][0]["symbol"] == "BTC/USD"


def test_a_symbol_without_a_quote_is_said(status, stopped, cycle, exchange, make_asset, db_conn):
    from models.cycle_data import create_cycle

    create_cycle(db_conn, make_asset("ETH/USD").id, "watching")
    create_cycle(db_conn, make_asset("XYZ/USD").id, "watching")
    seen = status()
    assert "the exchange has no usable quote of ETH/USD, XYZ/USD" in seen.problems
    assert "the exchange does not list XYZ/USD" in seen.problems
    assert seen.json["assets"][0]["ask"] == "50001"


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ({"age_seconds": 1800}, "consistency_checker last ran 30 min ago: does cron run?"),
        (
            {"exit_code": 1, "reason": "no money"},
            "consistency_checker failed: no money (logs/watchdog.log)",
        ),
    ],
    ids=["stale", "failed"],
)
def test_caretakers_that_are_late_or_fail_are_wrong(status, stopped, cycle, runs, words):
    note_runs(get_settings(), **runs)
    seen = status()
    assert seen.code == 1
    assert words in seen.problems
    [problem] = seen.json["problems"]  # one line for each cause
    assert problem.startswith("watchdog, order_manager, cooldown_manager, consistency_checker ")


def test_one_that_cron_has_not_come_to_yet_is_nothing_wrong(status, stopped, cycle):
    record = get_settings().run_dir / "consistency_checker.last_run.json"
    record.unlink()
    assert status().json["problems"] == []


def test_caretakers_that_never_ran_are_one_line(status, cycle):
    set_flag(get_settings().run_dir, "stopped", wanted=True)
    seen = status()
    assert seen.code == 1
    assert seen.problems.startswith("cron has never run watchdog, order_manager")
    assert len(seen.json["problems"]) == 1


def test_an_error_of_this_hour_is_wrong_and_an_older_one_is_only_shown(
    status, stopped, cycle, db_conn
):
    for _ in range(2):
        event = Event(kind="order_blocked", severity=Severity.ERROR, reason="nobody claims it")
        append_event(db_conn, event)
    append_event(db_conn, Event(kind="healed", severity=Severity.WARNING, reason="by itself"))
    seen = status()
    assert seen.code == 1
    assert seen.problems == "ERROR 0 min ago: order_blocked: nobody claims it"
    cursor = db_conn.cursor()
    cursor.execute("UPDATE dca_events SET created_at = created_at - INTERVAL 2 HOUR")
    cursor.close()
    seen = status()
    assert seen.code == 0
    assert [event["kind"] for event in seen.json["events"]] == ["order_blocked"]


def test_an_error_that_lasts_is_wrong_until_it_ends_or_was_seen(status, stopped, cycle, db_conn):
    kind, severity = EventKind.POSITION_EXCESS, Severity.ERROR
    event = Event(kind=kind, severity=severity, reason="more", symbol="BTC/USD", cycle_id=cycle.id)
    for cure in (end_alert, lambda connection, alert, _: acknowledge(connection, alert)):
        append_event(db_conn, event)
        execute_query(
            "UPDATE dca_events SET created_at = created_at - INTERVAL 3 DAY", db_conn=db_conn
        )
        assert status().problems.endswith("position_excess BTC/USD: more")
        cure(db_conn, get_open_alerts(db_conn)[0], "they are gone")
        assert status().code == 0


def test_a_row_that_cannot_trade_is_wrong(status, stopped, cycle, db_conn):
    update_asset_config(db_conn, cycle.asset_id, {"safety_order_deviation": Decimal(-1)})
    seen = status()
    assert seen.code == 1
    assert "BTC/USD is not traded: the deviation must be more than 0" in seen.problems


def test_a_cooling_asset_says_when_its_cooldown_ends(status, stopped, cycle, db_conn):
    ended_at = datetime.now(UTC) - timedelta(seconds=10)
    update_cycle(db_conn, cycle.id, {"status": "complete", "completed_at": ended_at})
    create_cycle(db_conn, cycle.asset_id, "cooldown")
    [asset] = status().json["assets"]
    assert asset["waits_until"] == (ended_at + timedelta(seconds=60)).isoformat()
    assert not asset["buys_at_any_price"]


def test_broken_settings_and_arguments_end_with_2_and_one_line_each(set_env, cycle, capsys, status):
    assert status_command.main(["--interval", "soon"]) == 2
    assert "expected 1 to 3600 seconds, not 'soon'" in capsys.readouterr().err
    set_env(DB_PORT="x", RECONCILE_SECONDS="soon")
    assert status_command.main([]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert [line.split(":")[1].strip() for line in said.err.splitlines()] == [
        "DB_PORT",
        "RECONCILE_SECONDS",
    ]


@pytest.mark.parametrize(("caretakers_age_seconds", "is_alerted"), [(1800, True), (1, False)])
def test_a_cooldown_that_is_over_and_that_nobody_ends_is_reported_with_its_cure(
    status, stopped, cycle, db_conn, caretakers_age_seconds, is_alerted
):
    ended_at = datetime.now(UTC) - timedelta(seconds=60 + 600)
    update_cycle(db_conn, cycle.id, {"status": "complete", "completed_at": ended_at})
    create_cycle(db_conn, cycle.asset_id, "cooldown")
    note_runs(get_settings(), age_seconds=caretakers_age_seconds)
    expected = (
        "BTC/USD: its cooldown was over 10 min ago, and neither the daemon nor cooldown_manager"
        " has ended it: scripts/doctor"
    )
    assert (expected in status().json["problems"]) is is_alerted
    update_asset_config(db_conn, cycle.asset_id, {"cooldown_period": 3600})
    assert "its cooldown" not in status().problems


def test_off_a_terminal_a_line_is_whole_and_ends_with_its_last_word(
    bot_environment, cycle, db_conn, capsys
):
    reason = " ".join(["a long reason"] * 35)
    append_event(db_conn, Event(kind="odd", severity=Severity.ERROR, reason=reason))
    for main in (status_command.main, doctor_command.main):
        reset_settings()
        main([])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.endswith(f"odd: {reason}") for line in lines)
    assert [line for line in lines if line != line.rstrip()] == []


# What fits


@pytest.fixture
def many(stopped, cycle, exchange, make_asset, db_conn):
    """Ten assets, one of which, the last, holds coins."""
    names = "AAVE AVAX BCH DOGE ETH LINK LTC SOL UNI"
    for symbol in (f"{name}/USD" for name in names.split()):
        exchange.push_quote(symbol, 2000, 2001)
        last = create_cycle(db_conn, make_asset(symbol).id, "watching")
    columns = {"quantity": Decimal("0.5"), "average_purchase_price": Decimal(2000)}
    update_cycle(db_conn, last.id, columns)


def lines_at(width: int, height: int) -> list[str]:
    """The screen of a terminal of this size."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, color_system=None, width=width, height=height)
    status = status_module.StatusReader(get_settings()).load()
    console.print(render(status, console, height=height))
    return out.getvalue().splitlines()


def test_the_coins_held_are_what_the_fees_left_of_those_that_were_bought(status, many):
    [asset] = [one for one in status().json["assets"] if one["symbol"] == "UNI/USD"]
    assert (asset["quantity"], asset["coins_held"]) == ("0.5", "0.49875")


def test_a_narrow_terminal_keeps_where_the_next_orders_come(many):
    lines = lines_at(60, 24)
    assert any("buys at" in line and "sells at" in line for line in lines)
    assert max(map(len, lines)) <= 60


@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 16), (100, 26), (160, 20)])
def test_a_low_window_shows_what_fits_and_counts_the_assets_that_do_not(many, width, height):
    lines = lines_at(width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert not any("…" in line for line in lines), "no figure is cut"
    shown = {line.split()[0] for line in lines if re.match(r"[A-Z]+/USD +[a-z]", line)}
    assert "UNI/USD" in shown, "what holds coins comes first"
    [left_out] = re.findall(r"too low for (\d+) more assets", lines[-1])
    assert len(shown) + int(left_out) == 10
    assert int(left_out) > 0


def test_a_high_window_shows_everything(many):
    lines = lines_at(80, 60)
    assert len({line.split()[0] for line in lines if re.match(r"[A-Z]+/USD +[a-z]", line)}) == 10
    assert not any("too low" in line for line in lines)
    assert any(line.startswith("caretakers") for line in lines)


def test_problems_that_fill_the_window_are_counted_where_they_end(many, db_conn):
    for number in range(12):
        about = Event(kind=f"odd_{number}", severity=Severity.ERROR, reason="what is long " * 20)
        append_event(db_conn, about)
    lines = lines_at(80, 12)
    assert len(lines) == 12
    assert lines[-1].startswith("the window is too low for ")
    assert lines[-1].endswith(" more lines")


def test_watching_on_a_low_terminal_says_what_is_left_out_and_ctrl_c_shows_everything(
    many, bot_environment
):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [PROJECT_ROOT / "scripts" / "status", "--watch"],
        env={**os.environ, "TERM": "xterm", **bot_environment},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    said = ""
    while "more assets" not in said:
        said += os.read(ours, 65536).decode()
    process.send_signal(signal.SIGINT)
    last = ""
    with contextlib.suppress(OSError):  # Linux says so when the other end is closed
        while part := os.read(ours, 65536):
            last += part.decode()
    os.close(ours)
    assert process.wait(30) == 0
    assert "caretakers" not in said
    assert "caretakers" in last
    assert last.count("/USD") >= 10


def test_on_80_by_24_each_of_many_wrong_things_is_one_line_and_the_table_stays(many, db_conn):
    for number in range(5):
        reason = "what is long and goes on " * 12 + ": scripts/bot restart"
        append_event(db_conn, Event(kind=f"odd_{number}", severity=Severity.ERROR, reason=reason))
    lines = lines_at(80, 24)
    assert (len(lines) <= 24, max(map(len, lines)) <= 80) == (True, True)
    assert sum("ERROR" in line for line in lines) == 5
    assert all(line.endswith("… scripts/bot restart") for line in lines if "ERROR" in line)
    assert [line for line in lines if line.startswith("UNI/USD")], "it holds coins"
    assert any(line.startswith("asset ") for line in lines)


def test_what_stays_out_of_the_window_of_many_wrong_things_is_counted(many, db_conn):
    for number in range(5):
        append_event(db_conn, Event(kind=f"odd_{number}", severity=Severity.ERROR, reason="no"))
    lines = lines_at(80, 16)
    assert len(lines) <= 16
    assert re.fullmatch(r"5 things are wrong, \d of them not shown here:", lines[1].strip())
    assert [line for line in lines if line.startswith("UNI/USD")]


def test_late_caretakers_are_one_cause_and_so_are_those_that_failed_alike(status, cycle):
    note_runs(get_settings(), age_seconds=1000)
    [late] = [one for one in status().json["problems"] if "does cron run" in one]
    assert late.startswith("watchdog, order_manager, cooldown_manager last ran 16 min ago")


def test_the_account_the_totals_and_the_last_fills_are_shown(
    status, many, exchange, db_conn, capsys
):
    from builders import build_entry, build_order
    from models.order_journal import append_journal_entry

    for seq in range(7):
        order = build_order(
            status="filled",
            filled_qty=seq + 1,
            filled_avg_price=100,
            client_order_id=f"dca-9-a1b2c3d4-{seq}",
        )
        known = {"asset_id": 1, "cycle_id": 9, "order_seq": seq}
        append_journal_entry(db_conn, build_entry(order, **known))
    exchange.set_balance("USD", "1234.56")
    shown = status().json
    assert shown["account"] == {"equity_usd": "1234.56", "cash_usd": "1234.56"}
    assert [fill["filled_usd"] for fill in shown["last_fills"]] == [
        "700",
        "600",
        "500",
        "400",
        "300",
    ]
    status_command.main([])
    out = capsys.readouterr().out
    assert "equity 1,234.56 USD, of it 1,234.56 USD cash" in out
    assert "Last fills, newest first (UTC)" in out
    assert re.search(r"BTC/USD bought 7 at 100\.00 for 700\.00 USD \(base order, cycle 9\)", out)
    assert re.search(r"^total ", out, re.MULTILINE)


def test_a_status_costs_one_request_more_for_the_account_and_no_other(many, exchange, settings):
    reader = status_module.StatusReader(settings)
    reader.load()  # the rules of the assets are kept from here on

    before = exchange.state()["requests"]["by_route"]
    reader.load()
    after = exchange.state()["requests"]["by_route"]
    assert {route: after[route] - before.get(route, 0) for route in after} == {
        "GET /v2/orders": 1,
        "GET /v2/account": 1,
        "GET /v2/positions": 1,  # base orders wait
        "GET /v2/assets": 0,
    }


def hold(db_conn, cycle, **columns):
    known = {"quantity": Decimal("0.002"), "average_purchase_price": Decimal(50000)}
    update_cycle(db_conn, cycle.id, known | {"last_order_fill_price": Decimal(50000)} | columns)


def test_a_peak_where_its_trail_sells_and_the_stop_are_shown(
    status, stopped, cycle, exchange, db_conn, capsys
):
    options = {"trailing_take_profit_percent": Decimal(1), "stop_loss_percent": Decimal(10)}
    update_asset_config(db_conn, cycle.asset_id, options)
    exchange.push_quote("BTC/USD", 50800, 50801)
    hold(db_conn, cycle)
    [asset] = status().json["assets"]
    assert (asset["sell_price"], asset["peak"]) == ("51000", None), (
        "the target, until it is reached"
    )
    assert Decimal(asset["stop_price"]) == 45000
    hold(db_conn, cycle, trailing_peak=Decimal(51200))
    [asset] = status().json["assets"]
    assert Decimal(asset["sell_price"]) == 50688
    assert Decimal(asset["peak"]) == 51200
    assert Decimal(asset["sell_distance_percent"]) < 0
    status_command.main([])
    screen = capsys.readouterr().out
    assert "peak 51,200.00" in screen
    assert "stop 45,000.00" in screen


def test_a_stop_loss_that_fired_is_shown(status, stopped, cycle, exchange, db_conn, capsys):
    exchange.push_quote("BTC/USD", 44000, 44001)
    hold(db_conn, cycle, stop_loss_fired=True)
    [asset] = status().json["assets"]
    assert asset["is_stopped"]
    assert asset["buy_price"] is None
    status_command.main([])
    assert "stop loss" in capsys.readouterr().out
