"""A TCP line to the database that breaks at a chosen statement, in a chosen way.

It counts the statements of all connections together: a packet of the client that is a query.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum

_QUERY = 3  # COM_QUERY
_HEADER = 5  # length, number, command


class Cut(Enum):
    """What becomes of the statement, and what the client sees of it."""

    UNSENT = "the server never gets it; both ends are closed"
    UNANSWERED = "the server does it; both ends are closed before an answer"
    HALF_ANSWERED = "the server does it; both ends are closed in the middle of the answer"
    SILENT = "the server never gets it; nothing is closed, nothing comes any more"
    SILENT_HALFWAY = "the server does it; the answer stops in its middle, nothing is closed"


class CuttingLine:
    """Passes on what is sent to `port`, until the statement that was planned."""

    def __init__(self, target_port: int) -> None:
        self._target = ("127.0.0.1", target_port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self.statements: list[str] = []
        self.packets = 0  # of the clients, pings included
        self._silent: set[socket.socket] = set()
        self._plans: list[tuple[str, int, Cut]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_at(self, text: str, cut: Cut, *, nth: int = 1) -> None:
        """Break at the `nth` statement from now that begins with `text`."""
        with self._lock:
            self._plans.append((text, nth, cut))

    def go_silent(self) -> None:
        """The connections of now are dead from now on, and nobody is told."""
        with self._lock:
            self._silent |= set(self._sockets)

    def _due(self, statement: str) -> Cut | None:
        with self._lock:
            self.statements.append(statement)
            for place, (text, left, cut) in enumerate(self._plans):
                if statement.startswith(text):
                    self._plans[place] = (text, left - 1, cut)
                    if left == 1:
                        del self._plans[place]
                        return cut
        return None

    def close(self) -> None:
        self._listener.close()
        for one in self._sockets:
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                self._sockets += [near, far]
                threading.Thread(target=self._serve, args=(near, far), daemon=True).start()

    def _serve(self, near: socket.socket, far: socket.socket) -> None:
        """The client's side; the answers have a thread of their own."""
        cuts: list[Cut] = []
        answers = threading.Thread(target=self._answer, args=(near, far, cuts), daemon=True)
        answers.start()
        with suppress(OSError):
            while data := near.recv(1 << 20):
                self.packets += 1
                is_query = len(data) > _HEADER and data[4] == _QUERY
                statement = data[_HEADER:].decode(errors="replace").strip() if is_query else ""
                cut = self._due(statement) if is_query else None
                if cut is Cut.UNSENT:
                    break
                if cut is Cut.SILENT or near in self._silent:
                    answers.join()
                    return
                if cut is not None:
                    cuts.append(cut)
                far.sendall(data)
        _close(near, far)

    def _answer(self, near: socket.socket, far: socket.socket, cuts: list[Cut]) -> None:
        with suppress(OSError):
            while data := far.recv(1 << 20):
                if Cut.UNANSWERED in cuts:
                    break
                if cuts:
                    near.sendall(data[: len(data) // 2])
                    if cuts[0] is Cut.SILENT_HALFWAY:
                        return
                    break
                near.sendall(data)
        _close(near, far)


def _close(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def cutting_line(target_port: int) -> Iterator[CuttingLine]:
    """A line that is closed at the end."""
    line = CuttingLine(target_port)
    try:
        yield line
    finally:
        line.close()
