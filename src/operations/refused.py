"""The one error that tells a user that a wish cannot be carried out as it is."""

from __future__ import annotations


class Refused(Exception):
    """Nothing was changed. The message is one line that says why and what would be right."""
