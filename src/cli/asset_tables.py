"""How assets and plans look: tables and lines for a person, plain JSON for a machine.

Money and coins reach JSON as exact text; what a person sees is rounded for the eye.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from domain.asset import DcaAsset
from domain.cycle import DcaCycle
from strategy.cycle_plan import DealPlan, Holding, PlannedOrder
from strategy.ladder import compute_ladder_usd
from utils.formatting import ESTIMATE_LEGEND, marked, number, price

if TYPE_CHECKING:  # it loads the exchange's SDK, which a list of assets does not need
    from operations.adopt_coins import Adoption
    from operations.preview import Preview

_WIDEST = 1000


# For a machine


# For a person


def show_list(console: Console, rows: Sequence[tuple[DcaAsset, DcaCycle | None]]) -> None:
    """One line for each asset."""
    table = _table(
        console,
        "asset on base_USD safety_USD deviation take_profit cooldown ladder_USD"
        " cycle coins average safety_used",
    )
    for asset, cycle in rows:
        profit = f"{number(asset.take_profit_percent)} %"
        if asset.take_profit_fee_percent:
            profit += " net"
        holds = cycle is not None and cycle.quantity > 0
        table.add_row(
            asset.asset_symbol,
            "yes" if asset.is_enabled else "no",
            number(asset.base_order_amount),
            f"{asset.max_safety_orders} x {number(asset.safety_order_amount)}",
            f"{number(asset.safety_order_deviation)} %",
            profit,
            f"{asset.cooldown_period} s",
            number(compute_ladder_usd(asset)),
            cycle.status.value if cycle else "none open",
            number(cycle.quantity) if cycle and holds else "-",
            price(cycle.average_purchase_price) if cycle and holds else "-",
            f"{cycle.safety_orders}" if cycle and holds else "-",
            style=None if asset.is_enabled else "dim",
        )
    _print_table(console, table)


def show_preview(console: Console, preview: Preview) -> None:
    """The asset, the plan of its deal, what it needs of the account, and every warning."""
    asset = preview.asset
    console.print(_headline(preview), soft_wrap=True)
    if preview.rest is not None:
        console.print(Text("\nThe open deal, from what it holds now", style="bold"))
        _show_plan(console, preview.rest)
    if preview.plan is not None:
        title = "The plan of a deal" if preview.rest is None else "The plan of the next deal"
        console.print(Text(f"\n{title} that starts at {price(preview.plan.ask)} USD", style="bold"))
        _show_plan(console, preview.plan)
    console.print(
        "Each order is assumed to fill fully at its price. Ladder:"
        f" {number(compute_ladder_usd(asset))} USD"
        f" (base {number(asset.base_order_amount)} + {asset.max_safety_orders} x"
        f" {number(asset.safety_order_amount)}).",
        soft_wrap=True,
    )
    count = len(preview.needs)
    console.print(
        f"All enabled assets together ({count}) can still need {number(preview.needed_usd, 2)} USD;"
        f" the account can buy for {number(preview.spendable_usd, 2)} USD.",
        soft_wrap=True,
    )
    for warning in preview.warnings:
        console.print(Text(f"WARNING: {warning}", style="yellow"), soft_wrap=True)


def show_adoption(console: Console, adoption: Adoption, plan: DealPlan) -> None:
    """The coins, what they cost, and how the deal would go on."""
    symbol = adoption.asset.asset_symbol
    console.print(Text(f"{symbol}: coins that no deal claims", style="bold"))
    console.print(
        f"The account holds {number(adoption.position_qty)} at an average of"
        f" {price(adoption.average_price)} USD: about {number(adoption.cost_usd, 2)} USD with the"
        " coins that a taker's fee took of them, as much as the base order and"
        f" {adoption.safety_orders} of {adoption.asset.max_safety_orders} safety orders.",
        soft_wrap=True,
    )
    _show_plan(console, plan)


def _headline(preview: Preview) -> Text:
    asset = preview.asset
    parts = [
        f"take profit {number(asset.take_profit_percent)} %"
        + (
            f" net of {number(asset.take_profit_fee_percent)} % fee a side"
            if asset.take_profit_fee_percent
            else ""
        ),
        f"deviation {number(asset.safety_order_deviation)} %",
        f"cooldown {asset.cooldown_period} s",
    ]
    if asset.buy_order_price_deviation_percent is not None:
        parts.append(f"early restart {number(asset.buy_order_price_deviation_percent)} % down")
    if not asset.is_enabled:
        parts.append("disabled: it buys nothing")
    head = Text(asset.asset_symbol, style="bold")
    head.append(f"  {', '.join(parts)}", style="not bold")
    head.append(f"  [{preview.money}]", style="bold red" if "REAL" in preview.money else "dim")
    return head


def _show_plan(console: Console, plan: DealPlan) -> None:
    table = _table(
        console,
        "order buy_at limit USD coins coins_held average sell_at net_USD",
    )
    if plan.start is not None:
        table.add_row("held", "", "", "", "", *_holding_cells(plan.start))
    for order in plan.orders:
        table.add_row(
            _order_name(order),
            price(order.trigger_price),
            price(order.limit_price),
            number(order.size_usd, 2),
            number(order.qty),
            *_holding_cells(order.after),
        )
    _print_table(console, table)
    if plan.sales:
        console.print(Text(ESTIMATE_LEGEND, style="dim"), soft_wrap=True)
    if plan.problem is not None:
        console.print(Text(f"It ends there: {plan.problem}.", style="yellow"), soft_wrap=True)


def _order_name(order: PlannedOrder) -> str:
    return "base" if order.number == 0 else f"safety {order.number}"


def _holding_cells(holding: Holding) -> tuple[str, str, str, str]:
    sale = holding.sale
    return (
        number(Context(prec=12, rounding=ROUND_HALF_EVEN).plus(holding.quantity)),
        price(holding.average_price),
        "-" if sale is None else price(sale.price),
        "-" if sale is None else marked(number(sale.net_profit_usd, 4), True),
    )


def _table(console: Console, columns: str) -> Table:
    """An empty table; `columns` are parted by blanks, an underscore shows as one."""
    table = Table(
        box=box.SIMPLE_HEAD if console.is_terminal else None,
        pad_edge=False,
        header_style="bold",
        width=None,
    )
    for index, column in enumerate(columns.split()):
        title = column.replace("_", " ")
        table.add_column(title, justify="left" if index == 0 else "right", no_wrap=True)
    return table


def _print_table(console: Console, table: Table) -> None:
    """Whole, whatever the terminal's width: it may wrap a line, but no number is ever cut."""
    widest = console.options.update(max_width=_WIDEST)
    needed = Measurement.get(console, widest, table).maximum
    width = console.width
    console.width = max(width, needed)
    console.print(table)
    console.width = width
