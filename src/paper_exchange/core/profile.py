"""What the account is besides its balances: when it was opened, how its owner configured it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from paper_exchange.core import errors

_CHOICES: dict[str, tuple[object, ...]] = {
    "disable_overnight_trading": (False, True),
    "fractional_trading": (True, False),
    "max_margin_multiplier": ("2", "1", "4"),
    "max_options_trading_level": (0, 1, 2, 3),
    "no_shorting": (False, True),
    "ptp_no_exception_entry": (False, True),
    "suspend_trade": (False, True),
    "trade_confirm_email": ("none", "all"),
}
"""What each can be; the first is what a new account has. Only suspend_trade matters to crypto."""


def _first_choices() -> dict[str, object]:
    return {name: choices[0] for name, choices in _CHOICES.items()}


@dataclass(slots=True)
class AccountProfile:
    created_at_ns: int
    last_equity: Decimal
    configurations: dict[str, object] = field(default_factory=_first_choices)

    @property
    def is_suspended(self) -> bool:
        """Its owner wants no new orders."""
        return bool(self.configurations["suspend_trade"])

    def configure(self, changes: Mapping[str, object]) -> dict[str, object]:
        """Takes all of the changes or none; null leaves a setting alone. Raises ApiError."""
        wanted = {
            name: _checked(name, value) for name, value in changes.items() if value is not None
        }
        self.configurations = {**self.configurations, **wanted}
        return self.configurations


def _checked(name: str, value: object) -> object:
    if name not in _CHOICES:
        raise errors.invalid(f"unknown account configuration: {name}")
    for choice in _CHOICES[name]:
        # True equals 1, but is no level.
        if value == choice and isinstance(value, bool) == isinstance(choice, bool):
            return choice
    raise errors.invalid(f"invalid {name}: {value}")
