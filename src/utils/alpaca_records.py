"""What only the caretakers and the user's tools read over REST: the exchange's clock, the fees that
it posted, and many quotes and rules at once.

Reads only, and decides nothing; as in alpaca_client_rest a partial answer is an error, never less.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from alpaca.trading.client import TradingClient

from models.exchange import AssetRules, Quote, WireError, decimal_from_wire, time_from_wire
from models.fee_activity import (
    FEE_ACTIVITY_TYPES,
    FILL_ACTIVITY_TYPE,
    Execution,
    FeeActivity,
)
from utils.alpaca_client_rest import get_data_client
from utils.alpaca_http import ExchangeUnavailable, read

ACTIVITIES_PAGE = 100
MOST_PAGES = 100
_BLOCKS = ("trading_blocked", "account_blocked", "trade_suspended_by_user")


def fetch_exchange_time(client: TradingClient) -> datetime:
    """What time it is at the exchange: the ages of its orders are counted by its own clock.

    Raises:
        ExchangeError: when nothing certain was answered.
    """
    answer = read(lambda: client.get("/clock"))
    try:
        return time_from_wire(answer["timestamp"], "timestamp")
    except (WireError, KeyError, TypeError) as error:
        raise ExchangeUnavailable(f"unusable answer: {error}") from error


@dataclass(frozen=True, slots=True)
class TradeRecords:
    """Every fee of crypto that was posted, and every execution, since a day."""

    fees: tuple[FeeActivity, ...]
    executions: tuple[Execution, ...]


def fetch_trade_records(client: TradingClient, since: date) -> TradeRecords:
    """What the account traded and was charged from the day `since` on, all pages.

    Raises:
        ExchangeError: when the list is not complete; a partial list is never returned.
    """
    params: dict[str, Any] = {
        "activity_types": ",".join((*FEE_ACTIVITY_TYPES, FILL_ACTIVITY_TYPE)),
        # Excludes its own moment, and a fee can bear the day before: wider.
        "after": f"{since - timedelta(days=2)}T00:00:00Z",
        "direction": "asc",
        "page_size": ACTIVITIES_PAGE,
    }
    raw: dict[str, Any] = {}  # by id: pages can overlap
    for _ in range(MOST_PAGES):
        page = read(lambda: client.get("/account/activities", dict(params)))
        if not isinstance(page, list) or not all(isinstance(one, dict) for one in page):
            raise ExchangeUnavailable("the list of activities is not a list")
        fresh = [one for one in page if one.get("id") and one["id"] not in raw]
        raw.update((one["id"], one) for one in fresh)
        if len(page) < ACTIVITIES_PAGE:
            break
        if not fresh:
            raise ExchangeUnavailable("the list of activities does not end")
        params["page_token"] = page[-1]["id"]
    else:
        raise ExchangeUnavailable(f"more than {MOST_PAGES} pages of trades and fees")
    try:
        fees = [FeeActivity.from_wire(one) for one in raw.values()]
        executions = [Execution.from_wire(one) for one in raw.values()]
    except WireError as error:
        raise ExchangeUnavailable(f"unusable answer: {error}") from error
    return TradeRecords(
        fees=tuple(one for one in fees if one is not None),
        executions=tuple(one for one in executions if one is not None),
    )


def fetch_latest_quotes(symbols: Iterable[str]) -> dict[str, Quote]:
    """The newest quote of each symbol that has a usable one, in one request.

    Raises:
        ExchangeError: when nothing certain was answered.
    """
    wanted = ",".join(sorted(symbols))
    if not wanted:
        return {}
    answer = read(lambda: get_data_client().get("/crypto/us/latest/quotes", {"symbols": wanted}))
    raw = answer.get("quotes") if isinstance(answer, dict) else None
    if not isinstance(raw, dict):
        raise ExchangeUnavailable("no quotes in the answer")
    found = {}
    for symbol, quote in raw.items():
        with contextlib.suppress(WireError):  # one crossed quote is no reason to hide the others
            found[symbol] = Quote.from_wire(symbol, quote)
    return found


def fetch_all_asset_rules(client: TradingClient, *, min_cost_usd: Decimal) -> dict[str, AssetRules]:
    """What the exchange accepts for each crypto pair that it lists, in one request.

    Raises:
        ExchangeError: when nothing certain was answered.
    """
    raw = read(lambda: client.get("/assets", {"asset_class": "crypto"}))
    if not isinstance(raw, list):
        raise ExchangeUnavailable("the list of assets is not a list")
    found = {}
    for source in raw:
        with contextlib.suppress(WireError):  # a pair that is not ours to trade anyway
            rules = AssetRules.from_wire(source, min_cost_usd=min_cost_usd)
            found[rules.symbol] = rules
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The account as the exchange tells it. `blocks` names the flags that stop trading."""

    id: str
    status: str
    crypto_status: str
    blocks: tuple[str, ...]
    buying_power_usd: Decimal


def fetch_account(client: TradingClient) -> Account:
    """The account's state; buying power without margin, as crypto buys are checked.

    Raises:
        ExchangeError: CredentialsRefused when the keys are wrong.
    """
    raw = read(lambda: client.get("/account"))
    try:
        power = raw.get("non_marginable_buying_power")
        return Account(
            id=str(raw["id"]),
            status=str(raw.get("status")),
            crypto_status=str(raw.get("crypto_status")),
            blocks=tuple(name for name in _BLOCKS if raw.get(name) is True),
            buying_power_usd=decimal_from_wire(power, "non_marginable_buying_power"),
        )
    except (WireError, AttributeError, KeyError, TypeError) as error:
        raise ExchangeUnavailable(f"unusable answer: {error}") from error
