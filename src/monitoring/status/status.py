"""What a user wants to know of the bot at one moment, as one record: `StatusReader.load`.

Owns what is fetched from where, and that what is away neither hides nor delays the rest. Reads
only; the words are cli/status_screen.py, the table is cli/status_table.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TypeVar

from config import Settings
from domain.asset import DcaAsset
from domain.cycle import CycleStatus
from domain.events import EventRow
from domain.journal import JournalEntry, RealisedProfit
from domain.market import AssetRules, Quote
from domain.orders import ExchangeOrder
from domain.trading_state import TradingState
from models.asset_config import get_all_assets
from models.events import get_error_events
from models.meta import ForeignDatabase, check_schema
from models.realised_profit import get_realised_profits
from models.recent_fills import get_recent_fills
from models.trading_state import load_all_trading_states, with_leftovers
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
from monitoring.status.daemon_status import (
    DaemonStatus,
    describe_changed_settings,
    load_daemon_status,
)
from monitoring.status.disk_space import find_full_disk
from monitoring.status.held_back import HeldBack, StateKey, find_foreign_coins
from monitoring.status.stalled_stream import find_stalled_stream
from monitoring.status.telegram_status import TelegramStatus, load_telegram_status
from monitoring.status.timed_calls import Pending, TookTooLong
from strategy.limits import Usage
from trading.buy_limits import BuyLimits
from trading.dump_guard import load_pause_end
from utils.account_value import AccountValue, fetch_account_value
from utils.alpaca_client_rest import ExchangeError, get_trading_client
from utils.alpaca_orders import pass_over_unreadable
from utils.alpaca_queries import fetch_all_asset_rules, fetch_latest_quotes, fetch_orders
from utils.db_utils import DatabaseError, thread_connection
from utils.formatting import cure_of_silence, describe_account, span

T = TypeVar("T")

ANSWER_SECONDS = 8.0
RULES_KEPT_SECONDS = 3600.0
EVENTS_SHOWN = 5
FILLS_SHOWN = 5
OVERDUE_SECONDS = 10.0  # of a cooldown's end: the daemon needs one
EVENTS_SECONDS = 24 * 3600.0


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
    disk_problem: str | None = None

    @property
    def is_well(self) -> bool:
        return not self.problems


@dataclass(frozen=True, slots=True, kw_only=True)
class _Records:
    """What the database says."""

    assets: list[DcaAsset]
    states: dict[int, TradingState]
    realised: dict[str, RealisedProfit]
    events: list[EventRow]
    fills: list[JournalEntry]
    dump_pause_until: datetime | None


class StatusReader:
    """Loads a status as often as asked; keeps the exchange's rules of the assets in between."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rules: dict[str, AssetRules] = {}
        self._rules_at = float("-inf")
        self._foreign_coins: set[StateKey] = set()

    def load(self) -> Status:
        """The status now. Raises nothing for what is away: the record says so.

        At most one request each for the open orders, the account, all quotes, the rules, and the
        positions, where a base order waits and the daemon reports no coins that stop it.
        """
        settings = self._settings
        orders_work = _start(self._fetch_orders_and_rules)
        account_work = _start(lambda: fetch_account_value(get_trading_client()))
        records_work = _start(lambda: _read_records(settings))
        daemon = load_daemon_status(settings)
        records, database_problem = _outcome_of(records_work)
        orders, exchange_problem = _outcome_of(orders_work)
        assets = records.assets if records else []
        symbols = [asset.asset_symbol for asset in assets]
        known = [symbol for symbol in symbols if not self._rules or symbol in self._rules]
        quotes_work = _start(lambda: fetch_latest_quotes(known))
        usage, foreign = None, None
        if records is not None and orders is not None:
            states = records.states.values()
            foreign_work = _start(lambda: self._find_foreign_coins(states, daemon))
            usage_work = _start(lambda: self._load_usage(orders))
            usage, usage_problem = _outcome_of(usage_work)
            foreign, positions_problem = _outcome_of(foreign_work)
            database_problem = database_problem or usage_problem
            exchange_problem = exchange_problem or positions_problem
        quotes, prices_problem = _outcome_of(quotes_work)
        account, _ = _outcome_of(account_work)  # what is wrong, the orders' request says
        # The heartbeat is read after the quotes: a quote that the exchange had must be in it.
        stalled = find_stalled_stream(settings, daemon, quotes or {})
        now = datetime.now(UTC)
        statuses = None
        if records is not None:
            held = {held.symbol: held for held in daemon.held_back} | (foreign or {})
            statuses = tuple(
                asset_status_of(
                    asset,
                    records.states.get(asset.id),
                    rules=self._rules.get(asset.asset_symbol),
                    quote=(quotes or {}).get(asset.asset_symbol),
                    open_orders=orders,
                    realised=records.realised.get(asset.asset_symbol),
                    held=held.get(asset.asset_symbol),
                    fee_rate=settings.taker_fee_rate,
                    now=now,
                )
                for asset in assets
            )
        states_now = list(records.states.values()) if records else None
        realised = records.realised if records else {}
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
                *buy_limit_statuses(settings, usage, states_now, self._rules),
                *_loss_limits(settings, statuses, records, daemon, now),
            ),
            bought_today_usd=usage.bought_today_usd if usage else None,
            account=account,
            last_fills=tuple(records.fills) if records else (),
            events=tuple(records.events) if records else (),
            problems=(),
            database_problem=database_problem,
            exchange_problem=_with_cure(exchange_problem, settings),
            prices_problem=(prices_problem or _unpriced(statuses, quotes)) if statuses else None,
            telegram=load_telegram_status(settings),
            disk_problem=find_full_disk(settings),
        )
        return replace(status, problems=tuple(find_problems(status, stalled, set(self._rules))))

    def _fetch_orders_and_rules(self) -> list[ExchangeOrder]:
        client = get_trading_client()
        orders = fetch_orders(client, status="open", on_unreadable=pass_over_unreadable)
        if time.monotonic() - self._rules_at > RULES_KEPT_SECONDS:
            min_cost_usd = self._settings.minimum_order_usd
            self._rules = fetch_all_asset_rules(client, min_cost_usd=min_cost_usd)
            self._rules_at = time.monotonic()
        return orders

    def _find_foreign_coins(
        self, states: Iterable[TradingState], daemon: DaemonStatus
    ) -> dict[str, HeldBack]:
        fee_rate, confirmed = self._settings.taker_fee_rate, self._foreign_coins
        return find_foreign_coins(states, daemon.held_back, self._rules, fee_rate, confirmed)

    def _load_usage(self, orders: Sequence[ExchangeOrder]) -> Usage:
        limits = BuyLimits(self._settings, get_trading_client(), rules_of=self._rules.get)
        return limits.load_usage(orders)


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
    for event in status.events:
        age_seconds = (status.read_at - event.created_at).total_seconds()
        if event.is_wrong_now(status.read_at):
            minutes, about = round(age_seconds / 60), f" {event.symbol}" if event.symbol else ""
            found.append(f"ERROR {minutes} min ago: {event.kind}{about}: {event.reason}")
    return [problem for problem in found if problem]


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


