"""What the page says while something behind it is gone, and that it comes back by itself."""

from __future__ import annotations

import psutil

from bot_in_browser import BotInBrowser
from chromium import Page

OLD = "document.body.classList.contains('old')"


def test_the_database_is_stopped_and_comes_back(page: Page, bot: BotInBrowser):
    page.wait("document.querySelectorAll('tbody tr').length >= 3")
    bot.stack.server.stop()
    page.wait_for_text("the database cannot be used")
    page.wait_for_text("Last good figures of")
    assert page.run(OLD)
    assert "50,0" in page.text  # they are still there, clearly old
    bot.stack.server.start()
    page.wait(f"!({OLD})")
    page.wait_until_gone("Last good figures of")


def test_the_daemon_is_killed_and_comes_back(page: Page, bot: BotInBrowser):
    for process in bot.stack.daemon_processes():
        process.kill()
        psutil.wait_procs([process], 10)
    page.wait_for_text("the bot does not run")
    assert page.run(OLD)
    bot.stack.start_daemon()
    page.wait(f"!({OLD})")


def test_the_page_itself_is_killed_and_comes_back(page: Page, bot: BotInBrowser):
    bot.kill_page()
    page.wait_for_text("The page's server does not answer")
    assert page.run(OLD)
    bot.start_page()
    page.wait(f"!({OLD})")
    page.wait_for_text("all is well")
