"""The connections to a host: shared, kept ready, none used that has ended, nothing sent twice."""

from __future__ import annotations

import gzip
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from decimal import Decimal

import pytest

from canned_server import canned_server
from config import reset_settings
from daemon_process import DaemonProcess, wait_until
from mail_server import CA_FILE, TLS_FOLDER
from tls_proxy import TlsProxy, tls_proxy
from utils import alpaca_http, http_hosts, http_ways
from utils.alpaca_client_rest import (
    OrderOutcomeUnknown,
    get_trading_client,
    keep_connections_warm,
    place_limit_buy_order,
)
from utils.alpaca_queries import fetch_account_id, fetch_order_by_client_id
from utils.http_answers import MAX_ANSWER_BYTES
from utils.http_hosts import MAX_IDLE_CONNECTIONS, WARM_CONNECTIONS, Host
from utils.http_ways import NoAnswer
from utils.request_pace import RequestPace

URL_NAMES = ("ALPACA_TRADING_URL", "ALPACA_DATA_URL")


@pytest.fixture(autouse=True)
def _own_pace(monkeypatch):
    monkeypatch.setattr(alpaca_http, "_pace", RequestPace())


@pytest.fixture
def line(bot_environment, exchange, monkeypatch) -> Iterator[TlsProxy]:
    """The exchange behind TLS, where the bot expects it; its market data is left unencrypted."""
    port = int(exchange.urls.trading_url.rpartition(":")[2])
    with tls_proxy(port) as proxy:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CA_FILE))
        monkeypatch.setenv("ALPACA_TRADING_URL", f"https://127.0.0.1:{proxy.port}")
        reset_settings()
        yield proxy
    reset_settings()


def keep_warm_until_settled(line):
    """As a daemon does; then both ends know of each connection."""
    keep_connections_warm()
    wait_until(lambda: line.handshakes == line.accepted)


def hang_up(line):
    line.hang_up()
    wait_until(lambda: not line.open)


def buy(identity="mine"):
    return place_limit_buy_order(
        get_trading_client(), "BTC/USD", Decimal("0.011"), 1000, client_order_id=identity
    )


def posts_made(exchange):
    return exchange.state()["requests"]["by_route"].get("POST /v2/orders", 0)


def ask(host, method="GET", target="/v2/x", headers=(), body=None):
    return host.request(method, target, dict(headers), body, connect_seconds=5, answer_seconds=5)


# One pool for all threads.


def test_a_hundred_threads_one_after_another_open_one_connection(line):
    client = get_trading_client()
    for _ in range(100):
        thread = threading.Thread(target=fetch_account_id, args=(client,))
        thread.start()
        thread.join()
    assert (line.accepted, line.requests) == (1, 100)


def test_threads_that_ask_at_once_have_a_connection_each_and_use_them_again(line):
    client, all_at_once = get_trading_client(), threading.Barrier(8)

    def fetch(_):
        all_at_once.wait(10)
        return fetch_account_id(client)

    with ThreadPoolExecutor(8) as threads:
        for _ in range(5):
            assert len(set(threads.map(fetch, range(8)))) == 1
    assert line.requests == 40
    assert line.accepted <= 8


def test_what_is_beyond_the_bound_of_idle_ones_is_closed_after_its_use(monkeypatch):
    monkeypatch.setattr(http_hosts, "MAX_IDLE_CONNECTIONS", 2)
    all_at_once = threading.Barrier(6)
    with keep_alive_server(lambda: all_at_once.wait(10)) as (host, server):
        with ThreadPoolExecutor(6) as threads:
            assert len(list(threads.map(lambda _: ask(host), range(6)))) == 6
        wait_until(lambda: len(server) == 2)
    assert MAX_IDLE_CONNECTIONS >= 16, "more than threads ask at once"


