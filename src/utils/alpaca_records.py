"""What only the caretakers read over REST: the exchange's clock, and the fees that it posted.

Reads only, and decides nothing; as in alpaca_client_rest a partial answer is an error, never less.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from alpaca.trading.client import TradingClient

from models.exchange import WireError, time_from_wire
from models.fee_activity import FEE_ACTIVITY_TYPES, FeeActivity
from utils.alpaca_http import ExchangeUnavailable, read

ACTIVITIES_PAGE = 100
MOST_PAGES = 60


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


def fetch_fee_activities(client: TradingClient, first: date, last: date) -> list[FeeActivity]:
    """Every fee of crypto that was posted for the days `first` to `last`, all pages.

    Raises:
        ExchangeError: when the list is not complete; a partial list is never returned.
    """
    params: dict[str, Any] = {
        "activity_types": ",".join(FEE_ACTIVITY_TYPES),
        # Both ends exclude their own moment, and some fees are posted on the day after: wider.
        "after": f"{first - timedelta(days=1)}T00:00:00Z",
        "until": f"{last + timedelta(days=2)}T00:00:00Z",
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
        raise ExchangeUnavailable(f"more than {MOST_PAGES} pages of fees")
    try:
        parsed = [FeeActivity.from_wire(one) for one in raw.values()]
    except WireError as error:
        raise ExchangeUnavailable(f"unusable answer: {error}") from error
    return [one for one in parsed if one is not None and first <= one.day <= last]
