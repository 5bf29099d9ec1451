"""How a result is shown to a person: from the JSON of research.result, fresh or from a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.command_line import fitted, make_table, width_of
from cli.fitting_tables import describe_left_out
from utils.formatting import (
    NOTHING,
    moment,
    percent,
    signed_usd,
    span,
    usd,
)

Shown = Mapping[str, Any]
_PATHS = {
    "pessimistic": "pessimistic",
    "open-low-high-close": "low first",
    "open-high-low-close": "high first",
}


def show_result(console: Console, result: Shown, notes: Sequence[str] = ()) -> None:
    """What was tried on what, the figures beside those of the same money, the ladder's use."""
    for one in result["assets"]:
        console.print(Text(headline(one), style="bold"))
        for line in asset_lines(one):
            console.print(fitted(console, f"  {line}"))
    for note in notes:
        console.print(fitted(console, Text(note, style="yellow")))
    days = _at(result["to"]) - _at(result["from"])
    console.print(
        fitted(
            console,
            f"{usd(Decimal(result['cash_usd']))} USD of cash, fee {result['fee_percent']} % a side,"
            f" {span(days.total_seconds())}",
        )
    )
    if limits := _limits_line(result.get("limits", {})):
        console.print(fitted(console, limits))
    console.print()
    console.print(_comparison(console, result))
    for run in result["runs"]:
        for part in _details(console, result, run):
            console.print(part)


def headline(one: Shown) -> str:
    """Which asset, and from when to when."""
    data = one["data"]
    return f"{one['symbol']}  {moment(_at(data['from']))} to {moment(_at(data['to']))} UTC"


def _limits_line(limits: Shown) -> str:
    """Those that are set; a result of before there were any has none."""
    minutes = limits.get("dump_pause_minutes")
    parts = [
        f"{name.upper()} {value}" + (f" for {minutes} min" if name == "dump_pause_percent" else "")
        for name, value in limits.items()
        if value is not None and name != "dump_pause_minutes"
    ]
    return f"limits of the account: {', '.join(parts)}" if parts else ""


def asset_lines(one: Shown) -> Iterator[str]:
    """Its settings, prices and rules."""
    yield _settings_line(one["settings"], one["ladder_usd"])
    data, rules = one["data"], one["rules"]
    bars = f"bars of {_length(data['bar_seconds'])}" if data["bar_seconds"] else "quotes"
    yield f"{data['rows']:,} {bars} from {', '.join(data['sources'])}; {_gaps_line(data)}"
    spread = one["spread_percent"]
    named = "the exchange's" if rules["from"] == "Alpaca" else "usual ones, not Alpaca's"
    words = "spread as quoted" if spread is None else f"spread {spread} %"
    yield f"{words}; rules of the coin: {named}"


def _settings_line(settings: Shown, ladder_usd: str) -> str:
    def has(name: str) -> bool:
        return settings[name] not in (None, "0", 0)

    parts = [
        f"base {settings['base_order_amount']} + {settings['max_safety_orders']} x"
        f" {settings['safety_order_amount']} USD",
        f"deviation {settings['safety_order_deviation']} %",
        f"take profit {settings['take_profit_percent']} %",
        f"cooldown {span(settings['cooldown_period'])}",
    ]
    if settings["safety_order_volume_scale"] != "1":
        parts.insert(1, f"volume x {settings['safety_order_volume_scale']}")
    if settings["safety_order_step_scale"] != "1":
        parts.insert(2, f"steps x {settings['safety_order_step_scale']}")
    if settings["safety_order_reference"] != "last_fill":
        parts.append("below the base order")
    for name, words in _OPTIONAL.items():
        if has(name):
            parts.append(words.format(settings[name]))
    if has("stop_loss_percent") and has("stop_loss_seconds"):
        parts[-1] += f" for {span(settings['stop_loss_seconds'])}"
    if settings["start_mode"] == "manual":
        parts.append("opened by hand")
    return f"{', '.join(parts)}: a ladder of {usd(Decimal(ladder_usd))} USD"


_OPTIONAL = {
    "buy_order_price_deviation_percent": "early restart {} %",
    "take_profit_fee_percent": "fee-aware {} %",
    "trailing_take_profit_percent": "trailing {} %",
    "max_entry_price": "base order at {} USD or below",
    "stop_loss_percent": "stop loss {} %",
}


def _gaps_line(data: Shown) -> str:
    gaps = data["gaps"]
    if not gaps:
        return "nothing is missing"
    longest = max(gaps, key=lambda gap: _at(gap["to"]) - _at(gap["from"]))
    seconds = (_at(longest["to"]) - _at(longest["from"])).total_seconds()
    where = f"{moment(_at(longest['from']))} ({span(seconds)})"
    what = f"{data['missing']:,} bars" if data["missing"] else "quotes"
    if len(gaps) == 1:
        return f"{what} missing from {where}"
    return f"{what} missing in {len(gaps):,} gaps, the longest from {where}"


def _length(seconds: int) -> str:
    return f"{seconds // 60} min" if seconds % 60 == 0 else f"{seconds} s"


# Side by side


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    of_run: Callable[[Shown], str]
    of_baseline: Callable[[Shown], str] = lambda _: ""


def _comparison(console: Console, result: Shown) -> RenderableType:
    """The runs, and beside them as many of the baselines as fit."""
    baselines = {"held": result["buy_and_hold"], "weekly": result["weekly_buy"]}
    left_out: list[str] = []
    while width_of(table := _compared(console, result, baselines), console) > console.width:
        if not baselines:
            break
        left_out.insert(0, baselines.popitem()[0])
    return Group(table, describe_left_out(left_out)) if left_out else table


