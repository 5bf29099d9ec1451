"""What the exchange posted as fees, given to the orders that paid them. Pure.

First each execution gets the postings that are exactly its fee (see fee_matching). What is left of
days that belong together is judged as a whole, once all of it can be expected to be posted: where
it lies between what the maker's and what the taker's rate take of the executions that are left (a
day's fees in one sum, another tier of the account), it is divided over them in proportion to what
they filled; the last one takes the remainder, so that they add up to the total in every digit. Else
the estimates stay: too little means that some is not posted yet, too much that it was not taken
from these orders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_DOWN, Decimal, localcontext
from typing import TypeVar

from caretakers.plans.fee_matching import (
    LATEST_POSTING,
    Charge,
    FeeRates,
    amount_of,
    is_near,
    match_charges,
)
from domain.fee_activity import Execution, FeeActivity
from domain.journal import ADOPTED, JournalEntry
from domain.orders import Side

# Fees were seen to be posted up to 3.5 hours after the trade: most of a day's are there then.
POSTING_TIME = timedelta(hours=6)
Name = TypeVar("Name")
Item = TypeVar("Item")
_STORED_STEP = Decimal("1e-18")  # DECIMAL(36,18) of the journal
# Where executions are not known one by one: each is rounded up, to the ninth place or the cent.
_ROUNDING = {Side.BUY: Decimal("1e-8"), Side.SELL: Decimal("0.10")}


@dataclass(frozen=True, slots=True)
class SettledFee:
    """What one row of the journal paid: coins for a buy, USD for a sell."""

    client_order_id: str
    fee: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeSettlement:
    """The fees of one side on one symbol (None: of all) over some days.

    With a `problem` nothing is to be written. `is_late`: less was posted than our orders must have
    cost, so more may come; else it was more than they can have cost.
    """

    symbol: str | None
    side: Side
    first_day: date
    last_day: date
    total: Decimal
    fees: tuple[SettledFee, ...] = ()
    problem: str | None = None
    is_late: bool = False

    @property
    def dedupe_key(self) -> str:
        """Another sum, or the sum of other days, is another alert."""
        return f"{self.side} {self.first_day} {self.last_day} {self.total.normalize():f}"

    @property
    def reason(self) -> str:
        unit = "USD" if self.side is Side.SELL else "coins"
        days = " to ".join(str(day) for day in sorted({self.first_day, self.last_day}))
        posted = f"{self.total.normalize():f} {unit} were posted for the {self.side}s of {days}"
        return posted if self.problem is None else f"{posted}, {self.problem}"


def last_settled_day(now: datetime) -> date:
    """The newest UTC day whose fees can be expected to have been posted."""
    return (now.astimezone(UTC) - POSTING_TIME).date() - timedelta(days=1)


def plan_fee_settlements(
    entries: Iterable[JournalEntry],
    posted: Sequence[FeeActivity],
    executions: Sequence[Execution] = (),
    *,
    now: datetime,
    rates: FeeRates,
) -> list[FeeSettlement]:
    """What is to be written so that the journal says what was posted; nothing where it does.

    `entries`: all filled orders of the days that `posted` covers, also those with posted fees;
    `executions`: all of the account in these days, whoever placed their orders.
    """
    rows = _grouped(filter(_is_charged, entries), lambda entry: entry.alpaca_order_id)
    charges = _charges(rows, executions)
    left = match_charges(charges, posted, rates)
    paid = {id(one): one.paid for one in charges}
    last_day = last_settled_day(now)
    problems = []
    for side, symbol in _keys(charges, left):
        mine = [one for one in charges if one.side is side and symbol in (None, one.symbol)]
        for group in _judge(side, symbol, mine, left, last_day - LATEST_POSTING, rates):
            if group.problem is None:
                shares = allot(group.total, [(id(one), one.weight) for one in group.charges])
                paid.update(shares)
            elif any(
                row.fee_is_estimated for one in group.charges for row in rows.get(one.order_id, ())
            ):
                problems.append(group.as_settlement(side, symbol))
    return [*_settlements(rows, charges, paid, last_day, rates), *problems]


def _grouped(items: Iterable[Item], key: Callable[[Item], str]) -> dict[str, list[Item]]:
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def _is_charged(entry: JournalEntry) -> bool:
    """In USD, else a sell's fee is another coin; no order stands behind adopted coins."""
    was_filled = entry.filled_qty > 0 and entry.ended_at is not None
    return was_filled and entry.final_status != ADOPTED and entry.symbol.endswith("/USD")


