"""`scripts/bot`: the command line over the daemon's life, the pause of buys, and selling now.

Owns words, questions and the order of steps. How a daemon is started and ended is
runtime.daemon_process' business, how a cycle is closed that of operations.close_cycle, which is
imported where it is used: the exchange's SDK takes a second to load, which a pause can spare.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import psutil
from rich.text import Text

from cli.bot_options import parse_options
from cli.command_line import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_REFUSED,
    Stop,
    make_console,
    print_json,
)
from cli.runner import run_tool
from cli.start_warnings import find_start_warnings
from config import Settings, get_settings
from domain.asset import DcaAsset
from models.asset_config import get_all_assets, get_asset_config
from models.cycle_data import get_latest_cycle
from models.meta import check_schema
from operations.asset_input import read_symbol
from operations.refused import Refused
from runtime.daemon_process import (
    DaemonError,
    age_seconds,
    find_daemon,
    is_suspended,
    load_beat_of,
    restart_on_purpose,
    start_on_purpose,
    stop_on_purpose,
)
from runtime.heartbeat import Heartbeat
from runtime.operator_flags import PAUSED, is_paused, is_stopped, set_flag
from utils.db_utils import thread_connection
from utils.formatting import (
    ESTIMATE_LEGEND,
    describe_account,
    marked,
    number,
    plain,
    price,
    span,
    usd,
)
from utils.log_events import LogEvent, log_event
from utils.logging_setup import setup_logging

if TYPE_CHECKING:
    from operations.close_cycle import ClosePlan, CloseResult

log = logging.getLogger(__name__)

TRADING_SECONDS = 10.0  # until a daemon that beats has recovered; longer is said, not waited for
POLL_SECONDS = 0.1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; whatever stops it is one line, and an exit code."""
    return run_tool("bot", arguments, _run)


def _run(arguments: Sequence[str]) -> int:
    options = parse_options(arguments)
    settings = get_settings()
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    setup_logging(settings, "bot", console=False)
    command = BotCommand(settings, options)
    return int(getattr(command, command.name.replace("-", "_"))())


