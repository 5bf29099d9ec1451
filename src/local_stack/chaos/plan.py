"""What a chaos run does and when, all of it drawn from one seed before anything starts.

Pure. Owns: the list of faults with their rates, and the bot's shortened waits. What a fault does is
in the module of what it hits.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any

from domain.asset import SafetyOrderReference, StartMode
from local_stack.caretaker_schedule import ScheduledScript

SYMBOLS = ("BTC/USD", "ETH/USD", "SOL/USD", "DOGE/USD", "AVAX/USD", "LTC/USD", "BCH/USD")
USERS_SYMBOL = "LINK/USD"  # held by the user, not configured: the bot must not touch it
USERS_ORDER = {
    "symbol": USERS_SYMBOL,
    "side": "buy",
    "type": "limit",
    "time_in_force": "gtc",
    "qty": "3",
    "limit_price": "5",
    "client_order_id": "users-own-order",
}
STORM_SECONDS = 40.0  # about: so that they fill the minutes
LAST_FAULT_SECONDS = 0.5  # the last faults of a storm begin so long before its end
MARKET_SPEED = 1.5
RECONCILE_SECONDS = 5.0
STALE_ORDER_SECONDS = 6.0
MAX_QUOTE_AGE_SECONDS = 5.0
DUMP_PAUSE_MINUTES = 0.7

SETTINGS = {
    "RECONCILE_SECONDS": f"{RECONCILE_SECONDS:g}",
    "REFRESH_SECONDS": "1",
    "STALE_ORDER_SECONDS": f"{STALE_ORDER_SECONDS:g}",
    "UNKNOWN_OUTCOME_SECONDS": "4",
    "HEARTBEAT_SECONDS": "0.5",
    "HEARTBEAT_MAX_AGE_SECONDS": "6",
    "STREAM_SILENCE_SECONDS": "8",
    "STREAM_LOST_SECONDS": "60",
    "MAX_QUOTE_AGE_SECONDS": f"{MAX_QUOTE_AGE_SECONDS:g}",
    "MAX_LOSS_USD_PER_DAY": "100000",  # never reached: a bot that stops buying proves little
    "DUMP_PAUSE_PERCENT": "4.5",
    "DUMP_PAUSE_MINUTES": f"{DUMP_PAUSE_MINUTES:g}",
}
SCHEDULE = (
    ScheduledScript("cooldown_manager", 3),
    ScheduledScript("order_manager", 8),
    ScheduledScript("consistency_checker", 16),
    ScheduledScript("watchdog", 2),
)


class ChaosFault(Enum):
    """A fault of the stack: in words, how often it is drawn, how many seconds it lasts.

    The method of the same name carries it out: in faults.py (processes, account), market_faults.py
    or database_faults.py. A new fault is a line here and a method there.
    """

    EXCHANGE_FAULT = "fault of the exchange", 0, (0, 0)
    KILL_DAEMON = "daemon killed", 8, (0, 0)
    KILL_AFTER_ORDER = "daemon killed right after an order", 10, (0, 0)
    KILL_AFTER_PEAK = "daemon killed between a peak and its sale", 6, (0, 0)
    KILL_AFTER_STOP = "daemon killed between a stop loss and its booking", 6, (0, 0)
    SUSPEND_DAEMON = "daemon suspended", 6, (0.5, 12)
    SECOND_DAEMON = "second daemon started", 5, (3, 12)
    KILL_CARETAKER = "caretaker killed", 9, (0.1, 1.5)
    KILL_DATABASE = "database killed", 5, (0.1, 4)
    KILL_DATABASE_IN_TRANSACTION = "database killed in a transaction", 5, (0.1, 3)
    RESTART_DATABASE = "database restarted", 4, (0, 0)
    SUSPEND_DATABASE = "database suspended", 3, (0.5, 5)
    KILL_CONNECTIONS = "database connections killed", 6, (0, 0)
    KILL_CONNECTION_IN_TRANSACTION = "connection killed in a transaction", 6, (0, 0)
    DEAD_LINE = "line to the database dead", 3, (0.5, 6)
    DUPLICATE_IDS = "duplicate ids let in", 2, (8, 20)
    SLOW_EXCHANGE = "slow exchange", 4, (4, 10)
    TAKE_COINS = "coins taken behind the bot's back", 1, (0, 0)
    GIVE_COINS = "coins given behind the bot's back", 1, (4, 12)
    EDIT_ORDER = "order edited by the user", 4, (0, 0)
    CLOSE_CYCLE = "cycle closed by the user", 4, (0, 0)
    OPEN_CYCLE = "cycles opened by the user", 12, (0, 0)
    PRICE_GONE = "price gone while a sale was checked", 8, (12, 18)
    LAGGING_POSITION = "position that lags behind a fill", 6, (8, 14)
    RESTING_BUY = "market gone up while a buy arrived", 6, (8, 16)

    def __init__(self, words: str, weight: int, seconds: tuple[float, float]) -> None:
        self.words, self.weight, self.seconds = words, weight, seconds


_TRADE, _DATA = {"stream": "trad*"}, {"stream": "data"}
_POST = {"method": "POST", "path": "/v2/orders"}
_ANY_HTTP = ("http_429", "http_500", "http_504", "http_html", "http_truncated")
# Name, weight, longest duration in seconds, fields. A fault without `count` takes effect
# with its probability until it is cleared.
EXCHANGE_FAULTS: tuple[tuple[str, int, float, Mapping[str, Any]], ...] = (
    ("drop_update", 8, 8, {"probability": 0.5}),
    ("drop_update", 4, 8, {"match": {"event": "fill"}}),
    ("duplicate_update", 6, 8, {"probability": 0.7, "seconds": 0.3}),
    ("delay_update", 6, 8, {"probability": 0.6, "seconds": 1.5}),
    ("reorder_update", 8, 8, {"probability": 0.6, "seconds": 1.0}),
    ("cut_stream", 5, 3, {"count": 1, "match": _TRADE}),
    ("cut_stream", 5, 3, {"count": 1, "match": _DATA, "how": "reset"}),
    ("cut_stream", 4, 6, {"count": 1, "match": {"event": "fill"}, "how": "reset"}),
    ("stall_stream", 4, 2, {"count": 1, "match": _TRADE, "seconds": 6}),
    ("stall_stream", 2, 2, {"count": 1, "match": _TRADE}),
    ("stall_stream", 3, 2, {"count": 1, "match": _DATA, "seconds": 5}),
    ("refuse_handshake", 3, 5, {"status": 429}),
    ("refuse_auth", 2, 4, {"code": 402}),
    ("refuse_auth", 3, 4, {"code": 406}),
    *((name, 3, 4, {"probability": 0.25}) for name in _ANY_HTTP),
    *((name, 4, 6, {"count": 1, "match": _POST}) for name in _ANY_HTTP),
    ("http_500", 4, 6, {"count": 1, "match": _POST, "when": "after"}),
    ("http_timeout", 5, 6, {"count": 1, "match": _POST, "seconds": 3}),
    ("http_timeout", 2, 4, {"count": 1, "match": _POST, "seconds": 12}),
    ("http_hang", 4, 6, {"count": 1, "match": _POST, "seconds": 3}),
    ("http_hang", 3, 4, {"probability": 0.1, "seconds": 4}),
    ("http_slow", 4, 6, {"probability": 0.3, "seconds": 1.5}),
    ("positions_empty", 4, 8, {"count": 1}),
    ("positions_empty", 3, 6, {"count": 1, "match": {"route": "single"}}),
    ("positions_partial", 4, 8, {"count": 1}),
    ("position_lags", 4, 8, {}),
    ("position_lags", 2, 6, {"match": {"route": "list"}}),
    ("market_moves", 3, 6, {"percent": -2.5}),
    ("market_moves", 3, 6, {"percent": 2}),
    ("market_moves", 2, 8, {"percent": -6}),  # of all coins: the dump guard's case
    ("fee_maker", 4, 12, {"probability": 0.5}),
    ("reject_order", 4, 8, {"count": 1}),
    ("rest_market_order", 5, 6, {"count": 1}),
    ("rest_after_part", 7, 12, {"count": 2}),
    ("vanish_balance", 1, 8, {"count": 1, "match": {"event": "fill", "side": "buy"}}),
    ("stick_cancel", 4, 12, {"count": 2}),
    ("stick_cancel", 3, 10, {"count": 2, "seconds": 3}),
    ("fill_late", 4, 15, {"count": 1, "seconds": 0.4}),
    ("fill_late", 3, 15, {"count": 1, "seconds": 0.6, "fraction": 0.5}),
    ("quote_zero", 3, 4, {"probability": 0.4}),
    ("quote_crossed", 3, 4, {"probability": 0.4}),
    ("quote_nonfinite", 3, 4, {"probability": 0.4}),
    ("quote_nonfinite", 2, 4, {"probability": 0.4, "value": "inf"}),
    ("quote_stale", 3, 4, {"probability": 0.6}),
    ("quote_spike", 4, 4, {"probability": 0.15, "percent": 20}),
    ("quote_spike", 4, 4, {"probability": 0.15, "percent": -9}),
    ("skew_clock", 2, 5, {"seconds": 8}),
    ("skew_clock", 2, 5, {"seconds": -8}),
)
LAST_STRAWS: tuple[Mapping[str, Any], ...] = (
    {"name": "drop_update"},
    {"name": "drop_update", "match": {"event": ["fill", "canceled"]}},
    {"name": "stall_stream", "match": _TRADE},
)
# How fees are posted when the run is over; each with its chance.
FEE_POSTINGS: tuple[tuple[float, Mapping[str, Any]], ...] = (
    (0.5, {"name": "fee_late", "probability": 0.4}),
    (0.5, {"name": "fee_late", "probability": 0.3, "seconds": 20 * 3600}),  # on the next day
    (0.7, {"name": "fee_split", "probability": 0.5}),
    (0.4, {"name": "fee_split", "probability": 0.3, "fraction": 0.4, "seconds": 7200}),
    (0.6, {"name": "fee_misdated", "probability": 0.4}),
    (0.3, {"name": "fee_misdated", "probability": 0.3, "days": 1}),
    (0.3, {"name": "fee_unnamed"}),
)
STORMS_THAT_END_WITH_A_KILL = 0.3
STORMS_WITH_DUPLICATE_IDS = 0.5  # safety must not depend on the exchange's refusal alone
SECONDS_BETWEEN_EXCHANGE_FAULTS, SECONDS_BETWEEN_CHAOS_FAULTS = 1.0, 3.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One fault, `at_seconds` after the storm's begin, for `for_seconds`.

    Further choices (which process, how many coins) are drawn from `chance`.
    """

    at_seconds: float
    fault: ChaosFault
    for_seconds: float
    chance: int
    exchange_fault: Mapping[str, Any] | None = None


