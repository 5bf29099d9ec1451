"""One websocket client's outgoing side: a bounded queue and the task that writes it.

Putting a message never waits. A client that does not read is sent an error (407) and cut, so that
it never slows the exchange.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Sequence

from aiohttp import ClientConnectionResetError, WSCloseCode, web

_CLOSE_SECONDS = 0.5
_LINGER_SECONDS = 5
_MESSAGES_PER_FRAME = 200
_KERNEL_BUFFER_BYTES = 64 * 1024
_MAX_INCOMING_BYTES = 4 * 1024 * 1024


async def open_websocket(request: web.Request) -> web.WebSocketResponse:
    # Closing must not wait for a peer that is gone.
    opened = web.WebSocketResponse(
        timeout=_CLOSE_SECONDS, compress=False, max_msg_size=_MAX_INCOMING_BYTES
    )
    await opened.prepare(request)
    if (plain := opened.get_extra_info("socket")) is not None:
        # Megabytes in the kernel would hide for minutes that the client does not read.
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BUFFER_BYTES)
    return opened


class Outbox:
    """`join` packs waiting messages into one frame; None: every message is a frame."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport | None,
        *,
        limit: int,
        join: Callable[[Sequence[bytes]], bytes] | None,
        slow_frame: bytes | None = None,
    ) -> None:
        self.is_cut = False
        self._socket = socket
        self._transport = transport
        self._limit = limit
        self._join = join
        self._slow_frame = slow_frame
        self._waiting: deque[tuple[bool, bytes]] = deque()
        self._filled = asyncio.Event()
        self._writer = asyncio.create_task(self._write())
        self._cutter: asyncio.Task[None] | None = None

    def put(self, payload: bytes, *, is_frame: bool = False) -> None:
        """A message, or a frame that is packed already."""
        if self.is_cut:
            return
        if len(self._waiting) >= self._limit:
            self.cut(self._slow_frame)
            return
        self._waiting.append((is_frame, payload))
        self._filled.set()

    def cut(
        self, last_frame: bytes | None = None, code: int = WSCloseCode.POLICY_VIOLATION
    ) -> None:
        """Ends the connection from our side, without waiting for the client."""
        if self.is_cut:
            return
        self.is_cut = True
        self._waiting.clear()
        self._writer.cancel()
        self._cutter = asyncio.create_task(self._close(last_frame, code))

    def reset(self) -> None:
        """The connection breaks without a closing frame."""
        self.stop()
        if self._transport is not None:
            self._transport.abort()

    def stop(self) -> None:
        """The connection is over; nothing more goes out."""
        self.is_cut = True
        self._writer.cancel()

    async def _close(self, last_frame: bytes | None, code: int) -> None:
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                if last_frame is not None:
                    await self._socket.send_bytes(last_frame)
                await self._socket.close(code=code)
        except (TimeoutError, ConnectionError):
            pass  # It does not read.
        if self._transport is not None:
            self._transport.close()
            asyncio.get_running_loop().call_later(_LINGER_SECONDS, self._transport.abort)

    async def _write(self) -> None:
        try:
            while True:
                await self._filled.wait()
                while self._waiting:
                    await self._socket.send_bytes(self._next_frame())
                self._filled.clear()
        except (ConnectionError, ClientConnectionResetError):
            self.is_cut = True  # The client is gone: the task that reads from it cleans up.

    def _next_frame(self) -> bytes:
        is_frame, payload = self._waiting.popleft()
        if is_frame or self._join is None:
            return payload
        batch = [payload]
        while self._waiting and not self._waiting[0][0] and len(batch) < _MESSAGES_PER_FRAME:
            batch.append(self._waiting.popleft()[1])
        return self._join(batch)
