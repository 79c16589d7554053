"""Failed attempts: counted by source, slowed where there are many, within bounded memory and few threads."""

from __future__ import annotations

import threading

import pytest

from champion_gate.errors import TooManyAttemptsError
from champion_gate.web.throttle import Attempts


class Seconds:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


def failures(attempts: Attempts, count: int, address: str | None = "192.0.2.1") -> list[bool]:
    """Fail so often; returns which answers are to be held back."""
    return [attempts.failed(address)[1] for _ in range(count)]


def test_five_failures_within_a_minute_are_answered_at_once_and_further_ones_held_back(
    seconds: Seconds,
) -> None:
    assert failures(Attempts(seconds=seconds), 7) == [False] * 5 + [True] * 2


def test_failures_are_counted_until_a_minute_is_quiet(seconds: Seconds) -> None:
    attempts = Attempts(seconds=seconds)
    assert [attempts.failed("192.0.2.1")[0] for _ in range(8)] == list(range(1, 9))
    seconds.now += 59.9
    assert attempts.failed("192.0.2.1") == (9, True)
    seconds.now += 60
    assert attempts.failed("192.0.2.1") == (1, False)


def test_the_minute_slides(seconds: Seconds) -> None:
    attempts = Attempts(seconds=seconds)
    for _ in range(20):  # one in 13 s is five in 52 s before the sixth
        seconds.now += 13
        last = attempts.failed("192.0.2.1")
    assert last == (20, False)
    seconds.now += 5  # now the fifth before is 57 s ago
    assert attempts.failed("192.0.2.1") == (21, True)


def test_addresses_slow_only_themselves(seconds: Seconds) -> None:
    attempts = Attempts(seconds=seconds)
    assert failures(attempts, 6)[-1]
    assert failures(attempts, 1, "192.0.2.2") == [False]
    assert failures(attempts, 1, None) == [False]


def test_a_network_of_ipv6_counts_as_one_source_and_its_neighbour_as_another(seconds: Seconds) -> None:
    attempts = Attempts(seconds=seconds)
    for number in range(5):
        assert failures(attempts, 1, f"2001:db8:0:1::{number}") == [False]
    assert failures(attempts, 1, "2001:db8:0:1:ffff:ffff:ffff:ffff") == [True]
    assert failures(attempts, 1, "2001:db8:0:2::1") == [False]


def test_the_source_that_was_silent_longest_is_forgotten_first(seconds: Seconds) -> None:
    attempts = Attempts(seconds=seconds, addresses=2)
    failures(attempts, 6, "192.0.2.1")
    failures(attempts, 6, "192.0.2.2")
    assert failures(attempts, 1, "192.0.2.1") == [True]
    failures(attempts, 1, "192.0.2.3")
    assert failures(attempts, 1, "192.0.2.1") == [True]
    assert failures(attempts, 1, "192.0.2.2") == [False]


def test_an_answer_is_held_back_a_second() -> None:
    pauses: list[float] = []
    Attempts(pause=pauses.append).hold_back()
    assert pauses == [1.0]


def test_four_answers_are_held_back_at_the_same_time_and_no_more() -> None:
    waiting, go = threading.Semaphore(0), threading.Event()

    def pause(_seconds: float) -> None:
        waiting.release()
        assert go.wait(30)

    attempts = Attempts(pause=pause)
    threads = [threading.Thread(target=attempts.hold_back) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert waiting.acquire(timeout=30)
    with pytest.raises(TooManyAttemptsError):
        attempts.hold_back()
    go.set()
    for thread in threads:
        thread.join(30)
    attempts.hold_back()


def test_a_place_is_given_back_whatever_happens() -> None:
    def pause(_seconds: float) -> None:
        raise InterruptedError

    attempts = Attempts(pause=pause, waiting=1)
    for _ in range(3):
        with pytest.raises(InterruptedError):
            attempts.hold_back()
