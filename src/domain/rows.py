"""Rows as the database driver gives them, and the times in them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

Row = dict[str, Any]


def utc_from_db(value: datetime | None) -> datetime | None:
    """A DATETIME of ours is UTC; the driver returns it naive."""
    return None if value is None else value.replace(tzinfo=UTC)
