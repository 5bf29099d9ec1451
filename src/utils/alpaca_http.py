"""How a REST call can end: an answer, refused, not found, or nothing certain.

Owns: error classes, the retry of reads, that no request goes out without its turn (request_pace),
and what of the SDK's clients is replaced. Knows no endpoint.

Private names used (alpaca-py 0.44): `_session`, `_retry`, `_base_url` of the REST clients.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
from collections.abc import Callable
from json import dumps, loads
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

from domain.wire import WireError
from utils.alpaca_sdk import APIError, RESTClient, RetryException
from utils.http_answers import Answer, ExactAnswer
from utils.http_hosts import Host
from utils.http_ways import NoAnswer
from utils.log_events import LogEvent, log_event
from utils.request_pace import (
    FILE_NAME,
    SHARE_BESIDE_THE_DAEMON,
    SHARE_FOR_READS,
    AllowanceUsedUp,
    RequestPace,
)

log = logging.getLogger(__name__)
T = TypeVar("T")

CONNECT_TIMEOUT_SECONDS = 5
ANSWER_TIMEOUT_SECONDS = 10
READ_WAITS_SECONDS = (0.5, 1.5)  # three tries of a read
_COUNTED_PATH = "/v2/"  # trading; market data (/v1beta3/) has an allowance of its own
_FORBIDDEN_ORDER_CODE = 40310000  # 403 with it: this order, not these keys


class ExchangeError(Exception):
    """A call did not give its answer. The message is one line without secrets."""


class CredentialsRefused(ExchangeError):
    """The keys are wrong or may not do this: nothing will work until a person changes them."""


class ExchangeRefused(ExchangeError):
    """A 4xx: the exchange understood and declined. `status`: HTTP's; `code`: Alpaca's (0: none)."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(f"{message} (HTTP {status}{f', code {code}' if code else ''})")
        self.status, self.code, self.message = status, code, message


class NotFound(ExchangeRefused):
    """404: the exchange says that there is no such thing."""


class ExchangeUnavailable(ExchangeError):
    """Network, time-out, 429, 5xx or an unreadable body: nothing certain is known."""


class UnreadableAnswer(ExchangeUnavailable):
    """An answer came and makes no sense: asked again, the exchange would say the same."""


class RateLimited(ExchangeUnavailable):
    """429, or our own count forestalled it: nothing was done."""


class RequestsUsedUp(RateLimited):
    """Our own count: the request was not even sent; a read has waited for its turn in vain."""


class OrderOutcomeUnknown(ExchangeError):
    """A POST of an order was sent and nothing certain came back: ask for its client_order_id."""


_pace = RequestPace()
_share_for_reads = SHARE_FOR_READS
_sent = itertools.count()
_sent_so_far = 0


def pace_requests(run_dir: Path) -> None:
    """From now on every process with this run folder counts the same minute of one account."""
    global _pace
    _pace = RequestPace(run_dir / FILE_NAME, share_for_reads=_share_for_reads)


def stand_back() -> None:
    """The reads of this process are not to make those of the daemon wait. Before its first one."""
    global _share_for_reads
    _share_for_reads = SHARE_BESIDE_THE_DAEMON


def requests_sent() -> int:
    """How many this process has sent since its start, market data and repeats among them."""
    return _sent_so_far


def requests_left() -> int | None:
    """How many requests are still allowed in this minute; None when there is no limit."""
    return _pace.requests_left()


def _count_sent() -> None:
    global _sent_so_far
    _sent_so_far = next(_sent) + 1  # whole, whichever thread comes between


class _Session:
    """What the SDK's client uses of a session, for all threads. Cookies and redirects are off."""

    def __init__(self, origin: str, own_pace: RequestPace | None, *, is_exact: bool) -> None:
        self._origin = origin
        self._own_pace, self._is_exact = own_pace, is_exact
        self.host = Host(origin)

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str],
        allow_redirects: bool,
        params: Any = None,
        json: Any = None,
    ) -> Answer:
        """Send one request, with its turn if it is counted.

        Raises:
            AllowanceUsedUp: it was not sent. NoAnswer: it may have been carried out.
        """
        assert url.startswith(self._origin)
        assert not allow_redirects
        target = url[len(self._origin) :]
        pace = self._own_pace or (_pace if _COUNTED_PATH in target else None)
        # Without keys the SDK names them all the same, with None.
        headers = {name: value for name, value in headers.items() if value is not None}
        if isinstance(params, dict):
            given = {name: value for name, value in params.items() if value is not None}
            params = urlencode(given, doseq=True)
        if params:
            target += f"?{params}"
        body = None if json is None else dumps(json, allow_nan=False).encode()
        if pace is not None:
            pace.take(reads=method == "GET")
        _count_sent()
        answer = self.host.request(
            method,
            target,
            headers,
            body,
            connect_seconds=CONNECT_TIMEOUT_SECONDS,
            answer_seconds=ANSWER_TIMEOUT_SECONDS,
        )
        if pace is not None:
            pace.learn(answer.headers)
        if self._is_exact:
            return ExactAnswer(answer.status_code, answer.headers, answer.body)
        return answer


