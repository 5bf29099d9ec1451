"""Everything that a decision about one asset needs, read together. A frozen record; no I/O."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache

from domain.asset import DcaAsset
from domain.cycle import CycleStatus, DcaCycle
from domain.records import Record


@lru_cache(maxsize=256)
def seconds_long(seconds: int) -> timedelta:
    """Kept: making one takes longer than adding it."""
    return timedelta(seconds=seconds)


class TradingState(Record, frozen=True, kw_only=True):
    """One asset with its latest cycle.

    `bought_usd` and `coin_fees` are sums over the ended buys of the cycle in the journal, so orders
    that were written into the tables by hand count as nothing there. `other_symbol` is what the
    fills of the cycle (or of the one before a cooldown) name instead of the asset's symbol: the
    asset was renamed meanwhile. `leftover`: coins that earlier cycles bought and could not sell;
    read by `with_leftovers` only. `below_stop_seconds`: for how long every bid has been at or below
    the stop loss, in memory only (see strategy.exits); None: it is not, or nobody watched.
    """

    asset: DcaAsset
    cycle: DcaCycle
    previous_status: CycleStatus | None = None
    previous_completed_at: datetime | None = None
    bought_usd: Decimal = Decimal(0)
    coin_fees: Decimal = Decimal(0)
    other_symbol: str | None = None
    leftover: Decimal = Decimal(0)
    previous_stop_loss: bool = False  # the previous cycle ended by its stop loss
    below_stop_seconds: float | None = None

    def foreign_coins(self, position_qty: Decimal) -> Decimal:
        """Of the coins in the account those that neither the cycle bought nor earlier ones left.
        Dust of this cycle and of those before it is ours: it goes with the next sale.
        """
        return position_qty - self.cycle.quantity - self.leftover

    @property
    def cooldown_until(self) -> datetime | None:
        """When the cooldown after the previous cycle is over; None without one."""
        if self.previous_completed_at is None:
            return None
        return self.previous_completed_at + seconds_long(self.asset.cooldown_period)
