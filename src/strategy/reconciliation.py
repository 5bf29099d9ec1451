"""What follows where the database and the exchange differ: repair, wait, alert. Pure.

`RULES` is the whole plan: of each kind of fact the first rule that holds decides. The daemon's
sweep, the recovery and consistency_checker fetch the facts and carry out what follows; the table in
docs/reconciliation.md is drawn from these very rows. What applying an order does to its cycle
stands in the lifecycle's table.
"""

# ruff: noqa: E501 - a table reads better in long lines
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from domain.cycle import CycleStatus
from domain.events import EventKind, Severity
from strategy.order_identity import may_be_ours
from strategy.reconciliation_facts import (
    Answer,
    CurrentOrder,
    Facts,
    Holding,
    OwnOrder,
    RunningCooldown,
    SentOrder,
    StreamedEnd,
    UnclaimedOrder,
    UnreadableFind,
)

LONG_OPEN = timedelta(minutes=15)
# Cycles that end in error within an hour: more looks like an exchange that answers 404 for what is
# there.
MAX_ENDED_LATELY = 2


class Action(StrEnum):
    """What is carried out."""

    NOTHING = "nothing"
    APPLY_ORDER = "apply order"  # link it, or book its end: see the lifecycle's table
    BOOK_LATE_FILL = "book late fill"
    CATCH_UP = "catch up"  # the exchange is several orders ahead of the database
    RESET_CYCLE = "reset cycle"
    END_IN_ERROR = "end cycle in error"
    ASK = "ask"
    WAIT = "wait"
    ALERT = "alert"
    BLOCK = "block symbol"  # an alert, and no buys on the symbol
    HOLD_BACK = "hold back"

    @property
    def group(self) -> str:
        """Repair, wait or alert; nothing where both sides agree."""
        return _GROUPS.get(self, "repair")


_GROUPS = {
    Action.NOTHING: "nothing",
    Action.ASK: "wait",
    Action.WAIT: "wait",
    Action.ALERT: "alert",
    Action.BLOCK: "alert",
    Action.HOLD_BACK: "alert",
}
F = TypeVar("F")


@dataclass(frozen=True, slots=True)
class Rule(Generic[F]):
    """One row of the table. `kind` is that of the row in dca_events, where there is one."""

    name: str
    action: Action
    holds: Callable[[F], bool]
    database: str
    exchange: str
    done: str
    why: str
    kind: EventKind | None = None
    severity: Severity = Severity.WARNING


