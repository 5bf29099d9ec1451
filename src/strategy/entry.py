"""When a cycle may begin: at which price, and whether it waits for the user. Pure."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal

from domain.asset import DcaAsset, StartMode
from domain.cycle import CycleStatus, DcaCycle
from domain.market import AssetRules
from strategy.sizing import round_to_increment


def waits_for_user(asset: DcaAsset, cycle: DcaCycle) -> bool:
    """Whether its base order comes only when the user says so, and they have not."""
    return asset.start_mode is StartMode.MANUAL and not cycle.open_requested


def compute_entry_price(
    asset: DcaAsset, cycle: DcaCycle, rules: AssetRules, price: Decimal | None
) -> Decimal | None:
    """USD: the highest ask at which a base order comes where without limits it would come at
    `price`; None: at no price.

    `max_entry_price` is rounded down to the price increment, because a limit price is rounded up to
    it: the order itself is never above it.
    """
    if price is None or waits_for_user(asset, cycle):
        return None
    if asset.max_entry_price is None:
        return price
    highest = round_to_increment(asset.max_entry_price, rules.price_increment, ROUND_FLOOR)
    return min(price, highest)


def describe_wait(
    asset: DcaAsset, cycle: DcaCycle, *, holds_coins: bool, ask: Decimal | None = None
) -> str | None:
    """What the base order waits for though nothing is wrong, for a person; None: for nothing that
    this module knows of. Without `ask` a highest price counts as not reached.
    """
    is_next = cycle.status in (CycleStatus.WATCHING, CycleStatus.COOLDOWN) and not holds_coins
    if not is_next or not asset.is_enabled or cycle.close_requested:
        return None
    if waits_for_user(asset, cycle):
        return f"waits for scripts/bot open {asset.asset_symbol}"
    highest, cools_down = asset.max_entry_price, cycle.status is CycleStatus.COOLDOWN
    if highest is None or (cools_down and not cycle.open_requested):
        return None
    if ask is not None and ask <= highest:
        return None
    return f"waits for a price at or below {highest.normalize():f} USD"
