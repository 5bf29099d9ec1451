"""What several checks of the doctor need to know, fetched once and within a bound. Reads only.

A fact that cannot be fetched fails the one check it belongs to; the others are "not checked".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from config import Settings
from domain.asset import DcaAsset
from domain.market import AssetRules, Quote
from domain.orders import ExchangeOrder
from domain.trading_state import TradingState
from models.asset_config import get_all_assets
from models.meta import ForeignDatabase, check_schema, get_meta
from models.trading_state import load_all_trading_states
from monitoring.doctor.findings import NotChecked
from monitoring.status.timed_calls import Pending, TookTooLong
from utils.alpaca_client_rest import CredentialsRefused, ExchangeError, get_trading_client
from utils.alpaca_orders import pass_over_unreadable
from utils.alpaca_queries import (
    Account,
    fetch_account,
    fetch_all_asset_rules,
    fetch_latest_quotes,
    fetch_orders,
)
from utils.db_utils import DatabaseError, execute_query, thread_connection

ANSWER_SECONDS = 12.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFacts:
    """What the server and our tables say. `records` is None where `schema_problem` is not."""

    version: str
    global_time_zone: str
    session_is_utc: bool
    is_read_only: bool
    clock_ahead_seconds: float
    schema_problem: str | None
    account_id: str | None
    records: Records | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    assets: list[DcaAsset]
    states: dict[int, TradingState]


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """What is tradable, at which price, and what is open."""

    rules: dict[str, AssetRules]
    quotes: dict[str, Quote]
    open_orders: list[ExchangeOrder]


class Facts:
    """All requests start when this is made. `account`, `database` and `market` are for the checks
    that report their trouble, what is `known_...` for all other checks.

    Args:
        problems: what is wrong with `settings`, which may be incomplete then.
        are_settings_known: False when `.env` could not be read: `settings` are the defaults then,
            and nothing may be concluded from them or sent with them.
    """

    def __init__(
        self, settings: Settings, problems: list[str], *, are_settings_known: bool = True
    ) -> None:
        self.settings = settings
        self.problems = problems
        self.are_settings_known = are_settings_known
        # Their results raise ExchangeError (the database: DatabaseError), TookTooLong, NotChecked.
        self.account = Pending(self._ask_account, seconds=ANSWER_SECONDS)
        self.database = Pending(self._ask_database, seconds=ANSWER_SECONDS)
        self.market = Pending(self._ask_market, seconds=ANSWER_SECONDS + 2)

    def known_account(self) -> Account:
        """Raises NotChecked."""
        return _known(self.account, "the exchange gave no answer (see account)")

    def known_database(self) -> DatabaseFacts:
        """Raises NotChecked."""
        return _known(self.database, "the database gave no answer (see database)")

    def known_records(self) -> Records:
        """The configuration and the cycles. Raises NotChecked."""
        records = self.known_database().records
        if records is None:
            raise NotChecked("the tables are not of this version (see schema)")
        return records

    def _need(self, names: str) -> None:
        """Wrong settings could reach a foreign server: nothing is sent with them."""
        if not self.are_settings_known or any(names in problem for problem in self.problems):
            raise NotChecked("its settings are wrong (see settings)")

    def _ask_account(self) -> Account:
        self._need("ALPACA_")
        return fetch_account(get_trading_client())

    def _ask_market(self) -> Market:
        self.known_account()
        records = self.known_records()
        client = get_trading_client()
        rules = fetch_all_asset_rules(client, min_cost_usd=self.settings.minimum_order_usd)
        symbols = [a.asset_symbol for a in records.assets if a.asset_symbol in rules]
        return Market(
            rules=rules,
            quotes=fetch_latest_quotes(symbols),
            open_orders=fetch_orders(client, status="open", on_unreadable=pass_over_unreadable),
        )

    def _ask_database(self) -> DatabaseFacts:
        self._need("DB_")
        connection = thread_connection()
        asked_at = datetime.now(UTC)
        row = execute_query(
            "SELECT VERSION() AS version, @@global.time_zone AS global_time_zone,"
            " @@global.read_only AS is_read_only, UTC_TIMESTAMP(6) AS now,"
            " TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), NOW()) AS offset_seconds",
            fetch_one=True,
            db_conn=connection,
        )
        took = datetime.now(UTC) - asked_at
        ahead = row["now"].replace(tzinfo=UTC) - (asked_at + took / 2)
        schema_problem, account_id, records = None, None, None
        try:
            check_schema(connection)
        except ForeignDatabase as error:
            schema_problem = str(error)
        else:
            account_id = get_meta(connection, "alpaca_account_id")
            records = Records(
                assets=get_all_assets(connection),
                states={state.asset.id: state for state in load_all_trading_states(connection)},
            )
        return DatabaseFacts(
            version=str(row["version"]),
            global_time_zone=str(row["global_time_zone"]),
            session_is_utc=row["offset_seconds"] == 0,
            is_read_only=bool(row["is_read_only"]),
            clock_ahead_seconds=ahead.total_seconds(),
            schema_problem=schema_problem,
            account_id=account_id,
            records=records,
        )


def _known(pending: Pending[T], why: str) -> T:
    try:
        return pending.result()
    except CredentialsRefused:
        raise NotChecked("the exchange refuses the keys (see account)") from None
    except (ExchangeError, DatabaseError, TookTooLong, NotChecked):
        raise NotChecked(why) from None
