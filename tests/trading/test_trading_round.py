"""A whole round on real parts: base order, safety order, take profit, cooldown."""

from decimal import Decimal

from bot_parts import BotParts
from domain.cycle import CycleStatus
from models.cycle_data import create_cycle, get_cycle, get_latest_cycle
from models.order_journal import get_entries_of_cycle


async def test_a_round_goes_from_base_order_to_cooldown(settings, exchange, db_conn, make_asset):
    asset = make_asset()
    cycle = create_cycle(db_conn, asset.id, "watching")
    parts = BotParts(settings, exchange)

    await parts.see(parts.quote_both(50000, 50001))
    assert get_latest_cycle(db_conn, asset.id) == cycle, "the market handler writes nothing"
    [base] = parts.orders()
    assert base.client_order_id == f"dca-{cycle.id}-{cycle.order_key}-0"
    parts.sweep()
    held = get_cycle(db_conn, cycle.id)
    assert (held.status, held.quantity, held.order_seq) == (CycleStatus.WATCHING, base.qty, 1)

    await parts.see(parts.quote_both(49000, 49001))
    parts.sweep()
    averaged = get_cycle(db_conn, cycle.id)
    assert (averaged.safety_orders, averaged.order_seq) == (1, 2)
    assert averaged.average_purchase_price < held.average_purchase_price

    await parts.see(parts.quote_both(51000, 51001))
    parts.sweep()
    done, cooling = get_cycle(db_conn, cycle.id), get_latest_cycle(db_conn, asset.id)
    assert done.status is CycleStatus.COMPLETE
    assert cooling.status is CycleStatus.COOLDOWN
    entries = get_entries_of_cycle(db_conn, cycle.id)
    assert [entry.purpose for entry in entries] == ["base", "safety", "take_profit"]
    assert entries[-1].filled_usd > Decimal(150)
