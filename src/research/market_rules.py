"""The rules of a coin for a replay without an exchange: those that Alpaca named last, kept beside
the history, or what is usual.

    HISTORY_DIR/BTC-USD/rules.json
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal, InvalidOperation, localcontext
from pathlib import Path

from domain.market import AssetRules
from research.errors import DamagedHistory
from research.history import History
from research.history_file import write_whole
from strategy.sizing import WIDE, round_to_increment
from utils.formatting import plain

_NAME = "rules.json"
_SIZES = ("min_order_size", "min_trade_increment", "price_increment")
# The finest steps on Alpaca's wire, which it lists for most coins; its smallest order was worth
# about a dollar on the day on which it was set.
_FINEST = Decimal("0.000000001")
_SMALLEST_USD = Decimal(1)


@dataclass(frozen=True, slots=True)
class KnownRules:
    """`asked_at`: when Alpaca named them; None: they are what is usual."""

    rules: AssetRules
    asked_at: datetime | None = None


def load_rules(history: History, symbol: str, min_cost_usd: Decimal) -> KnownRules | None:
    """Those kept beside the history; None: Alpaca was never asked.

    Raises:
        DamagedHistory: the file is not what was written.
    """
    path = _path_of(history, symbol)
    try:
        found = json.loads(path.read_text("utf-8"))
        sizes = {name: Decimal(found[name]) for name in _SIZES}
        asked_at = datetime.fromisoformat(found["asked_at"]).astimezone(UTC)
        if min(sizes.values()) <= 0:
            raise ValueError("a step is not above zero")
        rules = AssetRules(
            symbol=symbol,
            min_order_size=sizes["min_order_size"],
            min_trade_increment=sizes["min_trade_increment"],
            price_increment=sizes["price_increment"],
            min_cost_usd=min_cost_usd,
        )
        return KnownRules(rules, asked_at)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, InvalidOperation) as error:
        raise DamagedHistory(f"{path} is damaged ({error}): remove it") from error


def save_rules(history: History, rules: AssetRules, asked_at: datetime) -> None:
    """Keep them for a replay without the exchange.

    Raises:
        HistoryError: they could not be written.
    """
    kept = {name: plain(value) for name, value in asdict(rules).items() if name in _SIZES}
    text = json.dumps({**kept, "asked_at": asked_at.isoformat()}, indent=1)
    write_whole(_path_of(history, rules.symbol), f"{text}\n".encode())


def usual_rules(symbol: str, min_cost_usd: Decimal, price: Decimal) -> KnownRules:
    """What Alpaca's rules of most coins are like, at `price` USD a coin (rounded up to a step)."""
    with localcontext(WIDE):
        smallest = round_to_increment(_SMALLEST_USD / price, _FINEST, ROUND_CEILING)
    rules = AssetRules(
        symbol=symbol,
        min_order_size=smallest,
        min_trade_increment=_FINEST,
        price_increment=_FINEST,
        min_cost_usd=min_cost_usd,
    )
    return KnownRules(rules)


def _path_of(history: History, symbol: str) -> Path:
    return history.folder_of(symbol) / _NAME
