"""What is wrong is said with its cure, in one line, by the programs as they are started."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from caretakers.watchdog import ping
from config import (
    PROJECT_ROOT,
    get_settings,
    inspect_environment,
    inspect_settings,
    reset_settings,
)
from monitoring.doctor.doctor import examine
from monitoring.doctor.findings import Finding, Level
from ping_server import ping_server
from runtime.operator_flags import is_stopped
from said import Said

SCRIPTS = ["consistency_checker", "cooldown_manager", "order_manager", "watchdog"]
GOOD = "ALPACA_API_KEY=k\nALPACA_SECRET_KEY=sss\nDB_USER=x\nDB_NAME=y\n"


def run(*command: str, **environment: str) -> Said:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | environment,
        cwd="/",
    )
    return Said(done.returncode, done.stdout, done.stderr)


def complaint_of(said: Said) -> str:
    """The one line on standard error."""
    assert said.errors.count("\n") == 1, said.errors
    return said.errors.strip()


def tool(name: str, *arguments: str, **environment: str) -> Said:
    return run(sys.executable, "-m", name, *arguments, **environment)


@pytest.fixture
def env_file(bot_environment, tmp_path) -> Iterator[Path]:
    """The settings come from this file alone, but where the logs and the PID file are."""
    path = tmp_path / ".env"
    path.touch(0o600)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ALPACA_API_KEY", "ALPACA_SECRET_KEY", "DB_USER", "DB_NAME", "DB_SOCKET"):
            patch.delenv(name, raising=False)
        patch.setenv("ENV_FILE", str(path))
        reset_settings()
        yield path
    reset_settings()


def doctor_says(subject: str) -> list[Finding]:
    return [one for one in examine() if one.subject == subject]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("ALPACA_SECRET_KEY secretive", "(ALPACA_SECRET_KEY): that is no setting: write ALPACA_"),
        ("alpaca_secret_key: secretive", "(ALPACA_SECRET_KEY): that is no setting: write ALPACA_"),
        ("ALPACA_SECRET_KEY='secretive", "(ALPACA_SECRET_KEY): its quotes do not close"),
        ('export ALPACA_SECRET_KEY="secretive"x', "(ALPACA_SECRET_KEY): its quotes do not close"),
        ("my secretive note", "line 2: that is no setting: write NAME=value, or # before a remark"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_called_missing_for_it(env_file, line, says):
    good = GOOD.replace("ALPACA_SECRET_KEY=sss\n", "").splitlines()
    env_file.write_text("\n".join([good[0], line, *good[1:]]))
    for problem in [
        complaint_of(tool("cli.status")),
        complaint_of(tool("cli.bot", "start")),
        complaint_of(run(sys.executable, str(PROJECT_ROOT / "src" / "main_app.py"))),
        *(one.text for one in doctor_says("settings")),
    ]:
        assert ".env line 2" in problem
        assert says in problem
        assert "missing" not in problem
        assert "secretive" not in problem, "it may be a key"


SWALLOWING = """\
ALPACA_API_KEY=kkk
ALPACA_SECRET_KEY="secretive
DB_USER=me
DB_NAME=mine
SMTP_PASSWORD=secretive"
"""


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_quote_that_the_next_one_closes_is_named_and_not_what_it_swallows(env_file, ends):
    env_file.write_bytes(SWALLOWING.replace("\n", ends).encode())
    for problem in [
        complaint_of(tool("cli.status")),
        complaint_of(tool("cli.bot", "start")),
        complaint_of(run(sys.executable, str(PROJECT_ROOT / "src" / "main_app.py"))),
        *(one.text for one in doctor_says("settings")),
    ]:
        assert ".env line 2 (ALPACA_SECRET_KEY): its quotes do not close" in problem
        assert "missing" not in problem
        assert "secretive" not in problem


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "".join(f"export {line}\n" for line in text.splitlines()),
        lambda text: text.replace("=", " = "),
        lambda text: f"# it's a remark\n\n{text}",
        lambda text: f"{text}ALERT_URLS='json://127.0.0.1/a\n json://127.0.0.1/b'\n",
    ],
    ids=["byte order mark", "crlf", "export", "blanks", "a quote in a remark", "several lines"],
)
def test_what_editors_and_shells_make_of_it_is_read_all_the_same(env_file, change):
    env_file.write_bytes(change(GOOD).encode())
    settings, problems = inspect_environment()
    assert problems == []
    assert (settings.alpaca_api_key, settings.alpaca_secret_key) == ("k", "sss")


def test_a_bad_line_hides_no_other_mistake_from_the_doctor(env_file):
    env_file.write_text(GOOD + "what is this\nSTALE_ORDER_SECONDS=soon\n")
    texts = [one.text for one in doctor_says("settings")]
    assert len(texts) == 2
    assert any(text.startswith("STALE_ORDER_SECONDS: expected a number") for text in texts)


def test_without_any_env_file_one_line_says_what_makes_one(env_file):
    env_file.unlink()
    complaint = complaint_of(tool("cli.status"))
    assert "scripts/setup makes one" in complaint
    assert complaint.count("is missing") == 0
    assert "ALPACA_API_KEY, ALPACA_SECRET_KEY, DB_USER, DB_NAME are missing" in complaint


@pytest.mark.parametrize("text", ["", "this is bad\n", "DB_PORT=many\n", "'\n" + GOOD])
def test_bot_stop_works_whatever_is_wrong_in_the_file(env_file, text):
    env_file.write_text(text)
    said = tool("cli.bot", "stop")
    assert said.code == 0
    assert "the watchdog will not start it" in said.output
    settings, _ = inspect_settings(os.environ)
    assert is_stopped(settings.run_dir)


def test_bot_stop_works_where_no_log_can_be_written(env_file, tmp_path):
    (tmp_path / "file").touch()
    said = tool("cli.bot", "stop", LOG_DIR=str(tmp_path / "file" / "logs"))
    assert said.code == 0
    assert "LOG_DIR in .env" in said.errors


@pytest.mark.parametrize("setting", ["LOG_DIR", "PID_FILE"])
def test_a_folder_that_cannot_be_made_is_named_with_its_setting(
    bot_environment, db_conn, tmp_path, setting
):
    (tmp_path / "file").touch()
    there = {setting: str(tmp_path / "file" / "x" / "main_app.pid")}
    programs = [
        tool("cli.bot", "pause", **there),
        run(sys.executable, str(PROJECT_ROOT / "scripts" / "order_manager.py"), **there),
    ]
    if setting == "LOG_DIR":  # where the PID file is, it says on standard error beside its log
        programs.append(run(sys.executable, str(PROJECT_ROOT / "src" / "main_app.py"), **there))
    for said in programs:
        assert said.code != 0
        assert f"{setting} in .env" in complaint_of(said)
        assert "Errno" not in complaint_of(said)
        assert str(tmp_path / "file") in complaint_of(said)


def test_a_user_who_may_not_write_there_is_told_how_to_get_it(bot_environment, tmp_path):
    """As another user: nothing is denied to root."""
    folder = tmp_path / "of root"
    folder.mkdir(0o755)
    error = subprocess.run(
        [sys.executable, "-c", DENIED, str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert f"cannot write {folder}/logs: Permission denied: make {folder}/logs yours" in error
    assert "set LOG_DIR in .env" in error


DENIED = """
import os, sys
from dataclasses import replace
from pathlib import Path
from config import inspect_settings
from runtime.unwritable import describe_unwritable
settings = replace(inspect_settings({})[0], log_dir=Path(sys.argv[1]) / "logs")
for folder in [Path(sys.argv[1]), *Path(sys.argv[1]).parents[:-2]]:
    if folder.stat().st_uid == 0 == os.getuid() and folder != Path(sys.argv[1]):
        folder.chmod(folder.stat().st_mode | 0o011)
