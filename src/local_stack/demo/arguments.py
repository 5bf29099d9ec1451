"""The demo's arguments, checked, and what follows from them: market, assets, settings, schedule.

Owns: `scripts/demo --help`. Starts nothing: a wrong argument is one line before any process runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from local_stack.arguments import OneLineParser, number_between, parse_seed
from local_stack.caretaker_schedule import ScheduledScript
from paper_exchange.core.assets import AssetCatalog
from paper_exchange.core.clock import parse_time
from paper_exchange.quotes.replay import ReplayError, load_recording

REQUESTS_PER_MINUTE = 200  # what Alpaca allows an account
REPLAY_SPEED, LARGEST_SPEED = 60.0, 2000.0
SYNTHETIC_SYMBOLS = ("BTC/USD", "ETH/USD", "SOL/USD")
DEFAULT_SEED = 7
EXAMPLE_TIME = "2021-07-02T00:00:00Z"
LATENCY_MS = 5.0
LADDER = {
    "base_order_amount": Decimal(100),
    "safety_order_amount": Decimal(100),
    "max_safety_orders": 5,
    "safety_order_deviation": Decimal("0.5"),
    "take_profit_percent": Decimal("0.6"),
}
REPLAY_COOLDOWN_SECONDS, SYNTHETIC_COOLDOWN_SECONDS = 300, 5
CRON_SECONDS, STALE_SECONDS = 60, 300
Recording = tuple[datetime, datetime]

DESCRIPTION = """\
Watch the bot trade, without an account, keys or money: starts a private MariaDB, a local exchange
that speaks Alpaca's protocols, the real bot (python src/main_app.py) and the real caretaker
scripts, and shows them as scripts/status --watch does. Ctrl-C stops everything and prints what
happened.

  scripts/demo                                     a lively synthetic market, until Ctrl-C
  scripts/demo --web                               in a browser, too: steer it, try settings
  scripts/demo --minutes 3                         ends by itself
  scripts/demo --quotes FILE.csv.gz --speed 300    replays a recording, five hours in a minute
"""
EPILOG = f"""\
what you see:
  The screen of scripts/status --watch (its --help says what each part means), and below it what
  happened. Times are UTC. Fees are estimated (~) until the exchange posts them, at the end.

markets:
  Without --quotes three coins swing up and down by about two percent within half a minute, the same
  way for the same --seed; a full cycle with safety orders completes within the first minute.
  --quotes FILE replays recorded quotes (CSV, plain or .gz, with the header
  timestamp,symbol,bid,bid_size,ask,ask_size) and ends by itself when the recording ends. Every coin
  in it is traded with: base and safety orders 100 USD, 5 safety orders, each 0.5 % below the last
  fill, take profit 0.6 %, cooldown 300 s of market time (rounded to whole seconds, at least 1).
  The faster the replay, the more the market moves while an order travels: up to 300 works well.

requests:
  Like Alpaca, the local exchange refuses more than {REQUESTS_PER_MINUTE} requests a minute. With
  --speed X it allows {REQUESTS_PER_MINUTE} x X, which is the same per minute of market time.

the summary:
  Counts each coin's cycles, orders and profit, computes the profit again from the exchange's own
  fills and fees, and checks that the bot kept its rules. Logs and summary of the last demo stay in
  .local/demo-last. Exit code 0: all is well; 1: a check failed, or the demo could not run;
  2: wrong arguments.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPlan:
    """Everything that is decided before a demo starts."""

    symbols: tuple[str, ...]
    columns: Mapping[str, Any]
    exchange_arguments: tuple[str, ...]
    settings: Mapping[str, str]
    schedule: tuple[ScheduledScript, ...]
    speed: float
    market: str
    requests_per_minute: int
    recording: Recording | None
    """The recorded times between which a replay runs, aware UTC."""
    minutes: float | None
    plain: bool
    json: bool
    web: bool


def parse_arguments(arguments: Sequence[str] | None = None) -> DemoPlan:
    """The plan; ends the program with code 2 and one line when an argument is wrong."""
    parser = _build_parser()
    given = parser.parse_args(arguments)
    if given.quotes is None:
        for name in ("replay_from", "replay_until"):
            if getattr(given, name) is not None:
                parser.error(f"--{name.removeprefix('replay_')} needs --quotes FILE")
        return _plan(given, None, SYNTHETIC_SYMBOLS)
    try:
        recording, symbols = _read_recordings(given)
    except ReplayError as error:
        parser.exit(2, f"ERROR: {error}\n")
    return _plan(given, recording, symbols)


