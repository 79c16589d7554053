from __future__ import annotations

from dataclasses import replace

import pytest

from champion_gate.domain.aliases import AliasKey, AliasLock
from champion_gate.domain.ledger.chain import LedgerKind
from champion_gate.domain.promotion import Phase
from champion_gate.errors import ConflictError, LeaseLostError
from champion_gate.store import Store, open_store
from champion_gate.store.store import command_line_token
from integration.store_databases import Databases
from integration.store_samples import (
    KEY,
    LEASE,
    T0,
    after,
    append_ledger,
    brought_to,
    entry,
    hold,
    intent,
    promotion,
    step,
    taken_promotion,
)

pytestmark = pytest.mark.part("rest", "postgresql")

pytest_plugins = ("integration.store_fixtures",)


def locked(store: Store, seconds: float = 0) -> AliasLock:
    lock = store.lock_alias(KEY, after(seconds), LEASE)
    assert lock is not None
    return lock


def test_a_first_lock_knows_nothing_of_the_alias(store: Store) -> None:
    assert store.known_alias(KEY) is None
    lock = locked(store)
    assert (lock.fence, lock.seen, lock.known_version, lock.intent) == (1, False, None, None)
    assert store.known_alias(KEY) == lock


def test_one_writer_at_a_time_and_each_alias_apart(store: Store) -> None:
    locked(store)
    assert store.lock_alias(KEY, after(LEASE - 0.000001), LEASE) is None
    assert store.lock_alias(AliasKey(KEY.registry, KEY.model, "Shadow"), T0, LEASE) is not None


def test_every_lock_has_a_higher_fence(store: Store) -> None:
    fences = []
    for _ in range(3):
        lock = locked(store)
        fences.append(lock.fence)
        store.unlock_alias(lock)
    fences.append(locked(store).fence)
    fences.append(locked(store, LEASE).fence)
    assert fences == [1, 2, 3, 4, 5]


def test_the_fence_holds_until_the_lease_ends(store: Store) -> None:
    lock = locked(store)
    store.check_fence(lock, after(LEASE - 0.000001))
    with pytest.raises(LeaseLostError):
        store.check_fence(lock, after(LEASE))


def test_the_fence_is_lost_to_a_takeover_even_if_the_clock_goes_back(store: Store) -> None:
    lock = locked(store)
    successor = locked(store, LEASE)
    with pytest.raises(LeaseLostError):
        store.check_fence(lock, T0)
    store.check_fence(successor, after(LEASE))


def test_an_unlocked_row_has_no_holder(store: Store) -> None:
    lock = locked(store)
    store.unlock_alias(lock)
    for held in (lock, replace(lock, lease="")):
        with pytest.raises(LeaseLostError):
            store.check_fence(held, T0)


def test_a_late_unlock_does_not_take_the_row_from_its_successor(store: Store) -> None:
    lock = locked(store)
    successor = locked(store, LEASE)
    store.unlock_alias(lock)
    store.check_fence(successor, after(LEASE))


def test_an_intent_outlives_its_writer(store: Store) -> None:
    lock = locked(store)
    begun = store.begin_alias_change(lock, intent(lock), T0, LEASE)
    assert begun.intent == intent(lock)
    assert locked(store, LEASE).intent == intent(lock)


def test_a_writer_without_the_lock_begins_nothing(store: Store) -> None:
    lock = locked(store)
    with pytest.raises(LeaseLostError):
        store.begin_alias_change(lock, intent(lock), after(LEASE), LEASE)
    known = store.known_alias(KEY)
    assert known is not None
    assert known.intent is None


def test_a_writer_without_the_lock_tells_of_no_refusal(store: Store) -> None:
    """It was frozen meanwhile, and the right may have been given since."""
    lock = locked(store)
    lock = store.begin_alias_change(lock, intent(lock), T0, LEASE)
    with pytest.raises(LeaseLostError):
        store.finish_alias_change(lock, after(LEASE), known_version="1", refused="403: not owner.")
    known = store.known_alias(KEY)
    assert known is not None
    assert known.refused is None
    held = locked(store, LEASE)
    finished = store.finish_alias_change(held, after(LEASE), known_version="1", refused="403: not owner.")
    assert finished.refused == "403: not owner."


