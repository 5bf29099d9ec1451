"""The crypto market data websocket at /v1beta3/crypto/us.

Connected, auth, subscribe, then what was subscribed to: every channel that is confirmed is served.
One authenticated connection at a time (406 for the next). The market never waits for a client.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Mapping

from aiohttp import web

from paper_exchange.api import data_wire, wire
from paper_exchange.api.data_codec import Codec, JsonCodec, MsgpackCodec
from paper_exchange.api.quote_faults import apply_quote_faults
from paper_exchange.api.sockets import Outbox, open_websocket
from paper_exchange.api.stream import Stream, StreamClient
from paper_exchange.core.clock import NANOS
from paper_exchange.core.exchange import Exchange
from paper_exchange.core.prices import Bar, Quote, Tick, Trade
from paper_exchange.faults.table import Seam

log = logging.getLogger(__name__)

AUTH_TIMEOUT_SECONDS = 10
MAX_SYMBOLS = 1_000
CHANNELS = ("trades", "quotes", "orderbooks", "bars", "updatedBars", "dailyBars")
_HALF_A_MINUTE_NS = 30 * NANOS
_SYMBOL = re.compile(r"\*|[A-Z0-9]+/[A-Z0-9]+")
ERRORS = {
    400: "invalid syntax",
    401: "not authenticated",
    402: "auth failed",
    403: "already authenticated",
    404: "auth timeout",
    405: "symbol limit exceeded",
    406: "connection limit exceeded",
    407: "slow client",
    408: "v2 not enabled",
    409: "insufficient subscription",
    500: "internal error",
}
_CLOSING_ERRORS = frozenset({402, 404, 406, 409})
"""After these the server closes the connection."""


class DataClient(StreamClient):
    """One connection: its codec, its subscriptions, and whether it may have any."""

    def __init__(
        self, socket: web.WebSocketResponse, request: web.Request, *, queue_limit: int
    ) -> None:
        asks_msgpack = "msgpack" in request.headers.get("Content-Type", "")
        self.codec: Codec = MsgpackCodec() if asks_msgpack else JsonCodec()
        self.is_authenticated = False
        self.subscriptions: dict[str, dict[str, None]] = {channel: {} for channel in CHANNELS}
        self._records: dict[str, Quote] = {}
        self.outbox = Outbox(
            socket,
            request.transport,
            limit=queue_limit,
            join=self.codec.frame,
            slow_frame=self._error_frame(407),
        )

    def answer(self, body: wire.Json) -> None:
        self.outbox.put(self.codec.frame([self.codec.message(body)]), is_frame=True)

    def refuse(self, code: int) -> None:
        log.info("data_stream.refused code=%s reason=%r", code, ERRORS[code])
        if code in _CLOSING_ERRORS:
            self.cut(code)
        else:
            self.answer({"T": "error", "code": code, "msg": ERRORS[code]})

    def wants(self, channel: str, symbol: str) -> bool:
        symbols = self.subscriptions[channel]
        return bool(symbols) and (symbol in symbols or "*" in symbols)

    def send(self, body: wire.Json, at_ns: int) -> None:
        if not self.is_stalled:
            self.outbox.put(self.codec.message(body, at_ns))

    def send_record(self, kind: str, record: Quote | Trade | Bar) -> None:
        fields = data_wire.fields_of(record)
        self.send({"T": kind, "S": record.symbol, **fields}, record.at_ns)

    def send_book(self, quote: Quote) -> None:
        """The whole book the first time ("r"), then only what changed in it."""
        before = self._records.get(quote.symbol)
        self._records[quote.symbol] = quote
        fields = data_wire.book_fields(quote, before)
        if before is None:
            self.send({"T": "o", "S": quote.symbol, **fields, "r": True}, quote.at_ns)
        elif fields["b"] or fields["a"]:
            self.send({"T": "o", "S": quote.symbol, **fields}, quote.at_ns)

    def forget_unwanted_order_books(self) -> None:
        for symbol in [name for name in self._records if not self.wants("orderbooks", name)]:
            del self._records[symbol]

    def _last_frame(self, code: int) -> bytes | None:
        return self._error_frame(code) if code in ERRORS else None

    def _error_frame(self, code: int) -> bytes:
        body = {"T": "error", "code": code, "msg": ERRORS[code]}
        return self.codec.frame([self.codec.message(body)])


class DataStream(Stream[DataClient]):
    name = "data"

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self._closed_bars: dict[str, Bar] = {}
        self.sent_listeners: list[Callable[[Quote], None]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if refusal := self._refused_handshake():
            return refusal
        socket = await open_websocket(request)
        limit = self._exchange.config.client_queue_limit
        client = DataClient(socket, request, queue_limit=limit)
        deadline = asyncio.get_running_loop().call_later(
            AUTH_TIMEOUT_SECONDS, self._close_unauthenticated, client
        )
        try:
            client.answer({"T": "success", "msg": "connected"})
            await self._serve(socket, client)
        finally:
            deadline.cancel()
        return socket

    def on_tick(self, tick: Tick) -> None:
        """Sends a tick to everyone who subscribed to it."""
        quote, trade = apply_quote_faults(tick.quote, self._faults, "stream"), tick.trade
        bars = self._due_bars(tick)
        for client in list(self.clients):
            if not client.is_authenticated:
                continue
            self._apply_faults(client, "quote", quote.symbol)
            if client.wants("quotes", quote.symbol):
                client.send_record("q", quote)
                if not (client.is_stalled or client.outbox.is_cut):
                    for listener in self.sent_listeners:
                        listener(quote)
            if trade is not None and client.wants("trades", trade.symbol):
                client.send_record("t", trade)
            if client.wants("orderbooks", tick.quote.symbol):
                client.send_book(tick.quote)
            for channel, kind, bar in bars:
                if client.wants(channel, bar.symbol):
                    client.send_record(kind, bar)

    def _due_bars(self, tick: Tick) -> list[tuple[str, str, Bar]]:
        """The bars that this tick makes due, each with its channel and kind of message.

        With a closed minute: its bar, and the running day's. Half a minute later that bar again as
        updated, which Alpaca sends when trades came late; here none does, the figures are the same.
        """
        symbol = tick.quote.symbol
        if tick.closed_bar is not None:
            self._closed_bars[symbol] = tick.closed_bar
            today = self._exchange.history.days[symbol][-1]
            return [("bars", "b", tick.closed_bar), ("dailyBars", "d", today)]
        is_second_half = tick.quote.at_ns % (2 * _HALF_A_MINUTE_NS) >= _HALF_A_MINUTE_NS
        if is_second_half and symbol in self._closed_bars:
            return [("updatedBars", "u", self._closed_bars.pop(symbol))]
        return []

    def _receive(self, client: DataClient, payload: str | bytes) -> None:
        try:
            request = client.codec.read(payload.encode() if isinstance(payload, str) else payload)
        except ValueError:
            return client.refuse(400)
        if not isinstance(request, dict):
            return client.refuse(400)
        match request.get("action"):
            case "auth":
                self._authenticate(client, request)
            case "subscribe" | "unsubscribe" if not client.is_authenticated:
                client.refuse(401)
            case "subscribe":
                self._subscribe(client, request)
            case "unsubscribe":
                self._unsubscribe(client, request)
            case _:
                client.refuse(400)

    def _authenticate(self, client: DataClient, request: Mapping[str, object]) -> None:
        if client.is_authenticated:
            return client.refuse(403)
        if (request.get("key"), request.get("secret")) != self._keys:
            return client.refuse(402)
        if refusal := self._faults.first(Seam.AUTH, stream="data"):
            return client.refuse(int(refusal.number("code")))
        if any(one.is_authenticated and not one.outbox.is_cut for one in self.clients):
            return client.refuse(406)
        client.is_authenticated = True
        client.answer({"T": "success", "msg": "authenticated"})

    def _subscribe(self, client: DataClient, request: Mapping[str, object]) -> None:
        wanted = _symbols_by_channel(request)
        if wanted is None:
            return client.refuse(400)
        if len(set().union(*wanted.values(), *client.subscriptions.values())) > MAX_SYMBOLS:
            return client.refuse(405)
        if any(_SYMBOL.fullmatch(one) is None for symbols in wanted.values() for one in symbols):
            return client.refuse(400)
        had_order_books = dict(client.subscriptions["orderbooks"])
        for channel, symbols in wanted.items():
            client.subscriptions[channel].update(dict.fromkeys(symbols))
        self._confirm(client)
        for quote in self._exchange.market.quotes.values():
            wants_now = client.wants("orderbooks", quote.symbol)
            if wants_now and not {quote.symbol, "*"} & had_order_books.keys():
                client.send_book(quote)

    def _unsubscribe(self, client: DataClient, request: Mapping[str, object]) -> None:
        unwanted = _symbols_by_channel(request)
        if unwanted is None:
            return client.refuse(400)
        for channel, symbols in unwanted.items():
            for symbol in symbols:
                client.subscriptions[channel].pop(symbol, None)
        client.forget_unwanted_order_books()
        self._confirm(client)

    def _confirm(self, client: DataClient) -> None:
        subscribed = {channel: list(symbols) for channel, symbols in client.subscriptions.items()}
        client.answer({"T": "subscription", **subscribed})

    def _close_unauthenticated(self, client: DataClient) -> None:
        if not client.is_authenticated:
            client.refuse(404)


def _symbols_by_channel(request: Mapping[str, object]) -> dict[str, list[str]] | None:
    """The lists of symbols in a (un)subscribe message, or None when it is not well formed.

    An unknown channel is not well formed either: nothing would ever be sent on it.
    """
    if any(value for name, value in request.items() if name not in {"action", *CHANNELS}):
        return None
    found: dict[str, list[str]] = {}
    for channel in CHANNELS:
        symbols = request.get(channel) or []
        if not isinstance(symbols, list) or not all(isinstance(one, str) for one in symbols):
            return None
        found[channel] = symbols
    return found