def _build_parser() -> OneLineParser:
    parser = OneLineParser("scripts/demo", DESCRIPTION, EPILOG)
    add = parser.add_argument
    minutes, speed = number_between(0.01, 100_000), number_between(0.1, LARGEST_SPEED)
    add("--minutes", type=minutes, metavar="N", help="end after so many minutes")
    seed_help = f"another synthetic market (default {DEFAULT_SEED}); also draws partial fills"
    add("--seed", type=parse_seed, default=DEFAULT_SEED, help=seed_help)
    add("--quotes", type=Path, nargs="+", metavar="FILE", help="replay recorded quotes")
    speed_help = f"market seconds per second (default 1; with --quotes {REPLAY_SPEED:.0f})"
    add("--speed", type=speed, metavar="X", help=speed_help)
    for name, meaning in (("from", "start at"), ("until", "end before")):
        time_help = f"{meaning} this recorded time, like {EXAMPLE_TIME}"
        add(f"--{name}", dest=f"replay_{name}", type=_time_text, metavar="TIME", help=time_help)
    add("--web", action="store_true", help="open the page in a browser; prints its link")
    add("--plain", action="store_true", help="lines instead of a live screen (also with NO_COLOR)")
    add("--json", action="store_true", help="the summary as JSON; progress goes to standard error")
    return parser


def _read_recordings(given: argparse.Namespace) -> tuple[Recording, tuple[str, ...]]:
    """First and last time and the symbols. Reads and checks every line.

    Raises:
        ReplayError: which file, which line, and why.
    """
    window: dict[str, Any] = {
        f"{name}_ns": text and parse_time(text)
        for name, text in (("from", given.replay_from), ("until", given.replay_until))
    }
    assets = AssetCatalog()
    quotes = [quote for path in given.quotes for quote in load_recording(path, assets, **window)]
    if not quotes:
        raise ReplayError("the recording has no quotes between --from and --until")
    times = [quote.at_seconds for quote in quotes]
    recording = datetime.fromtimestamp(min(times), UTC), datetime.fromtimestamp(max(times), UTC)
    return recording, tuple(sorted({quote.symbol for quote in quotes}))


def _plan(
    given: argparse.Namespace, recording: Recording | None, symbols: tuple[str, ...]
) -> DemoPlan:
    speed = given.speed or (1.0 if recording is None else REPLAY_SPEED)
    limit = max(REQUESTS_PER_MINUTE, round(REQUESTS_PER_MINUTE * speed))
    exchange = ["--seed", str(given.seed), "--speed", f"{speed:f}", "--rate-limit", str(limit)]
    # An order travels a few milliseconds of market time, however fast that passes.
    exchange += ["--latency-ms", f"{max(0.5, LATENCY_MS / speed):.3f}"]
    exchange += ["--paused"]  # until the bot runs: it must not miss the beginning
    if recording is None:
        exchange += ["--symbols", ",".join(symbols)]
        market = f"synthetic, seed {given.seed}"
    else:
        exchange += ["--replay", *(str(path.absolute()) for path in given.quotes)]
        exchange += ["--from", given.replay_from] if given.replay_from else []
        exchange += ["--until", given.replay_until] if given.replay_until else []
        market = " + ".join(path.name for path in given.quotes)
    cooldown = SYNTHETIC_COOLDOWN_SECONDS if recording is None else REPLAY_COOLDOWN_SECONDS
    return DemoPlan(
        symbols=symbols,
        columns={**LADDER, "cooldown_period": max(1, round(cooldown / speed))},
        exchange_arguments=tuple(exchange),
        settings=_settings(speed),
        schedule=_schedule(speed),
        speed=speed,
        market=market,
        requests_per_minute=limit,
        recording=recording,
        minutes=given.minutes,
        plain=given.plain,
        json=given.json,
        web=given.web,
    )


def _settings(speed: float) -> dict[str, str]:
    """The bot's waits, shortened: a demo lasts minutes."""
    return {
        "RECONCILE_SECONDS": "15",
        "REFRESH_SECONDS": "1" if speed <= 10 else "0.5",
        "STALE_ORDER_SECONDS": f"{_clamp(STALE_SECONDS / speed, 1, 10):.0f}",
    }


def _schedule(speed: float) -> tuple[ScheduledScript, ...]:
    """What cron does every minute or so, for a market that is `speed` times as fast."""
    return (
        ScheduledScript("cooldown_manager", _clamp(CRON_SECONDS / speed, 1, 2)),
        ScheduledScript("order_manager", _clamp(CRON_SECONDS / speed, 4, 15)),
        ScheduledScript("consistency_checker", 30),
        ScheduledScript("watchdog", 10),
    )


def _clamp(value: float, low: float, high: float) -> float:
    return max(low, min(high, value))


def _time_text(text: str) -> str:
    try:
        parse_time(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time like {EXAMPLE_TIME}") from None
    return text
