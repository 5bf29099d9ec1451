"""Trials on a Dask cluster: processes of this machine, or those of a scheduler elsewhere.

    with TrialCluster(ground, workers=2) as cluster:
        for number, trial in cluster.run(settings): ...

Owns the connection and what is on its way. Every trial is yielded once; what a lost worker or
scheduler had is sent again. Loads Dask, so only what runs a sweep imports it, where it does.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from multiprocessing import resource_tracker
from types import TracebackType
from typing import Any, Self

import dask

# Before the rest is loaded, which sets up logging by it: what matters is told in our words.
_SILENT = {"logging": dict.fromkeys(("distributed", "distributed.client"), "critical")}
dask.config.set(_SILENT)

from distributed import Client, Future, LocalCluster  # noqa: E402
from distributed.comm.core import CommClosedError  # noqa: E402
from distributed.scheduler import KilledWorker  # noqa: E402
from distributed.security import Security  # noqa: E402

from research.cluster_address import ClusterError, SchedulerAddress  # noqa: E402
from research.cluster_work import (  # noqa: E402
    Done,
    GroundMissing,
    GroundPlugin,
    OtherCode,
    run_batch,
)
from research.sweep_trial import Ground, Trial  # noqa: E402

TASK_SECONDS = 1.0
PATIENCE_SECONDS = 60.0  # without a scheduler, or without a worker
_CONNECT_SECONDS = 10.0
_COUNT_SECONDS = 2.0  # between two looks at how many workers there are
_TICK_SECONDS = 0.25
_AHEAD = 2  # batches for each worker, so that none waits for the next
_GROWTH = 4  # a batch is at most so many times the one before
_ALLOWED_DEATHS = 5  # of workers at one task: then it is the task
_LOST = (CommClosedError, CancelledError, OSError, TimeoutError, GroundMissing)
Settings = Mapping[str, Any]


class TrialCluster:
    """One cluster for one ground. Use as a context manager.

    Raises (everywhere): ClusterError where the workers cannot be used.
    """

    def __init__(
        self,
        ground: Ground,
        *,
        workers: int | None = None,
        scheduler: SchedulerAddress | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._ground, self._scheduler = ground, scheduler
        self._wanted = workers or len(os.sched_getaffinity(0))
        self._patience_seconds = patience_seconds
        self._local: LocalCluster | None = None
        self._client: Client | None = None
        self._moved = threading.Event()  # a batch came to an end
        self._seconds_each: float | None = None  # measured, of one trial
        self._size = 1
        self._workers, self._counted_at = 0, -math.inf

    def __enter__(self) -> Self:
        try:
            self._connect()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self._close()

    @property
    def workers(self) -> int:
        """How many there are; 0: none now."""
        return self._workers

    @property
    def batch_size(self) -> int:
        """Trials in the newest task."""
        return self._size

    def run(self, settings: Sequence[Settings]) -> Iterator[tuple[int, Trial]]:
        """The number and the trial of each of these settings, as they come."""
        waiting = deque(range(len(settings)))
        sent: dict[Future[Done], list[int]] = {}
        try:
            while waiting or sent:
                try:
                    self._send(settings, waiting, sent)
                    self._moved.wait(_TICK_SECONDS)
                    self._moved.clear()
                    for numbers, done in self._collect(waiting, sent):
                        yield from zip(numbers, done.trials, strict=True)
                except Exception as error:  # Dask raises many things while a scheduler goes
                    if not self._is_lost(error):
                        raise
                    for numbers in sent.values():
                        waiting.extendleft(reversed(numbers))
                    sent.clear()
                    self._connect()
        finally:
            with contextlib.suppress(*_LOST, RuntimeError):
                for future in sent:
                    future.cancel()

    def _is_lost(self, error: Exception) -> bool:
        if isinstance(error, ClusterError):
            return False
        is_there = self._client is not None and self._client.status == "running"
        return isinstance(error, _LOST) or not is_there

    def _send(
        self, settings: Sequence[Settings], waiting: deque[int], sent: dict[Future[Done], list[int]]
    ) -> None:
        client = self._living_client()
        self._count_workers(client)
        while waiting and len(sent) < _AHEAD * max(1, self._workers):
            size = self._next_size(len(waiting))
            numbers = [waiting.popleft() for _ in range(min(size, len(waiting)))]
            future = client.submit(
                run_batch,
                self._ground.key,
                self._ground.code,
                [settings[number] for number in numbers],
                pure=False,
            )
            sent[future] = numbers
            future.add_done_callback(lambda _: self._moved.set())

    def _next_size(self, waiting: int) -> int:
        """Of about a second; at the end smaller, so that all workers end together."""
        if self._seconds_each is None:
            return 1
        wanted = int(TASK_SECONDS / max(self._seconds_each, 1e-6))
        fair = -(-waiting // (_AHEAD * max(1, self._workers)))
        self._size = max(1, min(wanted, fair, self._size * _GROWTH))
        return self._size

    def _collect(
        self, waiting: deque[int], sent: dict[Future[Done], list[int]]
    ) -> Iterator[tuple[list[int], Done]]:
        for future in [one for one in sent if one.done()]:
            done = self._result_of(future)
            numbers = sent.pop(future)
            each = done.seconds / len(numbers)
            before = self._seconds_each
            self._seconds_each = each if before is None else (before + each) / 2
            yield numbers, done

    def _result_of(self, future: Future[Done]) -> Done:
        try:
            done: Done = future.result(timeout=_CONNECT_SECONDS)
        except OtherCode:
            raise ClusterError(
                "a worker has other code than this machine: its figures would not be the same;"
                " bring all of them to one version"
            ) from None
        except KilledWorker:
            raise ClusterError(
                f"{_ALLOWED_DEATHS + 1} workers died at the same configurations: is there enough"
                " memory?"
            ) from None
        return done

    def _count_workers(self, client: Client) -> None:
        """Every now and then; gives up where there is none for too long."""
        now = time.monotonic()
        if now - self._counted_at < _COUNT_SECONDS:
            return
        self._workers, self._counted_at = len(client.nthreads()), now
        if not self._workers:
            self._wait_for_workers(client)

    def _wait_for_workers(self, client: Client) -> None:
        deadline = time.monotonic() + self._patience_seconds
        while not (count := len(client.nthreads())):
            if time.monotonic() > deadline:
                raise ClusterError(f"{self._where} had no worker for {self._patience_seconds:g} s")
            time.sleep(_TICK_SECONDS)  # the pause of a poll with a bound
        self._workers, self._counted_at = count, time.monotonic()

    @property
    def _where(self) -> str:
        return "this machine" if self._scheduler is None else self._scheduler.url

    # The connection

    def _living_client(self) -> Client:
        if self._client is None or self._client.status != "running":
            raise CommClosedError("the scheduler is gone")
        return self._client

    def _connect(self) -> None:
        """Anew, as often as it takes within the patience; the prices go to every worker."""
        deadline = time.monotonic() + self._patience_seconds
        while True:
            self._close()
            try:
                client = self._client = self._new_client()
                client.register_plugin(GroundPlugin(self._ground))
                self._wait_for_workers(client)
                return
            except (*_LOST, RuntimeError) as error:  # the latter: a worker died at its start
                if time.monotonic() > deadline:
                    words = str(error).splitlines()[0] if str(error) else type(error).__name__
                    raise ClusterError(f"{self._where} cannot be reached: {words}") from error
                time.sleep(_TICK_SECONDS)

    def _new_client(self) -> Client:
        if self._scheduler is None:
            with _without_ctrl_c():
                self._local = LocalCluster(
                    n_workers=self._wanted,
                    threads_per_worker=1,
                    processes=True,
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:0",  # which shows health alone
                    memory_limit=0,  # Dask holds nothing of ours but the prices
                    silence_logs=logging.CRITICAL,
                    scheduler_kwargs={"allowed_failures": _ALLOWED_DEATHS},
                )
            return Client(self._local, set_as_default=False)
        return Client(
            self._scheduler.url,
            security=_security_of(self._scheduler),
            timeout=min(_CONNECT_SECONDS, self._patience_seconds),
            set_as_default=False,
        )

    def _close(self) -> None:
        client, self._client = self._client, None
        local, self._local = self._local, None
        self._workers, self._counted_at = 0, -math.inf
        if client is not None:
            with contextlib.suppress(*_LOST, RuntimeError, KeyError):
                if local is None and client.status == "running":
                    client.unregister_worker_plugin(f"ground-{self._ground.key}")
            with contextlib.suppress(*_LOST, RuntimeError):
                client.close(timeout=_TICK_SECONDS)
        if local is not None:
            with contextlib.suppress(*_LOST, RuntimeError):
                local.close(timeout=_CONNECT_SECONDS)


@contextlib.contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Ctrl-C comes when this is over: a cluster that is half started cannot be closed. The threads
    and processes that are started here never get it: a terminal sends it to all of them, and the
    one that asked says when they end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    resource_tracker.ensure_running()  # which unblocks Ctrl-C where it starts
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, before)
        if came:
            raise KeyboardInterrupt


def _security_of(address: SchedulerAddress) -> Security | None:
    if (files := address.certificates) is None:
        return None
    return Security(
        require_encryption=True,
        tls_ca_file=str(files.ca),
        tls_client_cert=str(files.cert),
        tls_client_key=str(files.key),
    )
