"""Every line that the bot can log, what it means and what to do about it; and how one is written.

Owns the names, so that a search for `cycle.changed` ends here. docs/log-lines.md is generated from
this module (`.venv/bin/python -m cli.generated_docs`) and a test holds the two together.
"""

# ruff: noqa: E501 - a table reads better in long lines
from __future__ import annotations

import logging
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any, Self

from utils.alert_outbox import Alert
from utils.formatting import number

_DEBUG, _INFO, _WARNING, _ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR
_CRITICAL = logging.CRITICAL


class LogEvent(StrEnum):
    """A log line: its name, its usual level, what it means, and what to do ("": nothing)."""

    level: int
    meaning: str
    cure: str

    def __new__(cls, name: str, level: int, meaning: str, cure: str = "") -> Self:
        member = str.__new__(cls, name)
        member._value_ = name
        member.level, member.meaning, member.cure = level, meaning, cure
        return member

    # fmt: off
    # Orders.
    ORDER_DECIDED = "order.decided", _INFO, "a trigger was crossed and every check passed"
    ORDER_SUBMITTED = "order.submitted", _INFO, "the exchange took the order"
    ORDER_SKIPPED = "order.skipped", _INFO, "no order now, and why (`reason`): a position or order that is not the cycle's, a buy limit, a spread too wide, a price that was not confirmed. Written when the reason changes", "read the reason; if it lasts, `trading.stalled` follows"
    ORDER_REFUSED = "order.refused", _WARNING, "the exchange declined the order; the bot backs off, longer each time. ERROR: we would not send it ourselves", "read the reason: money, minimum size"
    ORDER_NOT_SENT = "order.not_sent", _WARNING, "no request was left for the order (429, or our own count): it is sent again in a moment", "nothing, unless it lasts"
    ORDER_UNKNOWN = "order.unknown", _WARNING, "no certain answer to an order; its id is asked for before anything else is sent"
    BUYING_PAUSED = "buying.paused", _ERROR, "five buys in a row were refused: no buys of this asset for an hour", "cure the reason in the `order.refused` lines above; `scripts/bot restart` tries at once"
    SELLING_REFUSED = "selling.refused", _ERROR, "five sells in a row were refused; they go on being tried, every five minutes at most", "read the refusals above it: coins reserved by an order of yours, a coin that is not tradable"
    TAKE_PROFIT_SHORT = "take_profit.short", _WARNING, "coins of the cycle are missing from the account; what is there is sold. Mailed", "did you sell or move some?"
    SALE_INCOMPLETE = "sale.incomplete", _WARNING, "a sell was filled, but more of the cycle is left than fees explain (the position lagged): the cycle goes on with it", "nothing; if the rest is really gone, `position.gone` follows"
    CANCEL_REQUESTED = "cancel.requested", _INFO, "the take profit of what is held is reached while a buy is open: the buy is canceled, then the position is sold"
    CANCEL_REFUSED = "cancel.refused", _WARNING, "the exchange did not take a cancellation; it is asked for again"
    PRICE_UNAVAILABLE = "price.unavailable", _WARNING, "the exchange gave no price to confirm a trigger with: no order at this quote"
    # What holds orders back.
    TRADING_STALLED = "trading.stalled", _ERROR, "an asset that wants to trade (or, without `symbol`, the whole bot: no comparison with the exchange, no lock) could not for `STALLED_ALERT_SECONDS`; `reason` says why, `cure` what to do. Once, however long it lasts; `HEARTBEAT_URL` is not pinged meanwhile", "the cure; `scripts/status` shows it until it is over"
    STALL_ENDED = "stall.ended", _WARNING, "that is over, and why (`reason`). Mailed"
    ORDERS_HALTED = "orders.halted", _WARNING, "the lock of the account cannot be held: no orders meanwhile", "is the database up?"
    ORDERS_RESUMED = "orders.resumed", _INFO, "the lock of the account is held again"
    ACCOUNT_RETAKEN = "account.retaken", _WARNING, "the line to the database had died silently; the daemon, or the one that was killed before it, ended its own dead session and has the account's lock again"
    LOCK_UNKNOWN = "account_lock.unknown", _DEBUG, "the database did not say whether the account's lock is held; it is asked again"
    LOCK_KILL_FAILED = "account_lock.kill_failed", _DEBUG, "our own dead session could not be ended; it is tried again"
    # Updates and cycles.
    UPDATE_RECEIVED = "update.received", _INFO, "the exchange told of an order"
    UPDATE_IGNORED = "update.ignored", _WARNING, "an update of an order that no cycle claims; `order.unclaimed` follows if it matters"
    UPDATE_MALFORMED = "update.malformed", _WARNING, "an update that cannot be read; the next sweep finds what it told of", "nothing, unless it lasts"
    UPDATE_FOREIGN = "update.foreign", _DEBUG, "an update of a stock or option: not ours"
    UPDATE_POSTPONED = "update.postponed", _WARNING, "a fill could not be booked yet (database or exchange away); it is tried again", "look if it lasts"
    UPDATE_FAILED = "update.failed", _ERROR, "a fault of the program while booking an update; the next sweep does it again", "report the traceback"
    CYCLE_CHANGED = "cycle.changed", _INFO, "the cycle moved (`status=buying>watching`)"
    CYCLE_ADOPTED = "cycle.adopted", _INFO, "coins of the account became a cycle's position"
    ORDER_MISSING = "order.missing", _WARNING, "a cycle waited for an order that does not exist: it goes on"
    ORDER_RECOVERED = "order.recovered", _WARNING, "an order that the database did not know was linked or booked"
    FILL_CORRECTED = "fill.corrected", _ERROR, "an order that had ended filled more; the database is right again", "look at the cycle"
    TRANSITION_FORBIDDEN = "transition.forbidden", _ERROR, "the exchange says of an order what its cycle cannot have; nothing was changed", "see [reconciliation](reconciliation.md)"
    # Sweeps and recovery.
    SWEEP_REQUESTED = "sweep.requested", _INFO, "database and exchange are compared at once, and why (`reason`)"
    SWEEP_REPAIRED = "sweep.repaired", _WARNING, "a sweep found what no event told in 15 seconds, or what happened while the daemon was away"
    EVENTS_OVERTAKEN = "events.overtaken", _INFO, "a sweep booked what happened a moment ago, a little before its event did the same"
    SWEEP_UNRESOLVED = "sweep.unresolved", _INFO, "a cycle waits for an order that the exchange does not know (yet): asked again before anything is concluded"
    SWEEP_POSTPONED = "sweep.postponed", _WARNING, "database or exchange away: the sweep is tried again every few seconds, and a recovery goes on where it stopped. Written when that begins", "look if it lasts"
    SWEEP_RESUMED = "sweep.resumed", _INFO, "database and exchange are compared again"
    RECOVERY_FINISHED = "recovery.finished", _INFO, "start-up or reconnect: everything is compared"
    REFRESH_POSTPONED = "refresh.postponed", _WARNING, "assets and cycles could not be read; it is tried again every few seconds. Written when that begins", "look if it lasts"
    REFRESH_RESUMED = "refresh.resumed", _INFO, "assets and cycles are read again"
    RULES_POSTPONED = "rules.postponed", _WARNING, "the coins' rules (increments, minimum size) could not be read; it is tried again", "look if it lasts"
    RULES_KEPT = "rules.kept", _WARNING, "a coin's rules could not be read anew: the last known ones are used"
    RULES_GONE = "rules.gone", _WARNING, "Alpaca knows the coin no more: no buys; what is held is still offered", "look at Alpaca's list"
    # What needs an explanation.
    ORDER_UNCLAIMED = "order.unclaimed", _ERROR, "an order with our prefix belongs to no cycle; no buys on its symbol while it is open, or the account's coins are not those of the cycles", "see [recovery](recovery.md)"
    ORDER_HARMLESS = "order.harmless", _INFO, "such an order has ended, and the account's coins are those of the cycles (an integration test, another database)"
    ORDER_UNJUDGED = "order.unjudged", _WARNING, "the account's coins could not be asked for: no buys on the symbol, the next sweep asks again", "nothing, unless it lasts"
    ORDER_UNREADABLE = "order.unreadable", _ERROR, "what the exchange tells of one order of ours contradicts itself (a fill without a price); no buys on its symbol, and nothing is concluded about its cycle, until it can be read", "look at the order on Alpaca's dashboard"
    ORDER_PASSED_OVER = "order.passed_over", _DEBUG, "an order that is not ours cannot be read; it hides no other"
    ORDER_UNWRITABLE = "order.unwritable", _ERROR, "one order cannot be booked (refused by the tables, or its coin is unknown to Alpaca); no buys on its symbol, the others go on", "read the reason"
    ORDER_LONG_OPEN = "order.long_open", _ERROR, "an order is open for more than 15 minutes", "look at it on Alpaca's dashboard"
    ASSET_RENAMED = "asset.renamed", _ERROR, "an order's cycle has another `asset_symbol` now", "change it back; `scripts/assets add` the other coin beside it"
    POSITION_GONE = "position.gone", _ERROR, "the cycle's coins are not in the account; it ended in `error`, a new one waits", "did you sell them?"
    POSITION_SHORT = "position.short", _WARNING, "the account holds fewer coins than the cycle", "see [recovery](recovery.md)"
    POSITION_EXCESS = "position.excess", _WARNING, "the account holds more coins than the cycle bought", "see [recovery](recovery.md)"
    POSITION_UNEXPECTED = "position.unexpected", _WARNING, "coins that no cycle bought keep base orders away", "see [recovery](recovery.md)"
    POSITIONS_DOUBTED = "positions.doubted", _ERROR, "two cycles ended in `error` within an hour and the coins of more seem to be gone: consistency_checker touches nothing more in that hour", "see [recovery](recovery.md)"
    CYCLE_ORDERLESS = "cycle.orderless", _ERROR, "a cycle waits for an order that the exchange does not know and that may still appear", "look at Alpaca's dashboard if it lasts"
    COOLDOWN_ENDLESS = "cooldown.endless", _WARNING, "a cooldown whose end nobody can compute", "see [recovery](recovery.md)"
    # The streams.
    STREAM_CONNECTED = "stream.connected", _INFO, "a stream is there; everything missed is asked for"
    STREAM_DISCONNECTED = "stream.disconnected", _WARNING, "a stream was lost; it is opened again", "nothing, unless it stays away"
    STREAM_ERROR = "stream.error", _WARNING, "Alpaca sent an error on a stream; it is opened again", "read `reason`: keys, subscription, another client on the same keys"
    STREAM_ENDED = "stream.ended", _ERROR, "Alpaca ended a stream for good; it is opened again", "read the `stream.error` before it"
    SUBSCRIBE_POSTPONED = "subscribe.postponed", _DEBUG, "the stream is away: the next connection subscribes everything"
    SYMBOLS_WATCHED = "symbols.watched", _INFO, "the quotes that are subscribed now"
    QUOTE_MALFORMED = "quote.malformed", _DEBUG, "a quote that cannot be read: dropped"
    WORKER_FAILED = "worker.failed", _ERROR, "a fault of the program while an order was decided; the next quote tries again", "report the traceback"
    # Requests, database, mail.
    REQUESTS_PAUSED = "requests.paused", _WARNING, "of the 200 requests of any minute, daemon and caretakers together have used 80 %, or the exchange says that few are left; reads wait, orders do not"
    REQUESTS_COUNTED_ALONE = "requests.counted_alone", _WARNING, "`run/requests.*`, in which all processes count their requests, cannot be used (`reason`)", "look at the run folder's disk and permissions"
    READ_REPEATED = "read.repeated", _DEBUG, "a request without effect failed and is made again"
    TRANSACTION_REPLAYED = "transaction.replayed", _WARNING, "the database gave a transaction up (a deadlock, a lost connection); it was done again", "nothing, unless it lasts"
    ROLLBACK_FAILED = "transaction.rollback_failed", _DEBUG, "the connection was lost already"
    CLOSE_FAILED = "database.close_failed", _DEBUG, "the connection was lost already"
    ACCOUNT_OPENED = "account.opened", _INFO, "the keys were accepted: which account it is, and whose money"
    ACCOUNT_UNREADABLE = "account.unreadable", _ERROR, "the account's figures could not be read", "look at Alpaca's status page if it lasts"
    MAIL_FAILED = "mail.failed", _WARNING, "an alert could not be mailed; it is kept and tried again", "`scripts/doctor` tests the mail settings"
    MAIL_SKIPPED = "mail.skipped", _DEBUG, "mail is not set up"
    MAIL_REFUSED = "mail.refused", _WARNING, "the mail server declined some of the recipients", "look at ALERT_TO"
    ALERTS_FAILED = "alerts.failed", _ERROR, "a fault of the program while alerts were mailed; they go on", "report the traceback"
    ALERTS_UNSHARED = "alerts.unshared", _DEBUG, "the run folder cannot be used: this process counts its mails alone"
    # The daemon.
    APP_STARTED = "app.started", _INFO, "the daemon is up"
    APP_STOPPING = "app.stopping", _INFO, "it was asked to end, or one of its parts did"
    STOP_HURRIED = "stop.hurried", _WARNING, "it ends without waiting longer; the next start finds what was left"
    APP_STOPPED = "app.stopped", _INFO, "it ended with this exit code"
    APP_REFUSED = "app.refused", _ERROR, "it cannot start, and why", "read the reason; the watchdog tries again"
    APP_FAILED = "app.failed", _ERROR, "it could not go on, and why", "read the reason; the watchdog tries again"
    APP_SUPERSEDED = "app.superseded", _ERROR, "another daemon has the account", "end one of them"
    HEARTBEAT_FAILED = "heartbeat.failed", _ERROR, "the daemon cannot write its sign of life, so that the watchdog will take it for hung", "the run folder's disk and permissions"
    ENV_FILE_LOOSE_PERMISSIONS = "env_file.loose_permissions", _WARNING, "others can read your keys", "`chmod 600 .env`"
    # The watchdog.
    DAEMON_RUNNING = "daemon.running", _INFO, "the watchdog found it well"
    DAEMON_STARTING = "daemon.starting", _INFO, "it is coming up and has some time for that"
    DAEMON_LEFT_ALONE = "daemon.left_alone", _INFO, "it was stopped on purpose"
    DAEMON_STALLED = "daemon.stalled", _WARNING, "something is held back: no ping, no restart (none would help), no mail of its own", "see `trading.stalled`"
    DAEMON_UNWELL = "daemon.unwell", _WARNING, "it runs and only time or a person can help. ERROR when it lasts", "read `reason`, `logs/app.log`"
    DAEMON_WAIT = "daemon.wait", _WARNING, "it does not stay alive and is started again later. ERROR when it lasts", "read `reason`, `logs/app.log`"
    DAEMON_MISSED = "daemon.missed", _WARNING, "the watchdog found it gone or hung", "nothing, unless it comes again"
    DAEMON_ENDED = "daemon.ended", _WARNING, "the watchdog ended what was left of it"
    DAEMON_STARTED = "daemon.started", _WARNING, "the watchdog started it. Mailed"
    DAEMON_RESTARTED = "daemon.restarted", _WARNING, "it ended it and started it again. Mailed"
    DAEMON_START_FAILED = "daemon.start_failed", _WARNING, "the watchdog could not start it; `reason` says why. ERROR when it lasts", "the reason, `logs/main_app.out`"
    DAEMON_UNSETTLED = "daemon.unsettled", _ERROR, "it does not stay alive, however often it is started", "`logs/app.log`, `logs/main_app.out`"
    DAEMON_WELL_AGAIN = "daemon.well_again", _WARNING, "what the watchdog sent an alert of is over. Mailed"
    PING_FAILED = "ping.failed", _WARNING, "`HEARTBEAT_URL` did not answer", "look if it lasts"
    PING_ANSWERED = "ping.answered", _INFO, "`HEARTBEAT_URL` answers again"
    # The other caretakers.
    SCRIPT_FAILED = "script.failed", _ERROR, "a caretaker could not do its work; its next run goes on", "read the reason"
    STEP_FAILED = "step.failed", _WARNING, "one step of a caretaker failed; the next run plans it anew"
    RUN_REPEATED = "run.repeated", _WARNING, "database or exchange gave a caretaker up in mid-run; it began anew"
    RUN_UNRECORDED = "run.unrecorded", _WARNING, "a caretaker could not write that it ran", "the run folder's disk and permissions"
    ORDERS_CHECKED = "orders.checked", _INFO, "what order_manager found"
    ORDER_CANCEL_REQUESTED = "order.cancel_requested", _WARNING, "order_manager asked to cancel an order that is stale or that no cycle waits for"
    ORDER_CANCEL_REFUSED = "order.cancel_refused", _WARNING, "the exchange declined; it is asked again later", "look at the order if it lasts"
    ORDER_CANCEL_LASTING = "order.cancel_lasting", _ERROR, "a cancellation does not come to an end", "look at the order on Alpaca's dashboard"
    COOLDOWNS_CHECKED = "cooldowns.checked", _INFO, "what cooldown_manager found"
    CONSISTENCY_CHECKED = "consistency.checked", _INFO, "what consistency_checker found"
    FINDING_SEEN = "finding.seen", _DEBUG, "a difference that one snapshot shows; the second one decides"
    ASSET_SKIPPED = "asset.skipped", _INFO, "one asset could not be compared in this run; the others were", "nothing, unless it lasts"
    WAITING_POSTPONED = "waiting.postponed", _WARNING, "more cycles wait for an order than one run may ask about: the next run goes on"
    HOLDINGS_POSTPONED = "holdings.postponed", _WARNING, "more positions are held than one run may ask about: the next run goes on"
    FEES_CHECKED = "fees.checked", _INFO, "the fees that Alpaca posted were looked for; `still_estimated` orders wait for theirs, the next run looks again (for ten days)"
    FEES_SETTLED = "fees.settled", _INFO, "posted fees were written in place of the estimates"
    FEES_INCOMPLETE = "fees.incomplete", _INFO, "less was posted two days after the trades than the maker's rate takes: the estimates stay, marked with `~`", "nothing; if it lasts, are `TAKER_FEE_PERCENT` and `MAKER_FEE_PERCENT` those of your tier?"
    FEES_IMPLAUSIBLE = "fees.implausible", _WARNING, "more was posted than the taker's rate takes of these orders: the estimates stay", "the same"
    # What the user asked for.
    COMMAND_FAILED = "command.failed", _WARNING, "a command of yours could not reach the exchange", "read the reason"
    ASSET_ADDED = "asset.added", _INFO, "`scripts/assets add`"
    ASSET_EDITED = "asset.edited", _INFO, "`scripts/assets edit`, with the new values"
    ASSET_ENABLED = "asset.enabled", _INFO, "`scripts/assets enable`"
    ASSET_DISABLED = "asset.disabled", _INFO, "`scripts/assets disable`"
    ASSET_REMOVED = "asset.removed", _INFO, "`scripts/assets remove`"
    CLOSE_REQUESTED = "close.requested", _INFO, "`scripts/bot close`: the position is to be sold"
    CLOSE_WITHDRAWN = "close.withdrawn", _INFO, "that request was taken back"
    CLOSE_UNQUOTED = "close.unquoted", _INFO, "no price could be read to show what a close would bring"
    BUYING_PAUSE_REQUESTED = "buying.pause_requested", _INFO, "`scripts/bot pause`"
    BUYING_RESUME_REQUESTED = "buying.resume_requested", _INFO, "`scripts/bot resume`"
    DAEMON_START_REQUESTED = "daemon.start_requested", _INFO, "`scripts/bot start`"
    DAEMON_STOP_REQUESTED = "daemon.stop_requested", _INFO, "`scripts/bot stop`"
    DAEMON_RESTART_REQUESTED = "daemon.restart_requested", _INFO, "`scripts/bot restart`"
    # fmt: on


