"""What a try is asked with: by a browser, read strictly, and between the page and the process that
holds the history. Loads nothing that replays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from config import Settings
from operations.asset_input import COLUMN_OF
from operations.refused import Refused
from strategy.limits import AccountLimits
from utils.formatting import plain

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
    limits: AccountLimits


def settings_text(settings: Settings) -> str:
    """What of the settings the process needs, for its command line."""
    own = [one.name for one in fields(TrySettings) if one.name != "limits"]
    limits = plain(asdict(AccountLimits.of(settings)))
    return json.dumps({name: str(getattr(settings, name)) for name in own} | {"limits": limits})


def read_settings(text: str) -> TrySettings:
    """What `settings_text` made."""
    found = json.loads(text)
    folder = Path(found.pop("history_dir"))
    limits: dict[str, Any] = {name: _number(one) for name, one in found.pop("limits").items()}
    numbers = {name: Decimal(one) for name, one in found.items()}
    return TrySettings(history_dir=folder, limits=AccountLimits(**limits), **numbers)


def _number(raw: str | int | None) -> Decimal | int | None:
    return Decimal(raw) if isinstance(raw, str) else raw


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
