"""First paint in a real Chromium, driven over the DevTools protocol."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from local_stack.exchange_process import StackError

_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
_SWITCHES = (
    "--headless=new",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--no-first-run",
    "--no-default-browser-check",
    "--remote-debugging-port=0",
)
_SECONDS = 30.0
# Milliseconds since the navigation began; null until there is one.
_PAINT = """(() => {
  const found = performance.getEntriesByName("first-contentful-paint")[0];
  return found ? found.startTime : null;
})()"""
_FIGURES = """(() => {
  const main = document.querySelector("main") ?? document.body;
  return /\\bUSD\\b|%/.test(main.innerText) ? performance.now() : null;
})()"""


def find_chromium() -> str | None:
    """The program; None: this machine has none. CHROMIUM names another."""
    named = os.environ.get("CHROMIUM")
    paths = (shutil.which(name) for name in ([named] if named else _NAMES))
    return next((path for path in paths if path), None)


async def measure_paints(
    program: str, link: str, address: str, rounds: int, profile: Path
) -> dict[str, list[float]]:
    """Milliseconds from the navigation to the first paint, and until figures stand there: signed
    in, each time in a new tab.

    Raises:
        StackError: the browser does not start, or paints nothing.
    """
    root = ["--no-sandbox"] if os.geteuid() == 0 else []  # it has none for root
    process = subprocess.Popen(
        [program, *_SWITCHES, *root, f"--user-data-dir={profile}", "about:blank"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        browser = await _find_address(process, profile)
        async with connect(browser, max_size=None, compression=None) as line:
            tabs = _Tabs(line)
            await tabs.open(link)  # signs in
            found: dict[str, list[float]] = {"first paint": [], "first figures": []}
            for _ in range(rounds):
                for name, at in (await tabs.open(f"{address}/#/")).items():
                    found[name].append(at)
            return found
    finally:
        process.kill()
        await asyncio.to_thread(process.wait)


async def _find_address(process: subprocess.Popen[bytes], profile: Path) -> str:
    """Where it listens: it writes that into its profile."""
    deadline = time.monotonic() + _SECONDS
    path = profile / "DevToolsActivePort"
    while not path.exists() or len(lines := path.read_text("utf-8").splitlines()) < 2:
        if process.poll() is not None or time.monotonic() > deadline:
            raise StackError("the browser does not start")
        await asyncio.sleep(0.05)  # the pause of a poll with a bound
    return f"ws://127.0.0.1:{lines[0]}{lines[1]}"


class _Tabs:
    """Commands to the browser, one after another."""

    def __init__(self, line: ClientConnection) -> None:
        self._line, self._numbers = line, itertools.count(1)

    async def open(self, address: str) -> dict[str, float]:
        """In a tab of its own, which is closed again."""
        made = await self._ask("Target.createTarget", {"url": "about:blank"})
        tab = made["targetId"]
        attached = await self._ask("Target.attachToTarget", {"targetId": tab, "flatten": True})
        session = attached["sessionId"]
        await self._ask("Page.enable", {}, session)
        await self._ask("Page.navigate", {"url": address}, session)
        found = {
            "first paint": await self._wait_for(_PAINT, session),
            "first figures": await self._wait_for(_FIGURES, session),
        }
        await self._ask("Target.closeTarget", {"targetId": tab})
        return found

    async def _wait_for(self, script: str, session: str) -> float:
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            question = {"expression": script, "returnByValue": True}
            answer = await self._ask("Runtime.evaluate", question, session)
            if isinstance(value := answer["result"].get("value"), int | float):
                return float(value)
            await asyncio.sleep(0.005)  # the pause of a poll with a bound
        raise StackError("the page shows nothing in the browser")

    async def _ask(
        self, method: str, parameters: dict[str, Any], session: str | None = None
    ) -> dict[str, Any]:
        number = next(self._numbers)
        command: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if session is not None:
            command["sessionId"] = session
        await self._line.send(json.dumps(command))
        async with asyncio.timeout(_SECONDS):
            while (said := json.loads(await self._line.recv())).get("id") != number:
                pass  # what it tells meanwhile
        if "error" in said:
            raise StackError(f"the browser: {said['error'].get('message')}")
        found: dict[str, Any] = said["result"]
        return found
