"""The parameters of a request: each is honoured or refused, none is ignored.

A route names the parameters it takes; a request with any other is a bad request. The trading API
and the market data API refuse in words of their own: `refuse` makes the error.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import date
from typing import TypeVar

from aiohttp import web

from paper_exchange.core.clock import parse_time
from paper_exchange.core.errors import ApiError

T = TypeVar("T")
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


class Query:
    """The parameters of one request. A parameter without a value counts as not given."""

    def __init__(
        self, request: web.Request, takes: Collection[str], refuse: Callable[[str], ApiError]
    ) -> None:
        """Raises ApiError (400) when there is a parameter that the route does not take."""
        if unknown := sorted(set(request.query) - set(takes)):
            error = refuse(f"unexpected query parameter(s): {', '.join(unknown)}")
            raise ApiError(400, error.message, error.code)
        self._query = request.query
        self._path = request.match_info
        self._refuse = refuse

    def path(self, name: str) -> str:
        """A part of the address itself."""
        return self._path[name]

    def text(self, name: str) -> str | None:
        values = self._query.getall(name, [])
        if len(values) > 1:
            raise self._refuse(f"{name} is given more than once")
        return values[0] if values and values[0] else None

    def names(self, name: str) -> tuple[str, ...]:
        """A list: separated by commas, or the parameter repeated."""
        parts = ",".join(self._query.getall(name, [])).split(",")
        return tuple(part.strip() for part in parts if part.strip())

    def read(self, name: str, reader: Callable[[str], T]) -> T | None:
        text = self.text(name)
        if text is None:
            return None
        try:
            return reader(text)
        except ValueError:
            raise self._refuse(f"invalid {name}: {text}") from None

    def time(self, name: str) -> int | None:
        """Nanoseconds since the epoch."""
        return self.read(name, parse_time)

    def date(self, name: str) -> date | None:
        """A day, also when it comes with a time of day."""
        return self.read(name, lambda text: date.fromisoformat(text[:10]))

    def flag(self, name: str) -> bool:
        given = self.read(name, lambda text: self.one_of(name, text.lower(), _FLAGS))
        return _FLAGS[given] if given else False

    def number(self, name: str, default: int, maximum: int) -> int:
        number = self.read(name, int)
        if number is None:
            return default
        if not 1 <= number <= maximum:
            raise self._refuse(f"{name} must be between 1 and {maximum}")
        return number

    def choice(self, name: str, allowed: Iterable[str], default: str) -> str:
        text = self.text(name)
        return default if text is None else self.one_of(name, text, allowed)

    def one_of(self, name: str, text: str, allowed: Iterable[str]) -> str:
        if text not in allowed:
            raise self._refuse(f"invalid {name}: {text}")
        return text


Handler = Callable[[web.Request, Query], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """An address, its handler, and the query parameters it takes."""

    method: str
    path: str
    handler: Handler
    takes: tuple[str, ...] = ()

    def add_to(self, router: web.UrlDispatcher, refuse: Callable[[str], ApiError]) -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            return await self.handler(request, Query(request, self.takes, refuse))

        router.add_route(self.method, self.path, answer)
