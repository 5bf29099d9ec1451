"""Busy processes beside a run, as another program of the same machine would be."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from runtime.process_table import STACK_MARK

# It ends with its parent, however that ends.
_BUSY = """
import os
parent = os.getppid()
while os.getppid() == parent:
    sum(range(1_000_000))
"""


@contextlib.contextmanager
def busy_processes(count: int, folder: Path) -> Iterator[None]:
    """So many while the block runs, each as fast as it can, at the usual niceness.

    They bear the mark of the stack in `folder`: those of a killed run are found and ended, too.
    """
    children = [
        subprocess.Popen(
            [sys.executable, "-c", _BUSY],
            env={**os.environ, STACK_MARK: str(folder.absolute())},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        for _ in range(count)
    ]
    try:
        yield
    finally:
        for child in children:
            child.kill()
        for child in children:
            child.wait()
