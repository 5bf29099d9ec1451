"""The replay behind the sliders: the figures of `scripts/backtest`, in a process that may die."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import psutil
import pytest

from cli.backtest import main as backtest
from config import inspect_environment, reset_settings, setting_names
from operations.asset_input import DEFAULTS, build_asset, read_defaults, read_values, write_values
from past_bars import save_waves
from research.errors import HistoryError
from research.history import History
from research.months import Month
from said import runner
from web.tryout import Tryouts
from web.tryout_client import TryoutBusy, TryoutClient
from web.tryout_input import (
    CANDLES,
    DESCRIBE,
    OK,
    REFUSED,
    SUPERSEDED,
    TRY,
    read_range,
    read_settings,
    settings_text,
)
from web.tryout_views import MAX_MARKERS, MAX_POINTS

BTC, ETH = "BTC/USD", "ETH/USD"
FEE = Decimal("0.25")
TODAY = write_values(build_asset(BTC, read_defaults(FEE)))
# A replay that is not over before a test has done something to it.
LONG = {"deviation": "0.2", "take_profit": "0.6", "max_safety": "99", "cooldown": "0"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two months of BTC, the second with a gap."""
    found = Path(tmp_path_factory.mktemp("history"))
    save_waves(History(found), BTC, 30_000, Month(2023, 6))
    save_waves(History(found), BTC, 31_000, Month(2023, 7), without=range(2000, 5000))
    return found


@pytest.fixture
def settings(folder, tmp_path, monkeypatch):
    for name in setting_names():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ENV_FILE", str(tmp_path / "none.env"))
    monkeypatch.setenv("HISTORY_DIR", str(folder))
    reset_settings()
    yield inspect_environment()[0]
    reset_settings()


class Replays:
    """As the process has them, in this one."""

    def __init__(self, settings):
        self.tryouts = Tryouts(read_settings(settings_text(settings)))

    def try_(self, settings=None, *, today=TODAY, symbol=BTC, since=None, until=None):
        return self.tryouts.try_settings(read_range(symbol, since, until), today, settings or {})


@pytest.fixture(scope="module")
def kept():
    """The prices, read once for all tests."""
    return {}


@pytest.fixture
def replays(settings, kept):
    return kept.setdefault("replays", Replays(settings))


@dataclass
class Asking:
    client: TryoutClient

    async def try_(self, settings=None, *, viewer="one", today=TODAY, **where):
        question = {"symbol": BTC, "since": None, "until": None} | where
        question |= {"what": TRY, "viewer": viewer, "today": today, "settings": settings or {}}
        answer = await self.client.ask(question)
        return (answer.status, json.loads(answer.body) if answer.status == OK else answer.body)

    async def is_running(self):
        """Until the process is busy with a try."""
        while self.client.pid is None:
            await asyncio.sleep(0)
        process = psutil.Process(self.client.pid)
        before = sum(process.cpu_times()[:2])
        while sum(process.cpu_times()[:2]) < before + 0.3:
            await asyncio.sleep(0.01)


@asynccontextmanager
async def asking(settings, **options):
    client = TryoutClient(settings, **options)
    try:
        yield Asking(client)
    finally:
        await client.stop()


def ask(settings, work, **options):
    async def run():
        async with asking(settings, **options) as one:
            return await work(one)

    return asyncio.run(run())


def options_of(settings):
    return [
        part for name, text in settings.items() for part in (f"--{name.replace('_', '-')}", text)
    ]


@pytest.mark.parametrize(
    ("tried", "where", "since_until"),
    [
        ({}, {}, ()),
        ({"deviation": "2", "max_safety": "3"}, {}, ()),
        (
            {"deviation": "1", "volume_scale": "1.2", "trailing": "0.3", "stop_loss": "9"},
            {"since": "2023-06-28T00:00:00Z", "until": "2023-07-03T00:00:00Z"},
            ("--from", "2023-06-28", "--to", "2023-07-02"),
        ),
    ],
)
def test_every_figure_is_that_of_a_backtest(replays, capsys, tried, where, since_until):
    found = replays.try_(tried, **where)
    run = runner(backtest, capsys)
    said = run(BTC, *options_of(TODAY | tried), *since_until, "--json")
    theirs = said.json["runs"][0]
    curve = theirs.pop("equity")
    assert found["figures"] == theirs
    assert found["capital_usd"] == theirs["ladder_usd"]
    cash = Decimal(said.json["cash_usd"])
    assert Decimal(found["equity"][-1]["usd"]) == Decimal(curve[-1][1]) - cash
    assert found["equity"][-1]["time"] == curve[-1][0]


