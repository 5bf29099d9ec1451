"""The summary as a table with verdicts, or as one JSON object. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from local_stack.caretaker_schedule import ScriptRecord
from local_stack.demo.checks import Check
from local_stack.demo.figures import AssetFigures, is_estimated, journal_profit
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
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    titles = "cycles with\nsafety orders fees\nUSD profit\nthe_bot after_fees\nthe_exchange agree"
    table.add_column("completed", style="bold", no_wrap=True)
    for title in titles.split(" "):
        table.add_column(title.replace("_", " "), justify="right", no_wrap=True)
    for one in (*summary.assets, summary.total):
        if one is summary.total:
            table.add_section()
        table.add_row(
            one.symbol,
            str(one.cycles),
            str(one.with_safety_orders),
            str(one.orders),
            usd(one.fees_usd),
            _profit(one.journal_profit_usd, one.fees_are_estimated),
            _profit(one.exchange_profit_usd),
            Text("yes", style="green") if one.agrees else Text("NO", style="bold red"),
        )
    return table


def _profit(value: Decimal, has_estimates: bool = False) -> Text:
    style = "green" if value > 0 else "red" if value < 0 else ""
    return Text(marked(signed_usd(value), has_estimates), style=style)


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
                "id": cycle.row.id,
                "symbol": cycle.symbol,
                "status": cycle.row.status.value,
                "quantity": plain(cycle.row.quantity),
                "average": plain(cycle.row.average_purchase_price),
                "safety_orders": cycle.row.safety_orders,
                "orders": len(cycle.orders),
                "profit_usd": plain(journal_profit(cycle)) if cycle.is_complete else None,
                "fees_are_estimated": is_estimated(cycle),
            }
            for cycle in summary.cycles
        ],
        "checks": [
            {"name": check.name, "ok": check.holds, "detail": check.detail}
            for check in summary.checks
        ],
        "requests_peak_per_minute": summary.requests_peak_per_minute,
        "caretakers": [asdict(one) for one in scripts],
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
