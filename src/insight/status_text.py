"""How a status looks: one screen of lines and one table. Reads and decides nothing.

On a narrow terminal each asset takes two lines, so that every figure stays readable.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from caretakers.watchdog_plan import Verdict
from insight.asset_look import AssetLook, OrderLook
from insight.caretaker_look import CaretakerLook
from insight.daemon_look import DaemonLook, StreamLook
from insight.status import Status
from insight.wording import NOTHING, coins, percent, signed_usd, span
from models.cycle_data import CycleStatus
from steering.asset_text import number, plain, price

WIDE_COLUMNS = 112
_LABEL_COLUMNS = 12
_STATUS_STYLES = {
    CycleStatus.WATCHING: "cyan",
    CycleStatus.BUYING: "yellow",
    CycleStatus.SELLING: "magenta",
    CycleStatus.COOLDOWN: "dim",
    CycleStatus.ERROR: "bold red",
    CycleStatus.COMPLETE: "dim",
}


def status_json(status: Status) -> dict[str, Any]:
    """Everything, money and coins as exact text."""
    shown: dict[str, Any] = {"is_well": status.is_well, **plain(asdict(status))}
    for look, raw in zip(status.caretakers, shown["caretakers"], strict=True):
        raw["is_stale"] = look.is_stale
    return shown


def render(status: Status, console: Console) -> RenderableType:
    """The screen for this console's width. What is wrong stands on top: it is never cut off."""
    parts: list[RenderableType] = [_headline(status), *_verdict(status), Text()]
    parts += [_labelled(label, text) for label, text in _facts(status)]
    if status.assets:
        parts += [Text(), _assets_table(status, console)]
    elif status.assets is not None:
        parts.append(_labelled("assets", Text("none yet: scripts/assets add BTC/USD")))
    parts += _event_lines(status)
    return Group(*parts)


def _headline(status: Status) -> Text:
    text = Text("DCA bot  ", style="bold")
    text.append(status.money, style="bold white on red" if status.is_live else "bold green")
    text.append(
        f"  {status.trading_host}  {status.looked_at:%Y-%m-%d %H:%M:%S} UTC", "not bold dim"
    )
    return text


def _verdict(status: Status) -> list[RenderableType]:
    if status.is_well:
        stopped = status.daemon.is_stopped_on_purpose
        words = "nothing is wrong: it is stopped, as you wished" if stopped else "all is well"
        return [Text(words, style="yellow" if stopped else "green")]
    count = len(status.problems)
    head = "1 thing is wrong:" if count == 1 else f"{count} things are wrong:"
    lines = [
        Padding(Text(problem, style="red"), (0, 0, 0, 2), expand=False)
        for problem in status.problems
    ]
    return [Text(head, style="bold red"), *lines]


def _labelled(label: str, text: Text) -> RenderableType:
    """A label and what belongs to it; long text is wrapped beside the label."""
    grid = Table.grid(padding=0)
    grid.add_column(width=_LABEL_COLUMNS, no_wrap=True)
    grid.add_column()
    grid.add_row(Text(label, style="bold"), text)
    return grid


def _facts(status: Status) -> list[tuple[str, Text]]:
    daemon = status.daemon
    facts = [("daemon", _daemon(daemon))]
    if daemon.quotes and daemon.trade_updates:
        facts.append(("streams", _streams(daemon, daemon.quotes, daemon.trade_updates)))
    facts.append(("caretakers", _caretakers(status.caretakers)))
    if daemon.is_paused:
        facts.append(("paused", Text("no buys, sells go on (scripts/bot resume)", "bold yellow")))
    if status.assets is not None:
        facts.append(("profit", _profit(status.assets)))
    else:
        facts.append(("assets", Text("unknown: the database cannot be asked", style="red")))
    facts.append(("brakes", _brakes(status)))
    return facts


def _daemon(daemon: DaemonLook) -> Text:
    if daemon.pid is None:
        style = "yellow" if daemon.is_stopped_on_purpose else "bold red"
        word = "stopped on purpose" if daemon.is_stopped_on_purpose else "not running"
        more = f"  {daemon.reason}" if daemon.verdict is Verdict.WAIT else ""
        return Text.assemble((word, style), more)
    words = {
        Verdict.WELL: ("trading", "bold green"),
        Verdict.STARTING: ("starting", "yellow"),
        Verdict.RESTART: ("not working", "bold red"),
    }
    word, style = words.get(daemon.verdict, (daemon.state or "unwell", "bold yellow"))
    beat = NOTHING if daemon.beat_seconds is None else f"{span(daemon.beat_seconds)} ago"
    text = Text.assemble((word, style))
    text.append(f"  PID {daemon.pid}, up {span(daemon.uptime_seconds)}, heartbeat {beat}")
    if daemon.verdict not in (Verdict.WELL, Verdict.STARTING):
        text.append(f"  {daemon.reason}", style)
    return text


