"""The crontab lines: what they say, how they get in and out, and that cron's shell can run them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli import install_crontab as crontab_command
from daemon_process import wait_until, wait_until_it_buys
from models.cycle_data import create_cycle
from project_copy import copy_project, write_env_file
from runtime.crontab import (
    CrontabError,
    Installation,
    compute_block,
    drop_block,
    put_block,
)
from runtime.pid_file import read_pid_file
from utils.backup_file import check_backup

ROOT = Path("/opt/bot")
PLAIN = Installation(root=ROOT, python="/opt/bot/.venv/bin/python", log_dir=ROOT / "logs")
OTHERS = "MAILTO=me@example.org\n# mine\n0 3 * * * backup --all 'a%b'\n\n@daily other"
# What cron itself does to a command before it gives it to /bin/sh (see crontab(5)).
FAKE_CRONTAB = """#!/bin/sh
file="$FAKE_CRONTAB_FILE"
case "$1" in
  -l) [ -e "$file" ] || { echo "no crontab for somebody" >&2; exit 1; }; cat "$file" ;;
  -r) rm "$file" ;;
  -) if [ -n "$FAKE_CRONTAB_REFUSES" ]; then echo "errors in crontab file" >&2; exit 1; fi
     cat >"$file" ;;
esac
"""


def commands_of(block: str) -> list[tuple[str, str]]:
    """When and what, as /bin/sh gets it from cron: a bare % would end the command."""
    found = []
    for line in block.splitlines():
        if line.startswith("#"):
            continue
        when, command = re.fullmatch(r"(@reboot|(?:\S+ ){4}\S+) (.*)", line).groups()
        assert not re.search(r"(?<!\\)%", command), "cron would cut it here"
        found.append((when, command.replace(r"\%", "%")))
    return found


def run_as_cron(command: str) -> subprocess.CompletedProcess[str]:
    """Nothing but what crontab(5) promises: HOME, LOGNAME, SHELL, PATH, and the home folder."""
    home = os.path.expanduser("~")
    bare = [f"HOME={home}", "LOGNAME=somebody", "SHELL=/bin/sh", "PATH=/usr/bin:/bin"]
    return subprocess.run(
        ["/usr/bin/env", "-i", *bare, "/bin/sh", "-c", command],
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def test_the_lines_name_everything_absolutely_and_collect_all_output():
    assert compute_block(PLAIN) == (
        "# BEGIN DCA crypto bot in /opt/bot (see scripts/install_crontab)\n"
        + "".join(
            f"{when} /opt/bot/.venv/bin/python /opt/bot/scripts/{name}.py --quiet"
            " >>/opt/bot/logs/cron.out 2>&1\n"
            for when, name in [
                ("* * * * *", "watchdog"),
                ("* * * * *", "order_manager"),
                ("* * * * *", "cooldown_manager"),
                ("*/5 * * * *", "consistency_checker"),
            ]
        )
        + "17 3 * * * /opt/bot/.venv/bin/python -P -m cli.database backup --keep-days 14 --quiet"
        " >>/opt/bot/logs/cron.out 2>&1\n"
        "@reboot /opt/bot/.venv/bin/python /opt/bot/scripts/watchdog.py --quiet"
        " >>/opt/bot/logs/cron.out 2>&1\n"
        "# END DCA crypto bot in /opt/bot\n"
    )


def test_the_private_database_is_started_at_boot_and_its_password_goes_nowhere():
    installation = Installation(
        root=ROOT, python="/usr/bin/python3", log_dir=ROOT / "logs", starts_database=True
    )
    assert commands_of(compute_block(installation))[-1] == (
        "@reboot",
        "/opt/bot/scripts/database start >/dev/null 2>>/opt/bot/logs/cron.out; /usr/bin/python3"
        " /opt/bot/scripts/watchdog.py --quiet >>/opt/bot/logs/cron.out 2>&1",
    )


@pytest.mark.parametrize("name", ["a\\b", "a\nb", "a\tb", "a\x7fb", "x" * 600])
def test_a_path_that_cron_cannot_take_is_refused(name):
    root = Path("/opt") / name
    with pytest.raises(CrontabError):
        compute_block(Installation(root=root, python="/usr/bin/python3", log_dir=root / "logs"))


@given(st.text())
def test_what_others_wrote_comes_back_exactly(crontab: str):
    block = compute_block(PLAIN)
    once = put_block(crontab, block, ROOT)
    assert put_block(once, block, ROOT) == once
    assert drop_block(once, ROOT) == crontab
    assert drop_block(crontab, ROOT) == crontab


def test_an_older_block_is_replaced_where_it_stands_and_another_folders_is_left():
    other = Installation(root=Path("/srv/bot"), python="/usr/bin/python3", log_dir=Path("/srv/l"))
    old = compute_block(PLAIN).replace("* * * * *", "*/2 * * * *")
    crontab = compute_block(other) + "# mine\n" + old + OTHERS
    new = put_block(crontab, compute_block(PLAIN), ROOT)
    assert new == compute_block(other) + "# mine\n" + compute_block(PLAIN) + OTHERS
    assert drop_block(new, ROOT) == compute_block(other) + "# mine\n" + OTHERS


@pytest.mark.parametrize("cut", [slice(1, None), slice(0, -1)], ids=["no begin", "no end"])
def test_half_a_block_is_refused_rather_than_guessed_at(cut):
    lines = compute_block(PLAIN).splitlines(keepends=True)
    crontab = "".join([*lines[cut], OTHERS])
    for change in (
        lambda: put_block(crontab, compute_block(PLAIN), ROOT),
        lambda: drop_block(crontab, ROOT),
    ):
        with pytest.raises(CrontabError, match="only a part"):
            change()


@pytest.fixture
def copy(bot_environment, exchange, db_conn, tmp_path) -> Path:
    """The project in a folder with an odd name, set up on the local exchange."""
    settings = {
        name: value
        for name, value in bot_environment.items()
        if name not in ("ENV_FILE", "PID_FILE", "LOG_DIR")
    }
    folder = copy_project(tmp_path / 'it\'s 100% "mine"', settings)
    yield folder
    record = read_pid_file(folder / "run" / "main_app.pid")
    if record is not None and (process := record.process()) is not None:
        process.kill()


@pytest.fixture
def crontab_file(tmp_path, monkeypatch) -> Path:
    """Where a stand-in for the crontab program keeps its file: no test may touch the user's own."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "crontab").write_text(FAKE_CRONTAB)
    (programs / "crontab").chmod(0o755)
    monkeypatch.setenv("FAKE_CRONTAB_FILE", str(tmp_path / "crontab"))
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return tmp_path / "crontab"


