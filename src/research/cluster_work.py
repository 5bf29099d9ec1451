"""What runs in a worker of a cluster: the prices that it got once, and batches of trials on them.

Loads Dask: only what speaks with a cluster imports this.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distributed import WorkerPlugin

from research.result import hash_code
from research.sweep_trial import Ground, Prepared, Trial

_prepared: dict[str, Prepared] = {}  # of this process


class GroundMissing(Exception):
    """This worker was not given these prices (yet)."""


class OtherCode(Exception):
    """This worker would compute with other code than the one that asks."""


class GroundPlugin(WorkerPlugin):
    """Brings the prices to each worker once, also to those that join later or start again."""

    idempotent = True

    def __init__(self, ground: Ground) -> None:
        self.name = f"ground-{ground.key}"
        self._ground = ground

    def setup(self, worker: Any) -> None:
        if self._ground.code == hash_code():
            _prepared[self._ground.key] = Prepared(self._ground)

    def teardown(self, worker: Any) -> None:
        _prepared.pop(self._ground.key, None)


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a batch, and how long it took here."""

    trials: tuple[Trial, ...]
    seconds: float


def run_batch(key: str, code: str, batch: Sequence[Mapping[str, Any]]) -> Done:
    """The trials of these settings.

    Raises:
        OtherCode, GroundMissing: this worker cannot do it.
    """
    if code != hash_code():
        raise OtherCode
    prepared = _prepared.get(key)
    if prepared is None:
        raise GroundMissing
    begun = time.perf_counter()
    trials = tuple(prepared.run(settings) for settings in batch)
    return Done(trials, time.perf_counter() - begun)
