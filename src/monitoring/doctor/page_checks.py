"""The doctor's checks of the page: its settings, whether it is served, who can read its files."""

from __future__ import annotations

import stat

from monitoring.doctor.facts import Facts
from monitoring.doctor.findings import Finding, fail, ok, warn
from monitoring.status.caretaker_status import is_watched
from monitoring.status.page_status import load_page_status
from utils.formatting import counted


def check_page(facts: Facts) -> list[Finding]:
    settings = facts.settings
    if any(problem.startswith("WEB") for problem in facts.problems):
        return [warn("page", "not checked: its settings are wrong (see settings)")]
    if not facts.are_settings_known or not settings.web:
        return [ok("page", "off: WEB is not on")]
    return [_check_process(facts), *_check_files(facts)]


def _check_process(facts: Facts) -> Finding:
    status = load_page_status(facts.settings)
    assert status is not None, "it is on"
    if status.pid is None:
        if is_watched(facts.settings):
            cure = "wait a minute: the watchdog starts it (logs/watchdog.log, logs/web.out)"
        else:
            cure = "let the watchdog run (see crontab); or, in the foreground: scripts/web"
        return fail("page", "nothing serves it", cure)
    if status.problem is not None:
        return fail("page", status.problem, "see logs/web.log")
    seen = counted(status.viewers, "viewer")
    text = f"PID {status.pid} serves it at {status.address} to {seen}"
    return ok("page", text, "scripts/web link prints the link that opens it")


def _check_files(facts: Facts) -> list[Finding]:
    """Whoever can read them can steer the bot."""
    loose = [
        path.name
        for path in sorted(facts.settings.run_dir.glob("web_*.json"))
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    ]
    if facts.settings.web_tls_key is not None:
        try:
            mode = facts.settings.web_tls_key.stat().st_mode
        except OSError as error:
            return [fail("page", f"WEB_TLS_KEY cannot be read: {error.strerror}")]
        loose += ["WEB_TLS_KEY"] * bool(mode & stat.S_IRWXO)
    cure = "chmod 600, then scripts/web new-token"
    return [warn("page", f"others can read {', '.join(loose)}", cure)] if loose else []
