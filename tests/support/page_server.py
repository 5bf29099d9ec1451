"""The page in a thread with its own event loop, over real sockets, and a browser's requests."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

from config import Settings
from web.access import load_tokens
from web.app import Server, make_app
from web.guards import CSRF_HEADER
from web.site import SITE, Site

_SECONDS = 120


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@dataclass(frozen=True)
class Answer:
    """`body` is what JSON says, else the bytes."""

    status: int
    headers: http.client.HTTPMessage
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw)


@dataclass
class Browser:
    """One that keeps its cookie. `headers` of a call replace its own; None leaves one out."""

    port: int
    cookie: str | None = None
    csrf: str | None = None
    host: str = field(default="")

    def __post_init__(self) -> None:
        self.host = self.host or f"127.0.0.1:{self.port}"

    @property
    def cookie_name(self) -> str:
        return f"dca_session_{self.port}"

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str | None] | None = None,
        raw: bytes | None = None,
    ) -> Answer:
        known: dict[str, str | None] = {"Host": self.host}
        if self.cookie:
            known["Cookie"] = f"{self.cookie_name}={self.cookie}"
        if method != "GET":
            known["Origin"] = f"http://{self.host}"
            known["Content-Type"] = "application/json"
            known[CSRF_HEADER] = self.csrf
        known |= headers or {}
        content = raw if raw is not None else None if body is None else json.dumps(body).encode()
        if method == "POST" and content is None:
            content = b"{}"
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_SECONDS)
        try:
            line.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in known.items():
                if value is not None:
                    line.putheader(name, value)
            if content is not None:
                line.putheader("Content-Length", str(len(content)))
            line.endheaders(content)
            answer = line.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            line.close()

    def get(self, path: str, **options: Any) -> Answer:
        return self.call("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        return self.call("POST", path, body, **options)

    def sign_in(self, token: str) -> Answer:
        answer = self.post("/api/session", {"token": token})
        if answer.status == 204:
            self.cookie = answer.headers["Set-Cookie"].split(";")[0].partition("=")[2]
            self.csrf = self.get("/api/session").body["csrf"]
        return answer

    def stream(self, path: str = "/api/live") -> Stream:
        return Stream(self, path)


class Stream:
    """Server-sent events, one after the other."""

    def __init__(self, browser: Browser, path: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", browser.port), _SECONDS)
        cookie = f"Cookie: {browser.cookie_name}={browser.cookie}\r\n" if browser.cookie else ""
        text = f"GET {path} HTTP/1.1\r\nHost: {browser.host}\r\n{cookie}\r\n"
        self._socket.sendall(text.encode())
        self._answer = http.client.HTTPResponse(self._socket)
        self._answer.begin()
        self.status = self._answer.status

    def next(self) -> tuple[str, Any]:
        """The next event's name and data; comments are passed over."""
        name = ""
        while True:
            line = self._answer.readline()
            if not line:
                raise EOFError("the stream has ended")
            key, _, value = line.decode().rstrip("\n").partition(": ")
            if key == "event":
                name = value
            elif key == "data":
                return name, json.loads(value)

    def wait_for(self, *names: str) -> Any:
        """The data of the next event of one of these names."""
        while True:
            name, data = self.next()
            if name in names:
                return data

    def close(self) -> None:
        self._answer.close()
        self._socket.close()


class PageServer:
    """`with PageServer(settings) as page: page.browser()`."""

    def __init__(self, settings: Settings, **options: Any) -> None:
        self.settings = replace(settings, web_port=free_port())
        self._idle_seconds = options.pop("idle_seconds", 30.0)
        self._options = {"period_seconds": 0.1, "comment_seconds": 0.2} | options
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> PageServer:
        self._thread.start()
        self._run(self._start())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._run(self._server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_SECONDS)
        self._loop.close()

    async def _start(self) -> None:
        app = make_app(self.settings, **self._options)
        self._server = Server(app, idle_seconds=self._idle_seconds)
        await self._server.start()

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_SECONDS)

    @property
    def port(self) -> int:
        return self.settings.web_port

    @property
    def site(self) -> Site:
        return self._server.app[SITE]

    @property
    def token(self) -> str:
        return load_tokens(self.settings).token

    def stranger(self) -> Browser:
        return Browser(self.port)

    def browser(self) -> Browser:
        """Signed in."""
        browser = Browser(self.port)
        assert browser.sign_in(self.token).status == 204
        return browser
