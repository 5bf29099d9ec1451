"""What the database says of the assets, and the prices to wait for that follow from it. Phase 4.

Owns: what was read before, so that hundreds of assets cost a word each and only what changed is
read. Runs in the thread of the refresh, beside the event loop, which applies what it finds. Asks
the exchange nothing: a database that answers must not wait for an exchange that does not.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from decimal import Decimal

from domain.market import AssetRules
from domain.trading_state import TradingState
from models.trading_state import load_fingerprints, load_trading_states
from strategy.asset_checks import find_state_problem
from strategy.triggers import NEVER, Triggers, compute_triggers
from trading.asset_rules_cache import AssetRulesCache
from utils.alpaca_http import ExchangeError
from utils.db_utils import thread_connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One asset as it was read.

    `problem` says why it cannot be traded by what its row says. `rules` are the last that are
    known, or why there are none; None: they are being asked for. `triggers` None: unknown.
    """

    state: TradingState
    problem: str | None
    rules: AssetRules | ExchangeError | None
    triggers: Triggers | None

    @property
    def awaits_rules(self) -> bool:
        """Whether nothing can be said of it yet."""
        return self.problem is None and self.rules is None

    @property
    def obstacle(self) -> str | ExchangeError | None:
        """Why it cannot be traded, by its row or by the exchange."""
        return self.problem or (self.rules if isinstance(self.rules, ExchangeError) else None)

    @property
    def is_tradable(self) -> bool:
        """Whether its row can be traded and its rules are known."""
        return self.problem is None and isinstance(self.rules, AssetRules)

    def with_rules(self, rules: AssetRules | ExchangeError | None, fee_rate: Decimal) -> Reading:
        """What follows once `rules` are known."""
        triggers = NEVER if self.problem else None
        if not self.problem and isinstance(rules, AssetRules):
            triggers = compute_triggers(self.state, rules, fee_rate)
        return replace(self, rules=rules, triggers=triggers)


@dataclass(frozen=True, slots=True)
class Changes:
    """What was read, and the symbols of all assets that have a cycle; None: not asked."""

    readings: list[Reading]
    symbols: frozenset[str] | None


def read(state: TradingState, rules: AssetRulesCache, fee_rate: Decimal) -> Reading:
    """`state` with what follows from it by the last known rules."""
    problem = find_state_problem(state)
    bare = Reading(state=state, problem=problem, rules=None, triggers=None)
    return bare.with_rules(rules.find_last(state.asset.asset_symbol), fee_rate)


class StateReader:
    """Of one thread. Blocking."""

    def __init__(self, rules: AssetRulesCache, fee_rate: Decimal) -> None:
        self._rules = rules
        self._fee_rate = fee_rate
        self._fingerprints: dict[str, str] = {}

    def read_changed(self, also: Collection[str] = ()) -> Changes:
        """Every asset that is not as it was read before, and those named by `also`.

        Raises:
            DatabaseError: nothing was read; the next call finds it all.
        """
        found = load_fingerprints(thread_connection())
        changed = [
            symbol
            for symbol, fingerprint in found.items()
            if symbol in also or self._fingerprints.get(symbol) != fingerprint
        ]
        readings = self._read(changed)
        # What changed between the two questions was read as it is, and is read once more.
        lost = set(changed) - {reading.state.asset.asset_symbol for reading in readings}
        self._fingerprints = {symbol: one for symbol, one in found.items() if symbol not in lost}
        return Changes(readings, frozenset(found))

    def read_some(self, symbols: Collection[str]) -> Changes:
        """These assets; every one that changed where one of these has another name by now.

        Raises:
            DatabaseError: nothing was read.
        """
        readings = self._read(symbols)
        if len(readings) < len(symbols):
            return self.read_changed(symbols)
        return Changes(readings, None)

    def _read(self, symbols: Collection[str]) -> list[Reading]:
        states = load_trading_states(thread_connection(), list(symbols))
        return [read(state, self._rules, self._fee_rate) for state in states]
