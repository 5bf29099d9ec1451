"""What a user typed about an asset, as exact values: symbols, amounts, percents, counts.

Owns spelling only; whether the values make sense is strategy.asset_checks' business.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from enum import StrEnum
from typing import Any

from domain.asset import DcaAsset, SafetyOrderReference, StartMode, StopLossAction
from domain.wire import WireError, normalize_symbol
from operations.refused import Refused
from strategy.earning import USUAL_ORDER_USD, compute_default_take_profit_percent
from utils.formatting import number

OFF = "off"
TAKER_FEE = "taker"  # --fee-aware without a percent
_NUMBER = re.compile(r"[+-]?([0-9]{1,20}(\.[0-9]{0,30})?|\.[0-9]{1,30})", re.ASCII)
_LONG_NUMBER = re.compile(r"[+-]?(?=[0-9.]*[0-9])[0-9]*\.?[0-9]*", re.ASCII)
_COUNT = re.compile(r"[+-]?[0-9]{1,12}", re.ASCII)
_LONG_COUNT = re.compile(r"[+-]?[0-9]{13,}", re.ASCII)

# Option -> column, and the value of an `add` that does not name it (None: the column stays NULL).
COLUMN_OF = {
    "base": "base_order_amount",
    "safety": "safety_order_amount",
    "max_safety": "max_safety_orders",
    "deviation": "safety_order_deviation",
    "take_profit": "take_profit_percent",
    "cooldown": "cooldown_period",
    "early_restart": "buy_order_price_deviation_percent",
    "fee_aware": "take_profit_fee_percent",
    "volume_scale": "safety_order_volume_scale",
    "step_scale": "safety_order_step_scale",
    "reference": "safety_order_reference",
    "trailing": "trailing_take_profit_percent",
    "stop_loss": "stop_loss_percent",
    "stop_loss_seconds": "stop_loss_seconds",
    "stop_loss_action": "stop_loss_action",
    "start": "start_mode",
    "max_entry": "max_entry_price",
}
DEFAULTS: Mapping[str, str | None] = {
    "base": f"{USUAL_ORDER_USD}",  # or more: see AMOUNTS
    "safety": f"{USUAL_ORDER_USD}",
    "max_safety": "5",
    "deviation": "1.5",
    "take_profit": "1.2",  # more where the fees are higher
    "cooldown": "300",
    "early_restart": None,
    "fee_aware": None,
    "volume_scale": "1",
    "step_scale": "1",
    "reference": "last-fill",
    "trailing": None,
    "stop_loss": None,
    "stop_loss_seconds": "0",
    "stop_loss_action": "disable",
    "start": "at-once",
    "max_entry": None,
}
AMOUNTS = ("base", "safety")  # what they must be to earn depends on the coin and its price
_COUNTS = ("max_safety", "cooldown", "stop_loss_seconds")
_CAN_BE_OFF = tuple(option for option, default in DEFAULTS.items() if default is None)
CHOICES: Mapping[str, type[StrEnum]] = {
    "reference": SafetyOrderReference,
    "stop_loss_action": StopLossAction,
    "start": StartMode,
}


def read_symbol(text: str) -> str:
    """`BTC/USD` for any spelling of it: `btcusd`, `BTC-USD`, `btc_usd`.

    Raises:
        Refused: for a text that names no pair.
    """
    spelled = re.sub(r"[-_:]", "/", text.strip(), count=1)
    try:
        return normalize_symbol(spelled)
    except WireError:
        bare = text.strip().upper()
        reason = f"{text[:40]!r} is no trading pair: write one like BTC/USD"
        if bare.isascii() and bare.isalnum() and len(bare) <= 10:
            reason = f"{bare} is no trading pair: if it is a coin, write it like {bare}/USD"
        raise Refused(reason) from None


def read_values(texts: Mapping[str, str | None], taker_fee_percent: Decimal) -> dict[str, Any]:
    """Columns of dca_assets from options; what is None was not given and is left out.

    Raises:
        Refused: with every text that is no number of its kind.
    """
    values: dict[str, Any] = {}
    problems = []
    for option, text in texts.items():
        if text is None:
            continue
        try:
            values[COLUMN_OF[option]] = _read(option, text, taker_fee_percent)
        except ValueError as error:
            problems.append(f"--{option.replace('_', '-')} {error}, not {text[:40]!r}")
    if problems:
        raise Refused("; ".join(problems))
    return values


def read_defaults(taker_fee_percent: Decimal) -> dict[str, Any]:
    """The columns of an asset for which the user names nothing."""
    percent = compute_default_take_profit_percent(taker_fee_percent)
    return read_values(DEFAULTS, taker_fee_percent) | {COLUMN_OF["take_profit"]: percent}


def write_values(asset: DcaAsset) -> dict[str, str]:
    """Every option of the asset as a user would type it: `read_values` reads them again."""
    texts = {}
    for option, column in COLUMN_OF.items():
        value = getattr(asset, column)
        if value is None:
            texts[option] = OFF
        elif isinstance(value, StrEnum):
            texts[option] = value.value.replace("_", "-")
        else:
            texts[option] = number(Decimal(value))
    return texts


def list_choices(option: str) -> list[str]:
    """What the option takes, as it is typed: `last-fill` for `last_fill`."""
    return [choice.value.replace("_", "-") for choice in CHOICES[option]]


def _read(option: str, text: str, taker_fee_percent: Decimal) -> Decimal | int | StrEnum | None:
    bare = text.strip().removesuffix("%").strip()
    if option in CHOICES:
        typed = bare.lower().replace("_", "-")
        if typed not in list_choices(option):
            raise ValueError(f"takes {' or '.join(list_choices(option))}")
        return CHOICES[option](typed.replace("-", "_"))
    if option in _CAN_BE_OFF and bare.lower() == OFF:
        return None
    if option == "fee_aware" and bare == TAKER_FEE:
        return taker_fee_percent
    if option in _COUNTS:
        if _LONG_COUNT.fullmatch(bare) is not None:
            raise ValueError("takes at most 12 digits")
        if _COUNT.fullmatch(bare) is None:
            raise ValueError("takes a whole number")
        return int(bare)
    if _NUMBER.fullmatch(bare) is None:
        if _LONG_NUMBER.fullmatch(bare) is not None:
            raise ValueError("takes at most 20 digits before the point and 30 after it")
        off = f", or {OFF}" if option in _CAN_BE_OFF else ""
        raise ValueError(f"takes a plain number like 20 or 1.5{off}")
    return Decimal(bare)


def build_asset(symbol: str, values: Mapping[str, Any]) -> DcaAsset:
    """An asset that is not saved yet (id 0), enabled."""
    return DcaAsset(id=0, asset_symbol=symbol, is_enabled=True, **values)


def change_asset(asset: DcaAsset, values: Mapping[str, Any]) -> DcaAsset:
    """`asset` as it would be after an edit.

    Raises:
        Refused: when nothing would change.
    """
    changed = replace(asset, **values)
    if changed == asset:
        raise Refused(
            f"nothing would change for {asset.asset_symbol}:"
            " name what should, for example --take-profit 1.5"
            if not values
            else f"{asset.asset_symbol} has these values already"
        )
    return changed
