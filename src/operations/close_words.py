"""What a close would do and what came of it, in words that the command line, the chat and the page
share. Decides nothing.
"""

from __future__ import annotations

from domain.asset import DcaAsset
from operations.asset_changes import load_open_cycle
from operations.close_cycle import ClosePlan
from operations.close_execution import CloseResult
from operations.refused import Refused
from utils.db_utils import thread_connection
from utils.formatting import ESTIMATE_LEGEND, marked, number, price, usd


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
    return f"cools down for {seconds} s, then buys again unless you disable it"


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
