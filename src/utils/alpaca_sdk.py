"""What the bot takes from alpaca-py, loaded without pandas and numpy.

Owns: how the SDK is loaded. It imports both at once, for tables that no part of the bot asks for:
more than half of the time that a daemon needs to start and a caretaker needs each minute, and half
of the memory. While its modules load, a stand-in answers to both names and loads the real package
as soon as something of it is used; who imports them later gets the real ones, as always.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

_FOR_TABLES = ("numpy", "pandas")


class _LoadedWhenUsed(ModuleType):
    """The package of this name, as it looks to a module that only imports it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what the import system asks of each module
            raise AttributeError(name)
        return getattr(import_module(self.__name__), name)

    def DataFrame(self, *args: Any, **kwargs: Any) -> Any:
        """The SDK names it in an annotation: that is no use of it."""
        return import_module("pandas").DataFrame(*args, **kwargs)


@contextmanager
def _tables_loaded_when_used() -> Iterator[None]:
    stand_ins = {name: _LoadedWhenUsed(name) for name in _FOR_TABLES if name not in sys.modules}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name in stand_ins:
            del sys.modules[name]


with _tables_loaded_when_used():
    from alpaca.common.enums import BaseURL
    from alpaca.common.exceptions import APIError, RetryException
    from alpaca.common.rest import RESTClient
    from alpaca.common.utils import get_default_user_agent
    from alpaca.data.historical.crypto import CryptoHistoricalDataClient
    from alpaca.data.live.crypto import CryptoDataStream
    from alpaca.trading.client import TradingClient
    from alpaca.trading.models import Order, TradeAccount
    from alpaca.trading.stream import TradingStream

__all__ = [
    "APIError",
    "BaseURL",
    "CryptoDataStream",
    "CryptoHistoricalDataClient",
    "Order",
    "RESTClient",
    "RetryException",
    "TradeAccount",
    "TradingClient",
    "TradingStream",
    "get_default_user_agent",
]