class BotCommand:
    """One run of one command: the methods named as the commands, and what they share."""

    def __init__(self, settings: Settings, options: argparse.Namespace) -> None:
        self._settings = settings
        self._options = options
        self._as_json: bool = options.json
        self._console = make_console()
        self.name: str = options.command

    # The daemon

    def start(self) -> int:
        before = find_daemon(self._settings)
        process = start_on_purpose(self._settings)
        ran = before is not None and before == process
        log_event(log, LogEvent.DAEMON_START_REQUESTED, pid=process.pid, ran=ran)
        state = self._wait_until_it_trades(process)
        text = f"The daemon {'runs already' if ran else 'runs'} (PID {process.pid}): {state}."
        warnings = find_start_warnings(self._settings)
        self._tell(text, pid=process.pid, ran_already=ran, state=state, warnings=warnings)
        for warning in warnings:
            self._say(Text(f"WARNING: {warning}", style="yellow"))
        return EXIT_DONE

    def stop(self) -> int:
        how = stop_on_purpose(self._settings)
        log_event(log, LogEvent.DAEMON_STOP_REQUESTED, how=how)
        texts = {
            "did not run": "The daemon does not run, and the watchdog will not start it.",
            "killed": "The daemon did not end when asked and was killed; its open orders are found"
            " again at the next start. The watchdog leaves it stopped.",
        }
        text = texts.get(how, "The daemon has ended; the watchdog leaves it stopped.")
        return self._tell(text, how=how)

    def restart(self) -> int:
        how, process = restart_on_purpose(self._settings)
        log_event(log, LogEvent.DAEMON_RESTART_REQUESTED, how=how, pid=process.pid)
        state = self._wait_until_it_trades(process)
        old = {
            "did not run": "It did not run",
            "killed": "The old daemon did not end when asked and was killed",
        }.get(how, "The old daemon has ended")
        text = f"{old}; a new one runs (PID {process.pid}): {state}."
        return self._tell(text, pid=process.pid, how=how, state=state)

    def _wait_until_it_trades(self, process: psutil.Process) -> str:
        """What it does, for a person: not every trouble of its start is worth a failure."""
        deadline = time.monotonic() + TRADING_SECONDS
        while True:
            beat = load_beat_of(process, self._settings)
            is_late = time.monotonic() >= deadline
            if beat is not None and (beat.state == "trading" or is_late):
                break
            if find_daemon(self._settings) != process:
                raise DaemonError("the daemon has ended again: see LOG_DIR/app.log")
            if is_late:
                break
            time.sleep(POLL_SECONDS)  # the pause of a poll with a bound
        if beat is None or beat.age_seconds() > self._settings.heartbeat_max_age_seconds:
            raise DaemonError(
                f"the daemon (PID {process.pid}) runs but does not answer: scripts/bot restart"
            )
        return _state_text(self._settings, beat)

    # Buying

    def pause(self) -> int:
        set_flag(self._settings.run_dir, PAUSED, wanted=True)
        log_event(log, LogEvent.BUYING_PAUSE_REQUESTED)
        text = "No new buys from now on; what is held is still sold. Again: scripts/bot resume"
        return self._tell(text, paused=True)

    def resume(self) -> int:
        was_paused = is_paused(self._settings.run_dir)
        set_flag(self._settings.run_dir, PAUSED, wanted=False)
        log_event(log, LogEvent.BUYING_RESUME_REQUESTED, paused=was_paused)
        text = "It buys again." if was_paused else "Buying was not paused."
        if find_daemon(self._settings) is None:
            text += " The daemon does not run: scripts/bot start"
        return self._tell(text, paused=False)

    # One line

    def status_line(self) -> int:
        process = find_daemon(self._settings)
        beat = None if process is None else load_beat_of(process, self._settings)
        stopped, paused = is_stopped(self._settings.run_dir), is_paused(self._settings.run_dir)
        parts, trades = _line_of(self._settings, process, beat, is_stopped=stopped)
        parts += ["buying is paused"] if paused else []
        if not self._as_json:
            self._console.print(" | ".join(parts), soft_wrap=True)
        else:
            print_json(
                {
                    "trades": trades,
                    "line": " | ".join(parts),
                    "pid": None if process is None else process.pid,
                    "state": None if beat is None else beat.state,
                    "stopped_on_purpose": stopped,
                    "paused": paused,
                }
            )
        return EXIT_DONE if trades else EXIT_FAILED

    # Selling now

    def close(self) -> int:
        from operations.close_cycle import prepare_close, request_close, withdraw_close
        from operations.close_execution import Closer
        from operations.preview import open_account
        from utils.alpaca_http import ExchangeError

        options = self._options
        asset = self._configured(read_symbol(options.symbol))
        if options.withdraw:
            withdraw_close(asset)
            return self._tell(f"{asset.asset_symbol} is not to be sold any more.", closed=False)
        if not 0 < options.wait <= 3600:  # NaN as well
            raise Refused("--wait: expected seconds from 1 to 3600")
        try:
            open_account(thread_connection())
            plan = prepare_close(self._settings, asset)
        except ExchangeError as error:
            reason = (
                f"nothing is to be sold yet, because Alpaca cannot be asked: {error}; try again"
            )
            raise Stop(reason, EXIT_FAILED) from None
        if plan is None:
            return self._nothing_to_close(asset)
        money = describe_account(self._settings)
        if not self._as_json:
            for line in _plan_lines(plan, money, disable=options.disable):
                self._console.print(line, soft_wrap=True)
        self._confirm_close(plan, money)
        request_close(plan, disable=options.disable)
        result = Closer(self._settings, plan, self._say).carry_out(options.wait)
        return self._say_closed(plan, result)

    def _configured(self, symbol: str) -> DcaAsset:
        connection = thread_connection()
        check_schema(connection)
        asset = get_asset_config(connection, symbol)
        if asset is None:
            known = ", ".join(other.asset_symbol for other in get_all_assets(connection))
            raise Refused(f"{symbol} is not configured (configured: {known or 'nothing yet'})")
        return asset

    def _nothing_to_close(self, asset: DcaAsset) -> int:
        from operations.asset_changes import disable_asset

        symbol = asset.asset_symbol
        cycle = get_latest_cycle(thread_connection(), asset.id)
        if cycle is not None and cycle.is_open and cycle.close_requested:
            raise Refused(
                f"{symbol} holds nothing that can be sold, and buys nothing because it is to be"
                f" closed: scripts/bot close {symbol} --withdraw lets it trade again"
            )
        if not self._options.disable:
            raise Refused(
                f"{symbol} holds nothing to sell and no buy of it is open; no more buys:"
                f" scripts/assets disable {symbol}"
            )
        disable_asset(asset)
        return self._tell(f"{symbol} holds nothing to sell; it buys no more.", closed=True)

    def _confirm_close(self, plan: ClosePlan, money: str) -> None:
        """Asked twice; `--confirm SYMBOL`, or --yes twice, for whoever cannot be asked.

        Raises:
            Refused, Stop: nothing was done.
        """
        options, symbol = self._options, plan.asset.asset_symbol
        if options.confirm is not None:
            if read_symbol(options.confirm) != symbol:
                raise Refused(f"--confirm names {options.confirm}, the asset to close is {symbol}")
            return
        if options.yes >= 2:
            return
        if self._as_json or not sys.stdin.isatty():
            shown = {"plan": _plan_json(plan, money)}
            reason = f"nothing was done, because nobody can be asked here: add --confirm {symbol}"
            raise Stop(reason, EXIT_REFUSED, shown)
        if options.yes == 0 and _ask("\nSell it now? [y/N] ").lower() not in ("y", "yes"):
            raise Stop("nothing was done", EXIT_FAILED)
        typed = _ask(f"Type {symbol} to sell it at market: ")
        if typed.upper() != symbol:
            raise Stop("nothing was done", EXIT_FAILED)

    def _say_closed(self, plan: ClosePlan, result: CloseResult) -> int:
        symbol = plan.asset.asset_symbol
        shown = {
            "closed": result.is_closed,
            "cycle": plain(result.cycle.id),
            "status": result.cycle.status.value,
            "sold_qty": plain(result.sold_qty),
            "price": plain(result.price),
            "profit_usd": plain(result.profit_usd),
            "fees_are_estimated": result.fees_are_estimated,
        }
        if not result.is_closed:
            reason = (
                f"{symbol} is not sold yet: {result.reason}. The wish stands and is carried out as"
                f" soon as it can be; take it back: scripts/bot close {symbol} --withdraw"
            )
            raise Stop(reason, EXIT_FAILED, shown)
        return self._tell(_closed_text(plan, result, disable=self._options.disable), **shown)

    # What they share

    def _say(self, text: str | Text) -> None:
        """Progress, as it comes."""
        if not self._as_json:
            self._console.print(text, soft_wrap=True)

    def _tell(self, text: str, **shown: Any) -> int:
        if self._as_json:
            print_json({"done": True, "text": text, **shown})
        else:
            self._console.print(text, soft_wrap=True)
        return EXIT_DONE


