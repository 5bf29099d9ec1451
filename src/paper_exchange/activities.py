"""The account's activities.

One FILL for every execution, CFEE (coins) and FEE (USD) when fees are posted.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from . import errors
from .clock import NANOS, parse_time, utc_date
from .decimals import ZERO
from .fees import Fee
from .orders import Order, Side

MAX_PAGE_SIZE = 100
KINDS = ("FILL", "CFEE", "FEE")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionRecord:
    """One execution with its fee: the exchange's own memory of a trade."""

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
    """A fee that was taken at the trade and is put on the record at the end of the day.

    Moves no balance.
    """

    id: str
    kind: str
    date: date
    at_ns: int
    symbol: str
    qty: Decimal | None
    price: Decimal | None
    net_amount: Decimal


Activity = FillActivity | FeeActivity


class ActivityLog:
    def __init__(self) -> None:
        self.all: list[Activity] = []
        self.executions: list[ExecutionRecord] = []
        self._unposted: list[ExecutionRecord] = []

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

    def post_fees(self, new_id: Callable[[], str]) -> list[FeeActivity]:
        """Puts the fees of all executions since the last time on the record, by day of trade."""
        posted = [_fee_activity(one, new_id()) for one in self._unposted if one.fee != Fee()]
        self._unposted.clear()
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
            and (order_id is None or (one.kind == "FILL" and one.execution.order_id == order_id))
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


def _fee_activity(execution: ExecutionRecord, uuid_text: str) -> FeeActivity:
    day = utc_date(execution.at_ns)
    midnight_ns = parse_time(day.isoformat())
    in_coins = execution.side is Side.BUY
    return FeeActivity(
        id=f"{_stamp(midnight_ns)}::{uuid_text}",
        kind="CFEE" if in_coins else "FEE",
        date=day,
        at_ns=midnight_ns,
        symbol=execution.symbol,
        qty=-execution.fee.coins if in_coins else None,
        price=execution.price if in_coins else None,
        net_amount=ZERO if in_coins else -execution.fee.usd,
    )


def _stamp(at_ns: int) -> str:
    seconds, nanos = divmod(at_ns, NANOS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y%m%d%H%M%S}{nanos // 1_000_000:03d}"
