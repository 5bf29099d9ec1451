"""Everything that a decision about one asset needs, read together: asset, cycle, what came before,
what was spent. A record and its query; decides nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from decimal import Decimal

from mysql.connector.abstracts import MySQLConnectionAbstract

from domain.asset import COLUMNS as ASSET_COLUMNS
from domain.asset import DcaAsset
from domain.cycle import COLUMNS as CYCLE_COLUMNS
from domain.cycle import CycleStatus, DcaCycle
from domain.rows import Row, utc_from_db
from domain.trading_state import TradingState
from models.order_journal import load_leftovers
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
_QUERY = f"""
SELECT {", ".join(f"a.{name} AS a_{name}" for name in ASSET_COLUMNS)},
       {", ".join(f"c.{name} AS c_{name}" for name in CYCLE_COLUMNS)},
       p.status AS previous_status, p.completed_at AS previous_completed_at,
       (SELECT COALESCE(SUM(o.filled_qty * o.filled_avg_price), 0) FROM dca_orders o
         WHERE o.cycle_id = c.id AND o.asset_id = a.id AND o.side = 'buy') AS bought_usd,
       (SELECT COALESCE(SUM(o.fee_qty), 0) FROM dca_orders o
         WHERE o.cycle_id = c.id AND o.asset_id = a.id AND o.side = 'buy') AS coin_fees,
       COALESCE({_OTHER_SYMBOL.format("c.id")},
                IF(c.status = 'cooldown', {_OTHER_SYMBOL.format("p.id")}, NULL)) AS other_symbol
  FROM dca_assets a
  JOIN dca_cycles c ON {{which}}
  LEFT JOIN dca_cycles p ON p.id = (
       SELECT /*+ INDEX(ended ix_asset_completed) */ ended.id FROM dca_cycles ended
        WHERE ended.asset_id = a.id AND ended.status IN ('complete', 'error')
          AND ended.completed_at IS NOT NULL
          AND (ended.created_at < c.created_at
               OR (ended.created_at = c.created_at AND ended.id < c.id))
        ORDER BY ended.asset_id DESC, ended.completed_at DESC, ended.id DESC LIMIT 1)
"""
_OF_LATEST = _QUERY.format(which=_LATEST)
_STATE_COLUMNS = (
    *(f"a_{name}" for name in ASSET_COLUMNS),
    *(f"c_{name}" for name in CYCLE_COLUMNS),
    *("previous_status", "previous_completed_at", "bought_usd", "coin_fees", "other_symbol"),
)
# Of the whole answer, so that nothing can change and leave it as it was: not the order of commits,
# a clock that is set, an edit by hand, a fee or an older cycle. The server reads all the same, but
# what it takes to read is sent and parsed for what changed only.
_FINGERPRINTS = f"""
SELECT a_asset_symbol AS symbol, MD5(JSON_ARRAY({", ".join(_STATE_COLUMNS)})) AS fingerprint
  FROM ({_OF_LATEST}) AS states
"""
# In rows made by hand it need not be the latest cycle that is in cooldown.
_OF_COOLDOWN = _QUERY.format(which="c.asset_id = a.id AND c.status = 'cooldown'")


def _from_row(row: Row) -> TradingState:
    return TradingState(
        asset=DcaAsset.from_row({name: row[f"a_{name}"] for name in ASSET_COLUMNS}),
        cycle=DcaCycle.from_row(row, prefix="c_"),
        previous_status=CycleStatus(row["previous_status"]) if row["previous_status"] else None,
        previous_completed_at=utc_from_db(row["previous_completed_at"]),
        bought_usd=Decimal(row["bought_usd"]),
        coin_fees=Decimal(row["coin_fees"]),
        other_symbol=row["other_symbol"],
    )


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
