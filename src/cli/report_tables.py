"""The words and tables of a report, rounded for a person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from cli.command_line import make_table, width_of
from cli.fitting_tables import describe_left_out
from cli.money_lines import account_words, fill_lines
from performance.report import TOTAL, By, Line, Report
from performance.report_json import Now
from utils.formatting import (
    ESTIMATE_LEGEND,
    NOTHING,
    counted,
    marked,
    moment,
    percent,
    signed_usd,
    span,
    usd,
)

_TITLES = {
    By.ASSET: "asset",
    By.DAY: "day (UTC)",
    By.WEEK: "week (UTC)",
    By.MONTH: "month (UTC)",
}


# For a person


def render(report: Report, console: Console, symbol: str | None, now: Now) -> RenderableType:
    """Headline, table, what is not in it, account and last fills, for this console's width."""
    head = Text("Complete cycles" + (f" of {symbol}" if symbol else ""), style="bold")
    head.append(f"  {moment(report.start)} to {moment(report.end)} UTC", style="dim")
    body = _table(report, console) if report.lines else Text("None in this span.")
    account = Text(f"account now: {account_words(now.account)}")
    return Group(head, body, *_footnotes(report), account, *fill_lines(now.fills))


def lines_of(report: Report, symbol: str | None, now: Now) -> list[RenderableType]:
    """The same for where no table has room: line below line, with the titles that a phone needs."""
    head = Text("Complete cycles" + (f" of {symbol}" if symbol else ""))
    head.append(f"  {moment(report.start)} to {moment(report.end)} UTC")
    lines = [*report.lines, *([report.total] if len(report.lines) > 1 else [])]
    body = [Text(f"{line.name}: {_line_words(line)}") for line in lines]
    account = Text(f"account now: {account_words(now.account)}")
    body = body or [Text("None in this span.")]
    return [head, *body, *_footnotes(report), account, *fill_lines(now.fills)]


def _line_words(line: Line) -> str:
    return (
        f"{counted(line.count, 'cycle')}, {_won_cell(line)} won, fees {_fees_cell(line)} USD,"
        f" profit {_profit_cell(line)} USD, of cost"
        f" {_return_cell(line, line.return_on_cost_percent)}"
    )


@dataclass(frozen=True, slots=True)
class _Column:
    """A column and its cells. Where there is no room, the highest `rank` is left out first."""

    title: str
    cell: Callable[[Line], str | Text]
    rank: int = 0
    is_text: bool = False


def _table(report: Report, console: Console) -> RenderableType:
    """As many columns as fit, and which did not; a number is never cut."""
    columns = _columns(report)
    for most in range(max(column.rank for column in columns), -1, -1):
        table = _filled(report, console, [one for one in columns if one.rank <= most])
        if width_of(table, console) <= console.width:
            break
    left_out = [one.title.removesuffix("\nUSD") for one in columns if one.rank > most]
    return Group(table, describe_left_out(left_out)) if left_out else table


def _columns(report: Report) -> list[_Column]:
    if report.by is By.CYCLE:
        first = [
            _Column("cycle", lambda line: line.name, is_text=True),
            _Column("asset", _asset_cell, is_text=True),
            _Column("completed", _completed_cell, is_text=True),
            _Column("held", lambda line: span(line.mean_holding_seconds), rank=3),
        ]
    else:
        first = [
            _Column(_TITLES[report.by], lambda line: line.name, is_text=True),
            _Column("cycles", lambda line: str(line.count)),
            _Column("won", _won_cell),
            _Column("held", lambda line: span(line.mean_holding_seconds), rank=3),
            _Column("worst", lambda line: span(line.worst_holding_seconds), rank=5),
        ]
    return [
        *first,
        _Column("safety", lambda line: str(line.max_safety_orders_used), rank=4),
        _Column("cost\nUSD", lambda line: usd(line.cost_usd), rank=7),
        _Column("at work\nUSD", lambda line: usd(line.capital.mean_usd), rank=8),
        _Column("peak\nUSD", lambda line: usd(line.capital.peak_usd), rank=6),
        _Column(
            "fees\nUSD", lambda line: marked(usd(line.fees_usd), line.fees_are_estimated), rank=2
        ),
        _Column("profit\nUSD", _profit_cell),
        _Column("of cost", lambda line: _return_cell(line, line.return_on_cost_percent), rank=1),
        _Column("of peak", lambda line: _return_cell(line, line.return_on_peak_percent), rank=9),
    ]


def _filled(report: Report, console: Console, columns: list[_Column]) -> Table:
    table = make_table(console, show_edge=False)
    for column in columns:
        justify: JustifyMethod = "left" if column.is_text else "right"
        table.add_column(column.title, justify=justify, no_wrap=True)
    for line in report.lines:
        table.add_row(*(column.cell(line) for column in columns))
    table.add_section()
    table.add_row(*(column.cell(report.total) for column in columns), style="bold")
    return table


def _asset_cell(line: Line) -> str:
    return line.cycles[0].symbol if line.name != TOTAL else counted(line.count, "cycle")


def _completed_cell(line: Line) -> str:
    if line.name == TOTAL:
        return f"{_won_cell(line)} won"
    return moment(line.cycles[0].completed_at) + (" (stop loss)" if line.stopped else "")


def _fees_cell(line: Line) -> str:
    return marked(usd(line.fees_usd), line.fees_are_estimated)


def _profit_cell(line: Line) -> Text:
    sign = "green" if line.profit_usd > 0 else "red" if line.profit_usd < 0 else ""
    return Text(marked(signed_usd(line.profit_usd), line.fees_are_estimated), style=sign)


def _won_cell(line: Line) -> str:
    won = NOTHING if line.won_percent is None else f"{line.won_percent:.0f} %"
    return marked(won, line.fees_are_estimated)


def _return_cell(line: Line, value: Decimal | None) -> str:
    return marked(percent(value), line.fees_are_estimated and value is not None)


def _footnotes(report: Report) -> list[Text]:
    notes = []
    if report.total.fees_are_estimated:
        notes.append(Text(ESTIMATE_LEGEND, style="dim"))
    if report.total.stopped:
        stopped_usd = marked(signed_usd(report.total.stopped_usd), report.total.fees_are_estimated)
        text = (
            f"stop losses: {counted(report.total.stopped, 'cycle')} with {stopped_usd} USD, in the"
            " profit"
        )
        notes.append(Text(text, style="yellow"))
    if report.open_cycles:
        text = (
            f"open: {counted(report.open_cycles, 'cycle')} with {usd(report.open_usd)} USD bound,"
            " not in the profit"
        )
        notes.append(Text(text, style="dim"))
    if report.failed_cycles:
        text = (
            f"ended in error: {counted(report.failed_cycles, 'cycle')} whose coins left the"
            f" account, {usd(report.failed_usd)} USD, not in the profit"
        )
        notes.append(Text(text, style="yellow"))
    return notes
