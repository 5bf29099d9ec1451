"""What the account is worth, as the exchange says: one request."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from domain.wire import WireError, decimal_from_wire
from utils.alpaca_client_rest import get_account_info
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
