"""Increments and minimum sizes per symbol, fetched once and refreshed, because they change."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from domain.market import AssetRules
from utils.alpaca_client_rest import ExchangeError, ExchangeRefused, ExchangeUnavailable
from utils.alpaca_queries import fetch_all_asset_rules, fetch_asset_rules
from utils.alpaca_sdk import TradingClient
from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)
REFRESH_SECONDS = 6 * 3600
AHEAD_SECONDS = 600  # renewed so long before they are too old: no order waits for them
RETRY_SECONDS = 60
MANY = 4  # from so many on one list, of all that Alpaca trades, is cheaper
AWAY_SECONDS = 30


@dataclass(frozen=True, slots=True)
class _Known:
    """`rules` None: Alpaca does not know the symbol. Times are monotonic seconds."""

    rules: AssetRules | None
    fresh_until: float
    due_at: float


class AssetRulesCache:
    """Thread-safe. Old rules are better than none: a failed refresh keeps them."""

    def __init__(self, client: TradingClient, min_cost_usd: Decimal) -> None:
        self._client = client
        self._min_cost_usd = min_cost_usd
        self._lock = threading.Lock()
        self._listing = threading.Lock()  # who needs the list while it is read waits for that one
        self._list_not_before = 0.0
        self._away_until = 0.0
        self._known: dict[str, _Known] = {}

    def find(self, symbol: str) -> AssetRules | None:
        """The rules of `symbol` if they are known and fresh. Makes no request, does not wait."""
        known = self._recall(symbol)
        return known.rules if known is not None and time.monotonic() < known.fresh_until else None

    def find_last(self, symbol: str) -> AssetRules | None:
        """The last rules of `symbol`, however old. Makes no request, does not wait."""
        known = self._recall(symbol)
        return known.rules if known is not None else None

    def is_due(self, symbol: str) -> bool:
        """Whether it is time to `renew` the rules. Makes no request, does not wait."""
        known, now = self._recall(symbol), time.monotonic()
        return (known is None or now >= known.due_at) and now >= self._away_until

    def prefetch(self, symbols: Iterable[str]) -> None:
        """Where the rules of many are due, one list brings them. Blocking."""
        due = [symbol for symbol in symbols if self.is_due(symbol)]
        if len(due) < MANY:
            return
        with self._listing:
            if sum(self.is_due(symbol) for symbol in due) >= MANY:
                self._fetch_list()

    def get(self, symbol: str) -> AssetRules:
        """The rules of `symbol` ('BTC/USD'); where Alpaca forgot it since, the last ones without
        buys. Blocking.

        Raises:
            ExchangeRefused: the exchange does not know the symbol.
            ExchangeError: never fetched so far and not to be had now.
        """
        if (fresh := self.find(symbol)) is not None:
            return fresh
        return self.renew(symbol)

    def renew(self, symbol: str) -> AssetRules:
        """As `get`, but asks as soon as that is due. Blocking."""
        known, now = self._recall(symbol), time.monotonic()
        if known is None and now < self._away_until:
            raise ExchangeUnavailable("the list of assets could not be had a moment ago")
        if known is None or (now >= known.due_at and now >= self._away_until):
            known = self._fetch(symbol, known)
        if known.rules is None:
            raise ExchangeRefused(404, 0, f"Alpaca does not know the symbol {symbol}")
        return known.rules

    def _recall(self, symbol: str) -> _Known | None:
        with self._lock:
            return self._known.get(symbol)

    def _fetch_list(self) -> None:
        if time.monotonic() < self._list_not_before:
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
        renewed = {symbol: _renewed(rules) for symbol, rules in listed.items()}
        with self._lock:
            self._known |= renewed

    def _fetch(self, symbol: str, before: _Known | None) -> _Known:
        """Ask about one, and remember the answer.

        Raises:
            ExchangeError: no answer, and there are no last rules.
        """
        last = before.rules if before is not None else None
        try:
            rules = fetch_asset_rules(self._client, symbol, min_cost_usd=self._min_cost_usd)
        except ExchangeError as error:
            if last is None:
                raise
            log_event(log, LogEvent.RULES_KEPT, symbol=symbol, reason=error)
            known = _asked_again_soon(last)
            if before is not None and before.fresh_until > known.fresh_until:
                known = replace(known, fresh_until=before.fresh_until)
        else:
            if rules is not None:
                known = _renewed(rules)
            elif last is not None:
                log_event(log, LogEvent.RULES_GONE, symbol=symbol, reason="no buys")
                known = _asked_again_soon(replace(last, is_tradable=False))
            else:
                known = _asked_again_soon(None)
        with self._lock:
            self._known[symbol] = known
        return known


def _renewed(rules: AssetRules) -> _Known:
    until = time.monotonic() + REFRESH_SECONDS
    return _Known(rules, until, until - AHEAD_SECONDS)


def _asked_again_soon(rules: AssetRules | None) -> _Known:
    until = time.monotonic() + RETRY_SECONDS
    return _Known(rules, until, until)
