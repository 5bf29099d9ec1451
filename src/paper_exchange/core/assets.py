"""The tradable pairs and the rules of each: smallest order, steps of quantity and price."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice, product
from string import ascii_uppercase

_NAMESPACE = uuid.UUID("6d0f3a52-6c54-4f0e-9a1c-6b1f0f2f7c11")


@dataclass(frozen=True, slots=True)
class Asset:
    symbol: str
    name: str
    min_order_size: Decimal
    min_trade_increment: Decimal
    price_increment: Decimal
    tradable: bool = True

    @property
    def id(self) -> str:
        return str(uuid.uuid5(_NAMESPACE, self.symbol))

    @property
    def coin(self) -> str:
        return self.symbol.partition("/")[0]

    @property
    def position_symbol(self) -> str:
        """Positions are named without the slash: BTCUSD."""
        return self.symbol.replace("/", "")


def _asset(symbol: str, name: str, smallest: str, step: str, price_step: str) -> Asset:
    return Asset(symbol, name, Decimal(smallest), Decimal(step), Decimal(price_step))


# BTC, SOL, DOGE... have the fine steps that Alpaca lists today. Those of ETH, LTC and AVAX are
# coarser on purpose: steps change, and a client that does not round must fail.
DEFAULT_ASSETS = (
    _asset("BTC/USD", "Bitcoin / US Dollar", "0.000011", "0.000000001", "0.01"),
    _asset("ETH/USD", "Ethereum / US Dollar", "0.001", "0.0001", "0.1"),
    _asset("SOL/USD", "Solana / US Dollar", "0.0066", "0.000000001", "0.001"),
    _asset("LTC/USD", "Litecoin / US Dollar", "0.01", "0.001", "0.005"),
    _asset("DOGE/USD", "Dogecoin / US Dollar", "5.1", "0.000000001", "0.000001"),
    _asset("AVAX/USD", "Avalanche / US Dollar", "0.04", "0.01", "0.001"),
    _asset("LINK/USD", "Chainlink / US Dollar", "0.05", "0.000000001", "0.001"),
    _asset("BCH/USD", "Bitcoin Cash / US Dollar", "0.0021", "0.000000001", "0.01"),
    _asset("UNI/USD", "Uniswap / US Dollar", "0.1", "0.000000001", "0.001"),
    _asset("AAVE/USD", "Aave / US Dollar", "0.0041", "0.000000001", "0.01"),
)


def more_assets(count: int) -> tuple[Asset, ...]:
    """`count` coins that do not exist, XAAA/USD and on: for a bot that trades hundreds."""
    endings = islice(product(ascii_uppercase, repeat=3), count)  # letters only, as Alpaca wants it
    names = (f"X{''.join(letters)}/USD" for letters in endings)
    return tuple(_asset(name, name, "0.05", "0.000000001", "0.001") for name in names)


class AssetCatalog:
    """Finds assets by symbol (BTC/USD), position name (BTCUSD) or id."""

    def __init__(self, assets: Iterable[Asset] = DEFAULT_ASSETS) -> None:
        self._by_symbol = {asset.symbol: asset for asset in assets}
        self._by_any = dict(self._by_symbol)
        for asset in self._by_symbol.values():
            self._by_any[asset.position_symbol] = asset
            self._by_any[asset.id] = asset

    def all(self) -> tuple[Asset, ...]:
        return tuple(self._by_symbol.values())

    def find(self, name: str) -> Asset | None:
        return self._by_any.get(name) or self._by_any.get(name.upper())

    def find_recorded(self, name: str) -> Asset | None:
        """A symbol of a recording: ETHUSD, ETHUSDT, ETH-USD, ETH/USDC, eth_usd all mean ETH/USD."""
        letters = "".join(character for character in name.upper() if character.isalnum())
        for dollar in ("USDT", "USDC", "USD"):
            if letters.endswith(dollar):
                return self._by_symbol.get(f"{letters[: -len(dollar)]}/USD")
        return None
