"""`scripts/bot close`: what would be sold, the two questions, and how it ended. Words only.

What a close is and how it is carried out: operations.close_cycle and close_execution.
"""

from __future__ import annotations

import sys
from typing import Any

from cli.command_line import EXIT_FAILED, EXIT_REFUSED, Stop, ask
from cli.runner import Command
from domain.asset import DcaAsset
from models.meta import check_schema
from operations.asset_changes import disable_asset, load_configured
from operations.close_cycle import ClosePlan, prepare_close, request_close, withdraw_close
from operations.close_execution import Closer
from operations.close_words import (
    closed_text,
    plan_lines,
    refuse_nothing_to_close,
    unfinished_text,
)
from operations.preview import open_account
from operations.refused import Refused
from utils.alpaca_http import ExchangeError
from utils.db_utils import thread_connection
from utils.formatting import describe_account, plain


def close(command: Command) -> None:
    """Show what would be sold, ask twice, write the request and carry it out.

    Raises:
        Refused, Stop: nothing was done, or (the text says so) the request is not carried out yet.
    """
    options, connection = command.options, thread_connection()
    symbol: str = options.symbol
    check_schema(connection)
    asset = load_configured(connection, symbol)
    if options.withdraw:
        withdraw_close(asset)
        command.answer(f"The request to sell {symbol} is withdrawn.", closed=False)
        return
    if not 0 < options.wait <= 3600:  # NaN as well
        raise Refused("--wait: expected seconds from 1 to 3600")
    try:
        open_account(connection)
        plan = prepare_close(command.settings, asset)
    except ExchangeError as error:
        reason = f"nothing was requested, because Alpaca cannot be asked: {error}; try again"
        raise Stop(reason, EXIT_FAILED) from None
    if plan is None:
        _answer_nothing_to_close(command, asset)
        return
    money = describe_account(command.settings)
    for line in plan_lines(plan, money, disable=options.disable):
        command.say(line)
    _confirm(command, plan, money)
    request_close(plan, disable=options.disable)
    result = Closer(command.settings, plan, command.say).carry_out(options.wait)
    shown = {
        "closed": result.is_closed,
        "cycle": plain(result.cycle.id),
        "status": result.cycle.status.value,
        "sold_qty": plain(result.sold_qty),
        "price": plain(result.price),
        "profit_usd": plain(result.profit_usd),
        "fees_are_estimated": result.fees_are_estimated,
    }
    if not result.is_closed:
        raise Stop(unfinished_text(symbol, result), EXIT_FAILED, shown)
    command.answer(closed_text(plan, result, disable=options.disable), **shown)


def _answer_nothing_to_close(command: Command, asset: DcaAsset) -> None:
    symbol = asset.asset_symbol
    refuse_nothing_to_close(asset, disable=command.options.disable)
    disable_asset(asset)
    command.answer(f"{symbol} holds nothing to sell; it buys no more.", closed=True)


def _confirm(command: Command, plan: ClosePlan, money: str) -> None:
    """Asked twice; `--confirm SYMBOL`, or --yes twice, for whoever cannot be asked.

    Raises:
        Refused, Stop: nothing was done.
    """
    options, symbol = command.options, plan.asset.asset_symbol
    if options.confirm is not None:
        if options.confirm != symbol:
            raise Refused(f"--confirm names {options.confirm}, the asset to close is {symbol}")
        return
    if options.yes >= 2:
        return
    if command.as_json or not sys.stdin.isatty():
        reason = (
            "nothing was done: there is no terminal to ask you on;"
            f" to agree, add --confirm {symbol}"
        )
        raise Stop(reason, EXIT_REFUSED, {"plan": _plan_json(plan, money)})
    if options.yes == 0 and ask("\nSell it now? [y/N] ").lower() not in ("y", "yes"):
        raise Stop("nothing was done", EXIT_FAILED)
    if ask(f"Type {symbol} to sell it at market: ").upper() != symbol:
        raise Stop("nothing was done", EXIT_FAILED)


def _plan_json(plan: ClosePlan, money: str) -> dict[str, Any]:
    return {
        "symbol": plan.asset.asset_symbol,
        "money": money,
        "cycle": plan.cycle.id,
        "status": plan.cycle.status.value,
        "coins_held": plain(plan.coins_held),
        "average_price": plain(plan.cycle.average_purchase_price),
        "bid": plain(plan.bid),
        "proceeds_usd": plain(plan.proceeds_usd),
        "profit_usd": plain(plan.profit_usd),
        "fees_are_estimated": True,
        "close_requested": plan.cycle.close_requested,
    }
