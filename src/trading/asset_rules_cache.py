"""Increments and minimum sizes per symbol, fetched once and refreshed, because they change."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

from alpaca.trading.client import TradingClient

from domain.market import AssetRules
from utils.alpaca_client_rest import ExchangeError, ExchangeRefused, ExchangeUnavailable
from utils.alpaca_queries import fetch_all_asset_rules, fetch_asset_rules
from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)
REFRESH_SECONDS = 6 * 3600
RETRY_SECONDS = 60
MANY = 4  # from so many on one list, of all that Alpaca trades, is cheaper
AWAY_SECONDS = 30


class AssetRulesCache:
    """Thread-safe. Old rules are better than none: a failed refresh keeps them."""

    def __init__(self, client: TradingClient, min_cost_usd: Decimal) -> None:
        self._client = client
        self._min_cost_usd = min_cost_usd
        self._lock = threading.Lock()
        self._list_not_before = 0.0
        self._away_until = 0.0
        self._known: dict[str, tuple[AssetRules, float]] = {}
        self._unknown: dict[str, float] = {}  # symbols that Alpaca does not know, until when

    def find(self, symbol: str) -> AssetRules | None:
        """The rules of `symbol` if they are known and fresh. Makes no request, does not wait."""
        with self._lock:
            known = self._known.get(symbol)
        return known[0] if known is not None and time.monotonic() < known[1] else None

    def prefetch(self, symbols: Iterable[str]) -> None:
        """Where the rules of many are needed, one list brings them. Blocking."""
        missing = [symbol for symbol in symbols if self.find(symbol) is None]
        with self._lock:
            if len(missing) < MANY or time.monotonic() < self._list_not_before:
                return
            self._list_not_before = time.monotonic() + RETRY_SECONDS
        try:
            listed = fetch_all_asset_rules(self._client, min_cost_usd=self._min_cost_usd)
        except ExchangeError as error:
            log_event(log, LogEvent.RULES_POSTPONED, reason=error)
            # Hundreds of questions to an exchange that is away would take minutes to fail.
            self._away_until = time.monotonic() + AWAY_SECONDS
            self._list_not_before = self._away_until
            return
        until = time.monotonic() + REFRESH_SECONDS
        with self._lock:
            self._known |= {symbol: (rules, until) for symbol, rules in listed.items()}

    def get(self, symbol: str) -> AssetRules:
        """The rules of `symbol` ('BTC/USD'); where Alpaca forgot it since, the last ones without
        buys. Blocking.

        Raises:
            ExchangeRefused: the exchange does not know the symbol.
            ExchangeError: never fetched so far and not to be had now.
        """
        if (fresh := self.find(symbol)) is not None:
            return fresh
        with self._lock:
            known = self._known.get(symbol)
        if time.monotonic() < self._unknown.get(symbol, 0.0):
            raise ExchangeRefused(404, 0, f"Alpaca does not know the symbol {symbol}")
        if time.monotonic() < self._away_until:
            if known is None:
                raise ExchangeUnavailable("the list of assets could not be had a moment ago")
            return known[0]
        try:
            rules = fetch_asset_rules(self._client, symbol, min_cost_usd=self._min_cost_usd)
        except ExchangeError as error:
            if known is None:
                raise
            log_event(log, LogEvent.RULES_KEPT, symbol=symbol, reason=error)
            rules, next_seconds = known[0], RETRY_SECONDS
        else:
            next_seconds = REFRESH_SECONDS
        if rules is None and known is not None:
            log_event(log, LogEvent.RULES_GONE, symbol=symbol, reason="no buys")
            rules, next_seconds = replace(known[0], is_tradable=False), RETRY_SECONDS
        if rules is None:
            self._unknown[symbol] = time.monotonic() + RETRY_SECONDS
            raise ExchangeRefused(404, 0, f"Alpaca does not know the symbol {symbol}")
        with self._lock:
            self._known[symbol] = (rules, time.monotonic() + next_seconds)
        return rules
