"""Every fault there is: its name, where it takes effect, what it does, what it takes.

The manual is made of it. A seam is a place where the exchange asks whether a fault applies; FACTS
are what it passes there, and so what a fault can match on.
"""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto


class Seam(Enum):
    TRADE_UPDATE = auto()
    FRAME = auto()
    HANDSHAKE = auto()
    AUTH = auto()
    REQUEST = auto()
    POSITIONS = auto()
    MARKET = auto()
    OPEN = auto()
    COLLAR = auto()
    FILL = auto()
    AFTER_FILL = auto()
    CANCEL = auto()
    CANCELED = auto()
    FEE = auto()
    FEE_POSTING = auto()
    QUOTE = auto()
    CLOCK = auto()


_ORDER_FACTS = ("symbol", "side", "type", "order_id", "client_order_id")
FACTS: dict[Seam, tuple[str, ...]] = {
    Seam.TRADE_UPDATE: ("event", *_ORDER_FACTS),
    Seam.FRAME: ("stream", "event", "symbol"),
    Seam.HANDSHAKE: ("stream",),
    Seam.AUTH: ("stream",),
    Seam.REQUEST: ("method", "path", "symbol", "side", "type", "client_order_id"),
    Seam.POSITIONS: ("route", "symbol"),
    Seam.MARKET: ("symbol",),
    Seam.OPEN: _ORDER_FACTS,
    Seam.COLLAR: ("symbol", "side"),
    Seam.FILL: _ORDER_FACTS,
    Seam.AFTER_FILL: ("event", *_ORDER_FACTS),
    Seam.CANCEL: _ORDER_FACTS,
    Seam.CANCELED: _ORDER_FACTS,
    Seam.FEE: _ORDER_FACTS,
    Seam.FEE_POSTING: ("symbol", "side", "order_id", "client_order_id"),
    Seam.QUOTE: ("symbol", "feed"),
    Seam.CLOCK: (),
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A line of the table. A parameter has the type of its default."""

    name: str
    seam: Seam
    help: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    match: Mapping[str, str] = field(default_factory=dict)


CHOICES: dict[str, tuple[str, ...]] = {
    "when": ("before", "after"),
    "how": ("close", "reset"),
    "side": ("both", "bid", "ask"),
    "value": ("nan", "inf", "-inf"),
    "unit": ("coins", "USD"),
}

# fmt: off
_KINDS = (
    Kind("drop_update", Seam.TRADE_UPDATE, "the trade update is never sent"),
    Kind("duplicate_update", Seam.TRADE_UPDATE,
         "the trade update is sent again, `seconds` later", {"seconds": 0.0}),
    Kind("delay_update", Seam.TRADE_UPDATE, "the trade update is late", {"seconds": 1.0}),
    Kind("reorder_update", Seam.TRADE_UPDATE,
         "the trade update is sent after the next one, or after `seconds` if none comes",
         {"seconds": 1.0}),
    Kind("cut_stream", Seam.FRAME,
         "the connection is dropped: at once, or when a matching event is due (which is lost). "
         "`how`: close (with a closing frame; the data stream sends error `code` first, 0 = none)"
         " or reset",
         {"how": "close", "code": 0}),
    Kind("stall_stream", Seam.FRAME,
         "it stays open and answers pings, but sends nothing more (for `seconds`, 0 = for ever)",
         {"seconds": 0.0}),
    Kind("refuse_handshake", Seam.HANDSHAKE,
         "the websocket is refused with `status`", {"status": 429}),
    Kind("refuse_auth", Seam.AUTH,
         "right keys are refused: data with error `code` (402, 406, 409), trading unauthorized",
         {"code": 402}),
    Kind("http_429", Seam.REQUEST, "too many requests", {"when": "before"}),
    Kind("http_500", Seam.REQUEST, "internal server error", {"when": "before"}),
    Kind("http_504", Seam.REQUEST, "gateway time-out, though it was done", {"when": "after"}),
    Kind("http_timeout", Seam.REQUEST,
         "done, but no answer for `seconds`, then the connection is closed",
         {"when": "after", "seconds": 30.0}),
    Kind("http_hang", Seam.REQUEST,
         "not done and no answer for `seconds`, then the connection is closed",
         {"when": "before", "seconds": 30.0}),
    Kind("http_slow", Seam.REQUEST,
         "done, answered `seconds` late", {"when": "after", "seconds": 2.0}),
    Kind("http_html", Seam.REQUEST, "502 with a page of HTML", {"when": "before"}),
    Kind("http_truncated", Seam.REQUEST,
         "done, but half of the JSON is missing", {"when": "after"}),
    Kind("positions_empty", Seam.POSITIONS,
         'the positions list is empty; with match {"route":"single"} one position is a 404',
         match={"route": "list"}),
    Kind("positions_partial", Seam.POSITIONS,
         "the positions list lacks its last entry", match={"route": "list"}),
    Kind("position_lags", Seam.POSITIONS,
         "one position shows only `fraction` of its quantity yet",
         {"fraction": 0.5}, match={"route": "single"}),
    Kind("market_moves", Seam.MARKET,
         "the market itself is `percent` off the prices of its source (negative: below)",
         {"percent": -3.0}),
    Kind("reject_order", Seam.OPEN, "accepted by POST, then the event is rejected, not new"),
    Kind("rest_market_order", Seam.COLLAR,
         "the market order's collar lies `percent` on the wrong side of the quote: it rests",
         {"percent": 2.0}),
    Kind("rest_after_part", Seam.FILL,
         "`fraction` of the order fills, the rest does not, until this fault is cleared",
         {"fraction": 0.5}),
    Kind("vanish_balance", Seam.AFTER_FILL,
         "after the fill `fraction` of the coins (or of `unit` USD) is gone, without an event",
         {"fraction": 0.5, "unit": "coins"}),
    Kind("stick_cancel", Seam.CANCEL,
         "the cancel stays pending_cancel for `seconds` (0 = until this fault is cleared)",
         {"seconds": 0.0}),
    Kind("fill_late", Seam.CANCELED,
         "`seconds` after canceled comes a fill of `fraction` of what was unfilled",
         {"seconds": 0.2, "fraction": 1.0}),
    Kind("fee_maker", Seam.FEE, "an execution is charged the maker's rate, also as a taker"),
    Kind("fee_late", Seam.FEE_POSTING,
         "the fee is posted (created_at, date) `seconds` after the trade: by the first"
         " end_of_day after that time", {"seconds": 12_600.0}),
    Kind("fee_split", Seam.FEE_POSTING,
         "the fee is posted in two parts: `fraction` of it, and the rest `seconds` later",
         {"fraction": 0.5, "seconds": 0.0}),
    Kind("fee_misdated", Seam.FEE_POSTING,
         "the fee (of a split one the last part) bears a date `days` off its created_at",
         {"days": -1}),
    Kind("fee_unnamed", Seam.FEE_POSTING,
         "a fee in USD is a CFEE that names no symbol, as paper accounts post it",
         match={"side": "sell"}),
    Kind("quote_zero", Seam.QUOTE,
         "`side` (bid, ask or both) is zero", {"side": "both"}, match={"feed": "stream"}),
    Kind("quote_crossed", Seam.QUOTE,
         "bid `percent` above ask", {"percent": 1.0}, match={"feed": "stream"}),
    Kind("quote_nonfinite", Seam.QUOTE,
         "prices are `value` (nan, inf)", {"value": "nan"}, match={"feed": "stream"}),
    Kind("quote_stale", Seam.QUOTE,
         "its time is `seconds` old", {"seconds": 300.0}, match={"feed": "stream"}),
    Kind("quote_spike", Seam.QUOTE,
         "both prices are off by `percent` (negative: down)",
         {"percent": 20.0}, match={"feed": "stream"}),
    Kind("skew_clock", Seam.CLOCK,
         "every time that the exchange sends is off by `seconds`", {"seconds": 60.0}),
)
# fmt: on
KINDS: dict[str, Kind] = {kind.name: kind for kind in _KINDS}


def manual() -> str:
    """The table as text for --help."""
    lines = []
    for kind in KINDS.values():
        takes = [f"{key} {value}" for key, value in kind.parameters.items()]
        matches = [f"match {key}={value}" for key, value in kind.match.items()]
        usual = f" [{', '.join(takes + matches)}]" if takes or matches else ""
        lines += _hanging(f"{kind.name:<18}{kind.help}{usual}", 20)
    lines.append("what a fault can match on:")
    by_facts: dict[tuple[str, ...], list[str]] = {}
    for kind in KINDS.values():
        by_facts.setdefault(FACTS[kind.seam], []).append(kind.name)
    for facts, names in by_facts.items():
        lines += _hanging(f"{', '.join(names)}: {', '.join(facts) or 'nothing'}", 4)
    return "\n".join(lines)


def _hanging(text: str, indent: int) -> list[str]:
    return textwrap.wrap(text, 98, initial_indent="  ", subsequent_indent=" " * indent)
