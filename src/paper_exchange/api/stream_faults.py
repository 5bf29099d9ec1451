"""What faults do to a websocket connection as a whole.

Refused, cut, mute. Both streams share it.
"""

import asyncio
from typing import Protocol

from aiohttp import web

from paper_exchange.faults.armed import Fault, FaultBoard
from paper_exchange.faults.table import Seam


class StreamClient(Protocol):
    is_stalled: bool

    def cut(self, code: int, *, abruptly: bool = False) -> None: ...


def refused_handshake(fault: Fault) -> web.Response:
    return web.json_response({"message": "refused"}, status=int(fault.number("status")))


def apply_stream_faults(
    client: StreamClient, faults: FaultBoard, *, stream: str, event: str, symbol: str
) -> None:
    """Before something is sent, and (with an empty event) when a fault was just armed."""
    for fault in faults.visit(Seam.FRAME, stream=stream, event=event, symbol=symbol):
        if fault.name == "cut_stream":
            client.cut(int(fault.number("code")), abruptly=fault.parameters["how"] == "reset")
        else:
            client.is_stalled = True
            if fault.seconds:
                asyncio.get_running_loop().call_later(fault.seconds, _unstall, client)


def _unstall(client: StreamClient) -> None:
    client.is_stalled = False
