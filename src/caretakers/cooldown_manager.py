"""What cooldown_manager does: each cycle whose cooldown is over goes back to `watching`. A daemon
that runs has done it already.

Needs the database alone, and imports nothing of the exchange: it runs every minute.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from functools import partial

from caretakers.plans.cooldown_manager import plan_cooldown_ends
from caretakers.runner import ScriptRun
from domain.trading_state import TradingState
from models.trading_state import load_cooldowns
from trading.cooldown_ends import end_cooldown
from utils.db_utils import thread_connection
from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)


def end_cooldowns(run: ScriptRun) -> None:
    """End every cooldown that is over.

    Raises:
        DatabaseError: not finished; what was ended stays, the next run goes on.
    """
    now = datetime.now(UTC)
    cooldowns = load_cooldowns(thread_connection())
    ended = plan_cooldown_ends(cooldowns, now)
    log_event(log, LogEvent.COOLDOWNS_CHECKED, running=len(cooldowns), over=len(ended))
    for cooldown in ended:
        step = {
            "action": "end cooldown",
            "symbol": cooldown.asset.asset_symbol,
            "reason": f"{cooldown.asset.cooldown_period} s have passed since"
            f" {cooldown.previous_completed_at:%Y-%m-%d %H:%M:%S} UTC",
            "cycle": cooldown.cycle.id,
        }
        run.step(step, partial(_end, cooldown, now))


def _end(cooldown: TradingState, now: datetime) -> str | None:
    return None if end_cooldown(cooldown, now, "cooldown_manager") else "not needed"
