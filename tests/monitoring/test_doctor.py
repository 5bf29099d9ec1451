"""What the doctor finds: each fault made on purpose, with the real part; no check hides another."""

from __future__ import annotations

import os
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from alert_services import SECRETS, AlertServices
from canned_server import Answer, canned_server
from caretaker_runs import note_runs
from config import PROJECT_ROOT, get_settings
from mail_server import MailServer, hanging_server
from models.asset_config import update_asset_config
from models.cycle_data import create_cycle, update_cycle
from models.meta import put_meta
from monitoring.doctor import doctor as doctor_module
from monitoring.doctor import facts as doctor_facts
from monitoring.doctor.database_checks import parse_version
from monitoring.doctor.doctor import CHECKS, Check
from monitoring.doctor.exchange_checks import cure_of_wrong_keys
from monitoring.doctor.findings import Level
from runtime.account_lock import AccountLock
from runtime.crontab import Installation, compute_block
from runtime.daemon_process import project_python
from runtime.foreground import alone
from runtime.heartbeat import Heartbeat, save_heartbeat
from runtime.operator_flags import STOPPED, set_flag
from utils.alpaca_client_rest import get_trading_client
from utils.alpaca_queries import fetch_account_id
from utils.apprise_process import UNKNOWN
from utils.db_utils import execute_query

OK, WARN, FAIL = Level.OK, Level.WARN, Level.FAIL
LAST_BEAT = Heartbeat(
    pid=1,
    boot_id="of an earlier boot",
    beat_at=0.0,
    started_at=0.0,
    state="trading",
    reason=None,
    data_stream_connected=True,
    trade_stream_connected=True,
    data_stream_lost_at=None,
    trade_stream_lost_at=None,
    last_quote_at=None,
    last_update_at=None,
    last_sweep_at=None,
    symbols=[],
)
FAKE_CRONTAB = '#!/bin/sh\ncat "$FAKE_CRONTAB_FILE"\n'


@pytest.fixture
def well(env_file, cycle, caretakers_ran, monkeypatch, tmp_path):
    """Everything is set up; only the daemon has not been started. The crontab is a file."""
    program = tmp_path / "bin" / "crontab"
    program.parent.mkdir()
    program.write_text(FAKE_CRONTAB)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    crontab = tmp_path / "crontab.txt"
    crontab.write_text("# nothing\n")
    monkeypatch.setenv("FAKE_CRONTAB_FILE", str(crontab))
    return crontab


