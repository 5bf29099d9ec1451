"""How the daemon's process uses memory and the interpreter lock, so that hundreds of assets neither
make it grow nor make its event loop pause. Measured; see docs.

Linux with glibc; elsewhere the calls that are glibc's are left out.
"""

from __future__ import annotations

import ctypes
import gc
import sys

# Each thread that allocates gets an arena of its own, up to eight for each core, and what it frees
# there serves no other: threads that take turns grow all of them.
_M_ARENA_MAX, ARENAS = -8, 2
# Set, these no longer grow with what is freed: a large list goes back to the system at once.
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD, LARGE_BYTES = -3, -1, 128 * 1024
# How long a thread that computes may keep the interpreter from the event loop (Python: 5 ms).
SWITCH_SECONDS = 0.001


def prepare_process() -> None:
    """Before the first thread."""
    sys.setswitchinterval(SWITCH_SECONDS)
    if (libc := _glibc()) is not None:
        libc.mallopt(_M_ARENA_MAX, ARENAS)
        libc.mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, LARGE_BYTES)


def settle_memory() -> None:
    """What is there now stays: the garbage collector need not look at it again, which took it up to
    a tenth of a second, and what the imports left goes back to the system.
    """
    gc.collect()
    gc.freeze()
    give_memory_back()


def give_memory_back() -> None:
    """What was freed goes back to the system, also from between what is in use.

    To be called after work that took much for a moment, by its own thread. Left to itself, such
    work fills other gaps each time, and the process keeps them all: it grew by 10 to 20 MB an hour.
    A collection also counts what is left (the next full one comes when a quarter of that is new)
    and empties Python's own lists of free tuples. It keeps the event loop for 0.5 ms with 20 assets
    and 2 ms with 500.
    """
    gc.collect()
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None
