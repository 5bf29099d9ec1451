"""The arguments of `scripts/chaos`, checked, and what follows from them. Owns its --help. Pure."""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from local_stack.chaos.plan import MARKET_SPEED, STORM_SECONDS, SYMBOLS, USERS_SYMBOL

DESCRIPTION = """\
Proves the bot under faults: the real daemon and the real caretakers trade on a local exchange and a
private MariaDB while everything around them breaks, all of it drawn from one seed. About every 40
seconds the faults end; the bot must settle by itself within two sweeps, and every invariant is
checked: the exchange's own records against the database. No account, no keys, no questions.

  scripts/chaos --minutes 5 --seed 7           five minutes, three assets
  scripts/chaos --minutes 1 --json             a new seed, the figures as JSON
  scripts/chaos --minutes 4 --load 2           beside two busy processes
"""
EPILOG = """\
what is thrown at it:
  every fault of `python -m paper_exchange --help`; kill -9 of daemon, caretakers and database (also
  in the middle of a transaction); suspended daemons and databases; killed connections; second
  daemons; the exchange's refusal of duplicate ids switched off; coins and orders changed by hand;
  the line to the database dead without a word; a price that is gone while a sale is checked; a
  position that lags behind its fills; a market that leaves a buy behind. At the end the fees are
  posted late, in parts, under wrong dates and at either rate, and settled four days later.
  Requests must stay below 200 in every minute.

exit codes: 0 every invariant held; 1 one did not, or the run could not be made; 2 wrong arguments.
On failure the seed and the story of the cycle that broke are printed; logs, ledger and rows stay in
.local/chaos-failed-SEED. The same seed throws the same things at the same moments, but processes
race: a failure may need a few tries to come back.
"""


MAX_LOAD = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosPlan:
    """The arguments, checked."""

    minutes: float
    seed: int
    assets: int
    load: int
    json: bool

    @property
    def symbols(self) -> tuple[str, ...]:
        return SYMBOLS[: self.assets]

    @property
    def storms(self) -> tuple[float, ...]:
        """The seconds of each storm."""
        count = max(1, round(self.minutes * 60 / STORM_SECONDS))
        return (self.minutes * 60 / count,) * count

    @property
    def exchange_arguments(self) -> tuple[str, ...]:
        return (
            *("--seed", str(self.seed), "--symbols", ",".join((*self.symbols, USERS_SYMBOL))),
            *("--speed", f"{MARKET_SPEED}", "--paused", "--partial-probability", "0.25"),
            *("--coin", f"{USERS_SYMBOL}=7@14", "--log-level", "INFO"),
        )


def parse_arguments(arguments: Sequence[str] | None = None) -> ChaosPlan:
    """The plan; ends the program with code 2 and one line when an argument is wrong."""
    parser = argparse.ArgumentParser(
        prog="scripts/chaos",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--minutes", type=_minutes, default=2.0, metavar="N", help="of storm (default 2)")
    add("--seed", type=_seed, help="what everything is drawn from (default: a new one)")
    most = len(SYMBOLS)
    add("--assets", type=_assets, default=3, metavar="K", help=f"1 to {most} (default 3)")
    load_help = f"busy processes beside the run, 0 to {MAX_LOAD} (default 0)"
    add("--load", type=_load, default=0, metavar="P", help=load_help)
    add("--json", action="store_true", help="figures as JSON; progress goes to standard error")
    given = parser.parse_args(arguments)
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(10**6)
    return ChaosPlan(
        minutes=given.minutes, seed=seed, assets=given.assets, load=given.load, json=given.json
    )


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0.25 <= minutes <= 1440:
        raise argparse.ArgumentTypeError("must be between 0.25 and 1440")
    return minutes


def _assets(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= len(SYMBOLS):
        raise argparse.ArgumentTypeError(f"must be between 1 and {len(SYMBOLS)}")
    return int(text)


def _load(text: str) -> int:
    if not text.isdecimal() or int(text) > MAX_LOAD:
        raise argparse.ArgumentTypeError(f"must be between 0 and {MAX_LOAD}")
    return int(text)


def _seed(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)
