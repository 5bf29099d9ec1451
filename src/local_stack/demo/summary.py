"""The result of a demo, and whether the bot kept its rules: its records against the exchange's.

Pure: records in, figures and verdicts out.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import localcontext

from local_stack.audit.ledgers import CycleEvidence, match_evidence
from local_stack.demo.checks import (
    Check,
    Circumstances,
    check_calm,
    check_cash,
    check_cycles,
    check_ladders,
    check_orders,
    check_profits,
    check_requests,
    check_sells,
)
from local_stack.demo.figures import AssetFigures, sum_up
from local_stack.demo.records import DemoRecords


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    assets: tuple[AssetFigures, ...]
    total: AssetFigures
    cycles: tuple[CycleEvidence, ...]
    checks: tuple[Check, ...]
    requests_peak_per_minute: int

    @property
    def is_well(self) -> bool:
        return all(check.holds for check in self.checks)


def summarise(records: DemoRecords, circumstances: Circumstances) -> Summary:
    """Figures and verdicts."""
    evidence = records.evidence
    with localcontext(prec=60):
        matched = match_evidence(evidence)
        cycles = matched.cycles
        assets = tuple(
            sum_up(asset.asset_symbol, [one for one in cycles if one.asset.id == asset.id])
            for asset in evidence.assets
        )
        total = sum_up("total", cycles)
        return Summary(
            assets=assets,
            total=total,
            cycles=tuple(cycle for cycle in cycles if cycle.orders),
            checks=(
                check_profits(assets, total, matched),
                check_cash(records),
                check_orders(evidence, matched),
                check_cycles(cycles, evidence),
                check_ladders(cycles, evidence),
                check_sells(records),
                check_requests(circumstances),
                check_calm(records, circumstances),
            ),
            requests_peak_per_minute=circumstances.requests_peak_per_minute,
        )
