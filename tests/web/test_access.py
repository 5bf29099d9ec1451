"""Who may see and steer the bot from a browser: its owner, with the token, from a page of ours."""

from __future__ import annotations

import http.client
import json
import ssl
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from page_server import PageServer

TLS = Path(__file__).parents[1] / "support" / "tls"


def test_the_page_itself_needs_no_session_and_everything_else_does(page):
    stranger = page.stranger()
    assert stranger.get("/").status == 200
    for path in ("/api/session", "/api/status", "/api/live"):
        answer = stranger.get(path)
        assert (answer.status, answer.body["error"]) == (401, "you are not signed in")


def test_the_token_opens_a_session_whose_cookie_no_script_can_read(page):
    browser = page.stranger()
    answer = browser.sign_in(page.token)
    assert answer.status == 204
    for part in ("HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=2592000"):
        assert part in answer.headers["Set-Cookie"]
    session = browser.get("/api/session").body
    assert session["account"] == {
        "is_real_money": False,
        "words": "local exchange: play money",
    }
    status = browser.get("/api/status")
    assert status.status == 200, status.raw
    assert status.body["headline"]


def test_with_a_certificate_it_speaks_https_only_and_its_cookie_goes_nowhere_else(page):
    settings = replace(
        page.settings, web_tls_cert=TLS / "server.pem", web_tls_key=TLS / "server.pem"
    )
    with PageServer(settings) as safe:
        context = ssl.create_default_context(cafile=str(TLS / "ca.pem"))
        line = http.client.HTTPSConnection("localhost", safe.port, context=context, timeout=60)
        with closing(line):
            origin = f"https://localhost:{safe.port}"
            headers = {"Origin": origin, "Content-Type": "application/json"}
            line.request("POST", "/api/session", json.dumps({"token": safe.token}), headers)
            answer = line.getresponse()
            assert answer.status == 204
            assert "; Secure" in answer.headers["Set-Cookie"]
        with pytest.raises((OSError, http.client.HTTPException)):
            safe.stranger().get("/")


def test_two_bots_on_one_machine_do_not_end_each_others_sessions(page, browser):
    with PageServer(page.settings) as other:
        theirs = other.browser()
        assert theirs.cookie_name != browser.cookie_name
        assert theirs.get("/api/session").status == browser.get("/api/session").status == 200
