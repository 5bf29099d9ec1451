"""The doctor's checks of this machine: settings, files, packages, disk, logs, cron, the daemon."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shlex
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from caretakers.plans.watchdog import Verdict
from config import (
    PROJECT_ROOT,
    SettingsError,
    env_file,
    find_loose_permissions,
    inspect_settings,
    read_env_file,
)
from monitoring.doctor.facts import Facts
from monitoring.doctor.findings import Finding, fail, ok, warn
from monitoring.status.caretaker_status import (
    PERIOD_SECONDS,
    is_missing,
    is_watched,
    load_caretaker_statuses,
)
from monitoring.status.daemon_status import describe_changed_settings, load_daemon_status
from monitoring.status.disk_space import count_free_bytes, existing_part
from runtime.crontab import (
    NO_CRON,
    START_CRON,
    CrontabError,
    Installation,
    compute_block,
    cron_runs,
    read_crontab,
    split_at_block,
)
from runtime.foreground import is_run_in_foreground
from runtime.heartbeat import load_heartbeat
from runtime.operator_flags import is_stopped
from runtime.systemd import lingers, timers_run, user_name
from runtime.unknown_settings import find_unknown_settings
from utils.backup_file import list_backups
from utils.formatting import span

MIN_FREE_BYTES, SCARCE_FREE_BYTES = 200_000_000, 1_000_000_000
MAX_BACKUP_SECONDS = 2 * 86_400.0
MAX_LOG_BYTES = 20_000_000  # the programs begin a new file at 5 MB
STANDARD_TAKER_PERCENT = Decimal("0.25")  # Alpaca's first tier; a lower rate needs volume


def check_settings(facts: Facts) -> list[Finding]:
    cure = f"edit {env_file().name}; .env.example explains every setting"
    found = [fail("settings", problem, cure) for problem in facts.problems]
    found = found or [ok("settings", "complete and readable")]
    if (percent := facts.settings.taker_fee_percent) < STANDARD_TAKER_PERCENT:
        text = "below Alpaca's standard rate: only right if your tier says so"
        cure = f"see your tier on Alpaca's page, or set TAKER_FEE_PERCENT={STANDARD_TAKER_PERCENT}"
        found.append(warn("fees", f"TAKER_FEE_PERCENT={percent} is {text}", cure))
    return found


def check_env_file(facts: Facts) -> list[Finding]:
    path = env_file()
    if not path.exists():
        text = f"there is no {path.name}, and cron's jobs have no other source of settings"
        return [warn(".env", text, "scripts/setup makes one; then fill it in")]
    quoted = shlex.quote(str(path))
    found = []
    if loose := find_loose_permissions():
        found.append(warn(".env", loose, f"chmod 600 {quoted}"))
    try:
        if path.stat().st_uid not in (os.geteuid(), 0):
            found.append(warn(".env", "it belongs to another user, who can change it"))
        written = read_env_file()
    except SettingsError:  # check_settings says why
        return found
    except OSError as error:
        return [*found, fail(".env", str(error), f"ls -l {quoted}")]
    found += [warn(".env", text, hint) for text, hint in find_unknown_settings()]
    _, alone = inspect_settings(written)
    for problem in alone:
        if problem not in facts.problems:
            text = f"this shell's environment makes up for it, cron will not: {problem}"
            found.append(warn(".env", text, f"put it into {path.name}"))
    return found or [ok(".env", "only its owner can read it")]


def check_packages(_facts: Facts) -> list[Finding]:
    path = PROJECT_ROOT / "requirements.txt"
    wrong = []
    for name, wanted in re.findall(r"^([\w.-]+)==([\w.]+)", path.read_text("utf-8"), re.MULTILINE):
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            installed = "nothing"
        if installed != wanted:
            wrong.append(f"{name} {installed} instead of {wanted}")
    if wrong:
        shown = ", ".join(wrong[:3]) + (" ..." if len(wrong) > 3 else "")
        text = f"{len(wrong)} differ from requirements.txt: {shown}"
        return [warn("packages", text, "scripts/setup")]
    return [ok("packages", "as requirements.txt names them")]


def check_daemon(facts: Facts) -> list[Finding]:
    daemon = load_daemon_status(facts.settings)
    found = []
    if daemon.is_paused:
        found.append(warn("pause", "buying is paused, sells go on", "scripts/bot resume"))
    if changed := describe_changed_settings(daemon.changed_settings):
        found.append(fail("daemon settings", changed, "scripts/bot restart"))
    if daemon.pid is None and daemon.verdict is Verdict.START:
        return [*found, warn("daemon", "it does not run", "scripts/bot start")]
    if daemon.problem is not None:
        cure = (
            "see logs/app.log" if daemon.is_held_back else "scripts/bot restart; see logs/app.log"
        )
        return [*found, fail("daemon", daemon.problem, cure)]
    if daemon.verdict is Verdict.STOPPED:
        return [*found, ok("daemon", "stopped on purpose (scripts/bot start starts it)")]
    beat = "none yet" if daemon.beat_seconds is None else f"{span(daemon.beat_seconds)} ago"
    stalled = daemon.verdict is Verdict.STALLED
    reason = "it runs, but something is held back (see below)" if stalled else daemon.reason
    text = f"{reason}; PID {daemon.pid}, up {span(daemon.uptime_seconds)}, heartbeat {beat}"
    return [*found, ok("daemon", text)]


def check_held_back(facts: Facts) -> list[Finding]:
    """What the daemon says of the assets that want to trade and cannot."""
    daemon = load_daemon_status(facts.settings)
    found = []
    for held in daemon.held_back:
        if held.symbol is None:  # check_daemon reports it
            continue
        if held.is_wrong:
            cure = held.cure or "see logs/app.log"
            found.append(fail(held.symbol, f"held back: {held.words}", cure))
        elif held.is_requested and not daemon.is_paused:
            found.append(warn(held.symbol, f"held back: {held.words}", held.cure))
    if not found and daemon.pid is not None:
        found.append(ok("held back", "no asset: each can trade at its price"))
    return found


def check_caretakers(facts: Facts) -> list[Finding]:
    found = []
    caretakers = load_caretaker_statuses(facts.settings, datetime.now(UTC))
    for one in caretakers:
        log = f"see logs/{one.script}.log and logs/cron.out"
        if one.age_seconds is None and not is_missing(one, caretakers):
            period = span(PERIOD_SECONDS[one.script])
            found.append(ok(one.script, f"has not run yet: it does every {period}"))
        elif one.age_seconds is None:
            found.append(warn(one.script, "it never ran here", "scripts/install_crontab install"))
        elif one.is_stale:
            text = f"stale: it last ran {span(one.age_seconds)} ago, and cron should run it often"
            found.append(fail(one.script, text, f"is cron running? {log}"))
        elif one.has_failed:
            found.append(fail(one.script, f"its last run failed: {one.why_failed}", log))
        else:
            found.append(ok(one.script, f"ran {span(one.age_seconds)} ago"))
    return found


def check_crontab(facts: Facts) -> list[Finding]:
    """Whether cron, systemd's timers or scripts/caretakers watch over the daemon."""
    install = "scripts/install_crontab install"
    if timers_run():
        found = [ok("systemd", "its timers run the caretakers")]
        if not lingers():
            text = "your units end when you log out, and do not start at a boot"
            cure = f"loginctl enable-linger {user_name()} (if it is refused: with sudo)"
            found.append(warn("systemd", text, cure))
        return found
    if is_run_in_foreground(facts.settings.run_dir):
        return [ok("caretakers", "scripts/caretakers run is at work")]
    try:
        crontab = read_crontab()
        before, after, is_installed = split_at_block(crontab, PROJECT_ROOT)
    except CrontabError as error:
        return [_unwatched(facts, str(error))]
    if not is_installed:
        return [_unwatched(facts, "no lines of this folder")]
    block = crontab[len(before) : len(crontab) - len(after)]
    if block not in _blocks(facts):
        text = "its lines are of another version, log folder or Python"
        return [warn("crontab", text, install)]
    if not cron_runs():
        return [fail("crontab", NO_CRON, START_CRON)]
    return [ok("crontab", "has the bot's lines, and cron runs")]


