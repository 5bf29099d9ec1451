"""The doctor's checks of alerts: mail, the services of ALERT_URLS, and the watcher outside this
machine.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TypeVar

from caretakers.watchdog import find_ping_trouble, load_memory
from config import Topic
from monitoring.doctor.facts import Facts
from monitoring.doctor.findings import Finding, fail, ok, warn
from utils.alert_outbox import Batch, load_outbox
from utils.alert_services import Service, find_service_trouble, send_to_service, services_of
from utils.formatting import counted, day_and_clock, describe_money
from utils.notifications import find_mail_trouble, list_channels, send_mail

T = TypeVar("T")


def _are_settings_wrong(facts: Facts) -> bool:
    return any(problem.startswith(("SMTP_", "ALERT_", "mail")) for problem in facts.problems)


def check_mail(facts: Facts) -> list[Finding]:
    settings = facts.settings
    if _are_settings_wrong(facts):
        return [warn("mail", "not checked: its settings are wrong (see settings)")]
    if not settings.smtp_host:
        if settings.alert_urls:
            return [ok("mail", "not set up: alerts go to ALERT_URLS")]
        text = "not set up, nor is ALERT_URLS: failures are only logged"
        return [
            warn("mail", text, "set ALERT_URLS, or SMTP_HOST, ALERT_FROM and ALERT_TO, in .env")
        ]
    if trouble := find_mail_trouble(settings):
        cure = "check SMTP_* in .env"
        return [fail("mail", f"{settings.smtp_host} takes no mail: {trouble}", cure)]
    text = f"{settings.smtp_host} answers; nothing was sent (--send-test sends a test mail)"
    found = [ok("mail", text)]
    if settings.alert_mails_per_hour == 0:
        found.append(warn("mail", "ALERT_MAILS_PER_HOUR=0: nothing is ever mailed"))
    if waiting := len(load_outbox(settings.run_dir).waiting):
        found.append(warn("mail", f"{waiting} alerts wait to be mailed"))
    return found


def check_services(facts: Facts) -> list[Finding]:
    settings = facts.settings
    if _are_settings_wrong(facts):
        return [warn("alerts", "not checked: its settings are wrong (see settings)")]
    services = services_of(settings)
    found = []
    if not services:
        others = "alerts go by mail alone" if settings.smtp_host else "see mail"
        found.append(ok("alerts", f"ALERT_URLS is not set: {others}"))
    for service, trouble in _of_each(services, find_service_trouble):
        if trouble is None:
            text = f"{service.name} is an address that Apprise can use; nothing was sent"
            found.append(ok("alerts", f"{text} (--send-test sends a test message)"))
        else:
            found.append(fail("alerts", f"{service.name}: {trouble}", "check ALERT_URLS in .env"))
    if services and settings.alert_mails_per_hour == 0:
        found.append(warn("alerts", "ALERT_MAILS_PER_HOUR=0: nothing is ever sent"))
    if Topic.ERRORS not in settings.alert_on and (services or settings.smtp_host):
        text = "ALERT_ON is without errors: failures are only logged"
        found.append(warn("alerts", text, "add errors to ALERT_ON in .env"))
    for channel in list_channels(settings) if services else []:
        if channel.name != "mail" and (
            waiting := load_outbox(settings.run_dir, channel.outbox_name).waiting
        ):
            text = f"{counted(len(waiting), 'alert')} for {channel.name} not sent yet"
            found.append(warn("alerts", text))
    return found


def send_test_mail(facts: Facts) -> list[Finding]:
    settings = facts.settings
    if not settings.smtp_host and settings.alert_urls:
        return []
    body = "scripts/doctor --send-test sent this: alerts of the bot reach you.\n"
    subject = f"[DCA bot, {describe_money(settings)}] test mail"
    if settings.smtp_host and send_mail(settings, subject, body):
        return [ok("test mail", f"sent to {settings.alert_to}: is it there?")]
    return [fail("test mail", "it could not be sent (see mail)")]


def send_test_messages(facts: Facts) -> list[Finding]:
    """One to each service of ALERT_URLS, at the same time; what each answered."""
    words = "Test message: alerts of the bot reach you (scripts/doctor --send-test)"
    batch = Batch(lines=[f"{day_and_clock(datetime.now(UTC))} {words}"], held_back=0)
    money = describe_money(facts.settings)
    found = []
    for service, outcome in _of_each(
        services_of(facts.settings), lambda one: send_to_service(one, batch, money=money)
    ):
        if outcome.reason is None:
            found.append(ok("test message", f"{service.name} took it: is it there?"))
        else:
            text = f"{service.name} did not take it: {outcome.reason}"
            found.append(fail("test message", text, "check ALERT_URLS in .env, and the network"))
    return found


def _of_each(services: list[Service], work: Callable[[Service], T]) -> list[tuple[Service, T]]:
    with ThreadPoolExecutor(max_workers=max(1, len(services))) as pool:
        return list(zip(services, pool.map(work, services), strict=True))


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
