"""GET assets, asset and cycle: what is configured, how each stands, what its cycles did."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from domain.asset import DcaAsset
from domain.cycle import DcaCycle
from domain.market import AssetRules, Quote
from domain.trading_state import TradingState
from models.asset_config import get_all_assets
from models.cycle_data import get_cycle, get_ended_cycles, get_latest_cycle
from models.cycle_journals import load_journals_of_cycles
from models.meta import check_schema
from models.order_journal import get_entries_of_cycle
from models.trading_state import load_trading_state
from operations.asset_changes import load_configured, load_open_cycle
from operations.asset_input import COLUMN_OF, read_symbol
from operations.json_views import asset_json, plan_json
from performance.cycle_json import averages_json, entry_json, markers_json, result_json
from strategy.asset_checks import find_state_problem
from strategy.cycle_plan import CyclePlan, plan_cycle
from strategy.exits import compute_exit_price, compute_stop_price, compute_trail
from strategy.sizing import is_dust
from utils.db_utils import thread_connection
from utils.formatting import plain
from web.guards import Denied
from web.queries import number_of
from web.site import SITE, Site

CYCLES_SHOWN = 20


async def list_assets(request: web.Request) -> web.Response:
    return web.json_response(await request.app[SITE].run(_list_assets))


def _list_assets() -> list[dict[str, Any]]:
    connection = thread_connection()
    check_schema(connection)
    assets = get_all_assets(connection)
    return [asset_json(asset, load_open_cycle(connection, asset)) for asset in assets]


async def show_asset(request: web.Request) -> web.Response:
    """An asset as it stands; with `before` the cycles before that one, and no more."""
    site, symbol = request.app[SITE], read_symbol(request.query.get("symbol", ""))
    before_id = number_of(request, "before")
    body = await site.run(lambda: _load_asset(site, symbol, before_id))
    if before_id is None:
        row = body["row"] = (await site.live.picture()).rows.get(symbol)
        order = None if row is None else row["open_order"]
        if order is not None:
            order = {"side": order["side"], "price": order["price"]}
        body["lines"]["open_order"] = order
    return web.json_response(body)


def _load_asset(site: Site, symbol: str, before_id: int | None) -> dict[str, Any]:
    connection = thread_connection()
    check_schema(connection)
    asset = load_configured(connection, symbol)
    cycles, has_more = _past_cycles(asset, before_id)
    past = {"cycles": cycles, "has_more": has_more}
    if before_id is not None:
        return past
    state = load_trading_state(connection, symbol)
    latest = get_latest_cycle(connection, asset.id)
    quote, rules = site.source.market(symbol)
    plan = _plan(site, asset, state, rules, quote)
    return {
        "asset": asset_json(asset, latest if latest is not None and latest.is_open else None),
        "options": _options(asset),
        "row": None,
        "plan": None if plan is None else plan_json(plan),
        "lines": _lines(asset, latest, plan),
        "cycle": None if latest is None or not latest.is_open else _open_cycle(latest),
        **past,
    }


def _options(asset: DcaAsset) -> dict[str, Any]:
    """The values by the names that a change uses."""
    return {option: plain(getattr(asset, column)) for option, column in COLUMN_OF.items()}


def _plan(
    site: Site,
    asset: DcaAsset,
    state: TradingState | None,
    rules: AssetRules | None,
    quote: Quote | None,
) -> CyclePlan | None:
    """What is still to come; of a cycle without coins all of it. None: no price is known."""
    if rules is None or quote is None or (state is not None and find_state_problem(state)):
        return None
    fee_rate = site.settings.taker_fee_rate
    holds = (
        state is not None
        and state.cycle.is_open
        and not is_dust(state.cycle.quantity, rules, fee_rate)
    )
    return plan_cycle(asset, rules, fee_rate, quote.ask, open_cycle=state if holds else None)


def _lines(asset: DcaAsset, cycle: DcaCycle | None, plan: CyclePlan | None) -> dict[str, Any]:
    """What a chart draws across; the open order is that of the row."""
    orders = plan.orders if plan is not None else ()
    lines: dict[str, Any] = {
        "average": None,
        "take_profit": None,
        "trail_target": None,
        "trail_peak": None,
        "stop_loss": None,
        "safety_orders": [
            {
                "number": order.number,
                "price": plain(order.trigger_price),
                "size_usd": plain(order.size_usd),
            }
            for order in orders
        ],
    }
    if cycle is None or not cycle.is_open or cycle.quantity <= 0:
        return lines
    trail = compute_trail(asset, cycle)
    return lines | {
        "average": plain(cycle.average_purchase_price),
        "take_profit": plain(compute_exit_price(asset, cycle)),
        "trail_target": plain(trail.sell_at_or_below) if trail is not None else None,
        "trail_peak": plain(trail.peak) if trail is not None else None,
        "stop_loss": plain(compute_stop_price(asset, cycle)),
    }


def _open_cycle(cycle: DcaCycle) -> dict[str, Any]:
    entries = get_entries_of_cycle(thread_connection(), cycle.id)
    return {
        "id": cycle.id,
        "status": cycle.status.value,
        "started_at": plain(cycle.created_at),
        "journal": [entry_json(entry) for entry in entries],
    }


def _past_cycles(asset: DcaAsset, before_id: int | None) -> tuple[list[dict[str, Any]], bool]:
    """The ended ones, newest first, and whether there are more."""
    connection = thread_connection()
    rows = get_ended_cycles(connection, asset.id, CYCLES_SHOWN + 1, before_id)
    shown = rows[:CYCLES_SHOWN]
    journals = load_journals_of_cycles(connection, [row.id for row in shown])
    return [result_json(journals.get(row.id), row) for row in shown], len(rows) > CYCLES_SHOWN


async def show_cycle(request: web.Request) -> web.Response:
    cycle_id = number_of(request, "id")
    if cycle_id is None:
        raise Denied(400, "id: expected the number of a cycle")
    return web.json_response(await request.app[SITE].run(lambda: _load_cycle(cycle_id)))


def _load_cycle(cycle_id: int) -> dict[str, Any]:
    connection = thread_connection()
    check_schema(connection)
    row = get_cycle(connection, cycle_id)
    journal = load_journals_of_cycles(connection, [cycle_id]).get(cycle_id)
    if row is None and journal is None:
        raise Denied(404, f"the journal knows no cycle {cycle_id}")
    entries = get_entries_of_cycle(connection, cycle_id)
    return result_json(journal, row) | {
        "symbol": entries[0].symbol if entries else None,
        "journal": [entry_json(entry) for entry in entries],
        "markers": [] if journal is None else markers_json(journal),
        "averages": [] if journal is None else averages_json(journal),
    }


ROUTES = [
    web.route("GET", "/api/assets", list_assets),
    web.route("GET", "/api/asset", show_asset),
    web.route("GET", "/api/cycle", show_cycle),
]