# fmt: off
_OWN_ORDER: tuple[Rule[OwnOrder], ...] = (
    Rule("the user's own", Action.NOTHING, lambda it: it.is_foreign,
         "no cycle is linked to it", "an order without our prefix",
         "nothing", "it is the user's own"),
    Rule("booked", Action.NOTHING, lambda it: it.order.is_ended and it.journaled_qty is not None and it.order.filled_qty <= it.journaled_qty,
         "the journal has as much of it", "an order ended",
         "nothing", "it is booked, whatever became of its cycle"),
    Rule("renamed", Action.BLOCK, lambda it: it.other_symbol is not None,
         "the asset of its cycle has another symbol", "an order of the cycle",
         "ERROR once, nothing is applied, no buys on its symbol", "what is dust of one coin is a fortune of another", EventKind.ASSET_RENAMED, Severity.ERROR),
    Rule("open again", Action.NOTHING, lambda it: it.cycle is not None and it.journaled_qty is not None and not it.order.is_ended,
         "the journal has its end", "an order is open",
         "nothing", "what ended does not open again: the answer is an old one"),
    Rule("late fill", Action.BOOK_LATE_FILL, lambda it: it.cycle is not None and it.journaled_qty is not None,
         "the journal has less of it", "an ended order filled more",
         "book the difference with its own journal row, ERROR", "fills can arrive after `canceled`", EventKind.ORDER_RECOVERED),
    Rule("long open", Action.ALERT, lambda it: it.is_linked and not it.order.is_ended and it.open_for >= LONG_OPEN,
         "buying, selling, and linked to it", "an order is open for more than 15 minutes",
         "ERROR once; stays linked (consistency_checker leaves it to the daemon)", "nothing resets a cycle while its order is open", EventKind.ORDER_LONG_OPEN, Severity.ERROR),
    Rule("linked", Action.NOTHING, lambda it: it.is_linked and not it.order.is_ended,
         "buying, selling, and linked to it", "an order is open",
         "nothing", "an event or a sweep brings its end"),
    Rule("current", Action.APPLY_ORDER, lambda it: it.is_current,
         "any open, and linked to it or at its seq", "an order is open, or ended",
         "link it, or book its end", "its event was lost, or comes late", EventKind.ORDER_RECOVERED),
    Rule("ahead", Action.CATCH_UP, lambda it: it.is_ahead,
         "any open, at an earlier seq", "an order of a later seq",
         "apply the orders between first, oldest first", "a database restored from a backup catches up", EventKind.ORDER_RECOVERED),
    Rule("unknown fill", Action.BOOK_LATE_FILL, lambda it: it.cycle is not None and it.order.is_ended and it.order.filled_qty > 0,
         "complete, error, or any open at a later seq; the journal does not have it", "an ended order filled",
         "journal it, ERROR; the row of a closed cycle stays", "a closed cycle is not reopened; a person decides", EventKind.ORDER_RECOVERED),
    Rule("unknown end", Action.NOTHING, lambda it: it.cycle is not None and it.order.is_ended,
         "complete, error, or any open at a later seq; the journal does not have it", "an order ended without a fill",
         "nothing", "no money moved"),
    Rule("stray", Action.ALERT, lambda it: it.cycle is not None,
         "complete, error, or any open at a later seq; the journal does not have it", "an order of the cycle is open",
         "consistency_checker: ERROR once; order_manager cancels it as an orphan", "nobody waits for it", EventKind.ORDER_UNCLAIMED, Severity.ERROR),
    Rule("unclaimed", Action.BLOCK, lambda it: True,
         "no cycle claims it", "an order with our prefix",
         "no buys on its symbol until it is judged: see below", "money may be bound that we do not know of", EventKind.ORDER_UNCLAIMED, Severity.ERROR),
)
_UNCLAIMED_ORDER: tuple[Rule[UnclaimedOrder], ...] = (
    Rule("unclaimed and open", Action.BLOCK, lambda it: not it.order.is_ended,
         "no cycle claims it", "an order with our prefix is open",
         "ERROR once, no buys on its symbol", "money may be bound that we do not know of", EventKind.ORDER_UNCLAIMED, Severity.ERROR),
    Rule("unclaimed and empty", Action.NOTHING, lambda it: it.order.filled_qty == 0,
         "no cycle claims it", "an order with our prefix ended without a fill",
         "nothing; a block ends", "no money moved"),
    Rule("unclaimed and undecided", Action.WAIT, lambda it: it.may_still_change,
         "no cycle claims it", "such an order ended with a fill within the last minute, or the symbol's cycle is in buying or selling, or its position cannot be read",
         "no buys on its symbol, each sweep judges anew", "coins on the move cannot be counted"),
    Rule("unclaimed and explained", Action.NOTHING, lambda it: it.is_explained,
         "no cycle claims it", "such an order ended with a fill, and the account's coins are those of the cycles",
         "nothing; a block ends", "its coins were sold or adopted: an integration test, another database"),
    Rule("unclaimed and unexplained", Action.BLOCK, lambda it: True,
         "no cycle claims it", "such an order ended with a fill, and the account has more or fewer coins than the cycles",
         "ERROR once, no buys on its symbol", "it bought what no cycle knows of, or sold a cycle's coins", EventKind.ORDER_UNCLAIMED, Severity.ERROR),
)
_UNREADABLE: tuple[Rule[UnreadableFind], ...] = (
    Rule("unreadable", Action.BLOCK, lambda it: may_be_ours(it.order, it.linked, it.symbols),
         "a cycle is linked to it, or its symbol is in dca_assets, or its id has our prefix", "a listed order cannot be read (a fill without a price)",
         "ERROR once, no buys on its symbol until it can be read", "an order that exists is not missing, whatever it says", EventKind.ORDER_UNREADABLE, Severity.ERROR),
    Rule("unreadable and foreign", Action.NOTHING, lambda it: True,
         "no cycle is linked to it, and its symbol is not in dca_assets", "a listed order without our prefix cannot be read",
         "nothing", "it must not hide the others"),
)
_CURRENT_ORDER: tuple[Rule[CurrentOrder], ...] = (
    Rule("its order is unreadable", Action.BLOCK, lambda it: it.answer is Answer.UNREADABLE,
         "any open", "its order cannot be read",
         "ERROR once, no buys on its symbol; the cycle waits", "an order that exists is not missing, whatever it says", EventKind.ORDER_UNREADABLE, Severity.ERROR),
    Rule("no answer for its order", Action.BLOCK, lambda it: it.answer is Answer.NEVER,
         "buying, selling", "no answer about the order for the third time, beside lists that are answered",
         "ERROR once, no buys on its symbol; the cycle waits", "one order must not keep the others from trading", EventKind.ORDER_UNREADABLE, Severity.ERROR),
    Rule("no answer", Action.WAIT, lambda it: it.answer is Answer.NONE,
         "any", "no answer, 429, 5xx, a partial or unreadable list",
         "nothing is concluded", "nothing certain is known; the next sweep asks again, a recovery goes on where it stopped"),
    Rule("its order is open", Action.NOTHING, lambda it: it.is_to_apply and it.is_linked_and_open,
         "any open, and linked to it", "its order is open, however old",
         "nothing", "order_manager cancels it when it is too old, and its end is booked"),
    Rule("its order", Action.APPLY_ORDER, lambda it: it.is_to_apply,
         "any open, and not linked to it, or without its end", "its order is open, or ended",
         "link it, or book its end; a recovery asks for the next one", "its event was lost", EventKind.ORDER_RECOVERED),
    Rule("not listed", Action.ASK, lambda it: it.answer is Answer.NOT_LISTED,
         "any open; or buying, selling, and the journal has its end", "no list has the order, and none proves that there is none",
         "ask for it alone: by the id that it would have, and by its own id if a cycle waits for it", "only the exchange's own answer counts"),
    Rule("a list lacks it", Action.NOTHING, lambda it: it.answer is Answer.LIST_LACKS_IT,
         "any open", "a list that reaches back to before the cycle's current order could have been sent, and lacks its id",
         "nothing, as at its own 404; of a cycle in buying or selling it is asked for by itself", "a list of every order since then proves it for 500 cycles in a few requests"),
    Rule("no order awaited", Action.NOTHING, lambda it: not it.is_waited_for,
         "watching, cooldown", "404 for the id that its order would have",
         "nothing", "none was sent"),
    Rule("missing once", Action.WAIT, lambda it: not it.is_confirmed,
         "buying, selling", "404 for the order's id and for the id it would have, or it is in the journal already",
         "ask again", "an order on its way in looks the same as none", EventKind.ORDER_MISSING),
    Rule("missing", Action.RESET_CYCLE, lambda it: True,
         "buying, selling", "the same for the second time, some seconds later",
         "back to `watching` (or `cooldown`, `complete`): see `order_missing` below", "nothing ended, so the seq stays: if the order exists after all, it is refused as a duplicate", EventKind.ORDER_MISSING),
)
_HOLDING: tuple[Rule[Holding], ...] = (
    Rule("an order beside coins", Action.APPLY_ORDER, lambda it: it.current_order is not None,
         "watching", "the coins differ, and the order exists that the cycle can have",
         "link it, or book its end", "it explains the coins", EventKind.ORDER_RECOVERED),
    Rule("coins on the move", Action.WAIT, lambda it: it.open_orders > 0 or it.cycle.status is not CycleStatus.WATCHING,
         "any open", "the coins differ, and an order is open on the symbol or awaited",
         "nothing is concluded", "coins on the move cannot be counted"),
    Rule("gone once", Action.WAIT, lambda it: it.is_gone and not it.is_confirmed,
         "watching, with coins", "no position, or dust of it, for the first time",
         "read again a few seconds later", "positions lag behind fills", EventKind.POSITION_GONE, Severity.ERROR),
    Rule("too many are gone", Action.HOLD_BACK, lambda it: it.is_gone and it.ended_lately >= MAX_ENDED_LATELY,
         "watching, with coins; two cycles ended in error within an hour", "no position, twice; no open order; 404 for the current id",
         "nothing more is touched in that hour, ERROR", "so many 404s can be an exchange in trouble; a person decides first", EventKind.POSITION_GONE, Severity.ERROR),
    Rule("gone", Action.END_IN_ERROR, lambda it: it.is_gone,
         "watching, with coins", "no position, twice; no open order; 404 for the current id",
         "`error`, ERROR, and a new cycle that waits `cooldown_period`", "the coins were sold or moved elsewhere", EventKind.POSITION_GONE, Severity.ERROR),
    Rule("foreign coins", Action.ALERT, lambda it: it.database_holds_dust and it.surplus > 0,
         "watching, without coins", "coins that no cycle bought or left",
         "ERROR once: no base order while they are there", "they are the user's, or another program's", EventKind.POSITION_UNEXPECTED, Severity.ERROR),
    Rule("fewer coins", Action.ALERT, lambda it: not it.database_holds_dust and it.short_by > 0,
         "watching, with coins", "fewer coins than fees explain",
         "ERROR once", "some were sold or moved elsewhere", EventKind.POSITION_SHORT, Severity.ERROR),
    Rule("more coins", Action.ALERT, lambda it: it.surplus > 0,
         "watching, with coins", "more coins than the cycle bought",
         "WARNING once; they stay", "they are not the bot's", EventKind.POSITION_EXCESS),
    Rule("explained coins", Action.NOTHING, lambda it: True,
         "watching", "coins that fees, rounding and dust explain",
         "nothing", "dust goes with the next sale"),
)
_STREAMED_END: tuple[Rule[StreamedEnd], ...] = (
    Rule("confirmed end", Action.APPLY_ORDER, lambda it: it.is_confirmed,
         "any", "an update says that an order ended, and REST says the same",
         "apply it as REST has it", "fills can arrive after `canceled`: the later figure counts"),
    Rule("unconfirmed end", Action.WAIT, lambda it: it.is_ours,
         "any", "an update says that an order with our prefix ended, and REST does not confirm it",
         "asked again after 1, 2, 4... seconds up to RECONCILE_SECONDS, then a sweep", "REST lags behind the stream; the symbol's later updates wait behind it"),
    Rule("unconfirmed foreign end", Action.ASK, lambda it: True,
         "any", "an update says that an order without our prefix ended, and REST does not confirm it",
         "a sweep", "hardly ours: nothing waits behind it"),
)
_SENT_ORDER: tuple[Rule[SentOrder], ...] = (
    Rule("sent, missing once", Action.WAIT, lambda it: not it.is_confirmed,
         "any", "the outcome of a POST is unknown, first 404 for its id",
         "ask again 30 s later; nothing is sent until then", "an order on its way in looks the same as none"),
    Rule("sent, missing", Action.NOTHING, lambda it: True,
         "any", "the outcome of a POST is unknown, second 404 for its id",
         "nothing; the next trigger sends an order with the same id", "if the first exists after all, the second is refused as a duplicate"),
)
_COOLDOWN: tuple[Rule[RunningCooldown], ...] = (
    Rule("endless cooldown", Action.ALERT, lambda it: it.endless_because is not None,
         "cooldown, and no cycle before it ended, or one in the future", "(the clock)",
         "ERROR once", "there is nothing to count its end from; a person decides", EventKind.COOLDOWN_ENDLESS, Severity.ERROR),
    Rule("cooldown", Action.NOTHING, lambda it: True,
         "cooldown", "(the clock)",
         "nothing until its time has passed", "the daemon and cooldown_manager end it"),
)
# fmt: on
RULES: Mapping[type, tuple[Rule[Any], ...]] = MappingProxyType(
    {
        OwnOrder: _OWN_ORDER,
        UnclaimedOrder: _UNCLAIMED_ORDER,
        UnreadableFind: _UNREADABLE,
        CurrentOrder: _CURRENT_ORDER,
        Holding: _HOLDING,
        StreamedEnd: _STREAMED_END,
        SentOrder: _SENT_ORDER,
        RunningCooldown: _COOLDOWN,
    }
)


def plan(facts: Facts) -> Rule[Any]:
    """The first rule that holds for these facts."""
    return next(rule for rule in RULES[type(facts)] if rule.holds(facts))
