"""What keeps an asset, or the daemon as a whole, from trading. Reads only.

From the daemon's heartbeat, and from the account: coins that no cycle claims stop a base order.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from domain.cycle import CycleStatus
from domain.market import AssetRules
from domain.trading_state import TradingState
from models.trading_state import load_all_trading_states, with_leftovers
from runtime.heartbeat import Heartbeat
from strategy.entry import waits_for_user
from strategy.sizing import is_dust, is_unsellable
from strategy.unclaimed import cure_of_foreign_coins, describe_foreign_coins
from utils.alpaca_client_rest import get_trading_client
from utils.alpaca_queries import fetch_positions
from utils.db_utils import thread_connection
from utils.formatting import span

SHORT_SECONDS = 60.0  # what is over sooner is shown, but counts as nothing wrong
RECHECK_SECONDS = 2.0
StateKey = tuple[str, int, int]  # symbol, cycle, order_seq


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBack:
    """What holds `symbol` (None: the daemon as a whole) back. `seconds` None: seen on the account.

    `is_stalled`: for so long that an alert was sent. `is_requested`: the user wants it so.
    """

    symbol: str | None
    seconds: float | None
    reason: str
    cure: str | None = None
    is_stalled: bool = False
    is_requested: bool = False
    has_foreign_coins: bool = False  # this is what `ask_for_foreign_coins` would say

    @property
    def is_wrong(self) -> bool:
        lasts = self.seconds is None or self.seconds >= SHORT_SECONDS
        return not self.is_requested and (self.is_stalled or lasts)

    @property
    def words(self) -> str:
        """Why, and since when."""
        if self.seconds is None:
            return self.reason
        return f"{self.reason} (for {span(self.seconds)})"

    @property
    def line(self) -> str:
        """For a person: which, why, since when, and the cure."""
        cure = f": {self.cure}" if self.cure else ""
        return f"{self.symbol or 'the daemon'} is held back: {self.words}{cure}"


def load_held(beat: Heartbeat, now: float) -> tuple[HeldBack, ...]:
    """What the daemon says of itself and its assets; `now` is monotonic."""
    return tuple(
        HeldBack(
            symbol=held.symbol,
            seconds=max(0.0, now - held.since),
            reason=held.reason,
            cure=held.cure,
            is_stalled=held.is_stalled,
            is_requested=held.is_requested,
            has_foreign_coins=held.has_foreign_coins,
        )
        for held in beat.held_back
    )


def find_foreign_coins(
    states: Iterable[TradingState],
    reported: Iterable[HeldBack],
    rules: Mapping[str, AssetRules],
    fee_rate: Decimal,
    confirmed: set[StateKey],
) -> dict[str, HeldBack]:
    """Coins that stop a base order, by symbol. Needs no daemon. Blocking: fetches the positions if
    a base order waits, and again if coins are found: a fill may not be booked yet.

    Args:
        reported: what the daemon says; coins that it reports are not looked for.
        confirmed: states in which they were found twice already; grows.

    Raises:
        ExchangeError, DatabaseError: not known now.
    """
    known = {held.symbol for held in reported if held.has_foreign_coins}
    waiting = [
        state
        for state in states
        if state.asset.asset_symbol not in known and _waits_for_base_order(state, rules, fee_rate)
    ]
    found = _find_foreign_coins(waiting, rules) if waiting else {}
    if found.keys() - confirmed:
        time.sleep(RECHECK_SECONDS)  # nothing announces that database and account agree
        again = load_all_trading_states(thread_connection())
        waiting = [state for state in again if _waits_for_base_order(state, rules, fee_rate)]
        second = _find_foreign_coins(waiting, rules)
        found = {key: second[key] for key in found if key in second}
        confirmed |= found.keys()
    return {held.symbol: held for held in found.values() if held.symbol is not None}


def _waits_for_base_order(
    state: TradingState, rules: Mapping[str, AssetRules], fee_rate: Decimal
) -> bool:
    """Whether the next thing that it does is to open a cycle."""
    cycle, own_rules = state.cycle, rules.get(state.asset.asset_symbol)
    return (
        own_rules is not None
        and state.asset.is_enabled
        and cycle.status is CycleStatus.WATCHING
        and not cycle.sells_now
        and not waits_for_user(state.asset, cycle)
        and is_dust(cycle.quantity, own_rules, fee_rate)
    )


def _find_foreign_coins(
    waiting: Iterable[TradingState], rules: Mapping[str, AssetRules]
) -> dict[StateKey, HeldBack]:
    positions = fetch_positions(get_trading_client())
    found = {}
    for state in with_leftovers(thread_connection(), waiting):
        symbol = state.asset.asset_symbol
        position = positions.get(symbol)
        if position is None:
            continue
        foreign_qty = state.foreign_coins(position.qty)
        if is_unsellable(foreign_qty, rules[symbol]):
            continue
        found[symbol, state.cycle.id, state.cycle.order_seq] = HeldBack(
            symbol=symbol,
            seconds=None,
            reason=describe_foreign_coins(foreign_qty),
            cure=cure_of_foreign_coins(symbol),
            has_foreign_coins=True,
        )
    return found
