"""`scripts/sweep --apply`: the winner's settings for the bot, by the edit of scripts/assets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cli.assets import AssetsCommand
from cli.assets_options import parse_options
from cli.command_line import EXIT_FAILED, Stop
from config import Settings
from models.meta import check_schema
from operations.asset_changes import load_configured
from operations.asset_input import CHOICES, COLUMN_OF, OFF
from utils.db_utils import thread_connection
from utils.logging_setup import setup_logging

_KEPT = ("start",)  # a replay starts every cycle at once; that is the user's to say


def check_applicable(symbols: Sequence[str]) -> None:
    """Before a long sweep: whether these can be edited.

    Raises:
        Refused: one is not configured. DatabaseError: nobody can say.
    """
    check_schema(thread_connection())
    for symbol in symbols:
        load_configured(thread_connection(), symbol)


def apply_winner(settings: Settings, result: Mapping[str, Any], *, is_sure: bool) -> None:
    """Show the plan of each asset with all the settings that were tried, ask, and save.

    Raises:
        Stop: there is no winner, or the user said no. Whatever scripts/assets edit raises.
    """
    if not result["ranking"]:
        raise Stop("there is no winner, so there is nothing to apply", EXIT_FAILED)
    setup_logging(settings, "assets", console=False)
    for one in result["assets"]:
        arguments = ["edit", one["symbol"], *edit_arguments(result, one)]
        options = parse_options([*arguments, *(["--yes"] if is_sure else [])])
        AssetsCommand(settings, options).run()


def edit_arguments(result: Mapping[str, Any], asset: Mapping[str, Any]) -> list[str]:
    """What scripts/assets edit takes for the winner: every setting that it was tried with."""
    varied = {
        one["option"]: one["values"][place]
        for one, place in zip(result["dimensions"], result["ranking"][0], strict=True)
    }
    arguments = []
    for option, column in COLUMN_OF.items():
        if option in _KEPT:
            continue
        text = varied.get(option, _typed(option, asset["settings"][column]))
        arguments.append(f"--{option.replace('_', '-')}={text}")
    return arguments


def _typed(option: str, value: Any) -> str:
    if value is None:
        return OFF
    return str(value).replace("_", "-") if option in CHOICES else str(value)
