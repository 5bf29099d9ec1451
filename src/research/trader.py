"""One asset in a replay: the live functions decide, size and book; only the fills are simulated.

Owns: what the daemon, the trade stream and cooldown_manager do between a quote and the next state
(trading.order_placement, trading.cycle_changes), without a database and an exchange. A rule of the
strategy never stands here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from domain.asset import DcaAsset
from domain.cycle import CycleStatus, DcaCycle
from domain.journal import JournalEntry, Purpose
from domain.market import AssetRules
from domain.orders import ExchangeOrder, Side
from domain.records import Record, replace
from domain.trading_state import TradingState
from research.account import SimulatedAccount
from strategy.booking import compute_order_change
from strategy.cooldown import is_cooldown_over
from strategy.entry import Opening, decide_opening, why_not_open
from strategy.exits import ExitTrack, follow_quote, raise_peak, renew_track, with_track
from strategy.ladder import compute_buy_usd
from strategy.lifecycle import Circumstances, Fact, target_of
from strategy.order_identity import compute_client_order_id
from strategy.sizing import (
    MAXIMUM_ORDER_USD,
    SizingError,
    is_dust,
    minimum_base_order_usd,
    size_buy,
    size_take_profit,
)
from strategy.triggers import Decision, Triggers, compute_triggers, decide_by

_NONE = Decimal(0)
# Looked up once: see strategy.ladder.
_COOLDOWN, _ERROR, _BASE = CycleStatus.COOLDOWN, CycleStatus.ERROR, Purpose.BASE
_BUY, _SELL = Side.BUY, Side.SELL


@dataclass(frozen=True, slots=True)
class Refusal:
    """An order that was not sent or not taken, and why."""

    at: datetime
    why: str


class HeldBack(Record, frozen=True):
    """A limit of the account that keeps a buy back, whatever its price, until then (None: at all)
    or until the account changed from this version. Without a version: at this very price.
    """

    why: str
    version: int | None = None
    until: datetime | None = None


class TraderMoment(Record, frozen=True):
    """What a trader goes back to: see `SimulatedTrader.moment`."""

    state: TradingState
    entries: int
    refusals: int
    leftover: Decimal
    cash_usd: Decimal
    coins: Decimal
    fees_usd: Decimal
    version: int
    refused_at_version: int | None
    track: ExitTrack
    held_back: HeldBack | None


@dataclass(slots=True, eq=False)
class SimulatedTrader:
    """The state of one asset and its journal. `on_quote` is what the daemon does with a quote.

    `opens`: when the user asks for a cycle to be opened, the next one last. `find_limit`: the limit
    that keeps a buy back at this bid, if any; None: there are no limits. `highest_ask`: of all the
    prices that will come; None: not known.
    """

    rules: AssetRules
    account: SimulatedAccount
    state: TradingState
    entries: list[JournalEntry] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    max_spread_percent: Decimal | None = None
    opens: list[datetime] = field(default_factory=list)
    find_limit: FindLimit | None = None
    held_back: HeldBack | None = None
    highest_ask: Decimal | None = None
    track: ExitTrack = field(init=False)
    follows_quotes: bool = field(init=False)  # a trail or a stop loss asks for each of them
    kept: Any = None  # what a walk worked out of all this; forgotten when any of it changes
    _seen: TradingState = field(init=False)  # the state with what the quotes say of it
    _triggers: Triggers | None = None
    _leftover: Decimal = _NONE
    _refused_at_version: int | None = None

    def __post_init__(self) -> None:
        asset = self.state.asset
        self.follows_quotes = (
            asset.trailing_take_profit_percent is not None or asset.stop_loss_percent is not None
        )
        self._follow_from(renew_track(None, self.state.cycle))

    @classmethod
    def begin(
        cls,
        asset: DcaAsset,
        rules: AssetRules,
        account: SimulatedAccount,
        max_spread_percent: Decimal | None = None,
    ) -> SimulatedTrader:
        """A new asset with its first cycle, as `scripts/assets add` makes it."""
        cycle = DcaCycle(id=1, asset_id=asset.id, status=CycleStatus.WATCHING, order_key="replay00")
        state = TradingState(asset=asset, cycle=cycle)
        return cls(rules, account, state, max_spread_percent=max_spread_percent)

    @property
    def symbol(self) -> str:
        return self.rules.symbol

    @property
    def triggers(self) -> Triggers:
        """The prices that matter now; computed once for each state, as the daemon does."""
        if self._triggers is None:
            self._triggers = compute_triggers(self._seen, self.rules, self.account.fee_rate)
        return self._triggers

    @property
    def lacks_cash(self) -> bool:
        """Whether the account could not pay the last buy, and nothing has changed since that could
        make it pay one: an order at another price may cost a little less.
        """
        if self._refused_at_version != self.account.version:
            return False
        price, purpose = self.triggers.buy_at_or_below, self.triggers.buy_purpose
        if price is None or purpose is None:
            return False
        amount_usd = min(compute_buy_usd(self._seen, purpose), MAXIMUM_ORDER_USD)
        # Rounded down, an order leaves less than one step of its coins unspent, and never half.
        unspent_usd = amount_usd / 2
        highest = price if price.is_finite() else self.highest_ask
        if highest is not None:
            step_usd = self.rules.min_trade_increment * (highest + self.rules.price_increment)
            unspent_usd = min(unspent_usd, step_usd)
        return self.account.cash_usd <= amount_usd - unspent_usd

    @property
    def buys_nothing(self) -> bool:
        """Whether no buy can come until something else happened: a limit, or the lack of cash."""
        return self._is_held_back or self.lacks_cash

    @property
    def _is_held_back(self) -> bool:
        return self.held_back is not None and self.held_back.version == self.account.version

    @property
    def wakes_at(self) -> datetime | None:
        """When time alone changes what can be done; None: never."""
        ends_at = self.cooldown_ends_at
        if self.held_back is None and not self.opens:
            return ends_at
        until = self.held_back.until if self.held_back and self._is_held_back else None
        times = [ends_at, until, self.opens[-1] if self.opens else None]
        return min((one for one in times if one is not None), default=None)

    @property
    def cooldown_ends_at(self) -> datetime | None:
        """When the cooldown that the cycle is in is over; None: it is in none."""
        if self.state.cycle.status is not _COOLDOWN:
            return None
        return self.state.cooldown_until

    def moment(self) -> TraderMoment:
        """Where this trader and its coins stand now, to come back to."""
        account = self.account
        return TraderMoment(
            self.state,
            len(self.entries),
            len(self.refusals),
            self._leftover,
            account.cash_usd,
            account.held(self.symbol),
            account.fees_usd,
            account.version,
            self._refused_at_version,
            self.track,
            self.held_back,
        )

    def go_back(self, moment: TraderMoment) -> None:
        """Undo what this trader did since `moment`; no other may have acted meanwhile."""
        self._stand_at(moment)
        del self.entries[moment.entries :]
        del self.refusals[moment.refusals :]

    def since(self, moment: TraderMoment) -> tuple[list[JournalEntry], list[Refusal]]:
        """What was written since `moment`."""
        return self.entries[moment.entries :], self.refusals[moment.refusals :]

    def go_on(
        self, moment: TraderMoment, entries: list[JournalEntry], refusals: list[Refusal]
    ) -> None:
        """Do again what was undone: `moment` was reached by these."""
        self._stand_at(moment)
        self.entries += entries
        self.refusals += refusals

    def _stand_at(self, moment: TraderMoment) -> None:
        account = self.account
        self._set_state(moment.state)
        self._follow_from(moment.track)
        self._leftover, self._refused_at_version = moment.leftover, moment.refused_at_version
        self.held_back, self.kept = moment.held_back, None
        account.cash_usd, account.fees_usd = moment.cash_usd, moment.fees_usd
        account.coins[self.symbol], account.version = moment.coins, moment.version

    def let_time_pass(self, now: datetime) -> None:
        """What happened since the last price but for the end of a cooldown: the user asked for a
        cycle, what kept buys back is over.
        """
        while self.opens and self.opens[-1] <= now:
            self._request_open(self.opens.pop())
            self.kept = None
        held = self.held_back
        if held is not None and (
            not self._is_held_back or (held.until is not None and held.until <= now)
        ):
            self.held_back = self.kept = None

    def _request_open(self, at: datetime) -> None:
        """What `scripts/bot open` does at that moment."""
        self.end_cooldown(at)
        asset, cycle = self.state.asset, self.state.cycle
        holds_coins = not is_dust(cycle.quantity, self.rules, self.account.fee_rate)
        if why := why_not_open(asset, cycle, holds_coins=holds_coins):
            self._refused(at, why)
        elif decide_opening(asset, cycle) is Opening.REQUESTED:
            cycle = replace(cycle, open_requested=True)
            self._set_state(replace(self.state, cycle=cycle))

    def end_cooldown(self, now: datetime) -> None:
        """What cooldown_manager does at `now`, if the cooldown is over."""
        cycle = self.state.cycle
        if cycle.status is _COOLDOWN and is_cooldown_over(self.state, now):
            target = target_of(cycle, Fact.COOLDOWN_OVER)
            self._set_state(replace(self.state, cycle=replace(cycle, status=target)))

    def follow(
        self,
        bid: Decimal,
        now: datetime,
        max_gap_seconds: float = math.inf,
        ask: Decimal | None = None,
    ) -> None:
        """What the daemon's watch does with a quote before anything is decided: the peak of a
        trail (of none whose spread to `ask` is too wide), and the clock of a stop loss.
        """
        triggers = self.triggers
        if triggers.trail is None and triggers.stop_at_or_below is None:
            return
        track = follow_quote(
            self.track,
            None if ask is not None and self._is_wide(bid, ask) else triggers.trail,
            triggers.stop_at_or_below,
            bid=bid,
            at=now.timestamp(),
            max_gap_seconds=max_gap_seconds,
        )
        known = self.track
        runs = track.below_since is not None or known.below_since is not None
        if runs or replace(known, below_until=track.below_until) != track:
            self._follow_from(track)  # without a running clock its time says nothing

    def reach_peak(self, bid: Decimal) -> bool:
        """The bid rose to this price, passing all below it: whether a trail follows it higher."""
        trail = self.triggers.trail
        if trail is None or bid < (trail.peak or trail.confirm_at_or_above):
            return False
        track = raise_peak(self.track, bid)
        if has_risen := track != self.track:
            self._follow_from(track)
        return has_risen

    def on_quote(self, bid: Decimal, ask: Decimal, now: datetime) -> bool:
        """Act on one quote, by at most one order; whether an order was filled or a peak taken. A
        second source says the same as the quote.
        """
        decision = decide_by(self.triggers, self._seen, bid=bid, ask=ask, now=now)
        if decision is None:
            return False
        if decision.is_peak:
            return self.reach_peak(bid)
        if decision.fires_stop:  # and then it is sold, whatever the price
            cycle = replace(self.state.cycle, stop_loss_fired=True)
            self._set_state(replace(self.state, cycle=cycle))
        try:
            if decision.side is _SELL:
                return self._sell(bid, now)
            why = self._why_not_buy(decision, bid, ask, now)
            if why is not None or self._refused_at_version == self.account.version:
                sale = decide_by(
                    self.triggers, self._seen, bid=bid, ask=ask, now=now, may_buy=False
                )
                if sale is not None and sale.is_sale:  # what stops buys stops no sale
                    return self._sell(bid, now)
            return self._buy(decision, ask, now) if why is None else self._refused(now, why)
        except SizingError as error:
            return self._refused(now, str(error))

    def _why_not_buy(
        self, decision: Decision, bid: Decimal, ask: Decimal, now: datetime
    ) -> str | None:
        if self._is_wide(bid, ask):
            return "the spread is wider than MAX_SPREAD_PERCENT"
        if self.find_limit is None:
            return None
        limit = self._find_limit(self.find_limit, decision, bid, now)
        return None if limit is None else limit.why

    def _find_limit(
        self, find: FindLimit, decision: Decision, bid: Decimal, now: datetime
    ) -> HeldBack | None:
        if not self._is_held_back:
            self.held_back, self.kept = find(self, decision, bid, now), None
        return self.held_back

    def _is_wide(self, bid: Decimal, ask: Decimal) -> bool:
        most = self.max_spread_percent
        return most is not None and (ask - bid) * 100 / ask > most

    def _refused(self, now: datetime, reason: str) -> bool:
        if not self.refusals or self.refusals[-1].why != reason:  # once, however often
            self.refusals.append(Refusal(now, reason))
        return False

    def _buy(self, decision: Decision, ask: Decimal, now: datetime) -> bool:
        assert decision.amount_usd is not None, "a buy always names its amount"
        fee_rate, asset = self.account.fee_rate, self.state.asset
        is_base = decision.purpose is _BASE
        if is_base and asset.base_order_amount < minimum_base_order_usd(self.rules, ask, fee_rate):
            return self._refused(now, "the base order is too small to be sold again")
        sized = size_buy(decision.amount_usd, ask, self.rules)
        if is_base and is_dust(sized.qty, self.rules, fee_rate):
            return self._refused(now, "the base order is too small to be sold again")
        if not self.account.can_pay(sized.qty * sized.limit_price):
            self._refused_at_version, self.kept = self.account.version, None
            return self._refused(now, "the cash is used up")
        self._fill(_BUY, sized.qty, sized.limit_price, ask, now)
        return True

    def _sell(self, bid: Decimal, now: datetime) -> bool:
        state, available = self.state, self.account.held(self.symbol)
        leftover = self._leftover if available > state.cycle.quantity else _NONE
        qty = size_take_profit(
            state.cycle.quantity,
            state.coin_fees,
            available,
            self.rules,
            self.account.fee_rate,
            leftover,
        )
        self._fill(_SELL, qty, None, bid, now)
        return True

    def _fill(
        self, side: Side, qty: Decimal, limit: Decimal | None, price: Decimal, now: datetime
    ) -> None:
        """The order is filled whole, and its end is booked as the trade stream's would be."""
        state = self.state
        identity = compute_client_order_id(state.cycle)
        order = ExchangeOrder(
            id=identity,
            client_order_id=identity,
            symbol=self.symbol,
            side=side,
            order_type="market" if limit is None else "limit",
            qty=qty,
            limit_price=limit,
            filled_qty=qty,
            filled_avg_price=price,
            status="filled",
            submitted_at=now,
            ended_at=now,
        )
        self.account.fill(self.symbol, side, qty, price)
        circumstances = Circumstances(
            asset=state.asset,
            rules=self.rules,
            fee_rate=self.account.fee_rate,
            now=now,
            cooldown_until=state.cooldown_until,
            after_error=state.previous_status is _ERROR,
            coin_fees=state.coin_fees,
        )
        change = compute_order_change(state.cycle, order, circumstances)
        assert change is not None, "a fill always changes the cycle"
        assert change.journal is not None, "the end of an order is always booked"
        self.entries.append(change.journal)
        asset, cycle = state.asset, replace(state.cycle, **change.cycle_updates)
        if change.asset_updates:
            asset = replace(asset, **change.asset_updates)
        if change.next_cycle is not None:
            self._set_state(self._next_state(asset, cycle, change.next_cycle))
        elif side is _BUY:
            bought_usd = state.bought_usd + change.journal.filled_usd
            coin_fees = state.coin_fees + change.journal.fee_qty
            self._set_state(
                replace(state, asset=asset, cycle=cycle, bought_usd=bought_usd, coin_fees=coin_fees)
            )
        else:
            self._set_state(replace(state, asset=asset, cycle=cycle))

    def _next_state(self, asset: DcaAsset, ended: DcaCycle, status: CycleStatus) -> TradingState:
        """The successor of a cycle that ended; what it could not sell is left for later ones."""
        self._leftover = max(_NONE, self._leftover + self._left_of(ended.id))
        return TradingState(
            asset=asset,
            cycle=DcaCycle(
                id=ended.id + 1, asset_id=asset.id, status=status, order_key=ended.order_key
            ),
            previous_status=ended.status,
            previous_completed_at=ended.completed_at,
            previous_stop_loss=ended.stop_loss_fired,
        )

    def _left_of(self, cycle_id: int) -> Decimal:
        """Coins that the cycle bought and did not sell; negative: it sold those of earlier ones."""
        left = _NONE
        for entry in reversed(self.entries):
            if entry.cycle_id != cycle_id:
                break
            if entry.side is _BUY:
                left += entry.filled_qty - entry.fee_qty
            else:
                left -= entry.filled_qty
        return left

    def _set_state(self, state: TradingState) -> None:
        self.state, self._triggers, self.kept = state, None, None
        if self.follows_quotes:
            self._follow_from(renew_track(self.track, state.cycle))
        else:
            self._seen = state  # no quote says anything of it

    def _follow_from(self, track: ExitTrack) -> None:
        self.track, self._seen = track, with_track(self.state, track)
        self._triggers = self.kept = None


FindLimit = Callable[[SimulatedTrader, Decision, Decimal, datetime], HeldBack | None]
