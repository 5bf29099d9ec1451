"""Attacks on the page, over real sockets: each is refused, and the owner is served after it."""

from __future__ import annotations

import http.client
import logging
import socket
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from config import SettingsError, load_settings
from domain.events import Event, EventKind, Severity
from models.events import append_event
from page_server import Browser, PageServer
from runtime.web_page import addresses_of
from utils.logging_setup import setup_logging
from web import access
from web.access import Access, load_tokens, renew_token
from web.guards import CSRF_HEADER, MAX_BODY_BYTES, allowed_hosts, allowed_origins
from web.live import MAX_VIEWERS

SCRIPT = "<script>alert(1)</script>"
CHANGE = "/api/pause"


@pytest.fixture(autouse=True)
def the_owner_is_still_served(page):
    yield
    assert page.browser().get("/api/session").status == 200


def send(page: PageServer, data: bytes, *, seconds: float = 60.0) -> bytes:
    """What comes back until the server closes the line."""
    with closing(socket.create_connection(("127.0.0.1", page.port), seconds)) as line:
        line.sendall(data)
        answer = b""
        while part := line.recv(65536):
            answer += part
        return answer


# Who asks


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{port}", ""]
)
def test_another_host_name_is_refused_even_with_a_session(page, browser, host):
    """DNS rebinding: a name of the attacker's leads here, and the browser takes us for him."""
    answer = browser.get("/api/status", headers={"Host": host.format(port=page.port)})
    assert answer.status == 421
    assert browser.get("/", headers={"Host": "evil.example"}).status == 421


def test_two_host_names_or_none_are_refused(page):
    two = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\nHost: evil.example\r\n\r\n"
    for text in (two, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n"):
        assert send(page, text.encode()).split()[1] in (b"400", b"421")


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1", "https://127.0.0.1:{port}", None]
)
def test_a_change_from_another_page_is_refused(page, browser, origin):
    sent = None if origin is None else origin.format(port=page.port)
    answer = browser.post(CHANGE, headers={"Origin": sent})
    assert (answer.status, answer.body["error"]) == (403, "that came from another page")
    if sent is not None:
        assert browser.get("/api/status", headers={"Origin": sent}).status == 403


@pytest.mark.parametrize("csrf", [None, "", "0" * 64, "é"])
def test_a_change_without_the_right_csrf_token_is_refused(browser, csrf):
    assert browser.post(CHANGE, headers={CSRF_HEADER: csrf}).status == 403


def test_the_csrf_token_of_one_session_is_none_of_another(page, browser):
    other = page.browser()
    assert browser.post(CHANGE, headers={CSRF_HEADER: other.csrf}).status == 403


def test_without_a_cookie_or_with_an_invented_one_nothing_is_shown_or_done(page, browser):
    name = browser.cookie_name
    for cookie in (None, f"{name}=", f"{name}=x", f"{name}={'a' * 3000}", "a=b; c"):
        for method, path in (("GET", "/api/status"), ("GET", "/api/live"), ("POST", CHANGE)):
            answer = browser.call(method, path, headers={"Cookie": cookie})
            assert answer.status == 401
            assert set(answer.body) == {"error", "cure"}


def test_a_session_that_ended_stays_ended(page, browser, monkeypatch):
    stale = replace(browser)
    assert browser.call("DELETE", "/api/session").status == 204
    assert stale.get("/api/status").status == 401

    old = page.browser()
    monkeypatch.setattr(access, "SESSION_SECONDS", 0.0)
    assert old.get("/api/status").status == 401, "too old"
    monkeypatch.undo()
    assert old.get("/api/status").status == 200
    renew_token(page.settings)
    assert old.get("/api/status").status == 401, "a new token ends every session"


def test_a_stream_ends_with_its_session(page):
    browser = page.browser()
    stream = browser.stream()
    stream.wait_for("status")
    renew_token(page.settings)
    with pytest.raises((EOFError, http.client.IncompleteRead)):
        stream.wait_for("nothing")
    stream.close()


def test_a_stream_tells_nothing_that_came_after_its_session(page, db_conn):
    browser = page.browser()
    stream = browser.stream()
    stream.wait_for("status")
    assert browser.call("DELETE", "/api/session").status == 204
    append_event(
        db_conn, Event(kind=EventKind.ASSET_EDITED, severity=Severity.INFO, reason="later")
    )
    page.site.live.forget()
    with pytest.raises((EOFError, http.client.IncompleteRead)):
        stream.wait_for("record")
    stream.close()


