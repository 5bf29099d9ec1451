"""Which fixtures the tests share; each module of fixtures owns one thing."""

pytest_plugins = ["fixtures_bot", "fixtures_database", "fixtures_trading"]
