"""Alpaca's REST API as this bot uses it: the only module that submits or cancels orders. Never
decides to.

Owns: the clients, time-outs, the bounded retry of reads, and the sorting of errors into refused,
unavailable and unknown. A POST is sent once, ever: what became of it is asked for by its
client_order_id.
"""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from alpaca.data.historical.crypto import CryptoHistoricalDataClient
from alpaca.trading.client import TradingClient
from alpaca.trading.models import Order, TradeAccount
from pydantic import ValidationError

from config import Settings, get_settings
from domain.orders import ExchangeOrder, UnreadableOrder
from domain.wire import WireError, is_crypto, normalize_symbol, time_from_wire
from utils.alpaca_http import (
    CredentialsRefused,
    ExchangeError,
    ExchangeRefused,
    ExchangeUnavailable,
    OrderOutcomeUnknown,
    RateLimited,
    UnreadableAnswer,
    call_once,
    pace_requests,
    read,
)
from utils.alpaca_streams import prepare_rest_client
from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)
T = TypeVar("T")

PAGE_SIZE = 500
_CRYPTO_TIME_IN_FORCE = ("gtc", "ioc")

__all__ = [
    "CredentialsRefused",
    "ExchangeError",
    "ExchangeRefused",
    "ExchangeUnavailable",
    "OrderOutcomeUnknown",
    "RateLimited",
    "UnreadableAnswer",
    "normalize_symbol",
]

_trading_client: tuple[Settings, TradingClient] | None = None
_data_client: tuple[Settings, CryptoHistoricalDataClient] | None = None


def get_trading_client() -> TradingClient:
    """The one trading client of this process, with time-outs and without the SDK's own retries."""
    global _trading_client
    settings = get_settings()
    if _trading_client is None or _trading_client[0] is not settings:
        client = TradingClient(
            settings.alpaca_api_key,
            settings.alpaca_secret_key,
            paper=settings.alpaca_paper,
            url_override=settings.alpaca_trading_url,
        )
        prepare_rest_client(client)
        pace_requests(settings.run_dir)
        _trading_client = (settings, client)
    return _trading_client[1]


def get_data_client() -> CryptoHistoricalDataClient:
    """The one market data client of this process."""
    global _data_client
    settings = get_settings()
    if _data_client is None or _data_client[0] is not settings:
        client = CryptoHistoricalDataClient(
            settings.alpaca_api_key,
            settings.alpaca_secret_key,
            url_override=settings.alpaca_data_url,
        )
        prepare_rest_client(client)
        _data_client = (settings, client)
    return _data_client[1]


# The plan's functions
# -------------------------------------------------------------------------------------------


def get_account_info(client: TradingClient) -> TradeAccount | None:
    """The account, or None when the exchange cannot be asked now (the reason is logged).

    Raises:
        CredentialsRefused: the keys are wrong; nothing will work.
    """
    try:
        return TradeAccount(**read(lambda: client.get("/account")))
    except CredentialsRefused:
        raise
    except (ExchangeError, ValidationError, TypeError) as error:
        log_event(log, LogEvent.ACCOUNT_UNREADABLE, reason=error)
        return None


def get_latest_crypto_price(client: TradingClient, symbol: str) -> float | None:
    """The latest trade price of `symbol` in USD, or None when there is none now.

    The trading client has no market data; the parameter is the plan's, the data client is asked.
    """
    wanted = normalize_symbol(symbol)
    try:
        answer = read(
            lambda: get_data_client().get("/crypto/us/latest/trades", {"symbols": wanted})
        )
        price = float(answer["trades"][wanted]["p"])
    except (ExchangeError, KeyError, TypeError, ValueError) as error:
        log_event(log, LogEvent.PRICE_UNAVAILABLE, symbol=wanted, reason=error)
        return None
    return price if 0 < price < float("inf") else None


def get_open_orders(client: TradingClient) -> list[Order]:
    """Every open order of the account, all pages.

    Raises:
        ExchangeError: when the list is not complete; a partial list is never returned.
    """
    try:
        return [Order(**raw) for raw in _order_pages(client, status="open")]
    except (ValidationError, TypeError) as error:
        raise ExchangeUnavailable("an open order cannot be read") from error


