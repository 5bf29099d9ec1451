"""A crash after each single effect converges to the same end as the run without a crash.

Enumerated.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

from bot_parts import BotParts
from crash_points import Crash, Effects, end_all_connections, watched
from domain.events import EventKind
from domain.orders import TradeUpdate
from models.cycle_data import create_cycle, get_latest_cycle
from operations.open_cycle import request_open
from running_exchange import RunningExchange
from trading.peak_saver import save_peaks
from utils.db_utils import execute_query

BASE, DIP, DEEPER, TOP = 50_000, 49_000, 48_000, 51_500
BELOW_PEAK, BELOW_STOP = 50_900, 49_300


class Run:
    """One bot that can die at any effect and is then started anew, as the watchdog would."""

    def __init__(self, settings, exchange: RunningExchange, effects: Effects) -> None:
        self._settings, self._exchange, self._effects = settings, exchange, effects
        self._parts = BotParts(settings, exchange)
        self._seen: dict[str, tuple[str, Decimal]] = {}
        self.crashes = 0

    async def do(self, step) -> None:
        """Do a step to its end, however often the process dies on the way."""
        while True:
            try:
                with watched(self._effects):
                    if self.crashes and not self._parts:
                        self._parts = BotParts(self._settings, self._exchange)
                        await asyncio.to_thread(self._parts.reconciler.recover)
                    await step(self._parts)
                return
            except Crash:
                self.crashes += 1
                await self._bury()

    async def _bury(self) -> None:
        if self._parts:
            await self._parts.market.stop()
        self._parts = None
        await asyncio.to_thread(end_all_connections)

    async def quote(self, price: float) -> None:
        """Quote `price` until nothing changes: orders placed, filled, and sent as updates."""

        async def step(parts: BotParts) -> None:
            for _ in range(4):
                await parts.see(parts.quote_both(price, price + 1))
                self._raise_worker_crash(parts)
                if peaks := parts.market.assets.peaks.take():
                    await asyncio.to_thread(save_peaks, peaks)
                self._exchange.finish()
                await self._deliver(parts)

        await self.do(step)

    def _raise_worker_crash(self, parts: BotParts) -> None:
        """A crash in a worker is a crash of the process."""
        for worker in parts.market._workers.values():
            if worker.done() and isinstance(error := worker.exception(), Crash):
                raise error

    async def _deliver(self, parts: BotParts) -> None:
        """Send every change of an order once; what was sent to a dead process is lost."""
        for order in parts.orders():
            state = (order.status, order.filled_qty)
            if self._seen.get(order.id) != state:
                self._seen[order.id] = state
                event = "fill" if order.status == "filled" else order.status
                self._effects.point("event")
                update = TradeUpdate(event=event, order=order)
                await asyncio.to_thread(parts.updates.apply, update)

    async def cancel_open_orders(self) -> None:
        """As order_manager does: ask for the cancellation, nothing more."""

        async def step(parts: BotParts) -> None:
            for order in parts.orders("open"):
                parts.client.cancel_order_by_id(order.id)
            self._exchange.finish()
            await self._deliver(parts)

        await self.do(step)

    async def end(self) -> None:
        """Two sweeps later everything is booked."""

        async def step(parts: BotParts) -> None:
            self._exchange.finish()
            for _ in range(2):
                await asyncio.to_thread(parts.reconciler.sweep)

        await self.do(step)
        if self._parts:
            await self._parts.market.stop()


async def _play(settings, exchange, db_conn, asset, crash_at: int | None):
    """Base order, a safety order that fills in part and is canceled, another, take profit."""
    _end_cooldown()
    cycle = get_latest_cycle(db_conn, asset.id)
    effects = Effects(crash_at)
    run = Run(settings, exchange, effects)
    await run.quote(BASE)
    fault = exchange.arm("rest_after_part", fraction=0.5)
    await run.quote(DIP)
    await run.cancel_open_orders()
    exchange.clear_faults(fault)
    await run.quote(DEEPER)
    await run.quote(TOP)
    await run.end()
    return effects, run, _end_state(db_conn, cycle.id)


async def _play_exits(settings, exchange, db_conn, asset, crash_at: int | None):
    """A peak that is followed and sold below, and a cycle that its stop loss ends."""
    _end_cooldown()
    cycle = get_latest_cycle(db_conn, asset.id)
    effects = Effects(crash_at)
    run = Run(settings, exchange, effects)
    for price in (BASE, TOP, BELOW_PEAK):
        await run.quote(price)
    _end_cooldown()
    for price in (BELOW_PEAK, BELOW_STOP):
        await run.quote(price)
    await run.end()
    [stops] = execute_query(
        "SELECT COUNT(*) AS fired FROM dca_events WHERE kind = %s AND cycle_id >= %s",
        (EventKind.STOP_LOSS_FIRED, cycle.id),
        fetch_all=True,
        db_conn=db_conn,
    )
    return effects, run, _end_state(db_conn, cycle.id) | stops


def _end_cooldown() -> None:
    execute_query("UPDATE dca_cycles SET status = 'watching' WHERE status = 'cooldown'")


def _end_state(db_conn, cycle_id) -> dict[str, Any]:
    """Everything that must not depend on where the process died (ids and times do)."""
    cycles = execute_query(
        "SELECT status, quantity, average_purchase_price, safety_orders, last_order_fill_price,"
        " base_order_price, order_seq, latest_order_id IS NULL AS is_free"
        " FROM dca_cycles WHERE id >= %s ORDER BY id",
        (cycle_id,),
        fetch_all=True,
        db_conn=db_conn,
    )
    orders = execute_query(
        "SELECT order_seq, purpose, side, requested_qty, limit_price, filled_qty, filled_avg_price,"
        " final_status, fee_qty, fee_usd, note FROM dca_orders WHERE cycle_id >= %s ORDER BY id",
        (cycle_id,),
        fetch_all=True,
        db_conn=db_conn,
    )
    return {"cycles": cycles, "orders": orders}


async def test_a_crash_at_any_effect_converges_to_the_same_end(
    settings, exchange, db_conn, make_asset
):
    exchange.configure(rate_limit_per_minute=0)  # dozens of days in one minute
    asset = make_asset()
    create_cycle(db_conn, asset.id, "watching")
    effects, _, expected = await _play(settings, exchange, db_conn, asset, None)
    assert [row["status"] for row in expected["cycles"]] == ["complete", "cooldown"]
    assert [row["final_status"] for row in expected["orders"]] == [
        "filled",
        "canceled",
        "filled",
        "filled",
    ]
    placed = len(exchange.ledger()["orders"])
    points = len(effects.names)
    assert points > 20, effects.names
    for crash_at in range(1, points + 1):
        name = effects.names[crash_at - 1]
        _, run, end = await _play(settings, exchange, db_conn, asset, crash_at)
        assert run.crashes == 1, f"no crash at point {crash_at} ({name})"
        assert end == expected, f"another end after a crash at point {crash_at} ({name})"
        orders = len(exchange.ledger()["orders"])
        assert orders == placed * (crash_at + 1), f"another order after point {crash_at} ({name})"


async def _play_manual(settings, exchange, db_conn, asset, crash_at: int | None):
    """A request, its base order, and prices at which another one would be bought."""
    execute_query("UPDATE dca_cycles SET status = 'watching' WHERE status = 'cooldown'")
    cycle = get_latest_cycle(db_conn, asset.id)
    effects = Effects(crash_at)
    run = Run(settings, exchange, effects)
    await run.quote(BASE)

    async def ask(parts: BotParts) -> None:
        if get_latest_cycle(db_conn, asset.id).quantity == 0:  # else the user sees that it is open
            await asyncio.to_thread(request_open, settings, asset)

    await run.do(ask)
    await run.quote(BASE)
    await run.quote(TOP)
    await run.quote(BASE)
    await run.end()
    return effects, run, _end_state(db_conn, cycle.id)


async def test_a_crash_after_a_request_to_open_leads_to_exactly_one_base_order(
    settings, exchange, db_conn, make_asset
):
    exchange.configure(rate_limit_per_minute=0)
    asset = make_asset(start_mode="manual")
    create_cycle(db_conn, asset.id, "watching")
    effects, _, expected = await _play_manual(settings, exchange, db_conn, asset, None)
    assert [row["status"] for row in expected["cycles"]] == ["complete", "cooldown"]
    assert [row["purpose"] for row in expected["orders"]] == ["base", "take_profit"]
    placed, points = len(exchange.ledger()["orders"]), len(effects.names)
    assert (placed, points > 10) == (2, True), effects.names
    for crash_at in range(1, points + 1):
        name = effects.names[crash_at - 1]
        _, run, end = await _play_manual(settings, exchange, db_conn, asset, crash_at)
        assert run.crashes == 1, f"no crash at point {crash_at} ({name})"
        assert end == expected, f"another end after a crash at point {crash_at} ({name})"
        orders = len(exchange.ledger()["orders"])
        assert orders == placed * (crash_at + 1), f"another order after point {crash_at} ({name})"


async def test_a_crash_between_a_peak_or_a_stop_loss_and_its_sale_converges_to_the_same_end(
    settings, exchange, db_conn, make_asset
):
    exchange.configure(rate_limit_per_minute=0)
    asset = make_asset(
        max_safety_orders=0,
        trailing_take_profit_percent=Decimal(1),
        stop_loss_percent=Decimal(3),
        stop_loss_action="cooldown",
    )
    create_cycle(db_conn, asset.id, "watching")
    effects, _, expected = await _play_exits(settings, exchange, db_conn, asset, None)
    assert [row["status"] for row in expected["cycles"]] == ["complete", "complete", "cooldown"]
    purposes = [row["purpose"] for row in expected["orders"]]
    assert purposes == ["base", "take_profit", "base", "stop_loss"]
    assert expected["fired"] == 1
    placed, points = len(exchange.ledger()["orders"]), len(effects.names)
    for crash_at in range(1, points + 1):
        name = effects.names[crash_at - 1]
        _, run, end = await _play_exits(settings, exchange, db_conn, asset, crash_at)
        assert run.crashes == 1, f"no crash at point {crash_at} ({name})"
        assert end == expected, f"another end after a crash at point {crash_at} ({name})"
        orders = len(exchange.ledger()["orders"])
        assert orders == placed * (crash_at + 1), f"another order after point {crash_at} ({name})"
