"""What a terminal of 60 or 80 columns shows: no line is wider, no word is broken."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from decimal import Decimal
from importlib import import_module

import pytest

from builders import build_entry, build_order
from cli.command_line import make_console
from cli.completion import MODULES as SCRIPTS
from config import PROJECT_ROOT, get_settings
from models.cycle_data import create_cycle, update_cycle
from models.order_journal import append_journal_entry
from terminal import show
from utils.wrapping import columns_of, shorten, wrap_page

PYTHON = (sys.executable, "-P", "-m")
NOWHERE = {"ENV_FILE": "/nowhere/.env"}
CARETAKERS = ("order_manager", "cooldown_manager", "consistency_checker", "watchdog")


def help_pages(parser):
    """Of the script, and of each of its commands."""
    for one in (parser, *getattr(parser, "commands", {}).values()):
        yield one.prog, one


PARSERS = {
    name: parser
    for script in SCRIPTS.values()
    for name, parser in help_pages(import_module(script).build_parser())
}


def words_of(text):
    return set(text.split())


@pytest.mark.parametrize("name", PARSERS)
def test_help_fits_and_breaks_no_word(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    wide = words_of(PARSERS[name].format_help())
    for columns in (60, 80, 100):
        monkeypatch.setenv("COLUMNS", f"{columns}")
        narrow = PARSERS[name].format_help()
        assert max(map(len, narrow.splitlines())) <= columns
        assert words_of(narrow) <= wide


@pytest.mark.parametrize(
    "command",
    [
        *((sys.executable, f"scripts/{name}.py") for name in CARETAKERS),
        *((*PYTHON, f"cli.{name}") for name in ("demo", "chaos", "database_upgrade")),
        (sys.executable, "integration_test.py"),
        ("scripts/setup",),
        ("scripts/test",),
    ],
    ids=lambda command: command[-1],
)
def test_help_on_a_real_terminal_fits_and_breaks_no_word(command):
    wide, narrow = (show((*command, "--help"), NOWHERE, columns) for columns in (200, 60))
    assert (wide.code, narrow.code) == (0, 0)
    assert len(narrow.widest) <= 60, narrow.widest
    assert narrow.words <= wide.words


@pytest.fixture
def trading(db_conn, exchange, make_asset):
    """An asset that holds coins, one with long numbers, one that is idle; fills, and a log."""
    log_dir = get_settings().log_dir
    log_dir.mkdir(parents=True)
    line = "WARNING trading.bot order.refused symbol=BTC/USD cycle=7 reason=insufficient"
    (log_dir / "app.log").write_text(f"2026-01-02 03:04:05,678 {line}\n")
    for symbol, price in (("BTC/USD", "60000"), ("DOGE/USD", "0.11234"), ("ETH/USD", "2617.3")):
        exchange.push_quote(symbol, price, price)
    bitcoin = create_cycle(db_conn, make_asset().id, "watching")
    columns = {"quantity": Decimal("0.00333333"), "average_purchase_price": Decimal("59999.5")}
    update_cycle(db_conn, bitcoin.id, columns)
    doge = create_cycle(db_conn, make_asset("DOGE/USD").id, "watching")
    columns = {"quantity": Decimal("123456.123456789"), "average_purchase_price": Decimal("0.1")}
    update_cycle(db_conn, doge.id, columns)
    create_cycle(db_conn, make_asset("ETH/USD").id, "watching")
    for seq, side in enumerate(("buy", "sell")):
        order = build_order(
            side=side,
            status="filled",
            filled_qty=Decimal("0.00333333"),
            filled_avg_price=Decimal(60000 + seq),
            client_order_id=f"dca-99-a1b2c3d4-{seq}",
        )
        known = {"asset_id": bitcoin.asset_id, "cycle_id": 99, "order_seq": seq}
        append_journal_entry(db_conn, build_entry(order, **known))


SCREENS = [
    ("assets", "list"),
    ("assets", "show", "BTC/USD"),
    ("assets", "show", "DOGE/USD", "--take-profit", "0.1"),
    ("assets", "edit", "ETH/USD", "--base", "150000", "--early-restart", "3"),
    ("assets", "add", "SOL/USD"),
    ("status",),
    ("doctor",),
    ("report",),
    ("report", "--by", "cycle"),
    ("bot", "status-line"),
    ("bot", "close", "BTC/USD"),
    ("logs",),
]


def piped_answer(arguments, environment, **more):
    program, *rest = arguments
    return subprocess.run(
        (*PYTHON, f"cli.{program}", *rest),
        env={**os.environ, **environment, **more},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        cwd=PROJECT_ROOT,
    )


def what_is_left_out(text):
    found = re.search(r"the window is too narrow for .*?: widen it, or add --json", text)
    return found[0] if found else ""


@pytest.mark.parametrize("arguments", SCREENS, ids=" ".join)
def test_an_answer_fits_and_breaks_no_word(trading, bot_environment, arguments):
    program, *rest = arguments
    command = (*PYTHON, f"cli.{program}", *rest)
    piped = piped_answer(arguments, bot_environment)
    assert "\x1b" not in piped.stdout, "no colours for a program that reads"
    known = {re.sub(r"\d+", "0", word) for word in piped.stdout.split()}
    for columns in (60, 80):
        screen = show(command, bot_environment, columns)
        assert screen.code == piped.returncode
        assert len(screen.widest) <= columns, screen.widest
        headings = {"order", "open", "unreal.", "today", "total"}
        headings |= words_of(what_is_left_out(" ".join(screen.lines)))
        assert screen.words - known - headings <= {"─" * n for n in range(1, 200)}


@pytest.mark.parametrize(
    ("arguments", "left_out"),
    [
        (("status",), "cycles, profit, coins held, average"),
        (("report",), "worst, safety, cost, at work, peak, of peak"),
        (("report", "--by", "cycle"), "held, safety, cost, at work, peak, of peak"),
        (("assets", "show", "BTC/USD"), ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_columns_without_room_are_named_and_a_pipe_is_as_wide_as_columns_says(
    trading, bot_environment, arguments, left_out
):
    lines = piped_answer(arguments, bot_environment, COLUMNS="60").stdout.splitlines()
    assert len(max(lines, key=len)) <= 60
    told = what_is_left_out(" ".join(lines))
    assert told.partition(" for ")[2] == (left_out and f"{left_out}: widen it, or add --json")
    assert not what_is_left_out(piped_answer(arguments, bot_environment).stdout)


@pytest.mark.parametrize(
    ("columns", "width"), [("72", 72), ("", None), ("0", None), ("-5", None), ("wide", None)]
)
def test_only_a_width_in_columns_wraps_what_is_piped_and_never_an_error(
    monkeypatch, capsys, columns, width
):
    monkeypatch.setenv("COLUMNS", columns)
    assert (columns_of(sys.stdout), columns_of(sys.stderr)) == (width, None)
    assert make_console().width == (width or make_console(is_plain=True).width)


def test_a_second_column_stays_one_as_long_as_there_is_room():
    page = "  one        explained in so many words\n  two three  and this one too"
    assert wrap_page(page, 45).splitlines() == [
        "  one        explained in so many words",
        "  two three  and this one too",
    ]
    narrow = wrap_page("  scripts/assets list             everything that is configured", 50)
    assert narrow.splitlines() == ["  scripts/assets list", "      everything that is configured"]


def test_a_line_that_ended_on_purpose_is_not_joined_with_the_next():
    page = "Short.\nAnother one that is a little longer than what fits."
    assert wrap_page(page, 30).splitlines()[0] == "Short."


def test_a_word_longer_than_the_line_stays_whole():
    assert wrap_page("see /a/very/long/path/indeed for more", 12).splitlines() == [
        "see",
        "/a/very/long/path/indeed",
        "for more",
    ]


def test_a_shortened_line_keeps_its_cure_and_whole_words():
    line = "five buys of BTC/USD in a row were refused by the exchange: scripts/bot restart"
    assert shorten(line, 60) == "five buys of BTC/USD in a row were … scripts/bot restart"
    assert shorten(line, 200) == line
    assert len(shorten("word " * 30, 40)) <= 40
