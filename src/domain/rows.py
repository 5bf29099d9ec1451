"""Rows as the database driver gives them, and the times in them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeVar

Row = dict[str, Any]
Moment = TypeVar("Moment", datetime, datetime | None)


def utc_from_db(value: Moment) -> Moment:
    """A DATETIME of ours is UTC; the driver returns it naive."""
    return None if value is None else value.replace(tzinfo=UTC)
