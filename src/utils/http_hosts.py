"""The connections of this process to one host, shared by all its threads and kept ready.

Owns: which connection a request goes out on, and when one is too old or has ended. A request is
sent once, ever: what became of one that failed is not known here. Knows no endpoint.

Not `requests` itself: it takes four times the CPU, and writes the head and the body of a POST one
after the other.
"""

from __future__ import annotations

import http.client
import os
import ssl
import threading
import time
import weakref
import zlib
from collections.abc import Mapping
from urllib.parse import quote

from urllib3.connection import HTTPConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from utils.http_answers import Answer, read_answer
from utils.http_ways import NoAnswer, Way, look_up_way

# Load balancers and NATs forget a connection after a minute or more, most of them silently; what
# becomes of an order that is sent on such a one is unknown.
MAX_IDLE_SECONDS = 50.0
RENEW_SECONDS = 40.0  # of those that are kept warm: sooner, so that one is always young enough
WARM_CONNECTIONS = 2
MAX_IDLE_CONNECTIONS = 32  # more than threads ask at once; what is beyond is closed after its use
# Also counts while the machine sleeps, when the other end goes away unnoticed; Linux has it.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_SAFE = "!$%&'()*+,/:;=?@~"  # of a path with its query, as `requests` leaves them
# ValueError: what is no Unicode, and http.client's own for a chunk of a negative length.
_FAILURES = (OSError, http.client.HTTPException, HTTPError, ValueError, zlib.error)


class _Connection:
    """One open socket. While it is idle it never blocks, so that its end can be seen."""

    def __init__(self, line: HTTPConnection) -> None:
        try:
            line.connect()
        except BaseException:
            line.close()
            raise
        self._line, self._socket = line, line.sock
        self.rest()

    def rest(self) -> None:
        self._socket.settimeout(0)
        self._idle_since = time.clock_gettime(_CLOCK)

    def idle_seconds(self) -> float:
        return time.clock_gettime(_CLOCK) - self._idle_since

    def close(self) -> None:
        self._line.close()

    def is_fit(self, max_idle_seconds: float) -> bool:
        """Whether a request can go out on it: young enough, and the other end has not ended it.

        Not by whether something can be read: TLS sends tickets after a handshake. Reading takes
        them in, and anything else that comes unasked is an end or the announcement of one.
        """
        if self.idle_seconds() > max_idle_seconds:
            return False
        try:
            self._socket.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            pass
        return False

    def ask(self, method: str, message: bytes, seconds: float) -> tuple[Answer, bool]:
        """Send one request; its answer, and whether the connection can be used again."""
        self._socket.settimeout(seconds)
        self._socket.sendall(message)
        return read_answer(self._socket, method, seconds)


class Host:
    """The connections to one origin (`https://host:port`). For all threads."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._way: Way | None = None
        self.forget()
        _hosts.add(self)

    def forget(self) -> None:
        """Leave the connections to the process that they belong to."""
        self._lock = threading.Lock()
        self._idle: list[_Connection] = []  # the one used last at the end, and taken first

    def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        connect_seconds: float,
        answer_seconds: float,
    ) -> Answer:
        """Send one request, once. `target`: path and query; the seconds bound each step of it, and
        WHOLE_ANSWER_STEPS of them the answer.

        Raises:
            NoAnswer: it may have been carried out.
        """
        try:
            message = _compose(self._find_way().head, method, target, headers, body)
            connection = self._take(connect_seconds)
            is_reusable = False
            try:
                answer, is_reusable = connection.ask(method, message, answer_seconds)
            finally:
                if is_reusable:
                    self._put_back(connection)
                else:
                    connection.close()
        except _FAILURES as error:
            raise NoAnswer(_name_of(error)) from error
        return answer

    def keep_warm(self, connect_seconds: float) -> None:
        """See that some idle connections are open, young enough and through with TLS. Sends no
        request. One that ages is closed only when its successor is open.

        Raises:
            NoAnswer: the host cannot be reached now.
        """
        try:
            for _ in range(WARM_CONNECTIONS - self._count_ready()):
                self._put_back(_Connection(self._find_way().make_line(connect_seconds)))
        except _FAILURES as error:
            raise NoAnswer(_name_of(error)) from error
        self._close_older(RENEW_SECONDS)

    def _count_ready(self) -> int:
        """How many idle ones need no successor yet; those that have ended are closed. One at a time
        is out of the pool, because a request may want one meanwhile.
        """
        place = ready = 0
        while True:
            with self._lock:
                if place >= len(self._idle):
                    return ready
                connection = self._idle.pop(place)
            if not connection.is_fit(MAX_IDLE_SECONDS):
                connection.close()
                continue
            ready += connection.idle_seconds() < RENEW_SECONDS
            with self._lock:
                self._idle.insert(place, connection)
            place += 1

    def _take(self, connect_seconds: float) -> _Connection:
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return _Connection(self._find_way().make_line(connect_seconds))
            if connection.is_fit(MAX_IDLE_SECONDS):
                return connection
            connection.close()

    def _put_back(self, connection: _Connection) -> None:
        connection.rest()
        with self._lock:
            has_room = len(self._idle) < MAX_IDLE_CONNECTIONS
            if has_room:
                self._idle.append(connection)
        if not has_room:
            connection.close()
        self._close_older(MAX_IDLE_SECONDS)

    def _close_older(self, seconds: float) -> None:
        with self._lock:
            left = [one for one in self._idle if one.idle_seconds() > seconds]
            if left:
                self._idle = [one for one in self._idle if one not in left]
        for one in left:
            one.close()

    def _find_way(self) -> Way:
        """Looked up at the first use, and again only if that failed."""
        if self._way is None:
            self._way = look_up_way(self._origin)
        return self._way


_hosts: weakref.WeakSet[Host] = weakref.WeakSet()


def _forget_those_of_the_parent() -> None:
    """A child process must not speak on its parent's connections."""
    for host in _hosts:
        host.forget()


os.register_at_fork(after_in_child=_forget_those_of_the_parent)


def _name_of(error: Exception) -> str:
    """As `requests` calls it: users know these words from the log."""
    match error:
        case NewConnectionError():  # a ConnectTimeoutError to urllib3
            return "ConnectionError"
        case ConnectTimeoutError():
            return "ConnectTimeout"
        case TimeoutError():
            return "ReadTimeout"
        case ssl.SSLError():
            return "SSLError"
        case OSError() | HTTPError():
            return "ConnectionError"
        case _:
            return type(error).__name__


def _compose(
    head: str, method: str, target: str, headers: Mapping[str, str], body: bytes | None
) -> bytes:
    """The whole request: it goes out in one write, for one TLS record."""
    lines = [f"{name}: {value}" for name, value in headers.items()]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    elif method != "GET":
        lines.append("Content-Length: 0")
    if any("\n" in line or "\r" in line for line in lines):
        raise http.client.InvalidURL("a line break in a header")
    text = f"{method} {quote(target, safe=_SAFE)} HTTP/1.1\r\n{head}" + "\r\n".join(lines)
    return text.encode("latin-1") + b"\r\n\r\n" + (body or b"")
