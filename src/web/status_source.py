"""Where the figures of the page come from. Blocking; one for a process, one thread at a time."""

from __future__ import annotations

import json

from config import Settings
from monitoring.status.status import StatusReader
from web.live import Picture
from web.status_view import gone_of, status_body


class StatusSource:
    """Loads a picture as often as asked."""

    def __init__(self, settings: Settings) -> None:
        self._reader = StatusReader(settings)

    def load(self) -> Picture:
        status = self._reader.load()
        body = status_body(status, None)
        text = json.dumps(body)
        return Picture(text=text, key=text, gone=gone_of(status))
