"""Past minute bars of coins from Alpaca, page by page, with every digit of their prices.

Asked without keys, so that years of bars take nothing from the allowance of an account that trades.
Source of pages and of `limit`: GET /v1beta3/crypto/us/bars. A page can be short or even empty
though another one follows: only `next_page_token` says where the end is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from utils.alpaca_http import (
    ExchangeUnavailable,
    UnreadableAnswer,
    prepare_rest_client,
    read,
)
from utils.alpaca_sdk import BaseURL, CryptoHistoricalDataClient
from utils.request_pace import RequestPace

PAGE_BARS = 10_000
MAX_PAGES = 1_000  # of a month, which has 44,640 minutes
# A minute's allowance that others have used up is there again after one; a line that is down for
# longer ends the fetch, which goes on where it was.
PATIENCE_SECONDS = 90.0
PAUSE_SECONDS = 3.0


class BarSource:
    """Alpaca, or what stands at another origin (`http://127.0.0.1:8080`)."""

    def __init__(self, origin: str | None = None) -> None:
        self._client = CryptoHistoricalDataClient(url_override=origin)
        self.name = urlsplit(origin or BaseURL.DATA.value).netloc
        prepare_rest_client(self._client, pace=RequestPace(), is_exact=True)

    def pages(
        self,
        symbol: str,
        start: str,
        end: str,
        *,
        timeframe: str = "1Min",
        patience_seconds: float | None = None,
    ) -> Iterator[list[Mapping[str, Any]]]:
        """Every page of bars that begin in [start, end], both in RFC 3339, oldest first; what does
        not answer is asked again for `patience_seconds` (PATIENCE_SECONDS).

        Raises:
            ExchangeError: what came is not all there is.
        """
        query = {"symbols": symbol, "timeframe": timeframe, "start": start, "end": end}
        query |= {"limit": str(PAGE_BARS), "sort": "asc"}
        patience = PATIENCE_SECONDS if patience_seconds is None else patience_seconds
        token = None
        for _ in range(MAX_PAGES):
            asked = query if token is None else {**query, "page_token": token}
            answer = _patiently(partial(self._client.get, "/crypto/us/bars", asked), patience)
            bars, following = _read_page(answer, symbol)
            yield bars
            if following is None:
                return
            if following == token:
                break
            token = following
        raise UnreadableAnswer(f"the pages of bars of {symbol} from {start} do not end")


def _patiently(call: Callable[[], Any], seconds: float) -> Any:
    """As `read`, for as long as this.

    Raises:
        ExchangeError: nothing certain came back, or the exchange declined.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return read(call)
        except UnreadableAnswer:
            raise
        except ExchangeUnavailable:
            if time.monotonic() + PAUSE_SECONDS > deadline:
                raise
            time.sleep(PAUSE_SECONDS)  # a bounded pause between tries


def _read_page(answer: Any, symbol: str) -> tuple[list[Mapping[str, Any]], str | None]:
    """The bars of a page, and the token of the next one; None: it was the last."""
    if not isinstance(answer, Mapping) or "next_page_token" not in answer:
        raise UnreadableAnswer("the page of bars is none")
    found, token = answer.get("bars") or {}, answer["next_page_token"] or None
    if not isinstance(found, Mapping) or set(found) - {symbol}:
        raise UnreadableAnswer(f"the page of bars has others than {symbol}")
    bars = found.get(symbol) or []
    if not isinstance(bars, list) or not all(isinstance(one, Mapping) for one in bars):
        raise UnreadableAnswer("the page of bars has no list of bars")
    if token is not None and not isinstance(token, str):
        raise UnreadableAnswer("the page of bars has no token")
    return bars, token
