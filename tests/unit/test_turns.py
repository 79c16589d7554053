"""Who writes next, where one writes at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from champion_gate.store.turns import Turns
from integration.process_world import until

PATIENCE = 20.0
AT_ONCE = 0.0


class Watched(Turns):
    """Tells how many wait."""

    def are_waiting(self, number: int) -> bool:
        with self._changed:
            return self._groups + self._singles == number


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as made:
        yield made


def test_a_group_goes_before_those_that_wait_alone_and_lets_one_of_them_go_before_the_next_group(
    pool: ThreadPoolExecutor,
) -> None:
    turns, lock = Watched(), threading.Lock()
    order: list[str] = []

    def take(name: str) -> None:
        assert turns.acquire(PATIENCE, of_group=name == "group")
        with lock:
            order.append(name)
        turns.release()

    assert turns.acquire(AT_ONCE, of_group=False)
    for number, name in enumerate(["single", "single", "single", "group", "group"], start=1):
        pool.submit(take, name)
        until(partial(turns.are_waiting, number), f"{number} wait")
    turns.release()
    until(lambda: len(order) == 5, "all have had their turn")
    assert order == ["group", "single", "group", "single", "single"]


def test_a_turn_that_does_not_come_is_not_waited_for_later() -> None:
    turns = Turns()
    assert turns.acquire(AT_ONCE, of_group=True)
    assert not turns.acquire(AT_ONCE, of_group=True)
    turns.release()
    assert turns.acquire(AT_ONCE, of_group=False)
