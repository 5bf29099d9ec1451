"""What our reading of frames brings is what the library's own parser brings, however it comes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.frames import DATA_OPCODES, Frame, Opcode
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from utils import stream_connection
from utils.stream_connection import StreamConnection

MAX_SIZE = 70_000


class Transport(asyncio.Transport):
    """The end of a line of which only what is written matters."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None: ...


@dataclass
class Outcome:
    messages: list[bytes] = field(default_factory=list)
    answers: list[tuple[Opcode, bytes]] = field(default_factory=list)
    ending: tuple[Any, ...] = ()


class Collecting(ClientConnection):
    """The library's connection; what it brings is collected."""

    def __init__(self, protocol: ClientProtocol, messages: list[bytes]) -> None:
        super().__init__(protocol)
        self.messages, self.fragments = messages, b""

    def process_event(self, event: Any) -> None:
        if isinstance(event, Frame) and event.opcode in DATA_OPCODES:
            self.fragments += event.data
            if event.fin:
                self.messages.append(self.fragments)
                self.fragments = b""
        else:
            super().process_event(event)


def ours(protocol: ClientProtocol, messages: list[bytes]) -> StreamConnection:
    connection = StreamConnection(protocol)
    connection.reader = messages.append
    return connection


async def outcome_of(make: Any, wire: bytes, cuts: list[int]) -> Outcome:
    """Open a connection, send it `wire` in pieces that end at `cuts`; what came of it."""
    outcome, transport = Outcome(), Transport()
    protocol = ClientProtocol(parse_uri("ws://localhost/"), max_size=MAX_SIZE)
    connection = make(protocol, outcome.messages)
    connection.connection_made(transport)
    request = protocol.connect()
    connection.request = request
    protocol.send_request(request)
    connection.send_data()
    server = ServerProtocol(max_size=None)
    server.receive_data(b"".join(transport.written))
    server.send_response(server.accept(server.events_received()[0]))
    transport.written.clear()
    wire = b"".join(server.data_to_send()) + wire  # frames may come with the answer
    edges = sorted({0, len(wire), *(cut % len(wire) for cut in cuts)})
    for begin, end in pairwise(edges):
        connection.data_received(wire[begin:end])
    connection.connection_lost(None)
    server.receive_data(b"".join(transport.written))
    outcome.answers = [(event.opcode, bytes(event.data)) for event in server.events_received()]
    error = connection.close_exc
    outcome.ending = (str(error), type(protocol.parser_exc), protocol.current_size)
    return outcome


LENGTHS = st.sampled_from([0, 1, 2, 76, 124, 125, 126, 127, 128, 255, 256, 65535, 65536, 69_999])
PAYLOADS = LENGTHS.flatmap(
    lambda size: st.binary(min_size=1, max_size=3).map(
        lambda seed: (seed * (size // len(seed) + 1))[:size]
    )
)
WHOLE = st.builds(Frame, st.sampled_from([Opcode.TEXT, Opcode.BINARY]), PAYLOADS)
CONTROL = st.builds(Frame, st.sampled_from([Opcode.PING, Opcode.PONG]), st.binary(max_size=5))
CLOSE = st.sampled_from([b"", b"\x03\xe8", b"\x03\xe9bye", b"\x03", b"\x03\xed"]).map(
    lambda data: Frame(Opcode.CLOSE, data)
)
IN_FRAGMENTS = st.tuples(
    st.lists(st.binary(max_size=140), min_size=2, max_size=4), st.lists(CONTROL, max_size=1)
).map(lambda both: [
    *(Frame(Opcode.BINARY if at == 0 else Opcode.CONT, data, fin=False)
      for at, data in enumerate(both[0][:-1])),
    *both[1],
    Frame(Opcode.CONT, both[0][-1]),
])  # fmt: skip
UNRULY = st.builds(  # breaks the protocol, mostly
    Frame,
    st.sampled_from([Opcode.BINARY, Opcode.CONT, Opcode.TEXT]),
    st.binary(max_size=130),
    fin=st.booleans(),
)
TOO_LARGE = st.sampled_from([MAX_SIZE + 1, 2**40]).map(
    lambda size: b"\x82\x7f" + size.to_bytes(8, "big") + b"x"
)
MASKED = st.binary(max_size=9).map(lambda data: Frame(Opcode.BINARY, data).serialize(mask=True))
RESERVED = st.sampled_from(
    [b"\x83\x01x", b"\xc2\x01x", b"\x8b\x00", b"\x09\x00", b"\x89\x7e\x00\x01x"]
)


def serialized(one: Any) -> bytes:
    if isinstance(one, bytes):
        return one
    return b"".join(frame.serialize(mask=False) for frame in (one if type(one) is list else [one]))


FRAMES = st.one_of(WHOLE, WHOLE, CONTROL, IN_FRAGMENTS, CLOSE, UNRULY, TOO_LARGE, MASKED, RESERVED)
WIRE = st.lists(FRAMES.map(serialized), max_size=8).map(b"".join)
CUTS = st.lists(st.integers(0, 300_000), max_size=12)


@settings(deadline=None, max_examples=300)
@given(wire=WIRE, cuts=CUTS)
@example(wire=Frame(Opcode.BINARY, b"x" * 300).serialize(mask=False) * 3, cuts=[*range(1, 400)])
def test_messages_answers_and_ending_are_those_of_the_library(wire, cuts):
    expected = asyncio.run(outcome_of(Collecting, wire, cuts))
    assert asyncio.run(outcome_of(ours, wire, cuts)) == expected


@settings(deadline=None, max_examples=200)
@given(wire=st.binary(max_size=400), cuts=CUTS)
def test_of_noise_it_brings_the_same_messages(wire, cuts):
    expected = asyncio.run(outcome_of(Collecting, wire, cuts))
    assert asyncio.run(outcome_of(ours, wire, cuts)).messages == expected.messages


@pytest.mark.parametrize("kind", [Opcode.TEXT, Opcode.BINARY])
def test_the_library_is_not_asked_about_whole_frames(kind, monkeypatch):
    """Otherwise each would cost three times as much; the protocol's parser sees none of them."""

    async def passed_by() -> tuple[list[bytes], int]:
        seen: list[Frame] = []
        monkeypatch.setattr(ClientProtocol, "recv_frame", lambda _, frame: seen.append(frame))
        wire = Frame(kind, b"[]").serialize(mask=False) * 3
        return (await outcome_of(ours, wire, [])).messages, len(seen)

    assert asyncio.run(passed_by()) == ([b"[]"] * 3, 0)


def test_one_read_is_small_enough_to_let_others_have_their_turn():
    assert stream_connection.READ_BYTES <= 64 * 1024
