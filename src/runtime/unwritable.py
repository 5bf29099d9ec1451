"""What to do about a file that cannot be written: which setting names its folder, and the cure."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from config import Settings

_FULL = {errno.ENOSPC, errno.EDQUOT}


def describe_unwritable(error: OSError, settings: Settings | None) -> str:
    """One line for a person. An error without a file is of the answer on standard output."""
    reason = error.strerror or str(error)
    if not error.filename:
        cure = " (make room, or let it go elsewhere)" if error.errno in _FULL else ""
        return f"cannot write the answer{cure}: {reason}"
    path = Path(os.fsdecode(error.filename))
    if error.errno in _FULL:
        return f"cannot write {path}: {reason}: make room"
    name, folder = _setting_of(path, settings)
    if name is None:
        return f"cannot write {path}: {reason}"
    if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
        return f"cannot write {path}: {reason}: {name} in .env must name a place in a folder"
    return (
        f"cannot write {path}: {reason}: make {folder} yours to write (was something run as root?"
        f" sudo chown -R $USER {folder}), or set {name} in .env"
    )


def _setting_of(path: Path, settings: Settings | None) -> tuple[str | None, Path]:
    """The setting whose folder `path` is in, or is needed for."""
    if settings is not None:
        for name, folder in (("LOG_DIR", settings.log_dir), ("PID_FILE", settings.run_dir)):
            if path.is_relative_to(folder) or folder.is_relative_to(path):
                return name, folder
    return None, path
