"""When a cycle may begin: at which price, and whether it waits for the user. Pure."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal
from enum import Enum

from domain.asset import DcaAsset, StartMode
from domain.cycle import WAITING_STATUSES, CycleStatus, DcaCycle
from domain.market import AssetRules
from strategy.sizing import WIDE, round_to_increment


def waits_for_user(asset: DcaAsset, cycle: DcaCycle) -> bool:
    """Whether its base order comes only when the user says so, and they have not."""
    return asset.start_mode is StartMode.MANUAL and not cycle.open_requested


class Opening(Enum):
    """What becomes of the user's word that a cycle may begin."""

    REQUESTED = "requested"
    WAS_REQUESTED = "was_requested"  # before: nothing is changed
    BY_ITSELF = "by_itself"  # the base order comes without a request: nothing is changed


def decide_opening(asset: DcaAsset, cycle: DcaCycle) -> Opening:
    """Of a cycle that can begin (see `why_not_open`)."""
    if cycle.open_requested:
        return Opening.WAS_REQUESTED
    if asset.start_mode is StartMode.AT_ONCE and cycle.status is not CycleStatus.COOLDOWN:
        return Opening.BY_ITSELF
    return Opening.REQUESTED


def why_not_open(asset: DcaAsset, cycle: DcaCycle, *, holds_coins: bool) -> str | None:
    """Why the user cannot have this cycle begin now; None: they can. Dust is no coins."""
    symbol = asset.asset_symbol
    if not asset.is_enabled:
        return f"{symbol} is disabled: scripts/assets enable {symbol}, then open it"
    if cycle.close_requested:
        return f"{symbol} is to be closed: scripts/bot close {symbol} --withdraw"
    if cycle.status in WAITING_STATUSES:
        return f"the cycle of {symbol} is open already: it is {cycle.status} now"
    if holds_coins:
        held = f"{cycle.quantity.normalize(WIDE):f}"
        return f"the cycle of {symbol} is open already: it bought {held} coins"
    return None


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
