"""Alerts to the services of ALERT_URLS: on local servers that speak as theirs do, and that fail."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from alert_services import NAMES, SECRETS, AlertServices, url_of
from config import PROJECT_ROOT, Settings, Topic, load_settings
from daemon_process import wait_until
from mail_server import MailServer, hanging_server, mail_environment
from utils.alert_outbox import HOUR_SECONDS, LEASE_SECONDS, MAX_RETRY_SECONDS, changed, load_outbox
from utils.alert_services import Service, find_service_trouble, services_of
from utils.apprise_process import UNKNOWN, UNUSABLE
from utils.log_events import LogEvent, log_event
from utils.logging_setup import setup_logging
from utils.notifications import AlertHandler, list_channels

log = logging.getLogger("tests.alert_services")
REFUSED = "order.refused symbol=BTC/USD"


@pytest.fixture
def services(monkeypatch) -> Iterator[AlertServices]:
    with AlertServices() as running:
        for name, text in running.environment().items():
            monkeypatch.setenv(name, text)
        yield running
        assert running.malformed == [], "what their documents do not describe"


@pytest.fixture
def settings_of(tmp_path: Path, services: AlertServices) -> Callable[..., Settings]:
    """Settings with these services (and no mail, unless it is given)."""

    def make(*names: str, **changes: str) -> Settings:
        no_mail = {"SMTP_HOST": "", "ALERT_FROM": "", "ALERT_TO": ""}
        urls = {"ALERT_URLS": services.url(*names)}
        return load_settings(mail_environment(tmp_path, 25) | no_mail | urls | changes)

    return make


@pytest.fixture
def handler_of() -> Iterator[Callable[[Settings], AlertHandler]]:
    """A handler of the root logger, as a process has it; closing it ends that process's part."""
    root, made = logging.getLogger(), []

    def make(settings: Settings, **options: float) -> AlertHandler:
        handler = AlertHandler(settings, **{"group_seconds": 0, "exit_seconds": 30} | options)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        root.addHandler(handler)
        made.append(handler)
        return handler

    yield make
    for handler in made:
        root.removeHandler(handler)
        handler.close()


def outboxes_of(settings: Settings) -> dict[str, str]:
    """The file of each service's errors, by the service's name in the tests' server."""
    files = [one.outbox_name for one in list_channels(settings) if not one.is_of_news]
    schemes = [service.url.partition(":")[0] for service in services_of(settings)]
    return dict(zip(schemes, files, strict=True))


def waiting_in(settings: Settings) -> dict[str, list[str]]:
    return {
        scheme: [line.split()[-2] for line in load_outbox(settings.run_dir, file).waiting]
        for scheme, file in outboxes_of(settings).items()
    }


def let_time_pass(settings: Settings) -> None:
    """Until the next try of every service."""
    for file in outboxes_of(settings).values():
        with changed(settings.run_dir, file) as outbox:
            outbox.retry_at = 0.0


def test_an_alert_reaches_every_service_and_the_mailbox(
    services, settings_of, handler_of, tmp_path
):
    with MailServer("plain") as server:
        mail = {name: mail_environment(tmp_path, server.port)[name] for name in MAIL_SETTINGS}
        handler = handler_of(settings_of(*NAMES, **mail))
        log_event(
            log, LogEvent.ORDER_REFUSED, level=logging.ERROR, symbol="BTC/USD", reason="<a&b>"
        )
        handler.close()
        assert server.subjects == ["[DCA bot, paper] BTC/USD order.refused"]
    for name in NAMES:
        [text] = services.taken[name]
        assert "[DCA bot, paper] BTC/USD order.refused" in text, name
        assert re.search("reason=.*(<a&b>|&lt;a&amp;b&gt;)", text), name


MAIL_SETTINGS = ("SMTP_HOST", "SMTP_PORT", "SMTP_SECURITY", "ALERT_FROM", "ALERT_TO")


