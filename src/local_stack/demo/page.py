"""The page of a demo: served as a user's is, by the process that the watchdog keeps, and opened in
a browser where there is a screen.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
import webbrowser

from config import load_settings
from local_stack.exchange_process import StackError
from local_stack.stack import LocalStack
from runtime.web_page import address_of
from web.access import load_tokens

START_SECONDS = 60.0
POLL_SECONDS = 0.1


def page_settings() -> dict[str, str]:
    """The page on, at a port that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    return {"WEB": "on", "WEB_PORT": str(port)}


def start_page(stack: LocalStack) -> str:
    """The link that opens it, once it answers. Its settings are those of the stack.

    Raises:
        StackError: it does not answer; its output says why.
    """
    stack.run_script("watchdog")
    settings = load_settings(stack.settings())
    deadline = time.monotonic() + START_SECONDS
    while not _answers(settings.web_port):
        if time.monotonic() > deadline:
            raise StackError(f"the page did not answer within {START_SECONDS:.0f} s: see web.out")
        time.sleep(POLL_SECONDS)
    return f"{address_of(settings)}/#token={load_tokens(settings).token}"


def open_page(link: str) -> None:
    """In the user's browser. Without a screen nothing happens: the link is printed anyway."""
    has_screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if has_screen or sys.platform in ("darwin", "win32"):
        with contextlib.suppress(webbrowser.Error):
            webbrowser.open(link)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True
