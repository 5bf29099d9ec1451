"""The status that is kept says what the one says that reads everything, after each change."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from builders import NOW
from domain.events import Event, EventKind, Severity
from models.asset_config import update_asset_config
from models.cycle_data import create_cycle, update_cycle
from models.events import append_event, end_alert, get_open_alerts
from monitoring.status.kept_status import KeptStatusReader
from monitoring.status.status import StatusReader
from operations.asset_changes import save_new_asset
from operations.asset_input import build_asset, read_defaults
from page_history import make_history
from utils.alpaca_http import requests_sent
from utils.db_utils import execute_query


@pytest.fixture
def reader(settings, db_conn):
    found = KeptStatusReader(settings)
    yield found
    found.close()


def without_ages(status):
    """Without what moves by itself, and the account, which is asked once a minute."""
    assets = status.assets and tuple(replace(one, quoted_at=None) for one in status.assets)
    return replace(status, read_at=NOW, assets=assets, caretakers=(), account=None)


def check_same(reader, settings):
    whole = without_ages(StatusReader(settings).load())
    kept = without_ages(reader.load()[0])
    for name in ("assets", "removed", "buy_limits", "bought_today_usd", "last_fills", "events"):
        assert getattr(kept, name) == getattr(whole, name), name
    assert kept == whole


def test_no_change_is_hidden_by_what_is_kept(reader, settings, db_conn, exchange):
    reader._quotes.every_seconds = 0.0
    exchange.push_quote("BTC/USD", "61000", "61010")
    exchange.push_quote("ETH/USD", "2999", "3000")
    exchange.set_balance("BTC/USD", "0.02", price="60000")
    asset = make_history(db_conn, NOW)
    check_same(reader, settings)

    def cycle_of(asset_id):
        query = "SELECT MAX(id) AS id FROM dca_cycles WHERE asset_id = %s"
        return execute_query(query, (asset_id,), fetch_one=True, db_conn=db_conn)["id"]

    def sql(query):
        return lambda: execute_query(query, db_conn=db_conn)

    eth = build_asset("ETH/USD", read_defaults(Decimal("0.25")))
    alert = Event(kind=EventKind.POSITION_SHORT, severity=Severity.ERROR, reason="gone")
    changes = [
        lambda: update_asset_config(db_conn, asset.id, {"take_profit_percent": Decimal(3)}),
        lambda: update_asset_config(db_conn, asset.id, {"is_enabled": False}),
        lambda: save_new_asset(eth),
        lambda: append_event(db_conn, alert),
        lambda: end_alert(db_conn, get_open_alerts(db_conn)[0], "back"),
        lambda: update_cycle(db_conn, cycle_of(asset.id), {"safety_orders": 2}),
        sql("UPDATE dca_assets SET trailing_take_profit_percent = 0.5, take_profit_percent = 1"),
        sql("UPDATE dca_cycles SET trailing_peak = 62000 WHERE status = 'watching'"),
        lambda: exchange.push_quote("BTC/USD", "61500", "61510"),
        lambda: update_cycle(
            db_conn, cycle_of(asset.id), {"status": "complete", "completed_at": NOW}
        ),
        lambda: create_cycle(db_conn, asset.id, "cooldown"),
        sql("DELETE FROM dca_cycles WHERE asset_id = (SELECT MAX(id) FROM dca_assets)"),
        sql("DELETE FROM dca_assets WHERE asset_symbol = 'ETH/USD'"),
    ]
    for change in changes:
        change()
        check_same(reader, settings)


def test_what_did_not_change_is_not_read_again_and_prices_cost_one_request(
    reader, settings, db_conn, exchange
):
    exchange.push_quote("BTC/USD", "61000", "61010")
    exchange.set_balance("BTC/USD", "0.02", price="60000")
    make_history(db_conn, NOW)
    reader.load()
    reader._quotes.every_seconds = 0.0
    statements = count_statements(db_conn)
    sent = requests_sent()
    for _ in range(5):
        reader.load()
    assert 1 <= requests_sent() - sent <= 5, "one for all prices, where the last has its answer"
    assert (count_statements(db_conn) - statements) / 5 <= 3


def count_statements(db_conn) -> int:
    """That the server has been asked, by whomever."""
    row = execute_query("SHOW GLOBAL STATUS LIKE 'Com_select'", fetch_one=True, db_conn=db_conn)
    return int(row["Value"])
