"""`scripts/backtest` as its users see it: without an account, keys and database; and with one."""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from cli.backtest import main
from config import reset_settings, setting_names
from research.history import History
from research.history_file import MonthFile, Origin
from research.months import SECOND_NS, Month
from research.result import hash_code, read_version
from research.series import Bars, Quotes
from said import runner
from terminal import show

COMMAND = (sys.executable, "-P", "-m", "cli.backtest")
BTC, ETH = "BTC/USD", "ETH/USD"
JUNE = Month(2023, 6)
BARS = 30 * 1440


def save_month(history, symbol, price, *, without=()):
    """A month of minutes that go up and down by 12 % twice a day, in cents."""
    minutes = np.delete(np.arange(BARS, dtype=np.int64), without)
    middle = (price * 100 * (1 + 0.06 * np.sin(minutes / 720 * 2 * np.pi))).astype(np.int64)
    bars = Bars(
        symbol=symbol,
        places=2,
        at_ns=JUNE.begin_ns + minutes * 60 * SECOND_NS,
        bar_seconds=60,
        open=middle,
        high=middle + 100,
        low=middle - 100,
        close=middle,
    )
    with history.writing():
        history.save(MonthFile(JUNE, bars, Origin(source="a test")))
    return bars


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """No database, no keys, no .env; a month of two coins, one with a gap."""
    for name in setting_names():
        monkeypatch.delenv(name, raising=False)
    environment = {
        "ENV_FILE": str(tmp_path / "none.env"), "HISTORY_DIR": str(tmp_path / "history"),
    }  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    reset_settings()
    history = History(tmp_path / "history")
    save_month(history, BTC, 30_000)
    save_month(history, ETH, 2_000, without=range(2000, 5000))
    yield environment
    reset_settings()


@pytest.fixture
def history(environment):
    return History(Path(environment["HISTORY_DIR"]))


@pytest.fixture
def run(environment, capsys):
    return runner(main, capsys)


def test_a_newcomer_sees_what_settings_would_have_earned(run):
    said = run(BTC, "--from", "2023-06", "--to", "2023-06", "--deviation", "2")
    assert (said.code, said.errors) == (0, "")
    assert "BTC/USD  2023-06-01 00:00 to 2023-07-01 00:00 UTC" in said.output
    assert "deviation 2 %, take profit 1.2 %" in said.output
    assert "43,200 bars of 1 min from a test; nothing is missing" in said.output
    assert "spread 0.03 %; rules of the coin: usual ones, not Alpaca's" in said.output
    for words in ("result after fees", "worst drawdown", "longest under water", "fully bought"):
        assert words in said.output
    assert "Safety orders used" in said.output


def test_without_settings_and_a_database_the_defaults_are_tried_and_that_is_said(run):
    said = run(BTC)
    assert said.code == 0
    assert "there is no database here, so these are the defaults" in said.output
    assert "there is no database" not in run(BTC, "--defaults").output


def test_several_assets_share_the_cash_and_gaps_are_told(run):
    said = run(BTC, ETH, "--cash", "150", "--json", "--defaults")
    result = said.json
    assert result["cash_usd"] == "150"
    [_, ether] = result["assets"]
    assert ether["data"]["missing"] == 3000
    assert ether["data"]["gaps"] == [
        {"from": "2023-06-02T09:20:00Z", "to": "2023-06-04T11:20:00Z"},
    ]  # fmt: skip
    [replay] = result["runs"]
    assert {one["symbol"] for one in replay["by_asset"]} == {BTC, ETH}
    realised = sum(Decimal(one["realised_usd"]) for one in replay["by_asset"])
    assert realised == Decimal(replay["realised_usd"]) > 0
    assert Decimal(replay["peak_at_work_usd"]) <= 150 + realised
    assert "3,000 bars missing from 2023-06-02 09:20 (2 days)" in run(ETH, "--defaults").output


def test_the_limits_of_env_hold_as_they_do_for_the_bot_and_options_go_before_them(run, monkeypatch):
    monkeypatch.setenv("MAX_OPEN_CYCLES", "1")
    monkeypatch.setenv("MAX_BUY_USD_PER_DAY", "70")
    said = run(BTC, ETH, "--defaults", "--max-buy-per-day", "off", "--json")
    limits, [replay] = said.json["limits"], said.json["runs"]
    assert (limits["max_open_cycles"], limits["max_buy_usd_per_day"]) == (1, None)
    assert "MAX_OPEN_CYCLES=1 is reached" in {one["reason"] for one in replay["refusals"]}
    free = run(
        BTC, ETH, "--defaults", "--max-buy-per-day", "off", "--max-open-cycles", "off", "--json"
    )
    assert replay["cycles"] < free.json["runs"][0]["cycles"]
    shown = run(BTC, ETH, "--defaults").output
    assert "limits of the account: MAX_BUY_USD_PER_DAY 70, MAX_OPEN_CYCLES 1" in shown
    alone = run(BTC, "--defaults", "--dump-pause", "5", "--json").json
    assert alone["notes"] == ["DUMP_PAUSE_PERCENT needs 2 assets: it never pauses here"]