def _streams(daemon: DaemonLook, quotes: StreamLook, updates: StreamLook) -> Text:
    text = Text.assemble("quotes ", _stream(quotes, bool(daemon.symbols)))
    text.append(f", last {_ago(quotes.heard_seconds)}; trade updates ")
    text.append_text(_stream(updates, True))
    text.append(f", last word {_ago(updates.heard_seconds)}")
    text.append(f"; compared with the exchange {_ago(daemon.sweep_seconds)}")
    return text


def _stream(stream: StreamLook, is_wanted: bool) -> Text:
    if stream.is_connected:
        return Text("connected", style="green")
    if not is_wanted:
        return Text("not needed (no assets)", style="dim")
    lost = "" if stream.lost_seconds is None else f" for {span(stream.lost_seconds)}"
    return Text(f"LOST{lost}", style="bold red")


def _ago(seconds: float | None) -> str:
    return "never" if seconds is None else f"{span(seconds)} ago"


def _caretakers(looks: tuple[CaretakerLook, ...]) -> Text:
    parts = []
    for look in looks:
        style = "red" if look.is_stale or look.has_failed else ""
        failed = ", failed" if look.has_failed else ""
        parts.append(Text(f"{look.script} {_ago(look.age_seconds)}{failed}", style=style))
    return Text("; ").join(parts)


def _profit(assets: tuple[AssetLook, ...]) -> Text:
    today = sum(asset.realised_today_usd for asset in assets)
    total = sum(asset.realised_usd for asset in assets)
    held = [asset.unrealised_usd for asset in assets if asset.unrealised_usd is not None]
    text = Text.assemble("today ", _usd(today), " USD in ")
    text.append(_deals(sum(asset.deals_today for asset in assets)))
    text.append_text(Text.assemble("; all time ", _usd(total), " USD in "))
    text.append(_deals(sum(asset.deals for asset in assets)))
    if held:
        text.append_text(Text.assemble("; unrealised ", _usd(sum(held)), " USD"))
    text.append("  after fees, days in UTC", style="dim")
    return text


def _deals(count: int) -> str:
    return "1 deal" if count == 1 else f"{count} deals"


def _usd(value: Any) -> Text:
    if value is None:
        return Text(NOTHING, style="dim")
    style = "green" if value > 0 else "red" if value < 0 else "dim"
    return Text(signed_usd(value), style=style)


def _brakes(status: Status) -> Text:
    parts = []
    for brake in status.brakes:
        used = "?" if brake.used is None else number(brake.used, 0 if "CYCLES" in brake.name else 2)
        full = ": holds" if brake.holds else ""
        style = "bold yellow" if brake.holds else ""
        parts.append(Text(f"{brake.name} {used} of {number(brake.limit)}{full}", style=style))
    if not parts:
        text = Text("none set (MAX_BUY_USD_PER_DAY and others in .env)", style="dim")
        if status.bought_today_usd is not None:
            text.append(f"; bought today for {number(status.bought_today_usd, 2)} USD")
        return text
    return Text("; ").join(parts)


def _assets_table(status: Status, console: Console) -> Table:
    is_wide = console.width >= WIDE_COLUMNS
    table = Table(
        box=box.SIMPLE_HEAD if console.is_terminal else None,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0) if is_wide else 0,
        header_style="bold",
        expand=console.is_terminal and not is_wide,
    )
    (_fill_wide if is_wide else _fill_narrow)(table, status)
    return table


