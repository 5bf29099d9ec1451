"""The doctor's checks of alerts: mail, and the watcher outside this machine."""

from __future__ import annotations

from caretakers.watchdog import find_ping_trouble, load_memory
from monitoring.doctor.facts import Facts
from monitoring.doctor.findings import Finding, fail, ok, warn
from utils.alert_outbox import load_outbox
from utils.notifications import find_mail_trouble, send_mail


def check_mail(facts: Facts) -> list[Finding]:
    settings = facts.settings
    if any(problem.startswith(("SMTP_", "ALERT_", "mail")) for problem in facts.problems):
        return [warn("mail", "not checked: its settings are wrong (see settings)")]
    if not settings.smtp_host:
        text = "not set up: failures are only logged"
        return [warn("mail", text, "set SMTP_HOST, ALERT_FROM and ALERT_TO in .env")]
    if trouble := find_mail_trouble(settings):
        cure = "check SMTP_* in .env"
        return [fail("mail", f"{settings.smtp_host} takes no mail: {trouble}", cure)]
    found = [
        ok("mail", f"{settings.smtp_host} answers; nothing was sent (--mail sends a test mail)")
    ]
    if settings.alert_mails_per_hour == 0:
        found.append(warn("mail", "ALERT_MAILS_PER_HOUR=0: nothing is ever mailed"))
    if waiting := len(load_outbox(settings.run_dir).waiting):
        found.append(warn("mail", f"{waiting} alerts wait to be mailed"))
    return found


def send_test_mail(facts: Facts) -> list[Finding]:
    settings = facts.settings
    money = "LIVE" if settings.is_live else "paper"
    body = "scripts/doctor --mail sent this: alerts of the bot reach you.\n"
    if settings.smtp_host and send_mail(settings, f"[DCA bot, {money}] test mail", body):
        return [ok("test mail", f"sent to {settings.alert_to}: is it there?")]
    return [fail("test mail", "it could not be sent (see mail)")]


def check_watcher(facts: Facts) -> list[Finding]:
    if any(problem.startswith("HEARTBEAT_URL") for problem in facts.problems):
        return [warn("watcher", "not checked: its settings are wrong (see settings)")]
    if url := facts.settings.heartbeat_url:
        # Not by a ping of our own: that would report a dead bot as alive.
        if trouble := load_memory(facts.settings).ping_trouble or find_ping_trouble(url):
            cure = "check HEARTBEAT_URL in .env, and the network; until then nobody is alarmed"
            return [fail("watcher", f"HEARTBEAT_URL does not answer: {trouble}", cure)]
        text = "the server of HEARTBEAT_URL answers; the watchdog pings it while all is well"
        return [ok("watcher", text)]
    text = "no outside service notices when this machine is down"
    return [warn("watcher", text, "set HEARTBEAT_URL in .env (healthchecks.io and the like)")]
