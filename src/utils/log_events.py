"""Every line that the bot can log, what it means and what to do about it; and how one is written.

Owns the names, so that a search for `cycle.changed` ends here. docs/log-lines.md is generated from
this module (`.venv/bin/python -m cli.generated_docs`) and a test holds the two together.
"""

# ruff: noqa: E501 - a table reads better in long lines
from __future__ import annotations

import logging
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any, Self

from config import Topic
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
    ORDER_SKIPPED = "order.skipped", _INFO, "no order was sent, and why (`reason`): a position or order that is not the cycle's, a buy limit, too wide a spread, a price that was not confirmed. Logged when the reason changes", "read `reason`; if it lasts, `trading.stalled` follows"
    ORDER_REFUSED = "order.refused", _WARNING, "the exchange declined the order; the bot backs off, longer each time. ERROR: the bot itself refused to send it", "read `reason`: usually too little money, or too small an order"
    ORDER_NOT_SENT = "order.not_sent", _WARNING, "the allowance of requests was used up (429, or the bot's own count); the order is sent again in a moment", "nothing, unless it lasts"
    ORDER_UNKNOWN = "order.unknown", _WARNING, "the exchange gave no certain answer to an order; the bot asks for the order's id before it sends anything else"
    BUYING_PAUSED = "buying.paused", _ERROR, "five buys in a row were refused: no buys of this asset for an hour", "remove the reason given in the `order.refused` lines before it; `scripts/bot restart` tries at once"
    SELLING_REFUSED = "selling.refused", _ERROR, "five sells in a row were refused; the bot goes on trying, every five minutes at most", "read the `order.refused` lines before it: coins reserved by an order of yours, a coin that is not tradable"
    TAKE_PROFIT_SHORT = "take_profit.short", _WARNING, "coins of the cycle are missing from the account; what is there is sold. Mailed", "did you sell or move some?"
    STOP_LOSS_FIRED = "stop.loss_fired", _ERROR, "the bid was at or below the asset's stop loss for as long as it says: the cycle buys nothing more, and is sold at the market", "`scripts/status` shows its sale; where the asset was disabled, `scripts/assets enable` lets it buy again"
    ASSET_STOPPED = "asset.stopped", _ERROR, "a stop loss has ended the asset's cycle and disabled it (`stop_loss_action`)", "`scripts/assets enable` when it may buy again"
    PEAK_CONFIRMED = "peak.confirmed", _INFO, "the bid has reached the target of a take profit that trails, or jumped above its peak: the sale follows `peak` now, at `sell_at`"
    PEAKS_POSTPONED = "peaks.postponed", _WARNING, "the peaks of take profits that trail could not be saved; it is tried again. Logged when that begins", "if it lasts, `scripts/doctor`"
    PEAKS_RESUMED = "peaks.resumed", _INFO, "peaks are saved again"
    SALE_INCOMPLETE = "sale.incomplete", _WARNING, "a sell was filled, but more of the cycle is left than fees explain (the position lagged): the cycle goes on with what is left", "nothing; if those coins are really gone, `position.gone` follows"
    CANCEL_REQUESTED = "cancel.requested", _INFO, "a sale is due (the take profit is reached, or the cycle is to be closed) while a buy is open: the buy is canceled, then the position is sold"
    CANCEL_REFUSED = "cancel.refused", _WARNING, "the exchange declined a cancellation; it is requested again"
    PRICE_UNAVAILABLE = "price.unavailable", _WARNING, "the exchange gave no price to confirm a trigger with: no order at this quote"
    # What holds orders back.
    PAUSE_UNSAVED = "pause.unsaved", _WARNING, "the pause after a fall of the market (`DUMP_PAUSE_PERCENT`) is in effect, but the database does not know of it: it is written every second until it does. Logged when that begins"
    BUYS_STOPPED = "buys.stopped", _ERROR, "a limit on losses is reached, or the market falls (`key` names the setting): no asset buys, sells go on. Said once, and `alert.ended` when it is over", "nothing: it ends by itself; `scripts/status` shows what is used of each limit"
    TRADING_STALLED = "trading.stalled", _ERROR, "an asset that wants to trade could not for `STALLED_ALERT_SECONDS` (without `symbol`: the whole bot, which cannot compare with the exchange or does not hold the account's lock); `reason` says why, `cure` what to do. Logged once, however long it lasts; `HEARTBEAT_URL` is not pinged meanwhile", "follow `cure`; `scripts/status` shows the stall until it is over"
    STALL_ENDED = "stall.ended", _WARNING, "a stall is over, and why (`reason`). Mailed"
    ORDERS_HALTED = "orders.halted", _WARNING, "the account's lock cannot be held: no orders meanwhile", "is the database up?"
    ORDERS_RESUMED = "orders.resumed", _INFO, "the account's lock is held again"
    ACCOUNT_RETAKEN = "account.retaken", _WARNING, "the connection to the database had died silently; the daemon ended that dead session, its own or that of the daemon before it, and holds the account's lock again"
    LOCK_UNKNOWN = "account_lock.unknown", _DEBUG, "the run folder cannot be used: a restarted daemon would not recognise its own dead session"
    LOCK_KILL_FAILED = "account_lock.kill_failed", _DEBUG, "our own dead session could not be ended; the lock is tried again"
    # Updates and cycles.
    UPDATE_RECEIVED = "update.received", _INFO, "the exchange sent an update of an order"
    UPDATE_IGNORED = "update.ignored", _WARNING, "an update of an order that no cycle claims; `order.unclaimed` follows if it matters"
    UPDATE_MALFORMED = "update.malformed", _WARNING, "an update that cannot be read; the next sweep finds what it was about", "nothing, unless it lasts"
    UPDATE_FOREIGN = "update.foreign", _DEBUG, "an update of a stock or option: not ours"
    UPDATE_POSTPONED = "update.postponed", _WARNING, "a fill could not be booked yet (database or exchange away); it is tried again", "if it lasts, `scripts/doctor`"
    UPDATE_FAILED = "update.failed", _ERROR, "a bug of the program while an update was booked; the next sweep books it", "report the traceback"
    CYCLE_CHANGED = "cycle.changed", _INFO, "the cycle moved (`status=buying>watching`)"
    CYCLE_ADOPTED = "cycle.adopted", _INFO, "coins of the account became a cycle's position"
    ORDER_MISSING = "order.missing", _WARNING, "a cycle waited for an order that does not exist: it goes on without"
    ORDER_RECOVERED = "order.recovered", _WARNING, "an order that the database did not know was linked or booked"
    FILL_CORRECTED = "fill.corrected", _ERROR, "an order filled more after it had ended; the database is right again", "compare the cycle with Alpaca's dashboard"
    TRANSITION_FORBIDDEN = "transition.forbidden", _ERROR, "what the exchange says of an order cannot be in the state of its cycle; nothing was changed", "see [reconciliation](reconciliation.md)"
    # Sweeps and recovery.
    SWEEP_REQUESTED = "sweep.requested", _INFO, "database and exchange are compared at once, and why (`reason`)"
    SWEEP_REPAIRED = "sweep.repaired", _WARNING, "a sweep repaired what no event reported within 15 seconds, or what happened while the daemon was away"
    EVENTS_OVERTAKEN = "events.overtaken", _INFO, "a sweep booked a change a moment before its event arrived"
    SWEEP_UNRESOLVED = "sweep.unresolved", _INFO, "a cycle waits for an order that the exchange does not know (yet): the exchange is asked again before anything is concluded"
    SWEEP_POSTPONED = "sweep.postponed", _WARNING, "database or exchange away: the sweep is tried again every few seconds, and a recovery goes on where it stopped. Logged when that begins", "if it lasts, `scripts/doctor`"
    SWEEP_RESUMED = "sweep.resumed", _INFO, "database and exchange are compared again"
    RECOVERY_FINISHED = "recovery.finished", _INFO, "after a start or a reconnect, every cycle has been compared with the exchange"
    REFRESH_POSTPONED = "refresh.postponed", _WARNING, "assets and cycles could not be read; it is tried again every few seconds. Logged when that begins", "if it lasts, `scripts/doctor`"
    REFRESH_RESUMED = "refresh.resumed", _INFO, "assets and cycles are read again"
    COOLDOWN_POSTPONED = "cooldown.postponed", _WARNING, "a cooldown that is over could not be ended in the database; it is tried again every few seconds. Logged when that begins", "if it lasts, `scripts/doctor`"
    RULES_POSTPONED = "rules.postponed", _WARNING, "the coins' rules (increments, minimum size) could not be read; it is tried again", "if it lasts, `scripts/doctor`"
    RULES_KEPT = "rules.kept", _WARNING, "a coin's rules could not be read again: the last known ones are used"
    RULES_GONE = "rules.gone", _WARNING, "Alpaca no longer knows the coin: no buys; the bot still tries to sell what is held", "check Alpaca's list of coins"
    # What needs an explanation.
    ORDER_UNCLAIMED = "order.unclaimed", _ERROR, "an order with our prefix belongs to no cycle; no buys on its symbol while it is open, or while the account's coins are not those of the cycles", "see [recovery](recovery.md)"
    ORDER_HARMLESS = "order.harmless", _INFO, "an unclaimed order has ended without a fill, or the account's coins are those of the cycles (it came from an integration test or another database)"
    ORDER_UNJUDGED = "order.unjudged", _WARNING, "the account's coins could not be read to judge an unclaimed order: no buys on its symbol, the next sweep tries again", "nothing, unless it lasts"
    ORDER_UNREADABLE = "order.unreadable", _ERROR, "the exchange's record of one of our orders contradicts itself (a fill without a price); no buys on its symbol, and nothing is concluded about its cycle, until it can be read", "check the order on Alpaca's dashboard"
    ORDER_PASSED_OVER = "order.passed_over", _DEBUG, "an order that is not ours cannot be read; it does not hide the others"
    ORDER_UNWRITABLE = "order.unwritable", _ERROR, "one order cannot be booked (the tables refuse it, or Alpaca does not know its coin); no buys on its symbol, the others go on", "read `reason`"
    ORDER_LONG_OPEN = "order.long_open", _ERROR, "an order has been open for more than 15 minutes", "check it on Alpaca's dashboard"
    ASSET_RENAMED = "asset.renamed", _ERROR, "the asset of an order's cycle has another `asset_symbol` now", "change it back, and add the other coin with `scripts/assets add`"
    POSITION_GONE = "position.gone", _ERROR, "the cycle's coins are not in the account; it ended in `error`, and the next one waits for a cooldown", "did you sell them?"
    POSITION_SHORT = "position.short", _WARNING, "the account holds fewer coins than the cycle", "see [recovery](recovery.md)"
    POSITION_EXCESS = "position.excess", _WARNING, "the account holds more coins than the cycle bought", "see [recovery](recovery.md)"
    POSITION_UNEXPECTED = "position.unexpected", _WARNING, "the account holds coins that no cycle bought: no base orders on the symbol", "see [recovery](recovery.md)"
    POSITIONS_DOUBTED = "positions.doubted", _ERROR, "two cycles ended in `error` within an hour and the coins of this one seem to be gone, too: consistency_checker ends no other in that hour", "see [recovery](recovery.md)"
    CYCLE_ORDERLESS = "cycle.orderless", _ERROR, "a cycle waits for an order that the exchange does not know and that may still appear", "if it lasts, check Alpaca's dashboard"
    COOLDOWN_ENDLESS = "cooldown.endless", _WARNING, "the end of a cooldown cannot be computed", "see [recovery](recovery.md)"
    ALERT_ENDED = "alert.ended", _WARNING, "an alert (`alert`) is over, and why. Told once. Mailed; INFO and not mailed, where it was acknowledged before or was only news"
    ALERT_UNJUDGED = "alert.unjudged", _WARNING, "whether an alert is over could not be asked now; the next run asks again", "nothing, unless it lasts"
    # The streams.
    STREAM_CONNECTED = "stream.connected", _INFO, "a stream is connected; what was missed is asked for over REST"
    STREAM_DISCONNECTED = "stream.disconnected", _WARNING, "a stream was lost; it is opened again", "nothing, unless it lasts"
    STREAM_ERROR = "stream.error", _WARNING, "Alpaca sent an error on a stream; it is opened again", "read `reason`: keys, subscription, another client on the same keys"
    STREAM_ENDED = "stream.ended", _ERROR, "Alpaca ended a stream for good; it is opened again", "read the `stream.error` before it"
    SUBSCRIBE_POSTPONED = "subscribe.postponed", _DEBUG, "the stream is away: its next connection subscribes everything"
    SYMBOLS_WATCHED = "symbols.watched", _INFO, "the symbols whose quotes are subscribed now"
    MESSAGE_DROPPED = "message.dropped", _ERROR, "a message of a stream could not be read, or its handler failed: the next one is taken. Said once for each kind of error and connection; `dropped` counts them", "report the traceback"
    QUOTE_MALFORMED = "quote.malformed", _DEBUG, "a quote that cannot be read: dropped"
    WORKER_FAILED = "worker.failed", _ERROR, "a bug of the program while an order was decided; the next quote tries again", "report the traceback"
    # Requests, database, mail.
    REQUESTS_PAUSED = "requests.paused", _WARNING, "daemon and caretakers together have used 80 % of the 200 requests of a minute (the page waits at 50 %), or the exchange says that few are left; reads wait, orders do not. Said at most once a minute"
    REQUESTS_COUNTED_ALONE = "requests.counted_alone", _WARNING, "`run/requests.*`, where all processes count their requests together, cannot be used (`reason`): each counts alone", "check the run folder's disk and permissions"
    READ_REPEATED = "read.repeated", _DEBUG, "a read failed and is repeated"
    STATEMENT_REPEATED = "statement.repeated", _DEBUG, "the connection to the database was found lost by a statement that only reads; it is run again on a new one"
    TRANSACTION_REPLAYED = "transaction.replayed", _WARNING, "the database ended a transaction (a deadlock, a lost connection); it is run again", "nothing, unless it lasts"
    ROLLBACK_FAILED = "transaction.rollback_failed", _DEBUG, "the connection was lost already"
    CLOSE_FAILED = "database.close_failed", _DEBUG, "the connection was lost already"
    THREAD_UNPREPARED = "thread.unprepared", _DEBUG, "a thread could not open its database connection, or rehearse, ahead of its work, which reports what lasts"
    ACCOUNT_OPENED = "account.opened", _INFO, "the keys were accepted: which account it is, and whose money"
    ACCOUNT_UNREADABLE = "account.unreadable", _ERROR, "the account's figures could not be read", "if it lasts, check Alpaca's status page"
    MAIL_FAILED = "mail.failed", _WARNING, "an alert could not be mailed; it is kept and tried again", "`scripts/doctor` tests the mail settings"
    MAIL_SKIPPED = "mail.skipped", _DEBUG, "mail is not set up"
    MAIL_REFUSED = "mail.refused", _WARNING, "the mail server declined some of the recipients", "check `ALERT_TO`"
    ALERT_UNSENT = "alert.unsent", _WARNING, "a service of `ALERT_URLS` (`service`: its scheme and its place in the list) did not take a message, and why; it is kept and tried again, the other services have theirs", "`scripts/doctor --send-test` says which service answers"
    ALERTS_FAILED = "alerts.failed", _ERROR, "a bug of the program while alerts were sent; later ones are still sent", "report the traceback"
    ALERTS_UNSHARED = "alerts.unshared", _DEBUG, "the run folder cannot be used: this process counts its messages alone"
    DAY_SUMMED_UP = "day.summed_up", _INFO, "the summary of a day (`ALERT_ON=daily`) is on its way"
    # The daemon.
    APP_STARTED = "app.started", _INFO, "the daemon is up"
    APP_STOPPING = "app.stopping", _INFO, "the daemon was asked to end, or one of its parts ended (`because`)"
    STOP_HURRIED = "stop.hurried", _WARNING, "the daemon ends without waiting any longer; the next start finishes what was left"
    APP_STOPPED = "app.stopped", _INFO, "the daemon ended with this exit code"
    APP_REFUSED = "app.refused", _ERROR, "the daemon cannot start, and why", "read `reason`; the watchdog tries again"
    APP_FAILED = "app.failed", _ERROR, "the daemon could not go on, and why", "read `reason`; the watchdog starts it again"
    APP_SUPERSEDED = "app.superseded", _ERROR, "another daemon has the account's lock", "end one of them"
    HEARTBEAT_FAILED = "heartbeat.failed", _ERROR, "the daemon cannot write its heartbeat: the watchdog will take it for hung", "check the run folder's disk and permissions"
    ENV_FILE_LOOSE_PERMISSIONS = "env_file.loose_permissions", _WARNING, "others can read your keys", "`chmod 600 .env`"
    # The watchdog.
    DAEMON_RUNNING = "daemon.running", _INFO, "the watchdog found the daemon healthy"
    DAEMON_STARTING = "daemon.starting", _INFO, "the daemon is starting; the watchdog gives it time"
    DAEMON_LEFT_ALONE = "daemon.left_alone", _INFO, "the daemon was stopped on purpose: the watchdog does not start it"
    DAEMON_STALLED = "daemon.stalled", _WARNING, "the daemon runs but cannot trade: no ping, no restart (it would not help), no mail of the watchdog's own", "see `trading.stalled`"
    DAEMON_UNWELL = "daemon.unwell", _WARNING, "the daemon runs, but something is wrong that a restart would not cure. ERROR when it lasts", "read `reason` and `logs/app.log`"
    DAEMON_WAIT = "daemon.wait", _WARNING, "the daemon does not stay alive; the watchdog starts it again later. ERROR when it lasts", "read `reason` and `logs/app.log`"
    DAEMON_MISSED = "daemon.missed", _WARNING, "the watchdog found the daemon gone or hung", "nothing, unless it happens again"
    DAEMON_ENDED = "daemon.ended", _WARNING, "the watchdog ended a daemon that hung"
    DAEMON_STARTED = "daemon.started", _WARNING, "the watchdog started the daemon. Mailed"
    DAEMON_RESTARTED = "daemon.restarted", _WARNING, "the watchdog ended the daemon and started it again. Mailed"
    DAEMON_START_FAILED = "daemon.start_failed", _WARNING, "the watchdog could not start the daemon, and why (`reason`). ERROR when it lasts", "read `reason` and `logs/main_app.out`, where it says what it cannot log"
    DAEMON_UNSETTLED = "daemon.unsettled", _ERROR, "the daemon does not stay alive, however often it is started", "read `logs/app.log` and `logs/main_app.out`"
    DAEMON_WELL_AGAIN = "daemon.well_again", _WARNING, "the trouble that the watchdog sent an alert about is over. Mailed"
    PING_FAILED = "ping.failed", _WARNING, "`HEARTBEAT_URL` did not answer", "if it lasts, check the address and the network"
    PING_ANSWERED = "ping.answered", _INFO, "`HEARTBEAT_URL` answers again"
    # The other caretakers.
    CARETAKERS_STARTED = "caretakers.started", _INFO, "`scripts/caretakers run` begins"
    CARETAKERS_STOPPED = "caretakers.stopped", _INFO, "`scripts/caretakers run` was asked to end: nothing restarts the daemon any more"
    CARETAKER_FAILED = "caretaker.failed", _WARNING, "a caretaker that `scripts/caretakers run` had started ended with a code other than 0 (`code`)", "read `reason`; the script's own log says more"
    SCRIPT_FAILED = "script.failed", _ERROR, "a caretaker could not do its work; its next run tries again", "read `reason`"
    STEP_FAILED = "step.failed", _WARNING, "one step of a caretaker failed; the next run plans it again"
    RUN_REPEATED = "run.repeated", _WARNING, "database or exchange failed in the middle of a caretaker's run; the run began again"
    RUN_UNRECORDED = "run.unrecorded", _WARNING, "a caretaker could not record its run", "check the run folder's disk and permissions"
    ORDERS_CHECKED = "orders.checked", _INFO, "what order_manager found"
    ORDER_CANCEL_REQUESTED = "order.cancel_requested", _WARNING, "order_manager asked to cancel an order that is stale or that no cycle waits for"
    ORDER_CANCEL_REFUSED = "order.cancel_refused", _WARNING, "the exchange declined the cancellation; it is requested again later", "if it lasts, check the order on Alpaca's dashboard"
    ORDER_CANCEL_LASTING = "order.cancel_lasting", _ERROR, "an order whose cancellation was requested does not end", "check the order on Alpaca's dashboard"
    COOLDOWNS_CHECKED = "cooldowns.checked", _INFO, "what cooldown_manager found"
    CONSISTENCY_CHECKED = "consistency.checked", _INFO, "what consistency_checker found"
    FINDING_SEEN = "finding.seen", _DEBUG, "one snapshot shows a difference; a second snapshot decides"
    ASSET_SKIPPED = "asset.skipped", _INFO, "one asset could not be compared in this run; the others were", "nothing, unless it lasts"
    WAITING_POSTPONED = "waiting.postponed", _WARNING, "more cycles wait for an order than one run may ask about: the next run goes on"
    HOLDINGS_POSTPONED = "holdings.postponed", _WARNING, "more positions are held than one run may ask about: the next run goes on"
    FEES_CHECKED = "fees.checked", _INFO, "posted fees were searched for; `still_estimated` orders wait for theirs, and the next run searches again (for ten days)"
    FEES_SETTLED = "fees.settled", _INFO, "posted fees were written in place of the estimates"
    FEES_INCOMPLETE = "fees.incomplete", _INFO, "two days after the trades, less is posted than the maker's rate takes: the estimates stay, marked with `~`", "nothing; if it lasts, are `TAKER_FEE_PERCENT` and `MAKER_FEE_PERCENT` those of your tier?"
    FEES_IMPLAUSIBLE = "fees.implausible", _WARNING, "more is posted than the taker's rate takes of these orders: the estimates stay", "are `TAKER_FEE_PERCENT` and `MAKER_FEE_PERCENT` those of your tier?"
    # Backups.
    BACKUP_MADE = "backup.made", _INFO, "a backup was written, read back and checked"
    BACKUP_FAILED = "backup.failed", _ERROR, "no backup could be made, and why; the older ones are kept", "read `reason`: a full or unwritable `BACKUP_DIR`, a database that does not answer"
    DATABASE_RESTORED = "database.restored", _INFO, "`scripts/database restore`: a backup is in use"
    DATABASE_CAUGHT_UP = "database.caught_up", _INFO, "what happened on the exchange since the backup is booked"
    # What the user asked for.
    ALERT_ACKNOWLEDGED = "alert.acknowledged", _INFO, "`scripts/alerts ack`: the user has seen it"
    COMMAND_FAILED = "command.failed", _WARNING, "a command of yours could not reach the exchange", "read `reason`"
    ASSET_ADDED = "asset.added", _INFO, "`scripts/assets add`"
    ASSET_EDITED = "asset.edited", _INFO, "`scripts/assets edit`, with the new values"
    ASSET_ENABLED = "asset.enabled", _INFO, "`scripts/assets enable`"
    ASSET_DISABLED = "asset.disabled", _INFO, "`scripts/assets disable`"
    ASSET_REMOVED = "asset.removed", _INFO, "`scripts/assets remove`"
    CLOSE_REQUESTED = "close.requested", _INFO, "`scripts/bot close`: the position is to be sold"
    CLOSE_WITHDRAWN = "close.withdrawn", _INFO, "the request to close was withdrawn"
    CLOSE_UNQUOTED = "close.unquoted", _INFO, "no price could be read to show what closing would bring"
    OPEN_REQUESTED = "open.requested", _INFO, "`scripts/bot open`: the base order is to be bought now"
    OPEN_WITHDRAWN = "open.withdrawn", _INFO, "the request to open a cycle was withdrawn"
    BUYING_PAUSE_REQUESTED = "buying.pause_requested", _INFO, "`scripts/bot pause`, or /pause from a chat (`by`)"
    BUYING_RESUME_REQUESTED = "buying.resume_requested", _INFO, "`scripts/bot resume`, or /resume from a chat (`by`)"
    DAEMON_START_REQUESTED = "daemon.start_requested", _INFO, "`scripts/bot start`"
    DAEMON_STOP_REQUESTED = "daemon.stop_requested", _INFO, "`scripts/bot stop`"
    DAEMON_RESTART_REQUESTED = "daemon.restart_requested", _INFO, "`scripts/bot restart`"
    # From the phone.
    TRYOUT_ENDED = "tryout.ended", _WARNING, "the process that replays settings for the page had ended by itself (`code`; -9: killed, often for lack of memory): the next try starts it again", "if it lasts, try a shorter range"
    TELEGRAM_STARTED = "telegram.started", _INFO, "the bot answers on Telegram, to so many `chats`"
    TELEGRAM_STOPPED = "telegram.stopped", _INFO, "what answers on Telegram was asked to end"
    TELEGRAM_COMMANDED = "telegram.commanded", _INFO, "a chat of `TELEGRAM_CHATS` gave a command, and what came of it (`outcome`)"
    TELEGRAM_EXPIRED = "telegram.expired", _INFO, "a command was too old when it was read: it was not carried out, and its chat was told"
    TELEGRAM_INTERRUPTED = "telegram.interrupted", _WARNING, "the process that answers on Telegram had ended before a command was answered: it is not carried out again, and its chat was told", "`scripts/status` says how things stand"
    TELEGRAM_STRANGER = "telegram.stranger", _WARNING, "a chat that is not in `TELEGRAM_CHATS` wrote to the bot and was ignored. Said once for each chat; the next are counted. Mailed", "is it yours? Then add it to `TELEGRAM_CHATS`"
    TELEGRAM_LOST = "telegram.lost", _WARNING, "Telegram gives no usable answer; it is asked again and again", "if it lasts, check the network; `scripts/doctor` asks, too"
    TELEGRAM_FOUND = "telegram.found", _INFO, "Telegram answers again, to this program alone. Mailed where an alert about it was"
    TELEGRAM_REFUSED = "telegram.refused", _ERROR, "Telegram does not accept `TELEGRAM_TOKEN`", "get the token from @BotFather again"
    TELEGRAM_SHARED = "telegram.shared", _ERROR, "another program reads the messages of this bot of Telegram's (409): which of both gets a command is chance", "end the other one, or give each a bot of its own"
    TELEGRAM_UNANSWERED = "telegram.unanswered", _WARNING, "an answer could not be sent to its chat", "nothing, unless it lasts"
    TELEGRAM_FAILED = "telegram.failed", _ERROR, "a bug of the program while a command was carried out; later ones still are", "report the traceback"
    # In a browser.
    PAGE_STARTED = "page.started", _INFO, "`scripts/web` serves the page at `address`"
    PAGE_STOPPED = "page.stopped", _INFO, "what serves the page was asked to end"
    PAGE_OPENED = "page.opened", _INFO, "a browser signed in with the token"
    PAGE_DENIED = "page.denied", _WARNING, "somebody tried to sign in with a wrong token", "was it you? `scripts/web link` prints the right link; `scripts/web new-token` makes another"
    PAGE_FAILED = "page.failed", _ERROR, "a bug of the page: that request was not answered, others are", "report the traceback"
    # Beside the daemon.
    SIDE_MISSED = "side.missed", _WARNING, "the watchdog found that a process beside the daemon (`name`: telegram, web) runs no more, and starts it", "nothing, unless it happens again: `logs/<name>.log` and `logs/<name>.out`"
    SIDE_ENDED = "side.ended", _INFO, "the watchdog ended a process beside the daemon, and why (`reason`)"
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


