"""Refusals in Alpaca's words: each kind of 4xx body is built here.

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


def malformed_body(why: str = "") -> ApiError:
    return ApiError(400, f"request body format is invalid{why}", 40010000)


def invalid(message: str) -> ApiError:
    """A field that is missing or cannot be read."""
    return ApiError(422, message, 40010001)


def unprocessable(message: str) -> ApiError:
    """A readable request that the rules of the asset or of the order forbid."""
    return ApiError(422, message, 42210000)


def forbidden(message: str, **fields: object) -> ApiError:
    """Balance, minimum and wash-trade refusals share one code: the text tells them apart."""
    return ApiError(403, message, 40310000, **fields)


def bad_data_request(message: str) -> ApiError:
    """The market data API refuses without a code."""
    return ApiError(400, message)


def order_not_found(order_id: str) -> ApiError:
    return ApiError(404, f"order not found for {order_id}", 40410000)


def position_not_found() -> ApiError:
    return ApiError(404, "position does not exist", 40410000)


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


def not_cancelable(status: str) -> ApiError:
    return unprocessable(f'order is already in "{status}" state')
