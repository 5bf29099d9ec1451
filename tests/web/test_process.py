"""scripts/web as a process: its link, its end, the watchdog that keeps it, what is said of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from caretaker_process import run_script
from caretaker_runs import note_runs
from config import get_settings, reset_settings
from daemon_process import wait_until
from monitoring.doctor.facts import Facts
from monitoring.doctor.page_checks import check_page
from monitoring.status.page_status import load_page_status
from page_server import Browser, free_port
from runtime.operator_flags import STOPPED, set_flag
from runtime.web_page import PAGE, PageBeat
from web.access import load_tokens

SECONDS = 120


@pytest.fixture
def environment(bot_environment, exchange, db_conn, monkeypatch) -> Iterator[dict[str, str]]:
    """A bot that was stopped on purpose, with a page at a port of its own."""
    ours = {"WEB": "on", "WEB_PORT": str(free_port())}
    bot_environment.update(ours)
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    reset_settings()
    set_flag(get_settings().run_dir, STOPPED, wanted=True)
    yield bot_environment
    if (process := PAGE.find(get_settings())) is not None:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait(SECONDS)
    for name in ours:
        del bot_environment[name]
    monkeypatch.undo()
    reset_settings()


def scripts_web(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "cli.web", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


@contextmanager
def served(environment: dict[str, str], **more: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "cli.web"],
        env={**os.environ, **environment, **more},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        wait_until(lambda: process.poll() is not None or answers(environment), SECONDS)
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.communicate(timeout=SECONDS)


def answers(environment: dict[str, str]) -> bool:
    try:
        return Browser(int(environment["WEB_PORT"])).get("/").status == 200
    except OSError:
        return False


def test_the_link_is_the_same_until_there_is_a_new_token(environment):
    first = scripts_web(environment, "link")
    assert first.stdout.startswith(f"http://127.0.0.1:{environment['WEB_PORT']}/#token=")
    assert "do not open it yet, nothing of yours serves it" in first.stderr
    assert scripts_web(environment, "link").stdout == first.stdout
    metrics = scripts_web(environment, "metrics-token").stdout
    new = scripts_web(environment, "new-token")
    assert "All sessions have ended" in new.stdout
    assert first.stdout.strip() not in new.stdout
    assert scripts_web(environment, "metrics-token").stdout == metrics
    named = scripts_web(environment | {"WEB_NAMES": "bot.example.org, localhost:9000"}, "link")
    links = [line.partition("/#")[0] for line in named.stdout.splitlines()]
    assert links[1:] == ["https://bot.example.org", "http://localhost:9000"]
    mode = (get_settings().run_dir / "web_tokens.json").stat().st_mode
    assert mode & 0o777 == 0o600


def test_it_serves_ends_when_asked_and_says_nothing_of_the_token(environment):
    with served(environment) as process:
        browser = Browser(int(environment["WEB_PORT"]))
        assert browser.sign_in(load_tokens(get_settings()).token).status == 204
        stream = browser.stream()
        stream.wait_for("status")
        assert scripts_web(environment, "link").stderr == ""
        again = scripts_web(environment)
        assert again.returncode == 1
        assert "the page is served already (PID " in again.stderr
        began_at = time.monotonic()
        process.send_signal(signal.SIGTERM)
        output = process.communicate(timeout=SECONDS)[0]
        assert process.returncode == 0, output
        assert time.monotonic() - began_at < 60, "an open page does not hold it up"
        stream.close()
    logged = Path(environment["LOG_DIR"], "web.log").read_text()
    for said in (output, logged):
        assert load_tokens(get_settings()).token not in said
        assert "Traceback" not in said
    assert "page.started" in logged
    assert "page.stopped" in logged


def test_stop_names_the_watchdog_only_where_it_runs_and_there_was_something_to_end(environment):
    assert scripts_web(environment, "stop").stdout == "It does not run.\n"
    for again in ("", "; the watchdog starts it again within a minute"):
        with served(environment):
            assert scripts_web(environment, "stop").stdout.endswith(
                f"has ended (terminated){again}.\n"
            )
        link = scripts_web(environment, "link").stderr
        assert ("the watchdog starts it" in link) == bool(again)
        note_runs(get_settings())


def test_a_port_that_is_taken_is_one_line_with_the_cure(environment):
    with socket.create_server(("127.0.0.1", int(environment["WEB_PORT"]))):
        ended = scripts_web(environment, "run")
    assert ended.returncode == 2
    assert "set WEB_PORT in .env to a free port" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_beyond_this_machine_it_serves_with_tls_only(environment, tmp_path):
    ended = scripts_web(environment | {"WEB_HOST": "0.0.0.0"}, "run")
    assert ended.returncode == 2
    assert "would show the page to the network unencrypted" in ended.stderr
    missing = {"WEB_TLS_CERT": str(tmp_path / "c.pem"), "WEB_TLS_KEY": str(tmp_path / "k.pem")}
    ended = scripts_web(environment | missing | {"WEB_HOST": "0.0.0.0"}, "run")
    assert ended.returncode == 2
    assert "WEB_TLS_CERT and WEB_TLS_KEY cannot be used" in ended.stderr


def test_the_watchdog_starts_keeps_and_ends_it(environment):
    outcome = run_script("watchdog", environment=environment)
    assert "start web: WEB is set and nothing answers there (PID " in outcome.output
    settings = get_settings()

    def beating():
        process = PAGE.find(settings)
        return process and PAGE.load_beat_of(process, settings, PageBeat)

    wait_until(beating, SECONDS)
    wait_until(lambda: answers(environment), SECONDS)
    assert run_script("watchdog", environment=environment).output == "watchdog: nothing to do\n"
    status = load_page_status(settings)
    assert (status.problem, status.pid) == (None, PAGE.find(settings).pid)
    assert environment["WEB_PORT"] in status.words

    first = PAGE.find(settings)
    first.kill()
    first.wait(SECONDS)
    assert "does the watchdog run?" in load_page_status(settings).problem
    assert check_page(Facts(settings, []))[0].text == "nothing serves it"
    run_script("watchdog", environment=environment)
    wait_until(beating, SECONDS)
    assert PAGE.find(settings) != first
    assert [one.level for one in check_page(Facts(settings, []))] == ["ok"]

    off = environment | {"WEB": "off"}
    assert "WEB is not set any more" in run_script("watchdog", environment=off).output
    assert PAGE.find(settings) is None
    with served(off):  # by somebody who wants to look at it now
        assert run_script("watchdog", environment=off).output == "watchdog: nothing to do\n"
        assert PAGE.find(settings) is not None
