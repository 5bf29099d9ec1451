"""Tells a watcher outside this machine that all is well: HEARTBEAT_URL, of a service for that."""

from __future__ import annotations

import http.client
import urllib.request

PING_SECONDS = 5.0


def ping(url: str) -> str | None:
    """GET `url`. None when it answered well, else one line why not, without the URL (a secret)."""
    request = urllib.request.Request(url, headers={"User-Agent": "dca-crypto-bot"})
    try:
        with urllib.request.urlopen(request, timeout=PING_SECONDS):
            return None
    # ValueError: what only the HTTP library finds malformed in the URL.
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"{type(error).__name__}: {error}".replace(url, "the URL")
