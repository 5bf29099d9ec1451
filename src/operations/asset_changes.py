"""The changes of assets themselves: add, edit, enable, disable, remove. One transaction each.

Owns: that an asset that trades always has an open cycle, and that nothing is taken away from under
coins or orders. Asks neither the exchange nor the user: the callers have.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

from mysql.connector.abstracts import MySQLConnectionAbstract

from domain.asset import DcaAsset
from domain.cycle import CycleStatus, DcaCycle
from domain.events import Event, EventKind, Severity
from models.asset_config import (
    create_asset,
    get_all_assets,
    get_asset_config,
    update_asset_config,
)
from models.cycle_data import (
    create_cycle,
    get_latest_cycle,
    lock_cycle,
    withdraw_open_request,
)
from models.events import append_event
from operations.asset_input import COLUMN_OF
from operations.refused import Refused
from utils.db_utils import DuplicateRow, execute_query, transaction
from utils.formatting import number
from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)

USER = "the user"  # who changes something, unless a front end names itself


def save_new_asset(asset: DcaAsset, *, by: str = USER) -> DcaAsset:
    """Save `asset` with its first cycle, watching: a running daemon trades it within seconds.

    Raises:
        Refused: when the symbol is configured already.
        DatabaseError: nothing was written.
    """
    columns = {"asset_symbol": asset.asset_symbol, "is_enabled": True, **_settable(asset)}
    tries = 0

    def work(connection: MySQLConnectionAbstract) -> DcaAsset:
        nonlocal tries
        tries += 1
        existing = get_asset_config(connection, asset.asset_symbol)
        if existing is not None and tries > 1 and _settable(existing) == _settable(asset):
            return existing  # the answer to the first try's commit was lost, the commit was not
        if existing is not None:
            raise refuse_configured(asset.asset_symbol)
        saved = create_asset(connection, columns)
        create_cycle(connection, saved.id, CycleStatus.WATCHING)
        note_change(connection, saved, EventKind.ASSET_ADDED, _described(columns, by))
        return saved

    try:
        saved = transaction(work)
    except DuplicateRow:  # another one was a moment faster
        raise refuse_configured(asset.asset_symbol) from None
    _log(saved, LogEvent.ASSET_ADDED, by)
    return saved


def refuse_configured(symbol: str) -> Refused:
    """The refusal of an asset that exists."""
    return Refused(f"{symbol} is configured already: change it with scripts/assets edit {symbol}")


def load_configured(connection: MySQLConnectionAbstract, symbol: str) -> DcaAsset:
    """The asset as it is saved.

    Raises:
        Refused: it is not configured.
        DatabaseError.
    """
    asset = get_asset_config(connection, symbol)
    if asset is None:
        known = ", ".join(other.asset_symbol for other in get_all_assets(connection))
        raise Refused(f"{symbol} is not configured (configured: {known or 'nothing yet'})")
    return asset


def load_open_cycle(connection: MySQLConnectionAbstract, asset: DcaAsset) -> DcaCycle | None:
    """The asset's cycle that is neither complete nor in error, if there is one."""
    latest = get_latest_cycle(connection, asset.id)
    return latest if latest is not None and latest.is_open else None


def save_edit(before: DcaAsset, after: DcaAsset, *, by: str = USER) -> None:
    """Write the columns that differ. `by`: who changes them, for the event.

    Raises:
        Refused: when the asset is gone.
        DatabaseError: nothing was written.
    """
    old, new = _settable(before), _settable(after)
    changes = {name: value for name, value in new.items() if value != old[name]}
    described = _described(changes, by)
    transaction(partial(_change, before, changes, EventKind.ASSET_EDITED, described))
    _log(before, LogEvent.ASSET_EDITED, by, **changes)


def enable_asset(asset: DcaAsset, *, by: str = USER) -> None:
    """Let it buy, and give it a cycle if none is open.

    Raises:
        Refused: when the asset is gone.
        DatabaseError: nothing was written.
    """

    def work(connection: MySQLConnectionAbstract) -> None:
        reason = f"enabled by {by}"
        _change(asset, {"is_enabled": True}, EventKind.ASSET_ENABLED, reason, connection)
        if load_open_cycle(connection, asset) is None:
            create_cycle(connection, asset.id, CycleStatus.WATCHING)

    transaction(work)
    _log(asset, LogEvent.ASSET_ENABLED, by)


def disable_asset(asset: DcaAsset, *, by: str = USER) -> None:
    """No more buys; what it holds is still watched and sold. A request to open its cycle ends: it
    is not to come true months later.

    Raises:
        Refused: when the asset is gone.
        DatabaseError: nothing was written.
    """

    def work(connection: MySQLConnectionAbstract) -> None:
        withdraw_open_request(connection, asset.id)
        changes, reason = {"is_enabled": False}, f"disabled by {by}"
        _change(asset, changes, EventKind.ASSET_DISABLED, reason, connection)

    transaction(work)
    _log(asset, LogEvent.ASSET_DISABLED, by)


def delete_asset(asset: DcaAsset, expected: DcaCycle | None) -> None:
    """Forget the asset and its cycles; journal and events stay.

    Args:
        expected: the latest cycle as the caller judged it; any other state refuses.

    Raises:
        Refused: when the cycle has moved since.
        DatabaseError: nothing was written.
    """

    def work(connection: MySQLConnectionAbstract) -> None:
        locked = None if expected is None else lock_cycle(connection, expected.id)
        latest = get_latest_cycle(connection, asset.id)
        if latest != expected or latest != locked:
            raise Refused(f"{asset.asset_symbol} has just changed: try again")
        execute_query("DELETE FROM dca_cycles WHERE asset_id = %s", (asset.id,), db_conn=connection)
        execute_query("DELETE FROM dca_assets WHERE id = %s", (asset.id,), db_conn=connection)
        kept = ""
        if latest is not None and latest.is_open and latest.quantity > 0:
            kept = (
                f"; {number(latest.quantity)} coins at"
                f" {number(latest.average_purchase_price)} USD were left to the user"
            )
        note_change(connection, asset, EventKind.ASSET_REMOVED, "removed by the user" + kept)

    transaction(work)
    _log(asset, LogEvent.ASSET_REMOVED, USER)


def _settable(asset: DcaAsset) -> dict[str, Any]:
    """The columns that a user sets, by name."""
    return {column: getattr(asset, column) for column in COLUMN_OF.values()}


def _described(values: Mapping[str, Any], by: str) -> str:
    shown = ", ".join(f"{name}={value}" for name, value in values.items())
    return shown if by == USER else f"{shown}, by {by}"


def _change(
    asset: DcaAsset,
    changes: Mapping[str, Any],
    kind: EventKind,
    reason: str,
    connection: MySQLConnectionAbstract,
) -> None:
    if not update_asset_config(connection, asset.id, changes):
        raise Refused(f"{asset.asset_symbol} is not configured any more: scripts/assets list")
    note_change(connection, asset, kind, reason)


def note_change(
    connection: MySQLConnectionAbstract,
    asset: DcaAsset,
    kind: EventKind,
    reason: str,
    cycle: DcaCycle | None = None,
) -> None:
    """The event of a user's change, in the transaction of the change."""
    event = Event(
        kind=kind,
        severity=Severity.INFO,
        reason=reason,
        asset_id=asset.id,
        symbol=asset.asset_symbol,
        cycle_id=None if cycle is None else cycle.id,
    )
    append_event(connection, event)


def _log(asset: DcaAsset, event: LogEvent, by: str, **fields: Any) -> None:
    log_event(log, event, symbol=asset.asset_symbol, **fields, by=None if by == USER else by)
