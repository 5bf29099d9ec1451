"""Whether what the bot writes all the time has room."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from config import Settings

FULL_BYTES = 20_000_000


def count_free_bytes(settings: Settings) -> int:
    """Of the log folder's disk or the run folder's, whichever has less."""
    folders = settings.log_dir, settings.run_dir
    return min(shutil.disk_usage(existing_part(folder)).free for folder in folders)


def existing_part(path: Path) -> Path:
    """What can be seen of it: of a folder that is closed to us Path.exists would raise."""
    return next(one for one in (path, *path.parents) if os.path.exists(one))


def find_full_disk(settings: Settings) -> str | None:
    """In one line with its cure; a disk that is only low is the doctor's business."""
    free = count_free_bytes(settings)
    if free >= FULL_BYTES:
        return None
    return (
        f"the disk is full, {free / 1e6:.0f} MB free: heartbeat and logs ({settings.log_dir})"
        " cannot be written: make room"
    )
