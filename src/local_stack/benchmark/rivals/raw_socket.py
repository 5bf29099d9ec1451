"""A rival, the outer limit: a blocking socket, a walk over the frames, msgpack, and nothing else.

No time-out, no ping of its own, no reconnect, no handler. Imports nothing of the project.
"""

from __future__ import annotations

import os
import socket
import sys
from urllib.parse import urlsplit

import msgpack

_PING = 0x9


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    connection = socket.create_connection((parts.hostname or "", parts.port or 80))
    connection.sendall(
        f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: YmVuY2htYXJrIGJlbmNobQ==\r\n\r\n".encode()
    )
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(1)
    return connection


def masked(payload: bytes, opcode: int = 2) -> bytes:
    """One frame of a client, with a mask of zeros."""
    size = len(payload)
    head = bytes((0x80 | opcode, 0x80 | min(size, 126)))
    if size >= 126:
        head += size.to_bytes(2, "big")
    return head + bytes(4) + payload


def main() -> None:
    connection = connect(os.environ["ALPACA_DATA_STREAM_URL"])
    auth = {"action": "auth", "key": os.environ["ALPACA_API_KEY"], "secret": "-"}
    connection.sendall(masked(msgpack.packb(auth)))
    wanted = {"action": "subscribe", "quotes": sys.argv[1].split(",")}
    connection.sendall(masked(msgpack.packb(wanted)))
    left = b""
    while arrived := connection.recv(65_536):
        data = left + arrived
        at, end = 0, len(data)
        while at + 2 <= end:
            size, start = data[at + 1], at + 2
            if size == 126:
                if at + 4 > end:
                    break
                size, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            if start + size > end:
                break
            payload = data[start : start + size]
            if data[at] & 0x0F == _PING:
                connection.sendall(masked(payload, 0xA))
            else:
                for quote in msgpack.unpackb(payload):
                    quote.get("S")
            at = start + size
        left = data[at:]


if __name__ == "__main__":
    main()
