"""A line as long as the one to the exchange: TLS, and bytes that take their time.

The round trips of a handshake are paid as well: what a client says first is held back for the round
trip that TCP's own handshake would have taken, and TLS's flights pass like all others.
"""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections import deque
from pathlib import Path

from local_stack.exchange_process import StackError
from mariadb_server.endpoint import HOST

# Imported by every Python of a client at its start: requests trusts certifi's list alone.
_TRUST = """\
import certifi, os
certifi.where = lambda: os.environ["SSL_CERT_FILE"]
"""


class Certificate:
    """A throw-away certificate of 127.0.0.1 that is its own authority."""

    def __init__(self, folder: Path) -> None:
        """Raises StackError: openssl is missing or refuses."""
        self._folder = folder / "tls"
        self._folder.mkdir(mode=0o700)
        self._file, key = self._folder / "certificate.pem", self._folder / "key.pem"
        # fmt: off
        command = [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
            "-nodes", "-keyout", str(key), "-out", str(self._file), "-days", "2",
            "-subj", "/CN=benchmark", "-addext", f"subjectAltName=IP:{HOST}",
            "-addext", "keyUsage=critical,digitalSignature,keyCertSign",
        ]
        # fmt: on
        try:
            subprocess.run(command, capture_output=True, check=True)
        except FileNotFoundError:
            raise StackError("the section network needs the program openssl") from None
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode(errors="replace").strip().splitlines()
            raise StackError(f"openssl: {said[-1] if said else 'no reason given'}") from None
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self._file, key)
        (self._folder / "sitecustomize.py").write_text(_TRUST, "utf-8")

    def server_context(self) -> ssl.SSLContext:
        return self._context

    def client_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self._file))

    def settings(self) -> dict[str, str]:
        """The environment with which a client trusts it."""
        return {
            "SSL_CERT_FILE": str(self._file),
            "REQUESTS_CA_BUNDLE": str(self._file),
            "PYTHONPATH": str(self._folder),
        }


class _Way:
    """One direction of one connection: first in, first out, each after its delay."""

    def __init__(self, seconds: float) -> None:
        self.target: asyncio.Transport | None = None
        self.not_before = 0.0
        self._seconds = seconds
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def put(self, data: bytes) -> None:
        """No bytes: the end."""
        due = max(self._loop.time(), self.not_before) + self._seconds
        self._waiting.append((due, data))
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._deliver)

    def _deliver(self) -> None:
        self._timer = None
        while self._waiting and self._waiting[0][0] <= self._loop.time():
            data = self._waiting.popleft()[1]
            if self.target is not None and data:
                self.target.write(data)
            elif self.target is not None:
                self.target.close()
        if self._waiting:
            self._timer = self._loop.call_at(self._waiting[0][0], self._deliver)


class _End(asyncio.Protocol):
    def __init__(self, way: _Way) -> None:
        self._way = way

    def data_received(self, data: bytes) -> None:
        self._way.put(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._way.put(b"")


class DelayLine:
    """Listens, and passes every connection on to a port of this machine."""

    def __init__(self, port: int, round_trip_seconds: float) -> None:
        self._port, self._seconds = port, round_trip_seconds / 2
        self._opening: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def listen(self) -> int:
        """The port on which it answers from now on."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._make_end, HOST, 0)
        return int(self._server.sockets[0].getsockname()[1])

    def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    def _make_end(self) -> asyncio.Protocol:
        there, back = _Way(self._seconds), _Way(self._seconds)
        line = self

        class Near(_End):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                assert isinstance(transport, asyncio.Transport), "a stream of bytes"
                back.target = transport
                there.not_before = asyncio.get_running_loop().time() + 2 * line._seconds
                task = asyncio.ensure_future(line._connect(there, back))
                line._opening.add(task)
                task.add_done_callback(line._opening.discard)

        return Near(there)

    async def _connect(self, there: _Way, back: _Way) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(lambda: _End(back), HOST, self._port)
        there.target = transport
