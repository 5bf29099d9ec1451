"""One client of the benchmark's exchange: its orders and coins, and what it is answered.

Owns: the JSON of the answers, and the moment at which each order arrived. Fills nothing by itself:
the benchmark says when. Never computes long: an answer takes microseconds.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from local_stack.benchmark.frames import Quote

Json = dict[str, Any]
COIN_FEE_RATE = Decimal("0.0025")  # what Alpaca takes of bought coins
_PLACES = Decimal("1e-9")
_NOT_FOUND = (404, b'{"code":40410000,"message":"not found"}')
ORDERS, ASSETS, POSITIONS = "/v2/orders", "/v2/assets", "/v2/positions"


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. `at`: when its last byte was read, `time.perf_counter()`."""

    method: str
    path: str
    query: dict[str, str]
    body: bytes
    at: float


@dataclass(frozen=True, slots=True)
class Placed:
    """An order that arrived."""

    order: Json
    at: float

    @property
    def id(self) -> str:
        return str(self.order["id"])


def asset_of(symbol: str) -> Json:
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, symbol)),
        "class": "crypto",
        "exchange": "CRYPTO",
        "symbol": symbol,
        "name": symbol,
        "status": "active",
        "tradable": True,
        "marginable": False,
        "shortable": False,
        "easy_to_borrow": False,
        "fractionable": True,
        "min_order_size": "0.000000001",
        "min_trade_increment": "0.000000001",
        "price_increment": "0.0001",
    }


