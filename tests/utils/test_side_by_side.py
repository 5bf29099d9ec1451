"""Two calls at once: both answers, one deterministic error, and the same few threads for ever."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from utils.side_by_side import Ahead, make_ready, side_by_side


def fail(error):
    raise error


def test_each_waits_for_the_other_so_both_run_at_once():
    both = threading.Barrier(2)
    first, second = side_by_side(lambda: both.wait(10), lambda: both.wait(10))
    assert {first, second} == {0, 1}


def test_the_first_runs_in_the_calling_thread():
    first, second = side_by_side(threading.get_ident, threading.get_ident)
    assert first == threading.get_ident() != second


def test_a_call_starts_no_thread_where_they_were_made_ready():
    make_ready(2)
    before = set(threading.enumerate())
    calls = [Ahead(threading.current_thread), Ahead(threading.current_thread)]
    assert {call.answer() for call in calls} <= before
    make_ready(2)
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("is_late", [False, True])
def test_the_error_of_the_first_wins_whichever_came_first_and_the_others_is_noted(is_late):
    other_failed = threading.Event()

    def fail_first():
        if is_late:
            assert other_failed.wait(10)
        raise KeyError("first")

    def fail_second():
        other_failed.set()
        raise ValueError("second")

    with pytest.raises(KeyError, match="first") as caught:
        side_by_side(fail_first, fail_second)
    assert caught.value.__notes__ == ["meanwhile: ValueError: second"]


def test_an_error_of_the_second_is_raised_and_names_its_line():
    with pytest.raises(ValueError, match="second") as caught:
        side_by_side(lambda: 1, lambda: fail(ValueError("second")))
    assert caught.traceback[-1].name == "fail"


def test_when_the_first_fails_the_second_has_ended_before_anybody_hears_of_it():
    go_on, ended = threading.Event(), threading.Event()

    def end_late():
        assert go_on.wait(10)
        ended.set()

    def fail_and_let_go():
        threading.Timer(0.05, go_on.set).start()
        raise KeyError("first")

    with pytest.raises(KeyError):
        side_by_side(fail_and_let_go, end_late)
    assert ended.is_set()


def test_the_same_helper_is_used_again_also_after_errors():
    _, helper = side_by_side(int, threading.get_ident)
    for _ in range(100):
        with pytest.raises(ValueError, match="no"):
            side_by_side(lambda: 1, lambda: fail(ValueError("no")))
        assert side_by_side(int, threading.get_ident) == (0, helper)


def test_no_more_helpers_live_than_calls_were_ever_under_way_at_once():
    def helpers():
        return [one for one in threading.enumerate() if one.name == "side-by-side"]

    with ThreadPoolExecutor(8) as callers:
        both = threading.Barrier(16)
        at_once = [
            callers.submit(side_by_side, lambda: both.wait(10), lambda: both.wait(10))
            for _ in range(8)
        ]
        assert all(len(one.result()) == 2 for one in at_once)
        most = len(helpers())
        answers = [callers.submit(side_by_side, lambda n=n: n, lambda n=n: -n) for n in range(500)]
        assert [one.result() for one in answers] == [(n, -n) for n in range(500)]
    assert len(helpers()) == most


def test_a_call_within_a_call_needs_no_helper_that_is_busy():
    def nested(depth):
        return side_by_side(int, lambda: nested(depth - 1))[1] if depth else "deep"

    assert nested(20) == "deep"


def test_an_answer_lives_no_longer_than_its_reader():
    class Answer:
        pass

    answer = side_by_side(int, Answer)[1]
    gone = weakref.ref(answer)
    del answer
    gc.collect()
    assert gone() is None


def test_a_child_process_finds_no_helper_that_it_does_not_have():
    side_by_side(int, int)
    child = os.fork()
    if not child:
        os._exit(side_by_side(int, lambda: 7)[1])
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
