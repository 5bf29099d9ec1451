"""What the user has asked for until further notice: files in the run folder.

`stopped`: the watchdog does not start the daemon. `paused`: no buys, sells go on.
"""

from __future__ import annotations

from pathlib import Path

STOPPED, PAUSED = "stopped", "paused"


def is_stopped(run_dir: Path) -> bool:
    """Whether the user stopped the daemon on purpose."""
    return (run_dir / STOPPED).exists()


def is_paused(run_dir: Path) -> bool:
    """Whether the user paused buying."""
    return (run_dir / PAUSED).exists()


def set_flag(run_dir: Path, name: str, *, wanted: bool) -> None:
    """Set or remove a flag.

    Raises:
        OSError: when the folder cannot be written.
    """
    if wanted:
        run_dir.mkdir(parents=True, exist_ok=True)
        (run_dir / name).touch()
    else:
        (run_dir / name).unlink(missing_ok=True)
