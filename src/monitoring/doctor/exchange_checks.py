"""The doctor's checks of the exchange: which money, the account, the clock, both streams."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from config import Settings
from monitoring.doctor.facts import Facts
from monitoring.doctor.findings import Finding, NotChecked, fail, ok, warn
from monitoring.doctor.stream_probe import (
    StreamClosed,
    StreamTaken,
    probe_data_stream,
    probe_trade_stream,
)
from monitoring.status.daemon_status import StreamStatus, load_daemon_status
from monitoring.status.stalled_stream import find_stalled_stream
from strategy.dump import MIN_ASSETS
from utils.alpaca_client_rest import CredentialsRefused, ExchangeError, get_trading_client
from utils.alpaca_queries import fetch_exchange_time
from utils.formatting import cure_of_silence, describe_account, span, usd

CLOCK_WARN_SECONDS = 2.0


def check_money(facts: Facts) -> list[Finding]:
    settings = facts.settings
    if not facts.are_settings_known:
        return [warn("money", "not checked: .env says which money it is (see settings)")]
    text = f"{describe_account(settings)}, orders go to {settings.trading_host}"
    if settings.is_live:
        found = [warn("money", text)]
        limits = settings.max_buy_usd_per_day, settings.max_position_usd, settings.max_open_cycles
        if all(limit is None for limit in limits):
            cure = "set MAX_BUY_USD_PER_DAY in .env"
            found.append(warn("buy limits", "no limit on what it may buy", cure))
        return found
    return [ok("money", text)]


def check_dump_guard(facts: Facts) -> list[Finding]:
    """It judges by the watched assets: one alone is no market."""
    percent = facts.settings.dump_pause_percent
    if percent is None:
        return []
    count = len(facts.known_records().states)
    if count < MIN_ASSETS:
        text = f"DUMP_PAUSE_PERCENT pauses nothing: {count} asset is watched, it needs {MIN_ASSETS}"
        return [warn("dump guard", text, "scripts/assets add, or remove the setting from .env")]
    minutes = facts.settings.dump_pause_minutes
    text = f"half of {count} assets down {percent.normalize():f} % pause buys for {minutes:f} min"
    return [ok("dump guard", text)]


def check_account(facts: Facts) -> list[Finding]:
    try:
        account = facts.account.result()
    except CredentialsRefused as error:
        return [fail("account", str(error), cure_of_wrong_keys(facts.settings))]
    except ExchangeError as error:
        text = f"the exchange cannot be asked: {error}"
        return [fail("account", text, cure_of_silence(facts.settings))]
    found = []
    if account.blocks:
        text = f"blocked: {', '.join(account.blocks)}"
        found.append(fail("account", text, "see Alpaca's page or support"))
    if account.status != "ACTIVE" or account.crypto_status != "ACTIVE":
        text = f"status {account.status}, crypto {account.crypto_status}: both must be ACTIVE"
        cure = "finish the account, and the crypto agreement, at Alpaca"
        found.append(fail("account", text, cure))
    text = f"{account.id}, active, {usd(account.buying_power_usd)} USD to spend"
    return found or [ok("account", text)]


def cure_of_wrong_keys(settings: Settings) -> str:
    """Where to get the right ones."""
    if settings.is_local_exchange:
        return (
            "put the --key and --secret that the local exchange was started with into .env"
            " (.venv/bin/python -m paper_exchange --help names those it takes by default)"
        )
    kind = "live" if settings.is_live else "paper"
    return f"make new {kind} keys on Alpaca's page (each account has its own) and put both in .env"


def check_clock(facts: Facts) -> list[Finding]:
    facts.known_account()
    asked_at = datetime.now(UTC)
    there = fetch_exchange_time(get_trading_client())
    took = datetime.now(UTC) - asked_at
    off_seconds = abs((there - (asked_at + took / 2)).total_seconds()) - took.total_seconds() / 2
    cure = "let the system set it: timedatectl set-ntp true"
    if off_seconds >= facts.settings.max_quote_age_seconds:
        text = (
            f"{off_seconds:.0f} s off the exchange's: every quote seems too old, nothing is bought"
        )
        return [fail("clock", text, cure)]
    if off_seconds > CLOCK_WARN_SECONDS:
        return [warn("clock", f"{off_seconds:.1f} s off the exchange's", cure)]
    return [ok("clock", "agrees with the exchange's")]


def check_data_stream(facts: Facts) -> list[Finding]:
    daemon = load_daemon_status(facts.settings)
    if daemon.quotes is not None and daemon.quotes.is_connected:
        try:
            quotes = facts.market.result().quotes
        except (ExchangeError, NotChecked):
            quotes = {}
        if stalled := find_stalled_stream(facts.settings, daemon, quotes):
            return [fail("quote stream", stalled, "scripts/bot restart")]
        return [ok("quote stream", _held(daemon.quotes))]
    facts.known_account()
    return _probed("quote stream", lambda: probe_data_stream(facts.settings))


def check_trade_stream(facts: Facts) -> list[Finding]:
    daemon = load_daemon_status(facts.settings)
    if daemon.trade_updates is not None and daemon.trade_updates.is_connected:
        return [ok("trade stream", _held(daemon.trade_updates))]
    facts.known_account()
    return _probed("trade stream", lambda: probe_trade_stream(facts.settings))


def _held(stream: StreamStatus) -> str:
    heard = stream.heard_seconds
    last = "no message yet" if heard is None else f"last message {span(heard)} ago"
    return f"the daemon is connected, {last}"


def _probed(subject: str, probe: Callable[[], None]) -> list[Finding]:
    try:
        probe()
    except StreamTaken as error:
        text = f"reachable, but another program holds the account's only connection: {error}"
        return [warn(subject, text, "is a second bot running with these keys?")]
    except StreamClosed as error:
        cure = "check the network, and a firewall or proxy that stops websockets"
        return [fail(subject, str(error), cure)]
    return [ok(subject, "reachable, the keys are taken")]
