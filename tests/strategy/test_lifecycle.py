"""The lifecycle table: every status x fact pair, and exactly what each allowed one writes. Pure."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import (
    FEE_RATE,
    NOW,
    ORDER_ID,
    OTHER_ORDER_ID,
    build_asset,
    build_circumstances,
    build_cycle,
    build_order,
    build_rules,
)
from domain.cycle import OPEN_STATUSES, CycleStatus
from domain.journal import Purpose
from domain.orders import ENDED_STATUSES, Side
from strategy.booking import (
    compute_average_purchase_price,
    compute_fill_updates,
    compute_order_change,
)
from strategy.fees import compute_usd_fee
from strategy.lifecycle import (
    SUCCESSORS,
    TRANSITIONS,
    Fact,
    ForbiddenTransition,
    Outcome,
    fact_of,
    has_replacement,
    is_closed_by_user,
    is_cooling_down,
    is_sold_out,
    outcome_of,
    target_of,
    was_sold_meanwhile,
)
from strategy.repairs import (
    compute_cooldown_over_change,
    compute_correction,
    compute_missing_order_change,
    compute_position_gone_change,
)
from strategy.sizing import is_dust

AROUND = build_circumstances()
COOLING_DOWN = build_circumstances(cooldown_until=NOW + timedelta(seconds=30))

# The whole machine once more, written down by hand. A dash is a prohibition.
#   fact             watching   buying     selling    cooldown   complete  error
MATRIX = """
    buy_opened       buying     buying     buying     buying     -         -
    sell_opened      selling    selling    selling    -          -         -
    buy_ended        watching   watching   watching   watching   -         -
    buy_replaced     buying     buying     buying     buying     -         -
    sell_ended       watching   watching   watching   -          -         -
    sell_replaced    selling    selling    selling    -          -         -
    buy_filled_late  watching   buying     selling    cooldown   complete  error
    sell_filled_late watching   buying     selling    cooldown   complete  error
    order_missing    -          watching   watching   -          -         -
    cooldown_over    -          -          -          watching   -         -
    position_gone    error      -          -          -          -         -