def test_the_one_used_last_is_taken_first_so_that_the_others_age():
    at_once = threading.Barrier(2)
    with keep_alive_server(lambda: at_once.wait(10)) as (host, server):
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda _: ask(host), range(2)))
        at_once = threading.Barrier(1)
        for _ in range(4):
            ask(host)
    assert len(server.asked_by) == 6
    assert len(set(server.asked_by[2:])) == 1


# Kept warm.


def test_the_first_order_after_a_pause_is_one_round_trip(line, exchange):
    """No new connection and no handshake in its own way: the request and its answer, no more."""
    keep_warm_until_settled(line)
    assert (line.handshakes, line.requests) == (WARM_CONNECTIONS, 0), "no request was spent on it"
    hang_up(line)  # ten idle minutes: the server has closed what was idle
    keep_warm_until_settled(line)
    opened = line.accepted
    assert opened == 2 * WARM_CONNECTIONS
    assert buy()
    assert (line.accepted, line.requests, posts_made(exchange)) == (opened, 1, 1)


def test_what_is_warm_stays_and_nothing_more_is_opened(line):
    for _ in range(50):
        keep_warm_until_settled(line)
    assert (line.accepted, line.requests) == (WARM_CONNECTIONS, 0)
    fetch_account_id(get_trading_client())
    keep_warm_until_settled(line)
    assert line.accepted == WARM_CONNECTIONS


def test_one_that_ages_is_replaced_before_it_is_too_old(line, monkeypatch):
    keep_warm_until_settled(line)
    monkeypatch.setattr(http_hosts, "RENEW_SECONDS", 0.0)
    keep_warm_until_settled(line)
    assert line.accepted == 2 * WARM_CONNECTIONS


def test_the_aged_serve_until_a_successor_can_be_opened(line, monkeypatch):
    keep_warm_until_settled(line)
    monkeypatch.setattr(http_hosts, "RENEW_SECONDS", 0.0)
    line.refuse_new()
    keep_connections_warm()
    assert len(line.open) == WARM_CONNECTIONS
    assert buy()
    assert line.accepted == WARM_CONNECTIONS


def test_the_daemon_keeps_its_connections_warm(bot_environment, line, db_conn):
    bot_environment["ALPACA_TRADING_URL"] = f"https://127.0.0.1:{line.port}"
    with DaemonProcess(bot_environment | {"RECONCILE_SECONDS": "60"}) as daemon:
        daemon.wait_for_line("recovery.finished")
        for _ in range(2):
            wait_until(lambda: len(line.open) >= WARM_CONNECTIONS)
            line.hang_up()
        assert daemon.stop() == 0


def test_a_host_that_cannot_be_reached_is_no_error_of_keeping_warm(bot_environment):
    keep_connections_warm()


def test_many_left_by_a_burst_are_closed_when_they_age(line, monkeypatch):
    client, all_at_once = get_trading_client(), threading.Barrier(6)
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda _: (all_at_once.wait(10), fetch_account_id(client)), range(6)))
    burst = list(line.open)
    with monkeypatch.context() as aged:
        aged.setattr(http_hosts, "RENEW_SECONDS", 0.0)
        keep_warm_until_settled(line)
    wait_until(lambda: not set(burst) & set(line.open))


# None is used that has ended.


@pytest.mark.parametrize("last_words", [b"", b"HTTP/1.1 408 Request Timeout\r\n\r\n"])
def test_a_connection_that_the_server_closed_is_noticed_before_an_order_goes_out(
    line, exchange, last_words
):
    fetch_account_id(get_trading_client())
    line.hang_up(last_words)
    wait_until(lambda: not line.open)
    assert buy()
    assert (line.accepted, posts_made(exchange)) == (2, 1)


def test_one_that_was_idle_for_too_long_is_not_used_even_if_it_looks_open(line, monkeypatch):
    fetch_account_id(get_trading_client())
    monkeypatch.setattr(http_hosts, "MAX_IDLE_SECONDS", 0.0)
    assert buy()
    assert line.accepted == 2
    wait_until(lambda: len(line.open) <= 1)


