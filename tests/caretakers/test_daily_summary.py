"""The summary of a day: once, after midnight, with the figures of the report, whatever dies."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from builders import build_entry
from caretaker_process import dry_run, real_run, run_script
from caretakers import daily_summary
from caretakers.daily_summary import sum_up_the_day
from cli import report as report_command
from config import get_settings, reset_settings
from domain.events import Event, EventKind, Severity
from domain.journal import Purpose
from domain.orders import Side
from models.cycle_data import create_cycle, update_cycle
from models.events import append_event
from models.order_journal import append_journal_entry
from said import runner
from utils.alert_outbox import load_outbox
from utils.db_utils import execute_query
from utils.notifications import list_channels

D = Decimal
YESTERDAY = (datetime.now(UTC) - timedelta(days=1)).replace(hour=12)


@pytest.fixture
def wanted(settings, monkeypatch):
    """Settings with two services that want the summary; nothing listens there."""
    monkeypatch.setenv("ALERT_URLS", "ntfy://127.0.0.1:9/a json://127.0.0.1:9/b")
    monkeypatch.setenv("ALERT_ON", "errors,daily")
    reset_settings()
    return get_settings()


@pytest.fixture
def traded(db_conn, make_asset):
    """Yesterday one cycle of each of two assets; the day before one; one is open."""
    symbols = {"BTC/USD": "51000", "ETH/USD": "49500", "LTC/USD": "52000"}
    for number, (symbol, sold_at) in enumerate(symbols.items()):
        at = YESTERDAY - timedelta(days=1) if symbol == "LTC/USD" else YESTERDAY
        cycle = create_cycle(db_conn, make_asset(symbol).id, "watching")
        for side, price in ((Side.BUY, "50000"), (Side.SELL, sold_at)):
            entry = build_entry(
                asset_id=cycle.asset_id,
                symbol=symbol,
                cycle_id=cycle.id,
                order_seq=int(side is Side.SELL),
                purpose=Purpose.BASE if side is Side.BUY else Purpose.TAKE_PROFIT,
                side=side,
                alpaca_order_id=f"order-{number}-{side}",
                client_order_id=f"client-{number}-{side}",
                filled_qty=D("0.002"),
                filled_avg_price=D(price),
                final_status="filled",
                fee_usd=D("0.26") if side is Side.SELL else D(0),
                ended_at=at,
                submitted_at=at,
            )
            append_journal_entry(db_conn, entry)
        update_cycle(db_conn, cycle.id, {"status": "complete", "completed_at": at})


def note_told_until(settings, days_ago: int) -> None:
    day = datetime.now(UTC).date() - timedelta(days=days_ago)
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    (settings.run_dir / daily_summary.FILE_NAME).write_text(
        json.dumps({"told_until": day.isoformat()})
    )


def told(settings) -> list[list[str]]:
    """What waits for each service."""
    names = [one.outbox_name for one in list_channels(settings) if one.is_of_news]
    return [load_outbox(settings.run_dir, name).waiting for name in names]


def test_the_first_summary_is_of_the_first_whole_day(wanted, db_conn, traded):
    sum_up_the_day(real_run(wanted))
    assert told(wanted) == [[], []]
    note_told_until(wanted, 1)
    sum_up_the_day(real_run(wanted))
    assert [len(waiting) for waiting in told(wanted)] == [1, 1]


def test_it_is_told_once_to_each_service_with_the_figures_of_the_report(
    wanted, db_conn, traded, exchange, capsys
):
    event = Event(kind=EventKind.ORDER_UNCLAIMED, severity=Severity.ERROR, reason="x", order_id="o")
    append_event(db_conn, event)
    note_told_until(wanted, 1)
    for _ in range(3):
        sum_up_the_day(real_run(wanted))
    [one], [other] = told(wanted)
    assert one == other
    day = f"{YESTERDAY:%Y-%m-%d}"
    shown = runner(report_command.main, capsys)("--since", day, "--until", day, "--json").json
    total = shown["total"]
    assert (total["cycles"], D(total["profit_usd"])) == (2, D("2") - 1 - D("0.52"))
    first, *lines = one.splitlines()
    assert first.endswith(f" Summary of {day} (UTC), local exchange: play money")
    assert lines == [
        f"2 cycles completed, 1 won: profit ~+{D(total['profit_usd']):.2f} USD after"
        f" ~{D(total['fees_usd']):.2f} USD of fees",
        "  BTC/USD: 1 cycle, profit ~+1.74 USD",
        "  ETH/USD: 1 cycle, profit ~-1.26 USD",
        "bought for 200.00 USD",
        "now open: 0 cycles with 0.00 USD bound",
        "account now: equity 100,000.00 USD, of it 100,000.00 USD cash",
        "1 alert open: scripts/alerts says what to do",
    ]


def test_days_that_nobody_summed_up_are_in_one_summary(wanted, db_conn, traded):
    note_told_until(wanted, 3)
    sum_up_the_day(real_run(wanted))
    [summary], _ = told(wanted)
    assert f"Summary of {YESTERDAY - timedelta(days=2):%Y-%m-%d} to {YESTERDAY:%Y-%m-%d}" in summary
    assert "3 cycles completed" in summary


def test_an_account_that_cannot_be_read_and_an_empty_day_are_said_so(wanted, db_conn, exchange):
    note_told_until(wanted, 1)
    exchange.arm("http_500", count=9)
    sum_up_the_day(real_run(wanted))
    [summary], _ = told(wanted)
    assert "no cycle was completed" in summary
    assert "account now: not known: the exchange does not say" in summary


def test_a_run_that_dies_after_the_outboxes_tells_no_service_twice(
    wanted, db_conn, traded, monkeypatch
):
    note_told_until(wanted, 1)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(daily_summary, "_save_told_until", die)
        with pytest.raises(KeyboardInterrupt):
            sum_up_the_day(real_run(wanted))
    sum_up_the_day(real_run(wanted))
    assert [len(waiting) for waiting in told(wanted)] == [1, 1]


def test_nothing_is_told_where_it_is_not_wanted_nor_by_a_dry_run(wanted, settings, db_conn, traded):
    note_told_until(wanted, 1)
    run = dry_run(wanted)
    sum_up_the_day(run)
    assert [step["action"] for step in run.plan] == ["sum up the day"]
    sum_up_the_day(real_run(settings))
    assert told(wanted) == [[], []]


def test_the_script_tells_it(bot_environment, settings, db_conn, traded):
    urls = {"ALERT_URLS": "ntfy://127.0.0.1:9/a", "ALERT_ON": "daily"}
    note_told_until(settings, 1)
    environment = bot_environment | urls
    done = run_script("consistency_checker", "--json", environment=environment).json["done"]
    assert [step["action"] for step in done] == ["sum up the day"]
    assert run_script("consistency_checker", "--json", environment=environment).json["done"] == []


def test_what_stop_losses_ended_is_a_line_of_its_own(wanted, db_conn, traded, capsys):
    query = "UPDATE dca_orders SET purpose = 'stop_loss' WHERE symbol = 'ETH/USD' AND side = 'sell'"
    execute_query(query, commit=True, db_conn=db_conn)
    note_told_until(wanted, 1)
    sum_up_the_day(real_run(wanted))
    [[text], _] = told(wanted)
    assert "1 cycle of them by stop loss: ~-1.26 USD" in text
    said = runner(report_command.main, capsys)()
    assert "stop losses: 1 cycle with ~-1.26 USD, in the profit" in said.output
    figures = runner(report_command.main, capsys)("--by", "cycle", "--json").json
    assert (figures["total"]["stop_losses"], figures["total"]["stop_losses_usd"]) == (1, "-1.26")
    ended = {line["symbol"]: line["stop_losses"] for line in figures["lines"]}
    assert ended["ETH/USD"] == 1
