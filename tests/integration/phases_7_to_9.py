"""Phases 7 to 9: main_app.py applies what happens to orders; orders and rows are placed by hand."""

from __future__ import annotations

from decimal import Decimal

from domain.cycle import CycleStatus, DcaCycle
from domain.orders import ExchangeOrder
from integration.processes import Daemon
from integration.report import cycle_facts
from integration.rig import QUIET, Rig
from models.cycle_data import create_cycle, get_latest_cycle
from models.order_journal import get_entries_of_order
from strategy.booking import compute_average_purchase_price
from strategy.order_identity import compute_client_order_id
from utils.alpaca_client_rest import cancel_order

SAME_MOMENT_SECONDS = 1.0


def test_phase7_tradingstream_processes_buy_fill(rig: Rig) -> None:
    """A buy order fills: quantity, average, last fill price and safety orders are updated."""
    report = rig.report
    report.scenario("a BUY order (first a base order, then a safety order) gets filled")
    asset = rig.insert_asset(**QUIET)
    order = rig.place_buy_for_later()
    report.setup("placed a BUY limit order by hand", id=order.id, qty=order.qty)
    cycle = create_cycle(rig.db, asset.id, "buying", latest_order_id=str(order.id))
    report.setup("cycle row by hand", **cycle_facts(cycle))

    report.action("run python src/main_app.py, let the order fill")
    with rig.daemon() as daemon:
        daemon.wait_until_trading()
        rig.let_buy_fill()
        filled = rig.wait_for_order(str(order.id), "filled")
        after = _wait_for_seq(rig, cycle, 1)
        _check_bought(rig, cycle, after, filled)
        report.equal("safety_orders: a base order does not count", after.safety_orders, 0)
        _report_source(rig, daemon, filled)

        # This one carries the id that the bot would give it: the stream links it by itself.
        identity = compute_client_order_id(after)
        report.action("a safety order with the bot's own id, let it fill", id=identity)
        safety = rig.place_buy_for_later(identity)
        if rig.market:
            linked = rig.wait(
                lambda: _in_status(rig, after, CycleStatus.BUYING), "the order is linked"
            )
            report.equal("latest_order_id while it is open", linked.latest_order_id, str(safety.id))
        rig.let_buy_fill()
        filled = rig.wait_for_order(str(safety.id), "filled")
        last = _wait_for_seq(rig, cycle, 2)
        _check_bought(rig, after, last, filled)
        report.equal("safety_orders", last.safety_orders, 1)
        _report_source(rig, daemon, filled)
    report.data("cycle", **cycle_facts(last))


def test_phase8_tradingstream_processes_sell_fill(rig: Rig) -> None:
    """A take-profit sell fills: the cycle completes and a new one cools down."""
    report = rig.report
    report.scenario("a take-profit SELL order gets filled")
    bought = rig.buy_coins()
    asset = rig.insert_asset(**QUIET)
    order = rig.place_sell_for_later(rig.free_coins())
    report.setup("bought coins, placed a SELL order by hand", id=order.id, qty=order.qty)
    cycle = create_cycle(
        rig.db,
        asset.id,
        "selling",
        quantity=bought.filled_qty,
        average_purchase_price=bought.filled_avg_price or Decimal(0),
        latest_order_id=str(order.id),
        last_order_fill_price=bought.filled_avg_price,
    )
    report.setup("cycle row by hand", **cycle_facts(cycle))
    report.setup("asset", last_sell_price=asset.last_sell_price)

    report.action("run python src/main_app.py, let the order fill")
    with rig.daemon() as daemon:
        daemon.wait_until_trading()
        rig.let_sell_fill()
        filled = rig.wait_for_order(str(order.id), "filled")
        done = rig.wait(lambda: _in_status(rig, cycle, CycleStatus.COMPLETE), "the cycle completes")
        report.equal("status", done.status, "complete")
        report.equal("latest_order_id", done.latest_order_id, None)
        assert filled.ended_at is not None, "a filled order has its time"
        difference = abs((done.completed_at or rig.run.started_at) - filled.ended_at)
        report.check(
            "completed_at is the time of the fill",
            difference.total_seconds() < SAME_MOMENT_SECONDS,
            completed_at=done.completed_at,
        )
        report.equal("last_sell_price", rig.asset().last_sell_price, filled.filled_avg_price)
        resting = get_latest_cycle(rig.db, asset.id)
        assert resting is not None, "there was one before"
        report.check("there is a new cycle", resting.id > cycle.id, id=resting.id)
        report.equal("its status", resting.status, "cooldown")
        report.equal("its quantity", resting.quantity, Decimal(0))
        report.equal("its average_purchase_price", resting.average_purchase_price, Decimal(0))
        report.equal("its safety_orders", resting.safety_orders, 0)
        report.equal("its latest_order_id", resting.latest_order_id, None)
        report.equal("its last_order_fill_price", resting.last_order_fill_price, None)
        report.equal("its completed_at", resting.completed_at, None)
        _report_source(rig, daemon, filled)
    report.data("completed cycle", **cycle_facts(done))
    report.data("new cycle", **cycle_facts(resting))