def test_sessions_outlive_the_process_and_no_file_holds_a_cookie(page, browser):
    again = Access(page.settings)
    assert again.has_session(browser.cookie)
    for path in page.settings.run_dir.glob("web_*.json"):
        assert browser.cookie not in path.read_text()
        assert path.stat().st_mode & 0o077 == 0


def test_wrong_tokens_are_limited_and_then_the_right_one_waits_as_well(page):
    guesser = Access(page.settings)
    assert all(guesser.open_session("wrong", now=float(second)) is None for second in range(10))
    with pytest.raises(access.TooManyAttempts):
        guesser.open_session(page.token, now=10.0)
    assert guesser.open_session(page.token, now=70.0) is not None
    assert all(guesser.open_session("wrong", now=100.0 + 7 * n) is None for n in range(30))
    assert guesser.open_session(page.token, now=400.0) is not None, "ten within a minute"


def test_wrong_tokens_are_limited_over_the_socket(bot_environment, exchange, page):
    with PageServer(page.settings) as other:
        stranger = other.stranger()
        answers = [stranger.post("/api/session", {"token": "wrong"}) for _ in range(11)]
        assert [answer.status for answer in answers] == [401] * 10 + [429]
        assert int(answers[-1].headers["Retry-After"]) > 50
        assert stranger.sign_in(other.token).status == 429


def test_a_token_is_compared_in_constant_time(monkeypatch, page):
    compared = []
    real = access.hmac.compare_digest
    monkeypatch.setattr(
        access.hmac, "compare_digest", lambda a, b: compared.append((a, b)) or real(a, b)
    )
    assert Access(page.settings).open_session("wrong") is None
    [(given, wanted)] = compared
    assert len(given) == len(wanted) == 64, "hashes: nothing of the token's length is told"


# What is sent


def test_a_body_that_is_too_large_is_refused_before_it_is_read(page, browser):
    assert browser.post(CHANGE, raw=b"{" + b" " * MAX_BODY_BYTES + b"}").status == 413
    head = (
        f"POST /api/session HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\n"
        f"Origin: http://127.0.0.1:{page.port}\r\nContent-Type: application/json\r\n"
    )
    promised = f"{head}Content-Length: 9999999999\r\n\r\n"
    assert b" 413 " in send(page, promised.encode()).splitlines()[0]
    chunk = b"8000\r\n" + b" " * 0x8000 + b"\r\n"
    chunked = f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunk * 3
    assert b" 413 " in send(page, chunked).splitlines()[0]


@pytest.mark.parametrize(
    ("kind", "raw", "status"),
    [
        ("text/plain", b"{}", 415),
        ("application/x-www-form-urlencoded", b"token=x", 415),
        (None, b"{}", 415),
        ("application/json", b"[]", 400),
        ("application/json", b"{", 400),
        ("application/json", b"\xff", 400),
        ("application/json", b"[" * 60_000, 400),
    ],
)
def test_only_an_object_of_json_is_taken(browser, kind, raw, status):
    assert browser.post(CHANGE, raw=raw, headers={"Content-Type": kind}).status == status


def test_a_client_that_sends_its_header_or_its_body_too_slowly_is_left(page):
    began_at = time.monotonic()
    assert send(page, b"GET / HTTP/1.1\r\nHost: 127.0") == b""
    slow = (
        f"POST /api/session HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\n"
        f"Origin: http://127.0.0.1:{page.port}\r\nContent-Type: application/json\r\n"
        "Content-Length: 20\r\n\r\n{"
    )
    assert b" 408 " in send(page, slow.encode()).splitlines()[0]
    assert time.monotonic() - began_at < 60, "each within a bound, here of a second"


@pytest.mark.parametrize(
    "path",
    [
        "/static/../web/app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2f..%2fconfig.py",
        "/static/....//app.py",
        "/static//etc/passwd",
        "/static/%00",
        "/static/",
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
    ],
)
def test_no_path_leads_out_of_the_folder_of_the_page(page, path):
    text = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\nConnection: close\r\n\r\n"
    answer = send(page, text.encode())
    assert answer.split()[1] in (b"400", b"403", b"404")
    assert b"root:" not in answer
    assert b"aiohttp" not in answer


