"""How a report looks: a table for a person, CSV and JSON with exact numbers for a machine."""

from __future__ import annotations

import csv
import io
from decimal import Context, Decimal
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from insight.report import By, Line, Report
from insight.wording import NOTHING, percent, signed_usd, span
from steering.asset_text import plain

_TITLES = {By.CYCLE: "deal", By.ASSET: "asset", By.DAY: "day (UTC)", By.MONTH: "month (UTC)"}
_NARROW_COLUMNS = 118
_PERCENT = Context(prec=12)


def report_json(report: Report) -> dict[str, Any]:
    """Everything, money as exact text, spans in seconds."""
    return {
        "by": report.by.value,
        "start": plain(report.start),
        "end": plain(report.end),
        "lines": [_line_json(line, report.by) for line in report.lines],
        "total": _line_json(report.total),
        "open": {"deals": report.open_deals, "bound_usd": plain(report.open_usd)},
        "ended_in_error": {"deals": report.failed_deals, "lost_usd": plain(report.failed_usd)},
    }


def report_csv(report: Report) -> str:
    """One line for each group, with a header; the total is what they add up to."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rows = [_line_json(line, report.by) for line in report.lines]
    header = list(_line_json(report.total, report.by if not rows else None)) if not rows else []
    header = header or list(rows[0])
    writer.writerow(header)
    writer.writerows([["" if row[name] is None else row[name] for name in header] for row in rows])
    return text.getvalue()


def _line_json(line: Line, by: By | None = None) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": line.name}
    if by is By.CYCLE and line.deals:
        [deal] = line.deals
        shown |= {
            "symbol": deal.symbol,
            "opened_at": plain(deal.opened_at),
            "completed_at": plain(deal.completed_at),
        }
    shown |= {
        "deals": line.count,
        "won_percent": _rounded(line.won_percent),
        "mean_holding_seconds": line.mean_holding_seconds,
        "worst_holding_seconds": line.worst_holding_seconds,
        "most_safety_orders": line.most_safety_orders,
        "cost_usd": plain(line.cost_usd),
        "proceeds_usd": plain(line.proceeds_usd),
        "mean_capital_usd": _rounded(line.capital.mean_usd),
        "peak_capital_usd": plain(line.capital.peak_usd),
        "fees_usd": plain(line.fees_usd),
        "fees_are_estimated": line.fees_are_estimated,
        "profit_usd": plain(line.profit_usd),
        "return_on_cost_percent": _rounded(line.return_on_cost_percent),
        "return_on_peak_percent": _rounded(line.return_on_peak_percent),
    }
    if by is By.CYCLE and line.deals:
        shown["notes"] = "; ".join(line.deals[0].notes)
    return shown


def _rounded(value: Decimal | None) -> str | None:
    """A quotient has no exact end: twelve digits that count."""
    return None if value is None else plain(_PERCENT.plus(value))


# For a person


def render(report: Report, console: Console, symbol: str | None) -> RenderableType:
    """Headline, table and what is not in it, for this console's width."""
    head = Text("Finished deals", style="bold")
    head.append(f" of {symbol}" if symbol else "", style="bold")
    head.append(f"  {report.start:%Y-%m-%d %H:%M} to {report.end:%Y-%m-%d %H:%M} UTC", style="dim")
    if not report.lines:
        return Group(head, Text("None in this span."), *_footnotes(report))
    return Group(head, _table(report, console), *_footnotes(report))


def _table(report: Report, console: Console) -> Table:
    is_narrow = console.is_terminal and console.width < _NARROW_COLUMNS
    table = Table(
        box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False, header_style="bold"
    )
    titles = [_TITLES[report.by]]
    titles += ["asset", "completed"] if report.by is By.CYCLE else ["deals", "won"]
    titles += ["held", "safety"] if report.by is By.CYCLE else ["held", "worst", "safety"]
    titles += ["peak", "fees", "profit", "of cost"] if is_narrow else _WIDE_TITLES
    left = {0, 1, 2} if report.by is By.CYCLE else {0}
    for index, title in enumerate(titles):
        table.add_column(title, justify="left" if index in left else "right", no_wrap=True)
    for line in report.lines:
        table.add_row(*_cells(line, report.by, is_narrow=is_narrow))
    table.add_section()
    table.add_row(*_total_cells(report, is_narrow=is_narrow), style="bold")
    return table


_WIDE_TITLES = ["cost", "at work", "peak", "fees", "profit", "of cost", "of peak"]


def _cells(line: Line, by: By, *, is_narrow: bool) -> list[RenderableType]:
    if by is By.CYCLE:
        [deal] = line.deals
        name: list[RenderableType] = [line.name, deal.symbol, f"{deal.completed_at:%Y-%m-%d %H:%M}"]
        return [*name, span(deal.holding_seconds), *_money_cells(line, is_narrow=is_narrow)]
    name = [line.name, str(line.count), _whole_percent(line.won_percent)]
    times = [span(line.mean_holding_seconds), span(line.worst_holding_seconds)]
    return [*name, *times, *_money_cells(line, is_narrow=is_narrow)]


def _total_cells(report: Report, *, is_narrow: bool) -> list[RenderableType]:
    total, money = report.total, _money_cells(report.total, is_narrow=is_narrow)
    won = _whole_percent(total.won_percent)
    held = span(total.mean_holding_seconds)
    if report.by is By.CYCLE:
        return ["total", f"{total.count} deals", f"{won} won", held, *money]
    return ["total", str(total.count), won, held, span(total.worst_holding_seconds), *money]


def _money_cells(line: Line, *, is_narrow: bool) -> list[RenderableType]:
    sign = "green" if line.profit_usd > 0 else "red" if line.profit_usd < 0 else ""
    fees = ("~" if line.fees_are_estimated else "") + f"{line.fees_usd:,.2f}"
    cells: list[RenderableType] = [str(line.most_safety_orders)]
    if not is_narrow:
        cells += [f"{line.cost_usd:,.2f}", f"{line.capital.mean_usd:,.2f}"]
    cells += [f"{line.capital.peak_usd:,.2f}", fees]
    cells += [Text(signed_usd(line.profit_usd), style=sign), percent(line.return_on_cost_percent)]
    return cells if is_narrow else [*cells, percent(line.return_on_peak_percent)]


def _whole_percent(value: Decimal | None) -> str:
    return NOTHING if value is None else f"{value:.0f} %"


def _footnotes(report: Report) -> list[Text]:
    lines = []
    if report.total.fees_are_estimated:
        lines.append("~ estimated: Alpaca posts the fees of a day in the following night")
    if report.open_deals:
        lines.append(
            f"open: {_deals(report.open_deals)} with {report.open_usd:,.2f} USD bound,"
            " not in the profit"
        )
    notes = [Text(line, style="dim") for line in lines]
    if report.failed_deals:
        text = (
            f"ended in error: {_deals(report.failed_deals)} whose coins left the account,"
            f" {report.failed_usd:,.2f} USD, not in the profit"
        )
        notes.append(Text(text, style="yellow"))
    return notes


def _deals(count: int) -> str:
    return "1 deal" if count == 1 else f"{count} deals"
