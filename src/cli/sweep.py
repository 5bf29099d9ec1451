"""`scripts/sweep`: many settings on the same past prices. Arguments and exit codes; no rule."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cli.command_line import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_REFUSED,
    Stop,
    forget_unwritten,
    make_console,
    print_json,
)
from cli.runner import run_tool
from cli.sweep_apply import apply_winner, check_applicable
from cli.sweep_inputs import SweepInput, read_sweep_input
from cli.sweep_machines import address_of
from cli.sweep_options import build_parser, parse_options
from cli.sweep_progress import SweepProgress
from cli.sweep_tables import show_sweep
from config import Settings, SettingsError, inspect_environment, use_settings
from operations.refused import Refused
from research.cluster_address import AddressRefused, ClusterError, SchedulerAddress
from research.errors import HistoryError
from research.sweep import Search, Sweep, run_sweep
from research.sweep_journal import SweepJournal, journal_path
from research.sweep_result import kept_path, read_sweep, sweep_json, write_sweep
from research.sweep_runner import BeginHere, TrialRunner
from utils.formatting import counted

_NEEDED = (
    "HISTORY_DIR", "TAKER_FEE_PERCENT", "MINIMUM_ORDER_USD", "MAX_SPREAD_PERCENT",
    "MAX_QUOTE_JUMP_PERCENT", "SWEEP_TLS_CA", "SWEEP_TLS_CERT", "SWEEP_TLS_KEY",
)  # fmt: skip
_USUAL_TRIALS = 1000
__all__ = ["build_parser", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """One sweep; whatever stops it is one line, and an exit code."""
    return run_tool("sweep", arguments, _run)


def _run(arguments: Sequence[str]) -> int:
    logging.getLogger().addHandler(logging.NullHandler())  # what matters is in the answer
    options = parse_options(list(arguments))
    settings, problems = inspect_environment()  # whatever else is missing in .env
    wrong = problems if options.apply else [one for one in problems if one.startswith(_NEEDED)]
    if wrong:
        raise SettingsError(wrong)
    use_settings(settings)
    try:
        console = make_console()  # first: it refuses a closed standard output
        notes: tuple[str, ...] = ()
        if options.show is not None:
            result = read_sweep(options.show)
        else:
            result, notes = _sweep(settings, options)
        try:
            written = _write(result, options)
            if options.json:
                print_json({"done": True, **result, "notes": list(notes)} if notes else result)
            else:
                show_sweep(console, result, notes)
                for path in written:
                    console.print(f"written: {path}")
        except (KeyError, IndexError, TypeError, ValueError, ArithmeticError) as error:
            if options.show is None:
                raise
            raise HistoryError(f"{options.show} is damaged: {error!r}") from error
        sys.stdout.flush()
        if options.apply:
            apply_winner(settings, result, is_sure=options.yes)
    except AddressRefused as error:
        raise Stop(str(error), EXIT_REFUSED) from error
    except (HistoryError, ClusterError) as error:
        raise Stop(str(error), EXIT_FAILED) from error
    except BrokenPipeError:  # whoever read the answer has seen enough
        forget_unwritten()
    return EXIT_DONE


def _sweep(
    settings: Settings, options: argparse.Namespace
) -> tuple[dict[str, Any], tuple[str, ...]]:
    scheduler = None
    if options.scheduler is not None:
        scheduler = address_of(settings, options, options.scheduler)
    if options.apply:
        check_applicable(options.symbols)
    found = read_sweep_input(settings, options, datetime.now(UTC))
    if options.plot is not None:
        _axes_of(options.axes, [one.option for one in found.grid.dimensions])
    path = journal_path(settings.history_dir, options.symbols, found.ground.key)
    with SweepJournal(path, found.ground.key) as journal:
        try:
            sweep = _try(found, options, scheduler, journal)
        except KeyboardInterrupt:
            raise _broken_off("stopped", journal) from None
        except (HistoryError, ClusterError) as error:
            raise _broken_off(str(error), journal) from error
    result = sweep_json(sweep)
    options_of_grid = [one.option for one in found.grid.dimensions]
    kept = kept_path(settings.history_dir, options.symbols, options_of_grid, found.ground.key)
    try:
        write_sweep(kept, result)
    except HistoryError as error:  # what was found is shown all the same
        return result, (*found.notes, f"not kept for the page: {error}")
    return result, found.notes


def _try(
    found: SweepInput,
    options: argparse.Namespace,
    scheduler: SchedulerAddress | None,
    journal: SweepJournal,
) -> Sweep:
    trials = options.trials or _USUAL_TRIALS
    search = Search() if options.search == "grid" else Search(trials, options.seed)
    with SweepProgress(
        make_console(sys.stderr), ", ".join(options.symbols), is_silent=options.json
    ) as progress:

        def open_workers() -> AbstractContextManager[TrialRunner]:
            progress.tell("starting workers" if scheduler is None else "asking for workers")
            from research.cluster import TrialCluster  # Dask takes a second to load

            return TrialCluster(found.ground, workers=options.workers, scheduler=scheduler)

        def open_runner() -> AbstractContextManager[TrialRunner]:
            if scheduler is not None or options.workers is not None:
                return open_workers()
            return BeginHere(found.ground, open_workers)

        return run_sweep(
            found.ground, found.grid, found.objective, search, journal, open_runner, progress.show
        )


def _broken_off(reason: str, journal: SweepJournal) -> Stop:
    kept = counted(len(journal), "configuration")
    return Stop(
        f"{reason}; {kept} tried so far, and the same command goes on from there", EXIT_FAILED
    )


def _axes_of(text: str | None, names: Sequence[str]) -> tuple[int, int]:
    """The numbers of the dimensions that a picture shows; one of them alone is a line."""
    if text is None:
        return 0, min(1, len(names) - 1)
    wanted = [one.strip().removeprefix("--").replace("-", "_") for one in text.split(",")]
    if len(wanted) > 2 or not set(wanted) <= set(names):
        known = ", ".join(one.replace("_", "-") for one in names)
        raise Refused(f"--axes takes one or two of the settings that vary ({known})")
    return names.index(wanted[0]), names.index(wanted[-1])


def _write(result: Mapping[str, Any], options: argparse.Namespace) -> list[Path]:
    """The files that were asked for."""
    if options.plot is not None:
        axes = _axes_of(options.axes, [one["option"] for one in result["dimensions"]])
        if not result["ranking"]:
            raise Stop("there is no winner, so there is nothing to draw", EXIT_FAILED)
        _plot(result, axes, options.plot)
    if options.out is not None:
        write_sweep(options.out, result)
    return [path for path in (options.plot, options.out) if path is not None]


def _plot(result: Mapping[str, Any], axes: tuple[int, int], path: Path) -> None:
    """A picture that fails leaves an older one of this name as it was."""
    from research.sweep_picture import draw_sweep  # matplotlib takes a second to load

    with _scratch(path) as scratch:
        draw_sweep(result, axes, scratch)
        scratch.replace(path)


@contextmanager
def _scratch(path: Path) -> Iterator[Path]:
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield scratch
    finally:
        scratch.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