"""
COLUMNS = ["watching", "buying", "selling", "cooldown", "complete", "error"]
EXPECTED = {
    (CycleStatus(status), Fact(fact)): None if target == "-" else target
    for fact, *targets in (line.split() for line in MATRIX.split("\n") if line.strip())
    for status, target in zip(COLUMNS, targets, strict=True)
}

# For each fact: the order that is it, and every other column that it writes besides the status. The
# cycle holds 0.002 coins bought at 50,000 with one safety order, and its seq is 3.
SELLS = {"side": "sell", "qty": "0.001995"}
ENDED = {"order_seq": 4, "latest_order_id": None}
CASES = {
    Fact.BUY_OPENED: ({}, {"latest_order_id": ORDER_ID}),
    Fact.SELL_OPENED: (SELLS, {"latest_order_id": ORDER_ID}),
    Fact.BUY_ENDED: (
        {"status": "filled", "filled_qty": "0.002", "filled_avg_price": "40000"},
        ENDED
        | {"quantity": Decimal("0.004"), "average_purchase_price": Decimal(45000)}
        | {"last_order_fill_price": Decimal(40000), "safety_orders": 2},
    ),
    Fact.BUY_REPLACED: (
        {"status": "replaced", "replaced_by": OTHER_ORDER_ID},
        {"order_seq": 4, "latest_order_id": OTHER_ORDER_ID},
    ),
    Fact.SELL_ENDED: (SELLS | {"status": "canceled"}, ENDED),
    Fact.SELL_REPLACED: (
        SELLS | {"status": "replaced", "replaced_by": OTHER_ORDER_ID},
        {"order_seq": 4, "latest_order_id": OTHER_ORDER_ID},
    ),
    Fact.BUY_FILLED_LATE: (
        {"status": "canceled", "filled_qty": "0.002", "filled_avg_price": "40000"},
        {"quantity": Decimal("0.004"), "average_purchase_price": Decimal(45000)}
        | {"last_order_fill_price": Decimal(40000), "safety_orders": 2},
    ),
    Fact.SELL_FILLED_LATE: (
        SELLS | {"status": "canceled", "filled_qty": "0.001", "filled_avg_price": "51000"},
        {"quantity": Decimal("0.001")},
    ),
    Fact.ORDER_MISSING: (None, {"latest_order_id": None}),
    Fact.COOLDOWN_OVER: (None, {}),
    Fact.POSITION_GONE: (None, {"latest_order_id": None, "completed_at": NOW}),
}
NEXT_CYCLE = {Fact.POSITION_GONE: CycleStatus.WATCHING}
SOLD_OUT = SELLS | {"filled_qty": "0.001995", "filled_avg_price": "51000"}
LATE = (Fact.BUY_FILLED_LATE, Fact.SELL_FILLED_LATE)
PAIRS = list(itertools.product(CycleStatus, Fact))


def cycle_in(status: CycleStatus):
    return build_cycle(status=status, quantity=Decimal("0.002"), safety_orders=1, order_seq=3)


def change_by(fact: Fact, cycle, circumstances=AROUND):
    order_fields, _ = CASES[fact]
    match fact:
        case Fact.ORDER_MISSING:
            return compute_missing_order_change(cycle, circumstances)
        case Fact.COOLDOWN_OVER:
            return compute_cooldown_over_change(cycle)
        case Fact.POSITION_GONE:
            return compute_position_gone_change(cycle, circumstances)
        case Fact.BUY_FILLED_LATE | Fact.SELL_FILLED_LATE:
            order = build_order(cycle, **order_fields)
            return compute_correction(cycle, order, [], cycle.order_seq, circumstances)
        case _:
            order = build_order(cycle, **order_fields)
            assert fact_of(order) is fact
            return compute_order_change(cycle, order, circumstances)


def test_the_table_of_the_code_has_the_pairs_of_the_matrix():
    assert set(EXPECTED) == set(PAIRS)
    assert set(TRANSITIONS) == {pair for pair, target in EXPECTED.items() if target}


@pytest.mark.parametrize(("status", "fact"), PAIRS, ids=lambda value: value.value)
def test_each_pair_is_allowed_with_its_row_changes_or_forbidden(status, fact):
    cycle = cycle_in(status)
    target = EXPECTED[status, fact]
    if target is None:
        with pytest.raises(ForbiddenTransition):
            change_by(fact, cycle)
        return
    change = change_by(fact, cycle)
    _, columns = CASES[fact]
    if fact not in LATE:
        columns = columns | {"status": CycleStatus(target)}
    elif not cycle.is_open:
        columns = {}
    assert dict(change.cycle_updates) == columns
    assert change.next_cycle is NEXT_CYCLE.get(fact)
    assert dict(change.asset_updates) == {}
    is_an_end = "order_seq" in columns
    assert (change.journal is not None) is (is_an_end or fact in LATE)
    if change.journal:
        assert change.journal.order_seq == cycle.order_seq, "the journal names the order's own seq"
    expected = {Fact.ORDER_MISSING: ["order_missing"], Fact.POSITION_GONE: ["position_gone"]}
    expected |= {late: ["fill_corrected"] for late in LATE}
    assert [event.kind for event in change.events] == expected.get(fact, [])


# The guards, each way, and what they choose between.

PARTLY = {"filled_qty": "0.0005", "filled_avg_price": "51000"}
HELD, DUST = Decimal("0.002"), Decimal("0.00005")
OWN_REST = {"cooldown_until": NOW + timedelta(seconds=1)}
GUARDS = [
    # guard, what it depends on, the cycle before, the outcome, the circumstances
    (has_replacement, True, {}, {"replaced_by": OTHER_ORDER_ID}, {}),
    (has_replacement, False, {}, {}, {}),
    (is_sold_out, True, {"quantity": HELD}, {"quantity": 0, "sold_qty": HELD}, {}),
    (is_sold_out, True, {"quantity": HELD}, {"sold_qty": HELD - DUST}, {}),
    (is_sold_out, True, {"quantity": HELD}, {"sold_qty": 2 * HELD}, {}),
    (is_sold_out, True, {"quantity": HELD}, {"sold_qty": HELD / 2}, {"coin_fees": HELD / 2}),
    (is_sold_out, False, {"quantity": HELD}, {"sold_qty": HELD / 2}, {}),
    (is_sold_out, False, {"quantity": DUST}, {"quantity": DUST}, {}),
    (is_closed_by_user, True, {"close_requested": True}, {}, {}),
    (is_closed_by_user, True, {"close_requested": True}, {"quantity": DUST}, {}),
    (is_closed_by_user, False, {"close_requested": True}, {"quantity": HELD}, {}),
    (is_closed_by_user, False, {}, {}, {}),
    (was_sold_meanwhile, True, {"quantity": DUST}, {"quantity": DUST}, {}),
    (was_sold_meanwhile, False, {"quantity": HELD}, {"quantity": HELD}, {}),
    (was_sold_meanwhile, False, {"quantity": DUST, "last_order_fill_price": None}, {}, {}),
    (was_sold_meanwhile, False, {"last_order_fill_price": Decimal(1)}, {}, {}),
    (is_cooling_down, True, {}, {}, OWN_REST),
    (is_cooling_down, True, {}, {"quantity": DUST}, OWN_REST),
    (is_cooling_down, False, {}, {"quantity": HELD}, OWN_REST),
    (is_cooling_down, False, {}, {}, {"cooldown_until": NOW}),
    (is_cooling_down, False, {}, {}, OWN_REST | {"after_error": True}),
    (is_cooling_down, False, {}, {}, {}),
]


@pytest.mark.parametrize(("guard", "holds", "cycle", "outcome", "circumstances"), GUARDS)
def test_each_guard_holds_and_does_not(guard, holds, cycle, outcome, circumstances):
    outcome = {"quantity": Decimal(0)} | outcome
    found = Outcome(circumstances=build_circumstances(**circumstances), **outcome)
    assert guard(build_cycle(**cycle), found) is holds


def test_every_guard_of_the_table_has_a_case_each_way():
    in_table = {way.guard for ways in TRANSITIONS.values() for way in ways} - {None}
    assert {(guard, holds) for guard, holds, *_ in GUARDS} == set(
        itertools.product(in_table, [True, False])
    )


def test_only_the_last_way_of_a_row_has_no_guard_so_that_every_row_leads_somewhere():
    for pair, ways in TRANSITIONS.items():
        assert [way.guard is None for way in ways] == [False] * (len(ways) - 1) + [True], pair


def test_every_target_of_every_row_is_reached_by_some_cycle():
    quantities = [Decimal(0), DUST, HELD]
    for (status, fact), ways in TRANSITIONS.items():
        reached = set()
        for quantity, asked, replaced_by, sold, cools in itertools.product(
            quantities, [True, False], [OTHER_ORDER_ID, None], [True, False], [True, False]
        ):
            cycle = build_cycle(status=status, quantity=quantity, close_requested=asked)
            outcome = Outcome(
                circumstances=COOLING_DOWN if cools else AROUND,
                quantity=Decimal(0) if sold else quantity,
                sold_qty=quantity if sold else Decimal(0),
                replaced_by=replaced_by,
            )
            reached.add(target_of(cycle, fact, outcome))
        assert reached == {way.target or status for way in ways}


def test_every_status_is_reached_from_the_first_one_and_every_end_has_a_successor():
    reached, new = set(), {CycleStatus.WATCHING}
    while new:
        reached |= new
        ways = [w for (status, _), ways in TRANSITIONS.items() if status in new for w in ways]
        followers = {SUCCESSORS[status] for status in new if status in SUCCESSORS}
        new = ({way.target for way in ways if way.target} | followers) - reached
    assert reached == set(CycleStatus)
    assert {status for status in CycleStatus if status not in OPEN_STATUSES} == set(SUCCESSORS)
    assert set(SUCCESSORS.values()) <= set(OPEN_STATUSES)


def test_a_forbidden_pair_is_named():
    with pytest.raises(ForbiddenTransition, match="a cycle in error cannot have sell_opened"):
        target_of(build_cycle(status="error"), Fact.SELL_OPENED)


@pytest.mark.parametrize(
    ("fills", "quantity", "sold_qty"),
    [
        ({"side": "buy"} | PARTLY, "0.0025", "0"),
        ({"side": "sell"} | PARTLY, "0.0015", "0.0005"),
        ({"side": "sell"} | PARTLY | {"filled_qty": "0.003"}, "0", "0.003"),
    ],
)
def test_an_outcome_is_what_the_fills_leave(fills, quantity, sold_qty):
    cycle = build_cycle(quantity=HELD)
    order = build_order(cycle, replaced_by=OTHER_ORDER_ID, **fills)
    assert outcome_of(cycle, order, AROUND) == Outcome(
        circumstances=AROUND,
        quantity=Decimal(quantity),
        sold_qty=Decimal(sold_qty),
        replaced_by=OTHER_ORDER_ID,
    )


@pytest.mark.parametrize(
    ("side", "cycle", "circumstances", "target", "follower"),
    [
        ("buy", {"quantity": HELD}, AROUND, "watching", None),
        ("buy", {}, COOLING_DOWN, "cooldown", None),
        ("buy", {"close_requested": True}, COOLING_DOWN, "complete", "cooldown"),
        ("sell", {"quantity": HELD}, AROUND, "watching", None),
        ("sell", {"quantity": HELD / 4}, AROUND, "complete", "cooldown"),
    ],
)
def test_a_replaced_order_whose_replacement_is_not_named_ends(
    side, cycle, circumstances, target, follower
):
    cycle = build_cycle(status="watching", **cycle)
    fill = PARTLY if side == "sell" else {}
    order = build_order(cycle, side=side, status="replaced", **fill)
    change = compute_order_change(cycle, order, circumstances)
    assert change.cycle_updates["status"] is CycleStatus(target)
    assert change.cycle_updates["latest_order_id"] is None
    assert change.next_cycle == follower
    assert change.journal.final_status == "replaced"


def test_a_second_sight_of_the_open_order_changes_nothing():
    for status, side in [("buying", "buy"), ("selling", "sell")]:
        cycle = build_cycle(status=status, latest_order_id=ORDER_ID)
        assert compute_order_change(cycle, build_order(cycle, side=side), AROUND) is None


@pytest.mark.parametrize(
    ("status", "buy", "sell"),
    [
        ("filled", Fact.BUY_ENDED, Fact.SELL_ENDED),
        ("canceled", Fact.BUY_ENDED, Fact.SELL_ENDED),
        ("expired", Fact.BUY_ENDED, Fact.SELL_ENDED),
        ("rejected", Fact.BUY_ENDED, Fact.SELL_ENDED),
        ("replaced", Fact.BUY_REPLACED, Fact.SELL_REPLACED),
        *(
            (status, Fact.BUY_OPENED, Fact.SELL_OPENED)
            for status in (
                "new", "accepted", "pending_new", "partially_filled", "done_for_day", "stopped",
                "suspended", "calculated", "pending_cancel", "pending_replace", "held",
                "accepted_for_bidding", "something_alpaca_adds_later",
            )
        ),
    ],
)  # fmt: skip
def test_only_five_statuses_end_an_order_and_any_other_is_open(status, buy, sell):
    fields = {"status": status, "filled_qty": "0.001", "filled_avg_price": "50000"}
    assert fact_of(build_order(side="buy", **fields)) is buy
    assert fact_of(build_order(side="sell", **fields)) is sell
    assert build_order(**fields).is_ended is (status in ENDED_STATUSES)


# Buys.


def test_average_purchase_price_recalculation_logic():
    for average, quantity, price, filled, expected in [
        ("0", "0", "50000", "0.002", "50000"),
        ("50000", "0.002", "40000", "0.002", "45000"),
        ("50000", "0.002", "40000", "0.006", "42500"),
        ("100", "2", "70", "1", "90"),
        ("1", "1", "2", "2", "1.666666666666666666"),  # toward zero: never more than was paid
        ("0.00000001", "1000000000", "0.00000003", "1000000000", "0.00000002"),
    ]:
        found = compute_average_purchase_price(
            Decimal(average), Decimal(quantity), Decimal(price), Decimal(filled)
        )
        assert found == Decimal(expected)


@pytest.mark.parametrize("held", ["0", "-1"])
def test_the_average_of_nothing_held_is_the_price_and_never_a_division_by_zero(held):
    """Rows are written by hand, too: they can hold less than nothing."""
    filled = -Decimal(held)
    assert compute_average_purchase_price(Decimal(9), Decimal(held), Decimal(7), filled) == 7


def bought(qty: str) -> dict[str, str]:
    return {"filled_qty": qty, "filled_avg_price": "50000"}


BASE_FILL, DUST_FILL, PART_FILL = bought("0.002"), bought("0.00005"), bought("0.001")


def held(quantity: str, **columns: object) -> dict[str, object]:
    return {
        "quantity": Decimal(quantity),
        "average_purchase_price": Decimal(50000),
        **columns,
    }


NEW_REFERENCE = {"last_order_fill_price": Decimal(50000)}
BASE = NEW_REFERENCE | {"base_order_price": Decimal(50000)}
COUNTED = NEW_REFERENCE | {"safety_orders": 1}


@pytest.mark.parametrize("status", ["filled", "canceled", "expired", "rejected", "replaced"])
@pytest.mark.parametrize(
    ("why", "before", "fill", "columns", "purpose"),
    [
        ("nothing at all", "0", {}, {}, "base"),
        ("a base order", "0", BASE_FILL, held("0.002", **BASE), "base"),
        ("part of a base order", "0", PART_FILL, held("0.001", **BASE), "base"),
        ("dust of a base order", "0", DUST_FILL, held("0.00005"), "base"),
        ("a base on dust", "0.0001", BASE_FILL, held("0.0021", **BASE), "base"),
        ("part of a safety order", "0.001", PART_FILL, held("0.002", **COUNTED), "safety"),
        ("dust of a safety order", "0.002", DUST_FILL, held("0.00205"), "safety"),
    ],
    ids=lambda value: value.replace(" ", "_") if isinstance(value, str) and " " in value else "",
)
def test_what_was_filled_counts_whatever_the_end(why, before, fill, columns, purpose, status):
    if status == "filled" and not fill:
        return  # the exchange never says so, and the parser refuses it
    cycle = build_cycle(quantity=Decimal(before), status="buying", order_seq=0)
    order = build_order(cycle, status=status, **fill)
    change = compute_order_change(cycle, order, AROUND)
    assert dict(change.cycle_updates) == columns | {
        "status": CycleStatus.WATCHING,
        "latest_order_id": None,
        "order_seq": 1,
    }
    entry = change.journal
    assert (entry.purpose, entry.final_status) == (Purpose(purpose), status)
    assert entry.filled_qty == order.filled_qty
    assert entry.fee_qty == order.filled_qty * FEE_RATE
    assert (entry.fee_usd, entry.fee_is_estimated) == (0, True)
    assert entry.ended_at == order.ended_at != NOW


@pytest.mark.parametrize("side", ["buy", "sell"])
def test_a_replaced_order_is_followed_and_what_it_filled_is_booked(side):
    cycle = build_cycle(status="buying", quantity=Decimal("0.004"), latest_order_id=ORDER_ID)
    if side == "sell":
        cycle = replace(cycle, status=CycleStatus.SELLING)
    order = build_order(
        cycle, side=side, status="replaced", replaced_by=OTHER_ORDER_ID, **PART_FILL
    )
    change = compute_order_change(cycle, order, AROUND)
    updates = dict(change.cycle_updates)
    assert updates["status"] is cycle.status
    assert updates["latest_order_id"] == OTHER_ORDER_ID
    assert updates["order_seq"] == cycle.order_seq + 1
    assert updates["quantity"] == Decimal("0.005" if side == "buy" else "0.003")


# In cooldown.


@pytest.mark.parametrize(
    ("why", "circumstances", "fill", "expected"),
    [
        ("canceled in cooldown", COOLING_DOWN, {}, "cooldown"),
        ("filled dust in cooldown", COOLING_DOWN, DUST_FILL, "cooldown"),
        ("bought in cooldown", COOLING_DOWN, PART_FILL, "watching"),
        ("the cooldown is over", replace(COOLING_DOWN, cooldown_until=NOW), {}, "watching"),
        ("never had one", AROUND, {}, "watching"),
        ("waits after an error", replace(COOLING_DOWN, after_error=True), {}, "watching"),
    ],
    ids=lambda value: value.replace(" ", "_") if isinstance(value, str) and " " in value else "",
)
@pytest.mark.parametrize("status", ["buying", "cooldown"])
def test_a_canceled_early_restart_waits_for_what_is_left_of_the_cooldown(
    why, circumstances, fill, expected, status
):
    cycle = build_cycle(status=status, latest_order_id=ORDER_ID)
    order = build_order(cycle, status="canceled", **fill)
    change = compute_order_change(cycle, order, circumstances)
    assert change.cycle_updates["status"] is CycleStatus(expected)


# Sells.


def sold(filled, *, status, quantity="0.004", price="51000", **circumstances):
    cycle = build_cycle(status="selling", quantity=Decimal(quantity))
    fill = {"filled_qty": filled, "filled_avg_price": price if Decimal(filled) else None}
    order = build_order(cycle, side="sell", qty=quantity, status=status, **fill)
    return compute_order_change(cycle, order, replace(AROUND, **circumstances))


@pytest.mark.parametrize("status", ["canceled", "expired", "rejected"])
@pytest.mark.parametrize(
    ("filled", "left"), [("0", None), ("0.001", "0.003"), ("0.0038", "0.0002")]
)
def test_a_sell_that_ends_early_keeps_what_was_not_sold(status, filled, left):
    change = sold(filled, status=status)
    expected = {"status": CycleStatus.WATCHING, "latest_order_id": None, "order_seq": 2}
    if left:
        expected["quantity"] = Decimal(left)
    assert dict(change.cycle_updates) == expected
    assert change.next_cycle is None
    assert change.journal.fee_usd == compute_usd_fee(Decimal(filled), Decimal(51000), FEE_RATE)


@pytest.mark.parametrize(
    ("status", "filled", "coin_fees", "note"),
    [
        ("canceled", "0.0039", "0", "0.0001 coins could not be sold"),
        ("expired", "0.00391", "0.00001", "0.00008 coins could not be sold"),
        ("filled", "0.00399", "0.00001", None),  # what is left in the database is the fee
        ("filled", "0.004", "0", None),
        ("filled", "0.0039", "0", "0.0001 coins could not be sold"),
    ],
)
def test_a_sell_that_leaves_only_dust_completes_the_cycle(status, filled, coin_fees, note):
    change = sold(filled, status=status, coin_fees=Decimal(coin_fees))
    assert change.cycle_updates["status"] is CycleStatus.COMPLETE
    assert change.next_cycle is CycleStatus.COOLDOWN
    assert change.asset_updates == {"last_sell_price": Decimal(51000)}
    assert change.journal.note == note
    assert change.journal.purpose is Purpose.TAKE_PROFIT
    assert (change.journal.fee_qty, change.journal.fee_usd) == (
        0,
        compute_usd_fee(Decimal(filled), Decimal(51000), FEE_RATE),
    )


@pytest.mark.parametrize("status", ["watching", "buying", "selling"])
def test_a_sold_out_cycle_is_complete_from_every_status_that_can_have_a_sell(status):
    cycle = cycle_in(CycleStatus(status))
    change = compute_order_change(cycle, build_order(cycle, status="filled", **SOLD_OUT), AROUND)
    assert dict(change.cycle_updates) == ENDED | {
        "status": CycleStatus.COMPLETE,
        "completed_at": NOW - timedelta(seconds=1),
    }
    assert dict(change.asset_updates) == {"last_sell_price": Decimal(51000)}
    assert change.next_cycle is CycleStatus.COOLDOWN


@pytest.mark.parametrize(("filled", "left"), [("0.001", "0.003"), ("0.0038", "0.0002")])
def test_a_filled_sell_that_leaves_more_than_fees_explain_does_not_end_the_cycle(filled, left):
    """A position that lagged named fewer coins than there are: the rest must not be nobody's."""
    change = sold(filled, status="filled")
    assert dict(change.cycle_updates) == {
        "status": CycleStatus.WATCHING,
        "latest_order_id": None,
        "order_seq": 2,
        "quantity": Decimal(left),
    }
    assert (change.next_cycle, dict(change.asset_updates)) == (None, {})
    assert change.journal.filled_qty == Decimal(filled)
    [event] = change.events
    assert event.kind == "sale_incomplete"
    assert f"{left} of the cycle are left" in event.reason


