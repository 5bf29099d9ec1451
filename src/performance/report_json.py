"""A report as JSON and CSV, exact, which the tools and the page share. Decides nothing."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any

from domain.journal import JournalEntry
from performance.report import By, Line, Report
from utils.fill_view import fill_json
from utils.formatting import plain

if TYPE_CHECKING:  # it loads the exchange's SDK
    from utils.account_value import AccountValue

_PERCENT = Context(prec=12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """How it stands now, beside what was earned: the account, and the newest fills."""

    account: AccountValue | None
    fills: tuple[JournalEntry, ...]


def report_json(report: Report, now: Now) -> dict[str, Any]:
    """Everything, money as exact text, spans in seconds."""
    return {
        "account": None if now.account is None else plain(asdict(now.account)),
        "last_fills": [fill_json(fill) for fill in now.fills],
        "by": report.by.value,
        "start": plain(report.start),
        "end": plain(report.end),
        "lines": [_line_json(line, report.by) for line in report.lines],
        "total": _line_json(report.total),
        "open": {"cycles": report.open_cycles, "bound_usd": plain(report.open_usd)},
        "ended_in_error": {"cycles": report.failed_cycles, "lost_usd": plain(report.failed_usd)},
    }


def report_csv(report: Report) -> str:
    """One line for each group, with a header; the total is what they add up to."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rows = [_line_json(line, report.by) for line in report.lines]
    writer.writerow(rows[0] if rows else _line_json(report.total, report.by))
    writer.writerows([["" if value is None else value for value in row.values()] for row in rows])
    return text.getvalue()


def _line_json(line: Line, by: By | None = None) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": line.name}
    if by is By.CYCLE and line.cycles:
        [cycle] = line.cycles
        shown |= {
            "symbol": cycle.symbol,
            "opened_at": plain(cycle.opened_at),
            "completed_at": plain(cycle.completed_at),
        }
    shown |= {
        "cycles": line.count,
        "won_percent": _rounded(line.won_percent),
        "mean_holding_seconds": _milliseconds(line.mean_holding_seconds),
        "worst_holding_seconds": _milliseconds(line.worst_holding_seconds),
        "max_safety_orders_used": line.max_safety_orders_used,
        "cost_usd": plain(line.cost_usd),
        "proceeds_usd": plain(line.proceeds_usd),
        "mean_capital_usd": _rounded(line.capital.mean_usd),
        "peak_capital_usd": plain(line.capital.peak_usd),
        "fees_usd": plain(line.fees_usd),
        "fees_are_estimated": line.fees_are_estimated,
        "profit_usd": plain(line.profit_usd),
        "stop_losses": line.stopped,
        "stop_losses_usd": plain(line.stopped_usd),
        "return_on_cost_percent": _rounded(line.return_on_cost_percent),
        "return_on_peak_percent": _rounded(line.return_on_peak_percent),
    }
    if by is By.CYCLE and line.cycles:
        shown["notes"] = "; ".join(line.cycles[0].notes)
    return shown


def _milliseconds(seconds: float | None) -> float | None:
    """Without the noise of floating point (39.513698999999995): a time is not known better."""
    return None if seconds is None else round(seconds, 3)


def _rounded(value: Decimal | None) -> str | None:
    """A quotient has no exact end: twelve digits that count."""
    return None if value is None else plain(_PERCENT.plus(value))