# Carries out what is planned, drawing further choices; True when it hit something. A fault that
# still waits for its moment returns False and is counted later.
Effect = Callable[[Planned, random.Random], bool]


def plan_storm(chance: random.Random, seconds: float, rate: float = 1.0) -> list[Planned]:
    """The faults of one storm, in order; all of them are over when the storm ends. `rate`: how many
    of them for one of the usual rate.
    """
    planned: list[Planned] = []
    if chance.random() < STORMS_WITH_DUPLICATE_IDS:
        planned.append(_planned(0.0, ChaosFault.DUPLICATE_IDS, seconds, chance))
    until, weights = seconds - LAST_FAULT_SECONDS, [weight for _, weight, _, _ in EXCHANGE_FAULTS]
    for at in _draw_moments(chance, 0.5, SECONDS_BETWEEN_EXCHANGE_FAULTS / rate, until):
        [(name, _, longest, fields)] = chance.choices(EXCHANGE_FAULTS, weights)
        if float(fields.get("seconds", 0)) > seconds - at and name.startswith("http"):
            continue
        lasts = min(chance.uniform(longest / 3, longest), seconds - at)
        exchange_fault = {"name": name, **fields}
        planned.append(_planned(at, ChaosFault.EXCHANGE_FAULT, lasts, chance, exchange_fault))
    for at in _draw_moments(chance, 2.0, SECONDS_BETWEEN_CHAOS_FAULTS / rate, until):
        [fault] = chance.choices(list(ChaosFault), [one.weight for one in ChaosFault])
        lasts = min(chance.uniform(*fault.seconds), seconds - at)
        planned.append(_planned(at, fault, lasts, chance))
    # An event is always lost at the end, so that there is something to recover.
    last_straw = chance.choice(LAST_STRAWS)
    planned.append(_planned(seconds - 6.0, ChaosFault.EXCHANGE_FAULT, 6.0, chance, last_straw))
    if chance.random() < STORMS_THAT_END_WITH_A_KILL:
        planned.append(_planned(seconds - 0.5, ChaosFault.KILL_DAEMON, 0.0, chance))
    return sorted(planned, key=lambda one: one.at_seconds)


