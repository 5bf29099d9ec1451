"""What a sweep has done so far: a file to which each trial is appended, so that a sweep that was
broken off goes on from there.

    HISTORY_DIR/sweeps/BTC-USD-<key>.jsonl

The key is the hash of prices, settings, code and all else that the figures depend on: the same
command finds its file, another one never. A line is whole or dropped. Nothing is lost but time
where such a file is removed.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from decimal import Decimal, InvalidOperation
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from research.errors import DamagedHistory, HistoryError
from research.sweep_trial import Score, Trial
from utils.formatting import plain

FORMAT = 1
_WHAT = "sweep journal"
Texts = Mapping[str, str]
_Key = tuple[tuple[str, str], ...]


class SweepJournal:
    """One file, held by one process at a time. Use as a context manager.

    Raises (everywhere): HistoryError where it cannot be read or written.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path, self._key = path, key
        self._file = -1
        self._trials: dict[_Key, Trial] = {}

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            self._lock()
            self._load()
        except OSError as error:
            self._close()
            raise HistoryError(f"cannot write {self.path}: {error.strerror or error}") from error
        except HistoryError:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self._close()

    def __len__(self) -> int:
        return len(self._trials)

    def find(self, texts: Texts) -> Trial | None:
        """What became of the configuration of these options; None: it was not tried yet."""
        return self._trials.get(_key_of(texts))

    def add(self, done: Iterable[tuple[Texts, Trial]]) -> None:
        """Append them all, or nothing."""
        done = list(done)
        lines = b"".join(_line_of(texts, trial) for texts, trial in done)
        self._append(lines)
        self._trials.update((_key_of(texts), trial) for texts, trial in done)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HistoryError(
                "another scripts/sweep is at work on the same: wait until it is done"
            ) from None

    def _load(self) -> None:
        content = _read_all(self._file)
        whole = content.rfind(b"\n") + 1
        if whole < len(content):  # whoever wrote it was killed in the middle of a line
            os.ftruncate(self._file, whole)
        head, *lines = content[:whole].splitlines() or [b""]
        if not head:
            self._append(_encoded({"what": _WHAT, "format": FORMAT, "key": self._key}))
            return
        try:
            if json.loads(head) != {"what": _WHAT, "format": FORMAT, "key": self._key}:
                raise ValueError("it is of something else")
            self._trials = dict(map(_read_line, lines))
        except (ValueError, KeyError, TypeError, InvalidOperation, RecursionError) as error:
            raise DamagedHistory(f"{self.path} is damaged ({error}): remove it") from error

    def _append(self, lines: bytes) -> None:
        before = os.fstat(self._file).st_size
        try:
            if os.write(self._file, lines) != len(lines):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            os.ftruncate(self._file, before)  # nothing half-written
            raise HistoryError(f"cannot write {self.path}: {error.strerror or error}") from error

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def journal_path(folder: Path, symbols: Iterable[str], key: str) -> Path:
    """The file of one sweep."""
    names = "+".join(one.replace("/", "-") for one in symbols)
    return folder / "sweeps" / f"{names}-{key[:16]}.jsonl"


def trial_json(trial: Trial) -> dict[str, Any]:
    """Exact; what a refused one has not is left out."""
    if trial.refused:
        return {"refused": trial.refused}
    scores = [plain(asdict(one)) for one in trial.scores]
    return {"ladder_usd": plain(trial.ladder_usd), "scores": scores}


def read_trial(shown: Mapping[str, Any]) -> Trial:
    """What `trial_json` made.

    Raises:
        KeyError, TypeError, ValueError, InvalidOperation: it is none.
    """
    if "refused" in shown:
        return Trial(Decimal(0), (), str(shown["refused"]))
    return Trial(Decimal(shown["ladder_usd"]), tuple(map(_read_score, shown["scores"])))


def _read_score(shown: Mapping[str, Any]) -> Score:
    kinds = {"Decimal": Decimal, "int": int, "float": float}
    values = {one.name: kinds[str(one.type)](shown[one.name]) for one in fields(Score)}
    return Score(**values)


def _line_of(texts: Texts, trial: Trial) -> bytes:
    return _encoded({"at": dict(texts), **trial_json(trial)})


def _read_line(line: bytes) -> tuple[_Key, Trial]:
    found = json.loads(line)
    return _key_of(dict(found["at"])), read_trial(found)


def _key_of(texts: Texts) -> _Key:
    return tuple(sorted(texts.items()))


def _encoded(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _read_all(file: int) -> bytes:
    os.lseek(file, 0, os.SEEK_SET)
    parts = []
    while part := os.read(file, 1 << 20):
        parts.append(part)
    return b"".join(parts)
