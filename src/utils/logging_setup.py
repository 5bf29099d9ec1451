"""Where log lines go and in what form: one event, one line, `noun.past_participle key=value ...`.

Owns: handlers, formats, rotation, and the filter that keeps secrets out of every line at every
level.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path

from config import Settings
from utils.notifications import AlertHandler

_FORMAT = "%(asctime)s %(levelname)-7s %(name)s %(message)s"
_FILE_BYTES = 5_000_000
_FILES_KEPT = 5
# These print whole frames and headers at DEBUG, the keys of the handshake among them.
_CHATTY = ("websockets", "urllib3", "mysql.connector", "asyncio")


class SecretFilter(logging.Filter):
    """Replaces every secret of the settings by `***`, in tracebacks too."""

    def __init__(self, secrets: list[str]) -> None:
        super().__init__()
        self._secrets = [secret for secret in secrets if len(secret) >= 4]

    def filter(self, record: logging.LogRecord) -> bool:
        text = " ".join(record.getMessage().splitlines())  # one event, one line
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        for secret in self._secrets:
            text = text.replace(secret, "***")
            if record.exc_text:
                record.exc_text = record.exc_text.replace(secret, "***")
        record.msg, record.args = text, None
        return True


def setup_logging(settings: Settings, program: str, *, console: bool = True) -> None:
    """Log to `LOG_DIR/<program>.log` (rotated) and, if `console`, to standard error, unless that is
    kept in the log folder as well (main_app.out, cron.out): no line stands there twice.

    Raises:
        OSError: when the log folder cannot be written.
    """
    settings.log_dir.mkdir(parents=True, exist_ok=True)
    formatter = logging.Formatter(_FORMAT)
    formatter.converter = time.gmtime  # UTC, as everything here
    file = RotatingFileHandler(settings.log_dir / f"{program}.log", encoding="utf-8")
    file.maxBytes, file.backupCount = _FILE_BYTES, _FILES_KEPT
    handlers: list[logging.Handler] = [file]
    if console and not _is_kept_in(settings.log_dir):
        handlers.append(logging.StreamHandler(sys.stderr))
    for handler in handlers:
        handler.setLevel(settings.log_level)
    if settings.smtp_host and settings.alert_mails_per_hour:
        handlers.append(AlertHandler(settings))  # whatever the level of the files
    secrets = SecretFilter(settings.secret_values())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    for handler in handlers:
        handler.setFormatter(formatter)
        handler.addFilter(secrets)
        root.addHandler(handler)
    root.setLevel(min(logging.WARNING, logging.getLevelNamesMapping()[settings.log_level]))
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


def _is_kept_in(log_dir: Path) -> bool:
    """Whether standard error is an output file of the log folder."""
    try:
        error = os.fstat(sys.stderr.fileno())
        return any(os.path.samestat(error, one.stat()) for one in log_dir.glob("*.out"))
    except (AttributeError, OSError, ValueError):  # closed, or no file at all
        return False
