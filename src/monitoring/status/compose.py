"""What a user wants to know of the bot at one moment, put together from what was read. Pure,
but for the files of caretakers and of the processes beside the daemon.

The words are status_screen.py and words.py; who reads is status.py, for the page web/.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from config import Settings
from domain.asset import DcaAsset
from domain.cycle import CycleStatus
from domain.events import EventRow
from domain.journal import JournalEntry, RealisedProfit
from domain.market import AssetRules, Quote
from domain.orders import ExchangeOrder
from domain.trading_state import TradingState
from monitoring.status.asset_status import AssetStatus, asset_status_of
from monitoring.status.buy_limit_status import (
    BuyLimitStatus,
    buy_limit_statuses,
    loss_limit_statuses,
)
from monitoring.status.caretaker_status import (
    CaretakerStatus,
    find_caretaker_problems,
    load_caretaker_statuses,
)
from monitoring.status.daemon_status import DaemonStatus, describe_changed_settings
from monitoring.status.disk_space import find_full_disk
from monitoring.status.held_back import HeldBack
from monitoring.status.page_status import PageStatus, load_page_status
from monitoring.status.telegram_status import TelegramStatus, load_telegram_status
from strategy.limits import Usage
from utils.account_value import AccountValue
from utils.formatting import cure_of_silence, describe_account, span
from utils.private_database import FOLDER, is_private_database, socket_path_for

OVERDUE_SECONDS = 10.0  # of a cooldown's end: the daemon needs one


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Everything at one moment. `assets` is None when the database cannot be read.

    `removed`: what assets earned that are not configured any more. `problems`: one line for each
    thing that is wrong. The `..._problem` fields say why a part is missing.
    """

    read_at: datetime
    money: str
    is_live: bool
    trading_host: str
    daemon: DaemonStatus
    caretakers: tuple[CaretakerStatus, ...]
    assets: tuple[AssetStatus, ...] | None
    removed: tuple[RealisedProfit, ...]
    buy_limits: tuple[BuyLimitStatus, ...]
    bought_today_usd: Decimal | None
    account: AccountValue | None
    last_fills: tuple[JournalEntry, ...]
    events: tuple[EventRow, ...]
    problems: tuple[str, ...]
    database_problem: str | None
    exchange_problem: str | None
    prices_problem: str | None
    telegram: TelegramStatus | None = None
    page: PageStatus | None = None
    disk_problem: str | None = None

    @property
    def is_well(self) -> bool:
        return not self.problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """What the database says."""

    assets: list[DcaAsset]
    states: dict[int, TradingState]
    realised: dict[str, RealisedProfit]
    events: list[EventRow]
    fills: list[JournalEntry]
    dump_pause_until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What was read. None: it is not known, and the `..._problem` says why. `foreign`: coins that
    stop a base order, by symbol. `stalled`: a stream that is silent while the exchange is not.
    """

    read_at: datetime
    daemon: DaemonStatus
    records: Records | None
    rules: Mapping[str, AssetRules]
    orders: Sequence[ExchangeOrder] | None
    usage: Usage | None
    foreign: Mapping[str, HeldBack]
    quotes: Mapping[str, Quote] | None
    account: AccountValue | None
    stalled: str | None
    database_problem: str | None
    exchange_problem: str | None
    prices_problem: str | None


def compose_status(settings: Settings, parts: Parts) -> Status:
    """The status that follows."""
    now, records, rules, daemon = parts.read_at, parts.records, parts.rules, parts.daemon
    assets = records.assets if records else []
    symbols = [asset.asset_symbol for asset in assets]
    quotes = parts.quotes
    statuses = None
    if records is not None:
        held = {one.symbol: one for one in daemon.held_back} | dict(parts.foreign)
        statuses = tuple(
            asset_status_of(
                asset,
                records.states.get(asset.id),
                rules=rules.get(asset.asset_symbol),
                quote=(quotes or {}).get(asset.asset_symbol),
                open_orders=parts.orders,
                realised=records.realised.get(asset.asset_symbol),
                held=held.get(asset.asset_symbol),
                fee_rate=settings.taker_fee_rate,
                now=now,
            )
            for asset in assets
        )
    states_now = list(records.states.values()) if records else None
    realised = records.realised if records else {}
    usage = parts.usage
    status = Status(
        read_at=now,
        money=describe_account(settings),
        is_live=settings.is_live,
        trading_host=settings.trading_host,
        daemon=daemon,
        caretakers=load_caretaker_statuses(settings, now),
        assets=statuses,
        removed=tuple(realised[symbol] for symbol in realised if symbol not in symbols),
        buy_limits=(
            *buy_limit_statuses(settings, usage, states_now, rules),
            *_loss_limits(settings, statuses, records, daemon, now),
        ),
        bought_today_usd=usage.bought_today_usd if usage else None,
        account=parts.account,
        last_fills=tuple(records.fills) if records else (),
        events=tuple(records.events) if records else (),
        problems=(),
        database_problem=parts.database_problem,
        exchange_problem=_with_cure(parts.exchange_problem, settings),
        prices_problem=(parts.prices_problem or _unpriced(statuses, quotes)) if statuses else None,
        telegram=load_telegram_status(settings),
        page=load_page_status(settings),
        disk_problem=find_full_disk(settings),
    )
    if (ended := _ended_sandbox(status, settings)) is not None:
        return replace(status, problems=tuple(filter(None, (ended, status.disk_problem))))
    return replace(status, problems=tuple(find_problems(status, parts.stalled, set(rules))))


def _ended_sandbox(status: Status, settings: Settings) -> str | None:
    """After scripts/quickstart --local --stop, or a reboot, all that is away has one cause."""
    is_ended = (
        status.daemon.pid is None
        and settings.is_local_exchange
        and (status.exchange_problem or "").startswith("no answer")
        and is_private_database(settings)
        and not socket_path_for(FOLDER).exists()
    )
    words = "the local exchange and the private database do not run: scripts/quickstart --local"
    return f"{words} goes on with both (or start them as you did before)" if is_ended else None


def find_problems(status: Status, stalled: str | None, known_symbols: set[str]) -> list[str]:
    """Every thing that is wrong, one line each, the worst first. Pure."""
    found: list[str | None] = [status.daemon.problem, stalled, status.disk_problem]
    if changed := describe_changed_settings(status.daemon.changed_settings):
        found.append(f"{changed}: scripts/bot restart")
    if status.database_problem:
        found.append(f"the database cannot be used: {status.database_problem}")
    if status.exchange_problem:
        found.append(f"the exchange cannot be asked: {status.exchange_problem}")
    if status.prices_problem:
        found.append(f"there are no prices: {status.prices_problem}")
    for asset in status.assets or ():
        held = asset.held.line if asset.held is not None and asset.held.is_wrong else None
        found += [asset.problem or held, _overdue_cooldown(asset, status)]
        if known_symbols and asset.symbol not in known_symbols and asset.problem is None:
            found.append(f"the exchange does not list {asset.symbol}: it cannot be traded")
    found += find_caretaker_problems(status.caretakers)
    found.append(status.telegram.problem if status.telegram else None)
    found.append(status.page.problem if status.page else None)
    found += [describe_alert(event, status.read_at) for event in status.events]
    return [problem for problem in found if problem]


def describe_alert(event: EventRow, read_at: datetime) -> str | None:
    """One line, while it counts as something that is wrong."""
    if not event.is_wrong_now(read_at):
        return None
    minutes = round((read_at - event.created_at).total_seconds() / 60)
    about = f" {event.symbol}" if event.symbol else ""
    return f"ERROR {minutes} min ago: {event.kind}{about}: {event.reason}"


def _overdue_cooldown(asset: AssetStatus, status: Status) -> str | None:
    """A cooldown that is over, while neither the daemon nor cooldown_manager ends it."""
    if not asset.is_enabled or asset.status is not CycleStatus.COOLDOWN or not asset.waits_until:
        return None
    over_seconds = (status.read_at - asset.waits_until).total_seconds()
    away = any(one.script == "cooldown_manager" and one.is_stale for one in status.caretakers)
    if over_seconds < OVERDUE_SECONDS or not away:
        return None
    return (
        f"{asset.symbol}: its cooldown was over {span(over_seconds)} ago, and neither the daemon"
        " nor cooldown_manager has ended it: scripts/doctor"
    )


def _loss_limits(
    settings: Settings,
    assets: Sequence[AssetStatus] | None,
    records: Records | None,
    daemon: DaemonStatus,
    now: datetime,
) -> tuple[BuyLimitStatus, ...]:
    """With the figures that stand in the lines of profit."""
    unrealised_usd = realised_usd = None
    if assets is not None and records is not None:
        none = Decimal(0)
        realised_usd = sum((one.recent_profit_usd for one in records.realised.values()), none)
        held = [asset for asset in assets if asset.coins_held > 0]
        if all(asset.bid is not None for asset in held):
            unrealised_usd = sum((asset.unrealised_usd or none for asset in held), none)
    until = records.dump_pause_until if records else None
    return loss_limit_statuses(
        settings,
        unrealised_usd=unrealised_usd,
        realised_today_usd=realised_usd,
        assets_fallen=daemon.assets_fallen,
        assets_needed=daemon.assets_needed,
        paused_until=until if until is not None and until > now else None,
    )


def _with_cure(problem: str | None, settings: Settings) -> str | None:
    """Silence has one; a refusal names its own."""
    is_silence = problem is not None and problem.startswith("no answer")
    return f"{problem}: {cure_of_silence(settings)}" if is_silence else problem


def _unpriced(assets: Sequence[AssetStatus], quotes: Mapping[str, Quote] | None) -> str | None:
    missing = [asset.symbol for asset in assets if asset.is_enabled and asset.ask is None]
    if quotes is None or not missing:
        return None
    return f"the exchange has no usable quote of {', '.join(missing)}"
