"""Making a cycle of coins that no cycle claims: after a lost database, or a sale by hand that left
some.

Owns: that coins are never claimed twice. The exchange is asked before, and again right before the
cycle is written; every order of the bot must be in the journal, and none may be open.

A cycle's quantity is 'as filled', before the coin fee; Alpaca's position is what the fee left. So
the quantity is computed from the position, and the journal's row of the adoption has the difference
as its fee. From that row (final status 'adopted'; the exchange has no such order) reports know what
the coins cost, and the ladder what of its budget they have used.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Context, Decimal, localcontext

from mysql.connector.abstracts import MySQLConnectionAbstract

from config import Settings
from domain.asset import DcaAsset
from domain.cycle import CycleStatus, DcaCycle
from domain.events import EventKind
from domain.journal import ADOPTED, JournalEntry, Purpose
from domain.market import Position
from domain.orders import Side
from domain.trading_state import TradingState
from models.cycle_data import create_cycle, get_cycle, lock_cycle, update_cycle
from models.order_journal import append_journal_entry, load_leftovers
from models.trading_state import load_trading_state
from operations.asset_changes import load_open_cycle, note_change
from operations.preview import MarketView, load_market_view
from operations.refused import Refused
from strategy.asset_checks import find_renaming, find_sale_problems
from strategy.cycle_plan import CyclePlan, plan_cycle
from strategy.exits import compute_take_profit_price, describe_due_stop
from strategy.fees import compute_qty_before_fee
from strategy.ladder import count_safety_orders_paid
from strategy.order_identity import compute_client_order_id
from strategy.sizing import is_dust, is_unsellable
from utils.alpaca_client_rest import get_trading_client
from utils.alpaca_queries import fetch_order_by_client_id
from utils.db_utils import thread_connection, transaction
from utils.formatting import number, price
from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """Coins that can be adopted, the cycle that will hold them (None: a new one), and the bid."""

    asset: DcaAsset
    cycle: DcaCycle | None
    position_qty: Decimal
    quantity: Decimal
    average_price: Decimal
    safety_orders: int
    bid: Decimal

    @property
    def warnings(self) -> list[str]:
        """What the user must know before the coins are the bot's."""
        target = compute_take_profit_price(self.asset, self.average_price)
        stopped = describe_due_stop(self.asset, self.as_state().cycle, self.bid)
        if stopped is not None:
            return [stopped]
        if self.bid < target:
            return []
        return [
            f"the bid of {price(self.bid)} USD is at or above the cycle's take profit of"
            f" {price(target)} USD: a running bot sells these coins at once"
        ]

    @property
    def cost_usd(self) -> Decimal:
        return self.quantity * self.average_price

    @property
    def coin_fee(self) -> Decimal:
        return self.quantity - self.position_qty

    def as_state(self) -> TradingState:
        """The cycle as it will be, for its plan."""
        cycle = DcaCycle(
            id=0,
            asset_id=self.asset.id,
            status=CycleStatus.WATCHING,
            quantity=self.quantity,
            average_purchase_price=self.average_price,
            last_order_fill_price=self.average_price,
            base_order_price=self.average_price,
            safety_orders=self.safety_orders,
        )
        return TradingState(
            asset=self.asset, cycle=cycle, bought_usd=self.cost_usd, coin_fees=self.coin_fee
        )


def prepare_adoption(
    settings: Settings, connection: MySQLConnectionAbstract, asset: DcaAsset
) -> tuple[Adoption, CyclePlan]:
    """What would be adopted, and how the cycle would go on.

    Raises:
        Refused: when there is nothing to adopt, or something else may claim it.
        ExchangeError, DatabaseError: not known now.
    """
    cycle = load_open_cycle(connection, asset)
    state = load_trading_state(connection, asset.asset_symbol)
    if state is not None and (problem := find_renaming(state)):
        raise Refused(f"{asset.asset_symbol} cannot adopt anything: {problem}")
    view = load_market_view(settings, asset.asset_symbol)
    _check_nothing_claims(settings, asset, cycle, view)
    position = _checked_position(connection, asset, view)
    with localcontext(Context(prec=60)):
        quantity = compute_qty_before_fee(position.qty, settings.taker_fee_rate)
        cost_usd = quantity * position.average_entry_price
    adoption = Adoption(
        asset=asset,
        cycle=cycle,
        position_qty=position.qty,
        quantity=quantity,
        average_price=position.average_entry_price,
        safety_orders=count_safety_orders_paid(asset, cost_usd),
        bid=view.quote.bid,
    )
    fee_rate, state = settings.taker_fee_rate, adoption.as_state()
    plan = plan_cycle(asset, view.rules, fee_rate, view.quote.ask, open_cycle=state)
    if too_large := find_sale_problems(plan):
        raise Refused(f"{too_large[0].text}; or sell a part of the coins by hand first")
    return adoption, plan


