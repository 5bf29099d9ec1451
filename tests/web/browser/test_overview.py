"""The overview, as its owner sees it, and what every page has."""

from __future__ import annotations

from bot_in_browser import ASSETS, BotInBrowser
from chromium import Page
from daemon_process import wait_until
from domain.events import Event, EventKind, Severity
from runtime.operator_flags import is_paused

LOADING = "[...document.querySelectorAll('#main .skeleton')].some((one) => one.checkVisibility())"


def test_the_link_signs_in_and_the_token_leaves_the_address_at_once(page: Page, bot: BotInBrowser):
    page.run(
        "fetch('/api/session', {method: 'DELETE', headers: {'Content-Type': 'application/json'}})"
    )
    page.ask("Network.clearBrowserCookies")
    page.open(f"{bot.address}/#/")
    page.ask("Page.reload")
    page.wait_for_text("Sign in")
    page.fill("#token", "wrong")
    page.press("Enter")
    page.wait_for_text("that is not the token")
    page.fill("#token", bot.link)
    page.press("Enter")
    page.wait_for_text("Profit today")
    page.ask("Network.clearBrowserCookies")
    page.ask("Page.navigate", url="about:blank")
    page.open(bot.link)
    page.wait_for_text("Profit today")
    assert "token" not in page.run("location.href")
    assert page.run("document.cookie") == ""


def test_the_state_and_every_figure_are_those_of_the_status(page: Page):
    page.wait("document.querySelectorAll('tbody tr').length === 4")
    page.wait_for_text("all is well")
    seen = page.run(
        "fetch('/api/status').then((one) => one.json()).then(({assets, today}) => ({today, rows:"
        " assets.map(({symbol, shown}) => [symbol, shown.average_price, shown.sells_at])}))"
    )
    text = page.text
    for row in seen["rows"]:
        assert all(one in text for one in row), row
    page.wait_for_text(seen["today"]["shown"]["all_usd"])
    assert "of 2,400.00 allowed" in text
    page.wait("document.querySelectorAll('.chart canvas').length > 0")


def test_a_price_moves_in_the_table_by_itself(page: Page, bot: BotInBrowser):
    bot.prices["SOL/USD"] = 150.25
    page.wait_for_text("150.25")
    bot.prices["SOL/USD"] = 150.0
    page.wait_for_text("150.00")


def test_what_is_wrong_stands_on_top_with_its_cure(page: Page, bot: BotInBrowser):
    event = Event(
        kind=EventKind.ORDER_UNCLAIMED,
        severity=Severity.ERROR,
        symbol="BTC/USD",
        order_id="<b>no-such-order</b>",
        reason="order <b>no-such-order</b> is claimed by nothing",
    )
    bot.add_event(event)
    page.wait_for_text("1 thing is wrong")
    assert page.run("document.querySelector('.state').classList.contains('wrong')")
    page.wait_for_text("<b>no-such-order</b>")
    bot.execute("DELETE FROM dca_events WHERE kind = 'order_unclaimed'")
    page.wait_for_text("all is well")


def test_the_doctor_checks_when_it_is_asked(page: Page):
    page.click("Check everything, as scripts/doctor does")
    page.wait_for_text("Check again")
    page.wait("document.querySelectorAll('.findings li').length > 5")


def test_buying_is_paused_and_resumed_from_every_page(page: Page, bot: BotInBrowser):
    places = ["#/", "#/asset/BTC/USD", "#/report", "#/try/BTC/USD", "#/events"]
    for place in places:
        page.go(place)
        page.wait("document.querySelector('main h1') !== null")
        page.click("Pause buying")
        wait_until(lambda: is_paused(bot.stack.run_dir))
        page.click("Resume buying")
        wait_until(lambda: not is_paused(bot.stack.run_dir))
        page.wait_for_text("Pause")
    rows = bot.execute("SELECT kind, reason FROM dca_events WHERE kind LIKE 'buying_%'")
    assert len(rows) == 2 * len(places)
    assert all("the page" in reason for _, reason in rows)


def test_it_has_room_from_360_to_2560_pixels_in_dark_and_light(page: Page):
    places = ["#/", "#/asset/ETH/USD", "#/report", "#/try/BTC/USD", "#/events"]
    for width in (360, 768, 2560):
        page.resize(width)
        for colours in ("dark", "light"):
            page.show_colours(colours)
            for place in places:
                page.go(place)
                page.wait("document.querySelector('main h1') !== null")
                page.wait(f"!({LOADING})")
                over = page.run("document.documentElement.scrollWidth - innerWidth")
                assert over <= 0, (place, width)


def test_the_keys_alone_are_enough(page: Page, bot: BotInBrowser):
    page.ask("Page.reload")
    page.wait_for_text("Profit today")
    page.press("Tab")
    assert page.focused == "Skip to content"
    assert page.run("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.tab_to("ETH/USD")
    page.press("Enter")
    page.wait_for_text("Past cycles")
    page.wait_for_text("Close now")
    page.tab_to("Edit")
    page.press("Enter")
    page.wait("document.querySelector('dialog[open]') !== null")
    page.press("Escape")
    page.wait("document.querySelector('dialog') === null")
    assert page.focused == "Edit"
    page.tab_to("Disable")
    page.press("Enter")
    page.wait_for_text("it buys no more")
    assert page.focused == "Cancel"
    page.press("Enter")
    page.wait("document.querySelector('dialog') === null")
    assert bot.asset("ETH/USD").is_enabled


def test_every_asset_is_there(page: Page):
    for symbol in ASSETS:
        page.wait_for_text(symbol)
