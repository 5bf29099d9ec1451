"""A table in as many columns as the terminal has room for. Owns how cells are stacked, no words."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from rich.console import Console, JustifyMethod
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cli.command_line import make_table, width_of


def print_fitting(
    console: Console, layouts: Sequence[str], lines: Sequence[tuple[Sequence[str], str | None]]
) -> None:
    """`lines`: cells, as the first layout names them, and style of each. `layouts`: titles between
    blanks, the widest layout first; titles joined by slashes share a column, an underscore shows as
    a blank. The first one that fits is taken, and where none does each line becomes a sentence: no
    number is ever cut.
    """
    titles = layouts[0].split()
    rows = [(dict(zip(titles, cells, strict=True)), style) for cells, style in lines]
    for layout in layouts:
        table = _table(console, layout.split(), rows)
        if width_of(table, console) <= console.width:
            console.print(table)
            return
    for row, style in rows:
        console.print(Text(row.pop(titles[0]), style=style or "bold"))
        words = "; ".join(
            f"{title.replace('_', ' ')} {cell}" for title, cell in row.items() if cell
        )
        console.print(Padding(Text(words, style or ""), (0, 0, 0, 2), expand=False))


def describe_left_out(titles: Collection[str]) -> Text:
    """The line below a table that went without these columns."""
    text = f"the window is too narrow for {', '.join(titles)}: widen it, or add --json"
    return Text(text, style="dim")


def without_titles(missing: Collection[str], layout: str) -> str:
    """A layout without these titles."""
    columns = [
        [one for one in column.split("/") if one not in missing] for column in layout.split()
    ]
    return " ".join("/".join(titles) for titles in columns if titles)


def _table(
    console: Console, columns: Sequence[str], rows: Sequence[tuple[Mapping[str, str], str | None]]
) -> Table:
    table = make_table(console, show_edge=False)
    for index, title in enumerate(columns):
        justify: JustifyMethod = "left" if index == 0 else "right"
        text = title.replace("/", "\n").replace("_", " ")
        table.add_column(text, justify=justify, no_wrap=True)
    for row, style in rows:
        stacks = ["\n".join(row[title] for title in column.split("/")) for column in columns]
        table.add_row(*stacks, style=style)
    return table
