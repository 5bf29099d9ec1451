"""What `scripts/backtest` is about: settings, rules and prices of each asset, and from where."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from cli.command_line import EXIT_REFUSED, Stop
from cli.limit_options import read_limits, read_opens
from config import Settings
from domain.asset import DcaAsset, StartMode
from domain.market import AssetRules
from monitoring.status.timed_calls import Pending, TookTooLong
from operations.asset_input import AMOUNTS, COLUMN_OF, build_asset, read_defaults, read_values
from operations.refused import Refused
from operations.time_ranges import read_moment
from research.backtest import Account, Entrant
from research.feed import Feed, find_kind, find_spread, load_feed
from research.history import History
from research.market_rules import KnownRules, load_rules, save_rules, usual_rules
from research.series import Kind
from strategy.asset_checks import check_asset, find_number_problems
from strategy.dump import MIN_ASSETS
from strategy.earning import compute_default_order_usd
from strategy.ladder import compute_ladder_usd
from strategy.limits import AccountLimits

ALPACA_SECONDS = 8.0
FRESH = timedelta(days=1)  # rules change rarely


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """All that a backtest needs, and what a person should know of it."""

    entrants: tuple[Entrant, ...]
    account: Account
    notes: tuple[str, ...]


class InputReader:
    """Reads the history; the database and Alpaca only where they are needed and there."""

    def __init__(self, settings: Settings, options: argparse.Namespace, now: datetime) -> None:
        self._settings, self._options, self._now = settings, options, now
        self._history = History(settings.history_dir)
        self._notes: list[str] = []
        self._fee_percent: Decimal = (
            settings.taker_fee_percent if options.fee is None else options.fee
        )
        given = {option: getattr(options, option) for option in COLUMN_OF}
        self._values = read_values(given, self._fee_percent)
        self._limits = read_limits(options, AccountLimits.of(settings))
        self._opens = read_opens(options, now)

    def read(self) -> Input:
        """Everything of every asset.

        Raises:
            Refused, Stop: it cannot be tried so.
            HistoryError: there are no prices, or they are damaged.
            DatabaseError: the settings of the bot are wanted, and cannot be had.
        """
        options, settings = self._options, self._settings
        since = read_moment("--from", options.since, self._now, is_end=False)
        until = read_moment("--to", options.until, self._now, is_end=True)
        if since is not None and since >= (until or self._now):
            raise Refused(f"--from {options.since} is not before the end")
        if options.defaults and self._values:
            raise Refused("--defaults takes no other settings: leave it out to change some of them")
        configured = [self._find_own(symbol) for symbol in options.symbols]
        entrants = [
            self._entrant(number, symbol, own, since, until)
            for number, (symbol, own) in enumerate(
                zip(options.symbols, configured, strict=True), start=1
            )
        ]
        if self._limits.dump_pause_percent is not None and len(entrants) < MIN_ASSETS:
            self._notes.append(
                f"DUMP_PAUSE_PERCENT needs {MIN_ASSETS} assets: it never pauses here"
            )
        ladders_usd = sum((compute_ladder_usd(one.asset) for one in entrants), Decimal(0))
        account = Account(
            cash_usd=options.cash or ladders_usd,
            fee_percent=self._fee_percent,
            max_spread_percent=settings.max_spread_percent,
            max_jump_percent=settings.max_quote_jump_percent,
            limits=self._limits,
        )
        return Input(entrants=tuple(entrants), account=account, notes=tuple(self._notes))

    def _entrant(
        self,
        number: int,
        symbol: str,
        own: DcaAsset | None,
        since: datetime | None,
        until: datetime | None,
    ) -> Entrant:
        feed = self._load(symbol, since, until)
        ask = feed.line.ask(0)
        known = self._rules(symbol, ask)
        fee_rate = self._fee_percent / 100
        asset = own or self._new_asset(symbol, known.rules, ask)
        asset = replace(asset, id=number, is_enabled=True, last_sell_price=None)
        is_manual = asset.start_mode is StartMode.MANUAL
        if is_manual and not self._opens:
            self._notes.append(
                f"{symbol}: nobody is here to start a cycle, so each starts at once;"
                " --open-at says when you would"
            )
            asset = replace(asset, start_mode=StartMode.AT_ONCE)
        elif self._opens and not is_manual:
            self._notes.append(
                f"{symbol} starts its cycles by itself (--start at-once): --open-at ends cooldowns"
            )
        findings, _ = check_asset(asset, known.rules, fee_rate, ask)
        if refused := [one.text for one in findings if one.refuses]:
            raise Stop(f"{symbol}: {'; '.join(refused)}", EXIT_REFUSED)
        self._notes += [f"{symbol}: {one.text}" for one in findings]
        return Entrant(asset=asset, known=known, feed=feed, opens=self._opens)

    # Settings

    def _find_own(self, symbol: str) -> DcaAsset | None:
        """As the bot has it; None: the options and defaults count."""
        if self._values or self._options.defaults:
            return None
        if not (self._settings.db_user and self._settings.db_name):
            self._notes.append(f"{symbol}: there is no database here, so these are the defaults")
            return None
        from models.asset_config import get_asset_config
        from models.meta import check_schema
        from utils.db_utils import DatabaseError, thread_connection

        try:
            connection = thread_connection()
            check_schema(connection)
            found = get_asset_config(connection, symbol)
        except DatabaseError as error:
            hint = "name settings, or --defaults, to do without"
            raise DatabaseError(f"{error}; {hint}") from error
        if found is None:
            self._notes.append(f"{symbol} is not configured: these are the defaults")
        else:
            self._notes.append(f"{symbol}: the settings are those of the bot")
        return found

    def _new_asset(self, symbol: str, rules: AssetRules, ask: Decimal) -> DcaAsset:
        """As `scripts/assets add` would make it at this ask."""
        asset = build_asset(symbol, read_defaults(self._fee_percent) | self._values)
        if problems := find_number_problems(asset):
            raise Refused("; ".join(problems))
        free = [COLUMN_OF[one] for one in AMOUNTS if COLUMN_OF[one] not in self._values]
        amount = compute_default_order_usd(asset, rules, self._fee_percent / 100, ask)
        amounts: dict[str, Any] = dict.fromkeys(free, amount)
        return replace(asset, **amounts)

    # Prices

    def _load(self, symbol: str, since: datetime | None, until: datetime | None) -> Feed:
        kind = Kind.QUOTES
        if not self._options.quotes:
            kind = find_kind(self._history, symbol, since, until) or Kind.BARS
        spread_percent = self._options.spread
        if spread_percent is None and kind is Kind.BARS:
            spread_percent = self._usual_spread(symbol)
        return load_feed(
            self._history,
            symbol,
            since,
            until,
            kind=kind,
            spread_percent=spread_percent or Decimal(0),
            max_jump_percent=self._settings.max_quote_jump_percent,
        )

    def _usual_spread(self, symbol: str) -> Decimal:
        percent, is_own = find_spread(self._history, symbol)
        if is_own:
            self._notes.append(f"{symbol}: the spread is that of your own quotes")
        return percent

    # Rules

    def _rules(self, symbol: str, ask: Decimal) -> KnownRules:
        least = self._settings.minimum_order_usd
        kept = load_rules(self._history, symbol, least)
        is_fresh = kept is not None and kept.asked_at and self._now - kept.asked_at < FRESH
        if not is_fresh and self._settings.alpaca_api_key:
            rules = self._ask_alpaca(symbol)
            if rules is not None:
                save_rules(self._history, rules, self._now)
                return KnownRules(rules, self._now)
        return kept or usual_rules(symbol, least, ask)

    def _ask_alpaca(self, symbol: str) -> AssetRules | None:
        """None: it is away, or does not know the coin. The replay does not depend on it."""
        from utils.alpaca_client_rest import ExchangeError, get_trading_client  # loads the SDK
        from utils.alpaca_queries import fetch_asset_rules

        least = self._settings.minimum_order_usd
        pending = Pending(
            lambda: fetch_asset_rules(get_trading_client(), symbol, min_cost_usd=least),
            seconds=ALPACA_SECONDS,
        )
        try:
            return pending.result()
        except (ExchangeError, TookTooLong):
            return None
