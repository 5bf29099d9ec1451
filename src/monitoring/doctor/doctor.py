"""`examine`: every check that the doctor makes. Changes nothing.

All run at once, each in a thread of its own and within a bound; one that fails or hangs hides no
other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from config import Settings, find_bad_lines, inspect_environment, use_settings
from monitoring.doctor import (
    alert_checks,
    asset_checks,
    database_checks,
    exchange_checks,
    machine_checks,
    page_checks,
    telegram_checks,
)
from monitoring.doctor.facts import Facts
from monitoring.doctor.findings import Finding, NotChecked, fail, warn
from monitoring.status.timed_calls import Pending, TookTooLong
from utils.alpaca_client_rest import ExchangeError
from utils.db_utils import DatabaseError

CHECK_SECONDS = 18.0  # longer than the facts that they wait for


class Check(NamedTuple):
    """`subject` is for a check that fails or hangs; else its findings name theirs."""

    subject: str
    work: Callable[[Facts], list[Finding]]


CHECKS = (
    Check("settings", machine_checks.check_settings),
    Check(".env", machine_checks.check_env_file),
    Check("packages", machine_checks.check_packages),
    Check("money", exchange_checks.check_money),
    Check("account", exchange_checks.check_account),
    Check("clock", exchange_checks.check_clock),
    Check("quote stream", exchange_checks.check_data_stream),
    Check("trade stream", exchange_checks.check_trade_stream),
    Check("database", database_checks.check_database),
    Check("grants", database_checks.check_grants),
    Check("schema", database_checks.check_schema_version),
    Check("database time", database_checks.check_times),
    Check("account binding", database_checks.check_binding),
    Check("second daemon", database_checks.check_second_daemon),
    Check("assets", asset_checks.check_assets),
    Check("capital", asset_checks.check_capital),
    Check("dump guard", exchange_checks.check_dump_guard),
    Check("daemon", machine_checks.check_daemon),
    Check("held back", machine_checks.check_held_back),
    Check("caretakers", machine_checks.check_caretakers),
    Check("crontab", machine_checks.check_crontab),
    Check("folders", machine_checks.check_folders),
    Check("disk", machine_checks.check_disk),
    Check("backup", machine_checks.check_backups),
    Check("log rotation", machine_checks.check_log_rotation),
    Check("mail", alert_checks.check_mail),
    Check("alerts", alert_checks.check_services),
    Check("watcher", alert_checks.check_watcher),
    Check("telegram", telegram_checks.check_telegram),
    Check("page", page_checks.check_page),
)
TESTS = (
    Check("test mail", alert_checks.send_test_mail),
    Check("test message", alert_checks.send_test_messages),
)


def examine(*, with_test: bool = False, known: Settings | None = None) -> Iterator[Finding]:
    """Every finding, check by check, as soon as it is known. Reads the settings itself.

    Args:
        with_test: send a test mail, and a test message to each service of ALERT_URLS.
        known: those of a program that goes on with them; what is wrong with `.env` now is found
            all the same.
    """
    settings, problems = inspect_environment()
    if known is None:
        use_settings(settings)
    else:
        settings = known
    facts = Facts(settings, problems, are_settings_known=not find_bad_lines())
    checks = (*CHECKS, *TESTS) if with_test else CHECKS
    pending = [Pending(partial(check.work, facts), seconds=CHECK_SECONDS) for check in checks]
    for check, outcome in zip(checks, pending, strict=True):
        yield from _outcome_of(check, outcome)


def _outcome_of(check: Check, pending: Pending[list[Finding]]) -> list[Finding]:
    try:
        return pending.result()
    except NotChecked as error:
        return [warn(check.subject, f"not checked: {error}")]
    except (TookTooLong, ExchangeError, DatabaseError, OSError) as error:
        return [fail(check.subject, " ".join(str(error).split()))]
    except Exception as error:  # noqa: BLE001 - a fault of one check must not hide the others
        # Not its message: that may hold a secret.
        text = f"this check itself failed ({type(error).__name__})"
        return [fail(check.subject, text, "report it: this is a bug")]
