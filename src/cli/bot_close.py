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
from operations.asset_changes import disable_asset, load_configured, load_open_cycle
from operations.close_cycle import ClosePlan, prepare_close, request_close, withdraw_close
from operations.close_execution import Closer, CloseResult
from operations.preview import open_account
from operations.refused import Refused
from utils.alpaca_http import ExchangeError
from utils.db_utils import thread_connection
from utils.formatting import (
    ESTIMATE_LEGEND,
    describe_account,
    marked,
    number,
    plain,
    price,
    usd,
)


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


def refuse_nothing_to_close(asset: DcaAsset, *, disable: bool) -> None:
    """Return only if the asset is to be disabled, which can be done all the same.

    Raises:
        Refused: it says why there is nothing to sell.
    """
    symbol = asset.asset_symbol
    cycle = load_open_cycle(thread_connection(), asset)
    if cycle is not None and cycle.close_requested:
        raise Refused(
            f"{symbol} holds nothing that can be sold, and buys nothing because it is to be"
            f" closed: scripts/bot close {symbol} --withdraw lets it trade again"
        )
    if not disable:
        raise Refused(
            f"{symbol} holds nothing to sell and no buy of it is open; no more buys:"
            f" scripts/assets disable {symbol}"
        )


def unfinished_text(symbol: str, result: CloseResult) -> str:
    return (
        f"{symbol} is not sold yet: {result.reason}. The request stays and is carried out as"
        f" soon as it can be; to withdraw it: scripts/bot close {symbol} --withdraw"
    )


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


def plan_lines(plan: ClosePlan, money: str, *, disable: bool) -> list[str]:
    cycle, symbol = plan.cycle, plan.asset.asset_symbol
    lines = [f"Close {symbol} ({money}), cycle {cycle.id}:"]
    if plan.waits_for_buy:
        lines.append("  its open buy is canceled; what it has bought by then is sold as well")
    if cycle.quantity > 0:
        held = f"about {number(plan.coins_held)} {symbol.partition('/')[0]}"
        bought = f"bought at {price(cycle.average_purchase_price)} USD on average"
        lines.append(f"  coins held: {held}, {bought}; they are sold at market")
    if cycle.quantity > 0 and plan.bid is not None:
        assert plan.proceeds_usd is not None, "there is a bid"
        assert plan.profit_usd is not None, "there is a bid"
        word = "profit" if plan.profit_usd >= 0 else "LOSS"
        lines.append(
            f"  at the current bid, {price(plan.bid)} USD, that is"
            f" {marked(usd(plan.proceeds_usd), True)} USD: a {word} of"
            f" {marked(usd(abs(plan.profit_usd)), True)} USD after fees ({ESTIMATE_LEGEND})"
        )
    elif cycle.quantity > 0:
        lines.append("  there is no quote now: what the sale brings is not known")
    if cycle.close_requested:
        lines.append("  this was requested before and is not carried out yet")
    return [*lines, f"  afterwards it {_afterwards(plan.asset, disable=disable)}"]


def _afterwards(asset: DcaAsset, *, disable: bool) -> str:
    if disable or not asset.is_enabled:
        return "buys no more"
    seconds = asset.cooldown_period
    return f"cools down for {seconds} s, then buys again (--disable: it does not)"


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


def closed_text(plan: ClosePlan, result: CloseResult, *, disable: bool) -> str:
    symbol = plan.asset.asset_symbol
    if result.cycle.status.value == "error":
        return f"{symbol} ended in error, its coins are not in the account: see scripts/status"
    after = f"It {_afterwards(plan.asset, disable=disable)}."
    if result.price is None:
        return f"{symbol} is closed: its buy is canceled and nothing was held. {after}"
    word = "profit" if result.profit_usd >= 0 else "loss"
    earned = marked(usd(abs(result.profit_usd)), result.fees_are_estimated)
    legend = f" ({ESTIMATE_LEGEND})" if result.fees_are_estimated else ""
    return (
        f"{symbol} is closed: {number(result.sold_qty)} sold at {price(result.price)} USD, a"
        f" {word} of {earned} USD after fees{legend}. {after}"
    )
