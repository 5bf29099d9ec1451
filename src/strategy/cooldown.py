"""When a cooldown is over. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from domain.trading_state import TradingState, seconds_long

_NONE = timedelta(0)


def cooldown_left(cooldown: TradingState, now: datetime) -> timedelta | None:
    """What is left of `cooldown_period` since the previous cycle ended, negative when it is over;
    None without such a cycle: there is nothing to count from.
    """
    ended_at = cooldown.previous_completed_at
    if ended_at is None:
        return None
    # Compared as an age: `ended_at` plus a huge period could lie beyond the calendar.
    return seconds_long(cooldown.asset.cooldown_period) - (now - ended_at)


def is_cooldown_over(cooldown: TradingState, now: datetime) -> bool:
    """Whether nothing is left of it; False where there is nothing to count from."""
    left = cooldown_left(cooldown, now)
    return left is not None and left <= _NONE