def test_a_limit_that_is_none_is_refused_in_one_line(run, monkeypatch):
    said = run(BTC, "--defaults", "--max-open-cycles", "few", "--dump-pause", "0")
    assert (said.code, said.complaint) == (
        2,
        "backtest: --max-open-cycles: expected a whole number or off, not 'few';"
        " --dump-pause: expected a number from 0.1 to 99 or off, not '0'",
    )
    monkeypatch.setenv("MAX_POSITION_USD", "much")
    assert run(BTC, "--defaults").complaint.startswith("backtest: MAX_POSITION_USD")


def test_a_manual_start_waits_for_the_moments_that_are_named(run):
    at = "2023-06-10T12:00,2023-06-20"
    said = run(BTC, "--start", "manual", "--open-at", at, "--json")
    [asset], [replay] = said.json["assets"], said.json["runs"]
    assert asset["opens"] == ["2023-06-10T12:00:00+00:00", "2023-06-20T00:00:00+00:00"]
    assert said.json["notes"] == []
    assert replay["cycles"] + replay["open_cycles"] == 2
    assert "opened by hand" in run(BTC, "--start", "manual", "--open-at", at).output
    never = run(BTC, "--start", "manual", "--json")
    assert never.json["runs"][0]["cycles"] > 2
    assert never.json["notes"] == [
        "BTC/USD: nobody is here to start a cycle, so each starts at once; --open-at says when you"
        " would"
    ]
    by_itself = run(BTC, "--open-at", at, "--defaults", "--json")
    assert "starts its cycles by itself (--start at-once)" in by_itself.json["notes"][0]
    assert run(BTC, "--open-at", "soon").code == 2


def test_a_setting_of_env_that_matters_and_cannot_be_read_is_refused(run, monkeypatch):
    monkeypatch.setenv("TAKER_FEE_PERCENT", "much")
    said = run(BTC, "--defaults")
    assert (said.code, said.complaint.startswith("backtest: TAKER_FEE_PERCENT")) == (2, True)
    monkeypatch.setenv("TAKER_FEE_PERCENT", "0.1")
    assert run(BTC, "--defaults", "--json").json["fee_percent"] == "0.1"
    assert run(BTC, "--defaults", "--json", "--fee", "0").json["fee_percent"] == "0"


def test_quotes_are_replayed_where_only_they_are_and_measure_the_spread_of_bars(run, history):
    june = JUNE.begin_ns + np.arange(100, dtype=np.int64) * SECOND_NS
    for symbol in (BTC, "SOL/USD"):
        bid = np.full(100, 9_990, np.int64)
        quotes = Quotes(symbol=symbol, places=2, at_ns=june, bid=bid, ask=bid + 20)
        with history.writing():
            history.save(MonthFile(JUNE, quotes, Origin(source="a test")))
    of_quotes = run("SOL/USD", "--defaults", "--json").json["assets"][0]
    assert (of_quotes["data"]["kind"], of_quotes["spread_percent"]) == ("quotes", None)
    of_bars = run(BTC, "--defaults", "--json").json["assets"][0]
    assert (of_bars["data"]["kind"], of_bars["spread_percent"]) == ("bars", "0.2")
    assert run(BTC, "--defaults", "--quotes", "--json").json["assets"][0]["data"]["rows"] == 100


def test_both_paths_stand_beside_each_other(run):
    said = run(BTC, "--path", "both", "--defaults")
    assert "low first" in said.output
    assert "high first" in said.output
    [low, high] = run(BTC, "--path", "both", "--json", "--defaults").json["runs"]
    assert (low["path"], high["path"]) == ("open-low-high-close", "open-high-low-close")


def test_two_runs_of_the_same_input_give_the_same_bytes_and_can_be_shown(run, tmp_path):
    first, second, fills = (tmp_path / name for name in ("one.json", "two.json", "fills.csv"))
    said = run(BTC, "--deviation", "2", "--out", str(first), "--csv", str(fills))
    assert run(BTC, "--deviation", "2", "--out", str(second)).code == 0
    assert first.read_bytes() == second.read_bytes()
    result = json.loads(first.read_text())
    assert (result["version"], result["code"]) == (read_version(), hash_code())
    assert len(result["assets"][0]["data"]["hash"]) == 64
    assert result["assets"][0]["settings"]["safety_order_deviation"] == "2"
    header, *orders = fills.read_text().splitlines()
    assert header.startswith("time,symbol,cycle,order,purpose,side,qty,price")
    assert len(orders) == result["runs"][0]["orders"]
    shown = run("--show", str(first))
    assert shown.code == 0
    assert shown.output == said.output.partition("written: ")[0]
    assert run("--show", str(first), "--json").json == result


