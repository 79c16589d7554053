"""Phases: what may follow what."""

from itertools import product

import pytest

from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.promotion import TRANSITIONS, Phase

ENDS = {
    Phase.PROMOTED,
    Phase.INELIGIBLE,
    Phase.REJECTED,
    Phase.EXPIRED,
    Phase.SUPERSEDED,
    Phase.CANCELLED,
    Phase.STALE,
}


def reachable(phase: Phase, *, without: frozenset[Phase] = frozenset()) -> set[Phase]:
    seen: set[Phase] = set()
    todo = [phase]
    while todo:
        for after in TRANSITIONS.get(todo.pop(), frozenset()) - without - seen:
            seen.add(after)
            todo.append(after)
    return seen


def test_every_phase_can_be_reached_from_the_first() -> None:
    assert reachable(Phase.REQUESTED) | {Phase.REQUESTED} == set(Phase)


def test_the_only_way_to_promoted_is_through_pending_approval_and_approved() -> None:
    before = [phase for phase, after in TRANSITIONS.items() if Phase.PROMOTED in after]
    assert before == [Phase.APPROVED, Phase.COPYING]
    assert Phase.COPYING not in reachable(Phase.REQUESTED, without=frozenset({Phase.APPROVED, Phase.FAILED}))
    assert Phase.PROMOTED not in reachable(Phase.REQUESTED, without=frozenset(before))
    assert Phase.APPROVED not in reachable(
        Phase.REQUESTED, without=frozenset({Phase.PENDING_APPROVAL, Phase.FAILED})
    )


@pytest.mark.parametrize("end", sorted(ENDS))
def test_nothing_follows_an_end(end: Phase) -> None:
    assert not TRANSITIONS.get(end)
    assert not end.is_open


@pytest.mark.parametrize("phase", sorted(set(Phase) - ENDS - {Phase.FAILED}))
def test_every_open_phase_has_a_way_out(phase: Phase) -> None:
    assert phase.is_open
    assert reachable(phase) & ENDS


def test_a_failed_one_is_not_open_and_goes_back_only_where_it_can_have_failed() -> None:
    assert not Phase.FAILED.is_open
    assert all(Phase.FAILED in TRANSITIONS[phase] for phase in TRANSITIONS[Phase.FAILED])


def test_nobody_is_asked_a_second_time_once_decided() -> None:
    decided = {Phase.APPROVED, *ENDS}
    for before, after in product(decided, {Phase.REQUESTED, Phase.PENDING_APPROVAL}):
        assert after not in TRANSITIONS.get(before, frozenset())


def test_a_notification_is_open_until_it_came_to_something() -> None:
    assert {phase for phase in NotificationPhase if phase.is_open} == {
        NotificationPhase.RECEIVED,
        NotificationPhase.WAITING,
    }
