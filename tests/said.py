"""What a command line said when a test ran it inside its own process."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest


@dataclass(frozen=True)
class Said:
    """How a command ended and what it said."""

    code: int
    output: str
    errors: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.output)

    @property
    def complaint(self) -> str:
        """The one line on standard error."""
        assert self.errors.count("\n") == 1, self.errors
        return self.errors.strip()


def runner(
    main: Callable[[Sequence[str]], int], capsys: pytest.CaptureFixture[str]
) -> Callable[..., Said]:
    """A function that runs `main` with its arguments; nobody sits at the terminal."""

    def run(*arguments: str) -> Said:
        capsys.readouterr()
        code = main(arguments)
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return run
