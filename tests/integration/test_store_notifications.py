from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from champion_gate.domain.notifications import NotificationPhase, Resolution, StoredNotification
from champion_gate.domain.retry import Retry
from champion_gate.domain.rows import write_cursor
from champion_gate.errors import InvalidInputError, LeaseLostError, NotFoundError
from champion_gate.store import Store
from integration.store_samples import LEASE, T0, after, job_run, notification

pytest_plugins = ("integration.store_fixtures",)


def recorded(store: Store) -> str:
    return store.record_notification("hook", notification(), T0)


def taken(store: Store, notification_id: str, seconds: float = 0) -> StoredNotification:
    found = store.take_notification(notification_id, after(seconds), LEASE)
    assert found is not None
    return found


def ended(found: StoredNotification, phase: NotificationPhase, **changes: object) -> StoredNotification:
    return replace(found, phase=phase, reason="done", due_at=None, **changes)  # type: ignore[arg-type]


def test_a_new_notification_is_received_and_due(store: Store) -> None:
    found = store.get_notification(recorded(store))
    assert found.notification == notification()
    assert (found.phase, found.count, found.due_at, found.lease) == (NotificationPhase.RECEIVED, 1, T0, "")
    assert store.due(T0).notifications == (found.id,)


def test_a_repeated_notification_counts_on_the_same_row(store: Store) -> None:
    first = recorded(store)
    assert store.record_notification("hook", notification(), after(5)) == first
    found = store.get_notification(first)
    assert (found.count, found.first_received_at, found.last_received_at) == (2, T0, after(5))


def test_one_that_comes_to_nothing_is_ended_at_once(store: Store) -> None:
    known = store.record_notification("hook", notification(), T0, ignored="No gate watches job 20.")
    found = store.get_notification(known)
    assert (found.phase, found.reason, found.due_at) == (
        NotificationPhase.IGNORED,
        "No gate watches job 20.",
        None,
    )
    assert store.due(after(60)).notifications == ()
    assert recorded(store) == known
    assert store.due(T0).notifications == (known,)
    assert store.get_notification(known).reason == "Received again."


def test_a_repeat_that_comes_to_nothing_leaves_the_row_of_another_job_as_it_was(store: Store) -> None:
    known = recorded(store)
    waiting = replace(
        taken(store, known), phase=NotificationPhase.WAITING, due_at=after(30), job_run=job_run()
    )
    store.release_notification(waiting, T0)
    before = store.get_notification(known)
    foreign = replace(notification(), job_id="666", job_name="another")
    assert store.record_notification("hook", foreign, after(5), ignored="No gate watches job 666.") == known
    assert replace(store.get_notification(known), count=before.count) == before
    assert store.due(after(30)).notifications == (known,)


def test_one_that_comes_to_nothing_does_not_end_what_a_worker_has_in_hand(store: Store) -> None:
    known = recorded(store)
    held = taken(store, known)
    store.record_notification("hook", notification(), after(1), ignored="No gate watches job 20.")
    released = store.release_notification(ended(held, NotificationPhase.RESOLVED), after(2))
    assert (released.phase, released.count) == (NotificationPhase.RECEIVED, 2)
    assert store.due(after(2)).notifications == (known,)


@pytest.mark.parametrize(
    "other",
    [
        {"workspace_id": "11"},
        {"run_id": "31"},
        {"event_type": "jobs.on_failure"},
        {"task_key": "fit", "parent_run_id": "29"},
    ],
)
def test_another_run_event_or_task_is_another_row(store: Store, other: dict[str, str]) -> None:
    assert store.record_notification("hook", notification(**other), T0) != recorded(store)


def test_many_at_once_each_get_their_own_row(store: Store) -> None:
    runs = [str(number % 30) for number in range(90)]
    with ThreadPoolExecutor(30) as pool:
        rows = list(
            pool.map(lambda run: store.record_notification("hook", notification(run_id=run), T0), runs)
        )
    for run, row in zip(runs, rows, strict=True):
        found = store.get_notification(row)
        assert (found.notification.run_id, found.count) == (run, 3)


def test_another_source_is_another_row(store: Store) -> None:
    assert store.record_notification("sweep", notification(), T0) != recorded(store)


def test_a_task_notification_comes_back_as_it_was_posted(store: Store) -> None:
    posted = notification(task_key="fit", parent_run_id="29")
    found = store.get_notification(store.record_notification("hook", posted, T0))
    assert found.notification == posted


def test_the_latest_post_says_which_run_is_above_it(store: Store) -> None:
    first = store.record_notification("hook", notification(task_key="fit"), T0)
    store.record_notification("hook", notification(task_key="fit", parent_run_id="29"), T0)
    assert store.get_notification(first).notification.job_run_id == "29"