def _unwatched(facts: Facts, crontab: str) -> Finding:
    """An error once the bot is in use: it dies silently. Not while something that is not seen from
    here, a scheduler of the user's own, runs the watchdog.
    """
    settings = facts.settings
    is_used = load_heartbeat(settings.run_dir) is not None and not is_stopped(settings.run_dir)
    text = (
        f"{crontab}, no timers of systemd and no scripts/caretakers run:"
        " nobody watches the bot, nothing restarts it"
    )
    cure = "scripts/install_crontab install (or install --systemd, or scripts/caretakers run)"
    return (fail if is_used and not is_watched(settings) else warn)("crontab", text, cure)


def _blocks(facts: Facts) -> list[str]:
    """The lines as they should be, with and without the start of the private database."""
    log_dir = facts.settings.log_dir
    return [
        compute_block(Installation(log_dir=log_dir, starts_database=starts_database))
        for starts_database in (True, False)
    ]


def check_folders(facts: Facts) -> list[Finding]:
    settings = facts.settings
    return [
        _check_folder("log folder", settings.log_dir),
        _check_folder("run folder", settings.run_dir),
    ]


def _check_folder(subject: str, path: Path) -> Finding:
    cure = f"make it yours to write: {path}"
    existing = existing_part(path)
    if not existing.is_dir():
        return fail(subject, f"{existing} is no folder", cure)
    if not os.access(existing, os.W_OK | os.X_OK):
        return fail(subject, f"{existing} cannot be written", cure)
    if existing != path:
        return ok(subject, "does not exist yet: the first start makes it")
    foreign = [one.name for one in path.iterdir() if one.is_file() and not os.access(one, os.W_OK)]
    if foreign:
        text = f"{', '.join(sorted(foreign)[:3])} cannot be written: was something run as root?"
        return fail(subject, text, f"sudo chown -R $USER {shlex.quote(str(path))}")
    return ok(subject, "can be written")


