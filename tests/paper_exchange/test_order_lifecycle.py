"""How orders open, fill and end: tables of (order, prices, expected balances), without sockets."""

from decimal import Decimal

import pytest

from paper_exchange.core.errors import ApiError
from paper_exchange.core.orders import TRANSITIONS, Event, IllegalTransition, Status, advance

D = Decimal

# side, qty, limit | first quote | later quote | status, filled at, cash, coins
ONE_ORDER = [
    # A buy that is marketable fills at the quote, not at its limit; taker fee in coins.
    ("buy", "0.1", "60020", (59990, 60010), None, "filled", "60010", "93999", "0.09975"),
    # One that must wait fills when the ask comes down to it; maker fee in coins.
    ("buy", "0.1", "59000", (59990, 60010), (58980, 58990), "filled", "58990", "94101", "0.09985"),
    ("buy", "0.1", "59000", (59990, 60010), (58995, 59001), "new", None, "100000", "0"),
    ("buy", "0.1", None, (59990, 60010), None, "filled", "60010", "93999", "0.09975"),
    # Sells start with one coin; fees in USD, rounded up to the cent.
    ("sell", "0.5", "59900", (60000, 60010), None, "filled", "60000", "129925", "0.5"),
    ("sell", "0.5", "60100", (60000, 60010), (60100, 60110), "filled", "60100", "130004.92", "0.5"),
    ("sell", "0.5", None, (60000, 60010), None, "filled", "60000", "129925", "0.5"),
    ("sell", "0.0001", None, (60001, 60010), None, "filled", "60001", "100005.9801", "0.9999"),
]


@pytest.mark.parametrize(
    ("side", "qty", "limit", "first", "later", "status", "price", "cash", "coins"), ONE_ORDER
)
def test_an_order_fills_at_the_quote_and_pays_its_fee_from_what_it_receives(
    make_desk, side, qty, limit, first, later, status, price, cash, coins
):
    held = (("BTC/USD", D(1), D(50_000)),) if side == "sell" else ()
    desk = make_desk(coins=held)
    desk.quote(*first)
    order = desk.order(side, qty, limit)
    if later:
        desk.quote(*later)
    order = desk.now(order)

    assert order.status.value == status
    assert order.filled_avg_price == (None if price is None else D(price))
    assert order.filled_qty == (D(qty) if status == "filled" else 0)
    assert desk.cash == D(cash)
    assert desk.coins() == D(coins)


def test_an_order_without_a_market_price_rests_and_pays_the_maker_fee(desk):
    order = desk.order("buy", "0.1", "60000")
    assert order.status is Status.NEW
    desk.quote(59000, 59010)
    assert desk.now(order).status is Status.FILLED
    assert desk.coins() == D("0.09985")


def test_a_market_order_without_a_market_price_waits_for_the_first_quote(desk):
    order = desk.order("buy", "0.1")
    assert order.status is Status.NEW
    desk.quote(59000, 59010)
    assert desk.now(order).status is Status.FILLED
    assert desk.coins() == D("0.09975")


def test_a_market_order_rests_when_the_price_ran_more_than_two_percent_away(make_desk):
    desk = make_desk(coins=(("BTC/USD", D(1), D(50_000)),))
    desk.quote(60000, 60010)
    submitted = desk.exchange.submit(_market_sell("0.5"))
    fallen = D("58799")
    desk.exchange.market.post(_quote(desk, fallen, fallen + 10))
    desk.finish()
    assert desk.now(submitted).status is Status.NEW
    assert desk.now(submitted).collar_price == D("58800")
    desk.quote(58800, 58810)
    assert desk.now(submitted).status is Status.FILLED


def test_the_events_of_an_order_come_in_its_order(desk):
    desk.quote(59990, 60010)
    order = desk.order("buy", "0.1", "60020")
    assert desk.events(order) == ["pending_new", "new", "fill"]
    fill = desk.updates[-1]
    assert (fill.qty, fill.price, fill.position_qty) == (D("0.1"), D(60010), D("0.09975"))
    assert fill.execution_id is not None


def test_a_partial_fill_takes_a_part_now_and_the_rest_on_a_later_quote(make_desk):
    desk = make_desk(partial_fill_probability=1.0)
    desk.quote(59990, 60000)
    order = desk.order("buy", "0.1", "60020")
    assert order.status is Status.PARTIALLY_FILLED
    assert 0 < order.filled_qty < D("0.1")
    part = order.filled_qty
    desk.quote(59980, 59990)
    order = desk.now(order)
    assert order.status is Status.FILLED
    assert desk.events(order) == ["pending_new", "new", "partial_fill", "fill"]
    assert desk.updates[-1].qty == D("0.1") - part
    assert order.filled_value == part * 60000 + (D("0.1") - part) * 59990
    # It was marketable on arrival: the later part is the taker's as well.
    assert [one.is_maker for one in desk.exchange.activities.executions] == [False, False]


def test_a_tenth_of_the_orders_fills_in_two_parts(make_desk):
    desk = make_desk(partial_fill_probability=0.1, cash=D(10_000_000))
    desk.quote(59990, 60000)
    for _ in range(400):
        desk.order("buy", "0.001", "60020")
    in_parts = sum(one.first_part is not None for one in desk.exchange.book.oldest_first())
    assert 20 <= in_parts <= 60


def test_an_ioc_order_that_is_not_marketable_is_canceled(desk):
    desk.quote(59990, 60010)
    order = desk.order("buy", "0.1", "59000", time_in_force="ioc")
    assert desk.events(order) == ["pending_new", "new", "canceled"]
    assert desk.exchange.account.available_usd() == 100_000


