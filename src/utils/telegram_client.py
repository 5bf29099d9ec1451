"""Telegram's Bot API over HTTPS (https://core.telegram.org/bots/api). The only module that asks it.

The token is part of every address: no address and no text of an exception leaves this module.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

from config import Settings

ANSWER_SECONDS = 20.0
LONG_POLL_SECONDS = 25
UPDATES_AT_ONCE = 50
MAX_MESSAGE_UNITS = 4096  # of sendMessage; counted here in UTF-16, as its entities are
MAX_ANSWER_BYTES = 8_000_000


class TelegramError(Exception):
    """Telegram gave no usable answer; one line for a person, without the token."""


class TokenRefused(TelegramError):
    """401, or 404 for a token that never was one."""


class Shared(TelegramError):
    """409: another getUpdates of the same bot ended ours, or a webhook takes its updates."""


class TooManyRequests(TelegramError):
    """429."""

    def __init__(self, text: str, retry_after_seconds: float) -> None:
        super().__init__(text)
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class Answer:
    """`result` as the method documents it. `server_time`: epoch seconds, by Telegram's clock where
    it says its time: that of this machine may be wrong.
    """

    result: Any
    server_time: float


class TelegramClient:
    """One bot. Use it as a context; every method raises TelegramError."""

    def __init__(self, settings: Settings) -> None:
        self._base = f"{settings.telegram_api_url}/bot{settings.telegram_token}"
        self._token = settings.telegram_token or ""
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> TelegramClient:
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_reason: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def get_name(self) -> str:
        """The bot's username, without @."""
        result = (await self._ask("getMe", {})).result
        name = result.get("username") if isinstance(result, dict) else None
        if not isinstance(name, str):
            raise TelegramError("Telegram's answer to getMe has no username")
        return name

    async def get_updates(self, offset: int | None) -> Answer:
        """New updates, oldest first; waits for one for LONG_POLL_SECONDS. Those below `offset` are
        confirmed and never come again. None: from the earliest that is not confirmed.
        """
        asked: dict[str, Any] = {
            "timeout": LONG_POLL_SECONDS,
            "limit": UPDATES_AT_ONCE,
            "allowed_updates": ["message"],
        }
        if offset is not None:
            asked["offset"] = offset
        answer = await self._ask("getUpdates", asked, LONG_POLL_SECONDS + ANSWER_SECONDS)
        if not isinstance(answer.result, list):
            raise TelegramError("Telegram's answer to getUpdates is no list")
        return answer

    async def send_message(self, chat_id: int, text: str) -> None:
        """As it is: without parse_mode nothing in `text` is markup."""
        preview = {"is_disabled": True}
        asked = {"chat_id": chat_id, "text": text, "link_preview_options": preview}
        await self._ask("sendMessage", asked)

    async def set_commands(self, commands: Mapping[str, str]) -> None:
        """What Telegram's menu offers: names and descriptions."""
        listed = [{"command": name, "description": text} for name, text in commands.items()]
        await self._ask("setMyCommands", {"commands": listed})

    async def _ask(
        self, method: str, asked: dict[str, Any], seconds: float = ANSWER_SECONDS
    ) -> Answer:
        assert self._session is not None, "used outside its context"
        try:
            async with self._session.request(
                "POST",
                f"{self._base}/{method}",
                json=asked,
                timeout=aiohttp.ClientTimeout(total=seconds),
                allow_redirects=False,
            ) as response:
                body = await _read(response)
                status, date = response.status, response.headers.get("Date")
        # None: the address stands in what these say, and in what caused them.
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
            raise TelegramError(f"Telegram cannot be reached: {self._words(error)}") from None
        return Answer(self._result_of(status, body), _moment(date))

    def _words(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return "no answer in time"
        strerror = getattr(error, "strerror", None)
        return self._clean(strerror) if strerror else type(error).__name__

    def _result_of(self, status: int, body: bytes) -> Any:
        """What the answer holds (https://core.telegram.org/bots/api#making-requests)."""
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict) or not isinstance(answer.get("ok"), bool):
            raise TelegramError(f"Telegram answers {status} with something unreadable")
        if answer["ok"]:
            return answer.get("result")
        code = answer.get("error_code", status)
        text = f"Telegram answers {code}: {self._clean(answer.get('description', 'no reason'))}"
        if code in (401, 404):
            raise TokenRefused(text)
        if code == 409:
            raise Shared(text)
        if code == 429:
            parameters = answer.get("parameters")
            wait = parameters.get("retry_after") if isinstance(parameters, dict) else None
            raise TooManyRequests(text, float(wait) if isinstance(wait, int | float) else 5.0)
        raise TelegramError(text)

    def _clean(self, text: object) -> str:
        """One line, without the token should it ever stand there."""
        line = " ".join(str(text).split())[:200]
        secrets = (self._token, self._token.partition(":")[2])
        for secret in filter(None, secrets):
            line = line.replace(secret, "***")
        return line


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for part in response.content.iter_chunked(65536):
        body += part
        if len(body) > MAX_ANSWER_BYTES:
            raise ValueError("too long")
    return bytes(body)


def _moment(date: str | None) -> float:
    """What an HTTP Date says (whole seconds), else this machine's clock."""
    try:
        return parsedate_to_datetime(date).timestamp() if date else time.time()
    except ValueError:
        return time.time()


def split_message(text: str) -> list[str]:
    """In parts that sendMessage takes, cut at the ends of lines where there are any."""
    parts, rest = [], text.strip("\n")
    while _units(rest) > MAX_MESSAGE_UNITS:
        fits = rest[:MAX_MESSAGE_UNITS]
        while _units(fits) > MAX_MESSAGE_UNITS:
            fits = fits[: -max(1, (_units(fits) - MAX_MESSAGE_UNITS) // 2)]
        cut = fits.rfind("\n")
        cut = cut if cut > 0 else len(fits)
        parts.append(rest[:cut])
        rest = rest[cut:].lstrip("\n")
    return [*parts, rest] if rest else parts


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def ask_name(settings: Settings) -> str:
    """The bot's username. Blocking; not inside an event loop.

    Raises:
        TelegramError: no usable answer.
    """

    async def ask() -> str:
        async with TelegramClient(settings) as client:
            return await client.get_name()

    return asyncio.run(ask())
