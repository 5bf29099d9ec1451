"""What `scripts/sweep` is about: which settings vary, the others, the prices in two parts."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from cli.backtest_inputs import InputReader
from config import Settings
from domain.asset import DcaAsset, StartMode
from operations.asset_input import COLUMN_OF, read_values
from operations.refused import Refused
from operations.time_ranges import read_moment
from research.bars import PathChoice
from research.months import to_datetime, to_ns
from research.result import hash_code
from research.sweep import key_of
from research.sweep_choice import Objective
from research.sweep_grid import Dimension, Grid, expand, is_many
from research.sweep_trial import Ground, SweptAsset
from strategy.asset_checks import check_asset
from utils.formatting import moment

MAX_GRID = 500_000  # of a whole one: it is tried, and kept in a file
MAX_SPACE = 10**15  # of one that is searched
_PERCENT = re.compile(r"[0-9]{1,2}(\.[0-9]{1,6})?%?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepInput:
    """All that a sweep needs, and what a person should know of it."""

    ground: Ground
    grid: Grid
    objective: Objective
    notes: tuple[str, ...]


class _BaseReader(InputReader):
    """As of a backtest, but settings that are named are changes of the bot's own."""

    def _find_own(self, symbol: str) -> DcaAsset | None:
        named, self._values = self._values, {}
        try:
            own = super()._find_own(symbol)
        finally:
            self._values = named
        if own is None:
            return None
        if own.start_mode is StartMode.MANUAL:
            self._notes.append(f"{symbol}: nobody is here to start a cycle, so each starts at once")
        return replace(own, **named, start_mode=StartMode.AT_ONCE)


def read_sweep_input(settings: Settings, options: argparse.Namespace, now: datetime) -> SweepInput:
    """Everything.

    Raises:
        Refused, Stop: it cannot be tried so.
        HistoryError: there are no prices, or they are damaged.
        DatabaseError: the settings of the bot are wanted, and cannot be had.
    """
    fee_percent: Decimal = settings.taker_fee_percent if options.fee is None else options.fee
    given = {name: text for name in COLUMN_OF if (text := getattr(options, name)) is not None}
    if "start" in given:
        raise Refused("--start makes no difference here: every cycle starts at once")
    many = {name: text for name, text in given.items() if is_many(text)}
    grid = read_grid(many, fee_percent)
    limit = MAX_GRID if options.search == "grid" else MAX_SPACE
    if grid.count > limit:
        cure = "take wider steps" + ("" if options.search == "tpe" else ", or --search tpe")
        raise Refused(f"that is {grid.count:,} configurations, and {limit:,} at most: {cure}")
    single = argparse.Namespace(**{**vars(options), **dict.fromkeys(many)})
    found = _BaseReader(settings, single, now).read()
    split_ns = _read_split(options.split, now, found.entrants[0].feed.series.at_ns)
    ground = Ground(
        key="",
        code=hash_code(),
        assets=tuple(SweptAsset(one, _rows_before(one, split_ns)) for one in found.entrants),
        account=found.account,
        has_cash=options.cash is not None,
        path=PathChoice(options.path),
    )
    of_the_base = {
        f"{one.asset.asset_symbol}: {each.text}"
        for one in found.entrants
        for each in check_asset(
            one.asset, one.known.rules, found.account.fee_rate, one.feed.line.ask(0)
        )[0]
    }
    return SweepInput(
        ground=replace(ground, key=key_of(ground, grid)),
        grid=grid,
        objective=Objective(options.objective),
        notes=tuple(one for one in found.notes if one not in of_the_base),
    )


def read_grid(many: Mapping[str, str], fee_percent: Decimal) -> Grid:
    """The settings that vary, in the order of scripts/assets.

    Raises:
        Refused: there is none, or one cannot be read.
    """
    if not many:
        raise Refused(
            "nothing varies: give a setting a range or a list, as --deviation 1:4:0.5"
            " --volume-scale 1,1.5,2 (for one configuration there is scripts/backtest)"
        )
    dimensions = []
    for option, text in many.items():
        flag = f"--{option.replace('_', '-')}"
        try:
            texts = expand(text)
        except ValueError as error:
            raise Refused(f"{flag} {error}, not {text[:40]!r}") from None
        column = COLUMN_OF[option]
        typed: list[tuple[str, Any]] = [
            (one, read_values({option: one}, fee_percent)[column]) for one in texts
        ]
        dimensions.append(Dimension.of(option, column, typed))
    return Grid(tuple(dimensions))


def _read_split(text: str, now: datetime, at_ns: Any) -> int | None:
    """When the later part begins; None: it is one."""
    bare = text.strip().lower()
    if bare == "none":
        return None
    if _PERCENT.fullmatch(bare):
        part = Decimal(bare.removesuffix("%"))
        row = int(len(at_ns) * part / 100)
        if not 0 < row < len(at_ns):
            raise Refused(f"--split {text}: one of both parts would have no prices")
        return int(at_ns[row])
    moment_of_split = read_moment("--split", text, now, is_end=False)
    assert moment_of_split is not None
    return to_ns(moment_of_split)


def _rows_before(one: Any, split_ns: int | None) -> int:
    if split_ns is None:
        return 0
    at_ns = one.feed.series.at_ns
    rows = int(at_ns.searchsorted(split_ns))
    if not 0 < rows < len(at_ns):
        where = f"{moment(one.feed.begin)} to {moment(one.feed.end)} UTC"
        raise Refused(
            f"{one.asset.asset_symbol} has prices from {where}: split at"
            f" {moment(to_datetime(split_ns))}, one of both parts would have none"
        )
    return rows
