"""Records as JSON text and back, exact to the last digit: for the state file.

Decimals, enums, dates and the package's own dataclasses are tagged with their kind.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from types import ModuleType
from typing import Any

from paper_exchange.core import account, activities, fees, orders, profile, state


def _classes(*modules: ModuleType) -> dict[str, type]:
    """Every dataclass and enum that these modules define, by its name."""
    return {
        name: kind
        for module in modules
        for name, kind in vars(module).items()
        if isinstance(kind, type) and (is_dataclass(kind) or issubclass(kind, Enum))
    }


_CLASSES = _classes(account, activities, fees, orders, profile, state)


class Codec:
    """`shared`: records that others refer to are written as a reference to their id."""

    def __init__(self, shared: Mapping[str, activities.ExecutionRecord]) -> None:
        self._shared = shared

    def text(self, value: object) -> str:
        """The record itself in full, those in it by reference."""
        is_shared = isinstance(value, activities.ExecutionRecord)
        return json.dumps(self._fields(value) if is_shared else self._encode(value))

    def read(self, text: str) -> Any:
        """Raises KeyError, TypeError or ValueError for what this version does not know."""
        return self._decode(json.loads(text))

    def _encode(self, value: object) -> object:
        match value:
            case None | bool() | int() | float() | str():
                return value
            case Decimal():
                return {"decimal": str(value)}
            case Enum():
                return {"enum": type(value).__name__, "value": value.value}
            case date():
                return {"date": value.isoformat()}
            case list() | tuple():
                return [self._encode(one) for one in value]
            case dict():
                return {"map": {key: self._encode(one) for key, one in value.items()}}
            case activities.ExecutionRecord():
                return {"execution": value.execution_id}
        return self._fields(value)

    def _fields(self, record: Any) -> object:
        body = {one.name: self._encode(getattr(record, one.name)) for one in fields(record)}
        return {"class": type(record).__name__, "fields": body}

    def _decode(self, value: object) -> object:
        if isinstance(value, list):
            return [self._decode(one) for one in value]
        if not isinstance(value, dict):
            return value
        kind, content = next(iter(value.items()))
        readers: dict[str, Callable[[], object]] = {
            "decimal": lambda: Decimal(content),
            "enum": lambda: _CLASSES[content](value["value"]),
            "date": lambda: date.fromisoformat(content),
            "map": lambda: {key: self._decode(one) for key, one in content.items()},
            "execution": lambda: self._shared[content],
            "class": lambda: _CLASSES[content](
                **{name: self._decode(one) for name, one in value["fields"].items()}
            ),
        }
        return readers[kind]()
