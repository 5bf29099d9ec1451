"""Whether the daemon's quote stream is stalled: it is connected, and the exchange has newer quotes
than the daemon got. A market without new quotes is no fault.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime

from caretakers.plans.watchdog import Verdict
from config import Settings
from domain.market import Quote
from monitoring.status.daemon_status import DaemonStatus, load_daemon_status
from runtime.daemon_process import find_daemon, wait_for_newer_beat
from utils.formatting import span

BEAT_PATIENCE_SECONDS = 7.0
_SLACK_SECONDS = 2.0


def find_stalled_stream(
    settings: Settings, daemon: DaemonStatus, quotes: Mapping[str, Quote]
) -> str | None:
    """One line if it is stalled, else None. May wait for the daemon's next heartbeat."""
    newest = max(
        (quote.quoted_at for symbol, quote in quotes.items() if symbol in daemon.symbols),
        default=None,
    )
    if newest is None:
        return None
    newest = min(newest, datetime.now(UTC))  # the exchange's clock may be ahead
    if not _seems_stalled(settings, daemon, newest):
        return None
    # A heartbeat from before the quote shows nothing: wait for one from after it.
    process = find_daemon(settings)
    if process is not None and _beat_at(daemon) < newest.timestamp() + _SLACK_SECONDS:
        deadline = time.monotonic() + BEAT_PATIENCE_SECONDS
        while time.monotonic() < deadline:
            wait_for_newer_beat(process, settings, deadline - time.monotonic())
            daemon = load_daemon_status(settings)
            if _beat_at(daemon) >= newest.timestamp() + _SLACK_SECONDS:
                break
        else:
            return None  # no such heartbeat: not known
        if not _seems_stalled(settings, daemon, newest):
            return None
    heard = daemon.quotes.heard_seconds if daemon.quotes else None
    since = "ever" if heard is None else f"for {span(heard)}"
    return (
        f"its quote stream is stalled: connected, but no quote {since} while the exchange has new"
        " ones (it reconnects by itself; scripts/bot restart if that does not help)"
    )


def _seems_stalled(settings: Settings, daemon: DaemonStatus, newest: datetime) -> bool:
    stream = daemon.quotes
    if daemon.verdict not in (Verdict.WELL, Verdict.UNWELL, Verdict.STALLED) or stream is None:
        return False
    if not stream.is_connected or (daemon.uptime_seconds or 0.0) < settings.max_quote_age_seconds:
        return False
    if stream.heard_seconds is None:
        return True
    heard_at = datetime.now(UTC).timestamp() - stream.heard_seconds
    return newest.timestamp() - heard_at > settings.max_quote_age_seconds


def _beat_at(daemon: DaemonStatus) -> float:
    return time.time() - (daemon.beat_seconds if daemon.beat_seconds is not None else float("inf"))
