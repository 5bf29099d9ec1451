"""Frozen records that are made and changed quickly: msgspec's structs, which are written in C.

    class DcaCycle(Record, frozen=True, kw_only=True): ...

For what is made anew with each order: a replay makes a dozen of them for one, and a frozen
dataclass takes five times as long. They look, compare, hash and pickle like one, and `dataclasses`
takes them for one, too; `replace` of this module is the quick one, for records only.

Domain and strategy need nothing but Python: where msgspec is missing, records are dataclasses.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import TYPE_CHECKING, Any

try:
    from msgspec import Struct
    from msgspec import field as field
    from msgspec.structs import replace as replace
except ImportError:
    if not TYPE_CHECKING:
        from dataclasses import field as field
        from dataclasses import replace as replace

        class Record:
            """What every quick record is."""

            def __init_subclass__(cls, **options):
                dataclasses.dataclass(**options)(cls)

else:

    class _DataclassFields:
        """By what `fields`, `asdict` and `replace` of `dataclasses` know a dataclass."""

        def __get__(self, _record: Record | None, kind: type[Record]) -> Any:
            return _dataclass_fields_of(kind)

    @cache
    def _dataclass_fields_of(kind: type[Record]) -> Any:
        twin: Any = dataclasses.make_dataclass(kind.__name__, kind.__struct_fields__)
        return twin.__dataclass_fields__

    class Record(Struct, frozen=True, gc=False):
        """What every quick record is. Each names `frozen` again, which type checkers read. None can
        be part of a cycle of references, so the garbage collector need not look at them.
        """

        __dataclass_fields__ = _DataclassFields()
