"""The status for somebody who looks every two seconds, for as long as somebody looks.

`StatusReader` reads everything each time, which a screen that is drawn once can afford. Here what
did not change is not read again: of the database one word for each asset and the ends of three
tables; of the exchange one request for all prices, and the others seldom. Owns what is kept, and
how long. Of one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TypeVar

from mysql.connector.abstracts import MySQLConnectionAbstract

from config import Settings
from domain.asset import DcaAsset
from domain.cycle import CycleStatus
from domain.events import EventRow
from domain.journal import JournalEntry, RealisedProfit
from domain.market import AssetRules, Quote
from domain.orders import ExchangeOrder
from domain.trading_state import TradingState
from models.asset_config import get_all_assets
from models.current_state import Newest, load_newest
from models.events import get_error_events
from models.meta import ForeignDatabase, check_schema
from models.order_journal import load_leftovers
from models.realised_profit import get_realised_profits
from models.recent_fills import get_recent_fills
from models.trading_state import load_fingerprints, load_trading_states
from monitoring.status.background import Background, Cell
from monitoring.status.compose import Parts, Records, Status, compose_status
from monitoring.status.daemon_status import DaemonStatus, load_daemon_status
from monitoring.status.held_back import HeldBack, StateKey, find_foreign_coins
from monitoring.status.stalled_stream import find_stalled_stream
from monitoring.status.status import EVENTS_SECONDS, EVENTS_SHOWN, FILLS_SHOWN
from trading.buy_limits import BuyLimits, Usage
from trading.dump_guard import load_pause_end
from utils.account_value import AccountValue, fetch_account_value
from utils.alpaca_client_rest import ExchangeError, get_trading_client
from utils.alpaca_orders import pass_over_unreadable
from utils.alpaca_queries import fetch_all_asset_rules, fetch_latest_quotes, fetch_orders
from utils.db_utils import DatabaseError, thread_connection

T = TypeVar("T")

PRICES_SECONDS = 1.9
ORDERS_SECONDS = 60.0  # and when a cycle waits for one that is not known
ACCOUNT_SECONDS = 60.0
RULES_SECONDS = 3600.0
RECORDS_SECONDS = 60.0  # what changes without a row of its own: fees, edits by hand, ages
NEWS_SECONDS = 4.0
PAUSE_SECONDS = 10.0
WAIT_SECONDS = 1.0  # for prices
THREADS = 4
_FAILURES = (ExchangeError, DatabaseError, ForeignDatabase)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Journal:
    """What the ended orders add up to."""

    realised: dict[str, RealisedProfit]
    month_usd: Decimal
    leftovers: dict[int, Decimal]
    fills: list[JournalEntry]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """The database at one moment; `key` differs when any of it does."""

    records: Records
    month_usd: Decimal
    key: object


class KeptStatusReader:
    """Loads a status as often as asked."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._threads = ThreadPoolExecutor(THREADS, "status")
        self._foreign_coins: set[StateKey] = set()
        self._daemon: DaemonStatus | None = None
        self._symbols: tuple[str, ...] = ()
        self._states: dict[str, TradingState] = {}
        self._fingerprints: dict[str, str] = {}
        self._assets: Cell[list[DcaAsset]] = Cell()
        self._journal: Cell[_Journal] = Cell()
        self._events: Cell[list[EventRow]] = Cell()
        self._pause_end: Cell[datetime | None] = Cell()
        self._usage: Cell[Usage] = Cell()
        self._orders_key: object = None
        self._minute = float("-inf")
        self._rules = self._ask(self._fetch_rules, RULES_SECONDS, 2 * RULES_SECONDS)
        self._orders = self._ask(self._fetch_orders, ORDERS_SECONDS, 2 * ORDERS_SECONDS)
        self._account = self._ask(self._fetch_account, ACCOUNT_SECONDS, 5 * ACCOUNT_SECONDS)
        self._quotes = self._ask(self._fetch_quotes, PRICES_SECONDS, 15.0)
        self._foreign = self._ask(self._find_foreign, ORDERS_SECONDS, 2 * ORDERS_SECONDS)
        self._stalled = self._ask(self._find_stalled, PRICES_SECONDS, 15.0)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def load(self) -> tuple[Status, Decimal | None]:
        """The status now, and what was realised since the first of the month (None: not known).
        Raises nothing for what is away: the record says so.
        """
        settings = self._settings
        daemon = self._daemon = load_daemon_status(settings)
        read, usage, database_problem = None, None, None
        is_first = self._account.last is None
        rules = self._rules.get(wait_seconds=2 * WAIT_SECONDS) or {}
        try:
            read = self._read()
            orders = self._get_orders()
            usage = None if orders is None else self._find_usage(read, orders)
        except (DatabaseError, ForeignDatabase) as error:
            orders = self._orders.last
            database_problem = str(error).removeprefix("database: ")
        quotes = self._quotes.get(wait_seconds=WAIT_SECONDS) if self._symbols else {}
        foreign = self._foreign.get(wait_seconds=0.0) if self._states and rules else None
        parts = Parts(
            read_at=datetime.now(UTC),
            daemon=daemon,
            records=None if read is None else read.records,
            rules=rules,
            orders=orders,
            usage=usage,
            foreign=foreign or {},
            quotes=quotes,
            account=self._account.get(wait_seconds=WAIT_SECONDS if is_first else 0.0),
            stalled=self._stalled.get(wait_seconds=0.1) if quotes else None,
            database_problem=database_problem,
            exchange_problem=self._orders.problem or self._rules.problem,
            prices_problem=self._quotes.problem,
        )
        return compose_status(settings, parts), None if read is None else read.month_usd

    @property
    def account(self) -> AccountValue | None:
        """As it was last known; asks nothing."""
        return self._account.last

    def market(self, symbol: str) -> tuple[Quote | None, AssetRules | None]:
        """The last price and the rules of an asset, as far as they are known; asks nothing."""
        return (self._quotes.last or {}).get(symbol), (self._rules.last or {}).get(symbol)

    # The exchange, in threads of its own

    def _ask(self, fetch: Callable[[], T], every: float, kept: float) -> Background[T]:
        return Background(fetch, self._threads, _FAILURES, every_seconds=every, kept_seconds=kept)

    def _fetch_rules(self) -> dict[str, AssetRules]:
        min_cost_usd = self._settings.minimum_order_usd
        return fetch_all_asset_rules(get_trading_client(), min_cost_usd=min_cost_usd)

    def _fetch_orders(self) -> list[ExchangeOrder]:
        client = get_trading_client()
        return fetch_orders(client, status="open", on_unreadable=pass_over_unreadable)

    def _fetch_account(self) -> AccountValue | None:
        return fetch_account_value(get_trading_client())

    def _fetch_quotes(self) -> dict[str, Quote]:
        known = self._rules.last
        return fetch_latest_quotes(one for one in self._symbols if not known or one in known)

    def _find_foreign(self) -> dict[str, HeldBack]:
        daemon, rules = self._daemon, self._rules.last or {}
        reported = () if daemon is None else daemon.held_back
        fee_rate = self._settings.taker_fee_rate
        states = list(self._states.values())
        return find_foreign_coins(states, reported, rules, fee_rate, self._foreign_coins)

    def _find_stalled(self) -> str | None:
        if self._daemon is None:
            return None
        return find_stalled_stream(self._settings, self._daemon, self._quotes.last or {})

    def _get_orders(self) -> list[ExchangeOrder] | None:
        """Asked for anew as soon as a cycle has sent one, or one has ended."""
        cycles = [state.cycle for state in self._states.values()]
        key = [(one.id, one.order_seq, one.latest_order_id) for one in cycles]
        is_news = key != self._orders_key
        within = NEWS_SECONDS if is_news else None
        before = self._orders.answered_at
        orders = self._orders.get(wait_seconds=WAIT_SECONDS, within_seconds=within)
        if self._orders.answered_at != before:
            self._orders_key = key
        return orders

    # The database

    def _read(self) -> _Read:
        """Raises DatabaseError, ForeignDatabase."""
        connection, now = thread_connection(), datetime.now(UTC)
        day = now.replace(hour=0, minute=0, second=0, microsecond=0)
        minute = time.monotonic() // RECORDS_SECONDS
        newest = self._newest(minute)
        fingerprints = load_fingerprints(connection)
        changed = [one for one, word in fingerprints.items() if word != self._fingerprints.get(one)]
        fresh = {one.asset.asset_symbol: one for one in load_trading_states(connection, changed)}
        known = self._states | fresh
        self._states = {symbol: known[symbol] for symbol in fingerprints if symbol in known}
        self._fingerprints = fingerprints
        assets = self._assets.get((newest.assets, minute), lambda: get_all_assets(connection))
        self._symbols = tuple(asset.asset_symbol for asset in assets)
        journal = self._journal.get(
            (newest.order_id, day, minute, list(map(_is_over, self._states.values()))),
            lambda: _read_journal(connection, day),
        )
        none = Decimal(0)
        records = Records(
            assets=assets,
            states={
                one.asset.id: replace(one, leftover=journal.leftovers.get(one.asset.id, none))
                for one in self._states.values()
            },
            realised=journal.realised,
            events=self._events.get(
                (newest.event_id, minute),
                lambda: get_error_events(connection, EVENTS_SECONDS, EVENTS_SHOWN),
            ),
            fills=journal.fills,
            dump_pause_until=self._pause_end.get(
                (newest.event_id, time.monotonic() // PAUSE_SECONDS),
                lambda: load_pause_end(connection, self._settings),
            ),
        )
        key = (newest, tuple(fingerprints.items()), minute)
        return _Read(records=records, month_usd=journal.month_usd, key=key)

    def _newest(self, minute: float) -> Newest:
        if minute != self._minute:
            check_schema(thread_connection())
            self._minute = minute
        return load_newest(thread_connection())

    def _find_usage(self, read: _Read, orders: Sequence[ExchangeOrder]) -> Usage:
        """What is used of the buy limits."""
        limits = BuyLimits(
            self._settings, get_trading_client(), rules_of=(self._rules.last or {}).get
        )
        key = read.key, self._orders.answered_at
        return self._usage.get(key, lambda: limits.load_usage(orders))


def _is_over(state: TradingState) -> tuple[int, CycleStatus]:
    """What decides which cycles count as complete: the newest one of each asset."""
    return state.cycle.id, state.cycle.status


def _read_journal(connection: MySQLConnectionAbstract, day: datetime) -> _Journal:
    """The ends of all cycles: it takes longer as the journal grows."""
    month = get_realised_profits(connection, day.replace(day=1))
    return _Journal(
        realised=get_realised_profits(connection, day),
        month_usd=sum((one.recent_profit_usd for one in month.values()), Decimal(0)),
        leftovers=load_leftovers(connection),
        fills=get_recent_fills(connection, FILLS_SHOWN),
    )
