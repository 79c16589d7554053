from __future__ import annotations

from dataclasses import replace

import pytest

from champion_gate.domain.promotion import Phase
from champion_gate.domain.retry import Retry
from champion_gate.domain.steps import Step, StepKind, StepPhase, ended, planned
from champion_gate.errors import ConflictError, LeaseLostError, NotFoundError
from champion_gate.flow.after import steps_of_alias
from champion_gate.store import Store
from champion_gate.store.steps import MOST_SHOWN
from integration.store_samples import KEY, LEASE, T0, after, step, taken_promotion

pytest_plugins = ("integration.store_fixtures",)


def taken_step(store: Store, seconds: float = 0) -> Step:
    found = store.take_step("f-1", after(seconds), LEASE)
    assert found is not None
    return found


def done(taken: Step, phase: StepPhase = StepPhase.SUCCEEDED) -> Step:
    return ended(taken, phase, "so it came", after(1))


@pytest.fixture
def with_step(store: Store) -> Store:
    taken = taken_promotion(store)
    store.save_promotion(replace(taken, phase=Phase.CANCELLED), T0, release=True, steps=[step()])
    return store


def test_one_is_due_until_it_has_ended_and_stays_to_be_seen(with_step: Store) -> None:
    assert with_step.due(T0).steps == ("f-1",)
    taken = taken_step(with_step)
    assert taken == step(lease=taken.lease)
    assert with_step.due(after(1)).steps == ()
    with_step.save_step(done(taken), release=True)
    assert with_step.open_steps("p-1") == ()
    assert with_step.take_step("f-1", after(10**6), LEASE) is None
    assert with_step.steps_of("p-1") == (replace(done(taken), lease=""),)


def test_a_failed_try_is_put_off(with_step: Store) -> None:
    tried = replace(taken_step(with_step), retry=Retry(1, T0, "503"), due_at=after(60))
    with_step.save_step(tried, release=True)
    assert with_step.open_steps("p-1") == (replace(tried, lease=""),)
    assert with_step.take_step("f-1", after(59), LEASE) is None
    taken_step(with_step, 60)


def test_what_is_stored_before_a_call_is_there_after_a_crash(with_step: Store) -> None:
    taken = taken_step(with_step)
    with_step.save_step(replace(taken, phase=StepPhase.RUNNING, token="t", starts=1))
    again = taken_step(with_step, LEASE)
    assert (again.phase, again.token, again.starts) == (StepPhase.RUNNING, "t", 1)


def test_a_dead_workers_is_taken_over_and_its_late_word_refused(with_step: Store) -> None:
    dead = taken_step(with_step)
    assert with_step.due(after(LEASE)).steps == ("f-1",)
    alive = taken_step(with_step, LEASE)
    with pytest.raises(LeaseLostError):
        with_step.save_step(done(dead))
    with_step.save_step(done(alive), release=True)
    with pytest.raises(LeaseLostError):
        with_step.save_step(dead, release=True)


def test_a_turn_that_runs_twice_plans_it_once(store: Store) -> None:
    taken = taken_promotion(store)
    store.save_promotion(taken, T0, steps=[step()])
    store.save_promotion(taken, T0, steps=[step(due_at=after(9))])
    assert store.steps_of("p-1") == (step(),)


@pytest.mark.parametrize(
    ("phase", "again"),
    [
        (StepPhase.SUCCEEDED, True),
        (StepPhase.FAILED, True),
        (StepPhase.OVERTAKEN, True),
        (StepPhase.SKIPPED, False),
    ],
)
def test_one_that_has_ended_is_planned_anew_but_for_what_was_skipped(
    with_step: Store, phase: StepPhase, *, again: bool
) -> None:
    with_step.save_step(done(taken_step(with_step), phase), release=True)
    with_step.plan_step(step(due_at=after(9)))
    (found,) = with_step.steps_of("p-1")
    assert found == step(due_at=after(9)) if again else found.phase is phase


def test_they_are_shown_in_the_order_in_which_they_were_planned(with_step: Store) -> None:
    for kind in (StepKind.TAG_VERSION, StepKind.CANCEL_DOUBLES):
        with_step.plan_step(planned("p-1", kind, {}, T0))
    found = with_step.steps_of("p-1")
    assert [(each.position, each.id) for each in found] == [
        (0, "f-1"),
        (1, "p-1-tag-version"),
        (2, "p-1-cancel-doubles"),
    ]


def test_an_order_goes_to_one_that_nobody_is_at(with_step: Store) -> None:
    taken = taken_step(with_step)
    with pytest.raises(ConflictError, match="being worked on"):
        with_step.order_step("f-1", done)
    with_step.save_step(replace(taken, due_at=after(60)), release=True)
    with_step.order_step("f-1", lambda found: done(found, StepPhase.SKIPPED))
    assert with_step.get_step("f-1").phase is StepPhase.SKIPPED


def test_there_is_none_of_an_unknown_id(with_step: Store) -> None:
    for look in (with_step.get_step, lambda row: with_step.order_step(row, done)):
        with pytest.raises(NotFoundError):
            look("f-2")


def test_of_many_that_failed_those_of_another_alias_are_found(store: Store) -> None:
    def plan(step_id: str, alias: str) -> None:
        about = {"registry": KEY.registry, "model": KEY.model, "alias": alias}
        new = step(step_id, promotion_id="", kind=StepKind.RESTORE, config=about)
        store.plan_step(ended(new, StepPhase.FAILED, f'"alias":"{KEY.alias}" was contested.', T0))

    for number in range(MOST_SHOWN):
        plan(f"a-{number}", KEY.alias.lower())
    plan("b-1", KEY.alias)
    assert [each.id for each in steps_of_alias(store, KEY)] == ["b-1"]
