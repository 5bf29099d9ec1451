"""The doctor's checks of the assets: each one, and all ladders against the account."""

from __future__ import annotations

from decimal import Decimal

from domain.asset import DcaAsset
from domain.trading_state import TradingState
from monitoring.doctor.facts import Facts, Market
from monitoring.doctor.findings import Finding, fail, ok, warn
from monitoring.status.daemon_status import load_daemon_status
from monitoring.status.held_back import find_foreign_coins
from strategy.asset_checks import (
    check_asset,
    find_row_problem,
    find_sale_problems,
    find_state_problem,
)
from strategy.cycle_plan import plan_cycle
from strategy.ladder import compute_ladder_usd, compute_on_order_usd, compute_remaining_usd
from utils.formatting import usd

SUBJECT = "assets"


def check_assets(facts: Facts) -> list[Finding]:
    records = facts.known_records()
    if not records.assets:
        return [warn(SUBJECT, "none: there is nothing to trade", "scripts/assets add BTC/USD")]
    market = facts.market.result()
    found: list[Finding] = []
    for asset in records.assets:
        found += _check_one(facts, asset, records.states.get(asset.id), market)
    reported = load_daemon_status(facts.settings).held_back
    fee_rate = facts.settings.taker_fee_rate
    foreign = find_foreign_coins(records.states.values(), reported, market.rules, fee_rate, set())
    return found + [fail(one.symbol or SUBJECT, one.words, one.cure) for one in foreign.values()]


def _check_one(
    facts: Facts, asset: DcaAsset, state: TradingState | None, market: Market
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
        cure = f"scripts/assets enable {symbol}"
        return [fail(symbol, "it has no open cycle: nothing trades it", cure)]
    if quote is None:
        return [warn(symbol, "the exchange has no usable quote now: its plan is not checked")]
    fee_rate = facts.settings.taker_fee_rate
    findings, plan = check_asset(asset, rules, fee_rate, quote.ask)
    if not findings and state.cycle.quantity > 0:  # it can be larger than a new one
        running = plan_cycle(asset, rules, fee_rate, quote.ask, open_cycle=state)
        findings = tuple(find_sale_problems(running))
    found = [(fail if one.refuses else warn)(symbol, one.text, edit) for one in findings]
    if found or plan is None:
        return found
    text = f"the plan works: {len(plan.orders)} orders for {usd(plan.capital_usd)} USD"
    return [ok(symbol, text)]


def check_capital(facts: Facts) -> list[Finding]:
    records = facts.known_records()
    enabled = [asset for asset in records.assets if asset.is_enabled]
    if not enabled:
        return []
    account, market = facts.known_account(), facts.market.result()
    fee_rate = facts.settings.taker_fee_rate
    needed = Decimal(0)
    for asset in enabled:
        if (state := records.states.get(asset.id)) is None:
            needed += compute_ladder_usd(asset)
        else:
            rules = market.rules.get(asset.asset_symbol)
            needed += compute_remaining_usd(state, rules, fee_rate)
    symbols = {asset.asset_symbol for asset in enabled}
    spendable = account.buying_power_usd + compute_on_order_usd(market.open_orders, symbols)
    has = f"the account has {usd(spendable)} USD to spend"
    text = f"all ladders can still need {usd(needed)} USD, {has}"
    if needed > spendable:
        cure = "add money or make ladders smaller: the last safety orders would be refused"
        return [warn("capital", text, cure)]
    return [ok("capital", text)]
