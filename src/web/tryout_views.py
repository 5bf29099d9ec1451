"""What a try says, as JSON: ladder, curve, fills, and how far each slider goes. Decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np

from domain.asset import DcaAsset
from domain.journal import JournalEntry, Purpose
from operations.asset_input import CHOICES, DEFAULTS, OFF, list_choices, write_values
from research.backtest import Run
from research.figures import list_cycles
from strategy.cycle_plan import CyclePlan, describe_order
from utils.formatting import plain

MAX_POINTS = 600
MAX_MARKERS = 500
# How far a slider goes and in which steps: what people trade with. What may be typed beside it, and
# what is refused, is strategy.asset_checks' business.
_SLIDERS: Mapping[str, tuple[str, str, str]] = {
    "base": ("5", "500", "5"),
    "safety": ("5", "500", "5"),
    "max_safety": ("0", "30", "1"),
    "deviation": ("0.2", "10", "0.1"),
    "take_profit": ("0.6", "10", "0.1"),
    "cooldown": ("0", "3600", "60"),
    "early_restart": ("0.1", "10", "0.1"),
    "fee_aware": ("0.05", "1", "0.05"),
    "volume_scale": ("1", "3", "0.05"),
    "step_scale": ("1", "3", "0.05"),
    "trailing": ("0.1", "5", "0.1"),
    "stop_loss": ("1", "60", "0.5"),
    "stop_loss_seconds": ("0", "3600", "30"),
}


def limits_json(asset: DcaAsset) -> dict[str, Any]:
    """The options of `asset` as texts, and of each how far its slider goes: to today's value in any
    case. `max_entry` is a price of any size and has none.
    """
    texts = write_values(asset)
    limits: dict[str, dict[str, Any]] = {}
    for option, (low, high, step) in _SLIDERS.items():
        own = [] if texts[option] == OFF else [Decimal(texts[option])]
        limits[option] = {
            "min": plain(min([Decimal(low), *own])),
            "max": plain(max([Decimal(high), *own])),
            "step": step,
            "can_be_off": DEFAULTS[option] is None,
        }
    for option in CHOICES:
        limits[option] = {"choices": list_choices(option)}
    return {"settings": texts, "limits": limits}


def ladder_json(plan: CyclePlan) -> list[dict[str, Any]]:
    """The lines of the ladder on the chart; 0 is the base order."""
    return [
        {
            "number": order.number,
            "price": plain(order.trigger_price),
            "size_usd": plain(order.size_usd),
        }
        for order in plan.orders
    ]


def curve_json(run: Run) -> list[dict[str, Any]]:
    """USD earned so far, what is held at its bid: two settings begin at the same place, whatever
    cash they need.
    """
    start = Decimal(repr(run.curve.start_usd))
    return [
        {"time": plain(at), "usd": plain(worth - start)}
        for at, worth in run.curve.thinned(MAX_POINTS)
    ]


def markers_json(run: Run) -> dict[str, Any]:
    """The fills; of many only those of some cycles, spread evenly, each of them whole."""
    cycles = [one.entries for one in list_cycles(run.outcome)]
    fills = sum(len(entries) for entries in cycles)
    count = len(cycles)
    chosen = cycles
    while sum(len(entries) for entries in chosen) > MAX_MARKERS:
        count = count * MAX_MARKERS // (sum(len(entries) for entries in chosen) + MAX_MARKERS // 8)
        places = np.unique(np.linspace(0, len(cycles) - 1, max(1, count)).round()).astype(int)
        chosen = [cycles[place] for place in places.tolist()]
        if count <= 1:
            chosen = [chosen[0][-MAX_MARKERS:]]
    return {
        "markers": [marker for entries in chosen for marker in _cycle_markers(entries)],
        "markers_of": fills,
    }


def _cycle_markers(entries: tuple[JournalEntry, ...]) -> list[dict[str, Any]]:
    found, bought = [], 0
    for entry in entries:
        bought += entry.purpose is Purpose.SAFETY
        if entry.purpose in (Purpose.BASE, Purpose.SAFETY):
            words = describe_order(entry.purpose, bought)
        else:
            words = entry.purpose.value.replace("_", " ")
        found.append(
            {
                "time": plain(entry.ended_at),
                "side": entry.side.value,
                "price": plain(entry.filled_avg_price),
                "qty": plain(entry.filled_qty),
                "words": words,
            }
        )
    return found
