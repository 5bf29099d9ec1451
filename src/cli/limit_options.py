"""The options of a replay that stand for the account's limits in .env, and for the moments at which
the user opens cycles. Words and spelling only.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from datetime import datetime
from typing import Any

from config import read_setting
from operations.asset_input import OFF
from operations.refused import Refused
from operations.time_ranges import read_moment
from strategy.limits import AccountLimits

# Option -> setting, what it takes, what it is.
_OPTIONS = {
    "max_buy_per_day": ("max_buy_usd_per_day", "USD", "spent by all buys of a day (UTC) at most"),
    "max_position": ("max_position_usd", "USD", "in one cycle at most"),
    "max_open_cycles": ("max_open_cycles", "COUNT", "cycles that hold coins at once at most"),
    "max_open_loss": ("max_open_loss_usd", "USD", "no buys while selling all would lose so much"),
    "max_loss_per_day": (
        "max_loss_usd_per_day", "USD", "no buys on a day (UTC) whose ended cycles lost so much",
    ),
    "dump_pause": (
        "dump_pause_percent", "PERCENT", "no buys for a while after most assets fell so far",
    ),
    "dump_pause_minutes": ("dump_pause_minutes", "MINUTES", "for how long"),
}  # fmt: skip
LIMIT_SETTINGS = tuple(setting.upper() for setting, _, _ in _OPTIONS.values())


def add_limits(parser: argparse.ArgumentParser, *, default: str) -> None:
    """`default` says what counts where the user names nothing."""
    for option, (setting, metavar, text) in _OPTIONS.items():
        parser.add_argument(
            f"--{option.replace('_', '-')}",
            metavar=metavar,
            help=f"{text} (default: {default.format(setting.upper())})",
        )
    parser.add_argument(
        "--open-at",
        metavar="WHEN[,WHEN...]",
        help="when you say scripts/bot open: a manual start waits for that",
    )


def read_limits(options: argparse.Namespace, usual: AccountLimits) -> AccountLimits:
    """`usual` with what the user named, where the command has these options.

    Raises:
        Refused: with every text that does not fit.
    """
    values: dict[str, Any] = {}
    problems = []
    for option, (setting, _, _) in _OPTIONS.items():
        text = getattr(options, option, None)
        if text is None:
            continue
        can_be_off = setting != "dump_pause_minutes"
        try:
            is_off = can_be_off and text.strip().lower() == OFF
            values[setting] = None if is_off else read_setting(setting, text.strip())
        except ValueError as error:
            off = f" or {OFF}" if can_be_off else ""
            problems.append(f"--{option.replace('_', '-')}: {error}{off}, not {text[:40]!r}")
    if problems:
        raise Refused("; ".join(problems))
    return replace(usual, **values)


def read_opens(options: argparse.Namespace, now: datetime) -> tuple[datetime, ...]:
    """The moments of --open-at.

    Raises:
        Refused: one is none.
    """
    named: str | None = getattr(options, "open_at", None)
    texts = [] if named is None else named.split(",")
    moments = (read_moment("--open-at", text, now, is_end=False) for text in texts)
    return tuple(sorted(one for one in moments if one is not None))
