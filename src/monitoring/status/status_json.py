"""A status as JSON, which the tools and the page share. Decides nothing."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from monitoring.status.status import Status
from utils.fill_view import fill_json
from utils.formatting import plain


def status_json(status: Status) -> dict[str, Any]:
    """Everything, money and coins as exact text."""
    shown: dict[str, Any] = {"is_well": status.is_well, **plain(asdict(status))}
    for caretaker, raw in zip(status.caretakers, shown["caretakers"], strict=True):
        raw["is_stale"] = caretaker.is_stale
    shown["last_fills"] = [fill_json(fill) for fill in status.last_fills]
    return shown
