"""`scripts/sweep` as its users see it: without an account, keys and database; and with one."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import numpy as np
import psutil
import pytest

from cli.sweep import main
from config import PROJECT_ROOT, reset_settings, setting_names
from models.asset_config import get_asset_config
from research.history import History
from research.history_file import MonthFile, Origin
from research.months import Month
from research.result import hash_code
from research.sweep_result import results_folder
from said import runner
from sweep_ground import made_up_bars
from terminal import show
from web.sweeps import list_sweeps, load_sweep

COMMAND = (sys.executable, "-P", "-m", "cli.sweep")
BTC, ETH = "BTC/USD", "ETH/USD"
JUNE = Month(2023, 6)
GRID = ("--deviation", "1:2:0.5", "--take-profit", "1,2")


def save_days(history, symbol, days, price=30_000, *, without=()):
    bars = made_up_bars(symbol, days * 1440, price)
    kept = np.delete(np.arange(len(bars)), without)
    bars = bars.with_columns(2, bars.at_ns[kept], tuple(one[kept] for one in bars.prices))
    with history.writing():
        history.save(MonthFile(JUNE, bars, Origin(source="a test")))


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """No database, no keys, no .env; two days of two coins."""
    for name in setting_names():
        monkeypatch.delenv(name, raising=False)
    environment = {
        "ENV_FILE": str(tmp_path / "none.env"), "HISTORY_DIR": str(tmp_path / "history"),
    }  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    reset_settings()
    save_days(History(tmp_path / "history"), BTC, 2)
    save_days(History(tmp_path / "history"), ETH, 2, 2_000)
    yield environment
    reset_settings()


@pytest.fixture
def run(environment, capsys):
    return runner(main, capsys)


@pytest.fixture
def sweeps(environment):
    return Path(environment["HISTORY_DIR"]) / "sweeps"


def test_a_newcomer_sees_what_won_how_it_did_later_and_what_stands_beside_it(run):
    said = run(BTC, *GRID)
    assert (said.code, said.errors) == (0, "")
    for words in (
        "BTC/USD  2023-06-01 00:00 to 2023-06-03 00:00 UTC",
        "2,880 bars of 1 min from a test; nothing is missing",
        "--deviation 1, 1.5, 2 (3), --take-profit 1, 2 (2): 6 configurations (all)",
        "chosen by net profit on 2023-06-01 00:00 to 2023-06-02 09:36 UTC, judged on",
        "One step away from the winner",
        "of its net profit.",
        "On the later part",
        "The winner",
        "a ladder of 120.00 USD",
    ):
        assert words in said.output
    assert "there is no database here, so these are the defaults" in said.output


def test_the_winner_is_the_best_of_the_earlier_part_alone(run):
    result = run(BTC, *GRID, "--json").json
    trials = {tuple(one["at"]): one["scores"] for one in result["trials"]}
    assert len(trials) == 6
    earlier = {at: Decimal(scores[0]["result_usd"]) for at, scores in trials.items()}
    assert earlier[tuple(result["ranking"][0])] == max(earlier.values())
    assert [part["to"] for part in result["parts"][:1]] == [result["parts"][1]["from"]]


def test_figures_of_each_part_are_those_of_a_backtest(run, capsys):
    """The same settings on the same prices: one replay, whoever asks."""
    from cli.backtest import main as backtest

    result = run(BTC, *GRID, "--split", "2023-06-02", "--json").json
    place = result["ranking"][0]
    deviation, profit = (
        one["values"][at] for one, at in zip(result["dimensions"], place, strict=True)
    )
    scores = next(one["scores"] for one in result["trials"] if one["at"] == place)
    run_backtest = runner(backtest, capsys)
    for score, day in zip(scores, ("2023-06-01", "2023-06-02"), strict=True):
        options = ("--deviation", deviation, "--take-profit", profit)
        said = run_backtest(BTC, *options, "--from", day, "--to", day, "--json")
        [replay] = said.json["runs"]
        assert score["result_usd"] == replay["result_usd"]
        assert score["drawdown_usd"] == replay["drawdown"]["usd"]
        assert score["under_water_seconds"] == replay["under_water"]["seconds"]
        assert (score["cycles"], score["orders"]) == (replay["cycles"], replay["orders"])
        assert score["fees_usd"] == replay["fees_usd"]


def test_two_runs_of_the_same_input_give_the_same_bytes_and_can_be_shown(run, tmp_path, sweeps):
    first, second, third = (tmp_path / f"{name}.json" for name in ("one", "two", "three"))
    said = run(BTC, *GRID, "--out", str(first))
    assert run(BTC, *GRID, "--out", str(second)).code == 0  # from the journal
    for journal in sweeps.iterdir():
        journal.unlink()
    assert run(BTC, *GRID, "--out", str(third)).code == 0
    assert first.read_bytes() == second.read_bytes() == third.read_bytes()
    result = json.loads(first.read_text())
    assert (result["code"], len(result["assets"][0]["data"]["hash"])) == (hash_code(), 64)
    [kept] = list_sweeps(sweeps.parent)  # for the page
    heat_map = json.loads(load_sweep(sweeps.parent, kept["name"]))
    assert [one["figures"]["result_usd"] for one in heat_map["points"]] == [
        one["scores"][0]["result_usd"] for one in result["trials"]
    ]
    shown = run("--show", str(first))
    assert shown.code == 0
    notes = "BTC/USD: there is no database here, so these are the defaults\n"
    assert shown.output == said.output.replace(notes, "").partition("written: ")[0]
    assert run("--show", str(first), "--json").json == result


def test_a_result_that_cannot_be_kept_for_the_page_is_shown_all_the_same(run, sweeps):
    results_folder(sweeps.parent).write_text("no folder")
    said = run(BTC, *GRID)
    assert said.code == 0
    assert "not kept for the page: cannot write" in " ".join(said.output.split())


def test_a_search_is_the_same_again_and_its_winner_has_neighbours(run, tmp_path, sweeps):
    first, second = tmp_path / "one.json", tmp_path / "two.json"
    options = (
        "--deviation", "0.5:3:0.01", "--take-profit", "0.8:3:0.01", "--search", "tpe",
        "--trials", "36", "--seed", "7",
    )  # fmt: skip
    assert run(BTC, *options, "--out", str(first)).code == 0
    for journal in sweeps.iterdir():
        journal.unlink()
    assert run(BTC, *options, "--out", str(second)).code == 0
    assert first.read_bytes() == second.read_bytes()
    result = json.loads(first.read_text())
    assert result["search"] == {"kind": "tpe", "trials": 36, "seed": 7}
    winner = result["ranking"][0]
    assert 2 <= len(result["neighbours"]) <= 4
    assert {tuple(one) for one in result["neighbours"]} <= {
        tuple(one["at"]) for one in result["trials"]
    }
    assert winner not in result["neighbours"]


@pytest.mark.parametrize("objective", ["return", "return-drawdown", "under-water"])
def test_every_objective_can_be_chosen_by(run, objective):
    said = run(BTC, *GRID, "--objective", objective)
    assert said.code == 0
    assert "chosen by" in said.output


def test_several_assets_share_the_cash_and_take_the_same_values(run):
    result = run(BTC, ETH, "--deviation", "1,2", "--cash", "150", "--json").json
    assert [one["symbol"] for one in result["assets"]] == [BTC, ETH]
    assert result["account"]["cash_usd"] == "150"
    assert len(result["trials"]) == 2


def test_what_cannot_be_traded_is_counted_and_told_and_cannot_win(run):
    said = run(BTC, "--base", "5,20", "--deviation", "1,2")
    assert said.code == 0
    assert "2 cannot be traded, as: BTC/USD: a base order of 5 USD is too small" in said.output
    nothing = run(BTC, "--base", "5,6")
    assert nothing.code == 0
    assert "there is no winner" in nothing.output


def test_a_month_s_gap_is_told(run, environment):
    """And nothing is filled: what waits trades at the first price after it."""
    bars = made_up_bars(ETH, 2 * 1440, 2_000)
    history = History(Path(environment["HISTORY_DIR"]))
    later = Month(2023, 8)
    moved = bars.with_columns(2, bars.at_ns + later.begin_ns - JUNE.begin_ns, bars.prices)
    with history.writing():
        history.save(MonthFile(later, moved, Origin(source="a test")))
    said = run(ETH, "--deviation", "1,2")
    assert said.code == 0
    assert "bars missing from 2023-06-03 00:00 (59 days)" in said.output


def test_a_damaged_file_of_the_history_is_named_and_refused(run, environment):
    [month] = (Path(environment["HISTORY_DIR"]) / "BTC-USD").glob("*.bars")
    content = bytearray(month.read_bytes())
    content[-20] ^= 1
    month.write_bytes(content)
    said = run(BTC, *GRID)
    assert (said.code, str(month) in said.complaint) == (1, True)


def test_a_full_disk_is_one_line_and_what_was_tried_stays(run, sweeps):
    assert run(BTC, "--deviation", "1,1.5").code == 0
    [journal] = sweeps.iterdir()
    before = journal.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 50, limits[1]))
    try:
        said = run(BTC, "--deviation", "1:3:0.5")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (said.code, said.output) == (1, "")
    assert f"cannot write {journal}" in said.complaint
    assert "2 configurations tried so far, and the same command goes on" in said.complaint
    assert journal.read_bytes() == before
    assert run(BTC, "--deviation", "1:3:0.5").code == 0


def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on_from_there(run, sweeps, tmp_path):
    """The real program with a worker of its own, and Ctrl-C as a terminal sends it: to all."""
    grid = (BTC, "--deviation", "1:3:0.1", "--take-profit", "0.8:1.6:0.2")
    process = subprocess.Popen(
        [*COMMAND, *grid, "--workers", "1"],
        cwd=PROJECT_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while lines_in(sweeps) < 5 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)  # the pause of a poll with a bound
    family = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (1, "")
    kept = lines_in(sweeps)
    assert errors == (
        f"sweep: stopped; {kept} configurations tried so far, and the same command goes on from"
        " there\n"
    )
    assert 5 <= kept < 21 * 5
    assert psutil.wait_procs(family, timeout=20)[1] == []
    [journal] = sweeps.iterdir()
    before = journal.read_bytes()
    assert run(*grid, "--out", str(tmp_path / "one.json")).code == 0
    assert journal.read_bytes().startswith(before)
    assert lines_in(sweeps) == 21 * 5


def lines_in(sweeps) -> int:
    """Configurations in the journal."""
    paths = list(sweeps.iterdir()) if sweeps.is_dir() else []
    return sum(max(0, path.read_bytes().count(b"\n") - 1) for path in paths)


def test_a_heat_map_and_a_line_are_drawn_also_from_a_file(run, tmp_path):
    picture, result = tmp_path / "map.png", tmp_path / "one.json"
    assert run(BTC, *GRID, "--plot", str(picture), "--out", str(result)).code == 0
    drawn = picture.read_bytes()
    assert drawn.startswith(b"\x89PNG")
    assert run("--show", str(result), "--plot", str(picture)).code == 0
    assert picture.read_bytes() == drawn
    assert run("--show", str(result), "--plot", str(picture), "--axes", "take-profit").code == 0
    assert picture.read_bytes() != drawn
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "name what to try"),
        ([BTC], 2, "nothing varies"),
        ([BTC, BTC, *GRID], 2, "BTC/USD is named twice"),
        ([BTC, "--deviation", "1:2"], 2, "--deviation takes a range like"),
        ([BTC, "--deviation", "0:900:0.1", "--take-profit", "0:900:0.1"], 2, "81,018,001 config"),
        ([BTC, *GRID, "--start", "manual"], 2, "--start makes no difference here"),
        ([BTC, *GRID, "--split", "0"], 2, "one of both parts would have no prices"),
        ([BTC, *GRID, "--split", "2024-01-01"], 2, "one of both parts would have none"),
        ([BTC, *GRID, "--split", "sometime"], 2, "--split 'sometime': expected"),
        ([BTC, *GRID, "--trials", "5"], 2, "--trials belongs to --search tpe"),
        ([BTC, *GRID, "--workers", "0"], 2, "--workers takes a whole number from 1"),
        ([BTC, *GRID, "--axes", "cooldown", "--plot", "x.png"], 2, "--axes takes one or two"),
        ([BTC, *GRID, "--plot", "test.jpg"], 2, "pictures are PNG files"),
        ([BTC, *GRID, "--scheduler", "tcp://10.0.0.5:8786"], 2, "is not encrypted"),
        ([BTC, *GRID, "--scheduler", "tls://10.0.0.5:8786"], 2, "needs --tls-ca, --tls-cert"),
        ([BTC, *GRID, "--yes"], 2, "--yes belongs to --apply"),
        (["SOL/USD", *GRID], 1, "there are no bars of SOL/USD in the history"),
        (["--show", "nowhere.json"], 1, "cannot read nowhere.json"),
        (["--show", "nowhere.json", BTC], 2, "--show shows a file"),
    ],
)
def test_what_cannot_be_is_one_line_and_a_code(run, arguments, code, words):
    said = run(*arguments)
    assert (said.code, said.output) == (code, "")
    assert words in said.complaint


def test_a_file_that_is_no_sweep_is_refused(run, tmp_path):
    path = tmp_path / "other.json"
    for text, words in (
        ("no json", "it is not JSON"),
        ('{"what": "backtest"}', "is no result of a sweep"),
        ('{"what": "sweep", "format": 99}', "has format 99"),
        ('{"what": "sweep", "format": 1}', "is damaged"),
    ):
        path.write_text(text)
        said = run("--show", str(path))
        assert (said.code, words in said.complaint) == (1, True), said.errors


@pytest.mark.parametrize("columns", [80, 120])
def test_it_fits_a_terminal_and_the_bar_goes_away(environment, columns):
    seen = show((*COMMAND, BTC, *GRID, "--objective", "return"), environment, columns)
    assert seen.code == 0
    shown = [line for line in seen.lines if "of 6" not in line]
    assert max(map(len, shown)) <= columns
    assert "The winner" in shown


# With the bot's database


@pytest.fixture
def of_the_bot(db_conn, exchange, make_asset, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HISTORY_DIR", str(tmp_path / "history"))
    reset_settings()
    save_days(History(tmp_path / "history"), BTC, 2)
    exchange.push_quote(BTC, "30000", "30003")
    make_asset(safety_order_deviation=Decimal("3.5"), cooldown_period=77)
    return runner(main, capsys)


def test_what_is_not_named_is_as_the_bot_has_it(of_the_bot):
    said = of_the_bot(BTC, "--take-profit", "1,2", "--json")
    assert said.code == 0, said.errors
    [one] = said.json["assets"]
    assert one["settings"]["safety_order_deviation"] == "3.5"
    assert "BTC/USD: the settings are those of the bot" in said.json["notes"]
    [other] = of_the_bot(BTC, "--take-profit", "1,2", "--json", "--defaults").json["assets"]
    assert other["settings"]["safety_order_deviation"] == "1.5"


def test_apply_shows_the_plan_and_saves_the_winner(of_the_bot, db_conn, tmp_path):
    """Only what the sweep tried changes; the plan is that of scripts/assets edit."""
    result = tmp_path / "one.json"
    options = ("--deviation", "1:2:0.5", "--take-profit", "1.5", "--trailing", "off,0.3")
    refused = of_the_bot(BTC, *options, "--out", str(result), "--apply")
    assert refused.code == 2
    assert "there is no terminal to ask you on" in refused.complaint
    assert get_asset_config(db_conn, BTC).safety_order_deviation == Decimal("3.5")
    said = of_the_bot("--show", str(result), "--apply", "--yes")
    assert said.code == 0, said.errors
    assert "BTC/USD is changed." in said.output
    plan = said.output.partition("The winner")[2]
    assert "the only enabled asset, can need" in plan
    shown = json.loads(result.read_text())
    winner = shown["ranking"][0]
    asset = get_asset_config(db_conn, BTC)
    deviation = shown["dimensions"][0]["values"][winner[0]]
    assert asset.safety_order_deviation == Decimal(deviation)
    assert asset.take_profit_percent == Decimal("1.5")
    assert asset.cooldown_period == 77
    again = of_the_bot("--show", str(result), "--apply", "--yes")
    assert (again.code, "has these values already" in again.complaint) == (2, True)


def test_an_asset_that_is_not_configured_is_told_before_anything_is_tried(of_the_bot, tmp_path):
    save_days(History(tmp_path / "history"), ETH, 2, 2_000)
    said = of_the_bot(ETH, "--deviation", "1,2", "--apply", "--yes")
    assert (said.code, said.output) == (2, "")
    assert "ETH/USD is not configured" in said.complaint
    assert not (tmp_path / "history" / "sweeps").exists()
