"""The words of a status: one screen of lines and one table. Decides nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.segment import Segment, Segments
from rich.table import Table
from rich.text import Text

from caretakers.plans.watchdog import Verdict
from cli.money_lines import account_words, buy_limit_words, fill_lines
from cli.status_table import assets_table, coloured_usd
from domain.journal import RealisedProfit
from monitoring.status.asset_status import AssetStatus
from monitoring.status.caretaker_status import CaretakerStatus
from monitoring.status.daemon_status import DaemonStatus, StreamStatus
from monitoring.status.status import Status
from monitoring.status.words import Tone, verdict_words
from utils.formatting import (
    ESTIMATE_LEGEND,
    NOTHING,
    coins,
    counted,
    day_and_clock,
    span,
)
from utils.wrapping import shorten

_LABEL_COLUMNS = 12
_INDENT = 2
_MIN_PROBLEMS = 3  # before they are fewer than that, the table goes
_LINES_OF_ASSET = 2
_OMITTED_IF_SHORT = ("streams", "caretakers", "telegram", "page", "left over", "account")
_CENT = Decimal("0.01")


def render(status: Status, console: Console, *, height: int | None = None) -> RenderableType:
    """The screen for this console's width. What is wrong stands on top: it is never cut off.

    `height`: how many lines fit. What does not fit is left out and counted, in this order: events
    and fills, the lines of what is well, assets (those that hold coins or are held back last), of
    each wrong thing what is more than a line, the last wrong things; then whole lines.
    """
    screen = _screen(status, console)
    if height is None or count_lines(screen, console) <= height:
        return screen
    brief = replace(status, events=(), last_fills=())
    if count_lines(screen := _screen(brief, console), console) < height:
        return Group(screen, _too_low("fills and events"))
    assets = sorted(status.assets or (), key=_matters, reverse=True)
    over = count_lines(_screen(status, console, shown=assets), console) - height
    fit = len(assets) - math.ceil(max(0, over) / _LINES_OF_ASSET)
    chosen = assets[: max(fit, min(1, len(assets)))]  # the table stays, if only with one
    shown = [asset for asset in status.assets or () if asset in chosen]
    count = len(status.problems)
    least = min(count, _MIN_PROBLEMS) if fit < 1 else count
    for problems in range(count, least - 1, -1):
        short = _screen(status, console, shown=shown, problems=problems)
        if count_lines(short, console) <= height:
            return short
    whole = _screen(status, console, shown=shown)
    lines = console.render_lines(whole, pad=False)
    kept = [part for line in lines[: height - 1] for part in (*line, Segment.line())]
    return Group(Segments(kept), _too_low(counted(len(lines) - height + 1, "more line")))


def _screen(
    status: Status,
    console: Console,
    *,
    shown: Sequence[AssetStatus] | None = None,
    problems: int | None = None,
) -> RenderableType:
    """Everything; with `shown` these assets only, one line for each of so many `problems` (None:
    all), without the lines that `all is well` or the problems on top make superfluous.
    """
    is_short = shown is not None
    width = console.width if is_short else None
    parts: list[RenderableType] = [headline(status), *verdict(status, width, problems)]
    parts += [] if is_short else [Text()]
    for label, text in facts(status, is_short=is_short):
        if not is_short or label not in _OMITTED_IF_SHORT:
            parts.append(_labelled(label, text))
    assets = status.assets if shown is None else shown
    if assets:
        parts += [Text(), assets_table(replace(status, assets=tuple(assets)), console)]
    elif status.assets == ():
        parts.append(_labelled("assets", Text("none yet: scripts/assets add BTC/USD")))
    if not is_short:
        return Group(*parts, *fill_lines(status.last_fills), *event_lines(status))
    left_out = len(status.assets or ()) - len(assets or ())
    what = counted(left_out, "more asset") if left_out else "the whole screen"
    return Group(*parts, _too_low(what))


def _too_low(what: str) -> Text:
    return Text(f"the window is too low for {what}", style="dim")


def _matters(asset: AssetStatus) -> bool:
    return bool(asset.problem or asset.held or asset.order or asset.coins_held > 0)


def count_lines(picture: RenderableType, console: Console) -> int:
    return len(console.render_lines(picture, pad=False))


def headline(status: Status) -> Text:
    text = Text("DCA bot  ", style="bold")
    text.append(status.money, style="bold white on red" if status.is_live else "bold green")
    text.append(f"  {status.trading_host}  {day_and_clock(status.read_at)} UTC", "not bold dim")
    return text


def verdict(
    status: Status, width: int | None = None, shown: int | None = None
) -> list[RenderableType]:
    """All is well, or each wrong thing: whole, or with `width` the first `shown` in a line each."""
    words = verdict_words(status)
    if status.is_well:
        return [Text(words.text, style="yellow" if words.tone is Tone.NOTABLE else "green")]
    problems, count = list(status.problems[:shown]), len(status.problems)
    head = f"{words.text}:"
    if len(problems) < count:
        head = f"{words.text}, {count - len(problems)} of them not shown here:"
    if width is not None:
        problems = [shorten(one, width - _INDENT) for one in problems]
    return [Text(head, style="bold red"), *(_indented(one, "red") for one in problems)]


def _indented(text: str, style: str = "") -> RenderableType:
    return Padding(Text(text, style=style), (0, 0, 0, _INDENT), expand=False)


def _labelled(label: str, text: Text) -> RenderableType:
    """A label and what belongs to it; long text is wrapped beside the label."""
    grid = Table.grid(padding=0)
    grid.add_column(width=_LABEL_COLUMNS, no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(label, style="bold"), text)
    return grid


def facts(status: Status, *, is_short: bool) -> list[tuple[str, Text]]:
    """Labels, and what is so."""
    daemon = status.daemon
    found = [("daemon", _daemon(daemon))]
    if daemon.quotes and daemon.trade_updates:
        found.append(("streams", _streams(daemon, daemon.quotes, daemon.trade_updates)))
    found.append(("caretakers", _caretakers(status.caretakers)))
    if status.telegram is not None:
        style = "red" if status.telegram.problem else ""
        found.append(("telegram", Text(status.telegram.words, style=style)))
    if status.page is not None:
        found.append(("page", Text(status.page.words, style="red" if status.page.problem else "")))
    if daemon.is_paused:
        found.append(("paused", Text("no buys, sells go on (scripts/bot resume)", "bold yellow")))
    if held := [asset.held for asset in status.assets or () if asset.held]:
        for label, is_requested in (("held back", False), ("waiting", True)):
            rest = [one for one in held if not one.is_wrong and one.is_requested is is_requested]
            words = "; ".join(f"{one.symbol}: {one.words}" for one in rest)
            found += [(label, Text(words, style="yellow"))] if rest else []
    if left := [asset for asset in status.assets or () if _is_worth_a_cent(asset)]:
        words = ", ".join(f"{coins(asset.leftover)} {asset.symbol}" for asset in left)
        found.append(("left over", Text(f"{words}: of earlier cycles, sold with the next")))
    if status.assets is not None:
        found.append(("profit", _profit(status.assets, status.removed, is_short=is_short)))
    else:
        found.append(("assets", Text("unknown: the database cannot be read", style="red")))
    found.append(("account", Text(account_words(status.account))))
    if status.buy_limits or not is_short:
        found.append(("buy limits", buy_limit_words(status)))
    return found


def _is_worth_a_cent(asset: AssetStatus) -> bool:
    return asset.leftover > 0 and (asset.bid is None or asset.leftover * asset.bid >= _CENT)


def _daemon(daemon: DaemonStatus) -> Text:
    if daemon.pid is None:
        style = "yellow" if daemon.is_stopped_on_purpose else "bold red"
        word = "stopped on purpose" if daemon.is_stopped_on_purpose else "not running"
        more = f"  {daemon.reason}" if daemon.verdict is Verdict.WAIT else ""
        return Text.assemble((word, style), more)
    words = {
        Verdict.WELL: ("trading", "bold green"),
        Verdict.STARTING: ("starting", "yellow"),
        Verdict.RESTART: ("not working", "bold red"),
        Verdict.STALLED: (f"{daemon.state}, held back", "bold red"),
    }
    word, style = words.get(daemon.verdict, (daemon.state or "not well", "bold yellow"))
    beat = NOTHING if daemon.beat_seconds is None else f"{span(daemon.beat_seconds)} ago"
    text = Text.assemble((word, style))
    text.append(f"  PID {daemon.pid}, up {span(daemon.uptime_seconds)}, heartbeat {beat}")
    said = daemon.is_held_back  # on top, with its cure
    if daemon.verdict not in (Verdict.WELL, Verdict.STARTING, Verdict.STALLED) and not said:
        text.append(f"  {daemon.reason}", style)
    return text


def _streams(daemon: DaemonStatus, quotes: StreamStatus, updates: StreamStatus) -> Text:
    return Text.assemble(
        "quotes ",
        _stream(quotes, bool(daemon.symbols)),
        f", last {_ago(quotes.heard_seconds)}; trade updates ",
        _stream(updates, True),
        f", last message {_ago(updates.heard_seconds)}",
        f"; compared with the exchange {_ago(daemon.sweep_seconds)}",
    )


def _stream(stream: StreamStatus, is_wanted: bool) -> Text:
    if stream.is_connected:
        return Text("connected", style="green")
    if not is_wanted:
        return Text("not needed (no assets)", style="dim")
    lost = "" if stream.lost_seconds is None else f" for {span(stream.lost_seconds)}"
    return Text(f"LOST{lost}", style="bold red")


def _ago(seconds: float | None) -> str:
    return "never" if seconds is None else f"{span(seconds)} ago"


def _caretakers(caretakers: tuple[CaretakerStatus, ...]) -> Text:
    parts = []
    for one in caretakers:
        style = "red" if one.is_stale or one.has_failed else ""
        failed = ", failed" if one.has_failed else ""
        parts.append(Text(f"{one.script} {_ago(one.age_seconds)}{failed}", style=style))
    return Text("; ").join(parts)


def _profit(
    assets: tuple[AssetStatus, ...], removed: tuple[RealisedProfit, ...], *, is_short: bool
) -> Text:
    none = Decimal(0)
    today = sum((asset.realised_today_usd for asset in assets), none)
    today += sum((profit.recent_profit_usd for profit in removed), none)
    total = sum((asset.realised_usd for asset in assets), none)
    total += sum((profit.profit_usd for profit in removed), none)
    cycles_today = sum(asset.cycles_today for asset in assets)
    cycles_today += sum(profit.recent_cycles for profit in removed)
    cycles = sum(asset.cycles for asset in assets) + sum(profit.cycles for profit in removed)
    today_is_estimated = any(asset.realised_today_is_estimated for asset in assets)
    today_is_estimated |= any(profit.recent_is_estimated for profit in removed)
    total_is_estimated = any(asset.realised_is_estimated for asset in assets)
    total_is_estimated |= any(profit.is_estimated for profit in removed)
    held = [asset.unrealised_usd for asset in assets if asset.unrealised_usd is not None]
    text = Text.assemble(
        "today ",
        coloured_usd(today, is_estimated=today_is_estimated),
        f" USD in {counted(cycles_today, 'cycle')}; all time ",
        coloured_usd(total, is_estimated=total_is_estimated),
        f" USD in {counted(cycles, 'cycle')}",
    )
    if removed:
        text.append(f", {', '.join(profit.symbol for profit in removed)} (removed) counted in")
    if held:
        unrealised = coloured_usd(sum(held, none), is_estimated=True)
        text.append_text(Text.assemble("; unrealised ", unrealised, " USD"))
    if not is_short:
        text.append("  after fees, days in UTC", style="dim")
    if total_is_estimated or held:
        text.append(f"; {ESTIMATE_LEGEND}", style="dim")
    return text


def event_lines(status: Status) -> list[RenderableType]:
    if not status.events:
        return []
    lines: list[RenderableType] = [
        Text("\nOpen alerts, newest first (scripts/alerts shows their cures)", "bold")
    ]
    for event in status.events:
        about = f" {event.symbol}" if event.symbol else ""
        at = f"{event.created_at:%m-%d %H:%M}"
        lines.append(_indented(f"{event.id} {at} {event.kind}{about}: {event.reason}"))
    return lines
