"""GET and POST try, candles, sweeps: what is read from the stored history."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from aiohttp import web

from config import Settings
from models.asset_config import get_asset_config
from models.meta import check_schema
from operations.asset_input import read_symbol, write_values
from operations.refused import Refused
from utils.alpaca_client_rest import get_trading_client
from utils.alpaca_http import ExchangeError
from utils.alpaca_queries import fetch_asset_rules
from utils.db_utils import DatabaseError, thread_connection
from web.candle_rows import MAX_CANDLES, merged
from web.exchange_candles import ExchangeCandles
from web.guards import BODY, Denied, require_session, text_of
from web.site import SITE, Busy
from web.tryout_client import TryoutBusy, TryoutClient, TryoutEnded
from web.tryout_input import (
    CANDLES,
    DESCRIBE,
    OK,
    REFUSED,
    SUPERSEDED,
    TRY,
    read_range,
    read_texts,
)

RULES_ARE_FRESH = timedelta(days=1)  # they change rarely
RULES_SECONDS = 4.0
LONGEST_CANDLE = 7 * 24 * 3600
TODAY_SECONDS = 5.0  # dragged sliders do not ask the database each time


@dataclass(slots=True, eq=False)
class Past:
    """What answers questions about the past. `today`: the options of an asset, and when read."""

    client: TryoutClient
    exchange: ExchangeCandles
    fetching: asyncio.Lock = field(default_factory=asyncio.Lock)
    today: dict[str, tuple[float, dict[str, str] | None]] = field(default_factory=dict)


PAST: web.AppKey[Past] = web.AppKey("past", Past)


async def hold_history(app: web.Application) -> AsyncIterator[None]:
    """For as long as the page is served."""
    settings = app[SITE].settings
    past = Past(TryoutClient(settings), ExchangeCandles(settings.alpaca_data_url))
    app[PAST] = past
    yield
    await past.client.stop()


# Try


async def show_try(request: web.Request) -> web.Response:
    """What there is to try on; meanwhile the history is read for the first try."""
    symbol = _symbol_of(request.query.get("symbol", ""))
    site = request.app[SITE]
    today = await _today(request, symbol, is_new=True)
    with suppress(Busy):
        await site.run(partial(_refresh_rules, site.settings, symbol), seconds=RULES_SECONDS)
    return await _answer(request, {"what": DESCRIBE, "symbol": symbol, "today": today})


async def try_settings(request: web.Request) -> web.Response:
    """What they would have earned. Of one session only the newest is answered."""
    body = request[BODY]
    symbol = _symbol_of(text_of(request, "symbol"))
    settings = read_texts(body.get("settings", {}))
    bounds = [body.get(name) for name in ("from", "to")]
    if not all(one is None or isinstance(one, str) for one in bounds):
        raise Denied(400, "from and to: expected a time")
    read_range(symbol, *bounds)  # refused here, not there
    viewer = hashlib.sha256(require_session(request).encode()).hexdigest()[:16]
    today = await _today(request, symbol)
    question = {"what": TRY, "viewer": viewer, "symbol": symbol, "settings": settings}
    return await _answer(
        request, {**question, "since": bounds[0], "until": bounds[1], "today": today}
    )


async def _answer(request: web.Request, question: Mapping[str, Any]) -> web.Response:
    body = await _ask(request, question)
    return web.Response(body=body, content_type="application/json")


async def _ask(request: web.Request, question: Mapping[str, Any]) -> bytes:
    """JSON from the process that holds the history."""
    try:
        answer = await request.app[PAST].client.ask(question)
    except (TryoutBusy, TryoutEnded) as error:
        raise Busy(str(error)) from None
    match answer.status:
        case status if status == OK:
            return answer.body
        case status if status == SUPERSEDED:
            raise Denied(409, "a newer try of yours took its place")
        case status if status == REFUSED:
            raise Denied(422, answer.body.decode())
    raise RuntimeError(answer.body.decode())  # a bug: logged, and said


async def _today(
    request: web.Request, symbol: str, *, is_new: bool = False
) -> dict[str, str] | None:
    """The asset's options as texts; None: it is not configured, or the database is away."""
    known = request.app[PAST].today
    at, found = known.get(symbol, (-TODAY_SECONDS, None))
    if is_new or time.monotonic() - at > TODAY_SECONDS:
        try:
            found = await request.app[SITE].run(partial(_load_today, symbol))
        except DatabaseError:
            found = None  # the past is there all the same
        known[symbol] = time.monotonic(), found
    return found


