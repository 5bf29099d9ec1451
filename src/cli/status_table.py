"""The table of status and its colours: each asset in two lines. Decides nothing.

A narrow terminal gets fewer columns with two figures each: no figure is ever cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.command_line import make_table, width_of
from cli.fitting_tables import describe_left_out
from domain.cycle import CycleStatus
from monitoring.status.asset_status import AssetStatus
from monitoring.status.status import Status
from monitoring.status.words import (
    Tone,
    buys_word,
    is_buy_due,
    is_sale_due,
    state_detail,
)
from utils.formatting import NOTHING, coins, marked, percent, price, signed_usd

# What a narrow terminal goes without, in this order (asset and the next prices stay longest), and
# what a person calls it. No narrow one has room for the first.
_OMITTED = {
    "cycles today\nall time": "cycles",
    "today\nall time": "profit",
    "coins held\naverage": "coins held, average",
    "bid\nunreal.": "bid, unrealised",
    "status": "status",
    "buys at": "buys at",
    "sells at": "sells at",
}
_TEXTS = ("asset", "asset\nopen order", "status", "open order")
_STATUS_STYLES = {
    CycleStatus.WATCHING: "cyan",
    CycleStatus.BUYING: "yellow",
    CycleStatus.SELLING: "magenta",
    CycleStatus.COOLDOWN: "dim",
    CycleStatus.ERROR: "bold red",
    CycleStatus.COMPLETE: "dim",
}
_TONE_STYLES = {Tone.WRONG: "bold red", Tone.NOTABLE: "yellow", Tone.PLAIN: "dim"}


def assets_table(status: Status, console: Console) -> RenderableType:
    """For this console's width, with one asset at least; below it what had no room."""
    table = _table(status, console, is_wide=True)
    if width_of(table, console) <= console.width:
        return table
    titles = list(_OMITTED)
    for count in range(1, len(titles) + 1):
        table = _table(status, console, is_wide=False, omitted=titles[:count])
        if width_of(table, console) <= console.width:
            break
    return Group(table, describe_left_out([_OMITTED[title] for title in titles[:count]]))


def _table(
    status: Status, console: Console, *, is_wide: bool, omitted: Sequence[str] = ()
) -> Table:
    """Without the columns of these titles."""
    gap = is_wide + (not console.is_terminal)  # a terminal draws one more
    table = make_table(
        console,
        show_edge=False,
        padding=(0, gap, 0, 0),
        expand=console.is_terminal and not is_wide,
    )
    lines = [cells_of(asset, status, is_wide=is_wide) for asset in status.assets or ()]
    for cells in lines:
        for title in omitted:
            cells.pop(title, None)
    for title in lines[0]:
        table.add_column(title, justify="left" if title in _TEXTS else "right", no_wrap=True)
    for cells in lines:
        table.add_row(*cells.values())
    if len(lines) > 1:
        total = _total_cells(status.assets or ())
        table.add_section()
        table.add_row(*(total.get(title, "") for title in lines[0]), style="bold")
    return table


def _total_cells(assets: Sequence[AssetStatus]) -> dict[str, Text | str]:
    """What adds up over all assets, by the titles of both tables."""
    none = Decimal(0)
    open_usd = [asset.unrealised_usd for asset in assets if asset.unrealised_usd is not None]
    unrealised = coloured_usd(sum(open_usd, none) if open_usd else None, is_estimated=True)
    today = coloured_usd(
        sum((asset.realised_today_usd for asset in assets), none),
        is_estimated=any(asset.realised_today_is_estimated for asset in assets),
    )
    total = coloured_usd(
        sum((asset.realised_usd for asset in assets), none),
        is_estimated=any(asset.realised_is_estimated for asset in assets),
    )
    cycles_today = sum(asset.cycles_today for asset in assets)
    return {
        "asset": "total",
        "asset\nopen order": "total",
        "unrealised": unrealised,
        "bid\nunreal.": Text.assemble("\n", unrealised),
        "cycles today\nall time": f"{cycles_today}\n{sum(asset.cycles for asset in assets)}",
        "profit today\nall time": Text.assemble(today, "\n", total),
        "today\nall time": Text.assemble(today, "\n", total),
    }