def test_a_picture_is_drawn(run, tmp_path):
    picture = tmp_path / "test.png"
    assert run(BTC, ETH, "--defaults", "--plot", str(picture)).code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "name what to try"),
        ([BTC, BTC], 2, "BTC/USD is named twice"),
        ([BTC, "--cash", "0"], 2, "--cash takes a plain number above 0"),
        ([BTC, "--spread", "200"], 2, "take a percent like 0.25"),
        ([BTC, "--deviation", "x"], 2, "--deviation takes a plain number"),
        ([BTC, "--deviation", "200"], 2, "the deviation"),
        ([BTC, "--base", "5"], 2, "a base order of 5 USD is too small"),
        ([BTC, "--defaults", "--base", "50"], 2, "--defaults takes no other settings"),
        ([BTC, "--from", "2023-07", "--to", "2023-06"], 2, "is not before the end"),
        ([BTC, "--plot", "test.jpg"], 2, "pictures are PNG files"),
        ([BTC, "--out", "nowhere/test.json"], 2, "there is no folder nowhere"),
        (["SOL/USD", "--defaults"], 1, "there are no bars of SOL/USD in the history"),
        ([BTC, "--from", "2022-01", "--to", "2022-02", "--defaults"], 1, "scripts/history fetch"),
        (["--show", "nowhere.json"], 1, "cannot read nowhere.json"),
        (["--show", "nowhere.json", BTC], 2, "--show shows a file"),
    ],
)
def test_what_cannot_be_is_one_line_and_a_code(run, arguments, code, words):
    said = run(*arguments)
    assert (said.code, said.output) == (code, "")
    assert words in said.complaint


def test_a_database_that_cannot_be_used_is_told_with_what_does_without(run, monkeypatch):
    for name, value in (("DB_USER", "nobody"), ("DB_NAME", "nothing"), ("DB_PORT", "1")):
        monkeypatch.setenv(name, value)
    said = run(BTC)
    assert (said.code, "name settings, or --defaults" in said.complaint) == (1, True)
    assert run(BTC, "--defaults").code == 0


def test_cash_that_is_used_up_is_told_with_its_time(run):
    assert "BTC/USD 2023-06-01 0" in run(BTC, "--defaults", "--cash", "50").output
    assert ": the cash is used up" in run(BTC, "--defaults", "--cash", "50").output


def test_a_file_that_is_no_result_is_refused(run, tmp_path):
    path = tmp_path / "other.json"
    for text, words in (
        ("no json", "it is not JSON"),
        ("[]", "is no result of a backtest"),
        ('{"what": "backtest", "format": 99}', "has format 99"),
        ('{"what": "backtest", "format": 1}', "is damaged"),
    ):
        path.write_text(text)
        said = run("--show", str(path))
        assert (said.code, words in said.complaint) == (1, True), said.errors


def test_a_damaged_file_of_the_history_is_named(run, environment):
    [month] = (Path(environment["HISTORY_DIR"]) / "BTC-USD").glob("*.bars")
    content = bytearray(month.read_bytes())
    content[-20] ^= 1
    month.write_bytes(content)
    said = run(BTC, "--defaults")
    assert said.code == 1
    assert str(month) in said.complaint


@pytest.mark.parametrize(("columns", "left_out"), [(60, "held, weekly"), (80, None), (100, None)])
def test_it_fits_a_terminal(environment, columns, left_out):
    seen = show((*COMMAND, BTC, ETH, "--path", "both", "--defaults"), environment, columns)
    assert seen.code == 0
    shown = [part for line in seen.lines for part in line.split(" ...")]  # frames of the progress
    assert max(map(len, shown)) <= columns
    assert not any("…" in line for line in seen.lines), "no figure is cut"
    told = f"the window is too narrow for {left_out}: widen it, or add --json"
    assert (told in " ".join(seen.lines)) == (left_out is not None)


def test_the_settings_of_the_bot_are_tried_where_none_are_named(
    db_conn, exchange, make_asset, tmp_path, monkeypatch, capsys
):
    """And the coin's rules are Alpaca's, also when it is away later."""
    monkeypatch.setenv("HISTORY_DIR", str(tmp_path / "history"))
    reset_settings()
    save_month(History(tmp_path / "history"), BTC, 30_000)
    asset = make_asset(safety_order_deviation=Decimal("3.5"))
    run = runner(main, capsys)
    said = run(BTC, "--json")
    assert said.code == 0, said.errors
    [one] = said.json["assets"]
    assert one["settings"]["safety_order_deviation"] == "3.5"
    assert Decimal(one["settings"]["base_order_amount"]) == asset.base_order_amount
    assert "BTC/USD: the settings are those of the bot" in said.json["notes"]
    assert (one["rules"]["from"], one["rules"]["min_order_size"]) == ("Alpaca", "0.000011")
    exchange.stop()
    [one] = run(BTC, "--json", "--deviation", "2").json["assets"]
    assert (one["rules"]["from"], one["rules"]["min_order_size"]) == ("Alpaca", "0.000011")
    assert one["settings"]["safety_order_deviation"] == "2"
