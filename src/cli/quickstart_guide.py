"""What the steps of `scripts/quickstart` share: questions, remembered answers, changes of `.env`.

Owns .local/quickstart.json, which holds what was answered and is not yet to be seen elsewhere.
Knows no step.
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import io
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.text import Text

from cli.command_line import EXIT_FAILED, Stop, ask, prompt_of
from cli.runner import Command
from config import (
    PROJECT_ROOT,
    Settings,
    SettingsError,
    env_file,
    inspect_settings,
    read_environment,
    reset_settings,
    shell_settings,
    use_settings,
)
from operations.refused import Refused
from runtime.daemon_process import find_daemon
from utils.db_utils import close_thread_connection
from utils.env_file import change_env_file
from utils.logging_setup import setup_logging
from utils.state_file import load_state, save_state

STATE_FILE = PROJECT_ROOT / ".local" / "quickstart.json"
STEPS = 5


class Guide(Command):
    """One run. `shown` is what --json prints at the end."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(read_settings(), options)
        self.can_ask = sys.stdin.isatty() and not self.as_json
        self.shown: dict[str, Any] = {}
        self._step = 0

    # Words

    def begin_step(self, what: str) -> None:
        self._step += 1
        self.say(Text(f"\n{self._step} of {STEPS}  {what}", style="bold"))

    @contextlib.contextmanager
    def waiting_for(self, what: str) -> Iterator[None]:
        """A sign of life on a terminal, gone when it is over; one line elsewhere."""
        if self.as_json:
            yield
        elif self.console.is_terminal:
            with self.console.status(what):
                yield
        else:
            self.say(f"{what} ...")
            yield

    def quietly(self, work: Callable[[], int]) -> int:
        """Do what another tool does; with --json its answer is left out."""
        with (
            contextlib.redirect_stdout(io.StringIO()) if self.as_json else contextlib.nullcontext()
        ):
            return work()

    # Questions

    def ask(self, question: str, usual: str) -> str:
        """What the user types; `usual` where that is nothing."""
        return ask(f"{question} (Enter: {usual}) ") or usual

    def ask_secret(self, question: str) -> str:
        """As above, and nobody sees it."""
        try:
            return getpass.getpass(prompt_of(question)).strip()
        except EOFError:
            raise Stop("the input has ended: run it again to go on", EXIT_FAILED) from None

    def agrees(self, question: str) -> bool:
        """Yes where nothing is typed."""
        return ask(f"{question} [Y/n] ").lower() in ("", "y", "yes")

    # Settings

    def change_settings(self, changes: Mapping[str, str | None]) -> None:
        """Write these into `.env` and go on with them; None takes a name out.

        Raises:
            Refused: the shell or a running bot stands against it.
        """
        shell = shell_settings()
        in_the_way = sorted(name for name, new in changes.items() if shell.get(name, new) != new)
        if in_the_way:
            raise Refused(
                f"your shell sets {', '.join(in_the_way)}, which wins over .env: unset it first"
            )
        known = read_environment()
        is_new = any((known.get(name) or None) != (new or None) for name, new in changes.items())
        daemon = find_daemon(self.settings) if is_new else None
        if daemon is not None:
            raise Refused(
                f"the bot runs with other settings (PID {daemon.pid}): scripts/bot stop first"
            )
        change_env_file(env_file(), changes, template=PROJECT_ROOT / ".env.example")
        self.reload()

    def reload(self) -> None:
        """Go on with what `.env` says now."""
        close_thread_connection()
        reset_settings()
        self.settings = read_settings()
        self.settings.run_dir.mkdir(parents=True, exist_ok=True)
        setup_logging(self.settings, "quickstart", console=False)


def remembered(name: str) -> str | None:
    """What was answered in an earlier run."""
    value = load_state(STATE_FILE).get(name)
    return value if isinstance(value, str) else None


def remember(**answers: str | None) -> None:
    """None: forget it."""
    kept = {**load_state(STATE_FILE), **answers}
    save_state(STATE_FILE, {name: value for name, value in kept.items() if value is not None})


def read_settings() -> Settings:
    """Those that are known so far; what is missing is asked for later.

    Raises:
        Refused: they mean real money.
        SettingsError: something in `.env` or the environment is wrong.
    """
    settings, problems = inspect_settings(read_environment())
    if settings.is_live:
        raise Refused(
            "the settings mean real money, which this never begins with: see docs/going-live.md"
        )
    if wrong := [problem for problem in problems if " is missing: " not in problem]:
        raise SettingsError(wrong)
    use_settings(settings)
    return settings