def test_only_what_is_meant_can_be_asked(browser):
    assert browser.call("PUT", "/api/session", {}).status in (403, 404, 405)
    assert browser.call("DELETE", "/", headers={"Content-Type": None}).status == 405
    assert browser.get("/api/nothing").status == 404
    assert browser.get("/nothing").status == 404
    assert browser.get("/api/pause").status == 405
    assert browser.call("HEAD", "/api/status").status == 200
    assert browser.call("HEAD", "/api/live").status == 405, "its answer would never end"


def test_script_as_an_asset_an_event_or_an_order_id_comes_back_as_json_only(browser, db_conn, page):
    append_event(
        db_conn,
        Event(kind=EventKind.ASSET_EDITED, severity=Severity.INFO, reason=SCRIPT, order_id=SCRIPT),
    )
    answers = [
        browser.get("/api/asset?symbol=%3Cscript%3Ealert(1)%3C/script%3E"),
        browser.post("/api/assets/enable", {"symbol": SCRIPT}),
        browser.post("/api/preview", {"symbol": SCRIPT, "is_new": True, "changes": {}}),
        browser.post("/api/alerts/ack", {"id": SCRIPT[:20]}),
        browser.get("/api/events?text=%3Cscript%3E"),
        browser.get("/api/%3Cscript%3E"),
    ]
    for answer in answers:
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.body is not None
    assert answers[4].body["items"][0]["words"] == SCRIPT


def test_every_answer_tells_the_browser_to_be_strict(page, browser):
    for answer in (
        browser.get("/"),
        browser.get("/api/status"),
        browser.get("/static/nothing.js"),
        page.stranger().get("/api/status"),
        browser.get("/healthz", headers={"Host": "evil.example"}),
    ):
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy.replace("'unsafe-hashes'", "")
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "Server" not in answer.headers
    assert browser.get("/api/status").headers["Cache-Control"] == "no-store"


GARBAGE = [
    "GET /api/status?\0=%ff%00 HTTP/1.1\r\n{host}\r\n",
    "GET /%zz HTTP/1.1\r\n{host}\r\n",
    "GET http://[::1 HTTP/1.1\r\n{host}\r\n",
    "GET / HTTP/9.9\r\n{host}\r\n",
    "GET / HTTP/1.1\r\n{host}X: " + "a" * 9000 + "\r\n\r\n",
    "GET / HTTP/1.1\r\n{host}" + "X: a\r\n" * 200 + "\r\n",
    "GET /api/live HTTP/1.1\r\n{host}Cookie: \xff=\xfe; =; ;;\r\n\r\n",
    "POST /api/session HTTP/1.1\r\n{host}{ours}Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "POST /api/session HTTP/1.1\r\n{host}{ours}Transfer-Encoding: chunked\r\n\r\n5\r\nabcdefg\r\n",
    "POST /api/session HTTP/1.1\r\n{host}{ours}Content-Length: -1\r\n\r\n",
    "POST /api/session HTTP/1.1\r\n{host}{ours}Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
    "POST /api/session HTTP/1.1\r\n{host}{ours}Content-Encoding: gzip\r\n\r\n",
    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]


@pytest.mark.parametrize("text", GARBAGE)
def test_garbage_is_refused_and_is_no_bug_of_the_page(page, text, caplog):
    host = f"Host: 127.0.0.1:{page.port}\r\n"
    ours = f"Origin: http://127.0.0.1:{page.port}\r\nContent-Type: application/json\r\n"
    raw = text.replace("{host}", host).replace("{ours}", ours)
    answer = send(page, raw.encode("latin-1"))
    assert answer == b"" or answer.split()[1][:1] == b"4", answer[:200]
    assert b"Traceback" not in answer
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR], caplog.text


