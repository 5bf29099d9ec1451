"""`scripts/assets`: the command line over the changes of assets.

Owns words, questions and the order of steps: show, ask, save. Others decide what a change is and
whether it can work. What needs the exchange's SDK is imported where it is used: it takes a second
to load, which help and lists can spare.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cli.asset_tables import show_adoption, show_changes, show_list, show_preview
from cli.assets_options import parse_options
from cli.command_line import EXIT_REFUSED, Stop, confirm, print_json
from cli.runner import Command, run_tool
from config import get_settings
from domain.asset import DcaAsset
from models.asset_config import get_all_assets, get_asset_config
from models.meta import check_schema
from models.trading_state import load_all_trading_states, load_trading_state
from operations import asset_changes, json_views
from operations.asset_changes import load_open_cycle
from operations.asset_input import (
    AMOUNTS,
    COLUMN_OF,
    build_asset,
    change_asset,
    read_defaults,
    read_values,
)
from operations.asset_words import added_text, what_goes_on
from strategy.fees import compute_coins_held
from utils.db_utils import thread_connection
from utils.formatting import number
from utils.logging_setup import setup_logging

if TYPE_CHECKING:
    from operations.preview import Preview


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; whatever stops it is one line, and an exit code."""
    return run_tool("assets", arguments, _run)


def _run(arguments: Sequence[str]) -> int:
    options = parse_options(arguments)
    settings = get_settings()
    setup_logging(settings, "assets", console=False)
    return AssetsCommand(settings, options).run()


