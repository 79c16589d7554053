"""A registry that hangs takes its own places and nothing else: reads of rows, hooks and health are answered."""

from __future__ import annotations

import threading

import pytest
from flask import Response

from champion_gate.web.api.operations import BusyError, Places


def test_one_more_than_there_are_places_for_is_told_so_at_once_and_places_come_back() -> None:
    inside, leave = threading.Semaphore(0), threading.Event()

    def hangs() -> Response:
        inside.release()
        assert leave.wait(30)
        return Response("done")

    view = Places(2).bound(hangs)
    threads = [threading.Thread(target=view) for _ in range(2)]
    for thread in threads:
        thread.start()
        assert inside.acquire(timeout=30)
    with pytest.raises(BusyError, match="nothing was changed") as refused:
        view()
    assert (refused.value.status, refused.value.retryable) == (503, True)
    leave.set()
    for thread in threads:
        thread.join(30)
    assert view().get_data() == b"done"


def test_a_view_that_fails_gives_its_place_back() -> None:
    def fails() -> Response:
        raise ValueError("no")

    view = Places(1).bound(fails)
    for _ in range(3):
        with pytest.raises(ValueError, match="no"):
            view()
