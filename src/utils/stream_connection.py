"""A websocket that hands each message to its reader in the moment in which it arrives.

Owns: where one frame ends and the next begins, and how much is read in one go. Must never know
what a message means. It takes the data of whole frames itself, unfragmented and uncompressed;
everything else (handshake, control frames, fragments, whatever breaks the protocol) is left to
`websockets`, frame by frame.

Why: `recv()` costs a queue, a future and two turns of the event loop for each message, and the
library's parser, a stack of generators, several times what our handler does.

Used of websockets 17.4 without being in its manual: `data_received`, `process_event`, `response`,
`recv_messages.frames` and `close_exc` of a connection; `state`, `current_size` and
`max_message_size` of its protocol.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.frames import DATA_OPCODES, Frame
from websockets.protocol import OPEN, Event

# 400 quotes: in a burst the loop turns to the others after two milliseconds (asyncio: 256 KB).
READ_BYTES = 32 * 1024
_WHOLE_MESSAGES = frozenset({0x81, 0x82})  # a frame's first byte: text or binary, and all of it
_MASKED = 0x80  # in its second byte; only clients mask


class StreamConnection(ClientConnection, asyncio.BufferedProtocol):
    """`reader` is called with each message, a text as UTF-8. It must return at once and never
    raise. Without a reader `recv()` returns the messages.
    """

    reader: Callable[[bytes], None] | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._rest = b""  # the beginning of a frame that has not come as a whole
        self._fragments: list[bytes] = []

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(self._buffer[:nbytes]))

    def data_received(self, data: bytes) -> None:
        while self.response is None and data:  # in lines: frames may follow upon the last
            end = data.find(b"\n") + 1 or len(data)
            super().data_received(data[:end])
            data = data[end:]
        data = self._rest + data
        self._rest = data[self._take_frames(data) :]

    def _take_frames(self, data: bytes) -> int:
        """Take the whole frames of `data`; the number of their bytes. The library only gets whole
        frames: so it stands between two whenever others pass it by.
        """
        at, size, protocol, reader = 0, len(data), self.protocol, self._reader_of_whole_frames()
        while protocol.state is OPEN:
            begin = at + 2
            if begin > size:
                return at
            length = data[at + 1]
            if length > 125:
                if length & _MASKED:
                    break  # the library refuses it
                begin += 2 if length == 126 else 8
                if begin > size:
                    return at
                length = int.from_bytes(data[at + 2 : begin], "big")
                if length > (protocol.max_message_size or length):
                    break  # this, too, before it has come
            end = begin + length
            if end > size:
                return at
            if reader is not None and data[at] in _WHOLE_MESSAGES:
                reader(data[begin:end])
            else:
                super().data_received(data[at:end])
                reader = self._reader_of_whole_frames()
            at = end
        if at < size:
            super().data_received(data[at:])
        return size

    def _reader_of_whole_frames(self) -> Callable[[bytes], None] | None:
        """None while a message is under way in fragments: a whole one must not come then."""
        return self.reader if self.protocol.current_size is None else None

    def process_event(self, event: Event) -> None:
        """What the library found: data only of a message in fragments, or a compressed one."""
        if self.reader is None or not isinstance(event, Frame) or event.opcode not in DATA_OPCODES:
            super().process_event(event)
            return
        self._fragments.append(bytes(event.data))
        if event.fin:
            message = b"".join(self._fragments)
            self._fragments.clear()
            self.reader(message)
