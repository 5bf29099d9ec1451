"""What the owner changes from the page: assets in two steps, the pause, alerts that were seen.

Each is the operation that the scripts and Telegram carry out, with its refusals and its event row;
nothing is decided here. What can cost money is shown first and done only with the key of what was
shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from aiohttp import web

from domain.asset import DcaAsset
from domain.cycle import DcaCycle
from domain.events import EventKind
from models.asset_config import get_asset_config
from models.meta import check_schema
from models.trading_state import load_trading_state
from operations import asset_changes, json_views
from operations.alerts import acknowledge_alerts
from operations.asset_changes import load_configured, load_open_cycle
from operations.asset_input import (
    AMOUNTS,
    COLUMN_OF,
    build_asset,
    change_asset,
    read_defaults,
    read_symbol,
    read_values,
)
from operations.asset_words import added_text, what_goes_on
from operations.open_cycle import check_open, request_open
from operations.open_words import open_text
from operations.pause import PAUSED_TEXT, note_pause, pause_buying, resume_buying
from operations.preview import Preview, load_preview, open_account
from operations.refused import Refused
from strategy.ladder import compute_ladder_usd
from utils.db_utils import DatabaseError, thread_connection
from utils.formatting import describe_account, number, usd
from web.confirm import Gone
from web.guards import BODY, Denied, text_of
from web.site import SITE, Busy, Site

BY = "the page"
NOTE_SECONDS = 3.0
Work = Callable[[Site, str, str | None], dict[str, Any]]


# Values of an asset


async def preview(request: web.Request) -> web.Response:
    """What a new asset or an edit would mean; the key only where nothing refuses it."""
    site, wanted = request.app[SITE], _wanted(request)
    return web.json_response(await site.run(lambda: _show(site, *wanted)))


async def apply(request: web.Request) -> web.Response:
    site, wanted, key = request.app[SITE], _wanted(request), text_of(request, "confirm")
    return changed(site, await site.run(lambda: _apply(site, *wanted, key)))


def _wanted(request: web.Request) -> tuple[str, bool, dict[str, str]]:
    """Symbol, whether it is new, and the options that were set, as text."""
    body = request[BODY]
    is_new, changes = body.get("is_new", False), body.get("changes", {})
    is_texts = isinstance(changes, dict) and all(
        isinstance(value, str) and len(value) <= 100 for value in changes.values()
    )
    if not isinstance(is_new, bool) or not is_texts:
        raise Denied(400, "changes: expected options with their texts")
    if strangers := sorted(changes.keys() - COLUMN_OF.keys()):
        raise Denied(400, f"there is no option {strangers[0][:40]}")
    return read_symbol(text_of(request, "symbol")), is_new, changes


def _load(
    site: Site, symbol: str, is_new: bool, changes: Mapping[str, str]
) -> tuple[DcaAsset | None, Preview]:
    """The asset as it is saved, and as it would be."""
    settings, connection = site.settings, thread_connection()
    open_account(connection)
    values = read_values(changes, settings.taker_fee_percent)
    if not is_new:
        before = load_configured(connection, symbol)
        asset = change_asset(before, values)
        return before, load_preview(settings, connection, asset)
    if get_asset_config(connection, symbol) is not None:
        raise asset_changes.refuse_configured(symbol)
    asset = build_asset(symbol, read_defaults(settings.taker_fee_percent) | values)
    free = [COLUMN_OF[name] for name in AMOUNTS if name not in changes]
    return None, load_preview(settings, connection, asset, free_amounts=free)


def _show(site: Site, symbol: str, is_new: bool, changes: Mapping[str, str]) -> dict[str, Any]:
    before, shown = _load(site, symbol, is_new, changes)
    key = None if shown.refusals else site.keys.make("apply", _values(before, shown.asset))
    differs = {} if before is None else json_views.changes_json(before, shown.asset)
    return json_views.preview_json(shown) | {"changes": differs, "confirm": key}


def _apply(
    site: Site, symbol: str, is_new: bool, changes: Mapping[str, str], key: str
) -> dict[str, Any]:
    try:
        before, shown = _load(site, symbol, is_new, changes)
    except Refused as error:
        raise Gone(str(error)) from None
    if shown.refusals:
        raise Refused("; ".join(shown.refusals))
    site.keys.use(key, "apply", _values(before, shown.asset))
    if before is None:
        saved = asset_changes.save_new_asset(shown.asset, by=BY)
        return {"done": added_text(saved, has_warnings=bool(shown.warnings))}
    asset_changes.save_edit(before, shown.asset, by=BY)
    return {"done": f"{symbol} is changed."}


def _values(before: DcaAsset | None, after: DcaAsset) -> dict[str, Any]:
    """What is shown before it is saved: the old values and the new ones."""
    facts: dict[str, Any] = {"symbol": after.asset_symbol, "is_new": before is None}
    for name in COLUMN_OF.values():
        facts[f"new {name}"] = getattr(after, name)
        facts[f"old {name}"] = None if before is None else getattr(before, name)
    return facts


# One step of an asset


def _two_steps(work: Work) -> Callable[[web.Request], Any]:
    """A handler: without `confirm` it answers what would be done, with it that is done."""

    async def handle(request: web.Request) -> web.Response:
        site, symbol = request.app[SITE], read_symbol(text_of(request, "symbol"))
        key = text_of(request, "confirm") if "confirm" in request[BODY] else None
        answer = await site.run(lambda: work(site, symbol, key))
        return web.json_response(answer) if key is None else changed(site, answer)

    return handle


def _enable(site: Site, symbol: str, key: str | None) -> dict[str, Any]:
    settings, connection = site.settings, thread_connection()
    open_account(connection)
    saved = load_configured(connection, symbol)
    facts = facts_of(saved, load_open_cycle(connection, saved))
    asset = replace(saved, is_enabled=True)
    shown = load_preview(settings, connection, asset)
    if shown.refusals:
        raise Refused("; ".join(shown.refusals))
    if key is None:
        money = f"up to {usd(compute_ladder_usd(asset))} USD for its whole ladder"
        lines = [f"Let {symbol} buy ({describe_account(settings)}), {money}?", *shown.warnings]
        return asked(site, "enable", lines, facts)
    site.keys.use(key, "enable", facts)
    asset_changes.enable_asset(asset, by=BY)
    return {"done": f"{symbol} is enabled."}


def _disable(site: Site, symbol: str, key: str | None) -> dict[str, Any]:
    connection = thread_connection()
    check_schema(connection)
    asset = load_configured(connection, symbol)
    cycle = load_open_cycle(connection, asset)
    state = load_trading_state(connection, symbol)
    words = f"it buys no more; {what_goes_on(state, site.settings.taker_fee_rate)}."
    if key is None:
        lines = [f"Disable {symbol}: {words}"]
        return asked(site, "disable", lines, facts_of(asset, cycle))
    site.keys.use(key, "disable", facts_of(asset, cycle))
    asset_changes.disable_asset(replace(asset, is_enabled=False), by=BY)
    return {"done": f"{symbol} is disabled: {words}"}


def _open(site: Site, symbol: str, key: str | None) -> dict[str, Any]:
    settings, connection = site.settings, thread_connection()
    check_schema(connection)
    asset = load_configured(connection, symbol)
    cycle = check_open(settings, asset)
    if key is None:
        amount, money = number(asset.base_order_amount), describe_account(settings)
        lines = [f"Open {symbol} with {amount} USD ({money})?"]
        return asked(site, "open", lines, facts_of(asset, cycle))
    site.keys.use(key, "open", facts_of(asset, cycle))
    return {"done": open_text(settings, asset, request_open(settings, asset, by=BY))}


def facts_of(asset: DcaAsset, cycle: DcaCycle | None) -> dict[str, Any]:
    """What a question about an asset is based on."""
    facts: dict[str, Any] = {name: getattr(asset, name) for name in COLUMN_OF.values()}
    facts |= {"id": asset.id, "is_enabled": asset.is_enabled}
    if cycle is not None:
        names = ("id", "status", "order_seq", "quantity", "close_requested", "open_requested")
        facts |= {f"cycle {name}": getattr(cycle, name) for name in names}
    return facts


def asked(site: Site, action: str, lines: list[str], facts: dict[str, Any]) -> dict[str, Any]:
    return {"ask": "\n".join(lines), "confirm": site.keys.make(action, facts)}


# Buying as a whole, and alerts


async def pause(request: web.Request) -> web.Response:
    site = request.app[SITE]
    pause_buying(site.settings, by=BY)  # a file: it must work while the database hangs
    return await _paused(site, EventKind.BUYING_PAUSE_REQUESTED, PAUSED_TEXT)


async def resume(request: web.Request) -> web.Response:
    site = request.app[SITE]
    text = resume_buying(site.settings, by=BY)
    return await _paused(site, EventKind.BUYING_RESUME_REQUESTED, text)


async def _paused(site: Site, kind: EventKind, text: str) -> web.Response:
    """It counts without its event: the database may be away just when it is needed."""
    try:
        await site.run(lambda: note_pause(kind, BY), seconds=NOTE_SECONDS)
    except (DatabaseError, Busy) as error:
        text += f" (It stands in the log only, the database cannot be used: {error})"
    return changed(site, {"done": text})


async def acknowledge(request: web.Request) -> web.Response:
    site, alert_id = request.app[SITE], request[BODY].get("id")
    if isinstance(alert_id, int) and not isinstance(alert_id, bool):
        alert_id = str(alert_id)
    if not isinstance(alert_id, str) or not alert_id or len(alert_id) > 20:
        raise Denied(400, "id: expected the number of an alert")

    def work() -> list[int]:
        check_schema(thread_connection())
        return acknowledge_alerts(thread_connection(), [alert_id], by=BY)

    numbers = await site.run(work)
    shown = ", ".join(map(str, numbers)) or "nothing"
    return changed(site, {"done": f"acknowledged: {shown}"})


def changed(site: Site, answer: dict[str, Any]) -> web.Response:
    site.live.forget()
    return web.json_response(answer)


ROUTES = [
    web.route("POST", "/api/preview", preview),
    web.route("POST", "/api/apply", apply),
    web.route("POST", "/api/assets/enable", _two_steps(_enable)),
    web.route("POST", "/api/assets/disable", _two_steps(_disable)),
    web.route("POST", "/api/assets/open", _two_steps(_open)),
    web.route("POST", "/api/pause", pause),
    web.route("POST", "/api/resume", resume),
    web.route("POST", "/api/alerts/ack", acknowledge),
]
