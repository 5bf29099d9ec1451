"""Mails through a real mail server on loopback: every way to connect, every way it can fail."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from config import PROJECT_ROOT, Settings, SettingsError, load_settings
from daemon_process import wait_until
from mail_server import MailServer, hanging_server, mail_environment
from mariadb_server.endpoint import free_port
from trading.stall_watch import StallEdge, log_edges
from utils import notifications
from utils.alert_outbox import Batch, changed, load_outbox
from utils.log_events import LogEvent, log_event
from utils.logging_setup import setup_logging
from utils.notifications import AlertHandler, compose_alert, send_email_alert, send_mail

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
LOGIN = ("robot", "smtp-password-1")
log = logging.getLogger("tests.alerts")


@pytest.fixture
def mail_settings(tmp_path: Path) -> Callable[..., Settings]:
    """Settings with mail; keyword arguments replace single settings by their names."""

    def make(port: int, **changes: str) -> Settings:
        return load_settings(mail_environment(tmp_path, port) | changes)

    return make


@pytest.fixture
def quiet_root() -> Iterator[None]:
    """The root logger as it was, after a test that called `setup_logging`."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers = handlers
    root.setLevel(level)


@pytest.mark.parametrize("security", ["plain", "starttls", "tls"])
@pytest.mark.parametrize("login", [None, LOGIN], ids=["open", "with a password"])
def test_a_mail_arrives_whatever_the_server_wants(mail_settings, security, login):
    with MailServer(security, login) as server:
        changes = {"SMTP_SECURITY": security, "ALERT_TO": "one@example.org, Two <two@example.org>"}
        if login is not None:
            changes |= {"SMTP_USER": login[0], "SMTP_PASSWORD": login[1]}
        settings = mail_settings(server.port, **changes)
        assert send_mail(settings, "It\nworks", "first line\nsecond line, café")
    [mail] = server.mails
    assert (mail["Subject"], mail["From"]) == ("It works", "bot@example.org")
    assert server.recipients == [["one@example.org", "two@example.org"]]
    assert mail.get_content().splitlines()[:2] == ["first line", "second line, café"]


def test_the_plans_function_sends_with_the_settings_of_the_process(tmp_path, monkeypatch):
    with MailServer("plain") as server:
        settings = load_settings(mail_environment(tmp_path, server.port))
        monkeypatch.setattr(notifications, "get_settings", lambda: settings)
        assert send_email_alert("Main app restarted", "It was hung.")
    assert server.subjects == ["Main app restarted"]


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_certificate_that_nobody_vouches_for_gets_no_mail_and_no_password(
    mail_settings, security, monkeypatch, caplog
):
    monkeypatch.setenv("SSL_CERT_FILE", "")
    with MailServer(security, LOGIN) as server:
        settings = mail_settings(
            server.port,
            SMTP_SECURITY=security,
            SMTP_CA_FILE="",
            SMTP_USER=LOGIN[0],
            SMTP_PASSWORD=LOGIN[1],
        )
        assert not send_mail(settings, "subject", "body")
    assert server.mails == []
    assert "CERTIFICATE_VERIFY_FAILED" in caplog.text


def test_trouble_with_the_server_is_false_and_a_warning_and_never_raises(mail_settings, caplog):
    with MailServer("starttls", LOGIN) as server:
        wrong = {"SMTP_USER": LOGIN[0], "SMTP_PASSWORD": "wrong-password"}
        cases = {
            "refuses the password": mail_settings(server.port, SMTP_SECURITY="starttls", **wrong),
            "wants STARTTLS": mail_settings(server.port),
            "speaks no TLS at first": mail_settings(server.port, SMTP_SECURITY="tls"),
            "is down": mail_settings(free_port()),
            "has no name": mail_settings(server.port, SMTP_HOST="no such host"),
            "has no such file": mail_settings(
                server.port, SMTP_SECURITY="starttls", SMTP_CA_FILE="/nowhere/ca.pem"
            ),
            "cannot take the address": mail_settings(server.port, ALERT_TO="nobody at all"),
        }
        for what, settings in cases.items():
            caplog.clear()
            assert not send_mail(settings, "subject", "body"), what
            assert "mail.failed" in caplog.text, what
            assert "wrong-password" not in caplog.text
            assert all(record.levelno == logging.WARNING for record in caplog.records)
    assert server.mails == []


