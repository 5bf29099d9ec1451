"""Records are frozen, and `dataclasses` takes them for what it makes itself."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from domain.asset import DcaAsset
from domain.cycle import COLUMNS, CycleStatus, DcaCycle
from domain.journal import JournalEntry
from domain.orders import ExchangeOrder
from domain.records import Record, replace
from domain.trading_state import TradingState
from strategy.booking import CycleChange
from strategy.triggers import Decision

SRC = Path(__file__).resolve().parents[2] / "src"
RECORDS = [DcaAsset, DcaCycle, JournalEntry, ExchangeOrder, TradingState, CycleChange, Decision]


class Point(Record, frozen=True):
    x: int
    y: int = 2


@dataclass(frozen=True)
class Line:
    begin: Point
    name: str = "a line"


def a_cycle() -> DcaCycle:
    return DcaCycle(id=1, asset_id=2, status=CycleStatus.WATCHING)


def test_it_is_frozen_after_it_was_made_and_after_it_was_changed():
    for record in (a_cycle(), replace(a_cycle(), id=7), copy.copy(a_cycle())):
        assert type(record) is DcaCycle
        with pytest.raises(AttributeError):
            record.id = 3
        with pytest.raises(AttributeError):
            del record.id


def test_a_change_is_that_of_dataclasses_and_leaves_the_record_alone():
    cycle = a_cycle()
    changed = replace(cycle, safety_orders=3, status=CycleStatus.SELLING)
    assert changed == dataclasses.replace(cycle, safety_orders=3, status=CycleStatus.SELLING)
    assert hash(changed) != hash(cycle) == hash(a_cycle())
    assert cycle == a_cycle()
    for change in (replace, dataclasses.replace):
        with pytest.raises(TypeError):
            change(cycle, no_such_field=1)


def test_what_a_default_makes_is_its_own():
    one, other = CycleChange(cycle_updates={}), CycleChange(cycle_updates={})
    assert one.asset_updates is not other.asset_updates


@pytest.mark.parametrize("kind", RECORDS)
def test_dataclasses_knows_its_fields_in_their_order(kind):
    names = tuple(one.name for one in dataclasses.fields(kind))
    assert names == tuple(kind.__struct_fields__)
    values = {name: object() for name in names}
    made = kind(**values)
    assert all(getattr(made, name) is value for name, value in values.items())
    assert dataclasses.is_dataclass(made)
    assert dataclasses.fields(made) == dataclasses.fields(kind)


def test_as_a_dict_it_is_its_fields_within_a_dataclass_too():
    assert tuple(dataclasses.asdict(a_cycle())) == COLUMNS
    assert dataclasses.asdict(Line(Point(1))) == {"begin": {"x": 1, "y": 2}, "name": "a line"}


def test_where_msgspec_is_missing_it_is_a_dataclass():
    code = """if True:
        import dataclasses, sys; sys.path.insert(0, sys.argv[1])
        from domain.cycle import CycleStatus, DcaCycle
        from domain.records import replace
        from strategy.booking import CycleChange
        cycle = DcaCycle(id=1, asset_id=2, status=CycleStatus.WATCHING)
        assert "msgspec" not in sys.modules and dataclasses.is_dataclass(cycle)
        try:
            cycle.id = 7
        except dataclasses.FrozenInstanceError:
            print(replace(cycle, order_seq=3), CycleChange(cycle_updates={}))
    """
    bare = [sys.executable, "-I", "-S", "-c", code, str(SRC)]
    run = subprocess.run(bare, capture_output=True, text=True, timeout=60)
    said = f"{replace(a_cycle(), order_seq=3)} {CycleChange(cycle_updates={})}"
    assert (run.stdout.strip(), run.stderr) == (said, "")


def test_it_is_pickled_and_copied():
    for record in (a_cycle(), Point(1), CycleChange(cycle_updates={"a": 1})):
        assert pickle.loads(pickle.dumps(record)) == record
        assert copy.deepcopy(record) == record
