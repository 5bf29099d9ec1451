"""The process that serves the page, as the watchdog and others see it."""

from __future__ import annotations

from dataclasses import dataclass

from config import Settings
from runtime.side_process import SideBeat, SideProcess

PAGE = SideProcess(
    name="web",
    program="cli.web",
    what="what serves the page",
    setting="WEB",
    # All that it shows or acts by; what only alerts or backs up is not its business.
    decisive=(
        *("web", "alpaca_", "db_", "live_", "pid_", "log_dir", "history_dir", "max_", "dump_"),
        *("taker_", "maker_", "minimum_", "heartbeat_", "stream_", "reconcile_"),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageBeat(SideBeat):
    """What the process knows of itself. `viewers`: open pages now; `requests`: so many it sent to
    the exchange since its start.
    """

    viewers: int = 0
    requests: int = 0


def address_of(settings: Settings) -> str:
    """Where a browser on this machine finds it."""
    scheme = "https" if settings.web_tls_cert else "http"
    host = settings.web_host
    if host in ("0.0.0.0", "::"):  # everywhere: so here, too
        host = settings.web_names[0].partition(":")[0] if settings.web_names else "127.0.0.1"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.web_port}"
