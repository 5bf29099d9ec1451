"""A tiny real HTTP server whose answers a test writes itself: for bodies no exchange would send."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` goes out as it is if it is text, else as JSON."""

    status: int = 200
    body: Any = ""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class CannedServer:
    """`answer` is asked for each request; it may be changed while the server runs."""

    answer: Callable[[Request], Answer] = lambda request: Answer(404, {"message": "not found"})
    requests: list[Request] = field(default_factory=list)
    url: str = ""

    def say(self, status: int, body: Any = "", **headers: str) -> None:
        """Give every request this one answer."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answer = lambda request: Answer(status, body, named)


@contextmanager
def canned_server() -> Iterator[CannedServer]:
    """A server on loopback until the block ends."""
    canned = CannedServer()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
            length = int(self.headers.get("Content-Length") or 0)
            raw = self.rfile.read(length)
            body = json.loads(raw) if raw else None
            request = Request(self.command, parts.path, query, body, dict(self.headers))
            canned.requests.append(request)
            answer = canned.answer(request)
            text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = do_DELETE = _serve

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        canned.url = f"http://127.0.0.1:{server.server_port}"
        yield canned
        server.shutdown()
        thread.join()