@given(
    bought=st.decimals("0.0002", "100", places=8),
    fee_rate=st.decimals("0", "0.0025", places=4),
    floored=st.decimals("0", "0.00000001", places=9),
)
def test_what_the_exchange_left_of_a_cycle_and_was_sold_whole_ends_it(bought, fee_rate, floored):
    """However large the position: the coin fee alone can be more than the smallest order."""
    sold_qty = bought * (1 - fee_rate) - floored
    cycle = build_cycle(status="selling", quantity=bought)
    order = build_order(
        cycle, side="sell", status="filled", filled_qty=sold_qty, filled_avg_price="51000"
    )
    change = compute_order_change(cycle, order, AROUND)
    assert change.cycle_updates["status"] is CycleStatus.COMPLETE


def test_a_canceled_sell_of_dust_that_sold_nothing_does_not_complete():
    change = sold("0", status="canceled", quantity="0.00005")
    assert change.cycle_updates["status"] is CycleStatus.WATCHING


def test_the_end_is_timed_by_the_exchange():
    change = sold("0.004", status="filled")
    assert change.cycle_updates["completed_at"] == NOW - timedelta(seconds=1)


# Properties.

fills = st.lists(
    st.tuples(
        st.decimals("0.000000001", "1000", places=9),
        st.decimals("0.00000001", "200000", places=8).filter(lambda price: price > 0),
        st.sampled_from(["filled", "canceled", "expired", "rejected"]),
    ),
    max_size=6,
)


