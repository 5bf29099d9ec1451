"""Websocket frames and the messages of Alpaca's data stream, as bytes. No I/O.

Only what the benchmark's exchange needs: unmasked frames out, masked ones in, no extension.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgpack

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
_CONTINUED = 0x0
_ACCEPT_KEY = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """A best bid and ask in USD. `mark` goes out as the bid's size: it tells rivals that know no
    strategy which order is wanted. The bot never reads it.
    """

    symbol: str
    bid: float
    ask: float
    mark: float = 0.0


def accept_of(key: str) -> str:
    """The answer to a client's Sec-WebSocket-Key."""
    return base64.b64encode(hashlib.sha1(key.encode() + _ACCEPT_KEY).digest()).decode()


def frame(payload: bytes, opcode: int = BINARY) -> bytes:
    """One whole frame of a server."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 65_536:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big") + payload
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big") + payload


def quotes_frame(quotes: Sequence[Quote]) -> bytes:
    """One frame of the data stream with these quotes, as of now."""
    moment = msgpack.Timestamp.from_unix_nano(time.time_ns())
    fields = [
        {"T": "q", "S": q.symbol, "bp": q.bid, "bs": q.mark, "ap": q.ask, "as": 1.0, "t": moment}
        for q in quotes
    ]
    return frame(msgpack.packb(fields))


class FrameReader:
    """Puts the messages of a client together from its masked, maybe fragmented frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._parts: list[bytes] = []
        self._opcode = BINARY

    def feed(self, arrived: bytes) -> Iterator[tuple[int, bytes]]:
        """The opcode and payload of each message that is complete now."""
        self._buffer += arrived
        while (one := self._next_frame()) is not None:
            is_final, opcode, payload = one
            if opcode >= CLOSE:
                yield opcode, payload
                continue
            if opcode != _CONTINUED:
                self._opcode, self._parts = opcode, []
            self._parts.append(payload)
            if is_final:
                yield self._opcode, b"".join(self._parts)

    def _next_frame(self) -> tuple[bool, int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size, at = buffer[1] & 0x7F, 2
        if size >= 126:
            width = 2 if size == 126 else 8
            if len(buffer) < at + width:
                return None
            size, at = int.from_bytes(buffer[at : at + width], "big"), at + width
        end = at + 4 + size
        if len(buffer) < end:
            return None
        mask, masked = buffer[at : at + 4], buffer[at + 4 : end]
        payload = bytes(byte ^ mask[i & 3] for i, byte in enumerate(masked))
        first = buffer[0]
        del buffer[:end]
        return bool(first & 0x80), first & 0x0F, payload