def place_limit_buy_order(
    client: TradingClient,
    symbol: str,
    qty: float | Decimal,
    limit_price: float | Decimal,
    time_in_force: str = "gtc",
    *,
    client_order_id: str | None = None,
) -> Order | None:
    """Submit a limit buy, once.

    Args:
        qty: coins; limit_price: USD. Both are sent as exact decimal text.
        time_in_force: `gtc` or `ioc`. Alpaca refuses `day` for crypto (422, 42210000), so it is not
            sent.

    Returns:
        The order, or None when it was refused (the reason is logged).

    Raises:
        OrderOutcomeUnknown: it may or may not have been accepted; ask for its client_order_id.
        RateLimited: it was certainly not accepted, and may be sent again later.
    """
    return _submit(
        client,
        {
            "symbol": normalize_symbol(symbol),
            "qty": _plain(qty),
            "side": "buy",
            "type": "limit",
            "limit_price": _plain(limit_price),
            "time_in_force": time_in_force,
        },
        client_order_id,
    )


def place_market_sell_order(
    client: TradingClient,
    symbol: str,
    qty: float | Decimal,
    time_in_force: str = "gtc",
    *,
    client_order_id: str | None = None,
) -> Order | None:
    """Submit a market sell, once. Alpaca turns it into a limit order 2 % below the bid, so it can
    rest.

    Returns and raises as `place_limit_buy_order`.
    """
    return _submit(
        client,
        {
            "symbol": normalize_symbol(symbol),
            "qty": _plain(qty),
            "side": "sell",
            "type": "market",
            "time_in_force": time_in_force,
        },
        client_order_id,
    )


def cancel_order(client: TradingClient, order_id: str) -> bool:
    """Ask to cancel an order. True when the exchange took the request; the order ends with a later
    event.

    False, with the reason logged, when it cannot be canceled (ended already, unknown) or nothing
    answered.
    """
    try:
        call_once(lambda: client.delete(f"/orders/{order_id}"))
    except ExchangeError as error:
        log_event(log, LogEvent.CANCEL_REFUSED, order=order_id, reason=error)
        return False
    return True


def _submit(
    client: TradingClient, request: dict[str, str], client_order_id: str | None
) -> Order | None:
    identity = client_order_id or str(uuid.uuid4())
    known: dict[str, Any] = {
        "symbol": request["symbol"],
        "side": request["side"],
        "qty": request["qty"],
        "limit": request.get("limit_price"),
        "id": identity,
    }
    if request["time_in_force"] not in _CRYPTO_TIME_IN_FORCE:
        reason = (
            f"time in force {request['time_in_force']!r} does not exist for crypto: use gtc or ioc"
        )
        log_event(log, LogEvent.ORDER_REFUSED, level=logging.ERROR, **known, reason=reason)
        return None
    try:
        raw = call_once(lambda: client.post("/orders", {**request, "client_order_id": identity}))
    except RateLimited as error:
        log_event(log, LogEvent.ORDER_NOT_SENT, **known, reason=error)
        raise
    except (ExchangeRefused, CredentialsRefused) as error:
        log_event(log, LogEvent.ORDER_REFUSED, **known, reason=error)
        return None
    except ExchangeError as error:
        log_event(log, LogEvent.ORDER_UNKNOWN, **known, reason=error)
        raise OrderOutcomeUnknown(f"{identity}: {error}") from error
    try:
        order = Order(**raw)
    except (ValidationError, TypeError) as error:
        log_event(log, LogEvent.ORDER_UNKNOWN, **known, reason="the answer is not an order")
        raise OrderOutcomeUnknown(f"{identity}: the answer is not an order") from error
    log_event(log, LogEvent.ORDER_SUBMITTED, **known, order=order.id)
    return order


def _plain(number: float | Decimal) -> str:
    """Exact text without an exponent: the SDK would send a JSON float such as 1e-05."""
    return f"{Decimal(str(number)):f}"


# What the bot itself asks: records instead of SDK models
# ------------------------------------------------------


