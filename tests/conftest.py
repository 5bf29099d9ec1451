"""Which fixtures the tests share; each module of fixtures owns one thing."""

from hypothesis import settings

pytest_plugins = ["fixtures_bot", "fixtures_database", "fixtures_trading"]

# The same examples in every run, and no verdict on how fast a busy machine is.
settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")