def test_an_order_that_meets_a_dying_connection_is_unknown_and_never_sent_again(line, exchange):
    keep_warm_until_settled(line)
    line.vanishes_on_request = True
    with pytest.raises(OrderOutcomeUnknown, match="mine"):
        buy()
    line.vanishes_on_request = False
    assert (line.requests, posts_made(exchange)) == (1, 0)
    assert fetch_order_by_client_id(get_trading_client(), "mine") is None


def test_a_connection_whose_answer_never_came_is_not_used_for_the_next_request(
    line, exchange, monkeypatch
):
    """Or the next request would read the answer of the one before."""
    keep_warm_until_settled(line)
    exchange.arm("http_timeout", seconds=1, match={"method": "POST"}, count=1)
    with monkeypatch.context() as hurried:
        hurried.setattr(alpaca_http, "ANSWER_TIMEOUT_SECONDS", 0.2)
        with pytest.raises(OrderOutcomeUnknown):
            buy()
    assert fetch_account_id(get_trading_client())
    assert fetch_order_by_client_id(get_trading_client(), "mine").client_order_id == "mine"


def test_a_child_process_does_not_speak_on_its_parents_connections(line):
    client = get_trading_client()
    account = fetch_account_id(client)
    child = os.fork()
    if not child:
        os._exit(fetch_account_id(client) != account)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert line.accepted == 2
    assert fetch_account_id(client) == account
    assert line.accepted == 2


# The environment.


@contextmanager
def connect_proxy(target_port: int) -> Iterator[tuple[int, list[str]]]:
    """A proxy of the user: its port, and what it was asked."""
    asked: list[str] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                head = b""
                while b"\r\n\r\n" not in head:
                    head += near.recv(4096)
                asked.append(head.decode())
                far = socket.create_connection(("127.0.0.1", target_port))
                near.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=pump, args=(source, sink), daemon=True).start()

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError), source, sink:
            while data := source.recv(65536):
                sink.sendall(data)

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1], asked
    listener.close()


@pytest.fixture
def far(monkeypatch):
    """`localhost` is taken for a name of the wide world: proxies and netrc are for it."""
    monkeypatch.setattr(http_ways, "is_loopback", lambda host: host != "localhost")