def matter_of(event: LogEvent, fields: Mapping[str, Any]) -> str:
    """What a line is about: the same for each line of the same alert."""
    identity = [
        f"{key}={type(value).__name__ if isinstance(value, Exception) else value}"
        for key, value in fields.items()
        if value is not None and (key in IDENTITY_FIELDS or isinstance(value, Exception))
    ]
    return " ".join([event.value, *identity])


def log_event(
    logger: logging.Logger,
    event: LogEvent,
    /,
    *,
    level: int | None = None,
    mail: bool = False,
    about: str | None = None,
    case: str = "",
    topic: Topic | None = None,
    words: str | None = None,
    traceback: bool | BaseException = False,
    **fields: Any,
) -> None:
    """Log `event key=value ...` at `level` (None: the event's own); fields that are None are left
    out. `traceback` adds that of the exception given, or of the one that is being handled.

    Every ERROR is sent where mail or ALERT_URLS are set up (see notifications); `mail=True` sends a
    lower level too, and a `topic` sends `words` in its place where ALERT_ON names it. What is the same alert, the event and the fields of `IDENTITY_FIELDS` decide, and of an
    exception its class. Events with the same `about` say how one matter goes on: see `Alert`; the
    same event with another `case` is news of it.
    """
    level = event.level if level is None else level
    if logger.isEnabledFor(level):
        known = {key: value for key, value in fields.items() if value is not None}
        shown = " ".join(f"{key}={format_value(value)}" for key, value in known.items())
        alert = Alert(name=event.value + case, matter=about or matter_of(event, known))
        extra = {"mail": mail, "alert": alert, "topic": topic if words else None, "words": words}
        logger.log(level, "%s %s", event.value, shown, exc_info=traceback, extra=extra)
