"""What became of a request to open a cycle, in words that the command line and the page share.
Decides nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime

from config import Settings
from domain.asset import DcaAsset
from operations.open_cycle import Opening, OpenResult
from runtime.daemon_process import find_daemon
from runtime.operator_flags import is_paused
from utils.formatting import day_and_clock, describe_account, number


def open_text(settings: Settings, asset: DcaAsset, result: OpenResult) -> str:
    """What was requested, and what its base order waits for."""
    waits = _find_obstacles(settings, result)
    text = f"{_beginning(settings, asset, result)} {_when(waits, _highest(asset))}"
    return text + (" Its cooldown ends with that." if result.ends_cooldown else "")


def find_waits(settings: Settings, asset: DcaAsset, result: OpenResult) -> list[str]:
    """What the base order waits for, each in words."""
    highest = _highest(asset)
    return [
        *_find_obstacles(settings, result),
        *([f"for a price{highest}"] if highest else []),
    ]


def _beginning(settings: Settings, asset: DcaAsset, result: OpenResult) -> str:
    symbol, amount = asset.asset_symbol, number(asset.base_order_amount)
    match result.opening:
        case Opening.BY_ITSELF:
            return f"{symbol} opens its cycles by itself (--start at-once): nothing is requested."
        case Opening.WAS_REQUESTED:
            return f"To open {symbol} was requested before."
        case Opening.REQUESTED:
            money = describe_account(settings)
            return f"{symbol} is to be opened with {amount} USD ({money})."


def _highest(asset: DcaAsset) -> str:
    highest = asset.max_entry_price
    return "" if highest is None else f" at or below {number(highest)} USD"


def _when(waits: list[str], highest: str) -> str:
    if not waits:
        return f"The base order comes at the next price{highest}."
    return f"The base order waits: {'; '.join(waits)}; then it comes at the next price{highest}."


def _find_obstacles(settings: Settings, result: OpenResult) -> list[str]:
    """What must come first, each for a person; empty: the next price that may begin a cycle."""
    waits = []
    if find_daemon(settings) is None:
        waits.append("the daemon does not run (scripts/bot start)")
    if is_paused(settings.run_dir):
        waits.append("buying is paused (scripts/bot resume)")
    if result.not_before is not None and result.not_before > datetime.now(UTC):
        until = day_and_clock(result.not_before)
        waits.append(f"until {until} UTC, because its last cycle ended in error")
    return waits