def prepare_rest_client(
    client: RESTClient, *, pace: RequestPace | None = None, is_exact: bool = False
) -> None:
    """Give a REST client time-outs, thread-safety and one pool of connections, and take away its
    own retry.

    Args:
        pace: counts every request of this client, which then takes nothing from the account's.
        is_exact: numbers with a point come as Decimal, with the digits of the answer.

    The SDK repeats a 429 and a 504 three times, POST /orders included (alpaca-facts): that could
    buy twice.
    """
    session = _Session(client._base_url + "", pace, is_exact=is_exact)
    client._session = session  # type: ignore[assignment]
    client._retry = 0


def keep_warm(client: RESTClient) -> None:
    """See that the next requests of a prepared client find open connections. Sends no request.
    When the host cannot be reached, whoever asks it next says so.
    """
    with contextlib.suppress(NoAnswer):
        client._session.host.keep_warm(CONNECT_TIMEOUT_SECONDS)  # type: ignore[attr-defined]


def call_once(call: Callable[[], Any]) -> Any:
    """Make one request; the answer is JSON of any shape.

    Raises:
        NotFound, ExchangeRefused, CredentialsRefused: the exchange declined.
        ExchangeUnavailable: anything else; a request that writes may have been carried out.
    """
    try:
        return call()
    except APIError as error:
        raise _sorted_error(error) from error
    except RetryException as error:  # the SDK's own retry, which is off: of a 429 or of a 504
        raise ExchangeUnavailable("repeated in vain") from error
    except AllowanceUsedUp as error:
        raise RequestsUsedUp(str(error)) from error
    except NoAnswer as error:
        raise ExchangeUnavailable(f"no answer: {error}") from error
    except ValueError as error:  # a body that is not JSON
        raise ExchangeUnavailable("the answer is not JSON") from error


def read(call: Callable[[], Any]) -> Any:
    """Make a request that only reads: tried again, within bounds, when nothing certain came back.

    Raises:
        As `call_once`.
    """
    for wait_seconds in (*READ_WAITS_SECONDS, None):
        try:
            return call_once(call)
        except RequestsUsedUp:
            raise  # it has waited already
        except ExchangeUnavailable as error:
            if wait_seconds is None:
                raise
            log_event(log, LogEvent.READ_REPEATED, reason=error)
            time.sleep(wait_seconds)  # a bounded pause between tries
    raise AssertionError("unreachable")


def read_list(call: Callable[[], Any], noun: str) -> list[dict[str, Any]]:
    """As `read`, of an answer that must be a list of objects; `noun` says of what."""
    answer = read(call)
    if not isinstance(answer, list) or not all(isinstance(one, dict) for one in answer):
        raise ExchangeUnavailable(f"the list of {noun} is not a list of {noun}")
    return answer


def parsed(parse: Callable[[Any], T], answer: Any) -> T:
    """`answer` as `parse` makes it.

    Raises:
        UnreadableAnswer: it cannot be used.
    """
    try:
        return parse(answer)
    except (WireError, AttributeError, KeyError, TypeError) as error:
        raise UnreadableAnswer(f"unusable answer: {error}") from error


def _sorted_error(error: APIError) -> ExchangeError:
    status = error.status_code or 0
    code, message = _body_of(error)
    if status == 404:
        if not (code or message):  # the page of some proxy
            return ExchangeUnavailable("not found, but Alpaca did not say so (HTTP 404)")
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
        body = loads(str(error))
        code, message = body.get("code", 0), body.get("message", "")
    except (ValueError, AttributeError):
        return 0, ""
    return (code if isinstance(code, int) else 0), " ".join(str(message).split())[:300]
