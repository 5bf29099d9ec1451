"""Which assets are watched, for which prices, and what is said of those that cannot trade.

Owns: what the refresh read, applied in the event loop a few assets at a time; rules that are asked
for beside it; the stalls. Decides no order.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

from config import Settings
from domain.cycle import CycleStatus, DcaCycle
from domain.market import AssetRules
from domain.orders import Side
from domain.trading_state import TradingState
from strategy.exits import forget_clock, is_peak_over, renew_track, with_track
from strategy.triggers import NEVER
from trading.asset_rules_cache import AssetRulesCache
from trading.exit_watch import ExitWatch
from trading.peak_saver import RisenPeaks
from trading.placement import Placement, Skip
from trading.placement_guard import PlacementGuard
from trading.quote_watch import SymbolWatch
from trading.stall_watch import StallWatch
from trading.state_reader import Changes, Reading, read
from utils.alpaca_client_rest import ExchangeError, ExchangeRefused
from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)

RULES_THREADS = 4  # for the few symbols that the list of all rules does not bring
AT_ONCE = 25  # assets between two looks at the quotes: one or two milliseconds
_ALPACAS_PAGE = "look at the coin on Alpaca's page"


class AssetWatches:
    """Of one account; used in the event loop only.

    Args:
        guard: of a symbol.
        quotes_live_since: monotonic seconds since when the stream as a whole is not silent; None
            while it is.
        on_watch: called with each symbol that is watched for the first time.
        on_rules: called when rules came that were asked for: there may be more symbols to watch.
    """

    def __init__(
        self,
        settings: Settings,
        rules: AssetRulesCache,
        *,
        guard: Callable[[str], PlacementGuard],
        quotes_live_since: Callable[[], float | None],
        on_watch: Callable[[SymbolWatch], None],
        on_rules: Callable[[], None],
    ) -> None:
        self.peaks = RisenPeaks()
        self._settings = settings
        self._rules = rules
        self._guard = guard
        self._quotes_live_since = quotes_live_since
        self._on_watch = on_watch
        self._on_rules = on_rules
        self.by_symbol: dict[str, SymbolWatch] = {}
        self.stalls = StallWatch(settings.stalled_alert_seconds)
        self._readings: dict[str, Reading] = {}  # the newest, by symbol
        self.cooldowns: dict[str, TradingState] = {}  # of the assets that cool down, by symbol
        self._rules_asked: set[str] = set()
        self.rules_tasks: set[asyncio.Task[None]] = set()
        self._rules_threads = ThreadPoolExecutor(RULES_THREADS, thread_name_prefix="bot-rules")

    def symbols(self) -> set[str]:
        """The symbols that can be traded: what the exchange does not know is not subscribed."""
        return {symbol for symbol, watch in self.by_symbol.items() if watch.state is not None}

    async def refresh(self, states: Iterable[TradingState]) -> None:
        """Take the states of all assets, and wait for what is asked about them: for who has no
        StateReader.
        """
        readings = [read(state, self._rules, self._settings.taker_fee_rate) for state in states]
        symbols = frozenset(reading.state.asset.asset_symbol for reading in readings)
        await self.take(Changes(readings, symbols))
        await asyncio.gather(*self.rules_tasks)

    async def take(self, changes: Changes) -> None:
        """Wait for the prices that `changes` name; starts watching new assets. Of what did not
        change, see what depends on the time. Quotes are taken in between.
        """
        for number, reading in enumerate(changes.readings, 1):
            self._take(reading)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        if changes.symbols is not None:
            await self._review_all(changes.symbols)

    def _take(self, reading: Reading) -> None:
        state, symbol = reading.state, reading.state.asset.asset_symbol
        if state.cycle.status is CycleStatus.COOLDOWN:
            self.cooldowns[symbol] = state
        else:
            self.cooldowns.pop(symbol, None)
        watch, before = self._watch(symbol), self._readings.get(symbol)
        # They can have come since it was read.
        rules: AssetRules | ExchangeError | None = self._rules.find_last(symbol)
        if rules is None and reading.awaits_rules and before is not None:
            rules = before.rules
        if rules is not None and rules is not reading.rules:
            reading = reading.with_rules(rules, self._settings.taker_fee_rate)
        self._readings[symbol] = reading
        if reading.is_tradable:
            if watch.state is not None and watch.state.asset != state.asset:
                self.end_backoff(watch)  # what kept it from trading may be cured
            watch.state = state
        self._set_triggers(watch, reading)
        self._review(watch, reading)

    async def _review_all(self, symbols: frozenset[str]) -> None:
        """Of every asset that is configured, and of those that are no more."""
        for task in [task for task in self.rules_tasks if task.done()]:
            self.rules_tasks.discard(task)
            task.result()  # a fault of ours ends the daemon, and the watchdog starts it again
        due = []
        for number, watch in enumerate(list(self.by_symbol.values()), 1):
            reading = self._readings.get(watch.symbol)
            if watch.symbol not in symbols:
                self._readings.pop(watch.symbol, None)
                self.cooldowns.pop(watch.symbol, None)
                watch.set_triggers(NEVER)
                self.stalls.release(watch.symbol, "it is configured no more")
            elif reading is not None:
                self._review(watch, reading)
                if reading.problem is None and self._rules.is_due(watch.symbol):
                    due.append(watch.symbol)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        if new := [symbol for symbol in due if symbol not in self._rules_asked]:
            self._rules_asked |= set(new)
            self.rules_tasks.add(asyncio.create_task(self._bring_rules(new), name="rules"))

    def _set_triggers(self, watch: SymbolWatch, reading: Reading) -> None:
        """Where the rules could not be had, the prices of before go on to count."""
        triggers = reading.triggers
        if triggers is None:
            return
        if triggers.buy_not_before and datetime.now(UTC) < triggers.buy_not_before:
            triggers = replace(triggers, buy_at_or_below=None)  # until a later refresh
        state = reading.state
        track = renew_track(watch.track, state.cycle)
        followed = with_track(state, track)
        if is_peak_over(followed.asset, followed.cycle):
            self.peaks.forget(followed.cycle)
            track = replace(track, peak=None, next_peak=None)
            state = replace(state, cycle=replace(state.cycle, trailing_peak=None))
        watch.track = track if watch.exits is not None else forget_clock(track)
        exits = ExitWatch.of(self._settings, state, triggers, watch.track, self.peaks.note)
        if exits is not None and watch.exits is not None:
            exits.take_over(watch.exits)
        watch.set_triggers(triggers, exits)

    def _review(self, watch: SymbolWatch, reading: Reading) -> None:
        """What is to be done though nothing changed: time goes by."""
        state = reading.state
        if reading.awaits_rules:
            return
        if not state.other_symbol and not isinstance(reading.rules, ExchangeError):
            self._wake_to_close(watch, state.cycle)
        if (obstacle := reading.obstacle) is not None:
            self._note_untradable(watch, state, obstacle)
            return
        if reading.triggers is not None and reading.triggers.buy_not_before is not None:
            self._set_triggers(watch, reading)
        self._note_state(watch, state)

    async def _bring_rules(self, symbols: list[str]) -> None:
        """One list where many are due, then one question after another for what it lacks. An asset
        goes on by its last rules meanwhile, and a slow answer about one keeps no other waiting.
        """
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._rules_threads, self._rules.prefetch, symbols)
        left = iter(symbols)
        await asyncio.gather(*(self._bring_one_by_one(left) for _ in range(RULES_THREADS)))
        self._on_rules()

    async def _bring_one_by_one(self, symbols: Iterator[str]) -> None:
        loop, renew = asyncio.get_running_loop(), self._rules.renew
        for number, symbol in enumerate(symbols, 1):
            found: AssetRules | ExchangeError | None = self._rules.find(symbol)
            if found is None or self._rules.is_due(symbol):
                try:
                    found = await loop.run_in_executor(self._rules_threads, renew, symbol)
                except ExchangeError as error:
                    found = error
            self._rules_asked.discard(symbol)
            if (reading := self._readings.get(symbol)) is not None:
                self._take(reading.with_rules(found, self._settings.taker_fee_rate))
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)

    def _wake_to_close(self, watch: SymbolWatch, cycle: DcaCycle) -> None:
        """What is to be sold now waits for no quote, and for no better configuration."""
        backs_off = time.monotonic() < watch.backs_off_until[Side.SELL]
        if cycle.sells_now and cycle.status is CycleStatus.WATCHING and not backs_off:
            watch.wake.set()

    def _watch(self, symbol: str) -> SymbolWatch:
        watch = self.by_symbol.get(symbol)
        if watch is None:
            watch = SymbolWatch(symbol, self._settings.max_quote_jump_percent)
            self.by_symbol[symbol] = watch
            self._on_watch(watch)
        return watch

    def end_backoff(self, watch: SymbolWatch) -> None:
        """The next quote may act at once, but for what was refused."""
        guard, now = self._guard(watch.symbol), time.monotonic()
        for side in Side:
            watch.backs_off_until[side] = now + guard.seconds_until_allowed(side, now)

    def note(self, watch: SymbolWatch, skipped: Placement) -> None:
        """A reason to wait is logged when it changes; when it lasts, that is an alert."""
        self.hold(watch, skipped)
        level, reason = skipped.level, skipped.reason
        if reason != watch.last_reason:
            watch.last_reason = reason
            # Not by its words where they have moving figures; what has no cure has none of those.
            about = f"{watch.symbol} skipped: {skipped.cure or reason}"
            log_event(
                log,
                LogEvent.ORDER_SKIPPED,
                level=level,
                about=about,
                symbol=watch.symbol,
                reason=reason,
            )

    def hold(self, watch: SymbolWatch, placement: Placement) -> None:
        self.stalls.hold(
            watch.symbol,
            placement.reason,
            time.monotonic(),
            cure=placement.cure,
            is_requested=placement.is_requested,
            has_foreign_coins=placement.has_foreign_coins,
        )

    def _note_untradable(
        self, watch: SymbolWatch, state: TradingState, problem: str | ExchangeError
    ) -> None:
        """Nothing of it can be traded, whatever the price. An exchange that is away may be back
        in a moment.
        """
        passes = isinstance(problem, ExchangeError) and not isinstance(problem, ExchangeRefused)
        cure = f"scripts/assets edit {watch.symbol}" if isinstance(problem, str) else None
        level = logging.WARNING if passes else logging.ERROR
        skip = Skip(f"asset cannot be traded: {problem}", level=level, cure=cure)
        self.note(watch, skip.placement)
        if not _is_traded(state):
            self.stalls.release(watch.symbol, "it is disabled and holds nothing")

    def _note_state(self, watch: SymbolWatch, state: TradingState) -> None:
        """What the newest state and quote say of what held the asset back."""
        now, lives_since = time.monotonic(), self._quotes_live_since()
        stream_lives = lives_since is not None
        blind_since = max(watch.received_at, lives_since or 0.0)
        max_seconds = max(
            self._settings.stalled_alert_seconds, self._settings.stream_silence_seconds
        )
        is_blind = stream_lives and now - blind_since >= max_seconds
        status, wants = state.cycle.status, watch.wants_to_trade()
        if not _is_traded(state):
            self.stalls.release(watch.symbol, "it is disabled and holds nothing")
        elif status in (CycleStatus.BUYING, CycleStatus.SELLING) and not wants:
            self.stalls.trying(watch.symbol)
        elif is_blind:
            # The watchdog sees only a stream that is silent as a whole.
            reason = "no usable quote of it comes although the stream lives"
            self.stalls.hold(watch.symbol, reason, now, since=blind_since, cure=_ALPACAS_PAGE)
        elif not wants and watch.exits is not None and watch.exits.is_starved(now):
            max_seconds = self._settings.max_quote_age_seconds
            reason = (
                "its bid is below its stop loss, and its quotes come too seldom for the time that"
                f" it waits (more than {max_seconds:g} s apart)"
            )
            cure = f"scripts/assets edit {watch.symbol} --stop-loss-seconds 0"
            since = watch.exits.below_first_at
            self.stalls.hold(watch.symbol, reason, now, since=since, cure=cure)
        elif stream_lives and not wants:
            self.stalls.release(watch.symbol, "the price asks for no order any more")


def _is_traded(state: TradingState) -> bool:
    """Whether it may buy, or has coins to sell."""
    return state.asset.is_enabled or state.cycle.quantity > 0
