"""A Bot API of its own for each test, and the settings of a bot that uses it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from config import reset_settings
from telegram_server import GROUP, OWNER, TelegramServer


@pytest.fixture
def telegram() -> Iterator[TelegramServer]:
    with TelegramServer() as server:
        yield server


@pytest.fixture
def environment(
    bot_environment: dict[str, str],
    exchange: object,
    db_conn: object,
    telegram: TelegramServer,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, str]:
    """The owner's chat and a group may command."""
    ours = telegram.environment(OWNER, GROUP)
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    bot_environment.update(ours)
    reset_settings()
    return bot_environment
