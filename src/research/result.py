"""A backtest as a file: JSON with the settings, the range and hash of the data, the version and the
figures. The same input gives the same bytes: nothing in it depends on when or where it ran.

Amounts are exact decimal text; percents and curves have two places.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache
from pathlib import Path
from typing import Any

from config import PROJECT_ROOT
from performance.report import Line
from research.backtest import Backtest, Baseline, Entrant, Run
from research.equity import Drawdown, EquityCurve, UnderWater
from research.errors import HistoryError
from research.figures import Figures
from research.history_file import write_whole
from research.months import time_text
from research.series import Bars, Kind
from strategy.ladder import compute_ladder_usd
from utils.formatting import plain

FORMAT = 1
_WHAT = "backtest"
_CURVE_POINTS = 400
_CODE = ("domain", "performance", "research", "strategy")  # what the figures depend on
_NOT_SETTINGS = {"id", "is_enabled", "asset_symbol", "last_sell_price", "created_at", "updated_at"}


def to_json(test: Backtest) -> dict[str, Any]:
    """All that there is to say of it."""
    account = test.account
    return {
        "what": _WHAT,
        "format": FORMAT,
        "version": read_version(),
        "code": hash_code(),
        "from": plain(test.start),
        "to": plain(test.end),
        "cash_usd": plain(account.cash_usd),
        "fee_percent": plain(account.fee_percent),
        "max_spread_percent": plain(account.max_spread_percent),
        "max_quote_jump_percent": plain(account.max_jump_percent),
        "limits": plain(asdict(account.limits)),
        "assets": [entrant_json(one) for one in test.entrants],
        "runs": [{**run_json(one), "equity": _curve_json(one.curve)} for one in test.runs],
        "buy_and_hold": _baseline_json(test.held, account.cash_usd),
        "weekly_buy": _baseline_json(test.weekly, account.cash_usd),
    }


def write_result(path: Path, result: Mapping[str, Any]) -> None:
    """Raises HistoryError: it could not be written; what was there is there."""
    write_whole(path, (json.dumps(result, indent=1) + "\n").encode())


def read_result(path: Path, what: str = _WHAT) -> dict[str, Any]:
    """What `write_result` wrote of a backtest, or of `what` else.

    Raises:
        HistoryError: there is no such file, or it is no result of this format.
    """
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise HistoryError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise HistoryError(f"{path} is no result of a {what}: it is not JSON") from error
    if not isinstance(found, dict) or found.get("what") != what:
        raise HistoryError(f"{path} is no result of a {what}")
    if found.get("format") != FORMAT:
        raise HistoryError(f"{path} has format {found.get('format')}, this program reads {FORMAT}")
    return found


@cache
def read_version() -> str:
    """The project's."""
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return str(project["version"])


@cache
def hash_code() -> str:
    """Of the code that the figures depend on: two results with the same one can be compared."""
    found = hashlib.sha256()
    for room in _CODE:
        for path in sorted((PROJECT_ROOT / "src" / room).rglob("*.py")):
            found.update(f"{path.relative_to(PROJECT_ROOT)}\n".encode())
            found.update(path.read_bytes())
    return found.hexdigest()[:16]


def entrant_json(one: Entrant) -> dict[str, Any]:
    """An asset of it with its settings, rules and prices."""
    settings, rules, feed = plain(asdict(one.asset)), plain(asdict(one.known.rules)), one.feed
    series, missing = feed.series, sum(gap.missing for gap in feed.gaps)
    return {
        "symbol": one.asset.asset_symbol,
        "settings": {name: each for name, each in settings.items() if name not in _NOT_SETTINGS},
        "opens": [plain(at) for at in one.opens],
        "ladder_usd": plain(compute_ladder_usd(one.asset)),
        "rules": {**rules, "from": "usual" if one.known.asked_at is None else "Alpaca"},
        "spread_percent": plain(feed.spread_percent) if feed.kind is Kind.BARS else None,
        "data": {
            "kind": feed.kind.value,
            "bar_seconds": series.bar_seconds if isinstance(series, Bars) else None,
            "rows": len(series),
            "from": plain(feed.begin),
            "to": plain(feed.end),
            "hash": series.data_hash,
            "sources": list(feed.sources),
            "missing": missing,
            "gaps": [
                {"from": time_text(gap.begin_ns), "to": time_text(gap.end_ns)} for gap in feed.gaps
            ],
        },
    }


def run_json(run: Run) -> dict[str, Any]:
    """Every figure of one replay, without its curve."""
    figures, total = run.figures, run.figures.report.total
    return {
        "path": run.path.value,
        "result_usd": plain(figures.result_usd),
        "realised_usd": plain(total.profit_usd),
        "unrealised_usd": plain(figures.unrealised_usd),
        "return_on_ladder_percent": _rounded(figures.return_on_ladder_percent),
        "return_at_work_percent": _rounded(figures.return_at_work_percent),
        "ladder_usd": plain(figures.ladder_usd),
        "at_work_usd": _rounded(total.capital.mean_usd),
        "peak_at_work_usd": plain(total.capital.peak_usd),
        "fees_usd": plain(figures.fees_usd),
        "orders": figures.orders,
        "cycles": total.count,
        "won_percent": _rounded(total.won_percent),
        "stopped": total.stopped,
        "open_cycles": figures.report.open_cycles,
        "mean_cycle_seconds": _seconds(total.mean_holding_seconds),
        "longest_cycle_seconds": _seconds(total.worst_holding_seconds),
        "fully_bought_percent": _rounded(figures.fully_bought_percent),
        **risks_json(figures),
        "ladder_use": [plain(asdict(one)) for one in figures.ladder_use],
        "by_asset": [_line_json(one) for one in figures.report.lines],
        "refusals": [
            {"symbol": one.symbol, "at": plain(each.at), "reason": each.why}
            for one in run.outcome.assets
            for each in one.refusals
        ],
    }


def _line_json(line: Line) -> dict[str, Any]:
    return {
        "symbol": line.name,
        "cycles": line.count,
        "won_percent": _rounded(line.won_percent),
        "realised_usd": plain(line.profit_usd),
        "fees_usd": plain(line.fees_usd),
        "longest_cycle_seconds": _seconds(line.worst_holding_seconds),
    }


def _baseline_json(one: Baseline, cash_usd: Decimal) -> dict[str, Any]:
    return {
        "result_usd": plain(one.result_usd),
        "return_percent": _rounded(one.result_usd * 100 / cash_usd),
        "fees_usd": plain(one.fees_usd),
        **risks_json(one),
        "equity": _curve_json(one.curve),
    }


def risks_json(one: Figures | Baseline) -> dict[str, Any]:
    """Its worst drawdown and its longest time under water."""
    return {
        "drawdown": None if one.drawdown is None else _drawdown_json(one.drawdown),
        "under_water": None if one.under_water is None else _under_water_json(one.under_water),
    }


def _drawdown_json(one: Drawdown) -> dict[str, Any]:
    shown: dict[str, Any] = plain(asdict(one))
    return shown


def _under_water_json(one: UnderWater) -> dict[str, Any]:
    shown: dict[str, Any] = plain(asdict(one))
    return shown


def _curve_json(curve: EquityCurve) -> list[list[Any]]:
    return [[plain(at), plain(usd)] for at, usd in curve.thinned(_CURVE_POINTS)]


def _rounded(value: Decimal | None) -> str | None:
    if value is None:
        return None
    return f"{value.quantize(Decimal('0.01'), ROUND_HALF_EVEN):f}"


def _seconds(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
