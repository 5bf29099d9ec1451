"""Status and doctor within the test's process, and what makes a bot look well."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from caretaker_runs import note_runs
from cli import doctor as doctor_command
from cli import status as status_command
from config import get_settings, reset_settings
from domain.cycle import DcaCycle
from models.cycle_data import create_cycle
from monitoring.doctor.findings import Level


@dataclass(frozen=True)
class Seen:
    """What a tool said: its exit code, its JSON, and how long it took."""

    code: int
    json: dict[str, Any]
    seconds: float

    @property
    def problems(self) -> str:
        """Of status: every wrong thing, one line each."""
        return "\n".join(self.json["problems"])

    def found(self, subject: str) -> list[tuple[Level, str]]:
        """Of the doctor: the lines about `subject`, each with its cure."""
        return [
            (Level(one["level"]), f"{one['text']} -> {one['cure']}")
            for one in self.json["findings"]
            if one["subject"] == subject
        ]

    @property
    def failed(self) -> set[str]:
        """Of the doctor: the subjects that failed."""
        return {one["subject"] for one in self.json["findings"] if one["level"] == "fail"}


@pytest.fixture
def set_env(bot_environment: dict[str, str]) -> Iterator[Callable[..., None]]:
    """Change settings of the tools and of what is started afterwards."""
    before = dict(bot_environment)

    def change(**values: str) -> None:
        for name, value in values.items():
            patch.setenv(name, value)
            bot_environment[name] = value
        reset_settings()

    with pytest.MonkeyPatch.context() as patch:  # undone before the database is dropped
        yield change
    bot_environment.clear()
    bot_environment.update(before)
    reset_settings()


def _runner(main: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]):
    def run(*arguments: str) -> Seen:
        reset_settings()
        capsys.readouterr()
        began_at = time.monotonic()
        code = main(["--json", *arguments])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        for secret in ("local-secret", "wrong-secret"):
            assert secret not in said.out + said.err
        return Seen(code, json.loads(said.out), time.monotonic() - began_at)

    return run


@pytest.fixture
def status(bot_environment, capsys) -> Callable[..., Seen]:
    """Run `scripts/status --json`."""
    return _runner(status_command.main, capsys)


@pytest.fixture
def doctor(bot_environment, capsys) -> Callable[..., Seen]:
    """Run `scripts/doctor --json`."""
    return _runner(doctor_command.main, capsys)


@pytest.fixture
def caretakers_ran(bot_environment) -> None:
    """Every caretaker has just run, well."""
    note_runs(get_settings())


@pytest.fixture
def cycle(db_conn, exchange, make_asset) -> DcaCycle:
    """An asset with its first cycle, and its first quote."""
    exchange.push_quote("BTC/USD", 50000, 50001)
    return create_cycle(db_conn, make_asset().id, "watching")


@pytest.fixture
def env_file(tmp_path: Path, set_env, bot_environment: dict[str, str]) -> Path:
    """A `.env` with everything that the environment says, readable by its owner only."""
    path = tmp_path / "bot.env"
    names = [name for name in bot_environment if name != "ENV_FILE"]
    path.write_text("".join(f"{name}={bot_environment[name]}\n" for name in names))
    path.chmod(0o600)
    set_env(ENV_FILE=str(path))
    return path
