"""How numbers and times are shown, in one place only; whose money it is."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import PROJECT_ROOT, load_settings
from utils import formatting

SRC = PROJECT_ROOT / "src"


@pytest.mark.parametrize(
    ("function", "value", "shown"),
    [
        ("usd", "1234567.895", "1,234,567.90"),
        ("usd", "-0.004", "0.00"),
        ("signed_usd", "12.345", "+12.34"),
        ("signed_usd", "-0.004", "+0.00"),
        ("signed_usd", "-1234.5", "-1,234.50"),
        ("coins", "0", "-"),
        ("coins", "0.0012345678999", "0.001234567"),
        ("coins", "0.15000", "0.15"),
        ("coins", "12345678.123456789", "12,345,678.1"),
        ("coins", "1234567890.9", "1,234,567,890"),
        ("price", "60123.456", "60,123.46"),
        ("price", "12.3", "12.3000"),
        ("price", "0.00001234567", "0.0000123457"),
        ("percent", "-1.234", "-1.23 %"),
        ("number", "1E+3", "1000"),
        ("number", "0E-18", "0"),
    ],
)
def test_a_number_is_shown_so(function, value, shown):
    assert getattr(formatting, function)(Decimal(value)) == shown


def test_what_there_is_none_of_is_a_dash():
    for function in ("signed_usd", "price", "percent", "number"):
        assert getattr(formatting, function)(None) == "-"


@given(st.decimals(min_value=0, max_value=10**12, places=18))
def test_never_more_coins_are_shown_than_there_are(value):
    shown = formatting.coins(value)
    assert len(shown.replace(",", "").replace(".", "").lstrip("0")) <= 13
    assert shown == "-" or 0 <= value - Decimal(shown.replace(",", "")) < max(value, 1)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (11100, "3 h 5 min"), (200000, "2 days")],
)
def test_an_age_is_told_in_its_largest_units(seconds, shown):
    assert formatting.span(seconds) == shown


def test_times_are_utc_wherever_they_come_from():
    at = datetime(2026, 1, 5, 1, 2, 3, tzinfo=timezone(timedelta(hours=2)))
    assert formatting.moment(at) == "2026-01-04 23:02"
    assert formatting.day_and_clock(at.astimezone(UTC)) == "2026-01-04 23:02:03"
    assert [formatting.stopwatch(seconds) for seconds in (62, 3602)] == ["1:02", "1:00:02"]


@pytest.mark.parametrize(
    ("url", "confirmed", "words"),
    [
        ("https://api.alpaca.markets", "true", "LIVE ACCOUNT: REAL MONEY"),
        ("https://paper-api.alpaca.markets", "false", "paper account: play money"),
        ("http://127.0.0.1:9", "false", "local exchange: play money"),
    ],
)
def test_the_account_says_whose_money_it_is(url, confirmed, words):
    names = ("ALPACA_API_KEY", "ALPACA_SECRET_KEY", "DB_USER", "DB_PASSWORD", "DB_NAME")
    stream = url.replace("http", "ws", 1)
    settings = load_settings(
        dict.fromkeys(names, "x")
        | {"ALPACA_TRADING_URL": url, "ALPACA_DATA_URL": url, "LIVE_TRADING_CONFIRMED": confirmed}
        | {"ALPACA_TRADING_STREAM_URL": stream, "ALPACA_DATA_STREAM_URL": stream}
    )
    assert formatting.describe_account(settings) == words


def test_nobody_else_formats_usd_or_says_that_money_is_real():
    """The audit, too, has its own arithmetic and no format of its own."""
    private = re.compile(r":\+?,\.2f\}|REAL MONEY")
    found = {
        str(path.relative_to(SRC)): match.group()
        for path in sorted(SRC.rglob("*.py"))
        if path.relative_to(SRC).parts[0] != "paper_exchange"
        and (match := private.search(path.read_text("utf-8")))
    }
    assert list(found) == ["utils/formatting.py"], found
