"""Messages to the person who runs the bot: the plan's `send_email_alert`; the handler of alerts.

Owns: SMTP, and what is sent where: mail and the services of ALERT_URLS each have a courier. Must
never disturb trading: nothing here raises into its caller, logging an error costs one append to a
queue for each service, and an exit waits for all of them within one bound. What could not be sent
waits in the outbox.
"""

from __future__ import annotations

import logging
import re
import smtplib
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import formatdate, getaddresses, make_msgid
from functools import partial
from pathlib import Path
from typing import Any

from config import Settings, SettingsError, Topic, get_settings
from utils.alert_courier import Courier
from utils.alert_outbox import FILE_NAME, Alert, Batch
from utils.alert_services import Outcome, Service, send_to_service, services_of
from utils.formatting import day_and_clock, describe_money
from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)

SMTP_TIMEOUT_SECONDS = 10.0
GROUP_SECONDS = 10.0
EXIT_SECONDS = 12.0
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


def compose_alert(batch: Batch, *, money: str, is_mail: bool = True) -> tuple[str, str]:
    """Subject and body of the message for `batch`. Pure."""
    more = len(batch.lines) - 1
    subject = f"[DCA bot, {money}] {_headline(batch.lines[0])}"
    if more:
        subject = f"{subject[:80]} (and {more} more)"
    parts = list(batch.lines)
    if batch.held_back:
        held_back = f"Held back since the last {'mail' if is_mail else 'message'}"
        parts.append(f"{held_back}: {batch.held_back} (the same lines again, or too many).")
    if is_mail:
        end = "Every line is in the log folder. The bot writes one such mail for many lines."
        parts.append(end)
    return subject[:_SUBJECT_CHARACTERS], "\n\n".join(parts) + "\n"


_HEAD = re.compile(r"\S+ \S+ (?:(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) +\S+ )?")


def _headline(line: str) -> str:
    """What happened, and to which symbol: `... ERROR name order.refused symbol=X ...` -> both.
    Of news: its words.
    """
    message = _HEAD.sub("", line.partition("\n")[0], count=1)
    symbol = re.search(r"\bsymbol=(\S+)", message)
    words = message if "=" not in message else message[: message.index("=")].rpartition(" ")[0]
    return f"{symbol[1]} {words}" if symbol else words or message


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One service and one kind of messages: news has an outbox of its own, so that however many
    sales there are, no error waits for them.
    """

    name: str
    outbox_name: str
    is_of_news: bool
    send: Callable[[Batch, Path | None], Outcome]


def list_channels(settings: Settings) -> list[Channel]:
    """Every service that is set up, for what ALERT_ON names; none where no message may be sent."""
    if not settings.alert_mails_per_hour:
        return []
    senders: list[tuple[str, str, Callable[[Batch, Path | None], Outcome]]] = []
    if settings.smtp_host:
        senders.append(("mail", "", partial(_mail, settings)))
    for service in services_of(settings):
        senders.append((service.name, f"-{service.key}", partial(_tell, settings, service)))
    kinds = {topic is not Topic.ERRORS for topic in settings.alert_on}
    stem, suffix = FILE_NAME.split(".")
    return [
        Channel(
            name=name,
            outbox_name=f"{stem}{key}{'-news' if is_of_news else ''}.{suffix}",
            is_of_news=is_of_news,
            send=send,
        )
        for name, key, send in senders
        for is_of_news in sorted(kinds)
    ]


def _mail(settings: Settings, batch: Batch, _outbox: Path | None) -> Outcome:
    is_mailed = send_mail(settings, *compose_alert(batch, money=describe_money(settings)))
    return Outcome(lines=len(batch.lines) if is_mailed else 0)


def _tell(settings: Settings, service: Service, batch: Batch, outbox: Path | None) -> Outcome:
    outcome = send_to_service(service, batch, money=describe_money(settings), outbox=outbox)
    if outcome.reason is not None:
        log_event(log, LogEvent.ALERT_UNSENT, service=service.name, reason=outcome.reason)
    return outcome


class AlertHandler(logging.Handler):
    """Hands every ERROR, what was logged with `mail=True`, and the news that ALERT_ON names to the
    couriers of mail and of each service of ALERT_URLS.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        group_seconds: float = GROUP_SECONDS,
        exit_seconds: float = EXIT_SECONDS,
    ) -> None:
        super().__init__()
        # A filter, because it runs before the handler's lock is taken: the couriers log, too.
        self.addFilter(lambda record: _topic_of(record) in settings.alert_on)
        self._exit_seconds = exit_seconds
        self._couriers: dict[bool, list[Courier]] = {True: [], False: []}  # of news; of errors
        for channel in list_channels(settings):
            courier = Courier(
                settings, channel.outbox_name, channel.send, group_seconds=group_seconds
            )
            self._couriers[channel.is_of_news].append(courier)

    @property
    def couriers(self) -> list[Courier]:
        return [courier for some in self._couriers.values() for courier in some]

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the line. Runs under the handler's lock, in whichever thread logs."""
        alert = getattr(record, "alert", None)
        if alert is None:  # a line of a library has nothing but its words
            alert = Alert(name=record.name, matter=f"{record.name} {record.getMessage()}")
        words = getattr(record, "words", None)
        line = (
            f"{day_and_clock(datetime.fromtimestamp(record.created, UTC))} {words}"
            if words
            else self.format(record)
        )
        for courier in self._couriers[_topic_of(record) is not Topic.ERRORS]:
            try:
                courier.put(alert, line[:MAX_CHARACTERS])
            except RuntimeError:  # no more threads; a handler never raises into its caller
                self.handleError(record)

    def close(self) -> None:
        """Give the couriers one bounded time together to send what waits; the rest stays."""
        for courier in self.couriers:
            courier.begin_to_end()
        deadline = time.monotonic() + self._exit_seconds
        for courier in self.couriers:
            courier.wait_until_ended(max(0.0, deadline - time.monotonic()))
        super().close()


def _topic_of(record: logging.LogRecord) -> Topic | None:
    """What ALERT_ON calls it; None: no alert. Never what this module logs, or an outage of a
    service would feed itself.
    """
    if record.name == __name__:
        return None
    if record.levelno >= logging.ERROR or getattr(record, "mail", False):
        return Topic.ERRORS
    return getattr(record, "topic", None)
