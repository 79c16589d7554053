from __future__ import annotations

from dataclasses import replace

import pytest

from champion_gate.core.aliases import AliasKey, AliasLock
from champion_gate.core.promotion import Phase
from champion_gate.errors import ConflictError, LeaseLostError
from champion_gate.store import SqlStore
from integration.store_samples import (
    KEY,
    LEASE,
    T0,
    after,
    brought_to,
    entry,
    follow_up,
    intent,
    promotion,
    taken_promotion,
)

pytest_plugins = ("integration.store_fixtures",)


def locked(store: SqlStore, seconds: float = 0) -> AliasLock:
    lock = store.lock_alias(KEY, after(seconds), LEASE)
    assert lock is not None
    return lock


def test_a_first_lock_knows_nothing_of_the_alias(store: SqlStore) -> None:
    assert store.known_alias(KEY) is None
    lock = locked(store)
    assert (lock.fence, lock.seen, lock.known_version, lock.intent) == (1, False, None, None)
    assert store.known_alias(KEY) == lock


def test_one_writer_at_a_time_and_each_alias_apart(store: SqlStore) -> None:
    locked(store)
    assert store.lock_alias(KEY, after(LEASE - 0.000001), LEASE) is None
    assert store.lock_alias(AliasKey(KEY.registry, KEY.model, "Shadow"), T0, LEASE) is not None


def test_every_lock_has_a_higher_fence(store: SqlStore) -> None:
    fences = []
    for _ in range(3):
        lock = locked(store)
        fences.append(lock.fence)
        store.unlock_alias(lock)
    fences.append(locked(store).fence)
    fences.append(locked(store, LEASE).fence)
    assert fences == [1, 2, 3, 4, 5]


def test_the_fence_holds_until_the_lease_ends(store: SqlStore) -> None:
    lock = locked(store)
    store.check_fence(lock, after(LEASE - 0.000001))
    with pytest.raises(LeaseLostError):
        store.check_fence(lock, after(LEASE))


def test_the_fence_is_lost_to_a_takeover_even_if_the_clock_goes_back(store: SqlStore) -> None:
    lock = locked(store)
    successor = locked(store, LEASE)
    with pytest.raises(LeaseLostError):
        store.check_fence(lock, T0)
    store.check_fence(successor, after(LEASE))


def test_an_unlocked_row_has_no_holder(store: SqlStore) -> None:
    lock = locked(store)
    store.unlock_alias(lock)
    for held in (lock, replace(lock, lease="")):
        with pytest.raises(LeaseLostError):
            store.check_fence(held, T0)


def test_a_late_unlock_does_not_take_the_row_from_its_successor(store: SqlStore) -> None:
    lock = locked(store)
    successor = locked(store, LEASE)
    store.unlock_alias(lock)
    store.check_fence(successor, after(LEASE))


def test_an_intent_outlives_its_writer(store: SqlStore) -> None:
    lock = locked(store)
    begun = store.begin_alias_change(lock, intent(lock), T0, LEASE)
    assert begun.intent == intent(lock)
    assert locked(store, LEASE).intent == intent(lock)


def test_a_writer_without_the_lock_begins_nothing(store: SqlStore) -> None:
    lock = locked(store)
    with pytest.raises(LeaseLostError):
        store.begin_alias_change(lock, intent(lock), after(LEASE), LEASE)
    known = store.known_alias(KEY)
    assert known is not None
    assert known.intent is None


def test_an_intent_of_another_fence_is_refused(store: SqlStore) -> None:
    lock = locked(store)
    with pytest.raises(ValueError, match="fence"):
        store.begin_alias_change(lock, intent(lock, fence=7), T0, LEASE)


def test_an_open_intent_is_begun_again_but_not_replaced(store: SqlStore) -> None:
    first = locked(store)
    store.begin_alias_change(first, intent(first), T0, LEASE)
    second = locked(store, LEASE)
    with pytest.raises(ConflictError, match="not finished"):
        store.begin_alias_change(second, intent(second, to_version="3"), after(LEASE), LEASE)
    again = store.begin_alias_change(second, intent(second), after(LEASE), LEASE)
    assert again.intent == intent(second)


def test_finishing_clears_the_intent_and_writes_all_that_goes_with_it(store: SqlStore) -> None:
    approved = brought_to(store, taken_promotion(store), Phase.APPROVED)
    lock = locked(store)
    lock = store.begin_alias_change(lock, intent(lock), T0, LEASE)
    done = store.finish_alias_change(
        lock,
        after(1),
        known_version="2",
        ledger=[entry()],
        promotion=replace(approved, phase=Phase.PROMOTED),
        follow_ups=[follow_up()],
    )
    assert (done.intent, done.seen, done.known_version) == (None, True, "2")
    assert store.known_alias(KEY) == done
    found = store.get_promotion("p-1")
    assert (found.phase, found.lease, found.due_at) == (Phase.PROMOTED, approved.lease, None)
    assert [line.entry for line in store.ledger_lines(KEY)] == [entry()]
    assert store.get_follow_ups("p-1") == (follow_up(),)


@pytest.mark.parametrize("lost", ["fence", "promotion", "phase"])
def test_finishing_writes_all_or_nothing(store: SqlStore, lost: str) -> None:
    approved = brought_to(store, taken_promotion(store), Phase.APPROVED)
    lock = locked(store)
    lock = store.begin_alias_change(lock, intent(lock), T0, LEASE)
    phase = Phase.PROMOTED
    if lost == "fence":
        locked(store, LEASE)
    if lost == "promotion":
        store.take_promotion("p-1", after(LEASE), LEASE)
    if lost == "phase":
        phase = Phase.REJECTED
    row, known = store.get_promotion("p-1"), store.known_alias(KEY)
    with pytest.raises((LeaseLostError, ConflictError)):
        store.finish_alias_change(
            lock,
            after(1),
            known_version="2",
            ledger=[entry()],
            promotion=replace(approved, phase=phase),
            follow_ups=[follow_up()],
        )
    assert store.get_promotion("p-1") == row
    assert store.known_alias(KEY) == known
    assert known is not None
    assert known.intent is not None
    assert store.ledger_lines() == ()
    assert store.get_follow_ups("p-1") == ()


def test_a_hint_while_the_alias_is_set_is_not_lost(store: SqlStore) -> None:
    approved = brought_to(store, taken_promotion(store), Phase.APPROVED)
    lock = locked(store)
    store.hint_promotion("p-1", after(1))
    store.finish_alias_change(lock, after(2), known_version="1", promotion=approved)
    released = store.save_promotion(replace(approved, due_at=after(600)), after(3), release=True)
    assert released.due_at == after(3)


def test_no_alias_is_known_as_none(store: SqlStore) -> None:
    lock = store.finish_alias_change(locked(store), T0, known_version=None)
    assert (lock.seen, lock.known_version) == (True, None)


def test_lines_are_found_by_alias_and_by_promotion(store: SqlStore) -> None:
    store.create_promotion(promotion())
    store.append_ledger([entry("a"), entry("b", promotion_id="p-1"), entry("c", alias="Shadow")])
    assert [line.entry.reason for line in store.ledger_lines()] == ["c", "b", "a"]
    assert [line.entry.reason for line in store.ledger_lines(KEY)] == ["b", "a"]
    assert [line.entry.reason for line in store.ledger_lines(promotion_id="p-1")] == ["b"]
    assert [line.number for line in store.ledger_lines(limit=1)] == [3]
