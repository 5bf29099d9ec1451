"""What one symbol's last order attempt means for the next one. Memory only; time is an argument
(monotonic seconds).

It saves requests and spaces them; that no order is placed twice is due to order_identity.
"""

from __future__ import annotations

import logging

from domain.orders import Side
from strategy.reconciliation import Action, plan
from strategy.reconciliation_facts import SentOrder
from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)

LINK_SECONDS = 5.0  # how long an accepted order's event may take before its id is asked for
FIRST_BACKOFF_SECONDS = 5.0
MAX_BACKOFF_SECONDS = 300.0
MAX_DOUBLINGS = 10
REFUSALS_UNTIL_PAUSE = 5
PAUSE_SECONDS = 3600.0
MAX_CANCEL_REQUESTS = 5  # of one order; then it is left to order_manager
FIRST_CANCEL_SECONDS = 2.0  # how long a cancel request may take; twice as long each time
# So long after the answers refused an order, one answer is waited for before the next is asked for:
# a price that stays where the first says no must not cost two requests at every try.
ASK_IN_TURN_SECONDS = 60.0


class PlacementGuard:
    """Waits for the outcome of a sent order, and backs off after refusals."""

    def __init__(self, symbol: str, unknown_outcome_seconds: float) -> None:
        self.symbol = symbol
        self.refusals = {side: 0 for side in Side}
        self._unknown_outcome_seconds = unknown_outcome_seconds
        self._identity: str | None = None
        self._ask_at = 0.0
        self._first_not_found_at: float | None = None
        self._allowed_at = {side: 0.0 for side in Side}
        self._canceled_order_id: str | None = None
        self._cancel_requests = 0
        self._cancel_again_at = 0.0
        self._ask_in_turn_until = 0.0

    def asks_at_once(self, now: float) -> bool:
        """Whether the exchange may be asked ahead what is needed only if it does not refuse."""
        return now >= self._ask_in_turn_until

    def refused_by_answers(self, now: float) -> None:
        """What the exchange answered before the order speaks against it."""
        self._ask_in_turn_until = now + ASK_IN_TURN_SECONDS

    def is_waiting_for(self, identity: str) -> bool:
        """Whether an order with this id was sent and what became of it is not known."""
        return self._identity == identity

    def seconds_until_ask(self, now: float) -> float:
        """How long until the exchange should be asked for the awaited id."""
        return max(0.0, self._ask_at - now)

    def seconds_until_allowed(self, side: Side, now: float) -> float:
        """For how long orders of this side still back off. The other side goes on."""
        return max(0.0, self._allowed_at[side] - now)

    def sending(self, identity: str, now: float) -> None:
        """An order is about to be sent."""
        self._identity, self._first_not_found_at = identity, None
        self._ask_at = now + LINK_SECONDS

    def not_sent(self) -> None:
        """It certainly did not arrive, and nobody refused it: there is nothing to wait for."""
        self._identity = None

    def unknown(self, now: float) -> None:
        """The POST had no certain outcome: ask at once; two 404s far enough apart end the wait."""
        self._ask_at = now

    def found(self, now: float) -> None:
        """The exchange has the order: ask again if neither an event nor a sweep moves the row."""
        self._first_not_found_at = None
        self._ask_at = now + LINK_SECONDS

    def not_found(self, now: float) -> None:
        """A 404 for the id. One is not enough: an order on its way in looks the same."""
        first, seconds = self._first_not_found_at, self._unknown_outcome_seconds
        is_confirmed = first is not None and now - first >= seconds
        if plan(SentOrder(is_confirmed=is_confirmed)).action is Action.NOTHING:
            self._identity = None
            return
        self._first_not_found_at = now if first is None else first
        self._ask_at = self._first_not_found_at + seconds

    def refused(self, side: Side, now: float) -> None:
        """A refusal or rejection: back off, longer each time. Each five in a row are an alert, and
        five buys a pause.
        """
        self._identity = None
        self.refusals[side] += 1
        refusals = self.refusals[side]
        doublings = min(refusals - 1, MAX_DOUBLINGS)  # days of refusals must not overflow a float
        seconds = min(FIRST_BACKOFF_SECONDS * 2**doublings, MAX_BACKOFF_SECONDS)
        if refusals % REFUSALS_UNTIL_PAUSE == 0:
            is_buy = side is Side.BUY
            seconds = PAUSE_SECONDS if is_buy else seconds
            log_event(
                log,
                LogEvent.BUYING_PAUSED if is_buy else LogEvent.SELLING_REFUSED,
                symbol=self.symbol,
                seconds=round(seconds),
                reason=f"{refusals} orders in a row were refused: see the lines above",
            )
        self._allowed_at[side] = now + seconds

    def may_cancel(self, order_id: str) -> bool:
        """Whether the end of this order was not asked for often enough yet."""
        return self._requests_for(order_id) < MAX_CANCEL_REQUESTS

    def seconds_until_cancel(self, order_id: str, now: float) -> float:
        """How long the last request for the end of this order may still take."""
        return max(0.0, self._cancel_again_at - now) if self._requests_for(order_id) else 0.0

    def canceling(self, order_id: str, now: float) -> None:
        """The end of this order is about to be asked for."""
        self._cancel_requests = self._requests_for(order_id) + 1
        self._canceled_order_id = order_id
        self._cancel_again_at = now + FIRST_CANCEL_SECONDS * 2 ** (self._cancel_requests - 1)

    def _requests_for(self, order_id: str) -> int:
        return self._cancel_requests if order_id == self._canceled_order_id else 0

    def succeeded(self, side: Side) -> None:
        """An order was filled: refusals start from zero."""
        self.refusals[side], self._allowed_at[side] = 0, 0.0
