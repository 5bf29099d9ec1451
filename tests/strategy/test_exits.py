"""Where a cycle is sold: the trail behind a peak and the stop loss, and that neither changes what
is decided without them. Pure tables and properties, no fixtures.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from domain.asset import StopLossAction
from domain.cycle import CycleStatus
from domain.events import EventKind
from domain.journal import Purpose
from domain.orders import Side
from strategy.booking import compute_order_change, compute_stop_loss_change
from strategy.exits import (
    ANY_SELL_PRICE,
    ExitTrack,
    Trail,
    compute_exit_price,
    compute_stop_price,
    compute_trail,
    compute_trail_price,
    follow_quote,
    looks_like_stop_loss,
    raise_peak,
    renew_track,
    trail_from,
    with_track,
)
from strategy.ladder import (
    compute_buy_usd,
    compute_safety_order_trigger,
    count_safety_orders_left,
)
from strategy.repairs import compute_missing_order_change
from strategy.sizing import is_dust
from strategy.triggers import (
    ANY_PRICE,
    NEVER,
    Decision,
    Triggers,
    compute_early_restart_trigger,
    compute_triggers,
    decide,
    decide_close,
)

RULES = build_rules()
HELD = {"quantity": Decimal("0.002")}
TRAILS = build_asset(trailing_take_profit_percent=Decimal(1))  # target 51,000
STOPS = build_asset(stop_loss_percent=Decimal(10), max_safety_orders=0)  # at 45,000
GAP = 15.0


def at(state, price, ask=None):
    bid = Decimal(price)
    return decide(state, RULES, FEE_RATE, bid=bid, ask=Decimal(ask or price), now=NOW)


def holding(asset, **columns):
    return build_state(asset, build_cycle(**HELD | columns))


def followed(track, state, bids, *, start=0.0, step=1.0):
    """The track after `bids`, a second apart, and the decision at each."""
    decisions = []
    for number, bid in enumerate(bids):
        known = with_track(state, track)
        triggers = compute_triggers(known, RULES, FEE_RATE)
        track = follow_quote(
            track,
            triggers.trail,
            triggers.stop_at_or_below,
            bid=Decimal(bid),
            at=start + number * step,
            max_gap_seconds=GAP,
        )
        decisions.append(at(with_track(state, track), bid))
    return track, decisions


# The trail.


def test_before_the_target_nothing_trails_and_at_it_the_bid_is_a_peak_and_no_sale():
    state = holding(TRAILS, safety_orders=3)
    triggers = compute_triggers(state, RULES, FEE_RATE)
    assert triggers == Triggers(trail=Trail(confirm_at_or_above=Decimal(51000)))
    assert at(state, "50999.99") is None
    decision = at(state, "51000")
    assert (decision.side, decision.is_peak, decision.is_sale) == (Side.SELL, True, False)
    assert decision.trigger_price == 51000


@pytest.mark.parametrize(
    ("bid", "sells"), [("50490.01", False), ("50490", True), ("50000", True), ("51000", False)]
)
def test_it_sells_when_the_bid_has_fallen_by_the_percent_from_the_peak(bid, sells):
    decision = at(holding(TRAILS, trailing_peak=Decimal(51000)), bid)
    assert (decision is not None) is sells
    if decision:
        assert (decision.purpose, decision.trigger_price) == (Purpose.TAKE_PROFIT, Decimal(50490))
        assert decision.is_sale
        assert decision.is_falling
        assert not decision.at_any_price


def test_a_safety_order_is_still_bought_while_a_peak_is_followed():
    state = holding(TRAILS, trailing_peak=Decimal(51000))
    assert at(state, "49500").purpose is Purpose.SAFETY


def test_a_peak_below_the_target_is_none():
    cycle = build_cycle(**HELD, trailing_peak=Decimal("50999.99"))
    assert compute_trail(TRAILS, cycle) == Trail(confirm_at_or_above=Decimal(51000))


def test_a_peak_that_needed_more_places_than_the_table_has_is_one_all_the_same():
    tiny = Decimal("0.0000123456789123456789")
    cycle = build_cycle(quantity=Decimal(1), average_purchase_price=tiny)
    track = raise_peak(renew_track(None, cycle), compute_exit_price(TRAILS, cycle))
    assert compute_trail(TRAILS, replace(cycle, trailing_peak=track.peak)).peak == track.peak


def test_a_jump_that_would_sell_above_the_peak_of_before_needs_a_second_source():
    trail = trail_from(TRAILS, Decimal(51000))
    assert compute_trail_price(TRAILS, trail.confirm_at_or_above - 1) < 51000
    assert compute_trail_price(TRAILS, trail.confirm_at_or_above + 1) > 51000
    assert at(holding(TRAILS, trailing_peak=Decimal(51000)), "52000").is_peak


def test_the_peak_follows_what_two_quotes_in_a_row_have_reached():
    state = holding(TRAILS, trailing_peak=Decimal(51000))
    track, decisions = followed(
        renew_track(None, state.cycle), state, ["51200", "50900", "51300", "51250", "51280"]
    )
    assert track.peak == Decimal(51250)
    assert decisions == [None] * 5


def test_a_spike_is_no_peak():
    state = holding(TRAILS, trailing_peak=Decimal(51000))
    track, decisions = followed(
        renew_track(None, state.cycle), state, ["51010", "55000", "51010", "51400", "50990"]
    )
    assert track.peak == 51010, "one was too high to be believed, the other came once"
    assert [one is not None and one.is_peak for one in decisions] == [0, 1, 0, 0, 0]


def test_a_fill_begins_the_peak_anew_and_what_sells_or_ends_does_not():
    cycle = build_cycle(**HELD, trailing_peak=Decimal(51000), status="buying")
    bought = build_order(cycle, status="filled", filled_qty="0.002", filled_avg_price="40000")
    assert compute_order_change(cycle, bought, AROUND).cycle_updates["trailing_peak"] is None
    dust = build_order(cycle, status="canceled", filled_qty="0.00001", filled_avg_price="40000")
    assert compute_order_change(cycle, dust, AROUND).cycle_updates["trailing_peak"] is None
    for status in ("canceled", "expired", "rejected"):
        ended = build_order(cycle, status=status)
        assert "trailing_peak" not in compute_order_change(cycle, ended, AROUND).cycle_updates
    part = build_order(cycle, side="sell", status="canceled", filled_qty="0.001",
                       filled_avg_price="50900")  # fmt: skip
    assert "trailing_peak" not in compute_order_change(cycle, part, AROUND).cycle_updates


def test_a_track_is_of_one_holding():
    cycle = build_cycle(**HELD)
    track = raise_peak(renew_track(None, cycle), Decimal(52000))
    assert renew_track(track, replace(cycle, order_seq=9)).peak == 52000
    partly_sold = replace(cycle, quantity=Decimal("0.001"))
    assert renew_track(track, partly_sold).peak == 52000
    for other in (
        replace(cycle, average_purchase_price=Decimal(49000)),
        replace(cycle, safety_orders=1),
        replace(cycle, id=43),
    ):
        assert renew_track(track, other).peak is None
        state = build_state(TRAILS, other)
        assert with_track(state, track) == state
    saved = replace(cycle, trailing_peak=Decimal(53000))
    assert renew_track(track, saved).peak == 53000


def test_an_open_buy_is_canceled_at_the_target_and_not_by_the_trail():
    state = holding(TRAILS, status="buying", trailing_peak=Decimal(51000))
    triggers = compute_triggers(state, RULES, FEE_RATE)
    assert triggers == Triggers(cancel_buy_at_or_above=Decimal(51000))


# The stop loss.

AROUND = build_circumstances(asset=replace(STOPS, stop_loss_action=StopLossAction.COOLDOWN))


@pytest.mark.parametrize(("bid", "fires"), [("45000.01", False), ("45000", True), ("1", True)])
def test_it_fires_at_or_below_its_price(bid, fires):
    decision = at(holding(STOPS), bid)
    assert (decision is not None) is fires
    if decision:
        assert (decision.purpose, decision.trigger_price) == (Purpose.STOP_LOSS, Decimal(45000))
        assert decision.fires_stop
        assert not decision.is_sale, "the row says it first"


def test_it_goes_before_a_safety_order_on_the_same_quote():
    asset = replace(STOPS, max_safety_orders=3)
    assert at(holding(asset), "45000.01").purpose is Purpose.SAFETY
    assert at(holding(asset), "45000").purpose is Purpose.STOP_LOSS


@pytest.mark.parametrize(
    ("cycle", "asset"),
    [
        ({"quantity": Decimal(0)}, {}),
        ({"quantity": Decimal("0.00001")}, {}),
        ({"average_purchase_price": Decimal(0)}, {}),
        ({"status": "selling"}, {}),
        ({"status": "complete"}, {}),
        ({"close_requested": True}, {}),
        ({"stop_loss_fired": True}, {}),
        ({}, {"stop_loss_percent": None}),
    ],
)
def test_it_never_fires_without_coins_nor_beside_another_sale(cycle, asset):
    state = holding(replace(STOPS, **asset), **cycle)
    decision = at(state, "1")
    assert decision is None or not decision.fires_stop
    assert compute_triggers(state, RULES, FEE_RATE).stop_at_or_below is None
    around = build_circumstances(asset=state.asset)
    assert compute_stop_loss_change(state.cycle, around) is None


def test_it_fires_while_a_buy_is_open_and_for_a_disabled_asset():
    assert at(holding(STOPS, status="buying"), "45000").fires_stop
    assert at(holding(replace(STOPS, is_enabled=False)), "45000").fires_stop


def test_the_bid_must_stay_below_without_a_break():
    state = holding(replace(STOPS, stop_loss_seconds=3))
    bids = ["44000", "44000", "45001", "44000", "44000", "44000", "44000", "44000"]
    _, decisions = followed(renew_track(None, state.cycle), state, bids)
    assert [one is not None for one in decisions] == [0, 0, 0, 0, 0, 0, 1, 1]


def test_a_gap_in_the_quotes_begins_the_clock_anew():
    state = holding(replace(STOPS, stop_loss_seconds=20))
    fresh = renew_track(None, state.cycle)
    _, decisions = followed(fresh, state, ["44000"] * 3, step=15.0)
    assert [one is not None for one in decisions] == [0, 0, 1]
    _, decisions = followed(fresh, state, ["44000"] * 3, step=15.1)
    assert decisions == [None] * 3


def test_the_clock_begins_anew_with_another_stop_price():
    state = holding(replace(STOPS, stop_loss_seconds=3))
    track, _ = followed(renew_track(None, state.cycle), state, ["44000"] * 3)
    lower = replace(state, asset=replace(state.asset, stop_loss_percent=Decimal(11)))
    track, decisions = followed(track, lower, ["44000"] * 2, start=3.0)
    assert decisions == [None, None]
    assert track.below_seconds == 1.0


def test_what_has_fired_buys_nothing_and_sells_at_any_price():
    fired = holding(replace(STOPS, max_safety_orders=3), stop_loss_fired=True)
    for price in ("1", "44000", "60000"):
        decision = at(fired, price)
        assert decision == Decision(Side.SELL, Purpose.STOP_LOSS, ANY_SELL_PRICE)
        assert decision.is_sale
    assert decide_close(fired, RULES, FEE_RATE) == decision
    empty = build_state(STOPS, build_cycle(stop_loss_fired=True))
    assert compute_triggers(empty, RULES, FEE_RATE) == NEVER
    buying = at(holding(STOPS, status="buying", stop_loss_fired=True), "1")
    assert (buying.cancels_buy, buying.at_any_price) == (True, True)


def sold(cycle, **fields):
    known = {"side": "sell", "status": "filled", "qty": "0.001995", "filled_qty": "0.001995"}
    return build_order(cycle, **known | {"filled_avg_price": "44000"} | fields)


def test_its_sale_is_journaled_as_its_own_and_both_requests_are_noted():
    cycle = build_cycle(**HELD, status="selling", stop_loss_fired=True)
    change = compute_order_change(cycle, sold(cycle), AROUND)
    assert change.journal.purpose is Purpose.STOP_LOSS
    assert change.cycle_updates["status"] is CycleStatus.COMPLETE
    assert change.next_cycle is CycleStatus.COOLDOWN
    assert change.asset_updates == {"last_sell_price": Decimal(44000)}
    assert change.events == ()
    both = replace(cycle, close_requested=True)
    change = compute_order_change(both, sold(both), AROUND)
    assert change.journal.purpose is Purpose.STOP_LOSS
    assert change.journal.note.startswith("closed by the user")


def test_disable_disables_the_asset_with_the_booking_and_says_what_to_do():
    around = replace(AROUND, asset=replace(AROUND.asset, stop_loss_action=StopLossAction.DISABLE))
    cycle = build_cycle(**HELD, status="selling", stop_loss_fired=True)
    change = compute_order_change(cycle, sold(cycle), around)
    assert change.asset_updates == {"last_sell_price": Decimal(44000), "is_enabled": False}
    assert change.next_cycle is CycleStatus.COOLDOWN
    [event] = change.events
    assert event.kind is EventKind.ASSET_STOPPED
    assert "scripts/assets enable BTC/USD" in event.reason
    part = sold(cycle, filled_qty="0.001", status="canceled")
    assert compute_order_change(cycle, part, around).asset_updates == {}
    usual = replace(cycle, stop_loss_fired=False)
    assert "is_enabled" not in compute_order_change(usual, sold(usual), around).asset_updates


def test_a_fired_cycle_that_holds_nothing_does_not_wait_for_a_sale():
    cycle = build_cycle(status="buying", stop_loss_fired=True, latest_order_id="gone")
    change = compute_missing_order_change(cycle, AROUND)
    assert change.cycle_updates["status"] is CycleStatus.COMPLETE


def test_no_early_restart_follows_a_stop_loss():
    asset = build_asset(
        buy_order_price_deviation_percent=Decimal(1), last_sell_price=Decimal(44000)
    )
    cooling = build_state(asset, build_cycle(status="cooldown"))
    assert at(cooling, "40000").purpose is Purpose.BASE
    assert at(replace(cooling, previous_stop_loss=True), "40000") is None


# Properties.

prices = st.decimals("0.01", "100000", places=2)
percents = st.decimals("0.01", "50", places=2)


@given(average=prices, percent=percents)
def test_prices_are_the_exact_products(average, percent):
    asset = build_asset(trailing_take_profit_percent=percent, stop_loss_percent=percent)
    cycle = build_cycle(quantity=Decimal(1), average_purchase_price=average)
    exact = Fraction(average) * (100 - Fraction(percent)) / 100
    assert Fraction(compute_trail_price(asset, average)) == exact
    assert Fraction(compute_stop_price(asset, cycle)) == exact


@given(st.lists(st.decimals("50400", "54000", places=1), max_size=30))
def test_a_peak_never_falls_and_never_claims_more_than_was_bid(bids):
    state = holding(TRAILS, trailing_peak=Decimal(51000))
    track, peaks = renew_track(None, state.cycle), [Decimal(51000)]
    for number, bid in enumerate(bids):
        track, _ = followed(track, state, [bid], start=float(number))
        peaks.append(track.peak)
    assert peaks == sorted(peaks)
    assert max(peaks) <= max([Decimal(51000), *bids])


states = st.builds(
    lambda status, quantity, last, orders, seen, columns, flags: build_state(
        build_asset(**columns),
        build_cycle(
            status=status,
            quantity=quantity,
            last_order_fill_price=last,
            average_purchase_price=last,
            safety_orders=orders,
            close_requested=flags[0],
        ),
        bought_usd=seen,
        previous_status=CycleStatus.ERROR if flags[1] else None,
        previous_completed_at=NOW - timedelta(seconds=30) if flags[1] else None,
        other_symbol="ETH/USD" if flags[2] else None,
    ),
    st.sampled_from(CycleStatus),
    st.sampled_from([Decimal(0), Decimal("0.00001"), Decimal("0.002")]),
    prices,
    st.integers(0, 4),
    st.decimals("0", "300", places=2),
    st.fixed_dictionaries(
        {
            "is_enabled": st.booleans(),
            "max_safety_orders": st.integers(0, 4),
            "take_profit_percent": st.decimals("-5", "20", places=2),
            "safety_order_deviation": percents,
            "buy_order_price_deviation_percent": st.none() | percents,
            "last_sell_price": st.none() | prices,
        }
    ),
    st.tuples(st.booleans(), st.booleans(), st.integers(0, 9).map(lambda one: one == 0)),
)


@given(state=states, bid=prices, spread=st.decimals("0", "10", places=2))
def test_with_the_options_off_every_decision_is_that_of_the_version_before(state, bid, spread):
    ask = bid + spread
    now = decide(state, RULES, FEE_RATE, bid=bid, ask=ask, now=NOW)
    assert now == _decide_before(state, bid, ask)


@given(state=states, bids=st.lists(prices, max_size=6))
def test_with_the_options_off_no_quote_leaves_a_trace(state, bids):
    track = renew_track(None, state.cycle)
    after, _ = followed(track, state, bids)
    assert (after.peak, after.below_since) == (None, None)


def _decide_before(state, bid, ask):
    """The decision of the version before trails and stops, as it was written there."""
    asset, cycle = state.asset, state.cycle
    buy = purpose = sell = cancel = not_before = None
    holds = not is_dust(cycle.quantity, RULES, FEE_RATE)
    exit_price = ANY_SELL_PRICE if cycle.close_requested else compute_exit_price(asset, cycle)
    early = compute_early_restart_trigger(asset)
    if state.other_symbol:
        pass
    elif cycle.status is CycleStatus.BUYING:
        cancel = exit_price if holds or cycle.close_requested else None
    elif cycle.close_requested:
        sell = ANY_SELL_PRICE if holds and cycle.status is CycleStatus.WATCHING else None
    elif cycle.status is CycleStatus.COOLDOWN:
        if asset.is_enabled and early is not None and not holds:
            buy, purpose = early, Purpose.BASE
    elif cycle.status is CycleStatus.WATCHING and not holds:
        if asset.is_enabled:
            after_error = state.previous_status is CycleStatus.ERROR
            buy, purpose = ANY_PRICE, Purpose.BASE
            not_before = state.cooldown_until if after_error else None
    elif cycle.status is CycleStatus.WATCHING:
        sell = exit_price
        if asset.is_enabled and count_safety_orders_left(asset, cycle) > 0:
            buy, purpose = compute_safety_order_trigger(asset, cycle), Purpose.SAFETY
    waits = not_before is not None and not_before > NOW
    if buy is not None and ask <= buy and not waits:
        return Decision(Side.BUY, purpose, buy, compute_buy_usd(state, purpose))
    if sell is not None and bid >= sell:
        return Decision(Side.SELL, Purpose.TAKE_PROFIT, sell)
    if cancel is not None and bid >= cancel:
        return Decision(Side.SELL, Purpose.TAKE_PROFIT, cancel, cancels_buy=True)
    return None


def test_a_track_knows_nothing_before_its_first_quote():
    assert ExitTrack(holding=(1, Decimal(1), 0)).below_seconds is None


def test_the_price_of_a_sale_says_whether_it_was_a_stop_loss_where_its_row_is_lost():
    asset = build_asset(take_profit_percent=Decimal(2), stop_loss_percent=Decimal(10))
    cycle = build_cycle(status=CycleStatus.WATCHING, average_purchase_price=Decimal(100))
    for price, stopped in ((102, False), (96, False), (95, False), ("94.9", True), (80, True)):
        assert looks_like_stop_loss(asset, cycle, Decimal(price)) is stopped
    trailing = replace(asset, trailing_take_profit_percent=Decimal(8))  # sells from 93.84 on
    assert not looks_like_stop_loss(trailing, cycle, Decimal("93.84"))
    assert looks_like_stop_loss(trailing, cycle, Decimal("90.5"))
    assert not looks_like_stop_loss(replace(asset, stop_loss_percent=None), cycle, Decimal(50))
