"""The newest quote, trade and minute bar of every symbol. Matches and sends nothing."""

from dataclasses import dataclass, replace
from decimal import Decimal

from paper_exchange.core.clock import NANOS
from paper_exchange.core.decimals import floor_to

_MINUTE_NS = 60 * NANOS


@dataclass(frozen=True, slots=True)
class Quote:
    symbol: str
    bid: Decimal
    bid_size: Decimal
    ask: Decimal
    ask_size: Decimal
    at_ns: int

    @property
    def is_usable(self) -> bool:
        """Whether one can trade on it: finite, positive, not crossed."""
        return self.bid.is_finite() and self.ask.is_finite() and 0 < self.bid <= self.ask


def moved(quote: Quote, percent: Decimal, price_increment: Decimal) -> Quote:
    """The quote `percent` higher (negative: lower), still one that the book can have."""
    factor = 1 + percent / 100
    bid = max(price_increment, floor_to(quote.bid * factor, price_increment))
    ask = max(bid + price_increment, floor_to(quote.ask * factor, price_increment))
    return replace(quote, bid=bid, ask=ask)


@dataclass(frozen=True, slots=True)
class Trade:
    symbol: str
    price: Decimal
    size: Decimal
    taker_side: str
    id: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class Bar:
    symbol: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    value: Decimal
    trade_count: int
    at_ns: int

    @classmethod
    def of(cls, trade: Trade, at_ns: int) -> "Bar":
        """The bar that begins with this trade; `at_ns` is the beginning of its time."""
        price, size = trade.price, trade.size
        return cls(trade.symbol, price, price, price, price, size, size * price, 1, at_ns)

    def followed_by(self, later: "Bar") -> "Bar":
        return replace(
            self,
            high=max(self.high, later.high),
            low=min(self.low, later.low),
            close=later.close,
            volume=self.volume + later.volume,
            value=self.value + later.value,
            trade_count=self.trade_count + later.trade_count,
        )

    def including(self, trade: Trade) -> "Bar":
        return self.followed_by(Bar.of(trade, self.at_ns))


@dataclass(frozen=True, slots=True)
class Tick:
    """What one quote brought: itself, the trade that goes with it, and the bar that it closed."""

    quote: Quote
    trade: Trade | None
    closed_bar: Bar | None


class MarketBoard:
    def __init__(self) -> None:
        self.quotes: dict[str, Quote] = {}
        self.trades: dict[str, Trade] = {}
        self.bars: dict[str, Bar] = {}
        """The last closed minute, or the running one while none has closed."""
        self._running_bars: dict[str, Bar] = {}
        self._count = 0

    def quote(self, symbol: str) -> Quote | None:
        """The newest quote that one can trade on."""
        quote = self.quotes.get(symbol)
        return quote if quote is not None and quote.is_usable else None

    def post(self, quote: Quote) -> Tick:
        """Takes a quote and makes up the public trade for it, at the bid and the ask in turn."""
        self.quotes[quote.symbol] = quote
        if not quote.is_usable:
            return Tick(quote, None, None)
        self._count += 1
        lifted = self._count % 2 == 1
        trade = Trade(
            quote.symbol,
            quote.ask if lifted else quote.bid,
            quote.ask_size if lifted else quote.bid_size,
            "B" if lifted else "S",
            self._count,
            quote.at_ns,
        )
        self.trades[quote.symbol] = trade
        return Tick(quote, trade, self._extend_bar(trade))

    def _extend_bar(self, trade: Trade) -> Bar | None:
        minute_ns = trade.at_ns - trade.at_ns % _MINUTE_NS
        running = self._running_bars.get(trade.symbol)
        if running is not None and running.at_ns == minute_ns:
            bar, closed = running.including(trade), None
        else:
            bar, closed = Bar.of(trade, minute_ns), running
        self._running_bars[trade.symbol] = bar
        if closed is not None:
            self.bars[trade.symbol] = closed
        elif trade.symbol not in self.bars or self.bars[trade.symbol].at_ns == minute_ns:
            self.bars[trade.symbol] = bar
        return closed
