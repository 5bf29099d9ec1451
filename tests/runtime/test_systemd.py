"""The units of systemd: what they say, how they come and go, and what the daemon tells systemd."""

from __future__ import annotations

import configparser
import contextlib
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from config import get_settings
from daemon_process import DaemonProcess, wait_until, wait_until_it_buys
from models.cycle_data import create_cycle
from project_copy import copy_project
from runtime.pid_file import read_pid_file
from runtime.schedule import SCHEDULE, Installation
from runtime.service_notify import ServiceManager
from runtime.systemd import SystemdError, unit_name
from runtime.systemd_units import compute_units

# systemctl as far as the bot uses it: it writes down what it was asked, and starts the daemon.
FAKE_SYSTEMCTL = """#!/bin/sh
printf '%s\\n' "$*" >>"$FAKE_SYSTEMD/calls"
case "$*" in
  *show-environment*) [ ! -e "$FAKE_SYSTEMD/away" ] || { echo "no bus" >&2; exit 1; } ;;
  *is-active*) [ -e "$FAKE_SYSTEMD/active" ] && echo active || exit 3 ;;
  *"start "*timer*) touch "$FAKE_SYSTEMD/active" ;;
  *"stop "*timer*) rm -f "$FAKE_SYSTEMD/active" ;;
  *"start "*daemon.service) exec "$FAKE_ROOT/.venv/bin/python" -c "$START_UNIT" ;;
esac
"""
# As Type=notify: the call ends when the daemon says that it is ready.
START_UNIT = """
import os, socket, subprocess
path, root = os.environ["FAKE_SYSTEMD"] + "/notify", os.environ["FAKE_ROOT"]
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.bind(path)
manager.settimeout(60)
quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
environment = os.environ | {"NOTIFY_SOCKET": path}
program = [root + "/.venv/bin/python", root + "/src/main_app.py"]
subprocess.Popen(program, env=environment, start_new_session=True, **quiet)
while b"READY=1" not in manager.recv(4096):
    pass
os.unlink(path)
"""


def values_of(unit):
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read_string(unit)
    return parser


@pytest.fixture
def odd_installation(tmp_path, settings):
    """In a folder whose name needs every kind of care."""
    root = tmp_path / 'it\'s 100% $HOME "mine"'
    (root / "src").mkdir(parents=True)
    python = root / "python"
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    return Installation(root=root, python=str(python), log_dir=root / "logs", starts_database=True)


def test_systemd_itself_finds_nothing_to_mend_in_the_units(odd_installation, settings, tmp_path):
    units = compute_units(odd_installation, settings)
    database = odd_installation.root / "scripts" / "database"
    database.parent.mkdir()
    shutil.copy(odd_installation.python, database)
    folder = tmp_path / "units"
    folder.mkdir()
    for name, text in units.items():
        (folder / name).write_text(text)
    if shutil.which("systemd-analyze"):
        done = subprocess.run(
            ["systemd-analyze", "verify", "--user", "--man=no", *map(str, folder.iterdir())],
            env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "SYSTEMD_LOG_LEVEL": "info"},
            capture_output=True,
            text=True,
        )
        ours = [line for line in done.stderr.splitlines() if "dca-bot" in line]
        assert (done.returncode, ours) == (0, []), done.stderr
    for job in SCHEDULE:
        timer = values_of(units[unit_name(f"{job.name}.timer", odd_installation.root)])
        service = values_of(units[unit_name(f"{job.name}.service", odd_installation.root)])
        assert timer["Timer"]["OnCalendar"] == job.calendar
        assert service["Service"]["ExecStart"].startswith(f'/usr/bin/env "{tmp_path}')
        assert r"it's 100%% $$HOME \"mine\"" in service["Service"]["ExecStart"]
    assert len(units) == 2 * len(SCHEDULE) + 2


