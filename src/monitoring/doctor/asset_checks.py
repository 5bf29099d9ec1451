"""The doctor's checks of what is configured: each asset, and all ladders against the account."""

from __future__ import annotations

from decimal import Decimal

from domain.asset import DcaAsset
from domain.orders import Side
from domain.trading_state import TradingState
from monitoring.doctor.facts import Market, World
from monitoring.doctor.findings import Finding, fail, ok, warn
from monitoring.status.daemon_status import load_daemon_status
from monitoring.status.held_back import ask_for_foreign_coins
from strategy.asset_checks import (
    check_asset,
    find_row_problem,
    find_sale_problems,
    find_state_problem,
)
from strategy.cycle_plan import plan_cycle
from strategy.ladder import compute_ladder_usd, compute_remaining_usd
from utils.formatting import usd

SUBJECT = "assets"


def check_assets(world: World) -> list[Finding]:
    records = world.known_records()
    if not records.assets:
        return [warn(SUBJECT, "none: there is nothing to trade", "scripts/assets add BTC/USD")]
    market = world.market()
    found: list[Finding] = []
    for asset in records.assets:
        found += _check_one(world, asset, records.states.get(asset.id), market)
    daemon = load_daemon_status(world.settings)  # what it says of coins is said (held back)
    told = {held.symbol for held in daemon.held_back if held.has_foreign_coins}
    untold = [s for s in records.states.values() if s.asset.asset_symbol not in told]
    foreign = ask_for_foreign_coins(untold, market.rules, world.settings.taker_fee_rate, set())
    return found + [fail(one.symbol or SUBJECT, one.words, one.cure) for one in foreign.values()]


def _check_one(
    world: World, asset: DcaAsset, state: TradingState | None, market: Market
) -> list[Finding]:
    symbol = asset.asset_symbol
    edit = f"scripts/assets edit {symbol} (scripts/assets show {symbol} shows the plan)"
    if problem := find_state_problem(state) if state else find_row_problem(asset):
        return [fail(symbol, problem, edit)]
    if not asset.is_enabled:
        return [ok(symbol, "disabled: it buys nothing")]
    rules, quote = market.rules.get(symbol), market.quotes.get(symbol)
    if rules is None:
        cure = f"scripts/assets disable {symbol}"
        return [fail(symbol, "the exchange does not list it", cure)]
    if state is None or not state.cycle.is_open:
        text = "it has no open cycle: nothing trades it"
        return [fail(symbol, text, f"scripts/assets enable {symbol}")]
    if quote is None:
        return [warn(symbol, "the exchange has no usable quote now: its plan is not checked")]
    fee_rate = world.settings.taker_fee_rate
    findings, plan = check_asset(asset, rules, fee_rate, quote.ask)
    if not findings and state.cycle.quantity > 0:  # it can be larger than one that begins now
        running = plan_cycle(asset, rules, fee_rate, quote.ask, open_cycle=state)
        findings = tuple(find_sale_problems(running))
    found = [(fail if one.refuses else warn)(symbol, one.text, edit) for one in findings]
    if found or plan is None:
        return found
    text = f"the plan works: {len(plan.orders)} orders for {usd(plan.capital_usd)} USD"
    return [ok(symbol, text)]


def check_capital(world: World) -> list[Finding]:
    records = world.known_records()
    enabled = [asset for asset in records.assets if asset.is_enabled]
    if not enabled:
        return []
    account, market = world.known_account(), world.market()
    fee_rate = world.settings.taker_fee_rate
    needed = Decimal(0)
    for asset in enabled:
        state = records.states.get(asset.id)
        rules = market.rules.get(asset.asset_symbol)
        needed += (
            compute_ladder_usd(asset)
            if state is None
            else compute_remaining_usd(state, rules, fee_rate)
        )
    symbols = {asset.asset_symbol for asset in enabled}
    reserved = Decimal(0)  # by our own open buys: part of the need, gone from the buying power
    for order in market.open_orders:
        if order.side is Side.BUY and order.symbol in symbols and order.qty and order.limit_price:
            reserved += (order.qty - order.filled_qty) * order.limit_price
    spendable = account.buying_power_usd + reserved
    text = f"all ladders can still need {usd(needed)} USD, the account has {usd(spendable)} USD"
    if needed > spendable:
        cure = "add money or make ladders smaller: the last safety orders would be refused"
        return [warn("capital", text, cure)]
    return [ok("capital", text)]