def _ask(question: str) -> str:
    try:
        return input(question).strip()
    except EOFError:
        return ""


def _state_text(settings: Settings, beat: Heartbeat) -> str:
    texts = {
        "trading": "it trades",
        "recovering": "it still compares its books with the exchange",
    }
    text = texts.get(beat.state, f"it is {beat.state}: {beat.reason or 'no reason given'}")
    return text + ("; buying is paused" if is_paused(settings.run_dir) else "")


def _line_of(
    settings: Settings,
    process: psutil.Process | None,
    beat: Heartbeat | None,
    *,
    is_stopped: bool,
) -> tuple[list[str], bool]:
    """The parts of the line, and whether it trades."""
    if process is None:
        return ["stopped on purpose" if is_stopped else "NOT RUNNING"], False
    runs = f"PID {process.pid} for {span(age_seconds(process))}"
    if is_suspended(process):
        return ["SUSPENDED", runs], False
    if beat is None:
        return ["no heartbeat yet", runs], False
    if beat.age_seconds() > settings.heartbeat_max_age_seconds:
        return [f"HUNG: last heartbeat {span(beat.age_seconds())} ago", runs], False
    if beat.state != "trading":
        return [f"{beat.state}: {beat.reason or 'no reason given'}", runs], False
    lost = [
        f"{name} stream LOST"
        for name, connected in (
            ("trade", beat.trade_stream_connected),
            ("data", beat.data_stream_connected or not beat.symbols),
        )
        if not connected
    ]
    quote = "no quote yet"
    if beat.last_quote_at is not None:
        quote = f"last quote {span(time.monotonic() - beat.last_quote_at)} ago"
    what = ", ".join(beat.symbols) or "no asset configured"
    return ["trading" if not lost else ", ".join(lost), runs, what, quote], not lost


