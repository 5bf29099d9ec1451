"""The one error that refuses what a user requests."""

from __future__ import annotations


class Refused(Exception):
    """Nothing was changed. The message is one line that says why and what would be right."""
