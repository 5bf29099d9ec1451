"""Whether what was read of an asset is still so. One small statement; decides nothing.

To read the whole state takes three times as long: its query is long to plan, and the driver spends
as much on each column. So here is one column, and nothing to search for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from mysql.connector.abstracts import MySQLConnectionAbstract

from domain.cycle import CycleStatus
from domain.trading_state import TradingState
from models.statements import read_row
from models.trading_state import load_trading_state

# `updated_at` changes with every change of its row (schema.sql); what decides most stands here,
# too, for rows whose times were written by hand. Journal rows come with a change of their cycle,
# but a posted fee takes the place of its estimate without one: so their sums.
_QUERY = """
SELECT CONCAT_WS('|', c.updated_at, a.updated_at,
       c.status, c.order_seq, c.order_key, c.close_requested <> 0, c.open_requested <> 0,
       c.stop_loss_fired <> 0,
       a.is_enabled <> 0,
       (SELECT MAX(latest.id) FROM dca_cycles latest WHERE latest.asset_id = %s),
       c.quantity,
       (SELECT CONCAT_WS('|', COALESCE(SUM(o.filled_qty * o.filled_avg_price), 0),
                         COALESCE(SUM(o.fee_qty), 0))
          FROM dca_orders o WHERE o.cycle_id = %s AND o.asset_id = %s AND o.side = 'buy')) AS facts
  FROM dca_cycles c, dca_assets a
 WHERE c.id = %s AND a.id = %s AND c.asset_id = a.id
"""


def is_current(db_conn: MySQLConnectionAbstract, state: TradingState) -> bool:
    """Whether the asset, its latest cycle and what that cycle bought are as `state` says. What went
    before the cycle decides only after an error; then the whole is read.
    """
    asset, cycle = state.asset, state.cycle
    if state.previous_status is CycleStatus.ERROR:  # the end of its cooldown may be moved by hand
        known = replace(state, leftover=Decimal(0))
        return load_trading_state(db_conn, asset.asset_symbol) == known
    row = read_row(db_conn, _QUERY, asset.id, cycle.id, asset.id, cycle.id, asset.id)
    if row is None:
        return False
    *facts, quantity, bought_usd, coin_fees = row["facts"].split("|")
    said = [_text(cycle.updated_at), _text(asset.updated_at), str(cycle.status)]
    said += [str(cycle.order_seq), cycle.order_key]
    said += [str(int(cycle.close_requested)), str(int(cycle.open_requested))]
    said += [str(int(cycle.stop_loss_fired))]
    said += [str(int(asset.is_enabled)), str(cycle.id)]
    amounts = (state.cycle.quantity, state.bought_usd, state.coin_fees)
    return facts == said and tuple(map(Decimal, (quantity, bought_usd, coin_fees))) == amounts


@dataclass(frozen=True, slots=True)
class Newest:
    """What grows with everything that is written: while it is the same, no row was added. `assets`
    differs when one was changed, added or removed.
    """

    event_id: int
    order_id: int
    assets: str


def load_newest(db_conn: MySQLConnectionAbstract) -> Newest:
    """Three reads at the end of an index, in one statement."""
    row = read_row(
        db_conn,
        "SELECT (SELECT COALESCE(MAX(id), 0) FROM dca_events) AS event_id,"
        " (SELECT COALESCE(MAX(id), 0) FROM dca_orders) AS order_id,"
        " (SELECT CONCAT_WS('|', COUNT(*), MAX(id), MAX(updated_at)) FROM dca_assets) AS assets",
    )
    assert row is not None, "a SELECT without FROM has one row"
    return Newest(int(row["event_id"]), int(row["order_id"]), str(row["assets"]))


def _text(at: datetime | None) -> str:
    """A DATETIME(6), in UTC, as the server writes it."""
    return f"{at:%Y-%m-%d %H:%M:%S.%f}" if at is not None else ""
