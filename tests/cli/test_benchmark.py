"""The command line of the benchmark; its figures are of no test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cli.benchmark import main
from config import PROJECT_ROOT
from local_stack.benchmark.plan import DEFAULT_SECTIONS, SECTIONS, parse_arguments
from mariadb_server.debian_packages import LOCAL_FOLDER
from runtime.process_table import processes_of_stack


def run_benchmark(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "cli.benchmark", *arguments],
        cwd=PROJECT_ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_help_is_whole_and_names_the_command_as_it_is_called(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    help_text = capsys.readouterr().out
    assert help_text.startswith("usage: scripts/benchmark ")
    assert "from outside, as a process" in " ".join(help_text.split())
    assert all(f"\n  {name} " in help_text for name in SECTIONS)


def test_without_sections_all_but_memory_are_measured():
    assert parse_arguments([]).sections == DEFAULT_SECTIONS
    assert set(SECTIONS) - set(DEFAULT_SECTIONS) == {"memory", "page", "research"}


def test_sections_come_in_their_own_order_however_they_are_named():
    assert parse_arguments(["fills", "quotes"]).sections == ("quotes", "fills")


@pytest.mark.parametrize(
    "wrong", [["speed"], ["--rounds", "0"], ["--idle", "-1"], ["--quotes", "many"], ["--no-such"]]
)
def test_wrong_arguments_are_one_line_and_code_2(wrong, capsys):
    with pytest.raises(SystemExit) as ended:
        main(wrong)
    said = capsys.readouterr().err
    assert (ended.value.code, said.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (["--against", "no-such-revision"], {}, "--against no-such-revision: "),
        (["--against", "HEAD"], {"PATH": ""}, "git is not installed"),
        (["--source", "docs"], {}, "docs is no checkout of this project"),
    ],
)
def test_what_cannot_be_measured_is_one_line_and_code_1(arguments, environment, words):
    run = run_benchmark("orders", *arguments, **environment)
    assert (run.returncode, run.stderr.count("\n"), run.stdout) == (1, 1, "")
    assert words in run.stderr


def folders() -> set[Path]:
    return set(LOCAL_FOLDER.glob("benchmark-*"))


def test_ctrl_c_leaves_no_process_and_no_folder():
    before = folders()
    run = subprocess.Popen(
        [sys.executable, "-P", "-m", "cli.benchmark", "orders"],
        cwd=PROJECT_ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stderr is not None
    assert "orders and fills: round 0" in run.stderr.readline()  # by now everything runs
    mine = [one for one in folders() - before if one.name.startswith(f"benchmark-{run.pid}-")]
    assert len(mine) == 1
    assert len(list(processes_of_stack(mine[0]))) >= 3
    run.send_signal(signal.SIGINT)
    said = run.stderr.read()
    assert (run.wait(60), said.splitlines()[-1]) == (130, "stopped; nothing is left running")
    assert not list(processes_of_stack(mine[0]))
    assert not mine[0].exists()
