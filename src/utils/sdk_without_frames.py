"""Loads Alpaca's SDK without pandas and numpy, which it imports for data frames that the bot never
asks for: a third of a daemon's memory, and most of the time that it takes to start.

Import this before anything imports `alpaca`; where that has happened, or pandas is loaded, it does
nothing. Whoever uses a data frame of the SDK after all gets it: that is when pandas is loaded.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

_FRAMES = ("pandas", "numpy")
_USERS = ("alpaca.data.models.base", "alpaca.trading.requests")  # alpaca-py 0.44


class _Later(ModuleType):
    """Stands for a package until something of it is used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(importlib.import_module(self.__name__), name)


def _load() -> None:
    if {"alpaca", *_FRAMES} & sys.modules.keys():
        return
    packages = {name: _Later(name) for name in _FRAMES}
    frames: Any = packages["pandas"]
    frames.DataFrame = object  # named in an annotation, which is all that is needed to load
    sys.modules.update(packages)
    try:
        for name in _USERS:
            importlib.import_module(name)
    finally:
        for name in _FRAMES:
            del sys.modules[name]
        del frames.DataFrame


_load()
