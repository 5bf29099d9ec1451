"""The ledger: what happened to orders in true order, requests, and the quotes before a sell."""

from __future__ import annotations

from paper_exchange.api.ledger import ledger_json
from paper_exchange.api.rate_limit import RequestMeter
from paper_exchange.core.clock import Clock


def test_the_steps_stand_in_true_order_although_the_clock_of_the_wire_jumps_back(desk):
    desk.exchange.clock = Clock(desk.exchange.faults)
    desk.quote(60_000, 60_010)
    desk.exchange.faults.arm({"name": "skew_clock", "seconds": 60})
    first = desk.order("buy", "0.01", "60010")
    desk.exchange.faults.clear()
    second = desk.order("buy", "0.01", "60010")

    steps = ledger_json(desk.exchange)["steps"]

    assert [(one["order_id"], one["event"]) for one in steps] == [
        (order.id, event) for order in (first, second) for event in ("pending_new", "new", "fill")
    ]
    assert [one["at"] for one in steps] == sorted(one["at"] for one in steps)
    assert steps[2]["qty"] == "0.01"
    assert first.submitted_at_ns > second.submitted_at_ns, (
        "on the wire it looks the other way round"
    )


def test_a_refused_request_counts_for_the_peak_but_not_for_the_peak_of_accepted_ones():
    meter = RequestMeter(limit_per_minute=2)
    for second in range(3):
        meter.count(float(second))
    assert (meter.peak_per_minute, meter.accepted_peak_per_minute) == (3, 2)


def test_the_ledger_knows_what_the_stream_sent_before_a_sell(clients, eventually):
    clients.exchange.set_balance("BTC/USD", "1", "50000")
    clients.listen_to_quotes("BTC/USD")
    for bid in (60_000, 60_100):
        clients.exchange.push_quote("BTC/USD", bid, bid + 10)
    clients.exchange.arm("quote_zero", count=1)
    clients.exchange.push_quote("BTC/USD", 60_200, 60_210)
    eventually(lambda: len(clients.quotes) == 3)
    sale = {"symbol": "BTC/USD", "side": "sell", "type": "market", "time_in_force": "gtc"}
    order = clients.trading.post("/orders", {**sale, "qty": "0.1"})

    sent = clients.exchange.ledger()["quotes_sent"][order["id"]]

    assert [one["bid"] for one in sent] == ["60000", "60100"], "nobody can trade on the zero"
    moments = [one["seconds_before"] for one in sent]
    assert moments == sorted(moments, reverse=True)
    assert min(moments) >= 0
