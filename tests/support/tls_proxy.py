"""A TLS end before a plain server, which counts connections, handshakes and requests.

One thread for each connection. It can close what is idle, answer unasked, or vanish on a request.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mail_server import TLS_FOLDER


class TlsProxy:
    """`handshakes` and `requests` count; `open` are the connections of now."""

    def __init__(self, target_port: int) -> None:
        self._target = ("127.0.0.1", target_port)
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(TLS_FOLDER / "server.pem")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.accepted = self.handshakes = self.requests = 0
        self.vanishes_on_request = False
        self._lock = threading.Lock()
        self.open: list[ssl.SSLSocket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def hang_up(self, last_words: bytes = b"") -> None:
        """Close every connection, as a server does with idle ones."""
        with self._lock:
            for near in self.open:
                with suppress(OSError):
                    near.sendall(last_words)
                    near.shutdown(socket.SHUT_RDWR)  # its thread closes it

    def refuse_new(self) -> None:
        """What is open goes on; nothing else gets in."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # closing alone would not end the accept
        self._listener.close()

    def close(self) -> None:
        self.refuse_new()
        self.hang_up()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                raw, _ = self._listener.accept()
                self.accepted += 1
                threading.Thread(target=self._serve, args=(raw,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        with suppress(OSError), self._context.wrap_socket(raw, server_side=True) as near:
            with self._lock:
                self.handshakes += 1
                self.open.append(near)
            try:
                with socket.create_connection(self._target) as far:
                    self._pass_on(near, far)
            finally:
                with self._lock:
                    self.open.remove(near)

    def _pass_on(self, near: ssl.SSLSocket, far: socket.socket) -> None:
        while True:
            for source in select.select([near, far], [], [])[0]:
                data = source.recv(1 << 18)  # more than a TLS record: nothing is left unseen
                if not data:
                    return
                if source is near:
                    with self._lock:
                        self.requests += data.count(b" HTTP/1.1\r\n")
                    if self.vanishes_on_request:
                        return
                (far if source is near else near).sendall(data)


@contextmanager
def tls_proxy(target_port: int) -> Iterator[TlsProxy]:
    """A proxy that is closed at the end."""
    proxy = TlsProxy(target_port)
    try:
        yield proxy
    finally:
        proxy.close()
