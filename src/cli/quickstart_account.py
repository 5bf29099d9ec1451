"""The first step of `scripts/quickstart`: whose account the bot trades.

Owns: that keys are tried before they are saved, and that a `.env` which names another account
changes only when its user agrees, and is kept.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cli.command_line import EXIT_FAILED, EXIT_REFUSED, Stop, ask
from cli.quickstart_guide import Guide, remember
from config import (
    Settings,
    env_file,
    inspect_settings,
    read_env_file,
    read_environment,
    use_settings,
)
from local_stack.exchange_process import StackError
from local_stack.sandbox import Sandbox, is_sandbox, port_of
from operations.refused import Refused
from runtime.daemon_process import find_daemon
from utils.env_file import keep_copy
from utils.formatting import describe_account, usd

if TYPE_CHECKING:
    from utils.alpaca_queries import Account

LOCAL, PAPER = "local", "paper"
URLS = (
    "ALPACA_TRADING_URL",
    "ALPACA_DATA_URL",
    "ALPACA_DATA_STREAM_URL",
    "ALPACA_TRADING_STREAM_URL",
)
DATABASE = ("DB_HOST", "DB_PORT", "DB_USER", "DB_PASSWORD", "DB_NAME", "DB_SOCKET")
Keys = tuple[str, str]


def account_of(settings: Settings) -> str | None:
    """Whose account the settings name; None: none yet."""
    if not settings.alpaca_api_key or not settings.alpaca_secret_key:
        return None
    return LOCAL if is_sandbox(settings) else PAPER


def set_up_account(guide: Guide) -> None:
    guide.begin_step("The account")
    named = account_of(guide.settings)
    if guide.options.local:
        account = _open_sandbox(guide)
    elif guide.options.keys is not None:
        account = _open_paper(guide, _read_keys(guide.options.keys))
    elif named == LOCAL:
        account = _open_sandbox(guide)
    elif named == PAPER:
        account = _try_keys(guide, _keys_of(guide.settings)) or _ask_for_account(guide)
    else:
        account = _ask_for_account(guide)
    where = account_of(guide.settings)
    guide.say(
        f"{describe_account(guide.settings).capitalize()}, {usd(account.buying_power_usd)} USD to"
        f" spend, at {guide.settings.alpaca_trading_url or guide.settings.trading_host}"
    )
    guide.shown |= {"account": where, "account_id": account.id}


def _ask_for_account(guide: Guide) -> Account:
    guide.say(
        'Paper keys are made at https://app.alpaca.markets: "Paper Trading", "API Keys".'
        " What you type is not shown."
    )
    while True:
        key = guide.ask_secret("API key (Enter: no account, a local exchange with play money): ")
        if not key:
            return _open_sandbox(guide)
        secret = guide.ask_secret("Secret key: ")
        if (account := _try_keys(guide, (key, secret))) is not None:
            return account


def _try_keys(guide: Guide, keys: Keys) -> Account | None:
    """None where they are refused and others can be asked for, after the reason was said."""
    try:
        return _open_paper(guide, keys)
    except Refused as error:
        if not guide.can_ask:
            raise
        guide.say(f"{error}\n")
        return None


def _open_paper(guide: Guide, keys: Keys) -> Account:
    """Try these keys, and save them if they are taken.

    Raises:
        Refused: they are not, or the user does not agree to leave another account.
        Stop, ExchangeError: nothing certain was answered; nothing was saved.
    """
    before = guide.settings
    leaves_sandbox = account_of(before) == LOCAL
    environment = {
        name: text
        for name, text in read_environment().items()
        if not (leaves_sandbox and name in URLS)
    }
    names = ("ALPACA_API_KEY", "ALPACA_SECRET_KEY")
    settings, _ = inspect_settings({**environment, **dict(zip(names, keys, strict=True))})
    account = _ask_exchange(guide, settings)
    if account_of(before) is not None and settings.alpaca_api_key != before.alpaca_api_key:
        _agree_to_leave(guide, before)
    changes: dict[str, str | None] = {name: environment.get(name) for name in URLS}
    if leaves_sandbox:
        changes |= dict.fromkeys(DATABASE)
    filed, _ = inspect_settings(read_env_file())
    if _keys_of(filed) != keys:  # they may stand there under Alpaca's own names
        changes |= dict(zip(names, keys, strict=True))
    guide.change_settings(changes)
    return account


def _open_sandbox(guide: Guide) -> Account:
    before = guide.settings
    named = account_of(before)
    if named == PAPER:
        _agree_to_leave(guide, before)
    port = guide.options.port or (port_of(before) if named == LOCAL else None)
    try:
        with guide.waiting_for("Starting the local exchange"):
            wanted = Sandbox().start(port)
    except StackError as error:
        raise Stop(str(error), EXIT_FAILED) from None
    # Another account's records must not meet this one.
    left: dict[str, str | None] = dict.fromkeys(DATABASE) if named == PAPER else {}
    guide.change_settings({**left, **wanted})
    return _ask_exchange(guide, guide.settings)


def _agree_to_leave(guide: Guide, before: Settings) -> None:
    """Return when the user agrees to change the account, with the old `.env` kept.

    Raises:
        Stop: they do not, or the bot still trades there.
    """
    what = "the local exchange" if account_of(before) == LOCAL else "an Alpaca account"
    if (daemon := find_daemon(before)) is not None:
        reason = f"the bot trades with {what} (PID {daemon.pid}): scripts/bot stop first"
        raise Stop(reason, EXIT_REFUSED)
    if not guide.options.replace_account:
        question = f".env names {what}. Change it to another account? The old one is kept. [y/N] "
        if not guide.can_ask:
            reason = f".env names {what}: to change it to another account, add --replace-account"
            raise Stop(reason, EXIT_REFUSED)
        if ask(question).lower() not in ("y", "yes"):
            raise Stop(".env was not changed", EXIT_FAILED)
    if (copy := keep_copy(env_file())) is not None:
        guide.say(f"The old settings are in {copy.name}.")
    remember(asset=None, begin=None, database=None)


def _ask_exchange(guide: Guide, settings: Settings) -> Account:
    """The account, as the exchange itself names it.

    Raises:
        Refused: the keys are not taken; with the cure.
        ExchangeError: nothing certain was answered.
    """
    with guide.waiting_for("Asking the exchange"):
        from monitoring.doctor.exchange_checks import cure_of_wrong_keys
        from utils.alpaca_client_rest import CredentialsRefused, get_trading_client
        from utils.alpaca_queries import fetch_account

        use_settings(settings)
        try:
            return fetch_account(get_trading_client())
        except CredentialsRefused as error:
            raise Refused(f"{error}: {cure_of_wrong_keys(settings)}") from None
        finally:
            use_settings(guide.settings)


def _read_keys(name: str) -> Keys:
    """The two lines of a file, or of standard input.

    Raises:
        Refused: there are not two; nothing of them is shown.
    """
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise Refused(f"cannot read {name}: {reason}") from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) != 2:
        raise Refused("--keys wants two lines: the key and the secret")
    return lines[0], lines[1]


def _keys_of(settings: Settings) -> Keys:
    return settings.alpaca_api_key, settings.alpaca_secret_key
