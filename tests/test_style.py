"""What machines see of style and types: ruff and mypy, as pyproject.toml tells them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from config import PROJECT_ROOT

TOOLS = {
    "ruff check": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "mypy": ["mypy"],
}


@pytest.mark.parametrize("tool", TOOLS)
def test_the_tool_finds_nothing_to_mend(tool):
    told = subprocess.run(
        [sys.executable, "-m", *TOOLS[tool]], cwd=PROJECT_ROOT, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stdout + told.stderr
