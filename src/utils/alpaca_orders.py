"""Alpaca's lists of orders, page by page, as records of the bot.

A partial list is never returned; what becomes of an order that cannot be read, the caller says.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from domain.orders import ExchangeOrder, UnreadableOrder
from domain.wire import WireError, is_crypto, normalize_symbol, time_from_wire
from utils.alpaca_http import ExchangeUnavailable, UnreadableAnswer, read_list
from utils.alpaca_sdk import TradingClient
from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)

PAGE_SIZE = 500


def refuse_unreadable(order: UnreadableOrder) -> None:
    """For callers that need the complete list.

    Raises:
        UnreadableAnswer: always.
    """
    raise UnreadableAnswer(f"order {order.client_order_id or order.id}: {order.problem}")


def pass_over_unreadable(order: UnreadableOrder) -> None:
    """For callers that only read: whether it is ours, and what follows, is the daemon's to say."""
    log_event(log, LogEvent.ORDER_PASSED_OVER, id=order.id, reason=order.problem)


@dataclass(frozen=True, slots=True)
class OrderPage:
    """One page of the order history: every order submitted after `reaches` is in it.

    `reaches` is None when there are no older orders.
    """

    orders: list[ExchangeOrder]
    unreadable: list[UnreadableOrder]
    reaches: datetime | None


def fetch_order_page(client: TradingClient, before: datetime | None = None) -> OrderPage:
    """The newest crypto orders of any status that were submitted up to `before`.

    Raises:
        ExchangeError: when nothing certain was answered.
    """
    params: dict[str, Any] = {"status": "all", "limit": PAGE_SIZE, "direction": "desc"}
    if before is not None:
        # `until` excludes its own moment, and orders of one instant can straddle the page.
        params["until"] = (before + timedelta(microseconds=1)).isoformat()
    page = _read_page(client, params)
    reaches = _last_submission(page) if len(page) >= PAGE_SIZE else None
    if reaches is not None and before is not None and reaches >= before:
        raise ExchangeUnavailable("the list of orders does not end")
    unreadable: list[UnreadableOrder] = []
    return OrderPage(parse_orders(page, unreadable.append), unreadable, reaches)


def parse_orders(
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


def read_order_pages(
    client: TradingClient, status: str, after: datetime | None = None
) -> Iterator[dict[str, Any]]:
    """Raw orders, page by page: Alpaca gives 500 at most and filters by submission time.

    One page is held, and of it only what was not taken yet: a page is a megabyte, and what a lively
    hour's would take together the process would keep.
    """
    seen: set[Any] = set()
    cursor = after
    while True:
        params: dict[str, Any] = {"status": status, "limit": PAGE_SIZE, "direction": "asc"}
        if cursor is not None:
            params["after"] = cursor.isoformat()
        page = _read_page(client, params)
        is_last = len(page) < PAGE_SIZE
        if not is_last:
            # One microsecond back: orders of the same instant can straddle the page.
            reached = _last_submission(page) - timedelta(microseconds=1)
            has_fresh = any(raw.get("id") not in seen for raw in page)
            if not has_fresh or (cursor is not None and reached < cursor):
                raise ExchangeUnavailable("the list of orders does not end")
            cursor = reached
        before, seen = seen, {raw.get("id") for raw in page}
        page.reverse()
        while page:
            raw = page.pop()
            if raw.get("id") not in before:
                yield raw
        if is_last:
            return


def _read_page(client: TradingClient, params: dict[str, Any]) -> list[dict[str, Any]]:
    return read_list(lambda: client.get("/orders", params), "orders")


def _last_submission(page: list[dict[str, Any]]) -> datetime:
    """When the last order of a page was submitted, as far as that can be read."""
    for raw in reversed(page):
        with contextlib.suppress(WireError):
            return time_from_wire(raw.get("submitted_at"), "submitted_at")
    raise UnreadableAnswer("a page of orders without any time")


def may_be_of(symbol: str, raw: dict[str, Any]) -> bool:
    """Where no symbol can be read it may be this one."""
    try:
        return normalize_symbol(str(raw.get("symbol"))) == symbol
    except WireError:
        return is_crypto(raw)