def _load_today(symbol: str) -> dict[str, str] | None:
    connection = thread_connection()
    check_schema(connection)
    asset = get_asset_config(connection, symbol)
    return None if asset is None else write_values(asset)


def _refresh_rules(settings: Settings, symbol: str) -> None:
    """Those of the coin as Alpaca names them, kept beside the history as `scripts/backtest` does:
    a replay does not depend on it.
    """
    from research.errors import HistoryError  # these load numpy: a page that tries nothing has none
    from research.history import History
    from research.market_rules import load_rules, save_rules

    history = History(settings.history_dir)
    if not settings.alpaca_api_key or not history.folder_of(symbol).is_dir():
        return
    least, now = settings.minimum_order_usd, datetime.now(UTC)
    try:
        kept = load_rules(history, symbol, least)
        if kept is None or kept.asked_at is None or now - kept.asked_at > RULES_ARE_FRESH:
            rules = fetch_asset_rules(get_trading_client(), symbol, min_cost_usd=least)
            if rules is not None:
                save_rules(history, rules, now)
    except (ExchangeError, HistoryError):
        return


# Candles


async def show_candles(request: web.Request) -> web.Response:
    """The history's, and what it lacks from the exchange; where that is away, the history's."""
    query = request.query
    symbol = _symbol_of(query.get("symbol", ""))
    seconds = _seconds_of(query.get("seconds", "300"))
    wanted = read_range(symbol, query.get("from"), query.get("to"))
    now = int(time.time()) + 1
    last = now if wanted.until is None else min(now, math.ceil(wanted.until.timestamp()))
    first = int(wanted.since.timestamp()) if wanted.since else last - seconds * MAX_CANDLES
    first = max(first, 0)
    asked = {"seconds": seconds, "first": first, "last": last}
    past = request.app[PAST]
    question = {"what": CANDLES, "symbol": symbol, "wanted": asked}
    stored = json.loads(await _ask(request, question))
    found, source, trouble = stored["candles"], "history", stored["trouble"]
    if (begin := _missing_from(stored, asked)) is not None:
        try:
            async with past.fetching:
                work = partial(past.exchange.load, symbol, seconds=seconds, first=begin, last=last)
                added = await request.app[SITE].run(work)
            found, source = merged(found, added), "exchange" if added else source
        except ExchangeError as error:
            trouble = str(error)
            if not found:
                raise
    # Whether there are any is known when they are asked for: the exchange has some, too.
    older = bool(found)
    body = {"candles": found, "source": source, "older": older, "trouble": trouble}
    return web.json_response(body)


def _missing_from(stored: Mapping[str, Any], asked: Mapping[str, int]) -> int | None:
    """From when on the exchange is asked; None: the history has all of it."""
    first, last = asked["first"], asked["last"]
    begins, ends = stored["begins"], stored["ends"]
    if begins is None or last <= begins:
        return first
    begin = max(first, ends)
    return begin if begin < last - asked["seconds"] else None


# Sweeps


async def show_sweeps(request: web.Request) -> web.Response:
    site = request.app[SITE]

    def work() -> list[dict[str, Any]]:
        from web.sweeps import list_sweeps  # loads numpy

        return list_sweeps(site.settings.history_dir)

    return web.json_response(await site.run(work))


async def show_sweep(request: web.Request) -> web.Response:
    site, name = request.app[SITE], request.query.get("name", "")

    def work() -> bytes:
        from web.sweeps import load_sweep  # loads numpy

        return load_sweep(site.settings.history_dir, name)

    return web.Response(body=await site.run(work), content_type="application/json")


def _symbol_of(text: str) -> str:
    if not text.strip() or len(text) > 40:
        raise Denied(400, "symbol: expected a text like BTC/USD")
    return read_symbol(text)


def _seconds_of(text: str) -> int:
    seconds = int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else 0
    if not 60 <= seconds <= LONGEST_CANDLE or seconds % 60:
        raise Refused("seconds takes whole minutes, 60 to 604800")
    return seconds


ROUTES = [
    web.route("GET", "/api/try", show_try),
    web.route("POST", "/api/try", try_settings),
    web.route("GET", "/api/candles", show_candles),
    web.route("GET", "/api/sweeps", show_sweeps),
    web.route("GET", "/api/sweep", show_sweep),
]
