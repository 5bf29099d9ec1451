"""Shows the demo: a live table on a terminal, plain lines elsewhere. Reads and decides nothing.

On a narrow terminal each asset takes two lines, so that every column stays readable.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TextIO

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from domain.cycle import CycleStatus
from local_stack.demo.event_feed import Sentence, Tone
from local_stack.demo.snapshot import AssetRow, Realised, Snapshot
from local_stack.demo_format import NOTHING, clock, coins, duration, price
from utils.formatting import ESTIMATE_LEGEND, marked

WIDE_COLUMNS = 132
SENTENCES_SHOWN = 8
PLAIN_STATUS_SECONDS = 15.0
_STATUS_STYLES = {
    CycleStatus.WATCHING: "cyan",
    CycleStatus.BUYING: "yellow",
    CycleStatus.SELLING: "magenta",
    CycleStatus.COOLDOWN: "dim",
    CycleStatus.ERROR: "bold red",
    CycleStatus.COMPLETE: "dim",
}
_TONE_STYLES = {
    Tone.BUY: "yellow",
    Tone.SELL: "green",
    Tone.NOTE: "dim",
    Tone.WARNING: "bold yellow",
    Tone.ERROR: "bold red",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What stays the same for a whole run. Seconds are wall seconds."""

    market: str
    speed: float
    ends_after_seconds: float | None
    first_at: datetime | None = None
    last_at: datetime | None = None


class View(Protocol):
    """A terminal or a stream of lines."""

    def say(self, text: str) -> None:
        """One line about the demo itself."""

    def show(self, snapshot: Snapshot, news: list[Sentence], elapsed_seconds: float) -> None:
        """The newest look."""

    def close(self) -> None:
        """Leave the last picture where it is."""


class LiveView:
    """Redraws one table in place."""

    def __init__(self, console: Console, heading: Heading) -> None:
        self._console, self._heading = console, heading
        self._sentences: deque[Sentence] = deque(maxlen=SENTENCES_SHOWN)
        self._live: Live | None = None

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False)

    def show(self, snapshot: Snapshot, news: list[Sentence], elapsed_seconds: float) -> None:
        self._sentences.extend(news)
        picture = render(
            snapshot, list(self._sentences), self._heading, elapsed_seconds, self._console.width
        )
        if self._live is None:
            self._live = Live(picture, console=self._console, auto_refresh=False)
            self._live.start()
        self._live.update(picture, refresh=True)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


class PlainView:
    """One line for each thing that happened, and one now and then for where everything stands."""

    def __init__(self, out: TextIO, heading: Heading) -> None:
        self._out, self._heading = out, heading
        self._next_status_at = 0.0

    def say(self, text: str) -> None:
        print(text, file=self._out, flush=True)

    def show(self, snapshot: Snapshot, news: list[Sentence], elapsed_seconds: float) -> None:
        for sentence in news:
            self.say(f"{clock(sentence.at)} {sentence.symbol:<9} {sentence.text}")
        if time.monotonic() >= self._next_status_at:
            self._next_status_at = time.monotonic() + PLAIN_STATUS_SECONDS
            for line in _status_lines(snapshot, self._heading, elapsed_seconds):
                self.say(line)

    def close(self) -> None:
        pass


def render(
    snapshot: Snapshot,
    sentences: list[Sentence],
    heading: Heading,
    elapsed_seconds: float,
    width: int,
) -> RenderableType:
    """The whole screen."""
    parts: list[RenderableType] = [
        _header(snapshot, heading, elapsed_seconds),
        _wide_table(snapshot) if width >= WIDE_COLUMNS else _narrow_table(snapshot),
    ]
    for sentence in sentences:
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append(f" {clock(sentence.at)} ", style="dim")
        line.append(f"{sentence.symbol:<9} " if sentence.symbol else "", style="bold")
        line.append(sentence.text, style=_TONE_STYLES[sentence.tone])
        parts.append(line)
    parts += [Text(" ")] * (SENTENCES_SHOWN - len(sentences))  # the picture keeps its height
    foot = " Ctrl-C stops everything and prints what happened"
    foot += f"   {ESTIMATE_LEGEND}" if snapshot.total.is_estimated else ""
    parts.append(Text(foot, style="dim"))
    return Group(*parts)


def _header(snapshot: Snapshot, heading: Heading, elapsed_seconds: float) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(" ● ", style="bold green" if snapshot.daemon_is_well else "bold red")
    text.append(snapshot.daemon, style="bold" if snapshot.daemon_is_well else "bold red")
    text.append(f"   {_times(snapshot, heading, elapsed_seconds)}", style="bold")
    text.append(f"   market at {heading.speed:g}x: {heading.market}")
    return text


