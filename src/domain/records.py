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

_OURS = {"_cls", "twin", "record", "self", "copy", "restore", "missing"}  # in what is compiled


def quick(cls: type[Record]) -> type[Record]:
    """Make the records of a frozen dataclass with slots quicker to make, and ready for `replace`.

    Raises:
        TypeError: a class of which a record is more than its fields, or whose fields cannot all be
            given by their names.
    """
    specs: tuple[Any, ...] = fields(cls)  # type: ignore[arg-type]
    names = tuple(spec.name for spec in specs)
    is_plain = getattr(cls, "__slots__", ()) == names and cls.__bases__ == (object,)
    is_frozen = cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    is_given = all(spec.init for spec in specs) and _OURS.isdisjoint(names)
    if not (is_plain and is_frozen and is_given) or hasattr(cls, "__post_init__"):
        raise TypeError(f"{cls.__name__} is no plain frozen dataclass with slots")
    twin = type(cls.__name__, (), {"__slots__": names})
    scope: dict[str, Any] = {"twin": twin, "missing": MISSING}
    positional: list[str] = []
    named: list[str] = []
    fills: list[str] = []
    for spec in specs:
        name, default, filled = spec.name, spec.default, spec.name
        if spec.default_factory is not MISSING:
            filled = f"make_{name}() if {name} is missing else {name}"
            scope[f"make_{name}"] = spec.default_factory
        scope[f"default_{name}"] = default
        is_needed = default is MISSING and spec.default_factory is MISSING
        parameter = name if is_needed else f"{name}=default_{name}"
        (named if spec.kw_only else positional).append(parameter)
        fills.append(f"record.{name} = {filled}")
    parameters = ", ".join(["_cls", *positional, *(["*", *named] if named else [])])
    freeze = ["record.__class__ = _cls", "return record"]
    copies = [f"copy.{name} = self.{name}" for name in names]
    values = "".join(f"self.{name}, " for name in names)
    made = (
        _compile(f"__new__({parameters})", ["record = twin()", *fills, *freeze], scope),
        _compile("thawed(self)", ["copy = twin()", *copies, "return copy"], scope),
        _compile("__reduce__(self)", [f"return restore, (self.__class__, ({values}))"], scope),
    )
    scope["restore"] = _restore
    for function in made:
        function.__qualname__ = f"{cls.__qualname__}.{function.__name__}"
        setattr(cls, function.__name__, function)
    del cls.__init__
    return cls


def _compile(head: str, lines: list[str], scope: dict[str, Any]) -> Callable[..., Any]:
    found: dict[str, Any] = {}
    exec("\n  ".join([f"def {head}:", *lines]), scope, found)
    return next(iter(found.values()))  # type: ignore[no-any-return]


def _restore(cls: type[Record], values: tuple[Any, ...]) -> Record:
    """A record that was pickled or copied."""
    specs: tuple[Any, ...] = fields(cls)  # type: ignore[arg-type]
    return cls(**{spec.name: value for spec, value in zip(specs, values, strict=True)})


if TYPE_CHECKING:
    from dataclasses import replace as replace  # mypy knows the fields of what it changes
else:

    def replace(record, /, **changes):
        """A quick record with some fields changed, as `dataclasses.replace`.

        Raises:
            AttributeError: it has no such field.
        """
        copy = record.thawed()
        for name, value in changes.items():
            setattr(copy, name, value)
        copy.__class__ = record.__class__
        return copy
