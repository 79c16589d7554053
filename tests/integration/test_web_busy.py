"""A registry that hangs takes its own places and nothing else: reads of rows, hooks and health are answered."""

from __future__ import annotations

import threading

import pytest
from flask import Response

from champion_gate.web.throttle import BusyError, ConcurrencyLimit


def test_one_more_than_there_are_places_for_is_told_so_at_once_and_places_come_back() -> None:
    inside, leave = threading.Semaphore(0), threading.Event()

    def hangs() -> Response:
        inside.release()
        assert leave.wait(30)
        return Response("done")

    limit = ConcurrencyLimit(2)
    threads = [threading.Thread(target=limit.run, args=(hangs,)) for _ in range(2)]
    for thread in threads:
        thread.start()
        assert inside.acquire(timeout=30)
    with pytest.raises(BusyError, match="nothing was changed") as refused:
        limit.run(hangs)
    assert (refused.value.status, refused.value.retryable) == (503, True)
    leave.set()
    for thread in threads:
        thread.join(30)
    assert limit.run(hangs).get_data() == b"done"


def test_a_view_that_fails_gives_its_place_back() -> None:
    def fails() -> Response:
        raise ValueError("no")

    limit = ConcurrencyLimit(1)
    for _ in range(3):
        with pytest.raises(ValueError, match="no"):
            limit.run(fails)