def _fill_wide(table: Table, status: Status) -> None:
    table.add_column("asset", no_wrap=True)
    table.add_column("status", no_wrap=True)
    for title in ("coins", "average", "bid", "buys at", "sells at", "unrealised"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("open order", no_wrap=True)
    table.add_column("today\nall time", justify="right", no_wrap=True)
    for asset in status.assets or ():
        table.add_row(
            _symbol(asset),
            _state(asset, status),
            coins(asset.quantity),
            _price(asset.average_price),
            _price(asset.bid),
            _buys_at(asset),
            _sells_at(asset),
            _usd(asset.unrealised_usd),
            _order(asset),
            Text.assemble(_usd(asset.realised_today_usd), "\n", _usd(asset.realised_usd)),
        )


def _fill_narrow(table: Table, status: Status) -> None:
    table.add_column("asset\nopen order", no_wrap=True)
    table.add_column("status", no_wrap=True)
    for title in ("coins\naverage", "bid\nunreal.", "buys at", "sells at", "today\nall time"):
        table.add_column(title, justify="right", no_wrap=True)
    for asset in status.assets or ():
        order = _order(asset)
        table.add_row(
            Text.assemble(_symbol(asset), "\n", order.split("\n")[0]),
            _state(asset, status),
            f"{coins(asset.quantity)}\n{_price(asset.average_price)}",
            Text.assemble(_price(asset.bid), "\n", _usd(asset.unrealised_usd)),
            _buys_at(asset),
            _sells_at(asset),
            Text.assemble(_usd(asset.realised_today_usd), "\n", _usd(asset.realised_usd)),
        )


def _symbol(asset: AssetLook) -> Text:
    return Text(asset.symbol, style="bold" if asset.is_enabled else "dim")


def _state(asset: AssetLook, status: Status) -> Text:
    """The status, and below it what matters in this status."""
    if asset.status is None:
        return Text("no cycle", style="bold red" if asset.is_enabled else "dim")
    text = Text(asset.status.value, style=_STATUS_STYLES[asset.status])
    rests_until = asset.rests_until
    if asset.order is not None and asset.order.age_seconds is not None:
        text.append(f"\nfor {span(asset.order.age_seconds)}", style="dim")
    elif not asset.is_enabled:
        text.append("\nbuys nothing", style="dim")
    elif asset.quantity > 0:
        text.append(f"\nsafety {asset.safety_orders}/{asset.max_safety_orders}", style="dim")
    elif rests_until is not None:
        left = (rests_until - status.looked_at).total_seconds()
        text.append(f"\n{span(left)} left" if left > 0 else "\nis over", style="dim")
    return text


def _price(value: Any) -> str:
    return NOTHING if value is None else price(value)


def _buys_at(asset: AssetLook) -> Text:
    """The price of the next buy, and how far the ask is from it."""
    if asset.buys_at_any_price:
        return Text("at once" if asset.rests_until is None else "later", style="dim")
    if asset.buy_price is None:
        return Text(NOTHING, style="dim")
    is_due = asset.ask is not None and asset.ask <= asset.buy_price
    far = "due" if is_due else percent(asset.buy_distance_percent)
    return Text.assemble(price(asset.buy_price), "\n", (far, "yellow"))


def _sells_at(asset: AssetLook) -> Text:
    """The take profit's price, and how far the bid is from it."""
    if asset.sell_price is None:
        return Text(NOTHING, style="dim")
    is_due = asset.bid is not None and asset.bid >= asset.sell_price
    far = "due" if is_due else percent(asset.sell_distance_percent)
    return Text.assemble(price(asset.sell_price), "\n", (far, "green"))


def _order(asset: AssetLook) -> Text:
    order = asset.order
    if order is None:
        return Text("not seen" if asset.order_is_unseen else NOTHING, style="dim")
    text = Text(f"{order.side} {_at(order)}", style=_STATUS_STYLES[_status_of(order)])
    if order.filled_qty > 0 and order.qty:
        text.append(f"\n{order.filled_qty / order.qty:.0%} filled", style="dim")
    return text


def _at(order: OrderLook) -> str:
    return "market" if order.limit_price is None else price(order.limit_price)


def _status_of(order: OrderLook) -> CycleStatus:
    return CycleStatus.BUYING if order.side == "buy" else CycleStatus.SELLING


def _event_lines(status: Status) -> list[RenderableType]:
    if not status.events:
        return []
    head = Text("\nERROR events of the last day, newest first", style="bold")
    lines: list[RenderableType] = [head]
    for event in status.events:
        about = f" {event.symbol}" if event.symbol else ""
        text = f"{event.created_at:%m-%d %H:%M} {event.kind}{about}: {event.reason}"
        lines.append(Padding(Text(text), (0, 0, 0, 2), expand=False))
    return lines