def plan_lull(chance: random.Random, seconds: float) -> Planned:
    """Between two storms: a buy that is left behind, and no other fault."""
    return _planned(0.0, ChaosFault.RESTING_BUY, seconds, chance)


def plan_fee_postings(seed: int) -> list[Mapping[str, Any]]:
    """The faults in the posting of this run's fees: at least one, and each name once (two splits
    would make four parts, and no fee was ever seen in more than two).
    """
    chance = random.Random(f"fees:{seed}")
    menu = chance.sample(FEE_POSTINGS, len(FEE_POSTINGS))
    planned = {fault["name"]: fault for share, fault in menu if chance.random() < share}
    return list(planned.values()) or [FEE_POSTINGS[0][1]]


def _draw_moments(
    chance: random.Random, at: float, mean_seconds: float, until: float
) -> Iterator[float]:
    """Moments after `at`, so far apart on average; each is drawn when it is asked for."""
    while (at := at + chance.expovariate(1 / mean_seconds)) < until:
        yield at


def _planned(
    at: float,
    fault: ChaosFault,
    lasts: float,
    chance: random.Random,
    exchange_fault: Mapping[str, Any] | None = None,
) -> Planned:
    return Planned(
        at_seconds=at,
        fault=fault,
        for_seconds=lasts,
        chance=chance.getrandbits(32),
        exchange_fault=exchange_fault,
    )


