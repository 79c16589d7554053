"""What people said about a pipeline, and all that must not pass for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from champion_gate.domain.approval import ExcludedPerson, RequestState, Verdict
from champion_gate.domain.promotion import Phase
from champion_gate.errors import VendorRefusedError, VendorUnavailableError
from champion_gate_standins.gitlab.state import DEVELOPER, MAINTAINER
from integration.github_world import START
from integration.gitlab_world import BOT, PROJECT, World, gitlab_world, outcome, pipeline_of

pytestmark = pytest.mark.spread(2)


@pytest.fixture
def world() -> Iterator[World]:
    with gitlab_world() as made:
        yield made


@pytest.fixture
def free() -> Iterator[World]:
    with gitlab_world(protection="branch") as made:
        yield made


# --- one click --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protection", ["environment", "branch"])
@pytest.mark.parametrize("opens_with", ["trigger", "api"])
@pytest.mark.parametrize("prefix", ["", "/gitlab"])
def test_a_click_is_read_with_who_and_when(protection: str, opens_with: str, prefix: str) -> None:
    with gitlab_world(protection=protection, opens_with=opens_with, prefix=prefix) as world:
        promotion = world.asked()
        waiting = world.read(promotion)
        assert waiting == RequestState((), None, (), {}, finished=False)
        world.clock.move(hours=3)
        world.play(promotion)
        state = world.read(promotion)
        (review,) = state.reviews
        assert (state.problems, state.void, state.finished) == ((), None, True)
        assert state.released_at == {"champion": START + timedelta(hours=3)}
        assert (review.seat, review.verdict, review.login) == ("champion", Verdict.APPROVED, "ann")
        assert review.user_id == str(world.there.state.user("ann").id)
        assert (review.is_person, review.is_opener, review.is_listed) == (True, False, True)
        assert outcome(world, promotion, state) == (Verdict.APPROVED, "Approved by ann (champion).")


def test_a_job_that_still_runs_is_released(world: World) -> None:
    world.there.ci.jobs_finish = False
    promotion = world.asked()
    world.play(promotion)
    state = world.read(promotion)
    assert set(state.released_at) == {"champion"}
    assert not state.finished


def test_a_job_that_failed_because_the_gate_was_down_is_released(world: World) -> None:
    world.there.ci.jobs_finish = False
    promotion = world.asked()
    world.there.end_job(world.play(promotion), "failed", "script_failure")
    assert outcome(world, promotion, world.read(promotion))[0] is Verdict.APPROVED


def test_a_job_that_gitlab_failed_without_a_start_is_nobodys_decision(world: World) -> None:
    promotion = world.asked()
    world.there.end_job(world.job(promotion), "failed", "protected_environment_failure")
    state = world.read(promotion)
    assert (state.reviews, state.released_at, state.finished) == ((), {}, True)
    assert outcome(world, promotion, state)[0] is Verdict.REJECTED


NO_RUNNER = ["stuck_or_timeout_failure", "runner_system_failure", "no_matching_runner", "ci_quota_exceeded"]


@pytest.mark.parametrize("reason", NO_RUNNER)
@pytest.mark.parametrize("protection", ["environment", "branch"])
def test_a_job_that_failed_for_want_of_a_runner_was_let_start_by_who_played_it(
    protection: str, reason: str
) -> None:
    with gitlab_world(protection=protection) as world:
        world.there.ci.jobs_finish = False
        promotion = world.asked()
        job = world.play(promotion)
        job.started_at = None
        world.clock.move(hours=1)
        world.there.end_job(job, "failed", reason)
        state = world.read(promotion)
        assert (state.problems, state.void) == ((), None)
        assert state.released_at == {"champion": world.clock.now()}
        verdict, said = outcome(world, promotion, state)
        assert (verdict, said) == (Verdict.APPROVED, "Approved by ann (champion).")


@pytest.mark.parametrize("reason", NO_RUNNER)
def test_a_job_that_nobody_played_is_not_let_start_by_the_want_of_a_runner(world: World, reason: str) -> None:
    promotion = world.asked()
    world.there.end_job(world.job(promotion), "failed", reason)
    assert outcome(world, promotion, world.read(promotion))[0] is Verdict.REJECTED


def test_want_of_a_runner_does_not_make_up_for_missing_approvals() -> None:
    with gitlab_world(approvals=["ann", "bob"]) as world:
        promotion = world.asked()
        job = world.job(promotion)
        world.there.end_job(job, "failed", "stuck_or_timeout_failure")
        assert outcome(world, promotion, world.read(promotion))[0] is not Verdict.APPROVED


def test_a_job_that_was_played_and_waits_for_a_runner_is_not_released_yet(world: World) -> None:
    promotion = world.asked()
    world.play(promotion)
    world.spoil(
        f"/projects/{PROJECT}/pipelines/{pipeline_of(promotion)}/jobs", status="pending", name="approve"
    )
    # Both jobs bear the name now: as if retried, which no decision survives either.
    assert world.read(promotion).void is not None
    world.there.faults.clear()
    job = world.job(promotion)
    job.status, job.started_at = "pending", None
    assert world.read(promotion).released_at == {}


def test_the_trainers_own_click_is_rejected_by_the_core(world: World) -> None:
    promotion = world.asked()
    ann = str(world.there.state.user("ann").id)
    promotion = replace(
        promotion, excluded=(ExcludedPerson("ann@example.com", "version creator", "ann", ann),)
    )
    world.play(promotion)
    verdict, reason = outcome(world, promotion, world.read(promotion))
    assert verdict is Verdict.REJECTED
    assert "is behind this version" in reason


# --- who may ----------------------------------------------------------------------------------------------


def test_our_own_click_ends_the_request(free: World) -> None:
    promotion = free.asked()
    free.play(promotion, BOT)
    state = free.read(promotion)
    assert "run by our own account" in (state.void or "")
    assert state.reviews[0].is_opener
    assert outcome(free, promotion, state)[0] is Verdict.REJECTED


def test_a_bots_click_is_no_persons(free: World) -> None:
    token = free.there.add_project_token(PROJECT, "robot", MAINTAINER, ("api",))
    robot = free.there.state.tokens[token].user.username
    promotion = free.asked()
    free.play(promotion, robot)
    state = free.read(promotion)
    assert not state.reviews[0].is_person
    assert outcome(free, promotion, state)[0] is Verdict.REJECTED


def test_who_lost_the_role_is_not_listed(free: World) -> None:
    promotion = free.asked()
    free.play(promotion, "bob")
    free.there.add_member(PROJECT, "bob", DEVELOPER)
    assert not free.read(promotion).reviews[0].is_listed
    free.there.add_member(PROJECT, "bob", 0)
    assert not free.read(promotion).reviews[0].is_listed


def test_a_blocked_account_is_no_person(world: World) -> None:
    promotion = world.asked()
    world.play(promotion)
    world.there.block_user("ann")
    (review,) = world.read(promotion).reviews
    assert (review.is_person, review.is_listed) == (False, False)


def test_a_deleted_account_is_no_person(world: World) -> None:
    promotion = world.asked()
    world.play(promotion)
    path = f"/projects/{PROJECT}/pipelines/{pipeline_of(promotion)}/jobs"
    world.spoil(path, user=None)
    (review,) = world.read(promotion).reviews
    assert (review.user_id, review.is_person, review.is_listed) == ("", False, False)


@pytest.mark.parametrize("protection", ["environment", "branch"])
def test_approvers_narrow_down_who_counts(protection: str) -> None:
    with gitlab_world(protection=protection) as world:
        world.there.protect_environment(PROJECT, "champion", deployers=("ann", "bob"))
        promotion = world.asked(target=world.target(approvers="ann"))
        world.play(promotion, "bob")
        state = world.read(promotion)
        assert not state.reviews[0].is_listed
        assert outcome(world, promotion, state)[0] is Verdict.REJECTED


def test_a_member_of_a_deploying_group_is_listed_and_others_are_not(world: World) -> None:
    group = {"id": 1, "access_level": 40, "user_id": None, "group_id": 77, "group_inheritance_type": 1}
    world.spoil(f"/projects/{PROJECT}/protected_environments/champion", deploy_access_levels=[group])
    ann = world.there.state.user("ann").id
    world.there.faults.add("/groups/77/members$", body="[]")
    member = f'{{"id": {ann}, "username": "ann", "state": "active", "access_level": 30}}'
    missing = {"status": 404, "body": '{"message": "404 Not found"}'}
    found = world.there.faults.add(f"/groups/77/members/all/{ann}$", body=member)
    world.there.faults.add("/groups/77/members/all/", **missing)
    promotion = world.asked()
    world.play(promotion)
    assert world.read(promotion).reviews[0].is_listed
    found.body = member.replace("active", "awaiting")
    assert not world.read(promotion).reviews[0].is_listed


# --- what ends a request ----------------------------------------------------------------------------------


def test_a_job_outside_the_environment_is_a_problem(world: World) -> None:
    promotion = world.asked()
    world.play(promotion)
    world.there.state.deployments.clear()
    state = world.read(promotion)
    assert "lists no deployment" in " ".join(state.problems)
    assert state.reviews == ()


def test_a_retried_job_ends_the_request(world: World) -> None:
    world.there.add_member(PROJECT, "mallory", MAINTAINER)
    world.there.protect_environment(PROJECT, "champion", deployers=("ann", "mallory"))
    promotion = world.asked()
    world.there.ci.jobs_finish = False
    world.there.end_job(world.play(promotion), "failed")
    world.there.retry(world.job(promotion), "mallory")
    state = world.read(promotion)
    assert "retried" in (state.void or "")
    assert outcome(world, promotion, state)[0] is Verdict.REJECTED


def test_an_optional_job_ends_the_request_though_the_pipeline_succeeded(world: World) -> None:
    world.there.ci.allow_failure = True
    promotion = world.asked()
    assert world.there.pipeline(pipeline_of(promotion)).status == "success"
    state = world.read(promotion)
    assert "allow_failure" in (state.void or "")
    assert state.released_at == {}
    assert outcome(world, promotion, state)[0] is Verdict.REJECTED


def test_a_cancelled_pipeline_is_a_rejection_in_words(world: World) -> None:
    promotion = world.asked()
    world.there.cancel(pipeline_of(promotion))
    verdict, reason = outcome(world, promotion, world.read(promotion))
    assert verdict is Verdict.REJECTED
    assert "cancelled, which rejects the request" in reason


@pytest.mark.parametrize("protection", ["environment", "branch"])
@pytest.mark.parametrize("how", ["canceled", "canceling", "failed", "pipeline cancelled"])
def test_a_job_that_ran_was_released_however_it_ended(protection: str, how: str) -> None:
    with gitlab_world(protection=protection) as world:
        world.there.ci.jobs_finish = False
        promotion = world.asked()
        played = world.play(promotion)
        if how == "pipeline cancelled":
            world.there.cancel(pipeline_of(promotion))
        else:
            world.there.end_job(played, how, "job_execution_timeout")
        state = world.read(promotion)
        assert (state.problems, state.void) == ((), None)
        assert state.released_at == {"champion": START}
        assert outcome(world, promotion, state)[0] is Verdict.APPROVED


def test_a_played_job_that_was_cancelled_before_a_runner_took_it_is_a_rejection(world: World) -> None:
    world.there.ci.jobs_finish = False
    promotion = world.asked()
    job = world.play(promotion)
    job.started_at = None
    world.there.cancel(pipeline_of(promotion))
    state = world.read(promotion)
    assert state.released_at == {}
    assert outcome(world, promotion, state)[0] is Verdict.REJECTED


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"ref": ""}, "branch"),
        ({"source": "Trigger!"}, "trigger"),
        ({"id": 0}, "pipeline of"),
        ({"project_id": 0}, "project of"),
        ({"user": {"id": 0, "username": "x"}}, "starter of"),
        ({"sha": "0123abc"}, "no whole commit id"),
        ({"sha": ""}, "no whole commit id"),
    ],
)
def test_a_field_of_an_unknown_form_is_a_problem_and_ends_nothing(
    world: World, changed: dict[str, object], words: str
) -> None:
    promotion = world.asked()
    world.play(promotion)
    world.spoil(f"/projects/{PROJECT}/pipelines/{pipeline_of(promotion)}", **changed)
    state = world.read(promotion)
    assert state.void is None
    assert words in " ".join(state.problems)
    assert outcome(world, promotion, state)[0] is None


@pytest.mark.parametrize("absent", ["project_id", "user"])
def test_a_field_that_is_absent_ends_nothing(world: World, absent: str) -> None:
    promotion = world.asked()
    world.play(promotion)
    world.spoil(f"/projects/{PROJECT}/pipelines/{pipeline_of(promotion)}", **{absent: None})
    with pytest.raises(VendorUnavailableError, match=absent):
        world.read(promotion)


def test_a_branch_may_be_named_as_a_whole_ref(world: World) -> None:
    promotion = world.asked()
    world.play(promotion)
    world.spoil(f"/projects/{PROJECT}/pipelines/{pipeline_of(promotion)}", ref="refs/heads/main")
    assert outcome(world, promotion, world.read(promotion))[0] is Verdict.APPROVED


def test_a_skipped_job_is_nobodys_decision(world: World) -> None:
    world.there.ci.present_status = "failed"
    promotion = world.asked()
    state = world.read(promotion)
    assert "skipped" in (state.void or "")
    verdict, waiting = outcome(world, promotion, state)
    assert (verdict, state.finished) == (None, True)
    assert "looked at again until" in waiting


def test_an_archived_job_ends_the_request(world: World) -> None:
    promotion = world.asked()
    world.there.archive(pipeline_of(promotion))
    assert "archived" in (world.read(promotion).void or "")


def test_a_decision_that_was_made_before_the_archive_stays(world: World) -> None:
    promotion = world.asked()
    world.play(promotion)
    world.there.archive(pipeline_of(promotion))
    assert outcome(world, promotion, world.read(promotion))[0] is Verdict.APPROVED


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"id": 1}, "The pipeline of"),
        ({"project_id": 43}, "The project of"),
        ({"ref": "evil"}, "The branch of"),
        ({"source": "web"}, "The trigger of"),
        ({"source": "push"}, "The trigger of"),
        ({"user": {"id": 1, "username": "mallory"}}, "The starter of"),
        ({"tag": True}, "runs on a tag"),
        ({"sha": "0" * 40}, "runs on commit"),
    ],
)
def test_a_pipeline_that_is_not_ours_ends_the_request(
    world: World, changed: dict[str, object], words: str
) -> None:
    promotion = world.asked()
    world.play(promotion)
    world.spoil(f"/projects/{PROJECT}/pipelines/{pipeline_of(promotion)}", **changed)
    assert words in (world.read(promotion).void or "")


def test_somebody_elses_pipeline_with_our_id_is_not_believed(world: World) -> None:
    promotion = world.asked()
    ours = world.there.pipeline(pipeline_of(promotion))
    theirs = world.there.start(PROJECT, ours.inputs, username="bob", source="trigger")
    forged = world.with_pipeline(promotion, theirs.id)
    world.play(forged)
    state = world.read(forged)
    assert "starter" in (state.void or "")
    assert outcome(world, forged, state)[0] is Verdict.REJECTED


@pytest.mark.parametrize("status", ["blockedish", "constructing"])
def test_a_status_that_is_not_known_is_a_problem(world: World, status: str) -> None:
    promotion = world.asked()
    world.play(promotion)
    world.spoil(f"/projects/{PROJECT}/pipelines/{pipeline_of(promotion)}", status=status)
    assert status in " ".join(world.read(promotion).problems)


def test_a_pipeline_without_the_gated_job_is_a_problem(world: World) -> None:
    world.there.ci.gated_job = "deploy"
    promotion = world.asked()
    problems = " ".join(world.read(promotion).problems)
    assert "has no job named approve. Its jobs are: " in problems
    assert "present (success)" in problems


def test_a_promotion_without_a_pipeline_cannot_be_read(world: World) -> None:
    promotion = replace(world.promotion(), phase=Phase.PENDING_APPROVAL)
    with pytest.raises(VendorRefusedError, match="no pipeline"):
        world.read(promotion)


@pytest.mark.parametrize("ended", ["success", "failed", "canceled"])
def test_a_pipeline_that_ended_without_the_gated_job_says_which_jobs_it_had(world: World, ended: str) -> None:
    world.there.ci.gated_job = "release"
    world.there.ci.jobs_finish = False
    promotion = world.asked()
    (job,) = (each for each in world.there.pipelines[0].jobs if each.name == "release")
    world.there.play(job, "ann")
    world.there.end_job(job, ended)
    void = world.read(promotion).void or ""
    if ended == "canceled":
        assert "cancelled" in void
    else:
        assert f"has no job named approve. Its jobs are: present (success), release ({ended})." in void
        assert "as `job` in gates.yaml" in void


# --- the place changed meanwhile --------------------------------------------------------------------------


def _unprotected(world: World) -> None:
    world.there.unprotect_environment(PROJECT, "champion")


def _other_deployer(world: World) -> None:
    world.there.protect_environment(PROJECT, "champion", deployers=("ann", "bob"))


def _approvals_wanted(world: World) -> None:
    world.there.protect_environment(PROJECT, "champion", deployers=("ann",), approvals={"bob": 1})


def _branch_open(world: World) -> None:
    world.there.unprotect_branch(PROJECT, "main")


def _other_pushers(world: World) -> None:
    world.there.protect_branch(PROJECT, "main", push=(MAINTAINER, "bob"), merge=(MAINTAINER, BOT))


def _moved(world: World) -> None:
    world.there.project(PROJECT).namespace_id += 1


def _bot_deploys(world: World) -> None:
    world.there.protect_environment(PROJECT, "champion", deployers=("ann", BOT))


def _free_tier(world: World) -> None:
    world.there.project(PROJECT).tier = "free"


@pytest.mark.parametrize(
    "change",
    [
        _unprotected,
        _other_deployer,
        _approvals_wanted,
        _branch_open,
        _other_pushers,
        _moved,
        _bot_deploys,
        _free_tier,
    ],
)
def test_a_place_that_is_not_what_it_was_is_a_problem_even_if_all_is_green(
    world: World, change: Callable[[World], None]
) -> None:
    promotion = world.asked()
    world.play(promotion)
    change(world)
    state = world.read(promotion)
    assert state.problems
    assert outcome(world, promotion, state)[0] is not Verdict.APPROVED


@pytest.mark.parametrize("rules", ["", "[]", "{}", "{"])
def test_pins_that_cannot_be_read_are_a_problem(world: World, rules: str) -> None:
    promotion = world.asked()
    world.play(promotion)
    assert promotion.request is not None
    pins = {**promotion.request.pins, "rules": rules}
    state = world.read(replace(promotion, request=replace(promotion.request, pins=pins)))
    assert "changed since approval was asked for" in " ".join(state.problems)


def test_another_trigger_token_of_another_owner_is_a_problem(world: World) -> None:
    promotion = world.asked()
    world.play(promotion)
    world.there.project(PROJECT).triggers[0].owner = world.there.state.user("bob")
    world.there.protect_branch(PROJECT, "main", merge=(MAINTAINER,))
    assert "bot_id was" in " ".join(world.read(promotion).problems)
