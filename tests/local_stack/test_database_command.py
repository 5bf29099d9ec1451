"""`scripts/database` as its user meets it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from dotenv import dotenv_values

from cli import database as database_command
from cli.database import main
from mariadb_server.server import PrivateMariaDB
from utils.env_file import env_file_value


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "it's my server"
    monkeypatch.setattr(database_command, "FOLDER", folder)
    yield folder
    PrivateMariaDB(folder).stop()


def test_start_prints_lines_that_a_dotenv_file_can_hold(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["start"]) == 0
    lines = capsys.readouterr().out
    assert dotenv_values(stream=io.StringIO(lines)) == PrivateMariaDB(folder).db_env("dca_bot")
    assert main(["start"]) == 0
    assert "runs already" in capsys.readouterr().out


def test_status_and_stop_answer_by_exit_code_and_json(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status"]) == 3
    main(["start", "--json"])
    capsys.readouterr()
    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["running"] is True
    assert main(["stop", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"running": False}
    assert main(["status"]) == 3
    assert folder.exists(), "stopping keeps the data"


def test_the_shell_runs_one_statement_or_those_of_standard_input(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["start"])
    capsys.readouterr()
    monkeypatch.setattr(
        "sys.stdin", io.StringIO("CREATE TABLE t (n INT);\nINSERT INTO t\nVALUES (7)")
    )
    assert main(["shell"]) == 0
    capsys.readouterr()
    assert main(["shell", "--json", "SELECT n, NULL AS nothing FROM t"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"n": 7, "nothing": None}]
    assert main(["shell", "SELEC"]) == 1
    assert capsys.readouterr().err.startswith("ERROR: ")


def test_at_the_prompt_ctrl_c_drops_what_was_typed_and_exit_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    typed = iter(["SELEC", KeyboardInterrupt, "SELECT 1;", "exit", "SELECT 2;"])
    prompts = []

    def answer(prompt: str) -> str:
        prompts.append(prompt)
        line = next(typed)
        if isinstance(line, str):
            return line
        raise line

    monkeypatch.setattr("builtins.input", answer)
    assert list(database_command._statements("dca_bot")) == ["SELECT 1;"]
    assert prompts == ["dca_bot> ", "... ", "dca_bot> ", "dca_bot> "]


def test_ctrl_c_during_a_command_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_arguments: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setitem(database_command.COMMANDS, "shell", interrupted)
    assert main(["shell"]) == 130
    assert capsys.readouterr().err == "stopped\n"


@pytest.mark.parametrize("command", ["env", "shell"])
def test_without_a_server_one_line_says_how_to_start_it(
    folder: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command]) == 1
    error = capsys.readouterr().err
    assert "start" in error
    assert error.count("\n") == 1


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    page = capsys.readouterr().out
    for command in ("start", "stop", "status", "env", "shell", "backup", "restore", "catch-up"):
        assert f"  scripts/database {command} " in page
    assert "  scripts/database migrate " in page


def test_migrate_may_come_after_an_option(
    bot_environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--json", "migrate"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == ["schema"]


@pytest.mark.parametrize("value", ["/plain/path", "a b", "it's", 'say "no"', "a\\b", "#1", ""])
def test_every_value_survives_the_env_file(value: str) -> None:
    line = io.StringIO(f"NAME={env_file_value(value)}\n")
    assert dotenv_values(stream=line, interpolate=False) == {"NAME": value}