def _parsed(parse: Callable[[Any], T], raw: Any) -> T:
    try:
        return parse(raw)
    except (WireError, AttributeError) as error:
        raise UnreadableAnswer(f"unusable answer: {error}") from error


def refuse_unreadable(order: UnreadableOrder) -> None:
    """What is done with such an order of a list where the caller has no better idea.

    Raises:
        UnreadableAnswer: always: without it the list is not complete.
    """
    raise UnreadableAnswer(f"order {order.client_order_id or order.id}: {order.problem}")


def pass_over_unreadable(order: UnreadableOrder) -> None:
    """For those who only look: whether it is ours, and what follows, is the daemon's to say."""
    log_event(log, LogEvent.ORDER_PASSED_OVER, id=order.id, reason=order.problem)


@dataclass(frozen=True, slots=True)
class OrderPage:
    """One page of the past: every order of it that was submitted after `reaches` is here.

    `reaches` is None where the page is the last one: there are no older orders.
    """

    orders: list[ExchangeOrder]
    unreadable: list[UnreadableOrder]
    reaches: datetime | None


def fetch_order_page(client: TradingClient, before: datetime | None = None) -> OrderPage:
    """The newest crypto orders of any status, of those that were submitted up to `before`.

    Raises:
        ExchangeError: when nothing certain was answered.
    """
    params: dict[str, Any] = {"status": "all", "limit": PAGE_SIZE, "direction": "desc"}
    if before is not None:
        # `until` excludes its own moment, and orders of one instant can straddle the page.
        params["until"] = (before + timedelta(microseconds=1)).isoformat()
    page = _order_page(client, params)
    reaches = _last_submission(page) if len(page) >= PAGE_SIZE else None
    if reaches is not None and before is not None and reaches >= before:
        raise ExchangeUnavailable("the list of orders does not end")
    unreadable: list[UnreadableOrder] = []
    return OrderPage(_read_orders(page, unreadable.append), unreadable, reaches)


def _read_orders(
    raw_orders: Iterable[dict[str, Any]], on_unreadable: Callable[[UnreadableOrder], None]
) -> list[ExchangeOrder]:
    """One order that cannot be read must not hide the others."""
    orders = []
    for raw in raw_orders:
        if not is_crypto(raw):
            continue
        try:
            orders.append(ExchangeOrder.from_wire(raw))
        except (WireError, AttributeError) as error:
            on_unreadable(UnreadableOrder.from_wire(raw, str(error)))
    return orders


def _order_pages(
    client: TradingClient, status: str, after: datetime | None = None
) -> Iterator[dict[str, Any]]:
    """Raw orders, page by page: Alpaca gives 500 at most and filters by submission time."""
    seen: set[str] = set()
    cursor = after
    while True:
        params: dict[str, Any] = {"status": status, "limit": PAGE_SIZE, "direction": "asc"}
        if cursor is not None:
            params["after"] = cursor.isoformat()
        page = _order_page(client, params)
        fresh = [raw for raw in page if raw.get("id") not in seen]
        seen.update(str(raw.get("id")) for raw in fresh)
        yield from fresh
        if len(page) < PAGE_SIZE:
            return
        if not fresh:
            raise ExchangeUnavailable("the list of orders does not end")
        # One microsecond back: orders of the same instant can straddle the page.
        cursor = _last_submission(page) - timedelta(microseconds=1)


def _order_page(client: TradingClient, params: dict[str, Any]) -> list[dict[str, Any]]:
    page = read(lambda: client.get("/orders", params))
    if not isinstance(page, list) or not all(isinstance(raw, dict) for raw in page):
        raise ExchangeUnavailable("the list of orders is not a list of orders")
    return page


def _last_submission(page: list[dict[str, Any]]) -> datetime:
    """When the last order of a page was submitted, as far as that can be read."""
    for raw in reversed(page):
        with contextlib.suppress(WireError):
            return time_from_wire(raw.get("submitted_at"), "submitted_at")
    raise UnreadableAnswer("a page of orders without any time")


def _may_be_of(symbol: str, raw: dict[str, Any]) -> bool:
    """Where no symbol can be read it may be this one."""
    try:
        return normalize_symbol(str(raw.get("symbol"))) == symbol
    except WireError:
        return is_crypto(raw)
