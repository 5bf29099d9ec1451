"""The process that speaks to one service through Apprise: `python -m utils.apprise_process`.

Reads one request as JSON, answers with one outcome (see utils/alert_services.py), and ends. It
notes the outcome in the outbox itself, right after the service's answer: whoever started it may
have been killed. Owns all that knows Apprise. What Apprise says is dropped: it may hold a secret.
"""

from __future__ import annotations

import contextlib
import html
import json
import logging
import os
import re
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import requests
from apprise import Apprise, AppriseAsset, NotifyBase, NotifyFormat, OverflowMode
from apprise.common import PersistentStoreMode
from apprise.manager_plugins import NotificationManager

from utils.alert_outbox import Batch, changed
from utils.alert_services import SEND_SECONDS, Outcome
from utils.notifications import compose_alert

UNKNOWN = "Apprise knows no service of this name"
UNUSABLE = "Apprise cannot use this address: a part of it is missing or wrong"
READ_SECONDS = 8.0  # Apprise's own 4 give up on a slow service that has taken the message
SUBJECT_CHARACTERS = 250  # with what a service puts around it
_ESCAPED = re.compile(r"[_*\[\]()~`#+=|{}.!\\-]")  # by services that take Markdown


class Watch:
    """The last answer over HTTP, from beneath Apprise, which says no more than yes or no."""

    def __init__(self) -> None:
        self.reason = "the service did not take it"
        self.retry_after_seconds = 0.0

    def install(self) -> None:
        send = requests.Session.send

        def watched(*arguments: Any, **options: Any) -> requests.Response:
            try:
                response = send(*arguments, **options)
            except (requests.RequestException, OSError) as error:
                self.reason = f"no answer: {type(error).__name__}"  # its words hold the address
                raise
            if not response.ok:
                self.reason = f"refused: HTTP {response.status_code}"
                self.retry_after_seconds = _retry_after(response)
            return response

        requests.Session.send = watched  # type: ignore[method-assign]


def _retry_after(response: requests.Response) -> float:
    """Seconds; as a header, and as Telegram has it."""
    with contextlib.suppress(ValueError):
        return float(response.headers.get("Retry-After", ""))
    with contextlib.suppress(ValueError, TypeError, KeyError):
        return float(response.json()["parameters"]["retry_after"])
    return 0.0


def main() -> None:
    logging.disable()
    request = json.load(sys.stdin)
    watch, found = Watch(), [Outcome(reason="no answer in time")]
    watch.install()
    # A thread that cannot be ended: what a service does in it may hang, so it ends with us.
    worker = threading.Thread(target=_work, args=(request, watch, found), daemon=True)
    worker.start()
    worker.join(SEND_SECONDS)
    outcome = found[-1]
    if request.get("outbox"):
        outcome = replace(outcome, is_noted=_note(request, outcome))
    with contextlib.suppress(OSError):  # whoever asked is gone
        print(json.dumps(asdict(outcome)), flush=True)
    os._exit(0)


def _work(request: dict[str, Any], watch: Watch, found: list[Outcome]) -> None:
    try:
        found.append(_send(request, watch))
    except Exception as error:  # noqa: BLE001 - 170 services: one that fails is one not reached
        found.append(Outcome(reason=f"Apprise failed: {type(error).__name__}"))


def _send(request: dict[str, Any], watch: Watch) -> Outcome:
    asset = AppriseAsset(app_id="DCA bot", storage_mode=PersistentStoreMode.MEMORY)
    service = Apprise.instantiate(request["url"], asset=asset)
    if not isinstance(service, NotifyBase):
        scheme = request["url"].partition("://")[0].lower()
        known = NotificationManager()  # type: ignore[no-untyped-call]
        return Outcome(reason=UNUSABLE if scheme in known else UNKNOWN)
    if request["lines"] is None:
        return Outcome()
    service.socket_read_timeout = READ_SECONDS
    # What is still too long is cut: sent as it is, it would be refused for ever.
    service.overflow_mode = OverflowMode.TRUNCATE
    whole = Batch(lines=request["lines"], held_back=request["held_back"])
    batch = fit(whole, service.body_maxlen - SUBJECT_CHARACTERS)
    subject, body = compose_alert(batch, money=request["money"], is_mail=False)
    sender = Apprise(asset=asset)
    sender.add(service)
    if sender.notify(title=subject, body=body, body_format=NotifyFormat.TEXT):
        return Outcome(lines=len(batch.lines))
    return Outcome(reason=watch.reason, retry_after_seconds=watch.retry_after_seconds)


def fit(batch: Batch, max_characters: int) -> Batch:
    """The first lines, as many as fit, however they are escaped; the first one in any case."""
    count, room = 0, max_characters
    for line in batch.lines:
        room -= len(html.escape(line)) + len(_ESCAPED.findall(line)) + 4
        if count and room < 0:
            break
        count += 1
    return replace(batch, lines=batch.lines[:count])


def _note(request: dict[str, Any], outcome: Outcome) -> bool:
    """Whether the outbox could be written."""
    path = Path(request["outbox"])
    try:
        with changed(path.parent, path.name) as outbox:
            if outcome.lines:
                lines = request["lines"][: outcome.lines]
                batch = Batch(lines=lines, held_back=request["held_back"])
                outbox.mailed(batch, time.time())
            else:
                outbox.failed(time.time(), outcome.retry_after_seconds)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
