"""The SDK as this bot loads it: without the packages that only its tables need."""

import subprocess
import sys

from config import PROJECT_ROOT

PROLOGUE = """
import sys
sys.path.insert(0, sys.argv[1])
def loaded():
    return {"numpy", "pandas"} & sys.modules.keys()
"""


def run(code: str) -> str:
    """What a fresh process printed: this one has loaded everything."""
    command = [sys.executable, "-P", "-c", PROLOGUE + code, str(PROJECT_ROOT / "src")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_daemon_caretakers_and_screens_load_neither_pandas_nor_numpy():
    assert (
        run("""
import main_app, caretakers.order_manager, caretakers.consistency_checker
import caretakers.fee_settlement, cli.status, cli.doctor, cli.bot_close
from alpaca.trading.client import TradingClient
print(loaded() or "neither")
""")
        == "neither\n"
    )


def test_whoever_uses_the_sdks_tables_or_loads_the_packages_later_gets_the_real_ones():
    assert (
        run("""
import utils.alpaca_sdk
from alpaca.data.models import BarSet
from alpaca.trading.requests import GetCorporateAnnouncementsRequest
bar = dict(t="2026-01-01T00:00:00Z", o=1, h=1, l=1, c=1, v=1, n=1, vw=1)
bars = BarSet({"BTC/USD": [bar]})
assert not loaded()
frame = bars.df
import numpy, pandas
assert isinstance(frame, pandas.DataFrame) and len(frame) == 1
assert isinstance(frame["close"].iloc[0], numpy.floating)
request = dict(ca_types=["split"], since="2026-01-01", until="2026-01-02")
GetCorporateAnnouncementsRequest(**request)
print("real")
""")
        == "real\n"
    )


def test_packages_that_were_there_before_stay():
    assert (
        run("""
import pandas
import utils.alpaca_sdk
assert sys.modules["pandas"] is pandas
from alpaca.data.models import base
assert base.pd is pandas
print("the same")
""")
        == "the same\n"
    )
