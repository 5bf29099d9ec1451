"""What is grouped, held back and kept: the rules of the outbox, without mail or waiting."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from utils.alert_outbox import (
    HOUR_SECONDS,
    LEASE_SECONDS,
    MAX_WAITING,
    RETRY_SECONDS,
    Alert,
    Outbox,
    changed,
    load_outbox,
)

RULES = {"mails_per_hour": 2, "group_seconds": 10.0}
NOW = 1_000_000.0


def add(outbox: Outbox, line: str, now: float, *, name: str = "x", matter: str = "") -> None:
    """`line` is a matter of its own, unless `matter` is given."""
    outbox.add(Alert(name=name, matter=matter or line), line, now)


def outbox_with(*lines: str, now: float = NOW) -> Outbox:
    outbox = Outbox()
    for line in lines:
        add(outbox, line, now)
    return outbox


def mail(outbox: Outbox, now: float) -> list[str]:
    assert outbox.seconds_until_due(now, **RULES) == 0
    batch = outbox.lease(now)
    outbox.mailed(batch, now)
    return batch.lines


def test_nothing_waits_in_an_empty_outbox():
    assert Outbox().seconds_until_due(NOW, **RULES) is None


def test_the_first_line_waits_for_others_and_all_go_in_one_mail():
    outbox = outbox_with("a")
    add(outbox, "b", NOW + 4)
    assert outbox.seconds_until_due(NOW + 4, **RULES) == pytest.approx(6)
    assert mail(outbox, NOW + 10) == ["a", "b"]
    assert outbox.seconds_until_due(NOW + 10, **RULES) is None


def test_the_same_line_is_held_back_for_an_hour_and_counted_in_the_next_mail():
    outbox = outbox_with("a", "a", "a")
    assert mail(outbox, NOW + 10) == ["a"]
    add(outbox, "a", NOW + HOUR_SECONDS - 1)
    assert outbox.waiting == []
    add(outbox, "b", NOW + HOUR_SECONDS - 1)
    batch = outbox.lease(NOW + HOUR_SECONDS)
    assert (batch.lines, batch.held_back) == (["b"], 1)
    add(outbox, "a", NOW + HOUR_SECONDS + 1)
    assert outbox.waiting == ["b", "a"], "the hour is over"


def test_other_words_of_the_same_alert_are_held_back_and_another_matter_is_not():
    outbox = Outbox()
    for matter, line in (("BTC/USD", "a"), ("BTC/USD", "in other words"), ("ETH/USD", "b")):
        add(outbox, line, NOW, matter=matter)
    assert (outbox.waiting, outbox.held_back) == (["a", "b"], 1)


def test_what_ended_meanwhile_is_told_anew_when_it_begins_again_and_so_is_its_next_end():
    outbox = Outbox()
    for name in ("begun", "begun", "ended", "begun", "ended", "ended"):
        add(outbox, name, NOW, name=name, matter="a stall")
    assert outbox.waiting == ["begun", "ended", "begun", "ended"]


def test_no_more_than_so_many_mails_an_hour_and_what_waited_comes_in_one():
    outbox = outbox_with("a")
    mail(outbox, NOW + 10)
    add(outbox, "b", NOW + 20)
    mail(outbox, NOW + 30)
    for name in "cde":
        add(outbox, name, NOW + 40)
    assert outbox.seconds_until_due(NOW + 60, **RULES) == pytest.approx(HOUR_SECONDS - 50)
    assert mail(outbox, NOW + 10 + HOUR_SECONDS) == ["c", "d", "e"]


def test_what_is_under_way_is_not_sent_twice_and_is_sent_again_when_its_sender_died():
    outbox = outbox_with("a")
    outbox.lease(NOW + 10)
    add(outbox, "b", NOW + 11)
    assert outbox.seconds_until_due(NOW + 30, **RULES) == pytest.approx(LEASE_SECONDS - 20)
    assert mail(outbox, NOW + 10 + LEASE_SECONDS) == ["a", "b"]


def test_a_slow_sender_that_comes_back_takes_away_only_what_it_mailed():
    outbox = outbox_with("a")
    slow = outbox.lease(NOW + 10)
    mail(outbox, NOW + 10 + LEASE_SECONDS)
    add(outbox, "b", NOW + 200)
    outbox.mailed(slow, NOW + 210)
    assert outbox.waiting == ["b"]


def test_after_a_failure_the_lines_stay_and_are_tried_again_later():
    outbox = outbox_with("a")
    outbox.lease(NOW + 10)
    outbox.failed(NOW + 12)
    assert outbox.seconds_until_due(NOW + 12, **RULES) == pytest.approx(RETRY_SECONDS)
    assert mail(outbox, NOW + 12 + RETRY_SECONDS) == ["a"]


def test_it_never_grows_without_bound():
    outbox = outbox_with(*(str(number) for number in range(MAX_WAITING + 7)))
    assert len(outbox.waiting) == MAX_WAITING
    assert outbox.held_back == 7


def test_a_clock_that_was_set_back_blocks_nothing():
    outbox = outbox_with("a", now=NOW + 10 * HOUR_SECONDS)
    outbox.lease(NOW + 10 * HOUR_SECONDS)
    outbox.mailed_at = [NOW + 10 * HOUR_SECONDS] * 5
    add(outbox, "a", NOW)
    wait_seconds = outbox.seconds_until_due(NOW, **RULES)
    assert wait_seconds is not None
    assert wait_seconds <= LEASE_SECONDS
    assert outbox.waiting == ["a", "a"], "said again, because nobody knows when it was said"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"waiting": 7}', '{"waiting": [1]}', '{"x": 1}'])
def test_a_file_of_garbage_counts_as_empty(tmp_path: Path, text: str):
    (tmp_path / "alerts.json").write_text(text)
    assert load_outbox(tmp_path) == Outbox()


def _add_many(run_dir: Path, name: str) -> None:
    for number in range(10):
        with changed(run_dir) as outbox:
            add(outbox, f"{name}{number}", NOW)


def test_processes_that_add_at_once_lose_nothing(tmp_path: Path):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_add_many, args=(tmp_path, name)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
        assert writer.exitcode == 0
    assert len(load_outbox(tmp_path).waiting) == 30