def install_crontab(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as a user types it: neither the tests' settings nor their interpreter."""
    keep = {"PATH", "HOME", "FAKE_CRONTAB_FILE", "FAKE_CRONTAB_REFUSES"}
    return subprocess.run(
        [folder / "scripts" / "install_crontab", *arguments],
        env={name: value for name, value in os.environ.items() if name in keep},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_prints_installs_and_removes_and_a_second_time_changes_nothing(copy, crontab_file):
    printed = install_crontab(copy)
    assert (printed.returncode, printed.stderr) == (0, "")
    assert not crontab_file.exists()
    assert install_crontab(copy, "remove").stdout.endswith("nothing changed\n")

    crontab_file.write_text(OTHERS)
    for words in ("installed;", "nothing changed"):
        done = install_crontab(copy, "install")
        assert done.returncode == 0
        assert words in done.stdout
        assert crontab_file.read_text() == printed.stdout + OTHERS
    assert install_crontab(copy, "remove").returncode == 0
    assert crontab_file.read_text() == OTHERS

    crontab_file.write_bytes(b"# caf\xe9\r\n0 0 * * * of others\r\n")
    for command in ("install", "remove"):
        assert install_crontab(copy, command).returncode == 0
    assert crontab_file.read_bytes() == b"# caf\xe9\r\n0 0 * * * of others\r\n"

    crontab_file.unlink()
    assert install_crontab(copy, "install").returncode == 0
    assert crontab_file.read_text() == printed.stdout
    assert install_crontab(copy, "remove").returncode == 0
    assert not crontab_file.exists()


def test_where_no_cron_runs_install_says_how_to_start_it(
    bot_environment, crontab_file, monkeypatch, capsys
):
    monkeypatch.setattr(crontab_command, "try_as_cron", lambda _installation: None)
    monkeypatch.setattr(crontab_command, "cron_runs", lambda: False)
    assert crontab_command.main(["install"]) == 0
    assert capsys.readouterr().err == (
        "install_crontab: no cron daemon runs on this machine: start it: service cron start\n"
    )


def test_what_would_not_work_under_cron_is_not_installed(copy, crontab_file, monkeypatch):
    crontab_file.write_text(OTHERS)
    monkeypatch.setenv("FAKE_CRONTAB_REFUSES", "1")
    refused = install_crontab(copy, "install")
    assert (refused.returncode, "errors in crontab file" in refused.stderr) == (1, True)
    monkeypatch.delenv("FAKE_CRONTAB_REFUSES")
    (copy / "scripts" / "watchdog.py").write_text("import nothing_like_this")
    broken = install_crontab(copy, "install")
    assert (broken.returncode, "would fail under cron" in broken.stderr) == (1, True)
    write_env_file(copy, {})
    unset = install_crontab(copy, "install")
    assert unset.returncode == 2
    assert "install_crontab: DB_NAME is missing: set it in .env" in unset.stderr
    assert crontab_file.read_text() == OTHERS
    assert install_crontab(copy, "everything").returncode == 2
    assert install_crontab(copy, "remove").returncode == 0, "needs no settings"


def test_a_crontab_that_cannot_be_read_is_never_taken_for_an_empty_one(copy, crontab_file):
    program = Path(shutil.which("crontab"))
    program.write_text("#!/bin/sh\necho you are not allowed to use this program >&2; exit 1\n")
    done = install_crontab(copy, "install")
    assert (done.returncode, "not allowed" in done.stderr) == (1, True)
    assert not crontab_file.exists()


def test_crons_shell_can_run_every_line_and_the_daemon_trades(copy, exchange, db_conn, make_asset):
    cycle = create_cycle(db_conn, make_asset().id, "watching")
    lines = commands_of(install_crontab(copy).stdout)
    (copy / "logs").mkdir()
    for _, command in lines:
        done = run_as_cron(command)
        outputs = "".join(path.read_text() for path in (copy / "logs").glob("*.out"))
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), (command, outputs)
        assert "Traceback" not in outputs
    names = [
        re.split(r"/|cli\.", re.split(r"\.py| backup", command)[0])[-1] for _, command in lines
    ]
    assert names == [
        "watchdog", "order_manager", "cooldown_manager", "consistency_checker", "database",
        "watchdog",
    ]  # fmt: skip
    [backup] = (copy / "backups").iterdir()
    assert check_backup(backup).tables["dca_assets"][0] == 1
    record = read_pid_file(copy / "run" / "main_app.pid")
    process = record.process()
    assert process.cmdline() == [
        str(copy / ".venv" / "bin" / "python"), str(copy / "src" / "main_app.py")
    ]  # fmt: skip
    assert process.terminal() is None
    wait_until_it_buys(exchange, db_conn, cycle)
    assert (copy / "logs" / "cron.out").read_text() == "", "nothing to say when all is well"
    process.terminate()
    wait_until(lambda: not psutil.pid_exists(process.pid) or process.status() == "zombie")
