"""A lockstep on a stack of its own: private MariaDB and local exchange, which end with it.

Owns: what of the exchange is not the market's: no delays, no partial fills, no limit of requests. A
recording must end the same however busy the machine is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from decimal import Decimal
from pathlib import Path

from config import load_settings, reset_settings, use_settings
from local_stack.exchange_process import ExchangeProcess
from local_stack.lockstep.run import Market, Verdict, verify
from local_stack.stack import LocalStack
from operations.preview import load_preview
from operations.refused import Refused
from strategy.limits import NO_LIMITS, AccountLimits
from utils.db_utils import close_thread_connection, thread_connection

_EXCHANGE = ("--manual", "--latency-ms", "0", "--partial-probability", "0", "--rate-limit", "0")
_COINS = {"USDT": "USD", "USDC": "USD"}


def as_traded(symbol: str) -> str:
    """The pair that the local exchange trades: prices in a coin that is worth a dollar count as
    dollars.
    """
    coin, _, currency = symbol.partition("/")
    return f"{coin}/{_COINS.get(currency, currency)}"


def verify_on_stack(
    folder: Path,
    markets: Sequence[Market],
    *,
    cash_usd: Decimal,
    limits: AccountLimits = NO_LIMITS,
    report: Callable[[str], None] = lambda line: None,
    on_progress: Callable[[int], None] = lambda quotes: None,
) -> Verdict:
    """As `verify`, in this folder.

    Raises:
        Refused: an asset that would be refused when it is added, or that the exchange lacks.
        StackError, MariaDBError, DatabaseError, ExchangeError: it cannot go on.
    """
    stack = LocalStack(folder, database="dca_verify", report=report)
    try:
        stack.start_database()
        stack.start_exchange(*_EXCHANGE, "--cash", f"{cash_usd:f}")
        settings = replace(load_settings(stack.settings()), **asdict(limits))
        use_settings(settings)
        known = {one["symbol"] for one in stack.exchange.get("/v2/assets", asset_class="crypto")}
        for market in markets:
            if market.symbol not in known:
                raise Refused(
                    f"the local exchange has no {market.symbol}: it has {', '.join(sorted(known))}"
                )
            _quote_first(stack.exchange, market)
            preview = load_preview(settings, thread_connection(), replace(market.asset, id=0))
            if preview.refusals:
                raise Refused("; ".join(preview.refusals))
        return verify(settings, stack.exchange, markets, on_progress)
    finally:
        close_thread_connection()
        stack.stop()
        reset_settings()


def _quote_first(exchange: ExchangeProcess, market: Market) -> None:
    quotes = market.quotes
    bid, ask = int(quotes.bids[0]) * quotes.step, int(quotes.asks[0]) * quotes.step
    exchange.control("quote", symbol=market.symbol, bid=f"{bid:f}", ask=f"{ask:f}")
