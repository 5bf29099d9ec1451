"""The client_order_id: one state of a cycle, one id; and only ids of ours are read as ours."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import build_cycle
from domain.cycle import CycleStatus
from domain.orders import UnreadableOrder
from strategy.order_identity import (
    OrderIdentity,
    compute_client_order_id,
    has_our_prefix,
    may_be_ours,
    parse_client_order_id,
)


def test_the_id_names_cycle_token_and_seq():
    cycle = build_cycle(id=42, order_key="a1b2c3d4", order_seq=3)
    assert compute_client_order_id(cycle) == "dca-42-a1b2c3d4-3"
    assert compute_client_order_id(cycle, order_seq=7) == "dca-42-a1b2c3d4-7"
    assert compute_client_order_id(cycle, order_seq=0) == "dca-42-a1b2c3d4-0"


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"order_seq": 1}, False),
        ({"id": 43}, False),
        ({"order_key": "00000000"}, False),
        ({"status": CycleStatus.BUYING}, True),
        ({"latest_order_id": "anything"}, True),
        ({"safety_orders": 2}, True),
    ],
)
def test_only_cycle_token_and_seq_make_another_id(change, same):
    cycle = build_cycle()
    other = replace(cycle, **change)
    assert (compute_client_order_id(other) == compute_client_order_id(cycle)) is same


keys = st.text("0123456789abcdefABCDEFxyz", min_size=8, max_size=8)


@given(cycle_id=st.integers(1, 2**31 - 1), key=keys, seq=st.integers(0, 2**31 - 1))
def test_every_id_is_read_back_and_fits_the_exchange(cycle_id, key, seq):
    text = compute_client_order_id(build_cycle(id=cycle_id, order_key=key, order_seq=seq))
    assert parse_client_order_id(text) == OrderIdentity(cycle_id, key, seq)
    assert has_our_prefix(text)
    assert len(text) <= 128


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dca-",
        "dca-1-a1b2c3d4",
        "dca-0-a1b2c3d4-0",
        "dca-01-a1b2c3d4-0",
        "dca-1-a1b2c3d4-00",
        "dca-1-a1b2c3d-0",
        "dca-1-a1b2c3d4-0/c1",
        "dca-1-a1b2c3d4-0\n",
        " dca-1-a1b2c3d4-0",
        "DCA-1-a1b2c3d4-0",
        "dca-1-a1b2c3d4--1",
        "dca-12345678901-a1b2c3d4-0",
        "dca-\u0661-a1b2c3d4-0",
        "0f1f3764-107a-4d09-8b9a-d75a11738f5c",
    ],
)
def test_what_is_not_exactly_an_id_of_ours_is_not_read_as_one(text):
    assert parse_client_order_id(text) is None


@given(st.text(max_size=40))
def test_reading_any_text_never_fails(text):
    identity = parse_client_order_id(text)
    assert identity is None or has_our_prefix(text)


@pytest.mark.parametrize(
    ("text", "ours"),
    [("dca-", True), ("dca-something", True), ("dc-1", False), ("my-dca-1", False), ("", False)],
)
def test_a_malformed_id_with_our_prefix_still_claims_to_be_ours(text, ours):
    assert has_our_prefix(text) is ours


@pytest.mark.parametrize(
    ("why", "identity", "linked", "symbols", "ours"),
    [
        ("its id", "dca-odd", (), (), True),
        ("a cycle is linked to it", "x", ("1", "2"), ("ETH/USD",), True),
        ("its symbol", "x", ("2",), ("BTC/USD",), True),
        ("nothing", "x", ("2",), ("ETH/USD",), False),
        ("nothing at all", "x", (), (), False),
    ],
)
def test_an_order_that_cannot_be_read_is_ours_by_any_one_sign(why, identity, linked, symbols, ours):
    order = UnreadableOrder(id="1", client_order_id=identity, symbol="BTC/USD", problem="no price")
    assert may_be_ours(order, linked, symbols) is ours
