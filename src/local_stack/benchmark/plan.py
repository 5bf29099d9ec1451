"""What a run of the benchmark measures: its command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from local_stack.arguments import OneLineParser, number_between, whole_number_between

SECTIONS = ("quotes", "orders", "fills", "network", "many", "memory", "page", "research")
DEFAULT_SECTIONS = ("quotes", "orders", "fills", "network", "many")
DESCRIPTION = """\
How fast the bot is, beside its floor. Measures `python src/main_app.py` from outside, as a process
with a real database and real sockets, on an exchange that answers at once. Each figure stands
beside what it is compared with, measured in the same run and in turn: ratios can be compared
between machines, microseconds cannot. Needs no account; everything it starts ends with it.

sections (all but memory, page and research unless some are named):
  quotes   CPU a quote: the stock SDK stream, the bot's stream, its handler, the whole daemon, a
           raw socket as the outer limit, and the plan taken literally
  orders   a crossed quote until its POST: the daemon, the bare SDK, the plan taken literally
  fills    a fill until its row is in the journal: the same three
  network  orders with 20 ms and TLS between bot and exchange, in round trips; also after idling
  many     500 assets at 2,000 quotes a second: pauses of the event loop, start-up
  memory   20 assets at 2,000 quotes a second: size and slope over --minutes
  page     what serves the page, beside 20 assets: its CPU with one viewer, orders with and without
           it, first paint in a real browser, tries over three years of minutes (or --bars)
  research  one replay of past prices beside a plain loop, vectorbt and backtesting.py; memory
            of three years of minutes; a sweep with one and two workers; needs no database"""
EPILOG = """\
exit codes: 0 measured, 1 could not measure (with --check also: a bar does not hold), 2 wrong
arguments, 130 interrupted.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkPlan:
    sections: tuple[str, ...]
    rounds: int
    quotes: int
    orders: int
    idle_seconds: float
    seconds: float
    minutes: float
    assets: int
    bars: int
    bar_files: tuple[Path, ...]
    stored: str | None
    installs_peers: bool
    source: Path | None
    against: str | None
    json: Path | None
    check: bool
    is_urgent: bool


def parse_arguments(arguments: Sequence[str] | None = None) -> BenchmarkPlan:
    """Ends the program with code 2 and one line on wrong arguments."""
    parser = OneLineParser("scripts/benchmark", DESCRIPTION, EPILOG)
    add = parser.add_argument
    # fmt: off
    add("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    add("--rounds", type=whole_number_between(1, 100), default=5,
        help="rounds of each section; the clients take turns in each (default 5)")
    add("--quotes", type=whole_number_between(100, 10_000_000), default=20_000,
        help="quotes a client reads in a round (default 20000)")
    add("--orders", type=whole_number_between(1, 1000), default=8,
        help="cycles of three orders that a client trades in a round (default 8); page: an eighth"
        " of the tries")
    add("--idle", type=number_between(0, 86_400), default=75.0, metavar="SECONDS",
        help="network: how long the bots idle before an order (default 75; ten minutes are 600;"
        " 0: not at all)")
    add("--minutes", type=number_between(0.05, 600), default=3.0,
        help="memory: how long it is watched (default 3)")
    add("--seconds", type=number_between(2, 3600), default=20.0,
        help="many, page: how long the pauses, the CPU are watched (default 20)")
    add("--assets", type=whole_number_between(2, 2000), default=500,
        help="many: how many assets (default 500)")
    add("--count", type=whole_number_between(1000, 10_000_000), default=500_000, dest="bars",
        help="research: how many bars (default 500000)")
    add("--bars", type=Path, action="append", metavar="FILE", dest="bar_files",
        help="research, page: recorded bars, CSV or parquet; several times for several files, one"
        " after another; without: a random market")
    add("--stored", metavar="SYMBOL", help="research: the bars of the history instead")
    add("--install-peers", action="store_true", dest="installs_peers",
        help="research: install what it is compared with into an environment of its own in .local")
    add("--source", type=Path, metavar="FOLDER",
        help="measure the daemon of another checkout instead of this one's")
    add("--against", metavar="REVISION",
        help="measure the daemon of this git revision (or of the checkout in this folder) too")
    add("--json", type=Path, metavar="FILE",
        help="everything as JSON into FILE; - is standard output")
    add("--check", action="store_true", help="end with code 1 when a bar does not hold")
    add("--urgent", action="store_true",
        help="run before other programs of this machine (root only): not where a bot trades")
    # fmt: on
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.sections if name not in SECTIONS]:
        parser.error(f"no such section: {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    wanted = given.sections or DEFAULT_SECTIONS
    return BenchmarkPlan(
        sections=tuple(name for name in SECTIONS if name in wanted),
        rounds=given.rounds,
        quotes=given.quotes,
        orders=given.orders,
        idle_seconds=given.idle,
        seconds=given.seconds,
        minutes=given.minutes,
        assets=given.assets,
        bars=given.bars,
        bar_files=tuple(given.bar_files or ()),
        stored=given.stored,
        installs_peers=given.installs_peers,
        source=given.source,
        against=given.against,
        json=given.json,
        check=given.check,
        is_urgent=given.urgent,
    )
