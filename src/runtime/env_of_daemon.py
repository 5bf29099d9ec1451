"""Which settings a daemon was started with, and which of them `.env` has changed since.

A daemon reads `.env` once. Whoever sets a limit on losses and does not restart it would believe in
a limit that is not there: status and doctor say so. Compared is the file with itself, so that the
process environment, which wins over it, makes no difference between two programs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields

from config import Settings, SettingsError, read_env_file

# Read anew by who uses them: a caretaker, a tool, what answers on Telegram, the page.
_NOT_OF_THE_DAEMON = frozenset(
    {
        "BACKUP_DIR",
        "HEARTBEAT_URL",
        "HISTORY_DIR",
        "LIVE_TRADING_CONFIRMED",  # asked at the start only
        "STREAM_LOST_SECONDS",
        "TELEGRAM_API_URL",
        "TELEGRAM_CHATS",
        "TELEGRAM_TOKEN",
        "WEB",
        "WEB_HOST",
        "WEB_NAMES",
        "WEB_PORT",
        "WEB_TLS_CERT",
        "WEB_TLS_KEY",
    }
)
_SECRETS = frozenset(spec.name.upper() for spec in fields(Settings) if not spec.repr)
_DIGITS = 4  # of a secret's hash: they show a change, and are too few to guess the secret from


def read_daemon_settings() -> dict[str, str]:
    """What `.env` says now of what the daemon goes by; secrets as a few digits of their hash.

    Raises:
        SettingsError: see `read_env_file`.
    """
    names = {spec.name.upper() for spec in fields(Settings)} - _NOT_OF_THE_DAEMON
    values = {name: value.strip() for name, value in read_env_file().items() if name in names}
    return {name: _shown(name, value) for name, value in values.items() if value}


def find_changed_settings(of_daemon: Mapping[str, str] | None) -> tuple[str, ...]:
    """The names that `.env` says something else of now; none where that cannot be known."""
    if of_daemon is None:
        return ()
    try:
        now = read_daemon_settings()
    except SettingsError:
        return ()  # whoever reads the settings says what is wrong with them
    names = sorted(now.keys() | of_daemon.keys())
    return tuple(name for name in names if now.get(name) != of_daemon.get(name))


def _shown(name: str, value: str) -> str:
    if name not in _SECRETS:
        return value
    return hashlib.sha256(value.encode("utf-8")).hexdigest()[:_DIGITS]
