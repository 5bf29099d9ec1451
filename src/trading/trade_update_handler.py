"""Trade updates in, lifecycle changes out: one transaction each. Phases 7 to 9 of the plan.

Owns: the queues between the stream and the database, one for each symbol. The stream's callback
only posts; each symbol's updates are applied in their order, at their own pace, and hold up no
other's. An update is a hint: an order that ended is read over REST first. Where REST lags behind,
it is read again after 1, 2, 4... seconds, and the later updates of that symbol wait; for what
cannot be applied now (database or exchange away) a sweep is requested, which finds it again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

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
from utils.alpaca_sdk import TradingClient
from utils.db_utils import DatabaseError
from utils.log_events import LogEvent, log_event
from utils.ready_threads import ReadyThreads
from utils.waiting import wait_for_event

log = logging.getLogger(__name__)

QUEUE_SIZE = 1000  # of all symbols together
THREADS = 4  # so many symbols at once; the others wait their turn
FIRST_CONFIRM_SECONDS = 1.0
MOMENT_SECONDS = 0.01  # an order that goes through at once ends within it
_ENDING_EVENTS = frozenset({"fill", "canceled", "expired", "rejected", "replaced"})


def _doubling(first_seconds: float, in_all_seconds: float) -> Iterator[float]:
    """1, 2, 4... seconds, as long as their sum stays within the bound."""
    seconds, left = first_seconds, in_all_seconds
    while seconds <= left:
        yield seconds
        left -= seconds
        seconds *= 2


def _is_end(update: TradeUpdate) -> bool:
    return update.event in _ENDING_EVENTS or update.order.is_ended


@dataclass(eq=False)
class _Queue:
    """The updates of one symbol, the one that is being applied first."""

    updates: deque[TradeUpdate] = field(default_factory=deque)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def drop_overtaken(self) -> bool:
        """Whether the first one was dropped, because an end of the same order has come behind it:
        all that it says is read with that. What ends nothing waits a moment for that end, or an
        order that goes through at once would be booked twice, one after the other.
        """
        first = self.updates[0]
        if _is_end(first):
            return False
        if len(self.updates) == 1:
            self.arrived.clear()
            await wait_for_event(self.arrived, MOMENT_SECONDS)
        is_overtaken = any(_is_end(one) and one.order.id == first.order.id for one in self.updates)
        if is_overtaken:
            self.updates.popleft()
        return is_overtaken


@dataclass(eq=False)
class TradeUpdateHandler:
    """`on_crypto_trade_update` for the trade stream, and the workers behind it.

    Args:
        on_change: called from a worker's thread with each order whose change was written.
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
    _queues: dict[str, _Queue] = field(default_factory=dict)  # of the symbols that have updates
    _begun: asyncio.Queue[str] = field(default_factory=asyncio.Queue)  # symbols without a worker
    _left: int = 0  # updates in all queues
    _idle: asyncio.Event = field(default_factory=asyncio.Event)
    _threads: ReadyThreads = field(init=False)  # while it runs

    async def on_crypto_trade_update(self, tu: Any) -> None:
        """Take an update: the raw message or the SDK's `TradeUpdate`. Never raises, never waits."""
        try:
            self._post(TradeUpdate.from_wire(tu))
        except ForeignAssetClass as error:
            log_event(log, LogEvent.UPDATE_FOREIGN, reason=error)
        except WireError as error:
            log_event(log, LogEvent.UPDATE_MALFORMED, reason=error)
            self.request_sweep("malformed trade update")

    def _post(self, update: TradeUpdate) -> None:
        if self._left >= QUEUE_SIZE:
            self.request_sweep("too many trade updates at once")
            return
        symbol = update.order.symbol
        if symbol not in self._queues:
            self._queues[symbol] = _Queue()
            self._begun.put_nowait(symbol)
        self._queues[symbol].updates.append(update)
        self._queues[symbol].arrived.set()
        self._left += 1

    async def run(self) -> None:
        """Apply updates, those of one symbol one after another, until canceled."""
        self._threads = ReadyThreads("bot-fills", THREADS)
        self._threads.make_ready()
        try:
            async with asyncio.TaskGroup() as workers:
                while True:
                    symbol = await self._begun.get()
                    workers.create_task(self._apply_all(symbol), name=f"updates {symbol}")
        finally:
            self._threads.stop()

    async def _apply_all(self, symbol: str) -> None:
        """The updates of one symbol, as they came, until there is none."""
        queue = self._queues[symbol]
        while queue.updates:
            if not await queue.drop_overtaken():
                await self._apply(queue.updates[0])
                queue.updates.popleft()
            self._left -= 1
        del self._queues[symbol]
        if not self._left:
            self._idle.set()

    async def _apply(self, update: TradeUpdate) -> None:
        if not await self._is_done(update) and not await self._is_confirmed(update):
            self.request_sweep("the exchange does not confirm an update")

    async def _is_confirmed(self, update: TradeUpdate) -> bool:
        """Try again until the exchange confirms, or long enough."""
        for seconds in _doubling(FIRST_CONFIRM_SECONDS, self.confirm_end_seconds):
            await asyncio.sleep(seconds)  # nothing announces that a replica has caught up
            if await self._is_done(update):
                return True
        return False

    async def _is_done(self, update: TradeUpdate) -> bool:
        """Apply `update` or leave it to a sweep; False where the exchange does not confirm it."""
        try:
            return await self._threads.run(partial(self.apply, update)) is not None
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
        while self._left:
            self._idle.clear()
            await self._idle.wait()

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
        if _is_end(update):
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
