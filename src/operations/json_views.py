"""What the tools and the page say of assets, plans and adoptions, as JSON. Decides nothing."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from domain.asset import DcaAsset
from domain.cycle import DcaCycle
from strategy.cycle_plan import CyclePlan
from strategy.ladder import compute_ladder_usd
from utils.formatting import plain

if TYPE_CHECKING:  # they load the exchange's SDK, which a list of assets does not need
    from operations.adopt_coins import Adoption
    from operations.preview import Preview


def asset_json(asset: DcaAsset, cycle: DcaCycle | None = None) -> dict[str, Any]:
    """An asset with its open cycle, if any."""
    shown: dict[str, Any] = plain(asdict(asset)) | {"ladder_usd": plain(compute_ladder_usd(asset))}
    shown["cycle"] = None if cycle is None else plain(asdict(cycle))
    if asset.id == 0:
        del shown["id"]
    return shown


def changes_json(before: DcaAsset, after: DcaAsset) -> dict[str, list[Any]]:
    """The columns that differ, each with its old and its new value."""
    old, new = plain(asdict(before)), plain(asdict(after))
    return {name: [old[name], new[name]] for name in old if old[name] != new[name]}


def plan_json(plan: CyclePlan) -> dict[str, Any]:
    """The plan with every number exact."""
    orders = []
    for order in plan.orders:
        down_percent = round(plan.compute_down_percent(order), 6)
        shown = asdict(order) | {"size_usd": order.size_usd, "down_percent": down_percent}
        orders.append(plain(shown))
    start = None if plan.start is None else plain(asdict(plan.start))
    return {
        "ask": plain(plan.ask),
        "start": start,
        "orders": orders,
        "capital_usd": plain(plan.capital_usd),
        "ends_early_because": plan.problem,
    }


def preview_json(preview: Preview) -> dict[str, Any]:
    """Everything a page would show before a change."""
    return {
        "asset": asset_json(preview.asset, preview.state.cycle if preview.state else None),
        "money": preview.money,
        "quoted_at": plain(preview.quoted_at),
        "plan": plan_json(preview.plan) if preview.plan else None,
        "rest_of_open_cycle": plan_json(preview.rest) if preview.rest else None,
        "account": {
            "needed_usd": plain(preview.needed_usd),
            "spendable_usd": plain(preview.spendable_usd),
            "ladders": [plain(asdict(need)) for need in preview.needs],
        },
        "refusals": preview.refusals,
        "warnings": preview.warnings,
    }


def adoption_json(adoption: Adoption, plan: CyclePlan) -> dict[str, Any]:
    """What would be adopted, and the rest of the cycle that it would be."""
    return {
        "symbol": adoption.asset.asset_symbol,
        "position_qty": plain(adoption.position_qty),
        "quantity": plain(adoption.quantity),
        "average_price": plain(adoption.average_price),
        "safety_orders": adoption.safety_orders,
        "warnings": adoption.warnings,
        "plan": plan_json(plan),
    }
