"""A clock that is set back holds up no row: what is planned or leased too far ahead is due."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import pytest

from champion_gate.domain.promotion import Phase
from champion_gate.domain.steps import StepPhase
from champion_gate.store import Store
from integration.store_samples import KEY, LEASE, T0, after, notification, step, taken_promotion

pytest_plugins = ("integration.store_fixtures",)

HOUR = 3600.0
BACK = after(-HOUR)


def test_what_was_due_is_due(store: Store) -> None:
    noted = store.record_notification("hook", notification(), T0)
    taken = taken_promotion(store)
    store.save_promotion(replace(taken, due_at=after(5)), T0, release=True)
    ended = taken_promotion(store, "p-2", number=3)
    store.save_promotion(
        replace(ended, phase=Phase.CANCELLED), T0, release=True, steps=[step(promotion_id="p-2")]
    )
    assert store.note_time(lambda: T0) == timedelta()
    assert store.note_time(lambda: BACK) == timedelta(hours=1)
    due = store.due(BACK)
    assert (due.notifications, due.promotions, due.steps) == ((noted,), ("p-1",), ("f-1",))
    assert store.take_notification(noted, BACK, LEASE) is not None
    assert store.take_promotion("p-1", BACK, LEASE) is not None
    assert store.take_step("f-1", BACK, LEASE) is not None


def test_what_a_dead_worker_held_is_due(store: Store) -> None:
    noted = store.record_notification("hook", notification(), T0)
    assert store.take_notification(noted, T0, LEASE) is not None
    taken_promotion(store)
    due = store.due(BACK)
    assert (due.notifications, due.promotions) == ((noted,), ("p-1",))


def test_an_alias_that_a_dead_worker_held_is_free(store: Store) -> None:
    dead = store.lock_alias(KEY, T0, LEASE)
    assert dead is not None
    alive = store.lock_alias(KEY, BACK, LEASE)
    assert alive is not None
    assert alive.fence == dead.fence + 1


def test_a_pause_is_kept_while_the_clock_goes_on(store: Store) -> None:
    store.save_promotion(replace(taken_promotion(store), due_at=after(HOUR)), T0, release=True)
    for at in (T0, after(-30), after(60), after(30)):
        assert store.note_time(partial(after, (at - T0).total_seconds())) == timedelta()
    assert store.due(after(60)).promotions == ()


def test_it_is_noticed_once(store: Store) -> None:
    store.note_time(lambda: T0)
    assert store.note_time(lambda: BACK)
    assert not store.note_time(lambda: BACK)


def test_a_process_that_is_held_up_notes_no_time_that_is_over(store: Store) -> None:
    """It is as if it were frozen where it asks for the time: another that notes a later one has to wait."""
    store.note_time(lambda: T0)
    others: list[Future[timedelta]] = []
    with ThreadPoolExecutor(1) as thread:

        def held_up() -> datetime:
            others.append(thread.submit(store.note_time, lambda: after(HOUR)))
            assert wait(others, timeout=0.2).done == set()
            return T0

        assert store.note_time(held_up) == timedelta()
        assert others[0].result() == timedelta()


def test_a_gate_was_not_first_seen_in_the_future(store: Store) -> None:
    store.gate_first_seen("churn", T0)
    store.note_time(lambda: T0)
    store.note_time(lambda: BACK)
    assert store.gate_first_seen("churn", BACK) == BACK


def test_a_step_was_not_begun_in_the_future(store: Store) -> None:
    """Else its time-out would come as much later as the clock was ahead."""
    taken_promotion(store)
    store.plan_step(step())
    begun = store.take_step("f-1", T0, LEASE)
    assert begun is not None
    store.save_step(replace(begun, phase=StepPhase.RUNNING, started_at=T0), release=True)
    store.note_time(lambda: T0)
    store.note_time(lambda: BACK)
    assert store.get_step("f-1").started_at == BACK


def test_a_lease_is_kept_by_clocks_that_differ_a_little(store: Store) -> None:
    taken_promotion(store)
    assert store.due(after(-30)).promotions == ()
    assert store.lock_alias(KEY, T0, LEASE) is not None
    assert store.lock_alias(KEY, after(-30), LEASE) is None


def test_a_lease_longer_than_any_may_be_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="longer"):
        store.lock_alias(KEY, T0, HOUR)
