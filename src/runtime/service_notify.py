"""Tells systemd, where it started us, that we are ready, live and stop (sd_notify(3)).

Owns the datagrams. Never waits: a manager that does not read must not hold up the daemon.
"""

from __future__ import annotations

import contextlib
import socket

_MICROSECONDS = 1_000_000


class ServiceManager:
    """`address` is NOTIFY_SOCKET's value; None: nobody wants to know."""

    def __init__(self, address: str | None) -> None:
        self._address = address
        if address is not None and address.startswith("@"):  # an abstract socket of Linux
            self._address = "\0" + address[1:]

    def beat(self, state: str, max_age_seconds: float) -> None:
        """A sign of life. The first one makes a start complete; when none comes for
        `max_age_seconds` we count as hung.
        """
        limit = f"WATCHDOG_USEC={round(max_age_seconds * _MICROSECONDS)}"
        self._tell("READY=1", "WATCHDOG=1", limit, f"STATUS={state}")

    def stop(self) -> None:
        """From now on we end by ourselves."""
        self._tell("STOPPING=1", "STATUS=stopping")

    def _tell(self, *lines: str) -> None:
        if self._address is None:
            return
        with (
            contextlib.suppress(OSError),  # gone, or full: the next beat is soon
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender,
        ):
            sender.sendto("\n".join(lines).encode(), self._address)
