"""The services of ALERT_URLS: their names without their secrets, and a message to one of them.

Owns the process that speaks to a service. Apprise takes a quarter of a second and 40 MB to load,
and what it calls can hang: neither the daemon nor what cron starts loads it. A process of its own
does, which ends with the message, within a bound, and notes in the outbox what became of it, also
when whoever started it was killed meanwhile (see utils/apprise_process.py).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from config import PROJECT_ROOT, Settings
from utils.alert_outbox import Batch

SEND_SECONDS = 10.0  # for a service, whatever its address says of time-outs
START_SECONDS = 10.0  # to load, on a machine that is busy
NICE = 10
_COMMAND = (sys.executable, "-m", "utils.apprise_process")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One address of ALERT_URLS; `number` is its place there."""

    number: int
    url: str = field(repr=False)

    @property
    def name(self) -> str:
        """For logs and screens: `ntfy (number 2 of ALERT_URLS)`."""
        return f"{self.url.partition('://')[0].lower()} (number {self.number} of ALERT_URLS)"

    @property
    def key(self) -> str:
        """Names its outbox: the same wherever it stands in the list."""
        return hashlib.sha256(self.url.encode("utf-8", "replace")).hexdigest()[:16]


def services_of(settings: Settings) -> list[Service]:
    """Those of ALERT_URLS; one that stands there twice is one."""
    found: dict[str, Service] = {}
    for number, url in enumerate(settings.alert_urls, start=1):
        found.setdefault(url, Service(number=number, url=url))
    return list(found.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a message. `lines`: how many the service has got, the first ones: no service
    takes a message of any length. `reason`: why it got none; holds no secret. `is_noted`: the
    outbox says so already.
    """

    lines: int = 0
    reason: str | None = None
    retry_after_seconds: float = 0.0
    is_noted: bool = False


def send_to_service(
    service: Service, batch: Batch, *, money: str, outbox: Path | None = None
) -> Outcome:
    """Send as much of `batch` as fits into one message. Never raises; blocking, 20 seconds at most.

    `outbox`: the file to note the outcome in. `batch` must be leased.
    """
    request = {
        "url": service.url,
        "lines": batch.lines,
        "held_back": batch.held_back,
        "money": money,
        "outbox": str(outbox) if outbox is not None else None,
    }
    return _run(request)


def find_service_trouble(service: Service) -> str | None:
    """Why Apprise cannot use the address, in one line; None: it can. Nothing is sent."""
    return _run({"url": service.url, "lines": None}).reason


def _run(request: dict[str, Any]) -> Outcome:
    """In a session of its own, so that no Ctrl-C ends it between a message and its note."""
    try:
        process = subprocess.Popen(
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # Apprise says there what must not be seen
            cwd=PROJECT_ROOT / "src",
            start_new_session=True,
        )
    except OSError as error:
        return Outcome(reason=f"no process to send with: {error.strerror}")
    with contextlib.suppress(OSError):  # it computes for half a second: trading comes first
        os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
    text = json.dumps(request).encode()
    try:
        answer, _ = process.communicate(text, timeout=SEND_SECONDS + START_SECONDS)
        return Outcome(**json.loads(answer))
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return Outcome(reason="no answer in time")
    except (OSError, ValueError, TypeError):
        cure = "is Apprise installed? (scripts/setup)"
        return Outcome(reason=f"the process that sends ended with code {process.wait()}: {cure}")
