"""Market data messages in msgpack (what the SDK asks for) or JSON. Every frame is an array."""

import json
from collections.abc import Sequence
from typing import Protocol

import msgpack

from paper_exchange.api.wire import Json
from paper_exchange.core.clock import rfc3339


class Codec(Protocol):
    """Packs single messages once, joins them into frames, reads what clients send."""

    def message(self, body: Json, at_ns: int | None = None) -> bytes: ...

    def frame(self, messages: Sequence[bytes]) -> bytes: ...

    def read(self, payload: bytes) -> object: ...


class MsgpackCodec:
    def __init__(self) -> None:
        self._packer = msgpack.Packer()

    def message(self, body: Json, at_ns: int | None = None) -> bytes:
        if at_ns is not None:
            body = {**body, "t": msgpack.Timestamp.from_unix_nano(at_ns)}
        return self._packer.pack(body)

    def frame(self, messages: Sequence[bytes]) -> bytes:
        return self._packer.pack_array_header(len(messages)) + b"".join(messages)

    def read(self, payload: bytes) -> object:
        """Raises ValueError."""
        try:
            return msgpack.unpackb(payload)
        except Exception as error:  # noqa: BLE001 - msgpack has many errors of its own
            raise ValueError(str(error)) from None


class JsonCodec:
    def message(self, body: Json, at_ns: int | None = None) -> bytes:
        if at_ns is not None:
            body = {**body, "t": rfc3339(at_ns)}
        return json.dumps(body).encode()

    def frame(self, messages: Sequence[bytes]) -> bytes:
        return b"[" + b",".join(messages) + b"]"

    def read(self, payload: bytes) -> object:
        """Raises ValueError."""
        return json.loads(payload)
