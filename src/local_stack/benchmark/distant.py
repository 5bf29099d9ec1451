"""The section `network`: orders with 20 ms and TLS between bot and exchange, in round trips.

Also the first order after idling: a few of each client wait for each kind of order, for a process
has one first order only, while quotes that cross nothing go on coming. The exchange closes what
asks nothing for a minute, as load balancers do.
"""

from __future__ import annotations

import asyncio
import http.client
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass

from local_stack.benchmark.accounts import now
from local_stack.benchmark.checkout import Checkout
from local_stack.benchmark.clients import Urls
from local_stack.benchmark.figures import Series
from local_stack.benchmark.lab import Lab
from local_stack.benchmark.network import Certificate, DelayLine
from local_stack.benchmark.plan import BenchmarkPlan
from local_stack.benchmark.results import Bar, Group, Section
from local_stack.benchmark.trades import (
    FLOOR,
    LITERAL,
    SYMBOLS,
    Samples,
    Step,
    Trader,
    make_traders,
    trade_in_turn,
)
from mariadb_server.endpoint import HOST

ROUND_TRIP_SECONDS = 0.020
LOAD_BALANCER_SECONDS = 60.0
ROUND_TRIP = "one round trip"
PINGS = 10
FIRST_ORDERS = 5  # of each kind, by each client
# Round trips, and the milliseconds that may come on top.
ALLOWED = {Step.BASE: (2, 5.0), Step.SAFETY: (1, 3.0), Step.TAKE_PROFIT: (2, 5.0)}


@dataclass(frozen=True, slots=True)
class Line:
    """The long way to the exchange."""

    port: int
    certificate: Certificate

    @property
    def urls(self) -> Urls:
        return Urls(f"https://{HOST}:{self.port}", f"wss://{HOST}:{self.port}")


async def measure_network(lab: Lab, checkouts: Sequence[Checkout], plan: BenchmarkPlan) -> Section:
    certificate = Certificate(lab.folder)
    tls_port = await lab.exchange.listen(certificate.server_context())
    delay = DelayLine(tls_port, ROUND_TRIP_SECONDS)
    line = Line(await delay.listen(), certificate)
    lab.exchange.idle_seconds = LOAD_BALANCER_SECONDS
    try:
        section = Section("network")
        traders = _make(lab, checkouts, line, FLOOR, LITERAL)
        await lab.start([trader.client for trader in traders])
        samples = await trade_in_turn(traders, plan.rounds, max(1, plan.orders // 4), "network")
        round_trips = await _round_trips(line, traders[0].client.account.key, plan.rounds)
        lab.stop_clients()
        _add(section, samples, round_trips, checkouts[0].name)
        if plan.idle_seconds:
            samples, round_trips = await _after_idling(lab, checkouts, line, plan.idle_seconds)
            when = f" after {plan.idle_seconds:g} s"
            _add(section, samples, round_trips, checkouts[0].name, when)
        return section
    finally:
        lab.exchange.idle_seconds = None
        delay.stop()


def _make(lab: Lab, checkouts: Sequence[Checkout], line: Line, *rivals: str) -> list[Trader]:
    trust = line.certificate.settings()
    return make_traders(lab, checkouts, rivals=rivals, urls=line.urls, settings=trust)


def _add(section: Section, samples: Samples, trip: Series, ours: str, when: str = "") -> None:
    for step, (trips, extra_ms) in ALLOWED.items():
        group = samples.group(step, f"20 ms and TLS: quote to POST, {step}{when}", ROUND_TRIP)
        if group is None:
            continue
        group = Group(group.title, {ROUND_TRIP: trip, **group.series}, ROUND_TRIP)
        over_ms = group.series[ours].p50 - trips * trip.p50
        text = f"{step}{when}, over {trips} round trip{'s' if trips > 1 else ''}"
        section.groups.append(group)
        section.bars.append(Bar(text, over_ms, extra_ms, "ms"))


async def _round_trips(line: Line, key: str, rounds: int) -> Series:
    """What a question on an open connection takes, the exchange's answer included."""
    found = await asyncio.to_thread(_ask, line, line.certificate.client_context(), key, rounds)
    return Series(ROUND_TRIP, "ms", found)


def _ask(
    line: Line, trusted: ssl.SSLContext, key: str, rounds: int
) -> tuple[tuple[float, ...], ...]:
    connection = http.client.HTTPSConnection(HOST, line.port, context=trusted)
    found = []
    for _ in range(rounds * PINGS + 1):
        began_at = now()
        connection.request("GET", "/v2/clock", headers={"APCA-API-KEY-ID": key})
        connection.getresponse().read()
        found.append((now() - began_at) * 1e3)
    connection.close()
    kept = found[1:]  # the first has opened the connection
    return tuple(tuple(kept[at : at + PINGS]) for at in range(0, len(kept), PINGS))


async def _after_idling(
    lab: Lab, checkouts: Sequence[Checkout], line: Line, idle_seconds: float
) -> tuple[Samples, Series]:
    """The orders, and the round trips of the same moments."""
    waiting = [
        {step: _make(lab, checkouts, line, FLOOR) for step in Step} for _ in range(FIRST_ORDERS)
    ]
    traders = []
    for one in waiting:  # not all at once: they would wait for each other
        starting = [trader for waits in one.values() for trader in waits]
        await lab.start([trader.client for trader in starting])
        traders += starting
    symbol = SYMBOLS[0]
    for one in waiting:
        for trader in one[Step.SAFETY] + one[Step.TAKE_PROFIT]:
            await trader.take(Step.BASE, symbol)
    deadline = time.monotonic() + idle_seconds
    while (left := deadline - time.monotonic()) > 0:
        lab.report(f"network: idling for {left:.0f} s")
        for trader in traders:
            trader.send_harmless(symbol)
        await asyncio.sleep(min(1.0, left))  # the market goes on meanwhile
    samples = Samples(list(dict.fromkeys(trader.client.name for trader in traders)))
    trips: list[tuple[float, ...]] = []
    for one in waiting:
        samples.begin_round()
        trips += (await _round_trips(line, traders[0].client.account.key, 1)).rounds
        for step, waits in one.items():
            for trader in waits:
                order_ms, _ = await trader.take(step, symbol)
                samples.add(step, trader.client.name, order_ms)
    lab.stop_clients()
    return samples, Series(ROUND_TRIP, "ms", tuple(trips))
