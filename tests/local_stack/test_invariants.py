"""The invariants find what they should: sound evidence passes, each single fault is named."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from builders import FEE_RATE, NOW, SYMBOL, build_asset, build_cycle, build_entry, build_order
from builders import build_rules as rules_of
from domain.asset import SafetyOrderReference
from domain.cycle import CycleStatus
from domain.journal import Purpose
from domain.orders import Side
from local_stack.audit.holdings import find_unreported
from local_stack.audit.invariants import find_excess_requests, find_unresolved, find_violations
from local_stack.audit.ledgers import Evidence, Extremes, Fill, OrderStep, match_evidence
from local_stack.audit.spending import find_oversold, find_overspent
from local_stack.audit.take_profits import find_left_behind
from local_stack.chaos.fees import find_fee_faults
from local_stack.chaos.left_buys import find_delays, trace_left_buy
from local_stack.chaos.market_faults import LeftBuy

D = Decimal
BASE = SafetyOrderReference.BASE_ORDER


class Story:
    """Builds the evidence of one cycle from what happened, in order."""

    def __init__(self) -> None:
        self.asset = build_asset(base_order_amount=D(100), safety_order_amount=D(50))
        self.orders, self.fills, self.steps, self.journal = [], [], [], []
        self.booked_at = {}

    def step(self, order, event, qty=0, price=0, after=0.0):
        at = NOW + timedelta(seconds=len(self.steps) + after)
        self.steps.append(OrderStep(order.id, event, at, D(qty), D(price)))

    def order(self, seq, side, qty, price, filled, status="filled", purpose=Purpose.SAFETY):
        order = build_order(
            id=f"00000000-0000-4000-8000-00000000000{len(self.orders)}",
            client_order_id=f"dca-42-a1b2c3d4-{seq}",
            side=side,
            qty=qty,
            limit_price=price if side == "buy" else None,
            filled_qty=filled,
            filled_avg_price=price if D(filled) else None,
            status=status,
        )
        self.orders.append(order)
        self.step(order, "pending_new")
        self.step(order, "new")
        if D(filled):
            self.fill(order, filled, price, "fill" if status == "filled" else "partial_fill")
        if status != "filled":
            self.step(order, status)
        entry = build_entry(order, order_seq=seq, purpose=purpose)
        self.journal.append(entry)
        self.booked_at[order.id] = self.steps[-1].at
        return order

    def fill(self, order, qty, price, event):
        self.fills.append(Fill(order.id, SYMBOL, order.side, D(qty), D(price), D(0)))
        self.step(order, event, qty, price)

    def evidence(self, *rows, **changes):
        plain = {
            "assets": (self.asset,),
            "rows": rows,
            "journal": tuple(self.journal),
            "orders": tuple(self.orders),
            "fills": tuple(self.fills),
            "steps": tuple(self.steps),
            "rules": {SYMBOL: rules_of()},
            "fee_rate": FEE_RATE,
            "booked_at": self.booked_at,
        }
        return Evidence(**plain | changes)


def bought_twice(**row):
    story = Story()
    story.order(0, "buy", "0.002", "50000", "0.002", purpose=Purpose.BASE)
    story.order(1, "buy", "0.001", "48000", "0.001")
    plain = {
        "quantity": D("0.003"),
        "average_purchase_price": D("49333.333333333333333333"),
        "last_order_fill_price": D(48000),
        "base_order_price": D(50000),
        "safety_orders": 1,
        "order_seq": 2,
    }
    return story, build_cycle(**plain | row)


def sold(**row):
    story, held = bought_twice()
    story.order(2, "sell", "0.0029925", "51000", "0.0029925", purpose=Purpose.TAKE_PROFIT)
    ended = replace(held, status=CycleStatus.COMPLETE, order_seq=3)
    resting = build_cycle(id=43, status="cooldown")
    return story, replace(ended, **row), resting


def rules_broken(evidence):
    return {violation.rule for violation in find_violations(evidence)}


def test_sound_evidence_holds_every_invariant():
    story, held = bought_twice()
    assert find_violations(story.evidence(held)) == []
    story, ended, resting = sold()
    assert find_violations(story.evidence(ended, resting)) == []


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ({"quantity": D("0.004")}, "row"),
        ({"average_purchase_price": D("49333.3")}, "row"),
        ({"safety_orders": 2}, "row"),
        ({"order_seq": 3}, "row"),
        ({"last_order_fill_price": D(50000)}, "row"),
        ({"base_order_price": D(49999)}, "row"),
        ({"status": CycleStatus.BUYING}, "resolved"),
        ({"status": CycleStatus.COMPLETE}, "row"),
        ({"status": CycleStatus.ERROR}, "no error"),
    ],
)
def test_a_row_that_says_anything_else_than_its_fills_is_found(row, rule):
    story, held = bought_twice(**row)
    assert rule in rules_broken(story.evidence(held))


def test_a_fill_that_is_not_booked_is_unsettled_and_a_violation():
    story, held = bought_twice()
    evidence = story.evidence(held, journal=tuple(story.journal[:1]))
    assert [one.rule for one in find_unresolved(evidence)] == ["resolved"]
    assert {"resolved", "row"} <= rules_broken(evidence)


def test_a_fill_that_is_booked_twice_is_found():
    story, held = bought_twice()
    twice = replace(story.journal[1], client_order_id="dca-42-a1b2c3d4-1/c1")
    assert {"journal", "row"} <= rules_broken(story.evidence(held, journal=(*story.journal, twice)))


def test_two_orders_for_one_state_are_found_though_each_is_small():
    story, held = bought_twice()
    story.order(1, "buy", "0.0001", "48000", "0", status="canceled")
    assert "one order for one state" in rules_broken(story.evidence(held))


def test_an_order_beside_an_open_one_is_found():
    story = Story()
    first = story.order(0, "buy", "0.001", "50000", "0", status="new")
    story.journal.clear()
    story.steps = [one for one in story.steps if one.event == "pending_new"]
    story.order(1, "buy", "0.0005", "50000", "0", status="canceled")
    evidence = story.evidence(build_cycle(status="buying", latest_order_id=first.id))
    assert "one order at a time" in rules_broken(evidence)


def test_buys_beyond_the_ladder_are_found_by_their_limits_even_when_they_did_not_fill():
    story, held = bought_twice()
    story.order(2, "buy", "0.003", "47000", "0", status="canceled")
    assert "money: the ladder" in rules_broken(story.evidence(replace(held, order_seq=3)))


def test_a_late_fill_counts_against_the_ladder_once_the_bot_has_booked_it():
    story, _ = bought_twice()
    late = story.order(2, "buy", "0.002", "47000", "0", status="canceled")
    story.fill(late, "0.002", "47000", "fill")
    story.order(3, "buy", "0.001", "47000", "0", status="canceled")
    [cycle] = match_evidence(story.evidence(build_cycle())).cycles
    story.booked_at[late.id] = story.steps[-3].at - timedelta(seconds=1)
    assert list(find_overspent(cycle, story.booked_at)) == [], "it was on its way"
    story.booked_at[late.id] = story.steps[-3].at - timedelta(seconds=3)
    assert len(list(find_overspent(cycle, story.booked_at))) == 1


def test_more_sold_than_bought_is_found():
    story, held = bought_twice()
    story.order(2, "sell", "0.0031", "51000", "0.0031", purpose=Purpose.TAKE_PROFIT)
    ended = replace(held, status=CycleStatus.COMPLETE, order_seq=3)
    assert "money: sold no more than bought" in rules_broken(story.evidence(ended))


def test_what_cycles_before_could_not_sell_may_be_sold_with_the_next_one():
    story, held = bought_twice()
    story.order(2, "sell", "0.0030075", "51000", "0.0030075", purpose=Purpose.TAKE_PROFIT)
    [cycle] = match_evidence(story.evidence(held)).cycles
    assert len(list(find_oversold(cycle, {}, D("0.000007")))) == 2, (
        "when it was sent, and at the end"
    )
    assert list(find_oversold(cycle, {}, D("0.0000075"))) == []


def test_a_late_fill_that_was_corrected_is_sound():
    story, held = bought_twice()
    late = story.order(2, "buy", "0.001", "47000", "0.0004", status="canceled")
    story.fill(late, "0.0006", "47000", "fill")
    story.orders[-1] = replace(late, filled_qty=D("0.001"), status="filled")
    corrected = replace(
        story.journal[-1], client_order_id=f"{late.client_order_id}/c1", filled_qty=D("0.0006")
    )
    story.journal.append(corrected)
    row = replace(
        held,
        quantity=D("0.004"),
        average_purchase_price=D("48749.999999999999999999"),
        last_order_fill_price=D(47000),
        safety_orders=2,
        order_seq=3,
    )
    assert find_violations(story.evidence(row)) == []


def sold_late(story, held, **row):
    """The sell was canceled, and filled after that."""
    sell = story.order(2, "sell", "0.0029925", "51000", "0", "canceled", Purpose.TAKE_PROFIT)
    story.fill(sell, "0.0029925", "51000", "fill")
    filled = {"filled_qty": D("0.0029925"), "filled_avg_price": D(51000)}
    story.orders[-1] = replace(sell, status="filled", **filled)
    late = replace(
        story.journal[-1],
        client_order_id=f"{sell.client_order_id}/c1",
        final_status="filled",
        **filled,
    )
    return late, sell, replace(held, **row)


def test_a_sell_that_filled_late_completes_the_cycle():
    story, held = bought_twice()
    late, sell, row = sold_late(story, held, status=CycleStatus.COMPLETE, order_seq=3)
    story.journal.append(late)
    story.booked_at[sell.id] = story.steps[-1].at
    assert find_violations(story.evidence(row, build_cycle(id=43))) == []
    left_open = replace(row, status=CycleStatus.WATCHING, quantity=D("0.0000075"))
    assert rules_broken(story.evidence(left_open)) == {"row"}


def test_a_sell_that_filled_late_beside_the_next_order_leaves_the_cycle_to_that_order():
    story, held = bought_twice()
    late, sell, row = sold_late(story, held, quantity=D("0.0000075"), order_seq=3)
    story.journal.append(late)
    following = story.order(3, "buy", "0.0005", "47500", "0", status="new")
    story.steps.pop()
    unfinished = story.journal.pop()
    story.booked_at[sell.id] = story.steps[-1].at + timedelta(seconds=1)
    buying = replace(row, status=CycleStatus.BUYING, latest_order_id=following.id)
    assert find_violations(story.evidence(buying)) == []

    story.step(following, "canceled")
    story.orders[-1] = replace(following, status="canceled")
    story.journal.append(replace(unfinished, final_status="canceled"))
    ended = replace(row, status=CycleStatus.COMPLETE, order_seq=4)
    assert find_violations(story.evidence(ended, build_cycle(id=43))) == []
    assert rules_broken(story.evidence(replace(row, order_seq=4))) == {"row"}


def test_a_partial_sell_leaves_the_rest_in_the_cycle():
    story, held = bought_twice()
    story.order(2, "sell", "0.0029925", "51000", "0.001", "canceled", Purpose.TAKE_PROFIT)
    assert find_violations(story.evidence(replace(held, quantity=D("0.002"), order_seq=3))) == []


def test_a_replaced_order_goes_on_under_another_id():
    story = Story()
    first = story.order(0, "buy", "0.002", "50000", "0", "replaced", Purpose.BASE)
    heir = story.order(1, "buy", "0.002", "49900", "0.002", purpose=Purpose.BASE)
    story.orders[0] = replace(first, replaced_by=heir.id)
    story.orders[1] = replace(heir, client_order_id="chosen-by-the-exchange")
    row = build_cycle(
        quantity=D("0.002"),
        average_purchase_price=D(49900),
        last_order_fill_price=D(49900),
        base_order_price=D(49900),
        order_seq=2,
    )
    assert find_violations(story.evidence(row)) == []


def test_strays_are_found():
    story, held = bought_twice()
    foreign = build_order(client_order_id="dca-9-ffffffff-0", status="canceled")
    assert "claimed" in rules_broken(story.evidence(held, orders=(*story.orders, foreign)))


@pytest.mark.parametrize("rows", [(), (build_cycle(), build_cycle(id=43))], ids=["none", "two"])
def test_an_asset_has_exactly_one_open_cycle(rows):
    assert rules_broken(Story().evidence(*rows)) == {"one open cycle"}


def test_an_end_in_error_is_allowed_only_where_coins_were_taken():
    story, held = bought_twice(status=CycleStatus.ERROR)
    evidence = story.evidence(held, build_cycle(id=43), shrunk_symbols=frozenset({SYMBOL}))
    assert find_violations(evidence) == []


def test_a_balance_changed_behind_the_bots_back_must_be_reported():
    story, held = bought_twice()
    evidence = story.evidence(held)
    assert find_unreported(evidence, {SYMBOL: D("0.003")}, []) == []
    [found] = find_unreported(evidence, {SYMBOL: D("0.001")}, [])
    assert found.rule == "reported"
    [found] = find_unreported(evidence, {SYMBOL: D("0.005")}, [])
    reported = [{"cycle_id": held.id, "kind": "position_short"}]
    assert find_unreported(evidence, {SYMBOL: D("0.001")}, reported) == []


def test_a_minute_with_200_requests_is_one_too_many():
    assert list(find_excess_requests(199)) == []
    assert len(list(find_excess_requests(200))) == 1


@pytest.mark.parametrize(
    ("bids", "is_found"),
    [
        (("50320",), False),
        (("50320", "47000"), False),  # the newest may still have been on its way
        (("50319.9", "47000"), True),
        ((), True),
    ],
)
def test_a_take_profit_needs_a_bid_at_its_target_among_the_quotes_that_could_decide(bids, is_found):
    story, ended, resting = sold()
    sale = story.orders[-1]
    sent = {sale.id: tuple(D(bid) for bid in bids)}
    broken = rules_broken(story.evidence(ended, resting, quotes_sent=sent))
    assert broken == ({"sale: at a bid that is there"} if is_found else set())
    wanted = replace(ended, close_requested=True)
    assert rules_broken(story.evidence(wanted, resting, quotes_sent=sent)) == set()


def sold_in_part(**row):
    """The position lagged: only that much was sold, and filled."""
    story, held = bought_twice()
    story.order(2, "sell", "0.0015", "51000", "0.0015", purpose=Purpose.TAKE_PROFIT)
    return story, replace(held, **{"order_seq": 3, "quantity": D("0.0015")} | row)


def test_a_filled_sell_that_leaves_coins_leaves_them_in_the_cycle():
    story, row = sold_in_part()
    assert find_violations(story.evidence(row)) == []
    complete = replace(row, status=CycleStatus.COMPLETE, quantity=D("0.003"))
    left_behind = {"row", "sale: nothing left behind"}
    evidence = story.evidence(complete, build_cycle(id=43))
    assert rules_broken(evidence) == left_behind
    assert rules_broken(replace(evidence, taken={SYMBOL: D("0.001")})) == left_behind
    assert rules_broken(replace(evidence, taken={SYMBOL: D("0.0015")})) == {"row"}


def test_coins_that_came_late_may_stay_behind_until_the_bot_knew_of_them():
    story, held = bought_twice()
    late = story.order(2, "buy", "0.001", "47000", "0", "canceled")
    story.order(3, "sell", "0.0029925", "51000", "0.0029925", purpose=Purpose.TAKE_PROFIT)
    story.steps.insert(-3, OrderStep(late.id, "fill", story.steps[-4].at, D("0.001"), D(47000)))
    story.fills.append(Fill(late.id, SYMBOL, late.side, D("0.001"), D(47000), D(0)))
    ended = replace(held, status=CycleStatus.COMPLETE, order_seq=4)
    sent_at = story.steps[-3].at

    def left_behind(booked_at):
        story.booked_at[late.id] = booked_at
        [cycle, _] = match_evidence(story.evidence(ended, build_cycle(id=43))).cycles
        return list(find_left_behind(cycle, story.evidence(ended)))

    assert left_behind(sent_at + timedelta(seconds=1)) == []
    assert len(left_behind(sent_at - timedelta(seconds=3))) == 1


def settled_fees(story, *fees):
    """The rows of the journal with these fees, posted."""
    names = [("fee_qty" if row.side is Side.BUY else "fee_usd") for row in story.journal]
    return tuple(
        replace(row, fee_is_estimated=False, **{name: D(fee)})
        for row, name, fee in zip(story.journal, names, fees, strict=True)
    )


@pytest.mark.parametrize(
    ("sale_fee", "rules"),
    [
        ("0.39", set()),
        ("0.2290", {"fees: profit not overstated"}),  # the maker's rate explains it
        ("0.2289", {"fees: what a rate explains", "fees: profit not overstated"}),
    ],
)
def test_settled_fees_say_no_less_than_what_was_taken(sale_fee, rules):
    story, ended, resting = sold()
    journal = settled_fees(story, "0.000005", "0.0000025", sale_fee)
    taken = (D("0.000005"), D("0.0000025"), D("0.39"))
    fills = tuple(replace(one, fee=fee) for one, fee in zip(story.fills, taken, strict=True))
    evidence = story.evidence(ended, resting, journal=journal, fills=fills)
    assert {one.rule for one in find_fee_faults(evidence)} == rules


def test_an_estimated_fee_may_be_short_by_the_cent_that_was_rounded_up():
    story, ended, resting = sold()
    rows = settled_fees(story, "0.000005", "0.0000025", "0.3815")
    journal = (*rows[:2], replace(rows[2], fee_is_estimated=True))
    taken = (D("0.000005"), D("0.0000025"), D("0.39"))
    fills = tuple(replace(one, fee=fee) for one, fee in zip(story.fills, taken, strict=True))
    evidence = story.evidence(ended, resting, journal=journal, fills=fills)
    assert list(find_fee_faults(evidence)) == []
    assert len(list(find_fee_faults(replace(evidence, journal=rows)))) == 1


def left_buy(*events):
    """A safety buy that the market left behind at NOW, and what came of it: (seconds, event)."""
    left = LeftBuy(symbol=SYMBOL, order_id="buy", cycle_id=42, moved_at=NOW)
    orders = [
        {"id": "buy", "side": "buy", "client_order_id": "dca-42-a1b2c3d4-1"},
        {"id": "sell", "side": "sell", "client_order_id": "dca-42-a1b2c3d4-2"},
        {"id": "other", "side": "sell", "client_order_id": "dca-41-a1b2c3d4-2"},
    ]
    steps = [
        {
            "order_id": order_id,
            "event": event,
            "at": (NOW + timedelta(seconds=seconds)).isoformat(),
            "qty": None,
            "price": None,
        }
        for seconds, order_id, event in events
    ]
    return left, trace_left_buy(left, {"orders": orders, "steps": steps})


@pytest.mark.parametrize(
    ("events", "waited_seconds", "count"),
    [
        ([(1, "buy", "pending_cancel"), (2, "sell", "pending_new")], 3, 0),
        ([(6, "buy", "canceled"), (7, "sell", "pending_new")], 8, 1),
        ([(1, "buy", "pending_cancel"), (2, "other", "pending_new")], 31, 1),
        ([], 31, 2),
        ([(0.2, "buy", "fill")], 31, 0),
    ],
    ids=["sold", "canceled late", "not sold", "blind", "it filled"],
)
def test_a_resting_buy_must_be_canceled_and_the_position_sold(events, waited_seconds, count):
    left, traced = left_buy(*events)
    assert len(find_delays(left, traced, waited_seconds)) == count


# The place of each buy in its ladder.


def scaled(**columns):
    """A base order at 50,000, then a safety order for 48 USD at 48,000."""
    story, held = bought_twice()
    story.asset = replace(story.asset, **columns)
    return story, held


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({}, None),
        ({"safety_order_amount": D("47.99")}, "safety order 1 is for 47.99"),
        ({"base_order_amount": D(99)}, "costs 100.0000 USD, a base order 99"),
        ({"safety_order_deviation": D("4.1")}, "safety order 1 comes at 47950"),
        ({"max_safety_orders": 0}, "is safety order 1 of 0"),
    ],
)
def test_a_buy_that_is_dearer_or_larger_than_its_place_allows_is_found(columns, words):
    story, held = scaled(**columns)
    found = [one.text for one in find_violations(story.evidence(held)) if "buy" in one.rule]
    assert found == [] if words is None else words in found[0]


@pytest.mark.parametrize(
    ("columns", "price", "usd"),
    [
        ({"safety_order_step_scale": D(2)}, 47040, 50),
        ({"safety_order_step_scale": D(2), "safety_order_reference": BASE}, 48500, 50),
        ({"safety_order_reference": BASE}, 49000, 50),
        ({"safety_order_volume_scale": D("1.555")}, 47520, "77.75"),
    ],
)
def test_a_second_safety_order_is_judged_by_scales_and_reference(columns, price, usd):
    most = (D(usd) / price).quantize(D("1e-9"), rounding="ROUND_DOWN")
    for limit, qty, is_wrong in (
        (price, most, False),
        (D(price) + D("0.01"), most / 2, True),
        (price, most + D("1e-6"), True),
    ):
        story, held = scaled(**columns, max_safety_orders=5)
        story.order(2, "buy", f"{qty}", f"{limit}", "0", "canceled")
        row = replace(held, order_seq=3)
        assert ("buy: its place in the ladder" in rules_broken(story.evidence(row))) is is_wrong


# Trails and stop losses.


def sold_behind_a_trail():
    story, ended, resting = sold()
    story.asset = replace(story.asset, trailing_take_profit_percent=D(1))
    return story, ended, resting  # the target is 50,320


@pytest.mark.parametrize(
    ("bids", "highest", "is_found"),
    [
        (("50400", "49896"), "50400", False),
        (("50400", "49896.01"), "50400", True),  # not fallen by as much
        (("49800",), "50319.9", True),  # never at the target
        ((), "50400", True),
    ],
)
def test_what_trails_needs_a_bid_at_the_target_and_one_that_has_fallen_from_the_highest(
    bids, highest, is_found
):
    story, ended, resting = sold_behind_a_trail()
    sale = story.orders[-1]
    known = {
        "quotes_sent": {sale.id: tuple(D(bid) for bid in bids)},
        "extremes_sent": {sale.id: Extremes(D("47000"), D(highest))},
    }
    broken = rules_broken(story.evidence(ended, resting, **known))
    assert broken == ({"sale: at a bid that is there"} if is_found else set())


def stopped(*, lowest="43000", fired=1, late=0.0, **row):
    """The stop is at 44,400: 10 % below the average."""
    story, held = bought_twice()
    story.asset = replace(story.asset, stop_loss_percent=D(10))
    sale = story.order(2, "sell", "0.0029925", "43000", "0.0029925", purpose=Purpose.STOP_LOSS)
    plain = {"status": CycleStatus.COMPLETE, "order_seq": 3, "stop_loss_fired": True}
    at = story.steps[-1].at - timedelta(seconds=late)
    known = {
        "quotes_sent": {sale.id: (D(lowest),)},
        "extremes_sent": {sale.id: Extremes(D(lowest), D(50000))},
        "stops_fired": {42: (at,) * fired},
    }
    ended = replace(held, **plain | row)
    return story, story.evidence(ended, build_cycle(id=43, status="cooldown"), **known)


def test_a_stop_loss_is_no_take_profit_at_a_bid_that_was_gone():
    _, evidence = stopped(lowest="44399.99")
    assert rules_broken(evidence) == set()


@pytest.mark.parametrize(
    "changes",
    [{"lowest": "44400.01"}, {"fired": 0}, {"fired": 2}, {"stop_loss_fired": False}],
    ids=str,
)
def test_a_stop_loss_fires_once_and_not_above_its_price(changes):
    _, evidence = stopped(**changes)
    assert "sale: a stop loss alone" in rules_broken(evidence)


def test_what_was_bought_after_it_had_fired_says_nothing_of_its_price():
    _, evidence = stopped(lowest="44500", late=60.0)
    assert rules_broken(evidence) == set()


def test_no_take_profit_follows_a_stop_loss():
    story, held = bought_twice()
    story.order(2, "sell", "0.0015", "43000", "0.0015", purpose=Purpose.STOP_LOSS)
    story.order(3, "sell", "0.0014925", "51000", "0.0014925", purpose=Purpose.TAKE_PROFIT)
    ended = replace(held, status=CycleStatus.COMPLETE, order_seq=4, quantity=D("0.0015"))
    ended = replace(ended, stop_loss_fired=True)
    found = rules_broken(story.evidence(ended, build_cycle(id=43, status="cooldown")))
    assert found == {"sale: a stop loss alone"}
