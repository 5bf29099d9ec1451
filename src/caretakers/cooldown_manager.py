"""What cooldown_manager does: each cycle whose cooldown is over goes back to `watching`.

Needs the database alone, and imports nothing of the exchange: it runs every minute.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from functools import partial

from mysql.connector.abstracts import MySQLConnectionAbstract

from caretakers.plans.cooldown_manager import is_cooldown_over, plan_cooldown_ends
from caretakers.runner import ScriptRun
from domain.trading_state import TradingState
from models.cycle_data import lock_cycle
from models.trading_state import load_cooldown, load_cooldowns
from strategy.repairs import compute_cooldown_over_change
from trading.cycle_changes import write_change
from utils.db_utils import thread_connection, transaction
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
    return None if end_cooldown(cooldown, now) else "not needed"


def end_cooldown(cooldown: TradingState, now: datetime) -> bool:
    """Put the cycle back to `watching` if its row is as it was read and its cooldown still is over.

    Raises:
        DatabaseError: nothing was written.
    """

    def work(connection: MySQLConnectionAbstract) -> bool:
        if lock_cycle(connection, cooldown.cycle.id) != cooldown.cycle:
            return False
        fresh = load_cooldown(connection, cooldown.cycle.id)
        if fresh is None or not is_cooldown_over(fresh, now):
            return False
        write_change(connection, fresh.cycle, compute_cooldown_over_change(fresh.cycle))
        return True

    ended = transaction(work)
    if ended:
        log_event(
            log,
            LogEvent.CYCLE_CHANGED,
            symbol=cooldown.asset.asset_symbol,
            cycle=cooldown.cycle.id,
            status="cooldown>watching",
            source="cooldown_manager",
        )
    return ended
