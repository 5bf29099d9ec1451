"""What the logs say and what they never say (phase 14): format, level, rotation, secrets."""

from __future__ import annotations

import base64
import logging
import os
import re
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from config import PROJECT_ROOT, load_settings
from daemon_process import DaemonProcess, wait_until
from mail_server import CA_FILE, HOST, MailServer
from models.cycle_data import create_cycle, get_cycle
from running_exchange import RunningExchange
from utils import logging_setup
from utils.log_events import LogEvent, log_event
from utils.logging_setup import setup_logging

SCRIPTS = sorted(path.stem for path in (PROJECT_ROOT / "scripts").glob("*.py"))
LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (DEBUG|INFO|WARNING|ERROR|CRITICAL) +[\w.]+ \S.*"
)
KEY, SECRET = "PK0TESTKEY0ABCDEF", "s3cret/of+the=account"
DB_PASSWORD, SMTP_PASSWORD = "db 'pass' wörd%", "smtp-pa55/word="


@pytest.fixture
def basic(tmp_path) -> dict[str, str]:
    return {
        "ALPACA_API_KEY": KEY,
        "ALPACA_SECRET_KEY": SECRET,
        "DB_USER": "user",
        "DB_NAME": "name",
        "DB_PASSWORD": DB_PASSWORD,
        "LOG_DIR": str(tmp_path / "logs"),
        "PID_FILE": str(tmp_path / "run" / "pid"),
    }


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield root
    for handler in root.handlers:
        handler.close()
    root.handlers = handlers
    root.setLevel(level)


def test_an_event_is_one_line_whatever_is_in_it(basic, root_logger, tmp_path, capsys):
    setup_logging(load_settings(basic), "app")
    log = logging.getLogger("some.module")
    log_event(log, LogEvent.ORDER_SUBMITTED, symbol="BTC/USD", qty=Decimal("0.00150"), limit=None)
    log_event(log, LogEvent.UPDATE_POSTPONED, reason="two\nlines  and\tblanks", empty="")
    log.error("raw %s", "text\r\nwith\x85breaks")
    lines = (tmp_path / "logs" / "app.log").read_text("utf-8").splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == [
        "INFO    some.module order.submitted symbol=BTC/USD qty=0.0015",
        'WARNING some.module update.postponed reason="two lines and blanks" empty=""',
        "ERROR   some.module raw text with breaks",
    ]
    assert all(LINE.fullmatch(line) for line in lines)
    assert capsys.readouterr().err.splitlines() == lines, "the console says the same"


@pytest.mark.parametrize(
    ("level", "kept"),
    [("DEBUG", 4), ("INFO", 3), ("WARNING", 2), ("error", 1), ("CRITICAL", 0)],
)
def test_the_level_comes_from_the_settings(basic, root_logger, tmp_path, level, kept):
    setup_logging(load_settings(basic | {"LOG_LEVEL": level}), "app", console=False)
    for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        log_event(logging.getLogger("x"), LogEvent.APP_STARTED, level=number)
    assert len((tmp_path / "logs" / "app.log").read_text().splitlines()) == kept


def test_each_program_has_a_file_of_its_own_that_rotates_within_a_bound(
    basic, root_logger, tmp_path, monkeypatch
):
    monkeypatch.setattr(logging_setup, "_FILE_BYTES", 2000)
    for program in ("app", "watchdog"):
        setup_logging(load_settings(basic), program, console=False)
        for number in range(200):
            logging.getLogger("x").info("thing.happened number=%s", number)
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "logs").iterdir()}
    assert set(sizes) == {
        f"{program}.log{suffix}"
        for program in ("app", "watchdog")
        for suffix in ("", ".1", ".2", ".3", ".4", ".5")
    }
    assert max(sizes.values()) <= 2000


def test_no_secret_in_messages_arguments_or_tracebacks(basic, root_logger, tmp_path, capsys):
    mail = {
        "SMTP_HOST": HOST, "SMTP_PORT": "9", "ALERT_FROM": "a@example.org",
        "ALERT_TO": "b@example.org", "SMTP_USER": "robot", "SMTP_PASSWORD": SMTP_PASSWORD,
        "HEARTBEAT_URL": "https://example.org/ping/token-0123456789",
    }  # fmt: skip
    settings = load_settings(basic | mail | {"LOG_LEVEL": "DEBUG"})
    setup_logging(settings, "app")
    log = logging.getLogger("x")
    secrets = [KEY, SECRET, DB_PASSWORD, SMTP_PASSWORD, "https://example.org/ping/token-0123456789"]
    assert sorted(settings.secret_values()) == sorted(secrets)
    assert not any(secret in repr(settings) for secret in secrets)
    for secret in secrets:
        log.debug("plain " + secret)
        log.debug("argument %s %r", secret, {"header": secret})
        log_event(log, LogEvent.APP_STARTED, value=secret, reason=f"with {secret} inside")
        try:
            raise ValueError(f"about {secret}")
        except ValueError:
            log.exception("thing.failed")
    for handler in root_logger.handlers:
        handler.close()
    everything = capsys.readouterr().err + "".join(
        path.read_text("utf-8") for path in tmp_path.rglob("*") if path.is_file()
    )
    assert everything.count("***") >= 2 * 6 * len(secrets)
    assert not any(secret in everything for secret in secrets)


