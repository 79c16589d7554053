from __future__ import annotations

from dataclasses import replace

import pytest

from champion_gate.domain.promotion import FollowUp, Phase
from champion_gate.domain.retry import Retry
from champion_gate.errors import LeaseLostError, NotFoundError
from champion_gate.store import Store
from integration.store_samples import LEASE, T0, after, follow_up, taken_promotion

pytest_plugins = ("integration.store_fixtures",)


def taken_follow_up(store: Store, seconds: float = 0) -> FollowUp:
    found = store.take_follow_up("f-1", after(seconds), LEASE)
    assert found is not None
    return found


@pytest.fixture
def with_follow_up(store: Store) -> Store:
    taken = taken_promotion(store)
    store.save_promotion(replace(taken, phase=Phase.CANCELLED), T0, release=True, follow_ups=[follow_up()])
    return store


def test_one_is_due_until_it_is_done(with_follow_up: Store) -> None:
    assert with_follow_up.due(T0).follow_ups == ("f-1",)
    taken = taken_follow_up(with_follow_up)
    assert taken == follow_up(lease=taken.lease)
    assert with_follow_up.due(after(1)).follow_ups == ()
    with_follow_up.release_follow_up(taken, done=True)
    assert with_follow_up.get_follow_ups("p-1") == ()
    assert with_follow_up.take_follow_up("f-1", after(10**6), LEASE) is None


def test_a_failed_try_is_put_off(with_follow_up: Store) -> None:
    tried = replace(taken_follow_up(with_follow_up), retry=Retry(1, T0, "503"), due_at=after(60))
    with_follow_up.release_follow_up(tried, done=False)
    assert with_follow_up.get_follow_ups("p-1") == (replace(tried, lease=""),)
    assert with_follow_up.take_follow_up("f-1", after(59), LEASE) is None
    taken_follow_up(with_follow_up, 60)


def test_a_dead_workers_is_taken_over_and_its_late_word_refused(with_follow_up: Store) -> None:
    dead = taken_follow_up(with_follow_up)
    assert with_follow_up.due(after(LEASE)).follow_ups == ("f-1",)
    alive = taken_follow_up(with_follow_up, LEASE)
    with pytest.raises(LeaseLostError):
        with_follow_up.release_follow_up(dead, done=True)
    with_follow_up.release_follow_up(alive, done=True)
    with pytest.raises(LeaseLostError):
        with_follow_up.release_follow_up(dead, done=False)


def test_a_step_that_runs_twice_adds_it_once(store: Store) -> None:
    taken = taken_promotion(store)
    store.save_promotion(taken, T0, follow_ups=[follow_up()])
    store.save_promotion(taken, T0, follow_ups=[follow_up(due_at=after(9))])
    assert store.get_follow_ups("p-1") == (follow_up(),)


def test_one_is_found_by_its_id_until_it_is_done(with_follow_up: Store) -> None:
    assert with_follow_up.get_follow_up("f-1") == follow_up()
    with_follow_up.release_follow_up(taken_follow_up(with_follow_up), done=True)
    with pytest.raises(NotFoundError):
        with_follow_up.get_follow_up("f-1")