@given(fills)
def test_quantity_is_the_sum_and_cost_is_conserved_over_any_fills(parts):
    cycle = build_cycle(status="buying")
    rules = build_rules()
    for qty, price, status in parts:
        order = build_order(cycle, status=status, filled_qty=qty, filled_avg_price=price)
        change = compute_order_change(cycle, order, AROUND)
        cycle = replace(
            cycle,
            **change.cycle_updates,
        )
        cycle = replace(cycle, status=CycleStatus.BUYING)
    assert cycle.order_seq == len(parts)
    assert cycle.quantity == sum((qty for qty, _, _ in parts), Decimal(0))
    cost = sum((qty * price for qty, price, _ in parts), Decimal(0))
    assert (
        0
        <= cost - cycle.quantity * cycle.average_purchase_price
        <= Decimal("1e-12") + cost / 10**15
    )
    countable = [qty for qty, _, _ in parts if not is_dust(qty, rules, FEE_RATE)]
    assert cycle.safety_orders <= len(countable)


def test_a_whole_safety_order_counts_even_where_its_coins_alone_could_not_be_sold():
    """One coin of a coin without fractions is dust by itself: 0.9975 are left after the fee."""
    rules = build_rules(min_order_size="1", min_trade_increment="1")
    cycle = build_cycle(quantity=Decimal(3), status="buying")
    order = build_order(cycle, status="filled", qty="1", filled_qty="1", filled_avg_price="49000")
    change = compute_order_change(cycle, order, build_circumstances(rules=rules))
    assert change.cycle_updates["safety_orders"] == 1
    assert change.cycle_updates["last_order_fill_price"] == 49000
    part = build_order(cycle, status="canceled", qty="2", filled_qty="1", filled_avg_price="49000")
    change = compute_order_change(cycle, part, build_circumstances(rules=rules))
    assert "safety_orders" not in change.cycle_updates