def test_an_ioc_order_keeps_its_first_part_and_cancels_the_rest(make_desk):
    desk = make_desk(partial_fill_probability=1.0)
    desk.quote(59990, 60010)
    order = desk.order("buy", "0.1", "60020", time_in_force="ioc")
    assert order.status is Status.CANCELED
    assert order.filled_qty > 0


def test_a_stop_limit_waits_until_its_stop_is_reached(make_desk):
    desk = make_desk(coins=(("BTC/USD", D(1), D(50_000)),))
    desk.quote(60000, 60010)
    order = desk.order("sell", "0.5", "58900", type="stop_limit", stop_price="59000")
    desk.quote(59500, 59510)
    assert desk.now(order).status is Status.NEW
    desk.quote(58950, 58960)
    assert desk.now(order).status is Status.FILLED
    assert desk.now(order).filled_avg_price == D(58950)


def test_a_notional_order_buys_for_that_many_dollars(desk):
    desk.quote(59990, 60000)
    order = desk.order("buy", notional="600")
    assert order.status is Status.FILLED
    assert order.filled_qty == D("0.01")
    assert desk.cash == D(99_400)
    assert desk.exchange.account.available_usd() == D(99_400)


def test_a_cancel_passes_through_pending_cancel(desk):
    order = desk.order("buy", "0.1", "50000")
    desk.exchange.cancel(order.id)
    assert desk.now(order).status is Status.PENDING_CANCEL
    desk.finish()
    assert desk.now(order).status is Status.CANCELED
    assert desk.events(order)[-2:] == ["pending_cancel", "canceled"]
    with pytest.raises(ApiError, match='already in "canceled" state'):
        desk.exchange.cancel(order.id)


def test_a_fill_can_win_the_race_against_a_cancel(desk):
    desk.quote(59990, 60010)
    order = desk.order("buy", "0.1", "59000")
    desk.exchange.cancel(order.id)
    desk.exchange.post_quote(_quote(desk, 58980, 58990))
    assert desk.now(order).status is Status.FILLED
    desk.finish()
    assert desk.now(order).status is Status.FILLED
    assert "canceled" not in desk.events(order)


def test_replacing_ends_the_old_order_and_opens_a_new_one(desk):
    desk.quote(59990, 60010)
    old = desk.order("buy", "0.1", "50000", client_order_id="mine")
    new = desk.exchange.replace(old.id, {"limit_price": "60020"})
    desk.finish()
    old, new = desk.now(old), desk.now(new)
    assert (old.status, old.replaced_by, new.replaces) == (Status.REPLACED, new.id, old.id)
    assert new.status is Status.FILLED
    assert new.client_order_id != "mine"
    assert desk.events(old)[-1] == "replaced"


def test_open_orders_reserve_what_they_need_and_give_it_back(make_desk):
    desk = make_desk(coins=(("BTC/USD", D(1), D(50_000)),))
    desk.quote(59990, 60010)
    buy = desk.order("buy", "0.1", "50000")
    sell = desk.order("sell", "0.4", "70000")
    account = desk.exchange.account
    assert (account.available_usd(), account.available_coins("BTC/USD")) == (D(95_000), D("0.6"))
    for order in (buy, sell):
        desk.exchange.cancel(order.id)
    desk.finish()
    assert (account.available_usd(), account.available_coins("BTC/USD")) == (D(100_000), D(1))


def test_an_order_whose_balance_was_taken_away_is_rejected_when_it_should_fill(make_desk):
    desk = make_desk(coins=(("BTC/USD", D(1), D(50_000)),))
    desk.quote(59990, 60010)
    order = desk.order("sell", "0.5", "61000")
    desk.exchange.set_balance("BTC/USD", D("0.1"))
    desk.quote(61000, 61010)
    assert desk.now(order).status is Status.REJECTED
    assert desk.coins() == D("0.1")


def test_unusable_quotes_fill_nothing(desk):
    desk.quote(59990, 60010)
    order = desk.order("buy", "0.1", "59000")
    for bid, ask in ((0, 0), (0, 58000), (58000, 57000)):
        desk.quote(bid, ask)
        assert desk.now(order).status is Status.NEW


def test_fees_are_put_on_the_record_at_the_end_of_the_day_without_moving_balances(desk):
    desk.quote(59990, 60000)
    desk.order("buy", "0.1", "60020")
    desk.order("sell", "0.05")
    before = (desk.cash, desk.coins())
    posted = desk.exchange.end_day()
    assert [(one.kind, one.qty, one.net_amount) for one in posted] == [
        ("CFEE", D("-0.00025"), 0),
        ("FEE", None, D("-7.5")),
    ]
    assert (desk.cash, desk.coins()) == before
    assert desk.exchange.end_day() == []


@pytest.mark.parametrize("event", list(Event))
@pytest.mark.parametrize("status", list(Status))
def test_every_pair_of_status_and_event_is_allowed_by_the_table_or_refused(desk, status, event):
    order = desk.order("buy", "0.1", "50000")
    order = type(order)(
        **{name: getattr(order, name) for name in order.__slots__} | {"status": status}
    )
    expected = TRANSITIONS[status].get(event)
    if expected is None:
        with pytest.raises(IllegalTransition):
            advance(order, event, 1)
    else:
        assert advance(order, event, 1).status is expected


def _market_sell(qty):
    fields = {"symbol": "BTC/USD", "side": "sell", "type": "market", "time_in_force": "gtc"}
    return {**fields, "qty": qty}


def _quote(desk, bid, ask):
    from paper_exchange.core.prices import Quote

    return Quote("BTC/USD", D(bid), D(1), D(ask), D(1), desk.exchange.clock.now_ns())
