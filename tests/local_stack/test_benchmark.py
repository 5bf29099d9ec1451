"""The benchmark measures what it says; how long anything takes is of no test."""

from __future__ import annotations

import asyncio
import json
import math
import os
import subprocess
import sys
from decimal import Decimal

import pytest

from config import PROJECT_ROOT
from local_stack.benchmark.accounts import Account, Request
from local_stack.benchmark.figures import Ratio, Series
from local_stack.benchmark.frames import PING, FrameReader, frame
from local_stack.benchmark.network import DelayLine
from local_stack.benchmark.results import Bar, Group
from local_stack.benchmark.trades import Step

LITTLE = ["--rounds", "1", "--quotes", "200", "--orders", "2", "--idle", "1", "--assets", "12"]
LITTLE += ["--seconds", "3", "--minutes", "0.05", "--count", "20000"]


# Figures.


def series(*rounds: tuple[float, ...], name: str = "one") -> Series:
    return Series(name, "ms", rounds)


def test_a_ratio_is_the_median_of_the_rounds_and_shows_how_far_they_lie_apart():
    mine, theirs = series((2.0, 4.0, 6.0), (10.0,), (9.0,)), series((2.0,), (10.0,), (3.0,))
    assert Ratio.of(mine, theirs) == Ratio(median=2.0, low=1.0, high=3.0)


def test_a_series_knows_its_middle_and_its_edges():
    hundred = series(tuple(float(n) for n in range(1, 101)))
    assert (hundred.p50, hundred.at(0.1), hundred.at(0.9), hundred.at(0.99)) == (50.5, 11, 91, 100)


@pytest.mark.parametrize(
    ("value", "limit", "is_minimum", "holds"),
    [
        (2.0, 2.0, False, True),
        (2.1, 2.0, False, False),
        (3.0, 3.0, True, True),
        (2.9, 3.0, True, False),
        (math.nan, 3.0, False, False),
        (math.nan, 3.0, True, False),
    ],
)
def test_a_bar_holds_up_to_its_limit_and_never_without_a_figure(value, limit, is_minimum, holds):
    bar = Bar("text", value, limit, is_minimum=is_minimum)
    assert bar.holds is holds
    json.dumps(bar.as_json(), allow_nan=False)


def test_every_client_of_a_group_is_compared_with_the_one_that_it_names():
    group = Group("title", {"a": series((4.0,)), "floor": series((2.0,))}, "floor")
    assert [row["ratio"]["median"] for row in group.as_json()["rows"]] == [2.0, 1.0]


# The exchange.


def masked(payload: bytes, opcode: int, *, is_final: bool = True) -> bytes:
    mask = b"\x01\x02\x03\x04"
    size = len(payload)
    head = bytes(((0x80 if is_final else 0) | opcode, 0x80 | min(size, 126)))
    head += size.to_bytes(2, "big") if size >= 126 else b""
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


@pytest.mark.parametrize("piece", [1, 7, 10_000])
def test_messages_of_a_client_are_put_together_however_they_arrive(piece):
    long = b"x" * 300
    sent = masked(b"sub", 2, is_final=False) + masked(b"now", PING) + masked(b"scribe", 0)
    sent += masked(long, 1)
    reader, found = FrameReader(), []
    for at in range(0, len(sent), piece):
        found += reader.feed(sent[at : at + piece])
    assert found == [(PING, b"now"), (2, b"subscribe"), (1, long)]


@pytest.mark.parametrize(("size", "head"), [(125, 2), (126, 4), (65_535, 4), (65_536, 10)])
def test_frames_of_the_server_say_their_size_as_it_must_be_said(size, head):
    assert len(frame(b"x" * size)) == size + head


async def test_an_account_sells_what_it_bought_less_the_fee():
    account = Account("key", ("BTC/USD",))
    wanted = {"symbol": "BTC/USD", "qty": "2", "side": "buy", "type": "limit"}
    body = json.dumps({**wanted, "limit_price": "10", "time_in_force": "gtc"}).encode()
    account.answer(Request("POST", "/v2/orders", {}, body, at=1.0))
    placed = await account.next_order(1.0)
    assert placed is not None
    account.filled(placed, Decimal(10))
    status, position = account.answer(Request("GET", "/v2/positions/BTCUSD", {}, b"", at=2.0))
    assert (status, json.loads(position)["qty_available"]) == (200, "1.995000000")
    status, _ = account.answer(Request("GET", "/v2/positions/ETHUSD", {}, b"", at=2.0))
    assert status == 404


async def test_the_long_line_passes_everything_on_in_order_and_then_the_end():
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    line = DelayLine(server.sockets[0].getsockname()[1], 0.01)
    reader, writer = await asyncio.open_connection("127.0.0.1", await line.listen())
    for number in range(100):
        writer.write(b"%03d" % number)
        await writer.drain()
    said = await reader.readexactly(300)
    assert said == b"".join(b"%03d" % number for number in range(100))
    writer.close()
    assert await reader.read() == b""
    line.stop()
    server.close()


# Whole runs.


@pytest.mark.parametrize(
    ("sections", "rivals"),
    [
        (["quotes", "orders", "fills"], {"bare SDK", "raw socket", "plan taken literally"}),
        (["network", "many", "memory"], {"bare SDK", "one round trip"}),
        (["research"], {"plain loop, floats", "both paths of a bar"}),
    ],
)
def test_a_little_run_measures_each_section(tmp_path, sections, rivals):
    file = tmp_path / "figures.json"
    run = subprocess.run(
        [sys.executable, "-P", "-m", "cli.benchmark", *sections, *LITTLE, "--json", str(file)],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(file.read_text())
    assert [one["name"] for one in found["sections"]] == sections
    assert set(found["ran_on"]) >= {"cpu", "cores", "python", "database", "measured"}
    seen = set()
    for section in found["sections"]:
        assert section["groups"]
        assert section["bars"]
        for bar in section["bars"]:
            value, limit = bar["value"], bar["limit"]  # no value: a peer is not installed
            is_better = value is not None and (
                value >= limit if bar["is_minimum"] else value <= limit
            )
            assert bar["holds"] is is_better
        for group in section["groups"]:
            names = [row["name"] for row in group["rows"]]
            assert {"this bot", group["compared_with"]} <= set(names)
            seen.update(names)
            assert all(row["samples"] > 0 and row["p50"] > 0 for row in group["rows"])
    assert rivals <= seen
    assert all(len(line) <= 80 for line in run.stdout.splitlines())
    for step in Step if "orders" in sections else []:
        assert f"crossed quote to POST, {step}" in run.stdout


def test_a_little_run_measures_the_page(tmp_path):
    file = tmp_path / "figures.json"
    run = subprocess.run(
        [sys.executable, "-P", "-m", "cli.benchmark", "page", *LITTLE, "--json", str(file)],
        cwd=PROJECT_ROOT,
        env={**os.environ, "CHROMIUM": "no-browser-here"},  # what it paints, the page's tests see
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    [section] = json.loads(file.read_text())["sections"]
    assert [group["title"] for group in section["groups"]] == [
        "CPU of what serves the page, 20 assets",
        "crossed quote to POST",
        "a try, asked and answered",
    ]
    for group in section["groups"]:
        assert all(row["samples"] > 0 and row["p50"] > 0 for row in group["rows"])
    assert [bar["text"] for bar in section["bars"]] == [
        "CPU with one viewer",
        "orders with the page / without, p50",
        "a try, p95",
    ]
    assert "no Chromium on this machine" in run.stdout
    assert all(len(line) <= 80 for line in run.stdout.splitlines())
