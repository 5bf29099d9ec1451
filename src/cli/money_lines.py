"""Account value, buy limits and last fills in words, which status and report share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from domain.journal import JournalEntry, Purpose
from domain.orders import Side
from utils.formatting import clock, coins, number, price, usd

if TYPE_CHECKING:  # they load the exchange's SDK
    from monitoring.status.status import Status
    from utils.account_value import AccountValue


def account_words(account: AccountValue | None) -> str:
    return "not known: the exchange does not say" if account is None else account.words


def buy_limit_words(status: Status) -> Text:
    parts = []
    for buy_limit in status.buy_limits:
        places = 2 if buy_limit.unit == "USD" else 0
        used = "?" if buy_limit.used is None else number(buy_limit.used, places)
        unit = f" {buy_limit.unit}" if buy_limit.unit else ""
        text = Text(f"{buy_limit.name}: {used} of {number(buy_limit.limit)}{unit} used")
        if "down" in unit:  # nothing is used up: so many have fallen, so many must
            text = Text(f"{buy_limit.name}: {used}{unit} ({number(buy_limit.limit)} pause buys)")
        if buy_limit.holds:
            stops = "stops the next buy"
            if buy_limit.until is not None:
                stops = f"stops buys until {clock(buy_limit.until)} UTC"
            text = Text(f"{text.plain}, {stops}", style="bold yellow")
        parts.append(text)
    if not parts:
        text = Text("none set (MAX_BUY_USD_PER_DAY and others in .env)", style="dim")
        if status.bought_today_usd is not None:
            text.append(f"; bought today for {usd(status.bought_today_usd)} USD")
        return text
    return Text("; ").join(parts)


def fill_lines(fills: Sequence[JournalEntry]) -> list[RenderableType]:
    """A title and one line for each; nothing where there are none."""
    if not fills:
        return []
    lines: list[RenderableType] = [Text("\nLast fills, newest first (UTC)", style="bold")]
    return [*lines, *(Padding(_line(fill), (0, 0, 0, 2), expand=False) for fill in fills)]


def _line(fill: JournalEntry) -> Text:
    at = "" if fill.ended_at is None else f"{fill.ended_at:%m-%d %H:%M} "
    is_buy = fill.side is Side.BUY
    text = Text(f"{at}{fill.symbol} ")
    text.append("bought" if is_buy else "sold", style="yellow" if is_buy else "green")
    what = f" {coins(fill.filled_qty)} at {price(fill.filled_avg_price)}"
    of = {Purpose.BASE: "base order", Purpose.SAFETY: "safety order"}.get(fill.purpose, "sale")
    return text.append(f"{what} for {usd(fill.filled_usd)} USD ({of}, cycle {fill.cycle_id})")
