"""Settings: every value checked, every problem said at once, no secret ever shown. Pure."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from config import (
    PROJECT_ROOT,
    SettingsError,
    Topic,
    get_settings,
    is_loopback,
    load_settings,
    read_environment,
    reset_settings,
    setting_names,
)

LEAST = {
    "ALPACA_API_KEY": "key-of-ours",
    "ALPACA_SECRET_KEY": "secret-of-ours",
    "DB_USER": "dca",
    "DB_NAME": "dca_bot",
}
LOCAL = {
    "ALPACA_TRADING_URL": "http://127.0.0.1:8100",
    "ALPACA_DATA_URL": "http://127.0.0.1:8100",
    "ALPACA_DATA_STREAM_URL": "ws://127.0.0.1:8100/v1beta3/crypto/us",
    "ALPACA_TRADING_STREAM_URL": "ws://127.0.0.1:8100/stream",
}
LIVE = {
    "ALPACA_TRADING_URL": "https://api.alpaca.markets",
    "ALPACA_DATA_URL": "https://data.alpaca.markets",
    "ALPACA_DATA_STREAM_URL": "wss://stream.data.alpaca.markets/v1beta3/crypto/us",
    "ALPACA_TRADING_STREAM_URL": "wss://api.alpaca.markets/stream",
}


CONFIRMED = LIVE | {"LIVE_TRADING_CONFIRMED": "yes"}


def problems_of(environment):
    with pytest.raises(SettingsError) as caught:
        load_settings(environment)
    return caught.value.problems


def test_four_settings_are_enough_for_a_paper_account():
    settings = load_settings(LEAST)
    assert settings.alpaca_paper
    assert not settings.is_live
    assert not settings.is_local_exchange
    assert settings.trading_host == "paper-api.alpaca.markets"
    assert (settings.db_host, settings.db_port) == ("127.0.0.1", 3306)
    assert (settings.stale_order_seconds, settings.reconcile_seconds) == (300, 60)
    assert settings.max_quote_jump_percent == Decimal(10)
    assert settings.taker_fee_rate == Decimal("0.0025")
    assert settings.max_open_cycles is None
    assert settings.run_dir == PROJECT_ROOT / "run"


@pytest.mark.parametrize("missing", LEAST)
def test_what_is_missing_is_named(missing):
    without = {name: value for name, value in LEAST.items() if name != missing}
    for environment in (without, LEAST | {missing: ""}, LEAST | {missing: "  "}):
        [problem] = problems_of(environment)
        assert missing in problem


def test_all_problems_are_said_at_once():
    found = problems_of({"DB_PORT": "x", "ALPACA_PAPER": "perhaps", "LOG_LEVEL": "loud"})
    named = " ".join(found)
    for name in [*LEAST, "DB_PORT", "ALPACA_PAPER", "LOG_LEVEL"]:
        assert name in named
    assert len(found) == 7


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("DB_PORT", ["0", "65536", "-1", "1.5", "3306.0", "3_306", "x", "\u0661"]),
        ("ALPACA_PAPER", ["maybe", "2"]),
        ("STALE_ORDER_SECONDS", ["0", "-1", "NaN", "inf", "soon", "1e9"]),
        ("TAKER_FEE_PERCENT", ["-0.1", "6", "x"]),
        ("MAKER_FEE_PERCENT", ["-0.1", "6", "x"]),
        ("MAX_QUOTE_JUMP_PERCENT", ["0", "101"]),
        ("MAX_OPEN_CYCLES", ["-1", "1.5", "3.0", "many"]),
        ("MAX_OPEN_LOSS_USD", ["0", "-1", "NaN", "many"]),
        ("MAX_LOSS_USD_PER_DAY", ["0", "-1", "inf"]),
        ("DUMP_PAUSE_PERCENT", ["0", "100", "-5", "5%"]),
        ("DUMP_PAUSE_MINUTES", ["0", "10081", "half"]),
        ("MAX_BUY_USD_PER_DAY", ["-1", "sNaN"]),
        ("LOG_LEVEL", ["loud"]),
        ("SMTP_SECURITY", ["none"]),
        (
            "ALPACA_TRADING_URL",
            ["paper-api.alpaca.markets", "ftp://x", "https://", "https://u:p@x"],
        ),
    ],
)
def test_malformed_values_are_refused_with_the_name_and_what_was_given(name, values):
    for value in values:
        problem = next(line for line in problems_of(LEAST | {name: value}) if name in line)
        assert "expected" in problem
        assert repr(value) in problem


@pytest.mark.parametrize(
    ("name", "value", "field", "parsed"),
    [
        ("ALPACA_PAPER", "no", "alpaca_paper", False),
        ("ALPACA_PAPER", " TRUE ", "alpaca_paper", True),
        ("MAX_BUY_USD_PER_DAY", "250.50", "max_buy_usd_per_day", Decimal("250.50")),
        ("MAX_OPEN_CYCLES", "3", "max_open_cycles", 3),
        ("LOG_LEVEL", "debug", "log_level", "DEBUG"),
        ("PID_FILE", "run/other.pid", "pid_file", PROJECT_ROOT / "run" / "other.pid"),
        ("PID_FILE", "/tmp/x.pid", "pid_file", Path("/tmp/x.pid")),
        ("DB_PASSWORD", "p#a$s 'w\"ord", "db_password", "p#a$s 'w\"ord"),
    ],
)  # fmt: skip
def test_good_values_are_read_as_what_they_are(name, value, field, parsed):
    confirmed = {"LIVE_TRADING_CONFIRMED": "true"}
    assert getattr(load_settings(LEAST | confirmed | {name: value}), field) == parsed


def test_the_names_of_alpacas_own_tools_are_accepted_and_ours_win():
    theirs = {"APCA_API_KEY_ID": "their-key", "APCA_API_SECRET_KEY": "their-secret"}
    database = {"DB_USER": "u", "DB_NAME": "n"}
    assert load_settings(theirs | database).alpaca_api_key == "their-key"
    assert load_settings(theirs | LEAST).alpaca_secret_key == "secret-of-ours"


# Where orders go.


@pytest.mark.parametrize(
    ("changes", "live", "local"),
    [
        ({}, False, False),
        (LOCAL, False, True),
        (LOCAL | {"ALPACA_TRADING_URL": "http://localhost:1"}, False, True),
        (LOCAL | {"ALPACA_TRADING_URL": "http://[::1]:1"}, False, True),
        (LIVE | {"ALPACA_TRADING_URL": "https://paper-api.alpaca.markets/"}, False, False),
        (LIVE | {"LIVE_TRADING_CONFIRMED": "true"}, True, False),
        ({"ALPACA_PAPER": "false", "LIVE_TRADING_CONFIRMED": "1"}, True, False),
        # the flag says paper, the host does not: the host decides
        (LIVE | {"ALPACA_PAPER": "true", "LIVE_TRADING_CONFIRMED": "yes"}, True, False),
        (CONFIRMED | {"ALPACA_TRADING_URL": "https://127.0.0.1.evil.example"}, True, False),
    ],
)
def test_the_host_that_orders_go_to_decides_what_is_live(changes, live, local):
    settings = load_settings(LEAST | changes)
    assert (settings.is_live, settings.is_local_exchange) == (live, local)


@pytest.mark.parametrize(
    "changes",
    [
        {"ALPACA_PAPER": "false"},
        LIVE,
        LIVE | {"ALPACA_TRADING_URL": "https://broker.example"},
        LIVE | {"LIVE_TRADING_CONFIRMED": "false"},
    ],
)
def test_real_money_needs_a_confirmation(changes):
    [problem] = problems_of(LEAST | changes)
    assert "LIVE_TRADING_CONFIRMED" in problem


@pytest.mark.parametrize("missing", LOCAL)
def test_the_four_urls_are_all_set_or_all_empty(missing):
    some = {name: url for name, url in LOCAL.items() if name != missing}
    [problem] = problems_of(LEAST | some)
    assert missing in problem
    assert problems_of(LEAST | {missing: LOCAL[missing]})


@pytest.mark.parametrize(
    "changes",
    [
        {"ALPACA_TRADING_URL": "http://paper-api.alpaca.markets"},
        {"ALPACA_DATA_STREAM_URL": "ws://stream.data.alpaca.markets"},
        {"ALPACA_TRADING_URL": "https://paper-api.alpaca.markets/v2"},
        {"ALPACA_DATA_URL": "https://data.alpaca.markets/v1beta3"},
        {"ALPACA_DATA_STREAM_URL": "https://stream.data.alpaca.markets"},
    ],
)
def test_urls_that_would_show_the_keys_or_lead_astray_are_refused(changes):
    confirmed = {"LIVE_TRADING_CONFIRMED": "true"}
    [problem] = problems_of(LEAST | LIVE | confirmed | changes)
    assert next(iter(changes)) in problem


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("10.0.0.1", False),
        ("localhost.example", False),
        ("", False),
        ("0.0.0.0", False),
    ],
)
def test_only_this_machine_is_loopback(host, expected):
    assert is_loopback(host) is expected


# Mail.


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"SMTP_HOST": "mail.example"}, ["ALERT_FROM", "ALERT_TO"]),
        ({"ALERT_TO": "a@b.example", "ALERT_FROM": "c@d.example"}, ["SMTP_HOST"]),
    ],
)
def test_half_a_mail_set_up_is_refused(changes, missing):
    [problem] = problems_of(LEAST | changes)
    assert all(name in problem for name in missing)


def test_a_mail_user_needs_a_password():
    [problem] = problems_of(LEAST | {"SMTP_USER": "u"})
    assert "SMTP_PASSWORD" in problem


# Alerts.


@pytest.mark.parametrize(
    ("raw", "urls"),
    [
        ("ntfy://a", ("ntfy://a",)),
        ("tgram://1:x/2 json://h:8/?to=a,b", ("tgram://1:x/2", "json://h:8/?to=a,b")),
        ("ntfy://a,json://b/,c, \n slack://d/#e,", ("ntfy://a", "json://b/,c", "slack://d/#e")),
    ],
)
def test_addresses_of_alerts_are_separated_by_blanks_or_commas(raw, urls):
    assert load_settings(LEAST | {"ALERT_URLS": raw}).alert_urls == urls


@pytest.mark.parametrize(
    "raw", ["ntfy://a secret-word", "ntfy://a tgram:/secret-word", "x://a x://"]
)
def test_a_bad_address_is_named_by_its_place_and_not_shown(raw):
    [problem] = problems_of(LEAST | {"ALERT_URLS": raw})
    assert "number 2" in problem
    assert "secret" not in problem


def test_what_is_told_is_a_list_of_known_words():
    assert load_settings(LEAST).alert_on == {Topic.ERRORS}
    told = load_settings(LEAST | {"ALERT_ON": "errors,sales buys, Daily"}).alert_on
    assert told == set(Topic)
    [problem] = problems_of(LEAST | {"ALERT_ON": "errors,sels buys"})
    assert problem == "ALERT_ON: expected errors, sales, buys or daily, not 'sels'"


def test_no_part_of_an_address_that_may_be_a_key_is_logged():
    url = "tgram://123456789:token-of-the-bot/42/?pw=a%20b-c-d-e-f"
    secrets = load_settings(LEAST | {"ALERT_URLS": f"{url} json://localhost:99/x"}).secret_values()
    assert {url, "123456789", "token-of-the-bot", "a b-c-d-e-f"} <= set(secrets)
    assert not {"localhost", "42", "x", ""} & set(secrets)


# Secrets.


def test_no_secret_is_shown_by_the_settings_or_by_a_problem():
    secrets = {"ALPACA_SECRET_KEY": "very-secret-1", "DB_PASSWORD": "very-secret-2"}
    secrets |= {
        "SMTP_PASSWORD": "very-secret-3",
        "SMTP_USER": "u",
        "ALPACA_API_KEY": "very-secret-4",
    }
    settings = load_settings(LEAST | secrets)
    assert "very-secret" not in repr(settings)
    assert {f"very-secret-{number}" for number in range(1, 5)} <= set(settings.secret_values())
    assert "very-secret" not in str(problems_of(secrets | {"DB_PORT": "x"}))


# Reading.


@pytest.fixture
def env_path(tmp_path, monkeypatch):
    for name in setting_names():
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "bot.env"
    monkeypatch.setenv("ENV_FILE", str(path))
    reset_settings()
    yield path
    reset_settings()


def write_env(path, values):
    path.write_text("".join(f"{name}={value}\n" for name, value in values.items()))


def test_settings_come_from_the_file_and_the_environment_wins(env_path, monkeypatch):
    write_env(env_path, LEAST | {"DB_PORT": "3307", "LOG_LEVEL": "DEBUG"})
    monkeypatch.setenv("DB_PORT", "3308")
    settings = get_settings()
    assert (settings.db_user, settings.db_port, settings.log_level) == ("dca", 3308, "DEBUG")


def test_settings_are_read_once_until_they_are_reset(env_path, monkeypatch):
    write_env(env_path, LEAST)
    before = get_settings()
    monkeypatch.setenv("DB_NAME", "another")
    assert get_settings() is before
    reset_settings()
    assert get_settings().db_name == "another"


def test_nothing_in_the_file_is_expanded(env_path, monkeypatch):
    monkeypatch.setenv("HOME", "/nowhere")
    write_env(env_path, LEAST | {"DB_PASSWORD": "a${HOME}b"})
    assert get_settings().db_password == "a${HOME}b"


def test_a_file_that_cannot_be_read_is_one_problem(env_path):
    env_path.write_bytes(b"DB_NAME=\xff\xfe\n")
    with pytest.raises(SettingsError, match=r"cannot read bot\.env"):
        read_environment()


@pytest.mark.parametrize("line", ["MAX_OPEN_CYCLES 3", "MAX_OPEN_CYCLES: 5", "MAX_OPEN_CYCLES"])
def test_a_line_that_is_no_setting_is_refused_and_not_repeated(env_path, line):
    """A buy limit that was meant would be missing without a word; and it may be a secret."""
    write_env(env_path, LEAST)
    good = env_path.read_text().splitlines()
    env_path.write_text("\n".join([*good, "# a comment", line, "export A='b c'", ""]))
    with pytest.raises(SettingsError) as refused:
        get_settings()
    assert refused.value.problems == [
        f"bot.env line {len(good) + 2} (MAX_OPEN_CYCLES): that is no setting: write"
        " MAX_OPEN_CYCLES=value, or # before a remark"
    ]


def test_without_a_file_the_environment_is_enough(env_path, monkeypatch):
    for name, value in LEAST.items():
        monkeypatch.setenv(name, value)
    assert get_settings().db_name == "dca_bot"


def test_the_manual_names_every_setting():
    manual = (PROJECT_ROOT / ".env.example").read_text("utf-8")
    for name in setting_names():
        assert name in manual


def test_telegram_needs_a_token_and_numbers_of_chats():
    assert load_settings(LEAST).telegram_token is None
    token = "123456789:AAF-the_Token-of-this-bot-0123456789"
    given = {"TELEGRAM_TOKEN": token, "TELEGRAM_CHATS": "4711, -1001234567890 4711"}
    settings = load_settings(LEAST | given)
    assert settings.telegram_chats == (4711, -1001234567890)
    assert {token, token.partition(":")[2]} <= set(settings.secret_values())
    assert token not in repr(settings)
    [problem] = problems_of(LEAST | {"TELEGRAM_TOKEN": "bot123:short-secret"})
    assert problem == (
        "TELEGRAM_TOKEN: expected a token as @BotFather writes it, like 123456789:AAF-x4..."
    )
    [problem] = problems_of(LEAST | {"TELEGRAM_CHATS": "@owner"})
    assert problem.startswith("TELEGRAM_CHATS: expected numbers of chats")
    [problem] = problems_of(LEAST | {"TELEGRAM_API_URL": "http://example.com"})
    assert "unencrypted URLs are allowed on loopback only" in problem
