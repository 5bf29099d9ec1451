"""What a demo came to, and whether the bot kept its rules: its records against the exchange's.

Pure: records in, figures and verdicts out.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import localcontext

from local_stack.audit.ledgers import CycleEvidence, Evidence, match_evidence
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
from local_stack.demo.records import FEE_RATE, BotRecords, ExchangeRecords


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


def summarise(bot: BotRecords, exchange: ExchangeRecords, around: Circumstances) -> Summary:
    """Figures and verdicts."""
    evidence = Evidence(
        assets=bot.assets,
        rows=bot.cycles,
        journal=bot.journal,
        orders=exchange.orders,
        fills=exchange.fills,
        steps=exchange.steps,
        rules=exchange.rules,
        fee_rate=FEE_RATE,
    )
    with localcontext(prec=60):
        matched = match_evidence(evidence)
        cycles = matched.cycles
        assets = tuple(
            sum_up(
                asset.asset_symbol,
                (cycle for cycle in cycles if cycle.asset.id == asset.id),
            )
            for asset in bot.assets
        )
        total = sum_up("total", cycles)
        return Summary(
            assets=assets,
            total=total,
            cycles=tuple(cycle for cycle in cycles if cycle.orders),
            checks=(
                check_profits(assets, total, matched),
                check_cash(exchange),
                check_orders(evidence, matched),
                check_cycles(cycles, evidence),
                check_ladders(cycles, evidence),
                check_sells(bot),
                check_requests(around),
                check_calm(bot, around),
            ),
            requests_peak_per_minute=around.requests_peak_per_minute,
        )
