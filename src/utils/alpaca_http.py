"""How a REST call can end: an answer, refused, not found, or nothing certain. Sorts Alpaca's
errors, retries reads.

Owns: error classes, the retry of reads, and the pace under Alpaca's 200 requests a minute. Knows no
endpoint.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from alpaca.common.exceptions import APIError, RetryException
from requests.adapters import HTTPAdapter

from config import is_loopback
from utils.logging_setup import log_event

log = logging.getLogger(__name__)
T = TypeVar("T")

CONNECT_TIMEOUT_SECONDS = 5
ANSWER_TIMEOUT_SECONDS = 10
READ_WAITS_SECONDS = (0.5, 1.5)  # three tries of a read
LONGEST_RATE_WAIT_SECONDS = 20.0
REQUESTS_KEPT_FOR_ORDERS = 20  # reads pause when so few of the minute's requests are left
# Of what the exchange allows in its minute, one process reads so much in any 60 seconds: the end of
# one minute and the beginning of the next could add up to twice the allowance.
SHARE_OF_ANY_MINUTE = 0.7
MINUTE_SECONDS = 60.0
USUAL_LIMIT = 200
_FORBIDDEN_ORDER_CODE = 40310000  # 403 with it: this order, not these keys


class ExchangeError(Exception):
    """A call did not give its answer. The message is one line without secrets."""


class CredentialsRefused(ExchangeError):
    """The keys are wrong or may not do this: nothing will work until a person changes them."""


class ExchangeRefused(ExchangeError):
    """A 4xx: the exchange understood and declined.

    `status` is HTTP's, `code` Alpaca's (0: none).
    """

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(f"{message} (HTTP {status}{f', code {code}' if code else ''})")
        self.status, self.code, self.message = status, code, message


class NotFound(ExchangeRefused):
    """404: the exchange says that there is no such thing."""


class ExchangeUnavailable(ExchangeError):
    """Network, time-out, 429, 5xx or an unreadable body: nothing certain is known."""


class RateLimited(ExchangeUnavailable):
    """429: nothing was done."""


class OrderOutcomeUnknown(ExchangeError):
    """A POST of an order was sent and nothing certain came back: ask for its client_order_id."""


class _RatePace:
    """What the last answers said of the minute's allowance, and our own last minute. For all
    threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        self._remaining: int | None = None
        self._reset_at = 0.0  # wall clock, as the header counts
        self._limit = 0
        self._answered_at: deque[float] = deque()  # monotonic, within the last minute

    def learn(self, headers: Any) -> None:
        try:
            limit, remaining, reset_at = (
                int(headers.get("X-RateLimit-Limit", USUAL_LIMIT)),
                int(headers["X-RateLimit-Remaining"]),
                float(headers["X-RateLimit-Reset"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            return  # without the headers there is nothing to respect
        with self._lock:
            self._limit, self._remaining, self._reset_at = limit, remaining, reset_at
            self._answered_at.append(time.monotonic())

    def seconds_until_allowed(self) -> float:
        with self._lock:
            wait_seconds = max(self._until_reset(), self._until_share())
            return min(wait_seconds, LONGEST_RATE_WAIT_SECONDS)

    def _until_reset(self) -> float:
        if self._remaining is None or self._remaining > REQUESTS_KEPT_FOR_ORDERS:
            return 0.0
        wait_seconds = self._reset_at - time.time()
        if wait_seconds <= 0:
            self._remaining = None
        return max(wait_seconds, 0.0)

    def _until_share(self) -> float:
        now, recent = time.monotonic(), self._answered_at
        while recent and recent[0] <= now - MINUTE_SECONDS:
            recent.popleft()
        excess = len(recent) - int(self._limit * SHARE_OF_ANY_MINUTE)
        return 0.0 if excess < 0 or not recent else recent[excess] + MINUTE_SECONDS - now

    def requests_left(self) -> int | None:
        with self._lock:
            return self._remaining if time.time() < self._reset_at else None


_pace = _RatePace()


def forget_requests() -> None:
    """Another account, or another exchange: what was counted for the last one says nothing."""
    _pace.forget()


def requests_left() -> int | None:
    """How many requests the exchange still allows in this minute; None when it has not said."""
    return _pace.requests_left()


class TimeoutAdapter(HTTPAdapter):
    """Gives every request a time-out (the SDK sets none) and reads the rate-limit headers."""

    def send(self, request: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = (CONNECT_TIMEOUT_SECONDS, ANSWER_TIMEOUT_SECONDS)
        response = super().send(request, **kwargs)
        _pace.learn(response.headers)
        return response


class ThreadSessions:
    """One `requests.Session` per thread behind the one that the SDK holds.

    Sessions are not thread-safe.
    """

    def __init__(self) -> None:
        self._local = threading.local()

    def request(self, method: str, url: str, **options: Any) -> requests.Response:
        session = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            session.mount("https://", TimeoutAdapter())
            session.mount("http://", TimeoutAdapter())
            self._local.session = session
        session.trust_env = not is_loopback(urlsplit(url).hostname or "")  # no proxy to ourselves
        response: requests.Response = session.request(method, url, **options)
        return response


def call_once(call: Callable[[], T]) -> T:
    """Make one request and sort its error.

    Raises:
        NotFound, ExchangeRefused, CredentialsRefused: the exchange declined.
        ExchangeUnavailable: anything else; a request that writes may have been carried out.
    """
    try:
        return call()
    except APIError as error:
        raise _sorted_error(error) from error
    except RetryException as error:
        raise RateLimited("rate limited") from error
    except requests.RequestException as error:
        raise ExchangeUnavailable(f"no answer: {type(error).__name__}") from error
    except ValueError as error:  # a body that is not JSON (requests raises its own subclass)
        raise ExchangeUnavailable("the answer is not JSON") from error


def read(call: Callable[[], T]) -> T:
    """Make a request that only reads: tried again, within bounds, when nothing certain came back.

    Raises:
        As `call_once`.
    """
    for wait_seconds in (*READ_WAITS_SECONDS, None):
        if pause_seconds := _pace.seconds_until_allowed():
            log_event(log, logging.WARNING, "requests.paused", seconds=round(pause_seconds, 1))
            time.sleep(
                pause_seconds
            )  # the exchange names the moment; there is no condition to await
        try:
            return call_once(call)
        except ExchangeUnavailable as error:
            if wait_seconds is None:
                raise
            log.debug("read.repeated reason=%s", error)
            time.sleep(wait_seconds)  # a bounded pause between tries
    raise AssertionError("unreachable")


def _sorted_error(error: APIError) -> ExchangeError:
    status = error.status_code or 0
    code, message = _body_of(error)
    if status == 404:
        if not (code or message):  # a page of some proxy: not Alpaca's own word
            return ExchangeUnavailable("not found, in no words of Alpaca's (HTTP 404)")
        return NotFound(status, code, message or "not found")
    if status == 401 or (status == 403 and code != _FORBIDDEN_ORDER_CODE):
        return CredentialsRefused(
            f"Alpaca refused the keys (HTTP {status}): check ALPACA_API_KEY and ALPACA_SECRET_KEY"
        )
    if status == 429:
        return RateLimited(f"{message or 'too many requests'} (HTTP 429)")
    if status >= 500 or status < 400:
        return ExchangeUnavailable(f"{message or 'no usable answer'} (HTTP {status})")
    return ExchangeRefused(status, code, message or "refused")


def _body_of(error: APIError) -> tuple[int, str]:
    """Code and message; bodies without a code (401, 429) and without JSON (an HTML 502) exist."""
    try:
        body = json.loads(str(error))
        code, message = body.get("code", 0), body.get("message", "")
    except (ValueError, AttributeError):
        return 0, ""
    return (code if isinstance(code, int) else 0), " ".join(str(message).split())[:300]
