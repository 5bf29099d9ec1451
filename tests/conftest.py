"""Which fixtures the tests share; each module of fixtures owns one thing."""

import logging
import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

pytest_plugins = ["fixtures_bot", "fixtures_database", "fixtures_trading"]

# A shell that starts the tests in the background has them ignore Ctrl-C, and what they start, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Where this is set, each of hundreds of processes would compile all that it imports once more.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# What is piped would be wrapped: a test that means it sets it.
os.environ.pop("COLUMNS", None)

# The same examples in every run, and no verdict on how fast a busy machine is.
settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")


@pytest.fixture(autouse=True)
def logging_left_as_found() -> Iterator[None]:
    """A program run in this process sets up logging: the next test finds none of it."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    for handler in root.handlers[:]:
        if handler not in handlers:
            root.removeHandler(handler)
            handler.close()