@pytest.mark.parametrize("state", ["failing", "refusing", "dropping"])
def test_a_service_that_is_out_gets_it_later_once_and_the_others_once_at_once(
    services, settings_of, handler_of, state
):
    settings = settings_of("telegram", "ntfy", "discord")
    services.state["telegram"] = state
    first = handler_of(settings)
    log.error("order.refused symbol=BTC/USD")
    first.close()
    assert [len(services.taken[name]) for name in ("telegram", "ntfy", "discord")] == [0, 1, 1]
    assert waiting_in(settings) == {"tgram": ["order.refused"], "ntfy": [], "discord": []}
    handler_of(settings).close()
    assert services.asked["telegram"] == 1, "not again before its time"
    services.state["telegram"] = "well"
    let_time_pass(settings)
    handler_of(settings).close()
    handler_of(settings).close()
    assert [len(services.taken[name]) for name in ("telegram", "ntfy", "discord")] == [1, 1, 1]
    assert waiting_in(settings) == {"tgram": [], "ntfy": [], "discord": []}


def test_a_service_that_hangs_delays_no_other_and_no_exit_beyond_its_bound(
    services, settings_of, handler_of
):
    settings = settings_of("slack", "json", "ntfy")
    services.state["slack"] = services.state["json"] = "hanging"
    handler = handler_of(settings, exit_seconds=2)
    log.error(REFUSED)
    wait_until(lambda: services.taken["ntfy"], what="the message to the service that is well")
    wait_until(lambda: services.asked["slack"] and services.asked["json"], what="both to hang")
    for sender in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # that of the service that is well ends just now
            seen = f"{sender.cmdline()} {sender.environ()}"  # what other programs can read
            assert not [secret for secret in SECRETS if secret in seen]
    began_at = time.monotonic()
    handler.close()
    assert time.monotonic() - began_at < 4, "the bound of one service, not of each"
    assert (services.taken["slack"], services.taken["json"]) == ([], [])


def test_a_mail_server_that_hangs_delays_no_service(services, settings_of, handler_of, tmp_path):
    with hanging_server() as port:
        mail = {name: mail_environment(tmp_path, port)[name] for name in MAIL_SETTINGS}
        handler = handler_of(settings_of("ntfy", **mail), exit_seconds=0)
        log.error(REFUSED)
        wait_until(lambda: services.taken["ntfy"], what="the message")
        handler.close()


@pytest.mark.parametrize("name", ["telegram", "discord", "slack"])
def test_a_service_that_says_when_to_come_again_is_left_alone_so_long(
    services, settings_of, handler_of, name
):
    settings = settings_of(name)
    services.state[name] = "refusing"
    handler = handler_of(settings)
    log.error(REFUSED)
    handler.close()
    [file] = outboxes_of(settings).values()
    assert 690 < load_outbox(settings.run_dir, file).retry_at - time.time() <= 700


def test_a_service_that_stays_away_is_tried_ever_more_seldom(tmp_path):
    waits, now = [], 1_000_000.0
    with changed(tmp_path) as outbox:
        for _ in range(6):
            outbox.failed(now)
            waits.append(outbox.retry_at - now)
        assert waits == [60, 120, 240, 480, MAX_RETRY_SECONDS, MAX_RETRY_SECONDS]
        outbox.failed(now, retry_after_seconds=10 * HOUR_SECONDS)
        assert outbox.retry_at == now + HOUR_SECONDS, "an answer without sense"
        outbox.mailed(outbox.lease(now), now)
        outbox.failed(now)
        assert outbox.retry_at == now + 60


SCRIPT = """
import logging, sys
from config import get_settings
from utils.logging_setup import setup_logging
setup_logging(get_settings(), "order_manager", console=False)
for line in sys.argv[1:]:
    logging.getLogger("script").error(line)
logging.shutdown()
print("apprise" in sys.modules)
"""


def environment_of(services: AlertServices, folder: Path, *names: str) -> dict[str, str]:
    no_mail = {"SMTP_HOST": "", "ALERT_FROM": "", "ALERT_TO": ""}
    environment = mail_environment(folder, 25) | no_mail | services.environment()
    environment["ALERT_URLS"] = services.url(*names)
    environment["PYTHONPATH"] += f":{PROJECT_ROOT / 'src'}"
    return {**os.environ, **environment}


