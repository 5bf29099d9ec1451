"""The caretaker scripts as processes of a test, and their work inside the test's own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from caretakers.runner import ScriptRun
from config import PROJECT_ROOT, Settings


@dataclass(frozen=True, slots=True)
class ScriptOutcome:
    """How a script ended and what it said."""

    code: int
    output: str
    errors: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.output)


def start_script(name: str, *arguments: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    """Start `scripts/<name>.py` from a foreign folder, as cron does."""
    return subprocess.Popen(
        [sys.executable, str(PROJECT_ROOT / "scripts" / f"{name}.py"), *arguments],
        env={**os.environ, **environment},
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_script(name: str, *arguments: str, environment: dict[str, str]) -> ScriptOutcome:
    """Run `scripts/<name>.py` to its end."""
    with start_script(name, *arguments, environment=environment) as process:
        output, errors = process.communicate(timeout=60)
    return ScriptOutcome(process.returncode, output, errors)


def dry_run(settings: Settings) -> ScriptRun:
    """A run that only plans."""
    return ScriptRun(settings=settings, dry_run=True)


def real_run(settings: Settings) -> ScriptRun:
    """A run that does what it plans."""
    return ScriptRun(settings=settings)
