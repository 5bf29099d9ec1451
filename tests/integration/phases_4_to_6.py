"""Phases 4 to 6: the market data handler alone, with crafted quotes; it must not touch the rows.

Under main_app.py the trade stream links the orders into the rows at once, so the handler is run by
itself here, exactly as main_app.py wires it, against the real exchange and the real database.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from domain.cycle import DcaCycle
from domain.orders import ExchangeOrder
from integration.report import cycle_facts, order_facts
from integration.rig import Rig
from models.cycle_data import create_cycle
from models.trading_state import load_all_trading_states
from strategy.order_identity import compute_client_order_id
from strategy.sizing import floor_quantity
from trading.engine import build_engine
from trading.market_data_handler import MarketDataHandler
from utils.db_utils import thread_connection

_SPREAD = Decimal("0.9995")


def test_phase4_marketdata_places_base_order(rig: Rig) -> None:
    """A watching cycle without coins and without a position: the base order is placed."""
    report = rig.report
    report.scenario("an asset is watching with quantity 0 and Alpaca has no position: base order")
    asset = rig.insert_asset()
    cycle = create_cycle(rig.db, asset.id, "watching")
    report.setup("asset and cycle", symbol=rig.symbol, usd=asset.base_order_amount)
    report.check("there is no position", rig.position() is None or not rig.free_coins())
    report.check("there is no open order", not rig.open_orders())

    before = rig.cycle_row(cycle.id)
    ask = rig.far_price()
    report.action("quotes far below the market, so that the order rests", ask=ask)
    show_quotes(rig, crafted_quote(rig, ask), crafted_quote(rig, ask))

    order = _the_one_order(rig, cycle)
    report.equal("side", order.side, "buy")
    report.equal("type", order.order_type, "limit")
    report.equal("limit price is the ask", order.limit_price, ask)
    _check_amount(rig, order, asset.base_order_amount)
    _check_untouched(rig, cycle, before)
    report.data("order", **order_facts(order))


def test_phase5_marketdata_places_safety_order(rig: Rig) -> None:
    """The price falls by the deviation below the last fill: a safety order is placed."""
    report = rig.report
    report.scenario("a base order has filled, the price falls far enough: safety order")
    last_fill = rig.far_price()
    asset = rig.insert_asset(safety_order_deviation=Decimal("1.0"))
    cycle = create_cycle(
        rig.db,
        asset.id,
        "watching",
        quantity=rig.quantity(rig.order_usd(), last_fill),
        average_purchase_price=last_fill,
        last_order_fill_price=last_fill,
    )
    report.setup("cycle", **cycle_facts(cycle))
    before = rig.cycle_row(cycle.id)

    too_high = rig.round_price(last_fill * Decimal("0.992"), ROUND_FLOOR)
    report.action("a quote 0.8 % below the last fill (deviation 1 %)", ask=too_high)
    show_quotes(rig, crafted_quote(rig, too_high))
    report.check("no order is placed", not rig.open_orders())

    ask = rig.round_price(last_fill * Decimal("0.985"), ROUND_FLOOR)
    report.action("quotes 1.5 % below the last fill", ask=ask)
    show_quotes(rig, crafted_quote(rig, ask), crafted_quote(rig, ask))

    order = _the_one_order(rig, cycle)
    report.equal("side", order.side, "buy")
    report.equal("type", order.order_type, "limit")
    report.equal("limit price is the ask", order.limit_price, ask)
    _check_amount(rig, order, asset.safety_order_amount)
    _check_untouched(rig, cycle, before)
    report.data("order", **order_facts(order))


def test_phase6_marketdata_places_take_profit_order(rig: Rig) -> None:
    """The price rises by the take-profit percent above the average: everything is sold."""
    report = rig.report
    report.scenario("a cycle holds coins and the price rises far enough: take-profit order")
    bought = rig.buy_coins()
    held = rig.free_coins()
    report.setup("bought coins to sell", bought=bought.filled_qty, held_after_fee=held)
    bid = rig.quote().bid
    average = bid / Decimal("1.02")
    asset = rig.insert_asset(take_profit_percent=Decimal("1.0"), max_safety_orders=0)
    cycle = create_cycle(
        rig.db,
        asset.id,
        "watching",
        quantity=bought.filled_qty,
        average_purchase_price=average,
        last_order_fill_price=average,
    )
    report.setup("cycle", **cycle_facts(cycle))
    before = rig.cycle_row(cycle.id)

    too_low = rig.round_price(average * Decimal("1.005"), ROUND_FLOOR)
    report.action("a quote 0.5 % above the average (take profit 1 %)", bid=too_low)
    show_quotes(rig, crafted_quote(rig, too_low / _SPREAD))
    report.check("no order is placed", not _orders_of_cycle(rig, cycle))

    quote = rig.quote()
    report.action("quotes of the market, 2 % above the average", bid=quote.bid, ask=quote.ask)
    raw = crafted_quote(rig, quote.ask, quote.bid)
    show_quotes(rig, raw, raw)

    order = _the_one_order(rig, cycle)
    report.equal("side", order.side, "sell")
    report.equal("type", order.order_type, "market")
    report.equal(
        "quantity is what the exchange left of the cycle's",
        order.qty,
        floor_quantity(min(held, bought.filled_qty), rig.rules),
    )
    _check_untouched(rig, cycle, before)
    report.data("order", **order_facts(rig.wait_for_order(order.id, "filled")))


def crafted_quote(rig: Rig, ask: Decimal, bid: Decimal | None = None) -> dict[str, Any]:
    """A quote as the data stream sends it."""
    return {
        "T": "q",
        "S": rig.symbol,
        "bp": float(ask * _SPREAD if bid is None else bid),
        "bs": 1.0,
        "ap": float(ask),
        "as": 1.0,
        "t": datetime.now(UTC).isoformat(),
    }


def show_quotes(rig: Rig, *quotes: dict[str, Any]) -> None:
    """Hand quotes to a market data handler that runs alone; returns when it has dealt with them."""

    async def run() -> None:
        engine = build_engine(rig.settings)
        market = MarketDataHandler(rig.settings, engine.rules, engine.placer)
        try:
            states = await asyncio.to_thread(lambda: load_all_trading_states(thread_connection()))
            await market.refresh(states)
            for quote in quotes:
                await market.on_crypto_quote(quote)
                await market.wait_until_idle()
        finally:
            await market.stop()

    asyncio.run(run())


def _orders_of_cycle(rig: Rig, cycle: DcaCycle) -> list[ExchangeOrder]:
    identity = compute_client_order_id(cycle)
    return [order for order in rig.orders() if order.client_order_id == identity]


def _the_one_order(rig: Rig, cycle: DcaCycle) -> ExchangeOrder:
    rig.wait(lambda: _orders_of_cycle(rig, cycle), "the order appears on the exchange")
    orders = _orders_of_cycle(rig, cycle)
    rig.report.equal("orders after two such quotes", len(orders), 1)
    rig.report.check(
        "its id is the one that this state of the cycle can have",
        orders[0].client_order_id == compute_client_order_id(cycle),
        id=orders[0].client_order_id,
    )
    return orders[0]


def _check_amount(rig: Rig, order: ExchangeOrder, amount_usd: Decimal) -> None:
    limit_price = order.limit_price or Decimal(0)
    cost = (order.qty or Decimal(0)) * limit_price
    one_step = rig.rules.min_trade_increment * limit_price
    rig.report.check(
        "it costs the configured amount, rounded down to the coin's increment",
        amount_usd - one_step <= cost <= amount_usd,
        usd=cost,
        qty=order.qty,
    )


def _check_untouched(rig: Rig, cycle: DcaCycle, before: dict[str, Any]) -> None:
    after = rig.cycle_row(cycle.id)
    changed = [name for name in before if before[name] != after[name]]
    rig.report.check(
        "the handler changed no column of the cycle", not changed, changed=len(changed)
    )
