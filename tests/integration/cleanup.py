"""Takes back what a test opened: daemons, orders, coins, rows. Touches nothing else.

What is ours is known by its name alone (the order prefix of the test, the client ids of the cycles
in the test database): so it works after a failure, after Ctrl-C and after a run that was killed.
"""

from __future__ import annotations

import secrets
from decimal import Decimal

import psutil

from domain.cycle import COLUMNS, DcaCycle
from domain.orders import ExchangeOrder, Side
from integration.processes import running_daemons
from integration.report import CheckFailed
from integration.rig import Rig
from integration.run import Run
from runtime.process_table import end_process
from strategy.fees import compute_coin_fee
from strategy.order_identity import PREFIX
from strategy.sizing import floor_quantity, is_unsellable
from trading.engine import build_engine
from utils.alpaca_client_rest import cancel_order, place_market_sell_order
from utils.db_utils import execute_query

POSITION_LAG_SECONDS = 10.0


def clean_up(rig: Rig, run: Run | None = None) -> list[str]:
    """Undo what `run` (default: the present test) opened; what was done, for the report.

    Raises:
        CheckFailed, ExchangeError, DatabaseError: something is left; the text says what.
    """
    run = run or rig.run
    done = _end_daemons(rig)
    orders = _orders_of(rig, run)
    if still_open := _open_ones(orders):
        for order in still_open:
            cancel_order(rig.client, order.id)
            done.append(f"canceled {order.side} order {order.client_order_id}")
        rig.wait(lambda: not _open_ones(_orders_of(rig, run)), "the orders have ended")
        orders = _orders_of(rig, run)
    _journal(rig, orders)
    done += _sell_what_is_left(rig, run, orders)
    return done + _delete_rows(rig)


def _end_daemons(rig: Rig) -> list[str]:
    ended = []
    for process in running_daemons(rig.folder):
        end_process(process, psutil.Process.terminate)
        ended.append(f"ended main_app.py (PID {process.pid})")
    return ended


def _cycles(rig: Rig) -> list[DcaCycle]:
    rows = execute_query(
        f"SELECT {', '.join(f'c.{name}' for name in COLUMNS)} FROM dca_cycles c"
        " JOIN dca_assets a ON a.id = c.asset_id WHERE a.asset_symbol = %s",
        (rig.symbol,),
        fetch_all=True,
        db_conn=rig.db,
    )
    return [DcaCycle.from_row(row) for row in rows]


def _orders_of(rig: Rig, run: Run) -> list[ExchangeOrder]:
    prefixes = (
        run.order_prefix,
        *(f"{PREFIX}{cycle.id}-{cycle.order_key}-" for cycle in _cycles(rig)),
    )
    return [order for order in rig.orders(run) if order.client_order_id.startswith(prefixes)]


def _open_ones(orders: list[ExchangeOrder]) -> list[ExchangeOrder]:
    return [order for order in orders if not order.is_ended]


def _journal(rig: Rig, orders: list[ExchangeOrder]) -> None:
    """The bot's own orders enter the journal before their cycles go.

    A later daemon on this database would block on orders with its prefix that nothing claims.
    """
    if not any(order.client_order_id.startswith(PREFIX) for order in orders):
        return
    build_engine(rig.settings).reconciler.recover()


def _sell_what_is_left(rig: Rig, run: Run, orders: list[ExchangeOrder]) -> list[str]:
    """Sell the coins that the test bought and has not sold: at most those, whatever is held."""
    buys, rate = [o.filled_qty for o in orders if o.side is Side.BUY], rig.settings.taker_fee_rate
    bought = sum(buys, Decimal(0))
    sold = sum((o.filled_qty for o in orders if o.side is Side.SELL), Decimal(0))
    kept = bought - sum((compute_coin_fee(qty, rate) for qty in buys), Decimal(0)) - sold
    if is_unsellable(kept, rig.rules):
        return []
    rig.wait(rig.free_coins, "the bought coins can be sold", POSITION_LAG_SECONDS)
    free = rig.free_coins()
    # The fee can be lower than thought: up to what was bought is ours, a little more than `kept`.
    qty = floor_quantity(free if free <= bought - sold else kept, rig.rules)
    identity = f"{run.order_prefix}sell-{secrets.token_hex(4)}"
    order = place_market_sell_order(rig.client, rig.symbol, qty, client_order_id=identity)
    if order is None:
        raise CheckFailed(f"{qty} coins of {rig.symbol} are left: selling them was refused")
    rig.wait_for_order(str(order.id), "filled")
    return [f"sold {qty.normalize():f} coins"]


def _delete_rows(rig: Rig) -> list[str]:
    """The cycles and the asset; the journal and the events outlive them, as they do in the bot."""
    cycles = execute_query(
        "DELETE c FROM dca_cycles c JOIN dca_assets a ON a.id = c.asset_id"
        " WHERE a.asset_symbol = %s",
        (rig.symbol,),
        commit=True,
        db_conn=rig.db,
    )
    assets = execute_query(
        "DELETE FROM dca_assets WHERE asset_symbol = %s",
        (rig.symbol,),
        commit=True,
        db_conn=rig.db,
    )
    return [f"deleted {cycles} dca_cycles and {assets} dca_assets rows"] if assets else []
