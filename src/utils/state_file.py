"""A small JSON file in the run folder that several processes change, one after another.

Owns: the lock, and the replacement of the file as a whole. Garbage counts as empty: nothing that
money depends on may be kept in such a file.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

LOCK_SECONDS = 5.0
_POLL_SECONDS = 0.02


@contextlib.contextmanager
def locked(path: Path, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold the exclusive lock `path`; the kernel frees it however the holder ends.

    Raises:
        TimeoutError: another process held it all the time (TimeoutError is an OSError).
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as file:
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise TimeoutError(f"{path.name} is locked by another process") from None
                time.sleep(_POLL_SECONDS)  # the pause of a poll with a bound
        yield


def load_state(path: Path) -> dict[str, Any]:
    """What was saved; empty when there is nothing or garbage."""
    try:
        state = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):  # garbage can be nested deeply
        return {}
    return state if isinstance(state, dict) else {}


def known_fields(record: type[Any], state: Mapping[str, Any]) -> dict[str, Any]:
    """What of `state` is a field of `record`: another version of the program wrote the others."""
    return {spec.name: state[spec.name] for spec in fields(record) if spec.name in state}


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Replace the file; a reader sees the old or the new one. Only the owner may read it.

    Raises:
        OSError: nothing was changed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.unlink(missing_ok=True)
    with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(state, file)
    scratch.replace(path)


def read_boot_id() -> str:
    """Linux's id of this boot; empty elsewhere."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""
