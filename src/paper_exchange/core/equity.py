"""The account's equity over time: a value a minute, kept for forty days."""

from decimal import Decimal

from paper_exchange.core.clock import NANOS

_MAX_SAMPLES = 40 * 24 * 60


class EquityCurve:
    """USD at the end of each minute in which quotes came."""

    def __init__(self) -> None:
        self.samples: dict[int, Decimal] = {}
        """By the minute's beginning, in seconds since the epoch, oldest first."""
        self.minute: int | None = None
        """The one that still runs."""

    def is_due(self, at_ns: int) -> bool:
        """Whether a new minute has begun, so that the one before can be noted."""
        minute = at_ns // NANOS // 60 * 60
        if self.minute is None:
            self.minute = minute
        return minute > self.minute

    def note(self, at_ns: int, equity: Decimal) -> None:
        assert self.minute is not None, "is_due comes first"
        self.samples[self.minute] = equity
        self.minute = at_ns // NANOS // 60 * 60
        while len(self.samples) > _MAX_SAMPLES:
            del self.samples[next(iter(self.samples))]

    def before(self, moment: int) -> Decimal | None:
        """The last value before the moment, or else the first there is."""
        older = [equity for at, equity in self.samples.items() if at < moment]
        return older[-1] if older else next(iter(self.samples.values()), None)
