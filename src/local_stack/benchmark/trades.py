"""The sections `orders` and `fills`: a crossed quote until its POST arrives, a fill until its row
is in the journal. Whole cycles are traded: base order, safety order, take profit, and again.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
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


class Step(StrEnum):
    """One order of a cycle, and the mark with which a quote asks for it."""

    BASE = "base order"
    SAFETY = "safety order"
    TAKE_PROFIT = "take profit"

    @property
    def mark(self) -> float:
        return {Step.BASE: 1.0, Step.SAFETY: 2.0, Step.TAKE_PROFIT: 3.0}[self]


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

    async def take(self, step: Step, symbol: str) -> tuple[float, float]:
        """Milliseconds from the quote to the order, and from its fill to the journal.

        Raises:
            StackError: the client did not do its part.
        """
        await asyncio.sleep(max(0.0, self._ready_at - time.monotonic()))
        placed, order_ms = await self._provoke(step, symbol)
        if self.knows_strategy:
            self.lab.exchange.send_opened(self.client.account, placed)
            if await self.client.database.await_row(LINKED, placed.id) is None:
                raise StackError(f"{self.client.name} did not link the {step} of {symbol}")
            await asyncio.sleep(HEAD_START_SECONDS)
        fill_ms = await self._fill(step, symbol, placed)
        self._ready_at = time.monotonic() + SETTLE_SECONDS
        return order_ms, fill_ms

    async def _provoke(self, step: Step, symbol: str) -> tuple[Placed, float]:
        account = self.client.account
        account.forget_arrivals()
        quote = self._quote_for(step, symbol)
        side = "sell" if step is Step.TAKE_PROFIT else "buy"
        for _ in range(TRIES):
            sent_at = self.lab.exchange.send_quote(account, quote)
            placed = await account.next_order(ORDER_SECONDS)
            if placed is None:
                continue
            if (placed.order["symbol"], placed.order["side"]) != (symbol, side):
                raise StackError(f"{self.client.name} sent another order than the {step}")
            return placed, (placed.at - sent_at) * 1e3
        self.client.complain_if_ended()
        raise StackError(f"{self.client.name} did not send the {step} of {symbol}")

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

    async def _fill(self, step: Step, symbol: str, placed: Placed) -> float:
        order = placed.order
        price = Decimal(order["limit_price"] or str(self._bid[symbol]))
        if step is Step.TAKE_PROFIT:
            self._bought[symbol].clear()
        else:
            self._bought[symbol].append((Decimal(order["qty"]), price))
        watch = asyncio.create_task(self.client.database.await_row(BOOKED, placed.id))
        await asyncio.sleep(HEAD_START_SECONDS)
        sent_at = self.lab.exchange.send_filled(self.client.account, placed, price)
        if (booked_at := await watch) is None:
            self.client.complain_if_ended()
            raise StackError(f"{self.client.name} did not book the {step} of {symbol}")
        return (booked_at - sent_at) * 1e3


Values = dict[tuple[Step, str], list[list[float]]]


async def measure_trades(
    lab: Lab, checkouts: Sequence[Checkout], plan: BenchmarkPlan
) -> list[Section]:
    """The sections `orders` and `fills`: the clients trade in turn, order by order."""
    traders = make_traders(lab, checkouts)
    await lab.start([trader.client for trader in traders])
    orders: Values = defaultdict(list)
    fills: Values = defaultdict(list)
    for number in range(plan.rounds + 1):  # the first warms up, once for each symbol
        lab.report(f"orders and fills: round {number} of {plan.rounds}")
        for key in [(step, trader.client.name) for step in Step for trader in traders]:
            orders[key].append([])
            fills[key].append([])
        for turn in range(plan.orders if number else len(SYMBOLS)):
            symbol = SYMBOLS[turn % len(SYMBOLS)]
            for step in Step:
                for trader in traders if (turn + number) % 2 else traders[::-1]:
                    order_ms, fill_ms = await trader.take(step, symbol)
                    orders[step, trader.client.name][-1].append(order_ms)
                    fills[step, trader.client.name][-1].append(fill_ms)
    lab.stop_clients()
    ours, others = checkouts[0].name, [one.name for one in checkouts[1:]]
    return [_orders_section(orders, ours), _fills_section(fills, ours, others)]


def _orders_section(values: Values, ours: str) -> Section:
    section = Section("orders")
    for step in Step:
        group = Group(f"crossed quote to POST, {step}", _series(values, [step]), FLOOR)
        limit = MOST_OF_FLOOR[step]
        p99 = group.series[ours].at(0.99) / group.series[FLOOR].at(0.99)
        section.groups.append(group)
        section.bars += [
            Bar(f"{step} / {FLOOR}, p50", group.ratio(ours).median, limit),
            Bar(f"{step} / {FLOOR}, p99", p99, 3.0),
        ]
    return section


def _fills_section(values: Values, ours: str, others: Sequence[str]) -> Section:
    section = Section("fills")
    for what, steps in {"buy": [Step.BASE, Step.SAFETY], "sale": [Step.TAKE_PROFIT]}.items():
        group = Group(f"fill to journal row, {what}", _series(values, steps), FLOOR)
        section.groups.append(group)
        section.bars.append(Bar(f"{what} / {FLOOR}, p50", group.ratio(ours).median, 2.5))
        for other in others:
            faster = group.ratio(other, ours).median
            section.bars.append(Bar(f"{what}, {other} / now", faster, 3.0, is_minimum=True))
    return section


def _series(values: Values, steps: Sequence[Step]) -> dict[str, Series]:
    """By client, without the round that warmed up; the orders of several steps together."""
    found = {}
    for name in dict.fromkeys(client for _, client in values):
        by_round = zip(*(values[step, name][1:] for step in steps), strict=True)
        rounds = tuple(tuple(v for part in parts for v in part) for parts in by_round)
        found[name] = Series(name, "ms", rounds)
    return found


def make_traders(
    lab: Lab,
    checkouts: Sequence[Checkout],
    urls: Urls | None = None,
    settings: dict[str, str] | None = None,
) -> list[Trader]:
    def rival(name: str, script: str) -> Client:
        return lab.rival(
            name, script, symbols=SYMBOLS, urls=urls, settings=settings, has_trade_stream=True
        )

    daemons = [lab.daemon(one, SYMBOLS, urls=urls, settings=settings) for one in checkouts]
    rivals = [rival(FLOOR, "sdk_bot"), rival(LITERAL, "literal_bot")]
    traders = [Trader(lab, client, knows_strategy=client in daemons) for client in daemons + rivals]
    for trader in traders:
        for symbol in SYMBOLS:
            trader.client.database.add_asset(symbol)
    return traders
