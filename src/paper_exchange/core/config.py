"""What an exchange is started with. Times in seconds, fees as fractions, money in USD."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from pathlib import Path

from paper_exchange.core.assets import DEFAULT_ASSETS, Asset


class MarketKind(Enum):
    SYNTHETIC = "synthetic"
    REPLAY = "replay"
    MANUAL = "manual"


class SymbolsFilter(Enum):
    """Which spelling the `symbols` filter of the list of orders matches; reports contradict."""

    PAIR = "pair"
    """BTC/USD only: what users of the real exchange saw. BTCUSD finds nothing."""
    JOINED = "joined"
    """BTCUSD only: what Alpaca's own description of the parameter says."""
    BOTH = "both"

    def matches(self, symbol: str, wanted: tuple[str, ...]) -> bool:
        joined = symbol.replace("/", "")
        match self:
            case SymbolsFilter.PAIR:
                return symbol in wanted
            case SymbolsFilter.JOINED:
                return joined in wanted
            case SymbolsFilter.BOTH:
                return symbol in wanted or joined in wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketConfig:
    kind: MarketKind = MarketKind.MANUAL
    symbols: tuple[str, ...] = ()
    """Only these; empty: all."""
    replay_files: tuple[Path, ...] = ()
    replay_from_ns: int | None = None
    replay_until_ns: int | None = None
    speed: float = 1.0
    """Recorded (or synthetic) seconds per second; 0 means as fast as possible."""
    paused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeConfig:
    port: int = 0
    key: str = "local-key"
    secret: str = field(default="local-secret", repr=False)
    cash: Decimal = Decimal(100_000)
    coins: tuple[tuple[str, Decimal, Decimal], ...] = ()
    """Coins held at the start: (symbol, qty, average entry price)."""
    seed: int = 1
    latency_seconds: float = 0.005
    """From acceptance to `new`, from `new` to the first match, from a cancel to `canceled`."""
    partial_fill_probability: float = 0.10
    duplicate_ids_refused: bool = True
    symbols_filter: SymbolsFilter = SymbolsFilter.PAIR
    rate_limit_per_minute: int = 200
    """Requests a minute and key on /v2, and as many on market data; 0 switches the limit off."""
    maker_fee: Decimal = Decimal("0.0015")
    taker_fee: Decimal = Decimal("0.0025")
    """Of what an execution is worth; core/fees.py takes them."""
    usd_fee_increment: Decimal = Decimal("0.01")
    """USD fees round up to this: live accounts are billed whole cents."""
    client_queue_limit: int = 4096
    """How many messages may wait for a websocket client before it is cut as slow (error 407)."""
    faults: tuple[Mapping[str, object], ...] = ()
    """Armed at the start, in the terms of POST /control/faults."""
    assets: tuple[Asset, ...] = DEFAULT_ASSETS
    state_file: Path | None = None
    """Where the account outlives the process; None: it does not."""
    market: MarketConfig = field(default_factory=MarketConfig)
