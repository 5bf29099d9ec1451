"""The page in a real browser, on the real bot: daemon, local exchange and MariaDB, one for all.

Without a browser on this machine nothing here is collected; scripts/test says so.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bot_in_browser import BotInBrowser
from chromium import Page, chromium
from find_browser import find_chromium
from local_stack.scratch import scratch_folder

PROGRAM = find_chromium()
collect_ignore_glob = [] if PROGRAM else ["test_*.py"]


@pytest.fixture(scope="session")
def bot() -> Iterator[BotInBrowser]:
    with scratch_folder("browser") as folder:
        running = BotInBrowser(folder)
        try:
            running.start()
            yield running
        finally:
            running.stop()


@pytest.fixture(scope="session")
def page_of_all(bot: BotInBrowser) -> Iterator[Page]:
    assert PROGRAM is not None
    with chromium(PROGRAM) as open_page:
        page = open_page()
        page.resize(1280)
        page.show_colours("light")
        page.open(bot.link)
        page.wait_for_text("Profit today")
        yield page


@pytest.fixture
def page(bot: BotInBrowser, page_of_all: Page) -> Iterator[Page]:
    """Signed in, at its overview. Whatever a test does: no error in its console, no other host."""
    one = page_of_all
    one.resize(1280)
    one.run("document.querySelectorAll('dialog').forEach((one) => one.close())")
    one.go("#/")
    one.wait_for_text("Profit today")
    one.complaints.clear()
    one.network_errors.clear()
    yield one
    one.run("0")  # hears what was said meanwhile
    assert one.complaints == []
    assert [url for url in one.requests if not url.startswith((bot.address, "data:"))] == []
