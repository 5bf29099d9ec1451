"""What a demo came to, and whether the bot kept its rules: its records against the exchange's.

Pure: records in, figures and verdicts out. Profit of a cycle = sell proceeds less their USD fees,
less what its buys cost; the fee on a buy is taken in coins and shows as coins that could not be
sold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, localcontext

from local_stack.demo_records import BotRecords, ExchangeRecords, Fill
from local_stack.demo_snapshot import FEE_RATE
from models.asset_config import DcaAsset
from models.cycle_data import CycleStatus, DcaCycle
from models.exchange import AssetRules, ExchangeOrder, Side
from models.order_journal import JournalEntry
from strategy.order_identity import parse_client_order_id
from strategy.sizing import is_dust

HALF_A_CENT = Decimal("0.005")
AVERAGE_PLACES = Decimal("1e-15")  # of the tables' 18: each fill may cost the last one
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One rule that must hold, whether it did, and what it looked at."""

    name: str
    holds: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetSummary:
    """One coin, or all of them together. USD; the open position at what it cost and its bid."""

    symbol: str
    cycles: int
    with_safety_orders: int
    orders: int
    journal_profit_usd: Decimal
    exchange_profit_usd: Decimal
    fees_usd: Decimal
    open_cost_usd: Decimal
    open_value_usd: Decimal

    @property
    def agrees(self) -> bool:
        return abs(self.journal_profit_usd - self.exchange_profit_usd) < HALF_A_CENT


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleSummary:
    """One cycle that bought something."""

    id: int
    symbol: str
    status: str
    quantity: Decimal
    average: Decimal
    safety_orders: int
    orders: int
    profit_usd: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    assets: tuple[AssetSummary, ...]
    total: AssetSummary
    cycles: tuple[CycleSummary, ...]
    checks: tuple[Check, ...]
    requests_peak_per_minute: int

    @property
    def is_well(self) -> bool:
        return all(check.holds for check in self.checks)


