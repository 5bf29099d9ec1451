"""The account's orders, read as lists for the reconciler: the newest at each sweep, and as far back
as a recovery needs them.

Owns: how far a list must reach, and what a recovery that was cut off has read and asked already, so
that the next one goes on from there. Applies nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice

from domain.cycle import WAITING_STATUSES, DcaCycle
from domain.orders import ExchangeOrder, UnreadableOrder
from models.order_journal import get_first_submission, get_previous_submissions
from strategy.order_history import BEGINNING, OrderHistory, can_be_of, earliest_submission
from strategy.reconciliation import Action, plan
from strategy.reconciliation_facts import CurrentOrder
from trading.order_claims import read_claims
from utils.alpaca_orders import fetch_order_page, parse_orders, read_order_pages
from utils.alpaca_queries import fetch_orders
from utils.alpaca_sdk import TradingClient
from utils.db_utils import thread_connection

LATE_FILL_WINDOW = timedelta(hours=1)  # fills can still arrive for an order that ended
MAX_WINDOW = timedelta(hours=24)
# Of a sweep: what the whole of a page needs beside it, its records and their rows, is several times
# the page. Freed, it would stay with the process.
ORDERS_AT_ONCE = 50


class OrderLists:
    """Of one account; for one sweep or recovery at a time."""

    def __init__(self, client: TradingClient) -> None:
        self._client = client
        self._unfinished: OrderHistory | None = None
        # Every order of ours submitted before is booked, linked or an alert. None: unknown.
        self._compared_at: datetime | None = None

    def read_recent(
        self, cycles: Sequence[DcaCycle], known: Sequence[ExchangeOrder], now: datetime
    ) -> OrderHistory:
        """Every order that ended within the last hour, and the open ones, where one of `cycles`
        waits, or one of `known` is open, for longer than that.

        Raises:
            ExchangeError, DatabaseError: nothing is known.
        """
        after, unreadable = _window_start(cycles, now), list[UnreadableOrder]()
        history = OrderHistory(read_at=now, reaches=after)
        awaited = {one.latest_order_id for one in cycles if one.status in WAITING_STATUSES}
        kept = awaited | {one.id for one in known}
        raw_orders = read_order_pages(self._client, "all", after)
        while some := list(islice(raw_orders, ORDERS_AT_ONCE)):
            orders = parse_orders(some, unreadable.append)
            history.listed += len(orders)
            history.add(_that_matter(orders, cycles, kept))
        history.add([], unreadable)
        awaited |= {one.id for one in known if not one.is_ended}
        if any(one and not history.has(one) for one in awaited):
            self._add_open_orders(history)
        return history

    def read_far(self, cycles: Sequence[DcaCycle], now: datetime) -> OrderHistory:
        """The newest orders, the open ones, and older ones as long as more questions are left than
        pages were read back: that costs at most twice what the best mixture of pages and single
        questions would.

        Raises:
            ExchangeError, DatabaseError: not finished; the next call goes on where this one
                stopped.
        """
        window_start = _window_start(cycles, now)
        by_id = {cycle.id: cycle for cycle in cycles}
        known, newest = self._unfinished, OrderHistory(read_at=now, reaches=now)
        until = (
            window_start if known is None else min(window_start, known.read_at - LATE_FILL_WINDOW)
        )
        self._extend(newest, None, by_id, window_start)
        while newest.reaches > until:
            self._extend(newest, newest.reaches, by_id, window_start)
        history = self._unfinished = newest if known is None else known.renewed(newest)
        self._add_open_orders(history)
        submissions = get_previous_submissions(thread_connection())
        while history.reaches > BEGINNING:
            said = [self.say_of(cycle, history, submissions, now) for cycle in cycles]
            if sum(plan(one).action is Action.ASK for one in said) <= history.pages_back:
                break
            self._extend(history, history.reaches, by_id, window_start)
            history.pages_back += 1
        return history

    def say_of(
        self,
        cycle: DcaCycle,
        history: OrderHistory,
        submissions: Mapping[int, datetime],
        now: datetime,
    ) -> CurrentOrder:
        """What `history` says about the one order that `cycle` can have.

        Args:
            submissions: by cycle id, when the order before that one was submitted.
        """
        previous = submissions.get(cycle.id)
        return history.say_of(cycle, earliest_submission(cycle, previous, self._compared_at, now))

    def compared(self, history: OrderHistory, *, is_whole: bool) -> None:
        """All of `history` was compared: the next recovery needs to reach back no further.

        Args:
            is_whole: nothing in it was unreadable.
        """
        begins_in_time = self._compared_at is not None and self._compared_at >= history.reaches
        if history is self._unfinished:
            self._unfinished, begins_in_time = None, True
        # A list that begins where the one before ended is as good as one long list.
        if begins_in_time:
            self._compared_at = history.read_at if is_whole else None

    def _extend(
        self,
        history: OrderHistory,
        before: datetime | None,
        cycles: Mapping[int, DcaCycle],
        window_start: datetime,
    ) -> None:
        """One page further back. Of what is older than a sweep reads, only the orders that an open
        cycle can still have count: the others were booked, or an alert, in their time.
        """
        page = fetch_order_page(self._client, before)
        orders = [
            one
            for one in page.orders
            if (one.submitted_at or BEGINNING) >= window_start or can_be_of(one, cycles)
        ]
        history.listed += len(orders)
        history.add(orders, page.unreadable)
        history.reaches = page.reaches or BEGINNING

    def _add_open_orders(self, history: OrderHistory) -> None:
        """Those that have been open for longer than the list reaches."""
        unreadable: list[UnreadableOrder] = []
        orders = fetch_orders(self._client, status="open", on_unreadable=unreadable.append)
        history.listed += sum(not history.has(order.id) for order in orders)
        history.add(orders, unreadable)


def _that_matter(
    orders: Sequence[ExchangeOrder], cycles: Sequence[DcaCycle], kept: Collection[str | None]
) -> list[ExchangeOrder]:
    """Without those that ended and are booked as they ended: an hour of a lively market has
    thousands, and to hold them all makes the process grow for as long.
    """
    claims = read_claims(thread_connection(), orders, cycles)
    return [
        own.order
        for own in claims
        if not own.order.is_ended or own.order.id in kept or plan(own).action is not Action.NOTHING
    ]


def _window_start(cycles: Sequence[DcaCycle], now: datetime) -> datetime:
    """From when one list holds every order that ended within the last hour."""
    moments = [get_first_submission(thread_connection(), now - LATE_FILL_WINDOW)]
    moments += [cycle.updated_at for cycle in cycles if cycle.status in WAITING_STATUSES]
    before = [moment - timedelta(minutes=1) for moment in moments if moment]
    return max(min([now - LATE_FILL_WINDOW, *before]), now - MAX_WINDOW)
