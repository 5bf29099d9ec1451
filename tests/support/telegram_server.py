"""Telegram's Bot API on loopback, as its document describes it (core.telegram.org/bots/api): what
the poller asks, with the faults of the net.

Updates wait until a getUpdates confirms them with a higher offset. A getUpdates that comes while
another one waits ends that with 409.
"""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

HOST = "127.0.0.1"
TOKEN = "123456789:AAF-the_Token-of-this-bot-0123456789"
NAME = "my_dca_bot"
OWNER, GROUP, FOREIGN = 4711, -1001234567890, 6666
_LIMIT_UNITS = 4096


class TelegramServer:
    """`with TelegramServer() as telegram`. `faults[method]`: what becomes of its next requests, one
    after another: "500", "429", "409", "garbage", "drop", "slow", "hang" (until `release`).
    """

    def __init__(self) -> None:
        self.sent: list[tuple[int, str]] = []
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.faults: dict[str, list[str]] = defaultdict(list)
        self.malformed: list[str] = []
        self.retry_after = 1
        self.forgets_confirmations = False  # then every update comes again and again
        self._updates: list[dict[str, Any]] = []
        self._next_id = 1000
        self._generation = 0
        self._changed = threading.Condition()
        self._is_closing = False
        self._released = threading.Event()

    def __enter__(self) -> Self:
        telegram = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                telegram._answer(self, body)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """The other end was killed."""

        self._server = Server((HOST, 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._released.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._server.server_port}"

    def environment(self, *chats: int) -> dict[str, str]:
        return {
            "TELEGRAM_TOKEN": TOKEN,
            "TELEGRAM_CHATS": ", ".join(map(str, chats or (OWNER,))),
            "TELEGRAM_API_URL": self.url,
        }

    # What people do

    def write(
        self,
        text: str,
        *,
        chat: int = OWNER,
        sender: int | None = None,
        age_seconds: float = 0.0,
        kind: str = "message",
        update_id: int | None = None,
        **more: Any,
    ) -> int:
        """Somebody writes; the id of the update."""
        with self._changed:
            self._next_id = (update_id or self._next_id) + 1
            message = {
                "message_id": self._next_id,
                "from": {"id": sender or abs(chat), "is_bot": False, "username": "owner"},
                "chat": {"id": chat, "type": "private" if chat > 0 else "supergroup"},
                "date": int(time.time() - age_seconds),
                "text": text,
                **more,
            }
            self._updates.append({"update_id": self._next_id - 1, kind: message})
            self._changed.notify_all()
            return self._next_id - 1

    def put(self, update: Any) -> None:
        """Anything as an update."""
        with self._changed:
            self._updates.append(update)
            self._changed.notify_all()

    def answers(self, chat: int = OWNER) -> list[str]:
        return [text for to, text in self.sent if to == chat]

    def release(self) -> None:
        """What hangs is dropped."""
        self._released.set()

    @property
    def waiting(self) -> int:
        """How many updates nobody has confirmed."""
        return len(self._updates)

    def count(self, method: str) -> int:
        return sum(name == method for name, _ in self.asked)

    # The protocol

    def _answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        folder, _, method = request.path.rpartition("/")
        if folder != f"/bot{TOKEN}":
            return _reply(request, 401, _error(401, "Unauthorized"))
        try:
            asked = json.loads(body)
        except ValueError:
            self.malformed.append(request.path)
            return _reply(request, 400, _error(400, "Bad Request"))
        self.asked.append((method, asked))
        fault = self.faults[method].pop(0) if self.faults[method] else None
        match fault:
            case "500":
                return _reply(request, 500, _error(500, "Internal Server Error"))
            case "409":
                text = "Conflict: terminated by other getUpdates request; make sure that only one"
                return _reply(request, 409, _error(409, f"{text} bot instance is running"))
            case "429":
                seconds = self.retry_after
                error = _error(429, f"Too Many Requests: retry after {seconds}")
                return _reply(request, 429, error | {"parameters": {"retry_after": seconds}})
            case "garbage":
                return _reply(request, 502, b"<html>Bad Gateway</html>")
            case "slow":
                time.sleep(1.5)  # an answer that takes its time
            case "drop" | "hang":
                if fault == "hang":
                    self._released.wait(60)
                request.close_connection = True
                return request.connection.close()
        match method:
            case "getMe":
                result: Any = {"id": 123456789, "is_bot": True, "username": NAME}
            case "setMyCommands":
                result = True
            case "sendMessage":
                text = asked["text"]
                if "parse_mode" in asked or not 0 < _units(text) <= _LIMIT_UNITS:
                    self.malformed.append(repr(asked))
                    return _reply(request, 400, _error(400, "Bad Request: message is too long"))
                self.sent.append((asked["chat_id"], text))
                result = {"message_id": len(self.sent)}
            case "getUpdates":
                return self._wait_for_updates(request, asked)
            case _:
                return _reply(request, 404, _error(404, "Not Found"))
        return _reply(request, 200, {"ok": True, "result": result})

    def _wait_for_updates(self, request: BaseHTTPRequestHandler, asked: dict[str, Any]) -> None:
        deadline = time.monotonic() + asked["timeout"]
        with self._changed:
            self._generation += 1
            own = self._generation
            self._changed.notify_all()
            offset = asked.get("offset")
            if offset is not None and not self.forgets_confirmations:
                self._updates = [one for one in self._updates if not _is_below(one, offset)]
            while not self._updates and not self._is_closing:
                left = deadline - time.monotonic()
                if own != self._generation or left <= 0:
                    break
                self._changed.wait(left)
            found = list(self._updates[: asked["limit"]])
            is_latest = own == self._generation
        if not is_latest:
            text = "Conflict: terminated by other getUpdates request"
            return _reply(request, 409, _error(409, text))
        if found and self.forgets_confirmations:
            time.sleep(0.1)  # it would be asked without a pause
        return _reply(request, 200, {"ok": True, "result": found})


def _is_below(update: Any, offset: int) -> bool:
    """By place, not by number alone: a lower one that came later is not confirmed by an older."""
    return not isinstance(update, dict) or update.get("update_id", 0) < offset


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _error(code: int, text: str) -> dict[str, Any]:
    return {"ok": False, "error_code": code, "description": text}


def _reply(request: BaseHTTPRequestHandler, status: int, body: Any) -> None:
    answer = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        request.send_response(status)
        request.send_header("Content-Length", str(len(answer)))
        request.end_headers()
        request.wfile.write(answer)
    except OSError:  # the other end has gone
        request.close_connection = True
