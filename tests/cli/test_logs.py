"""`scripts/logs`: what it finds, how it follows, and that nothing stands in two files."""

from __future__ import annotations

import json
import logging
import os
import pty
import re
import signal
import subprocess
import sys
from logging.handlers import RotatingFileHandler

import pytest

from cli.logs import main
from config import PROJECT_ROOT, get_settings
from monitoring.log_lines import Follower, parse_line, parse_lines
from runtime.daemon_process import last_words
from said import runner
from utils.log_events import LogEvent, log_event
from utils.logging_setup import setup_logging

WARNED = (
    "2026-01-02 03:04:05,678 WARNING trading.bot order.refused symbol=BTC/USD cycle=7 "
    'reason="he said "no" twice" id=dca-7-a-0'
)
SAID = "2026-01-02 03:04:06,000 INFO    trading.bot symbols.watched symbols=BTC/USD,ETH/USD"
FAILED = "2026-01-02 03:04:07,000 ERROR   trading.bot update.failed symbol=ETH/USD"
TRACEBACK = ["Traceback (most recent call last):", "ValueError: no"]


@pytest.fixture
def log_file(bot_environment):
    """A log of three lines, the oldest of them in a rotated file."""
    folder = get_settings().log_dir
    folder.mkdir(parents=True)
    (folder / "app.log.1").write_text(f"{WARNED}\n")
    (folder / "app.log").write_text("\n".join([SAID, FAILED, *TRACEBACK, ""]))
    return folder / "app.log"


@pytest.fixture
def logs(bot_environment, capsys):
    return runner(main, capsys)


def test_a_line_is_read_back_with_every_field():
    line = parse_line(WARNED)
    assert (line.level, line.module, line.event) == ("WARNING", "trading.bot", "order.refused")
    assert line.at.isoformat() == "2026-01-02T03:04:05.678000+00:00"
    assert line.fields == {
        "symbol": "BTC/USD",
        "cycle": "7",
        "reason": 'he said "no" twice',
        "id": "dca-7-a-0",
    }


def test_every_event_that_can_be_logged_is_read_back(caplog):
    caplog.set_level(logging.DEBUG)
    for event in LogEvent:
        log_event(logging.getLogger("trading.bot"), event, symbol="BTC/USD", reason="two words")
    for event, record in zip(LogEvent, caplog.records, strict=True):
        line = parse_line(f"2026-01-02 03:04:05,678 INFO    trading.bot {record.getMessage()}")
        assert line.event == event
        assert line.fields == {"symbol": "BTC/USD", "reason": "two words"}


def test_a_traceback_belongs_to_the_line_before_it():
    lines = list(parse_lines(["half a traceback", SAID, FAILED, *TRACEBACK]))
    assert [line.more for line in lines] == [[], TRACEBACK]


def test_it_prints_the_lines_as_they_stand_with_what_rotation_kept(logs, log_file):
    assert logs().output.splitlines() == [WARNED, SAID, FAILED, *TRACEBACK]
    assert logs("--lines", "1").output.splitlines() == [FAILED, *TRACEBACK]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--level", "warning"), [WARNED, FAILED, *TRACEBACK]),
        (("--level", "ERROR"), [FAILED, *TRACEBACK]),
        (("--symbol", "btcusd"), [WARNED, SAID]),
        (("--symbol", "ETH/USD", "--level", "error"), [FAILED, *TRACEBACK]),
        (("--symbol", "SOL/USD"), []),
    ],
)
def test_lines_are_chosen_by_level_and_symbol(logs, log_file, options, expected):
    assert logs(*options).output.splitlines() == expected


def test_json_is_one_object_a_line(logs, log_file):
    objects = [json.loads(line) for line in logs("--json").output.splitlines()]
    assert [one["event"] for one in objects] == [
        "order.refused",
        "symbols.watched",
        "update.failed",
    ]
    assert objects[2]["more"] == TRACEBACK
    assert objects[0]["fields"]["cycle"] == "7"


def test_wrong_arguments_and_unknown_programs_are_one_line(logs, log_file):
    for arguments, words in (
        (("nobody",), "there is no log of 'nobody': there is app"),
        (("--level", "loud"), "expected one of debug, info"),
        (("--lines", "x"), "expected a whole number"),
    ):
        said = logs(*arguments)
        assert said.code == 2
        assert words in said.complaint


