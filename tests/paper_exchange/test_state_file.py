"""With a state file the account, its orders and its ids outlive the process, also kill -9."""

import json
import os
import signal
import subprocess
import sys
import threading
from decimal import Decimal

import pytest
import requests

from paper_exchange.api.wire import account_id
from paper_exchange.core.config import ExchangeConfig
from paper_exchange.core.journal import Journal, StateFileError
from running_exchange import RunningExchange

BTC = "BTC/USD"
KEYS = {"APCA-API-KEY-ID": "local-key", "APCA-API-SECRET-KEY": "local-secret"}


@pytest.fixture
def reopen(tmp_path):
    """Starts the exchange of one state file, as often as it is called."""

    def start(**settings):
        settings = {
            "partial_fill_probability": 0.0, "rate_limit_per_minute": 0, "latency_seconds": 0.0,
            **settings,
        }  # fmt: skip
        return RunningExchange(ExchangeConfig(state_file=tmp_path / "state", **settings))

    return start


def ask(exchange, method, path, **options):
    url = exchange.urls.trading_url + path
    return requests.request(method, url, headers=KEYS, timeout=10, **options)


def submit(exchange, name, **fields):
    order = {"symbol": BTC, "side": "buy", "type": "limit", "time_in_force": "gtc"}
    order |= {"qty": "0.1", "limit_price": "50000", "client_order_id": name, **fields}
    return ask(exchange, "POST", "/v2/orders", json=order)


def answers_of(exchange):
    """All that a client can ask for, and all that the ledger holds."""
    routes = (
        "/v2/account",
        "/v2/account/configurations",
        "/v2/account/activities",
        "/v2/orders?status=all",
        "/v2/positions",
    )
    answers = {route: ask(exchange, "GET", route).json() for route in routes}
    ledger = exchange.ledger()
    del ledger["requests"]
    return answers | ledger


def trade(exchange):
    """A bit of everything: fills, parts, resting orders, refusals, fees, changed balances."""
    exchange.push_quote(BTC, 49_990, 50_000)
    submit(exchange, "filled")
    exchange.finish()
    submit(exchange, "resting", limit_price="40000")
    submit(exchange, "sold", side="sell", type="market", limit_price=None, qty="0.05")
    exchange.finish()
    exchange.end_of_day()
    submit(exchange, "unposted", limit_price="50001", qty="0.01")
    canceled = submit(exchange, "canceled", limit_price="30000").json()
    exchange.finish()
    ask(exchange, "DELETE", f"/v2/orders/{canceled['id']}")
    exchange.finish()
    resting = exchange.state()["orders"]["open"][0]
    ask(exchange, "PATCH", f"/v2/orders/{resting['id']}", json={"limit_price": "41000"})
    exchange.finish()
    exchange.set_balance("ETH/USD", "1.5", "2000")
    ask(exchange, "PATCH", "/v2/account/configurations", json={"trade_confirm_email": "all"})
    # Prices are no part of the account: without a trade a position is worth its entry price.
    exchange.set_balance(BTC, "0")


def test_a_restart_changes_no_answer_and_no_ledger(reopen):
    with reopen() as exchange:
        trade(exchange)
        before = answers_of(exchange)
    with reopen() as exchange:
        assert answers_of(exchange) == before
        again = answers_of(exchange)
    with reopen(cash=Decimal(7)) as exchange:
        assert answers_of(exchange) == again


def test_what_comes_after_a_restart_continues_what_was_before(reopen):
    with reopen() as exchange:
        trade(exchange)
        ids = {one["id"] for one in exchange.ledger()["orders"]}
    with reopen() as exchange:
        refusal = submit(exchange, "filled")
        assert refusal.json()["message"] == "client_order_id must be unique"
        fresh = submit(exchange, "fresh").json()
        assert fresh["id"] not in ids
        exchange.push_quote(BTC, 40_990, 41_000)  # the resting order of before fills
        fees = exchange.end_of_day()
        by_name = {one["client_order_id"]: one for one in exchange.ledger()["orders"]}
        assert by_name["fresh"]["status"] == "filled"
        replaced = by_name["resting"]
        assert replaced["status"] == "replaced"
        newer = next(o for o in by_name.values() if o["id"] == replaced["replaced_by"])
        assert newer["status"] == "filled"
        # Of "unposted" (before the restart, as taker), the newer one and "fresh" (both as makers).
        assert [(one["activity_type"], one["qty"]) for one in fees] == [
            ("CFEE", "-0.000025"), ("CFEE", "-0.00015"), ("CFEE", "-0.00015"),
        ]  # fmt: skip
        after = {one["id"] for one in exchange.ledger()["activities"]}
        assert len(after) == len(exchange.ledger()["activities"])


def test_orders_that_were_on_their_way_go_on(reopen):
    with reopen(latency_seconds=60) as exchange:
        submit(exchange, "accepted")
        submit(exchange, "stuck", limit_price="40000")
        stuck = exchange.state()["orders"]["open"][1]
        ask(exchange, "DELETE", f"/v2/orders/{stuck['id']}")
        statuses = [one["status"] for one in exchange.state()["orders"]["open"]]
        assert statuses == ["pending_new", "pending_cancel"]
    with reopen() as exchange:
        exchange.finish()
        exchange.push_quote(BTC, 49_000, 49_500)
        by_name = {one["client_order_id"]: one["status"] for one in exchange.ledger()["orders"]}
        assert by_name == {"accepted": "filled", "stuck": "canceled"}


