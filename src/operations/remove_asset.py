"""Forgetting an asset without losing coins or orders.

Owns: that no order of ours is left without its cycle. The asset is disabled first: every buy reads
the row just before it is sent, so that none is sent from then on. One that was sent a moment ago
has reached the exchange after UNKNOWN_OUTCOME_SECONDS, or never will: the exchange is asked before
and after that time. The rows are deleted last.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from config import get_settings
from domain.asset import DcaAsset
from domain.cycle import WAITING_STATUSES, DcaCycle
from models.cycle_data import get_latest_cycle
from operations.asset_changes import delete_asset, disable_asset, enable_asset
from operations.refused import Refused
from strategy.order_identity import compute_client_order_id, has_our_prefix
from utils.alpaca_client_rest import get_trading_client
from utils.alpaca_queries import fetch_open_orders_of, fetch_order_by_client_id
from utils.db_utils import thread_connection
from utils.formatting import number


def check_removal(asset: DcaAsset, *, keep_coins: bool) -> DcaCycle | None:
    """The latest cycle of an asset that can be removed.

    Raises:
        Refused: while it holds coins (unless they are to be kept) or an order of it is open.
        ExchangeError, DatabaseError: not known now.
    """
    symbol = asset.asset_symbol
    cycle = get_latest_cycle(thread_connection(), asset.id)
    orders = fetch_open_orders_of(get_trading_client(), symbol)
    waits = cycle is not None and cycle.is_open and _waits_for_order(cycle)
    if waits or any(has_our_prefix(order.client_order_id) for order in orders):
        raise Refused(
            f"an order of {symbol} is open: wait until it has ended"
            f" (scripts/assets disable {symbol} stops the next one)"
        )
    if cycle is None or not cycle.is_open:
        return cycle
    # The order that the cycle's state can have: it exists and is not linked yet.
    identity = compute_client_order_id(cycle)
    if fetch_order_by_client_id(get_trading_client(), identity) is not None:
        raise Refused(
            f"an order of {symbol} has ended and is not booked yet:"
            " let the bot run until it is, then remove it"
        )
    if cycle.quantity > 0 and not keep_coins:
        raise Refused(
            f"{symbol} still holds {number(cycle.quantity)} coins: sell them"
            f" (scripts/bot close {symbol}), let the bot sell them (scripts/assets disable"
            f" {symbol}), or keep them yourself (remove {symbol} --keep-coins)"
        )
    return cycle


def finish_removal(
    asset: DcaAsset, *, keep_coins: bool, wait: Callable[[float], None] = time.sleep
) -> DcaCycle | None:
    """Remove it; the latest cycle as it was.

    Args:
        wait: lets UNKNOWN_OUTCOME_SECONDS pass; nothing shows this program an order that
            arrives meanwhile.

    Raises:
        Refused, ExchangeError, DatabaseError: it is still there, as it was before.
    """
    if asset.is_enabled:
        disable_asset(asset)  # from here on no new buy is sent; one may be on its way
    try:
        check_removal(asset, keep_coins=keep_coins)
        wait(get_settings().unknown_outcome_seconds)
        cycle = check_removal(asset, keep_coins=keep_coins)
        delete_asset(asset, cycle)
    except BaseException:  # Ctrl-C too: it must go on trading as before
        if asset.is_enabled:
            enable_asset(asset)
        raise
    return cycle


def _waits_for_order(cycle: DcaCycle) -> bool:
    return cycle.status in WAITING_STATUSES or cycle.latest_order_id is not None
