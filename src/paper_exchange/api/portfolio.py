"""The answer of /v2/account/portfolio/history.

It has nothing from before the account was opened. Months count 30 days, years 365. Every part of
the window bears the time of its beginning and shows the equity at its end.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from paper_exchange.api.query import Query
from paper_exchange.core import errors
from paper_exchange.core.clock import NANOS, parse_time
from paper_exchange.core.equity import EquityCurve

PARAMETERS = (
    "period", "timeframe", "intraday_reporting", "start", "end", "date_end", "pnl_reset",
    "extended_hours", "cashflow_types",
)  # fmt: skip
_DAY = 86_400
_UNITS = {"D": _DAY, "W": 7 * _DAY, "M": 30 * _DAY, "A": 365 * _DAY}
_FRAMES = {"1Min": 60, "5Min": 300, "15Min": 900, "1H": 3_600, "1D": _DAY}


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """From `start` to `end`, in seconds since the epoch."""

    start: int
    end: int
    timeframe: str
    resets: bool
    """Profit counts from the end of the day before."""
    is_open: bool
    """Its last part still runs."""

    @property
    def step(self) -> int:
        return _FRAMES[self.timeframe]


def parse_window(query: Query, now_ns: int) -> Window:
    """Raises ApiError. Crypto trades around the clock: market hours are all hours."""
    query.choice("intraday_reporting", ("market_hours", "extended_hours", "continuous"), "")
    query.flag("extended_hours")
    query.names("cashflow_types")  # here none ever comes in or goes out
    resets = query.choice("pnl_reset", ("per_day", "no_reset"), "per_day") == "per_day"
    now = now_ns // NANOS
    start, end = _moment(query, "start"), _moment(query, "end")
    if (day := query.date("date_end")) is not None:
        end = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) + _DAY - 1
    period = query.read("period", _period)
    if start is not None and end is not None and period is not None:
        raise errors.invalid("period cannot be combined with both start and end")
    span = period or _UNITS["M"]
    if end is None:
        end = now if start is None else min(now, start + span)
    end = min(end, now)
    if start is None:
        start = end - span
    if start > end:
        raise errors.invalid("start must not be after end")
    usual = "1Min" if end - start < 7 * _DAY else "15Min" if end - start < 30 * _DAY else "1D"
    timeframe = query.choice("timeframe", _FRAMES, usual)
    if end - start > 30 * _DAY and timeframe != "1D":
        raise errors.invalid("a window of more than 30 days needs timeframe 1D")
    return Window(
        start=start,
        end=end,
        timeframe=timeframe,
        resets=resets and timeframe != "1D",
        is_open=end == now,
    )


def history_json(curve: EquityCurve, window: Window, equity_now: Decimal) -> dict[str, object]:
    """`equity_now` is the value of the part of the window that still runs."""
    base = curve.before(window.start)
    if base is None:
        base = equity_now
    points = list(_points(curve, window, equity_now))
    gains = [
        (equity - start, start)
        for (_, equity), start in zip(points, _baselines(curve, window, base, points), strict=True)
    ]
    return {
        "timestamp": [at for at, _ in points],
        "equity": [float(equity) for _, equity in points],
        "profit_loss": [float(gain) for gain, _ in gains],
        "profit_loss_pct": [float(gain / start) if start else None for gain, start in gains],
        "base_value": float(base),
        "base_value_asof": datetime.fromtimestamp(window.start, UTC).date().isoformat(),
        "timeframe": window.timeframe,
        "cashflow": {},
    }


def _points(
    curve: EquityCurve, window: Window, equity_now: Decimal
) -> Iterator[tuple[int, Decimal]]:
    """The last value of each step; a step without one shows the value of the step before."""
    step, running = window.step, window.end // window.step * window.step
    ends = {at // step * step: equity for at, equity in curve.samples.items() if at <= window.end}
    if window.is_open:
        ends[running] = equity_now
    at, equity = next(iter(ends.items()), (running + step, equity_now))
    while at <= running:
        equity = ends.get(at, equity)
        if at + step > window.start:
            yield at, equity
        at += step


def _baselines(
    curve: EquityCurve, window: Window, base: Decimal, points: Iterable[tuple[int, Decimal]]
) -> Iterator[Decimal]:
    """What the profit of each point is counted from."""
    of_day: dict[int, Decimal] = {}
    for at, _ in points:
        midnight = at // _DAY * _DAY
        if window.resets and midnight not in of_day:
            before = curve.before(midnight)
            of_day[midnight] = base if before is None else before
        yield of_day.get(midnight, base)


def _moment(query: Query, name: str) -> int | None:
    at_ns = query.read(name, parse_time)
    return None if at_ns is None else at_ns // NANOS


def _period(text: str) -> int:
    found = re.fullmatch(r"(\d{1,4})([DWMA])", text)
    if found is None or not int(found[1]):
        raise ValueError(text)
    return int(found[1]) * _UNITS[found[2]]
