"""`scripts/quickstart`: from a fresh clone to a bot that trades, in five steps.

Owns the order of the steps, and what the last three say; each step looks at what is there and does
the rest, so that a run goes on where another one stopped, however it ended.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from decimal import Decimal

from cli.assets import AssetsCommand
from cli.bot import BotCommand
from cli.bot_options import parse_options as parse_bot_options
from cli.command_line import EXIT_DONE, EXIT_FAILED, EXIT_REFUSED, Stop, print_json
from cli.quickstart_account import LOCAL, account_of, set_up_account
from cli.quickstart_caretakers import find_caretakers, install_caretakers, stop_caretakers
from cli.quickstart_database import database_of, set_up_database
from cli.quickstart_guide import STATE_FILE, Guide, remember, remembered
from cli.quickstart_options import FIRST_ASSET, WAYS, parse_options
from cli.runner import run_tool
from config import Settings, inspect_environment, use_settings
from domain.journal import JournalEntry
from local_stack.sandbox import Sandbox, is_sandbox
from mariadb_server.server import PrivateMariaDB
from models.asset_config import get_all_assets
from models.recent_fills import get_recent_fills
from operations.asset_input import COLUMN_OF, read_symbol
from operations.refused import Refused
from runtime.daemon_process import find_daemon, stop_on_purpose
from runtime.operator_flags import is_stopped
from runtime.telegram_poller import TELEGRAM
from runtime.web_page import PAGE
from utils.db_utils import DatabaseError, thread_connection
from utils.formatting import coins, plain, price, usd
from utils.private_database import FOLDER, is_private_database
from utils.state_file import locked

FIRST_TRADE_SECONDS = 30.0
POLL_SECONDS = 0.2
NOW, LATER, DONE = "now", "later", "done"


def main(arguments: Sequence[str] | None = None) -> int:
    """Go from step to step; whatever stops it is one line, and an exit code."""
    return run_tool("quickstart", arguments, _run)


def _run(arguments: Sequence[str]) -> int:
    options = parse_options(list(arguments))
    with locked(STATE_FILE.with_suffix(".lock"), 0):
        return stop_sandbox(options) if options.stop else go_on(options)


def go_on(options: argparse.Namespace) -> int:
    """All steps; what is done already is passed over in a line."""
    guide = Guide(options)
    if not guide.can_ask and (missing := find_missing_options(guide)):
        raise Refused(
            "there is no terminal to ask you on, and these options are missing:"
            f" {'; '.join(missing)} (--yes: the usual answers)"
        )
    guide.reload()
    set_up_account(guide)
    set_up_database(guide)
    add_first_asset(guide)
    install_caretakers(guide, may_begin=_has_agreed_to_begin(guide))
    begin(guide)
    seconds = time.time() - options.began_at
    if guide.as_json:
        print_json({"done": True, **guide.shown, "seconds": round(seconds, 1)})
    guide.say(_next_commands(guide, seconds))
    return EXIT_DONE


def find_missing_options(guide: Guide) -> list[str]:
    """What would have to be asked, as the options that answer it."""
    options, settings = guide.options, guide.settings
    missing = []
    named = account_of(settings)
    if named is None and not options.local and options.keys is None:
        missing.append("--local or --keys FILE")
    if options.yes:
        return missing
    if not (options.database or database_of(settings) or remembered("database")):
        missing.append("--database private or own")
    if remembered("asset") is None and not _has_assets(settings):
        missing.append("--yes (you agree to the asset's plan)")
        if options.asset is None:
            missing.append("--asset SYMBOL")
    if not (options.caretakers or remembered("caretakers") or find_caretakers(settings)):
        missing.append(f"--caretakers {', '.join(WAYS[:-1])} or {WAYS[-1]}")
    if not options.begin and not _has_agreed_to_begin(guide) and not find_daemon(settings):
        missing.append("--begin now or later")
    return missing


def _has_assets(settings: Settings) -> bool:
    """As far as it can be seen now."""
    if database_of(settings) is None:
        return False
    try:
        return bool(get_all_assets(thread_connection()))
    except DatabaseError:
        return False


def add_first_asset(guide: Guide) -> None:
    guide.begin_step("The first asset")
    configured = [asset.asset_symbol for asset in get_all_assets(thread_connection())]
    symbol = guide.options.asset
    if configured and symbol in (None, *configured):
        guide.say(f"{', '.join(configured)}: configured already (scripts/assets list).")
    elif symbol is not None or guide.options.yes or not guide.can_ask:
        symbol = symbol or FIRST_ASSET
        _add(guide, symbol)
        configured.append(symbol)
    else:
        configured = [_ask_for_asset(guide)]
    remember(asset=configured[0])
    guide.shown["assets"] = configured


def _ask_for_asset(guide: Guide) -> str:
    """Until one has a plan that can work, and its user agrees to it."""
    while True:
        try:
            symbol = read_symbol(guide.ask("What shall it trade first?", FIRST_ASSET))
            _add(guide, symbol)
            return symbol
        except Refused as error:
            guide.say(f"{error}\n")
        except Stop as stop:
            if stop.code != EXIT_REFUSED:
                raise Stop(
                    f"{stop}: run it again to go on, with another plan if you like"
                    " (--base, --safety, ...: see --help)",
                    EXIT_FAILED,
                ) from None
            guide.say(f"{stop}\n")


def _add(guide: Guide, symbol: str) -> None:
    values = {option: getattr(guide.options, option) for option in COLUMN_OF}
    options = argparse.Namespace(
        command="add", symbol=symbol, yes=guide.options.yes, json=guide.as_json, **values
    )
    guide.quietly(AssetsCommand(guide.settings, options).run)


def begin(guide: Guide) -> None:
    guide.begin_step("Begin")
    runs = find_daemon(guide.settings) is not None
    chosen = guide.options.begin or (NOW if runs or _has_agreed_to_begin(guide) else None)
    if chosen is None:
        agrees = guide.options.yes or guide.agrees("Start the bot?")
        chosen = NOW if agrees else LATER
    guide.shown["trades"] = chosen == NOW
    if chosen == LATER:
        guide.say("All is ready: scripts/bot start")
        return
    remember(begin=NOW)
    start = BotCommand(guide.settings, parse_bot_options(["start"]))
    start.as_json, start.console = guide.as_json, guide.console
    with guide.waiting_for("Starting the bot"):
        guide.quietly(start.run)
    remember(begin=DONE)
    _show_first_trade(guide)


def _has_agreed_to_begin(guide: Guide) -> bool:
    """Whether it was answered before; a stop on purpose since then has to be asked about."""
    answer = remembered("begin")
    return answer == NOW or (answer == DONE and not is_stopped(guide.settings.run_dir))


def _show_first_trade(guide: Guide) -> None:
    if (fill := _newest_fill()) is None:
        deadline = time.monotonic() + FIRST_TRADE_SECONDS
        with guide.waiting_for("Waiting for the first trade"):
            while (fill := _newest_fill()) is None and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)  # the pause of a poll with a bound
    if fill is None:
        guide.say("No trade yet: scripts/status says what it waits for.")
        return
    average = fill.filled_avg_price or Decimal(0)
    words = "bought" if fill.side.value == "buy" else "sold"
    guide.say(
        f"Last trade: {words} {coins(fill.filled_qty)} {fill.symbol} at"
        f" {price(average)} ({usd(fill.filled_usd)} USD)."
    )
    guide.shown["last_trade"] = {
        "symbol": fill.symbol,
        "side": fill.side.value,
        "qty": plain(fill.filled_qty),
        "price": plain(average),
        "order_id": fill.alpaca_order_id,
    }


def _newest_fill() -> JournalEntry | None:
    return next(iter(get_recent_fills(thread_connection(), 1)), None)


def _next_commands(guide: Guide, seconds: float) -> str:
    is_local = guide.shown["account"] == LOCAL
    stop = "scripts/quickstart --local --stop" if is_local else "scripts/bot stop"
    what = "end the bot and the exchange; all is kept" if is_local else "nothing trades any more"
    return (
        f"\nReady after {seconds:.0f} s. Next:\n"
        "  scripts/status --watch             what it does, as it does it\n"
        "  scripts/doctor                     checks everything, and says the cure\n"
        f"  {stop:33}  {what}"
    )


def stop_sandbox(options: argparse.Namespace) -> int:
    """End the exchange and, where `.env` means it, all that uses it. What it remembers stays."""
    settings, _ = inspect_environment()
    use_settings(settings)
    ended = []
    if is_sandbox(settings):
        ended += _stop_bot(settings)
    if Sandbox().stop():
        ended.append("local exchange")
    server = PrivateMariaDB(FOLDER)
    if is_sandbox(settings) and is_private_database(settings) and server.is_running():
        server.stop()
        ended.append("private MariaDB")
    if options.json:
        print_json({"done": True, "ended": ended})
    else:
        what = f"Ended: {', '.join(ended)}." if ended else "Nothing of it runs."
        print(f"{what} scripts/quickstart --local goes on with the same account.")
    return EXIT_DONE


def _stop_bot(settings: Settings) -> list[str]:
    """The daemon, and the jobs that would complain each minute that the exchange is away."""
    ended = []
    if find_daemon(settings) is not None:
        stop_on_purpose(settings)
        remember(begin=NOW)  # whoever says --local again wants it to trade again
        ended.append("bot")
    if stop_caretakers(settings):
        ended.append("caretakers")
    for kind in (PAGE, TELEGRAM):  # nobody keeps them now
        if (process := kind.find(settings)) is not None:
            kind.end(process)
            ended.append(kind.what)
    return ended


if __name__ == "__main__":
    sys.exit(main())
