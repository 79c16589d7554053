from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from champion_gate.domain.notifications import NotificationPhase, Resolution
from champion_gate.domain.promotion import TRANSITIONS, EndRequest, Phase, Promotion
from champion_gate.domain.retry import Retry
from champion_gate.errors import ConflictError, InvalidInputError, LeaseLostError, NotFoundError
from champion_gate.store import Store
from integration.store_samples import (
    KEY,
    LEASE,
    T0,
    after,
    brought_to,
    entry,
    notification,
    promotion,
    request,
    step,
    taken_promotion,
)

pytest_plugins = ("integration.store_fixtures",)

END = EndRequest(Phase.CANCELLED, "ann", "a mistake", after(3))


class TestCreate:
    def test_a_new_promotion_is_due_and_comes_back_as_it_was(self, store: Store) -> None:
        assert store.create_promotion(promotion()) == promotion()
        assert store.get_promotion("p-1") == promotion()
        assert store.due(T0).promotions == ("p-1",)

    def test_a_second_open_one_for_the_same_version_and_alias_is_not_made(self, store: Store) -> None:
        store.create_promotion(promotion())
        assert store.create_promotion(promotion("p-2")) is None
        with pytest.raises(NotFoundError):
            store.get_promotion("p-2")

    @pytest.mark.parametrize(
        "other", [{"alias": "Shadow"}, {"model": "main.ml.other"}, {"registry": "sqlite:///m.db"}]
    )
    def test_another_alias_model_or_registry_is_another_promotion(
        self, store: Store, other: dict[str, Any]
    ) -> None:
        store.create_promotion(promotion())
        assert store.create_promotion(promotion("p-2", **other)) is not None

    def test_an_ended_one_does_not_stand_in_the_way(self, store: Store) -> None:
        taken = taken_promotion(store)
        store.save_promotion(replace(taken, phase=Phase.INELIGIBLE), T0, release=True)
        assert store.create_promotion(promotion("p-2", requested_at=after(1))) is not None
        assert [found.id for found in store.promotions_of_version(KEY, "2")] == ["p-2", "p-1"]

    def test_an_id_is_used_once(self, store: Store) -> None:
        store.create_promotion(promotion())
        with pytest.raises(ConflictError):
            store.create_promotion(promotion(number=3))


class TestLeases:
    def test_a_taken_row_is_not_given_to_a_second_worker(self, store: Store) -> None:
        assert taken_promotion(store).lease
        assert store.take_promotion("p-1", after(1), LEASE) is None
        assert store.due(after(1)).promotions == ()

    def test_a_row_is_taken_neither_before_it_is_due_nor_after_its_end(self, store: Store) -> None:
        taken = taken_promotion(store)
        store.save_promotion(replace(taken, due_at=after(30)), T0, release=True)
        assert store.take_promotion("p-1", after(29), LEASE) is None
        taken = store.take_promotion("p-1", after(30), LEASE) or taken
        store.save_promotion(replace(taken, phase=Phase.CANCELLED), T0, release=True)
        assert store.take_promotion("p-1", after(10**6), LEASE) is None

    def test_a_dead_workers_row_is_due_when_its_lease_ends_whatever_it_planned(self, store: Store) -> None:
        dead = store.save_promotion(replace(taken_promotion(store), due_at=None), T0)
        assert store.due(after(LEASE - 0.000001)).promotions == ()
        assert store.due(after(LEASE)).promotions == ("p-1",)
        assert store.take_promotion("p-1", after(LEASE), LEASE) is not None
        with pytest.raises(LeaseLostError):
            store.save_promotion(dead, after(LEASE))

    def test_a_lost_lease_writes_nothing_at_all(self, store: Store) -> None:
        dead = taken_promotion(store)
        alive = store.take_promotion("p-1", after(LEASE), LEASE)
        with pytest.raises(LeaseLostError):
            store.save_promotion(
                replace(dead, phase=Phase.PENDING_APPROVAL),
                after(LEASE),
                release=True,
                ledger=[entry()],
                steps=[step()],
            )
        assert store.get_promotion("p-1") == alive
        assert store.ledger_lines() == ()
        assert store.open_steps("p-1") == ()
        assert store.verify_ledger() == 0

    def test_a_row_given_back_or_never_taken_cannot_be_saved(self, store: Store) -> None:
        taken = taken_promotion(store)
        released = store.save_promotion(taken, T0, release=True)
        for without_lease in (taken, released):
            with pytest.raises(LeaseLostError):
                store.save_promotion(without_lease, T0)

    def test_all_leases_can_be_given_back_after_a_restart(self, store: Store) -> None:
        store.save_promotion(replace(taken_promotion(store), due_at=None), after(1), steps=[step()])
        store.take_step("f-1", T0, LEASE)
        lock = store.lock_alias(KEY, T0, LEASE)
        ended = taken_promotion(store, "p-2", number=3)
        store.save_promotion(replace(ended, phase=Phase.CANCELLED), after(1))
        store.release_all_leases()
        due = store.due(after(1))
        assert (due.promotions, due.steps) == (("p-1",), ("f-1",))
        again = store.lock_alias(KEY, T0, LEASE)
        assert lock is not None
        assert again is not None
        assert again.fence == lock.fence + 1


