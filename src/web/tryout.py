"""What tried settings would have earned over the stored history, beside today's: the replay behind
the sliders. Pure but for the files of the history.

Owns: which prices and rules a try is on (those of `scripts/backtest` with the same settings and
range, so that every figure is the same), and what of them is kept for the next one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from domain.asset import DcaAsset, StartMode
from operations.asset_input import AMOUNTS, COLUMN_OF, build_asset, read_defaults, read_values
from operations.json_views import plan_json
from operations.refused import Refused
from research.backtest import Account, Entrant, run_path
from research.bars import PathChoice
from research.errors import HistoryError
from research.feed import Feed
from research.history import History
from research.market_rules import KnownRules, load_rules, usual_rules
from research.result import run_json
from research.series import Bars
from strategy.asset_checks import check_asset, find_number_problems
from strategy.earning import compute_default_order_usd
from strategy.ladder import compute_ladder_usd
from utils.formatting import plain
from web.kept_history import KeptHistory, kept
from web.tryout_input import Range, TrySettings
from web.tryout_views import curve_json, ladder_json, limits_json, markers_json

MAX_RUNS = 32


class Tryouts:
    """Everything that one process knows of the past. Not for several threads at once."""

    def __init__(self, settings: TrySettings) -> None:
        self._settings = settings
        self._history = History(settings.history_dir)
        self.past = KeptHistory(self._history, settings.max_quote_jump_percent)
        self._runs: OrderedDict[Any, dict[str, Any]] = OrderedDict()

    # What there is

    def describe(self, where: Range, today: Mapping[str, str] | None) -> dict[str, Any]:
        """What a page needs before the first try; `today`: the asset's options as texts, None where
        it is not configured: then those that `scripts/assets add` would take.

        Raises:
            Refused: of a text that is no value.
        """
        shown: dict[str, Any] = {"range": None, "why_none": None}
        values = read_defaults(self._fee_percent) | self._read(today)
        asset = build_asset(where.symbol, values)
        try:
            feed = self.past.load(where)
        except HistoryError as error:
            shown["why_none"] = str(error)
        else:
            if today is None:
                asset = self._asset(where.symbol, feed, {}, is_whole=False)
            shown["range"] = {
                "from": plain(feed.begin),
                "to": plain(feed.end),
                "bars": len(feed.series),
                "kind": feed.kind.value,
                "missing": sum(gap.missing for gap in feed.gaps),
            }
        shown["is_configured"] = today is not None
        return shown | limits_json(asset) | {"cash_usd": plain(compute_ladder_usd(asset))}

    # A try

    def try_settings(
        self, where: Range, today: Mapping[str, str] | None, tried: Mapping[str, str]
    ) -> dict[str, Any]:
        """The settings `tried` on top of today's (of the defaults, where there are none).

        Raises:
            HistoryError: there are no prices, or they are damaged.
        """
        feed = self.past.load(where)
        now_ask = _last_ask(feed)
        answer: dict[str, Any] = {
            "plan": None, "capital_usd": None, "figures": None, "equity": [],
            "markers": [], "markers_of": 0, "ladder": [], "refusals": [], "warnings": [],
            "ask": plain(now_ask),
        }  # fmt: skip
        answer |= self._today(where, feed, today)
        try:
            values = self._read(today) | self._read(tried)
            asset = self._asset(where.symbol, feed, values, is_whole=today is not None)
        except Refused as refused:
            return answer | {"refusals": [str(refused)]}
        known = self._rules(where.symbol, feed)
        findings, plan = check_asset(asset, known.rules, self._fee_rate, now_ask)
        answer["refusals"] = [one.text for one in findings if one.refuses]
        answer["warnings"] = [one.text for one in findings if not one.refuses]
        answer["capital_usd"] = plain(compute_ladder_usd(asset))
        if plan is not None:
            answer |= {"plan": plan_json(plan), "ladder": ladder_json(plan)}
        if answer["refusals"]:
            return answer
        try:
            return answer | self._run(where, feed, asset)
        except Refused as refused:
            return answer | {"refusals": [str(refused)]}

    def _today(self, where: Range, feed: Feed, today: Mapping[str, str] | None) -> dict[str, Any]:
        """What the asset's own settings earned; no figures where they cannot be traded."""
        if today is None:
            return {"today": None, "today_equity": []}
        shown: dict[str, Any] = {"capital_usd": None, "figures": None}
        try:
            asset = self._asset(where.symbol, feed, self._read(today), is_whole=True)
            shown["capital_usd"] = plain(compute_ladder_usd(asset))
            found = self._run(where, feed, asset)
        except Refused as refused:
            return {"today": shown | {"why_none": str(refused)}, "today_equity": []}
        return {"today": shown | {"figures": found["figures"]}, "today_equity": found["equity"]}

    def _run(self, where: Range, feed: Feed, asset: DcaAsset) -> dict[str, Any]:
        """Figures, curve and fills of one replay, those of the last ones from memory.

        Raises:
            Refused: a backtest would refuse it at its first price.
        """
        known = self._rules(where.symbol, feed)
        key = (self.past.key(where), asset, known.rules)
        return kept(self._runs, key, lambda: self._replay(asset, known, feed), MAX_RUNS)

    def _replay(self, asset: DcaAsset, known: KnownRules, feed: Feed) -> dict[str, Any]:
        findings, _ = check_asset(asset, known.rules, self._fee_rate, feed.line.ask(0))
        if refused := [one.text for one in findings if one.refuses]:
            raise Refused(f"at the first price of this range: {'; '.join(refused)}")
        account = Account(
            cash_usd=compute_ladder_usd(asset),
            fee_percent=self._fee_percent,
            max_spread_percent=self._settings.max_spread_percent,
            max_jump_percent=self._settings.max_quote_jump_percent,
            limits=self._settings.limits,
        )
        entrant = Entrant(asset=asset, known=known, feed=feed)
        run = run_path([entrant], account, PathChoice.PESSIMISTIC)
        return {"figures": run_json(run), "equity": curve_json(run), **markers_json(run)}

    # Settings

    @property
    def _fee_percent(self) -> Decimal:
        return self._settings.taker_fee_percent

    @property
    def _fee_rate(self) -> Decimal:
        return self._fee_percent / 100

    def _read(self, texts: Mapping[str, str] | None) -> dict[str, Any]:
        return read_values(texts or {}, self._fee_percent)

    def _asset(
        self, symbol: str, feed: Feed, values: Mapping[str, Any], *, is_whole: bool
    ) -> DcaAsset:
        """As `scripts/backtest` would make it; `is_whole`: no value is left to the defaults.

        Raises:
            Refused: numbers that are wrong in any market.
        """
        defaults = {} if is_whole else read_defaults(self._fee_percent)
        asset = build_asset(symbol, {**defaults, **values})
        if problems := find_number_problems(asset):
            raise Refused("; ".join(problems))
        free = [COLUMN_OF[one] for one in AMOUNTS if COLUMN_OF[one] not in values]
        if free:
            rules, ask = self._rules(symbol, feed).rules, feed.line.ask(0)
            amount = compute_default_order_usd(asset, rules, self._fee_rate, ask)
            amounts: dict[str, Any] = dict.fromkeys(free, amount)
            asset = replace(asset, **amounts)
        # Nobody is here to start a cycle.
        return replace(asset, id=1, start_mode=StartMode.AT_ONCE)

    def _rules(self, symbol: str, feed: Feed) -> KnownRules:
        least = self._settings.minimum_order_usd
        return load_rules(self._history, symbol, least) or usual_rules(
            symbol, least, feed.line.ask(0)
        )


def _last_ask(feed: Feed) -> Decimal:
    """USD: what a buyer would pay at the end of the range."""
    if isinstance(feed.series, Bars):
        return int(feed.series.close[-1]) * feed.line.ask_of_step
    return feed.line.ask(-1)
