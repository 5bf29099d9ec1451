"""What a user wants to know of the bot at one moment, read at once: `StatusReader.load`.

Owns what is fetched from where, and that what is away neither hides nor delays the rest. Reads
only; what it comes to is compose.py, the words are cli/status_screen.py and cli/status_table.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from config import Settings
from domain.market import AssetRules
from domain.orders import ExchangeOrder
from domain.trading_state import TradingState
from models.asset_config import get_all_assets
from models.events import get_error_events
from models.meta import ForeignDatabase, check_schema
from models.realised_profit import get_realised_profits
from models.recent_fills import get_recent_fills
from models.trading_state import load_all_trading_states, with_leftovers
from monitoring.status.compose import Parts, compose_status
from monitoring.status.compose import Records as Records
from monitoring.status.compose import Status as Status
from monitoring.status.compose import find_problems as find_problems
from monitoring.status.daemon_status import (
    DaemonStatus,
    load_daemon_status,
)
from monitoring.status.held_back import HeldBack, StateKey, find_foreign_coins
from monitoring.status.stalled_stream import find_stalled_stream
from monitoring.status.timed_calls import Pending, TookTooLong
from trading.buy_limits import BuyLimits, Usage
from trading.dump_guard import load_pause_end
from utils.account_value import fetch_account_value
from utils.alpaca_client_rest import ExchangeError, get_trading_client
from utils.alpaca_orders import pass_over_unreadable
from utils.alpaca_queries import fetch_all_asset_rules, fetch_latest_quotes, fetch_orders
from utils.db_utils import DatabaseError, thread_connection

T = TypeVar("T")

ANSWER_SECONDS = 8.0
RULES_KEPT_SECONDS = 3600.0
EVENTS_SHOWN = 5
FILLS_SHOWN = 5
OVERDUE_SECONDS = 10.0  # of a cooldown's end: the daemon needs one
EVENTS_SECONDS = 24 * 3600.0


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
        records_work = _start(lambda: read_records(settings))
        daemon = load_daemon_status(settings)
        records, database_problem = outcome_of(records_work)
        orders, exchange_problem = outcome_of(orders_work)
        assets = records.assets if records else []
        symbols = [asset.asset_symbol for asset in assets]
        known = [symbol for symbol in symbols if not self._rules or symbol in self._rules]
        quotes_work = _start(lambda: fetch_latest_quotes(known))
        usage, foreign = None, None
        if records is not None and orders is not None:
            states = records.states.values()
            foreign_work = _start(lambda: self._find_foreign_coins(states, daemon))
            usage_work = _start(lambda: self._load_usage(orders))
            usage, usage_problem = outcome_of(usage_work)
            foreign, positions_problem = outcome_of(foreign_work)
            database_problem = database_problem or usage_problem
            exchange_problem = exchange_problem or positions_problem
        quotes, prices_problem = outcome_of(quotes_work)
        account, _ = outcome_of(account_work)  # what is wrong, the orders' request says
        # The heartbeat is read after the quotes: a quote that the exchange had must be in it.
        stalled = find_stalled_stream(settings, daemon, quotes or {})
        return compose_status(
            settings,
            Parts(
                read_at=datetime.now(UTC),
                daemon=daemon,
                records=records,
                rules=self._rules,
                orders=orders,
                usage=usage,
                foreign=foreign or {},
                quotes=quotes,
                account=account,
                stalled=stalled,
                database_problem=database_problem,
                exchange_problem=exchange_problem,
                prices_problem=prices_problem,
            ),
        )

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


def read_records(settings: Settings) -> Records:
    """Everything from the database, on this thread's own connection."""
    connection = thread_connection()
    check_schema(connection)
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    states = with_leftovers(connection, load_all_trading_states(connection))
    return Records(
        assets=get_all_assets(connection),
        states={state.asset.id: state for state in states},
        realised=get_realised_profits(connection, midnight),
        events=get_error_events(connection, EVENTS_SECONDS, EVENTS_SHOWN),
        fills=get_recent_fills(connection, FILLS_SHOWN),
        dump_pause_until=load_pause_end(connection, settings),
    )


def _start(work: Callable[[], T]) -> Pending[T]:
    return Pending(work, seconds=ANSWER_SECONDS)


def outcome_of(pending: Pending[T]) -> tuple[T | None, str | None]:
    """The result, or why there is none in one line."""
    try:
        return pending.result(), None
    except (ExchangeError, DatabaseError, ForeignDatabase, TookTooLong) as error:
        return None, str(error).removeprefix("database: ")