def _times(snapshot: Snapshot, heading: Heading, elapsed_seconds: float) -> str:
    text = duration(elapsed_seconds)
    if heading.ends_after_seconds is not None:
        text += f" of {duration(heading.ends_after_seconds)}"
    if snapshot.market_at is not None and heading.first_at and heading.last_at:
        whole = max(1.0, (heading.last_at - heading.first_at).total_seconds())
        done = (snapshot.market_at - heading.first_at).total_seconds() / whole
        text += f"   {snapshot.market_at:%Y-%m-%d %H:%M} ({done:.0%})"
    return text


def _new_table() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, show_footer=True)


def _wide_table(snapshot: Snapshot) -> Table:
    table = _new_table()
    table.add_column("asset", footer="total", style="bold", no_wrap=True)
    table.add_column("status", no_wrap=True, min_width=13)
    for name, least in (("held", 11), ("average", 9), ("bid", 9), ("ask", 9)):
        table.add_column(name, justify="right", no_wrap=True, min_width=least)
    table.add_column("buys below", justify="right", no_wrap=True, style="yellow", min_width=10)
    table.add_column("sells above", justify="right", no_wrap=True, style="green", min_width=11)
    table.add_column("open order", no_wrap=True, min_width=17)
    table.add_column("cycles", justify="right", footer=str(snapshot.total.cycles))
    table.add_column(
        "profit", justify="right", no_wrap=True, min_width=8, footer=_profit(snapshot.total)
    )
    for row in snapshot.rows:
        table.add_row(
            row.symbol,
            _status(row),
            coins(row.quantity),
            _average(row),
            price(row.bid, row.price_step),
            price(row.ask, row.price_step),
            price(row.buys_at, row.price_step),
            price(row.sells_at, row.price_step),
            _order(row),
            str(row.realised.cycles),
            _profit(row.realised),
        )
    return table


def _narrow_table(snapshot: Snapshot) -> Table:
    table = _new_table()
    table.add_column("asset\nopen order", footer="total", no_wrap=True, min_width=17)
    table.add_column("status", no_wrap=True, min_width=13)
    table.add_column("held\naverage", justify="right", no_wrap=True, min_width=11)
    table.add_column("bid\nask", justify="right", no_wrap=True, min_width=9)
    table.add_column("sells above\nbuys below", justify="right", no_wrap=True)
    table.add_column(
        "profit\ncycles", justify="right", no_wrap=True, footer=_profit(snapshot.total)
    )
    for row in snapshot.rows:
        step = row.price_step
        table.add_row(
            Text.assemble((row.symbol, "bold"), "\n", _order(row)),
            _status(row),
            f"{coins(row.quantity)}\n{_average(row)}",
            f"{price(row.bid, step)}\n{price(row.ask, step)}",
            Text.assemble(
                (price(row.sells_at, step), "green"), "\n", (price(row.buys_at, step), "yellow")
            ),
            Text.assemble(_profit(row.realised), f"\n{row.realised.cycles}"),
        )
    return table


def _status(row: AssetRow) -> Text:
    text = Text(row.status.value, style=_STATUS_STYLES[row.status])
    if row.rests_for_seconds is not None:
        rest = row.rests_for_seconds
        text.append(f" {rest:.0f} s" if rest > 0 else " over")  # until the caretaker has come
    elif row.quantity > 0:
        text.append(f" {row.safety_orders}/{row.max_safety_orders}", style="dim")
    return text


def _average(row: AssetRow) -> str:
    return price(row.average if row.quantity > 0 else None, row.price_step)


def _order(row: AssetRow) -> str:
    if row.order is None:
        return NOTHING
    limit = row.order.price
    return f"{row.order.side} at {'market' if limit is None else price(limit, row.price_step)}"


def _profit(realised: Realised) -> Text:
    profit = realised.profit_usd
    style = "green" if profit > 0 else "red" if profit < 0 else "dim"
    return Text(marked(f"{profit:+,.2f}", realised.is_estimated), style=style)


def _status_lines(snapshot: Snapshot, heading: Heading, elapsed_seconds: float) -> list[str]:
    """The table in words, for those who read it in a file."""
    total = snapshot.total
    lines = [
        f"-- {_times(snapshot, heading, elapsed_seconds)}  {snapshot.daemon}"
        f"  cycles {total.cycles}  profit {_profit(total)} USD"
        + (f"  ({ESTIMATE_LEGEND})" if total.is_estimated else "")
    ]
    for row in snapshot.rows:
        step = row.price_step
        lines.append(
            f"   {row.symbol:<9} {_status(row).plain:<13} {coins(row.quantity)} at {_average(row)}"
            f", bid {price(row.bid, step)} ask {price(row.ask, step)}"
            f", buys below {price(row.buys_at, step)}, sells above {price(row.sells_at, step)}"
            f", order {_order(row)}, {row.realised.cycles} cycles {_profit(row.realised)}"
        )
    return lines
