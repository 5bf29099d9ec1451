"""Which posted fee was charged for which execution. Pure.

A posting names no order, but it is what one of two rates takes of an execution, rounded up, and it
is not older than that. So each is matched by its amount and its time; where a fee was posted in
parts, by the sum of two or three. A match is exact to the last digit; what is left over on both
sides, fee_settlement judges as a whole, or leaves for a later run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal, localcontext
from itertools import combinations

from domain.fee_activity import FeeActivity
from domain.orders import Side
from strategy.fees import compute_coin_fee, compute_usd_fee

# Seen: 3.5 hours at most. Alpaca's documentation says the end of the day.
LATEST_POSTING = timedelta(days=2)
_CLOCK_SLACK = timedelta(seconds=5)
_MAX_PARTS = 3
_MAX_ASKED = 200  # charges that may change places, so that no search takes minutes
_MAX_LEFT_TO_COMBINE = 30  # 4,060 sums of three; so many are not parts of one fee


@dataclass(frozen=True, slots=True)
class FeeRates:
    """What an execution is charged, as fractions; the maker's is the lower one."""

    taker: Decimal
    maker: Decimal

    @property
    def both(self) -> tuple[Decimal, ...]:
        """The taker's first: the bot's orders are seldom a maker's."""
        return tuple(dict.fromkeys((self.taker, min(self.maker, self.taker))))


@dataclass(eq=False, slots=True, kw_only=True)
class Charge:
    """One execution and what was posted for it. `order_id` is the exchange's."""

    order_id: str
    symbol: str
    side: Side
    qty: Decimal
    price: Decimal
    since: datetime
    until: datetime
    postings: list[FeeActivity] = field(default_factory=list)

    @property
    def weight(self) -> Decimal:
        """What the fee is a percentage of: coins bought, USD received."""
        with localcontext(prec=80):
            return self.qty if self.side is Side.BUY else self.qty * self.price

    def fee_at(self, rate: Decimal) -> Decimal:
        """Coins of a buy, USD of a sell."""
        if self.side is Side.BUY:
            return compute_coin_fee(self.qty, rate)
        return compute_usd_fee(self.qty, self.price, rate)

    @property
    def paid(self) -> Decimal:
        return sum((amount_of(one, self.side) for one in self.postings), Decimal(0))

    def can_have(self, posting: FeeActivity) -> bool:
        """Whether unit, coin and time of `posting` fit."""
        if amount_of(posting, self.side) <= 0:
            return False
        if posting.symbol is not None and posting.symbol != self.symbol:
            return False
        if posting.posted_at is not None:
            return self.since - _CLOCK_SLACK <= posting.posted_at <= self.until + LATEST_POSTING
        return self.since.date() <= posting.day <= (self.until + LATEST_POSTING).date()


def amount_of(posting: FeeActivity, side: Side) -> Decimal:
    """Coins for a buy, USD for a sell."""
    return posting.coins if side is Side.BUY else posting.usd


def is_near(posting: FeeActivity, charge: Charge) -> bool:
    """Whether `posting` is a fee of that coin, side and time, though maybe of another execution."""
    if amount_of(posting, charge.side) <= 0 or posting.symbol not in (None, charge.symbol):
        return False
    days = LATEST_POSTING.days
    return -days <= (day_of(posting) - charge.until.date()).days <= days


def day_of(posting: FeeActivity) -> date:
    """When it was posted: `date` is mostly that day."""
    return posting.day if posting.posted_at is None else posting.posted_at.date()


def match_charges(
    charges: Iterable[Charge], posted: Iterable[FeeActivity], rates: FeeRates
) -> list[FeeActivity]:
    """Gives each charge the postings that are exactly its fee. Returns those that are left over.

    Two charges may change places where the amounts fit both: what all of them paid stays the same.
    A half of one taker's fee can be the maker's fee of another execution, so both ways are tried,
    and the one that leaves less over counts. A maker's fee is taken back while something is left
    over beside which it can be a part of a larger fee that is not posted in full yet.
    """
    in_time = sorted(charges, key=lambda one: (one.until, one.order_id))
    known = list(posted)
    ways = ((rates.both,), ((rates.taker,), rates.both))

    def leftovers(stages: Sequence[tuple[Decimal, ...]]) -> tuple[int, int]:
        left = _match(in_time, known, stages)
        return sum(not one.postings for one in in_time), len(left)

    left = _match(in_time, known, min(ways, key=leftovers))
    while doubtful := _find_doubtful(in_time, left, rates):
        for charge in doubtful:
            left += charge.postings
            charge.postings = []
    return left


