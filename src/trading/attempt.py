"""What one crossed trigger is decided on: the row as it was read, and what the exchange is asked.

Owns: when the row must be read again, and which two questions are asked in the time of one. Sends
nothing and decides nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from domain.market import AssetRules, Quote
from domain.trading_state import TradingState
from models.current_state import is_current
from models.trading_state import load_trading_state
from strategy.exits import ExitTrack, with_track
from trading.open_orders import fetch_open_orders
from trading.placement import QUOTE_SECONDS, Skip
from trading.placement_guard import PlacementGuard
from utils.alpaca_queries import fetch_latest_quote, fetch_position
from utils.alpaca_sdk import TradingClient
from utils.db_utils import thread_connection
from utils.side_by_side import Ahead, side_by_side

T = TypeVar("T")
NewestQuote = Callable[[], Quote | None]

# A row that was read within this, with nothing waited for since, was just read.
JUST_READ_SECONDS = 0.02
SLOW_READ_SECONDS = 1.0
_NONE = object()


class Question(Generic[T]):
    """Asked when its answer is first needed, or ahead of that beside another one; once."""

    def __init__(self, ask: Callable[[], T]) -> None:
        self._ask = ask
        self._ahead: Ahead[T] | None = None
        self._answer: object = _NONE

    @property
    def is_asked(self) -> bool:
        """Whether the answer is here already, or on its way."""
        return self._ahead is not None or self._answer is not _NONE

    def ask_meanwhile(self) -> None:
        """Ask in another thread; what it answers, or raises, `answer` waits for."""
        self._ahead = Ahead(self._ask)

    def answer(self) -> T:
        """Blocking, the first time. Raises what asking raises."""
        if self._answer is _NONE:
            self._answer = self._ahead.answer() if self._ahead is not None else self._ask()
        return cast(T, self._answer)


class Questions:
    """What the exchange can be asked of `symbol` before an order. `position`: None where nothing is
    held; `bid`: in USD, of a second source.
    """

    def __init__(self, client: TradingClient, symbol: str) -> None:
        self.position = Question(lambda: fetch_position(client, symbol))
        self.open_orders = Question(lambda: fetch_open_orders(client))
        self.bid = Question(lambda: fetch_latest_quote(symbol).bid)
        self.asked_at: float | None = None  # monotonic seconds, where they were asked meanwhile

    def ask_meanwhile(self, *questions: Question[Any]) -> None:
        """Ask these of it, while the row is read."""
        self.asked_at = time.monotonic()
        for question in questions:
            question.ask_meanwhile()


def read_state(symbol: str, known: TradingState | None) -> TradingState | None:
    """The state of `symbol` now. Where `known`, read a while ago, is still current, a small
    statement says so; None: it is not configured or has no cycle.

    Raises:
        DatabaseError: it cannot be read.
    """
    connection = thread_connection()
    if known is not None and is_current(connection, known):
        return known
    return load_trading_state(connection, symbol)


@dataclass(slots=True)
class Attempt:
    """Of one call that considers one symbol. `read_at`: monotonic seconds, before the row was read
    last. `may_buy`: False once its buy is kept back.
    """

    state: TradingState
    rules: AssetRules
    newest_quote: NewestQuote
    track: Callable[[], ExitTrack | None]
    guard: PlacementGuard
    read_at: float
    questions: Questions
    has_asked: bool = False
    may_buy: bool = True

    def tracked_state(self) -> TradingState:
        """What it is decided on: the row, and what the quotes say up to the newest."""
        return with_track(self.state, self.track())

    def asks(self) -> None:
        """The exchange is asked, which may take long: what was read before is old then."""
        self.has_asked, self.read_at = True, -math.inf

    def ask_ahead(self, first: Question[Any], second: Question[Any]) -> None:
        """Ask both at once, where neither was answered yet, and nothing refused an order of this
        symbol a moment ago.

        Raises:
            What asking `first` raises; else what asking `second` raises.
        """
        self.asks()
        may = self.guard.asks_at_once(time.monotonic())
        if may and not first.is_asked and not second.is_asked:
            side_by_side(first.answer, second.answer)

    @contextmanager
    def noting_refusals(self) -> Iterator[None]:
        """Of what the exchange answers within."""
        try:
            yield
        except Skip:
            if self.has_asked:
                self.guard.refused_by_answers(time.monotonic())
            raise

    def has_changed(self, *, at_any_price: bool = False) -> bool:
        """Whether the row is another one than the decision was made on: the newest decides, too.
        Who disables an asset, removes it or takes a close back must find no order after that.

        Raises:
            Skip: reading it took so long, as in a database that hangs, that the quote is old which
                decided just before; not where the order is wanted `at_any_price`.
            DatabaseError: it cannot be read.
        """
        began_at = time.monotonic()
        if began_at - self.read_at < JUST_READ_SECONDS:
            return False
        if not is_current(thread_connection(), self.state):
            return True
        if time.monotonic() - began_at > SLOW_READ_SECONDS and not at_any_price:
            raise Skip("the database took so long that the price may be gone", QUOTE_SECONDS)
        return False