def test_the_limits_of_the_account_hold_in_a_try_as_in_a_backtest(settings, monkeypatch, capsys):
    free = Replays(settings).try_({})
    monkeypatch.setenv("MAX_POSITION_USD", "60")
    monkeypatch.setenv("MAX_OPEN_CYCLES", "1")
    reset_settings()
    found = Replays(inspect_environment()[0]).try_({})
    said = runner(backtest, capsys)(BTC, *options_of(TODAY), "--json")
    theirs = said.json["runs"][0]
    assert found["figures"]["result_usd"] == theirs["result_usd"]
    assert found["figures"]["result_usd"] != free["figures"]["result_usd"]


def test_what_is_shown_beside_is_what_the_assets_own_settings_earned(replays):
    tried, as_today = replays.try_({"deviation": "3"}), replays.try_({})
    assert tried["today"]["figures"] == as_today["figures"] == as_today["today"]["figures"]
    assert tried["today_equity"] == as_today["equity"]
    assert tried["figures"] != tried["today"]["figures"]
    assert tried["today"]["capital_usd"] == "120"


def test_an_asset_that_is_not_configured_is_tried_from_the_defaults(replays, capsys):
    found = replays.try_({"deviation": "2"}, today=None)
    assert found["today"] is None
    said = runner(backtest, capsys)(BTC, "--deviation", "2", "--json")
    theirs = said.json["runs"][0]
    assert found["figures"]["result_usd"] == theirs["result_usd"]


def test_the_plan_is_of_the_last_price_and_the_curve_and_fills_fit_on_a_page(replays):
    found = replays.try_({"deviation": "0.5", "max_safety": "20"})
    assert [one["number"] for one in found["ladder"]] == list(range(21))
    assert found["ladder"][0]["price"] == found["ask"] == found["plan"]["ask"]
    assert len(found["equity"]) == MAX_POINTS
    times = [one["time"] for one in found["markers"]]
    assert times == sorted(times)
    assert len(times) <= MAX_MARKERS < found["markers_of"]
    assert {"base order", "safety order 1", "take profit"} <= {
        one["words"] for one in found["markers"]
    }


@pytest.mark.parametrize(
    ("tried", "words"),
    [
        ({"deviation": "much"}, "--deviation takes a plain number like 20 or 1.5, not 'much'"),
        ({"deviation": "-1"}, "the deviation must be more than 0 and below 100 percent, not -1"),
        ({"base": "1"}, "a base order of 1 USD is too small"),
        ({"start": "<script>"}, "--start takes at-once or manual, not '<script>'"),
        ({"max_safety": "9" * 400}, "--max-safety takes at most 12 digits"),
    ],
)
def test_what_cannot_be_traded_is_refused_in_the_words_of_scripts_assets(replays, tried, words):
    found = replays.try_(tried)
    assert words in found["refusals"][0]
    assert found["figures"] is None
    assert found["today"]["figures"] is not None


def test_settings_that_lose_are_tried_with_a_warning(replays):
    found = replays.try_({"take_profit": "0.3"})
    assert any("fees" in one for one in found["warnings"])
    assert found["figures"]["orders"] > 0


def test_without_history_the_reason_is_said_and_the_settings_are_there(settings):
    async def work(one):
        described = await one.client.ask({"what": DESCRIBE, "symbol": ETH, "today": None})
        return json.loads(described.body), await one.try_(symbol=ETH)

    described, (status, words) = ask(settings, work)
    assert described["range"] is None
    assert "there are no bars of ETH/USD" in described["why_none"]
    assert described["settings"]["deviation"] == DEFAULTS["deviation"]
    assert status == REFUSED
    assert b"there are no bars of ETH/USD" in words


