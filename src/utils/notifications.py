"""Mails to the person who runs the bot: the plan's `send_email_alert`, and the handler of errors.

Owns: SMTP, and one daemon thread in each process that has something to mail. Must never disturb
trading: nothing here raises into its caller, logging an error costs one append to a queue, and an
exit waits for the mail server within a bound. What could not be mailed waits in the outbox.
"""

from __future__ import annotations

import logging
import re
import smtplib
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from email.message import EmailMessage
from email.utils import formatdate, getaddresses, make_msgid
from typing import Any, TypeVar

from config import Settings, SettingsError, get_settings
from utils.alert_outbox import Alert, Batch, Outbox, changed, load_outbox
from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)
T = TypeVar("T")

SMTP_TIMEOUT_SECONDS = 10.0
GROUP_SECONDS = 10.0
EXIT_SECONDS = 12.0
MAX_QUEUED = 500
MAX_CHARACTERS = 4000  # of one line with its traceback
_DEFAULT_PORTS = {"starttls": 587, "tls": 465, "plain": 25}
_SUBJECT_CHARACTERS = 100


def send_email_alert(subject: str, body: str) -> bool:
    """Mail `body` to ALERT_TO now, unthrottled. False, with the reason logged, when that failed.

    Never raises for SMTP trouble. Blocking, 10 seconds at most for each step.
    """
    try:
        settings = get_settings()
    except SettingsError as error:
        log_event(log, LogEvent.MAIL_FAILED, reason=error)
        return False
    return send_mail(settings, subject, body)


def send_mail(settings: Settings, subject: str, body: str) -> bool:
    """As `send_email_alert`, with the settings given."""
    if not settings.smtp_host or not settings.alert_from or not settings.alert_to:
        log_event(log, LogEvent.MAIL_SKIPPED)
        return False
    try:
        message = _compose(settings.alert_from, settings.alert_to, subject, body)
        with _connect(settings, settings.smtp_host) as server:
            _log_in(settings, server)
            refused = server.send_message(message)
    # ValueError: an address or a password that cannot be encoded.
    except (OSError, smtplib.SMTPException, ValueError) as error:
        log_event(log, LogEvent.MAIL_FAILED, reason=f"{type(error).__name__}: {error}")
        return False
    if refused:
        log_event(log, LogEvent.MAIL_REFUSED, recipients=",".join(refused))
    return True


def find_mail_trouble(settings: Settings) -> str | None:
    """Why no mail could be sent now, in one line; None: the server accepts our password.

    Nothing is sent. Blocking, 10 seconds at most for each step.
    """
    if not settings.smtp_host:
        return "SMTP_HOST is not set"
    try:
        with _connect(settings, settings.smtp_host) as server:
            server.ehlo_or_helo_if_needed()
            _log_in(settings, server)
    except (OSError, smtplib.SMTPException, ValueError) as error:
        return " ".join(f"{type(error).__name__}: {error}".split())
    return None


def _log_in(settings: Settings, server: smtplib.SMTP) -> None:
    if settings.smtp_user and settings.smtp_password:
        server.login(settings.smtp_user, settings.smtp_password)