def test_an_intent_of_another_fence_is_refused(store: Store) -> None:
    lock = locked(store)
    with pytest.raises(ValueError, match="fence"):
        store.begin_alias_change(lock, intent(lock, fence=7), T0, LEASE)


def test_an_open_intent_is_begun_again_but_not_replaced(store: Store) -> None:
    first = locked(store)
    store.begin_alias_change(first, intent(first), T0, LEASE)
    second = locked(store, LEASE)
    with pytest.raises(ConflictError, match="not finished"):
        store.begin_alias_change(second, intent(second, to_version="3"), after(LEASE), LEASE)
    again = store.begin_alias_change(second, intent(second), after(LEASE), LEASE)
    assert again.intent == intent(second)


def test_finishing_clears_the_intent_and_writes_all_that_goes_with_it(store: Store) -> None:
    approved = brought_to(store, taken_promotion(store), Phase.APPROVED)
    lock = locked(store)
    lock = store.begin_alias_change(lock, intent(lock), T0, LEASE)
    done = store.finish_alias_change(
        lock,
        after(1),
        known_version="2",
        ledger=[entry()],
        promotion=replace(approved, phase=Phase.PROMOTED),
        steps=[step()],
    )
    assert (done.intent, done.seen, done.known_version) == (None, True, "2")
    assert store.known_alias(KEY) == done
    found = store.get_promotion("p-1")
    assert (found.phase, found.lease, found.due_at) == (Phase.PROMOTED, approved.lease, None)
    assert [line.entry for line in store.ledger_lines(KEY)] == [entry()]
    assert store.open_steps("p-1") == (step(),)


@pytest.mark.parametrize("lost", ["fence", "promotion", "phase"])
def test_finishing_writes_all_or_nothing(store: Store, lost: str) -> None:
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
            steps=[step()],
        )
    assert store.get_promotion("p-1") == row
    assert store.known_alias(KEY) == known
    assert known is not None
    assert known.intent is not None
    assert store.ledger_lines() == ()
    assert store.open_steps("p-1") == ()


def test_a_hint_while_the_alias_is_set_is_not_lost(store: Store) -> None:
    approved = brought_to(store, taken_promotion(store), Phase.APPROVED)
    lock = locked(store)
    store.hint_promotion("p-1", after(1))
    store.finish_alias_change(lock, after(2), known_version="1", promotion=approved)
    released = store.save_promotion(replace(approved, due_at=after(600)), after(3), release=True)
    assert released.due_at == after(3)


def test_no_alias_is_known_as_none(store: Store) -> None:
    lock = store.finish_alias_change(locked(store), T0, known_version=None)
    assert (lock.seen, lock.known_version) == (True, None)


def test_lines_are_found_by_alias_and_by_promotion(store: Store) -> None:
    store.create_promotion(promotion())
    append_ledger(store, [entry("a"), entry("b", promotion_id="p-1"), entry("c", alias="Shadow")])
    assert [line.entry.reason for line in store.ledger_lines()] == ["c", "b", "a"]
    assert [line.entry.reason for line in store.ledger_lines(KEY)] == ["b", "a"]
    assert [line.entry.reason for line in store.ledger_lines(promotion_id="p-1")] == ["b"]
    assert [line.number for line in store.ledger_lines(limit=1)] == [3]


def test_a_hold_stands_until_it_is_released(store: Store) -> None:
    lock = locked(store)
    assert lock.hold is None
    placed = store.set_hold(lock, T0, hold(by_rollback=True), ledger=[entry("held", kind=LedgerKind.HOLD)])
    assert placed.hold == hold(by_rollback=True)
    store.unlock_alias(placed)
    assert store.known_alias(KEY) == replace(placed, lease="")
    again = locked(store)
    assert again.hold == placed.hold
    assert store.finish_alias_change(again, T0, known_version="2").hold == placed.hold
    released = store.set_hold(again, T0, None, ledger=[entry("released", kind=LedgerKind.RELEASE)])
    assert released.hold is None
    assert (released.seen, released.known_version) == (True, "2")
    assert [line.entry.reason for line in store.ledger_lines(KEY)] == ["released", "held"]


def test_a_change_may_place_a_hold_in_lieu_of_the_one_that_stands(store: Store) -> None:
    lock = store.set_hold(locked(store), T0, hold())
    newer = hold(actor="bob", by_rollback=True)
    assert store.finish_alias_change(lock, T0, known_version="1", hold=newer).hold == newer
    known = store.known_alias(KEY)
    assert known is not None
    assert known.hold == newer


