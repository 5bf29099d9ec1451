"""What is true of every history: value is conserved, reservations fit, seeds repeat."""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from paper_exchange.core.errors import ApiError
from paper_exchange.core.orders import Side

D = Decimal
CENTS = st.integers(min_value=1_000_00, max_value=1_500_00).map(lambda cents: D(cents) / 100)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("quote"), CENTS, st.integers(1, 500)),
        st.tuples(st.just("buy"), st.integers(100, 90_000), st.none() | CENTS),
        st.tuples(st.just("sell"), st.integers(10, 90_000), st.none() | CENTS),
        st.tuples(st.just("notional buy"), st.integers(10, 60_000), st.none() | CENTS),
        st.tuples(st.just("notional sell"), st.integers(10, 60_000), st.none() | CENTS),
        st.tuples(st.just("stop sell"), st.integers(10, 90_000), CENTS),
        st.tuples(st.just("cancel"), st.integers(0, 30), st.none()),
        st.tuples(st.just("replace"), st.integers(0, 30), CENTS),
        st.tuples(st.just("end of day"), st.none(), st.none()),
    ),
    max_size=40,
)


def play(desk, steps):
    """One history; refusals are part of it."""
    for kind, first, second in steps:
        try:
            if kind == "quote":
                desk.quote(first, first + D(second) / 100)
            elif kind in ("buy", "sell"):
                desk.order(kind, D(first) / 1000, second)
            elif kind.startswith("notional"):
                desk.order(kind.removeprefix("notional "), None, second, notional=str(first))
            elif kind == "stop sell":
                stop = {"type": "stop_limit", "stop_price": str(second)}
                desk.order("sell", D(first) / 1000, second - 5, **stop)
            elif kind == "end of day":
                desk.exchange.end_day()
            else:
                orders = list(desk.exchange.book.oldest_first())
                if first < len(orders) and kind == "cancel":
                    desk.exchange.cancel(orders[first].id)
                elif first < len(orders):
                    desk.exchange.replace(orders[first].id, {"limit_price": second})
                desk.finish()
        except ApiError:
            continue


def check_invariants(desk):
    exchange = desk.exchange
    account, executions = exchange.account, exchange.activities.executions
    bought = [one for one in executions if one.side is Side.BUY]
    sold = [one for one in executions if one.side is Side.SELL]

    assert account.cash == (
        exchange.initial_cash
        - sum(one.qty * one.price for one in bought)
        + sum(one.qty * one.price - one.fee.usd for one in sold)
    )
    assert account.qty("BTC/USD") == (
        sum(one.qty - one.fee.coins for one in bought) - sum(one.qty for one in sold)
    )
    assert account.cash >= 0
    assert account.reserved_usd() <= account.cash
    assert account.reserved_coins("BTC/USD") <= account.qty("BTC/USD")
    for order in exchange.book.oldest_first():
        mine = [one for one in executions if one.order_id == order.id]
        assert order.filled_qty == sum(one.qty for one in mine)
        assert order.filled_value == sum(one.qty * one.price for one in mine)
        if order.qty is None:
            assert order.filled_value <= order.notional
        else:
            assert order.filled_qty <= order.qty
            assert (order.status.value == "filled") == (order.filled_qty == order.qty)
        for one in mine:
            assert order.working_limit is not None
            fair = one.price <= order.working_limit
            assert fair if order.side is Side.BUY else one.price >= order.working_limit
        assert order.status.is_open == (account.reservation(order.id) is not None)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, probability=st.sampled_from([0.0, 0.3, 1.0]), seed=st.integers(0, 99))
def test_value_is_conserved_by_every_history(make_desk_function, steps, probability, seed):
    desk = make_desk_function(partial_fill_probability=probability, seed=seed)
    play(desk, steps)
    check_invariants(desk)


@settings(max_examples=30, deadline=None)
@given(steps=STEPS, seed=st.integers(0, 99))
def test_the_same_seed_and_steps_give_the_same_history(make_desk_function, steps, seed):
    histories = []
    for _ in range(2):
        desk = make_desk_function(partial_fill_probability=0.5, seed=seed)
        play(desk, steps)
        histories.append(
            [
                (one.event, one.order.id, one.order.status, one.execution_id, one.price, one.qty)
                for one in desk.updates
            ]
        )
    assert histories[0] == histories[1]
