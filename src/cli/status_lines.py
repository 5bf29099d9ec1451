"""A status in lines, for where no table has room: the words of the screen, asset below asset."""

from __future__ import annotations

import io
from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from cli.command_line import make_console
from cli.money_lines import fill_lines
from cli.status_screen import event_lines, facts, headline, verdict
from cli.status_table import cells_of
from monitoring.status.asset_status import AssetStatus
from monitoring.status.status import Status
from utils.formatting import NOTHING


def status_text(status: Status) -> str:
    """Everything that scripts/status shows, as plain text."""
    blank = Text()
    parts: list[RenderableType] = [headline(status), *verdict(status), blank]
    parts += [Text(f"{label}: {text.plain}") for label, text in facts(status, is_short=False)]
    for asset in status.assets or ():
        parts += [blank, *map(Text, _asset_lines(asset, status))]
    return plain_text(*parts, *fill_lines(status.last_fills), *event_lines(status))


def plain_text(*parts: RenderableType) -> str:
    """As they stand in a file: no frames, no colours, nothing wrapped."""
    written = io.BytesIO()
    out = io.TextIOWrapper(written, encoding="utf-8", write_through=True)
    console = make_console(out, is_plain=True)
    for part in parts:
        console.print(part)
    return written.getvalue().decode("utf-8").strip("\n")


def _asset_lines(asset: AssetStatus, status: Status) -> Iterator[str]:
    cells = {
        title: [one or NOTHING for one in str(cell).split("\n")]
        for title, cell in cells_of(asset, status, is_wide=True).items()
    }
    [symbol], state = cells.pop("asset"), cells.pop("status")
    yield f"{symbol}: {', '.join(state)}"
    for title, values in cells.items():
        titles = title.split("\n")
        if all(value == NOTHING for value in values):
            continue
        if len(titles) == len(values) > 1:
            yield "  " + ", ".join(map(" ".join, zip(titles, values, strict=True)))
        else:
            yield f"  {title} {', '.join(values)}"
