"""With every option at its default each decision is what it was before there were options. Pure."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import previous_strategy
from builders import (
    FEE_RATE,
    NOW,
    build_asset,
    build_circumstances,
    build_cycle,
    build_order,
    build_rules,
    build_state,
)
from domain.cycle import CycleStatus
from domain.orders import Side
from strategy.booking import compute_order_change
from strategy.fees import compute_coin_fee
from strategy.sizing import size_buy, size_take_profit
from strategy.triggers import compute_triggers, decide

RULES = build_rules()
FIELDS = [field.name for field in previous_strategy.Triggers.__dataclass_fields__.values()]
DECIDED = [field.name for field in previous_strategy.Decision.__dataclass_fields__.values()]


def random_walk(seed: int, count: int = 3000):
    """Quotes one second apart, the same for each seed: calm hours, slides and leaps, so that whole
    cycles with many safety orders come.
    """
    chance, price = random.Random(seed), 50000.0
    drift = 0.0
    for second in range(count):
        if chance.random() < 0.01:
            drift = chance.uniform(-0.001, 0.001)
        price *= 1 + drift + chance.gauss(0, 0.0008)
        bid = Decimal(f"{price:.2f}")
        yield bid, bid + Decimal(f"{chance.uniform(0.01, 30):.2f}"), NOW + timedelta(seconds=second)


def decide_twice(state, bid, ask, now):
    """The decision, after it was compared with the one before."""
    found = compute_triggers(state, RULES, FEE_RATE)
    before = previous_strategy.compute_triggers(state, RULES, FEE_RATE)
    assert [repr(getattr(found, name)) for name in FIELDS] == [
        repr(getattr(before, name)) for name in FIELDS
    ], "to the last digit"
    found = decide(state, RULES, FEE_RATE, bid=bid, ask=ask, now=now)
    before = previous_strategy.decide(state, RULES, FEE_RATE, bid=bid, ask=ask, now=now)
    assert (found is None) == (before is None)
    if found is not None:
        assert [repr(getattr(found, name)) for name in DECIDED] == [
            repr(getattr(before, name)) for name in DECIDED
        ]
    return found


def fill(state, decision, bid, ask, now):
    """The state after the order of `decision` was filled whole, or what follows a completed one."""
    cycle = state.cycle
    if decision.side is Side.BUY:
        qty, price = size_buy(decision.amount_usd, ask, RULES).qty, ask
    else:
        held = cycle.quantity - state.coin_fees
        qty = size_take_profit(cycle.quantity, state.coin_fees, held, RULES, FEE_RATE)
        price = bid
    order = build_order(
        cycle, side=decision.side, status="filled", qty=qty, filled_qty=qty, filled_avg_price=price
    )
    facts = build_circumstances(asset=state.asset, coin_fees=state.coin_fees, now=now)
    change = compute_order_change(cycle, order, facts)
    if change.next_cycle is not None:
        return build_state(
            replace(state.asset, last_sell_price=price),
            build_cycle(id=cycle.id + 1, status="cooldown"),
            previous_status=CycleStatus.COMPLETE,
            previous_completed_at=now,
        )
    return replace(
        state,
        cycle=replace(cycle, **change.cycle_updates),
        bought_usd=state.bought_usd + (qty * price if decision.side is Side.BUY else 0),
        coin_fees=state.coin_fees + compute_coin_fee(qty, FEE_RATE),
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"take_profit_fee_percent": Decimal("0.25"), "max_safety_orders": 12},
        {"buy_order_price_deviation_percent": Decimal("0.7"), "cooldown_period": 600},
        {"safety_order_amount": Decimal("33.33333333"), "max_safety_orders": 0},
    ],
    ids=["the plan", "fee-aware", "early restart", "no safety order"],
)
def test_a_recording_is_traded_as_before(seed, columns):
    plain = {"safety_order_deviation": Decimal("0.75"), "take_profit_percent": Decimal("0.8")}
    state = build_state(build_asset(**plain | columns))
    orders = 0
    for bid, ask, now in random_walk(seed):
        until = state.cooldown_until
        if state.cycle.status is CycleStatus.COOLDOWN and now >= until:
            state = replace(state, cycle=replace(state.cycle, status=CycleStatus.WATCHING))
        decision = decide_twice(state, bid, ask, now)
        if decision is not None:
            state, orders = fill(state, decision, bid, ask, now), orders + 1
    wanted = 4 if state.asset.max_safety_orders else 1
    assert orders >= wanted, "the recording must ask for something"


prices = st.decimals("0.00000001", "200000", places=18).filter(lambda price: price > 0)
coins = st.sampled_from(["0", "0.00005", "0.0001", "0.002", "1.23456789"]).map(Decimal)
flags = st.booleans()
of_assets = st.fixed_dictionaries(
    {
        "safety_order_amount": st.decimals("0.01", "20000", places=8),
        "max_safety_orders": st.integers(0, 100),
        "safety_order_deviation": st.decimals("0.000001", "99.999999", places=6),
        "take_profit_percent": st.decimals("0.000001", "1000", places=6),
        "take_profit_fee_percent": st.none() | st.decimals("0.01", "5", places=6),
        "buy_order_price_deviation_percent": st.none() | st.decimals("0.01", "99", places=6),
        "last_sell_price": st.none() | prices,
        "is_enabled": flags,
    }
)
of_cycles = st.fixed_dictionaries(
    {
        "status": st.sampled_from(list(CycleStatus)),
        "quantity": coins,
        "average_purchase_price": prices | st.just(Decimal(0)),
        "last_order_fill_price": st.none() | prices,
        "base_order_price": st.none() | prices,
        "safety_orders": st.integers(0, 120),
        "close_requested": flags,
    }
)


@given(
    asset=of_assets,
    cycle=of_cycles,
    bid=prices,
    spread=prices,
    spent=st.decimals("0", "30000", places=4),
    previous=st.none() | st.sampled_from([CycleStatus.COMPLETE, CycleStatus.ERROR]),
    other=st.sampled_from([None, None, None, "ETH/USD"]),
    waited=st.integers(0, 120),
)
def test_any_state_at_any_quote_is_decided_as_before(
    asset, cycle, bid, spread, spent, previous, other, waited
):
    state = build_state(
        build_asset(**asset),
        build_cycle(**cycle),
        bought_usd=spent,
        previous_status=previous,
        previous_completed_at=previous and NOW,
        other_symbol=other,
    )
    decide_twice(state, bid, bid + spread, NOW + timedelta(seconds=waited))