def test_a_suspended_account_stays_suspended(reopen):
    with reopen() as exchange:
        ask(exchange, "PATCH", "/v2/account/configurations", json={"suspend_trade": True})
    with reopen() as exchange:
        assert submit(exchange, "no").status_code == 403
        assert ask(exchange, "GET", "/v2/account").json()["trade_suspended_by_user"] is True


def test_the_account_of_another_key_is_refused_and_left_alone(reopen, tmp_path):
    with reopen() as exchange:
        submit(exchange, "mine")
    with (
        pytest.raises(StateFileError, match="it holds the account of another key"),
        reopen(key="other"),
    ):
        pass
    with reopen() as exchange:
        assert len(exchange.ledger()["orders"]) == 1


def test_two_exchanges_never_share_a_state_file(reopen):
    with reopen(), pytest.raises(StateFileError, match="another exchange has it open"), reopen():
        pass


@pytest.mark.parametrize("content", [b"no state at all, but a letter to somebody", b"\x00" * 5000])
def test_a_file_that_is_something_else_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "letter"
    path.write_bytes(content)
    with pytest.raises(StateFileError, match=f"state file {path}: "):
        Journal(path, account_id=account_id("local-key"))
    assert path.read_bytes() == content


def test_a_file_in_a_folder_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(StateFileError, match="unable to open database file"):
        Journal(tmp_path / "no" / "state", account_id="x")


def test_what_cannot_be_saved_is_not_confirmed_and_the_exchange_ends(reopen):
    with reopen() as exchange:

        async def close_the_file():
            exchange.server._journal.close()

        exchange.run(close_the_file())
        assert submit(exchange, "lost").status_code == 500
        exchange._thread.join(10)
        assert not exchange._thread.is_alive()
        assert "state file" in str(exchange.server.failure)


# Kill -9.


class Process:
    """`python -m paper_exchange` on a state file."""

    def __init__(self, path, *arguments):
        command = [sys.executable, "-m", "paper_exchange", "--manual", "--state", str(path)]
        self.process = subprocess.Popen(
            [*command, "--rate-limit", "0", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        self.ready = json.loads(self.process.stdout.readline())

    def ask(self, method, path, **body):
        url = self.ready["trading_url"] + path
        return requests.request(method, url, headers=KEYS, timeout=10, json=body or None)

    def ledger(self):
        return requests.get(f"{self.ready['control_url']}/ledger", timeout=10).json()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def start_process(tmp_path):
    started = []

    def start(*arguments):
        started.append(Process(tmp_path / "state", *arguments))
        return started[-1]

    yield start
    for one in started:
        one.kill()


def test_nothing_that_was_confirmed_is_lost_by_kill_9(start_process):
    """Killed in the middle of a burst of orders, three times: what was answered is there."""
    confirmed, seeds = {}, set()
    for round_number in range(3):
        exchange = start_process("--partial-probability", "0.5")
        seeds.add(exchange.ready["seed"])
        known = {one["client_order_id"]: one["id"] for one in exchange.ledger()["orders"]}
        assert confirmed.items() <= known.items()
        quote = {"symbol": BTC, "bid": 50_000 + round_number, "ask": 50_010}
        requests.post(f"{exchange.ready['control_url']}/quote", json=quote, timeout=10)
        enough = threading.Event()

        def burst(exchange=exchange, enough=enough, prefix=f"{round_number}-"):
            for number in range(100_000):
                name = f"{prefix}{number}"
                try:
                    answer = exchange.ask(
                        "POST", "/v2/orders", symbol=BTC, side="buy", type="market",
                        time_in_force="gtc", qty="0.001", client_order_id=name,
                    )  # fmt: skip
                    confirmed[name] = answer.json()["id"]
                except (requests.RequestException, ValueError):
                    return
                if number == 25:
                    enough.set()

        thread = threading.Thread(target=burst)
        thread.start()
        assert enough.wait(30)
        exchange.kill()
        thread.join()

    exchange = start_process()
    ledger = exchange.ledger()
    known = {one["client_order_id"]: one["id"] for one in ledger["orders"]}
    assert confirmed.items() <= known.items()
    assert len({one["id"] for one in ledger["orders"]}) == len(ledger["orders"])
    assert len(seeds) == 1
    # Whole turns only: the balances are exactly what the executions explain.
    spent = sum(Decimal(one["qty"]) * Decimal(one["price"]) for one in ledger["executions"])
    coins = sum(Decimal(one["qty"]) - Decimal(one["fee_coins"]) for one in ledger["executions"])
    balances = ledger["balances"]
    assert Decimal(balances["cash"]) == Decimal(balances["initial_cash"]) - spent
    assert Decimal(balances["coins"][BTC]["qty"]) == coins
    filled = sum(Decimal(one["filled_qty"]) for one in ledger["orders"])
    assert filled == sum(Decimal(one["qty"]) for one in ledger["executions"])


def test_a_state_file_that_cannot_be_used_is_one_line_and_code_2(tmp_path):
    path = tmp_path / "letter"
    path.write_text("Dear exchange, " * 50)
    done = subprocess.run(
        [sys.executable, "-m", "paper_exchange", "--manual", "--state", str(path)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == f"paper_exchange: state file {path}: it cannot be read: file is not a database\n"
    )
