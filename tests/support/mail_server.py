"""A real mail server of a test, on loopback: plain, STARTTLS or TLS, with or without a password."""

from __future__ import annotations

import contextlib
import email
import email.policy
import socket
import ssl
import threading
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from mariadb_server.endpoint import free_port

TLS_FOLDER = Path(__file__).resolve().parent / "tls"
CA_FILE = TLS_FOLDER / "ca.pem"  # signed server.pem, for localhost and 127.0.0.1, until 2126
HOST = "127.0.0.1"


class MailServer:
    """What it took stands in `mails`; `refusing` makes it answer 451 to every mail."""

    def __init__(self, security: str, login: tuple[str, str] | None = None) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.refusing = False
        self.port = free_port()
        self._login = login
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(TLS_FOLDER / "server.pem")
        options: dict[str, Any] = {
            "plain": {"auth_require_tls": False},
            "starttls": {"tls_context": context, "require_starttls": True},
            "tls": {"ssl_context": context, "auth_require_tls": False},
        }[security]
        if login is not None:
            options |= {"authenticator": self._authenticate, "auth_required": True}
        self._controller = Controller(self, hostname=HOST, port=self.port, **options)

    def __enter__(self) -> MailServer:
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()

    def _authenticate(self, _server: Any, _session: Any, _envelope: Any, _how: str, given: Any):
        assert isinstance(given, LoginPassword)
        matches = (given.login.decode(), given.password.decode()) == self._login
        return AuthResult(success=matches, handled=matches)

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        if self.refusing:
            return "451 try again later"
        self.recipients.append(envelope.rcpt_tos)
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.mails.append(message)
        return "250 taken"

    @property
    def subjects(self) -> list[str]:
        return [str(mail["Subject"]) for mail in self.mails]

    @property
    def bodies(self) -> list[str]:
        return [mail.get_content() for mail in self.mails]


@contextlib.contextmanager
def hanging_server() -> Iterator[int]:
    """The port of a server that takes connections and never says a word."""
    held = []
    with socket.create_server((HOST, 0)) as listener:

        def take() -> None:
            with contextlib.suppress(OSError):
                while True:
                    held.append(listener.accept()[0])

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)
    for connection in held:
        connection.close()


def mail_environment(folder: Path, port: int) -> dict[str, str]:
    return {
        "ALPACA_API_KEY": "some-key",
        "ALPACA_SECRET_KEY": "some-secret-key",
        "DB_USER": "nobody",
        "DB_NAME": "nothing",
        "PID_FILE": str(folder / "run" / "main_app.pid"),
        "LOG_DIR": str(folder / "logs"),
        "SMTP_HOST": HOST,
        "SMTP_PORT": str(port),
        "SMTP_SECURITY": "plain",
        "SMTP_CA_FILE": str(CA_FILE),
        "ALERT_FROM": "bot@example.org",
        "ALERT_TO": "person@example.org",
    }