class TestSave:
    def test_everything_the_holder_says_is_written(self, store: Store) -> None:
        changed = replace(
            taken_promotion(store),
            phase=Phase.PENDING_APPROVAL,
            reason="Waiting.",
            due_at=after(60),
            champion_version="1",
            evidence_json='{"a":"\\u0000"}',
            evidence_sha256="0" * 64,
            request=request(),
            retry=Retry(2, after(-1), "503"),
        )
        saved = store.save_promotion(changed, after(5))
        assert saved == replace(changed, updated_at=after(5))
        assert store.get_promotion("p-1") == saved

    def test_ledger_lines_and_steps_are_written_with_it(self, store: Store) -> None:
        taken = taken_promotion(store)
        store.save_promotion(taken, T0, ledger=[entry("a"), entry("b")], steps=[step()])
        assert [line.entry.reason for line in store.ledger_lines()] == ["b", "a"]
        assert store.open_steps("p-1") == (step(),)

    @pytest.mark.parametrize("start", [Phase.REQUESTED, Phase.PENDING_APPROVAL, Phase.APPROVED])
    def test_only_the_transitions_of_the_core_are_possible(self, store: Store, start: Phase) -> None:
        for number, target in enumerate(Phase, start=1):
            taken = taken_promotion(store, f"p-{number}", number)
            if start is not Phase.REQUESTED:
                taken = brought_to(store, taken, start)
            if target is start or target in TRANSITIONS[start]:
                assert store.save_promotion(replace(taken, phase=target), T0).phase is target
                continue
            with pytest.raises(ConflictError, match=f"cannot become {target.value}"):
                store.save_promotion(replace(taken, phase=target), T0, ledger=[entry()])
            assert store.get_promotion(taken.id) == taken
        assert store.ledger_lines() == ()

    @pytest.mark.parametrize("target", [Phase.REQUESTED, Phase.APPROVED])
    def test_no_worker_takes_a_failed_promotion_up_again(self, store: Store, target: Phase) -> None:
        failed = brought_to(store, taken_promotion(store), Phase.FAILED)
        with pytest.raises(ConflictError):
            store.save_promotion(replace(failed, phase=target), T0)

    def test_an_end_is_never_left(self, store: Store) -> None:
        ended = store.save_promotion(replace(taken_promotion(store), phase=Phase.CANCELLED), T0)
        for phase in set(Phase) - {Phase.CANCELLED}:
            with pytest.raises(ConflictError):
                store.save_promotion(replace(ended, phase=phase), T0)
        assert store.save_promotion(replace(ended, reason="said again"), T0, release=True).lease == ""

    def test_an_ended_row_is_never_due(self, store: Store) -> None:
        taken = taken_promotion(store)
        ended = store.save_promotion(replace(taken, phase=Phase.STALE, due_at=after(1)), T0, release=True)
        assert ended.due_at is None

    def test_an_open_row_is_not_given_back_without_a_due_time(self, store: Store) -> None:
        with pytest.raises(ValueError, match="never due"):
            store.save_promotion(replace(taken_promotion(store), due_at=None), T0, release=True)

    def test_a_naive_time_is_refused(self, store: Store) -> None:
        naive = T0.replace(tzinfo=None)
        with pytest.raises(Exception, match="aware"):
            store.save_promotion(replace(taken_promotion(store), due_at=naive), T0)