def start_script(environment: dict[str, str], *lines: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *lines],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_script_that_sends_an_alert_does_not_load_apprise_itself(services, tmp_path):
    environment = environment_of(services, tmp_path, "ntfy")
    assert start_script(environment).communicate(timeout=60)[0].strip() == "False"
    assert start_script(environment, REFUSED).communicate(timeout=60)[0].strip() == "False"
    assert len(services.taken["ntfy"]) == 1


def test_a_message_whose_process_was_killed_while_the_service_took_it_is_not_sent_again(
    services, tmp_path
):
    environment = environment_of(services, tmp_path, "ntfy", "json")
    settings = load_settings(environment)
    services.state["ntfy"] = services.state["json"] = "hanging"  # and then it answers
    process = start_script(environment, REFUSED)
    wait_until(lambda: services.asked["ntfy"] and services.asked["json"], what="both asked")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    services.state["ntfy"] = services.state["json"] = "well"
    services.released.set()
    wait_until(lambda: not any(waiting_in(settings).values()), what="both noted")
    let_time_pass(settings)
    start_script(environment).communicate(timeout=60)
    assert {name: len(services.taken[name]) for name in ("ntfy", "json")} == {"ntfy": 1, "json": 1}


def test_a_message_whose_every_process_was_killed_before_the_answer_is_sent_later_to_that_service(
    services, tmp_path
):
    environment = environment_of(services, tmp_path, "ntfy", "json")
    settings = load_settings(environment)
    services.state["ntfy"] = "hanging"
    process = start_script(environment, REFUSED)
    wait_until(
        lambda: services.asked["ntfy"] and not waiting_in(settings)["json"],
        what="one confirmed, one asked",
    )
    senders = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    for sender in senders:
        sender.kill()
    services.state["ntfy"] = "well"
    start_script(environment).communicate(timeout=60)
    assert services.taken["ntfy"] == [], "nobody knows yet that its sender is dead"
    file = outboxes_of(settings)["ntfy"]
    with changed(settings.run_dir, file) as outbox:
        assert 0 < outbox.retry_at - time.time() <= LEASE_SECONDS
        outbox.retry_at = 0.0
    start_script(environment).communicate(timeout=60)
    assert {name: len(services.taken[name]) for name in ("ntfy", "json")} == {"ntfy": 1, "json": 1}


def test_what_does_not_fit_into_one_message_comes_in_the_next_whole_and_once(
    services, settings_of, handler_of
):
    settings = settings_of("discord", "telegram", ALERT_MAILS_PER_HOUR="1000")
    lines = [f"{number:03} " + "<&_*>" * 120 for number in range(12)]
    services.state["discord"] = services.state["telegram"] = "failing"
    handler = handler_of(settings, exit_seconds=20)
    for line in lines:
        log.error(line)
    handler.close()
    services.state["discord"] = services.state["telegram"] = "well"
    let_time_pass(settings)
    handler_of(settings, exit_seconds=60).close()
    for name in ("discord", "telegram"):
        assert len(services.taken[name]) > 1
        said = re.findall(r"ERROR tests\S+ (\d{3}) ", "\n".join(services.taken[name]))
        assert said == [line[:3] for line in lines], name


def test_no_secret_is_logged_whatever_fails(services, settings_of, handler_of, caplog, tmp_path):
    settings = settings_of("telegram", "discord", "slack", "ntfy", "json")
    for name, state in zip(NAMES, ["refusing", "failing", "dropping"] * 2, strict=False):
        services.state[name] = state
    setup_logging(settings, "app", console=False)
    try:
        for courier in handlers_couriers():
            courier.group_seconds = 0
        log.error(f"a library says ConnectionError: https://api.telegram.org/bot{SECRETS[0]}/x")
        logging.getLogger().handlers[-1].close()
    finally:
        for one in logging.getLogger().handlers[:]:
            logging.getLogger().removeHandler(one)
            one.close()
    written = (settings.log_dir / "app.log").read_text() + caplog.text
    written += "".join(file.read_text() for file in settings.run_dir.glob("*.json"))
    assert written.count("alert.unsent") >= 5
    assert 'service="tgram (number 1 of ALERT_URLS)" reason="refused: HTTP 429"' in written
    assert 'service="discord (number 2 of ALERT_URLS)" reason="refused: HTTP 500"' in written
    assert 'service="slack (number 3 of ALERT_URLS)" reason="no answer: ConnectionError"' in written
    for secret in SECRETS:
        assert secret not in written
        assert secret not in repr(settings) + repr(services_of(settings))