def test_the_watchdog_alone_starts_a_daemon_that_failed_and_never_one_that_was_stopped(
    odd_installation, settings
):
    units = compute_units(odd_installation, settings)
    daemon = values_of(units[unit_name("daemon.service", odd_installation.root)])
    assert daemon["Service"]["Restart"] == "no"
    assert daemon["Unit"]["OnFailure"] == unit_name("watchdog.service", odd_installation.root)
    assert daemon["Unit"]["ConditionPathExists"] == f"!{settings.run_dir}/stopped"
    assert daemon["Service"]["Type"] == "notify"
    assert float(daemon["Service"]["WatchdogSec"]) == settings.heartbeat_max_age_seconds
    watchdog = values_of(units[daemon["Unit"]["OnFailure"]])
    assert watchdog["Service"]["KillMode"] == "process"


@pytest.mark.parametrize("name", ["a\\b", "a\nb", "a=b"])
def test_a_path_that_a_unit_cannot_hold_is_refused(settings, name):
    with pytest.raises(SystemdError, match="move the folder"):
        compute_units(Installation(root=Path("/opt") / name, log_dir=Path("/l")), settings)


@pytest.fixture
def copy(bot_environment, exchange, db_conn, tmp_path) -> Path:
    """The project in a folder of its own, set up on the local exchange."""
    inside = ("ENV_FILE", "PID_FILE", "LOG_DIR")
    settings = {name: value for name, value in bot_environment.items() if name not in inside}
    folder = copy_project(tmp_path / "my bot", settings)
    yield folder
    record = read_pid_file(folder / "run" / "main_app.pid")
    if record is not None and (process := record.process()) is not None:
        process.kill()


