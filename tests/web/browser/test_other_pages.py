"""Report, try and events in the browser."""

from __future__ import annotations

import json

from bot_in_browser import BotInBrowser
from chromium import Page
from daemon_process import wait_until
from domain.events import Event, EventKind, Severity

EVIL = "<script>document.title='owned'</script>"


def test_the_report_has_the_figures_of_the_script(page: Page, bot: BotInBrowser):
    """One cycle is complete first."""
    bot.prices["AVAX/USD"] = 26.6
    wait_until(lambda: bot.cycle("AVAX/USD").quantity == 0)
    page.go("#/report")
    page.wait_for_text("of it")
    told = json.loads(bot.script("report", "--by", "cycle", "--json"))
    page.click("Cycle")
    page.wait_for_text("won")
    profit = f"{float(told['total']['profit_usd']):+.2f}"
    page.wait_for_text(profit)
    csv = page.run("fetch(document.querySelector('a[download]').href).then((one) => one.text())")
    assert csv == bot.script("report", "--by", "cycle", "--csv")


def test_a_slider_shows_at_once_what_other_settings_need_and_earn(page: Page, bot: BotInBrowser):
    page.go("#/try/BTC/USD")
    page.wait_for_text("needs 600.00 USD")
    page.wait_for_text("as today")
    page.run("document.querySelector('#try-max_safety').focus()")
    page.press("ArrowRight", 2)
    page.wait_for_text("needs 800.00 USD")
    page.click("Apply")
    page.wait_for_text("Safety orders at most")
    page.wait_for_text("A whole cycle")
    assert bot.asset("BTC/USD").max_safety_orders == 5
    page.click("Cancel", "dialog button")
    page.click("As today")
    page.wait_for_text("needs 600.00 USD")


def test_a_sweep_opens_as_a_heat_map(page: Page, bot: BotInBrowser):
    bot.write_sweep("small-one")
    page.go("#/try/BTC/USD")
    page.wait_for_text("small-one")
    page.click_on("li button")
    page.wait_for_text("4 trials")
    assert page.run("document.querySelector('.heat .best').textContent") == "+20.25"
    page.choose("#heat-figure", "drawdown_percent")
    page.wait("document.querySelector('.heat caption').textContent.startsWith('Worst drawdown')")


def test_what_has_no_history_says_how_to_get_it(page: Page):
    page.go("#/try/ETH/USD")
    page.wait_for_text("scripts/history fetch ETH/USD")


def test_an_event_appears_by_itself_is_filtered_and_acknowledged(page: Page, bot: BotInBrowser):
    page.go("#/events")
    page.wait("document.querySelector('#main .skeleton') === null")
    event = Event(
        kind=EventKind.ORDER_UNREADABLE,
        severity=Severity.ERROR,
        symbol="BTC/USD",
        order_id=EVIL,
        reason=f"order {EVIL} cannot be read",
    )
    bot.add_event(event)
    page.wait_for_text(EVIL)
    assert page.run("document.title").startswith("Events")
    page.choose("#level", "error")
    page.fill("#text", "nothing like this")
    page.wait_for_text("Nothing of this kind has happened.")
    page.fill("#text", "cannot be read")
    page.wait_for_text(EVIL)
    page.click("Acknowledge")
    page.wait_for_text("acknowledged")
    bot.execute("DELETE FROM dca_events WHERE kind = 'order_unreadable'")
