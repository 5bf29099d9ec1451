"""What both websockets share: their clients, what comes in, and the faults of a connection."""

import asyncio
from typing import Generic, TypeVar

from aiohttp import WSCloseCode, WSMsgType, web

from paper_exchange.api.sockets import Outbox
from paper_exchange.core.exchange import Exchange
from paper_exchange.faults.armed import Fault
from paper_exchange.faults.table import Seam


class StreamClient:
    outbox: Outbox
    is_stalled = False

    def cut(self, code: int, *, abruptly: bool = False) -> None:
        """Drops the connection; the stream's message for `code`, if it has one, goes first."""
        if abruptly:
            self.outbox.reset()
        else:
            self.outbox.cut(self._last_frame(code))

    def _last_frame(self, _code: int) -> bytes | None:
        return None


Client = TypeVar("Client", bound=StreamClient)


class Stream(Generic[Client]):
    name: str
    """What faults match it by: data or trading."""

    def __init__(self, exchange: Exchange) -> None:
        self.clients: set[Client] = set()
        self.connections = 0
        self._exchange = exchange
        self._keys = (exchange.config.key, exchange.config.secret)
        self._faults = exchange.faults
        self._faults.armed_listeners.append(self._on_armed)

    def _refused_handshake(self) -> web.Response | None:
        fault = self._faults.first(Seam.HANDSHAKE, stream=self.name)
        if fault is None:
            return None
        return web.json_response({"message": "refused"}, status=int(fault.number("status")))

    async def _serve(self, socket: web.WebSocketResponse, client: Client) -> None:
        """Until the connection ends."""
        self.clients.add(client)
        self.connections += 1
        try:
            async for message in socket:
                is_text_or_binary = message.type in (WSMsgType.BINARY, WSMsgType.TEXT)
                if is_text_or_binary and not client.outbox.is_cut:
                    self._receive(client, message.data)
        finally:
            self.clients.discard(client)
            client.outbox.stop()

    def close(self) -> None:
        for client in self.clients:
            client.outbox.cut(code=WSCloseCode.GOING_AWAY)

    def _receive(self, client: Client, payload: str | bytes) -> None:
        raise NotImplementedError

    def _apply_faults(self, client: Client, event: str = "", symbol: str = "") -> None:
        """Before something is sent, and (without an event) when a fault was just armed."""
        for fault in self._faults.visit(Seam.FRAME, stream=self.name, event=event, symbol=symbol):
            if fault.name == "cut_stream":
                client.cut(int(fault.number("code")), abruptly=fault.parameters["how"] == "reset")
            else:
                client.is_stalled = True
                if fault.seconds:
                    asyncio.get_running_loop().call_later(fault.seconds, self._resume, client)

    @staticmethod
    def _resume(client: Client) -> None:
        client.is_stalled = False

    def _on_armed(self, fault: Fault) -> None:
        if fault.kind.seam is Seam.FRAME:
            for client in list(self.clients):
                self._apply_faults(client)
