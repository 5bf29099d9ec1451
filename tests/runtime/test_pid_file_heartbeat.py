"""Whether the daemon runs, and whether it is alive: the PID file and the heartbeat."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import asdict, fields, replace

import psutil
import pytest

from daemon_process import wait_until
from runtime import heartbeat as heartbeat_module
from runtime.heartbeat import Heartbeat, HeldBack, load_heartbeat, save_heartbeat
from runtime.pid_file import AlreadyRunning, PidFile, PidRecord, read_pid_file
from utils.state_file import read_boot_id, save_state

HOLD = """
import sys, time
from pathlib import Path
from runtime.pid_file import PidFile
with PidFile(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "main_app.pid"


@pytest.fixture
def holder(path, tmp_path):
    """Another process named main_app.py that holds the file."""
    program = tmp_path / "main_app.py"
    program.write_text(HOLD)
    with subprocess.Popen(
        [sys.executable, str(program), str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_file_names_the_process_while_it_runs_and_goes_with_it(path):
    with PidFile(path):
        assert read_pid_file(path).pid == os.getpid()
    assert not path.exists()


def test_the_file_also_goes_when_the_program_fails(path):
    with pytest.raises(RuntimeError), PidFile(path):
        raise RuntimeError
    assert not path.exists()


def test_a_second_daemon_is_refused_and_the_first_keeps_its_file(path, holder):
    before = path.read_text()
    with pytest.raises(AlreadyRunning, match=str(holder.pid)), PidFile(path):
        pass
    assert path.read_text() == before
    record = read_pid_file(path)
    assert record.is_running()
    assert record.process().pid == holder.pid


def test_what_a_killed_daemon_left_is_taken_over(path, holder):
    holder.kill()
    holder.wait()
    record = read_pid_file(path)
    assert record.pid == holder.pid
    assert not record.is_running()
    with PidFile(path):
        assert read_pid_file(path).pid == os.getpid()
    assert not path.exists()


@pytest.mark.parametrize("left", ["", "not a pid\n", "99999999\n", "1", "1 2 3 4 5\n" * 50])
def test_whatever_an_old_file_contains_is_replaced_whole(path, left):
    path.parent.mkdir()
    path.write_text(left)
    with PidFile(path):
        assert path.read_text().split()[0] == str(os.getpid())
        assert len(path.read_text().split()) == 2


@pytest.mark.parametrize("content", [b"", b"x y", b"12", b"\xff\xfe", b"1.5 2"])
def test_garbage_is_no_record(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    assert read_pid_file(path) is None


def test_no_file_is_no_record(path):
    assert read_pid_file(path) is None


def test_another_process_with_the_same_pid_is_not_the_daemon(holder, path):
    record = read_pid_file(path)
    assert record.is_running()
    reused = replace(record, started_at=record.started_at - 100)
    assert not reused.is_running(), "it started at another time"
    assert not record.is_running("another_program.py")
    assert not PidRecord(2**22 + 1, 0).is_running()


def test_a_zombie_does_not_run(path, holder):
    record = read_pid_file(path)
    holder.kill()
    wait_until(lambda: psutil.Process(holder.pid).status() == psutil.STATUS_ZOMBIE)
    assert not record.is_running()


# The heartbeat.

BEAT = Heartbeat(
    **{spec.name: None for spec in fields(Heartbeat)}
    | {
        "pid": 1,
        "boot_id": read_boot_id(),
        "beat_at": time.monotonic(),
        "state": "trading",
        "last_quote_at": 1.5,
        "symbols": ["BTC/USD"],
        "held_back": (HeldBack(symbol="BTC/USD", since=1.5, reason="no market", is_stalled=True),),
    }
)


def test_a_beat_is_read_as_it_was_written_and_leaves_nothing_else(tmp_path):
    folder = tmp_path / "run"
    for state in ("recovering", "trading"):
        save_heartbeat(folder, replace(BEAT, state=state))
    assert load_heartbeat(folder) == BEAT
    assert [path.name for path in folder.iterdir()] == [heartbeat_module.FILE_NAME]


def test_a_beat_ages_by_the_monotonic_clock(monkeypatch):
    beat = replace(BEAT, beat_at=time.monotonic() - 100)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert 100 <= beat.age_seconds() < 105


def test_a_beat_from_before_the_last_boot_is_infinitely_old():
    assert replace(BEAT, boot_id="another").age_seconds() == float("inf")


def test_the_beat_of_another_version_is_read_as_far_as_it_is_known(tmp_path):
    """Or the watchdog of a program that was just updated would end the daemon that still runs."""
    state = asdict(replace(BEAT, held_back=())) | {"unknown_field": 1}
    held = {"symbol": "BTC/USD", "since": 1.5, "reason": "paused", "is_wished": True, "unknown": 1}
    save_state(tmp_path / heartbeat_module.FILE_NAME, state | {"held_back": [held]})
    paused = HeldBack(symbol="BTC/USD", since=1.5, reason="paused", is_requested=True)
    assert load_heartbeat(tmp_path) == replace(BEAT, held_back=(paused,))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"pid": 1}', "\x00"])
def test_an_unreadable_beat_is_none(tmp_path, text):
    (tmp_path / heartbeat_module.FILE_NAME).write_text(text)
    assert load_heartbeat(tmp_path) is None
    assert load_heartbeat(tmp_path / "nowhere") is None