def test_a_server_that_hangs_is_left_after_the_time_out(mail_settings, monkeypatch):
    monkeypatch.setattr(notifications, "SMTP_TIMEOUT_SECONDS", 0.3)
    with hanging_server() as port:
        began_at = time.monotonic()
        assert not send_mail(mail_settings(port), "subject", "body")
        assert time.monotonic() - began_at < 8


def test_without_a_mail_server_nothing_is_sent_and_nothing_is_queued(
    mail_settings, quiet_root, tmp_path
):
    settings = mail_settings(25, SMTP_HOST="", ALERT_FROM="", ALERT_TO="")
    assert not send_mail(settings, "subject", "body")
    setup_logging(settings, "app", console=False)
    log.error("order.refused symbol=BTC/USD")
    assert not any(isinstance(one, AlertHandler) for one in logging.getLogger().handlers)
    assert not (tmp_path / "run" / "alerts.json").exists()


def test_errors_and_marked_warnings_come_in_one_mail_without_secrets(mail_settings, quiet_root):
    with MailServer("plain") as server:
        setup_logging(mail_settings(server.port), "app", console=False)
        [handler] = [one for one in logging.getLogger().handlers if isinstance(one, AlertHandler)]
        for courier in handler.couriers:
            courier.group_seconds = 0.4
        log_event(
            log,
            LogEvent.ORDER_REFUSED,
            level=logging.ERROR,
            symbol="BTC/USD",
            reason="some-secret-key",
        )
        log_event(log, LogEvent.DAEMON_RESTARTED, mail=True, pid=7)
        log_event(log, LogEvent.UPDATE_POSTPONED, reason="healed itself")
        try:
            raise ValueError("inside some-key")
        except ValueError:
            log.exception("worker.failed symbol=ETH/USD")
        wait_until(lambda: server.mails)
    [subject], [body] = server.subjects, server.bodies
    assert subject == "[DCA bot, paper] BTC/USD order.refused (and 2 more)"
    assert "daemon.restarted pid=7" in body
    assert "ValueError: inside ***" in body
    assert "update.postponed" not in body
    assert "some-key" not in body
    assert "some-secret-key" not in body


def test_the_same_alert_in_other_words_is_mailed_once_and_each_other_one_too(
    mail_settings, quiet_root
):
    order = {"symbol": "BTC/USD", "order": "4f1c"}
    said = [
        ("order.unclaimed", {**order, "reason": "buys wait"}, True),
        ("order.unclaimed", {**order, "reason": "no cycle has it", "age": 7}, False),
        ("order.unclaimed", {**order, "order": "4f1d", "reason": "buys wait"}, True),
        ("order.unclaimed", {**order, "symbol": "ETH/USD", "reason": "buys wait"}, True),
        ("order.long_open", {**order, "key": "new"}, True),
        ("order.long_open", {**order, "key": "held"}, True),
        ("app.failed", {"reason": ValueError("one")}, True),
        ("app.failed", {"reason": ValueError("two")}, False),
        ("app.failed", {"reason": OSError("three")}, True),
    ]
    with MailServer("plain") as server:
        setup_logging(mail_settings(server.port), "app", console=False)
        for name, fields, _ in said:
            log_event(log, LogEvent(name), **fields)
        for handler in logging.getLogger().handlers:
            handler.close()
    lines = [line for line in server.bodies[0].splitlines() if "ERROR" in line]
    assert len(lines) == sum(is_mailed for *_, is_mailed in said)
    assert "Held back since the last mail: 2" in server.bodies[0]


