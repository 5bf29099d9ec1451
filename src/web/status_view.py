"""A status as the page shows it: rows, totals, what is wrong, what is gone. Pure; decides nothing.

Every figure twice where rounding matters: exact, and under `shown` as a person reads it.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from domain.journal import RealisedProfit
from monitoring.status.asset_status import AssetStatus
from monitoring.status.compose import describe_alert
from monitoring.status.status import Status
from monitoring.status.status_json import status_json
from monitoring.status.words import (
    Tone,
    buys_word,
    is_buy_due,
    is_sale_due,
    state_detail,
    verdict_words,
)
from operations.alerts import cure_of
from utils.formatting import coins, day_and_clock, marked, percent, plain, price, signed_usd, usd

_NONE = Decimal(0)


def status_body(status: Status, month_usd: Decimal | None) -> dict[str, Any]:
    """The body of GET status. `month_usd`: realised since the first of the month; None: unknown."""
    verdict = verdict_words(status)
    return {
        "as_of": plain(status.read_at),
        "is_well": status.is_well,
        "headline": verdict.text,
        "tone": verdict.tone.value,
        "account": {"is_real_money": status.is_live, "words": status.money},
        "paused": status.daemon.is_paused,
        "problems": _problems(status),
        "status": status_json(status),
        "today": _totals(status, month_usd),
        "capital": _capital(status),
        "assets": [row_of(asset, status.read_at) for asset in status.assets or ()],
    }


def _problems(status: Status) -> list[dict[str, Any]]:
    """Most name their cure themselves; that of an alert stands in the table of log lines."""
    cures = {describe_alert(one, status.read_at): cure_of(one.kind) for one in status.events}
    return [{"words": one, "cure": cures.get(one) or None} for one in status.problems]


def row_of(asset: AssetStatus, read_at: datetime) -> dict[str, Any]:
    """One line of the table."""
    detail, buys = state_detail(asset, read_at), buys_word(asset)
    state = "no cycle" if asset.status is None else asset.status.value
    held = asset.held
    age = None if asset.quoted_at is None else (read_at - asset.quoted_at).total_seconds()
    exact: dict[str, Any] = {
        "bid": asset.bid,
        "ask": asset.ask,
        "average_price": asset.average_price,
        "coins": asset.coins_held,
        "buys_at": asset.buy_price,
        "buys_at_percent": _rounded(asset.buy_distance_percent),
        "sells_at": asset.sell_price,
        "sells_at_percent": _rounded(asset.sell_distance_percent),
        "stops_at": asset.stop_price,
        "trail_peak": asset.peak,
        "unrealised_usd": asset.unrealised_usd,
        "profit_today_usd": asset.realised_today_usd,
        "profit_usd": asset.realised_usd,
    }
    total_is_estimated = asset.realised_is_estimated
    return {
        "symbol": asset.symbol,
        "enabled": asset.is_enabled,
        "state": state,
        "state_words": state if detail is None else f"{state}, {detail.text}",
        "tone": Tone.PLAIN.value if detail is None else detail.tone.value,
        "held_back": held.words if held is not None and not held.is_requested else None,
        "waiting": held.words if held is not None and held.is_requested else None,
        "cure": None if held is None else held.cure,
        "quote_age_seconds": None if age is None else round(max(0.0, age), 1),
        **plain(exact),
        "buys_now": is_buy_due(asset),
        "sells_now": is_sale_due(asset),
        "cycle_id": asset.cycle_id,
        "cycles": asset.cycles,
        "cycles_today": asset.cycles_today,
        "safety_orders": f"{asset.safety_orders}/{asset.max_safety_orders}",
        "cooldown_until": plain(asset.waits_until),
        "open_order": _order(asset),
        "problem": asset.problem,
        "shown": {
            "bid": price(asset.bid),
            "ask": price(asset.ask),
            "average_price": price(asset.average_price),
            "coins": coins(asset.coins_held),
            "buys_at": price(asset.buy_price) if buys is None else buys.text,
            "buys_at_percent": _far(asset.buy_distance_percent, is_buy_due(asset)),
            "sells_at": price(asset.sell_price),
            "sells_at_percent": _far(asset.sell_distance_percent, is_sale_due(asset)),
            "stops_at": price(asset.stop_price),
            "trail_peak": price(asset.peak),
            "unrealised_usd": _signed(asset.unrealised_usd, True),
            "profit_today_usd": _signed(
                asset.realised_today_usd, asset.realised_today_is_estimated
            ),
            "profit_usd": _signed(asset.realised_usd, total_is_estimated),
            "cooldown_until": None
            if asset.waits_until is None
            else day_and_clock(asset.waits_until),
        },
    }


def gone_of(status: Status) -> dict[str, tuple[str, str | None]]:
    """What cannot be seen or does not work now, each with words and the cure."""
    found: dict[str, tuple[str, str | None]] = {}
    daemon = status.daemon
    if status.database_problem:
        found["database"] = f"the database cannot be used: {status.database_problem}", None
    if daemon.pid is None:
        what = "you stopped the bot" if daemon.is_stopped_on_purpose else "the bot does not run"
        found["daemon"] = what, "scripts/bot start"
    elif daemon.problem is not None:
        found["daemon"] = daemon.problem, None
    else:
        lost = [
            name
            for name, stream, is_wanted in (
                ("quotes", daemon.quotes, bool(daemon.symbols)),
                ("trade updates", daemon.trade_updates, True),
            )
            if stream is not None and is_wanted and not stream.is_connected
        ]
        if lost:
            words = f"the bot has lost its stream of {' and of '.join(lost)}"
            found["stream"] = words, "it connects again by itself; if it lasts: scripts/doctor"
    if status.exchange_problem or status.prices_problem:
        words = status.exchange_problem or status.prices_problem or ""
        found["exchange"] = f"the exchange cannot be asked: {words}", None
    return found


def _order(asset: AssetStatus) -> dict[str, Any] | None:
    order = asset.order
    if order is None:
        return None
    at = "market" if order.limit_price is None else price(order.limit_price)
    words = f"{order.side} at {at}" if order.limit_price is not None else f"{order.side}, {at}"
    if order.filled_qty > 0 and order.qty:
        words += f", {order.filled_qty / order.qty:.0%} filled"
    return {
        "side": order.side,
        "status": order.status,
        "qty": plain(order.qty),
        "price": plain(order.limit_price),
        "filled_qty": plain(order.filled_qty),
        "age_seconds": None if order.age_seconds is None else round(order.age_seconds),
        "words": words,
    }


def _totals(status: Status, month_usd: Decimal | None) -> dict[str, Any]:
    if status.assets is None:
        return dict.fromkeys(("profit_usd", "month_usd", "all_usd", "unrealised_usd", "shown"))
    assets, removed = status.assets, status.removed
    today = sum((one.realised_today_usd for one in assets), _NONE)
    today += sum((one.recent_profit_usd for one in removed), _NONE)
    total = sum((one.realised_usd for one in assets), _NONE)
    total += sum((one.profit_usd for one in removed), _NONE)
    held = [one.unrealised_usd for one in assets if one.unrealised_usd is not None]
    unrealised = sum(held, _NONE) if held else None
    today_is_estimated = any(one.realised_today_is_estimated for one in assets)
    is_estimated = any(one.realised_is_estimated for one in assets) or _is_estimated(removed)
    return {
        "profit_usd": plain(today),
        "month_usd": plain(month_usd),
        "all_usd": plain(total),
        "unrealised_usd": plain(unrealised),
        "shown": {
            "profit_usd": _signed(today, today_is_estimated),
            "month_usd": _signed(month_usd, is_estimated),
            "all_usd": _signed(total, is_estimated),
            "unrealised_usd": _signed(unrealised, True),
        },
    }


def _is_estimated(removed: tuple[RealisedProfit, ...]) -> bool:
    return any(one.is_estimated for one in removed)


def _capital(status: Status) -> dict[str, Any]:
    """What is bound in coins at what they cost, and what the ladders may bind in all."""
    if status.assets is None:
        return {"used_usd": None, "allowed_usd": None, "shown": None}
    used = sum((one.invested_usd for one in status.assets), _NONE)
    allowed = sum((one.capital_usd for one in status.assets), _NONE)
    return {
        "used_usd": plain(used),
        "allowed_usd": plain(allowed),
        "used_percent": plain(_rounded(used * 100 / allowed)) if allowed else None,
        "shown": {"used_usd": usd(used), "allowed_usd": usd(allowed)},
    }


def _far(distance: Decimal | None, is_due: bool) -> str:
    return "due" if is_due else percent(distance)


def _signed(value: Decimal | None, is_estimated: bool) -> str:
    return marked(signed_usd(value), is_estimated and value is not None)


def _rounded(value: Decimal | None) -> Decimal | None:
    return None if value is None else round(value, 4)
