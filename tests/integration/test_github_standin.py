"""The GitHub stand-in's runs behave as GitHub's do: they wait, are reviewed, rejected, cancelled, run again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from champion_gate_standins.github.accounts import RefusedError
from integration.github_standin_world import REPO, World, inputs, standin_world


@pytest.fixture
def world() -> Iterator[World]:
    with standin_world() as world:
        yield world


@pytest.fixture
def token(world: World) -> str:
    return world.github.add_token("svc")


def test_a_run_waits_until_a_reviewer_lets_its_job_start(world: World, token: str) -> None:
    run_id = world.dispatched()
    path = f"{REPO}/actions/runs/{run_id}"
    run = world.call("GET", path, token).json()
    assert (run["status"], run["conclusion"], run["run_attempt"]) == ("waiting", None, 1)
    assert run["display_title"] == "Champion main.ml.churn v2 [p1]"
    jobs = world.call("GET", f"{path}/jobs", token).json()["jobs"]
    assert [(job["name"], job["status"]) for job in jobs] == [
        ("present", "completed"),
        ("approve (champion)", "waiting"),
    ]
    pending = world.call("GET", f"{path}/pending_deployments", token).json()
    assert pending[0]["environment"]["name"] == "champion"
    assert pending[0]["reviewers"][0]["reviewer"]["login"] == "rita"
    assert pending[0]["current_user_can_approve"] is False
    assert world.call("GET", f"{path}/approvals", token).json() == []

    world.now += timedelta(hours=3)
    reviewer = world.github.add_token("rita")
    body = {"environment_ids": [pending[0]["environment"]["id"]], "state": "approved", "comment": "good"}
    assert world.call("POST", f"{path}/pending_deployments", reviewer, json=body).status_code == 200

    run = world.call("GET", path, token).json()
    assert (run["status"], run["conclusion"]) == ("completed", "success")
    gated = world.call("GET", f"{path}/jobs", token).json()["jobs"][1]
    assert (gated["conclusion"], gated["started_at"]) == ("success", "2026-05-04T15:00:00Z")
    approvals = world.call("GET", f"{path}/approvals", token).json()
    assert [(one["state"], one["user"]["login"], one["comment"]) for one in approvals] == [
        ("approved", "rita", "good")
    ]
    assert world.call("GET", f"{path}/pending_deployments", token).json() == []


def test_only_reviewers_can_review_and_only_what_waits(world: World) -> None:
    run_id = world.dispatched()
    world.github.add_user("mallory")
    with pytest.raises(RefusedError, match="not one of the required reviewers"):
        world.github.review(run_id, "champion", "mallory", approve=True)
    with pytest.raises(RefusedError, match="No pending deployment"):
        world.github.review(run_id, "other", "rita", approve=True)
    with pytest.raises(RefusedError, match="Not Found"):
        world.github.review(run_id, "champion", "nobody", approve=True)
    assert world.job(run_id) == "waiting"
    world.github.review(run_id, "champion", "rita", approve=True)
    with pytest.raises(RefusedError, match="No pending deployment"):
        world.github.review(run_id, "champion", "rita", approve=False)


def test_who_started_the_run_may_not_review_it_where_that_is_prevented(world: World) -> None:
    own = world.github.dispatch("example/ml-deploy", inputs(promotion_id="own"), login="rita").id
    with pytest.raises(RefusedError):
        world.github.review(own, "champion", "rita", approve=True)
    world.github.protect_environment("example/ml-deploy", "champion", ["rita"], prevent_self_review=False)
    world.github.review(own, "champion", "rita", approve=True)
    assert world.job(own) == "success"


def test_a_team_member_may_review(world: World, token: str) -> None:
    team = world.github.add_team("example", "ml", ["tom", "Tina"])
    world.github.protect_environment("example/ml-deploy", "champion", [team])
    members = world.call("GET", "/orgs/example/teams/ml/members", token).json()
    assert [member["login"] for member in members] == ["tom", "Tina"]
    assert world.call("GET", "/orgs/example/teams/ml/memberships/tina", token).json()["state"] == "active"
    assert world.call("GET", "/orgs/example/teams/ml/memberships/rita", token).status_code == 404
    run_id = world.dispatched()
    world.github.review(run_id, "champion", "tina", approve=True)
    assert world.job(run_id) == "success"


def test_a_rejection_ends_its_own_job_and_the_other_still_waits(world: World) -> None:
    world.github.protect_environment("example/ml-deploy", "second", ["rita"])
    run_id = world.dispatched(environments='["champion", "second"]')
    world.github.review(run_id, "second", "rita", approve=False, comment="no")
    assert world.job(run_id, "approve (second)") == "failure"
    assert world.job(run_id) == "waiting"
    assert world.github.run(run_id).conclusion is None


def test_several_environments_can_be_reviewed_at_once_or_one_by_one(world: World, token: str) -> None:
    world.github.protect_environment("example/ml-deploy", "second", ["rita"])
    both = '["champion", "second"]'
    first, second = (
        world.dispatched(environments=both),
        world.dispatched(promotion_id="p2", environments=both),
    )
    world.github.review(first, ["champion", "second"], "rita", approve=True)
    approvals = world.call("GET", f"{REPO}/actions/runs/{first}/approvals", token).json()
    assert [place["name"] for place in approvals[0]["environments"]] == ["champion", "second"]
    world.github.review(second, "champion", "rita", approve=True)
    assert world.github.run(second).status == "waiting"
    world.github.review(second, "second", "rita", approve=True)
    assert world.github.run(second).conclusion == "success"


def test_an_environment_that_does_not_exist_is_made_without_protection(world: World, token: str) -> None:
    run_id = world.dispatched(environments='["champoin"]')
    assert world.github.run(run_id).conclusion == "success"
    made = world.call("GET", f"{REPO}/environments/champoin", token).json()
    assert (made["protection_rules"], made["can_admins_bypass"], made["deployment_branch_policy"]) == (
        [],
        True,
        None,
    )


@pytest.mark.parametrize("environments", ["champion", "[]", '{"a": 1}', "[1]"])
def test_an_environments_input_that_is_no_list_fails_the_run(world: World, environments: str) -> None:
    assert world.github.run(world.dispatched(environments=environments)).conclusion == "failure"


def test_rules_that_github_ignores_hold_nothing_back(world: World, token: str) -> None:
    world.github.repository("example/ml-deploy").rules_ignored = True
    assert world.github.run(world.dispatched()).conclusion == "success"
    shown = world.call("GET", f"{REPO}/environments/champion", token).json()
    assert shown["protection_rules"][0]["type"] == "required_reviewers"


def test_a_branch_that_may_not_deploy_fails(world: World) -> None:
    world.github.repository("example/ml-deploy").branches["dev"] = "a" * 40
    run = world.github.dispatch("example/ml-deploy", inputs(), login="x", ref="refs/heads/dev")
    assert run.conclusion == "failure"


def test_a_gated_job_that_was_skipped_leaves_the_run_a_success(world: World) -> None:
    run_id = world.dispatched()
    world.github.end_job(run_id, "champion", "skipped")
    assert (world.job(run_id), world.github.run(run_id).conclusion) == ("skipped", "success")
    world.github.workflow_runs.present_conclusion = "failure"
    broken = world.dispatched(promotion_id="p2")
    assert (world.job(broken), world.github.run(broken).conclusion) == ("skipped", "failure")


def test_a_run_again_keeps_the_reviews_of_the_first_attempt(world: World, token: str) -> None:
    run_id = world.dispatched()
    world.github.review(run_id, "champion", "rita", approve=True)
    world.github.rerun(run_id, "mallory")
    path = f"{REPO}/actions/runs/{run_id}"
    run = world.call("GET", path, token).json()
    assert (run["status"], run["run_attempt"], run["triggering_actor"]["login"]) == ("waiting", 2, "mallory")
    assert len(world.call("GET", f"{path}/approvals", token).json()) == 1
    assert len(world.call("GET", f"{path}/jobs", token).json()["jobs"]) == 2
    assert len(world.call("GET", f"{path}/jobs?filter=all", token).json()["jobs"]) == 4
    with pytest.raises(RefusedError, match="already running"):
        world.github.rerun(run_id, "mallory")


def test_an_administrators_bypass_looks_like_an_approval(world: World, token: str) -> None:
    run_id = world.dispatched()
    world.github.bypass(run_id, "champion", "boss")
    approvals = world.call("GET", f"{REPO}/actions/runs/{run_id}/approvals", token).json()
    assert [(one["state"], one["user"]["login"]) for one in approvals] == [("approved", "boss")]


def test_cancelling_works_once(world: World, token: str) -> None:
    run_id = world.dispatched()
    path = f"{REPO}/actions/runs/{run_id}/cancel"
    assert [world.call("POST", path, token).status_code for _ in range(2)] == [202, 409]
    assert world.github.run(run_id).conclusion == "cancelled"


def test_nobody_answering_for_thirty_days_fails_the_run(world: World, token: str) -> None:
    run_id = world.dispatched()
    world.now += timedelta(days=29, hours=23)
    assert world.call("GET", f"{REPO}/actions/runs/{run_id}", token).json()["status"] == "waiting"
    world.now += timedelta(hours=1)
    assert world.call("GET", f"{REPO}/actions/runs/{run_id}", token).json()["conclusion"] == "failure"


def test_a_second_run_of_the_same_promotion_waits_for_the_first(world: World) -> None:
    first, second, third = (world.dispatched() for _ in range(3))
    assert [world.github.run(one).status for one in (first, second, third)] == [
        "waiting",
        "completed",
        "pending",
    ]
    assert world.github.run(second).conclusion == "cancelled"
    world.github.cancel(first)
    assert world.github.run(third).status == "waiting"
    assert world.github.run(world.dispatched(promotion_id="p2")).status == "waiting"


def test_jobs_can_be_held_in_progress(world: World) -> None:
    world.github.workflow_runs.jobs_finish = False
    run_id = world.dispatched()
    world.github.review(run_id, "champion", "rita", approve=True)
    assert (world.job(run_id), world.github.run(run_id).status) == ("in_progress", "in_progress")
    world.github.end_job(run_id, "champion", "failure")
    assert world.github.run(run_id).conclusion == "failure"


def test_a_deleted_reviewers_approval_is_the_ghosts(world: World, token: str) -> None:
    run_id = world.dispatched()
    world.github.review(run_id, "champion", "rita", approve=True)
    world.github.delete_user("rita")
    approvals = world.call("GET", f"{REPO}/actions/runs/{run_id}/approvals", token).json()
    assert approvals[0]["user"]["login"] == "ghost"
    assert world.call("GET", "/users/rita", token).status_code == 404


# --- held, and ended otherwise ----------------------------------------------------------------------------


def gated(world: World, token: str, run_id: int) -> dict[str, Any]:
    jobs = world.call("GET", f"{REPO}/actions/runs/{run_id}/jobs", token).json()["jobs"]
    found: dict[str, Any] = jobs[1]
    return found


def test_a_wait_timer_holds_an_approved_job_from_its_creation_on(world: World, token: str) -> None:
    world.github.protect_environment("example/ml-deploy", "champion", ["rita"], wait_timer=30)
    run_id = world.dispatched()
    world.now += timedelta(minutes=20)
    world.github.review(run_id, "champion", "rita", approve=True)
    assert gated(world, token, run_id)["status"] == "waiting"
    pending = world.call("GET", f"{REPO}/actions/runs/{run_id}/pending_deployments", token).json()
    assert (pending[0]["wait_timer"], pending[0]["wait_timer_started_at"]) == (30, "2026-05-04T12:00:00Z")
    with pytest.raises(RefusedError, match="No pending deployment"):
        world.github.review(run_id, "champion", "rita", approve=False)
    world.now += timedelta(minutes=10)
    ended = gated(world, token, run_id)
    assert (ended["conclusion"], ended["started_at"]) == ("success", "2026-05-04T12:30:00Z")


def test_another_protection_rule_holds_an_approved_job(world: World, token: str) -> None:
    place = world.github.protect_environment("example/ml-deploy", "champion", ["rita"])
    place.other_rule_holds = True
    run_id = world.dispatched()
    world.github.review(run_id, "champion", "rita", approve=True)
    assert gated(world, token, run_id)["status"] == "waiting"
    place.other_rule_holds = False
    assert gated(world, token, run_id)["conclusion"] == "success"


def test_a_job_without_a_runner_is_queued_and_has_no_steps(world: World, token: str) -> None:
    world.github.workflow_runs.runners = False
    run_id = world.dispatched()
    world.github.review(run_id, "champion", "rita", approve=True)
    queued = gated(world, token, run_id)
    assert (queued["status"], queued["runner_id"], queued["steps"]) == ("queued", None, [])
    assert world.github.run(run_id).status == "queued"
    world.github.cancel(run_id)
    cancelled = gated(world, token, run_id)
    assert (cancelled["conclusion"], cancelled["runner_id"], cancelled["steps"]) == ("cancelled", None, [])


@pytest.mark.parametrize(
    ("conclusion", "run_ends"), [("timed_out", "failure"), ("cancelled", "cancelled"), ("failure", "failure")]
)
def test_a_job_that_ran_shows_its_runner_and_steps_however_it_ends(
    world: World, token: str, conclusion: str, run_ends: str
) -> None:
    world.github.workflow_runs.jobs_finish = False
    run_id = world.dispatched()
    world.github.review(run_id, "champion", "rita", approve=True)
    world.github.end_job(run_id, "champion", conclusion)
    ended = gated(world, token, run_id)
    assert (ended["status"], ended["conclusion"], ended["runner_id"]) == ("completed", conclusion, 1)
    assert [step["conclusion"] for step in ended["steps"]] == ["success", conclusion]
    assert world.github.run(run_id).conclusion == run_ends
