"""The summary on paper: a table and verdicts for a person, one JSON object for a machine. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from local_stack.caretaker_schedule import ScriptRecord
from local_stack.demo.checks import Check
from local_stack.demo.figures import AssetFigures
from local_stack.demo.summary import Summary
from utils.formatting import ESTIMATE_LEGEND, marked, plain, signed_usd, stopwatch, usd


def print_summary(
    console: Console, summary: Summary, seconds: float, scripts: Iterable[ScriptRecord]
) -> None:
    """What happened, for a person."""
    console.print(_assets_table(summary))
    if summary.total.fees_are_estimated:
        console.print(f"  {ESTIMATE_LEGEND}", highlight=False)
    ran = [
        f"{one.name} {one.runs}x" + (f" ({one.failures} failed)" if one.failures else "")
        for one in scripts
    ]
    console.print(
        f"  {stopwatch(seconds)} of trading, at most {summary.requests_peak_per_minute} requests"
        f" a minute; caretakers: {', '.join(ran) or 'none'}",
        highlight=False,
    )
    console.print()
    console.print(_verdicts(summary.checks))


def _assets_table(summary: Summary) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_footer=True)
    total = summary.total
    table.add_column("completed", footer="total", style="bold", no_wrap=True)
    numbers = {
        "cycles": str(total.cycles),
        "with\nsafety": str(total.with_safety_orders),
        "orders": str(total.orders),
        "fees\nUSD": usd(total.fees_usd),
        "profit\nthe bot": _profit(total.journal_profit_usd, total.fees_are_estimated),
        "after fees\nthe exchange": _profit(total.exchange_profit_usd),
        "agree": _yes(total),
    }
    for name, footer in numbers.items():
        table.add_column(name, footer=footer, justify="right", no_wrap=True)
    for one in summary.assets:
        table.add_row(
            one.symbol,
            str(one.cycles),
            str(one.with_safety_orders),
            str(one.orders),
            usd(one.fees_usd),
            _profit(one.journal_profit_usd, one.fees_are_estimated),
            _profit(one.exchange_profit_usd),
            _yes(one),
        )
    return table


def _profit(value: Decimal, is_estimated: bool = False) -> Text:
    style = "green" if value > 0 else "red" if value < 0 else ""
    return Text(marked(signed_usd(value), is_estimated), style=style)


def _yes(one: AssetFigures) -> Text:
    return Text("yes", style="green") if one.agrees else Text("NO", style="bold red")


def _verdicts(checks: Iterable[Check]) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column()
    for check in checks:
        mark = Text("  ok", style="green") if check.holds else Text("  FAILED", style="bold red")
        detail = (f" ({check.detail})", "dim" if check.holds else "")
        table.add_row(mark, Text.assemble(check.name, detail))
    return table


def summary_as_json(
    summary: Summary, seconds: float, market: str, scripts: Iterable[ScriptRecord]
) -> dict[str, Any]:
    """Money and quantities as text, so that no digit is lost."""
    return {
        "ok": summary.is_well,
        "market": market,
        "seconds": round(seconds, 1),
        "assets": [_asset(one) for one in summary.assets],
        "total": _asset(summary.total),
        "cycles": [
            {
                "id": cycle.id,
                "symbol": cycle.symbol,
                "status": cycle.status,
                "quantity": plain(cycle.quantity),
                "average": plain(cycle.average),
                "safety_orders": cycle.safety_orders,
                "orders": cycle.orders,
                "profit_usd": plain(cycle.profit_usd),
                "fees_are_estimated": cycle.fees_are_estimated,
            }
            for cycle in summary.cycles
        ],
        "checks": [
            {"name": check.name, "ok": check.holds, "detail": check.detail}
            for check in summary.checks
        ],
        "requests_peak_per_minute": summary.requests_peak_per_minute,
        "caretakers": [
            {"name": one.name, "runs": one.runs, "failures": one.failures} for one in scripts
        ],
    }


def _asset(one: AssetFigures) -> dict[str, Any]:
    return {
        "symbol": one.symbol,
        "cycles_completed": one.cycles,
        "cycles_with_safety_orders": one.with_safety_orders,
        "orders": one.orders,
        "fees_usd": plain(one.fees_usd),
        "profit_usd": plain(one.journal_profit_usd),
        "exchange_profit_usd": plain(one.exchange_profit_usd),
        "agree": one.agrees,
        "fees_are_estimated": one.fees_are_estimated,
    }
