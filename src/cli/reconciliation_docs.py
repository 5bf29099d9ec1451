"""The reconciliation table of the documentation, written from the code's own table of transitions.

`.venv/bin/python -m cli.reconciliation_docs` prints docs/reconciliation.md; a test compares the two.
"""

# ruff: noqa: E501 - a table reads better in long lines
from __future__ import annotations

from cli.lifecycle_docs import list_rows
from strategy.lifecycle import Fact, Way

_EXCHANGE_SAYS = {
    Fact.BUY_OPENED: "the cycle's buy order is open (any status that does not end an order)",
    Fact.SELL_OPENED: "the cycle's sell order is open",
    Fact.BUY_ENDED: "the buy ended: filled, canceled, expired or rejected, with whatever it filled",
    Fact.BUY_REPLACED: "the user edited the buy: another order goes on in its place",
    Fact.SELL_ENDED: "the sell ended: filled, canceled, expired or rejected, with whatever it sold",
    Fact.SELL_REPLACED: "the user edited the sell",
    Fact.BUY_FILLED_LATE: "more was filled of an ended buy than the journal says",
    Fact.SELL_FILLED_LATE: "more was sold by an ended sell than the journal says",
    Fact.ORDER_MISSING: "404 for the order's id and for the id it would have, twice",
    Fact.COOLDOWN_OVER: "(the clock) cooldown_period has passed since the last sell",
    Fact.POSITION_GONE: "no position, twice; no open order; 404 for the current id",
}
_WHY = {
    Fact.BUY_OPENED: "the event that links it was lost, or came late",
    Fact.SELL_OPENED: "the event that links it was lost, or came late",
    Fact.BUY_ENDED: "fills count whatever the final status; the next order gets the next seq",
    Fact.BUY_REPLACED: "what was filled is booked, the replacement is followed",
    Fact.SELL_ENDED: "a filled sell, too, can leave coins: a position that lagged named fewer than there are",
    Fact.SELL_REPLACED: "what was sold is subtracted, the replacement is followed",
    Fact.BUY_FILLED_LATE: "fills can arrive after `canceled`; a closed cycle is not reopened, a person decides",
    Fact.SELL_FILLED_LATE: "fills can arrive after `canceled`; while another order is out, its end decides",
    Fact.ORDER_MISSING: "nothing ended, so the seq stays: if the order exists after all, it is refused as a duplicate",
    Fact.COOLDOWN_OVER: "the next deal may begin",
    Fact.POSITION_GONE: "the coins were sold or moved elsewhere; a person is told, and the new cycle waits",
}
_DONE = {
    Fact.BUY_OPENED: "link the order if it is not",
    Fact.SELL_OPENED: "link the order if it is not",
    Fact.BUY_ENDED: "book what was filled, seq + 1",
    Fact.BUY_REPLACED: "book what was filled, seq + 1, link the new order",
    Fact.SELL_ENDED: "book what was sold, seq + 1",
    Fact.SELL_REPLACED: "book what was sold, seq + 1, link the new order",
    Fact.BUY_FILLED_LATE: "an alert, and book the difference with its own journal row",
    Fact.SELL_FILLED_LATE: "an alert, and book the difference with its own journal row",
    Fact.ORDER_MISSING: "unlink the order",
    Fact.POSITION_GONE: "an alert, and the new cycle waits `cooldown_period`",
}
# What no transition covers: answers that are not facts, and facts that are not the cycle's own.
_OTHER_ROWS = (
    ("any", "no answer, 429, 5xx, a partial or unreadable list", "**unresolved, wait**", "nothing certain is known; the next sweep asks again, a recovery goes on where it stopped"),
    ("any open", "a list that reaches back to before the cycle's current order could have been sent, and lacks its id", "as its own 404", "a list of every order since then proves it for 500 cycles in a few requests"),
    ("any open", "its order cannot be read (a fill without a price)", "**unresolved, wait:** ERROR once, no buys on its symbol", "an order that exists is not missing, whatever it says"),
    ("any", "an unreadable order that is not ours, on a symbol that is not in dca_assets", "nothing", "it must not hide the others"),
    ("any", "an update tells of an end that REST does not confirm", "looked at again after 1, 2, 4... seconds up to RECONCILE_SECONDS, then a sweep", "REST lags behind the stream; the symbol's later updates wait behind it"),
    ("any", "the outcome of a POST is unknown, first 404 for its id", "**unresolved, wait** 30 s and ask again", "an order on its way in looks the same as none"),
    ("buying, selling", "first 404 for the order", "**unresolved, wait** and ask again", "as above"),
    ("watching, with coins", "first answer without a position", "**unresolved, wait** a few seconds and read again", "positions lag behind fills"),
    ("watching, with coins", "the third cycle within an hour whose position seems to be gone", "nothing more is touched in that hour, ERROR", "so many wrong 404s are an ill exchange; a person looks first"),
    ("any open", "an order of a later seq than the row's", "apply the orders between first, oldest first", "a database restored from a backup catches up"),
    ("complete, error", "an open order of the cycle", "nothing here; order_manager cancels it as an orphan", "nobody waits for it"),
    ("none", "an order with our prefix that no cycle claims: open, or ended and the account has more or fewer coins than the cycles", "ERROR, no buys on its symbol", "money may be bound that we do not know of"),
    ("none", "such an order, ended within the last minute, or the symbol's cycle in buying or selling", "**unresolved, wait:** no buys on its symbol, each sweep judges anew", "coins on the move cannot be counted"),
    ("none", "such an order, ended, and the account's coins are those of the cycles", "nothing; a block ends", "its coins were sold or adopted: an integration test, another database"),
    ("any", "an order without our prefix that no cycle is linked to", "nothing", "it is the user's own"),
    ("any", "an order open for more than 15 minutes", "ERROR once; stays linked", "nothing resets a cycle while its order is open"),
)  # fmt: skip


def render() -> str:
    """The whole page as Markdown."""
    lines = [
        "# What is done when the exchange and the database differ",
        "",
        "The same table serves live events, start-up, reconnects, sweeps and consistency_checker.",
        "This page is written by `.venv/bin/python -m cli.reconciliation_docs` from the code's own table;",
        "a pair that is not listed is forbidden: it changes nothing and is an ERROR. What each `if` says,",
        "and what follows an end: [the life of a cycle](how-it-works.md#the-life-of-a-cycle).",
        "",
        "| local status | the exchange says | what is done | why |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {', '.join(statuses)} | {_EXCHANGE_SAYS[fact]} | {_done(fact, ways)} | {_WHY[fact]} |"
        for fact, statuses, ways in list_rows()
    ]
    lines += [f"| {' | '.join(row)} |" for row in _OTHER_ROWS]
    return "\n".join(lines) + "\n"


def _done(fact: Fact, ways: tuple[Way, ...]) -> str:
    targets = ", else ".join(
        (f"`{target}`" if target else "the status stays")
        + (f" if `{guard.__name__}`" if guard else "")
        for target, guard in ways
    )
    return f"{_DONE[fact]}: {targets}" if fact in _DONE else targets


if __name__ == "__main__":
    print(render(), end="")
