"""Where what a cycle holds is sold: its take profit, a trail that follows it, its stop loss. Pure.

Nothing here is rounded but a peak: down to the 18 places of our tables, so that it never claims
more than was bid. The price of a trail and that of a stop loss are exact products.

What the quotes add up to (a peak, and for how long the bid has been below the stop) is an
`ExitTrack`: each quote gives the next one, live and in a replay alike.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal, localcontext

from domain.asset import DcaAsset
from domain.cycle import CycleStatus, DcaCycle
from domain.journal import Purpose
from domain.records import Record, replace
from domain.trading_state import TradingState
from strategy.sizing import (
    STORED_STEP,
    WIDE,
    lower_price,
    raise_price,
    round_stored,
    round_to_increment,
)

ANY_SELL_PRICE = Decimal(0)  # the trigger of a sale that is wanted now: every bid reaches it
_STOP_LOSS, _TAKE_PROFIT = Purpose.STOP_LOSS, Purpose.TAKE_PROFIT  # looked up once: see ladder


def compute_take_profit_price(asset: DcaAsset, average_price: Decimal) -> Decimal:
    """USD: `take_profit_percent` above the average price.

    With `take_profit_fee_percent` the fee of both sides is earned first, so that the percent is
    net. That price is rounded up to the 18 places of our tables: never less than the percent.
    """
    price = raise_price(average_price, asset.take_profit_percent)
    if not asset.take_profit_fee_percent:
        return price
    with localcontext(WIDE):
        kept = 1 - asset.take_profit_fee_percent / 100
        return round_to_increment(price / (kept * kept), STORED_STEP, ROUND_CEILING)


def compute_exit_price(asset: DcaAsset, cycle: DcaCycle) -> Decimal | None:
    """USD: the bid that reaches the target of the cycle's coins, where they are sold or trailed;
    None without an average price.
    """
    if cycle.sells_now:
        return ANY_SELL_PRICE
    if cycle.average_purchase_price <= 0:
        return None
    return compute_take_profit_price(asset, cycle.average_purchase_price)


def compute_trail_price(asset: DcaAsset, peak: Decimal) -> Decimal:
    """USD: `trailing_take_profit_percent` below `peak`; without a trail the peak itself."""
    return lower_price(peak, asset.trailing_take_profit_percent or Decimal(0))


def compute_stop_price(asset: DcaAsset, cycle: DcaCycle) -> Decimal | None:
    """USD: `stop_loss_percent` below the average price; None: there is no stop."""
    if asset.stop_loss_percent is None or cycle.average_purchase_price <= 0 or cycle.sells_now:
        return None
    return lower_price(cycle.average_purchase_price, asset.stop_loss_percent)


def looks_like_stop_loss(asset: DcaAsset, cycle: DcaCycle, price: Decimal) -> bool:
    """Whether a sale at `price` USD was that of a stop loss, where the row that said so is lost:
    nearer to the stop than to the average, or to the least price of a trail below it.
    """
    stop, target = compute_stop_price(asset, cycle), compute_exit_price(asset, cycle)
    if stop is None or target is None:
        return False
    least = min(cycle.average_purchase_price, compute_trail_price(asset, target))
    return price * 2 < stop + least


def get_sale_purpose(cycle: DcaCycle) -> Purpose:
    """Of a sale in this state of the cycle."""
    return _STOP_LOSS if cycle.stop_loss_fired else _TAKE_PROFIT


def may_stop(cycle: DcaCycle) -> bool:
    """Whether its stop loss may still fire: once, and never beside another sale."""
    return cycle.status in (CycleStatus.WATCHING, CycleStatus.BUYING) and not cycle.sells_now


def describe_due_stop(asset: DcaAsset, cycle: DcaCycle, bid: Decimal) -> str | None:
    """That the stop loss of what the cycle holds fires at this bid, for who is about to make it so;
    None: it does not.
    """
    stop = compute_stop_price(asset, cycle)
    if stop is None or bid > stop or not may_stop(cycle):
        return None
    waits = f" after {asset.stop_loss_seconds} s" if asset.stop_loss_seconds else " at once"
    return (
        f"the bid of {bid.normalize():,f} USD is at or below the cycle's stop loss of"
        f" {stop.normalize():,f} USD: a running bot sells these coins{waits}, at a loss"
    )


class Trail(Record, frozen=True, kw_only=True):
    """The prices of a take profit that trails.

    A bid at or above `confirm_at_or_above` becomes the peak only after a second source has
    confirmed it: it is the first, or so high that the sale would come above the peak of before.
    `peak` and `sell_at_or_below` are None until the first.
    """

    confirm_at_or_above: Decimal
    peak: Decimal | None = None
    sell_at_or_below: Decimal | None = None


def compute_trail(asset: DcaAsset, cycle: DcaCycle) -> Trail | None:
    """None: the take profit does not trail. A peak below the target is none (it was raised)."""
    if asset.trailing_take_profit_percent is None or cycle.sells_now:
        return None
    target = compute_exit_price(asset, cycle)
    if target is None:
        return None
    peak = cycle.trailing_peak
    if peak is None or peak < round_stored(target):
        return Trail(confirm_at_or_above=target)
    return trail_from(asset, peak)


def is_peak_over(asset: DcaAsset, cycle: DcaCycle) -> bool:
    """Whether the cycle's peak is none any more: the trail was switched off, or its target raised
    above it. Switched on or lowered again, it must not sell at the price of another time.
    """
    if cycle.trailing_peak is None or cycle.sells_now:
        return False
    trail = compute_trail(asset, cycle)
    return trail is None or trail.peak is None


def trail_from(asset: DcaAsset, peak: Decimal) -> Trail:
    """The trail of this peak. What needs a second source is rounded up to 18 places."""
    sell = compute_trail_price(asset, peak)
    with localcontext(WIDE):
        confirm = round_to_increment(peak * peak / sell, STORED_STEP, ROUND_CEILING)
    return Trail(confirm_at_or_above=confirm, peak=peak, sell_at_or_below=sell)


class ExitTrack(Record, frozen=True, kw_only=True):
    """What the quotes say of one holding beside its row; in memory, only the peak is saved.

    `holding`: what it is of: bought anew, all of it begins anew. `next_peak`: the bid of the quote
    just before, if that was above the peak. Every bid was at or below `stop_price` from
    `below_since` to `below_until`: seconds of one clock that never goes back.
    """

    holding: tuple[int, Decimal, int]
    peak: Decimal | None = None
    next_peak: Decimal | None = None
    stop_price: Decimal | None = None
    below_since: float | None = None
    below_until: float = 0.0

    @property
    def below_seconds(self) -> float | None:
        return None if self.below_since is None else self.below_until - self.below_since


def renew_track(track: ExitTrack | None, cycle: DcaCycle) -> ExitTrack:
    """The track of `cycle` as its row was read: the one of before where its coins are the same,
    with the higher peak.
    """
    holding = (cycle.id, cycle.average_purchase_price, cycle.safety_orders)
    if track is None or track.holding != holding:
        return ExitTrack(holding=holding, peak=cycle.trailing_peak)
    return raise_peak(track, cycle.trailing_peak)


def forget_clock(track: ExitTrack) -> ExitTrack:
    """`track` after a time in which nobody watched."""
    return replace(track, next_peak=None, below_since=None)


def raise_peak(track: ExitTrack, peak: Decimal | None) -> ExitTrack:
    """`track` with a peak that is known to be one; a lower one changes nothing."""
    if peak is None or (track.peak is not None and track.peak >= peak):
        return track
    return replace(track, peak=round_stored(peak), next_peak=None)


def follow_quote(
    track: ExitTrack,
    trail: Trail | None,
    stop_price: Decimal | None,
    *,
    bid: Decimal,
    at: float,
    max_gap_seconds: float,
) -> ExitTrack:
    """The track after a quote that counts (no spike, no stale one).

    A peak rises to what two quotes in a row have reached: a spike is over with one. The clock of
    the stop begins anew after a bid above it, and where no quote came for `max_gap_seconds`.
    """
    peak, next_peak = track.peak, None
    if trail is not None and trail.peak is not None:
        is_higher = trail.peak < bid < trail.confirm_at_or_above
        next_peak = round_stored(bid) if is_higher else None
        if next_peak is not None and track.next_peak is not None:
            peak = min(next_peak, track.next_peak)
    since = track.below_since
    if stop_price is None or bid > stop_price:
        since = None
    elif (
        since is None or track.stop_price != stop_price or at - track.below_until > max_gap_seconds
    ):
        since = at
    return replace(
        track,
        peak=peak,
        next_peak=next_peak,
        stop_price=stop_price,
        below_since=since,
        below_until=at,
    )


def with_track(state: TradingState, track: ExitTrack | None) -> TradingState:
    """`state` with what the quotes say of its holding; unchanged where the track is of another."""
    if track is None:
        return state
    known = renew_track(track, state.cycle)
    if known.holding != track.holding:
        return state
    cycle = replace(state.cycle, trailing_peak=known.peak)
    return replace(state, cycle=cycle, below_stop_seconds=known.below_seconds)


def is_stop_due(state: TradingState, bid: Decimal, stop_price: Decimal | None) -> bool:
    """Whether the stop loss fires at this bid: it is below for `stop_loss_seconds` already."""
    below_seconds = state.below_stop_seconds or 0.0
    return (
        stop_price is not None
        and bid <= stop_price
        and below_seconds >= state.asset.stop_loss_seconds
    )
