"""What the bot runs loads Alpaca's SDK without pandas; who uses a data frame after all gets it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

BAR = {"t": "2026-01-01T00:00:00Z", "o": 1, "h": 1, "l": 1, "c": 1, "v": 1, "n": 1, "vw": 1}
FRAMES = (
    "import json, sys; print(json.dumps(sorted({'alpaca', 'numpy', 'pandas'} & set(sys.modules))))"
)


def loaded_after(program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    "program",
    [
        "import main_app",
        "from caretakers.runner import Script, _exchange_error\n"
        "_exchange_error(Script(name='x', summary='', manual='', needs_exchange=True))\n"
        "import caretakers.order_manager, caretakers.consistency_checker",
    ],
    ids=["the daemon", "a caretaker"],
)
def test_neither_pandas_nor_numpy_is_loaded_by(program):
    assert loaded_after(f"{program}\n{FRAMES}") == [["alpaca"]]


def test_a_data_frame_of_the_sdk_loads_pandas_then(tmp_path):
    program = f"""
import utils.sdk_without_frames
{FRAMES}
from alpaca.data.models.bars import BarSet
from alpaca.trading.requests import GetCalendarRequest
print(json.dumps(BarSet({{"BTC/USD": [{BAR}]}}).df.columns.tolist()))
import pandas, numpy
print(json.dumps([pandas.DataFrame.__module__, int(numpy.int64(7))]))
"""
    before, columns, after = loaded_after(program)
    assert before == ["alpaca"]
    assert "close" in columns
    assert after == ["pandas", 7]


@pytest.mark.parametrize("first", ["pandas", "alpaca.trading.client"])
def test_where_the_sdk_or_pandas_was_loaded_before_nothing_is_replaced(first):
    program = f"import {first}, utils.sdk_without_frames\n{FRAMES}"
    [loaded] = loaded_after(program)
    assert {"numpy", "pandas"} <= set(loaded)
