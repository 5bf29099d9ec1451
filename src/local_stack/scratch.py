"""Folders below .local that live as long as one run, with the processes that belong to them.

A run holds the lock of its folder; the kernel frees it however the run ends. A folder whose lock is
free was left behind by a killed run: the next run ends its processes and removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil

from mariadb_server.debian_packages import LOCAL_FOLDER, exclusive_lock
from runtime.process_table import end_process, processes_of_stack, servers_below


@contextlib.contextmanager
def scratch_folder(prefix: str, parent: Path = LOCAL_FOLDER) -> Iterator[Path]:
    """A new folder `<parent>/<prefix>-<pid>-<random>`, removed at the end with its processes."""
    folder = parent / f"{prefix}-{os.getpid()}-{secrets.token_hex(3)}"
    with contextlib.ExitStack() as until_the_end:
        with exclusive_lock(parent / "scratch.lock"):
            remove_abandoned(prefix, parent)
            folder.mkdir(mode=0o700)
            owner = until_the_end.enter_context(open(folder / "owner.lock", "w"))
            fcntl.flock(owner, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            _remove(folder)


def remove_abandoned(prefix: str, parent: Path = LOCAL_FOLDER) -> None:
    """Remove the folders of runs that died."""
    for folder in parent.glob(f"{prefix}-[0-9]*-*"):  # kept results have a word there
        with open(folder / "owner.lock", "a") as owner:
            try:
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            _remove(folder)


def _remove(folder: Path) -> None:
    # The programs before the database they use; a list, because the first ones may start others.
    for process in [*processes_of_stack(folder), *servers_below(folder)]:
        end_process(process, psutil.Process.kill)  # what they wrote is thrown away
    shutil.rmtree(folder, ignore_errors=True)