@pytest.fixture
def systemd(copy, tmp_path):
    """A function: a script of the copy, as a user with this stand-in for systemd types it."""
    programs, state, home = tmp_path / "bin", tmp_path / "systemd", tmp_path / "home"
    for folder in (programs, state, home):
        folder.mkdir()
    (programs / "systemctl").write_text(FAKE_SYSTEMCTL)
    (programs / "crontab").write_text('#!/bin/sh\ncat "$FAKE_SYSTEMD/crontab"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    (state / "crontab").write_text("")

    def run(script, *arguments):
        python = [copy / ".venv" / "bin" / "python"]
        is_tool = script in ("bot", "doctor")
        program = ["-P", "-m", f"cli.{script}"] if is_tool else [copy / "scripts" / script]
        return subprocess.run(
            [*python, *program, *arguments],
            env={
                "PATH": f"{programs}:{os.environ['PATH']}",
                "HOME": str(home),
                "FAKE_SYSTEMD": str(state),
                "FAKE_ROOT": str(copy),
                "START_UNIT": START_UNIT,
            },
            capture_output=True,
            text=True,
            timeout=90,
        )

    run.state, run.units = state, home / ".config" / "systemd" / "user"
    return run


def test_the_units_are_printed_installed_once_and_removed_and_what_is_missing_is_said(
    systemd, copy
):
    printed = systemd("install_crontab", "--systemd")
    assert (printed.returncode, printed.stderr) == (0, "")
    assert not systemd.units.exists()
    assert systemd("install_crontab", "remove", "--systemd").stdout.endswith("nothing changed\n")

    for words in ("installed in", "nothing changed"):
        done = systemd("install_crontab", "install", "--systemd")
        assert done.returncode == 0, done.stderr
        assert words in done.stdout
        assert "loginctl enable-linger" in done.stderr
    names = {path.name for path in systemd.units.iterdir()}
    assert len(names) == 2 * len(SCHEDULE) + 1
    assert all(path.read_text() in printed.stdout for path in systemd.units.iterdir())
    cron = systemd("install_crontab", "install")
    assert (cron.returncode, "remove --systemd first" in cron.stderr) == (1, True)
    seen = systemd("doctor").stdout
    assert "its timers run the caretakers" in seen
    assert "loginctl enable-linger" in seen

    other = systemd.units / "mine.service"
    other.write_text("[Service]\n")
    removed = systemd("install_crontab", "remove", "--systemd")
    assert (removed.returncode, "nothing restarts it" in removed.stdout) == (0, True)
    assert [path.name for path in systemd.units.iterdir()] == ["mine.service"]
    calls = (systemd.state / "calls").read_text()
    assert calls.rstrip().endswith("daemon-reload")
    assert all(name in calls for name in names if name.endswith(".timer"))


def test_beside_a_crontab_or_without_a_systemd_that_answers_nothing_is_installed(systemd, copy):
    (systemd.state / "away").touch()
    away = systemd("install_crontab", "install", "--systemd")
    assert (away.returncode, "scripts/caretakers run" in away.stderr) == (1, True)
    (systemd.state / "away").unlink()
    (systemd.state / "crontab").write_text(systemd("install_crontab").stdout)
    beside = systemd("install_crontab", "install", "--systemd")
    assert (beside.returncode, "remove first" in beside.stderr) == (1, True)
    assert not systemd.units.exists()


def test_as_a_unit_the_daemon_is_started_through_systemctl_by_bot_and_by_the_watchdog(
    systemd, copy, exchange, db_conn, make_asset
):
    cycle = create_cycle(db_conn, make_asset().id, "watching")
    assert systemd("install_crontab", "install", "--systemd").returncode == 0
    calls = systemd.state / "calls"

    def starts():
        return sum("start" in one and "daemon.service" in one for one in _lines(calls))

    before = starts()
    started = systemd("bot", "start")
    assert started.returncode == 0, started.stdout + started.stderr
    assert starts() == before + 1
    wait_until_it_buys(exchange, db_conn, cycle)
    process = read_pid_file(copy / "run" / "main_app.pid").process()
    process.kill()
    wait_until(lambda: not process.is_running() or process.status() == "zombie")
    assert systemd("watchdog.py").returncode == 0
    assert starts() == before + 2
    assert systemd("bot", "stop").returncode == 0
    assert systemd("watchdog.py").returncode == 0
    assert starts() == before + 2, "stopped on purpose"


def _lines(path):
    return [line for line in path.read_text().splitlines() if "enable" not in line]


def told(manager, until):
    """What systemd hears, up to the message with the line `until`."""
    heard = []
    while not heard or until not in heard[-1]:
        heard.append(manager.recv(4096).decode().split("\n"))
    return heard


def drain(manager):
    """Take what was said before; what follows within three beats is new."""
    manager.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            manager.recv(4096)
    manager.settimeout(3 * get_settings().heartbeat_seconds)


@pytest.mark.parametrize("is_abstract", [False, True])
def test_the_daemon_tells_systemd_that_it_is_ready_lives_and_stops(
    bot_environment, exchange, db_conn, tmp_path, is_abstract
):
    name = f"@dca-test-{os.getpid()}" if is_abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if is_abstract else name)
        manager.settimeout(60)
        with DaemonProcess(bot_environment | {"NOTIFY_SOCKET": name}) as daemon:
            first = told(manager, "READY=1")[-1]
            limit = get_settings().heartbeat_max_age_seconds
            assert first[1:3] == ["WATCHDOG=1", f"WATCHDOG_USEC={round(limit * 1e6)}"]
            assert "WATCHDOG=1" in told(manager, "STATUS=trading")[-1]

            daemon.process.send_signal(signal.SIGSTOP)  # it hangs: no more signs of life
            drain(manager)
            with pytest.raises(TimeoutError):
                manager.recv(4096)
            manager.settimeout(60)
            daemon.process.send_signal(signal.SIGCONT)
            told(manager, "WATCHDOG=1")
            daemon.process.send_signal(signal.SIGTERM)
            told(manager, "STOPPING=1")
            assert daemon.wait_for_exit() == 0


def test_a_systemd_that_does_not_read_or_is_gone_holds_nobody_up(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        for _ in range(2000):  # far more than its queue takes
            ServiceManager(str(tmp_path / "notify")).beat("trading", 30.0)
    ServiceManager(str(tmp_path / "notify")).stop()
    ServiceManager(None).stop()
