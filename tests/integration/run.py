"""The name of what one test opens, so that it can be taken back, even by another process."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

MARKER = "integration_test"  # in dca_meta while there is something to take back
CLOCK_DIFFERENCE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Run:
    """One test from its beginning to its teardown: its orders are named after it."""

    id: str
    started_at: datetime

    @classmethod
    def new(cls) -> Run:
        return cls(secrets.token_hex(4), datetime.now(UTC))

    @property
    def order_prefix(self) -> str:
        return f"itest-{self.id}-"

    @property
    def orders_after(self) -> datetime:
        """Every order of this test was submitted after this, whatever the exchange's clock says."""
        return self.started_at - CLOCK_DIFFERENCE

    def as_text(self) -> str:
        return f"{self.id} {self.started_at.isoformat()}"

    @classmethod
    def from_text(cls, text: str) -> Run:
        run_id, _, moment = text.partition(" ")
        return cls(run_id, datetime.fromisoformat(moment))
