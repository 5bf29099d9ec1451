"""The summary of a day (ALERT_ON=daily): the first run of consistency_checker after midnight UTC
hands it to every service, once. Its figures are those of scripts/report.

Owns the note of the last day that was told (`daily_summary.json` in the run folder). It is written
after the outboxes: a run that is killed in between tells again, and the outbox knows the alert.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time

from caretakers.runner import ScriptRun, StepFailed
from config import Settings, Topic
from models.cycle_journals import load_cycle_journals
from models.events import get_open_alerts
from models.order_journal import get_bought_usd_since
from performance.report import By, Report, compute_report
from utils.account_value import UNKNOWN, AccountValue, fetch_account_value
from utils.alert_outbox import Alert, changed
from utils.alpaca_client_rest import ExchangeError, get_trading_client
from utils.db_utils import thread_connection
from utils.formatting import counted, day_and_clock, describe_account, marked, signed_usd, usd
from utils.log_events import LogEvent, log_event
from utils.notifications import list_channels
from utils.state_file import load_state, save_state

log = logging.getLogger(__name__)

FILE_NAME = "daily_summary.json"
_DAY = timedelta(days=1)


def sum_up_the_day(run: ScriptRun) -> None:
    """Tell of the days that ended since the last summary, if there are any and it is wanted.

    Raises:
        DatabaseError: nothing was told; the next run tells it.
    """
    settings, now = run.settings, datetime.now(UTC)
    if Topic.DAILY not in settings.alert_on or not list_channels(settings):
        return
    today, told_until = now.date(), _load_told_until(settings)
    if told_until is None or told_until > today:  # the first one is of the first whole day
        if not run.dry_run:
            _save_told_until(settings, today)
        return
    if told_until < today:
        name = f"{told_until}" if told_until == today - _DAY else f"{told_until} to {today - _DAY}"
        step = {"action": "sum up the day", "reason": f"{name} is over"}
        run.step(step, lambda: _tell(settings, name, told_until, now))


def _tell(settings: Settings, name: str, first_day: date, now: datetime) -> str:
    connection = thread_connection()
    start = datetime.combine(first_day, clock_time(), UTC)
    end = datetime.combine(now.date(), clock_time(), UTC)
    cycles = load_cycle_journals(connection)
    report = compute_report(cycles, By.ASSET, now=now, since=start, until=end)
    account = _fetch_account()
    bought = get_bought_usd_since(connection, start) - get_bought_usd_since(connection, end)
    lines = [
        f"{day_and_clock(now)} Summary of {name} (UTC), {describe_account(settings)}",
        *_what_was_earned(report),
        f"bought for {usd(bought)} USD",
        f"now open: {counted(report.open_cycles, 'cycle')} with {usd(report.open_usd)} USD bound",
        f"account now: {account.words if account else UNKNOWN}",
    ]
    if alerts := get_open_alerts(connection):
        lines.append(f"{counted(len(alerts), 'alert')} open: scripts/alerts says what to do")
    alert = Alert(name=LogEvent.DAY_SUMMED_UP.value, matter=f"day {name}")
    try:
        for channel in list_channels(settings):
            if channel.is_of_news:
                with changed(settings.run_dir, channel.outbox_name) as outbox:
                    outbox.add(alert, "\n".join(lines), time.time())
        _save_told_until(settings, now.date())
    except OSError as error:
        raise StepFailed(f"the run folder cannot be written: {error}") from error
    log_event(log, LogEvent.DAY_SUMMED_UP, day=name)
    return "; ".join(lines[1:])


def _what_was_earned(report: Report) -> Sequence[str]:
    total = report.total
    if not total.cycles:
        return ["no cycle was completed"]
    profit = marked(signed_usd(total.profit_usd), total.fees_are_estimated)
    fees = marked(usd(total.fees_usd), total.fees_are_estimated)
    won = sum(cycle.is_won for cycle in total.cycles)
    lines = [
        f"{counted(total.count, 'cycle')} completed, {won} won: profit {profit} USD"
        f" after {fees} USD of fees"
    ]
    for line in report.lines:
        profit = marked(signed_usd(line.profit_usd), line.fees_are_estimated)
        lines.append(f"  {line.name}: {counted(line.count, 'cycle')}, profit {profit} USD")
    if total.stopped:
        loss = marked(signed_usd(total.stopped_usd), total.fees_are_estimated)
        lines.append(f"{counted(total.stopped, 'cycle')} of them by stop loss: {loss} USD")
    if report.failed_cycles:
        lines.append(f"{counted(report.failed_cycles, 'cycle')} ended in error")
    return lines


def _fetch_account() -> AccountValue | None:
    try:
        return fetch_account_value(get_trading_client())
    except ExchangeError:
        return None


def _load_told_until(settings: Settings) -> date | None:
    """The first day that no summary has told of."""
    try:
        return date.fromisoformat(load_state(settings.run_dir / FILE_NAME)["told_until"])
    except (KeyError, TypeError, ValueError):
        return None


def _save_told_until(settings: Settings, day: date) -> None:
    save_state(settings.run_dir / FILE_NAME, {"told_until": day.isoformat()})
