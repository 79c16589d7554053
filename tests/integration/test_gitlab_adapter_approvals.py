"""Several people approve one deployment, each for themselves, before somebody may run the job."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from champion_gate.domain.approval import ExcludedPerson, Verdict
from champion_gate.domain.promotion import Promotion
from champion_gate_standins.gitlab.state import DEVELOPER, RefusedError
from integration.gitlab_world import PROJECT, World, gitlab_world, outcome, pipeline_of


@pytest.fixture
def voted() -> Iterator[World]:
    """Where bob and cat have to approve the deployment before ann may run the job."""
    with gitlab_world(approvals=("bob", "cat")) as made:
        made.there.add_member(PROJECT, "cat", DEVELOPER)
        yield made


def approve(world: World, promotion: Promotion, *people: str, status: str = "approved") -> None:
    for person in people:
        deployment = world.there.deployment(pipeline_of(promotion))
        world.there.approve_deployment(deployment, person, status, f"said {person}")


def test_the_approvals_of_two_people_are_read_with_their_comments(voted: World) -> None:
    promotion = voted.asked()
    approve(voted, promotion, "bob")
    half = voted.read(promotion)
    assert {review.login for review in half.reviews} == {"bob"}
    assert half.released_at == {}
    assert outcome(voted, promotion, half)[0] is None
    with pytest.raises(RefusedError):
        voted.play(promotion)
    approve(voted, promotion, "cat")
    voted.play(promotion)
    state = voted.read(promotion)
    assert {(review.login, review.comment) for review in state.reviews} == {
        ("bob", "said bob"),
        ("cat", "said cat"),
    }
    assert all(review.is_person and review.is_listed and not review.is_opener for review in state.reviews)
    verdict, reason = outcome(voted, promotion, state)
    assert verdict is Verdict.APPROVED
    assert "bob" in reason
    assert "cat" in reason
    assert "ann" not in reason


def test_a_rejected_deployment_is_a_rejection_with_its_comment(voted: World) -> None:
    promotion = voted.asked()
    approve(voted, promotion, "bob")
    approve(voted, promotion, "cat", status="rejected")
    verdict, reason = outcome(voted, promotion, voted.read(promotion))
    assert verdict is Verdict.REJECTED
    assert "Rejected by cat" in reason
    assert "said cat" in reason


def test_the_trainers_approval_does_not_fill_a_seat(voted: World) -> None:
    promotion = voted.asked()
    cat = str(voted.there.state.user("cat").id)
    promotion = replace(promotion, excluded=(ExcludedPerson("cat@example.com", "job run-as", "cat", cat),))
    approve(voted, promotion, "bob", "cat")
    voted.play(promotion)
    assert outcome(voted, promotion, voted.read(promotion))[0] is Verdict.REJECTED


def test_an_approval_counts_for_one_seat_however_often_it_is_listed(voted: World) -> None:
    promotion = voted.asked()
    approve(voted, promotion, "bob", "cat")
    voted.play(promotion)
    deployment = voted.there.deployment(pipeline_of(promotion))
    path = f"/projects/{PROJECT}/deployments/{deployment.id}"
    found = voted.answer(path)
    assert isinstance(found, dict)
    voted.spoil(path, approvals=[found["approvals"][0]] * 2)
    verdict, reason = outcome(voted, promotion, voted.read(promotion))
    assert verdict is Verdict.REJECTED
    assert "different person" in reason


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"pending_approval_count": 1}, "still lacks 1 approvals"),
        ({"environment": {"id": 1, "name": "other"}}, "is not that of job"),
        ({"sha": "0" * 40}, "is not that of job"),
        ({"approvals": [{"user": None, "status": "approvedish", "comment": None}]}, "approvedish"),
    ],
)
def test_a_deployment_that_does_not_fit_is_a_problem(
    voted: World, changed: dict[str, object], words: str
) -> None:
    promotion = voted.asked()
    approve(voted, promotion, "bob", "cat")
    voted.play(promotion)
    deployment = voted.there.deployment(pipeline_of(promotion))
    voted.spoil(f"/projects/{PROJECT}/deployments/{deployment.id}", **changed)
    state = voted.read(promotion)
    assert words in " ".join(state.problems)
    assert outcome(voted, promotion, state)[0] is None


def test_an_approval_by_a_deleted_account_counts_for_nobody(voted: World) -> None:
    promotion = voted.asked()
    approve(voted, promotion, "bob", "cat")
    voted.play(promotion)
    deployment = voted.there.deployment(pipeline_of(promotion))
    gone = [{"user": None, "status": "approved", "comment": None, "created_at": "2026-11-20T10:00:00Z"}]
    voted.spoil(f"/projects/{PROJECT}/deployments/{deployment.id}", approvals=gone)
    assert outcome(voted, promotion, voted.read(promotion))[0] is Verdict.REJECTED
