"""What the bot reads over REST: orders, positions, quotes, rules, account, clock and fees.

Reads only, and decides nothing. A partial answer is an error, never a shorter list.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from domain.fee_activity import (
    FEE_ACTIVITY_TYPES,
    FILL_ACTIVITY_TYPE,
    Execution,
    FeeActivity,
)
from domain.market import AssetRules, Position, Quote
from domain.orders import ExchangeOrder, UnreadableOrder
from domain.wire import WireError, decimal_from_wire, is_crypto, normalize_symbol, time_from_wire
from utils.alpaca_client_rest import get_data_client
from utils.alpaca_http import (
    ExchangeUnavailable,
    NotFound,
    UnreadableAnswer,
    parsed,
    read,
    read_list,
)
from utils.alpaca_orders import may_be_of, parse_orders, read_order_pages, refuse_unreadable
from utils.alpaca_sdk import TradingClient

ACTIVITIES_PAGE = 100
MAX_PAGES = 100
_BLOCKS = ("trading_blocked", "account_blocked", "trade_suspended_by_user")


def fetch_exchange_time(client: TradingClient) -> datetime:
    """What time it is at the exchange: the ages of its orders are counted by its own clock.

    Raises:
        ExchangeError: when nothing certain was answered.
    """
    answer = read(lambda: client.get("/clock"))
    return parsed(lambda raw: time_from_wire(raw["timestamp"], "timestamp"), answer)


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
    for _ in range(MAX_PAGES):
        page = read_list(lambda: client.get("/account/activities", dict(params)), "activities")
        fresh = [one for one in page if one.get("id") and one["id"] not in raw]
        raw.update((one["id"], one) for one in fresh)
        if len(page) < ACTIVITIES_PAGE:
            break
        if not fresh:
            raise ExchangeUnavailable("the list of activities does not end")
        params["page_token"] = page[-1]["id"]
    else:
        raise ExchangeUnavailable(f"more than {MAX_PAGES} pages of trades and fees")
    fees = (parsed(FeeActivity.from_wire, one) for one in raw.values())
    executions = (parsed(Execution.from_wire, one) for one in raw.values())
    return TradeRecords(
        fees=tuple(one for one in fees if one is not None),
        executions=tuple(one for one in executions if one is not None),
    )


def fetch_latest_quotes(symbols: Iterable[str]) -> dict[str, Quote]:
    """The newest quote of each symbol that has a usable one, in one request.

    Raises:
        ExchangeError: when nothing certain was answered.
    """
    wanted = sorted(symbols)
    found = {}
    for symbol, quote in (_read_quotes(wanted) if wanted else {}).items():
        with contextlib.suppress(WireError):  # one crossed quote is no reason to hide the others
            found[symbol] = Quote.from_wire(symbol, quote)
    return found


def fetch_all_asset_rules(client: TradingClient, *, min_cost_usd: Decimal) -> dict[str, AssetRules]:
    """What the exchange accepts for each crypto pair that it lists, in one request.

    Raises:
        ExchangeError: when nothing certain was answered.
    """
    found = {}
    for source in read_list(lambda: client.get("/assets", {"asset_class": "crypto"}), "assets"):
        with contextlib.suppress(WireError):  # a pair that is not ours to trade anyway
            rules = AssetRules.from_wire(source, min_cost_usd=min_cost_usd)
            found[rules.symbol] = rules
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The account as the exchange describes it. `blocks` names the flags that stop trading."""

    id: str
    status: str
    crypto_status: str
    blocks: tuple[str, ...]
    buying_power_usd: Decimal


def fetch_account(client: TradingClient) -> Account:
    """The account's state. Its buying power is what crypto buys can still cost: margin does not
    count, and open buys have reserved theirs.

    Raises:
        ExchangeError: CredentialsRefused when the keys are wrong.
    """
    return parsed(_parse_account, read(lambda: client.get("/account")))


def _parse_account(raw: dict[str, Any]) -> Account:
    power = raw.get("non_marginable_buying_power")
    return Account(
        id=str(raw["id"]),
        status=str(raw.get("status")),
        crypto_status=str(raw.get("crypto_status")),
        blocks=tuple(name for name in _BLOCKS if raw.get(name) is True),
        buying_power_usd=decimal_from_wire(power, "non_marginable_buying_power"),
    )


def fetch_account_id(client: TradingClient) -> str:
    """The account's id.

    Raises:
        ExchangeError: CredentialsRefused when the keys are wrong.
    """
    account = read(lambda: client.get("/account"))
    if not isinstance(account, dict) or not account.get("id"):
        raise ExchangeUnavailable("the account has no id in the exchange's answer")
    return str(account["id"])


def fetch_crypto_symbols(client: TradingClient) -> list[str]:
    """Every crypto pair that can be traded ('BTC/USD').

    Raises:
        ExchangeError: when nothing certain was answered.
    """
    query = {"asset_class": "crypto", "status": "active"}
    assets = read_list(lambda: client.get("/assets", query), "assets")
    return sorted(
        str(one["symbol"]) for one in assets if one.get("tradable") is True and one.get("symbol")
    )


