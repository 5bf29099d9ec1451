"""What the account is worth, as the exchange says: one request."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from domain.wire import WireError, decimal_from_wire
from utils.alpaca_client_rest import get_account_info
from utils.alpaca_http import parsed, read
from utils.alpaca_sdk import TradingClient
from utils.formatting import usd

UNKNOWN = "not known: the exchange does not say"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountValue:
    """USD: everything in the account, and what of it is cash (open buys reserve a part)."""

    equity_usd: Decimal
    cash_usd: Decimal

    @property
    def words(self) -> str:
        return f"equity {usd(self.equity_usd)} USD, of it {usd(self.cash_usd)} USD cash"


@dataclass(frozen=True, slots=True)
class EquityPoint:
    """USD: everything in the account at one moment."""

    at: datetime
    equity_usd: Decimal


def fetch_equity_history(client: TradingClient, days: int) -> list[EquityPoint]:
    """The account's equity over the last `days`, oldest first, as finely as the exchange keeps it
    for so long (GET /v2/account/portfolio/history).

    Raises:
        ExchangeError: when nothing certain was answered.
    """
    frame = "15Min" if days <= 7 else "1H" if days < 30 else "1D"
    query = {
        "period": f"{days}D",
        "timeframe": frame,
        "intraday_reporting": "continuous",
        "pnl_reset": "no_reset",
    }
    answer = read(lambda: client.get("/account/portfolio/history", query))
    return parsed(_parse_equity, answer)


def _parse_equity(raw: dict[str, Any]) -> list[EquityPoint]:
    """Without the parts of which the exchange has no figure."""
    return [
        EquityPoint(datetime.fromtimestamp(int(at), UTC), decimal_from_wire(equity, "equity"))
        for at, equity in zip(raw["timestamp"], raw["equity"], strict=True)
        if equity is not None
    ]


def fetch_account_value(client: TradingClient) -> AccountValue | None:
    """None: the exchange does not say.

    Raises:
        CredentialsRefused: the keys are wrong.
    """
    account = get_account_info(client)
    if account is None:
        return None
    try:
        return AccountValue(
            equity_usd=decimal_from_wire(account.equity, "equity"),
            cash_usd=decimal_from_wire(account.cash, "cash"),
        )
    except WireError:
        return None
