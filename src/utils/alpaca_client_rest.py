"""Alpaca's REST API as this bot uses it: the only module that submits or cancels orders. Never
decides to.

Owns: the clients, and the outcome of an order as accepted, refused or unknown. A POST is sent once,
ever: what became of it is asked for by its client_order_id.
"""

from __future__ import annotations

import logging
import uuid
from decimal import Decimal
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from config import Settings, get_settings
from domain.wire import normalize_symbol
from utils.alpaca_http import (
    CredentialsRefused,
    ExchangeError,
    ExchangeRefused,
    ExchangeUnavailable,
    OrderOutcomeUnknown,
    RateLimited,
    UnreadableAnswer,
    call_once,
    keep_warm,
    pace_requests,
    prepare_rest_client,
    read,
    requests_left,
)
from utils.alpaca_orders import read_order_pages
from utils.alpaca_sdk import CryptoHistoricalDataClient, Order, TradeAccount, TradingClient
from utils.log_events import LogEvent, log_event
from utils.side_by_side import make_ready

log = logging.getLogger(__name__)

QUESTIONS_AT_ONCE = 2  # before an order, at most
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


def get_trading_client() -> TradingClient:
    """The one trading client of this process, with time-outs and without the SDK's own retries."""
    return _make_trading_client(get_settings())


@lru_cache(maxsize=1)
def _make_trading_client(settings: Settings) -> TradingClient:
    client = TradingClient(
        settings.alpaca_api_key,
        settings.alpaca_secret_key,
        paper=settings.alpaca_paper,
        url_override=settings.alpaca_trading_url,
    )
    prepare_rest_client(client)
    pace_requests(settings.run_dir)
    return client


def get_data_client() -> CryptoHistoricalDataClient:
    """The one market data client of this process."""
    return _make_data_client(get_settings())


@lru_cache(maxsize=1)
def _make_data_client(settings: Settings) -> CryptoHistoricalDataClient:
    client = CryptoHistoricalDataClient(
        settings.alpaca_api_key,
        settings.alpaca_secret_key,
        url_override=settings.alpaca_data_url,
    )
    prepare_rest_client(client)
    return client


def keep_connections_warm() -> None:
    """See that orders and the reads before them find connections that are open, and threads to ask
    two things at once. Blocking; to be called every few seconds by a process that lives long. Sends
    no request.
    """
    for client in (get_trading_client(), get_data_client()):
        keep_warm(client)
    requests_left()  # opens the file that requests are counted in
    make_ready(QUESTIONS_AT_ONCE)


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
        return [Order(**raw) for raw in read_order_pages(client, status="open")]
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
    """Submit a market sell, once. Alpaca makes it a limit order 2 % below the bid: it can rest.

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
    """Ask to cancel an order. True: the exchange took the request; a later event ends the order.

    False, with the reason logged: it cannot be canceled (ended already, unknown), or no answer.
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
    known: dict[str, Any] = {name: request[name] for name in ("symbol", "side", "qty")}
    known |= {"limit": request.get("limit_price"), "id": identity}
    if request["time_in_force"] not in _CRYPTO_TIME_IN_FORCE:
        given = request["time_in_force"]
        reason = f"time in force {given!r} does not exist for crypto: use gtc or ioc"
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