class AssetsCommand(Command):
    """The methods are named as the commands."""

    @property
    def _symbol(self) -> str:
        return str(self.options.symbol)

    def list(self) -> None:
        connection = thread_connection()
        check_schema(connection)
        assets = get_all_assets(connection)
        rows = [(asset, load_open_cycle(connection, asset)) for asset in assets]
        if self.as_json:
            print_json({"assets": [json_views.asset_json(*row) for row in rows]})
        elif rows:
            states = load_all_trading_states(connection)
            fee_rate = self.settings.taker_fee_rate
            held = {
                state.cycle.id: compute_coins_held(state.cycle.quantity, state.coin_fees, fee_rate)
                for state in states
            }
            show_list(self.console, rows, held)
        else:
            self.say("Nothing is configured yet: scripts/assets add BTC/USD")

    def add(self) -> None:
        self._open_account()
        if get_asset_config(thread_connection(), self._symbol) is not None:
            raise asset_changes.refuse_configured(self._symbol)
        preview = self._preview(self._new_asset(), is_new=True)
        self._confirm(
            f"Add {self._symbol} and let the bot buy it?",
            {"preview": json_views.preview_json(preview)},
        )
        saved = asset_changes.save_new_asset(preview.asset)
        text = added_text(saved, has_warnings=bool(preview.warnings))
        self._answer(text, saved)

    def show(self) -> None:
        self._open_account()
        saved = get_asset_config(thread_connection(), self._symbol)
        asset = self._new_asset() if saved is None else saved
        if saved is not None and (values := self._values()):
            asset = change_asset(saved, values)
            self._show_changes(saved, asset)
        preview = self._preview(asset, is_new=saved is None)
        if self.as_json:
            print_json({"done": True, "preview": json_views.preview_json(preview)})
        elif asset.id == 0:
            self.say(f"{self._symbol} is not configured: nothing of this is saved.")

    def edit(self) -> None:
        self._open_account()
        before = self._configured()
        after = change_asset(before, self._values())
        self._show_changes(before, after)
        preview = self._preview(after)
        changes = json_views.changes_json(before, after)
        shown = {"changes": changes, "preview": json_views.preview_json(preview)}
        self._confirm(f"Save these values of {self._symbol}?", shown)
        asset_changes.save_edit(before, after)
        self._answer(f"{self._symbol} is changed.", after, changes=changes)

    def enable(self) -> None:
        self._open_account()
        asset = replace(self._configured(), is_enabled=True)
        self._preview(asset)
        asset_changes.enable_asset(asset)
        self._answer(f"{self._symbol} is enabled.", asset)

    def disable(self) -> None:
        check_schema(thread_connection())
        asset = replace(self._configured(), is_enabled=False)
        asset_changes.disable_asset(asset)
        goes_on = what_goes_on(
            load_trading_state(thread_connection(), self._symbol), self.settings.taker_fee_rate
        )
        self._answer(f"{self._symbol} is disabled: it buys no more; {goes_on}.", asset)

    def remove(self) -> None:
        from operations.remove_asset import check_removal, finish_removal

        self._open_account()
        asset, keep_coins = self._configured(), self.options.keep_coins
        check_removal(asset, keep_coins=keep_coins)
        self._confirm(f"Forget {self._symbol}? Its history stays in the journal.")
        seconds = self.settings.unknown_outcome_seconds
        self.say(f"Waiting {seconds:g} s: a buy may be on its way.")
        cycle = finish_removal(asset, keep_coins=keep_coins)
        text = f"{self._symbol} is removed."
        if cycle is not None and cycle.is_open and cycle.quantity > 0:
            text += f" Its {number(cycle.quantity)} coins are yours to sell now."
        self._answer(text, asset)

    def adopt(self) -> None:
        from operations.adopt_coins import carry_out_adoption, prepare_adoption

        self._open_account()
        asset = self._configured()
        adoption, plan = prepare_adoption(self.settings, thread_connection(), asset)
        if not self.as_json:
            show_adoption(self.console, adoption, plan)
        shown = {"adoption": json_views.adoption_json(adoption, plan)}
        self._confirm(f"Let the bot trade these coins of {self._symbol}?", shown)
        cycle = carry_out_adoption(self.settings, adoption, datetime.now(UTC))
        self._answer(f"Adopted: cycle {cycle.id} of {self._symbol} holds the coins.", asset)

    def _open_account(self) -> None:
        from operations.preview import open_account

        open_account(thread_connection())

    def _values(self) -> dict[str, Any]:
        """The columns that the options name."""
        given = {option: getattr(self.options, option) for option in COLUMN_OF}
        return read_values(given, self.settings.taker_fee_percent)

    def _new_asset(self) -> DcaAsset:
        """With defaults for what the options do not name."""
        defaults = read_defaults(self.settings.taker_fee_percent)
        return build_asset(self._symbol, defaults | self._values())

    def _show_changes(self, before: DcaAsset, after: DcaAsset) -> None:
        if not self.as_json:
            show_changes(self.console, before, after)

    def _configured(self) -> DcaAsset:
        return asset_changes.load_configured(thread_connection(), self._symbol)

    def _preview(self, asset: DcaAsset, *, is_new: bool = False) -> Preview:
        """Show what it would be and stop where it cannot work (`show` shows that as well). Amounts
        of a new asset that the options do not name are those that its coin needs to earn.
        """
        from operations.preview import load_preview

        unnamed = [name for name in AMOUNTS if is_new and getattr(self.options, name) is None]
        free = [COLUMN_OF[name] for name in unnamed]
        preview = load_preview(self.settings, thread_connection(), asset, free_amounts=free)
        is_shown = not preview.refusals or (
            self.options.command == "show" and preview.plan is not None
        )
        if is_shown and not self.as_json:
            show_preview(self.console, preview)
        if preview.refusals:
            shown = {"preview": json_views.preview_json(preview)} if is_shown else None
            raise Stop("; ".join(preview.refusals), EXIT_REFUSED, shown)
        return preview

    def _confirm(self, question: str, shown: Mapping[str, Any] | None = None) -> None:
        confirm(question, is_sure=self.options.yes, as_json=self.as_json, shown=shown)

    def _answer(self, text: str, asset: DcaAsset, **shown: Any) -> None:
        cycle = load_open_cycle(thread_connection(), asset)
        self.answer(text, asset=json_views.asset_json(asset, cycle), **shown)


if __name__ == "__main__":
    sys.exit(main())
