"""The picture of the live page: the kept status, and what was written since the last look.
Blocking; one for a process, one thread at a time.
"""

from __future__ import annotations

import json
from typing import Any

from config import Settings
from domain.market import AssetRules, Quote
from monitoring.status.kept_status import KeptStatusReader
from utils.account_value import AccountValue
from utils.db_utils import DatabaseError
from web.live import Picture
from web.records import NewRecords
from web.status_view import gone_of, status_body

# What moves by itself: that alone is no news.
_AGES = ("as_of", "status")
_FIGURES = ("as_of", "assets", "today", "capital")


class StatusSource:
    """Loads a picture as often as asked. While the database is away its figures are the last good
    ones, with the time of those.
    """

    def __init__(self, settings: Settings) -> None:
        self._reader = KeptStatusReader(settings)
        self._new = NewRecords(settings)
        self._good: dict[str, Any] = {}

    def load(self) -> Picture:
        status, month_usd = self._reader.load()
        body = status_body(status, month_usd)
        if status.assets is None:
            body |= self._good
        else:
            self._good = {name: body[name] for name in _FIGURES}
        rows = {row["symbol"]: row for row in body["assets"]}
        said = {name: value for name, value in body.items() if name not in _AGES}
        said["assets"] = [row | {"quote_age_seconds": None} for row in body["assets"]]
        return Picture(
            status=status,
            month_usd=month_usd,
            text=json.dumps(body),
            key=said,
            rows=rows,
            gone=gone_of(status),
            records=self._news() if status.assets is not None else [],
        )

    def _news(self) -> list[dict[str, Any]]:
        """Nothing where the database went away just now: they come with the next look."""
        try:
            return self._new.read()
        except DatabaseError:
            return []

    def market(self, symbol: str) -> tuple[Quote | None, AssetRules | None]:
        """The last price and the rules of an asset, as far as they are known."""
        return self._reader.market(symbol)

    @property
    def account(self) -> AccountValue | None:
        """As it was last known."""
        return self._reader.account

    def close(self) -> None:
        self._reader.close()
