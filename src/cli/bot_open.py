"""`scripts/bot open`: the request, and what its base order waits for. Words only.

What a request is and how it ends: operations.open_cycle.
"""

from __future__ import annotations

from cli.command_line import EXIT_FAILED, Stop
from cli.runner import Command
from models.meta import check_schema
from operations.asset_changes import load_configured
from operations.open_cycle import Opening, request_open, withdraw_open
from operations.open_words import find_waits, open_text
from utils.alpaca_http import ExchangeError
from utils.db_utils import thread_connection
from utils.formatting import plain


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
    waits = find_waits(command.settings, asset, result)
    text = open_text(command.settings, asset, result)
    command.answer(
        text,
        requested=result.opening is not Opening.BY_ITSELF,
        was_requested=result.opening is Opening.WAS_REQUESTED,
        cycle=plain(result.cycle.id),
        waits_for=waits,
    )