def test_a_stall_that_ended_and_begins_again_is_mailed_again(mail_settings, quiet_root):
    begun = StallEdge(symbol="BTC/USD", has_begun=True, seconds=900, reason="no market")
    ended = StallEdge(symbol="BTC/USD", has_begun=False, seconds=950, reason="it was sent")
    with MailServer("plain") as server:
        setup_logging(mail_settings(server.port), "app", console=False)
        log_edges([begun, replace(begun, symbol=None), begun, ended, begun, ended])
        for handler in logging.getLogger().handlers:
            handler.close()
    mailed = re.findall(r"(trading.stalled|stall.ended)", server.bodies[0])
    assert mailed == ["trading.stalled"] * 2 + ["stall.ended", "trading.stalled", "stall.ended"]
    assert "Held back since the last mail: 1" in server.bodies[0]


def test_a_stall_for_another_reason_is_mailed_although_the_one_before_never_ended(
    mail_settings, quiet_root
):
    """The daemon was restarted in between, to end the first."""
    begun = StallEdge(symbol="BTC/USD", has_begun=True, seconds=900, reason="no market")
    with MailServer("plain") as server:
        setup_logging(mail_settings(server.port), "app", console=False)
        log_edges([begun, begun, replace(begun, reason="orders are refused")])
        for handler in logging.getLogger().handlers:
            handler.close()
    assert re.findall(r"reason=\"(.*?)\"", server.bodies[0]) == ["no market", "orders are refused"]
    assert "Held back since the last mail: 1" in server.bodies[0]


def test_every_error_is_mailed_even_when_the_log_is_told_to_say_less(mail_settings, quiet_root):
    with MailServer("plain") as server:
        settings = mail_settings(server.port, LOG_LEVEL="CRITICAL")
        setup_logging(settings, "app", console=False)
        log_event(log, LogEvent.DAEMON_RESTARTED, mail=True, pid=7)
        log.error("order.refused")
        for handler in logging.getLogger().handlers:
            handler.close()
    assert "order.refused" in server.bodies[0]
    assert "daemon.restarted" in server.bodies[0]
    assert (settings.log_dir / "app.log").read_text() == ""


def test_logging_an_error_costs_nothing_while_the_mail_server_hangs(
    mail_settings, quiet_root, monkeypatch
):
    monkeypatch.setattr(notifications, "SMTP_TIMEOUT_SECONDS", 60.0)
    with hanging_server() as port:
        settings = mail_settings(port)
        handler = AlertHandler(settings, group_seconds=0, exit_seconds=0.3)
        logging.getLogger().addHandler(handler)
        log.error("first")
        wait_until(lambda: load_outbox(settings.run_dir).retry_at > 0, what="a mail under way")
        began_at = time.monotonic()
        for number in range(1000):
            log.error("order.refused number=%s", number)
        assert time.monotonic() - began_at < 10
        handler.close()
        assert time.monotonic() - began_at < 20
    assert "first" in load_outbox(settings.run_dir).waiting[0], "kept for the next process"


def test_what_the_server_refused_is_kept_and_mailed_by_the_next_process(mail_settings, quiet_root):
    with MailServer("plain") as server:
        server.refusing = True
        settings = mail_settings(server.port)
        first = AlertHandler(settings, group_seconds=0)
        first.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        logging.getLogger().addHandler(first)
        log.error("order.refused symbol=BTC/USD")
        first.close()
        logging.getLogger().removeHandler(first)
        assert load_outbox(settings.run_dir).waiting
        assert server.mails == []
        server.refusing = False
        with changed(settings.run_dir) as outbox:
            outbox.retry_at = 0.0  # a minute later
        AlertHandler(settings, group_seconds=0).close()
    assert server.subjects == ["[DCA bot, paper] BTC/USD order.refused"]
    assert "order.refused symbol=BTC/USD" in server.bodies[0]
    assert load_outbox(settings.run_dir).waiting == []


