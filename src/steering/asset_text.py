"""How assets and plans look: tables and lines for a person, plain JSON for a machine.

Money and coins reach JSON as exact text; what a person sees is rounded for the eye.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from models.asset_config import DcaAsset
from models.cycle_data import DcaCycle
from strategy.deal_plan import DealPlan, Holding, PlannedOrder

if TYPE_CHECKING:  # it loads the exchange's SDK, which a list of assets does not need
    from steering.adoption import Adoption
    from steering.preview import Preview

_WIDEST = 1000
# Alpaca posts fees hours later. Everywhere the same: in tables, lines, pictures and the demo.
ESTIMATE_LEGEND = "~ rests on estimated fees"


# For a machine


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: decimals as exact text without an exponent."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Decimal):
        return f"{value.normalize(Context(prec=60)):f}" if value else "0"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def asset_json(asset: DcaAsset, cycle: DcaCycle | None = None) -> dict[str, Any]:
    """An asset with its open cycle, if any."""
    shown = plain(asdict(asset)) | {"ladder_usd": plain(asset.ladder_usd)}
    shown["cycle"] = None if cycle is None else plain(asdict(cycle))
    if asset.id == 0:
        del shown["id"]
    return shown


def plan_json(plan: DealPlan) -> dict[str, Any]:
    """The plan with every number exact."""
    orders = []
    for order in plan.orders:
        shown = asdict(order) | {"size_usd": order.size_usd}
        orders.append(plain(shown))
    start = None if plan.start is None else plain(asdict(plan.start))
    return {
        "ask": plain(plan.ask),
        "start": start,
        "orders": orders,
        "capital_usd": plain(plan.capital_usd),
        "ends_early_because": plan.problem,
    }


def preview_json(preview: Preview) -> dict[str, Any]:
    """Everything a page would show before a change."""
    return {
        "asset": asset_json(preview.asset, preview.state.cycle if preview.state else None),
        "money": preview.money,
        "quoted_at": plain(preview.quoted_at),
        "plan": plan_json(preview.plan) if preview.plan else None,
        "rest_of_open_deal": plan_json(preview.rest) if preview.rest else None,
        "account": {
            "needed_usd": plain(preview.needed_usd),
            "spendable_usd": plain(preview.spendable_usd),
            "ladders": [plain(asdict(need)) for need in preview.needs],
        },
        "refusals": preview.refusals,
        "warnings": preview.warnings,
    }


def adoption_json(adoption: Adoption, plan: DealPlan) -> dict[str, Any]:
    """What would be adopted, and the rest of the deal that it would be."""
    return {
        "symbol": adoption.asset.asset_symbol,
        "position_qty": plain(adoption.position_qty),
        "quantity": plain(adoption.quantity),
        "average_price": plain(adoption.average_price),
        "safety_orders": adoption.safety_orders,
        "plan": plan_json(plan),
    }


# For a person


def number(value: Decimal | None, places: int | None = None) -> str:
    """Plain notation; with `places`, rounded half to even for the eye."""
    if value is None:
        return "-"
    if places is not None:
        return f"{value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN):,f}"
    return f"{value.normalize(Context(prec=60)):f}" if value else "0"


def marked(text: str, is_estimated: bool) -> str:
    """`text` with the mark of what rests on fees that are not posted yet (see ESTIMATE_LEGEND)."""
    return f"~{text}" if is_estimated else text


def price(value: Decimal) -> str:
    """A price with cents, or with eight digits where it is small."""
    if value >= 1:
        return number(value, 2 if value >= 100 else 4)
    return number(Context(prec=6, rounding=ROUND_HALF_EVEN).plus(value))


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
            number(asset.ladder_usd),
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
        f"Each order is assumed to fill fully at its price. Ladder: {number(asset.ladder_usd)} USD"
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
