"""The parts that find out, decide and send, wired together: the one place that builds them.

The daemon, `bot close` without a daemon, consistency_checker and the integration tests all trade
and compare with these. Owns the wiring; decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from config import Settings
from domain.orders import ExchangeOrder
from trading.asset_rules_cache import AssetRulesCache
from trading.buy_limits import BuyLimits
from trading.dump_guard import utc_now
from trading.order_placement import OrderPlacer
from trading.reconciler import Reconciler
from utils.alpaca_client_rest import get_trading_client
from utils.alpaca_sdk import TradingClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """On one account and one database."""

    client: TradingClient
    rules: AssetRulesCache
    reconciler: Reconciler
    limits: BuyLimits
    placer: OrderPlacer


def build_engine(
    settings: Settings,
    *,
    why_no_orders: Callable[[], str | None] = lambda: None,
    on_change: Callable[[ExchangeOrder], None] = lambda order: None,
    confirm_seconds: float | None = None,
    now: Callable[[], datetime] = utc_now,
) -> Engine:
    """Build the parts of one process.

    Args:
        why_no_orders: asked before each order; a reason to send nothing at all, or None.
        on_change: called with each order whose change the reconciler wrote.
        confirm_seconds: how far apart two 404s of an order must lie; None: as the settings say.
        now: the clock that the days and pauses of the limits go by.
    """
    client = get_trading_client()
    rules = AssetRulesCache(client, settings.minimum_order_usd)
    reconciler = Reconciler(
        client,
        rules,
        settings.taker_fee_rate,
        confirm_seconds=(
            settings.unknown_outcome_seconds if confirm_seconds is None else confirm_seconds
        ),
        on_change=on_change,
    )
    limits = BuyLimits(settings, client, reconciler.blocked_symbols, rules_of=rules.get, now=now)
    placer = OrderPlacer(
        settings,
        client,
        rules,
        resolve=reconciler.resolve,
        limits=limits,
        why_no_orders=why_no_orders,
    )
    return Engine(client=client, rules=rules, reconciler=reconciler, limits=limits, placer=placer)
