"""Increments and minimum sizes per symbol, fetched once and refreshed.

They change over time (alpaca-facts).
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from decimal import Decimal

from alpaca.trading.client import TradingClient

from models.exchange import AssetRules
from utils.alpaca_client_rest import ExchangeError, ExchangeRefused, fetch_asset_rules
from utils.logging_setup import log_event

log = logging.getLogger(__name__)
REFRESH_SECONDS = 6 * 3600
RETRY_SECONDS = 60


class AssetRulesCache:
    """Thread-safe. Old rules are better than none.

    A failed refresh keeps them and tries again later.
    """

    def __init__(self, client: TradingClient, min_cost_usd: Decimal) -> None:
        self._client = client
        self._min_cost_usd = min_cost_usd
        self._lock = threading.Lock()
        self._known: dict[str, tuple[AssetRules, float]] = {}
        self._unknown: dict[str, float] = {}  # symbols that Alpaca does not know, until when

    def get(self, symbol: str) -> AssetRules:
        """The rules of `symbol` ('BTC/USD'); where Alpaca forgot it since, the last ones without
        buys.

        Raises:
            ExchangeRefused: the exchange does not know the symbol.
            ExchangeError: never fetched so far and not to be had now.
        """
        with self._lock:
            known = self._known.get(symbol)
        if known is not None and time.monotonic() < known[1]:
            return known[0]
        if time.monotonic() < self._unknown.get(symbol, 0.0):
            raise ExchangeRefused(404, 0, f"Alpaca does not know the symbol {symbol}")
        try:
            rules = fetch_asset_rules(self._client, symbol, min_cost_usd=self._min_cost_usd)
        except ExchangeError as error:
            if known is None:
                raise
            log_event(log, logging.WARNING, "rules.kept", symbol=symbol, reason=error)
            rules, next_seconds = known[0], RETRY_SECONDS
        else:
            next_seconds = REFRESH_SECONDS
        if rules is None and known is not None:
            log_event(log, logging.WARNING, "rules.gone", symbol=symbol, reason="no buys")
            rules, next_seconds = replace(known[0], is_tradable=False), RETRY_SECONDS
        if rules is None:
            self._unknown[symbol] = time.monotonic() + RETRY_SECONDS
            raise ExchangeRefused(404, 0, f"Alpaca does not know the symbol {symbol}")
        with self._lock:
            self._known[symbol] = (rules, time.monotonic() + next_seconds)
        return rules
