"""Who may see and steer the bot from a browser: its owner, with the token, from a page of ours."""

from __future__ import annotations


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
