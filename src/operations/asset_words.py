"""What became of a change of an asset, in words that the command line and the page share."""

from __future__ import annotations

from decimal import Decimal

from domain.asset import DcaAsset, StartMode
from domain.cycle import CycleStatus
from domain.trading_state import TradingState
from strategy.fees import compute_coins_held
from utils.formatting import coins, number


def added_text(asset: DcaAsset, *, has_warnings: bool) -> str:
    """A new asset: when its base order comes."""
    unless = ", unless a warning says otherwise" if has_warnings else ""
    when = "comes at the next price"
    if asset.start_mode is StartMode.MANUAL:
        when = f"waits for scripts/bot open {asset.asset_symbol}"
    elif asset.max_entry_price is not None:
        when += f" at or below {number(asset.max_entry_price)} USD"
    return f"{asset.asset_symbol} is added: the base order {when}{unless}."


def what_goes_on(state: TradingState | None, fee_rate: Decimal) -> str:
    """Of an asset that buys no more."""
    if state is not None and state.cycle.status is CycleStatus.BUYING:
        return "the buy that is open goes on, and what it buys is still sold"
    if state is not None and state.cycle.is_open and state.cycle.quantity > 0:
        held = compute_coins_held(state.cycle.quantity, state.coin_fees, fee_rate)
        return f"its {coins(held)} coins are still watched and sold"
    return "it holds nothing"
