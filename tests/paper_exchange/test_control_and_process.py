"""The operator's calls, and the exchange as a process."""

import json
import os
import signal
import subprocess
import sys

import pytest
import requests

BTC = "BTC/USD"


def limit_buy(exchange, **fields):
    order = {"symbol": BTC, "side": "buy", "type": "limit", "time_in_force": "gtc"}
    headers = {"APCA-API-KEY-ID": "local-key", "APCA-API-SECRET-KEY": "local-secret"}
    body = {**order, "qty": "0.1", "limit_price": "50000", **fields}
    url = f"{exchange.urls.trading_url}/v2/orders"
    return requests.post(url, json=body, headers=headers, timeout=10).json()


def control(exchange, method, name, **body):
    url = f"{exchange.urls.control_url}/{name}"
    return requests.request(method, url, json=body, timeout=10)


def test_a_pushed_quote_has_been_matched_when_the_call_returns(exchange):
    order = limit_buy(exchange)
    answer = control(exchange, "POST", "quote", symbol=BTC, bid="49990", ask="49995.5")
    assert answer.json() == {"posted": 1, "finished": True}
    (recorded,) = exchange.ledger()["orders"]
    assert (recorded["id"], recorded["status"]) == (order["id"], "filled")
    assert recorded["filled_avg_price"] == "49995.5"


def test_the_ledger_holds_all_that_ever_happened(exchange):
    exchange.push_quote(BTC, 49_000, 49_990)
    limit_buy(exchange, client_order_id="a")
    limit_buy(exchange, client_order_id="b", limit_price="40000")
    exchange.finish()
    exchange.set_balance("USD", "500")
    exchange.end_of_day()
    ledger = exchange.ledger()
    assert [(one["client_order_id"], one["status"]) for one in ledger["orders"]] == [
        ("a", "filled"),
        ("b", "new"),
    ]
    (execution,) = ledger["executions"]
    assert (execution["client_order_id"], execution["fee_coins"]) == ("a", "0.00025")
    assert [one["activity_type"] for one in ledger["activities"]] == ["FILL", "CFEE"]
    assert ledger["balances"]["cash"] == "500"
    assert ledger["adjustments"] == [{"unit": "USD", "amount": "-94501"}]
    assert ledger["requests"]["total"] == 2


@pytest.mark.parametrize(
    ("action", "status"), [("expire", "expired"), ("reject", "rejected"), ("cancel", "canceled")]
)
def test_the_operator_can_end_an_order(exchange, action, status):
    order = limit_buy(exchange, client_order_id="mine")
    exchange.finish()
    answer = control(exchange, "POST", "order", client_order_id="mine", action=action)
    assert (answer.json()["id"], answer.json()["status"]) == (order["id"], status)
    again = control(exchange, "POST", "order", order_id=order["id"], action=action)
    assert again.status_code == 422


def test_settings_can_be_changed_while_it_runs(exchange):
    answer = control(exchange, "POST", "config", latency_seconds=0.5, duplicate_ids_refused=False)
    assert answer.json()["latency_seconds"] == 0.5
    limit_buy(exchange, client_order_id="a")
    limit_buy(exchange, client_order_id="a")
    state = exchange.state()
    assert [one["status"] for one in state["orders"]["open"]] == ["pending_new"] * 2
    assert state["steps_in_flight"] == 2


def test_the_operator_changes_balances_without_an_event(exchange):
    exchange.set_balance(BTC, "2", "40000")
    exchange.add_balance(BTC, "-0.5")
    coins = exchange.state()["balances"]["coins"]
    assert coins == {BTC: {"qty": "1.5", "qty_available": "1.5", "avg_entry_price": "40000"}}


@pytest.mark.parametrize(
    ("name", "body", "text"),
    [
        ("quote", {"symbol": BTC, "bid": 1}, "ask is missing"),
        ("quote", {"symbol": BTC, "bid": "x", "ask": 1}, "not a number"),
        ("config", {"speed": 1}, "unknown setting"),
        ("order", {"order_id": "x", "action": "expire"}, "order not found"),
        ("market", {"paused": True}, "the market is manual"),
        ("nothing", {}, "no such control call"),
    ],
)
def test_a_wrong_control_call_says_what_is_wrong(exchange, name, body, text):
    answer = control(exchange, "POST", name, **body)
    assert 400 <= answer.status_code < 500
    assert text in answer.json()["message"]


@pytest.fixture
def start_process(tmp_path):
    """Starts `python -m paper_exchange` with arguments; ends every one it started."""
    started = []

    def start(*arguments, **environment):
        process = subprocess.Popen(
            [sys.executable, "-m", "paper_exchange", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_the_process_announces_itself_trades_and_ends_when_asked(start_process, tmp_path):
    ready_file = tmp_path / "ready.json"
    process = start_process(
        "--ready-file",
        str(ready_file),
        "--seed",
        "7",
        PAPER_EXCHANGE_KEY="k",
        PAPER_EXCHANGE_SECRET="s",
    )
    ready = json.loads(process.stdout.readline())
    assert ready == json.loads(ready_file.read_text())
    assert (ready["event"], ready["seed"], ready["pid"]) == ("ready", 7, process.pid)
    account = requests.get(
        f"{ready['trading_url']}/v2/account",
        headers={"APCA-API-KEY-ID": "k", "APCA-API-SECRET-KEY": "s"},
        timeout=10,
    )
    assert account.json()["cash"] == "100000"
    state = requests.get(f"{ready['control_url']}/state", timeout=10).json()
    assert state["market"]["status"] == "running"
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def test_the_process_can_be_shut_down_through_control(start_process):
    process = start_process("--manual")
    ready = json.loads(process.stdout.readline())
    requests.post(f"{ready['control_url']}/shutdown", json={}, timeout=10)
    assert process.wait(5) == 0


def test_bad_input_is_one_line_and_a_non_zero_exit(start_process, tmp_path):
    garbage = tmp_path / "garbage.csv"
    garbage.write_text("timestamp,symbol,bid,bid_size,ask,ask_size\n1,2,3\n")
    process = start_process("--replay", str(garbage))
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 2
    assert complaint == f"paper_exchange: {garbage}, line 2: 6 columns expected, 3 found\n"


def test_help_teaches_the_control_api(start_process):
    text, _ = start_process("--help").communicate(timeout=60)
    for path in ("state", "ledger", "quote", "market", "end_of_day", "balance", "config", "order"):
        assert f"/control/{path}" in text


def test_faults_can_be_armed_on_the_command_line(start_process):
    process = start_process("--manual", "--fault", '{"name":"http_500","count":1}')
    ready = json.loads(process.stdout.readline())
    (fault,) = requests.get(f"{ready['control_url']}/faults", timeout=10).json()["active"]
    assert (fault["name"], fault["count"]) == ("http_500", 1)
    refused = start_process("--fault", '{"name":"nonsense"}')
    _, complaint = refused.communicate(timeout=60)
    assert refused.returncode == 2
    assert "no fault is named 'nonsense'" in complaint