def _compared(console: Console, result: Shown, baselines: Mapping[str, Shown]) -> Table:
    cash_usd = Decimal(result["cash_usd"])
    table = make_table(console)
    table.add_column("USD and percent", no_wrap=True)
    runs = result["runs"]
    columns = [_PATHS[run["path"]] for run in runs] if len(runs) > 1 else ["the bot"]
    for name in (*columns, *baselines):
        table.add_column(name, no_wrap=True, justify="right")
    for row in _rows(cash_usd):
        cells = [*map(row.of_run, runs), *map(row.of_baseline, baselines.values())]
        table.add_row(row.name, *cells)
    return table


def _rows(cash_usd: Decimal) -> list[_Row]:
    def of(name: str, show: Callable[[Any], str]) -> Callable[[Shown], str]:
        return lambda one: show(one[name])

    def of_cash(text: str) -> str:
        return percent(Decimal(text) * 100 / cash_usd)

    def both(name: str, read: Callable[[Shown], str]) -> _Row:
        return _Row(name, read, read)

    return [
        both("result after fees", of("result_usd", _signed)),
        _Row("  complete cycles", of("realised_usd", _signed)),
        _Row("  still held, left over", of("unrealised_usd", _signed)),
        both("in percent of the cash", of("result_usd", of_cash)),
        _Row("  of what ladders need", of("return_on_ladder_percent", _percent)),
        _Row("  of the money at work", of("return_at_work_percent", _percent)),
        both("worst drawdown", lambda one: _drawdown(one["drawdown"])),
        both("longest under water", lambda one: _water(one["under_water"])),
        both("fees", of("fees_usd", lambda text: usd(Decimal(text)))),
        _Row("money at work, mean", of("at_work_usd", lambda text: usd(Decimal(text)))),
        _Row("  at most", of("peak_at_work_usd", lambda text: usd(Decimal(text)))),
        _Row("time fully bought", of("fully_bought_percent", lambda text: f"{text} %")),
        _Row("cycles complete", lambda one: f"{one['cycles']:,}"),
        _Row("  won", lambda one: _share(one["won_percent"])),
        _Row("  ended by stop loss", of("stopped", str)),
        _Row("  still open", of("open_cycles", str)),
        _Row("mean cycle", of("mean_cycle_seconds", _span)),
        _Row("longest cycle", of("longest_cycle_seconds", _span)),
    ]  # fmt: skip


def _signed(text: str) -> str:
    return signed_usd(Decimal(text))


def _percent(text: str | None) -> str:
    return percent(None if text is None else Decimal(text))


def _share(text: str | None) -> str:
    return NOTHING if text is None else f"{Decimal(text):.1f} %"


def _drawdown(one: Shown | None) -> str:
    return "none" if one is None else f"-{Decimal(one['percent']):.2f} %"


def _water(one: Shown | None) -> str:
    if one is None:
        return "never"
    hours, minutes, _ = span(one["seconds"]).partition(" h ")  # that is close enough here
    return f"{'' if one['is_over'] else 'still '}{hours}{' h' if minutes else ''}"


def _span(seconds: float | None) -> str:
    return NOTHING if seconds is None else span(seconds)


# Of each run


def _details(console: Console, result: Shown, run: Shown) -> Iterator[RenderableType]:
    title = f" ({_PATHS[run['path']]})" if len(result["runs"]) > 1 else ""
    yield Text(f"\nSafety orders used{title}", style="bold")
    yield _ladder_table(console, run["ladder_use"])
    if len(result["assets"]) > 1:
        yield Text("\nBy asset, complete cycles", style="bold")
        yield _assets_table(console, run["by_asset"])
    if (fall := run["drawdown"]) is not None:
        yield fitted(
            console,
            f"The worst drawdown was {usd(Decimal(fall['usd']))} USD, from"
            f" {moment(_at(fall['peak_at']))} to {moment(_at(fall['low_at']))}.",
        )
    yield from (fitted(console, line) for line in _refusal_lines(run["refusals"]))


def _ladder_table(console: Console, use: Sequence[Shown]) -> Table:
    table = make_table(console)
    for name in ("safety orders", "cycles", "still open", "profit"):
        table.add_column(name, no_wrap=True, justify="right")
    for one in use:
        open_cycles = str(one["open_cycles"] or NOTHING)
        cells = (str(one["safety_orders"]), f"{one['cycles']:,}", open_cycles)
        table.add_row(*cells, _signed(one["profit_usd"]) if one["cycles"] else NOTHING)
    return table


def _assets_table(console: Console, lines: Sequence[Shown]) -> Table:
    table = make_table(console)
    table.add_column("asset", no_wrap=True)
    for name in ("cycles", "won", "longest", "fees", "profit"):
        table.add_column(name, no_wrap=True, justify="right")
    for one in lines:
        table.add_row(
            one["symbol"],
            f"{one['cycles']:,}",
            _share(one["won_percent"]),
            _span(one["longest_cycle_seconds"]),
            usd(Decimal(one["fees_usd"])),
            _signed(one["realised_usd"]),
        )
    return table


def _refusal_lines(refusals: Sequence[Shown]) -> Iterator[str]:
    by_reason: dict[tuple[str, str], list[str]] = {}
    for one in refusals:
        by_reason.setdefault((one["symbol"], one["reason"]), []).append(one["at"])
    for (symbol, reason), times in by_reason.items():
        often = "" if len(times) == 1 else f", and {len(times) - 1:,} times more"
        yield f"{symbol} {moment(_at(times[0]))}: {reason}{often}."


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)