@dataclass(slots=True)
class _Cycle:
    """A cycle with what both sides say of it. Orders in the order of their seq."""

    row: DcaCycle
    asset: DcaAsset
    rules: AssetRules
    orders: list[ExchangeOrder] = field(default_factory=list)
    fills: dict[str, list[Fill]] = field(default_factory=dict)
    journal: list[JournalEntry] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        return self.row.status is CycleStatus.COMPLETE

    def exchange_profit(self) -> Decimal:
        return sum(
            (
                fill.usd - fill.fee if fill.side is Side.SELL else -fill.usd
                for fills in self.fills.values()
                for fill in fills
            ),
            _ZERO,
        )

    def journal_profit(self) -> Decimal:
        return sum(
            (
                entry.filled_usd - entry.fee_usd if entry.side is Side.SELL else -entry.filled_usd
                for entry in self.journal
            ),
            _ZERO,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What is known of the run besides the records."""

    requests_peak_per_minute: int
    requests_per_minute: int
    daemon_ran_to_the_end: bool
    open_checks: tuple[Check, ...] = ()


def summarise(bot: BotRecords, exchange: ExchangeRecords, around: Circumstances) -> Summary:
    """Figures and verdicts."""
    with localcontext(prec=60):
        cycles, strays = _cycles(bot, exchange)
        assets = tuple(
            _asset_summary(
                asset.asset_symbol,
                [cycle for cycle in cycles if cycle.asset.id == asset.id],
                exchange.bids,
            )
            for asset in bot.assets
        )
        total = _total(assets)
        return Summary(
            assets=assets,
            total=total,
            cycles=tuple(_cycle_summary(cycle) for cycle in cycles if cycle.orders),
            checks=(
                _profits_agree(assets, total, cycles),
                _cash_adds_up(exchange),
                _orders_are_claimed(cycles, strays),
                _cycles_match(cycles),
                _ladders_kept(cycles),
                _sells_accepted(bot),
                _requests_within_limit(around),
                _nothing_needed_a_person(bot, around),
                *around.open_checks,
            ),
            requests_peak_per_minute=around.requests_peak_per_minute,
        )


def _cycles(bot: BotRecords, exchange: ExchangeRecords) -> tuple[list[_Cycle], list[str]]:
    """Every cycle with its orders, fills and journal; and the orders that no cycle claims."""
    assets = {asset.id: asset for asset in bot.assets}
    cycles = {
        row.id: _Cycle(row, assets[row.asset_id], exchange.rules[assets[row.asset_id].asset_symbol])
        for row in bot.cycles
    }
    strays, owner = [], {}
    for order in exchange.orders:
        identity = parse_client_order_id(order.client_order_id)
        cycle = cycles.get(identity.cycle_id) if identity else None
        if (
            cycle is None
            or identity is None
            or cycle.row.order_key != identity.order_key
            or cycle.asset.asset_symbol != order.symbol
        ):
            strays.append(order.client_order_id)
            continue
        cycle.orders.append(order)
        owner[order.id] = cycle
    for fill in exchange.fills:
        if fill.order_id in owner:
            owner[fill.order_id].fills.setdefault(fill.order_id, []).append(fill)
    for entry in bot.journal:
        cycles[entry.cycle_id].journal.append(entry)
    for cycle in cycles.values():
        cycle.orders.sort(key=lambda order: _seq(order))
    return list(cycles.values()), strays


def _seq(order: ExchangeOrder) -> int:
    identity = parse_client_order_id(order.client_order_id)
    return identity.order_seq if identity else -1


# Figures


def _asset_summary(
    symbol: str, cycles: Iterable[_Cycle], bids: Mapping[str, Decimal]
) -> AssetSummary:
    cycles = list(cycles)
    complete = [cycle for cycle in cycles if cycle.is_complete]
    open_ones = [cycle for cycle in cycles if not cycle.is_complete]
    held = sum((cycle.row.quantity for cycle in open_ones), _ZERO)
    return AssetSummary(
        symbol=symbol,
        cycles=len(complete),
        with_safety_orders=sum(cycle.row.safety_orders > 0 for cycle in complete),
        orders=sum(len(cycle.orders) for cycle in cycles),
        journal_profit_usd=sum((cycle.journal_profit() for cycle in complete), _ZERO),
        exchange_profit_usd=sum((cycle.exchange_profit() for cycle in complete), _ZERO),
        fees_usd=sum(
            (
                fill.fee if fill.side is Side.SELL else fill.fee * fill.price
                for cycle in complete
                for fills in cycle.fills.values()
                for fill in fills
            ),
            _ZERO,
        ),
        open_cost_usd=sum(
            (cycle.row.quantity * cycle.row.average_purchase_price for cycle in open_ones), _ZERO
        ),
        open_value_usd=held * bids.get(symbol, _ZERO),
    )


def _total(assets: tuple[AssetSummary, ...]) -> AssetSummary:
    def usd(name: str) -> Decimal:
        return sum((getattr(asset, name) for asset in assets), _ZERO)

    return AssetSummary(
        symbol="total",
        cycles=sum(asset.cycles for asset in assets),
        with_safety_orders=sum(asset.with_safety_orders for asset in assets),
        orders=sum(asset.orders for asset in assets),
        journal_profit_usd=usd("journal_profit_usd"),
        exchange_profit_usd=usd("exchange_profit_usd"),
        fees_usd=usd("fees_usd"),
        open_cost_usd=usd("open_cost_usd"),
        open_value_usd=usd("open_value_usd"),
    )


def _cycle_summary(cycle: _Cycle) -> CycleSummary:
    return CycleSummary(
        id=cycle.row.id,
        symbol=cycle.asset.asset_symbol,
        status=cycle.row.status.value,
        quantity=cycle.row.quantity,
        average=cycle.row.average_purchase_price,
        safety_orders=cycle.row.safety_orders,
        orders=len(cycle.orders),
        profit_usd=cycle.journal_profit() if cycle.is_complete else None,
    )


# Verdicts


def _profits_agree(
    assets: tuple[AssetSummary, ...], total: AssetSummary, cycles: list[_Cycle]
) -> Check:
    wrong = [f"differs for {one.symbol}" for one in (*assets, total) if not one.agrees]
    estimated = sum(
        entry.fee_is_estimated and entry.filled_qty > 0
        for cycle in cycles
        for entry in cycle.journal
    )
    if estimated:
        wrong.append(f"{estimated} fees are still estimates")
    figures = f"{total.journal_profit_usd:.4f} and {total.exchange_profit_usd:.4f} USD"
    return Check(
        name="the bot's profit is, to the cent, what the exchange's fills and fees say",
        holds=not wrong,
        detail="; ".join([figures, *wrong]),
    )


def _cash_adds_up(exchange: ExchangeRecords) -> Check:
    """Fills and fees explain every dollar that the account gained or lost."""
    moved = sum(
        (fill.usd - fill.fee if fill.side is Side.SELL else -fill.usd for fill in exchange.fills),
        _ZERO,
    )
    missing = exchange.cash - exchange.cash_at_start - moved
    return Check(
        name="the account's cash moved by these fills and fees and nothing else",
        holds=abs(missing) < HALF_A_CENT and exchange.unpaired_fees == 0,
        detail=f"{len(exchange.fills)} fills, {missing:.4f} USD unexplained"
        + (f", {exchange.unpaired_fees} fees without a fill" if exchange.unpaired_fees else ""),
    )


def _orders_are_claimed(cycles: list[_Cycle], strays: list[str]) -> Check:
    """One order for each state of a cycle, and none that the bot does not know."""
    wrong = [f"{client_id} belongs to no cycle" for client_id in strays]
    count = 0
    for cycle in cycles:
        seqs = [_seq(order) for order in cycle.orders]
        count += len(seqs)
        ended = sum(order.is_ended for order in cycle.orders)
        if seqs != list(range(len(seqs))):
            wrong.append(f"cycle {cycle.row.id} has orders {seqs}")
        if ended != cycle.row.order_seq or ended != len({e.order_seq for e in cycle.journal}):
            wrong.append(f"cycle {cycle.row.id}: {ended} ended orders, {cycle.row.order_seq} known")
    return Check(
        name="every order belongs to one state of one cycle and is in the journal",
        holds=not wrong,
        detail="; ".join(wrong[:3]) or f"{count} orders",
    )


def _cycles_match(cycles: list[_Cycle]) -> Check:
    wrong = [text for cycle in cycles if (text := _difference(cycle))]
    bought = sum(bool(cycle.orders) for cycle in cycles)
    return Check(
        name="quantity, average and safety orders of every cycle are the exchange's fills",
        holds=not wrong,
        detail="; ".join(wrong[:3]) or f"{bought} cycles",
    )


def _difference(cycle: _Cycle) -> str | None:
    """The cycle computed anew from the exchange's fills, where it is not what the bot remembers."""
    quantity, average, safety_orders = _ZERO, _ZERO, 0
    ended = [order for order in cycle.orders if order.is_ended]
    for order in ended:
        fills = cycle.fills.get(order.id, [])
        filled = sum((fill.qty for fill in fills), _ZERO)
        if filled != order.filled_qty:
            return f"cycle {cycle.row.id}: fills of {order.client_order_id} do not add up"
        if order.side is Side.SELL:
            if not (cycle.is_complete and order is ended[-1]):  # the last one leaves the figures
                quantity -= filled
            continue
        if filled and not is_dust(filled, cycle.rules, FEE_RATE):
            safety_orders += not is_dust(quantity, cycle.rules, FEE_RATE)
        if filled:
            assert order.filled_avg_price is not None, "a filled order has a price"
            cost = average * quantity + order.filled_avg_price * filled
            quantity += filled
            average = cost / quantity
    row = cycle.row
    if quantity != row.quantity:
        return f"cycle {row.id}: quantity {row.quantity:f}, fills {quantity:f}"
    if abs(average - row.average_purchase_price) > AVERAGE_PLACES:
        return f"cycle {row.id}: average {row.average_purchase_price:f}, fills {average:f}"
    if safety_orders != row.safety_orders:
        return f"cycle {row.id}: {row.safety_orders} safety orders, fills {safety_orders}"
    return None


def _ladders_kept(cycles: list[_Cycle]) -> Check:
    """What a buy could have cost at its limit, on top of what was filled before it."""
    wrong, largest = [], _ZERO
    for cycle in cycles:
        filled = _ZERO
        for order in (order for order in cycle.orders if order.side is Side.BUY):
            committed = filled + (order.qty or _ZERO) * (order.limit_price or _ZERO)
            largest = max(largest, committed / cycle.asset.ladder_usd)
            if committed > cycle.asset.ladder_usd:
                wrong.append(f"cycle {cycle.row.id}: {committed:.2f} USD")
            filled += sum((fill.usd for fill in cycle.fills.get(order.id, [])), _ZERO)
    return Check(
        name="filled plus open buys never exceeded the base order plus all safety orders",
        holds=not wrong,
        detail="; ".join(wrong[:3]) or f"at most {largest:.0%} of a ladder was used",
    )


def _sells_accepted(bot: BotRecords) -> Check:
    wrong = [line for line in bot.refused_sells if "insufficient balance" in line]
    return Check(
        name="no take profit was refused for insufficient balance",
        holds=not wrong,
        detail=wrong[0] if wrong else f"{len(bot.refused_sells)} sells refused for any reason",
    )


def _requests_within_limit(around: Circumstances) -> Check:
    return Check(
        name="the bot and its caretakers stayed within the requests allowed",
        holds=around.requests_peak_per_minute <= around.requests_per_minute,
        detail=f"peak {around.requests_peak_per_minute} in a minute,"
        f" {around.requests_per_minute} allowed",
    )


def _nothing_needed_a_person(bot: BotRecords, around: Circumstances) -> Check:
    detail = bot.errors[0] if bot.errors else "no ERROR in the logs"
    if not around.daemon_ran_to_the_end:
        detail = f"the daemon did not trade at the end; {detail}"
    return Check(
        name="the bot traded to the end and needed nobody",
        holds=not bot.errors and around.daemon_ran_to_the_end,
        detail=detail,
    )
