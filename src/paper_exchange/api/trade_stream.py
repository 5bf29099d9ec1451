"""The trade updates websocket at /stream.

JSON in binary frames, authenticate, listen, then every event of every order. One connection at a
time: the next one is refused at the handshake (429). What happened before is never sent.
"""

import asyncio
import json
import logging
from collections.abc import Mapping

from aiohttp import web

from paper_exchange.api import wire
from paper_exchange.api.sockets import Outbox, open_websocket
from paper_exchange.api.stream import Stream, StreamClient
from paper_exchange.core.exchange import Exchange
from paper_exchange.core.state import TradeUpdate, order_facts
from paper_exchange.faults.table import Seam

log = logging.getLogger(__name__)


class TradeClient(StreamClient):
    """Its stream has no error codes."""

    def __init__(
        self, socket: web.WebSocketResponse, request: web.Request, *, queue_limit: int
    ) -> None:
        self.is_authorized = False
        self.is_listening = False
        self.outbox = Outbox(socket, request.transport, limit=queue_limit, join=None)

    def send(self, body: wire.Json) -> None:
        self.outbox.put(json.dumps(body).encode())


class TradeStream(Stream[TradeClient]):
    name = "trading"

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self._is_opening = False
        self._held_back: list[wire.Json] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self._is_opening or any(not client.outbox.is_cut for client in self.clients):
            log.info("trade_stream.refused reason='connection limit exceeded'")
            return web.json_response({"message": "connection limit exceeded"}, status=429)
        if refusal := self._refused_handshake():
            return refusal
        self._is_opening = True  # of two handshakes at the same moment one is refused
        try:
            socket = await open_websocket(request)
        finally:
            self._is_opening = False
        limit = self._exchange.config.client_queue_limit
        await self._serve(socket, TradeClient(socket, request, queue_limit=limit))
        return socket

    def on_trade_update(self, update: TradeUpdate) -> None:
        asset = self._exchange.asset(update.order.symbol)
        body: wire.Json = {"stream": "trade_updates", "data": wire.trade_update_json(update, asset)}
        event, symbol = update.event.value, update.order.symbol
        for client in list(self.clients):
            self._apply_faults(client, event, symbol)
        if not any(client.is_listening for client in self.clients):
            return  # the faults of updates wait for a client that would miss one
        delays, is_held_back = [0.0], False
        facts = order_facts(update.order)
        for fault in self._faults.visit(Seam.TRADE_UPDATE, event=event, **facts):
            match fault.name:
                case "drop_update":
                    return
                case "duplicate_update":
                    delays.append(fault.seconds)
                case "delay_update":
                    delays = [delay + fault.seconds for delay in delays]
                case "reorder_update":
                    is_held_back = True
                    self._hold(body, fault.seconds)
        if not is_held_back:
            for delay in delays:
                self._send_later(body, delay)
            self._release()

    def _send_later(self, body: wire.Json, delay_seconds: float) -> None:
        if delay_seconds:
            asyncio.get_running_loop().call_later(delay_seconds, self._send, body)
        else:
            self._send(body)

    def _send(self, body: wire.Json) -> None:
        for client in self.clients:
            if client.is_listening and not client.is_stalled:
                client.send(body)

    def _hold(self, body: wire.Json, seconds: float) -> None:
        """Until the next update was sent, or for this long."""
        self._held_back.append(body)
        asyncio.get_running_loop().call_later(seconds, self._release, body)

    def _release(self, only: wire.Json | None = None) -> None:
        for body in [one for one in self._held_back if only is None or one is only]:
            self._held_back.remove(body)
            self._send(body)

    def _receive(self, client: TradeClient, payload: str | bytes) -> None:
        try:
            request = json.loads(payload)
        except ValueError:
            request = None
        if not isinstance(request, dict):
            return client.send({"stream": "error", "data": {"error": "invalid message"}})
        match request.get("action"):
            case "authenticate" | "auth":
                self._authorize(client, request)
            case "listen" if not client.is_authorized:
                client.send(_authorization("unauthorized", "listen"))
            case "listen":
                self._listen(client, request)
            case action:
                client.send({"stream": "error", "data": {"error": f"unknown action {action}"}})

    def _authorize(self, client: TradeClient, request: Mapping[str, object]) -> None:
        """The SDK sends the keys inside `data`; at the top they count as well."""
        keys = request.get("data") or {}
        given = (
            request.get("key") or (isinstance(keys, dict) and keys.get("key_id")),
            request.get("secret") or (isinstance(keys, dict) and keys.get("secret_key")),
        )
        client.is_authorized = given == self._keys and not self._faults.first(
            Seam.AUTH, stream="trading"
        )
        status = "authorized" if client.is_authorized else "unauthorized"
        client.send(_authorization(status, "authenticate"))

    def _listen(self, client: TradeClient, request: Mapping[str, object]) -> None:
        wanted = request.get("data")
        streams = wanted.get("streams") if isinstance(wanted, dict) else None
        known = []
        if isinstance(streams, list):
            known = [one for one in streams if one == "trade_updates"]
        client.is_listening = bool(known)
        client.send({"stream": "listening", "data": {"streams": known}})


def _authorization(status: str, action: str) -> wire.Json:
    return {"stream": "authorization", "data": {"status": status, "action": action}}
