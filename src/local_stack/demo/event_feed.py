"""What happened, one line each: ended orders from the journal, repairs, warnings in the logs.

Reads only, and only what is new since the last call.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

from mysql.connector.abstracts import MySQLConnectionAbstract

from domain.rows import Row, utc_from_db
from utils.db_utils import execute_query
from utils.formatting import coins, marked, price, signed_usd

_ORDERS = """
SELECT o.id, o.created_at, o.symbol, o.purpose, o.side, o.filled_qty, o.filled_avg_price,
       o.requested_qty, o.final_status, c.status AS cycle_status,
       (SELECT COUNT(*) FROM dca_orders s WHERE s.cycle_id = o.cycle_id AND s.purpose = 'safety'
           AND s.filled_qty > 0 AND s.id <= o.id) AS safety_number,
       (SELECT COUNT(*) FROM dca_cycles n WHERE n.asset_id = o.asset_id AND n.id <= o.cycle_id)
           AS cycle_number,
       (SELECT SUM(IF(p.side = 'sell', p.filled_qty * p.filled_avg_price - p.fee_usd,
                      -p.filled_qty * p.filled_avg_price))
          FROM dca_orders p WHERE p.cycle_id = o.cycle_id AND p.filled_qty > 0) AS profit_usd,
       (SELECT MAX(p.fee_is_estimated) FROM dca_orders p
         WHERE p.cycle_id = o.cycle_id AND p.filled_qty > 0) AS is_estimated
  FROM dca_orders o LEFT JOIN dca_cycles c ON c.id = o.cycle_id
 WHERE o.id > %s ORDER BY o.id LIMIT 500
"""
_EVENTS = """
SELECT id, created_at, kind, severity, symbol, reason FROM dca_events
 WHERE id > %s ORDER BY id LIMIT 500
"""
_LOG_LINE = re.compile(
    r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+ (WARNING|ERROR|CRITICAL)\s+\S+ (.*)", re.ASCII
)


class Tone(Enum):
    BUY = "buy"
    SELL = "sell"
    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened; `symbol` is empty when it concerns none."""

    at: datetime
    tone: Tone
    symbol: str
    text: str


@dataclass(slots=True)
class EventFeed:
    """Remembers what it has already read."""

    log_dir: Path
    _last_order: int = 0
    _last_event: int = 0
    _read_until: dict[Path, int] = field(default_factory=dict)

    def news(self, db_conn: MySQLConnectionAbstract) -> list[Line]:
        """What happened since the last call, in the order of time."""
        orders = execute_query(_ORDERS, (self._last_order,), fetch_all=True, db_conn=db_conn)
        events = execute_query(_EVENTS, (self._last_event,), fetch_all=True, db_conn=db_conn)
        self._last_order = orders[-1]["id"] if orders else self._last_order
        self._last_event = events[-1]["id"] if events else self._last_event
        news = [_of_order(row) for row in orders]
        news += [_of_event(row) for row in events if row["severity"] == "info"]
        news += self._new_warnings()  # events that are warnings are in the log, too
        return sorted(news, key=lambda line: line.at)

    def _new_warnings(self) -> list[Line]:
        return [
            Line(
                datetime.strptime(f"{match[1]}+0000", "%Y-%m-%d %H:%M:%S%z"),
                Tone.WARNING if match[2] == "WARNING" else Tone.ERROR,
                "",
                match[3],
            )
            for line in self._new_log_lines()
            if (match := _LOG_LINE.fullmatch(line))
        ]

    def _new_log_lines(self) -> list[str]:
        lines: list[str] = []
        for path in sorted(self.log_dir.glob("*.log")):
            start = self._read_until.get(path, 0)
            size = path.stat().st_size
            start = 0 if size < start else start  # rotated: a new file began
            with open(path, "rb") as log:
                log.seek(start)
                whole = log.read().rpartition(b"\n")[0]  # a half line is read next time
            if whole:
                self._read_until[path] = start + len(whole) + 1
                lines += whole.decode("utf-8", errors="replace").splitlines()
        return lines


def _of_order(row: Row) -> Line:
    at, symbol = _time(row["created_at"]), row["symbol"]
    bought = row["side"] == "buy"
    if not row["filled_qty"]:
        text = f"{_name(row)} ended {row['final_status']}, nothing filled"
        return Line(at, Tone.NOTE, symbol, text)
    verb = "bought" if bought else "sold"
    text = f"{verb} {coins(row['filled_qty'])} at {price(row['filled_avg_price'])}"
    if row["final_status"] != "filled":
        text += f" of {coins(row['requested_qty'] or Decimal(0))}, then {row['final_status']}"
    if bought:
        text += f" ({_name(row)})"
    elif row["cycle_status"] == "complete":
        earned = marked(signed_usd(row["profit_usd"]), bool(row["is_estimated"])) + " USD"
        text += f": cycle {row['cycle_number']} earned {earned} after fees"
    return Line(at, Tone.BUY if bought else Tone.SELL, symbol, text)


def _name(row: Row) -> str:
    match row["purpose"]:
        case "base":
            return "base order"
        case "safety":
            return f"safety order {row['safety_number']}" if row["filled_qty"] else "safety order"
        case _:
            return "take profit"


def _of_event(row: Row) -> Line:
    text = f"{row['kind'].replace('_', ' ')}: {row['reason']}"
    return Line(_time(row["created_at"]), Tone.NOTE, row["symbol"] or "", text)


def _time(value: Any) -> datetime:
    return utc_from_db(value) or datetime.now(UTC)
