"""What a change of an asset would mean: the plan of its cycle, what all ladders need, and every
reason against it. Reads the exchange and the database, changes nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from mysql.connector.abstracts import MySQLConnectionAbstract

from config import Settings
from domain.asset import DcaAsset
from domain.market import AssetRules, Position, Quote
from domain.orders import ExchangeOrder
from domain.trading_state import TradingState
from models.meta import check_account, check_schema
from models.trading_state import load_all_trading_states, with_leftovers
from operations.refused import Refused
from strategy.asset_checks import Finding, check_asset, find_number_problems
from strategy.cycle_plan import CyclePlan, plan_cycle
from strategy.earning import compute_default_order_usd
from strategy.exits import describe_due_stop
from strategy.ladder import compute_ladder_usd, compute_on_order_usd, compute_remaining_usd
from strategy.losses import find_stopped_order
from strategy.sizing import is_dust, is_unsellable
from utils.alpaca_client_rest import get_trading_client
from utils.alpaca_orders import pass_over_unreadable
from utils.alpaca_queries import (
    fetch_account,
    fetch_account_id,
    fetch_asset_rules,
    fetch_crypto_symbols,
    fetch_latest_quote,
    fetch_orders,
    fetch_position,
)
from utils.formatting import describe_account, number, usd


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketView:
    """What the exchange says about one asset. `open_orders` are those of all symbols."""

    rules: AssetRules
    quote: Quote
    position: Position | None
    open_orders: tuple[ExchangeOrder, ...]
    buying_power_usd: Decimal

    @property
    def own_open_orders(self) -> tuple[ExchangeOrder, ...]:
        """Those on this symbol."""
        return tuple(order for order in self.open_orders if order.symbol == self.rules.symbol)


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderNeed:
    """What the buys still to come of one enabled asset can cost."""

    symbol: str
    remaining_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """One asset as it is or would be. `rest`: what is still to come in an open cycle with coins."""

    asset: DcaAsset
    state: TradingState | None
    plan: CyclePlan | None
    rest: CyclePlan | None
    needs: tuple[LadderNeed, ...]
    spendable_usd: Decimal
    findings: tuple[Finding, ...]
    quoted_at: datetime
    money: str
    is_live: bool

    @property
    def needed_usd(self) -> Decimal:
        """What all enabled assets together can still spend."""
        return sum((need.remaining_usd for need in self.needs), Decimal(0))

    @property
    def refusals(self) -> list[str]:
        return [finding.text for finding in self.findings if finding.refuses]

    @property
    def warnings(self) -> list[str]:
        return [finding.text for finding in self.findings if not finding.refuses]


def open_account(connection: MySQLConnectionAbstract) -> None:
    """Refuse a database without our tables or of another account.

    Raises:
        ForeignDatabase, ExchangeError, DatabaseError.
    """
    check_schema(connection)
    check_account(connection, fetch_account_id(get_trading_client()))


def load_market_view(settings: Settings, symbol: str) -> MarketView:
    """Ask the exchange.

    Raises:
        Refused: when Alpaca does not know the symbol.
        ExchangeError: when nothing certain was answered.
    """
    client = get_trading_client()
    rules = fetch_asset_rules(client, symbol, min_cost_usd=settings.minimum_order_usd)
    if rules is None:
        raise Refused(_unknown_symbol(symbol, fetch_crypto_symbols(client)))
    return MarketView(
        rules=rules,
        quote=fetch_latest_quote(symbol),
        position=fetch_position(client, symbol),
        open_orders=tuple(fetch_orders(client, status="open", on_unreadable=pass_over_unreadable)),
        buying_power_usd=fetch_account(client).buying_power_usd,
    )


def _unknown_symbol(symbol: str, known: list[str]) -> str:
    in_usd = [name for name in known if name.endswith("/USD")]
    close = difflib.get_close_matches(symbol, in_usd, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else f"it trades {', '.join(in_usd)}"
    return f"Alpaca does not know {symbol}: {hint}"


def load_preview(
    settings: Settings,
    connection: MySQLConnectionAbstract,
    asset: DcaAsset,
    *,
    free_amounts: Collection[str] = (),
) -> Preview:
    """Everything about `asset`, which may be unsaved (id 0) or saved with other values.

    Args:
        free_amounts: columns whose amount nobody chose: the preview's asset has what its coin needs
            to earn.

    Raises:
        Refused: for numbers that are wrong in any market, or an unknown symbol.
        ExchangeError, DatabaseError: not known now.
    """
    if problems := find_number_problems(asset):
        raise Refused("; ".join(problems))
    view = load_market_view(settings, asset.asset_symbol)
    states = with_leftovers(connection, load_all_trading_states(connection))
    state = next((s for s in states if s.asset.id == asset.id), None)
    fee_rate = settings.taker_fee_rate
    if free_amounts:
        amount = compute_default_order_usd(asset, view.rules, fee_rate, view.quote.ask)
        amounts: dict[str, Any] = dict.fromkeys(free_amounts, amount)
        asset = replace(asset, **amounts)
    findings, plan = check_asset(asset, view.rules, fee_rate, view.quote.ask)
    holds = state is not None and not is_dust(state.cycle.quantity, view.rules, fee_rate)
    rest = None
    if state is not None and holds and state.cycle.is_open:
        rest = plan_cycle(asset, view.rules, fee_rate, view.quote.ask, open_cycle=state)
    needs = _ladder_needs(asset, states, view.rules, fee_rate)
    preview = Preview(
        asset=asset,
        state=None if state is None else replace(state, asset=asset),
        plan=plan,
        rest=rest,
        needs=needs,
        spendable_usd=view.buying_power_usd
        + compute_on_order_usd(view.open_orders, {need.symbol for need in needs}),
        findings=findings,
        quoted_at=view.quote.quoted_at,
        money=describe_account(settings),
        is_live=settings.is_live,
    )
    return replace(preview, findings=findings + _account_findings(settings, preview, view))


def _ladder_needs(
    asset: DcaAsset, states: Sequence[TradingState], rules: AssetRules, fee_rate: Decimal
) -> tuple[LadderNeed, ...]:
    """What each enabled asset can still spend, `asset` with the values that it would have."""
    needs = {}
    if asset.is_enabled:
        needs[asset.asset_symbol] = compute_ladder_usd(asset)  # unless it has a cycle: see below
    for state in states:
        own_rules = None
        if state.asset.id == asset.id:
            state, own_rules = replace(state, asset=asset), rules
        if state.asset.is_enabled:
            remaining_usd = compute_remaining_usd(state, own_rules, fee_rate)
            needs[state.asset.asset_symbol] = remaining_usd
    return tuple(LadderNeed(symbol=one, remaining_usd=needs[one]) for one in sorted(needs))


def _account_findings(
    settings: Settings, preview: Preview, view: MarketView
) -> tuple[Finding, ...]:
    """Warnings that depend on the account and on the other assets."""
    texts = []
    asset = preview.asset
    if preview.rest is not None and preview.state is not None:
        due_stop = describe_due_stop(asset, preview.state.cycle, view.quote.bid)
        texts += [] if due_stop is None else [due_stop]
    if asset.is_enabled and preview.needed_usd > preview.spendable_usd:
        refused = "the last safety orders would be refused"
        if preview.rest is None and asset.base_order_amount > preview.spendable_usd:
            refused = "the base order would be refused"
        texts.append(
            f"the account has {usd(preview.spendable_usd)} USD to spend, all enabled ladders"
            f" together can need {usd(preview.needed_usd)} USD: {refused}"
        )
    ladder_usd = compute_ladder_usd(asset)
    if settings.max_position_usd is not None and ladder_usd > settings.max_position_usd:
        texts.append(
            f"the ladder needs {number(ladder_usd)} USD, MAX_POSITION_USD is"
            f" {settings.max_position_usd}: the buy limit will stop its last safety orders"
        )
    limit, plan = settings.max_open_loss_usd, preview.rest or preview.plan
    if limit is not None and plan is not None:
        stopped = find_stopped_order(plan, settings.taker_fee_rate, limit)
        if stopped is not None:
            texts.append(
                f"where safety order {stopped} comes, this cycle alone is {number(limit)} USD or"
                " more down: MAX_OPEN_LOSS_USD will stop it and those after it"
            )
    return tuple(Finding(text, refuses=False) for text in [*texts, *_foreign_coins(preview, view)])


def _foreign_coins(preview: Preview, view: MarketView) -> list[str]:
    """Coins or orders on the symbol that stop a base order, where one would be next."""
    state = preview.state
    if preview.rest is not None or not preview.asset.is_enabled:
        return []
    if state is not None and state.cycle.latest_order_id is not None:
        return []
    symbol, position = view.rules.symbol, view.position
    qty = Decimal(0) if position is None else position.qty
    foreign = qty if state is None else state.foreign_coins(qty)
    if not is_unsellable(foreign, view.rules):
        return [
            f"the account holds {number(foreign)} {symbol.partition('/')[0]} that no"
            f" cycle claims: nothing is bought while they are there; scripts/assets adopt {symbol}"
            " makes a cycle of them"
        ]
    if view.own_open_orders:
        return [f"an order on {symbol} is open: nothing is bought until it has ended"]
    return []
