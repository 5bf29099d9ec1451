"""Changes settings in a `.env` file, for the tools that fill it in for their user.

Owns: that whatever else stands in the file stays as it is, that the file is replaced as a whole,
and that only its owner can read it. Must never show a value.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from config import SettingsError, parse_env_text


def change_env_file(path: Path, changes: Mapping[str, str | None], template: Path) -> None:
    """Set these names to these values; None takes a name out. A new file begins as `template`.

    A reader sees the old or the new file, and so does everybody after a power cut.

    Raises:
        SettingsError: nothing was changed, because a line of the file cannot be read.
        OSError: nothing was changed.
    """
    path = path.resolve()  # of a link the file that it names
    source = path if path.exists() else template
    before = source.read_text("utf-8") if source.exists() else ""
    old, problems = parse_env_text(before)
    after = changed_text(before, changes)
    wanted = {**old, **changes}
    if not problems and parse_env_text(after)[0] != _without_none(wanted):
        problems = [
            f"{path.name} is written in a way that only you can change: {', '.join(changes)}"
        ]
    if problems:
        raise SettingsError(problems)
    if after != before or source is template:
        replace_private(path, after)


def changed_text(text: str, changes: Mapping[str, str | None]) -> str:
    """Each setting takes the place of its line, else of the remark that shows its default, else it
    comes last.
    """
    lines = text.removesuffix("\n").split("\n") if text else []
    for name, value in changes.items():
        line = None if value is None else f"{name}={env_file_value(value)}"
        own = [n for n, one in enumerate(lines) if re.match(rf"\s*(export\s+)?{name}\s*=", one)]
        remarks = [n for n, one in enumerate(lines) if re.match(rf"#\s*{name}=", one)]
        for number in own:
            lines[number] = f"#{name}="
        if line is not None and not own and not remarks:
            lines.append(line)
        elif line is not None:
            # The last of several counts, so the last is the one to write.
            lines[(own or remarks)[-1]] = line
    return "".join(f"{line}\n" for line in lines)


def env_file_value(value: str) -> str:
    """The value for a .env file, quoted only where it has to be."""
    if re.fullmatch(r"[\w./:@%+,-]*", value, re.ASCII):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def keep_copy(path: Path) -> Path | None:
    """A copy of the file beside it, under a name that none has yet; None: there is no file.

    Raises:
        OSError: there is no copy.
    """
    if not path.exists():
        return None
    number = 1
    while (copy := path.with_name(f"{path.name}.before-{number}")).exists():
        number += 1
    replace_private(copy, path.read_text("utf-8"))
    return copy


def replace_private(path: Path, text: str) -> None:
    """Replace the file in one step; nobody but its owner can read it at any moment."""
    arriving = path.with_name(f"{path.name}.new-{os.getpid()}")
    arriving.unlink(missing_ok=True)
    try:
        descriptor = os.open(arriving, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            if path.exists():  # root must not take a user's file away
                os.fchown(descriptor, path.stat().st_uid, path.stat().st_gid)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        arriving.replace(path)
    finally:
        arriving.unlink(missing_ok=True)


def _without_none(values: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None}
