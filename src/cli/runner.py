"""The frame of a tool: whatever stops it is one line and an exit code; how its commands answer.

Owns: which kind of trouble ends with which code and in which words. Knows no command.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from rich.text import Text

from cli.command_line import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_REFUSED,
    Stop,
    complain,
    fitted,
    forget_unwritten,
    make_console,
    print_json,
)
from config import Settings, SettingsError, known_settings
from models.meta import ForeignDatabase
from operations.refused import Refused
from runtime.daemon_process import DaemonError
from runtime.unwritable import describe_unwritable
from utils.backup_file import BackupError
from utils.db_utils import DatabaseError, close_thread_connection
from utils.formatting import cure_of_silence
from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)


class Command:
    """One run of one command. A tool derives a class with a method for each of its commands; a
    method returns its exit code, or None when it is done.
    """

    def __init__(self, settings: Settings, options: argparse.Namespace) -> None:
        self.settings = settings
        self.options = options
        self.as_json: bool = options.json
        self.console = make_console()

    def run(self) -> int:
        method = getattr(self, self.options.command.replace("-", "_"))
        return method() or EXIT_DONE

    def say(self, text: str | Text) -> None:
        """For a person only, as it comes."""
        if not self.as_json:
            self.console.print(fitted(self.console, text))

    def answer(self, text: str, **shown: Any) -> None:
        """What was done: `text` for a person, one JSON object for a program."""
        if self.as_json:
            print_json({"done": True, "text": text, **shown})
        self.say(text)


def run_tool(
    program: str, arguments: Sequence[str] | None, work: Callable[[Sequence[str]], int]
) -> int:
    """Do `work` with the arguments of the command line (or those given); its exit code."""
    texts = list(sys.argv[1:] if arguments is None else arguments)
    end = partial(complain, program, as_json="--json" in texts)
    try:
        code = work(texts)
        sys.stdout.flush()
        return code
    except Stop as stop:
        return end(str(stop), stop.code, shown=stop.shown)
    except Refused as error:
        return end(str(error), EXIT_REFUSED)
    except SettingsError as error:
        return end(error.problems, EXIT_REFUSED)
    except (BackupError, DaemonError, DatabaseError, ForeignDatabase) as error:
        return end(str(error), EXIT_FAILED)
    except TimeoutError:
        return end("the watchdog or another tool is still at work: try again", EXIT_FAILED)
    except BrokenPipeError:  # whoever read the answer has seen enough
        forget_unwritten()
        return EXIT_DONE
    except OSError as error:
        return end(describe_unwritable(error, known_settings()), EXIT_FAILED)
    except KeyboardInterrupt:
        return end("stopped", EXIT_FAILED)
    except Exception as error:
        if not _is_of_exchange(error):
            raise
        log_event(log, LogEvent.COMMAND_FAILED, program=program, reason=error)
        return end(_words_of(error), EXIT_FAILED)
    finally:
        close_thread_connection()


def _words_of(error: Exception) -> str:
    text, settings = str(error), known_settings()
    if text.startswith("no answer") and settings is not None and settings.is_local_exchange:
        text += f": {cure_of_silence(settings)}"
    return text if text.startswith("Alpaca") else f"Alpaca: {text}"


def _is_of_exchange(error: Exception) -> bool:
    """The SDK takes a second to load: a command that never asked the exchange has not loaded it."""
    http = sys.modules.get("utils.alpaca_http")
    return http is not None and isinstance(error, http.ExchangeError)