@pytest.mark.parametrize(
    "text", ["\ud800", "\0", "\U0001d54f" * 20, "BTC/USD'; DROP TABLE dca_assets; --", "../x"]
)
def test_strange_text_in_a_request_is_refused_as_text(browser, exchange, text, caplog):
    exchange.push_quote("BTC/USD", "60000", "60010")
    for path, body in (
        ("/api/session", {"token": text}),
        ("/api/assets/enable", {"symbol": text}),
        ("/api/assets/close", {"symbol": "BTC/USD", "confirm": text}),
        ("/api/preview", {"symbol": "BTC/USD", "is_new": True, "changes": {"base": text}}),
        ("/api/preview", {"symbol": "BTC/USD", "is_new": True, "changes": {text: "1"}}),
        ("/api/apply", {"symbol": "BTC/USD", "is_new": True, "changes": {}, "confirm": text}),
        ("/api/alerts/ack", {"id": text}),
    ):
        answer = browser.post(path, body)
        assert 400 <= answer.status < 500, (path, answer.raw)
        assert answer.body["error"]
    quoted = quote(text, errors="surrogatepass")
    for query in (
        "events?kind=",
        "events?text=",
        "events?symbol=",
        "asset?symbol=",
        "report?since=",
    ):
        assert browser.get(f"/api/{query}{quoted}").status in (200, 422)
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR], caplog.text


# How much is asked


def test_of_two_hundred_streams_fifty_are_served_and_the_page_goes_on(page, browser):
    streams = [browser.stream() for _ in range(200)]
    try:
        assert [stream.status for stream in streams].count(200) == MAX_VIEWERS
        assert {stream.status for stream in streams} == {200, 503}
        assert page.browser().get("/api/status").status == 200
        for stream in streams[:MAX_VIEWERS]:
            assert stream.wait_for("status")["headline"]
    finally:
        for stream in streams:
            stream.close()
    deadline = time.monotonic() + 60
    while page.site.live.viewers and time.monotonic() < deadline:
        page.site.live.forget()
        time.sleep(0.05)  # the pause of a poll with a bound
    assert page.site.live.viewers == 0, "who goes makes room"


# What is told


def test_no_token_and_no_cookie_is_ever_logged(page):
    setup_logging(page.settings, "web", console=False)
    logging.getLogger().setLevel(logging.DEBUG)
    browser = page.browser()
    stranger = page.stranger()
    stranger.post("/api/session", {"token": "a-wrong-token"})
    browser.get("/api/status?token=" + page.token)
    browser.post(CHANGE)
    browser.post("/api/resume")
    logged = (page.settings.log_dir / "web.log").read_text()
    assert "page.denied" in logged
    tokens = load_tokens(page.settings)
    for secret in (tokens.token, tokens.csrf_key, browser.cookie, browser.csrf, "a-wrong-token"):
        assert secret not in logged


def test_it_never_listens_beyond_this_machine_without_tls(bot_environment):
    for host in ("0.0.0.0", "::", "192.168.1.5", "bot.example.org"):
        with pytest.raises(SettingsError, match="WEB_TLS_CERT"):
            load_settings(bot_environment | {"WEB_HOST": host})
    both = {"WEB_TLS_CERT": "cert.pem", "WEB_TLS_KEY": "key.pem"}
    assert load_settings(bot_environment | both | {"WEB_HOST": "0.0.0.0"}).web_host == "0.0.0.0"
    with pytest.raises(SettingsError, match="both WEB_TLS_CERT and WEB_TLS_KEY"):
        load_settings(bot_environment | {"WEB_TLS_CERT": "cert.pem"})


def test_every_link_that_is_printed_works(page):
    """Each names a host, and an origin, that is let in."""
    beyond = {"web_tls_cert": Path("c.pem"), "web_tls_key": Path("k.pem")}
    for change in (
        {},
        {"web_host": "::1"},
        {"web_names": ("bot.example.org", "localhost:9000")},
        {"web_host": "0.0.0.0", **beyond},
        {"web_host": "192.168.1.5", "web_names": ("a.example", "b.example:44"), **beyond},
    ):
        settings = replace(page.settings, **change)
        for address in addresses_of(settings):
            assert address in allowed_origins(settings)
            assert address.partition("://")[2] in allowed_hosts(settings)


def test_a_name_of_a_proxy_is_allowed_when_it_is_set(page):
    with PageServer(replace(page.settings, web_names=("bot.example.org",))) as proxied:
        through = Browser(proxied.port, host="bot.example.org")
        origin = {"Origin": "https://bot.example.org"}
        answer = through.post("/api/session", {"token": proxied.token}, headers=origin)
        assert answer.status == 204
        assert "Secure" in answer.headers["Set-Cookie"]
        plain = {"Origin": "http://bot.example.org"}
        assert through.post("/api/session", {"token": "x"}, headers=plain).status == 403
