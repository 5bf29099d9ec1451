"""Who may use the page: the owner's token, the sessions that were opened with it, wrong attempts.

Owns two files in the run folder that only the owner can read: the tokens, and a hash of each
session. Neither is ever logged or sent, but for the link that `scripts/web` prints. A new token
ends every session: each belongs to the token with which it was opened.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path

from config import Settings
from utils.state_file import known_fields, load_state, locked, save_state

TOKENS_NAME, SESSIONS_NAME, LOCK_NAME = "web_tokens.json", "web_sessions.json", "web_tokens.lock"
SESSION_SECONDS = 30 * 86400.0
KEPT_SESSIONS = 50  # the oldest end first
MAX_WRONG, WRONG_SECONDS, LOCKED_SECONDS = 10, 60.0, 60.0
_BYTES = 32  # 256 bit


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """`token` opens the page, `metrics_token` reads /metrics, `csrf_key` proves that a change comes
    from a page of ours.
    """

    token: str
    metrics_token: str
    csrf_key: str


def load_tokens(settings: Settings) -> Tokens:
    """Those of this folder, made at the first call.

    Raises:
        OSError: the run folder cannot be written.
    """
    path = settings.run_dir / TOKENS_NAME
    if (known := _read_tokens(path)) is not None:
        return known
    with locked(settings.run_dir / LOCK_NAME):
        return _read_tokens(path) or _save_tokens(path, None)


def renew_token(settings: Settings) -> Tokens:
    """A new token for the page; that of /metrics stays.

    Raises:
        OSError: nothing was changed.
    """
    path = settings.run_dir / TOKENS_NAME
    with locked(settings.run_dir / LOCK_NAME):
        return _save_tokens(path, _read_tokens(path))


def _read_tokens(path: Path) -> Tokens | None:
    try:
        found = Tokens(**known_fields(Tokens, load_state(path)))
    except TypeError:
        return None
    return found if all(isinstance(one, str) and one for one in asdict(found).values()) else None


def _save_tokens(path: Path, before: Tokens | None) -> Tokens:
    new = [secrets.token_urlsafe(_BYTES) for _ in range(3)]
    metrics_token = new[1] if before is None else before.metrics_token
    tokens = Tokens(token=new[0], metrics_token=metrics_token, csrf_key=new[2])
    save_state(path, asdict(tokens))
    return tokens


class TooManyAttempts(Exception):
    """No token is looked at before `seconds` have passed, the right one neither."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"too many wrong tokens: try again in {seconds:.0f} s")
        self.seconds = seconds


class Access:
    """Of the process that serves the page. Reads the tokens anew when their file has changed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._tokens = load_tokens(settings)
        self._tokens_path = settings.run_dir / TOKENS_NAME
        self._seen = self._fingerprint()
        self._sessions_path = settings.run_dir / SESSIONS_NAME
        self._sessions = _readable(load_state(self._sessions_path))
        self._wrong: deque[float] = deque(maxlen=MAX_WRONG)
        self._locked_until = float("-inf")

    def open_session(self, token: str, *, now: float | None = None) -> str | None:
        """The cookie of a new session, or None for a wrong token.

        Raises:
            TooManyAttempts: the token was not looked at.
            OSError: the session could not be saved.
        """
        now = time.monotonic() if now is None else now
        if now < self._locked_until:
            raise TooManyAttempts(self._locked_until - now)
        if not is_same(token, self._current().token):
            self._wrong.append(now)
            if len(self._wrong) == MAX_WRONG and now - self._wrong[0] <= WRONG_SECONDS:
                self._locked_until = now + LOCKED_SECONDS
                self._wrong.clear()
            return None
        cookie = secrets.token_urlsafe(_BYTES)
        kept = {
            name: one for name, one in self._sessions.items() if self._is_valid(one, time.time())
        }
        newest = sorted(kept.items(), key=lambda one: one[1][0])[-(KEPT_SESSIONS - 1) :]
        self._save({**dict(newest), _hash(cookie): [time.time(), self._generation()]})
        return cookie

    def has_session(self, cookie: str) -> bool:
        """Whether it was opened with today's token, and not too long ago."""
        one = self._sessions.get(_hash(cookie))
        return one is not None and self._is_valid(one, time.time())

    def end_session(self, cookie: str) -> None:
        """Raises OSError: it goes on."""
        self._save({name: one for name, one in self._sessions.items() if name != _hash(cookie)})

    def csrf_of(self, cookie: str) -> str:
        """What every change in this session must carry."""
        return self.sign(f"csrf {cookie}")

    def is_csrf(self, cookie: str, value: str) -> bool:
        return is_same(value, self.csrf_of(cookie))

    def sign(self, text: str) -> str:
        """Proof that it was us who said `text`."""
        key = self._current().csrf_key.encode()
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()

    def may_read_metrics(self, token: str) -> bool:
        return is_same(token, self._current().metrics_token)

    def _is_valid(self, session: list[float | str], now: float) -> bool:
        opened_at, generation = session
        is_recent = 0 <= now - float(opened_at) < SESSION_SECONDS
        return is_recent and generation == self._generation()

    def _generation(self) -> str:
        return _hash(self._current().token)

    def _current(self) -> Tokens:
        seen = self._fingerprint()
        if seen != self._seen:  # by `scripts/web new-token`, or it was removed
            self._tokens, self._seen = load_tokens(self._settings), self._fingerprint()
        return self._tokens

    def _fingerprint(self) -> tuple[int, int] | None:
        try:
            found = self._tokens_path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def _save(self, sessions: dict[str, list[float | str]]) -> None:
        save_state(self._sessions_path, sessions)
        self._sessions = sessions


def _readable(state: dict[str, object]) -> dict[str, list[float | str]]:
    """Without what is no session: the file may be garbage."""
    return {
        name: one
        for name, one in state.items()
        if isinstance(one, list)
        and len(one) == 2
        and isinstance(one[0], int | float)
        and isinstance(one[1], str)
    }


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def is_same(given: str, wanted: str) -> bool:
    """In a time that says nothing of how much is right."""
    return hmac.compare_digest(_hash(given), _hash(wanted))
