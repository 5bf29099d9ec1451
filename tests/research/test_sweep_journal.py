"""What a sweep has done so far: whole lines or none, whatever happens to the file."""

from __future__ import annotations

import json
import resource
from decimal import Decimal

import pytest

from research.errors import DamagedHistory, HistoryError
from research.sweep_journal import SweepJournal
from research.sweep_trial import Score, Trial

SCORE = Score(
    result_usd=Decimal("1.234567890123456789"),
    return_percent=Decimal("0.1"),
    drawdown_usd=Decimal("0.05"),
    drawdown_percent=Decimal("0.01"),
    under_water_seconds=120.5,
    cycles=3,
    open_cycles=1,
    orders=8,
    fees_usd=Decimal("0.000000001"),
)
TRIAL = Trial(Decimal("120.00"), (SCORE, SCORE))
REFUSED = Trial(Decimal(0), (), "BTC/USD: too small")


def at(number):
    return {"deviation": str(number), "take_profit": "1.5"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sweeps" / "BTC-USD-0.jsonl"


def fill(path, count):
    with SweepJournal(path, "key") as journal:
        journal.add([(at(one), TRIAL) for one in range(count)])


def test_what_was_added_is_found_again_to_the_last_digit(path):
    with SweepJournal(path, "key") as journal:
        journal.add([(at(1), TRIAL)])
        journal.add([(at(2), REFUSED)])
    with SweepJournal(path, "key") as journal:
        assert len(journal) == 2
        assert journal.find(at(1)) == TRIAL
        assert journal.find(dict(reversed(at(2).items()))) == REFUSED
        assert journal.find(at(3)) is None


def test_a_torn_last_line_is_dropped_wherever_it_was_torn(path):
    fill(path, 2)
    content = path.read_bytes()
    begin = content[:-1].rindex(b"\n") + 1
    for end in range(begin, len(content), 37):
        path.write_bytes(content[:end])
        with SweepJournal(path, "key") as journal:
            assert (len(journal), journal.find(at(0))) == (1, TRIAL)
            journal.add([(at(1), TRIAL)])
        assert path.read_bytes() == content


def test_a_file_that_was_torn_in_its_first_line_begins_anew(path):
    fill(path, 1)
    content = path.read_bytes()
    path.write_bytes(content[:20])
    fill(path, 1)
    assert path.read_bytes() == content


@pytest.mark.parametrize("garbage", [b"{}\n", b"not json\n", b'{"at": 3}\n', b"[" * 90_000 + b"\n"])
def test_garbage_in_the_file_is_named_and_refused(path, garbage):
    fill(path, 1)
    with path.open("ab") as file:
        file.write(garbage)
    with pytest.raises(DamagedHistory, match=f"{path} is damaged .*: remove it"):
        SweepJournal(path, "key").__enter__()


def test_a_file_of_another_sweep_is_refused(path):
    fill(path, 1)
    with pytest.raises(DamagedHistory, match="it is of something else"):
        SweepJournal(path, "another").__enter__()


def test_two_at_once_are_refused(path):
    with SweepJournal(path, "key"), pytest.raises(HistoryError, match="another scripts/sweep"):
        SweepJournal(path, "key").__enter__()


def test_a_full_disk_is_one_line_and_leaves_whole_lines(path):
    """RLIMIT_FSIZE cuts a write off in its middle, as a full disk does."""
    fill(path, 3)
    size = path.stat().st_size
    with SweepJournal(path, "key") as journal:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, limits[1]))
        try:
            with pytest.raises(HistoryError, match=f"cannot write {path}: "):
                journal.add([(at(4), TRIAL)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert journal.find(at(4)) is None
    assert path.stat().st_size == size
    assert all(json.loads(line) for line in path.read_text().splitlines())
