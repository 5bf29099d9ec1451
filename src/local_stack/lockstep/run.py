"""A recording through the real bot and through the replay, and whether both did the same.

Owns: that both begin with the same assets, cash, fees and rules. Judges nothing else: see compare.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from config import Settings
from domain.asset import DcaAsset
from domain.journal import JournalEntry
from local_stack.exchange_process import ExchangeProcess
from local_stack.lockstep.compare import (
    Difference,
    EndFacts,
    OrderFacts,
    find_difference,
    order_facts,
)
from local_stack.lockstep.play import Lockstep, Recording
from models.cycle_data import get_latest_cycle
from models.order_journal import get_entries_ended_since
from operations.asset_changes import save_new_asset
from research.quotes import Quotes
from research.simulate import AssetOutcome, Outcome, SimulatedMarket, simulate
from strategy.limits import AccountLimits
from trading.asset_rules_cache import AssetRulesCache
from utils.alpaca_client_rest import get_trading_client
from utils.db_utils import thread_connection

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """One asset with the settings it is traded by (its id does not matter), its quotes, and when
    the user asks for a cycle of it to be opened.
    """

    asset: DcaAsset
    quotes: Quotes
    opens: tuple[datetime, ...] = ()

    @property
    def symbol(self) -> str:
        return self.asset.asset_symbol


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was compared. `difference`: the first; None: there is none.

    `crossings`: quotes at which the bot considered an order. `profit_usd`: of the complete cycles,
    as the bot's journal has it.
    """

    quotes: int
    crossings: int
    orders: int
    cycles: int
    profit_usd: Decimal
    seconds: float
    replay_seconds: float
    difference: Difference | None


def verify(
    settings: Settings,
    exchange: ExchangeProcess,
    markets: Sequence[Market],
    on_progress: Callable[[int], None] = lambda quotes: None,
) -> Verdict:
    """Play `markets` through a bot with an empty database, and through the replay. Blocking.

    Raises:
        StackError, ExchangeError, DatabaseError: the bot could not go on.
        Refused: an asset that cannot be saved.
    """
    rules = AssetRulesCache(get_trading_client(), settings.minimum_order_usd)
    cash_usd = _balances(exchange)[0]
    simulated = [
        SimulatedMarket(
            asset=one.asset, rules=rules.get(one.symbol), prices=one.quotes, opens=one.opens
        )
        for one in markets
    ]
    begun = time.monotonic()
    outcome = simulate(
        simulated,
        cash_usd=cash_usd,
        fee_rate=settings.taker_fee_rate,
        max_spread_percent=settings.max_spread_percent,
        max_jump_percent=settings.max_quote_jump_percent,
        limits=AccountLimits.of(settings),
    )
    replayed = time.monotonic()
    assets = [save_new_asset(one.asset) for one in markets]
    recordings = [Recording(one.symbol, one.quotes, one.opens) for one in markets]
    lockstep = Lockstep(settings, exchange, recordings, on_progress)
    asyncio.run(lockstep.run())
    ended = time.monotonic()
    bot_orders, bot_ends = _read_bot(exchange, assets, lockstep)
    return Verdict(
        quotes=sum(len(one.quotes.times) for one in markets),
        crossings=lockstep.crossings,
        orders=len(bot_orders),
        cycles=sum(one.profit_usd is not None for one in bot_orders),
        profit_usd=sum((one.profit_usd or Decimal(0) for one in bot_orders), Decimal(0)),
        seconds=ended - replayed,
        replay_seconds=replayed - begun,
        difference=(
            find_difference("order", bot_orders, _orders_of(outcome))
            or find_difference("asset at the end,", bot_ends, _ends_of(outcome))
        ),
    )


def _read_bot(
    exchange: ExchangeProcess, assets: Sequence[DcaAsset], lockstep: Lockstep
) -> tuple[list[OrderFacts], list[EndFacts]]:
    connection = thread_connection()
    entries = get_entries_ended_since(connection, _EPOCH)
    times = {one.client_order_id: one.at_micros for one in lockstep.played}
    averages = {
        one.client_order_id: one.cycle.average_purchase_price
        for one in lockstep.played
        if one.cycle is not None
    }
    cash_usd, coins = _balances(exchange)
    orders: list[OrderFacts] = []
    ends: list[EndFacts] = []
    for asset in assets:
        cycle = get_latest_cycle(connection, asset.id)
        assert cycle is not None, "an asset always has an open cycle"
        own = [entry for entry in entries if entry.asset_id == asset.id]
        orders += order_facts(own, cycle.id, times, averages)
        held = coins.get(asset.asset_symbol, Decimal(0))
        ends.append(EndFacts.of(asset.asset_symbol, cycle, cash_usd=cash_usd, coins=held))
    return orders, ends


def _balances(exchange: ExchangeProcess) -> tuple[Decimal, dict[str, Decimal]]:
    """USD, and coins by symbol, as the exchange's own records have them."""
    balances: dict[str, Any] = exchange.state()["balances"]
    coins = {symbol: Decimal(one["qty"]) for symbol, one in balances["coins"].items()}
    return Decimal(balances["cash"]), coins


def _orders_of(outcome: Outcome) -> list[OrderFacts]:
    return [order for one in outcome.assets for order in _orders_of_asset(one)]


def _orders_of_asset(one: AssetOutcome) -> list[OrderFacts]:
    times = {entry.client_order_id: _micros(entry) for entry in one.entries}
    return order_facts(one.entries, one.open_cycle.id, times)


def _micros(entry: JournalEntry) -> int:
    assert entry.ended_at is not None, "in a replay every order has a time"
    return (entry.ended_at - _EPOCH) // timedelta(microseconds=1)


def _ends_of(outcome: Outcome) -> list[EndFacts]:
    cash_usd = outcome.cash_usd
    return [
        EndFacts.of(one.symbol, one.open_cycle, cash_usd=cash_usd, coins=one.coins)
        for one in outcome.assets
    ]
