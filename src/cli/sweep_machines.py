"""`scripts/sweep --serve` and `--join`: a scheduler for many machines, and the workers of one.

Both are Dask's own programs, started with what keeps them safe: certificates, or loopback alone.
Arguments, words and exit codes; nothing of a sweep.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from cli.command_line import EXIT_DONE, EXIT_FAILED, EXIT_REFUSED, OneLineParser, Stop
from cli.runner import run_tool
from cli.sweep_options import add_certificates, worker_count
from config import Settings, SettingsError, inspect_environment
from research.cluster_address import AddressRefused, SchedulerAddress, read_address
from utils.wrapping import warn

HELP = """\
A sweep on many machines: one runs a scheduler, each runs workers, and scripts/sweep is given the
scheduler's address. All need this project at the same version, and certificates of one authority of
your own (docs/sweep.md): whoever has one can run code on all of them.

  scripts/sweep --serve tls://10.0.0.5:8786           on one machine, at an address of its own
  scripts/sweep --join tls://10.0.0.5:8786            on each: a worker for each core
  scripts/sweep BTC/USD --deviation 0.5:5:0.25 --scheduler tls://10.0.0.5:8786

Each with --tls-ca, --tls-cert and --tls-key, or SWEEP_TLS_CA, SWEEP_TLS_CERT and SWEEP_TLS_KEY in
.env. Without certificates only loopback is taken, as tcp://127.0.0.1:8786. Ctrl-C ends it. Workers
wait for a scheduler that is away."""
_UNSEEN = ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"]  # which has no certificates
_PAUSE_SECONDS = 2.0
_END_SECONDS = 20.0


def build_parser() -> OneLineParser:
    parser = OneLineParser(prog="scripts/sweep", description=HELP)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--serve", metavar="URL", help="a scheduler at this address, until Ctrl-C")
    what.add_argument("--join", metavar="URL", help="workers of that scheduler, until Ctrl-C")
    parser.add_argument(
        "--workers", type=worker_count, metavar="N", help="of --join (default: one for each core)"
    )
    add_certificates(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Until Ctrl-C; whatever stops it is one line, and an exit code."""
    return run_tool("sweep", arguments, _run)


def _run(arguments: Sequence[str]) -> int:
    options = build_parser().parse_args(arguments)
    settings, problems = inspect_environment()
    if wrong := [one for one in problems if one.startswith("SWEEP_TLS_")]:
        raise SettingsError(wrong)
    try:
        address = address_of(settings, options, options.serve or options.join)
    except AddressRefused as error:
        raise Stop(str(error), EXIT_REFUSED) from error
    try:
        if options.serve:
            return _serve(address)
        _join(address, options.workers or len(os.sched_getaffinity(0)))
    except KeyboardInterrupt:
        return EXIT_DONE


def address_of(settings: Settings, options: argparse.Namespace, url: str) -> SchedulerAddress:
    """With the certificates of the options, else those of the settings.

    Raises:
        AddressRefused: the message says what would be right.
    """
    return read_address(
        url,
        options.tls_ca or settings.sweep_tls_ca,
        options.tls_cert or settings.sweep_tls_cert,
        options.tls_key or settings.sweep_tls_key,
    )


def _serve(address: SchedulerAddress) -> int:
    code = _run_dask("scheduler", ["--host", address.url, *_UNSEEN, *_tls(address)])
    if code:
        raise Stop(f"no scheduler at {address.url}: the lines above say why", EXIT_FAILED)
    return EXIT_DONE


def _join(address: SchedulerAddress, workers: int) -> NoReturn:
    """A worker ends when its scheduler does; its successor waits for the next."""
    count = ["--nworkers", str(workers), "--nthreads", "1", "--memory-limit", "0"]
    while True:
        _run_dask("worker", [address.url, *count, *_UNSEEN, *_tls(address)])
        warn(f"sweep: {address.url} is gone: the workers wait for it")
        time.sleep(_PAUSE_SECONDS)  # the pause of a poll that a person ends


def _tls(address: SchedulerAddress) -> list[str]:
    if (files := address.certificates) is None:
        return []
    named: list[tuple[str, Path]] = [
        ("--tls-ca-file", files.ca), ("--tls-cert", files.cert), ("--tls-key", files.key),
    ]  # fmt: skip
    return [word for option, path in named for word in (option, str(path))]


def _run_dask(program: str, arguments: list[str]) -> int:
    """Its exit code. Ctrl-C and SIGTERM end it before this process.

    Raises:
        KeyboardInterrupt: one of both came.
    """
    command = [sys.executable, "-P", "-m", f"distributed.cli.dask_{program}", *arguments]
    with _ended_by_sigterm():
        process = subprocess.Popen(command)
        try:
            return process.wait()
        finally:
            process.terminate()
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
