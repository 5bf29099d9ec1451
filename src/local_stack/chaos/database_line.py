"""The line between the bot and its database: a TCP proxy that can die silently.

While cut, it passes no byte in either direction and closes nothing, as when a router forgets its
connections: those that exist stay dead for ever though both ends are open, and new ones wait. Once
mended, it carries new connections; the server still holds the locks of the dead ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass

HOST = "127.0.0.1"
CHUNK_BYTES = 65_536
START_SECONDS = 10.0


@dataclass(slots=True, eq=False)
class _Link:
    """One connection of the bot and, when the server took it, the one behind it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter | None = None
    server_port: int | None = None  # of the proxy's end, as the server sees it
    is_dead: bool = False


class DatabaseLine:
    """`server_port` returns where the server listens now: a restart can change it."""

    def __init__(self, server_port: Callable[[], int]) -> None:
        self._server_port = server_port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True, name="database line")
        self._listens = threading.Event()
        self._links: set[_Link] = set()
        self._forgotten: list[asyncio.StreamWriter] = []
        self._dead_ports: set[int] = set()
        self._is_cut = False
        self.port = 0

    def start(self) -> None:
        """Listen on `port`.

        Raises:
            OSError: no port could be had.
        """
        self._thread.start()
        if not self._listens.wait(START_SECONDS) or not self.port:
            raise OSError("the line to the database found no port")

    def stop(self) -> None:
        """Close every connection and end."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def settings(self) -> dict[str, str]:
        """Of a program that connects through this line."""
        return {"DB_HOST": HOST, "DB_PORT": str(self.port), "DB_SOCKET": ""}

    def cut(self) -> None:
        """All connections die now, and no new one gets through."""
        self._call(self._cut)

    def mend(self) -> None:
        """New connections get through; the dead ones stay dead."""
        self._call(lambda: setattr(self, "_is_cut", False))

    def has_dead_clients(self) -> bool:
        """Whether some program still waits on a dead connection."""
        return any(link.is_dead for link in list(self._links))

    def is_dead_port(self, port: int) -> bool:
        """Whether the server's client at this port is the far end of a dead connection."""
        return port in self._dead_ports

    @property
    def has_died(self) -> bool:
        return bool(self._dead_ports)

    def _call(self, function: Callable[[], None]) -> None:
        done = threading.Event()

        def call() -> None:
            function()
            done.set()

        self._loop.call_soon_threadsafe(call)
        done.wait(START_SECONDS)

    def _cut(self) -> None:
        self._is_cut = True
        for link in self._links:
            link.is_dead = True
            if link.server_port is not None:
                self._dead_ports.add(link.server_port)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            listener = self._loop.run_until_complete(asyncio.start_server(self._carry, HOST, 0))
            self.port = listener.sockets[0].getsockname()[1]
            self._listens.set()
            self._loop.run_forever()
            listener.close()
            for writer in [*(link.client for link in self._links), *self._forgotten]:
                _close(writer)
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.run_until_complete(asyncio.sleep(0))
        finally:
            self._listens.set()
            self._loop.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(writer, is_dead=self._is_cut)
        self._links.add(link)
        try:
            if link.is_dead:
                await self._pass(link, reader, writer)  # nothing, until the client gives up
                return
            far_reader, far_writer = await asyncio.open_connection(HOST, self._server_port())
            link.server, link.server_port = far_writer, far_writer.get_extra_info("sockname")[1]
            up = asyncio.ensure_future(self._pass(link, reader, far_writer))
            down = asyncio.ensure_future(self._pass(link, far_reader, writer))
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            if link.is_dead:
                await up  # the server may end its side: the client does not learn it
            for way in (up, down):
                way.cancel()
        except OSError:
            return  # no server: the client learns it at once
        finally:
            self._links.discard(link)
            _close(link.client)
            if link.is_dead and link.server is not None:
                self._forgotten.append(link.server)  # nor does the server learn of the client's end
            elif link.server is not None:
                _close(link.server)

    async def _pass(
        self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Carry bytes from one end to the other; drop them when the line is dead."""
        with contextlib.suppress(OSError):
            while passed := await reader.read(CHUNK_BYTES):
                if not link.is_dead:
                    writer.write(passed)
                    await writer.drain()


def _close(writer: asyncio.StreamWriter) -> None:
    """At once, without sending what is buffered."""
    with contextlib.suppress(OSError):
        writer.transport.abort()
