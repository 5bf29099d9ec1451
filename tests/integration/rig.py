"""One account, one database and one symbol, and what an integration test does with them.

Orders that a test sends by hand carry ids that begin with a prefix of its own, so that cleaning up
finds them even when their answer never came.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path
from typing import Any, TypeVar

from alpaca.trading.models import Order

from config import Settings
from domain.asset import DcaAsset
from domain.cycle import DcaCycle
from domain.market import Position, Quote
from domain.orders import ExchangeOrder
from integration.market import LocalMarket
from integration.processes import Daemon
from integration.report import CheckFailed, Report, wait_until
from integration.run import MARKER, Run
from models.asset_config import get_asset_config
from models.cycle_data import get_cycle
from models.meta import put_meta
from strategy.sizing import floor_quantity, minimum_base_order_usd, round_to_increment
from trading.asset_rules_cache import AssetRulesCache
from utils.alpaca_client_rest import (
    get_trading_client,
    place_limit_buy_order,
    place_market_sell_order,
)
from utils.alpaca_queries import (
    fetch_latest_quote,
    fetch_open_orders_of,
    fetch_order,
    fetch_orders,
    fetch_position,
)
from utils.db_utils import execute_query, get_db_connection

T = TypeVar("T")
ORDER_USD = Decimal(20)
MINIMUM_TEST_USD = Decimal(11)  # just above Alpaca's minimum cost of a buy (10 USD)
FAR_PRICE_USD = Decimal(1000)  # the plan's price for a BTC order that must not fill
# So far away that a running daemon does nothing by itself with a cycle that holds coins.
QUIET = {"safety_order_deviation": 50, "take_profit_percent": 50}


class Rig:
    """What the tests act on. `market` is None where nobody can move the prices (Alpaca)."""

    def __init__(
        self,
        *,
        settings: Settings,
        symbol: str,
        folder: Path,
        report: Report,
        market: LocalMarket | None,
    ) -> None:
        self.settings = settings
        self.symbol = symbol
        self.folder = folder
        self.report = report
        self.market = market
        self.run = Run.new()
        self.client = get_trading_client()
        self.db = get_db_connection()
        self.rules = AssetRulesCache(self.client, settings.minimum_order_usd).get(symbol)
        self._orders_named = 0
        is_local = market is not None
        self.patience_seconds = 20.0 if is_local else 120.0
        # Alpaca counts 200 requests a minute; the local exchange counts none here.
        self._poll_seconds = 0.05 if is_local else 1.0

    def begin(self) -> None:
        """A test begins. The database remembers it until everything is taken back."""
        self.run = Run.new()
        put_meta(self.db, MARKER, self.run.as_text())

    def ended_cleanly(self) -> None:
        """Everything is taken back."""
        execute_query(
            "DELETE FROM dca_meta WHERE name = %s", (MARKER,), commit=True, db_conn=self.db
        )

    def wait(self, probe: Callable[[], T | None], what: str, seconds: float | None = None) -> T:
        """What `probe` found; asks the exchange or the database at a pace that both allow.

        Raises:
            CheckFailed: nothing in time.
        """
        patience = self.patience_seconds if seconds is None else seconds
        return wait_until(probe, what, patience, self._poll_seconds)

    def daemon(self) -> Daemon:
        """`python src/main_app.py`, for a `with`."""
        return Daemon(self.settings, self.report)

    # The database

    def insert_asset(self, **columns: Any) -> DcaAsset:
        """The test symbol with the plan's columns, by plain SQL as a user would."""
        values = {
            "asset_symbol": self.symbol,
            "is_enabled": True,
            "base_order_amount": self.order_usd(),
            "safety_order_amount": self.order_usd(),
            "max_safety_orders": 3,
            "safety_order_deviation": Decimal("1.0"),
            "take_profit_percent": Decimal("1.0"),
            "cooldown_period": 60,
        } | columns
        execute_query(
            f"INSERT INTO dca_assets ({', '.join(values)})"
            f" VALUES ({', '.join(['%s'] * len(values))})",
            list(values.values()),
            commit=True,
            db_conn=self.db,
        )
        return self.asset()

    def asset(self) -> DcaAsset:
        """The test symbol's row as it is now."""
        asset = get_asset_config(self.db, self.symbol)
        if asset is None:
            raise CheckFailed(f"{self.symbol} is not in dca_assets")
        return asset

    def cycle(self, cycle_id: int) -> DcaCycle:
        """The cycle as it is now."""
        cycle = get_cycle(self.db, cycle_id)
        if cycle is None:
            raise CheckFailed(f"cycle {cycle_id} is gone")
        return cycle

    def cycle_row(self, cycle_id: int) -> dict[str, Any]:
        """Every column of the row, `updated_at` too, to see that nobody touched it."""
        row: dict[str, Any] = execute_query(
            "SELECT * FROM dca_cycles WHERE id = %s", (cycle_id,), fetch_one=True, db_conn=self.db
        )
        return row

    # Prices and amounts

    def quote(self) -> Quote:
        """The newest quote over REST."""
        return fetch_latest_quote(self.symbol)

    def order_usd(self) -> Decimal:
        """What one order of the tests costs: 20 USD, more where the coin's minimum asks for it."""
        fee_rate = self.settings.taker_fee_rate
        least = minimum_base_order_usd(self.rules, self.quote().ask, fee_rate)
        return max(ORDER_USD, least.to_integral_value(ROUND_CEILING))

    def far_price(self) -> Decimal:
        """A price far below the market, at which a buy rests: 1000 USD for a bitcoin."""
        return self.round_price(min(FAR_PRICE_USD, self.quote().ask / 2), ROUND_FLOOR)

    def round_price(self, price: Decimal, rounding: str) -> Decimal:
        return round_to_increment(price, self.rules.price_increment, rounding)

    def quantity(self, usd: Decimal, price: Decimal) -> Decimal:
        """The coins that `usd` buy, rounded down, but never below the exchange's minimum."""
        return max(floor_quantity(usd / price, self.rules), self.rules.min_order_size)

    # The exchange

    def new_order_id(self) -> str:
        """A client_order_id of this test."""
        self._orders_named += 1
        return f"{self.run.order_prefix}{self._orders_named}"

    def place_buy(
        self, usd: Decimal, limit_price: Decimal, client_order_id: str | None = None
    ) -> Order:
        """A limit buy by hand.

        Raises:
            CheckFailed: it was refused.
        """
        order = place_limit_buy_order(
            self.client,
            self.symbol,
            self.quantity(usd, limit_price),
            limit_price,
            client_order_id=client_order_id or self.new_order_id(),
        )
        if order is None:
            raise CheckFailed("the exchange refused the order: integration_test.log says why")
        return order

    def place_resting_buy(self) -> Order:
        """A buy by hand that does not fill."""
        return self.place_buy(MINIMUM_TEST_USD, self.far_price())

    def place_buy_for_later(self, client_order_id: str | None = None) -> Order:
        """A buy by hand that fills at `let_buy_fill`; on Alpaca it fills as soon as it can."""
        ask = self.quote().ask
        price = ask * Decimal("0.99") if self.market else ask * Decimal("1.002")
        return self.place_buy(
            self.order_usd(), self.round_price(price, ROUND_FLOOR), client_order_id
        )

    def let_buy_fill(self) -> None:
        """Let the price fall to the resting buy; Alpaca's market does as it likes."""
        if self.market:
            self.market.move_by(Decimal("-1.2"))

    def place_sell_for_later(self, qty: Decimal) -> Order:
        """A sell by hand that fills at `let_sell_fill`; on Alpaca a market sell."""
        if self.market is None:
            order = place_market_sell_order(
                self.client, self.symbol, qty, client_order_id=self.new_order_id()
            )
            if order is None:
                raise CheckFailed("the exchange refused the order: integration_test.log says why")
            return order
        return self._place_limit_sell(qty, Decimal("1.01"))

    def place_resting_sell(self, qty: Decimal) -> Order:
        """A sell by hand that does not fill: a fifth above the market."""
        return self._place_limit_sell(qty, Decimal("1.2"))

    def _place_limit_sell(self, qty: Decimal, factor: Decimal) -> Order:
        price = self.round_price(self.quote().bid * factor, ROUND_CEILING)
        answer = self.client.post(
            "/orders",
            {
                "symbol": self.symbol,
                "qty": f"{qty:f}",
                "side": "sell",
                "type": "limit",
                "limit_price": f"{price:f}",
                "time_in_force": "gtc",
                "client_order_id": self.new_order_id(),
            },
        )
        return Order(**answer)

    def let_sell_fill(self) -> None:
        """Let the price rise to the resting sell; Alpaca's market does as it likes."""
        if self.market:
            self.market.move_by(Decimal("1.2"))

    def buy_coins(self) -> ExchangeOrder:
        """Really buy for one order's amount; the filled order."""
        price = self.round_price(self.quote().ask * Decimal("1.005"), ROUND_CEILING)
        order = self.place_buy(self.order_usd(), price)
        filled = self.wait_for_order(str(order.id), "filled")
        self.wait(self.free_coins, f"the bought coins are in the position of {self.symbol}")
        return filled

    def position(self) -> Position | None:
        return fetch_position(self.client, self.symbol)

    def free_coins(self) -> Decimal:
        """Coins that can be sold now, rounded down to the coin's increment."""
        position = self.position()
        return floor_quantity(position.qty_available, self.rules) if position else Decimal(0)

    def open_orders(self) -> list[ExchangeOrder]:
        """The open orders of the test symbol."""
        return fetch_open_orders_of(self.client, self.symbol)

    def orders(self, run: Run | None = None) -> list[ExchangeOrder]:
        """Every order since `run` (default: this test) began, of whomever, oldest first."""
        after = (run or self.run).orders_after
        return fetch_orders(self.client, status="all", after=after)

    def wait_for_order(self, order_id: str, *statuses: str) -> ExchangeOrder:
        """The order, once it has one of these statuses.

        Raises:
            CheckFailed: not in time, or it ended otherwise.
        """

        def probe() -> ExchangeOrder | None:
            order = fetch_order(self.client, order_id)
            if order is not None and order.status in statuses:
                return order
            if order is not None and order.is_ended:
                raise CheckFailed(f"order {order_id} ended as {order.status}")
            return None

        return self.wait(probe, f"order {order_id} is {' or '.join(statuses)}")
