"""Four services of alerts on loopback, as their documents describe what they are sent and answer:
Telegram's bot API, webhooks of Discord and of Slack, ntfy; and a plain receiver of JSON.

Each can be well, refuse (429, 500), hang, or drop the connection.
"""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

HOST = "127.0.0.1"
REDIRECT_FOLDER = Path(__file__).resolve().parent / "redirected_services"
SECRETS = (
    "AAtelegram-Token_of-this-bot-0123456",
    "discordTokenOfThisWebhook",
    "SlackTokenOfThisHook01234",
)
TELEGRAM, DISCORD, SLACK = SECRETS
_WAYS = {
    "telegram": re.compile(rf"/api\.telegram\.org/bot123456789:{TELEGRAM}/sendMessage"),
    "discord": re.compile(rf"/discord\.com/api/webhooks/417429632418316298/{DISCORD}"),
    "slack": re.compile(rf"/hooks\.slack\.com/services/T1JJ3T3L2/A1BRTD4JD/{SLACK}"),
    "ntfy": re.compile(r"/"),
    "json": re.compile(r"/json-hook"),
}
NAMES = tuple(_WAYS)


def url_of(name: str, port: int) -> str:
    return {
        "telegram": f"tgram://123456789:{TELEGRAM}/12315544/",
        "discord": f"discord://417429632418316298/{DISCORD}",
        "slack": f"slack://T1JJ3T3L2/A1BRTD4JD/{SLACK}",
        "ntfy": f"ntfy://{HOST}:{port}/my-alerts",
        "json": f"json://{HOST}:{port}/json-hook",
    }[name]


@dataclass
class AlertServices:
    """`taken`: the text of each message that a service confirmed, by its name, in order."""

    taken: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in NAMES})
    asked: dict[str, int] = field(default_factory=lambda: dict.fromkeys(NAMES, 0))
    state: dict[str, str] = field(default_factory=lambda: dict.fromkeys(NAMES, "well"))
    malformed: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        services = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                services._answer(self, body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def url(self, *names: str) -> str:
        return " ".join(url_of(name, self.port) for name in names)

    def environment(self) -> dict[str, str]:
        """What lets the process that sends reach this one in place of the net."""
        return {
            "PYTHONPATH": str(REDIRECT_FOLDER),
            "ALERT_SERVICES": f"http://{HOST}:{self.port}",
        }

    def _answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        name = next((name for name, way in _WAYS.items() if way.fullmatch(request.path)), None)
        text = _text_of(name, body) if name else None
        if name is None or text is None:
            self.malformed.append(f"{request.path} {body!r}")
            return _reply(request, 404, {"ok": False})
        self.asked[name] += 1
        match self.state[name]:
            case "hanging":
                self.released.wait(60)
            case "dropping":
                request.close_connection = True
                return request.connection.close()
            case "failing":
                return _reply(request, 500, {"ok": False})
            case "refusing":
                return _reply(request, 429, _too_many(name), {"Retry-After": "700"})
        self.taken[name].append(text)
        return _reply(request, *_thanks(name))


def _text_of(name: str, body: bytes) -> str | None:
    """Title and text of the message; None where it is not what the service's document asks for."""
    try:
        sent = json.loads(body)
        match name:
            case "telegram":
                assert str(sent["chat_id"]) == "12315544"
                return f"{sent['text']}" if len(sent["text"]) <= 4096 else None
            case "discord":
                embeds = sent.get("embeds", [])
                parts = [sent.get("content", "")]
                parts += [f"{one.get('title', '')}\n{one['description']}" for one in embeds]
                return "\n".join(parts) if len(sent.get("content", "")) <= 2000 else None
            case "slack":
                return json.dumps(sent, ensure_ascii=False)
            case "ntfy":
                assert sent["topic"] == "my-alerts"
                return f"{sent.get('title', '')}\n{sent['message']}"
            case _:
                return f"{sent['title']}\n{sent['message']}"
    except (ValueError, KeyError, AssertionError):
        return None


def _too_many(name: str) -> dict[str, Any]:
    if name == "telegram":
        return {"ok": False, "error_code": 429, "parameters": {"retry_after": 700}}
    return {"message": "You are being rate limited.", "retry_after": 700}


def _thanks(name: str) -> tuple[int, Any]:
    match name:
        case "telegram":
            return 200, {"ok": True, "result": {"message_id": 1}}
        case "discord":
            return 204, None
        case "slack":
            return 200, "ok"
        case _:
            return 200, {"id": "hwQ2YpKdmg"}


def _reply(
    request: BaseHTTPRequestHandler, status: int, body: Any, headers: dict[str, str] | None = None
) -> None:
    answer = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = body.encode() if isinstance(body, str) else answer
    try:
        request.send_response(status)
        for key, value in (headers or {}).items():
            request.send_header(key, value)
        request.send_header("Content-Length", str(len(answer)))
        request.end_headers()
        request.wfile.write(answer)
    except OSError:  # the other end has gone
        request.close_connection = True
