"""Trade updates in, lifecycle changes out: one transaction each. Phases 7 to 9 of the plan.

Owns: the queue between the stream and the database. The stream's callback only posts; the worker
applies at its own pace. An update is a hint: an order that ended is read once over REST first,
and whatever cannot be applied now (database or exchange away) asks for a sweep, which finds it
again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from alpaca.trading.client import TradingClient

from cycle_changes import Applied, apply_order
from models.exchange import ExchangeOrder, ForeignAssetClass, TradeUpdate, WireError
from utils.alpaca_client_rest import ExchangeError, fetch_order
from utils.asset_rules_cache import AssetRulesCache
from utils.db_utils import DatabaseError
from utils.logging_setup import log_event

log = logging.getLogger(__name__)

QUEUE_SIZE = 1000
_ENDING_EVENTS = frozenset({"fill", "canceled", "expired", "rejected", "replaced"})


class TradeUpdateHandler:
    """`on_crypto_trade_update` for the trade stream, and the worker behind it.

    Args:
        on_change: called from the worker's thread with each order whose change was written.
        request_sweep: called when an update could not be applied and a sweep must find it again.
        on_unclaimed: called with an order of ours that no cycle claims; a sweep is to judge it.
    """

    def __init__(
        self,
        client: TradingClient,
        rules: AssetRulesCache,
        fee_rate: Decimal,
        *,
        on_change: Callable[[ExchangeOrder], None] = lambda order: None,
        request_sweep: Callable[[str], None] = lambda reason: None,
        on_unclaimed: Callable[[ExchangeOrder], None] = lambda order: None,
    ) -> None:
        self._client = client
        self._rules = rules
        self._fee_rate = fee_rate
        self._on_change = on_change
        self._request_sweep = request_sweep
        self._on_unclaimed = on_unclaimed
        self._queue: asyncio.Queue[TradeUpdate] = asyncio.Queue(QUEUE_SIZE)

    async def on_crypto_trade_update(self, tu: Any) -> None:
        """Take one update: the raw message or the SDK's `TradeUpdate`.

        Never raises, never waits.
        """
        try:
            self._queue.put_nowait(TradeUpdate.from_wire(tu))
        except ForeignAssetClass as error:
            log.debug("update.foreign reason=%s", error)
        except WireError as error:
            log_event(log, logging.WARNING, "update.malformed", reason=error)
            self._request_sweep("malformed trade update")
        except asyncio.QueueFull:
            self._request_sweep("too many trade updates at once")

    async def run(self) -> None:
        """Apply updates one after another, for ever."""
        while True:
            update = await self._queue.get()
            try:
                await asyncio.to_thread(self.apply, update)
            except (DatabaseError, ExchangeError) as error:
                log_event(
                    log,
                    logging.WARNING,
                    "update.postponed",
                    symbol=update.order.symbol,
                    event=update.event,
                    id=update.order.client_order_id,
                    reason=error,
                )
                self._request_sweep("an update could not be applied")
            except Exception:  # the top of a task: the sweep does what this one could not
                log.exception("update.failed id=%s", update.order.client_order_id)
                self._request_sweep("an update failed")
            finally:
                self._queue.task_done()

    async def settled(self) -> None:
        """Wait until every update so far has been applied or handed to a sweep."""
        await self._queue.join()

    def apply(self, update: TradeUpdate) -> Applied:
        """Apply one update. Blocking.

        Raises:
            DatabaseError, ExchangeError: nothing was written.
        """
        order = update.order
        log_event(
            log,
            logging.INFO,
            "update.received",
            event=update.event,
            symbol=order.symbol,
            side=order.side,
            order_status=order.status,
            filled=order.filled_qty,
            price=order.filled_avg_price,
            id=order.client_order_id,
        )
        if update.event in _ENDING_EVENTS or order.is_ended:
            fetched = fetch_order(self._client, order.id)
            if fetched is None or not fetched.is_ended:
                # A replica of the exchange that lags behind its own stream: the sweep looks again.
                self._request_sweep("the exchange does not confirm an update yet")
                return Applied.NOTHING_NEW
            order = fetched
        result = apply_order(
            order, self._rules.get(order.symbol), self._fee_rate, datetime.now(UTC), source="stream"
        )
        match result.applied:
            case Applied.CHANGED | Applied.CORRECTED:
                self._on_change(order)
            case Applied.AHEAD:
                self._request_sweep("an order is ahead of its cycle")
            case Applied.NOT_OURS:
                self._warn_untracked(update, order)
            case Applied.UNCLAIMED:
                self._on_unclaimed(order)
                self._request_sweep("no cycle claims an order")
            case Applied.NOTHING_NEW | Applied.FORBIDDEN:
                pass
        return result.applied

    def _warn_untracked(self, update: TradeUpdate, order: ExchangeOrder) -> None:
        if update.event in _ENDING_EVENTS:
            log_event(
                log,
                logging.WARNING,
                "update.ignored",
                symbol=order.symbol,
                order=order.id,
                reason=f"Received {update.event} for order {order.id} not actively tracked",
            )
