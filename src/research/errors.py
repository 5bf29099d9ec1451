"""What stops work on the history. Each is one line for a person."""

from __future__ import annotations


class HistoryError(Exception):
    """It could not be done; nothing is half-written."""


class DamagedHistory(HistoryError):
    """A file of the history is not what was written. The message names it."""


class UnusablePrices(HistoryError):
    """What was given or fetched cannot be kept exactly, or contradicts itself."""
