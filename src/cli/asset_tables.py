"""Assets and plans for a person: tables and lines, numbers rounded for the eye."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from cli.fitting_tables import print_fitting, without_titles
from domain.asset import DcaAsset, SafetyOrderReference, StartMode, StopLossAction
from domain.cycle import DcaCycle
from strategy.cycle_plan import CyclePlan, Holding
from strategy.entry import describe_wait
from strategy.ladder import compute_ladder_usd, compute_order_usd
from utils.formatting import ESTIMATE_LEGEND, NOTHING, coins, marked, number, price, usd

if TYPE_CHECKING:  # it loads the exchange's SDK, which a list of assets does not need
    from operations.adopt_coins import Adoption
    from operations.preview import Preview

_PLAN_LAYOUTS = (
    "order buy_at limit down USD coins coins_held average sell_at net_USD"
    " trails_from stop_at stop_USD",
    "order buy_at/limit down/USD coins/coins_held average sell_at/net_USD"
    " trails_from stop_at/stop_USD",
    "order buy_at/limit down/USD coins/coins_held average sell_at/net_USD/trails_from"
    " stop_at/stop_USD",
    "order buy_at/limit down/USD/coins/coins_held average/sell_at/net_USD/trails_from"
    " stop_at/stop_USD",
    "order buy_at/limit down/USD/coins/coins_held"
    " average/sell_at/net_USD/trails_from/stop_at/stop_USD",
)
_LIST_LAYOUTS = (
    "asset on base_USD safety_USD deviation take_profit cooldown ladder_USD"
    " cycle coins_held average safety_used",
    "asset/on base_USD/safety_USD deviation/take_profit cooldown/ladder_USD"
    " cycle/coins_held average/safety_used",
    "asset/on/cycle base_USD/safety_USD deviation/take_profit/cooldown"
    " ladder_USD/coins_held/average/safety_used",
)


def show_list(
    console: Console, rows: Sequence[tuple[DcaAsset, DcaCycle | None]], held: Mapping[int, Decimal]
) -> None:
    """One line for each asset. `held`: coins in the account by cycle, after the coin fees."""
    lines = []
    for asset, cycle in rows:
        profit = f"{number(asset.take_profit_percent)} %"
        if asset.take_profit_fee_percent:
            profit += " net"
        if asset.trailing_take_profit_percent is not None:
            profit += f", trails {number(asset.trailing_take_profit_percent)} %"
        if asset.stop_loss_percent is not None:
            profit += f", stop {number(asset.stop_loss_percent)} %"
        holding = [NOTHING] * 3
        if cycle is not None and cycle.quantity > 0:
            average = price(cycle.average_purchase_price)
            holding = [coins(held.get(cycle.id, cycle.quantity)), average, f"{cycle.safety_orders}"]
        cells = (
            asset.asset_symbol,
            "yes" if asset.is_enabled else "no",
            number(asset.base_order_amount),
            f"{asset.max_safety_orders} x {number(asset.safety_order_amount)}"
            + _scale(asset.safety_order_volume_scale),
            _deviation_cell(asset),
            profit,
            f"{asset.cooldown_period} s",
            number(compute_ladder_usd(asset)),
            cycle.status.value if cycle else "none open",
            *holding,
        )
        lines.append((cells, None if asset.is_enabled else "dim"))
    print_fitting(console, _LIST_LAYOUTS, lines)
    for asset, cycle in rows:
        holds_coins = cycle is not None and cycle.quantity > 0
        if cycle and (wait := describe_wait(asset, cycle, holds_coins=holds_coins)):
            console.print(Text(f"{asset.asset_symbol} {wait}", style="yellow"))


def show_preview(console: Console, preview: Preview) -> None:
    """The asset, the plan of its cycle, what it needs of the account, and every warning."""
    asset = preview.asset
    console.print(_headline(preview))
    if preview.rest is not None:
        console.print(Text("\nThe open cycle, from what it holds now on", style="bold"))
        _show_plan(console, preview.rest)
    if preview.plan is not None:
        title = "The plan of a cycle" if preview.rest is None else "The plan of the next cycle"
        console.print(Text(f"\n{title} that starts at {price(preview.plan.ask)} USD", style="bold"))
        _show_plan(console, preview.plan)
        if (words := _where_it_ends(preview.plan)) is not None:
            console.print(words)
    console.print(
        "This assumes that each order fills fully at its price. Ladder:"
        f" {number(compute_ladder_usd(asset))} USD"
        f" (base {number(asset.base_order_amount)} + {_safety_orders(asset)}).",
    )
    needed, spendable = usd(preview.needed_usd), usd(preview.spendable_usd)
    match len(preview.needs):
        case 0:
            who = "No asset is enabled, so nothing is needed"
        case 1:
            who = f"{preview.needs[0].symbol}, the only enabled asset, can need {needed} USD more"
        case count:
            who = f"All {count} enabled assets together can need {needed} USD more"
    console.print(f"{who}; the account has {spendable} USD to spend.")
    _show_warnings(console, preview.warnings)


def show_changes(console: Console, before: DcaAsset, after: DcaAsset) -> None:
    """Each value that differs, old and new."""
    console.print(Text(f"Changes of {after.asset_symbol}", style="bold"))
    for name, old, new in zip(_VALUES, _values(before), _values(after), strict=True):
        if old != new:
            console.print(f"  {name:<14} {old} -> {new}")
    console.print()


def show_adoption(console: Console, adoption: Adoption, plan: CyclePlan) -> None:
    """The coins, what they cost, and how the cycle would go on."""
    symbol = adoption.asset.asset_symbol
    console.print(Text(f"{symbol}: coins that no cycle claims", style="bold"))
    console.print(
        f"The account holds {number(adoption.position_qty)} at an average of"
        f" {price(adoption.average_price)} USD: about {usd(adoption.cost_usd)} USD for"
        f" {coins(adoption.quantity)} before the coin fee. That is as much as the base order and"
        f" {adoption.safety_orders} of {adoption.asset.max_safety_orders} safety orders.",
    )
    _show_plan(console, plan)
    _show_warnings(console, adoption.warnings)


def _show_warnings(console: Console, warnings: Sequence[str]) -> None:
    for warning in warnings:
        console.print(Text(f"WARNING: {warning}", style="yellow"))


_VALUES = (
    "enabled",
    "base order",
    "safety order",
    "safety orders",
    "volume scale",
    "deviation",
    "step scale",
    "reference",
    "take profit",
    "fee-aware",
    "cooldown",
    "early restart",
    "start",
    "highest entry",
    "trailing",
    "stop loss",
)


def _values(asset: DcaAsset) -> tuple[str, ...]:
    """As _VALUES names them."""
    fee, early = asset.take_profit_fee_percent, asset.buy_order_price_deviation_percent
    trail = asset.trailing_take_profit_percent
    return (
        "yes" if asset.is_enabled else "no",
        f"{number(asset.base_order_amount)} USD",
        f"{number(asset.safety_order_amount)} USD",
        f"{asset.max_safety_orders}",
        number(asset.safety_order_volume_scale),
        f"{number(asset.safety_order_deviation)} %",
        number(asset.safety_order_step_scale),
        _REFERENCES[asset.safety_order_reference],
        f"{number(asset.take_profit_percent)} %",
        "off" if fee is None else f"{number(fee)} % a side",
        f"{asset.cooldown_period} s",
        "off" if early is None else f"{number(early)} % down",
        asset.start_mode.replace("_", "-"),
        "off" if asset.max_entry_price is None else f"{number(asset.max_entry_price)} USD",
        "off" if trail is None else f"{number(trail)} %",
        _stop_words(asset) or "off",
    )


def _stop_words(asset: DcaAsset) -> str | None:
    if asset.stop_loss_percent is None:
        return None
    after = f" after {asset.stop_loss_seconds} s" if asset.stop_loss_seconds else ""
    then = "disable" if asset.stop_loss_action is StopLossAction.DISABLE else "cool down"
    return f"{number(asset.stop_loss_percent)} %{after}, then {then}"


def _headline(preview: Preview) -> Text:
    asset = preview.asset
    target = f"take profit {number(asset.take_profit_percent)} %"
    if asset.take_profit_fee_percent:
        target += f" net of {number(asset.take_profit_fee_percent)} % fee a side"
    if asset.trailing_take_profit_percent is not None:
        target += f" that trails by {number(asset.trailing_take_profit_percent)} %"
    parts = [target, _deviation(asset), f"cooldown {asset.cooldown_period} s"]
    if asset.safety_order_volume_scale != 1:
        parts.insert(2, f"volume scale {number(asset.safety_order_volume_scale)}")
    if asset.buy_order_price_deviation_percent is not None:
        parts.append(f"early restart {number(asset.buy_order_price_deviation_percent)} % down")
    if asset.start_mode is StartMode.MANUAL:
        parts.append(f"each cycle waits for scripts/bot open {asset.asset_symbol}")
    if asset.max_entry_price is not None:
        parts.append(f"no base order above {number(asset.max_entry_price)} USD")
    if (stop := _stop_words(asset)) is not None:
        parts.append(f"stop loss {stop}")
    if not asset.is_enabled:
        parts.append("disabled: it buys nothing")
    head = Text(asset.asset_symbol, style="bold")
    head.append(f"  {', '.join(parts)}", style="not bold")
    head.append(f"  [{preview.money}]", style="bold red" if preview.is_live else "dim")
    return head


_REFERENCES = {
    SafetyOrderReference.LAST_FILL: "the last fill",
    SafetyOrderReference.BASE_ORDER: "the base order",
}


def _deviation(asset: DcaAsset) -> str:
    """What differs from the plan's way is named."""
    text = f"deviation {number(asset.safety_order_deviation)} %"
    if asset.safety_order_reference is not SafetyOrderReference.LAST_FILL:
        text += f" below {_REFERENCES[asset.safety_order_reference]}"
    if asset.safety_order_step_scale != 1:
        text += f", step scale {number(asset.safety_order_step_scale)}"
    return text


