"""What people said, and all that must not pass for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from champion_gate.domain.approval import Verdict
from integration.github_world import (
    REPOSITORY,
    START,
    World,
    gated_job_of,
    github_world,
    run_of,
    target_of,
)


@pytest.fixture
def world() -> Iterator[World]:
    with github_world() as made:
        yield made


# --- people decide ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("credentials", ["app", "token"])
@pytest.mark.parametrize("api_version", ["2022-11-28", "2026-03-10"])
def test_an_approval_is_read_with_who_and_when(credentials: str, api_version: str) -> None:
    with github_world(credentials=credentials, api_version=api_version) as world:
        promotion = world.asked()
        waiting = world.read(promotion)
        assert (waiting.problems, waiting.void, waiting.reviews) == ((), None, ())
        assert waiting.released_at == {}
        assert not waiting.finished
        world.clock.move(hours=3)
        world.there.review(run_of(promotion), "champion", "ann", approve=True, comment="good")
        state = world.read(promotion)
        (review,) = state.reviews
        assert (state.problems, state.void, state.finished) == ((), None, True)
        assert state.released_at == {"champion": START + timedelta(hours=3)}
        assert (review.seat, review.verdict, review.login, review.comment) == (
            "champion",
            Verdict.APPROVED,
            "ann",
            "good",
        )
        assert review.user_id == str(world.there.state.user("ann").id)
        assert (review.is_person, review.is_opener, review.is_listed) == (True, False, True)


def test_a_job_that_was_let_start_and_still_runs_is_released(world: World) -> None:
    world.there.workflow_runs.jobs_finish = False
    promotion = world.asked()
    world.there.review(run_of(promotion), "champion", "ann", approve=True)
    state = world.read(promotion)
    assert state.released_at == {"champion": START}
    assert not state.finished


def test_a_job_that_failed_after_it_was_let_start_is_released(world: World) -> None:
    world.there.workflow_runs.jobs_finish = False
    promotion = world.asked()
    world.there.review(run_of(promotion), "champion", "ann", approve=True)
    world.there.end_job(run_of(promotion), "champion", "failure")
    assert world.read(promotion).released_at == {"champion": START}


def test_a_rejection_is_read(world: World) -> None:
    promotion = world.asked()
    world.there.review(run_of(promotion), "champion", "ann", approve=False, comment="worse on new users")
    state = world.read(promotion)
    (review,) = state.reviews
    assert (review.verdict, review.comment, state.void) == (Verdict.REJECTED, "worse on new users", None)


def test_two_environments_are_two_reviews(world: World) -> None:
    world.there.add_user("bob")
    world.there.protect_environment(REPOSITORY, "audit", ["bob"])
    promotion = world.asked(target=target_of("champion", "audit"))
    world.there.review(run_of(promotion), "champion", "ann", approve=True)
    half = world.read(promotion)
    assert [review.seat for review in half.reviews] == ["champion"]
    assert set(half.released_at) == {"champion"}
    assert not half.finished
    world.there.review(run_of(promotion), "audit", "bob", approve=True)
    whole = world.read(promotion)
    assert {(review.seat, review.login) for review in whole.reviews} == {
        ("champion", "ann"),
        ("audit", "bob"),
    }
    assert set(whole.released_at) == {"champion", "audit"}


def test_one_review_of_two_environments_is_one_for_each(world: World) -> None:
    world.there.protect_environment(REPOSITORY, "audit", ["ann"])
    promotion = world.asked(target=target_of("champion", "audit"))
    world.there.review(run_of(promotion), ["champion", "audit"], "ann", approve=True)
    assert {(review.seat, review.login) for review in world.read(promotion).reviews} == {
        ("champion", "ann"),
        ("audit", "ann"),
    }


def test_the_trainers_own_approval_is_passed_on_for_the_policy_to_judge(world: World) -> None:
    world.there.add_user("trainer")
    world.there.protect_environment(REPOSITORY, "champion", ["ann", "trainer"])
    promotion = world.asked()
    world.there.review(run_of(promotion), "champion", "trainer", approve=True)
    (review,) = world.read(promotion).reviews
    assert review.user_id == world.here.find_person(target_of(), "trainer").user_id


# --- who is listed ----------------------------------------------------------------------------------------


def test_a_member_of_a_reviewing_team_is_listed(world: World) -> None:
    team = world.there.add_team("example", "mlops", ["bob"])
    world.there.protect_environment(REPOSITORY, "champion", [team])
    promotion = world.asked()
    world.there.review(run_of(promotion), "champion", "bob", approve=True)
    assert world.read(promotion).reviews[0].is_listed


def test_who_left_the_team_is_not_listed(world: World) -> None:
    team = world.there.add_team("example", "mlops", ["bob", "ann"])
    world.there.protect_environment(REPOSITORY, "champion", [team])
    promotion = world.asked()
    world.there.review(run_of(promotion), "champion", "bob", approve=True)
    world.there.add_team("example", "mlops", ["ann"])
    state = world.read(promotion)
    assert not state.reviews[0].is_listed
    assert state.problems == ()


def test_a_membership_that_is_only_offered_does_not_list(world: World) -> None:
    team = world.there.add_team("example", "mlops", ["bob"])
    world.there.protect_environment(REPOSITORY, "champion", [team])
    promotion = world.asked()
    world.there.review(run_of(promotion), "champion", "bob", approve=True)
    world.there.faults.add("/memberships/", body='{"url": "x", "role": "member", "state": "pending"}')
    assert not world.read(promotion).reviews[0].is_listed


@pytest.mark.parametrize(
    "faults", [{"/memberships/bob": 403}, {"/memberships/bob": 404, "/mlops/members$": 403}]
)
def test_a_team_that_cannot_be_read_is_a_problem(world: World, faults: dict[str, int]) -> None:
    team = world.there.add_team("example", "mlops", ["bob"])
    world.there.protect_environment(REPOSITORY, "champion", [team])
    promotion = world.asked()
    world.there.review(run_of(promotion), "champion", "bob", approve=True)
    for path, status in faults.items():
        world.there.faults.add(path, status=status)
    assert "mlops" in " ".join(world.read(promotion).problems)


def test_a_members_login_in_other_hands_since_the_vote_makes_nobody_a_member(world: World) -> None:
    team = world.there.add_team("example", "mlops", ["bob"])
    world.there.protect_environment(REPOSITORY, "champion", [team])
    promotion = world.asked()
    world.there.review(run_of(promotion), "champion", "bob", approve=True)
    place = world.there.repository(REPOSITORY).environments["champion"]
    said = {
        "state": "approved",
        "comment": "",
        "user": {"id": world.there.state.user("bob").id, "login": "bob", "type": "User"},
        "environments": [{"id": place.id, "name": "champion"}],
    }
    world.there.rename_user("bob", "bob-renamed")
    world.there.add_team("example", "mlops", ["bob"])
    world.there.faults.add("/approvals$", body=json.dumps([said]))
    state = world.read(promotion)
    assert not state.reviews[0].is_listed
    assert "bob is another account now than the one that decided." in state.problems


@pytest.mark.parametrize("login", ["ann", "bob"])
def test_a_team_whose_list_cannot_be_read_stops_nobody_who_is_known_to_be_a_reviewer(
    world: World, login: str
) -> None:
    team = world.there.add_team("example", "mlops", ["bob"])
    world.there.protect_environment(REPOSITORY, "champion", ["ann", team])
    promotion = world.asked()
    world.there.review(run_of(promotion), "champion", login, approve=True)
    world.there.faults.add("/teams/mlops/members$", status=500)
    state = world.read(promotion)
    assert (state.problems, state.reviews[0].is_listed) == ((), True)


def test_a_reviewer_of_whom_it_is_not_told_whether_it_is_a_person_is_a_problem(world: World) -> None:
    promotion = world.asked()
    number = world.there.repository(REPOSITORY).environments["champion"].id
    user = '{"login": "ann", "id": 2}'
    body = f'[{{"environments": [{{"id": {number}}}], "state": "approved", "user": {user}, "comment": ""}}]'
    world.there.faults.add("/approvals$", body=body)
    assert "whether ann, who gave a review, is a person" in " ".join(world.read(promotion).problems)


def test_a_stranger_is_not_listed(world: World) -> None:
    promotion = world.asked()
    world.there.bypass(run_of(promotion), "champion", "admin")
    (review,) = world.read(promotion).reviews
    assert (review.is_person, review.is_listed) == (True, False)


def test_our_own_account_is_known_as_the_opener(world: World) -> None:
    promotion = world.asked()
    world.there.bypass(run_of(promotion), "champion", "champion-gate[bot]")
    (review,) = world.read(promotion).reviews
    assert (review.is_person, review.is_opener, review.is_listed) == (False, True, False)


def test_with_a_token_its_owner_is_the_opener_though_a_person(world: World) -> None:
    with github_world(credentials="token") as other:
        other.there.protect_environment(REPOSITORY, "champion", ["ann", "gate-robot"])
        promotion = other.asked()
        other.there.bypass(run_of(promotion), "champion", "gate-robot")
        (review,) = other.read(promotion).reviews
        assert (review.is_person, review.is_opener) == (True, True)


@pytest.mark.parametrize(
    "user", ["null", '{"login": "ann", "id": 1, "type": "Mannequin"}', '{"login": "x", "id": 2}']
)
def test_a_deleted_or_strange_account_is_no_person(world: World, user: str) -> None:
    promotion = world.asked()
    number = world.there.repository(REPOSITORY).environments["champion"].id
    body = f'[{{"environments": [{{"id": {number}}}], "state": "approved", "user": {user}, "comment": ""}}]'
    world.there.faults.add("/approvals$", body=body)
    (review,) = world.read(promotion).reviews
    assert (review.is_person, review.is_listed) == (False, False)


@pytest.mark.parametrize("state", ["pending", "approved"])
def test_a_pending_review_or_one_of_another_environment_is_none(world: World, state: str) -> None:
    promotion = world.asked()
    number = world.there.repository(REPOSITORY).environments["champion"].id
    number += 0 if state == "pending" else 1
    body = f'[{{"environments": [{{"id": {number}}}], "state": "{state}", "user": null, "comment": ""}}]'
    world.there.faults.add("/approvals$", body=body)
    state_read = world.read(promotion)
    assert (state_read.reviews, state_read.problems) == ((), ())


def test_a_verdict_that_is_not_known_is_a_problem(world: World) -> None:
    promotion = world.asked()
    number = world.there.repository(REPOSITORY).environments["champion"].id
    body = f'[{{"environments": [{{"id": {number}}}], "state": "approvedish", "user": null, "comment": ""}}]'
    world.there.faults.add("/approvals$", body=body)
    state = world.read(promotion)
    assert state.reviews == ()
    assert "approvedish" in " ".join(state.problems)


# --- the place changed meanwhile --------------------------------------------------------------------------


def _no_reviewers(world: World) -> None:
    world.there.protect_environment(REPOSITORY, "champion", [])


def _other_reviewer(world: World) -> None:
    world.there.add_user("mallory")
    world.there.protect_environment(REPOSITORY, "champion", ["ann", "mallory"])


def _bypass(world: World) -> None:
    world.there.protect_environment(REPOSITORY, "champion", ["ann"], can_admins_bypass=True)


def _made_anew(world: World) -> None:
    world.there.delete_environment(REPOSITORY, "champion")
    world.there.protect_environment(REPOSITORY, "champion", ["ann"])


def _gone(world: World) -> None:
    world.there.delete_environment(REPOSITORY, "champion")


def _other_branches(world: World) -> None:
    world.there.protect_environment(REPOSITORY, "champion", ["ann"], branch_policy="protected")


def _branch_open(world: World) -> None:
    world.there.unprotect_branch(REPOSITORY)


def _other_rules(world: World) -> None:
    world.there.protect_environment(REPOSITORY, "champion", ["ann"], wait_timer=5)


def _other_workflow(world: World) -> None:
    world.there.repository(REPOSITORY).workflows["champion-gate.yml"].id += 1


@pytest.mark.parametrize(
    "change",
    [
        _no_reviewers,
        _other_reviewer,
        _bypass,
        _made_anew,
        _gone,
        _other_branches,
        _branch_open,
        _other_rules,
        _other_workflow,
    ],
)
def test_a_place_that_is_not_what_it_was_is_a_problem_even_if_all_is_green(
    world: World, change: Callable[[World], None]
) -> None:
    promotion = world.asked()
    world.there.review(run_of(promotion), "champion", "ann", approve=True)
    change(world)
    assert world.read(promotion).problems


def test_an_environment_made_anew_lends_its_reviews_to_nothing(world: World) -> None:
    promotion = world.asked()
    _made_anew(world)
    place = world.there.repository(REPOSITORY).environments["champion"]
    gated_job_of(world, promotion).environment = place
    world.there.review(run_of(promotion), "champion", "ann", approve=True)
    state = world.read(promotion)
    assert state.reviews == ()
    assert "its id changed" in " ".join(state.problems)


def test_rules_that_github_shows_but_does_not_keep_give_no_approval(world: World) -> None:
    world.there.repository(REPOSITORY).rules_ignored = True
    promotion = world.asked()
    state = world.read(promotion)
    assert world.there.run(run_of(promotion)).conclusion == "success"
    assert state.reviews == ()


def test_a_repository_of_the_same_name_is_another(world: World) -> None:
    promotion = world.asked()
    world.there.review(run_of(promotion), "champion", "ann", approve=True)
    repository = world.there.repository(REPOSITORY)
    repository.id += 1
    state = world.read(promotion)
    assert "repository_id was" in " ".join(state.problems)
    assert state.void is not None


@pytest.mark.parametrize("environments", ["", "[]", "{}", '{"champion": 5}', "{"])
def test_pins_that_cannot_be_read_are_a_problem(world: World, environments: str) -> None:
    promotion = world.asked()
    world.there.review(run_of(promotion), "champion", "ann", approve=True)
    assert promotion.request is not None
    pins = {**promotion.request.pins, "environments": environments}
    state = world.read(replace(promotion, request=replace(promotion.request, pins=pins)))
    assert state.reviews == ()
    assert "Nothing was stored about environment champion" in " ".join(state.problems)
