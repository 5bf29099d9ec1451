"""Refusals in Alpaca's words: every 4xx body of the exchange is built here.

Sources: the project's facts file and payloads; where those say nothing, bodies that bots quote.
"""

from collections.abc import Mapping
from decimal import Decimal

from paper_exchange.core.decimals import plain


class ApiError(Exception):
    """An answer other than 2xx: HTTP status, JSON body, and headers if there are any."""

    headers: Mapping[str, str] = {}

    def __init__(self, http_status: int, message: str, code: int | None = None, **fields: object):
        super().__init__(message)
        self.http_status, self.message, self.code = http_status, message, code
        self.body: Mapping[str, object] = (
            {"message": message} if code is None else {"code": code, "message": message, **fields}
        )


def unauthorized() -> ApiError:
    return ApiError(401, "unauthorized.")


def too_many_requests() -> ApiError:
    return ApiError(429, "too many requests.")


def malformed_body() -> ApiError:
    return ApiError(400, "request body format is invalid", 40010000)


def unknown_field(name: str) -> ApiError:
    return ApiError(400, f"request body format is invalid: unknown field {name}", 40010000)


def invalid(message: str) -> ApiError:
    """A field that is missing or cannot be read."""
    return ApiError(422, message, 40010001)


def unprocessable(message: str) -> ApiError:
    """A readable request that the rules of the asset or of the order forbid."""
    return ApiError(422, message, 42210000)


def forbidden(message: str, **fields: object) -> ApiError:
    """Balance, minimum and wash-trade refusals share one code: the text tells them apart."""
    return ApiError(403, message, 40310000, **fields)


def trading_suspended() -> ApiError:
    return forbidden("new orders are rejected by user request")


def bad_data_request(message: str) -> ApiError:
    """The market data API refuses without a code."""
    return ApiError(400, message)


def order_not_found(order_id: str) -> ApiError:
    return ApiError(404, f"order not found for {order_id}", 40410000)


def position_not_found() -> ApiError:
    return ApiError(404, "position does not exist", 40410000)


def asset_not_found(symbol: str) -> ApiError:
    return ApiError(404, f"asset not found for {symbol}", 40410000)


def invalid_order_type() -> ApiError:
    return unprocessable("invalid order type for crypto order")


def invalid_time_in_force() -> ApiError:
    return unprocessable("invalid crypto time_in_force")


def duplicate_client_order_id() -> ApiError:
    return invalid("client_order_id must be unique")


def insufficient_balance(
    unit: str, requested: Decimal, available: Decimal, balance: Decimal
) -> ApiError:
    """`unit` is what is missing: USD for buys, the coin for sells."""
    return forbidden(
        f"insufficient balance for {unit} "
        f"(requested: {plain(requested)}, available: {plain(available)})",
        available=plain(available),
        balance=plain(balance),
        symbol=unit,
    )


def below_minimal_qty(minimum: Decimal) -> ApiError:
    # Bots quote this text and 403 from live refusals, as for the minimal cost below.
    return forbidden(f"order qty must be >= minimal qty of order {plain(minimum)}")


def below_minimal_cost(minimum: Decimal) -> ApiError:
    return forbidden(f"cost basis must be >= minimal amount of order {plain(minimum)}")


def wash_trade(existing_order_id: str, reason: str) -> ApiError:
    return forbidden(
        "potential wash trade detected. use complex orders",
        existing_order_id=existing_order_id,
        reject_reason=reason,
    )


def not_cancelable(status: str) -> ApiError:
    return unprocessable(f'order is already in "{status}" state')
