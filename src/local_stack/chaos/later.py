"""Runs a script of the project as if it were so many seconds later.

    python -m local_stack.chaos.later SECONDS scripts/consistency_checker.py [arguments]

For what happens only after a day has ended. Only our own modules see the later time; the clock of
the packages and the monotonic clock stay as they are. For a local stack only.
"""

from __future__ import annotations

import builtins
import runpy
import sys
import time
from collections.abc import Iterator
from datetime import datetime as real_datetime
from datetime import timedelta, tzinfo
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

SRC = Path(__file__).resolve().parents[2]


class _AnyDatetime(type):
    """Instances made by the packages count as ours."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, real_datetime)


def shift_clock(seconds: float) -> None:
    """Set the wall clock of our modules ahead, as each is loaded."""
    ahead = timedelta(seconds=seconds)

    class datetime(real_datetime, metaclass=_AnyDatetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return real_datetime.now(tz) + ahead

    later = SimpleNamespace(**vars(time))
    later.time = lambda: time.time() + seconds
    really_import = builtins.__import__
    depth = 0

    def import_and_shift(*what: Any, **more: Any) -> ModuleType:
        nonlocal depth
        depth += 1
        try:
            imported = really_import(*what, **more)
        finally:
            depth -= 1
        if depth == 0:
            for module in _our_modules():
                if getattr(module, "datetime", None) is real_datetime:
                    module.datetime = datetime  # type: ignore[attr-defined]
                if getattr(module, "time", None) is time:
                    module.time = later  # type: ignore[attr-defined]
        return imported

    builtins.__import__ = import_and_shift


def _our_modules() -> Iterator[ModuleType]:
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if name != "__main__" and path and SRC in Path(path).parents:
            yield module


if __name__ == "__main__":
    shift_clock(float(sys.argv[1]))
    sys.argv = sys.argv[2:]
    runpy.run_path(sys.argv[0], run_name="__main__")
