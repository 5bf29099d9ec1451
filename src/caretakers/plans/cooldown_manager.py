"""Which cooldowns are over, and which can never end. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from domain.trading_state import TradingState
from strategy.cooldown import is_cooldown_over
from utils.formatting import moment

# The clocks of the exchange and of this machine differ, but not by more.
LARGEST_CLOCK_SKEW = timedelta(hours=1)


def plan_cooldown_ends(cooldowns: Iterable[TradingState], now: datetime) -> list[TradingState]:
    """Those that are over."""
    return [cooldown for cooldown in cooldowns if is_cooldown_over(cooldown, now)]


def why_endless(cooldown: TradingState, now: datetime) -> str | None:
    """Why this cooldown does not end when it should, for a person; None when it does."""
    ended_at = cooldown.previous_completed_at
    if ended_at is None:
        return "no cycle before it ended, so there is nothing to count from"
    if ended_at > now + LARGEST_CLOCK_SKEW:
        return f"the cycle before it claims to have ended in the future ({moment(ended_at)} UTC)"
    return None
