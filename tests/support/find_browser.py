"""Whether this machine has a browser for the tests of the page; as a program: exit code 0 if so."""

from __future__ import annotations

import os
import shutil
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")


def find_chromium() -> str | None:
    """The program; None: there is none. CHROMIUM names another."""
    named = os.environ.get("CHROMIUM")
    found = (shutil.which(name) for name in ([named] if named else NAMES))
    return next((path for path in found if path), None)


if __name__ == "__main__":
    sys.exit(find_chromium() is None)