class TestHints:
    def test_a_hint_makes_a_waiting_row_due_now(self, store: Store) -> None:
        store.save_promotion(replace(taken_promotion(store), due_at=after(600)), T0, release=True)
        store.hint_promotion("p-1", after(5))
        assert store.get_promotion("p-1").hints == 1
        assert store.due(after(5)).promotions == ("p-1",)

    def test_a_hint_never_delays(self, store: Store) -> None:
        store.create_promotion(promotion())
        store.hint_promotion("p-1", after(600))
        assert store.due(T0).promotions == ("p-1",)

    def test_a_hint_while_it_is_held_makes_it_due_when_given_back(self, store: Store) -> None:
        taken = taken_promotion(store)
        store.hint_promotion("p-1", after(1))
        assert store.take_promotion("p-1", after(1), LEASE) is None
        released = store.save_promotion(replace(taken, due_at=after(600)), after(2), release=True)
        assert (released.due_at, released.hints) == (after(2), 1)

    def test_a_hint_is_not_swallowed_by_a_save_that_keeps_the_lease(self, store: Store) -> None:
        taken = taken_promotion(store)
        store.hint_promotion("p-1", after(1))
        kept = store.save_promotion(replace(taken, due_at=after(600)), after(2))
        for held in (kept, store.get_promotion("p-1")):
            assert held.lease == taken.lease
        released = store.save_promotion(replace(kept, due_at=after(600)), after(3), release=True)
        assert released.due_at == after(3)

    def test_a_hint_seen_when_taking_is_spent(self, store: Store) -> None:
        store.create_promotion(promotion())
        store.hint_promotion("p-1", T0)
        taken = store.take_promotion("p-1", T0, LEASE)
        assert taken is not None
        released = store.save_promotion(replace(taken, due_at=after(600)), T0, release=True)
        assert released.due_at == after(600)

    def test_a_hint_does_not_reopen_an_ended_promotion(self, store: Store) -> None:
        taken = taken_promotion(store)
        ended = store.save_promotion(replace(taken, phase=Phase.CANCELLED), T0, release=True)
        store.hint_promotion("p-1", after(1))
        store.hint_promotion("nobody", after(1))
        assert store.get_promotion("p-1") == ended

    def test_a_hint_does_not_keep_an_ended_promotion_due(self, store: Store) -> None:
        taken = taken_promotion(store)
        store.hint_promotion("p-1", after(1))
        store.save_promotion(replace(taken, phase=Phase.CANCELLED), after(2), release=True)
        assert store.due(after(10**6)).promotions == ()


class TestRequestEnd:
    def test_the_first_order_stands_and_is_a_hint(self, store: Store) -> None:
        store.save_promotion(replace(taken_promotion(store), due_at=after(600)), T0, release=True)
        assert store.request_end("p-1", END)
        assert not store.request_end("p-1", replace(END, phase=Phase.SUPERSEDED, actor="bob"))
        found = store.get_promotion("p-1")
        assert (found.end_request, found.due_at, found.hints) == (END, END.at, 1)

    def test_a_holder_who_has_not_seen_the_order_does_not_erase_it(self, store: Store) -> None:
        taken = taken_promotion(store)
        assert store.request_end("p-1", END)
        saved = store.save_promotion(replace(taken, due_at=after(600)), after(4))
        assert saved.end_request == END
        released = store.save_promotion(replace(taken, due_at=after(600)), after(5), release=True)
        assert (released.end_request, released.due_at) == (END, after(5))

    def test_an_ended_or_unknown_promotion_takes_no_order(self, store: Store) -> None:
        taken = taken_promotion(store)
        store.save_promotion(replace(taken, phase=Phase.CANCELLED), T0, release=True)
        assert not store.request_end("p-1", END)
        assert not store.request_end("nobody", END)


