"""An exchange with coins of coarse steps beside its own, and the command line within the test."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from config import reset_settings
from paper_exchange.assets import DEFAULT_ASSETS, Asset
from paper_exchange.threaded import RunningExchange
from steering.assets_command import main

COARSE = (
    Asset("WHOLE/USD", "Whole coins", Decimal(1), Decimal(1), Decimal("0.01")),
    Asset("TINY/USD", "Tiny price", Decimal(1000), Decimal(1000), Decimal("0.00000001")),
    Asset("GONE/USD", "Not tradable", Decimal(1), Decimal(1), Decimal(1), tradable=False),
)
PRICES = {"BTC/USD": "60000", "ETH/USD": "2617.3"}


@pytest.fixture
def exchange(
    bot_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[RunningExchange]:
    """A quiet local exchange, as every test has, with the coarse coins and two first quotes."""
    with RunningExchange(partial_fill_probability=0, assets=DEFAULT_ASSETS + COARSE) as running:
        urls = running.urls
        for name, url in {
            "ALPACA_TRADING_URL": urls.trading_url,
            "ALPACA_DATA_URL": urls.data_url,
            "ALPACA_DATA_STREAM_URL": urls.data_stream_url,
            "ALPACA_TRADING_STREAM_URL": urls.trading_stream_url,
        }.items():
            monkeypatch.setenv(name, url)
            bot_environment[name] = url
        reset_settings()
        for symbol, price in PRICES.items():
            running.push_quote(symbol, price, price)
        yield running
    reset_settings()


@dataclass(frozen=True)
class Said:
    """How a command ended and what it said."""

    code: int
    output: str
    errors: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.output)

    @property
    def is_one_line(self) -> bool:
        """Whether the complaint is what a person can read."""
        return self.errors.count("\n") == 1 and self.errors.startswith("assets: ")


@pytest.fixture
def assets(settings, db_conn, capsys) -> Callable[..., Said]:
    """Run `scripts/assets` in this process; nobody sits at the terminal."""

    def run(*arguments: str) -> Said:
        capsys.readouterr()
        code = main(arguments)
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return run
