"""Frozen records that are made quickly: `quick` on the dataclass, and `replace`. No I/O.

    @quick
    @dataclass(frozen=True, slots=True, kw_only=True)
    class DcaCycle: ...

A frozen dataclass writes each field through `object.__setattr__`, which takes ten times as long as
an assignment, and a replay makes a dozen records for each order. A quick one is filled while it is
of its twin, a class of the same slots that is not frozen, and frozen from then on like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, TypeVar

Record = TypeVar("Record")


def quick(cls: type[Record]) -> type[Record]:
    """Make the records of a frozen dataclass with slots quicker to make, and ready for `replace`.

    Raises:
        TypeError: a class of which a record is more than its fields.
    """
    slots = getattr(cls, "__slots__", ())
    specs: tuple[Any, ...] = fields(cls)  # type: ignore[arg-type]
    names = tuple(spec.name for spec in specs)
    is_plain = tuple(slots) == names and cls.__bases__ == (object,)
    is_frozen = cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    if not is_plain or not is_frozen or hasattr(cls, "__post_init__"):
        raise TypeError(f"{cls.__name__} is no plain frozen dataclass with slots")
    twin = type(cls.__name__, (), {"__slots__": names})
    scope: dict[str, Any] = {"thaw": object.__setattr__, "twin": twin, "cls": cls, "new": twin}
    positional: list[str] = []
    named: list[str] = []
    fills = ["thaw(self, '__class__', twin)"]
    for spec in specs:
        default = spec.default
        filled = spec.name
        if spec.default_factory is not MISSING:
            default, filled = None, f"made_{spec.name}() if {spec.name} is None else {spec.name}"
            scope[f"made_{spec.name}"] = spec.default_factory
        scope[f"default_{spec.name}"] = default
        parameter = spec.name if default is MISSING else f"{spec.name}=default_{spec.name}"
        (named if spec.kw_only else positional).append(parameter)
        fills.append(f"self.{spec.name} = {filled}")
    parameters = ", ".join(["self", *positional, *(["*", *named] if named else [])])
    init = _compile(f"def __init__({parameters})", [*fills, "self.__class__ = cls"], scope)
    init.__annotations__ = cls.__init__.__annotations__
    copies = [f"copy.{name} = self.{name}" for name in names]
    thawed = _compile("def thawed(self)", ["copy = new()", *copies, "return copy"], scope)
    for name, function in (("__init__", init), ("_thawed", thawed)):
        function.__qualname__ = f"{cls.__qualname__}.{name}"
        setattr(cls, name, function)
    return cls


def _compile(head: str, lines: list[str], scope: dict[str, Any]) -> Callable[..., Any]:
    found: dict[str, Any] = {}
    exec("\n  ".join([f"{head}:", *lines]), scope, found)
    return next(iter(found.values()))  # type: ignore[no-any-return]


if TYPE_CHECKING:
    from dataclasses import replace as replace  # mypy knows the fields of what it changes
else:

    def replace(record, /, **changes):
        """A quick record with some fields changed, as `dataclasses.replace`.

        Raises:
            AttributeError: it has no such field.
        """
        copy = record._thawed()
        for name, value in changes.items():
            setattr(copy, name, value)
        copy.__class__ = record.__class__
        return copy