def _deviation_cell(asset: DcaAsset) -> str:
    text = f"{number(asset.safety_order_deviation)} %{_scale(asset.safety_order_step_scale)}"
    is_usual = asset.safety_order_reference is SafetyOrderReference.LAST_FILL
    return text if is_usual else f"{text} of base"


def _scale(scale: Decimal) -> str:
    return "" if scale == 1 else f", then x{number(scale)}"


def _safety_orders(asset: DcaAsset) -> str:
    """`5 x 20`, or `5 from 20 to 101.25` where each one costs something else."""
    count, first = asset.max_safety_orders, number(asset.safety_order_amount)
    if asset.safety_order_volume_scale == 1 or count < 2:
        return f"{count} x {first}"
    return f"{count} from {first} to {number(compute_order_usd(asset, count))}"


def _show_plan(console: Console, plan: CyclePlan) -> None:
    """With columns for a trail and a stop loss where there is one. `sell_at` is the least price."""
    holdings = [*([plan.start] if plan.start else []), *(order.after for order in plan.orders)]
    trails = any(one.sale is not None and one.sale.trails_from is not None for one in holdings)
    stops = any(one.stop is not None for one in holdings)
    missing = {"trails_from"} if not trails else set()
    missing |= {"stop_at", "stop_USD"} if not stops else set()
    layouts = [without_titles(missing, layout) for layout in _PLAN_LAYOUTS]

    def holding_cells(holding: Holding) -> tuple[str, ...]:
        return (
            *_holding_cells(holding),
            *(_trail_cells(holding) if trails else ()),
            *(_stop_cells(holding) if stops else ()),
        )

    lines = [
        (
            "base" if order.number == 0 else f"safety {order.number}",
            price(order.trigger_price),
            price(order.limit_price),
            f"{plan.compute_down_percent(order):.2f} %",
            usd(order.size_usd),
            number(order.qty),
            *holding_cells(order.after),
        )
        for order in plan.orders
    ]
    if plan.start is not None:
        lines.insert(0, ("held", "", "", "", "", "", *holding_cells(plan.start)))
    print_fitting(console, layouts, [(line, None) for line in lines])
    if trails:
        text = (
            "Once the bid is at 'trails from' its peak is followed; 'sell at' is the least price"
            " after that, where the bid falls from there on. A bid that jumps can be lower."
        )
        console.print(Text(text, style="dim"))
    if plan.sales:
        console.print(Text(ESTIMATE_LEGEND, style="dim"))
    if plan.problem is not None:
        console.print(Text(f"The plan ends there: {plan.problem}.", "yellow"))


