"""Trials on real workers: those of this machine and those of a scheduler elsewhere, and what kills
them.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from research.cluster import TrialCluster
from research.cluster_address import (
    AddressRefused,
    Certificates,
    ClusterError,
    SchedulerAddress,
    read_address,
)
from research.sweep_trial import Prepared
from sweep_ground import make_ground, some_settings

TLS = Path(__file__).parents[1] / "support" / "tls"
OURS = Certificates(TLS / "cluster-ca.pem", TLS / "cluster.pem", TLS / "cluster.pem")
OPTIONS = [
    "--tls-ca", str(OURS.ca), "--tls-cert", str(OURS.cert), "--tls-key", str(OURS.key),
]  # fmt: skip


@pytest.fixture(scope="module")
def ground():
    return make_ground()


@pytest.fixture(scope="module")
def expected(ground):
    prepared = Prepared(ground)
    return dict(enumerate(map(prepared.run, some_settings(60))))


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen]:
    """`scripts/sweep --serve` or `--join` as a process of its own; killed at the end with what it
    started.
    """
    command = [sys.executable, "-P", "-m", "cli.sweep_machines", *arguments, *OPTIONS]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        kill_all(process.pid)
        process.wait(30)


def kill_all(pid: int) -> None:
    """Ctrl-C reaches nobody here: what the process started goes first."""
    with suppress(psutil.NoSuchProcess):
        for one in [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]:
            one.kill()


def free_url() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"tls://127.0.0.1:{one.getsockname()[1]}"


@pytest.fixture(scope="module")
def remote() -> Iterator[tuple[str, subprocess.Popen]]:
    """A scheduler with TLS and a worker of it, as on other machines; the scheduler's process."""
    url = free_url()
    with running("--serve", url) as scheduler, running("--join", url, "--workers", "1"):
        yield url, scheduler


def test_a_killed_worker_costs_its_task_and_nothing_else(ground, expected):
    """kill -9, twice; every trial comes once, and is the one of this process to the last digit."""
    others = {one.pid for one in psutil.Process().children(recursive=True)}
    found, sizes = {}, set()
    with TrialCluster(ground, workers=2) as cluster:
        assert cluster.workers == 2
        for number, trial in cluster.run(some_settings(60)):
            assert number not in found
            found[number] = trial
            sizes.add(cluster.batch_size)
            if len(found) in (5, 20):
                mine = [
                    one
                    for one in psutil.Process().children()
                    if one.pid not in others and "spawn_main" in " ".join(one.cmdline())
                ]
                mine[-1].kill()
        assert max(sizes) > 1  # a trial takes milliseconds, a task up to a second
        again = dict(cluster.run(some_settings(3)))
    assert found == expected
    assert again == {number: expected[number] for number in range(3)}


def test_a_worker_with_other_code_is_refused(ground, remote):
    other = replace(ground, code="0123")
    address = SchedulerAddress(remote[0], OURS)
    with (
        TrialCluster(other, scheduler=address) as cluster,
        pytest.raises(ClusterError, match="a worker has other code than this machine"),
    ):
        list(cluster.run(some_settings(1)))


def test_a_certificate_of_another_authority_is_refused(ground, remote):
    stranger = Certificates(OURS.ca, TLS / "stranger.pem", TLS / "stranger.pem")
    address = SchedulerAddress(remote[0], stranger)
    with pytest.raises(ClusterError, match=f"{remote[0]} cannot be reached"):
        TrialCluster(ground, scheduler=address, patience_seconds=0.5).__enter__()


def test_a_scheduler_that_is_killed_and_started_again_is_found_again(ground, expected, remote):
    """And by its workers, too."""
    url, scheduler = remote
    found = {}
    with ExitStack() as opened:
        address = SchedulerAddress(url, OURS)
        cluster = opened.enter_context(TrialCluster(ground, scheduler=address))
        for number, trial in cluster.run(some_settings(60)):
            found[number] = trial
            if len(found) == 5:
                kill_all(scheduler.pid)
                opened.enter_context(running("--serve", url))
    assert found == expected


def test_a_scheduler_that_is_not_there_is_given_up_in_one_line(ground):
    address = SchedulerAddress("tcp://127.0.0.1:9")
    with pytest.raises(ClusterError) as told:
        TrialCluster(ground, scheduler=address, patience_seconds=0.5).__enter__()
    assert "tcp://127.0.0.1:9 cannot be reached" in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("tcp://10.0.0.5:8786", "is not encrypted"),
        ("tcp://sweeps.example:8786", "is not encrypted"),
        ("tls://10.0.0.5:8786", "needs --tls-cert, --tls-key"),
        ("10.0.0.5:8786", "is no address of a scheduler"),
        ("tls://10.0.0.5", "is no address of a scheduler"),
        ("http://127.0.0.1:8786", "is no address of a scheduler"),
        ("tls://[::1", "is no address of a scheduler"),
        ("tls://a:b@10.0.0.5:1", "is no address of a scheduler"),
    ],
)
def test_beyond_loopback_there_are_certificates_or_nothing(url, words):
    with pytest.raises(AddressRefused, match=words):
        read_address(url, OURS.ca, None, None)


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:8786", "tcp://localhost:1", "tcp://[::1]:2"])
def test_loopback_needs_none(url):
    assert read_address(url, None, None, None) == SchedulerAddress(url)


def test_certificates_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(AddressRefused, match=f"cannot read {tmp_path / 'none.pem'}: No such file"):
        read_address("tls://10.0.0.5:8786", OURS.ca, tmp_path / "none.pem", OURS.key)