class TestRetry:
    def failed(self, store: Store, failed_from: Phase | None) -> Promotion:
        taken = taken_promotion(store)
        if failed_from is Phase.APPROVED:
            taken = brought_to(store, taken, Phase.APPROVED)
        return store.save_promotion(
            replace(
                taken,
                phase=Phase.FAILED,
                failed_from=failed_from,
                retry=Retry(40, after(-9), "Databricks: 503"),
                ended_at=T0,
            ),
            T0,
            release=True,
        )

    @pytest.mark.parametrize("phase", [Phase.REQUESTED, Phase.APPROVED])
    def test_it_returns_to_the_phase_in_which_it_failed(self, store: Store, phase: Phase) -> None:
        failed = self.failed(store, phase)
        assert store.retry_promotion("p-1", after(9), "taken up again by ann")
        assert store.get_promotion("p-1") == replace(
            failed,
            phase=phase,
            reason="taken up again by ann",
            failed_from=None,
            retry=Retry(),
            ended_at=None,
            due_at=after(9),
            updated_at=after(9),
        )
        assert store.take_promotion("p-1", after(9), LEASE) is not None

    def test_one_that_has_not_failed_stays(self, store: Store) -> None:
        store.create_promotion(promotion())
        assert not store.retry_promotion("p-1", after(9), "again")
        assert store.get_promotion("p-1") == promotion()

    def test_it_does_not_open_a_second_one_for_the_version(self, store: Store) -> None:
        failed = self.failed(store, Phase.REQUESTED)
        store.create_promotion(promotion("p-2"))
        with pytest.raises(ConflictError, match="is open"):
            store.retry_promotion("p-1", after(9), "again")
        assert store.get_promotion("p-1") == failed

    def test_a_phase_that_cannot_be_taken_up_is_refused(self, store: Store) -> None:
        self.failed(store, Phase.PENDING_APPROVAL)
        with pytest.raises(ConflictError):
            store.retry_promotion("p-1", after(9), "again")

    def test_an_unknown_one_is_not_found(self, store: Store) -> None:
        with pytest.raises(NotFoundError):
            store.retry_promotion("nobody", T0, "again")


