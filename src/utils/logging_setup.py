"""Where log lines go and in what form: one event, one line, `noun.past_participle key=value ...`.

Owns: handlers, formats, rotation, and the filter that keeps secrets out of every line at every
level.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path

from config import Settings, Topic
from utils.notifications import AlertHandler, list_channels

_FORMAT = "%(asctime)s %(levelname)-7s %(name)s %(message)s"
OUTPUT_NAME = "main_app.out"  # what the daemon prints where it cannot log: settings, a crash
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


class LogFile(RotatingFileHandler):
    """A file that cannot be written (a full disk) is one line on standard error until it can be
    again: what the program was called for goes on.
    """

    _has_failed = _is_failing = False

    def emit(self, record: logging.LogRecord) -> None:
        self._has_failed = False
        super().emit(record)
        self._is_failing = self._has_failed

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        self._has_failed = True
        if not self._is_failing and sys.stderr is not None:
            reason = error.strerror or str(error)
            with contextlib.suppress(OSError):  # it may be a file on the same disk
                print(f"cannot log to {self.baseFilename}: {reason}: make room", file=sys.stderr)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what it could not write, and has said so
            super().close()


def setup_logging(settings: Settings, program: str, *, console: bool = True) -> None:
    """Log to `LOG_DIR/<program>.log` (rotated) and, if `console`, to standard error, unless that is
    the file beside it in which its output is kept: no line stands in both.

    Raises:
        OSError: when the log folder cannot be written.
    """
    settings.log_dir.mkdir(parents=True, exist_ok=True)
    formatter = logging.Formatter(_FORMAT)
    formatter.converter = time.gmtime  # UTC, as everything here
    file = LogFile(settings.log_dir / f"{program}.log", encoding="utf-8")
    file.maxBytes, file.backupCount = _FILE_BYTES, _FILES_KEPT
    handlers: list[logging.Handler] = [file]
    outputs = (OUTPUT_NAME, f"{program}.out")
    if console and not any(_is_standard_error(settings.log_dir / name) for name in outputs):
        handlers.append(logging.StreamHandler(sys.stderr))
    for handler in handlers:
        handler.setLevel(settings.log_level)
    if list_channels(settings):
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
    quietest = logging.INFO if settings.alert_on - {Topic.ERRORS} else logging.WARNING
    root.setLevel(min(quietest, logging.getLevelNamesMapping()[settings.log_level]))
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


def _is_standard_error(path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(sys.stderr.fileno()), path.stat())
    except (AttributeError, OSError, ValueError):  # closed, or no file at all
        return False
