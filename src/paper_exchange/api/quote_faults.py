"""What faults do to a quote on its way out. Orders are matched with the true quote."""

from dataclasses import replace
from decimal import Decimal

from paper_exchange.core.clock import NANOS
from paper_exchange.core.decimals import ZERO
from paper_exchange.core.prices import Quote
from paper_exchange.faults.armed import Fault, FaultBoard
from paper_exchange.faults.table import Seam


def apply_quote_faults(quote: Quote, faults: FaultBoard, feed: str) -> Quote:
    """The quote as this feed (stream or rest) sends it."""
    for fault in faults.visit(Seam.QUOTE, symbol=quote.symbol, feed=feed):
        quote = _apply(quote, fault)
    return quote


def _apply(quote: Quote, fault: Fault) -> Quote:
    match fault.name:
        case "quote_zero":
            side = fault.parameters["side"]
            bid = quote.bid if side == "ask" else ZERO
            return replace(quote, bid=bid, ask=quote.ask if side == "bid" else ZERO)
        case "quote_crossed":
            return replace(quote, bid=quote.ask * (1 + fault.number("percent") / 100))
        case "quote_nonfinite":
            value = Decimal(str(fault.parameters["value"]))
            return replace(quote, bid=value, ask=value)
        case "quote_stale":
            return replace(quote, at_ns=quote.at_ns - round(fault.seconds * NANOS))
        case "quote_spike":
            factor = 1 + fault.number("percent") / 100
            return replace(quote, bid=quote.bid * factor, ask=quote.ask * factor)
        case name:
            raise AssertionError(f"{name} is no fault of quotes")
