"""`scripts/bot open`: the request, and what its base order waits for. Words only.

What a request is and how it ends: operations.open_cycle.
"""

from __future__ import annotations

from datetime import UTC, datetime

from cli.command_line import EXIT_FAILED, Stop
from cli.runner import Command
from domain.asset import DcaAsset
from models.meta import check_schema
from operations.asset_changes import load_configured
from operations.open_cycle import Opening, OpenResult, request_open, withdraw_open
from runtime.daemon_process import find_daemon
from runtime.operator_flags import is_paused
from utils.alpaca_http import ExchangeError
from utils.db_utils import thread_connection
from utils.formatting import day_and_clock, describe_account, number, plain


def open_cycle(command: Command) -> None:
    """Write the request, or withdraw it, and say what the base order waits for.

    Raises:
        Refused, Stop: nothing was done.
    """
    connection = thread_connection()
    symbol: str = command.options.symbol
    check_schema(connection)
    asset = load_configured(connection, symbol)
    if command.options.withdraw:
        withdraw_open(asset)
        command.answer(f"The request to open {symbol} is withdrawn.", requested=False)
        return
    try:
        result = request_open(command.settings, asset)
    except ExchangeError as error:
        reason = f"nothing was requested, because Alpaca cannot be asked: {error}; try again"
        raise Stop(reason, EXIT_FAILED) from None
    waits, highest = _find_waits(command, result), _highest(asset)
    text = f"{_beginning(command, asset, result)} {_when(waits, highest)}"
    if result.ends_cooldown:
        text += " Its cooldown ends with that."
    command.answer(
        text,
        requested=result.opening is not Opening.BY_ITSELF,
        was_requested=result.opening is Opening.WAS_REQUESTED,
        cycle=plain(result.cycle.id),
        waits_for=[*waits, *([f"for a price{highest}"] if highest else [])],
    )


def _beginning(command: Command, asset: DcaAsset, result: OpenResult) -> str:
    symbol, amount = asset.asset_symbol, number(asset.base_order_amount)
    match result.opening:
        case Opening.BY_ITSELF:
            return f"{symbol} opens its cycles by itself (--start at-once): nothing is requested."
        case Opening.WAS_REQUESTED:
            return f"To open {symbol} was requested before."
        case Opening.REQUESTED:
            money = describe_account(command.settings)
            return f"{symbol} is to be opened with {amount} USD ({money})."


def _highest(asset: DcaAsset) -> str:
    highest = asset.max_entry_price
    return "" if highest is None else f" at or below {number(highest)} USD"


def _when(waits: list[str], highest: str) -> str:
    if not waits:
        return f"The base order comes at the next price{highest}."
    return f"The base order waits: {'; '.join(waits)}; then it comes at the next price{highest}."


def _find_waits(command: Command, result: OpenResult) -> list[str]:
    """What must come first, each for a person; empty: the next price that may begin a cycle."""
    waits, settings = [], command.settings
    if find_daemon(settings) is None:
        waits.append("the daemon does not run (scripts/bot start)")
    if is_paused(settings.run_dir):
        waits.append("buying is paused (scripts/bot resume)")
    if result.not_before is not None and result.not_before > datetime.now(UTC):
        until = day_and_clock(result.not_before)
        waits.append(f"until {until} UTC, because its last cycle ended in error")
    return waits
