"""A terminal of a given size for a program that runs on it; what it showed, without colours."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from config import PROJECT_ROOT

_ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[a-zA-Z]|[=>])")
_SECONDS = 90


@dataclass(frozen=True)
class Screen:
    """What a program showed: its lines as it broke them itself, and how it ended."""

    code: int
    lines: tuple[str, ...]

    @property
    def words(self) -> set[str]:
        """Everything between blanks; figures, which change from run to run, count alike."""
        return {re.sub(r"\d+", "0", word) for line in self.lines for word in line.split()}

    @property
    def widest(self) -> str:
        return max(self.lines, key=len, default="")


def show(
    command: Sequence[str], environment: Mapping[str, str], columns: int, lines: int = 24
) -> Screen:
    """Run `command` on a terminal of this size, which nobody types on."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    inherited = {name: text for name, text in os.environ.items() if name not in _SIZES}
    process = subprocess.Popen(
        command,
        env={**inherited, "TERM": "xterm", **environment},
        cwd=PROJECT_ROOT,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:  # Linux says so when the other end is closed
        pass
    os.close(ours)
    code = process.wait(_SECONDS)
    text = _ESCAPES.sub("", shown.decode())
    return Screen(code, tuple(line.rstrip() for line in text.replace("\r", "").split("\n")))


def talk(
    command: Sequence[str],
    environment: Mapping[str, str],
    answers: Sequence[tuple[str, str]],
    columns: int = 80,
) -> Screen:
    """Run `command` on a terminal at which each question is answered as soon as it is asked; what
    is typed is on the screen unless the program forbids that.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        command,
        env=dict(environment),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown, seen, waiting = b"", 0, list(answers)
    with contextlib.suppress(OSError):  # Linux says so when the other end is closed
        while part := os.read(ours, 65536):
            shown += part
            while waiting and waiting[0][0].encode() in shown[seen:]:
                if not shown.endswith(b" "):  # the answer is typed behind a blank
                    break
                seen = len(shown)
                os.write(ours, f"{waiting.pop(0)[1]}\n".encode())
    os.close(ours)
    code = process.wait(_SECONDS)
    text = _ESCAPES.sub("", shown.decode())
    assert not waiting, f"never asked: {waiting}; {text}"
    # Of a line that was written again and again, the last remains.
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return Screen(code, tuple(line.rstrip() for line in lines))


_SIZES = {"COLUMNS", "LINES", "NO_COLOR"}
