"""Everything that a decision about one asset needs, read together: asset, cycle, what came before,
what was spent. A record and its query; decides nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from mysql.connector.abstracts import MySQLConnectionAbstract

from domain.asset import COLUMNS as ASSET_COLUMNS
from domain.asset import DcaAsset
from domain.cycle import COLUMNS as CYCLE_COLUMNS
from domain.cycle import CycleStatus, DcaCycle
from domain.rows import Row, utc_from_db
from domain.trading_state import TradingState
from models.order_journal import BookedOrder, get_booked_orders, load_leftovers
from models.statements import marks, read_row, read_rows

_OTHER_SYMBOL = """(SELECT MIN(o.symbol) FROM dca_orders o
         WHERE o.cycle_id = {} AND o.asset_id = a.id AND o.filled_qty > 0
           AND o.symbol <> a.asset_symbol)"""
# Read every few seconds: the subqueries take the first row of an index, or the rows of one cycle.
# The hints and the first column of each ORDER BY are for MySQL, which would read and sort every
# cycle of the asset; MariaDB takes them for comments.
_LATEST = """c.id = (
       SELECT /*+ INDEX(latest ix_asset_latest) */ latest.id FROM dca_cycles latest
        WHERE latest.asset_id = a.id
        ORDER BY latest.asset_id DESC, latest.id DESC LIMIT 1)"""
_PREVIOUS = """LEFT JOIN dca_cycles p ON p.id = (
       SELECT /*+ INDEX(ended ix_asset_completed) */ ended.id FROM dca_cycles ended
        WHERE ended.asset_id = a.id AND ended.status IN ('complete', 'error')
          AND ended.completed_at IS NOT NULL
          AND (ended.created_at < c.created_at
               OR (ended.created_at = c.created_at AND ended.id < c.id))
        ORDER BY ended.asset_id DESC, ended.completed_at DESC, ended.id DESC LIMIT 1)"""
_COIN_FEES = """(SELECT COALESCE(SUM(o.fee_qty), 0) FROM dca_orders o
         WHERE o.cycle_id = c.id AND o.asset_id = a.id AND o.side = 'buy')"""
_ASSET = ", ".join(f"a.{name} AS a_{name}" for name in ASSET_COLUMNS)
_QUERY = f"""
SELECT {_ASSET},
       {", ".join(f"c.{name} AS c_{name}" for name in CYCLE_COLUMNS)},
       p.status AS previous_status, p.completed_at AS previous_completed_at,
       COALESCE(p.stop_loss_fired, FALSE) AS previous_stop_loss,
       (SELECT COALESCE(SUM(o.filled_qty * o.filled_avg_price), 0) FROM dca_orders o
         WHERE o.cycle_id = c.id AND o.asset_id = a.id AND o.side = 'buy') AS bought_usd,
       {_COIN_FEES} AS coin_fees,
       COALESCE({_OTHER_SYMBOL.format("c.id")},
                IF(c.status = 'cooldown', {_OTHER_SYMBOL.format("p.id")}, NULL)) AS other_symbol
  FROM dca_assets a
  JOIN dca_cycles c ON {{which}}
  {_PREVIOUS}
"""
_OF_LATEST = _QUERY.format(which=_LATEST)
_STATE_COLUMNS = (
    *(f"a_{name}" for name in ASSET_COLUMNS),
    *(f"c_{name}" for name in CYCLE_COLUMNS),
    *("previous_status", "previous_completed_at", "previous_stop_loss"),
    *("bought_usd", "coin_fees", "other_symbol"),
)
# Of the whole answer, so that nothing can change and leave it as it was: not the order of commits,
# a clock that is set, an edit by hand, a fee or an older cycle. The server reads all the same, but
# what it takes to read is sent and parsed for what changed only.
_FINGERPRINTS = f"""
SELECT a_asset_symbol AS symbol,
       SHA2(JSON_ARRAY({", ".join(_STATE_COLUMNS)}), 256) AS fingerprint
  FROM ({_OF_LATEST}) AS states
"""
# In rows made by hand it need not be the latest cycle that is in cooldown.
_OF_COOLDOWN = _QUERY.format(which="c.asset_id = a.id AND c.status = 'cooldown'")


def _from_row(row: Row) -> TradingState:
    return TradingState(
        asset=_asset_from(row),
        cycle=DcaCycle.from_row(row, prefix="c_"),
        previous_status=_previous_status(row),
        previous_completed_at=utc_from_db(row["previous_completed_at"]),
        previous_stop_loss=bool(row["previous_stop_loss"]),
        bought_usd=Decimal(row["bought_usd"]),
        coin_fees=Decimal(row["coin_fees"]),
        other_symbol=row["other_symbol"],
    )


# What a booking needs beside the locked row of its cycle.
_FOR_BOOKING = f"""
SELECT {_ASSET},
       p.status AS previous_status, p.completed_at AS previous_completed_at,
       COALESCE(p.stop_loss_fired, FALSE) AS previous_stop_loss,
       {_COIN_FEES} AS coin_fees,
       EXISTS (SELECT 1 FROM dca_cycles newer
                WHERE newer.asset_id = c.asset_id AND newer.id > c.id) AS is_old,
       (SELECT MAX(linked.id) FROM dca_cycles linked
         WHERE linked.latest_order_id = %s
           AND linked.status NOT IN ('complete', 'error')) AS linked_cycle_id,
       EXISTS (SELECT 1 FROM dca_orders b WHERE b.alpaca_order_id = %s) AS is_booked,
       EXISTS (SELECT 1 FROM dca_events e
                WHERE e.order_id = %s AND e.severity = 'error') AS has_alerts
  FROM dca_cycles c
  JOIN dca_assets a ON a.id = c.asset_id
  {_PREVIOUS}
 WHERE c.id = %s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BookingState:
    """What a booking of one order on one cycle depends on.

    `state` is without `bought_usd` and `other_symbol`; of an old cycle it has only cycle and asset.
    `linked_cycle_id`: the open cycle that waits for the order. `has_alerts`: it had errors, which
    may be over.
    """

    state: TradingState
    linked_cycle_id: int | None
    booked: BookedOrder | None
    has_alerts: bool


