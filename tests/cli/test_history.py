"""`scripts/history` as its users see it: words, codes, JSON, real processes that are killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.history import main
from config import reset_settings, setting_names
from past_bars import BTC, add_history, make_bars, prices_of
from research.history import History
from research.months import Month
from research.series import Kind
from running_exchange import RunningExchange
from said import runner
from terminal import show

COMMAND = (sys.executable, "-P", "-m", "cli.history")
JUNE, JULY = Month(2023, 6), Month(2023, 7)
FETCH = ("fetch", BTC, "--from", "2023-06", "--to", "2023-08")
PATIENCE_SECONDS = 60
# How a fetch ends: code, standard output, and what standard error says.
ENDS = {
    signal.SIGKILL: (-signal.SIGKILL, "", ""),
    signal.SIGINT: (1, "", "history: stopped; 0 months are stored, and the same command goes on"),
}


@pytest.fixture
def exchange() -> Iterator[RunningExchange]:
    """It has the last hours of June, all of neither July nor August, and no rate limit."""
    with RunningExchange(rate_limit_per_minute=0, latency_seconds=0.0) as running:
        add_history(running, make_bars("2023-06-30T22:00", 240))
        add_history(running, make_bars("2023-08-01T00:00", 100))
        yield running


@pytest.fixture
def environment(tmp_path, exchange, monkeypatch) -> Iterator[dict[str, str]]:
    """No database, no keys, no .env."""
    for name in setting_names():
        monkeypatch.delenv(name, raising=False)
    environment = {
        "ENV_FILE": str(tmp_path / "none.env"),
        "HISTORY_DIR": str(tmp_path / "history"),
        "ALPACA_DATA_URL": exchange.urls.data_url,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    reset_settings()
    yield environment
    reset_settings()


@pytest.fixture
def history(environment) -> History:
    return History(Path(environment["HISTORY_DIR"]))


@pytest.fixture
def run(environment, capsys):
    return runner(main, capsys)


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        (*COMMAND, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_a_fetch_tells_each_month_its_gaps_and_what_there_is_now(run, history):
    said = run(*FETCH)
    assert said.code == 0
    june, july, august, summary = said.output.splitlines()
    assert june.startswith("BTC/USD 2023-06  120 bars; 43,080 bars are missing at 2023-06-01 00:00")
    assert july.startswith("BTC/USD 2023-07  120 bars; 44,520 bars are missing")
    assert august.startswith("BTC/USD 2023-08  100 bars")
    assert summary == (
        "BTC/USD: 340 bars of 1 min in 3 months; 44,520 bars are missing at"
        " 2023-07-01 02:00 to 2023-08-01 00:00 (30 days)"
    )
    assert run(*FETCH).output.splitlines() == [summary]  # nothing is new
    assert len(history.load_bars(BTC).series) == 340


def test_a_missing_month_is_told(run, environment, exchange):
    said = run("fetch", BTC, "--from", "2023-05", "--to", "2023-06")
    assert "BTC/USD 2023-05  no bars at 127.0.0.1:" in said.output
    assert "nothing is stored, the next fetch asks again" in said.output
    run("fetch", BTC, "--from", "2023-08", "--to", "2023-08")
    said = run("list", "--json")
    [holding] = said.json["holdings"]
    assert [one["missing"] for one in holding["gaps"]] == [44_640]
    assert holding["gaps"][0]["from"] == "2023-07-01T00:00:00Z"
    assert "31 days" in run("list").output


def test_every_command_answers_in_json(run, tmp_path):
    fetched = run(*FETCH, "--json").json
    assert [one["rows"] for one in fetched["months"]] == [120, 120, 100]
    assert fetched["holdings"][0]["missing"] == 44_520
    assert run("verify", "--json").json["rows"] == 340
    out = tmp_path / "bars.csv"
    written = run("export", BTC, "--from", "2023-08", "--output", str(out), "--json").json
    assert (written["rows"], out.read_text().count("\n")) == (100, 101)
    taken = run("import", str(out), "--symbol", "ETH/USD", "--json").json
    assert [(one["symbol"], one["stored"]) for one in taken["months"]] == [("ETH/USD", True)]
    listed = run("list", "--json").json["holdings"]
    assert [(one["symbol"], one["rows"]) for one in listed] == [(BTC, 340), ("ETH/USD", 100)]


def test_garbage_is_named_by_every_reader_and_fetched_anew(run, history):
    run(*FETCH)
    path = history.path_of(Kind.BARS, BTC, JULY)
    path.write_bytes(path.read_bytes()[:-3])
    for command in (["list"], ["verify"], ["export", BTC]):
        said = run(*command)
        assert said.code == 1
        assert "2023-07.bars is damaged or not whole" in said.complaint
    assert run("verify", "--json").json["problems"]
    assert run("list", "--json").json["done"] is False
    said = run(*FETCH)
    assert (said.code, said.output.count("replaced)")) == (0, 1)
    assert run("verify").output == "3 files, 340 rows: all sound\n"


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["fetch", "ETH/USD"], 2, "say from when, as --from 2023-01"),
        (["fetch", BTC, "--from", "2023-08", "--to", "2023-07"], 2, "is not before"),
        (["fetch", BTC, "--from", "1999-01"], 2, "no month like"),
        (["fetch", "coin", "--from", "2023-01"], 2, "write it like COIN/USD"),
        (["fetch", BTC, "--from", "2022-01", "--to", "2022-01"], 1, "has no bars of BTC/USD"),
        (["import", "/nowhere.csv"], 1, "cannot read /nowhere.csv: No such file"),
        (["import", "x.csv", "--places", "99"], 2, "--places takes"),
        (["export", BTC], 1, "there are no bars of BTC/USD"),
        (["export", BTC, "--json"], 2, "--output"),
        (["list", BTC], 2, "there is nothing of BTC/USD here"),
        (["verify", BTC, "ETH/USD"], 2, "there is nothing of BTC/USD, ETH/USD here"),
        (["forget"], 2, "scripts/history --help"),
    ],
)
def test_what_cannot_be_done_is_one_line_with_the_cure(run, arguments, code, reason):
    said = run(*arguments)
    assert reason in said.complaint
    assert said.code == code


def test_a_month_of_another_source_is_left_and_told(run, environment, history, tmp_path):
    mine = tmp_path / "mine.csv"
    mine.write_text("time,open,high,low,close\n2023-06-05T10:00Z,5,6,4,5\n")
    run("import", str(mine), "--symbol", BTC)
    june, july, *_ = run(*FETCH).output.splitlines()
    assert june == "BTC/USD 2023-06  1 bars; there already, from mine.csv; " + june.split("; ")[2]
    assert july.startswith("BTC/USD 2023-07  120 bars")
    assert len(history.load_bars(BTC).series) == 221
    assert run(*FETCH, "--replace").output.startswith("BTC/USD 2023-06  120 bars")


@pytest.mark.parametrize("command", [["list"], ["export", BTC]], ids=lambda words: words[0])
def test_an_answer_that_cannot_be_written_is_one_line(run, environment, command):
    run(*FETCH)
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >/dev/full', "sh", *COMMAND, *command],
        capture_output=True, text=True, check=False, env=os.environ,
    )  # fmt: skip
    assert done.stderr.startswith("history: cannot write the answer (make room")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_an_empty_history_says_how_to_begin(run):
    assert "scripts/history fetch BTC/USD --from" in run("list").output


def test_an_exchange_that_is_away_is_one_line_and_what_is_stored_stays(
    run, exchange, history, monkeypatch
):
    monkeypatch.setattr("utils.alpaca_bars.PATIENCE_SECONDS", 0.0)
    run("fetch", BTC, "--from", "2023-06", "--to", "2023-06")
    exchange.arm("http_hang", seconds=0.0)
    said = run(*FETCH)
    assert said.code == 1
    assert "BTC/USD 2023-07: 127.0.0.1:" in said.complaint
    assert said.complaint.endswith("0 months are stored, and the same command goes on from there")
    assert history.months(Kind.BARS, BTC) == [JUNE]


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT])
def test_a_fetch_that_is_ended_goes_on_with_the_month_that_is_missing(
    run, environment, exchange, history, blow
):
    run("fetch", BTC, "--from", "2023-06", "--to", "2023-06")
    first = history.path_of(Kind.BARS, BTC, JUNE)
    before = first.stat().st_mtime_ns
    exchange.arm("http_slow", seconds=600.0)
    process = start(*FETCH)
    wait_until(lambda: exchange.times_applied("http_slow"))
    process.send_signal(blow)
    output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, output) == ENDS[blow][:2]
    assert ENDS[blow][2] in errors
    exchange.clear_faults()
    left = first.with_name(".2023-07.bars.1.arriving")
    left.write_bytes(b"what a writer leaves that is killed before the name is given")
    assert run(*FETCH).code == 0
    assert first.stat().st_mtime_ns == before
    assert run("verify").output == "3 files, 340 rows: all sound\n"
    assert not list(history.folder.glob("*/.*"))


def test_a_full_disk_is_one_line_and_nothing_is_half_written(environment, history, tmp_path):
    bars = make_bars("2023-06-01", 2_000)
    rows = [f"{one.at_ns},{one.open},{one.high},{one.low},{one.close}" for one in bars]
    source = tmp_path / "bars.csv"
    source.write_text("\n".join(["t,o,h,l,c", *rows]))
    limited = ["sh", "-c", 'ulimit -f 4; exec "$@"', "sh", *COMMAND, "import", str(source)]
    done = subprocess.run(
        [*limited, "--symbol", BTC], capture_output=True, text=True, check=False, env=os.environ
    )
    path = history.path_of(Kind.BARS, BTC, JUNE)
    assert done.stderr == f"history: cannot write {path}: File too large: make room\n"
    assert done.returncode == 1
    assert list(path.parent.iterdir()) == []


def test_a_terminal_sees_a_bar_and_a_pipe_plain_lines(environment):
    screen = show((*COMMAND, *FETCH), environment, 80)
    assert screen.code == 0
    text = "\n".join(screen.lines)
    assert "━" in text
    # The bar is drawn again in its place: each drawing ends with the time that is left.
    assert max(map(len, re.split(r"\n|-:--:--|\d:\d\d:\d\d", text))) <= 80
    piped = subprocess.run(
        (*COMMAND, "list"), capture_output=True, text=True, check=True, env=os.environ
    )
    assert "\x1b" not in piped.stdout
    assert piped.stdout.splitlines()[0].split() == [
        "symbol", "what", "from", "to", "rows", "missing", "gaps", "longest", "size", "source",
    ]  # fmt: skip


def test_the_prices_are_those_of_the_exchange(run, history):
    run(*FETCH)
    bars = history.load_bars(BTC).series
    rows = zip(*bars.prices, strict=True)
    kept = [tuple(int(one) * bars.price_step for one in row) for row in rows]
    given = make_bars("2023-06-30T22:00", 240) + make_bars("2023-08-01T00:00", 100)
    assert kept == prices_of(given)