@pytest.fixture
def secret_facts(bot_environment, mariadb_server, tmp_path) -> Iterator[dict[str, str]]:
    """A bot at DEBUG whose every secret can be searched for."""
    connection = mariadb_server.connect()
    cursor = connection.cursor()
    cursor.execute("CREATE OR REPLACE USER 'tester'@'localhost' IDENTIFIED BY %s", (DB_PASSWORD,))
    cursor.execute("GRANT ALL ON *.* TO 'tester'@'localhost'")
    with (
        RunningExchange(key=KEY, secret=SECRET, partial_fill_probability=0) as exchange,
        MailServer("starttls", ("robot", SMTP_PASSWORD)) as mail_server,
    ):
        urls = exchange.urls
        yield bot_environment | {
            "ALPACA_API_KEY": KEY,
            "ALPACA_SECRET_KEY": SECRET,
            "ALPACA_TRADING_URL": urls.trading_url,
            "ALPACA_DATA_URL": urls.data_url,
            "ALPACA_DATA_STREAM_URL": urls.data_stream_url,
            "ALPACA_TRADING_STREAM_URL": urls.trading_stream_url,
            "DB_USER": "tester",
            "DB_PASSWORD": DB_PASSWORD,
            "SMTP_HOST": HOST,
            "SMTP_PORT": str(mail_server.port),
            "SMTP_CA_FILE": str(CA_FILE),
            "SMTP_USER": "robot",
            "SMTP_PASSWORD": SMTP_PASSWORD,
            "ALERT_FROM": "bot@example.org",
            "ALERT_TO": "person@example.org",
            "LOG_LEVEL": "DEBUG",
            "exchange": exchange,
            "mail_server": mail_server,
        }
    cursor.execute("DROP USER 'tester'@'localhost'")
    connection.close()


def run_script(name: str, environment: dict[str, str], *arguments: str) -> str:
    """Run one of the caretakers; everything it printed."""
    done = subprocess.run(
        [sys.executable, str(PROJECT_ROOT / "scripts" / f"{name}.py"), *arguments],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    return done.stdout + done.stderr


def spellings(secret: str) -> set[str]:
    """How a secret could stand in a text."""
    raw = secret.encode()
    escaped = {urllib.parse.quote(secret), urllib.parse.quote(secret, safe=""), repr(secret)[1:-1]}
    return {secret, base64.b64encode(raw).decode(), *escaped}


def assert_every_line_is_one_event(log_dir: Path) -> None:
    logs = list(log_dir.glob("*.log"))
    assert {path.stem for path in logs} == {"app", *SCRIPTS}
    for path in logs:
        for line in path.read_text("utf-8").splitlines():
            assert LINE.fullmatch(line), f"{path.name}: {line!r}"


def test_daemon_and_scripts_at_debug_never_write_a_secret(
    secret_facts, tmp_path, db_conn, make_asset
):
    exchange, mail_server = secret_facts.pop("exchange"), secret_facts.pop("mail_server")
    printed = []
    cycle = create_cycle(db_conn, make_asset().id, "watching")
    create_cycle(db_conn, make_asset(symbol="ETH/USD").id, "cooldown")
    with DaemonProcess(secret_facts) as daemon:
        daemon.wait_until_trading()

        def bought() -> bool:
            exchange.push_quote("BTC/USD", 50000, 50001)
            return get_cycle(db_conn, cycle.id).quantity > 0

        wait_until(bought)
        for name in SCRIPTS:
            printed.append(run_script(name, secret_facts, "--json"))
        assert_every_line_is_one_event(tmp_path / "logs")
        # What goes wrong says the most.
        exchange.arm("http_500", count=3)
        exchange.arm("http_html", count=3)
        exchange.arm("cut_stream", count=2)
        exchange.arm("refuse_auth", count=2)
        exchange.push_quote("BTC/USD", 49000, 49001)
        printed.append(run_script("order_manager", secret_facts))
        daemon.wait_for_line("stream.disconnected")
        exchange.clear_faults()
        assert daemon.stop() == 0
    wrong = {
        "ALPACA_SECRET_KEY": f"{SECRET}-wrong",
        "DB_PASSWORD": f"{DB_PASSWORD}-wrong",
        "SMTP_PASSWORD": f"{SMTP_PASSWORD}-wrong",
    }
    for name, value in wrong.items():
        with DaemonProcess(secret_facts | {name: value}) as daemon:
            if name != "SMTP_PASSWORD":
                assert daemon.wait_for_exit() == 1
        printed += [run_script(one, secret_facts | {name: value}) for one in SCRIPTS[:1]]

    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    texts = {str(path): path.read_bytes().decode("utf-8", "replace") for path in files}
    texts |= {f"printed {number}": text for number, text in enumerate(printed)}
    texts |= {f"mail {number}": body for number, body in enumerate(mail_server.bodies)}
    assert {"app.log", *(f"{name}.log" for name in SCRIPTS)} <= {path.name for path in files}
    assert mail_server.mails, "errors were mailed"
    assert any(" DEBUG " in text for text in texts.values())
    for where, text in texts.items():
        for secret in (KEY, SECRET, DB_PASSWORD, SMTP_PASSWORD):
            assert not any(spelling in text for spelling in spellings(secret)), where


def test_a_full_disk_is_one_line_without_a_traceback_and_the_work_goes_on(
    basic, root_logger, tmp_path, capsys
):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "bot.log").symlink_to("/dev/full")
    setup_logging(load_settings(basic), "bot", console=False)
    for _ in range(3):
        log_event(logging.getLogger("cli.bot"), LogEvent.BUYING_PAUSE_REQUESTED)
    path = tmp_path / "logs" / "bot.log"
    assert capsys.readouterr().err == (
        f"cannot log to {path}: No space left on device: make room\n"
    )
