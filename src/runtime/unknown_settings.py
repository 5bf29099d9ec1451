"""Names in `.env` that mean nothing here: a limit that is spelt wrong is none."""

from __future__ import annotations

import difflib

from config import read_env_file, setting_names

_FOREIGN_NAMES = {"ENV_FILE", "NO_COLOR"}


def find_unknown_settings() -> list[tuple[str, str]]:
    """What is wrong with each of them, and its cure.

    Raises:
        SettingsError: see `read_env_file`.
    """
    found = []
    for name in sorted(read_env_file().keys() - setting_names() - _FOREIGN_NAMES):
        near = difflib.get_close_matches(name.upper(), setting_names(), n=1)
        hint = f"did you mean {near[0]}?" if near else "remove it"
        found.append((f"{name} is no setting of this bot: it does nothing", hint))
    return found