if os.getuid() == 0:
    os.setuid(65534)
else:
    Path(sys.argv[1]).chmod(0o555)
try:
    settings.log_dir.mkdir()
except OSError as error:
    print(describe_unwritable(error, settings))
"""


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_watcher_that_nobody_answers_for_fails_and_its_address_stays_secret(
    bot_environment, monkeypatch
):
    monkeypatch.setenv("HEARTBEAT_URL", f"http://127.0.0.1:{closed_port()}/secret-uuid")
    reset_settings()
    [finding] = doctor_says("watcher")
    assert (finding.level, "ConnectionRefused" in finding.text) == (Level.FAIL, True)
    assert "HEARTBEAT_URL" in (finding.cure or "")
    assert "secret-uuid" not in finding.text


def test_the_doctor_itself_pings_nobody(bot_environment, monkeypatch):
    with ping_server(lambda: 200) as (url, pings):
        monkeypatch.setenv("HEARTBEAT_URL", url)
        reset_settings()
        [finding] = doctor_says("watcher")
        assert finding.level is Level.OK
        assert ping(get_settings().heartbeat_url) is None, "it counts what really pings"
        assert len(pings) == 1


def test_refused_keys_are_not_called_an_exchange_that_gives_no_answer(
    exchange, db_conn, monkeypatch
):
    monkeypatch.setenv("ALPACA_SECRET_KEY", "wrong")
    reset_settings()
    findings = list(examine())
    [account] = [one for one in findings if one.subject == "account"]
    assert "refused the keys" in account.text
    others = [one.text for one in findings if "see account" in one.text]
    assert others
    assert all(
        text == "not checked: the exchange refuses the keys (see account)" for text in others
    )


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_plans_scripts_can_be_executed(name):
    path = PROJECT_ROOT / "scripts" / f"{name}.py"
    said = run(str(path), "--help")
    assert said.code == 0, said.errors
    assert said.output.startswith(f"usage: {name}")


def test_the_daemon_explains_itself_and_takes_no_arguments():
    program = str(PROJECT_ROOT / "src" / "main_app.py")
    helped = run(sys.executable, program, "--help")
    assert helped.code == 0
    assert "scripts/bot start" in helped.output
    refused = run(sys.executable, program, "start")
    assert refused.code == 2
