"""The process that serves the page, as the watchdog and others see it."""

from __future__ import annotations

from dataclasses import dataclass

from config import Settings, is_loopback
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


EVERYWHERE = ("0.0.0.0", "::")


def address_of(settings: Settings) -> str:
    """Where a browser on this machine finds it."""
    scheme = "https" if settings.web_tls_cert else "http"
    host = "127.0.0.1" if settings.web_host in EVERYWHERE else settings.web_host
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.web_port}"


def addresses_of(settings: Settings) -> list[str]:
    """That, and where others find it: by our own certificate, or by that of a reverse proxy."""
    found = [address_of(settings)]
    for name in settings.web_names:
        host, _, port = name.partition(":")
        is_tunnel = is_loopback(host) and settings.web_tls_cert is None
        if settings.web_tls_cert is not None and not port:
            name = f"{name}:{settings.web_port}"
        found.append(f"{'http' if is_tunnel else 'https'}://{name}")
    return found
