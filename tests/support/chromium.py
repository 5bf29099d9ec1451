"""A real Chromium of this machine, driven over the DevTools protocol: with keys and mouse.

Owns the browser's process and profile; remembers every request, console line and exception.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

ANSWER_SECONDS = 60.0
WAIT_SECONDS = 60.0
_SWITCHES = (
    "--headless=new",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--disable-extensions",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
_KEYS = {  # key: (code, Windows' number, text)
    "Tab": ("Tab", 9, ""),
    "Enter": ("Enter", 13, "\r"),
    "Escape": ("Escape", 27, ""),
    " ": ("Space", 32, " "),
    "ArrowLeft": ("ArrowLeft", 37, ""),
    "ArrowUp": ("ArrowUp", 38, ""),
    "ArrowRight": ("ArrowRight", 39, ""),
    "ArrowDown": ("ArrowDown", 40, ""),
    "Home": ("Home", 36, ""),
    "End": ("End", 35, ""),
}
# What a user sees as something to press or to fill, by its words.
_BY_WORDS = """
(words, kinds) => [...document.querySelectorAll(kinds)].find((one) => {
  const name = one.getAttribute("aria-label") ?? one.textContent.trim();
  return name === words && one.checkVisibility({visibilityProperty: true}) && !one.disabled;
})"""
PRESSED = "button, a, summary, label"


class Page:
    """One tab."""

    def __init__(self, address: str) -> None:
        self._until_closed = ExitStack()
        self._line = self._until_closed.enter_context(
            connect(address, max_size=None, compression=None)
        )
        self._number = 0
        self.requests: list[str] = []
        self.complaints: list[str] = []  # exceptions, console.error, and what the browser refused
        self.network_errors: list[str] = []  # an answer of 4xx or 5xx, or none
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")

    def close(self) -> None:
        self._until_closed.close()

    # The protocol

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to one command; what the browser tells meanwhile is remembered."""
        self._number += 1
        number = self._number
        self._line.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            said = json.loads(self._line.recv(ANSWER_SECONDS))
            if said.get("id") == number:
                assert "error" not in said, f"{method}: {said['error']}"
                found: dict[str, Any] = said["result"]
                return found
            self._hear(said)

    def _hear(self, said: dict[str, Any]) -> None:
        method, told = said.get("method"), said.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            thrown = details.get("exception", {}).get("description", "")
            self.complaints.append(f"{details['text']} {thrown}")
        elif method == "Runtime.consoleAPICalled" and told["type"] in (
            "error",
            "warning",
            "assert",
        ):
            words = [str(one.get("value", one.get("description"))) for one in told["args"]]
            self.complaints.append(" ".join(words))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            entry = told["entry"]
            line = f"{entry['text']} {entry.get('url', '')}"
            is_network = entry["source"] == "network"
            (self.network_errors if is_network else self.complaints).append(line)

    # What is there

    def run(self, script: str) -> Any:
        """The value of an expression in the page, waited for where it is a promise."""
        answer = self.ask(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, f"{script}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    def wait(self, script: str, seconds: float = WAIT_SECONDS) -> None:
        """Wait until the expression is true; while a page is being loaded it may fail."""
        safe = f"(() => {{ try {{ return !!({script}); }} catch {{ return false; }} }})()"
        self.until(lambda: self.run(safe), seconds, script)

    def until(
        self, condition: Callable[[], Any], seconds: float = WAIT_SECONDS, what: str = ""
    ) -> Any:
        end = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > end:
                shown = self.run("document.body.innerText")
                raise AssertionError(f"not within {seconds} s: {what}\n{self.complaints}\n{shown}")
            time.sleep(0.03)  # the pause of a poll with a bound
        return found

    @property
    def text(self) -> str:
        """What a reader sees."""
        return str(self.run("document.body.innerText"))

    def wait_for_text(self, words: str, seconds: float = WAIT_SECONDS) -> None:
        self.wait(f"document.body.innerText.includes({json.dumps(words)})", seconds)

    def wait_until_gone(self, words: str, seconds: float = WAIT_SECONDS) -> None:
        self.wait(f"!document.body.innerText.includes({json.dumps(words)})", seconds)

    @property
    def focused(self) -> str:
        """What has the focus: its name, or its words."""
        return str(
            self.run(
                "(one => one.getAttribute('aria-label') ?? (one.id || one.textContent.trim()))"
                "(document.activeElement)"
            )
        )

    # What a user does

    def open(self, address: str) -> None:
        self.ask("Page.navigate", url=address)
        self.wait("document.readyState === 'complete'")

    def go(self, place: str) -> None:
        """To another page of this one: what stands behind the `#`."""
        self.run(f"location.hash = {json.dumps(place)}")

    def resize(self, width: int, height: int = 900) -> None:
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def show_colours(self, name: str) -> None:
        """`dark` or `light`, as the system would say."""
        feature = {"name": "prefers-color-scheme", "value": name}
        self.ask("Emulation.setEmulatedMedia", features=[feature])

    def click(self, words: str, kinds: str = PRESSED) -> None:
        """Press, with the mouse, what has these words, once it is there."""
        self._click(f"({_BY_WORDS})({json.dumps(words)}, {json.dumps(kinds)})", words)

    def click_on(self, selector: str) -> None:
        self._click(f"document.querySelector({json.dumps(selector)})", selector)

    def _click(self, find: str, what: str) -> None:
        self.until(lambda: self._press(find), WAIT_SECONDS, f"to click: {what}")

    def _press(self, find: str) -> bool:
        """Whether it was hit: the page may have moved it between a look and the press."""
        if not (place := self.run(_PLACE_OF % find)):
            return False
        self.run(_NOTE_HIT % find)
        x, y = place
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            button = "none" if kind == "mouseMoved" else "left"
            count = 0 if kind == "mouseMoved" else 1
            self.ask(
                "Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, clickCount=count
            )
        return bool(self.run("window.hasMissed !== true"))

    def fill(self, selector: str, text: str) -> None:
        """Replace what stands in a field, by typing."""
        self.click_on(selector)
        self.run(f"document.querySelector({json.dumps(selector)}).select()")
        self.ask("Input.insertText", text=text)

    def choose(self, selector: str, value: str) -> None:
        """An entry of a list; its menu is the system's and cannot be seen."""
        self.run(
            f"(one => {{ one.value = {json.dumps(value)};"
            " one.dispatchEvent(new Event('input', {bubbles: true}));"
            " one.dispatchEvent(new Event('change', {bubbles: true})); })"
            f"(document.querySelector({json.dumps(selector)}))"
        )

    def press(self, key: str, times: int = 1) -> None:
        code, number, text = _KEYS.get(key, (key, ord(key[0].upper()), key))
        for _ in range(times):
            for kind in ("keyDown", "keyUp"):
                more = {"text": text} if text and kind == "keyDown" else {}
                self.ask(
                    "Input.dispatchKeyEvent",
                    type=kind,
                    key=key,
                    code=code,
                    windowsVirtualKeyCode=number,
                    **more,
                )

    def tab_to(self, words: str, most: int = 80) -> None:
        """With the key alone, until this has the focus."""
        for _ in range(most):
            if self.focused == words:
                return
            self.press("Tab")
        raise AssertionError(f"the key never reaches {words!r}; it is at {self.focused!r}")

    def screenshot(self, path: Path, *, is_whole: bool = False) -> None:
        answer = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=is_whole)
        path.write_bytes(base64.b64decode(answer["data"]))