def _match(
    charges: Sequence[Charge], posted: Iterable[FeeActivity], stages: Sequence[tuple[Decimal, ...]]
) -> list[FeeActivity]:
    """At the rates of one stage after the other: single postings, then the sums of a few."""
    left = list(posted)
    for charge in charges:
        charge.postings = []
    for rates in stages:
        matching = _Matching(left, rates)
        for charge in charges:
            if not charge.postings:
                matching.give_one(charge)
        left = matching.close()
        for parts in range(1, _MAX_PARTS + 1):
            for rate in rates:
                for charge in charges:
                    # Of one that has the maker's fee, too: it can be three fifths of the taker's.
                    missing = charge.fee_at(rate) - charge.paid
                    found = _find_parts(charge, missing, left, parts) if missing > 0 else []
                    charge.postings += found
                    left = _without(left, found)
        for charge in charges:
            left = _exchange_for_parts(charge, charges, left, rates[0])
    return left


def _exchange_for_parts(
    charge: Charge, charges: Sequence[Charge], left: list[FeeActivity], rate: Decimal
) -> list[FeeActivity]:
    """Gives `charge` the single posting that is its fee at `rate`, from one that can have parts
    instead. Returns what is left then.
    """
    fee = charge.fee_at(rate)
    if charge.paid == fee:
        return left
    for holder in charges:
        if holder is charge or len(holder.postings) != 1:
            continue
        [single] = holder.postings
        if amount_of(single, charge.side) != fee or not charge.can_have(single):
            continue
        free = [*left, *charge.postings]
        for parts in range(2, _MAX_PARTS + 1):
            if found := _find_parts(holder, holder.paid, free, parts):
                holder.postings, charge.postings = found, [single]
                return _without(free, found)
    return left


def _without(postings: Iterable[FeeActivity], taken: Iterable[FeeActivity]) -> list[FeeActivity]:
    gone = {id(one) for one in taken}
    return [one for one in postings if id(one) not in gone]


def _find_doubtful(
    charges: Sequence[Charge], left: Sequence[FeeActivity], rates: FeeRates
) -> list[Charge]:
    """Those with the maker's fee, while a posting of that time fits no charge, or a charge without
    any fee can have a part of theirs.
    """
    without = [one for one in charges if not one.postings and one.fee_at(rates.maker) > 0]
    return [
        charge
        for charge in charges
        if charge.postings
        and charge.paid != charge.fee_at(rates.taker)
        and (
            any(is_near(one, charge) for one in left)
            or any(
                other.side is charge.side and other.can_have(one)
                for other in without
                for one in charge.postings
            )
        )
    ]


class _Matching:
    """Charges and single postings, so that as many as possible fit."""

    def __init__(self, posted: Iterable[FeeActivity], rates: tuple[Decimal, ...]) -> None:
        self._posted = sorted(posted, key=lambda one: (day_of(one), str(one.posted_at), one.id))
        self._rates = rates
        self._by_amount: dict[tuple[Side, Decimal], list[FeeActivity]] = {}
        for one in self._posted:
            for side in Side:
                self._by_amount.setdefault((side, amount_of(one, side)), []).append(one)
        self._holder: dict[int, Charge] = {}  # by the identity of the posting

    def close(self) -> list[FeeActivity]:
        """Writes the postings into their charges. Returns those that no charge holds."""
        for one in self._posted:
            if (holder := self._holder.get(id(one))) is not None:
                holder.postings.append(one)
        return [one for one in self._posted if id(one) not in self._holder]

    def give_one(self, charge: Charge) -> None:
        """A free posting, or one whose holder can have another: 0.42 USD are 0.25 % of one sell
        and 0.15 % of the next.
        """
        asked = [charge]
        reached_by: dict[int, tuple[Charge, FeeActivity]] = {}
        for current in asked:
            fitting = self._fitting(current)
            free = next((one for one in fitting if id(one) not in self._holder), None)
            if free is not None:
                self._hand_down(current, free, reached_by)
                return
            for one in fitting:
                holder = self._holder[id(one)]
                if holder is not charge and id(holder) not in reached_by:
                    reached_by[id(holder)] = (current, one)
                    asked.append(holder)
            if len(asked) > _MAX_ASKED:
                return

    def _fitting(self, charge: Charge) -> list[FeeActivity]:
        """The taker's fee first, the earliest first."""
        fees = [fee for fee in map(charge.fee_at, self._rates) if fee > 0]
        same = (one for fee in fees for one in self._by_amount.get((charge.side, fee), ()))
        return [one for one in same if charge.can_have(one)]

    def _hand_down(
        self, charge: Charge, free: FeeActivity, reached_by: dict[int, tuple[Charge, FeeActivity]]
    ) -> None:
        """`charge` takes the free posting, and gives its own to whoever asked for it."""
        self._holder[id(free)] = charge
        while (step := reached_by.get(id(charge))) is not None:
            charge, given = step
            self._holder[id(given)] = charge


def _find_parts(
    charge: Charge, fee: Decimal, left: Sequence[FeeActivity], parts: int
) -> list[FeeActivity]:
    smaller = [one for one in left if amount_of(one, charge.side) <= fee and charge.can_have(one)]
    if len(smaller) <= _MAX_LEFT_TO_COMBINE:
        for some in combinations(smaller, parts):
            if sum(amount_of(one, charge.side) for one in some) == fee:
                return list(some)
    return []