def _read_records(settings: Settings) -> _Records:
    """Everything from the database, on this thread's own connection."""
    connection = thread_connection()
    check_schema(connection)
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    states = with_leftovers(connection, load_all_trading_states(connection))
    return _Records(
        assets=get_all_assets(connection),
        states={state.asset.id: state for state in states},
        realised=get_realised_profits(connection, midnight),
        events=get_error_events(connection, EVENTS_SECONDS, EVENTS_SHOWN),
        fills=get_recent_fills(connection, FILLS_SHOWN),
        dump_pause_until=load_pause_end(connection, settings),
    )


def _loss_limits(
    settings: Settings,
    assets: Sequence[AssetStatus] | None,
    records: _Records | None,
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


def _start(work: Callable[[], T]) -> Pending[T]:
    return Pending(work, seconds=ANSWER_SECONDS)


def _outcome_of(pending: Pending[T]) -> tuple[T | None, str | None]:
    """The result, or why there is none in one line."""
    try:
        return pending.result(), None
    except (ExchangeError, DatabaseError, ForeignDatabase, TookTooLong) as error:
        return None, str(error).removeprefix("database: ")


def _with_cure(problem: str | None, settings: Settings) -> str | None:
    """Silence has one; a refusal names its own."""
    is_silence = problem is not None and problem.startswith("no answer")
    return f"{problem}: {cure_of_silence(settings)}" if is_silence else problem


def _unpriced(assets: Sequence[AssetStatus], quotes: dict[str, Quote] | None) -> str | None:
    missing = [asset.symbol for asset in assets if asset.is_enabled and asset.ask is None]
    if quotes is None or not missing:
        return None
    return f"the exchange has no usable quote of {', '.join(missing)}"
