"""What a command line said when a test ran it inside its own process."""

from __future__ import annotations

import json
import re
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
    def is_one_line(self) -> bool:
        """Whether the complaint is what a person can read: the program's name and one line."""
        return re.fullmatch(r"[a-z]+: [^\n]+\n", self.errors) is not None

    @property
    def complaint(self) -> str:
        """The one line on standard error."""
        assert self.is_one_line, self.errors
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