def cells_of(asset: AssetStatus, status: Status, *, is_wide: bool) -> dict[str, Text | str]:
    """By column title."""
    symbol = Text(asset.symbol, style="bold" if asset.is_enabled else "dim")
    state, order = _state(asset, status), _order(asset)
    held, average, bid = coins(asset.coins_held), price(asset.average_price), price(asset.bid)
    targets = {"buys at": _buys_at(asset), "sells at": _sells_at(asset)}
    unrealised, realised = coloured_usd(asset.unrealised_usd, is_estimated=True), _realised(asset)
    if is_wide:
        return {
            "asset": symbol,
            "status": state,
            "coins held": held,
            "average": average,
            "bid": bid,
            **targets,
            "unrealised": unrealised,
            "open order": order,
            "cycles today\nall time": f"{asset.cycles_today}\n{asset.cycles}",
            "profit today\nall time": realised,
        }
    return {
        "asset\nopen order": Text.assemble(symbol, "\n", order.split("\n")[0]),
        "status": state,
        "coins held\naverage": f"{held}\n{average}",
        "bid\nunreal.": Text.assemble(bid, "\n", unrealised),
        **targets,
        "today\nall time": realised,
    }


def _state(asset: AssetStatus, status: Status) -> Text:
    """The status, and below it what matters in this status."""
    if asset.status is None:
        return Text("no cycle", style="bold red" if asset.is_enabled else "dim")
    text = Text(asset.status.value, style=_STATUS_STYLES[asset.status])
    if (detail := state_detail(asset, status.read_at)) is not None:
        text.append(f"\n{detail.text}", style=_TONE_STYLES[detail.tone])
    return text


def _buys_at(asset: AssetStatus) -> Text:
    """The price of the next buy, and how far the ask is from it."""
    if (word := buys_word(asset)) is not None:
        return Text(word.text, style=_TONE_STYLES[word.tone])
    if asset.buy_price is None:
        return Text(NOTHING, style="dim")
    far = "due" if is_buy_due(asset) else percent(asset.buy_distance_percent)
    return Text.assemble(price(asset.buy_price), "\n", (far, "yellow"))


def _sells_at(asset: AssetStatus) -> Text:
    """The take profit's price, and how far the bid is from it; the peak above it, and the stop."""
    if asset.sell_price is None:
        return Text(NOTHING, style="dim")
    far = "due" if is_sale_due(asset) else percent(asset.sell_distance_percent)
    text = Text.assemble(price(asset.sell_price), "\n", (far, "green"))
    if asset.peak is not None:
        text.append(f"\npeak {price(asset.peak)}", style="green")
    if asset.stop_price is not None:
        text.append(f"\nstop {price(asset.stop_price)}", style="red")
    return text


def _order(asset: AssetStatus) -> Text:
    order = asset.order
    if order is None:
        return Text("not seen" if asset.order_is_unseen else NOTHING, style="dim")
    at = "market" if order.limit_price is None else price(order.limit_price)
    status = CycleStatus.BUYING if order.side == "buy" else CycleStatus.SELLING
    text = Text(f"{order.side} {at}", style=_STATUS_STYLES[status])
    if order.filled_qty > 0 and order.qty:
        text.append(f"\n{order.filled_qty / order.qty:.0%} filled", style="dim")
    return text


def _realised(asset: AssetStatus) -> Text:
    today = coloured_usd(asset.realised_today_usd, is_estimated=asset.realised_today_is_estimated)
    total = coloured_usd(asset.realised_usd, is_estimated=asset.realised_is_estimated)
    return Text.assemble(today, "\n", total)


def coloured_usd(value: Decimal | None, *, is_estimated: bool = False) -> Text:
    """Green above zero, red below; marked where fees in it are estimated."""
    if value is None:
        return Text(NOTHING, style="dim")
    style = "green" if value > 0 else "red" if value < 0 else "dim"
    return Text(marked(signed_usd(value), is_estimated), style=style)