def _where_it_ends(plan: CyclePlan) -> str | None:
    """What follows where the price falls on after the last order."""
    if plan.problem is not None or not plan.orders:
        return None
    last = plan.orders[-1]
    if last.after.stop is not None:
        return (
            "A stop loss sells at the market: 'stop USD' is what it costs at 'stop at', and in a"
            " fast fall it costs more."
        )
    return (
        f"Below {price(last.trigger_price)} USD nothing more is bought: it waits for the take"
        f" profit with coins that cost {usd(last.after.paid_usd)} USD, whatever they are worth"
        " then (no stop loss)."
    )


def _holding_cells(holding: Holding) -> tuple[str, str, str, str]:
    sale = holding.sale
    return (
        number(Context(prec=12, rounding=ROUND_HALF_EVEN).plus(holding.coins_held)),
        price(holding.average_price),
        NOTHING if sale is None else price(sale.price),
        NOTHING if sale is None else marked(number(sale.net_profit_usd, 4), True),
    )


def _trail_cells(holding: Holding) -> tuple[str]:
    sale = holding.sale
    return (NOTHING if sale is None else price(sale.trails_from),)


def _stop_cells(holding: Holding) -> tuple[str, str]:
    stop = holding.stop
    if stop is None:
        return NOTHING, NOTHING
    return price(stop.price), marked(number(stop.net_profit_usd, 4), True)