def _charges(rows: dict[str, list[JournalEntry]], executions: Iterable[Execution]) -> list[Charge]:
    """Every execution of the account; an order of ours that they do not add up to, row by row."""
    in_usd = [one for one in executions if one.symbol.endswith("/USD")]
    parts, charges = _grouped(in_usd, lambda one: one.order_id), []
    for order_id, entries in rows.items():
        known = sum(one.qty for one in parts.get(order_id, ()))
        if known == sum(entry.filled_qty for entry in entries):
            continue
        parts.pop(order_id, None)
        charges += [_charge_of_row(entry) for entry in entries]
    charges += [
        Charge(
            order_id=order_id, symbol=one.symbol, side=one.side, qty=one.qty, price=one.price,
            since=one.at.astimezone(UTC), until=one.at.astimezone(UTC),
        )
        for order_id, some in parts.items()
        for one in some
    ]  # fmt: skip
    return charges


def _charge_of_row(entry: JournalEntry) -> Charge:
    assert entry.ended_at is not None, "rows without an end were left out"
    until = entry.ended_at.astimezone(UTC)
    return Charge(
        order_id=entry.alpaca_order_id,
        symbol=entry.symbol,
        side=entry.side,
        qty=entry.filled_qty,
        price=entry.filled_avg_price or Decimal(0),
        since=min((entry.submitted_at or until).astimezone(UTC), until),
        until=until,
    )


def _keys(charges: Iterable[Charge], left: Iterable[FeeActivity]) -> list[tuple[Side, str | None]]:
    """Sides and coins; sells of all coins together where USD that name no coin are left."""
    pool_usd = any(one.usd > 0 and one.symbol is None for one in left)
    keys = {
        (one.side, None if pool_usd and one.side is Side.SELL else one.symbol) for one in charges
    }
    return sorted(keys, key=str)


# What no single execution explains


@dataclass(slots=True, kw_only=True)
class _Group:
    """Charges without a fee of days that belong together, and what was posted from these on."""

    first_day: date
    last_day: date
    charges: list[Charge]
    postings: list[FeeActivity]
    total: Decimal = Decimal(0)
    problem: str | None = None
    is_late: bool = False

    def with_earlier(self, other: _Group) -> _Group:
        return _Group(
            first_day=other.first_day,
            last_day=self.last_day,
            charges=[*other.charges, *self.charges],
            postings=[*other.postings, *self.postings],
        )

    def as_settlement(self, side: Side, symbol: str | None) -> FeeSettlement:
        return FeeSettlement(
            symbol=symbol, side=side, first_day=self.first_day, last_day=self.last_day,
            total=self.total, problem=self.problem, is_late=self.is_late,
        )  # fmt: skip


def _judge(
    side: Side,
    symbol: str | None,
    charges: Iterable[Charge],
    left: Iterable[FeeActivity],
    last_day: date,
    rates: FeeRates,
) -> list[_Group]:
    """The groups whose total is explained, and what remains, with its problem.

    Of days up to `last_day`: of later ones a part that is late would count as a discount. Fees of
    an evening can be posted on the day after: a day that has too little is tried together with the
    next.
    """
    groups = _days_that_belong_together([one for one in charges if not one.postings])
    strays = []
    for posting in left:
        if amount_of(posting, side) != 0 and (symbol is None or posting.symbol in (None, symbol)):
            strays += [] if _put(posting, groups) else [posting]
    judged: list[_Group] = []
    waiting: _Group | None = None
    for group in groups:
        if group.last_day > last_day:
            break
        together = group if waiting is None else group.with_earlier(waiting)
        for candidate in (together, group):
            _weigh(candidate, side, rates)
            if any(is_near(one, charge) for one in strays for charge in candidate.charges):
                # What is here may be a part of a fee whose other parts fit nothing.
                candidate.problem = "beside others that fit no execution"
                candidate.is_late = True
        if together.problem is None:
            judged.append(together)
            waiting = None
        elif waiting is not None and group.problem is None:
            judged += [waiting, group]
            waiting = None
        else:
            waiting = together
    # Nothing at all was posted: some accounts never are, and others not yet.
    return [one for one in [*judged, *([waiting] if waiting else [])] if one.total > 0]