def _check_nothing_claims(
    settings: Settings, asset: DcaAsset, cycle: DcaCycle | None, view: MarketView
) -> None:
    symbol = asset.asset_symbol
    if cycle is not None and not is_dust(cycle.quantity, view.rules, settings.taker_fee_rate):
        raise Refused(
            f"the open cycle of {symbol} already holds {number(cycle.quantity)} coins:"
            f" see scripts/assets show {symbol}"
        )
    if view.own_open_orders or (cycle is not None and cycle.latest_order_id is not None):
        raise Refused(f"an order on {symbol} is open: wait until it has ended, or cancel it")
    if cycle is None:
        return
    # A fill that is not booked yet would be counted twice.
    identity = compute_client_order_id(cycle)
    if fetch_order_by_client_id(get_trading_client(), identity) is not None:
        raise Refused(
            f"the bot's order {identity} is not booked yet: let the bot run until it is,"
            " then try again"
        )


def _checked_position(
    connection: MySQLConnectionAbstract, asset: DcaAsset, view: MarketView
) -> Position:
    """The coins that can be adopted: not what earlier cycles left, which the journal has already
    paid for and the next cycle sells.
    """
    symbol, position = asset.asset_symbol, view.position
    if position is not None:
        leftover = load_leftovers(connection, asset.id).get(asset.id, Decimal(0))
        position = replace(position, qty=max(Decimal(0), position.qty - leftover))
    if position is None or is_unsellable(position.qty, view.rules):
        held = "none" if position is None else f"only {number(position.qty)}"
        raise Refused(f"there are no coins of {symbol} to adopt: the account holds {held}")
    if position.average_entry_price <= 0:
        raise Refused(f"Alpaca gives no average price for {symbol}: sell the coins by hand instead")
    return position


def carry_out_adoption(settings: Settings, adoption: Adoption, now: datetime) -> DcaCycle:
    """Write the adoption: cycle, journal and event in one transaction.

    Raises:
        Refused: when anything has moved since it was prepared.
        ExchangeError, DatabaseError: nothing was written.
    """
    asset = adoption.asset
    view = load_market_view(settings, asset.asset_symbol)
    _check_nothing_claims(settings, asset, adoption.cycle, view)
    position = _checked_position(thread_connection(), asset, view)
    if position.qty != adoption.position_qty:
        raise Refused(f"the position of {asset.asset_symbol} has just changed: try again")

    def work(connection: MySQLConnectionAbstract) -> DcaCycle:
        current = load_open_cycle(connection, asset)
        if current is not None:
            current = lock_cycle(connection, current.id)
        if current != adoption.cycle:
            raise Refused(f"the cycle of {asset.asset_symbol} has just changed: try again")
        if current is None:
            current = create_cycle(connection, asset.id, CycleStatus.WATCHING)
        return _write(connection, adoption, current, now)

    adopted = transaction(work)
    log_event(
        log,
        LogEvent.CYCLE_ADOPTED,
        symbol=asset.asset_symbol,
        cycle=adopted.id,
        quantity=adoption.quantity,
        average=adoption.average_price,
    )
    return adopted


def _write(
    connection: MySQLConnectionAbstract, adoption: Adoption, cycle: DcaCycle, now: datetime
) -> DcaCycle:
    asset, fills = adoption.asset, adoption.as_state().cycle
    update_cycle(
        connection,
        cycle.id,
        {
            "status": CycleStatus.WATCHING,
            "quantity": fills.quantity,
            "average_purchase_price": fills.average_purchase_price,
            "last_order_fill_price": fills.last_order_fill_price,
            "base_order_price": fills.base_order_price,
            "safety_orders": fills.safety_orders,
            "open_requested": False,
        },
    )
    identity = f"adopted-{cycle.id}-{cycle.order_key}-{cycle.order_seq}"
    entry = JournalEntry(
        asset_id=asset.id,
        symbol=asset.asset_symbol,
        cycle_id=cycle.id,
        order_seq=cycle.order_seq,
        purpose=Purpose.BASE,
        side=Side.BUY,
        alpaca_order_id=identity,
        client_order_id=identity,
        requested_qty=None,
        limit_price=None,
        filled_qty=adoption.quantity,
        filled_avg_price=adoption.average_price,
        final_status=ADOPTED,
        submitted_at=None,
        ended_at=now,
        fee_qty=adoption.coin_fee,
        fee_is_estimated=False,
        note="coins that no cycle claimed; the exchange has no such order",
    )
    append_journal_entry(connection, entry)
    reason = (
        f"{number(adoption.position_qty)} coins of the account at an average of"
        f" {number(adoption.average_price)} USD became a cycle"
    )
    note_change(connection, asset, EventKind.CYCLE_ADOPTED, reason, cycle)
    adopted = get_cycle(connection, cycle.id)
    assert adopted is not None, "its row is locked by this transaction"
    return adopted
