"""Calls that go out together: at the same time, in order of their answers, and never stuck."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from threading import Barrier, Event, get_ident

import pytest

from champion_gate.domain.together import Together

PATIENCE = 20.0


def test_calls_are_under_way_at_the_same_time() -> None:
    meet = Barrier(3)

    def call(answer: str) -> Callable[[], str]:
        def run() -> str:
            meet.wait(PATIENCE)
            return answer

        return run

    assert Together(2).all(call("a"), call("b"), call("c")) == ("a", "b", "c")


def test_of_those_that_fail_the_first_in_order_is_told() -> None:
    both, ended = Barrier(2), []

    def fail(error: Exception) -> Callable[[], None]:
        def run() -> None:
            both.wait(PATIENCE)
            ended.append(error)
            raise error

        return run

    with pytest.raises(ValueError, match="first"):
        Together(2).all(fail(ValueError("first")), fail(KeyError("second")))
    assert len(ended) == 2


def test_one_may_have_failed_where_another_decides() -> None:
    def fails() -> None:
        raise ValueError("this one")

    first, second = Together(1).outcomes(lambda: "decides", fails)
    assert first() == "decides"
    with pytest.raises(ValueError, match="this one"):
        second()


def test_one_that_fails_leaves_none_under_way() -> None:
    begun, done = Event(), Event()

    def slow() -> None:
        begun.set()
        done.set()

    def fails() -> None:
        begun.wait(PATIENCE)
        raise ValueError("this one")

    with pytest.raises(ValueError, match="this one"):
        Together(1).all(fails, slow)
    assert done.is_set()


def test_where_every_thread_hangs_the_caller_makes_all_calls_itself() -> None:
    together, hanging, free = Together(1), Event(), Event()

    def hang() -> None:
        hanging.set()
        free.wait(PATIENCE)

    def first() -> None:
        hanging.wait(PATIENCE)
        assert together.each([get_ident] * 5) == [get_ident()] * 5
        free.set()

    together.all(first, hang)


def test_calls_that_make_several_together_themselves_end() -> None:
    together = Together(2)

    def deep(depth: int) -> int:
        if depth == 0:
            return 1
        return sum(together.each([lambda: deep(depth - 1)] * 3))

    assert deep(4) == 81


def test_what_is_logged_in_a_call_bears_the_work_in_hand() -> None:
    work: contextvars.ContextVar[str] = contextvars.ContextVar("work")
    work.set("promotion p-1")
    assert Together(2).all(work.get, work.get) == ("promotion p-1", "promotion p-1")


def test_nothing_together_is_nothing() -> None:
    assert Together(1).each([]) == []


def test_an_error_counts_only_where_its_outcome_is_asked_for() -> None:
    def fails() -> None:
        raise ValueError("this one")

    told, error = Together(1).outcomes(lambda: "told", fails)
    assert told() == "told"
    with pytest.raises(ValueError, match="this one"):
        error()
