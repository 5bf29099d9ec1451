"""What became of a change of an asset, in words that the command line and the page share."""

from __future__ import annotations

from domain.asset import DcaAsset, StartMode
from domain.cycle import CycleStatus, DcaCycle
from utils.formatting import number


def added_text(asset: DcaAsset, *, has_warnings: bool) -> str:
    """A new asset: when its base order comes."""
    unless = ", unless a warning says otherwise" if has_warnings else ""
    when = "comes at the next price"
    if asset.start_mode is StartMode.MANUAL:
        when = f"waits for scripts/bot open {asset.asset_symbol}"
    elif asset.max_entry_price is not None:
        when += f" at or below {number(asset.max_entry_price)} USD"
    return f"{asset.asset_symbol} is added: the base order {when}{unless}."


def what_goes_on(cycle: DcaCycle | None) -> str:
    """Of an asset that buys no more."""
    if cycle is not None and cycle.status is CycleStatus.BUYING:
        return "the buy that is open goes on, and what it buys is still sold"
    if cycle is not None and cycle.quantity > 0:
        return f"its {number(cycle.quantity)} coins are still watched and sold"
    return "it holds nothing"