def check_disk(facts: Facts) -> list[Finding]:
    free = count_free_bytes(facts.settings)
    if free < MIN_FREE_BYTES:
        text = f"{free / 1e6:.0f} MB free: soon the daemon cannot write its heartbeat and logs"
        return [fail("disk", text, "make room")]
    return [(warn if free < SCARCE_FREE_BYTES else ok)("disk", f"{free / 1e9:.1f} GB free")]


def check_backups(facts: Facts) -> list[Finding]:
    """Whether there is a backup of the last two nights, and it was made whole."""
    settings = facts.settings
    found = list_backups(settings.backup_dir, settings.db_name)
    nightly = "scripts/install_crontab install makes one each night"
    if timers_run() or is_run_in_foreground(settings.run_dir):
        nightly = "your caretakers make one each night"
    if not found:
        text = f"none of database {settings.db_name} in {settings.backup_dir}"
        return [warn("backup", text, f"scripts/database backup; {nightly}")]
    made_at, path = found[-1]
    age_seconds = (datetime.now(UTC) - made_at).total_seconds()
    text = f"the newest is {span(age_seconds)} old: {path}"
    if age_seconds > MAX_BACKUP_SECONDS:
        return [warn("backup", text, f"scripts/database backup; {nightly}")]
    return [ok("backup", text)]


def check_log_rotation(facts: Facts) -> list[Finding]:
    folder = facts.settings.log_dir
    if not os.path.isdir(folder):  # as above
        return [ok("log rotation", "no logs yet")]
    files = [path for path in folder.iterdir() if path.is_file()]
    total = sum(path.stat().st_size for path in files)
    long = [path.name for path in files if path.stat().st_size > MAX_LOG_BYTES]
    if long:
        text = f"{', '.join(sorted(long)[:3])} have grown too large"
        cure = "the daemon and the watchdog keep them short: do both run? If so, delete them"
        return [warn("log rotation", text, cure)]
    return [ok("log rotation", f"{len(files)} files, {total / 1e6:.1f} MB")]