@given(
    side=st.sampled_from(list(Side)),
    status=st.sampled_from([*sorted(ENDED_STATUSES), "new", "partially_filled"]),
    cycle_status=st.sampled_from(list(CycleStatus)),
    filled=st.decimals("0", "0.01", places=6),
)
def test_no_change_touches_what_identifies_the_cycle(side, status, cycle_status, filled):
    cycle = cycle_in(cycle_status)
    fields = {"filled_qty": filled, "filled_avg_price": "50000" if filled else None}
    try:
        change = compute_order_change(
            cycle, build_order(cycle, side=side, status=status, **fields), AROUND
        )
    except ForbiddenTransition:
        return
    if change is not None:
        assert not {"id", "asset_id", "order_key", "created_at"} & change.cycle_updates.keys()
        ended = change.cycle_updates.get("order_seq", cycle.order_seq) - cycle.order_seq
        assert ended == (1 if change.journal else 0)


def test_an_asset_without_cooldown_still_opens_its_next_cycle_in_cooldown():
    circumstances = replace(AROUND, asset=build_asset(cooldown_period=0))
    cycle = cycle_in(CycleStatus.SELLING)
    order = build_order(cycle, status="filled", **SOLD_OUT)
    assert compute_order_change(cycle, order, circumstances).next_cycle == "cooldown"


