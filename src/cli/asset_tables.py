"""Assets and plans for a person: tables and lines, numbers rounded for the eye."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context
from typing import TYPE_CHECKING

from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from cli.command_line import make_table, width_of
from domain.asset import DcaAsset
from domain.cycle import DcaCycle
from strategy.cycle_plan import CyclePlan, Holding
from strategy.ladder import compute_ladder_usd
from utils.formatting import ESTIMATE_LEGEND, NOTHING, coins, marked, number, price, usd

if TYPE_CHECKING:  # it loads the exchange's SDK, which a list of assets does not need
    from operations.adopt_coins import Adoption
    from operations.preview import Preview


def show_list(console: Console, rows: Sequence[tuple[DcaAsset, DcaCycle | None]]) -> None:
    """One line for each asset."""
    lines = []
    for asset, cycle in rows:
        profit = f"{number(asset.take_profit_percent)} %"
        if asset.take_profit_fee_percent:
            profit += " net"
        holding = [NOTHING] * 3
        if cycle is not None and cycle.quantity > 0:
            average = price(cycle.average_purchase_price)
            holding = [coins(cycle.quantity), average, f"{cycle.safety_orders}"]
        cells = (
            asset.asset_symbol,
            "yes" if asset.is_enabled else "no",
            number(asset.base_order_amount),
            f"{asset.max_safety_orders} x {number(asset.safety_order_amount)}",
            f"{number(asset.safety_order_deviation)} %",
            profit,
            f"{asset.cooldown_period} s",
            number(compute_ladder_usd(asset)),
            cycle.status.value if cycle else "none open",
            *holding,
        )
        lines.append((cells, None if asset.is_enabled else "dim"))
    _print_table(
        console,
        "asset/on base_USD/safety_USD deviation/take_profit cooldown/ladder_USD"
        " cycle/coins_bought average/safety_used",
        lines,
    )


def show_preview(console: Console, preview: Preview) -> None:
    """The asset, the plan of its cycle, what it needs of the account, and every warning."""
    asset = preview.asset
    console.print(_headline(preview), soft_wrap=True)
    if preview.rest is not None:
        console.print(Text("\nThe open cycle, from what it holds now on", style="bold"))
        _show_plan(console, preview.rest)
    if preview.plan is not None:
        title = "The plan of a cycle" if preview.rest is None else "The plan of the next cycle"
        console.print(Text(f"\n{title} that starts at {price(preview.plan.ask)} USD", style="bold"))
        _show_plan(console, preview.plan)
    console.print(
        "This assumes that each order fills fully at its price. Ladder:"
        f" {number(compute_ladder_usd(asset))} USD"
        f" (base {number(asset.base_order_amount)} + {asset.max_safety_orders} x"
        f" {number(asset.safety_order_amount)}).",
        soft_wrap=True,
    )
    count = len(preview.needs)
    console.print(
        f"All enabled assets together ({count}) can still need {usd(preview.needed_usd)} USD;"
        f" the account can buy for {usd(preview.spendable_usd)} USD.",
        soft_wrap=True,
    )
    _show_warnings(console, preview.warnings)


def show_adoption(console: Console, adoption: Adoption, plan: CyclePlan) -> None:
    """The coins, what they cost, and how the cycle would go on."""
    symbol = adoption.asset.asset_symbol
    console.print(Text(f"{symbol}: coins that no cycle claims", style="bold"))
    console.print(
        f"The account holds {number(adoption.position_qty)} at an average of"
        f" {price(adoption.average_price)} USD: about {usd(adoption.cost_usd)} USD, the coin fee"
        " included. That is as much as the base order and"
        f" {adoption.safety_orders} of {adoption.asset.max_safety_orders} safety orders.",
        soft_wrap=True,
    )
    _show_plan(console, plan)
    _show_warnings(console, adoption.warnings)


def _show_warnings(console: Console, warnings: Sequence[str]) -> None:
    for warning in warnings:
        console.print(Text(f"WARNING: {warning}", style="yellow"), soft_wrap=True)


def _headline(preview: Preview) -> Text:
    asset = preview.asset
    target = f"take profit {number(asset.take_profit_percent)} %"
    if asset.take_profit_fee_percent:
        target += f" net of {number(asset.take_profit_fee_percent)} % fee a side"
    deviation = f"deviation {number(asset.safety_order_deviation)} %"
    parts = [target, deviation, f"cooldown {asset.cooldown_period} s"]
    if asset.buy_order_price_deviation_percent is not None:
        parts.append(f"early restart {number(asset.buy_order_price_deviation_percent)} % down")
    if not asset.is_enabled:
        parts.append("disabled: it buys nothing")
    head = Text(asset.asset_symbol, style="bold")
    head.append(f"  {', '.join(parts)}", style="not bold")
    head.append(f"  [{preview.money}]", style="bold red" if preview.is_live else "dim")
    return head


def _show_plan(console: Console, plan: CyclePlan) -> None:
    lines = [
        (
            "base" if order.number == 0 else f"safety {order.number}",
            price(order.trigger_price),
            price(order.limit_price),
            usd(order.size_usd),
            number(order.qty),
            *_holding_cells(order.after),
        )
        for order in plan.orders
    ]
    if plan.start is not None:
        lines.insert(0, ("held", "", "", "", "", *_holding_cells(plan.start)))
    columns = "order buy_at/limit USD coins/bought_in_all average sell_at/net_USD"
    _print_table(console, columns, [(line, None) for line in lines])
    if plan.sales:
        console.print(Text(ESTIMATE_LEGEND, style="dim"), soft_wrap=True)
    if plan.problem is not None:
        console.print(Text(f"The plan ends there: {plan.problem}.", "yellow"), soft_wrap=True)


def _holding_cells(holding: Holding) -> tuple[str, str, str, str]:
    sale = holding.sale
    return (
        number(Context(prec=12, rounding=ROUND_HALF_EVEN).plus(holding.quantity)),
        price(holding.average_price),
        NOTHING if sale is None else price(sale.price),
        NOTHING if sale is None else marked(number(sale.net_profit_usd, 4), True),
    )


def _print_table(
    console: Console, columns: str, lines: Sequence[tuple[Sequence[str], str | None]]
) -> None:
    """`lines`: cells and style of each. `columns`: titles between blanks, an underscore shows as a
    blank; titles joined by slashes become one column where the terminal is narrow.
    """
    titles = columns.replace("/", " ").split()
    table = _table(console, titles, lines)
    if width_of(table, console) > console.width:
        stacks = [group.count("/") + 1 for group in columns.split()]
        ends = [sum(stacks[: index + 1]) for index in range(len(stacks))]
        slices = [slice(end - size, end) for size, end in zip(stacks, ends, strict=True)]
        lines = [(["\n".join(cells[part]) for part in slices], style) for cells, style in lines]
        table = _table(console, columns.replace("/", "\n").split(" "), lines)
    # The terminal may wrap a line, but no number is cut.
    width = console.width
    console.width = max(width, width_of(table, console))
    console.print(table)
    console.width = width


def _table(
    console: Console, titles: Sequence[str], lines: Sequence[tuple[Sequence[str], str | None]]
) -> Table:
    table = make_table(console)
    for index, title in enumerate(titles):
        justify: JustifyMethod = "left" if index == 0 else "right"
        table.add_column(title.replace("_", " "), justify=justify, no_wrap=True)
    for cells, style in lines:
        table.add_row(*cells, style=style)
    return table
