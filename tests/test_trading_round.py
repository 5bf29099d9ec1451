"""A whole round on real parts: base order, safety order, take profit, cooldown."""

from decimal import Decimal

import pytest

from bot_parts import BotParts
from caretaker_process import real_run
from caretaker_work.consistency_checking import check_consistency
from models.asset_config import get_asset_config
from models.cycle_data import CycleStatus, create_cycle, get_cycle, get_latest_cycle
from models.order_journal import get_entries_of_cycle
from steering.closing import prepare_close
from steering.refused import Refused
from utils.db_utils import execute_query


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
    done, resting = get_cycle(db_conn, cycle.id), get_latest_cycle(db_conn, asset.id)
    assert done.status is CycleStatus.COMPLETE
    assert resting.status is CycleStatus.COOLDOWN
    entries = get_entries_of_cycle(db_conn, cycle.id)
    assert [entry.purpose for entry in entries] == ["base", "safety", "take_profit"]
    assert entries[-1].filled_usd > Decimal(150)


async def test_an_asset_that_is_renamed_while_it_holds_coins_trades_neither_coin(
    settings, exchange, db_conn, make_asset, caplog
):
    asset = make_asset()
    cycle = create_cycle(db_conn, asset.id, "watching")
    parts = BotParts(settings, exchange)
    await parts.see(parts.quote_both(50000, 50001))
    parts.sweep()
    held = get_cycle(db_conn, cycle.id)

    def rename(symbol):
        execute_query(
            "UPDATE dca_assets SET asset_symbol = %s WHERE id = %s",
            (symbol, asset.id),
            commit=True,
            db_conn=db_conn,
        )

    rename("ETH/USD")
    for price in (3000, 60000):  # far below its last fill, far above its average
        await parts.see(
            parts.quote_both(price, price + 1, "ETH/USD"), parts.quote_both(51500, 51501)
        )
    parts.sweep()
    check_consistency(real_run(settings))
    assert get_cycle(db_conn, cycle.id) == held, "its coins are not gone: they are BTC"
    assert len(parts.orders()) == 1
    assert "change it back, and add ETH/USD beside it" in caplog.text
    with pytest.raises(Refused, match=r"cycle \d+ trades BTC/USD"):
        prepare_close(settings, get_asset_config(db_conn, "ETH/USD"))

    rename("BTC/USD")
    await parts.see(parts.quote_both(51500, 51501))
    parts.sweep()
    assert get_cycle(db_conn, cycle.id).status is CycleStatus.COMPLETE
    await parts.market.stop()
