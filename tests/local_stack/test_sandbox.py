"""The local exchange that stays: found, ended and started again as a process of its own."""

from __future__ import annotations

import json
import socket
import urllib.request

import psutil
import pytest

from daemon_process import wait_until
from local_stack.exchange_process import StackError
from local_stack.sandbox import FIRST_PORT, Sandbox
from mariadb_server.endpoint import free_port
from runtime.process_table import end_process


@pytest.fixture
def sandbox(tmp_path):
    one = Sandbox(tmp_path / "exchange")
    yield one
    one.stop()


def call(settings, path, body=None, base="ALPACA_TRADING_URL"):
    request = urllib.request.Request(
        f"{settings[base]}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "APCA-API-KEY-ID": settings["ALPACA_API_KEY"],
            "APCA-API-SECRET-KEY": settings["ALPACA_SECRET_KEY"],
            "Content-Type": "application/json",
        },
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def buy(settings, client_order_id):
    order = {"symbol": "BTC/USD", "side": "buy", "type": "market", "time_in_force": "gtc"}
    order |= {"notional": "50", "client_order_id": client_order_id}
    return call(settings, "/v2/orders", order)["id"]


def test_account_orders_and_port_survive_a_stop_and_a_kill(sandbox):
    # While it is stopped, another test's exchange could take a usual port.
    settings = sandbox.start(free_port())
    orders = []
    for signal in (psutil.Process.terminate, psutil.Process.kill):
        orders.append(buy(settings, f"mine-{len(orders)}"))
        account = call(settings, "/v2/account")["id"]
        end_process(sandbox.find(), signal)
        assert sandbox.find() is None
        assert sandbox.start(None) == settings
        assert call(settings, "/v2/account")["id"] == account
        found = {one["id"] for one in call(settings, "/v2/orders?status=all")}
        assert found == set(orders)


def test_its_prices_move(sandbox):
    settings = sandbox.start(free_port())
    path = "/v1beta3/crypto/us/latest/quotes?symbols=BTC/USD"

    def bid():
        return call(settings, path, base="ALPACA_DATA_URL")["quotes"]["BTC/USD"]["bp"]

    first = bid()
    wait_until(lambda: bid() != first)


def test_started_twice_it_is_the_same_process(sandbox):
    settings = sandbox.start(None)
    pid = sandbox.find().pid
    assert sandbox.start(None) == settings
    assert sandbox.find().pid == pid
    with pytest.raises(StackError, match="--stop"):
        sandbox.start(free_port())


def test_a_usual_port_that_is_taken_is_passed_over_and_a_wanted_one_is_not(sandbox):
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", FIRST_PORT))
            taken.listen()
        except OSError:
            pass  # somebody else has it, which serves as well
        with pytest.raises(StackError, match=f"port {FIRST_PORT} is taken"):
            sandbox.start(FIRST_PORT)
        settings = sandbox.start(None)
    assert not settings["ALPACA_TRADING_URL"].endswith(f":{FIRST_PORT}")


def test_it_does_not_take_another_folders_exchange_for_its_own(sandbox, tmp_path):
    sandbox.start(None)
    other = Sandbox(tmp_path / "other")
    assert other.find() is None
    assert not other.stop()
    assert sandbox.find() is not None