def fetch_order(client: TradingClient, order_id: str) -> ExchangeOrder | None:
    """The order with this Alpaca id, or None when the exchange says that there is none.

    Raises:
        ExchangeError: when nothing certain was answered.
    """
    try:
        uuid.UUID(order_id)
    except ValueError:
        return None  # Alpaca's ids are UUIDs: such an order cannot exist there
    return _one_order(client, f"/orders/{order_id}", {})


def fetch_order_by_client_id(client: TradingClient, client_order_id: str) -> ExchangeOrder | None:
    """The order with this client_order_id, or None when the exchange says that there is none.

    Raises:
        ExchangeError: when nothing certain was answered.
    """
    return _one_order(client, "/orders:by_client_order_id", {"client_order_id": client_order_id})


def _one_order(client: TradingClient, path: str, params: dict[str, str]) -> ExchangeOrder | None:
    try:
        return parsed(ExchangeOrder.from_wire, read(lambda: client.get(path, params)))
    except NotFound:
        return None


def fetch_orders(
    client: TradingClient,
    *,
    status: str,
    after: datetime | None = None,
    on_unreadable: Callable[[UnreadableOrder], None] = refuse_unreadable,
) -> list[ExchangeOrder]:
    """Crypto orders by `status` (open, closed, all), sent after `after`, oldest first, all pages.

    Args:
        on_unreadable: called with each order that cannot be read and is therefore missing: the
            list is complete only for what that order cannot be.

    Raises:
        ExchangeError: when the list is not complete; a partial list is never returned.
    """
    return parse_orders(read_order_pages(client, status, after), on_unreadable)


def fetch_positions(
    client: TradingClient, *, on_unreadable: Callable[[str], None] | None = None
) -> dict[str, Position]:
    """Every position by symbol ('BTC/USD').

    Args:
        on_unreadable: called with the symbol of each that cannot be read and is therefore missing:
            that is not "no position". Without it such a list is an error.

    Raises:
        ExchangeError: when nothing certain was answered; never an empty dict instead.
    """
    positions = {}
    for item in read_list(lambda: client.get("/positions"), "positions"):
        if not is_crypto(item):
            continue
        try:
            position = Position.from_wire(item)
        except WireError as error:
            if on_unreadable is None:
                raise UnreadableAnswer(f"unusable answer: {error}") from error
            with contextlib.suppress(WireError):  # no crypto pair: no asset of ours
                on_unreadable(normalize_symbol(str(item.get("symbol"))))
            continue
        positions[position.symbol] = position
    return positions


def fetch_position(client: TradingClient, symbol: str) -> Position | None:
    """The position of `symbol`; None only when Alpaca itself says 404 for it.

    Raises:
        ExchangeError: when nothing certain was answered.
    """
    # With the slash Alpaca answers 404 for every symbol.
    name = normalize_symbol(symbol).replace("/", "")
    try:
        return parsed(Position.from_wire, read(lambda: client.get(f"/positions/{name}")))
    except NotFound:
        return None


def fetch_open_orders_of(client: TradingClient, symbol: str) -> list[ExchangeOrder]:
    """The open orders of one symbol.

    Raises:
        ExchangeError: when nothing certain was answered.
    """
    # Asked for without `symbols`: Alpaca's description wants BTCUSD there, users saw that only
    # BTC/USD matches, and the wrong spelling answers an empty list, which would mean "none open".
    wanted = normalize_symbol(symbol)
    pages = read_order_pages(client, status="open")
    return [parsed(ExchangeOrder.from_wire, raw) for raw in pages if may_be_of(wanted, raw)]


def fetch_asset_rules(
    client: TradingClient, symbol: str, *, min_cost_usd: Decimal
) -> AssetRules | None:
    """What the exchange accepts for `symbol`; None when it does not know the symbol.

    Raises:
        ExchangeError: when nothing certain was answered.
    """
    name = normalize_symbol(symbol).replace("/", "")
    try:
        raw = read(lambda: client.get(f"/assets/{name}"))
    except NotFound:
        return None
    return parsed(lambda source: AssetRules.from_wire(source, min_cost_usd=min_cost_usd), raw)


def fetch_latest_quote(symbol: str) -> Quote:
    """The newest quote of `symbol` over REST.

    Raises:
        ExchangeError: when there is none or nothing certain was answered.
    """
    wanted = normalize_symbol(symbol)
    quotes = _read_quotes([wanted])
    if wanted not in quotes:
        raise ExchangeUnavailable(f"no quote of {wanted} in the answer")
    return parsed(lambda raw: Quote.from_wire(wanted, raw), quotes[wanted])


def _read_quotes(symbols: list[str]) -> dict[str, Any]:
    query = {"symbols": ",".join(symbols)}
    answer = read(lambda: get_data_client().get("/crypto/us/latest/quotes", query))
    quotes = answer.get("quotes") if isinstance(answer, dict) else None
    if not isinstance(quotes, dict):
        raise ExchangeUnavailable("no quotes in the answer")
    return quotes
