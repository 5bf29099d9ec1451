"""An asset_symbol changed by hand: no coin is traded, ended or adopted in another's name."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from bot_parts import BotParts
from caretaker_process import real_run
from caretakers.consistency_checker import check_consistency
from domain.asset import DcaAsset
from domain.cycle import CycleStatus
from domain.journal import JournalEntry, Purpose
from domain.orders import Side
from models.asset_config import get_asset_config
from models.cycle_data import get_cycle, get_latest_cycle, update_cycle
from models.order_journal import append_journal_entry
from models.trading_state import load_trading_state
from operations.adopt_coins import prepare_adoption
from operations.close_cycle import prepare_close
from operations.refused import Refused
from strategy.asset_checks import find_state_problem
from utils.alpaca_client_rest import place_limit_buy_order
from utils.db_utils import execute_query

FAR = {"qty": Decimal("0.02"), "limit_price": 1000}


@pytest.fixture
def rename(db_conn) -> Callable[[str], DcaAsset]:
    """Give the one asset another symbol, as a person with SQL does."""

    def rename(symbol: str) -> DcaAsset:
        execute_query(
            "UPDATE dca_assets SET asset_symbol = %s", (symbol,), commit=True, db_conn=db_conn
        )
        return get_asset_config(db_conn, symbol)

    return rename


@pytest.fixture
async def bought(parts: BotParts, start, db_conn):
    """A cycle that holds the coins of its base order of BTC."""
    cycle = start()
    await parts.see(parts.quote_both(50000, 50001))
    parts.sweep()
    held = get_cycle(db_conn, cycle.id)
    assert held.quantity > 0
    return held


def errors(caplog) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]


async def test_it_trades_neither_coin_until_it_has_its_name_back(
    parts, settings, db_conn, bought, rename, caplog
):
    renamed = rename("ETH/USD")
    for price in (3000, 60000):  # far below its last fill, far above its average
        await parts.see(
            parts.quote_both(price, price + 1, "ETH/USD"), parts.quote_both(51500, 51501)
        )
    parts.sweep()
    check_consistency(real_run(settings))
    assert get_cycle(db_conn, bought.id) == bought, "its coins are not gone: they are BTC"
    assert len(parts.orders()) == 1
    [error] = errors(caplog)
    assert "change it back, and add ETH/USD beside it" in error
    with pytest.raises(Refused, match=r"cycle \d+ is of BTC/USD"):
        prepare_close(settings, renamed)
    rename("BTC/USD")
    await parts.see(parts.quote_both(51500, 51501))
    parts.sweep()
    assert get_cycle(db_conn, bought.id).status is CycleStatus.COMPLETE


@pytest.mark.parametrize("status", ["buying", "selling"])
async def test_a_lost_order_does_not_end_the_cycle_by_the_rules_of_the_new_coin(
    parts, settings, db_conn, bought, rename, status
):
    update_cycle(db_conn, bought.id, {"status": status, "latest_order_id": str(uuid.uuid4())})
    rename("DOGE/USD")  # of which so few coins would be dust
    waiting = get_cycle(db_conn, bought.id)
    for _ in range(2):
        parts.sweep()
    check_consistency(real_run(settings))
    assert get_cycle(db_conn, bought.id) == waiting
    rename("BTC/USD")
    for _ in range(2):
        parts.sweep()
    healed = get_cycle(db_conn, bought.id)
    assert (healed.status, healed.quantity) == (CycleStatus.WATCHING, bought.quantity)


async def test_coins_of_the_new_name_are_not_adopted_over_those_of_the_old(
    parts, settings, db_conn, bought, rename, exchange
):
    exchange.push_quote("DOGE/USD", "0.1", "0.1001")
    exchange.set_balance("DOGE/USD", "500", price="0.1")
    renamed = rename("DOGE/USD")
    with pytest.raises(Refused, match="cannot adopt anything"):
        prepare_adoption(settings, db_conn, renamed)
    assert get_cycle(db_conn, bought.id) == bought


async def test_the_request_to_close_is_not_tried_and_reported_again_and_again(
    parts, db_conn, bought, rename, caplog
):
    update_cycle(db_conn, bought.id, {"close_requested": True})
    for symbol in ("ETH/USD", "NOPE/USD"):
        rename(symbol)
        caplog.clear()
        for _ in range(4):
            await parts.see()
        assert len(errors(caplog)) == 1, symbol


async def test_a_renaming_before_the_first_fill_is_named_when_that_comes(
    parts, start, db_conn, rename, exchange, caplog
):
    cycle = start()
    order = place_limit_buy_order(
        parts.client, "BTC/USD", **FAR, client_order_id=f"dca-{cycle.id}-{cycle.order_key}-0"
    )
    parts.sweep()
    assert get_cycle(db_conn, cycle.id).latest_order_id == str(order.id)
    rename("ETH/USD")
    exchange.push_quote("BTC/USD", 999, 1000)
    parts.sweep()
    assert "if asset_symbol was changed, change it back" in " ".join(errors(caplog))
    rename("BTC/USD")
    parts.sweep()
    assert get_cycle(db_conn, cycle.id).quantity == FAR["qty"]


async def test_the_last_sale_of_one_coin_is_no_reference_for_another(parts, start, db_conn, rename):
    start(asset={"cooldown_period": 36000, "buy_order_price_deviation_percent": Decimal(5)})
    await parts.see(parts.quote_both(50000, 50001))
    parts.sweep()
    await parts.see(parts.quote_both(51500, 51501))
    parts.sweep()
    renamed = rename("ETH/USD")
    assert get_latest_cycle(db_conn, renamed.id).status is CycleStatus.COOLDOWN
    await parts.see(parts.quote_both(3000, 3001, "ETH/USD"))
    assert [one.symbol for one in parts.orders()] == ["BTC/USD", "BTC/USD"]


async def test_without_coins_of_the_old_name_it_may_get_a_new_one(parts, start, db_conn, rename):
    cycle = start()
    entry = JournalEntry(
        asset_id=cycle.asset_id,
        symbol="BTC/USD",
        cycle_id=cycle.id,
        order_seq=0,
        purpose=Purpose.BASE,
        side=Side.BUY,
        alpaca_order_id=str(uuid.uuid4()),
        client_order_id=f"dca-{cycle.id}-{cycle.order_key}-0",
        requested_qty=Decimal("0.002"),
        limit_price=Decimal(50000),
        filled_qty=Decimal(0),
        filled_avg_price=None,
        final_status="canceled",
        submitted_at=None,
        ended_at=datetime.now(UTC),
    )
    append_journal_entry(db_conn, entry)
    rename("ETH/USD")
    assert find_state_problem(load_trading_state(db_conn, "ETH/USD")) is None
    await parts.see(parts.quote_both(3000, 3001, "ETH/USD"))
    assert [one.symbol for one in parts.orders()] == ["ETH/USD"]


async def test_another_way_of_writing_the_same_coin_is_named_as_that(db_conn, bought, rename):
    rename("btc/usd")
    problem = find_state_problem(load_trading_state(db_conn, "btc/usd"))
    assert problem == "its asset_symbol must be written BTC/USD"