def tree_of(folder: Path) -> dict[str, int]:
    """Every file but the counts and the limit of what this account asks the exchange."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): path.stat().st_mtime_ns for path in files if "request" not in path.name}


def test_a_bot_that_is_set_up_fails_nothing_and_nothing_is_changed(
    doctor, well, db_conn, exchange, tmp_path
):
    def tables():
        names = ("dca_assets", "dca_cycles", "dca_orders", "dca_events", "dca_meta")
        return [
            execute_query(f"SELECT * FROM {name}", fetch_all=True, db_conn=db_conn)
            for name in names
        ]

    before, files = tables(), tree_of(tmp_path)
    seen = doctor()
    assert (seen.code, seen.failed) == (0, set())
    assert (tables(), tree_of(tmp_path)) == (before, files)
    requests = exchange.server.trading_api.request_counts
    assert all(request.startswith("GET ") for request in requests)
    [(level, text)] = seen.found("money")
    assert level is OK
    assert "play money" in text
    assert seen.found("BTC/USD")[0][0] is OK
    assert "the account has 100,000.00 USD" in seen.found("capital")[0][1]
    assert seen.found("quote stream") == [(OK, "reachable, the keys are taken -> None")]
    assert seen.found("trade stream") == [(OK, "reachable, the keys are taken -> None")]
    subjects = {one["subject"] for one in seen.json["findings"]}
    # Their lines bear the single names.
    grouped = {"assets", "folders", "caretakers", "held back"}
    silent = {"dump guard"}  # while its setting is empty
    assert {check.subject for check in CHECKS} - subjects == grouped | silent


def test_wrong_keys_fail_once_and_hide_nothing_of_the_database(doctor, well, set_env):
    set_env(ALPACA_SECRET_KEY="wrong-secret-value")
    seen = doctor()
    assert seen.code == 1
    assert seen.failed == {"account"}
    assert "Alpaca refused the keys" in seen.found("account")[0][1]
    assert "that the local exchange was started with" in seen.found("account")[0][1]
    assert "Alpaca's page" not in seen.found("account")[0][1]
    assert seen.found("clock")[0][0] is WARN
    assert seen.found("clock")[0][1].startswith("not checked: the exchange refuses the keys")
    assert seen.found("schema")[0][0] is OK


def test_new_keys_are_made_where_the_account_is(bot_environment):
    local = get_settings()
    paper = replace(local, alpaca_trading_url=None)
    assert "make new paper keys on Alpaca's page" in cure_of_wrong_keys(paper)
    live = replace(paper, alpaca_paper=False)
    assert "make new live keys on Alpaca's page" in cure_of_wrong_keys(live)


def test_no_database_fails_once_and_hides_nothing_of_the_exchange(doctor, well, set_env):
    set_env(DB_SOCKET="", DB_PORT="9")
    seen = doctor()
    assert (seen.code, seen.failed) == (1, {"database"})
    assert "scripts/database start" in seen.found("database")[0][1]
    assert "run scripts/doctor" not in seen.found("database")[0][1], "this is the doctor"
    assert seen.found("account")[0][0] is OK
    assert seen.found("clock")[0][0] is OK
    assert seen.found("second daemon")[0][1].startswith("not checked: the database gave no answer")


@pytest.mark.parametrize(
    ("name", "cure"),
    [("DB_NAME", "DB_NAME"), ("DB_PASSWORD", "DB_USER and DB_PASSWORD")],
)
def test_a_database_that_refuses_is_not_to_be_started(doctor, well, set_env, name, cure):
    set_env(**{name: "wrong_test"})
    [(_, line)] = doctor().found("database")
    assert line.endswith(f" -> correct {cure} in .env")
    assert line.count("correct") == 1


def test_a_missing_migration_says_what_to_run(doctor, well, db_conn):
    put_meta(db_conn, "schema_version", "0")
    seen = doctor()
    assert seen.failed == {"schema"}
    [(_, text)] = seen.found("schema")
    assert "schema version 0" in text
    assert text.endswith("-> scripts/setup") or "scripts/" in text.rpartition("->")[2]


def test_a_database_without_tables_says_what_to_run(doctor, exchange, env_file):
    seen = doctor()
    assert seen.failed == {"schema"}
    assert "no tables of the bot yet" in seen.found("schema")[0][1]


def test_a_database_of_another_account_fails(doctor, well, db_conn):
    put_meta(db_conn, "alpaca_account_id", "another-account")
    seen = doctor()
    assert seen.failed == {"account binding"}
    assert "the database is of account another-account" in seen.found("account binding")[0][1]


def test_loose_permissions_warn_with_the_chmod(doctor, well, env_file):
    env_file.chmod(0o644)
    seen = doctor()
    assert seen.code == 0
    text = f"everybody on this machine can read bot.env, where the keys are -> chmod 600 {env_file}"
    assert seen.found(".env") == [(WARN, text)]
    env_file.chmod(0o620)
    assert "its group can change bot.env" in doctor().found(".env")[0][1]


def test_a_misspelt_name_and_what_cron_would_miss_are_warned_of(doctor, well, env_file):
    text = env_file.read_text().replace("DB_NAME=", "#DB_NAME=") + "MAX_BUY_USD_DAY=100\n"
    env_file.write_text(text)
    seen = doctor()
    assert seen.code == 0
    words = "\n".join(text for _, text in seen.found(".env"))
    assert "MAX_BUY_USD_DAY is no setting of this bot" in words
    assert "did you mean MAX_BUY_USD_PER_DAY?" in words
    assert "cron will not: DB_NAME is missing" in words


def test_every_wrong_setting_is_named_and_what_is_right_is_checked_still(doctor, well, set_env):
    set_env(DB_PORT="x", RECONCILE_SECONDS="soon")
    seen = doctor()
    assert seen.code == 1
    assert [text.split(":")[0] for _, text in seen.found("settings")] == [
        "DB_PORT",
        "RECONCILE_SECONDS",
    ]
    assert seen.found("account")[0][0] is OK
    assert "see settings" in seen.found("database")[0][1]


@pytest.mark.parametrize(("percent", "is_warned"), [("0.25", False), ("0.18", True)])
def test_a_taker_fee_below_the_standard_rate_is_warned_of(
    doctor, well, set_env, percent, is_warned
):
    set_env(TAKER_FEE_PERCENT=percent)
    seen = doctor()
    assert seen.code == 0
    found = seen.found("fees")
    assert [level for level, _ in found] == [WARN] * is_warned
    assert (
        "below Alpaca's standard rate: only right if your tier says so" in str(found)
    ) is is_warned


def test_an_unreadable_env_file_is_reported(doctor, well, env_file):
    env_file.write_bytes(b"DB_NAME=\xff\xfe\n")
    assert "cannot read bot.env" in str(doctor().found("settings"))


def test_a_file_that_is_no_settings_leaves_the_money_unknown(doctor, well, env_file):
    env_file.write_text(env_file.read_text() + "ALPACA_PAPER=false\nthis is no setting\n")
    seen = doctor()
    [(level, text)] = seen.found("settings")
    assert level is FAIL
    assert "that is no setting" in text
    assert "is missing" not in text, "it may well be there"
    assert seen.failed == {"settings"}
    [(level, text)] = seen.found("money")
    assert level is WARN
    assert text.startswith("not checked")
    assert seen.found(".env") == []
    assert "see settings" in seen.found("database")[0][1]


@pytest.mark.parametrize(
    ("off_seconds", "level", "words"),
    [(0.5, OK, "agrees"), (5, WARN, "s off"), (-60, FAIL, "every quote seems too old")],
)
def test_the_clock_is_held_against_the_exchanges(doctor, well, exchange, off_seconds, level, words):
    exchange.arm("skew_clock", seconds=off_seconds)
    [(found, text)] = doctor().found("clock")
    assert found is level
    assert words in text


def test_streams_that_refuse_are_told_apart_from_those_that_others_hold(doctor, well, exchange):
    exchange.arm("refuse_auth", code=409, match={"stream": "data"})
    exchange.arm("refuse_auth", match={"stream": "trading"})
    seen = doctor()
    assert seen.failed == {"quote stream", "trade stream"}
    assert "insufficient subscription (code 409)" in seen.found("quote stream")[0][1]
    exchange.clear_faults()
    exchange.arm("refuse_auth", code=406, match={"stream": "data"})
    exchange.arm("refuse_handshake", status=429, match={"stream": "trading"})
    seen = doctor()
    assert seen.failed == set()
    for name in ("quote stream", "trade stream"):
        [(level, text)] = seen.found(name)
        assert level is WARN
        assert "another program holds the account's only connection" in text


def test_a_stream_that_never_answers_is_bounded(doctor, well, exchange, monkeypatch):
    monkeypatch.setattr("monitoring.doctor.stream_probe.STEP_SECONDS", 0.5)
    exchange.arm("stall_stream", match={"stream": "data"})
    with hanging_server() as port:
        monkeypatch.setenv("ALPACA_DATA_STREAM_URL", f"ws://127.0.0.1:{port}/data")
        seen = doctor()
    [(level, text)] = seen.found("quote stream")
    assert level is FAIL
    assert "no answer within" in text
    assert seen.seconds < 10


def test_an_exchange_that_hangs_is_bounded_and_hides_nothing(doctor, well, exchange, monkeypatch):
    monkeypatch.setattr(doctor_facts, "ANSWER_SECONDS", 1.0)
    monkeypatch.setattr(doctor_module, "CHECK_SECONDS", 4.0)
    exchange.arm("http_hang", seconds=6)
    seen = doctor()
    assert seen.seconds < 6
    assert "account" in seen.failed
    assert "no answer within 1 s" in seen.found("account")[0][1]
    assert seen.found("schema")[0][0] is OK
    assert seen.found("log rotation")[0][0] is OK


def test_a_check_that_breaks_hides_no_other_and_prints_no_secret(doctor, well, monkeypatch):
    def broken(_facts):
        raise ValueError("local-secret")

    checks = (CHECKS[0], Check("odd", broken), *CHECKS[1:])
    monkeypatch.setattr(doctor_module, "CHECKS", checks)
    seen = doctor()
    assert seen.failed == {"odd"}
    assert (
        seen.found("odd")[0][1]
        == "this check itself failed (ValueError) -> report it: this is a bug"
    )
    assert len(seen.json["findings"]) > len(CHECKS)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trading_blocked": True}, "blocked: trading_blocked"),
        ({"trade_suspended_by_user": True}, "blocked: trade_suspended_by_user"),
        ({"crypto_status": "INACTIVE"}, "status ACTIVE, crypto INACTIVE"),
    ],
)
def test_an_account_that_cannot_trade_fails(doctor, well, set_env, changes, words):
    account = {
        "id": "an-account",
        "status": "ACTIVE",
        "crypto_status": "ACTIVE",
        "non_marginable_buying_power": "5",
    }
    with canned_server() as canned:
        canned.answer = lambda request: (
            Answer(200, account | changes)
            if request.path == "/v2/account"
            else Answer(200, {"timestamp": "2026-01-01T00:00:00Z"})
        )
        set_env(ALPACA_TRADING_URL=canned.url)
        seen = doctor()
        assert {request.method for request in canned.requests} == {"GET"}
    assert "account" in seen.failed
    assert words in seen.found("account")[0][1]


def test_live_money_is_said_loudly(doctor, well, set_env, monkeypatch):
    """With an address that is live by its name and leads nowhere."""
    set_env(
        ALPACA_TRADING_URL="https://live.invalid",
        ALPACA_DATA_URL="https://live.invalid",
        ALPACA_DATA_STREAM_URL="wss://live.invalid",
        ALPACA_TRADING_STREAM_URL="wss://live.invalid",
        LIVE_TRADING_CONFIRMED="true",
    )
    seen = doctor()
    assert seen.found("money") == [
        (WARN, "LIVE ACCOUNT: REAL MONEY, orders go to live.invalid -> None")
    ]
    assert "MAX_BUY_USD_PER_DAY" in seen.found("buy limits")[0][1]
    assert seen.found("watcher")[0][0] is WARN
    assert seen.failed == {"account"}


def test_a_daemon_elsewhere_that_holds_the_account_fails(doctor, well):
    lock = AccountLock(fetch_account_id(get_trading_client()))
    assert lock.hold()
    try:
        seen = doctor()
    finally:
        lock.release()
    assert seen.failed == {"second daemon"}
    assert "another daemon trades this account" in seen.found("second daemon")[0][1]
    assert doctor().failed == set()


@pytest.mark.parametrize(
    ("columns", "level", "words"),
    [
        ({"take_profit_percent": Decimal("0.4")}, WARN, "loses money"),
        ({"base_order_amount": Decimal(5)}, FAIL, "too small"),
        ({"safety_order_deviation": Decimal(-1)}, FAIL, "the deviation must be"),
        ({"asset_symbol": "XYZ/USD"}, FAIL, "the exchange does not list it"),
        ({"is_enabled": False}, OK, "disabled"),
    ],
)
def test_each_asset_is_checked_as_it_stands(doctor, well, cycle, db_conn, columns, level, words):
    update_asset_config(db_conn, cycle.asset_id, columns)
    seen = doctor()
    [(found, text)] = seen.found(columns.get("asset_symbol", "BTC/USD"))
    assert found is level
    assert words in text


def test_an_asset_without_a_cycle_and_a_ladder_beyond_the_account_are_reported(
    doctor, well, cycle, db_conn, exchange
):
    update_cycle(db_conn, cycle.id, {"status": "error"})
    exchange.set_balance("USD", "150")
    seen = doctor()
    assert "BTC/USD" in seen.failed
    assert seen.found("BTC/USD")[0][1].endswith("-> scripts/assets enable BTC/USD")
    assert seen.found("capital")[0][0] is WARN
    assert "can still need 250.00 USD, the account has 150.00 USD" in seen.found("capital")[0][1]


def test_a_dump_guard_needs_a_market_to_watch(doctor, well, cycle, db_conn, make_asset, set_env):
    assert doctor().found("dump guard") == []
    set_env(DUMP_PAUSE_PERCENT="5")
    [(level, words)] = doctor().found("dump guard")
    assert (level, "1 asset is watched, it needs 2" in words) == (Level.WARN, True)
    create_cycle(db_conn, make_asset("ETH/USD").id, "watching")
    [(level, words)] = doctor().found("dump guard")
    assert (level, words.startswith("half of 2 assets down 5 % pause buys for 30 min")) == (
        Level.OK,
        True,
    )


def test_a_cycle_that_grew_beyond_what_one_order_can_sell_is_reported(doctor, well, cycle, db_conn):
    update_cycle(
        db_conn,
        cycle.id,
        {"status": "watching", "quantity": "5", "average_purchase_price": "50000"},
    )
    [(level, text)] = doctor().found("BTC/USD")
    assert level is FAIL
    assert "one order can sell at most 200000 USD" in text


def test_stale_and_failing_caretakers_fail_and_missing_ones_warn(doctor, well):
    note_runs(get_settings(), age_seconds=1800)
    seen = doctor()
    assert seen.failed == {
        "watchdog", "order_manager", "cooldown_manager", "consistency_checker",
    }  # fmt: skip
    assert "stale: it last ran 30 min ago" in seen.found("watchdog")[0][1]
    note_runs(get_settings(), exit_code=1, reason="no money")
    assert "its last run failed: no money" in doctor().found("watchdog")[0][1]
    for path in get_settings().run_dir.glob("*.last_run.json"):
        path.unlink()
    seen = doctor()
    assert seen.failed == set()
    assert seen.found("watchdog")[0][1].endswith("-> scripts/install_crontab install")


def test_a_caretaker_whose_first_run_is_not_due_yet_is_no_reason_to_install_anything(doctor, well):
    run_dir = get_settings().run_dir
    note_runs(get_settings(), age_seconds=90)
    (run_dir / "consistency_checker.last_run.json").unlink()
    [(level, text)] = doctor().found("consistency_checker")
    assert (level, "install" in text) == (OK, False)
    with alone(run_dir):
        [(_, text)] = doctor().found("backup")
    assert text.endswith("-> scripts/database backup; your caretakers make one each night")


def test_a_log_folder_that_cannot_even_be_looked_for_is_judged_in_words(
    doctor, well, monkeypatch, tmp_path
):
    # To root no folder is closed: a name that no file system takes fails in the same call.
    monkeypatch.setenv("LOG_DIR", str(tmp_path / ("x" * 300)))
    seen = doctor()
    for subject in ("log folder", "disk", "log rotation"):
        [(_, text)] = seen.found(subject)
        assert "Errno" not in text


def test_the_crontab_is_read(doctor, well):
    [(level, text)] = doctor().found("crontab")
    assert level is WARN
    assert "no lines of this folder" in text
    log_dir = get_settings().log_dir
    right = Installation(root=PROJECT_ROOT, python=project_python(), log_dir=log_dir)
    well.write_text("0 3 * * * mine\n" + compute_block(right) + "5 5 * * * mine\n")
    [(level, text)] = doctor().found("crontab")
    assert (level, "has the bot's lines" in text) in [(OK, True), (FAIL, False)], text
    well.write_text(compute_block(right).replace("*/5", "*/7"))
    assert "of another version" in doctor().found("crontab")[0][1]
    well.write_text(compute_block(right).replace("# END", "# FIN"))
    assert "only a part of our block" in doctor().found("crontab")[0][1]


def test_a_bot_in_use_that_nobody_watches_fails_with_its_cure(doctor, well):
    """Neither cron, timers nor the foreground. One that never ran, or was stopped, may wait."""
    settings = get_settings()
    note_runs(settings, age_seconds=200)
    assert doctor().found("crontab")[0][0] is WARN, "it was never started"
    save_heartbeat(settings.run_dir, LAST_BEAT)
    seen = doctor()
    assert seen.failed == {"crontab"}
    [(_, text)] = seen.found("crontab")
    assert "nobody watches the bot" in text
    assert "-> scripts/install_crontab install (or install --systemd, or scripts/caretakers" in text
    set_flag(settings.run_dir, STOPPED, wanted=True)
    assert doctor().found("crontab")[0][0] is WARN, "stopped on purpose"
    set_flag(settings.run_dir, STOPPED, wanted=False)
    with alone(settings.run_dir):
        seen = doctor()
        assert (seen.failed, seen.found("crontab")) == (set(), [])
        assert seen.found("caretakers")[0] == (OK, "scripts/caretakers run is at work -> None")
    note_runs(settings)
    assert doctor().found("crontab")[0][0] is WARN, "a scheduler of the user's own runs them"


def test_folders_logs_and_disk_are_checked(doctor, well, set_env, tmp_path, monkeypatch):
    log_dir = get_settings().log_dir
    log_dir.mkdir(exist_ok=True)
    with open(log_dir / "app.log", "wb") as file:
        file.truncate(30_000_000)
    assert "app.log have grown too large" in doctor().found("log rotation")[0][1]
    with monkeypatch.context() as patch:
        patch.setattr("monitoring.doctor.machine_checks.MIN_FREE_BYTES", 10**18)
        assert "disk" in doctor().failed
    (tmp_path / "a-file").write_text("")
    set_env(LOG_DIR=str(tmp_path / "a-file" / "logs"))
    assert "a-file is no folder" in doctor().found("log folder")[0][1]


def test_the_mail_server_is_greeted_and_gets_a_mail_only_when_asked(doctor, well, set_env):
    assert doctor().found("mail")[0][0] is WARN, "nobody gets an alert"
    with MailServer("plain", login=("me", "pass-word")) as server:
        mail = {"SMTP_HOST": "127.0.0.1", "SMTP_SECURITY": "plain", "SMTP_PORT": str(server.port)}
        mail |= {"ALERT_FROM": "bot@example.org", "ALERT_TO": "me@example.org"}
        set_env(**mail, SMTP_USER="me", SMTP_PASSWORD="pass-word")
        assert doctor().found("mail")[0][0] is OK
        assert server.mails == []
        assert doctor("--mail").found("test mail")[0][0] is OK
        assert server.subjects == ["[DCA bot, paper] test mail"]
        set_env(SMTP_PASSWORD="wrong-word")
        [(level, text)] = doctor().found("mail")
        assert level is FAIL
        assert "SMTPAuthenticationError" in text
    assert "ConnectionRefusedError" in doctor().found("mail")[0][1]


def test_each_service_of_alert_urls_is_checked_and_gets_a_test_only_when_asked(
    doctor, well, set_env, monkeypatch
):
    with AlertServices() as services:
        set_env(**services.environment())
        bad = "tgrm://a-secret-word/1"
        set_env(ALERT_URLS=f"{services.url('telegram', 'slack')} {bad}, {services.url('ntfy')}")
        seen = doctor()
        levels = [level for level, _ in seen.found("alerts")]
        assert levels == [OK, OK, FAIL, OK]
        assert (
            "tgrm (number 3 of ALERT_URLS): Apprise knows no service" in seen.found("alerts")[2][1]
        )
        assert (sum(services.asked.values()), seen.found("mail")[0][0]) == (0, OK)
        services.state["slack"] = "failing"
        seen = doctor("--send-test")
        assert seen.found("test message") == [
            (OK, "tgram (number 1 of ALERT_URLS) took it: is it there? -> None"),
            (FAIL, f"slack (number 2 of ALERT_URLS) did not take it: refused: HTTP 500 -> {CURE}"),
            (FAIL, f"tgrm (number 3 of ALERT_URLS) did not take it: {UNKNOWN} -> {CURE}"),
            (OK, "ntfy (number 4 of ALERT_URLS) took it: is it there? -> None"),
        ]
        assert "[DCA bot, paper] Test message: alerts of the bot" in services.taken["telegram"][0]
        assert not [word for word in (*SECRETS, "a-secret-word") if word in str(seen.json)]
        set_env(ALERT_URLS="ntfy://a-topic a-secret-word", ALERT_ON="daily")
        assert "number 2 is no URL" in str(doctor().found("settings"))


CURE = "check ALERT_URLS in .env, and the network"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("10.11.19-MariaDB-0+deb12u1", (10, 11, 19)),
        ("5.5.5-10.6.7-MariaDB", (10, 6, 7)),
        ("8.0.13", (8, 0, 13)),
        ("8.0.36-0ubuntu0.22.04.1", (8, 0, 36)),
        ("nonsense", (0, 0, 0)),
    ],
)
def test_versions_of_both_servers_are_read(text, version):
    assert parse_version(text) == version


def test_a_wrong_argument_ends_with_2(capsys):
    from cli.doctor import main

    assert main(["--males"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