class TestQueries:
    def test_open_promotions_of_an_alias_are_oldest_first(self, store: Store) -> None:
        for number in (5, 3, 4):
            store.create_promotion(promotion(f"p-{number}", number, requested_at=after(number)))
        ended = store.take_promotion("p-4", T0, LEASE)
        assert ended is not None
        store.save_promotion(replace(ended, phase=Phase.CANCELLED), T0, release=True)
        store.create_promotion(promotion("p-9", 3, alias="Shadow"))
        assert [found.id for found in store.open_promotions(KEY)] == ["p-3", "p-5"]

    def test_pending_ones_are_found_and_requests_hinted(self, store: Store) -> None:
        for number in (2, 3):
            taken = taken_promotion(store, f"p-{number}", number)
            brought_to(store, taken, Phase.PENDING_APPROVAL, request=request(external_id=str(70 + number)))
        store.create_promotion(promotion("p-4", 4))
        assert [found.id for found in store.pending_promotions()] == ["p-2", "p-3"]
        assert store.hint_request("73", T0) == ("p-3",)
        assert store.get_promotion("p-3").hints == 1
        assert store.hint_request("74", T0) == ()

    def test_a_request_of_an_ended_promotion_is_not_hinted(self, store: Store) -> None:
        pending = brought_to(store, taken_promotion(store), Phase.PENDING_APPROVAL, request=request())
        store.save_promotion(replace(pending, phase=Phase.REJECTED), T0, release=True)
        assert store.hint_request("77", T0) == ()

    def test_pages_are_newest_first_complete_and_filtered(self, store: Store) -> None:
        for number in range(1, 8):
            store.create_promotion(promotion(f"p-{number}", number, requested_at=after(number // 2)))
        store.create_promotion(promotion("other", 1, model="main.ml.other"))
        seen: list[str] = []
        cursor = None
        while cursor is not None or not seen:
            part = store.list_promotions(model=KEY.model, phase=Phase.REQUESTED, cursor=cursor, limit=2)
            seen += [found.id for found in part.items]
            cursor = part.cursor
        assert seen == [f"p-{number}" for number in range(7, 0, -1)]
        assert store.list_promotions(phase=Phase.FAILED).items == ()

    def test_a_cursor_that_is_not_ours_is_refused(self, store: Store) -> None:
        with pytest.raises(InvalidInputError):
            store.list_promotions(cursor="1; DROP TABLE promotions")

    def test_due_rows_are_the_longest_overdue_first_and_limited(self, store: Store) -> None:
        for number in (3, 1, 2):
            store.create_promotion(promotion(f"p-{number}", number, due_at=after(number)))
        assert store.due(after(2)).promotions == ("p-1", "p-2")
        assert store.due(after(9), limit=1).promotions == ("p-1",)

    def test_what_is_ordered_now_waits_behind_no_crowd_that_a_vendor_holds_up(self, store: Store) -> None:
        for number in range(1, 13):
            store.create_promotion(promotion(f"p-{number}", number, due_at=after(number)))
        store.create_promotion(promotion("other", 13, due_at=after(10**6)))
        store.hint_promotion("other", after(60))
        assert store.due(after(61), limit=10).promotions == (*(f"p-{each}" for each in range(1, 11)), "other")

    def test_what_waits_for_another_try_at_a_vendor_is_due_when_that_answers_again(
        self, store: Store
    ) -> None:
        def failing(vendor: str) -> Retry:
            return Retry(1, T0, f"{vendor}: it did not answer.")

        for number, vendor in enumerate(("GitHub", "Databricks"), start=2):
            taken = taken_promotion(store, f"p-{number}", number)
            store.plan_step(step(f"f-{number}", promotion_id=taken.id))
            begun = store.take_step(f"f-{number}", T0, LEASE)
            assert begun is not None
            store.save_step(replace(begun, due_at=after(900), retry=failing(vendor)), release=True)
            store.save_promotion(replace(taken, due_at=after(900), retry=failing(vendor)), T0, release=True)
            noted = store.record_notification("hook", notification(run_id=str(number)), T0)
            told = store.take_notification(noted, T0, LEASE)
            assert told is not None
            of_gate = Resolution("churn", 1, NotificationPhase.WAITING, "", retry=failing(vendor))
            store.save_resolution(told, of_gate)
            store.release_notification(replace(told, phase=NotificationPhase.WAITING, due_at=after(900)), T0)
        for name, vendor in (("decisions:github", "GitHub"), ("runs:a", "Git%"), ("runs:b", "Databricks")):
            store.look_failed(name, vendor)
        store.look_succeeded("decisions:github", after(1))
        due = store.due(after(1))
        assert (due.promotions, due.steps, len(due.notifications)) == (("p-2",), ("f-2",), 1)
        store.look_succeeded("runs:a", after(1))
        store.look_succeeded("runs:another", after(1))
        assert store.due(after(1)) == due

    def test_a_longer_pause_that_a_vendor_asked_for_is_kept_when_it_answers_again(self, store: Store) -> None:
        taken = taken_promotion(store, "p-2", 2)
        limited = Retry(1, T0, "GitHub: POST /dispatches was answered with 429. The rate limit is used up.")
        store.save_promotion(replace(taken, due_at=after(3600), retry=limited), T0, release=True)
        store.look_failed("decisions:github", "GitHub")
        store.look_succeeded("decisions:github", after(60))
        assert store.due(after(3599)).promotions == ()
        assert store.due(after(3600)).promotions == ("p-2",)