def test_a_field_of_absurd_length_is_refused(store: Store) -> None:
    with pytest.raises(InvalidInputError):
        store.record_notification("hook", notification(task_key="x" * 100_000), T0)
    assert store.list_notifications().items == ()


def test_characters_that_no_database_holds_do_not_lose_the_notification(store: Store) -> None:
    found = store.get_notification(
        store.record_notification("hook", notification(job_name="a\x00b\ud800c"), T0)
    )
    assert found.notification.job_name == "a\ufffdb\ufffdc"


def test_an_unknown_id_is_not_found(store: Store) -> None:
    with pytest.raises(NotFoundError):
        store.get_notification("nobody")
    assert store.take_notification("nobody", T0, LEASE) is None


def test_a_taken_row_is_not_given_to_a_second_worker(store: Store) -> None:
    row = recorded(store)
    assert taken(store, row).lease != ""
    assert store.take_notification(row, after(1), LEASE) is None
    assert store.due(after(1)).notifications == ()


def test_a_row_that_is_not_due_yet_cannot_be_taken(store: Store) -> None:
    row = recorded(store)
    waiting = replace(taken(store, row), phase=NotificationPhase.WAITING, due_at=after(30))
    store.release_notification(waiting, T0)
    assert store.take_notification(row, after(29.999999), LEASE) is None
    assert taken(store, row, 30).phase is NotificationPhase.WAITING


def test_a_dead_workers_row_is_due_again_when_its_lease_ends(store: Store) -> None:
    row = recorded(store)
    dead = taken(store, row)
    assert store.due(after(LEASE - 0.000001)).notifications == ()
    assert store.due(after(LEASE)).notifications == (row,)
    alive = taken(store, row, LEASE)
    with pytest.raises(LeaseLostError):
        store.save_resolution(dead, Resolution("churn", 1, NotificationPhase.RESOLVED, "late"))
    with pytest.raises(LeaseLostError):
        store.release_notification(ended(dead, NotificationPhase.IGNORED), after(LEASE))
    assert store.get_notification(row).lease == alive.lease
    assert store.get_notification(row).resolutions == ()


def test_a_row_that_nobody_took_cannot_be_released(store: Store) -> None:
    found = store.get_notification(recorded(store))
    with pytest.raises(LeaseLostError):
        store.release_notification(ended(found, NotificationPhase.IGNORED), T0)


def test_release_writes_how_far_it_got(store: Store) -> None:
    worked = replace(
        taken(store, recorded(store)),
        phase=NotificationPhase.WAITING,
        reason="the run has not ended",
        due_at=after(10),
        retry=Retry(3, after(-5), "Databricks: 503"),
        job_run=job_run(end=None),
    )
    released = store.release_notification(worked, after(1))
    assert released == replace(worked, lease="")
    assert store.get_notification(worked.id) == released


def test_an_ended_row_is_never_due(store: Store) -> None:
    row = recorded(store)
    released = store.release_notification(
        replace(taken(store, row), phase=NotificationPhase.RESOLVED, due_at=after(1)), T0
    )
    assert released.due_at is None
    assert store.due(after(10**6)).notifications == ()


def test_an_open_row_without_a_due_time_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="never due"):
        store.release_notification(replace(taken(store, recorded(store)), due_at=None), T0)


def test_a_notification_that_came_again_while_it_was_worked_on_is_done_again(store: Store) -> None:
    row = recorded(store)
    working = taken(store, row)
    resolution = Resolution("churn", 1, NotificationPhase.RESOLVED, "v2", promotion_id="p-1")
    store.save_resolution(working, resolution)
    recorded(store)
    assert store.take_notification(row, after(1), LEASE) is None, "the row is still held"
    released = store.release_notification(
        ended(working, NotificationPhase.RESOLVED, retry=Retry(9, T0, "x")), after(2)
    )
    assert (released.phase, released.due_at, released.lease) == (NotificationPhase.RECEIVED, after(2), "")
    assert released.retry == Retry()
    assert released.resolutions == (resolution,)
    assert taken(store, row, 2).count == 2


def test_failures_go_on_counting_when_it_comes_again_while_still_open(store: Store) -> None:
    row = recorded(store)
    working = replace(taken(store, row), retry=Retry(2, T0, "503"), due_at=after(60))
    recorded(store)
    released = store.release_notification(working, after(1))
    assert (released.retry.attempts, released.retry.failing_since, released.due_at) == (2, T0, after(1))


