"""Whether a stream can be opened with our keys: connect, authenticate, close. Subscribes nothing.

Each takes the account's only connection of its kind for a moment: never while a daemon needs it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from config import Settings
from utils.alpaca_sdk import BaseURL

STEP_SECONDS = 5.0
_TAKEN_STATUS, _TAKEN_CODE = 429, 406


class StreamTaken(Exception):
    """It can be reached, but another program holds the account's only connection."""


class StreamClosed(Exception):
    """It cannot be used; one line why, without keys."""


def probe_data_stream(settings: Settings) -> None:
    """Raises StreamTaken, StreamClosed."""
    default = f"{BaseURL.MARKET_DATA_STREAM.value}/v1beta3/crypto/us"

    def talk(socket: ClientConnection) -> None:
        _receive(socket)  # "connected"
        keys = {"key": settings.alpaca_api_key, "secret": settings.alpaca_secret_key}
        socket.send(json.dumps({"action": "auth", **keys}))
        answer = _receive(socket)
        message = answer[0] if isinstance(answer, list) and answer else answer
        if not isinstance(message, dict) or message.get("msg") != "authenticated":
            raise _refused(message)

    _probe(settings.alpaca_data_stream_url or default, talk)


def probe_trade_stream(settings: Settings) -> None:
    """Raises StreamTaken, StreamClosed."""
    base = BaseURL.TRADING_STREAM_PAPER if settings.alpaca_paper else BaseURL.TRADING_STREAM_LIVE

    def talk(socket: ClientConnection) -> None:
        keys = {"key_id": settings.alpaca_api_key, "secret_key": settings.alpaca_secret_key}
        socket.send(json.dumps({"action": "authenticate", "data": keys}))
        answer = _receive(socket)
        data = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(data, dict) or data.get("status") != "authorized":
            raise StreamClosed("it refused the keys")

    _probe(settings.alpaca_trading_stream_url or base.value, talk)


def _refused(message: Any) -> Exception:
    code = message.get("code") if isinstance(message, dict) else None
    words = message.get("msg") if isinstance(message, dict) else "an unknown answer"
    if code == _TAKEN_CODE:
        return StreamTaken(str(words))
    return StreamClosed(f"it refused: {words} (code {code})")


def _probe(url: str, talk: Callable[[ClientConnection], None]) -> None:
    try:
        # No proxy, as the daemon's own streams.
        with connect(
            url, open_timeout=STEP_SECONDS, close_timeout=1, proxy=None, ping_interval=None
        ) as socket:
            talk(socket)
    except InvalidStatus as error:
        status = error.response.status_code
        if status == _TAKEN_STATUS:
            raise StreamTaken("too many connections (HTTP 429)") from None
        raise StreamClosed(f"it refused the connection (HTTP {status})") from None
    except TimeoutError:
        raise StreamClosed(f"no answer within {STEP_SECONDS:.0f} s") from None
    except (OSError, WebSocketException, ValueError) as error:
        raise StreamClosed(f"no connection: {type(error).__name__}") from None


def _receive(socket: ClientConnection) -> Any:
    return json.loads(socket.recv(timeout=STEP_SECONDS))
