"""Selling an asset now, from the page: shown with coins and USD, then done with the key of that.

The request is what counts; who carries it out (the daemon, or without one this process, with the
daemon's own parts) is operations.close_execution's business.
"""

from __future__ import annotations

import asyncio
import threading
from functools import partial

from aiohttp import web

from models.meta import ForeignDatabase
from operations.asset_changes import load_configured
from operations.asset_input import read_symbol
from operations.close_cycle import ClosePlan, prepare_close, request_close
from operations.close_execution import Closer
from operations.close_words import (
    closed_text,
    plan_lines,
    refuse_nothing_to_close,
    unfinished_text,
)
from operations.preview import open_account
from operations.refused import Refused
from utils.alpaca_http import ExchangeError
from utils.db_utils import DatabaseError, close_thread_connection, thread_connection
from utils.formatting import describe_account
from web.changes import BY, asked, changed, facts_of
from web.confirm import Gone
from web.guards import BODY, text_of
from web.site import SITE, Site

CLOSE_SECONDS = 60.0  # a sale that takes longer is the daemon's; the request stays
SHOWN_SECONDS = 8.0  # so long the answer to a close waits for its end


async def close(request: web.Request) -> web.Response:
    """The answer to the second step waits a moment for the sale; the sale does not wait for it."""
    site, symbol = request.app[SITE], read_symbol(text_of(request, "symbol"))
    plan = await site.run(lambda: _prepare_close(site, symbol))
    facts = facts_of(plan.asset, plan.cycle)
    if "confirm" not in request[BODY]:
        lines = plan_lines(plan, describe_account(site.settings), disable=False)
        return web.json_response(asked(site, "close", lines, facts))
    site.keys.use(text_of(request, "confirm"), "close", facts)
    if symbol in site.closing:
        raise Gone(f"{symbol} is being sold already")
    site.closing.add(symbol)
    try:
        await site.run(lambda: request_close(plan, disable=False, by=BY))
    except BaseException:
        site.closing.discard(symbol)
        raise
    site.live.forget()
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    work = partial(_sell, site, plan, asyncio.get_running_loop(), ended)
    threading.Thread(target=work, name=f"web-close-{symbol}", daemon=True).start()
    done, _ = await asyncio.wait([ended], timeout=SHOWN_SECONDS)
    words = f"{symbol} is to be sold: it is on its way."
    return changed(site, {"done": ended.result() if done else words})


def _prepare_close(site: Site, symbol: str) -> ClosePlan:
    connection = thread_connection()
    open_account(connection)
    asset = load_configured(connection, symbol)
    plan = prepare_close(site.settings, asset)
    if plan is None:
        refuse_nothing_to_close(asset, disable=False)
        raise AssertionError("it refuses")
    return plan


def _sell(
    site: Site, plan: ClosePlan, loop: asyncio.AbstractEventLoop, ended: asyncio.Future[str]
) -> None:
    """In a thread of its own: as long as it takes, within a bound."""
    symbol = plan.asset.asset_symbol
    try:
        result = Closer(site.settings, plan, lambda _text: None).carry_out(CLOSE_SECONDS)
        text = unfinished_text(symbol, result)
        if result.is_closed:
            text = closed_text(plan, result, disable=False)
    except (Refused, DatabaseError, ForeignDatabase, ExchangeError, OSError) as error:
        text = f"the request to sell {symbol} stays, what became of it is not known now: {error}"
    finally:
        close_thread_connection()
        site.closing.discard(symbol)

    def tell() -> None:
        if not ended.done():
            ended.set_result(text)
        site.live.forget()

    if not loop.is_closed():
        loop.call_soon_threadsafe(tell)


ROUTES = [web.route("POST", "/api/assets/close", close)]
