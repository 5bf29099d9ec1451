"""What the bash scripts say when they cannot go on, and how `scripts/test` counts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from count_results import counts_of_integration, counts_of_pytest
from mariadb_server.debian_packages import PROJECT_ROOT

PYTHON_NAMES = ("python3", "python3.11", "python3.12", "python3.13", "python3.14")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone in which nothing is set up yet."""
    clone = tmp_path / "my clone"
    shutil.copytree(PROJECT_ROOT / "scripts", clone / "scripts")
    for name in ("requirements.txt", "pyproject.toml"):
        shutil.copy(PROJECT_ROOT / name, clone)
    return clone


def run_with_python(clone: Path, fake_python: str) -> subprocess.CompletedProcess[str]:
    """scripts/setup on a machine whose every Python is `fake_python`."""
    programs = clone.parent / "programs"
    programs.mkdir()
    for name in PYTHON_NAMES:
        (programs / name).write_text(f"#!/bin/sh\n{fake_python}\n")
        (programs / name).chmod(0o755)
    return subprocess.run(
        [clone / "scripts/setup"],
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("fake_python", "says"),
    [
        ('case "$*" in *print*) echo 3.9 ;; *) exit 1 ;; esac', "this machine has 3.9"),
        ("exit 127", "none was found"),
    ],
)
def test_without_a_new_enough_python_one_line_says_so(
    clone: Path, fake_python: str, says: str
) -> None:
    done = run_with_python(clone, fake_python)
    assert done.returncode == 1
    assert done.stderr.startswith("ERROR: Python 3.11 or newer is needed")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (clone / ".venv").exists()


@pytest.mark.parametrize("script", ["setup", "test"])
def test_help_explains_without_setting_anything_up(clone: Path, script: str) -> None:
    done = subprocess.run(
        [clone / "scripts" / script, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: scripts/{script}")
    assert not (clone / ".local").exists()


def test_the_tests_that_the_help_names_exist(clone: Path) -> None:
    done = subprocess.run(
        [clone / "scripts/test", "--help"], capture_output=True, text=True, check=False
    )
    named = re.findall(r"tests/\S*\w", done.stdout.replace("tests/ and", ""))
    assert named
    assert [name for name in named if not (PROJECT_ROOT / name).exists()] == []


def test_an_unknown_argument_is_refused(clone: Path) -> None:
    done = subprocess.run(
        [clone / "scripts/setup", "--fast"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "unknown argument '--fast'" in done.stderr


def test_the_counts_are_those_of_the_reports(tmp_path: Path) -> None:
    report = tmp_path / "pytest.xml"
    report.write_text(
        '<testsuites><testsuite tests="10" failures="2" errors="1" skipped="3"/></testsuites>'
    )
    output = tmp_path / "integration.txt"
    output.write_text("test_phase1 ok\n14 passed, 1 failed\n")
    assert counts_of_pytest(report) == (4, 3)
    assert counts_of_integration(output) == (14, 1)


def test_a_run_that_left_no_count_is_a_failure(tmp_path: Path) -> None:
    output = tmp_path / "integration.txt"
    output.write_text("Traceback")
    assert counts_of_pytest(tmp_path / "none.xml") == (0, 1)
    assert counts_of_integration(output) == (0, 1)
