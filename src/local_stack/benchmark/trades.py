"""The sections `orders` and `fills`: a crossed quote until its POST arrives, a fill until its row
is in the journal. Whole cycles are traded: base order, safety order, take profit, and again.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from local_stack.benchmark.accounts import Placed
from local_stack.benchmark.checkout import Checkout
from local_stack.benchmark.clients import Client, Urls
from local_stack.benchmark.database import BOOKED, LINKED
from local_stack.benchmark.figures import Series
from local_stack.benchmark.frames import Quote
from local_stack.benchmark.lab import Lab
from local_stack.benchmark.plan import BenchmarkPlan
from local_stack.benchmark.results import Bar, Group, Section
from local_stack.exchange_process import StackError

SYMBOLS = tuple(f"T{number}/USD" for number in range(4))
PRICE = 100.0
BELOW, ABOVE = 0.985, 1.015  # beyond both triggers, which lie one percent away; no jump of ten
SPREAD = 0.0001
TRIES, ORDER_SECONDS = 3, 4.0
SETTLE_SECONDS = 0.25  # what follows a booking, such as new triggers, is over
HEAD_START_SECONDS = 0.003  # the watch is in the server before the fill leaves
FLOOR, LITERAL = "bare SDK", "plan taken literally"
_SCRIPTS = {FLOOR: "sdk_bot", LITERAL: "literal_bot"}


class Step(StrEnum):
    """One order of a cycle, and the mark with which a quote asks for it."""

    BASE = "base order"
    SAFETY = "safety order"
    TAKE_PROFIT = "take profit"

    @property
    def mark(self) -> float:
        return {Step.BASE: 1.0, Step.SAFETY: 2.0, Step.TAKE_PROFIT: 3.0}[self]


BUY, SALE, AT_ONCE = "a buy", "a sale", "new and fill at once"
# What a daemon that checks, logs and can recover may take of it.
MOST_OF_FLOOR = {Step.BASE: 2.0, Step.SAFETY: 2.5, Step.TAKE_PROFIT: 2.0}


@dataclass(eq=False)
class Trader:
    """Trades one client through its cycles."""

    lab: Lab
    client: Client
    knows_strategy: bool
    _bid: dict[str, float] = field(default_factory=lambda: defaultdict(lambda: PRICE))
    _bought: dict[str, list[tuple[Decimal, Decimal]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _ready_at: float = 0.0

    async def take(
        self,
        step: Step,
        symbol: str,
        *,
        at_once: bool = False,
        tries: int = TRIES,
        seconds: float = ORDER_SECONDS,
    ) -> tuple[float, float]:
        """Milliseconds from the quote to the order, and from its fill to the journal. `at_once`:
        the fill leaves right behind the news that the order is open, as on a lively market.
        The quote is sent `tries` times, with so many `seconds` for the order.

        Raises:
            StackError: the client did not do its part.
        """
        await asyncio.sleep(max(0.0, self._ready_at - time.monotonic()))
        placed, order_ms = await self._provoke(step, symbol, tries, seconds)
        if not at_once:
            self.lab.exchange.send_opened(self.client.account, placed)
            if self.knows_strategy and not await self._is_linked(placed):
                raise StackError(f"{self.client.name} did not link the {step} of {symbol}")
        fill_ms = await self._fill(step, symbol, placed, is_open=not at_once)
        self._ready_at = time.monotonic() + SETTLE_SECONDS
        return order_ms, fill_ms

    def send_harmless(self, symbol: str) -> None:
        """A quote between the triggers, where coins are held."""
        if self._bought[symbol]:
            bid = float(self._bought[symbol][-1][1])
            quote = Quote(symbol=symbol, bid=bid, ask=round(bid * (1 + SPREAD), 4))
            self.lab.exchange.send_quote(self.client.account, quote)

    async def _provoke(
        self, step: Step, symbol: str, tries: int, seconds: float
    ) -> tuple[Placed, float]:
        account = self.client.account
        account.forget_arrivals()
        quote = self._quote_for(step, symbol)
        side = "sell" if step is Step.TAKE_PROFIT else "buy"
        for _ in range(tries):
            sent_at = self.lab.exchange.send_quote(account, quote)
            placed = await account.next_order(seconds)
            if placed is None:
                continue
            if (placed.order["symbol"], placed.order["side"]) != (symbol, side):
                raise StackError(f"{self.client.name} sent another order than the {step}")
            return placed, (placed.at - sent_at) * 1e3
        self.client.complain_if_ended()
        raise StackError(f"{self.client.name} did not send the {step} of {symbol}")

    async def _is_linked(self, placed: Placed) -> bool:
        return await self.client.database.await_row(LINKED, placed.id) is not None

    def _quote_for(self, step: Step, symbol: str) -> Quote:
        match step:
            case Step.BASE:
                bid = self._bid[symbol] * BELOW  # the cooldown ends early
            case Step.SAFETY:
                bid = float(self._bought[symbol][-1][1]) * BELOW
            case Step.TAKE_PROFIT:
                bought = self._bought[symbol]
                cost = sum((qty * price for qty, price in bought), Decimal(0))
                bid = float(cost / sum((qty for qty, _ in bought), Decimal(0))) * ABOVE
        self._bid[symbol] = bid = round(bid, 4)
        ask = round(bid * (1 + SPREAD), 4)
        mark = 0.0 if self.knows_strategy else step.mark
        return Quote(symbol=symbol, bid=bid, ask=ask, mark=mark)

    async def _fill(self, step: Step, symbol: str, placed: Placed, *, is_open: bool) -> float:
        order = placed.order
        price = Decimal(order["limit_price"] or str(self._bid[symbol]))
        if step is Step.TAKE_PROFIT:
            self._bought[symbol].clear()
        else:
            self._bought[symbol].append((Decimal(order["qty"]), price))
        watch = asyncio.create_task(self.client.database.await_row(BOOKED, placed.id))
        await asyncio.sleep(HEAD_START_SECONDS)
        if not is_open:
            self.lab.exchange.send_opened(self.client.account, placed)
        sent_at = self.lab.exchange.send_filled(self.client.account, placed, price)
        if (booked_at := await watch) is None:
            self.client.complain_if_ended()
            raise StackError(f"{self.client.name} did not book the {step} of {symbol}")
        return (booked_at - sent_at) * 1e3


@dataclass(eq=False)
class Samples:
    """Milliseconds by what was measured and by client, in rounds."""

    clients: Sequence[str]
    _values: dict[str, dict[str, list[list[float]]]] = field(default_factory=dict)

    def begin_round(self) -> None:
        for found in self._values.values():
            for rounds in found.values():
                rounds.append([])

    def add(self, what: str, client: str, value: float) -> None:
        if what not in self._values:
            self._values[what] = {name: [[]] for name in self.clients}
        self._values[what][client][-1].append(value)

    def group(self, what: str, title: str, compared_with: str) -> Group | None:
        """None where there are no samples."""
        found = {
            name: Series(name, "ms", tuple(tuple(one) for one in rounds if one))
            for name, rounds in self._values.get(what, {}).items()
        }
        return Group(title, found, compared_with) if found else None


async def trade_in_turn(
    traders: Sequence[Trader], rounds: int, turns: int, what_for: str
) -> Samples:
    """`turns` cycles a round of each client, order by order; every second fill comes at once."""
    lab, samples = traders[0].lab, Samples([trader.client.name for trader in traders])
    for number in range(rounds + 1):  # the first warms up
        lab.report(f"{what_for}: round {number} of {rounds}")
        samples.begin_round()
        for count in range((turns if number else min(turns, len(SYMBOLS))) * len(Step)):
            turn, step = count // len(Step), list(Step)[count % len(Step)]
            symbol, at_once = SYMBOLS[turn % len(SYMBOLS)], (count + number) % 2 == 1
            what = AT_ONCE if at_once else SALE if step is Step.TAKE_PROFIT else BUY
            for trader in traders if (turn + number) % 2 else traders[::-1]:
                order_ms, fill_ms = await trader.take(step, symbol, at_once=at_once)
                if number:
                    samples.add(step, trader.client.name, order_ms)
                    samples.add(what, trader.client.name, fill_ms)
    return samples


async def measure_trades(
    lab: Lab, checkouts: Sequence[Checkout], plan: BenchmarkPlan
) -> list[Section]:
    """The sections `orders` and `fills`."""
    traders = make_traders(lab, checkouts)
    await lab.start([trader.client for trader in traders])
    samples = await trade_in_turn(traders, plan.rounds, plan.orders, "orders and fills")
    lab.stop_clients()
    ours, others = checkouts[0].name, [one.name for one in checkouts[1:]]
    return [_orders_section(samples, ours), _fills_section(samples, ours, others)]


def _orders_section(samples: Samples, ours: str) -> Section:
    section = Section("orders")
    for step, limit in MOST_OF_FLOOR.items():
        if group := samples.group(step, f"crossed quote to POST, {step}", FLOOR):
            p99 = group.series[ours].at(0.99) / group.series[FLOOR].at(0.99)
            section.groups.append(group)
            section.bars += [
                Bar(f"{step} / {FLOOR}, p50", group.ratio(ours).median, limit),
                Bar(f"{step} / {FLOOR}, p99", p99, 3.0),
            ]
    return section


def _fills_section(samples: Samples, ours: str, others: Sequence[str]) -> Section:
    section = Section("fills")
    for what in (BUY, SALE, AT_ONCE):
        if group := samples.group(what, f"fill to journal row, {what}", FLOOR):
            section.groups.append(group)
            section.bars.append(Bar(f"{what} / {FLOOR}, p50", group.ratio(ours).median, 2.5))
            # Set where a fill comes right behind its `new`, as it does on a lively market. One that
            # comes alone is mostly the floor's own time, which no revision can leave out.
            for other in others if what == AT_ONCE else ():
                faster = group.ratio(other, ours).median
                section.bars.append(Bar(f"{what}, {other} / now", faster, 3.0, is_minimum=True))
    return section


def make_traders(
    lab: Lab,
    checkouts: Sequence[Checkout],
    *,
    rivals: Sequence[str] = (FLOOR, LITERAL),
    urls: Urls | None = None,
    settings: Mapping[str, str] | None = None,
) -> list[Trader]:
    traders = []
    for checkout in checkouts:
        client = lab.daemon(checkout, SYMBOLS, urls=urls, settings=settings)
        traders.append(Trader(lab, client, knows_strategy=True))
    for name in rivals:
        client = lab.rival(
            name,
            _SCRIPTS[name],
            symbols=SYMBOLS,
            urls=urls,
            settings=settings,
            has_trade_stream=True,
        )
        traders.append(Trader(lab, client, knows_strategy=False))
    for trader in traders:
        for symbol in SYMBOLS:
            trader.client.database.add_asset(symbol)
    return traders
