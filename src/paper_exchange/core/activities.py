"""The account's activities: a FILL for every execution, CFEE (coins) and FEE (USD) for its fee."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from paper_exchange.core import errors
from paper_exchange.core.clock import NANOS, parse_time, utc_date
from paper_exchange.core.decimals import ZERO, floor_to
from paper_exchange.core.fees import COIN_INCREMENT, USD_CENT, Fee
from paper_exchange.core.orders import Order, Side
from paper_exchange.faults.armed import FaultBoard
from paper_exchange.faults.table import Seam

MAX_PAGE_SIZE = 100
KINDS = ("FILL", "CFEE", "FEE")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionRecord:
    """One execution with its fee."""

    execution_id: str
    order_id: str
    client_order_id: str
    symbol: str
    side: Side
    qty: Decimal
    price: Decimal
    fee: Fee
    is_maker: bool
    at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FillActivity:
    id: str
    execution: ExecutionRecord
    order_status: str
    cum_qty: Decimal
    leaves_qty: Decimal
    is_final: bool
    kind: str = "FILL"

    @property
    def at_ns(self) -> int:
        return self.execution.at_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeActivity:
    """A fee that was taken at the trade and is posted later, at times in parts. Moves no balance.

    `created_ns`: when it was posted; `date` is that day, and `at_ns` its midnight. `symbol` None: a
    fee in USD that does not name its coin.
    """

    id: str
    kind: str
    date: date
    at_ns: int
    created_ns: int
    symbol: str | None
    qty: Decimal | None
    price: Decimal | None
    net_amount: Decimal


Activity = FillActivity | FeeActivity


class ActivityLog:
    def __init__(self) -> None:
        self.all: list[Activity] = []
        self.executions: list[ExecutionRecord] = []
        self._unposted: list[ExecutionRecord] = []
        self._late: list[_Posting] = []

    def record_fill(self, execution: ExecutionRecord, order: Order, *, is_final: bool) -> None:
        leaves = ZERO if is_final or order.qty is None else order.qty - order.filled_qty
        self.executions.append(execution)
        self._unposted.append(execution)
        self.all.append(
            FillActivity(
                id=f"{_stamp(execution.at_ns)}::{execution.execution_id}",
                execution=execution,
                order_status=order.status.value,
                cum_qty=order.filled_qty,
                leaves_qty=leaves,
                is_final=is_final,
            )
        )

    def post_fees(
        self, now_ns: int, faults: FaultBoard, new_id: Callable[[], str]
    ) -> list[FeeActivity]:
        """Posts the fees of all executions since the last time, and late ones that are due."""
        fresh = [part for one in self._unposted for part in _postings(one, faults)]
        self._unposted.clear()
        waiting = [*self._late, *fresh]
        self._late = [one for one in waiting if one.created_ns > now_ns]
        posted = [_fee_activity(one, new_id()) for one in waiting if one.created_ns <= now_ns]
        self.all.extend(posted)
        return posted

    def page(
        self,
        *,
        kinds: Collection[str],
        order_id: str | None = None,
        after_ns: int | None = None,
        until_ns: int | None = None,
        day: date | None = None,
        descending: bool = True,
        page_size: int = MAX_PAGE_SIZE,
        page_token: str | None = None,
    ) -> Sequence[Activity]:
        """A page of activities; the token is the id of the last one of the page before."""
        found = [
            one
            for one in self.all
            if one.kind in kinds
            and (
                order_id is None
                or (isinstance(one, FillActivity) and one.execution.order_id == order_id)
            )
            and (after_ns is None or one.at_ns > after_ns)
            and (until_ns is None or one.at_ns < until_ns)
            and (day is None or utc_date(one.at_ns) == day)
        ]
        if descending:
            found.reverse()
        start = 0
        if page_token:
            index = next((i for i, one in enumerate(found) if one.id == page_token), None)
            if index is None:
                raise errors.invalid("invalid page_token")
            start = index + 1
        return found[start : start + page_size]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Posting:
    """A fee, or a part of one, that is not posted yet."""

    execution: ExecutionRecord
    fee: Fee
    created_ns: int
    days_off: int = 0
    is_unnamed: bool = False


def _postings(execution: ExecutionRecord, faults: FaultBoard) -> Iterable[_Posting]:
    """In one piece on the day of the trade, unless faults apply."""
    if execution.fee == Fee():
        return []
    parts = [_Posting(execution=execution, fee=execution.fee, created_ns=execution.at_ns)]
    facts = {
        "symbol": execution.symbol,
        "side": execution.side.value,
        "order_id": execution.order_id,
        "client_order_id": execution.client_order_id,
    }
    for fault in faults.visit(Seam.FEE_POSTING, **facts):
        late_ns = round(fault.seconds * NANOS) if "seconds" in fault.parameters else 0
        match fault.name:
            case "fee_late":
                parts = [replace(one, created_ns=one.created_ns + late_ns) for one in parts]
            case "fee_split":
                fraction = fault.number("fraction")
                parts = [half for one in parts for half in _halves(one, fraction, late_ns)]
            case "fee_misdated":
                days = int(fault.number("days"))
                parts = [*parts[:-1], replace(parts[-1], days_off=days)]
            case "fee_unnamed":
                parts = [replace(one, is_unnamed=True) for one in parts]
            case name:
                raise AssertionError(f"{name} is no fault of fees")
    return parts


def _halves(whole: _Posting, fraction: Decimal, later_ns: int) -> list[_Posting]:
    """Cut to what can be posted: whole cents, nine places of a coin."""
    coins = floor_to(whole.fee.coins * fraction, COIN_INCREMENT)
    usd = floor_to(whole.fee.usd * fraction, USD_CENT)
    rest = Fee(whole.fee.coins - coins, whole.fee.usd - usd)
    halves = [
        replace(whole, fee=Fee(coins, usd)),
        replace(whole, fee=rest, created_ns=whole.created_ns + later_ns),
    ]
    return [one for one in halves if one.fee != Fee()]


def _fee_activity(posting: _Posting, uuid_text: str) -> FeeActivity:
    execution = posting.execution
    day = utc_date(posting.created_ns) + timedelta(days=posting.days_off)
    midnight_ns = parse_time(day.isoformat())
    in_coins = execution.side is Side.BUY
    is_unnamed = posting.is_unnamed and not in_coins
    return FeeActivity(
        id=f"{_stamp(midnight_ns)}::{uuid_text}",
        kind="CFEE" if in_coins or is_unnamed else "FEE",
        date=day,
        at_ns=midnight_ns,
        created_ns=posting.created_ns,
        symbol=None if is_unnamed else execution.symbol,
        qty=-posting.fee.coins if in_coins else None,
        price=execution.price if in_coins else None,
        net_amount=ZERO if in_coins else -posting.fee.usd,
    )


def _stamp(at_ns: int) -> str:
    seconds, nanos = divmod(at_ns, NANOS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y%m%d%H%M%S}{nanos // 1_000_000:03d}"