def test_what_is_logged_after_the_end_is_mailed_by_another_end(mail_settings, quiet_root):
    """The daemon shuts its log down before it lets go of its PID file, and may fail after that."""
    with MailServer("plain") as server:
        handler = AlertHandler(mail_settings(server.port), group_seconds=0)
        logging.getLogger().addHandler(handler)
        for line in ("first", "second"):
            log.error(line)
            handler.close()
            assert line in server.bodies[-1]


def test_an_outbox_that_cannot_be_written_does_not_silence_the_bot(
    mail_settings, quiet_root, tmp_path
):
    (tmp_path / "run").write_text("a file where the folder should be")
    with MailServer("plain") as server:
        handler = AlertHandler(mail_settings(server.port), group_seconds=0)
        logging.getLogger().addHandler(handler)
        log.error("disk.full")
        log.error("disk.full")
        handler.close()
    assert len(server.mails) == 1


SCRIPT = """
import logging, sys
from config import get_settings
from utils import notifications
from utils.logging_setup import setup_logging
notifications.SMTP_TIMEOUT_SECONDS = 2.0
setup_logging(get_settings(), sys.argv[1], console=False)
for line in sys.argv[2:]:
    logging.getLogger("script").error(line)
"""


def run_script(environment: dict[str, str], *arguments: str) -> float:
    """A short-lived program that logs errors and ends; how long it took."""
    began_at = time.monotonic()
    subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        env={**os.environ, "PYTHONPATH": str(PROJECT_ROOT / "src"), **environment},
        check=True,
        timeout=60,
    )
    return time.monotonic() - began_at


def test_scripts_that_fail_every_minute_mail_once_and_the_next_mail_counts_the_rest(tmp_path):
    with MailServer("plain") as server:
        environment = mail_environment(tmp_path, server.port)
        for _ in range(4):
            run_script(environment, "order_manager", "database.away reason=gone")
        assert len(server.mails) == 1, "each process ended only after its mail, and said it once"
        run_script(environment, "watchdog", "daemon.start_failed code=1")
    assert len(server.mails) == 2
    assert "Held back since the last mail: 3" in server.bodies[1]


def test_a_script_ends_within_a_bound_when_the_mail_server_hangs_and_the_next_does_not_wait(
    tmp_path,
):
    with hanging_server() as port:
        environment = mail_environment(tmp_path, port)
        assert run_script(environment, "order_manager", "database.away") < 6
        assert run_script(environment, "order_manager", "exchange.away") < 2
    waiting = json.loads((tmp_path / "run" / "alerts.json").read_text())["waiting"]
    assert [line.split()[-1] for line in waiting] == ["database.away", "exchange.away"]


@pytest.mark.parametrize(
    ("line", "subject"),
    [
        ("order.refused symbol=BTC/USD qty=1", "BTC/USD order.refused"),
        ("database.away reason=gone", "database.away"),
        ("Task exception was never retrieved", "Task exception was never retrieved"),
    ],
)
def test_the_subject_says_what_happened_and_where(line, subject):
    text = f"2026-01-01 00:00:00,000 ERROR   some.module {line}"
    assert compose_alert(Batch(lines=[text], held_back=0), money="LIVE")[0] == (
        f"[DCA bot, LIVE] {subject}"
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ALERT_TO": ""}, "mail needs ALERT_TO too"),
        ({"SMTP_USER": "robot"}, "set both SMTP_USER and SMTP_PASSWORD"),
        (
            {"SMTP_HOST": "mail.example.org", "SMTP_USER": "robot", "SMTP_PASSWORD": "pass-word"},
            "would send SMTP_PASSWORD readable",
        ),
        ({"SMTP_SECURITY": "none"}, "expected starttls, tls or plain"),
    ],
)
def test_half_a_mail_set_up_is_refused(tmp_path, changes, words):
    with pytest.raises(SettingsError, match=words) as caught:
        load_settings(mail_environment(tmp_path, 25) | changes)
    assert "pass-word" not in str(caught.value)