def _days_that_belong_together(charges: Iterable[Charge]) -> list[_Group]:
    """By day; an order that was open over midnight ties its days together."""
    groups: list[_Group] = []
    for one in sorted(charges, key=lambda one: (one.since.date(), one.until.date(), one.order_id)):
        first, last = one.since.date(), one.until.date()
        if groups and first <= groups[-1].last_day:
            groups[-1].charges.append(one)
            groups[-1].last_day = max(groups[-1].last_day, last)
        else:
            groups.append(_Group(first_day=first, last_day=last, charges=[one], postings=[]))
    return groups


def _put(posting: FeeActivity, groups: Sequence[_Group]) -> bool:
    """To the newest days that it can have been posted for; whether there are any."""
    fitting = [one for one in groups if any(charge.can_have(posting) for charge in one.charges)]
    if fitting:
        fitting[-1].postings.append(posting)
    return bool(fitting)


def _weigh(group: _Group, side: Side, rates: FeeRates) -> None:
    """Compares what was posted with what both rates take."""
    with localcontext(prec=80):
        amounts = [amount_of(one, side) for one in group.postings]
        fees = [one.fee_at(rates.taker) for one in group.charges]
        weight = sum((one.weight for one in group.charges), Decimal(0))
        group.total = sum(amounts, Decimal(0))
        most = sum(fees, Decimal(0)) + _ROUNDING[side] * len(fees)
        group.problem, group.is_late = None, False
        if group.total > most:
            group.problem = "more than TAKER_FEE_PERCENT explains"
        elif group.total < weight * rates.both[-1] or (
            # Each for one execution, and not for all: what is missing may lie between the rates.
            len(amounts) < len(fees) and max(amounts, default=Decimal(0)) <= max(fees)
        ):
            group.problem = f"not the whole fees of {len(fees)} executions"
            group.is_late = True


def allot(total: Decimal, weights: Sequence[tuple[Name, Decimal]]) -> list[tuple[Name, Decimal]]:
    """`total` in proportion to the weights, to 18 places; the last takes the remainder."""
    whole = sum((weight for _, weight in weights), Decimal(0))
    shares: list[tuple[Name, Decimal]] = []
    with localcontext(prec=80):
        left = total
        for name, weight in weights[:-1]:
            share = (total * weight / whole).quantize(_STORED_STEP, rounding=ROUND_DOWN)
            shares.append((name, share))
            left -= share
        shares.append((weights[-1][0], left))
    return shares


# What is written


def _settlements(
    rows: dict[str, list[JournalEntry]],
    charges: Iterable[Charge],
    paid: dict[int, Decimal],
    last_day: date,
    rates: FeeRates,
) -> list[FeeSettlement]:
    """Of each coin and side the orders all of whose executions have their fee. Less than the
    taker's is believed once all can have been posted: it can be three fifths of it.
    """
    of_order = _grouped(charges, lambda charge: charge.order_id)
    groups: dict[tuple[Side, str], list[tuple[JournalEntry, Decimal]]] = {}
    for order_id, entries in rows.items():
        parts = of_order[order_id]
        is_finished = all(
            one.until.date() <= last_day
            if paid[id(one)] >= one.fee_at(rates.taker)
            else one.until.date() <= last_day - LATEST_POSTING
            for one in parts
        )
        if not is_finished or not all(paid[id(one)] for one in parts):
            continue
        total = sum((paid[id(one)] for one in parts), Decimal(0))
        shares = allot(total, [(entry, _weight(entry)) for entry in entries])
        groups.setdefault((entries[0].side, entries[0].symbol), []).extend(shares)
    settled = []
    for (side, symbol), shares in sorted(groups.items(), key=lambda item: str(item[0])):
        new = [(row, fee) for row, fee in shares if row.fee_is_estimated or _fee_of(row) != fee]
        if new:
            days = [row.ended_at.astimezone(UTC).date() for row, _ in new if row.ended_at]
            settled.append(
                FeeSettlement(
                    symbol=symbol,
                    side=side,
                    first_day=min(days),
                    last_day=max(days),
                    total=sum((fee for _, fee in new), Decimal(0)),
                    fees=tuple(SettledFee(row.client_order_id, fee) for row, fee in new),
                )
            )
    return settled


def _weight(row: JournalEntry) -> Decimal:
    with localcontext(prec=80):
        return row.filled_qty if row.side is Side.BUY else row.filled_usd


def _fee_of(row: JournalEntry) -> Decimal:
    return row.fee_qty if row.side is Side.BUY else row.fee_usd
