"""The doctor's checks of the database: server, tables, times, account, a second daemon."""

from __future__ import annotations

import re

from monitoring.doctor.facts import Facts
from monitoring.doctor.findings import Finding, fail, ok, warn
from monitoring.status.daemon_status import load_daemon_status
from runtime.account_lock import find_lock_holder
from utils.db_utils import DatabaseError, execute_query, refusal_cure, thread_connection

MIN_MARIADB, MIN_MYSQL = (10, 6, 0), (8, 0, 13)
CLOCK_WARN_SECONDS = 5.0
_NEEDED = ("SELECT", "INSERT", "UPDATE", "DELETE")


def check_database(facts: Facts) -> list[Finding]:
    settings = facts.settings
    try:
        server = facts.database.result()
    except DatabaseError as error:
        text, _, _ = str(error).removeprefix("database: ").partition(": run ")
        refused = refusal_cure(settings, error.errno)
        if refused is not None:
            return [fail("database", text.removesuffix(f": {refused}"), refused)]
        cure = "start it (scripts/database start), or correct DB_* in .env"
        return [fail("database", text, cure)]
    is_mariadb = "mariadb" in server.version.lower()
    name, least = ("MariaDB", MIN_MARIADB) if is_mariadb else ("MySQL", MIN_MYSQL)
    found = []
    if parse_version(server.version) < least:
        needed = ".".join(map(str, least))
        text = f"{name} {server.version} is too old: at least {needed} is needed"
        found.append(fail("database", text, "upgrade it, or use scripts/database start"))
    if server.is_read_only:
        found.append(fail("database", "the server is read-only", "use its primary server"))
    return found or [ok("database", f"{name} {server.version}, database {settings.db_name}")]


def parse_version(text: str) -> tuple[int, ...]:
    """(10, 11, 19) of `10.11.19-MariaDB-1` and of the replication prefix `5.5.5-10.6.7-MariaDB`."""
    numbers = re.findall(r"\d+\.\d+\.\d+", text)
    if not numbers:
        return (0, 0, 0)
    number = numbers[-1] if text.startswith("5.5.5-") else numbers[0]
    return tuple(int(part) for part in number.split("."))


def check_grants(facts: Facts) -> list[Finding]:
    facts.known_database()
    rows = execute_query("SHOW GRANTS", fetch_all=True, db_conn=thread_connection())
    text = " ".join(str(value) for row in rows for value in row.values()).upper()
    missing = [word for word in _NEEDED if not re.search(rf"\b{word}\b", text)]
    if missing and "ALL PRIVILEGES" not in text:
        words = ", ".join(missing)
        cure = f"GRANT ALL ON `{facts.settings.db_name}`.* TO this user"
        return [warn("grants", f"the user seems not to have {words}", cure)]
    return [ok("grants", f"{facts.settings.db_user} may read and write")]


def check_schema_version(facts: Facts) -> list[Finding]:
    problem = facts.known_database().schema_problem
    if problem is not None:
        text, _, cure = problem.partition(": run ")
        return [fail("schema", text, cure or "scripts/setup")]
    return [ok("schema", "the tables are of this program's version")]


def check_times(facts: Facts) -> list[Finding]:
    database = facts.known_database()
    if not database.session_is_utc:
        return [fail("database time", "our session is not in UTC", "report it: this is a bug")]
    if abs(database.clock_ahead_seconds) > CLOCK_WARN_SECONDS:
        text = f"the server's clock is {database.clock_ahead_seconds:+.0f} s off this machine's"
        return [warn("database time", text, "timedatectl set-ntp true, on both machines")]
    server = database.global_time_zone
    return [ok("database time", f"our sessions are in UTC (the server's own zone: {server})")]


def check_binding(facts: Facts) -> list[Finding]:
    database = facts.known_database()
    facts.known_records()  # of the tables of this version
    if database.account_id is None:
        return [ok("account binding", "to no account yet: the first start binds it to yours")]
    account = facts.known_account()
    if account.id != database.account_id:
        text = f"the database is of account {database.account_id}, the keys are of {account.id}"
        return [fail("account binding", text, "use another DB_NAME for this account")]
    return [ok("account binding", "the database is of the account of these keys")]


def check_second_daemon(facts: Facts) -> list[Finding]:
    database = facts.known_database()
    account_id = database.account_id or facts.known_account().id
    holder = find_lock_holder(thread_connection(), account_id)
    daemon = load_daemon_status(facts.settings)
    if holder is None:
        return [ok("second daemon", "none: nobody holds this account")]
    if daemon.pid is None:
        text = f"another daemon trades this account, connected from {holder}"
        return [fail("second daemon", text, "end it, or start none here: the second is refused")]
    return [ok("second daemon", "none: our own daemon holds this account")]