def test_a_buy_that_ended_beside_a_late_sale_and_bought_nothing_ends_the_cycle():
    """Its ladder may be spent: back in watching it could neither buy nor sell for ever."""
    cycle = build_cycle(status="buying", quantity=Decimal("0.0000005"), safety_orders=2)
    order = build_order(cycle, status="canceled")
    change = compute_order_change(cycle, order, build_circumstances())
    assert change.cycle_updates["status"] == CycleStatus.COMPLETE
    assert change.cycle_updates["order_seq"] == cycle.order_seq + 1
    assert change.next_cycle is CycleStatus.COOLDOWN


def test_a_base_order_that_bought_only_dust_does_not_end_the_cycle():
    cycle = replace(build_cycle(status="buying"), quantity=Decimal("0.0000005"))
    change = compute_order_change(
        cycle, build_order(cycle, status="canceled"), build_circumstances()
    )
    assert change.cycle_updates["status"] == CycleStatus.WATCHING


# What the exchange may leave out, and what only looks the same.


def test_a_status_follows_an_order_that_is_linked_already():
    cycle = build_cycle(status="watching", latest_order_id=ORDER_ID)
    change = compute_order_change(cycle, build_order(cycle), AROUND)
    assert change.cycle_updates["status"] is CycleStatus.BUYING