def handlers_couriers():
    [handler] = [one for one in logging.getLogger().handlers if isinstance(one, AlertHandler)]
    return handler.couriers


@pytest.mark.parametrize(
    ("url", "trouble"),
    [
        ("ntfy://my-alerts", None),
        ("TGRAM://123456789:AAtelegram-Token_of-this-bot-0123456/12315544/", None),
        ("tgram://my-secret-word", UNUSABLE),
        ("tgrm://my-secret-word/1", UNKNOWN),
        ("discord://my-secret-word", UNUSABLE),
    ],
)
def test_an_address_that_apprise_cannot_use_is_found_without_sending(url, trouble):
    assert find_service_trouble(Service(number=1, url=url)) == trouble


def test_an_address_that_apprise_cannot_use_stops_no_other(
    services, settings_of, handler_of, caplog
):
    settings = settings_of(ALERT_URLS=f"tgrm://my-secret-word/1, {url_of('ntfy', services.port)}")
    handler = handler_of(settings)
    log.error(REFUSED)
    handler.close()
    assert len(services.taken["ntfy"]) == 1
    assert 'service="tgrm (number 1 of ALERT_URLS)" reason="Apprise knows no service' in caplog.text
    assert "my-secret" not in caplog.text


def test_news_is_sent_where_alert_on_names_it_and_uses_up_no_message_of_the_errors(
    services, settings_of, handler_of
):
    settings = settings_of("ntfy", ALERT_ON="errors,sales", ALERT_MAILS_PER_HOUR="1")
    handler = handler_of(settings)
    for topic in (Topic.SALES, Topic.BUYS):
        words = f"BTC/USD: {topic}"
        log_event(log, LogEvent.CYCLE_CHANGED, level=logging.ERROR - 1, topic=topic, words=words)
    wait_until(lambda: services.taken["ntfy"], what="the news")
    log.error(REFUSED)
    handler.close()
    news, error = services.taken["ntfy"]
    assert re.match(r"\[DCA bot, paper\] BTC/USD: sales\n\d{4}-.* BTC/USD: sales", news)
    assert "order.refused" in error
    assert "buys" not in news + error


def test_news_is_sent_although_the_log_is_told_to_say_less(services, settings_of):
    settings = settings_of("ntfy", ALERT_ON="sales", LOG_LEVEL="ERROR")
    root = logging.getLogger()
    before, level, root.handlers = root.handlers[:], root.level, []
    setup_logging(settings, "app", console=False)
    log_event(log, LogEvent.CYCLE_CHANGED, topic=Topic.SALES, words="BTC/USD: sold")
    log.error(REFUSED)  # ALERT_ON does not name it
    for handler in root.handlers:
        handler.close()
    root.handlers = before
    root.setLevel(level)
    [news] = services.taken["ntfy"]
    assert "BTC/USD: sold" in news
    assert "cycle.changed" not in (settings.log_dir / "app.log").read_text()


def test_the_same_alert_comes_once_to_each_service_and_a_new_service_gets_only_what_is_new(
    services, settings_of, handler_of
):
    handler = handler_of(settings_of("ntfy"))
    log.error(REFUSED)
    log.error(REFUSED)
    handler.close()
    logging.getLogger().removeHandler(handler)
    handler = handler_of(settings_of("json", "ntfy"))
    log.error(REFUSED)
    handler.close()
    assert (len(services.taken["ntfy"]), len(services.taken["json"])) == (1, 1)


def test_without_a_process_to_send_with_it_is_kept(
    services, settings_of, handler_of, monkeypatch, caplog
):
    settings = settings_of("ntfy")
    monkeypatch.setattr("utils.alert_services._COMMAND", (sys.executable, "-c", "import nothing_9"))
    handler = handler_of(settings)
    log.error(REFUSED)
    handler.close()
    assert waiting_in(settings) == {"ntfy": ["order.refused"]}
    assert "is Apprise installed?" in caplog.text
