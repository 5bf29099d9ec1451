"""An answer of a host: read whole, within a time and a size that are bounded.

Owns: what of it is garbage. Knows no connection: whoever has it closes it after an error.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import time
import zlib
from dataclasses import dataclass
from decimal import Decimal
from email.message import Message
from typing import Any

import requests

# One that comes byte by byte never times out; so long, in time-outs, may the whole of it take.
WHOLE_ANSWER_STEPS = 3
# A page of 500 orders is half a megabyte. What claims more is garbage: no memory is given to it.
MAX_ANSWER_BYTES = 16 * 1024 * 1024
_GZIP_BEGIN = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the SDK uses of an answer, as `requests` names it."""

    status_code: int
    headers: Message
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        return json.loads(self.text)

    def raise_for_status(self) -> None:
        if self.status_code >= 400:
            raise requests.HTTPError(response=self)


class ExactAnswer(Answer):
    """One whose numbers keep their digits: a float has 15 of them."""

    def json(self) -> Any:
        return json.loads(self.text, parse_float=Decimal)


def read_answer(line: Any, method: str, seconds: float) -> tuple[Answer, bool]:
    """The answer to a request of this method that comes on the socket `line`, whose time-out is
    `seconds`; and whether the connection can be used again.

    Raises:
        OSError, HTTPException, ValueError, zlib.error: there is no whole one.
    """
    arriving: Any = _Arriving(line, seconds)
    with contextlib.closing(http.client.HTTPResponse(arriving, method=method)) as response:
        response.begin()
        if response.status < 200:
            # An interim one (103): the answer follows, and the next request must not get it.
            raise http.client.BadStatusLine(str(response.status))
        body = _read_body(response)
        if body and response.headers.get("Content-Encoding", "").lower() == "gzip":
            body = _unzip(body)
        return Answer(response.status, response.headers, body), not response.will_close


class _Arriving(io.RawIOBase):
    """What comes on a socket whose time-out is `seconds`, until WHOLE_ANSWER_STEPS of them."""

    def __init__(self, line: Any, seconds: float) -> None:
        self._socket, self._step_seconds = line, seconds
        self._until = time.monotonic() + WHOLE_ANSWER_STEPS * seconds

    def makefile(self, _mode: str) -> io.BufferedReader:
        """As HTTPResponse asks a socket for it."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._until - time.monotonic()
        if left < self._step_seconds:
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
        count: int = self._socket.recv_into(buffer)
        return count


def _read_body(response: http.client.HTTPResponse) -> bytes:
    """The whole body.

    Raises:
        HTTPException: it is cut, or larger than any answer.
    """
    if response.length is None:  # in chunks, or until the end of the connection
        body = response.read(MAX_ANSWER_BYTES + 1)
    else:
        body = response.read() if response.length <= MAX_ANSWER_BYTES else b""
    if len(body) > MAX_ANSWER_BYTES or (response.length or 0) > MAX_ANSWER_BYTES:
        raise http.client.IncompleteRead(b"", response.length)
    return body


def _unzip(body: bytes) -> bytes:
    """As `requests`: every member, up to what is none (padding).

    Raises:
        zlib.error: it is cut, no gzip, or larger than any answer.
    """
    text, begins = b"", True
    while begins or body.startswith(_GZIP_BEGIN):
        begins, member = False, zlib.decompressobj(16 + zlib.MAX_WBITS)
        text += member.decompress(body, MAX_ANSWER_BYTES + 1 - len(text))
        if not member.eof or len(text) > MAX_ANSWER_BYTES:
            raise zlib.error("it is cut, or too long")
        body = member.unused_data
    return text
