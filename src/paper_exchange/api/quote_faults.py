"""What faults do to a quote on its way out.

The book behind it stays sane: only the listener is fooled.
"""

from dataclasses import replace
from decimal import Decimal

from paper_exchange.core.clock import NANOS
from paper_exchange.core.decimals import ZERO
from paper_exchange.core.prices import Quote
from paper_exchange.faults.armed import Fault, FaultBoard
from paper_exchange.faults.table import Seam

_HUNDRED = Decimal(100)


def distorted(quote: Quote, faults: FaultBoard, feed: str) -> Quote:
    """The quote as the client of this feed (stream or rest) is told it."""
    for fault in faults.visit(Seam.QUOTE, symbol=quote.symbol, feed=feed):
        quote = _distort(quote, fault)
    return quote


def _distort(quote: Quote, fault: Fault) -> Quote:
    match fault.name:
        case "quote_zero":
            side = fault.parameters["side"]
            bid = quote.bid if side == "ask" else ZERO
            return replace(quote, bid=bid, ask=quote.ask if side == "bid" else ZERO)
        case "quote_crossed":
            return replace(quote, bid=quote.ask * (1 + fault.number("percent") / _HUNDRED))
        case "quote_nonfinite":
            value = Decimal(str(fault.parameters["value"]))
            return replace(quote, bid=value, ask=value)
        case "quote_stale":
            return replace(quote, at_ns=quote.at_ns - round(fault.seconds * NANOS))
        case "quote_spike":
            factor = 1 + fault.number("percent") / _HUNDRED
            return replace(quote, bid=quote.bid * factor, ask=quote.ask * factor)
        case name:
            raise AssertionError(f"{name} is no fault of quotes")
