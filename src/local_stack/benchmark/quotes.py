"""The section `quotes`: what a quote costs in CPU, from the wire to two compared prices."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from statistics import median

from local_stack.benchmark.checkout import Checkout
from local_stack.benchmark.clients import Client
from local_stack.benchmark.figures import Series
from local_stack.benchmark.frames import Quote, quotes_frame
from local_stack.benchmark.lab import Lab
from local_stack.benchmark.plan import BenchmarkPlan
from local_stack.benchmark.results import Bar, Group, Section
from local_stack.exchange_process import StackError

SYMBOLS = tuple(f"Q{number}/USD" for number in range(10))
PRICE = 100.0
FRAMES = {1: "one in a frame", 10: "ten in a frame"}
FRAMES_A_WRITE = 8
FLOOD_SECONDS = 120.0
DRIP_SHARE = 0.05
LITERAL_SHARE = 0.01  # it is so slow that a hundredth of the quotes is enough
SDK, STREAM, HANDLER, RAW, LITERAL = (
    "SDK stream, no-op",
    "bot's stream, no-op",
    "bot's stream + handler",
    "raw socket",
    "plan taken literally",
)


def make_chunks(quotes: int, in_a_frame: int, seed: int) -> list[bytes]:
    """Frames of a random walk that stays between the triggers, a few in one write."""
    rng, frames = random.Random(seed), []
    for number in range(quotes // in_a_frame):
        of_frame = []
        for place in range(in_a_frame):
            price = PRICE * (1 + rng.uniform(-0.002, 0.002))
            symbol = SYMBOLS[(number + place) % len(SYMBOLS)]
            of_frame.append(Quote(symbol=symbol, bid=price, ask=price + 0.01))
        frames.append(quotes_frame(of_frame))
    return [
        b"".join(frames[at : at + FRAMES_A_WRITE]) for at in range(0, len(frames), FRAMES_A_WRITE)
    ]


async def measure_quotes(lab: Lab, checkouts: Sequence[Checkout], plan: BenchmarkPlan) -> Section:
    clients = make_clients(lab, checkouts)
    await lab.start(clients)
    section = Section("quotes")
    for in_a_frame, title in FRAMES.items():

        async def flood(client: Client, seed: int, size: int = in_a_frame) -> float:
            quotes = int(plan.quotes * (LITERAL_SHARE if client.name == LITERAL else 1))
            return await _cost_of_flood(lab, client, max(quotes, size), size, seed)

        section.groups.append(await _in_turn(lab, clients, plan.rounds, title, flood))

    async def drip(client: Client, seed: int) -> float:
        return await _cost_one_by_one(lab, client, max(1, int(plan.quotes * DRIP_SHARE)), seed)

    rounds = (plan.rounds + 1) // 2  # the slowest to measure
    section.groups.append(await _in_turn(lab, clients, rounds, "one in a millisecond", drip))
    lab.stop_clients()
    _add_bars(section, checkouts[0].name)
    return section


async def _in_turn(
    lab: Lab,
    clients: Sequence[Client],
    rounds: int,
    title: str,
    measure: Callable[[Client, int], Awaitable[float]],
) -> Group:
    found: dict[str, list[tuple[float, ...]]] = {client.name: [] for client in clients}
    for number in range(rounds + 1):  # the first warms up
        lab.report(f"quotes: {title}, round {number} of {rounds}")
        for client in clients if number % 2 else clients[::-1]:
            cost = await measure(client, number)
            if number:
                found[client.name].append((cost,))
    series = {name: Series(name, "us", tuple(values)) for name, values in found.items()}
    return Group(f"CPU a quote, {title}", series, SDK)


def _add_bars(section: Section, ours: str) -> None:
    singles = section.groups[0]
    section.bars += [
        Bar("the daemon / SDK stream, one in a frame", singles.ratio(ours).median, 0.35),
        Bar("the handler / the daemon", _handler_share(singles, ours), 0.25),
        Bar("quotes a second and core", 1e6 / singles.series[ours].p50, 1e5, "", is_minimum=True),
    ]


def _handler_share(singles: Group, ours: str) -> float:
    """What the handler adds to its stream, of what the daemon needs: the median of the rounds."""
    series = singles.series
    rounds = zip(*(series[name].rounds for name in (HANDLER, STREAM, ours)), strict=True)
    shares = ((with_[0] - without[0]) / whole[0] for with_, without, whole in rounds)
    return float(median(shares))


def make_clients(lab: Lab, checkouts: Sequence[Checkout]) -> list[Client]:
    ours = checkouts[0]
    names = ",".join(SYMBOLS)
    handler = lab.rival(HANDLER, "handler_alone", symbols=SYMBOLS, checkout=ours)
    clients = [
        lab.rival(SDK, "stream_floor", "sdk", names, symbols=SYMBOLS),
        lab.rival(STREAM, "stream_floor", "bot", names, symbols=SYMBOLS, checkout=ours),
        handler,
        *(lab.daemon(checkout, SYMBOLS) for checkout in checkouts),
        lab.rival(RAW, "raw_socket", names, symbols=SYMBOLS),
        lab.rival(LITERAL, "literal_bot", symbols=SYMBOLS, has_trade_stream=True),
    ]
    for client in clients:
        for symbol in SYMBOLS:  # holds coins, may buy more: both triggers are live
            price = Decimal(str(PRICE))
            client.database.add_asset(symbol, quantity=Decimal(1), price=price)
            client.account.hold(symbol, Decimal(1))
    return clients


async def _cost_of_flood(
    lab: Lab, client: Client, quotes: int, in_a_frame: int, seed: int
) -> float:
    """Microseconds of CPU a quote when they come as fast as they are read."""
    chunks = make_chunks(quotes, in_a_frame, seed)
    before = client.cpu_seconds()
    if not await lab.exchange.flood(client.account, chunks, FLOOD_SECONDS):
        client.complain_if_ended()
        raise StackError(f"{client.name} did not read {quotes} quotes in {FLOOD_SECONDS:.0f} s")
    await client.wait_until_idle(5.0)
    return (client.cpu_seconds() - before) / (quotes // in_a_frame * in_a_frame) * 1e6


async def _cost_one_by_one(lab: Lab, client: Client, quotes: int, seed: int) -> float:
    """The same when each wakes the client: what else it does meanwhile is counted as well."""
    rng, before = random.Random(seed), client.cpu_seconds()
    for number in range(quotes):
        bid, symbol = PRICE * (1 + rng.uniform(-0.002, 0.002)), SYMBOLS[number % len(SYMBOLS)]
        lab.exchange.send_quote(client.account, Quote(symbol=symbol, bid=bid, ask=bid + 0.01))
        await asyncio.sleep(0.001)  # the pace
    await client.wait_until_idle(10.0)
    return (client.cpu_seconds() - before) / quotes * 1e6
