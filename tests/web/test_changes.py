"""What the owner changes from the page: shown first, done once, refused as scripts refuse it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from builders import NOW
from models.asset_config import get_asset_config
from models.cycle_data import create_cycle, get_latest_cycle
from models.events import get_events
from operations.asset_changes import save_new_asset
from operations.asset_input import build_asset, read_defaults
from runtime.operator_flags import is_paused
from utils.db_utils import execute_query
from web import confirm
from web.confirm import Gone, Keys


@pytest.fixture(autouse=True)
def prices(exchange):
    exchange.push_quote("BTC/USD", "60000", "60010")
    exchange.push_quote("ETH/USD", "2999", "3000")


@pytest.fixture
def asset(db_conn):
    """One of its own for each test, with a cycle that watches."""
    saved = save_new_asset(build_asset("BTC/USD", read_defaults(Decimal("0.25"))))
    yield saved
    for table in ("dca_orders", "dca_cycles", "dca_assets", "dca_events"):
        execute_query(f"DELETE FROM {table}", db_conn=db_conn)


def now(db_conn):
    return get_asset_config(db_conn, "BTC/USD")


def test_an_edit_is_shown_with_its_plan_and_saved_with_the_key_of_that(browser, asset, db_conn):
    wanted = {"symbol": "btcusd", "is_new": False, "changes": {"take_profit": "2.5"}}
    shown = browser.post("/api/preview", wanted).body
    assert shown["changes"] == {"take_profit_percent": ["1.2", "2.5"]}
    assert shown["plan"]["orders"]
    assert shown["refusals"] == []
    assert now(db_conn).take_profit_percent == Decimal("1.2"), "a preview saves nothing"

    answer = browser.post("/api/apply", wanted | {"confirm": shown["confirm"]})
    assert answer.body == {"done": "BTC/USD is changed."}
    assert now(db_conn).take_profit_percent == Decimal("2.5")
    [event, *_] = get_events(db_conn)
    assert (event["kind"], event["reason"]) == (
        "asset_edited",
        "take_profit_percent=2.5, by the page",
    )
    again = browser.post("/api/apply", wanted | {"confirm": shown["confirm"]})
    assert again.status == 409, "done once"


def test_what_has_changed_since_it_was_shown_must_be_shown_again(browser, asset, db_conn):
    wanted = {"symbol": "BTC/USD", "is_new": False, "changes": {"take_profit": "2.5"}}
    key = browser.post("/api/preview", wanted).body["confirm"]
    execute_query("UPDATE dca_assets SET take_profit_percent = 3", db_conn=db_conn)
    answer = browser.post("/api/apply", wanted | {"confirm": key})
    assert (answer.status, now(db_conn).take_profit_percent) == (409, Decimal(3))
    other = wanted | {"changes": {"take_profit": "9"}, "confirm": key}
    assert browser.post("/api/apply", other).status == 409, "a key is of what it was made for"


@pytest.mark.parametrize("action", ["disable", "open"])
def test_a_double_click_and_a_request_that_is_sent_again_do_it_once(
    browser, asset, db_conn, action
):
    execute_query("UPDATE dca_assets SET start_mode = 'manual'", db_conn=db_conn)
    before = len(get_events(db_conn))
    question = browser.post(f"/api/assets/{action}", {"symbol": "BTC/USD"}).body
    confirmed = {"symbol": "BTC/USD", "confirm": question["confirm"]}
    with ThreadPoolExecutor(6) as clicks:
        calls = [clicks.submit(browser.post, f"/api/assets/{action}", confirmed) for _ in range(6)]
        assert sorted(call.result().status for call in calls)[:2] == [200, 409]
    assert len(get_events(db_conn)) == before + 1


def test_a_key_is_good_once_even_where_all_is_again_as_it_was(browser, asset, db_conn):
    def wanted(percent):
        changes = {"symbol": "BTC/USD", "is_new": False, "changes": {"take_profit": percent}}
        return changes | {"confirm": browser.post("/api/preview", changes).body["confirm"]}

    first = wanted("2.5")
    assert browser.post("/api/apply", first).status == 200
    assert browser.post("/api/apply", wanted("1.2")).status == 200
    assert browser.post("/api/apply", first).status == 409
    assert now(db_conn).take_profit_percent == Decimal("1.2")


def test_a_key_is_of_its_action_its_facts_and_its_process_and_not_for_long(monkeypatch):
    """A process that was started again may trade another account than the one that was shown."""
    keys, facts = Keys(), {"id": 1, "base": Decimal(20)}
    key = keys.make("open", facts)
    for others, action, changed in (
        (Keys(), "open", facts),
        (keys, "close", facts),
        (keys, "open", facts | {"base": Decimal(21)}),
    ):
        with pytest.raises(Gone):
            others.use(key, action, changed)
    for wrong in ("", ".", "1", f"0{key}", f"{key}0", key.upper(), key.partition(".")[2], "\ud800"):
        with pytest.raises(Gone):
            keys.use(wrong, "open", facts)
    keys.use(key, "open", facts)
    with pytest.raises(Gone):
        keys.use(key, "open", facts)
    monkeypatch.setattr(confirm, "GOOD_SECONDS", -1)
    with pytest.raises(Gone):
        keys.use(keys.make("open", facts), "open", facts)


def test_what_the_scripts_refuse_has_no_key(browser, asset, db_conn):
    wanted = {"symbol": "BTC/USD", "is_new": False, "changes": {"base": "1"}}
    shown = browser.post("/api/preview", wanted).body
    assert shown["refusals"]
    assert shown["confirm"] is None
    wrong = browser.post("/api/preview", wanted | {"changes": {"take_profit": "<script>"}})
    assert wrong.status == 422
    assert "takes a plain number" in wrong.body["error"]
    unknown = browser.post("/api/preview", wanted | {"changes": {"is_enabled": "1"}})
    assert (unknown.status, unknown.body["error"]) == (400, "there is no option is_enabled")


def test_a_new_asset_gets_the_amounts_that_its_coin_needs(browser, asset, db_conn):
    wanted = {"symbol": "ETH/USD", "is_new": True, "changes": {"max_safety": "2"}}
    shown = browser.post("/api/preview", wanted).body
    done = browser.post("/api/apply", wanted | {"confirm": shown["confirm"]})
    assert done.body == {"done": "ETH/USD is added: the base order comes at the next price."}
    saved = get_asset_config(db_conn, "ETH/USD")
    assert saved.max_safety_orders == 2
    assert get_latest_cycle(db_conn, saved.id).is_open
    assert browser.post("/api/preview", wanted).status == 422, "it is configured already"


def test_enable_and_disable_take_two_steps(browser, asset, db_conn):
    question = browser.post("/api/assets/disable", {"symbol": "BTC/USD"}).body
    assert question["ask"] == "Disable BTC/USD: it buys no more; it holds nothing."
    assert now(db_conn).is_enabled
    confirmed = {"symbol": "BTC/USD", "confirm": question["confirm"]}
    assert browser.post("/api/assets/enable", confirmed).status == 409, "the key of another step"
    assert browser.post("/api/assets/disable", confirmed).body["done"].startswith("BTC/USD is dis")
    assert not now(db_conn).is_enabled

    question = browser.post("/api/assets/enable", {"symbol": "BTC/USD"}).body
    assert "local exchange: play money" in question["ask"]
    confirmed["confirm"] = question["confirm"]
    assert browser.post("/api/assets/enable", confirmed).body == {"done": "BTC/USD is enabled."}
    reasons = [event["reason"] for event in get_events(db_conn, 2)]
    assert reasons == ["enabled by the page", "disabled by the page"]


def test_open_says_what_the_base_order_waits_for(browser, asset, db_conn):
    execute_query("UPDATE dca_assets SET start_mode = 'manual'", db_conn=db_conn)
    question = browser.post("/api/assets/open", {"symbol": "BTC/USD"}).body
    assert question["ask"] == "Open BTC/USD with 20 USD (local exchange: play money)?"
    confirmed = {"symbol": "BTC/USD", "confirm": question["confirm"]}
    done = browser.post("/api/assets/open", confirmed).body["done"]
    assert "the daemon does not run (scripts/bot start)" in done
    assert get_latest_cycle(db_conn, asset.id).open_requested
    assert get_events(db_conn)[0]["reason"] == "the page wants its base order now"


def test_close_names_coins_and_usd_and_sells_once(browser, asset, db_conn, exchange):
    execute_query("DELETE FROM dca_cycles", db_conn=db_conn)
    cycle = create_cycle(
        db_conn,
        asset.id,
        "watching",
        quantity=Decimal("0.01"),
        average_purchase_price=Decimal(50000),
        last_order_fill_price=Decimal(50000),
    )
    exchange.set_balance("BTC/USD", "0.009975", price="50000")
    question = browser.post("/api/assets/close", {"symbol": "BTC/USD"}).body
    assert "coins held: about 0.009975 BTC" in question["ask"]
    assert "USD after fees" in question["ask"]
    confirmed = {"symbol": "BTC/USD", "confirm": question["confirm"]}
    done = browser.post("/api/assets/close", confirmed).body["done"]
    assert done.startswith("BTC/USD is closed: 0.00997")
    assert get_latest_cycle(db_conn, asset.id).id >= cycle.id
    kinds = [(event["kind"], event["reason"]) for event in get_events(db_conn)]
    assert ("close_requested", "the page wants it sold now") in kinds
    assert browser.post("/api/assets/close", confirmed).status in (409, 422), "sold once"
    sells = "SELECT COUNT(*) AS n FROM dca_orders WHERE side = 'sell'"
    assert execute_query(sells, fetch_one=True, db_conn=db_conn)["n"] == 1


def test_a_pause_works_and_is_noted(browser, page, asset, db_conn):
    done = browser.post("/api/pause").body["done"]
    assert done == "No new buys from now on; what is held is still sold."
    assert is_paused(page.settings.run_dir)
    assert browser.get("/api/session").body["paused"]
    assert browser.post("/api/resume").body["done"].startswith("It buys again.")
    assert not is_paused(page.settings.run_dir)
    reasons = [event["reason"] for event in get_events(db_conn, 2)]
    assert reasons == ["the page resumed buying", "the page paused buying"]


def test_an_alert_that_was_seen_is_called_wrong_no_more(browser, asset, db_conn):
    execute_query(
        "INSERT INTO dca_events (kind, severity, reason, created_at) VALUES (%s, %s, %s, %s)",
        ("position_short", "error", "coins are missing", NOW),
        db_conn=db_conn,
    )
    number = get_events(db_conn)[0]["id"]
    assert browser.post("/api/alerts/ack", {"id": number}).body["done"] == f"acknowledged: {number}"
    assert get_events(db_conn)[0]["severity"] == "warning"
    assert browser.post("/api/alerts/ack", {"id": "999999"}).status == 422
    assert browser.post("/api/alerts/ack", {"id": None}).status == 400
