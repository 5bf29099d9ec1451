"""Standard output that takes nothing: one line on standard error and a code, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from said import Said


def run_into(redirection: str, *command: str) -> Said:
    """Run a module of ours with this redirection of a shell's."""
    done = subprocess.run(
        ["sh", "-c", f'"$@" {redirection}', "sh", sys.executable, "-m", *command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ,
    )
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("redirection", "reason"),
    [(">/dev/full", "No space left on device"), (">&-", "standard output is closed")],
    ids=["a full disk", "closed"],
)
@pytest.mark.parametrize(
    "command",
    [
        ("cli.doctor",),
        ("cli.doctor", "--json"),
        ("cli.status",),
        ("cli.status", "--json"),
        ("cli.report",),
        ("cli.report", "--csv"),
        ("cli.report", "--json"),
    ],
    ids=" ".join,
)
def test_an_answer_that_cannot_be_written_is_one_line_and_code_1(
    db_conn, command, redirection, reason
):
    said = run_into(redirection, *command)
    assert said.complaint.endswith(reason)
    assert said.code == 1


@pytest.mark.parametrize("command", ["cli.status", "cli.report", "cli.doctor"])
def test_a_reader_who_has_seen_enough_is_no_error(db_conn, command):
    said = run_into("| exec true", command)
    assert said.errors == ""
