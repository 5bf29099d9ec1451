"""The pause of all buys: the user's, whether from the command line or from a chat.

The flag in the run folder is what counts (runtime.operator_flags), so that it works while the
database is away.
"""

from __future__ import annotations

import logging

from config import Settings
from domain.events import Event, EventKind, Severity
from models.events import append_event
from runtime.daemon_process import find_daemon
from runtime.operator_flags import PAUSED, is_paused, set_flag
from utils.db_utils import thread_connection
from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)

PAUSED_TEXT = "No new buys from now on; what is held is still sold."


def pause_buying(settings: Settings, *, by: str | None = None) -> None:
    """No asset buys any more. `by`: who asked, for the log.

    Raises:
        OSError: the run folder cannot be written.
    """
    set_flag(settings.run_dir, PAUSED, wanted=True)
    log_event(log, LogEvent.BUYING_PAUSE_REQUESTED, by=by)


def resume_buying(settings: Settings, *, by: str | None = None) -> str:
    """Buys are placed again. What became of it, for a person.

    Raises:
        OSError: the run folder cannot be written.
    """
    was_paused = is_paused(settings.run_dir)
    set_flag(settings.run_dir, PAUSED, wanted=False)
    log_event(log, LogEvent.BUYING_RESUME_REQUESTED, paused=was_paused, by=by)
    text = "It buys again." if was_paused else "Buying was not paused."
    if find_daemon(settings) is None:
        text += " The daemon does not run: scripts/bot start"
    return text


def note_pause(kind: EventKind, by: str) -> None:
    """Its row in `dca_events`.

    Raises:
        DatabaseError: it was not written.
    """
    done = "paused" if kind is EventKind.BUYING_PAUSE_REQUESTED else "resumed"
    event = Event(kind=kind, severity=Severity.INFO, reason=f"{by} {done} buying")
    append_event(thread_connection(), event)
