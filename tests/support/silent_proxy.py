"""A TCP line that can die silently: a connection stays open, and nothing comes through any more."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class SilentProxy:
    """Passes on what is sent to `port`. What connects after `go_silent` is served as before."""

    def __init__(self, target_port: int) -> None:
        self._target = ("127.0.0.1", target_port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._silence = threading.Event()  # of the connections of now
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def go_silent(self) -> None:
        """Nobody hears the other end any more, not even that it ended."""
        self._silence.set()
        self._silence = threading.Event()

    def close(self) -> None:
        self._listener.close()
        for one in self._sockets:
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                self._sockets += [near, far]
                for ends in ((near, far), (far, near)):
                    threading.Thread(
                        target=self._pass_on, args=(*ends, self._silence), daemon=True
                    ).start()

    def _pass_on(
        self, source: socket.socket, sink: socket.socket, silence: threading.Event
    ) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not silence.is_set():
                    sink.sendall(data)
        if not silence.is_set():
            with suppress(OSError):
                sink.shutdown(socket.SHUT_WR)


@contextmanager
def silent_proxy(target_port: int) -> Iterator[SilentProxy]:
    """A proxy that is closed at the end."""
    proxy = SilentProxy(target_port)
    try:
        yield proxy
    finally:
        proxy.close()