@pytest.fixture
def elsewhere(far, monkeypatch) -> Iterator[tuple[Host, TlsProxy]]:
    """A host behind TLS that is not on loopback."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CA_FILE))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with canned_server() as canned, tls_proxy(int(canned.url.rpartition(":")[2])) as proxy:
        canned.say(200, "{}")
        yield Host(f"https://localhost:{proxy.port}"), proxy


@pytest.mark.parametrize("is_encrypted", [False, True])
def test_a_proxy_is_looked_up_once_and_given_its_password(elsewhere, monkeypatch, is_encrypted):
    host, line = elsewhere
    with connect_proxy(line.port) as (port, asked), tls_proxy(port) as encrypted:
        address = f"//me:pass%40word@127.0.0.1:{encrypted.port if is_encrypted else port}"
        monkeypatch.setenv("HTTPS_PROXY", f"{'https' if is_encrypted else 'http'}:{address}")
        assert ask(host).json() == {}
        monkeypatch.delenv("HTTPS_PROXY")
        ask(host)  # the canned server closes after each answer
        for _ in range(2):
            host.keep_warm(5)
    assert len(asked) == 2 + WARM_CONNECTIONS
    assert all(one.startswith(f"CONNECT localhost:{line.port} ") for one in asked)
    assert all("Proxy-Authorization: Basic bWU6cGFzc0B3b3Jk" in one for one in asked)


@pytest.mark.parametrize("how", ["no proxy", "loopback"])
def test_a_proxy_is_not_asked_for_what_is_not_for_it(elsewhere, monkeypatch, how):
    host, line = elsewhere
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    if how == "no proxy":
        monkeypatch.setenv("NO_PROXY", "localhost")
    else:
        host = Host(f"https://127.0.0.1:{line.port}")
    assert ask(host).status_code == 200


def test_a_proxy_of_a_kind_that_is_not_supported_is_said(elsewhere, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:9")
    with pytest.raises(NoAnswer, match="socks5 cannot be used"):
        ask(elsewhere[0])


def test_netrc_is_read_once_and_for_other_machines_only(far, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login a password b\ndefault login a password b\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with keep_alive_server() as (near, server):
        other = Host(f"http://localhost:{server.port}")
        ask(near)
        ask(other)
        netrc.unlink()
        ask(other)
    assert ["Authorization: Basic YTpi" in one for one in server.asked] == [False, True, True]


def test_a_ca_bundle_that_is_missing_is_named_and_read_when_it_is_there(
    elsewhere, tmp_path, monkeypatch
):
    host, _ = elsewhere
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    for _ in range(2):
        with pytest.raises(NoAnswer, match=r"the CA bundle .*none\.pem cannot be used"):
            ask(host)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CA_FILE))
    assert ask(host).status_code == 200


def test_a_certificate_that_nobody_vouches_for_is_not_spoken_to(elsewhere, monkeypatch):
    host, line = elsewhere
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(NoAnswer, match=r"^SSLError$"):
        ask(host)
    assert line.requests == 0


# HTTP.


def test_parameters_go_out_as_requests_writes_them_and_none_is_left_out(canned_client):
    client, canned = canned_client
    params = {"a": "x y", "none": None, "many": ["1", "2"], "number": 5, "pair": "BTC/USD"}
    for given in (params, "a=1", {}, None):
        client.get("/things", given)
    assert [one.query for one in canned.requests] == [
        {"a": "x y", "many": "2", "number": "5", "pair": "BTC/USD"}, {"a": "1"}, {}, {},
    ]  # fmt: skip


@pytest.fixture
def canned_client(bot_environment, monkeypatch):
    with canned_server() as canned:
        canned.say(200, "{}")
        monkeypatch.setenv("ALPACA_TRADING_URL", canned.url)
        monkeypatch.setenv("ALPACA_DATA_URL", canned.url)
        reset_settings()
        yield get_trading_client(), canned
    reset_settings()


class Sockets(list):
    """The open connections of a server, and the text of what each was asked."""

    port = 0

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.asked_by: list[socket.socket] = []
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@contextmanager
def keep_alive_server(before_answer=lambda: None) -> Iterator[tuple[Host, Sockets]]:
    """A host whose answers are bytes that the test writes, and that closes nothing by itself."""
    sockets, listener = Sockets(), socket.create_server(("127.0.0.1", 0))
    sockets.port = listener.getsockname()[1]

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()

    def serve(near: socket.socket) -> None:
        sockets.append(near)
        with suppress(OSError), near:
            while data := near.recv(65536):
                sockets.asked_by.append(near)
                sockets.asked.append(data.decode("latin-1"))
                before_answer()
                near.sendall(sockets.answer)
        sockets.remove(near)

    threading.Thread(target=accept, daemon=True).start()
    yield Host(f"http://127.0.0.1:{sockets.port}"), sockets
    listener.close()


def test_head_and_body_go_out_in_one_write():
    with keep_alive_server() as (host, server):
        ask(host, "POST", headers={"A": "1"}, body=b'{"qty":"1"}')
        ask(host, "DELETE", "/v2/orders/x y/ä?a=b%20c")
    assert server.asked == [
        f"POST /v2/x HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nAccept: */*\r\n"
        "Accept-Encoding: gzip\r\nA: 1\r\nContent-Type: application/json\r\n"
        'Content-Length: 11\r\n\r\n{"qty":"1"}',
        f"DELETE /v2/orders/x%20y/%C3%A4?a=b%20c HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
        "Accept: */*\r\nAccept-Encoding: gzip\r\nContent-Length: 0\r\n\r\n",
    ]


def test_a_line_break_in_a_header_sends_nothing():
    with keep_alive_server() as (host, server):
        for value in ("a\r\nB: c", "a\nB: c"):
            with pytest.raises(NoAnswer):
                ask(host, headers={"A": value})
    assert server.asked == []


ZIPPED = gzip.compress(b'{"a": 1}')
MEMBERS = gzip.compress(b'{"a"') + gzip.compress(b": 1}") + b"\0\0"
BOMB = gzip.compress(bytes(MAX_ANSWER_BYTES + 1))
CHUNKED = b'Transfer-Encoding: chunked\r\n\r\n3\r\n{"a\r\n5\r\n": 1}\r\n0\r\n\r\n'


@pytest.mark.parametrize(
    ("answer", "is_kept"),
    [
        (b"Content-Length: 8\r\n\r\n" + b'{"a": 1}', True),
        (CHUNKED, True),
        (b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(ZIPPED) + ZIPPED, True),
        (b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(MEMBERS) + MEMBERS, True),
        (b"Connection: close\r\nContent-Length: 8\r\n\r\n" + b'{"a": 1}', False),
    ],
    ids=["length", "chunks", "gzip", "gzip in parts", "close"],
)
def test_an_answer_is_read_whole_and_its_connection_kept_if_the_server_says_so(answer, is_kept):
    with keep_alive_server() as (host, server):
        server.answer = b"HTTP/1.1 200 OK\r\n" + answer
        for _ in range(3):
            assert ask(host).json() == {"a": 1}
        wait_until(lambda: len(server) == is_kept)


def test_a_failure_has_the_name_that_users_know_from_the_log():
    with keep_alive_server() as (host, server):
        server.answer = b""
        with pytest.raises(NoAnswer, match=r"^ReadTimeout$"):
            host.request("GET", "/", {}, None, connect_seconds=5, answer_seconds=0.1)
    with pytest.raises(NoAnswer, match=r"^ConnectionError$"):
        ask(Host("http://127.0.0.1:9"))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SMTP 220\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\nConnection: close\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 20\r\n\r\n" + ZIPPED[:20],
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB)
        + BOMB,
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999999\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
    ],
    ids=[
        *("nothing", "another protocol", "cut", "not zipped", "no chunk", "cut zip", "zip bomb"),
        *("length without end", "length of no number", "chunk without end", "negative chunk"),
    ],
)
def test_half_an_answer_is_none_and_its_connection_is_closed(answer):
    with keep_alive_server() as (host, server):
        server.answer = answer
        with pytest.raises(NoAnswer):
            host.request("GET", "/v2/x", {}, None, connect_seconds=5, answer_seconds=0.3)
        wait_until(lambda: not server)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_answer_that_comes_byte_by_byte_holds_up_no_order_for_ever(scheme, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CA_FILE))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS_FOLDER / "server.pem")
    is_over = threading.Event()

    def serve(listener):
        near = listener.accept()[0]
        near = context.wrap_socket(near, server_side=True) if scheme == "https" else near
        with suppress(OSError), near:
            near.recv(65536)
            near.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while not is_over.wait(0.01):
                near.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        host = Host(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(NoAnswer, match=r"^ReadTimeout$"):
            host.request("POST", "/", {}, b"{}", connect_seconds=5, answer_seconds=0.2)
        is_over.set()


@pytest.mark.parametrize("status", [b"102 Processing", b"103 Early Hints", b"101 Switching"])
def test_the_answer_that_follows_an_interim_one_is_never_taken_for_that_of_the_next_request(status):
    with keep_alive_server() as (host, server):
        server.answer = b"HTTP/1.1 " + status + b"\r\n\r\n"
        with pytest.raises(NoAnswer, match="BadStatusLine"):
            ask(host, "POST", "/v2/orders")
        wait_until(lambda: not server)  # what it says now, it says to nobody
        server.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond"
        assert ask(host).text == "second"


def test_no_content_is_no_text():
    with keep_alive_server() as (host, server):
        server.answer = b"HTTP/1.1 204 No Content\r\n\r\n"
        assert [ask(host, "DELETE").text for _ in range(2)] == ["", ""]
        assert len(server) == 1
