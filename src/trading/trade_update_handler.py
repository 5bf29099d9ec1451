"""Trade updates in, lifecycle changes out: one transaction each. Phases 7 to 9 of the plan.

Owns: the queue between the stream and the database. The stream's callback only posts; the worker
applies at its own pace, in threads of its own. An update is a hint: an order that ended is read
over REST first. Where REST lags behind, it is read again after 1, 2, 4... seconds, and the later
updates of that symbol wait; for what cannot be applied now (database or exchange away) a sweep is
requested, which finds it again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

from alpaca.trading.client import TradingClient

from domain.orders import ExchangeOrder, TradeUpdate
from domain.wire import ForeignAssetClass, WireError
from strategy.order_identity import has_our_prefix
from strategy.reconciliation import Action, plan
from strategy.reconciliation_facts import StreamedEnd
from trading.asset_rules_cache import AssetRulesCache
from trading.cycle_changes import Applied, apply_order
from trading.order_claims import fetch_current_order
from utils.alpaca_client_rest import ExchangeError
from utils.alpaca_queries import fetch_order
from utils.db_utils import DatabaseError
from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)

QUEUE_SIZE = 1000
THREADS = 4  # one for what comes, the others for what is read again
FIRST_CONFIRM_SECONDS = 1.0
_ENDING_EVENTS = frozenset({"fill", "canceled", "expired", "rejected", "replaced"})


def _doubling(first_seconds: float, in_all_seconds: float) -> Iterator[float]:
    """1, 2, 4... seconds, as long as their sum stays within the bound."""
    seconds, left = first_seconds, in_all_seconds
    while seconds <= left:
        yield seconds
        left -= seconds
        seconds *= 2


@dataclass(eq=False)
class TradeUpdateHandler:
    """`on_crypto_trade_update` for the trade stream, and the worker behind it.

    Args:
        on_change: called from the worker's thread with each order whose change was written.
        request_sweep: called when an update could not be applied and a sweep must find it again.
        on_unclaimed: called with an order of ours that no cycle claims; a sweep is to judge it.
        confirm_end_seconds: for how long an end that REST does not confirm is read again before a
            sweep is requested.
    """

    client: TradingClient
    rules: AssetRulesCache
    fee_rate: Decimal
    _: KW_ONLY
    on_change: Callable[[ExchangeOrder], None] = lambda order: None
    request_sweep: Callable[[str], None] = lambda reason: None
    on_unclaimed: Callable[[ExchangeOrder], None] = lambda order: None
    confirm_end_seconds: float = 0.0
    _queue: asyncio.Queue[TradeUpdate] = field(default_factory=lambda: asyncio.Queue(QUEUE_SIZE))
    _threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(THREADS, thread_name_prefix="bot-fills")
    )
    # By symbol: the one that REST does not confirm yet, and those that came after it.
    _behind: dict[str, deque[TradeUpdate]] = field(default_factory=dict)
    _confirming: set[asyncio.Task[None]] = field(default_factory=set)

    async def on_crypto_trade_update(self, tu: Any) -> None:
        """Take an update: the raw message or the SDK's `TradeUpdate`. Never raises, never waits."""
        try:
            self._queue.put_nowait(TradeUpdate.from_wire(tu))
        except ForeignAssetClass as error:
            log_event(log, LogEvent.UPDATE_FOREIGN, reason=error)
        except WireError as error:
            log_event(log, LogEvent.UPDATE_MALFORMED, reason=error)
            self.request_sweep("malformed trade update")
        except asyncio.QueueFull:
            self.request_sweep("too many trade updates at once")

    async def run(self) -> None:
        """Apply updates one after another, until canceled."""
        try:
            while True:
                await self._take(await self._queue.get())
        finally:
            for task in self._confirming:
                task.cancel()

    async def _take(self, update: TradeUpdate) -> None:
        symbol = update.order.symbol
        if (behind := self._behind.get(symbol)) is not None:
            if len(behind) < QUEUE_SIZE:
                behind.append(update)
                return
            self.request_sweep("too many trade updates at once")
        elif not await self._is_done(update):
            self._behind[symbol] = deque([update])
            task = asyncio.create_task(self._confirm_end(symbol), name=f"unconfirmed {symbol}")
            self._confirming.add(task)
            task.add_done_callback(self._confirming.discard)
            return
        self._queue.task_done()

    async def _confirm_end(self, symbol: str) -> None:
        """Try until the exchange confirms, or long enough; then the later ones, as they came."""
        behind = self._behind[symbol]
        while behind:
            for seconds in _doubling(FIRST_CONFIRM_SECONDS, self.confirm_end_seconds):
                await asyncio.sleep(seconds)  # nothing announces that a replica has caught up
                if await self._is_done(behind[0]):
                    break
            else:
                self.request_sweep("the exchange does not confirm an update")
            self._drop_first(behind)
            while behind and await self._is_done(behind[0]):
                self._drop_first(behind)
        del self._behind[symbol]

    def _drop_first(self, behind: deque[TradeUpdate]) -> None:
        behind.popleft()
        self._queue.task_done()

    async def _is_done(self, update: TradeUpdate) -> bool:
        """Apply `update` or leave it to a sweep; False where the exchange does not confirm it."""
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self.apply, update) is not None
        except (DatabaseError, ExchangeError) as error:
            log_event(
                log,
                LogEvent.UPDATE_POSTPONED,
                symbol=update.order.symbol,
                event=update.event,
                id=update.order.client_order_id,
                reason=error,
            )
            self.request_sweep("an update could not be applied")
        except Exception:  # noqa: BLE001 - the top of a task: the sweep does what this one could not
            log_event(log, LogEvent.UPDATE_FAILED, id=update.order.client_order_id, traceback=True)
            self.request_sweep("an update failed")
        return True

    async def wait_until_idle(self) -> None:
        """Wait until every update so far has been applied or left to a sweep (for tests)."""
        await self._queue.join()

    def apply(self, update: TradeUpdate) -> Applied | None:
        """Apply one update, blocking; None where the exchange does not confirm that it ended.

        Raises:
            DatabaseError, ExchangeError: nothing was written.
        """
        order = update.order
        log_event(
            log,
            LogEvent.UPDATE_RECEIVED,
            event=update.event,
            symbol=order.symbol,
            side=order.side,
            order_status=order.status,
            filled=order.filled_qty,
            price=order.filled_avg_price,
            id=order.client_order_id,
        )
        if update.event in _ENDING_EVENTS or order.is_ended:
            fetched = fetch_order(self.client, order.id)
            is_confirmed = fetched is not None and fetched.is_ended
            is_ours = has_our_prefix(order.client_order_id)
            action = plan(StreamedEnd(is_confirmed=is_confirmed, is_ours=is_ours)).action
            if action is Action.WAIT:
                return None
            if fetched is None or action is not Action.APPLY_ORDER:
                self.request_sweep("the exchange does not confirm an update")
                return Applied.NOTHING_NEW
            order = fetched
        result = apply_order(
            order,
            self.rules.get(order.symbol),
            self.fee_rate,
            datetime.now(UTC),
            source="stream",
            find_current=partial(fetch_current_order, self.client),
        )
        match result.applied:
            case Applied.CHANGED | Applied.CORRECTED:
                self.on_change(order)
            case Applied.AHEAD:
                self.request_sweep("an order is ahead of its cycle")
            case Applied.NOT_OURS:
                _warn_untracked(update, order)
            case Applied.UNCLAIMED:
                self.on_unclaimed(order)
                self.request_sweep("no cycle claims an order")
            case Applied.NOTHING_NEW | Applied.FORBIDDEN | Applied.UNRESOLVED:
                pass
        return result.applied


def _warn_untracked(update: TradeUpdate, order: ExchangeOrder) -> None:
    if update.event in _ENDING_EVENTS:
        reason = f"Received {update.event} for order {order.id} not actively tracked"
        log_event(log, LogEvent.UPDATE_IGNORED, symbol=order.symbol, order=order.id, reason=reason)