def test_each_alias_has_its_own_hold(store: Store) -> None:
    shadow = AliasKey(KEY.registry, KEY.model, "Shadow")
    store.set_hold(locked(store), T0, hold())
    other = store.lock_alias(shadow, T0, LEASE)
    assert other is not None
    assert other.hold is None


def test_without_the_lock_a_hold_is_neither_placed_nor_released(store: Store) -> None:
    store.create_promotion(promotion(due_at=after(600)))
    placed = store.set_hold(locked(store), T0, hold())
    locked(store, LEASE)
    for change in (None, hold(actor="bob")):
        with pytest.raises(LeaseLostError):
            store.set_hold(placed, after(LEASE), change, ledger=[entry()])
    known = store.known_alias(KEY)
    assert known is not None
    assert known.hold == hold()
    assert store.ledger_lines() == ()
    assert store.get_promotion("p-1").hints == 0


def test_odd_words_of_a_hold_survive(store: Store) -> None:
    odd = hold(actor="<b>zo\u00eb</b>", reason="1\n2\u202e'; DROP TABLE aliases; --")
    store.set_hold(locked(store), T0, odd)
    known = store.known_alias(KEY)
    assert known is not None
    assert known.hold == odd


def test_a_release_hints_every_open_promotion_for_that_alias_and_no_other(store: Store) -> None:
    later = after(600)
    store.create_promotion(promotion("waits", 1, due_at=later))
    held = taken_promotion(store, "held", 2)
    ended = taken_promotion(store, "ended", 3)
    store.save_promotion(replace(ended, phase=Phase.CANCELLED, due_at=None), T0, release=True)
    for name, change in (
        ("other alias", {"alias": "Shadow"}),
        ("other model", {"model": "main.ml.other"}),
        ("other registry", {"registry": "sqlite:///mlflow.db"}),
    ):
        store.create_promotion(promotion(name, 4, due_at=later, **change))
    lock = store.set_hold(locked(store), after(1), hold())
    assert all(found.hints == 0 for found in store.list_promotions().items), "a hold hints nobody"

    store.set_hold(lock, after(2), None)

    hints = {found.id: found.hints for found in store.list_promotions().items}
    assert hints == {
        "waits": 1,
        "held": 1,
        "ended": 0,
        "other alias": 0,
        "other model": 0,
        "other registry": 0,
    }
    assert store.get_promotion("waits").due_at == after(2)
    assert store.get_promotion("ended").due_at is None
    given_back = store.save_promotion(replace(held, due_at=later), after(3), release=True)
    assert given_back.due_at == after(3), "whoever held it meanwhile looks again"
    assert store.due(after(3)).promotions == ("waits", "held")


def test_a_service_that_starts_leaves_a_commands_lease_alone(databases: Databases) -> None:
    other = AliasKey(KEY.registry, KEY.model, "Shadow")
    url = databases.migrated()
    with open_store(url, token=command_line_token) as command, open_store(url) as serving:
        assert command.lock_alias(KEY, T0, LEASE) is not None
        assert serving.lock_alias(other, T0, LEASE) is not None
        serving.release_all_leases()
        assert serving.lock_alias(KEY, after(1), LEASE) is None
        assert serving.lock_alias(other, after(1), LEASE) is not None
        assert serving.lock_alias(KEY, after(LEASE + 1), LEASE) is not None


def test_a_dropped_write_is_remembered_for_as_long_as_it_may_arrive(store: Store) -> None:
    lock = store.lock_alias(KEY, T0, 300)
    assert lock is not None
    first = intent(lock, "2", sent_at=T0)
    second = intent(lock, "3", at=T0, sent_at=after(60))
    lock = store.finish_alias_change(lock, after(1), known_version="1", dropped=first)
    lock = store.finish_alias_change(lock, after(61), known_version="1", dropped=second)
    assert lock.dropped == (first, second)
    assert store.known_alias(KEY) == lock
    lock = store.begin_alias_change(lock, intent(lock, "4"), after(62), 300)
    lock = store.finish_alias_change(lock, after(120), known_version="4")
    assert lock.dropped == (second,)
    assert store.finish_alias_change(lock, after(180), known_version="4").dropped == ()
