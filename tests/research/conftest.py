"""A history of its own for each test, and an exchange whose past a test makes up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from research.history import History
from running_exchange import RunningExchange
from utils import alpaca_bars


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "history")


@pytest.fixture
def exchange() -> Iterator[RunningExchange]:
    with RunningExchange(rate_limit_per_minute=0, latency_seconds=0.0) as running:
        yield running


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that does not answer is given up after the three tries of each read."""
    monkeypatch.setattr(alpaca_bars, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr("utils.alpaca_http.READ_WAITS_SECONDS", (0.01, 0.02))