def load_booking_state(
    db_conn: MySQLConnectionAbstract, cycle: DcaCycle, order_id: str
) -> BookingState | None:
    """What booking this order on `cycle` needs, or None where the cycle's asset is gone. The caller
    holds the row's lock.
    """
    row = read_row(db_conn, _FOR_BOOKING, order_id, order_id, order_id, cycle.id)
    if row is None:
        return None
    state = TradingState(asset=_asset_from(row), cycle=cycle)
    if not row["is_old"]:
        state = replace(
            state,
            previous_status=_previous_status(row),
            previous_completed_at=utc_from_db(row["previous_completed_at"]),
            previous_stop_loss=bool(row["previous_stop_loss"]),
            coin_fees=Decimal(row["coin_fees"]),
        )
    booked = get_booked_orders(db_conn, {order_id}) if row["is_booked"] else {}
    return BookingState(
        state=state,
        linked_cycle_id=row["linked_cycle_id"],
        booked=booked.get(order_id),
        has_alerts=bool(row["has_alerts"]),
    )


def _asset_from(row: Row) -> DcaAsset:
    return DcaAsset.from_row({name: row[f"a_{name}"] for name in ASSET_COLUMNS})


def _previous_status(row: Row) -> CycleStatus | None:
    return CycleStatus(row["previous_status"]) if row["previous_status"] else None


def load_trading_state(db_conn: MySQLConnectionAbstract, asset_symbol: str) -> TradingState | None:
    """The state of one asset, or None when it is not configured or has no cycle."""
    row = read_row(db_conn, f"{_OF_LATEST} WHERE a.asset_symbol = %s", asset_symbol)
    return _from_row(row) if row else None


def load_trading_state_of_cycle(
    db_conn: MySQLConnectionAbstract, cycle: DcaCycle
) -> TradingState | None:
    """The state with `cycle`, or None when a newer cycle has taken its place."""
    row = read_row(db_conn, f"{_OF_LATEST} WHERE a.id = %s AND c.id = %s", cycle.asset_id, cycle.id)
    return _from_row(row) if row else None


def load_all_trading_states(db_conn: MySQLConnectionAbstract) -> list[TradingState]:
    """The states of all assets that have a cycle, disabled ones too, by symbol."""
    rows = read_rows(db_conn, f"{_OF_LATEST} ORDER BY a.asset_symbol")
    return [_from_row(row) for row in rows]


def load_fingerprints(db_conn: MySQLConnectionAbstract) -> dict[str, str]:
    """By symbol, what `load_trading_states` would give, as one word that differs when that does."""
    rows = read_rows(db_conn, _FINGERPRINTS)
    return {row["symbol"]: row["fingerprint"] for row in rows}


def load_trading_states(
    db_conn: MySQLConnectionAbstract, symbols: Collection[str]
) -> list[TradingState]:
    """As `load_all_trading_states`, of these symbols."""
    if not symbols:
        return []
    query = f"{_OF_LATEST} WHERE a.asset_symbol IN ({marks(symbols)}) ORDER BY a.asset_symbol"
    return [_from_row(row) for row in read_rows(db_conn, query, *symbols)]


def load_cooldowns(db_conn: MySQLConnectionAbstract) -> list[TradingState]:
    """The state of every cycle in `cooldown`, oldest first."""
    rows = read_rows(db_conn, f"{_OF_COOLDOWN} ORDER BY c.id")
    return [_from_row(row) for row in rows]


def load_cooldown(db_conn: MySQLConnectionAbstract, cycle_id: int) -> TradingState | None:
    """The state of the cycle with this id if it is in `cooldown`, or None."""
    row = read_row(db_conn, f"{_OF_COOLDOWN} WHERE c.id = %s", cycle_id)
    return _from_row(row) if row else None


def with_leftovers(
    db_conn: MySQLConnectionAbstract, states: Iterable[TradingState]
) -> list[TradingState]:
    """`states` with what earlier cycles left (see `load_leftovers`)."""
    states, none = list(states), Decimal(0)
    leftovers = load_leftovers(db_conn, states[0].asset.id if len(states) == 1 else None)
    return [replace(state, leftover=leftovers.get(state.asset.id, none)) for state in states]
