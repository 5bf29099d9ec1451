"""Ctrl-C for the programs that own a stack."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopper:
    """Ctrl-C, SIGTERM and a closed terminal interrupt the program, except inside `watching`."""

    def __init__(self) -> None:
        self._wanted = threading.Event()
        self._may_interrupt = True

    def __enter__(self) -> Stopper:
        for number in _SIGNALS:
            signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_reason: object) -> None:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)

    def _on_signal(self, _number: int, _frame: object) -> None:
        if self._may_interrupt:
            raise KeyboardInterrupt
        self._wanted.set()
        self._may_interrupt = True  # a second signal does not wait for the summary

    @contextlib.contextmanager
    def watching(self) -> Iterator[threading.Event]:
        """Inside, the first signal sets the event instead of interrupting."""
        self._may_interrupt = False
        yield self._wanted
        self._may_interrupt = True

    def ignore(self) -> None:
        """Called when everything is being ended anyway."""
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