# What a line is about. The others say how it is: they change from line to line of the same alert.
IDENTITY_FIELDS = frozenset({"symbol", "cycle", "order", "id", "key", "stream", "pid", "script"})


def format_value(value: Any) -> str:
    """`value` as it stands in a log line: plain decimals, quotes where there are blanks."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, Decimal):
        return number(value)
    text = " ".join(str(value).split())
    return f'"{text}"' if " " in text or text == "" else text


def log_event(
    logger: logging.Logger,
    event: LogEvent,
    /,
    *,
    level: int | None = None,
    mail: bool = False,
    about: str | None = None,
    traceback: bool | BaseException = False,
    **fields: Any,
) -> None:
    """Log `event key=value ...` at `level` (None: the event's own); fields that are None are left
    out. `traceback` adds that of the exception given, or of the one that is being handled.

    Every ERROR is mailed where mail is set up (see notifications); `mail=True` mails a lower level
    too. What is the same alert, the event and the fields of `IDENTITY_FIELDS` decide, and of an
    exception its class. Events with the same `about` tell how one matter goes on: see `Alert`.
    """
    level = event.level if level is None else level
    if logger.isEnabledFor(level):
        known = {key: value for key, value in fields.items() if value is not None}
        shown = " ".join(f"{key}={format_value(value)}" for key, value in known.items())
        identity = [
            f"{key}={type(value).__name__ if isinstance(value, Exception) else value}"
            for key, value in known.items()
            if key in IDENTITY_FIELDS or isinstance(value, Exception)
        ]
        alert = Alert(name=event.value, matter=about or " ".join([event.value, *identity]))
        extra = {"mail": mail, "alert": alert}
        logger.log(level, "%s %s", event.value, shown, exc_info=traceback, extra=extra)