def test_without_a_log_it_says_so_and_needs_no_key(logs, monkeypatch):
    with monkeypatch.context() as patch:
        patch.delenv("ALPACA_API_KEY")
        said = logs()
    assert (said.code, "nothing was logged yet" in said.complaint) == (1, True)


def test_following_loses_and_repeats_no_line_through_many_rotations(tmp_path):
    path = tmp_path / "app.log"
    handler = RotatingFileHandler(path, maxBytes=400, backupCount=5)
    handler.setFormatter(logging.Formatter("%(message)s"))
    follower = Follower(path)
    seen = []
    for number in range(300):
        handler.emit(logging.LogRecord("x", logging.INFO, "", 0, f"line {number}", (), None))
        if number % 7 == 0 or number % 50 > 30:  # sometimes several files are behind
            seen += follower.read()
    seen += follower.read()
    follower.close()
    handler.close()
    assert seen == [f"line {number}" for number in range(300)]


def test_a_half_line_is_shown_when_it_is_whole(tmp_path):
    path = tmp_path / "app.log"
    follower = Follower(path)
    assert follower.read() == []
    path.write_bytes("gr\u00fc".encode()[:-1])
    assert follower.read() == []
    with open(path, "ab") as file:
        file.write("gr\u00fc\n".encode()[3:])
    assert follower.read() == ["gr\u00fc"]
    follower.close()


def test_following_on_a_terminal_is_coloured_goes_on_and_ends_with_ctrl_c(
    bot_environment, log_file
):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "cli.logs", "--follow", "--level", "warning"],
        env={**os.environ, "TERM": "xterm", **bot_environment},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    said = ""
    while "ValueError" not in said:
        said += os.read(ours, 65536).decode()
    log_file.rename(log_file.with_name("app.log.2"))
    log_file.write_text(f"{SAID}\n{WARNED.replace('cycle=7', 'cycle=8')}\n")
    while "cycle=8" not in re.sub(r"\x1b\[[0-9;]*m|\r?\n", "", said):
        said += os.read(ours, 65536).decode()
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    os.close(ours)
    assert "\x1b[" in said
    assert "symbols.watched" not in said


# No line in two files


LOG_ONCE = """
from config import get_settings
from utils.logging_setup import setup_logging
import logging
setup_logging(get_settings(), "app")
logging.getLogger("x").error("order.refused said=once")
"""


def test_what_is_logged_is_not_said_again_in_the_daemons_output(bot_environment):
    folder = get_settings().log_dir
    folder.mkdir(parents=True)
    with open(folder / "main_app.out", "ab") as output:
        command = [sys.executable, "-c", LOG_ONCE]
        environment = {**os.environ, **bot_environment}
        subprocess.run(command, env=environment, stderr=output, check=True, cwd=PROJECT_ROOT)
    assert (folder / "main_app.out").read_text() == ""
    assert "said=once" in (folder / "app.log").read_text()


def test_in_the_foreground_it_is_still_said_on_standard_error(bot_environment, tmp_path):
    command, environment = [sys.executable, "-c", LOG_ONCE], {**os.environ, **bot_environment}
    run = subprocess.run(command, env=environment, stderr=subprocess.PIPE, check=True, text=True)
    assert "said=once" in run.stderr


def test_the_last_words_are_those_of_the_file_that_was_written_last(tmp_path):
    assert last_words(tmp_path) == "it said nothing"
    (tmp_path / "main_app.out").write_text("main_app: DB_USER is missing\n")
    (tmp_path / "app.log").write_text(f"{FAILED}\n")
    os.utime(tmp_path / "main_app.out", (1, 1))
    assert last_words(tmp_path) == "update.failed symbol=ETH/USD"
    os.utime(tmp_path / "app.log", (0, 0))
    assert last_words(tmp_path) == "main_app: DB_USER is missing"


def test_setting_up_twice_keeps_one_file_handler(bot_environment):
    for _ in range(2):
        setup_logging(get_settings(), "app", console=False)
    files = [h for h in logging.getLogger().handlers if isinstance(h, RotatingFileHandler)]
    assert len(files) == 1
