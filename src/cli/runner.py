"""The outside of a tool that changes something: whatever stops it is one line and an exit code.

Owns: which kind of trouble ends with which code and in which words. Knows no command.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence

from cli.command_line import EXIT_FAILED, EXIT_REFUSED, Stop, complain
from config import SettingsError
from models.meta import ForeignDatabase
from operations.refused import Refused
from runtime.daemon_process import DaemonError
from utils.db_utils import DatabaseError, close_thread_connection
from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)


def run_tool(
    program: str, arguments: Sequence[str] | None, work: Callable[[Sequence[str]], int]
) -> int:
    """Do `work` with the arguments of the command line (or those given); its exit code."""
    texts = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in texts
    try:
        return work(texts)
    except Stop as stop:
        return complain(program, str(stop), stop.code, as_json=as_json, shown=stop.shown)
    except Refused as error:
        return complain(program, str(error), EXIT_REFUSED, as_json=as_json)
    except SettingsError as error:
        return complain(program, error.problems, EXIT_REFUSED, as_json=as_json)
    except (DaemonError, DatabaseError, ForeignDatabase) as error:
        return complain(program, str(error), EXIT_FAILED, as_json=as_json)
    except TimeoutError:
        reason = "the watchdog, or another tool, has been at it for too long: try again"
        return complain(program, reason, EXIT_FAILED, as_json=as_json)
    except OSError as error:
        reason = f"cannot write the log or run folder, or the answer: {error}"
        return complain(program, reason, EXIT_FAILED, as_json=as_json)
    except KeyboardInterrupt:
        return complain(program, "stopped", EXIT_FAILED, as_json=as_json)
    except Exception as error:
        if not _is_of_exchange(error):
            raise
        log_event(log, LogEvent.COMMAND_FAILED, program=program, reason=error)
        text = str(error)
        reason = text if text.startswith("Alpaca") else f"Alpaca: {text}"
        return complain(program, reason, EXIT_FAILED, as_json=as_json)
    finally:
        close_thread_connection()


def _is_of_exchange(error: Exception) -> bool:
    """The SDK takes a second to load: a command that never asked the exchange has not loaded it."""
    http = sys.modules.get("utils.alpaca_http")
    return http is not None and isinstance(error, http.ExchangeError)
