"""What a try is asked with: by a browser, read strictly, and between the page and the process that
holds the history. Loads nothing that replays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

from config import Settings
from operations.asset_input import COLUMN_OF
from operations.refused import Refused

TRY, DESCRIBE, CANDLES, DROP = "try", "describe", "candles", "drop"
OK, REFUSED, SUPERSEDED, FAILED = 200, 400, 409, 500
_EARLIEST, _LATEST = 2009, 2200  # years in which there are coins


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """One asset and a span of the history; without an end all there is."""

    symbol: str
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrySettings:
    """What of `.env` a replay depends on."""

    history_dir: Path
    taker_fee_percent: Decimal
    minimum_order_usd: Decimal
    max_spread_percent: Decimal
    max_quote_jump_percent: Decimal


def settings_text(settings: Settings) -> str:
    """What of the settings the process needs, for its command line."""
    return json.dumps({one.name: str(getattr(settings, one.name)) for one in fields(TrySettings)})


def read_settings(text: str) -> TrySettings:
    """What `settings_text` made."""
    found = json.loads(text)
    folder = Path(found.pop("history_dir"))
    return TrySettings(history_dir=folder, **{name: Decimal(one) for name, one in found.items()})


def read_range(symbol: str, since: str | None, until: str | None) -> Range:
    """From ISO-8601 texts.

    Raises:
        Refused: they are no times, or in the wrong order.
    """
    times = []
    for name, text in (("from", since), ("to", until)):
        try:
            at = None if text is None else datetime.fromisoformat(text)
        except ValueError:
            raise Refused(f"{name} takes a time like 2024-01-01T00:00:00Z") from None
        if at is not None and (at.tzinfo is None or not _EARLIEST <= at.year <= _LATEST):
            raise Refused(f"{name} takes a time with its zone, like 2024-01-01T00:00:00Z")
        times.append(at)
    first, last = times
    if first is not None and last is not None and last - first < timedelta(minutes=1):
        raise Refused("from must be before to")
    return Range(symbol=symbol, since=first, until=last)


def read_texts(found: object, options: Sequence[str] = tuple(COLUMN_OF)) -> dict[str, str]:
    """`{option: text}` out of what a browser sent.

    Raises:
        Refused: it is something else.
    """
    if not isinstance(found, Mapping):
        raise Refused("settings are an object of options and texts")
    strange = [name for name in found if name not in options]
    if strange:
        raise Refused(f"there is no option {str(strange[0])[:40]!r}: {', '.join(options)}")
    if not all(isinstance(text, str) for text in found.values()):
        raise Refused('every setting is a text, such as "1.5"')
    return dict(found)
