"""Random interleavings of quotes, fills, cancels, lost, repeated and reordered events, failing
requests, crashes and caretakers: the books end up equal to the exchange's own records.

Hypothesis drives the real parts (strategy, lifecycle, reconciler, database) on the local exchange,
and shrinks a failure to the shortest story. The suite takes 25 stories of up to 25 steps; for more:

    INTERLEAVINGS=500x40 scripts/test tests/trading/test_interleavings.py
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, settings, strategies
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bot_parts import BotParts
from config import get_settings, reset_settings
from crash_points import Crash, Effects, end_all_connections, watched
from domain.asset import StopLossAction
from domain.cycle import CycleStatus
from domain.events import EventKind
from domain.journal import LATE_FILL, Purpose
from domain.orders import TradeUpdate
from mariadb_server.server import PrivateMariaDB
from models.asset_config import create_asset, update_asset_config
from models.cycle_data import create_cycle, get_cycles_by_status
from models.meta import apply_schema
from models.order_journal import get_entries_of_cycle
from models.trading_state import load_cooldowns
from running_exchange import RunningExchange
from strategy.order_identity import parse_client_order_id
from trading.cooldown_ends import end_cooldown
from trading.peak_saver import save_peaks
from utils.db_utils import close_quietly, execute_query, get_db_connection, thread_connection

BASE_USD, SAFETY_USD, SAFETY_ORDERS = Decimal(100), Decimal(60), 3
_OPEN = ("new", "partially_filled", "accepted", "pending_new")
SIZE_SETTING, USUAL_SIZE = "INTERLEAVINGS", "25x25"
MOVES = (-0.025, -0.012, -0.003, 0.003, 0.012, 0.03)
SWINGS = ((0.0, 0.03, -0.006), (0.0, -0.025), (0.0, -0.012, -0.025))
TRAILS = {"trailing_take_profit_percent": Decimal("0.5")}
STOPS = {"stop_loss_percent": Decimal(2), "stop_loss_action": StopLossAction.COOLDOWN}
OPTIONS = ({}, TRAILS, STOPS, TRAILS | STOPS)


class Interleavings(RuleBasedStateMachine):
    """One asset, one exchange, one database, and a process that can die at any effect."""

    server: PrivateMariaDB
    environment: pytest.MonkeyPatch

    def __init__(self) -> None:
        super().__init__()
        self.database = f"dca_{secrets.token_hex(4)}_test"
        self.server.create_database(self.database)
        self.environment.setenv("DB_NAME", self.database)
        self.exchange = RunningExchange(partial_fill_probability=0, rate_limit_per_minute=0)
        urls = self.exchange.start()
        for name, url in urls.as_dict().items():
            self.environment.setenv(f"ALPACA_{name.upper()}", url)
        reset_settings()
        self.db_conn = get_db_connection()
        apply_schema(self.db_conn)
        self.asset = create_asset(
            self.db_conn,
            {
                "asset_symbol": "BTC/USD",
                "base_order_amount": BASE_USD,
                "safety_order_amount": SAFETY_USD,
                "max_safety_orders": SAFETY_ORDERS,
                "safety_order_deviation": Decimal(1),
                "take_profit_percent": Decimal(1),
                "cooldown_period": 0,
            },
        )
        create_cycle(self.db_conn, self.asset.id, "watching")
        self.loop = asyncio.new_event_loop()
        self.effects = Effects()
        self.parts: BotParts | None = None
        self.price = 50_000.0
        self.pending: list[TradeUpdate] = []
        self.seen: dict[str, Any] = {}
        self.exchange.push_quote("BTC/USD", self.price, self.price + 1)
        self._run(self._idle)

    @initialize(options=strategies.sampled_from(OPTIONS))
    def configure(self, options: dict[str, Any]) -> None:
        if options:
            update_asset_config(self.db_conn, self.asset.id, options)

    async def _idle(self, parts: BotParts) -> None:
        """Starting is recovering."""

    def _run(self, step: Any) -> None:
        """Do a step once; a crash on the way starts the program anew, and the step is lost."""

        async def guarded() -> None:
            try:
                with watched(self.effects):
                    if self.parts is None:
                        self.parts = BotParts(get_settings(), self.exchange)
                        await asyncio.to_thread(self.parts.reconciler.recover)
                    await step(self.parts)
                    for worker in self.parts.market._workers.values():
                        if worker.done() and isinstance(error := worker.exception(), Crash):
                            raise error
            except Crash:
                if self.parts:
                    await self.parts.market.stop()
                self.parts = None
                await asyncio.to_thread(end_all_connections)

        self.loop.run_until_complete(guarded())
        self._collect()

    def _collect(self) -> None:
        """What the exchange would tell its stream: every change of every order, once."""
        self.exchange.finish()
        parts = self.parts or BotParts(get_settings(), self.exchange)
        for order in parts.orders():
            state = (order.status, order.filled_qty)
            if self.seen.get(order.id) != state:
                self.seen[order.id] = state
                event = "fill" if order.status == "filled" else order.status
                self.pending.append(TradeUpdate(event=event, order=order))

    @rule(move=strategies.sampled_from(MOVES))
    def quote(self, move: float) -> None:
        self._quote(move)

    def _quote(self, move: float) -> None:
        self.price = round(self.price * (1 + move), 2)

        async def step(parts: BotParts) -> None:
            await parts.see(parts.quote_both(self.price, self.price + 1))

        self._run(step)

    @rule(moves=strategies.sampled_from(SWINGS))
    def swing(self, moves: tuple[float, ...]) -> None:
        """Whole ways: bought, up and down again, or down; each step is booked where it can be."""
        self.end_cooldowns()
        for move in moves:
            self._quote(move)
            self.save_peaks()
            self.sweep()

    @rule()
    def save_peaks(self) -> None:
        async def step(parts: BotParts) -> None:
            await asyncio.to_thread(save_peaks, parts.market.assets.peaks.take())

        self._run(step)

    @precondition(lambda self: self.pending)
    @rule(which=strategies.integers(0, 5), keep=strategies.booleans())
    def deliver(self, which: int, keep: bool) -> None:
        """Any waiting event, not the first; kept, it comes again later."""
        index = which % len(self.pending)
        update = self.pending[index] if keep else self.pending.pop(index)

        async def step(parts: BotParts) -> None:
            await asyncio.to_thread(parts.updates.apply, update)

        self._run(step)

    @precondition(lambda self: self.pending)
    @rule(which=strategies.integers(0, 5))
    def lose(self, which: int) -> None:
        self.pending.pop(which % len(self.pending))

    @rule()
    def sweep(self) -> None:
        async def step(parts: BotParts) -> None:
            await asyncio.to_thread(parts.reconciler.sweep)

        self._run(step)

    @rule()
    def cancel_open_orders(self) -> None:
        for order in self.exchange.ledger()["orders"]:
            if order["status"] in _OPEN:
                self.exchange.cancel(order["id"])
        self._collect()

    @rule()
    def end_cooldowns(self) -> None:
        async def step(parts: BotParts) -> None:
            await asyncio.to_thread(_end_all_cooldowns)

        self._run(step)

    @rule(
        fault=strategies.sampled_from(
            [
                ("rest_after_part", {"fraction": 0.4}),
                ("rest_market_order", {}),
                ("reject_order", {}),
                ("fill_late", {"seconds": 0}),
                ("http_504", {"match": {"method": "POST", "path": "/v2/orders"}}),
                ("http_500", {"match": {"method": "POST", "path": "/v2/orders"}}),
                ("http_truncated", {"match": {"method": "POST", "path": "/v2/orders"}}),
            ]
        )
    )
    def trouble(self, fault: tuple[str, dict[str, Any]]) -> None:
        """Once, at the next occasion."""
        self.exchange.arm(fault[0], count=1, **fault[1])

    @rule()
    def trouble_ends(self) -> None:
        self.exchange.clear_faults()
        self._collect()

    @rule(effects_from_now=strategies.integers(1, 6))
    def crash_soon(self, effects_from_now: int) -> None:
        self.effects = Effects(effects_from_now)

    def teardown(self) -> None:
        try:
            self._settle()
            self._check_records()
        finally:
            if self.parts:
                self.loop.run_until_complete(self.parts.market.stop())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
            execute_query(f"DROP DATABASE `{self.database}`", db_conn=self.db_conn)
            close_quietly(self.db_conn)
            self.exchange.stop()

    def _settle(self) -> None:
        """The trouble ends; two sweeps later nothing waits for a person."""
        self.effects = Effects()
        self.exchange.clear_faults()
        self.exchange.finish()
        if self.parts:
            self.loop.run_until_complete(self.parts.market.stop())
        self.parts = None
        self._run(self._idle)
        self.sweep()
        self.sweep()

    def _count_stops(self, cycle_id: int) -> int:
        query = "SELECT COUNT(*) AS fired FROM dca_events WHERE kind = %s AND cycle_id = %s"
        known = (EventKind.STOP_LOSS_FIRED, cycle_id)
        [row] = execute_query(query, known, fetch_all=True, db_conn=self.db_conn)
        return int(row["fired"])

    def _check_records(self) -> None:
        ledger = self.exchange.ledger()
        open_ids = {o["id"] for o in ledger["orders"] if o["status"] in _OPEN}
        cycles = get_cycles_by_status(self.db_conn, *CycleStatus)
        assert sum(cycle.is_open for cycle in cycles) == 1
        claimed = 0
        for cycle in cycles:
            orders = [o for o in ledger["orders"] if _cycle_id(o) == cycle.id]
            claimed += len(orders)
            buys = [o for o in orders if o["side"] == "buy"]
            bought = sum(Decimal(o["filled_qty"]) for o in buys)
            sold = sum(Decimal(o["filled_qty"]) for o in orders if o["side"] == "sell")
            spent = sum(
                Decimal(o["filled_qty"]) * Decimal(o["filled_avg_price"] or 0)
                if o["id"] not in open_ids
                else Decimal(o["qty"]) * Decimal(o["limit_price"])
                for o in buys
            )
            assert spent <= BASE_USD + SAFETY_ORDERS * SAFETY_USD, "the ladder was exceeded"
            assert sold <= bought, "more was sold than bought"
            ended = [o for o in orders if o["id"] not in open_ids]
            journal = get_entries_of_cycle(self.db_conn, cycle.id)
            assert _filled(journal) == {
                o["id"]: Decimal(o["filled_qty"]) for o in ended if Decimal(o["filled_qty"])
            }, "the journal is not the fills"
            stops = [e for e in journal if e.purpose is Purpose.STOP_LOSS]
            if stops:
                after = [e for e in journal[journal.index(stops[0]) :] if e.note != LATE_FILL]
                assert {e.purpose for e in after} <= {Purpose.STOP_LOSS, Purpose.SAFETY}
            assert self._count_stops(cycle.id) == cycle.stop_loss_fired >= bool(stops)
            if cycle.is_open:
                open_filled = sum(
                    Decimal(o["filled_qty"]) * (1 if o["side"] == "buy" else -1)
                    for o in orders
                    if o["id"] in open_ids
                )
                assert cycle.quantity == bought - sold - open_filled
            if cycle.status in (CycleStatus.BUYING, CycleStatus.SELLING):
                assert cycle.latest_order_id in open_ids, "it waits for no open order"
        assert claimed == len(ledger["orders"]), "an order belongs to no cycle"
        identities = [o["client_order_id"] for o in ledger["orders"]]
        assert len(set(identities)) == len(identities)


def _cycle_id(order: dict[str, Any]) -> int | None:
    identity = parse_client_order_id(order["client_order_id"])
    return identity.cycle_id if identity else None


def _filled(journal: list[Any]) -> dict[str, Decimal]:
    filled: dict[str, Decimal] = {}
    for entry in journal:
        if entry.filled_qty:
            known = filled.get(entry.alpaca_order_id, Decimal(0))
            filled[entry.alpaca_order_id] = known + entry.filled_qty
    return filled


def _end_all_cooldowns() -> None:
    for cooldown in load_cooldowns(thread_connection()):
        end_cooldown(cooldown, datetime.now(UTC), "cooldown_manager")


def stories_and_steps(size: str) -> tuple[int, int]:
    """How many stories of how many steps '500x40' asks for."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})x([1-9][0-9]{0,3})", size, re.ASCII)
    if match is None:
        raise pytest.UsageError(f"{SIZE_SETTING}={size!r}: say STORIESxSTEPS, as 500x40")
    return int(match[1]), int(match[2])


def test_the_size_of_the_search_is_said_in_one_word():
    assert stories_and_steps(USUAL_SIZE) == (25, 25)
    assert stories_and_steps("500x40") == (500, 40)
    for size in ("", "500", "0x40", "500x", "many"):
        with pytest.raises(pytest.UsageError, match="STORIESxSTEPS"):
            stories_and_steps(size)


def test_any_interleaving_ends_with_the_exchanges_own_records(
    mariadb_server: PrivateMariaDB, bot_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stories, steps = stories_and_steps(os.environ.get(SIZE_SETTING, USUAL_SIZE))
    with monkeypatch.context() as environment:
        Interleavings.server, Interleavings.environment = mariadb_server, environment
        run_state_machine_as_test(
            Interleavings,
            settings=settings(
                max_examples=stories,
                stateful_step_count=steps,
                deadline=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),
                print_blob=True,
            ),
        )
    reset_settings()
