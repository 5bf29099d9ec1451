"""The chaos run: its plan comes from the seed alone, and a short run breaks no invariant."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from config import PROJECT_ROOT
from domain.events import EventKind
from local_stack.chaos.alerts import find_unended, trace_alerts
from local_stack.chaos.arguments import parse_arguments
from local_stack.chaos.database_faults import DatabaseFaults
from local_stack.chaos.faults import ChaosFaults
from local_stack.chaos.market_faults import MarketFaults
from local_stack.chaos.plan import (
    EXCHANGE_FAULTS,
    FEE_POSTINGS,
    ChaosFault,
    plan_fee_postings,
    plan_storm,
)
from paper_exchange.faults.armed import FaultBoard
from paper_exchange.faults.table import KINDS

RUN_SECONDS = 400.0  # a bound for a busy machine; on a free one it takes about 90


def test_a_short_run_under_every_kind_of_fault_breaks_no_invariant():
    """The seed is fixed, so that the same things are thrown each time."""
    run = subprocess.run(
        [sys.executable, "-m", "cli.chaos", "--minutes", "1", "--seed", "4", "--json"],
        cwd=PROJECT_ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )

    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
    figures = json.loads(run.stdout)
    assert figures["well"] is True
    assert figures["orders"] >= 8
    assert figures["fills"] >= 8
    assert sum(figures["exchange_faults"].values()) >= 20
    assert len(figures["exchange_faults"]) >= 5
    assert figures["kills"] >= 2
    assert figures["recoveries"] >= 2
    assert figures["checks"] >= 4
    assert 0 < figures["requests_peak_per_minute"] < 200
    assert figures["fees_settled"] > 0
    assert "storm 1 of 2" in run.stderr, "progress goes to standard error"


def test_the_plan_is_a_function_of_the_seed():
    def plan(seed):
        return plan_storm(random.Random(seed), 40.0)

    assert plan(1) == plan(1)
    assert plan(1) != plan(2)
    moments = [one.at_seconds for one in plan(1)]
    assert moments == sorted(moments)
    assert all(one.at_seconds + one.for_seconds <= 40.0 for one in plan(1))


def test_every_fault_of_the_exchange_and_of_the_stack_is_on_the_menu():
    board = FaultBoard()
    for name, _weight, _longest, fields in EXCHANGE_FAULTS:
        board.arm({"name": name, **fields})  # in the table's own terms
    for _share, fault in FEE_POSTINGS:
        board.arm(fault)
    on_menu = {name for name, *_ in EXCHANGE_FAULTS} | {fault["name"] for _, fault in FEE_POSTINGS}
    assert on_menu == set(KINDS)
    planned = [plan_fee_postings(seed) for seed in range(100)]
    assert all(planned)
    assert all(fault in (one for plan in planned for one in plan) for _, fault in FEE_POSTINGS)
    chance = random.Random(1)
    drawn = {one.fault for _ in range(100) for one in plan_storm(chance, 40.0)}
    assert drawn == set(ChaosFault)


def test_every_fault_of_the_stack_is_one_method_of_its_name():
    homes = (ChaosFaults, MarketFaults, DatabaseFaults)
    found = {
        fault: [home for home in homes if hasattr(home, fault.name.lower())] for fault in ChaosFault
    }
    assert {fault: len(one) for fault, one in found.items()} == dict.fromkeys(ChaosFault, 1)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--minutes", "0"], "must be between"),
        (["--seed", "one"], "'one' is not a whole number"),
        (["--assets", "99"], "must be between 1 and"),
        (["--load", "17"], "must be between 0 and 16"),
        (["--load", "-1"], "must be between 0 and 16"),
    ],
)
def test_what_cannot_be_is_code_2(arguments, reason, capsys):
    with pytest.raises(SystemExit) as end:
        parse_arguments(arguments)
    assert end.value.code == 2
    assert reason in capsys.readouterr().err


def event_row(severity, reason, kind=EventKind.ORDER_LONG_OPEN, minutes=0, **identity):
    at = datetime(2026, 1, 1, 12, minutes, tzinfo=UTC)
    none = dict.fromkeys(("symbol", "cycle_id", "order_id", "dedupe_key"))
    return none | identity | {
        "kind": kind, "severity": severity, "reason": reason, "created_at": at,
    }  # fmt: skip


def test_an_alert_is_told_from_its_cause_to_its_end_and_one_that_stays_open_breaks_the_run():
    rows = [
        event_row("error", "it is open for long", order_id="a"),
        event_row("error", "it is open for long, still", order_id="a", minutes=1),
        event_row("error", "another one", order_id="b", symbol="BTC/USD", minutes=1),
        event_row("info", "it is booked", order_id="a", minutes=2),
        event_row("error", "the coins are gone", EventKind.POSITION_GONE, minutes=3),
        event_row("info", "somebody added it", EventKind.ASSET_ADDED, minutes=3),
    ]
    first, second, news = trace_alerts(rows)
    assert (first.cause, first.end, first.seconds) == ("it is open for long", "it is booked", 120)
    assert (second.end, second.lasts, news.end, news.lasts) == (None, True, None, False)
    [violation] = find_unended(rows)
    assert violation.text == "order_long_open of BTC/USD is still open: another one"
    assert find_unended([*rows, event_row("info", "x", order_id="b", symbol="BTC/USD")]) == []


def test_a_lower_rate_plans_as_many_fewer_faults():
    def count(rate):
        return len(plan_storm(random.Random(3), 4000.0, rate))

    assert 0.08 < count(0.1) / count(1.0) < 0.12