def test_what_there_is_to_try_on_is_told_with_the_range_of_each_slider(replays):
    odd = TODAY | {"deviation": "17", "trailing": "0.7"}
    found = replays.tryouts.describe(read_range(BTC, None, None), odd)
    assert found["range"]["from"] == "2023-06-01T00:00:00+00:00"
    assert found["range"]["to"] == "2023-08-01T00:00:00+00:00"
    assert found["range"]["missing"] == 3000
    assert found["settings"] == odd
    assert found["limits"]["deviation"] == {
        "min": "0.2", "max": "17", "step": "0.1", "can_be_off": False,
    }  # fmt: skip
    assert found["cash_usd"] == "120"


@pytest.mark.parametrize(
    ("name", "content"), [("2023-08.bars", b"dca-history nonsense"), ("rules.json", b"{")]
)
def test_a_damaged_file_is_named_and_the_next_try_sees_that_it_is_gone(replays, name, content):
    path = replays.tryouts._history.folder_of(BTC) / name
    first = replays.try_()
    path.write_bytes(content)
    try:
        with pytest.raises(HistoryError, match="damaged"):
            replays.try_()
    finally:
        path.unlink()
    assert replays.try_() == first


# The process


def test_of_one_viewer_the_newest_try_counts_and_another_viewer_keeps_his(settings):
    async def work(one):
        old = asyncio.create_task(one.try_(LONG))
        await one.is_running()
        tries = [one.try_({"deviation": f"{number}"}) for number in (2, 3, 4)]
        others = one.try_({"deviation": "5"}, viewer="two")
        return await asyncio.gather(old, *tries, others)

    statuses = [status for status, _ in ask(settings, work)]
    assert statuses == [SUPERSEDED, SUPERSEDED, SUPERSEDED, OK, OK]


def test_a_process_that_is_killed_is_started_again_and_the_try_is_answered(settings):
    async def work(one):
        running = asyncio.create_task(one.try_({"deviation": "0.4", "max_safety": "60"}))
        await one.is_running()
        first = one.client.pid
        os.kill(first, signal.SIGKILL)
        status, found = await running
        return status, found, first != one.client.pid

    status, found, is_another = ask(settings, work)
    assert (status, is_another) == (OK, True)
    assert found["figures"]["orders"] > 0


def test_a_try_that_takes_too_long_ends_and_the_next_one_is_answered(settings):
    async def work(one):
        assert (await one.try_())[0] == OK
        one.client.answer_seconds = 0.05
        with pytest.raises(TryoutBusy, match="shorter range"):
            await one.try_(LONG)
        one.client.answer_seconds = 60.0
        before = one.client.pid
        status, _ = await one.try_({"deviation": "2"})
        return status, before == one.client.pid

    assert ask(settings, work) == (OK, True)


def test_who_went_away_costs_nothing_more(settings):
    async def work(one):
        gone = asyncio.create_task(one.try_(LONG))
        await one.is_running()
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        status, _ = await one.try_(viewer="two")
        return status, one.client.pid

    status, pid = ask(settings, work)
    assert status == OK
    assert not psutil.pid_exists(pid), "it ends with the page"


def test_nobody_asks_any_more_and_its_memory_is_given_back(settings):
    async def work(one):
        await one.try_()
        process = psutil.Process(one.client.pid)
        await asyncio.to_thread(process.wait, 30)
        ended = one.client.pid
        return ended, (await one.try_())[0]

    assert ask(settings, work, idle_seconds=0.1) == (None, OK)


def test_it_stands_back_behind_everything_else(settings):
    async def work(one):
        await one.try_()
        process = psutil.Process(one.client.pid)
        score = Path(f"/proc/{process.pid}/oom_score_adj").read_text("ascii").strip()
        return process.nice(), int(score)

    nice, score = ask(settings, work)
    assert nice >= 10
    assert score >= 500


def test_a_request_that_is_nonsense_ends_nothing(settings):
    async def work(one):
        wrong = await one.client.ask({"what": "sing"})
        worse = await one.client.ask({"what": CANDLES, "symbol": BTC, "wanted": {}})
        return wrong.status, worse.status, (await one.try_())[0]

    assert ask(settings, work) == (REFUSED, 500, OK)


def test_options_that_are_written_are_read_again():
    texts = TODAY | {"reference": "base-order", "max_entry": "0.00000001", "base": "20.5"}
    assert write_values(build_asset(BTC, read_values(texts, FEE))) == texts
