"""What a status says in words, which the screen, the chat and the page share. Decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from monitoring.status.asset_status import AssetStatus
from monitoring.status.status import Status
from utils.formatting import counted, span


class Tone(StrEnum):
    """How much it matters; a front end has a colour for each."""

    WRONG = "wrong"
    NOTABLE = "notable"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Words:
    text: str
    tone: Tone


def verdict_words(status: Status) -> Words:
    """All is well, or how many things are wrong."""
    if not status.is_well:
        count = len(status.problems)
        verb = "is" if count == 1 else "are"
        return Words(f"{counted(count, 'thing')} {verb} wrong", Tone.WRONG)
    if status.daemon.is_stopped_on_purpose:
        return Words("nothing is wrong: you stopped it", Tone.NOTABLE)
    return Words("all is well", Tone.PLAIN)


def state_detail(asset: AssetStatus, read_at: datetime) -> Words | None:
    """What matters in its status; None: nothing."""
    if asset.status is None:
        return None
    if asset.held is not None:
        word = "waiting" if asset.held.is_requested else "held back"
        return Words(word, Tone.WRONG if asset.held.is_wrong else Tone.NOTABLE)
    if asset.is_stopped:
        return Words("stop loss", Tone.WRONG)
    if asset.order is not None and asset.order.age_seconds is not None:
        return Words(f"for {span(asset.order.age_seconds)}", Tone.PLAIN)
    if not asset.is_enabled:
        return Words("buys nothing", Tone.PLAIN)
    if asset.quantity > 0:
        steps = f"safety {asset.safety_orders}/{asset.max_safety_orders}"
        return Words(steps, Tone.PLAIN)
    if asset.waits_until is not None:
        left = (asset.waits_until - read_at).total_seconds()
        return Words(f"{span(left)} left" if left > 0 else "is over", Tone.PLAIN)
    return None


def buys_word(asset: AssetStatus) -> Words | None:
    """Where no price says when it buys next."""
    if not asset.buys_at_any_price:
        return None
    if asset.held is not None:
        return Words("not now", Tone.WRONG if asset.held.is_wrong else Tone.NOTABLE)
    return Words("at once" if asset.waits_until is None else "later", Tone.PLAIN)


def is_buy_due(asset: AssetStatus) -> bool:
    """Whether the ask has come down to the price of the next buy."""
    price, ask = asset.buy_price, asset.ask
    return price is not None and ask is not None and ask <= price


def is_sale_due(asset: AssetStatus) -> bool:
    """Whether the bid has reached the take profit, or with a trail has fallen far enough."""
    price, bid = asset.sell_price, asset.bid
    if price is None or bid is None:
        return False
    return bid <= price if asset.peak is not None else bid >= price
