"""The demo's screen: its heading, the status screen that users have, and below it what happened.

Live on a terminal, plain lines elsewhere. Reads and decides nothing.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from cli.status_screen import count_lines, render
from local_stack.demo.event_feed import Line, Tone
from monitoring.status.status import Status
from utils.formatting import clock

SENTENCES_SHOWN, MIN_SENTENCES = 8, 4
PLAIN_STATUS_SECONDS = 15.0
_FOOT = "Ctrl-C stops everything and prints what happened"
_TONE_STYLES = {
    Tone.BUY: "yellow",
    Tone.SELL: "green",
    Tone.NOTE: "dim",
    Tone.WARNING: "bold yellow",
    Tone.ERROR: "bold red",
}


class LiveView:
    """Redrawn in place, on a screen of its own; the last picture stays when it is closed."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._sentences: deque[Line] = deque(maxlen=SENTENCES_SHOWN)
        self._live: Live | None = None
        self._heading = ""
        self._status: Status | None = None

    def say(self, text: str) -> None:
        self._console.print(text)

    def show(self, heading: str, status: Status, news: Sequence[Line]) -> None:
        self._sentences.extend(news)
        self._heading, self._status = heading, status
        if self._live is None:
            self._live = Live(console=self._console, screen=True, auto_refresh=False)
            self._live.start()
        self._live.update(self._picture(status, self._console.height), refresh=True)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
            if self._status is not None:
                self._console.print(self._picture(self._status, None))

    def _picture(self, status: Status, height: int | None) -> RenderableType:
        """The sentences get the lines that the status leaves, a few in any case."""
        first, *rest = self._heading.split("\n")
        heading = Group(
            Text(first, style="bold", no_wrap=True, overflow="ellipsis"),
            *(Text(line, overflow="fold") for line in rest),  # a link must be whole
        )
        below = [Text(), *map(_line, self._sentences)]
        if height is None:
            return Group(heading, render(status, self._console), *below)
        room = height - 1 - count_lines(heading, self._console)  # and the foot
        screen = render(status, self._console, height=max(2, room - MIN_SENTENCES))
        below = below[count_lines(screen, self._console) - room :]
        return Group(heading, screen, *below, Text(_FOOT, style="dim", no_wrap=True))


class PlainView:
    """One line for each thing that happened, and the status now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next_status_at = 0.0
        self._untold: RenderableType | None = None

    def say(self, text: str | RenderableType) -> None:
        self._console.print(text)
        self._console.file.flush()

    def show(self, heading: str, status: Status, news: Sequence[Line]) -> None:
        for sentence in news:
            self.say(_line(sentence))
        self._untold = Group(Text(), Text(heading), render(status, self._console), Text())
        if time.monotonic() >= self._next_status_at:
            self._next_status_at = time.monotonic() + PLAIN_STATUS_SECONDS
            self.close()

    def close(self) -> None:
        if self._untold is not None:
            untold, self._untold = self._untold, None
            self.say(untold)


def _line(sentence: Line) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"{clock(sentence.at)} ", style="dim")
    line.append(f"{sentence.symbol:<9} " if sentence.symbol else "", style="bold")
    return line.append(sentence.text, style=_TONE_STYLES[sentence.tone])
