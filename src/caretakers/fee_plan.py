"""What the exchange posted as fees, allotted to the orders that paid them. Pure.

Posted fees name a day and mostly a coin, never an order. So the total of a day is divided over that
day's orders in the journal, in proportion to what they filled; the last row takes the rest, so that
the rows add up to the total in every digit. Coins pay for buys, USD for sells. USD fees that do not
say for which coin they were taken are divided over the sells of all coins.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_DOWN, Decimal, localcontext

from models.exchange import Side
from models.fee_activity import FeeActivity
from models.order_journal import JournalEntry

# Fees were seen to be posted up to four hours after the trade: then a day's total is complete.
POSTING_TIME = timedelta(hours=6)
_STORED_STEP = Decimal("1e-18")  # DECIMAL(36,18) of the journal
# More than this was not taken from our orders alone. Every fill is rounded up, to the cent in USD.
_MOST_OF_ESTIMATE = Decimal("1.2")
_ROUNDING_PER_ROW = {Side.BUY: Decimal("1e-7"), Side.SELL: Decimal("0.10")}


@dataclass(frozen=True, slots=True)
class SettledFee:
    """What one row of the journal paid: coins for a buy, USD for a sell."""

    client_order_id: str
    fee: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeSettlement:
    """The fees of one side on one symbol (None: of all) over some days that hang together.

    With `implausible` nothing is to be written: more was posted than our orders can have cost.
    """

    symbol: str | None
    side: Side
    first_day: date
    last_day: date
    total: Decimal
    fees: tuple[SettledFee, ...] = ()
    implausible: bool = False

    @property
    def reason(self) -> str:
        unit = "USD" if self.side is Side.SELL else "coins"
        days = f"{self.first_day}" + (
            f" to {self.last_day}" if self.last_day != self.first_day else ""
        )
        posted = f"{self.total.normalize():f} {unit} were posted for the {self.side}s of {days}"
        return f"{posted}, more than TAKER_FEE_PERCENT explains" if self.implausible else posted


def last_settled_day(now: datetime) -> date:
    """The newest UTC day whose fees have all been posted."""
    return (now.astimezone(UTC) - POSTING_TIME).date() - timedelta(days=1)


def plan_fee_settlements(
    entries: Iterable[JournalEntry],
    posted: Sequence[FeeActivity],
    *,
    now: datetime,
    fee_rate: Decimal,
) -> list[FeeSettlement]:
    """What is to be written so that the journal says what was posted; nothing where it does.

    `entries` are all filled orders of the days that `posted` covers, settled ones too.
    """
    filled = [entry for entry in entries if entry.filled_qty > 0 and entry.ended_at is not None]
    pool_usd = any(fee.usd > 0 and fee.symbol is None for fee in posted)
    groups: dict[tuple[Side, str | None], list[JournalEntry]] = {}
    for entry in filled:
        if entry.symbol.endswith("/USD"):  # elsewhere a sell's fee is taken in another coin
            pooled = entry.side is Side.SELL and pool_usd
            key = (entry.side, None if pooled else entry.symbol)
            groups.setdefault(key, []).append(entry)
    planned = []
    for (side, symbol), rows in sorted(groups.items(), key=str):
        for days, together in _days_that_hang_together(rows):
            if days[1] <= last_settled_day(now):
                planned.append(_settle(side, symbol, days, together, posted, fee_rate))
    return [one for one in planned if one is not None]


def _days_that_hang_together(
    rows: list[JournalEntry],
) -> list[tuple[tuple[date, date], list[JournalEntry]]]:
    """Rows by day; an order that was open over midnight ties its days together."""
    parts: list[tuple[tuple[date, date], list[JournalEntry]]] = []
    for row in sorted(rows, key=lambda row: (_first_day(row), _last_day(row), row.client_order_id)):
        if parts and _first_day(row) <= parts[-1][0][1]:
            (first, last), together = parts[-1]
            parts[-1] = ((first, max(last, _last_day(row))), [*together, row])
        else:
            parts.append(((_first_day(row), _last_day(row)), [row]))
    return parts


def _last_day(row: JournalEntry) -> date:
    assert row.ended_at is not None, "rows without an end were left out"
    return row.ended_at.astimezone(UTC).date()


def _first_day(row: JournalEntry) -> date:
    started = row.submitted_at or row.ended_at
    assert started is not None, "rows without an end were left out"
    return min(started.astimezone(UTC).date(), _last_day(row))


def _settle(
    side: Side,
    symbol: str | None,
    days: tuple[date, date],
    rows: list[JournalEntry],
    posted: Sequence[FeeActivity],
    fee_rate: Decimal,
) -> FeeSettlement | None:
    total = sum(
        (
            fee.coins if side is Side.BUY else fee.usd
            for fee in posted
            if days[0] <= fee.day <= days[1] and (symbol is None or fee.symbol == symbol)
        ),
        Decimal(0),
    )
    if total <= 0:
        return None
    settlement = FeeSettlement(
        symbol=symbol, side=side, first_day=days[0], last_day=days[1], total=total
    )
    if not _is_plausible(total, side, rows, fee_rate):
        return replace(settlement, implausible=True)
    by_id = {row.client_order_id: row for row in rows}
    fees = tuple(
        fee
        for fee in allot(total, [(row.client_order_id, _weight(row)) for row in rows])
        if by_id[fee.client_order_id].fee_is_estimated
        or _fee_of(by_id[fee.client_order_id]) != fee.fee
    )
    return replace(settlement, fees=fees) if fees else None


def allot(total: Decimal, weights: Sequence[tuple[str, Decimal]]) -> list[SettledFee]:
    """`total` in proportion to the weights, to 18 places; the last takes the rest."""
    whole = sum((weight for _, weight in weights), Decimal(0))
    shares: list[SettledFee] = []
    with localcontext(prec=80):
        left = total
        for name, weight in weights[:-1]:
            share = (total * weight / whole).quantize(_STORED_STEP, rounding=ROUND_DOWN)
            shares.append(SettledFee(name, share))
            left -= share
        shares.append(SettledFee(weights[-1][0], left))
    return shares


def _weight(row: JournalEntry) -> Decimal:
    """What the fee is a percentage of: coins bought, USD received."""
    with localcontext(prec=80):
        return row.filled_qty if row.side is Side.BUY else row.filled_usd


def _fee_of(row: JournalEntry) -> Decimal:
    return row.fee_qty if row.side is Side.BUY else row.fee_usd


def _is_plausible(total: Decimal, side: Side, rows: list[JournalEntry], fee_rate: Decimal) -> bool:
    estimate = sum((_weight(row) for row in rows), Decimal(0)) * fee_rate
    if estimate <= 0:
        return False
    return total <= estimate * _MOST_OF_ESTIMATE + _ROUNDING_PER_ROW[side] * len(rows)
