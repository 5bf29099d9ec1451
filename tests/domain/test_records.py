"""Quick records are frozen dataclasses like any other; only making them is quicker."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from dataclasses import dataclass, field, fields

import pytest

from domain.asset import DcaAsset
from domain.cycle import CycleStatus, DcaCycle
from domain.journal import JournalEntry
from domain.orders import ExchangeOrder
from domain.records import quick, replace
from domain.trading_state import TradingState
from strategy.booking import CycleChange
from strategy.triggers import Decision

QUICK = [DcaAsset, DcaCycle, JournalEntry, ExchangeOrder, TradingState, CycleChange, Decision]


@quick
@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 2
    z: int = field(default=3, kw_only=True)
    notes: dict[str, int] = field(default_factory=dict)


def a_cycle() -> DcaCycle:
    return DcaCycle(id=1, asset_id=2, status=CycleStatus.WATCHING)


def test_it_is_made_as_its_fields_say():
    assert (Point(1), Point(1, 5, {"a": 1}, z=7).z) == (Point(x=1, y=2, z=3, notes={}), 7)
    with pytest.raises(TypeError):
        Point()
    with pytest.raises(TypeError):
        Point(1, w=3)


def test_what_a_default_makes_is_its_own():
    one, other = Point(1), Point(1)
    assert one.notes is not other.notes


def test_nothing_that_is_given_is_taken_for_nothing_given():
    assert Point(1, notes=None).notes is None


def test_of_a_class_that_inherits_it_is_a_record_of_that_class():
    class Derived(Point):
        __slots__ = ()

    made = Derived(1, z=7)
    for record in (made, replace(made, x=2), copy.copy(made)):
        assert type(record) is Derived
        with pytest.raises(dataclasses.FrozenInstanceError):
            record.x = 3
    assert replace(made, x=2).z == 7


def test_it_is_frozen_after_it_was_made_and_after_it_was_changed():
    for record in (a_cycle(), replace(a_cycle(), id=7), copy.copy(a_cycle())):
        assert type(record) is DcaCycle
        with pytest.raises(dataclasses.FrozenInstanceError):
            record.id = 3
        with pytest.raises(dataclasses.FrozenInstanceError):
            del record.id


def test_a_change_is_that_of_dataclasses_and_leaves_the_record_alone():
    cycle = a_cycle()
    changed = replace(cycle, safety_orders=3, status=CycleStatus.SELLING)
    assert changed == dataclasses.replace(cycle, safety_orders=3, status=CycleStatus.SELLING)
    assert hash(changed) != hash(cycle) == hash(a_cycle())
    assert cycle == a_cycle()
    with pytest.raises(AttributeError):
        replace(cycle, no_such_field=1)


def test_it_is_pickled_and_copied_as_before():
    for record in (a_cycle(), Point(1, notes={"a": 1})):
        assert pickle.loads(pickle.dumps(record)) == record
        assert copy.deepcopy(record) == record


@pytest.mark.parametrize("record", QUICK)
def test_every_field_can_be_given_and_has_the_default_that_stands_in_the_class(record):
    parameters = inspect.signature(record).parameters
    assert list(parameters) == [one.name for one in fields(record)]
    values = {name: object() for name in parameters}
    made = record(**values)
    assert all(getattr(made, name) is value for name, value in values.items())


def test_only_a_plain_frozen_dataclass_with_slots_can_be_quick():
    @dataclass(frozen=True)
    class WithDict:
        x: int

    @dataclass(frozen=True, slots=True)
    class Checked:
        x: int

        def __post_init__(self) -> None:
            raise ValueError

    @dataclass(frozen=True, slots=True)
    class Derived(Point):
        w: int = 0

    @dataclass(slots=True)
    class Loose:
        x: int

    @dataclass(frozen=True, slots=True)
    class Computed:
        x: int = field(init=False, default=1)

    @dataclass(frozen=True, slots=True)
    class NamedAsOurs:
        record: int

    for cls in (WithDict, Checked, Derived, Loose, Computed, NamedAsOurs):
        with pytest.raises(TypeError):
            quick(cls)
