"""When a cooldown is over, and cooldown_manager's work on a real database."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from builders import NOW, build_asset, build_cycle, build_state
from caretaker_process import dry_run, real_run
from caretakers.cooldown_manager import end_cooldowns
from caretakers.plans.cooldown_manager import plan_cooldown_ends, why_endless
from config import get_settings
from models.cycle_data import create_cycle, get_cycle, update_cycle
from models.trading_state import load_cooldown, load_cooldowns
from strategy.cooldown import is_cooldown_over
from trading.cooldown_ends import end_cooldown
from utils.db_utils import execute_query


@pytest.fixture
def run_now(db_conn):
    """Run the work as the script would: the database, and no exchange at all."""

    def run(dry=False):
        one = dry_run(get_settings()) if dry else real_run(get_settings())
        end_cooldowns(one)
        return one

    return run


def add_cooldown(db_conn, asset, ended_seconds_ago, status="complete"):
    """A cycle that ended so long ago, and the cooling one after it."""
    ended_at = datetime.now(UTC) - timedelta(seconds=ended_seconds_ago)
    create_cycle(db_conn, asset.id, status, completed_at=ended_at)
    return create_cycle(db_conn, asset.id, "cooldown")


@pytest.mark.parametrize("ended_as", ["complete", "error"])
def test_cooldown_expired(run_now, db_conn, make_asset, ended_as):
    cooling = add_cooldown(db_conn, make_asset(cooldown_period=60), 70, ended_as)
    run = run_now()
    assert [step["cycle"] for step in run.done] == [cooling.id]
    after = get_cycle(db_conn, cooling.id)
    assert after == replace(cooling, status="watching", updated_at=after.updated_at)
    assert run_now().plan == [], "a second run does nothing"


def test_cooldown_not_expired(run_now, db_conn, make_asset):
    cooling = add_cooldown(db_conn, make_asset(cooldown_period=60), 50)
    assert run_now().plan == []
    assert get_cycle(db_conn, cooling.id) == cooling


def test_cooldown_no_valid_previous_cycle(run_now, db_conn, make_asset):
    asset = make_asset(cooldown_period=1)
    create_cycle(db_conn, asset.id, "complete")  # without completed_at
    cooling = create_cycle(db_conn, asset.id, "cooldown")
    late = create_cycle(db_conn, asset.id, "complete", completed_at=NOW)  # after the cooling one
    assert late.id > cooling.id
    assert run_now().plan == []
    assert get_cycle(db_conn, cooling.id) == cooling


def test_the_newest_end_before_the_resting_cycle_counts(run_now, db_conn, make_asset):
    asset = make_asset(cooldown_period=60)
    moment = datetime.now(UTC)
    create_cycle(
        db_conn, asset.id, "complete", completed_at=moment - timedelta(seconds=10)
    )  # the newest end, though not the newest row
    create_cycle(db_conn, asset.id, "error", completed_at=moment - timedelta(days=1))
    cooling = create_cycle(db_conn, asset.id, "cooldown")
    assert run_now().plan == []
    [cooldown] = load_cooldowns(db_conn)
    assert cooldown.cycle == cooling
    assert moment - cooldown.previous_completed_at == timedelta(seconds=10)


def test_two_rows_of_one_moment_are_ordered_by_their_ids(run_now, db_conn, make_asset):
    asset = make_asset(cooldown_period=1)
    cooling = add_cooldown(db_conn, asset, 10)
    execute_query("UPDATE dca_cycles SET created_at = '2024-03-01 12:00:00'", db_conn=db_conn)
    assert [step["cycle"] for step in run_now().done] == [cooling.id]


def test_assets_cool_down_each_by_their_own_period_disabled_ones_too(run_now, db_conn, make_asset):
    over = add_cooldown(db_conn, make_asset(cooldown_period=60, is_enabled=False), 70)
    add_cooldown(db_conn, make_asset("ETH/USD", cooldown_period=3600), 70)
    at_once = add_cooldown(db_conn, make_asset("SOL/USD", cooldown_period=0), 0)
    assert [step["cycle"] for step in run_now().done] == [over.id, at_once.id]


def test_a_dry_run_changes_nothing(run_now, db_conn, make_asset):
    cooling = add_cooldown(db_conn, make_asset(cooldown_period=60), 70)
    assert [step["cycle"] for step in run_now(dry=True).plan] == [cooling.id]
    assert get_cycle(db_conn, cooling.id) == cooling


@pytest.mark.parametrize(
    "change",
    [{"status": "buying", "latest_order_id": "x"}, {"order_seq": 1}, {"status": "complete"}],
)
def test_a_cycle_that_was_touched_meanwhile_is_left_alone(db_conn, make_asset, change):
    """An early restart bought between reading and writing."""
    cooling = add_cooldown(db_conn, make_asset(cooldown_period=60), 70)
    cooldown = load_cooldown(db_conn, cooling.id)
    update_cycle(db_conn, cooling.id, change)
    before = get_cycle(db_conn, cooling.id)
    assert not end_cooldown(cooldown, datetime.now(UTC), "test")
    assert get_cycle(db_conn, cooling.id) == before


def test_a_period_that_was_made_longer_meanwhile_counts(db_conn, make_asset):
    cooling = add_cooldown(db_conn, make_asset(cooldown_period=60), 70)
    cooldown = load_cooldown(db_conn, cooling.id)
    execute_query("UPDATE dca_assets SET cooldown_period = 3600", db_conn=db_conn)
    assert not end_cooldown(cooldown, datetime.now(UTC), "test")
    assert get_cycle(db_conn, cooling.id) == cooling


@pytest.mark.parametrize("zone", ["+05:30", "-08:00"])
def test_the_time_zones_of_server_and_machine_play_no_part(
    run_now, db_conn, make_asset, monkeypatch, zone
):
    """Half an hour to go must stay half an hour in any zone, for both are far larger."""
    execute_query(f"SET GLOBAL time_zone = '{zone}'", db_conn=db_conn)
    try:
        with monkeypatch.context() as elsewhere:
            elsewhere.setenv("TZ", "Pacific/Auckland")
            time.tzset()
            add_cooldown(db_conn, make_asset(cooldown_period=3600), 1800)
            over = add_cooldown(db_conn, make_asset("ETH/USD", cooldown_period=1200), 1800)
            assert [step["cycle"] for step in run_now().done] == [over.id]
    finally:
        execute_query("SET GLOBAL time_zone = 'SYSTEM'", db_conn=db_conn)
        time.tzset()


def build_cooldown(seconds=60, ended_at=NOW - timedelta(seconds=60)):
    asset, cycle = build_asset(cooldown_period=seconds), build_cycle(status="cooldown")
    return build_state(asset, cycle, previous_completed_at=ended_at)


@pytest.mark.parametrize("transition", ["2026-03-08T09:30Z", "2026-11-01T08:30Z"])
def test_a_cooldown_across_the_change_of_daylight_saving_lasts_its_seconds(transition):
    """Two hours are two hours, though the clocks on the wall say one or three."""
    ended_at = datetime.fromisoformat(transition)
    rest = build_cooldown(7200, ended_at)
    for zone in (UTC, ZoneInfo("America/Los_Angeles"), timezone(timedelta(hours=5))):
        ends_at = (ended_at + timedelta(seconds=7200)).astimezone(zone)
        assert is_cooldown_over(rest, ends_at)
        assert not is_cooldown_over(rest, (ended_at + timedelta(seconds=7199)).astimezone(zone))


def test_a_cooldown_is_over_at_its_very_second():
    rest = build_cooldown()
    assert plan_cooldown_ends([rest], NOW) == [rest]
    assert plan_cooldown_ends([rest], NOW - timedelta(microseconds=1)) == []


def test_periods_and_ends_at_the_edge_of_the_calendar_do_not_break_it():
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert not is_cooldown_over(build_cooldown(ended_at=last), NOW)
    assert not is_cooldown_over(build_cooldown(2**31 - 1), NOW)


def test_a_cooldown_without_an_end_to_count_from_is_known_as_endless():
    assert why_endless(build_cooldown(), NOW) is None
    assert "no cycle before it" in why_endless(build_cooldown(ended_at=None), NOW)
    in_future = build_cooldown(ended_at=NOW + timedelta(hours=2))
    assert "in the future" in why_endless(in_future, NOW)