def _compose(sender: str, recipients: str, subject: str, body: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = sender
    message["To"] = recipients
    message["Subject"] = " ".join(subject.split())[:_SUBJECT_CHARACTERS]
    message["Date"] = formatdate()
    # Without a domain the standard library would ask DNS for this machine's name and disclose it.
    address = getaddresses([sender])[0][1]
    message["Message-ID"] = make_msgid(domain=address.rpartition("@")[2] or "localhost")
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(body)
    return message


def _connect(settings: Settings, host: str) -> smtplib.SMTP:
    # The name in the greeting; the default asks DNS, which can hang.
    address: dict[str, Any] = {"host": host, "local_hostname": "[127.0.0.1]"}
    address["port"] = settings.smtp_port or _DEFAULT_PORTS[settings.smtp_security]
    if settings.smtp_security == "plain":
        return smtplib.SMTP(**address, timeout=SMTP_TIMEOUT_SECONDS)
    context = ssl.create_default_context(cafile=settings.smtp_ca_file)
    if settings.smtp_security == "tls":
        return smtplib.SMTP_SSL(**address, timeout=SMTP_TIMEOUT_SECONDS, context=context)
    server = smtplib.SMTP(**address, timeout=SMTP_TIMEOUT_SECONDS)
    try:
        server.starttls(context=context)
    except (OSError, smtplib.SMTPException):
        server.close()
        raise
    return server


def compose_alert(batch: Batch, *, money: str) -> tuple[str, str]:
    """Subject and body of the mail for `batch`. Pure."""
    more = len(batch.lines) - 1
    subject = f"[DCA bot, {money}] {_headline(batch.lines[0])}"
    if more:
        subject = f"{subject[:80]} (and {more} more)"
    parts = list(batch.lines)
    if batch.held_back:
        held_back = f"Held back since the last mail: {batch.held_back}"
        parts.append(f"{held_back} (the same lines again, or too many).")
    parts.append("Every line is in the log folder. The bot writes one such mail for many lines.")
    return subject, "\n\n".join(parts) + "\n"


def _headline(line: str) -> str:
    """What happened, and to which symbol: `... ERROR name order.refused symbol=X ...` -> both."""
    message = line.partition("\n")[0].split(maxsplit=4)[-1]
    symbol = re.search(r"\bsymbol=(\S+)", message)
    words = message if "=" not in message else message[: message.index("=")].rpartition(" ")[0]
    return f"{symbol[1]} {words}" if symbol else words or message


class AlertHandler(logging.Handler):
    """Mails every ERROR and whatever was logged with `mail=True`. Its thread starts when needed."""

    def __init__(
        self,
        settings: Settings,
        *,
        group_seconds: float = GROUP_SECONDS,
        exit_seconds: float = EXIT_SECONDS,
    ) -> None:
        super().__init__()
        # A filter, because it runs before the handler's lock is taken: the thread itself logs, too.
        self.addFilter(_is_alert)
        self._settings = settings
        self._group_seconds = group_seconds
        self._exit_seconds = exit_seconds
        self._queue: deque[tuple[Alert, str]] = deque(maxlen=MAX_QUEUED)
        self._own_outbox = Outbox()  # while the shared one cannot be written
        self._wake = threading.Event()
        self._is_closing = False
        self._thread: threading.Thread | None = None
        if load_outbox(settings.run_dir).waiting:  # left by another process
            self._ensure_thread()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the line. Runs under the handler's lock, in whichever thread logs."""
        alert = getattr(record, "alert", None)
        if alert is None:  # a line of a library has nothing but its words
            alert = Alert(name=record.name, matter=f"{record.name} {record.getMessage()}")
        self._queue.append((alert, self.format(record)[:MAX_CHARACTERS]))
        try:
            self._ensure_thread()
        except RuntimeError:  # no more threads; a handler never raises into its caller
            self.handleError(record)
        self._wake.set()

    def _ensure_thread(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name="alerts", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Give the thread a bounded time to mail what waits; what is left stays in the outbox."""
        self._is_closing = True
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(self._exit_seconds)
        super().close()

    def _work(self) -> None:
        while True:
            is_last = self._is_closing
            try:
                wait_seconds = self._deliver(0.0 if is_last else self._group_seconds)
            except Exception:  # noqa: BLE001 - the top of a thread: later alerts must still be mailed
                log_event(log, LogEvent.ALERTS_FAILED, traceback=True)
                wait_seconds = None if is_last else self._group_seconds
            if is_last and wait_seconds != 0.0:
                return
            self._wake.wait(wait_seconds)
            self._wake.clear()

    def _deliver(self, group_seconds: float) -> float | None:
        """Put what is queued into the outbox, mail what is due; seconds until the next mail."""
        queued = [self._queue.popleft() for _ in range(len(self._queue))]

        def until_due(outbox: Outbox) -> float | None:
            return outbox.seconds_until_due(
                time.time(),
                mails_per_hour=self._settings.alert_mails_per_hour,
                group_seconds=group_seconds,
            )

        def take(outbox: Outbox) -> tuple[Batch | None, float | None]:
            for alert, line in queued:
                outbox.add(alert, line, time.time())
            wait_seconds = until_due(outbox)
            return outbox.lease(time.time()) if wait_seconds == 0 else None, wait_seconds

        batch, wait_seconds = self._change(take)
        if batch is None:
            return wait_seconds
        money = "LIVE" if self._settings.is_live else "paper"
        is_mailed = send_mail(self._settings, *compose_alert(batch, money=money))

        def note(outbox: Outbox) -> float | None:
            if is_mailed:
                outbox.mailed(batch, time.time())
            else:
                outbox.failed(time.time())
            return until_due(outbox)

        return self._change(note)

    def _change(self, change: Callable[[Outbox], T]) -> T:
        """Change the shared outbox, or our own while the shared one cannot be written."""
        try:
            with changed(self._settings.run_dir) as outbox:
                outbox.waiting += self._own_outbox.waiting
                result = change(outbox)
        except OSError as error:
            log_event(log, LogEvent.ALERTS_UNSHARED, reason=error)
            return change(self._own_outbox)
        self._own_outbox = Outbox()
        return result


def _is_alert(record: logging.LogRecord) -> bool:
    """What is mailed; never what this module logs, or an SMTP outage would feed itself."""
    wanted = record.levelno >= logging.ERROR or getattr(record, "mail", False)
    return bool(wanted) and record.name != __name__