# Scrolled to, still, and with nothing above it: as a finger would find it.
_NOTE_HIT = """(() => {
  window.hasMissed = true;
  document.addEventListener("click", (event) => {
    const one = %s;
    window.hasMissed = !(one && one.contains(event.target));
  }, { once: true, capture: true });
})()"""
_PLACE_OF = """
(async () => {
  const one = %s;
  if (!one) return null;
  one.scrollIntoView({block: "center", inline: "nearest"});
  await new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)));
  const box = one.getBoundingClientRect();
  const x = box.left + box.width / 2, y = box.top + box.height / 2;
  const found = document.elementFromPoint(x, y);
  return found && (one.contains(found) || found.contains(one)) ? [x, y] : null;
})()"""


@contextmanager
def chromium(program: str) -> Iterator[Callable[[], Page]]:
    """A browser with a new profile; each call opens one more tab."""
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as folder:
        root = ["--no-sandbox"] if os.geteuid() == 0 else []
        process = subprocess.Popen(
            [program, *_SWITCHES, *root, f"--user-data-dir={folder}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        pages: list[Page] = []
        try:
            address = _wait_for_address(Path(folder) / "DevToolsActivePort", process)

            def open_page() -> Page:
                request = urllib.request.Request(f"{address}/json/new?about:blank", method="PUT")
                with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
                    pages.append(Page(json.load(answer)["webSocketDebuggerUrl"]))
                return pages[-1]

            yield open_page
        finally:
            for page in pages:
                page.close()
            process.kill()
            process.wait(10)


def _wait_for_address(path: Path, process: subprocess.Popen[bytes]) -> str:
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, f"Chromium ended with code {process.returncode}"
        lines = path.read_text().splitlines() if path.exists() else []
        if len(lines) >= 2:
            return f"http://127.0.0.1:{lines[0]}"
        time.sleep(0.03)  # the pause of a poll with a bound
    raise AssertionError(f"Chromium does not listen within {WAIT_SECONDS} s")
