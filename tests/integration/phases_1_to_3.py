"""Phases 1 to 3: the tables, orders over REST, and main_app.py on both streams."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

from alpaca.trading.models import Order

from domain.orders import ExchangeOrder
from integration.report import cycle_facts, order_facts
from integration.rig import MINIMUM_TEST_USD, QUIET, Rig
from models.asset_config import get_asset_config
from models.cycle_data import create_cycle, get_latest_cycle, update_cycle
from runtime.heartbeat import load_heartbeat
from utils.alpaca_client_rest import (
    cancel_order,
    get_account_info,
    get_latest_crypto_price,
    get_open_orders,
    place_limit_buy_order,
)

STOP_WITHIN_SECONDS = 8.0


def test_phase1_asset_and_cycle_crud(rig: Rig) -> None:
    """Create, read, update and delete rows of dca_assets and dca_cycles."""
    report = rig.report
    report.scenario("basic create, read, update and delete of dca_assets and dca_cycles")
    report.setup("connected to the test database", database=rig.settings.db_name)

    report.action(f"insert {rig.symbol} into dca_assets with plain SQL, read it back")
    rig.insert_asset(take_profit_percent=Decimal("1.25"))
    asset = get_asset_config(rig.db, rig.symbol)
    report.check("get_asset_config finds it", asset is not None)
    assert asset is not None, "checked above"
    report.equal("asset_symbol", asset.asset_symbol, rig.symbol)
    report.equal("base_order_amount", asset.base_order_amount, rig.order_usd())
    report.equal("take_profit_percent", asset.take_profit_percent, Decimal("1.25"))
    report.check("it is enabled", asset.is_enabled)

    report.action("create_cycle")
    cycle = create_cycle(rig.db, asset.id, "watching")
    report.check("it has an id", cycle.id > 0, id=cycle.id)
    report.check("it has its creation time", cycle.created_at is not None, at=cycle.created_at)
    report.equal("status", cycle.status, "watching")
    report.equal("quantity", cycle.quantity, Decimal(0))
    report.equal("average_purchase_price", cycle.average_purchase_price, Decimal(0))
    report.equal("safety_orders", cycle.safety_orders, 0)
    report.equal("latest_order_id", cycle.latest_order_id, None)
    report.check("get_latest_cycle is the same", get_latest_cycle(rig.db, asset.id) == cycle)

    report.action("update_cycle to buying")
    updates = {"status": "buying", "quantity": Decimal("0.00012345")}
    report.check("it says that the row exists", update_cycle(rig.db, cycle.id, updates))
    changed = get_latest_cycle(rig.db, asset.id)
    assert changed is not None, "it was there a moment ago"
    report.equal("status", changed.status, "buying")
    report.equal("quantity, exactly", changed.quantity, Decimal("0.00012345"))
    report.data("cycle", **cycle_facts(changed))


def test_phase2_alpaca_rest_api_order_cycle(rig: Rig) -> None:
    """Place, find and cancel an order over REST; one client id never makes two orders."""
    report = rig.report
    report.scenario("the full cycle of placing, viewing and canceling an order over REST")
    report.setup("trading client", host=rig.settings.trading_host)

    account = get_account_info(rig.client)
    report.check("get_account_info answers", account is not None)
    assert account is not None, "checked above"
    report.data(
        "account", status=account.status, cash=account.cash, buying_power=account.buying_power
    )
    price = get_latest_crypto_price(rig.client, rig.symbol)
    report.check(f"there is a price of {rig.symbol}", price and price > 0, price=price)

    far = rig.far_price()
    report.action("place_limit_buy_order far below the market", usd=MINIMUM_TEST_USD, limit=far)
    order = rig.place_resting_buy()
    report.check("an order is returned", order.id, id=order.id)
    found = rig.wait(
        lambda: _listed(rig, order, "new", "accepted"), "the order is listed as new or accepted"
    )
    report.check("get_open_orders lists it", True, status=found.status.value, qty=found.qty)

    report.action("cancel_order")
    report.check("it is acknowledged", cancel_order(rig.client, str(order.id)))
    rig.wait(lambda: not _listed(rig, order), "the order is no longer listed as open")
    canceled = rig.wait_for_order(str(order.id), "canceled")
    report.check("get_open_orders no longer lists it", True, status=canceled.status)
    report.data("order", **order_facts(canceled))

    _check_one_order_in_sequence(rig, far)
    _check_one_order_at_once(rig, far)


def _listed(rig: Rig, order: Order, *statuses: str) -> Order | None:
    for listed in get_open_orders(rig.client):
        if listed.id == order.id and (not statuses or listed.status.value in statuses):
            return listed
    return None


def _check_one_order_in_sequence(rig: Rig, price: Decimal) -> None:
    report, identity = rig.report, rig.new_order_id()
    report.action("the same client_order_id twice, one after the other", id=identity)
    first = _place(rig, identity, price)
    second = _place(rig, identity, price)
    report.check("the first is taken", first is not None)
    report.check("the second is refused", second is None)
    _check_only_one(rig, identity)


def _check_one_order_at_once(rig: Rig, price: Decimal) -> None:
    report, identity = rig.report, rig.new_order_id()
    report.action("the same client_order_id twice, at the same moment", id=identity)
    both_ready = threading.Barrier(2)

    def place() -> Order | None:
        both_ready.wait()
        return _place(rig, identity, price)

    with ThreadPoolExecutor(2) as threads:
        answers = [sent.result() for sent in [threads.submit(place) for _ in range(2)]]
    taken = [answer for answer in answers if answer is not None]
    report.equal("how many of the two were taken", len(taken), 1)
    _check_only_one(rig, identity)


def _place(rig: Rig, identity: str, price: Decimal) -> Order | None:
    qty = rig.quantity(MINIMUM_TEST_USD, price)
    return place_limit_buy_order(rig.client, rig.symbol, qty, price, client_order_id=identity)


def _check_only_one(rig: Rig, identity: str) -> None:
    def probe() -> list[ExchangeOrder]:
        return [order for order in rig.orders() if order.client_order_id == identity]

    orders = rig.wait(probe, "the exchange lists the order")
    rig.report.equal("how many orders the exchange has with this id", len(orders), 1)


def test_phase3_websocket_connection_and_data_receipt(rig: Rig) -> None:
    """main_app.py connects to both streams, receives quotes and updates, and ends at Ctrl-C."""
    report = rig.report
    report.scenario("main_app.py connects to both websockets and receives what they send")
    asset = rig.insert_asset(**QUIET)
    cycle = create_cycle(rig.db, asset.id, "cooldown")
    report.setup("an asset in cooldown, so that it is watched but not traded", cycle=cycle.id)

    report.action("run python src/main_app.py")
    with rig.daemon() as daemon:
        for stream in ("data", "trade"):
            line = daemon.wait_for_line("stream.connected", f"stream={stream}")
            report.check(f"the {stream} stream is connected", True, line=line)
        beat = daemon.wait_until_trading()
        report.check("it is trading", True, pid=daemon.pid, symbols=",".join(beat.symbols))

        seen: set[float] = set()

        def quotes() -> set[float] | None:
            newest = load_heartbeat(rig.settings.run_dir)
            if newest is not None and newest.last_quote_at is not None:
                seen.add(newest.last_quote_at)
            return seen if len(seen) >= 3 else None

        rig.wait(quotes, f"quotes of {rig.symbol} keep coming")
        report.check(f"quotes of {rig.symbol} keep coming", True, moments=len(seen))

        report.action("place a small order by REST, far below the market")
        order = rig.place_resting_buy()
        identity = f"id={order.client_order_id}"
        line = daemon.wait_for_line("update.received", "event=new", identity)
        report.check("main_app.py received its update", True, line=line)
        cancel_order(rig.client, str(order.id))
        line = daemon.wait_for_line("update.received", "event=canceled", identity)
        report.check("and the one of its cancellation", True, line=line)

        report.action("Ctrl-C (SIGINT)")
        code, seconds = daemon.interrupt()
        report.equal("exit code", code, 0)
        report.check("it ended within seconds", seconds < STOP_WITHIN_SECONDS, seconds=seconds)
        for name in ("app.stopping", "app.stopped"):
            report.check(f"it said {name}", daemon.lines_with(name))
        report.check("its PID file is gone", not rig.settings.pid_file.exists())
        report.data("console", lines=len(daemon.text().splitlines()), file=daemon.console.name)