def test_phase9_tradingstream_handles_order_cancellation(rig: Rig) -> None:
    """An open order of a cycle is canceled: back to watching; a foreign one changes nothing."""
    report = rig.report
    report.scenario("an open BUY order that is linked to a cycle is canceled")
    asset = rig.insert_asset(**QUIET)
    order = rig.place_resting_buy()
    report.setup("placed a BUY limit order far below the market", id=order.id)
    # With coins: without, the running daemon would open a new base order at once.
    price = rig.quote().bid
    cycle = create_cycle(
        rig.db,
        asset.id,
        "buying",
        quantity=rig.quantity(rig.order_usd(), price),
        average_purchase_price=price,
        latest_order_id=str(order.id),
        last_order_fill_price=price,
    )
    report.setup("cycle row by hand", **cycle_facts(cycle))

    report.action("run python src/main_app.py")
    with rig.daemon() as daemon:
        daemon.wait_until_trading()
        report.equal("status while the order is open", rig.cycle(cycle.id).status, "buying")
        report.action("cancel the order by REST")
        report.check("the cancel is acknowledged", cancel_order(rig.client, str(order.id)))
        after = rig.wait(
            lambda: _in_status(rig, cycle, CycleStatus.WATCHING), "the cycle is watching again"
        )
        report.equal("status", after.status, "watching")
        report.equal("latest_order_id", after.latest_order_id, None)
        report.equal("quantity is unchanged", after.quantity, cycle.quantity)
        report.equal("safety_orders", after.safety_orders, 0)
        _report_source(rig, daemon, rig.wait_for_order(str(order.id), "canceled"))

        report.action("cancel an order that belongs to no cycle")
        before = rig.cycle_row(cycle.id)
        foreign = rig.place_resting_buy()
        cancel_order(rig.client, str(foreign.id))
        line = daemon.wait_for_line("update.ignored", str(foreign.id))
        report.check("it is logged as a warning", "WARNING" in line, line=line)
        report.check("the cycle is untouched", rig.cycle_row(cycle.id) == before)
    report.data("cycle", **cycle_facts(after))


def _in_status(rig: Rig, cycle: DcaCycle, status: CycleStatus) -> DcaCycle | None:
    now = rig.cycle(cycle.id)
    return now if now.status is status else None


def _wait_for_seq(rig: Rig, cycle: DcaCycle, order_seq: int) -> DcaCycle:
    """The cycle, once that many of its orders have ended."""

    def probe() -> DcaCycle | None:
        now = rig.cycle(cycle.id)
        return now if now.order_seq >= order_seq else None

    return rig.wait(probe, f"the fill is in the cycle (order_seq {order_seq})")


def _check_bought(rig: Rig, before: DcaCycle, after: DcaCycle, filled: ExchangeOrder) -> None:
    report = rig.report
    assert filled.filled_avg_price is not None, "a filled order has a price"
    average = compute_average_purchase_price(
        before.average_purchase_price,
        before.quantity,
        filled.filled_avg_price,
        filled.filled_qty,
    )
    report.equal("status", after.status, "watching")
    report.equal("latest_order_id", after.latest_order_id, None)
    report.equal("quantity", after.quantity, before.quantity + filled.filled_qty)
    report.equal("average_purchase_price", after.average_purchase_price, average)
    report.equal("last_order_fill_price", after.last_order_fill_price, filled.filled_avg_price)


def _report_source(rig: Rig, daemon: Daemon, order: ExchangeOrder) -> None:
    """Where the daemon learned it (the stream, if it listened by then), and the journal."""
    [line, *more] = daemon.lines_with("cycle.changed", f"id={order.client_order_id}")[::-1]
    source = line.partition("source=")[2].partition(" ")[0]
    if rig.market:
        rig.report.equal("it was learned from", source, "stream")
    entries = get_entries_of_order(rig.db, order.id)
    rig.report.equal("rows of the order in dca_orders", len(entries), 1)
    rig.report.data(
        "journal",
        source=source,
        changes=1 + len(more),
        purpose=entries[0].purpose,
        status=entries[0].final_status,
        filled=entries[0].filled_qty,
        price=entries[0].filled_avg_price,
        fee_coins=entries[0].fee_qty,
        fee_usd=entries[0].fee_usd,
    )
