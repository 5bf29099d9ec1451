"""The evidence of every cycle: the exchange's orders and fills beside the bot's rows.

Pure: records in, records out. Which cycle an order belongs to is worked out here, from the order
itself, and not taken from the bot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from domain.asset import DcaAsset
from domain.cycle import CycleStatus, DcaCycle
from domain.journal import JournalEntry
from domain.market import AssetRules
from domain.orders import ExchangeOrder, Side
from domain.wire import time_from_wire
from strategy.order_identity import OrderIdentity, parse_client_order_id

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution, with its fee: USD for a sell, coins for a buy."""

    order_id: str
    symbol: str
    side: Side
    qty: Decimal
    price: Decimal
    fee: Decimal

    @property
    def usd(self) -> Decimal:
        return self.qty * self.price


@dataclass(frozen=True, slots=True)
class OrderStep:
    """One thing that happened to an order; `qty` and `price` when it was a fill."""

    order_id: str
    event: str
    at: datetime
    qty: Decimal = _ZERO
    price: Decimal = _ZERO

    @classmethod
    def from_ledger(cls, raw: Mapping[str, Any]) -> OrderStep:
        return cls(
            order_id=raw["order_id"],
            event=raw["event"],
            at=time_from_wire(raw["at"], "at"),
            qty=Decimal(raw["qty"] or 0),
            price=Decimal(raw["price"] or 0),
        )

    @property
    def usd(self) -> Decimal:
        return self.qty * self.price


@dataclass(frozen=True, slots=True)
class Extremes:
    """The bids that were sent of a symbol since a buy on it filled last."""

    lowest: Decimal
    highest: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What exchange and database say. Orders and steps in the order in which they happened, the
    journal in the order of writing. `booked_at`: when the last row of an order (by Alpaca's id) was
    written.
    """

    assets: tuple[DcaAsset, ...]
    rows: tuple[DcaCycle, ...]
    journal: tuple[JournalEntry, ...]
    orders: tuple[ExchangeOrder, ...]
    fills: tuple[Fill, ...]
    steps: tuple[OrderStep, ...]
    rules: Mapping[str, AssetRules]
    fee_rate: Decimal
    booked_at: Mapping[str, datetime] = field(default_factory=dict)
    shrunk_symbols: frozenset[str] = frozenset()  # coins were taken behind the bot's back
    taken: Mapping[str, Decimal] = field(default_factory=dict)  # how many, by symbol
    # By order id of a sell: the bids sent so shortly before it that the bot may decide on them. A
    # sell that is missing here was not watched.
    quotes_sent: Mapping[str, tuple[Decimal, ...]] = field(default_factory=dict)
    extremes_sent: Mapping[str, Extremes] = field(default_factory=dict)  # by order id of a sell
    stops_fired: Mapping[int, tuple[datetime, ...]] | None = None  # by cycle; None: not read


@dataclass(slots=True)
class CycleEvidence:
    """One cycle: its row, its journal, and the exchange's orders (in order), fills and steps."""

    row: DcaCycle
    asset: DcaAsset
    rules: AssetRules
    orders: list[ExchangeOrder] = field(default_factory=list)
    fills: dict[str, list[Fill]] = field(default_factory=dict)
    steps: list[OrderStep] = field(default_factory=list)
    journal: list[JournalEntry] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        return self.row.status is CycleStatus.COMPLETE

    @property
    def symbol(self) -> str:
        return self.asset.asset_symbol

    def filled_qty(self, order: ExchangeOrder) -> Decimal:
        return sum((fill.qty for fill in self.fills.get(order.id, ())), _ZERO)

    def filled_usd(self, order: ExchangeOrder) -> Decimal:
        return sum((fill.usd for fill in self.fills.get(order.id, ())), _ZERO)

    def journaled(self, order: ExchangeOrder) -> list[JournalEntry]:
        return [entry for entry in self.journal if entry.alpaca_order_id == order.id]


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedEvidence:
    """Every cycle with its evidence, and what belongs to no cycle."""

    cycles: tuple[CycleEvidence, ...]
    stray_orders: tuple[ExchangeOrder, ...]
    stray_fills: tuple[Fill, ...]
    stray_entries: tuple[JournalEntry, ...]


def match_evidence(evidence: Evidence) -> MatchedEvidence:
    """Find the cycle of each order by its client_order_id, of a replacement by its original."""
    assets = {asset.id: asset for asset in evidence.assets}
    cycles: dict[int, CycleEvidence] = {}
    for row in evidence.rows:
        asset = assets[row.asset_id]
        cycles[row.id] = CycleEvidence(row, asset, evidence.rules[asset.asset_symbol])
    strays: list[ExchangeOrder] = []
    owner: dict[str, CycleEvidence] = {}
    heirs: dict[str, CycleEvidence] = {}
    for order in evidence.orders:
        identity = parse_client_order_id(order.client_order_id)
        cycle = heirs.get(order.id) or (cycles.get(identity.cycle_id) if identity else None)
        if cycle is None or not (order.id in heirs or _claims(cycle, order, identity)):
            strays.append(order)
            continue
        cycle.orders.append(order)
        owner[order.id] = cycle
        if order.replaced_by:
            heirs[order.replaced_by] = cycle
    stray_fills = []
    for fill in evidence.fills:
        if fill.order_id in owner:
            owner[fill.order_id].fills.setdefault(fill.order_id, []).append(fill)
        else:
            stray_fills.append(fill)
    for step in evidence.steps:
        if step.order_id in owner:
            owner[step.order_id].steps.append(step)
    stray_entries = []
    for entry in evidence.journal:
        if entry.cycle_id in cycles:
            cycles[entry.cycle_id].journal.append(entry)
        else:
            stray_entries.append(entry)
    return MatchedEvidence(
        cycles=tuple(cycles.values()),
        stray_orders=tuple(strays),
        stray_fills=tuple(stray_fills),
        stray_entries=tuple(stray_entries),
    )


def _claims(cycle: CycleEvidence, order: ExchangeOrder, identity: OrderIdentity | None) -> bool:
    return (
        identity is not None
        and cycle.row.order_key == identity.order_key
        and cycle.symbol == order.symbol
    )


def fills_of_ledger(executions: Iterable[Mapping[str, Any]]) -> tuple[Fill, ...]:
    """The exchange's own records of its trades."""
    return tuple(
        Fill(
            order_id=raw["order_id"],
            symbol=raw["symbol"],
            side=Side(raw["side"]),
            qty=Decimal(raw["qty"]),
            price=Decimal(raw["price"]),
            fee=Decimal(raw["fee_coins" if raw["side"] == "buy" else "fee_usd"]),
        )
        for raw in executions
    )
