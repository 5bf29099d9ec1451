"""The daemon's sign of life: a small JSON file, read by the watchdog, status and the demo.

Ages are counted on the monotonic clock, which all processes of one boot share: a changed wall clock
does no harm.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from utils.state_file import known_fields, load_state, read_boot_id, save_state

FILE_NAME = "heartbeat.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBack:
    """What keeps an asset (`symbol` None: the whole daemon) from trading.

    `since` is monotonic seconds. `is_stalled`: it has lasted long enough for an alert.
    `is_requested`: by the user. `cure`: what a person can do, if anything.
    `has_foreign_coins`: coins that no cycle bought are where a base order would be placed.
    """

    symbol: str | None
    since: float
    reason: str
    cure: str | None = None
    is_stalled: bool = False
    is_requested: bool = False
    has_foreign_coins: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """What the daemon knows of itself.

    `..._at` are monotonic seconds, None when it never happened.
    """

    pid: int
    boot_id: str
    beat_at: float
    started_at: float
    state: str  # recovering | trading | halted
    reason: str | None  # why it does not trade
    data_stream_connected: bool
    trade_stream_connected: bool
    data_stream_lost_at: float | None  # since when it tries to connect in vain
    trade_stream_lost_at: float | None
    last_quote_at: float | None
    last_update_at: float | None
    last_sweep_at: float | None
    symbols: list[str]
    held_back: tuple[HeldBack, ...] = ()
    assets_fallen: int | None = None  # of the dump guard, and how many must fall; None: it is off
    assets_needed: int | None = None
    settings: dict[str, str] | None = None  # what `.env` said at the start (see env_of_daemon)

    def age_seconds(self) -> float:
        """How old this beat is; infinite when it is from before the last boot."""
        return time.monotonic() - self.beat_at if self.boot_id == read_boot_id() else float("inf")


def save_heartbeat(run_dir: Path, heartbeat: Heartbeat) -> None:
    """Replace the file; a reader sees the old or the new one, never half.

    Raises:
        OSError: when the folder cannot be written.
    """
    save_state(run_dir / FILE_NAME, asdict(heartbeat))


def load_heartbeat(run_dir: Path) -> Heartbeat | None:
    """The last beat, or None when there is none or it is unreadable.

    A daemon of another version may have written it: it is alive all the same.
    """
    raw = load_state(run_dir / FILE_NAME)
    try:
        raw["held_back"] = tuple(_load_held_back(held) for held in raw.get("held_back", ()))
        return Heartbeat(**known_fields(Heartbeat, raw))
    except (TypeError, AttributeError):
        return None


def _load_held_back(raw: dict[str, Any]) -> HeldBack:
    raw.setdefault("is_requested", raw.get("is_wished", False))  # the name in older versions
    return HeldBack(**known_fields(HeldBack, raw))