def test_an_end_without_a_time_of_its_own_is_timed_by_the_clock():
    cycle = cycle_in(CycleStatus.SELLING)
    order = replace(build_order(cycle, status="filled", **SOLD_OUT), ended_at=None)
    change = compute_order_change(cycle, order, AROUND)
    assert change.cycle_updates["completed_at"] == change.journal.ended_at == NOW


def test_a_fill_of_an_order_without_a_size_is_not_taken_for_a_whole_one():
    cycle = build_cycle(status="buying", quantity=HELD)
    order = build_order(cycle, status="canceled", qty=None, **DUST_FILL)
    updates = compute_order_change(cycle, order, AROUND).cycle_updates
    assert updates["quantity"] == HELD + DUST
    assert not {"safety_orders", "last_order_fill_price"} & updates.keys()


def test_a_whole_base_order_that_cannot_be_sold_again_notes_no_reference_price():
    rules = build_rules(min_order_size="1", min_trade_increment="1")
    cycle = build_cycle(status="buying")
    order = build_order(cycle, status="filled", qty="1", filled_qty="1", filled_avg_price="49000")
    updates = compute_order_change(cycle, order, build_circumstances(rules=rules)).cycle_updates
    assert updates["quantity"] == 1
    assert "last_order_fill_price" not in updates


@pytest.mark.parametrize(("filled", "price"), [("0", Decimal(1)), ("0.002", None)])
def test_a_fill_without_coins_or_without_a_price_updates_nothing(filled, price):
    order = replace(build_order(), filled_qty=Decimal(filled), filled_avg_price=price)
    assert compute_fill_updates(build_cycle(), order, AROUND, held_before=False) == {}


@given(
    price=st.decimals("0.000000000000000001", "200000", places=18).filter(lambda price: price > 0),
    filled=st.decimals("0.000000001", "1000000000000000000", places=18),
)
def test_the_average_of_a_first_fill_is_its_price_to_the_last_digit(price, filled):
    found = compute_average_purchase_price(Decimal(0), Decimal(0), price, filled)
    assert found == price