# The plan's way, and every way in which a ladder can differ from it.
_BELOW_BASE = {"safety_order_reference": SafetyOrderReference.BASE_ORDER}
LADDERS: tuple[Mapping[str, Any], ...] = (
    {},
    {"safety_order_volume_scale": Decimal("1.5")},
    {"safety_order_volume_scale": Decimal("0.9")},
    {"safety_order_step_scale": Decimal("1.3")},
    _BELOW_BASE,
    _BELOW_BASE | {"safety_order_step_scale": Decimal("0.8")},
    _BELOW_BASE
    | {"safety_order_volume_scale": Decimal("1.37"), "safety_order_step_scale": Decimal("1.25")},
)


def asset_columns(chance: random.Random) -> dict[str, Any]:
    """A ladder that the synthetic market goes down in seconds, another one for each asset."""
    return {
        "base_order_amount": Decimal(chance.choice((40, 60, 100))),
        "safety_order_amount": Decimal(chance.choice((30, 50, 120))),
        "max_safety_orders": chance.choice((2, 3, 5)),
        "safety_order_deviation": Decimal(chance.choice(("0.25", "0.4"))),
        "take_profit_percent": Decimal(chance.choice(("0.3", "0.5"))),
        "cooldown_period": chance.choice((1, 2, 4)),
        "buy_order_price_deviation_percent": chance.choice((None, Decimal("0.2"))),
        **chance.choice(LADDERS),
        "trailing_take_profit_percent": chance.choice((None, Decimal("0.1"), Decimal("0.2"))),
        "stop_loss_percent": chance.choice((None, Decimal("0.8"), Decimal("1.5"))),
        "stop_loss_seconds": chance.choice((0, 0, 1)),
        "stop_loss_action": chance.choice(("cooldown", "cooldown", "disable")),
    }


def start_mode_of(chance: random.Random) -> StartMode:
    """Of one asset: of three about one waits for the user."""
    return chance.choice((StartMode.AT_ONCE, StartMode.AT_ONCE, StartMode.MANUAL))
