"""The arguments of `scripts/chaos`, checked, and what follows from them. Owns its --help. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from local_stack.arguments import (
    OneLineParser,
    number_between,
    parse_seed,
    whole_number_between,
)
from local_stack.chaos.plan import MARKET_SPEED, STORM_SECONDS, SYMBOLS, USERS_SYMBOL

DESCRIPTION = """\
Proves the bot under faults: the real daemon and the real caretakers trade on a local exchange and a
private MariaDB while faults hit every part of the stack, all of them drawn from one seed. About
every 40 seconds (at the usual rate) the faults end; the bot must recover by itself within two
sweeps, and every invariant is checked: the exchange's own records against the database. No account,
no keys, no questions.

  scripts/chaos --minutes 5 --seed 7           five minutes, three assets
  scripts/chaos --minutes 1 --json             a new seed, the figures as JSON
  scripts/chaos --minutes 4 --load 2           beside two busy processes
  scripts/chaos --minutes 60 --rate 0.01       as in bad days of real life: what alerts come?
"""
EPILOG = """\
the faults:
  every fault of `python -m paper_exchange --help`; kill -9 of daemon, caretakers and database (also
  in the middle of a transaction); suspended daemons and databases; killed connections; second
  daemons; an exchange that accepts duplicate ids; coins and orders changed by hand; a database
  connection that dies silently; a price that is gone while a sale is checked; a position that lags
  behind its fills; a market that rises away from an open buy. At the end the fees are posted late,
  in parts, under wrong dates and at either rate, and the bot settles them four days later.
  Requests must stay below 200 in every minute. Every alert must end; each is listed with its cause.

exit codes: 0 every invariant held; 1 one did not, or the run could not be made; 2 wrong arguments.
On failure the seed and all that is known of the broken cycle are printed; logs, ledger and rows
stay in .local/chaos-failed-SEED. The same seed gives the same faults at the same moments, but
processes race: a failure may need a few tries to come back.
"""
MAX_LOAD = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosPlan:
    """The arguments, checked."""

    minutes: float
    seed: int
    assets: int
    load: int
    rate: float
    json: bool

    @property
    def symbols(self) -> tuple[str, ...]:
        return SYMBOLS[: self.assets]

    @property
    def storms(self) -> tuple[float, ...]:
        """The seconds of each storm."""
        count = max(1, round(self.minutes * 60 * self.rate / STORM_SECONDS))
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
    parser = OneLineParser("scripts/chaos", DESCRIPTION, EPILOG)
    add, most = parser.add_argument, len(SYMBOLS)
    minutes, assets = number_between(0.25, 1440), whole_number_between(1, most)
    add("--minutes", type=minutes, default=2.0, metavar="N", help="of faults (default 2)")
    add("--seed", type=parse_seed, help="what everything is drawn from (default: a new one)")
    add("--assets", type=assets, default=3, metavar="K", help=f"1 to {most} (default 3)")
    load, load_help = whole_number_between(0, MAX_LOAD), f"0 to {MAX_LOAD} (default 0)"
    add("--load", type=load, default=0, metavar="P", help=f"busy processes beside it, {load_help}")
    rate, rate_help = number_between(0.001, 1), "how many faults for one of the usual rate (1)"
    add("--rate", type=rate, default=1.0, metavar="R", help=rate_help)
    add("--json", action="store_true", help="figures as JSON; progress goes to standard error")
    given = parser.parse_args(arguments)
    if given.seed is None:
        given.seed = random.SystemRandom().randrange(10**6)
    return ChaosPlan(**vars(given))