def _plan_lines(plan: ClosePlan, money: str, *, disable: bool) -> list[str]:
    """What would be done, for a person."""
    cycle, symbol = plan.cycle, plan.asset.asset_symbol
    lines = [f"Close {symbol} ({money}), cycle {cycle.id}:"]
    if plan.waits_for_buy:
        lines.append("  its open buy is canceled; what that has bought by then is sold as well")
    if cycle.quantity > 0:
        held = f"about {number(plan.coins_held)} {symbol.partition('/')[0]}"
        bought = f"bought at {price(cycle.average_purchase_price)} USD on average"
        lines.append(f"  coins held: {held}, {bought}; they are sold at market")
    if cycle.quantity > 0 and plan.bid is not None:
        assert plan.proceeds_usd is not None, "there is a bid"
        assert plan.profit_usd is not None, "there is a bid"
        word = "profit" if plan.profit_usd >= 0 else "LOSS"
        lines.append(
            f"  at the bid of now, {price(plan.bid)} USD, that is"
            f" {marked(usd(plan.proceeds_usd), True)} USD: a {word} of"
            f" {marked(usd(abs(plan.profit_usd)), True)} USD after fees ({ESTIMATE_LEGEND})"
        )
    elif cycle.quantity > 0:
        lines.append("  there is no quote now: what it brings cannot be told")
    if cycle.close_requested:
        lines.append("  this was asked for before and is not carried out yet")
    return [*lines, f"  afterwards it {_afterwards(plan.asset, disable=disable)}"]


def _afterwards(asset: DcaAsset, *, disable: bool) -> str:
    if disable or not asset.is_enabled:
        return "buys no more"
    return f"rests for {asset.cooldown_period} s, then buys again (--disable: it does not)"


def _plan_json(plan: ClosePlan, money: str) -> dict[str, Any]:
    return {
        "symbol": plan.asset.asset_symbol,
        "money": money,
        "cycle": plan.cycle.id,
        "status": plan.cycle.status.value,
        "coins_held": plain(plan.coins_held),
        "average_price": plain(plan.cycle.average_purchase_price),
        "bid": plain(plan.bid),
        "proceeds_usd": plain(plan.proceeds_usd),
        "profit_usd": plain(plan.profit_usd),
        "fees_are_estimated": True,
        "close_requested": plan.cycle.close_requested,
    }


def _closed_text(plan: ClosePlan, result: CloseResult, *, disable: bool) -> str:
    symbol = plan.asset.asset_symbol
    if result.cycle.status.value == "error":
        return f"{symbol} ended in error, its coins are not in the account: see scripts/status"
    after = f"It {_afterwards(plan.asset, disable=disable)}."
    if result.price is None:
        return f"{symbol} is closed: its buy is canceled and nothing was held. {after}"
    word = "profit" if result.profit_usd >= 0 else "loss"
    earned = marked(usd(abs(result.profit_usd)), result.fees_are_estimated)
    legend = f" ({ESTIMATE_LEGEND})" if result.fees_are_estimated else ""
    return (
        f"{symbol} is closed: {number(result.sold_qty)} sold at {price(result.price)} USD, a"
        f" {word} of {earned} USD after fees{legend}. {after}"
    )


if __name__ == "__main__":
    sys.exit(main())
