"""One asset in the browser: what is seen of its cycle, and each change as its owner makes it."""

from __future__ import annotations

import json
from decimal import Decimal

from bot_in_browser import BotInBrowser
from chromium import Page
from daemon_process import wait_until

SAID = (
    "[...document.querySelectorAll('[aria-label=\"Lines and fills on the chart\"] li')]"
    ".map((one) => one.textContent)"
)


def test_the_ladder_is_drawn_anew_when_a_safety_order_fills(page: Page, bot: BotInBrowser):
    page.go("#/asset/BTC/USD")
    page.wait(f"{SAID}.includes('average at 50,005.00')")
    page.wait(f"{SAID}.some((one) => one.startsWith('take profit at 50,7'))")
    page.wait(f"{SAID}.filter((one) => /^safety \\d at /.test(one)).length === 5")
    page.wait("document.querySelectorAll('.chart canvas').length > 0")
    bot.prices["BTC/USD"] = 49480.0
    page.wait(f"{SAID}.filter((one) => /^safety \\d at /.test(one)).length === 4")
    page.wait(f"{SAID}.some((one) => one.startsWith('safety order: bought'))")
    page.wait_for_text("bought: safety order")
    assert bot.cycle("BTC/USD").quantity > Decimal("0.0035")
    bot.prices["BTC/USD"] = 50000.0


def test_a_stop_loss_is_a_line_of_its_own(page: Page):
    page.go("#/asset/ETH/USD")
    page.wait(f"{SAID}.includes('stop loss at 2,000.20')")


def test_an_edit_is_previewed_refused_or_saved(page: Page, bot: BotInBrowser):
    page.go("#/asset/ETH/USD")
    page.click("Edit")
    page.fill("#option-take_profit", "much")
    page.click("Preview")
    page.wait_for_text("takes a plain number like 20 or 1.5")
    page.fill("#option-take_profit", "0.0001")
    page.click("Preview")
    page.wait("document.querySelectorAll('dialog .note').length > 0")
    page.fill("#option-take_profit", "1.75")
    page.click("Preview")
    page.wait_for_text("A whole cycle")
    page.wait_for_text("What changes")
    page.wait_for_text("1.75")
    assert bot.asset("ETH/USD").take_profit_percent == Decimal("1.5")
    page.click("Save these changes")
    page.wait_for_text("ETH/USD is changed.")
    assert bot.asset("ETH/USD").take_profit_percent == Decimal("1.75")


def test_an_asset_is_added_with_the_usual_values(page: Page, bot: BotInBrowser):
    page.click("Add an asset")
    page.fill("#option-symbol", "DOGE-USDX")
    page.click("Preview")
    page.wait("document.querySelector('dialog .failure') !== null")
    bot.prices["LTC/USD"] = 80.0
    wait_until(lambda: "LTC/USD" in bot.stack.exchange.state()["quotes"])
    page.fill("#option-symbol", "ltcusd")
    page.choose("#option-start", "manual")
    page.click("Preview")
    page.wait_for_text("A whole cycle")
    page.click("Add it")
    page.wait_for_text("LTC/USD")
    wait_until(lambda: bot.execute("SELECT 1 FROM dca_assets WHERE asset_symbol = 'LTC/USD'"))
    bot.forget("LTC/USD")


def test_disable_and_enable_take_two_steps(page: Page, bot: BotInBrowser):
    page.go("#/asset/ETH/USD")
    page.click("Disable")
    page.wait_for_text("Disable ETH/USD: it buys no more")
    assert bot.asset("ETH/USD").is_enabled
    page.click("Disable", "dialog button")
    page.wait_for_text("ETH/USD is disabled")
    assert not bot.asset("ETH/USD").is_enabled
    page.click("Enable")
    page.wait_for_text("for its whole ladder?")
    page.click("Enable", "dialog button")
    page.wait_for_text("ETH/USD is enabled.")
    assert bot.asset("ETH/USD").is_enabled


def test_a_close_names_coins_and_usd_before_it_sells_and_the_next_cycle_can_be_opened(
    page: Page, bot: BotInBrowser
):
    page.go("#/asset/SOL/USD")
    before = bot.cycle("SOL/USD")
    page.click("Close now")
    page.wait_for_text("SOL/USD")
    page.wait("/0\\.6\\d+.*USD/s.test(document.querySelector('dialog').innerText)")
    page.click("Cancel", "dialog button")
    assert bot.cycle("SOL/USD").quantity == before.quantity
    page.click("Close now")
    page.click("Close now", "dialog button")
    wait_until(lambda: bot.cycle("SOL/USD").id != before.id)
    page.wait_for_text("cooldown")
    page.wait_for_text(" left, until ")
    page.click(f"Show cycle {before.id}")
    page.wait_for_text(f"Journal of cycle {before.id}")
    page.wait_for_text("sold: take profit")
    page.click("Back to now")
    page.wait_for_text("Journal of the cycle")
    page.click("Open now")
    page.wait_for_text("Open SOL/USD with 100 USD")
    page.click("Open now", "dialog button")
    wait_until(lambda: bot.cycle("SOL/USD").quantity > 0)


def test_what_was_shown_and_is_no_longer_so_is_shown_again(page: Page, bot: BotInBrowser):
    page.go("#/asset/ETH/USD")
    page.click("Disable")
    page.wait_for_text("Disable ETH/USD: it buys no more")
    bot.execute(
        "UPDATE dca_assets SET cooldown_period = cooldown_period + 1 WHERE asset_symbol = 'ETH/USD'"
    )
    page.click("Disable", "dialog button")
    page.wait_for_text("It has changed meanwhile")
    assert bot.asset("ETH/USD").is_enabled
    page.press("Escape")


def test_script_in_a_name_is_text(page: Page, bot: BotInBrowser):
    evil = "<img src=x onerror=alert(1)>"
    page.go(f"#/asset/{json.dumps(evil)[1:-1]}")
    page.wait("document.querySelector('.failure') !== null")
    assert evil in page.text
    assert page.run("document.querySelectorAll('main img').length") == 0