@dataclass(eq=False)
class Account:
    """What one API key sees. `symbols` are the coins that it can trade."""

    key: str
    symbols: tuple[str, ...]
    requests: int = 0
    _minute: int = 0
    _before_minute: int = 0
    first_order_at: float | None = None
    _orders: dict[str, Json] = field(default_factory=dict)
    _coins: dict[str, Decimal] = field(default_factory=dict)
    _quotes: dict[str, Quote] = field(default_factory=dict)
    _arrived: asyncio.Queue[Placed] = field(default_factory=asyncio.Queue)

    # As the benchmark sees it

    def hold(self, symbol: str, qty: Decimal) -> None:
        """These coins were bought before."""
        self._coins[symbol] = qty

    def quoted(self, quote: Quote) -> None:
        self._quotes[quote.symbol] = quote

    def forget_arrivals(self) -> None:
        """Orders that arrived and were not asked for: of a try that was given up."""
        while not self._arrived.empty():
            self._arrived.get_nowait()

    async def next_order(self, seconds: float) -> Placed | None:
        """The next order that arrives; None: none came within this time."""
        try:
            return await asyncio.wait_for(self._arrived.get(), seconds)
        except TimeoutError:
            return None

    def opened(self, placed: Placed) -> bytes:
        """The order is on the book; the message of the trade stream."""
        placed.order["status"] = "new"
        return self._update("new", placed.order)

    def filled(self, placed: Placed, price: Decimal) -> bytes:
        """The whole order is filled; the message of the trade stream."""
        order, now = placed.order, _now()
        qty, symbol = Decimal(order["qty"]), order["symbol"]
        order |= {"status": "filled", "filled_qty": order["qty"], "filled_avg_price": f"{price:f}"}
        order |= {"filled_at": now, "updated_at": now}
        held = self._coins.get(symbol, Decimal(0))
        if order["side"] == "buy":
            held += (qty * (1 - COIN_FEE_RATE)).quantize(_PLACES)
        else:
            held = max(Decimal(0), held - qty)
        self._coins[symbol] = held
        return self._update("fill", order, price=f"{price:f}", qty=order["qty"])

    def _update(self, event: str, order: Json, **more: str) -> bytes:
        update = {"event": event, "execution_id": str(uuid.uuid4()), "order": order, **more}
        update |= {"position_qty": "0", "timestamp": _now()}
        return json.dumps({"stream": "trade_updates", "data": update}).encode()

    # As its client sees it

    def requests_of(self, minute: int) -> int:
        """How many came in this minute of the wall clock, the newest included."""
        if minute != self._minute:
            self._minute, self._before_minute = minute, self.requests - 1
        return self.requests - self._before_minute

    def answer(self, request: Request) -> tuple[int, bytes]:
        """Status and body."""
        self.requests += 1
        found = self._post(request) if request.method == "POST" else self._get(request)
        return _NOT_FOUND if found is None else (200, json.dumps(found).encode())

    def _post(self, request: Request) -> Json | None:
        if request.path != ORDERS:
            return None
        order = _order_of(json.loads(request.body))
        self._orders[order["id"]] = order
        self.first_order_at = self.first_order_at or request.at
        self._arrived.put_nowait(Placed(order, request.at))
        return order

    def _get(self, request: Request) -> Any:
        path, query = request.path, request.query
        match path:
            case "/v2/account":
                return self._account()
            case "/v2/clock":
                return {"timestamp": _now(), "is_open": True, "next_open": _now()}
            case "/v2/orders":
                return self._listed(query)
            case "/v2/orders:by_client_order_id":
                wanted = query.get("client_order_id")
                found = (o for o in self._orders.values() if o["client_order_id"] == wanted)
                return next(found, None)
            case "/v2/positions":
                return [self._position(symbol) for symbol, qty in self._coins.items() if qty]
            case "/v2/assets":
                return [asset_of(symbol) for symbol in self.symbols]
            case "/v1beta3/crypto/us/latest/quotes":
                symbols = query["symbols"].split(",")
                return {"quotes": {s: _wire(self._quotes[s]) for s in symbols if s in self._quotes}}
        folder, _, name = path.rpartition("/")
        symbol = next((s for s in self.symbols if s.replace("/", "") == name), None)
        if folder == ORDERS:
            return self._orders.get(name)
        if folder == POSITIONS and symbol and self._coins.get(symbol):
            return self._position(symbol)
        return asset_of(symbol) if folder == ASSETS and symbol else None

    def _listed(self, query: dict[str, str]) -> list[Json]:
        """Newest first unless asked otherwise; one page holds what a benchmark sends."""
        is_open = {"open": True, "closed": False}.get(query.get("status", "open"))
        after, until = query.get("after", ""), query.get("until", "~")
        found = [
            order
            for order in self._orders.values()
            if is_open in (None, order["status"] != "filled")
            and after < order["submitted_at"] < until
        ]
        if query.get("direction", "desc") == "desc":
            found.reverse()
        return found[: int(query.get("limit", "50"))]

    def _account(self) -> Json:
        return {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, self.key)),
            "account_number": "PA0000000000",
            "status": "ACTIVE",
            "crypto_status": "ACTIVE",
            "currency": "USD",
            "cash": "1000000000",
            "buying_power": "1000000000",
            "non_marginable_buying_power": "1000000000",
            "portfolio_value": "1000000000",
            "trading_blocked": False,
            "account_blocked": False,
            "trade_suspended_by_user": False,
        }

    def _position(self, symbol: str) -> Json:
        qty = f"{self._coins[symbol]:f}"
        return {
            "asset_id": asset_of(symbol)["id"],
            "symbol": symbol.replace("/", ""),
            "exchange": "CRYPTO",
            "asset_class": "crypto",
            "qty": qty,
            "qty_available": qty,
            "avg_entry_price": "1",
            "side": "long",
            "market_value": "1",
            "cost_basis": "1",
        }


def _order_of(wanted: Json) -> Json:
    now = _now()
    return {
        "id": str(uuid.uuid4()),
        "client_order_id": wanted.get("client_order_id") or str(uuid.uuid4()),
        "created_at": now,
        "updated_at": now,
        "submitted_at": now,
        "filled_at": None,
        "expired_at": None,
        "canceled_at": None,
        "failed_at": None,
        "replaced_at": None,
        "replaced_by": None,
        "replaces": None,
        "asset_id": asset_of(wanted["symbol"])["id"],
        "symbol": wanted["symbol"],
        "asset_class": "crypto",
        "notional": None,
        "qty": str(wanted["qty"]),
        "filled_qty": "0",
        "filled_avg_price": None,
        "order_class": "",
        "order_type": wanted["type"],
        "type": wanted["type"],
        "side": wanted["side"],
        "time_in_force": wanted["time_in_force"],
        "limit_price": wanted.get("limit_price"),
        "stop_price": None,
        "status": "pending_new",
        "extended_hours": False,
        "legs": None,
    }


def _wire(quote: Quote) -> Json:
    return {"bp": quote.bid, "bs": 1.0, "ap": quote.ask, "as": 1.0, "t": _now()}


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def now() -> float:
    """The one clock of every measurement."""
    return time.perf_counter()
