"""An exchange with coins of coarse steps beside its own, and the command line within the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal

import pytest

from cli.assets import main
from fixtures_bot import exchange_of_bot
from paper_exchange.core.assets import DEFAULT_ASSETS, Asset
from running_exchange import RunningExchange
from said import Said, runner

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
    coins = DEFAULT_ASSETS + COARSE
    with exchange_of_bot(bot_environment, monkeypatch, assets=coins) as running:
        for symbol, price in PRICES.items():
            running.push_quote(symbol, price, price)
        yield running


@pytest.fixture
def assets(settings, db_conn, capsys) -> Callable[..., Said]:
    """Run `scripts/assets` in this process; nobody sits at the terminal."""
    return runner(main, capsys)