@pytest.mark.parametrize("phase", [phase for phase in NotificationPhase if not phase.is_open])
def test_an_ended_notification_that_comes_again_starts_afresh(store: Store, phase: NotificationPhase) -> None:
    row = recorded(store)
    store.release_notification(ended(taken(store, row), phase, retry=Retry(5, T0, "x")), T0)
    store.record_notification("hook", notification(), after(100))
    again = taken(store, row, 100)
    assert (
        again.phase,
        again.count,
        again.retry.attempts,
        again.retry.failing_since,
        again.retry.last_error,
    ) == (
        NotificationPhase.RECEIVED,
        2,
        0,
        None,
        None,
    )


def test_a_resolution_is_replaced_gate_by_gate(store: Store) -> None:
    working = taken(store, recorded(store))
    waiting = Resolution("b", 1, NotificationPhase.WAITING, "not ready", None, Retry(2, after(-1), "503"))
    other = Resolution("a", 1, NotificationPhase.UNRESOLVED, "two versions")
    for resolution in (waiting, other):
        store.save_resolution(working, resolution)
    assert store.get_notification(working.id).resolutions == (other, waiting)
    done = Resolution("b", 1, NotificationPhase.RESOLVED, "v2", "p-1")
    store.save_resolution(working, done)
    assert store.get_notification(working.id).resolutions == (other, done)


class TestRunIsKnown:
    def test_an_open_notification_of_the_run_makes_it_known(self, store: Store) -> None:
        assert not store.run_is_known("30", T0)
        recorded(store)
        assert store.run_is_known("30", after(10**6))
        assert not store.run_is_known("31", T0)

    def test_a_task_notification_makes_its_parent_known(self, store: Store) -> None:
        store.record_notification("cli", notification(task_key="fit", parent_run_id="29"), T0)
        assert store.run_is_known("29", T0)
        assert not store.run_is_known("30", T0)

    def test_a_later_end_after_a_repair_is_news(self, store: Store) -> None:
        working = taken(store, recorded(store))
        store.release_notification(ended(working, NotificationPhase.RESOLVED, job_run=job_run()), T0)
        assert store.run_is_known("30", after(100))
        assert not store.run_is_known("30", after(100.000001))

    def test_a_notification_closed_without_reading_the_run_does_not_count(self, store: Store) -> None:
        store.release_notification(ended(taken(store, recorded(store)), NotificationPhase.IGNORED), T0)
        assert not store.run_is_known("30", T0)

    def test_one_that_failed_waits_for_a_person_until_the_run_ends_anew(self, store: Store) -> None:
        store.release_notification(ended(taken(store, recorded(store)), NotificationPhase.FAILED), T0)
        assert store.run_is_known("30", T0)
        assert not store.run_is_known("30", after(1))


def test_a_gate_keeps_the_time_at_which_it_was_first_seen(store: Store) -> None:
    assert store.gate_first_seen("churn", T0) == T0
    assert store.gate_first_seen("churn", after(99)) == T0
    assert store.gate_first_seen("other", after(99)) == after(99)


class TestLists:
    def test_pages_are_newest_first_and_complete(self, store: Store) -> None:
        for number in range(7):
            # Two share each time, so that the id has to break the tie.
            store.record_notification("hook", notification(run_id=str(number)), after(number // 2))
        seen: list[StoredNotification] = []
        cursor = None
        while True:
            part = store.list_notifications(limit=3, cursor=cursor)
            seen += part.items
            cursor = part.cursor
            if cursor is None:
                break
        assert len({row.id for row in seen}) == len(seen) == 7
        assert [row.first_received_at for row in seen] == sorted(
            (row.first_received_at for row in seen), reverse=True
        )

    def test_rows_that_arrive_meanwhile_shift_nothing(self, store: Store) -> None:
        rows = [
            store.record_notification("hook", notification(run_id=str(number)), after(number))
            for number in range(4)
        ]
        first = store.list_notifications(limit=2)
        store.record_notification("hook", notification(run_id="new"), after(50))
        store.record_notification("hook", notification(run_id="0"), after(51))
        second = store.list_notifications(limit=2, cursor=first.cursor)
        assert [row.id for row in first.items + second.items] == rows[::-1]
        assert second.cursor is None

    def test_a_phase_filters(self, store: Store) -> None:
        row = recorded(store)
        assert [found.id for found in store.list_notifications(phase=NotificationPhase.RECEIVED).items] == [
            row
        ]
        assert store.list_notifications(phase=NotificationPhase.FAILED).items == ()

    @pytest.mark.parametrize("cursor", ["x", write_cursor(["2026-01-01T00:00:00.000000Z", "\x00"])])
    def test_a_cursor_that_is_not_ours_is_refused(self, store: Store, cursor: str) -> None:
        with pytest.raises(InvalidInputError):
            store.list_notifications(cursor=cursor)
