"""Whether scales and steps of a ladder can work: what each order costs, and how far down it comes.
Pure.

Used by asset_checks, which judges every other number of an asset first: only then can these be
computed.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Context, Decimal

from domain.asset import DcaAsset, SafetyOrderReference
from strategy.ladder import compute_deviations, compute_order_usd
from strategy.sizing import MAXIMUM_ORDER_USD, round_to_increment

MAX_SCALE = Decimal(10)  # as in 3Commas' API (its martingale coefficients)
_SCALE_STEP = Decimal("1e-6")  # DECIMAL(12,6) of our tables: more would be rounded silently


def find_scale_problems(asset: DcaAsset) -> list[str]:
    """A scale that is no sensible number; empty: both can be computed with."""
    scales = {
        "the volume scale": asset.safety_order_volume_scale,
        "the step scale": asset.safety_order_step_scale,
    }
    problems = [_scale_problem(name, scale) for name, scale in scales.items()]
    return [problem for problem in problems if problem]


def find_ladder_problems(asset: DcaAsset) -> list[str]:
    """The first safety order that costs more than the exchange takes, and the first one that would
    come at nothing or below.
    """
    numbers = range(1, asset.max_safety_orders + 1)
    dear = (n for n in numbers if compute_order_usd(asset, n) > MAXIMUM_ORDER_USD)
    deviations = compute_deviations(asset)
    deep = (n for n, percent in enumerate(deviations, start=1) if percent >= 100)
    problems = []
    if (number := next(dear, None)) is not None:
        problems.append(
            f"safety order {number} would cost {_shown(compute_order_usd(asset, number))} USD, and"
            f" one order can cost at most {MAXIMUM_ORDER_USD} USD (Alpaca's limit): use fewer"
            " safety orders or a smaller volume scale"
        )
    if (number := next(deep, None)) is not None:
        is_below_last = asset.safety_order_reference is SafetyOrderReference.LAST_FILL
        problems.append(
            f"safety order {number} would come"
            f" {_shown(deviations[number - 1])} % below the"
            f" {'last fill' if is_below_last else 'base order'}, which leaves no price: use fewer"
            " safety orders, a smaller deviation or a smaller step scale"
        )
    return problems


def _scale_problem(name: str, scale: Decimal) -> str | None:
    if not scale.is_finite():
        return f"{name} must be a number, not {scale}"
    if not 0 < scale <= MAX_SCALE:
        return f"{name} must be more than 0 and at most {MAX_SCALE}, not {_shown(scale)}"
    if round_to_increment(scale, _SCALE_STEP, ROUND_CEILING) != scale:
        return f"{name} can have at most 6 decimal places, not {_shown(scale, digits=30)}"
    return None


def _shown(number: Decimal, digits: int = 10) -> str:
    """For the eye: ten digits are enough."""
    return f"{Context(prec=digits).plus(number).normalize():f}"
