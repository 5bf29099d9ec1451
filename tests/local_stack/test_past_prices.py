"""The made-up past of a demo: what the page draws and tries on before the market has run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from local_stack.demo.past_prices import DAYS, write_past
from research.history import History
from research.imports import import_files

NOW = datetime(2026, 3, 4, 12, 30, 15, tzinfo=UTC)


def test_the_past_ends_where_the_market_begins_and_is_a_history(tmp_path):
    path = tmp_path / "past.csv"
    write_past(path, {"BTC/USD": 62000.0, "DOGE/USD": 0.155}, NOW)
    lines = path.read_text().splitlines()
    last = {line.split(",")[1]: line.split(",") for line in lines[1:]}
    end = f"{NOW.replace(second=0) - timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ}"
    assert [one[0] for one in last.values()] == [end, end]
    assert last["BTC/USD"][5] == "62000.00"
    assert last["DOGE/USD"][5] == "0.155000"
    assert len(lines) == 1 + 2 * DAYS * 24 * 60
    history = History(tmp_path / "history")
    with history.writing():
        import_files(history, [path])
    bars = history.load_bars("BTC/USD", NOW - timedelta(days=30), NOW).series
    assert len(bars) == DAYS * 24 * 60
    assert not bars.find_gaps()
