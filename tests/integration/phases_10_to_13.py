"""Phases 10 to 13: the cron scripts as cron runs them, on rows and orders placed by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from integration.processes import is_trading, run_script, running_daemons
from integration.report import cycle_facts, wait_until
from integration.rig import QUIET, Rig
from models.cycle_data import create_cycle, get_latest_cycle, update_cycle
from runtime.heartbeat import Heartbeat, load_heartbeat
from runtime.pid_file import read_pid_file

CLOCK_SECONDS, LOCAL_CLOCK_SECONDS = 5.0, 0.2  # how far the exchange's clock may be off
START_SECONDS = 60.0


def test_phase10_order_manager_cleans_orders(rig: Rig) -> None:
    """order_manager cancels a stale buy and an orphaned order, and leaves fresh ones alone."""
    report, limit_seconds = rig.report, rig.settings.stale_order_seconds
    report.scenario("a BUY limit order is too old; another order is tracked by no cycle")
    rig.buy_coins()
    asset = rig.insert_asset()
    stale = rig.place_resting_buy()
    orphan = rig.place_resting_sell(rig.free_coins())
    cycle = create_cycle(rig.db, asset.id, "buying", latest_order_id=str(stale.id))
    report.setup("a BUY limit order far below the market, tracked by a cycle", id=stale.id)
    report.setup("a SELL limit order far above it, tracked by none", id=orphan.id)
    before = rig.cycle_row(cycle.id)

    report.action("run order_manager.py with a limit that neither has reached")
    done = run_script("order_manager", report, STALE_ORDER_SECONDS="3600")
    report.equal("exit code", done.returncode, 0)
    report.equal("how many orders are still open", len(rig.open_orders()), 2)

    report.action("wait until both are too old, run it again", STALE_ORDER_SECONDS=limit_seconds)
    clock_seconds = LOCAL_CLOCK_SECONDS if rig.market else CLOCK_SECONDS
    ripe_at = datetime.now(UTC) + timedelta(seconds=limit_seconds + clock_seconds)
    wait_until(lambda: datetime.now(UTC) > ripe_at, "the orders are old enough", limit_seconds + 60)
    done = run_script("order_manager", report)
    report.equal("exit code", done.returncode, 0)
    for name, order in (("stale", stale), ("orphaned", orphan)):
        ended = rig.wait_for_order(str(order.id), "canceled")
        report.check(f"the {name} order is canceled", True, id=ended.id, status=ended.status)
    after = rig.cycle_row(cycle.id)
    report.check("the row is left to the trade stream", before == after, status=after["status"])

    report.action("run it once more")
    done = run_script("order_manager", report)
    report.equal("exit code", done.returncode, 0)
    report.equal("how many orders are open", len(rig.open_orders()), 0)


def test_phase11_cooldown_manager_updates_status(rig: Rig) -> None:
    """cooldown_manager ends a cooldown that is over, and only then."""
    report = rig.report
    report.scenario("a cycle is in cooldown and its cooldown_period expires")
    asset = rig.insert_asset(cooldown_period=60)
    ended_at = datetime.now(UTC) - timedelta(seconds=20)
    complete = create_cycle(rig.db, asset.id, "complete", completed_at=ended_at)
    cooling = create_cycle(rig.db, asset.id, "cooldown")
    report.setup("a completed cycle and one in cooldown", cooldown_seconds=60, completed=ended_at)

    report.action("run cooldown_manager.py 20 seconds after the completion")
    done = run_script("cooldown_manager", report)
    report.equal("exit code", done.returncode, 0)
    report.equal("status", rig.cycle(cooling.id).status, "cooldown")

    ended_at = datetime.now(UTC) - timedelta(seconds=70)
    update_cycle(rig.db, complete.id, {"completed_at": ended_at})
    report.action("the same 70 seconds after the completion", completed=ended_at)
    done = run_script("cooldown_manager", report)
    report.equal("exit code", done.returncode, 0)
    report.equal("status", rig.cycle(cooling.id).status, "watching")
    report.equal("status of the completed cycle", rig.cycle(complete.id).status, "complete")
    report.data("cycle", **cycle_facts(rig.cycle(cooling.id)))


def test_phase12_consistency_checker_scenarios(rig: Rig) -> None:
    """consistency_checker frees a cycle stuck in buying, and ends one whose coins do not exist."""
    report = rig.report
    report.scenario("1: a cycle is buying with an order that does not exist")
    asset = rig.insert_asset()
    cycle = create_cycle(rig.db, asset.id, "buying", latest_order_id="fake_id")
    report.setup("cycle row by hand", **cycle_facts(cycle))
    report.action("run consistency_checker.py")
    done = run_script("consistency_checker", report)
    report.equal("exit code", done.returncode, 0)
    after = rig.cycle(cycle.id)
    report.equal("status", after.status, "watching")
    report.equal("latest_order_id", after.latest_order_id, None)
    report.equal("order_seq: no order has ended", after.order_seq, cycle.order_seq)

    report.scenario("2: a cycle is watching with coins that Alpaca does not have")
    report.check("there is no position", rig.position() is None or not rig.free_coins())
    update_cycle(
        rig.db,
        cycle.id,
        {
            "quantity": Decimal("0.1"),
            "average_purchase_price": rig.quote().bid,
            "last_order_fill_price": rig.quote().bid,
        },
    )
    report.setup("cycle row by hand", **cycle_facts(rig.cycle(cycle.id)))
    report.action("run consistency_checker.py")
    done = run_script("consistency_checker", report)
    report.equal("exit code", done.returncode, 0)
    broken, fresh = rig.cycle(cycle.id), get_latest_cycle(rig.db, asset.id)
    assert fresh is not None, "there was one before"
    report.equal("status of the original cycle", broken.status, "error")
    report.check("its completed_at is set", broken.completed_at, at=broken.completed_at)
    report.check("there is a new cycle", fresh.id > cycle.id, id=fresh.id)
    report.equal("its status", fresh.status, "watching")
    report.equal("its quantity", fresh.quantity, Decimal(0))

    report.action("run it once more: nothing is left to do")
    before = rig.cycle_row(fresh.id)
    done = run_script("consistency_checker", report)
    report.equal("exit code", done.returncode, 0)
    report.check("the new cycle is untouched", rig.cycle_row(fresh.id) == before)
    report.data("original cycle", **cycle_facts(broken))
    report.data("new cycle", **cycle_facts(fresh))


def test_phase13_watchdog_restarts_app(rig: Rig) -> None:
    """watchdog starts main_app.py when it does not run, and leaves it alone when it does."""
    report, pid_file = rig.report, rig.settings.pid_file
    report.scenario("1: main_app.py is not running")
    asset = rig.insert_asset(**QUIET)
    create_cycle(rig.db, asset.id, "cooldown")
    pid_file.unlink(missing_ok=True)
    report.check("no daemon runs", not list(running_daemons(rig.folder)))

    report.action("run watchdog.py")
    done = run_script("watchdog", report)
    report.equal("exit code", done.returncode, 0)
    record = wait_until(
        lambda: read_pid_file(pid_file), "main_app.py writes its PID file", START_SECONDS
    )
    report.check("main_app.py runs", record.is_running(), pid=record.pid)
    first_log = _watchdog_log(rig)
    report.check("the watchdog says that it started it", "daemon.started" in first_log)

    def trading() -> Heartbeat | None:
        beat = load_heartbeat(rig.settings.run_dir)
        return beat if beat is not None and is_trading(beat, record.pid) else None

    beat = wait_until(trading, "it trades", START_SECONDS)
    report.check("it trades", True, state=beat.state, symbols=",".join(beat.symbols))

    report.scenario("2: main_app.py is running")
    report.action("run watchdog.py")
    done = run_script("watchdog", report)
    report.equal("exit code", done.returncode, 0)
    second_log = _watchdog_log(rig)[len(first_log) :]
    report.check("the watchdog says that it runs", "daemon.running" in second_log)
    report.check("and starts nothing", "daemon.started" not in second_log)
    report.check("the PID file is the same", read_pid_file(pid_file) == record, pid=record.pid)
    report.equal("how many daemons run", len(list(running_daemons(rig.folder))), 1)


def _watchdog_log(rig: Rig) -> str:
    return (rig.settings.log_dir / "watchdog.log").read_text("utf-8")
