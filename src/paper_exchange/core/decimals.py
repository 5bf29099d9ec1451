"""Money and quantities are Decimal from the first byte to the last; no float arithmetic here."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, InvalidOperation

ZERO = Decimal(0)


def plain(value: Decimal) -> str:
    """The number as Alpaca prints it: no exponent, no trailing zeros ("0.1", "1000", "0")."""
    if not value:
        return "0"
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def floor_to(value: Decimal, increment: Decimal) -> Decimal:
    """The largest multiple of the increment that is not above the value."""
    return (value / increment).to_integral_value(ROUND_FLOOR) * increment


def ceil_to(value: Decimal, increment: Decimal) -> Decimal:
    """The smallest multiple of the increment that is not below the value."""
    return (value / increment).to_integral_value(ROUND_CEILING) * increment


def decimal_places(value: Decimal) -> int:
    """How many digits stand after the point, trailing zeros not counted."""
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def to_decimal(value: object) -> Decimal:
    """A finite Decimal from JSON text or number. Raises ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal)):
        raise ValueError(f"not a number: {value!r}")
    try:
        number = Decimal(str(value))
    except InvalidOperation as error:
        raise ValueError(f"not a number: {value!r}") from error
    if not number.is_finite():
        raise ValueError(f"not a finite number: {value!r}")
    return number
