"""scripts/demo: a short real replay to its end, what it refuses, what its summary finds wrong."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import subprocess
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from rich.console import Console

from cli.demo_screen import LiveView
from cli.status_screen import render
from config import PROJECT_ROOT, get_settings
from domain.asset import DcaAsset
from domain.cycle import CycleStatus, DcaCycle
from domain.journal import JournalEntry, Purpose
from domain.market import AssetRules
from domain.orders import ExchangeOrder, Side
from local_stack.audit.ledgers import Evidence, Fill, OrderStep
from local_stack.demo.arguments import parse_arguments
from local_stack.demo.checks import Circumstances
from local_stack.demo.event_feed import Line, Tone
from local_stack.demo.records import DemoRecords
from local_stack.demo.report import print_summary, summary_as_json
from local_stack.demo.summary import Summary, summarise
from local_stack.exchange_process import TAKER_FEE_RATE
from mariadb_server.debian_packages import LOCAL_FOLDER
from models.cycle_data import create_cycle
from monitoring.status.status import StatusReader
from runtime.process_table import processes_of_stack
from utils.formatting import ESTIMATE_LEGEND

HEADER = "timestamp,symbol,bid,bid_size,ask,ask_size\n"
SPEED = 10
# Prices in turn, one for each second of a replay at speed 10: a base order, two safety orders, a
# rise that sells, and, when the cooldown is over, the next base order.
PRICES = [2000] * 2 + [1985] * 2 + [1970] * 2 + [2010] * 3 + [2005] * 4


def write_recording(path: Path) -> Path:
    """Ten quotes a second of replay, so that every order meets one."""
    start = datetime(2021, 7, 2, tzinfo=UTC)
    rows = []
    for number in range(len(PRICES) * SPEED):
        price = PRICES[number // SPEED] + number % 3 / 10
        at = start + timedelta(seconds=number)
        rows.append(f"{at.isoformat()},ETHUSD,{price},1,{price + 0.1:.1f},1\n")
    path.write_text(HEADER + "".join(rows))
    return path


def run_demo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROJECT_ROOT / "scripts" / "demo", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


def test_a_replay_ends_by_itself_with_a_cycle_that_agrees_with_the_exchange(tmp_path):
    (tmp_path / "a folder").mkdir()
    recording = write_recording(tmp_path / "a folder" / "quotes.csv")

    done = run_demo("--quotes", str(recording), "--speed", str(SPEED), "--json")

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["ok"] is True
    assert all(check["ok"] for check in report["checks"])
    assert report["total"]["cycles_completed"] == 1
    assert report["total"]["cycles_with_safety_orders"] == 1
    assert report["total"]["agree"] is True
    assert Decimal(report["total"]["profit_usd"]) > 0
    first = report["cycles"][0]
    assert (first["status"], first["safety_orders"], first["orders"]) == ("complete", 2, 4)
    assert "bought" in done.stderr, "progress goes to standard error"
    assert "sold" in done.stderr
    for part in ("local exchange: play money", "all is well", "coins held", "cycles"):
        assert part in done.stderr, "the status screen that users have"
    assert "all time ~+" in done.stderr.rpartition("demo  ")[2], "the last picture is of the end"


def test_a_reader_who_has_seen_enough_ends_it_quietly_and_nothing_is_left_running():
    demo = subprocess.Popen(
        [PROJECT_ROOT / "scripts" / "demo", "--plain", "--minutes", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with demo:
        assert demo.stdout.readline().startswith("starting: ")
        [folder] = LOCAL_FOLDER.glob(f"demo-{demo.pid}-*")
        demo.stdout.close()
        assert demo.stderr.read() == ""
    assert demo.returncode == 130
    assert not list(processes_of_stack(folder))
    assert not folder.exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--speed", "0"], "--speed: must be between"),
        (["--minutes", "soon"], "'soon' is not a number"),
        (["--quotes"], "expected at least one argument"),
        (["--quotes", "missing.csv"], "missing.csv: cannot be read"),
        (["--quotes", "garbage.csv"], "garbage.csv, line 3: not a number: 'abc'"),
        (["--from", "2021-07-02"], "--from needs --quotes FILE"),
        (["--quotes", "garbage.csv", "--from", "yesterday"], "'yesterday' is not a time"),
        (["nonsense"], "unrecognized arguments: nonsense"),
    ],
)
def test_what_cannot_be_is_one_line_and_code_2(arguments, reason, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    good = "2021-07-02T00:00:00Z,ETHUSD,1,1,2,1\n"
    Path("garbage.csv").write_text(HEADER + good + good.replace(",1,1,", ",abc,1,"))

    with pytest.raises(SystemExit) as end:
        parse_arguments(arguments)

    [line] = capsys.readouterr().err.splitlines()
    assert end.value.code == 2
    assert line.startswith("ERROR: ")
    assert reason in line


def test_a_replay_scales_the_cooldown_and_the_rate_limit_with_its_speed(tmp_path):
    recording = str(write_recording(tmp_path / "quotes.csv"))

    plan = parse_arguments(["--quotes", recording, "--speed", "100"])

    assert plan.symbols == ("ETH/USD",)
    assert plan.columns["cooldown_period"] == 3
    assert plan.requests_per_minute == 20_000
    assert parse_arguments([]).requests_per_minute == 200


# The summary: records of one cycle that are right, and each way in which they can be wrong.

AT = datetime(2026, 1, 5, 12, tzinfo=UTC)
RULES = AssetRules(
    symbol="ETH/USD",
    min_order_size=Decimal("0.001"),
    min_trade_increment=Decimal("0.0001"),
    price_increment=Decimal("0.1"),
    min_cost_usd=Decimal(10),
)
ASSET = DcaAsset(
    id=1,
    asset_symbol="ETH/USD",
    is_enabled=True,
    base_order_amount=Decimal(100),
    safety_order_amount=Decimal(100),
    max_safety_orders=1,
    safety_order_deviation=Decimal(1),
    take_profit_percent=Decimal(1),
    cooldown_period=60,
)
CYCLE = DcaCycle(
    id=7,
    asset_id=1,
    status=CycleStatus.COMPLETE,
    quantity=Decimal("0.1"),
    average_purchase_price=Decimal(1900),
    safety_orders=1,
    last_order_fill_price=Decimal(1800),
    base_order_price=Decimal(2000),
    order_seq=3,
    order_key="0a1b2c3d",
)
NEXT_CYCLE = DcaCycle(id=8, asset_id=1, status=CycleStatus.COOLDOWN, order_key="11111111")
# seq, side, quantity, price, fee (coins for a buy, USD for a sell)
TRADES = [
    (0, Side.BUY, Decimal("0.05"), Decimal(2000), Decimal("0.000125")),
    (1, Side.BUY, Decimal("0.05"), Decimal(1800), Decimal("0.000125")),
    (2, Side.SELL, Decimal("0.0997"), Decimal(2000), Decimal("0.5")),
]
CHECKS = {
    "profit": 0,
    "cash": 1,
    "claimed": 2,
    "match": 3,
    "ladder": 4,
    "refused": 5,
    "requests": 6,
    "calm": 7,
}


def order_of(seq: int, side: Side, qty: Decimal, price: Decimal) -> ExchangeOrder:
    return ExchangeOrder(
        id=f"order-{seq}",
        client_order_id=f"dca-7-0a1b2c3d-{seq}",
        symbol="ETH/USD",
        side=side,
        order_type="limit",
        qty=qty,
        limit_price=price if side is Side.BUY else None,
        filled_qty=qty,
        filled_avg_price=price,
        status="filled",
        created_at=AT,
        submitted_at=AT,
        ended_at=AT,
    )


def entry_of(order: ExchangeOrder, seq: int, fee: Decimal) -> JournalEntry:
    return JournalEntry(
        asset_id=1,
        symbol=order.symbol,
        cycle_id=7,
        order_seq=seq,
        purpose=(Purpose.BASE, Purpose.SAFETY, Purpose.TAKE_PROFIT)[seq],
        side=order.side,
        alpaca_order_id=order.id,
        client_order_id=order.client_order_id,
        requested_qty=order.qty,
        limit_price=order.limit_price,
        filled_qty=order.filled_qty,
        filled_avg_price=order.filled_avg_price,
        final_status=order.status,
        submitted_at=AT,
        ended_at=AT,
        fee_qty=fee if order.side is Side.BUY else Decimal(0),
        fee_usd=fee if order.side is Side.SELL else Decimal(0),
        fee_is_estimated=False,
    )


@pytest.fixture
def records() -> DemoRecords:
    orders = tuple(order_of(seq, side, qty, price) for seq, side, qty, price, _ in TRADES)
    fills = tuple(
        Fill(f"order-{seq}", "ETH/USD", side, qty, price, fee)
        for seq, side, qty, price, fee in TRADES
    )
    evidence = Evidence(
        assets=(ASSET,),
        rows=(CYCLE, NEXT_CYCLE),
        journal=tuple(
            entry_of(order, seq, fee)
            for order, (seq, _, _, _, fee) in zip(orders, TRADES, strict=True)
        ),
        orders=orders,
        fills=fills,
        steps=tuple(
            step
            for fill in fills
            for step in (
                OrderStep(fill.order_id, "pending_new", AT),
                OrderStep(fill.order_id, "fill", AT, fill.qty, fill.price),
            )
        ),
        rules={"ETH/USD": RULES},
        fee_rate=TAKER_FEE_RATE,
    )
    return DemoRecords(
        evidence=evidence,
        unpaired_fees=0,
        cash_at_start=Decimal(1000),
        cash=Decimal("1008.90"),  # -100 -90 +199.40 -0.50
        refused_sells=(),
        errors=(),
    )


def sum_up(records: DemoRecords, peak: int = 150) -> Summary:
    circumstances = Circumstances(
        requests_peak_per_minute=peak, requests_per_minute=200, daemon_ran_to_the_end=True
    )
    return summarise(records, circumstances)


def broken_checks(summary: Summary) -> set[str]:
    return {name for name, index in CHECKS.items() if not summary.checks[index].holds}


def test_right_records_sum_up_to_profit_after_fees_and_no_complaint(records):
    summary = sum_up(records)

    assert summary.is_well, broken_checks(summary)
    [eth] = summary.assets
    assert (eth.cycles, eth.with_safety_orders, eth.orders) == (1, 1, 3)
    assert eth.journal_profit_usd == eth.exchange_profit_usd == Decimal("8.90")
    assert eth.fees_usd == Decimal("0.000125") * 3800 + Decimal("0.5")
    assert summary.total.journal_profit_usd == Decimal("8.90")


def test_an_estimated_fee_marks_the_profit_that_it_is_part_of(records, capsys):
    journal = with_last(fee_is_estimated=True)(records.evidence.journal)
    estimated = changed(records, evidence=changed(records.evidence, journal=journal))
    for each, shown in ((estimated, "~+8.90"), (records, "+8.90")):
        summary = sum_up(each)
        print_summary(Console(width=100), summary, 60, ())
        said = capsys.readouterr().out
        assert f" {shown} " in said
        assert (ESTIMATE_LEGEND in said) is (shown[0] == "~")
        [cycle] = summary_as_json(summary, 60, "synthetic", ())["cycles"]
        assert cycle["fees_are_estimated"] is (shown[0] == "~")


def changed(row, **columns):
    return dataclasses.replace(row, **columns)


def with_last(**columns):
    """Changes the last row of a journal."""
    return lambda journal: (*journal[:-1], changed(journal[-1], **columns))


@pytest.mark.parametrize(
    ("part", "column", "change", "expected"),
    [
        (
            "evidence",
            "journal",
            lambda j: (*j[:2], changed(j[2], fee_usd=Decimal("0.49"))),
            {"profit"},
        ),
        (
            "evidence",
            "journal",
            lambda j: (*j[:2], changed(j[2], fee_is_estimated=True)),
            {"profit"},
        ),
        ("evidence", "journal", lambda j: j[1:], {"profit", "claimed", "match"}),
        ("evidence", "rows", lambda c: (changed(c[0], quantity=Decimal("0.11")), c[1]), {"match"}),
        (
            "evidence",
            "rows",
            lambda c: (changed(c[0], average_purchase_price=Decimal("1900.000000000001")), c[1]),
            {"match"},
        ),
        ("evidence", "rows", lambda c: (changed(c[0], safety_orders=2), c[1]), {"match"}),
        ("evidence", "rows", lambda c: (changed(c[0], order_seq=2), c[1]), {"match"}),
        ("evidence", "assets", lambda a: (changed(a[0], max_safety_orders=0),), {"ladder"}),
        (
            "records",
            "refused_sells",
            lambda _: ('order.refused side=sell reason="insufficient balance for ETH"',),
            {"refused"},
        ),
        ("records", "errors", lambda _: ("ERROR something",), {"calm"}),
        ("records", "cash", lambda cash: cash - 1, {"cash"}),
        ("records", "unpaired_fees", lambda _: 1, {"cash"}),
        (
            "evidence",
            "orders",
            lambda o: (*o, changed(o[0], id="other", client_order_id="dca-8-0a1b2c3d-0")),
            {"claimed"},
        ),
        (
            "evidence",
            "orders",
            lambda o: (*o, changed(o[0], id="twice", filled_qty=Decimal(0))),
            {"claimed"},
        ),
    ],
)
def test_a_wrong_record_is_found_by_its_check(records, part, column, change, expected):
    if part == "evidence":
        evidence = records.evidence
        evidence = changed(evidence, **{column: change(getattr(evidence, column))})
        records = changed(records, evidence=evidence)
    else:
        records = changed(records, **{column: change(getattr(records, column))})

    summary = sum_up(records)

    assert broken_checks(summary) == expected
    assert not summary.is_well


def test_too_many_requests_are_found(records):
    assert broken_checks(sum_up(records, peak=201)) == {"requests"}


# The screen


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (160, 50)])
def test_the_screen_is_that_of_status_between_a_heading_and_what_happened(
    bot_environment, db_conn, exchange, make_asset, width, height
):
    for symbol in ("BTC/USD", "ETH/USD", "SOL/USD"):
        exchange.push_quote(symbol, 2000, 2001)
        create_cycle(db_conn, make_asset(symbol).id, "watching")
    status = StatusReader(get_settings()).load()
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, color_system=None, width=width, height=height)
    view = LiveView(console)
    news = [Line(AT, Tone.BUY, "BTC/USD", f"bought number {number}") for number in range(9)]

    view.show("demo  synthetic at 1x  0:01", status, news)

    frame = re.sub(r"\x1b\[[?\d;]*[a-zA-Z]", "", out.getvalue())
    lines = [line.rstrip() for line in frame.splitlines()]
    assert (len(lines), max(map(len, lines)) <= width) == (height, True)
    assert lines[0].endswith("demo  synthetic at 1x  0:01")
    other = Console(force_terminal=True, color_system=None, width=width, height=height)
    with other.capture() as captured:
        other.print(render(status, other, height=height - 6))
    of_status = [line.rstrip() for line in captured.get().splitlines()]
    assert lines[1 : 1 + len(of_status)] == of_status
    assert [line for line in lines if line.endswith("bought number 8")]
    assert not [line for line in lines if line.endswith("bought number 0")], "the latest ones"
    assert "Ctrl-C stops everything and prints what happened" in lines
    out.truncate(0)
    view.close()
    assert "bought number 8" in out.getvalue(), "the last picture stays"
