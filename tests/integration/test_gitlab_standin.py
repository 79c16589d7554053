"""The GitLab stand-in: pipelines block, people approve and play, and nothing goes past the protections."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from champion_gate_standins.gitlab.state import DEVELOPER, MAINTAINER, NO_ONE, OWNER, REPORTER, RefusedError
from integration.gitlab_standin_world import PROJECT, World, inputs, standin_world


@pytest.fixture
def free() -> Iterator[World]:
    with standin_world() as world:
        yield world


@pytest.fixture
def premium() -> Iterator[World]:
    with standin_world("premium") as world:
        yield world


def job(world: World, pipeline_id: int) -> dict[str, object]:
    found = world.call("GET", f"{PROJECT}/jobs/{world.gitlab.job(pipeline_id).id}").json()
    assert isinstance(found, dict)
    return found


def status(world: World, pipeline_id: int) -> str:
    return str(world.call("GET", f"{PROJECT}/pipelines/{pipeline_id}").json()["status"])


# --- a manual job ----------------------------------------------------------------------------------------


def test_a_pipeline_runs_as_the_triggers_owner_and_blocks_until_the_job_is_played(free: World) -> None:
    answer = free.open().json()
    assert (answer["status"], answer["source"], answer["user"]["username"]) == ("manual", "trigger", "svc")
    assert answer["name"] == "Champion main.ml.churn v2 [p1]"
    waiting = job(free, answer["id"])
    assert (waiting["status"], waiting["allow_failure"], waiting["started_at"]) == ("manual", False, None)

    free.gitlab.ci.jobs_finish = False
    free.gitlab.play(waiting["id"], "rita")  # type: ignore[arg-type]
    played = job(free, answer["id"])
    assert played["id"] == waiting["id"]
    assert (played["status"], played["user"]["username"]) == ("running", "rita")  # type: ignore[index]
    assert status(free, answer["id"]) == "running"
    free.gitlab.end_job(free.gitlab.job(answer["id"]))
    assert status(free, answer["id"]) == "success"


def test_an_access_token_with_api_scope_starts_one_too(free: World) -> None:
    token = free.gitlab.add_project_token(42, "opener", MAINTAINER, ["api"])
    body = {"ref": "main", "inputs": inputs()}
    answer = free.call("POST", f"{PROJECT}/pipeline", token, json=body)
    assert (answer.status_code, answer.json()["source"]) == (201, "api")
    assert free.call("POST", f"{PROJECT}/pipeline", json=body).json()["error"] == "insufficient_scope"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"version": 2}, "`version` input: provided value is not a string"),
        ({"version": "2'"}, "`version` input: provided value does not match required RegEx pattern"),
        ({"promotion_id": None}, "`promotion_id` input: required value has not been provided"),
        ({"evidence_base64": "# Evidence"}, "does not match required RegEx pattern"),
        ({"evidence_base64": "YWJj" * 300_000}, "config too large"),
        ({"more": "x"}, "unknown input arguments: more"),
    ],
)
def test_inputs_are_typed(free: World, changes: dict[str, object], problem: str) -> None:
    answer = free.open(**changes)
    assert answer.status_code == 400
    assert problem in answer.json()["message"]["base"][0]
    assert free.gitlab.pipelines == []


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ({"token": "glptt-wrong"}, 404, "404 Not Found"),
        ({"token": None}, 404, "404 Not Found"),
        ({"ref": "gone"}, 400, "Reference not found"),
        ({"ref": ""}, 400, "ref is missing"),
        ({"variables": {"A": "b"}}, 400, "Insufficient permissions to set pipeline variables"),
        ({"inputs": ["a"]}, 400, "inputs is invalid"),
    ],
)
def test_what_gitlab_would_not_start_is_refused(
    free: World, body: dict[str, object], code: int, words: str
) -> None:
    whole = {"token": free.trigger, "ref": "main", "inputs": inputs(), **body}
    answer = free.call("POST", f"{PROJECT}/trigger/pipeline", "", json=whole)
    assert (answer.status_code, words in answer.text) == (code, True), answer.text
    assert free.gitlab.pipelines == []


def test_a_trigger_whose_owner_may_not_write_to_the_branch_starts_nothing(free: World) -> None:
    free.gitlab.add_member(42, "svc", DEVELOPER)
    assert "sufficient permission to run a pipeline on 'main'" in free.open().text
    free.gitlab.add_member(42, "svc", REPORTER)
    assert "Insufficient permissions to create a new pipeline" in free.open().text


@pytest.mark.parametrize(
    ("level", "plays"), [(NO_ONE, False), (REPORTER, False), (DEVELOPER, False), (MAINTAINER, True)]
)
def test_on_the_free_tier_who_may_write_to_the_branch_may_play(free: World, level: int, plays: bool) -> None:
    token = free.gitlab.add_token("pat", ["api"])
    free.gitlab.add_member(42, "pat", REPORTER)
    pipeline = free.opened()
    free.gitlab.protect_environment(42, "champion", deployers=["rita"])  # of no effect here
    if level:
        free.gitlab.add_member(42, "pat", level)
    else:
        free.gitlab.add_member(42, "pat", NO_ONE)
    answer = free.call("POST", f"{PROJECT}/jobs/{free.gitlab.job(pipeline.id).id}/play", token)
    assert answer.status_code == (200 if plays else 403 if level else 404)
    assert free.gitlab.job(pipeline.id).status == ("success" if plays else "manual")


def test_a_developer_may_play_once_the_branch_is_not_protected(free: World) -> None:
    pipeline = free.opened()
    free.gitlab.unprotect_branch(42, "main")
    assert free.gitlab.play(free.gitlab.job(pipeline.id), "dev").user.username == "dev"


@pytest.mark.parametrize(
    ("setting", "username", "plays"),
    [
        ("developer", "rita", True),
        ("maintainer", "rita", True),
        ("owner", "rita", False),
        ("no_one_allowed", "boss", False),
    ],
)
def test_variables_at_play_time_need_the_role_that_the_project_sets(
    free: World, setting: str, username: str, plays: bool
) -> None:
    project = free.gitlab.project(42)
    project.settings["ci_pipeline_variables_minimum_override_role"] = setting
    free.gitlab.add_member(42, "boss", OWNER)
    waiting = free.gitlab.job(free.opened().id)
    if plays:
        assert free.gitlab.play(waiting, username, {"URL": "evil"}).variables == {"URL": "evil"}
    else:
        with pytest.raises(RefusedError):
            free.gitlab.play(waiting, username, {"URL": "evil"})
        assert waiting.status == "manual"


def test_a_played_job_that_is_played_or_retried_again_is_a_new_job(free: World) -> None:
    pipeline = free.opened()
    first = free.gitlab.play(free.gitlab.job(pipeline.id), "rita")
    second = free.gitlab.retry(first, "tom")
    third = free.gitlab.play(second, "rita")
    assert len({first.id, second.id, third.id}) == 3
    path = f"{PROJECT}/pipelines/{pipeline.id}/jobs"
    assert [one["id"] for one in free.call("GET", path).json() if one["name"] == "approve"] == [third.id]
    everything = free.call("GET", path, params={"include_retried": "true"}).json()
    gated = [(one["id"], one["user"]["username"]) for one in everything if one["name"] == "approve"]
    assert gated == [(third.id, "rita"), (second.id, "tom"), (first.id, "rita")]
    with pytest.raises(RefusedError):
        free.gitlab.retry(first, "rita")
    with pytest.raises(RefusedError):
        free.gitlab.retry(third, "dev")


def test_a_failed_gated_job_fails_the_pipeline(free: World) -> None:
    free.gitlab.ci.jobs_finish = False
    pipeline = free.opened()
    free.gitlab.play(free.gitlab.job(pipeline.id), "rita")
    free.gitlab.end_job(free.gitlab.job(pipeline.id), "failed", "script_failure")
    assert status(free, pipeline.id) == "failed"
    assert job(free, pipeline.id)["failure_reason"] == "script_failure"


def test_an_optional_manual_job_lets_the_pipeline_succeed_with_nobody_asked(free: World) -> None:
    free.gitlab.ci.allow_failure = True
    pipeline = free.opened()
    assert status(free, pipeline.id) == "success"
    assert (job(free, pipeline.id)["status"], job(free, pipeline.id)["allow_failure"]) == ("manual", True)


def test_without_evidence_the_gated_job_cannot_be_played(free: World) -> None:
    free.gitlab.ci.present_status = "failed"
    pipeline = free.opened()
    assert (status(free, pipeline.id), job(free, pipeline.id)["status"]) == ("failed", "skipped")
    with pytest.raises(RefusedError, match="Unplayable"):
        free.gitlab.play(free.gitlab.job(pipeline.id), "rita")


def test_cancelling_ends_what_waits_and_is_no_error_twice(free: World) -> None:
    pipeline, token = free.opened(), free.gitlab.add_project_token(42, "canceller", MAINTAINER, ["api"])
    path = f"{PROJECT}/pipelines/{pipeline.id}/cancel"
    assert free.call("POST", path).status_code == 403
    for _ in range(2):
        answer = free.call("POST", path, token)
        assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
    assert job(free, pipeline.id)["status"] == "canceled"


def test_an_older_gitlab_says_200_and_cancels_nothing_that_waits_for_a_person(free: World) -> None:
    free.gitlab.ci.cancels_manual_jobs = False
    pipeline = free.opened()
    free.gitlab.cancel(pipeline.id)
    assert (status(free, pipeline.id), job(free, pipeline.id)["status"]) == ("manual", "manual")


def test_archived_jobs_do_not_run(free: World) -> None:
    pipeline = free.opened()
    free.gitlab.archive(pipeline.id)
    assert job(free, pipeline.id)["archived"] is True
    with pytest.raises(RefusedError) as refused:
        free.gitlab.play(free.gitlab.job(pipeline.id), "rita")
    assert refused.value.status == 403


def test_two_who_play_at_once_make_one_job_each(free: World) -> None:
    waiting = free.gitlab.job(free.opened().id)
    with ThreadPoolExecutor(8) as pool:
        played = list(pool.map(lambda who: free.gitlab.play(waiting.id, who), ["rita", "tom"]))
    assert len({one.id for one in played}) == 2


# --- protected environments ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("deployers", "username", "plays"),
    [
        ([MAINTAINER], "rita", True),
        ([MAINTAINER], "dev", False),
        ([DEVELOPER], "dev", True),
        (["dev"], "dev", True),
        (["dev"], "rita", False),
        ([], "rita", False),
        (["stranger"], "stranger", False),
    ],
)
def test_on_premium_the_deployers_of_the_environment_may_play(
    premium: World, deployers: list[int | str], username: str, plays: bool
) -> None:
    premium.gitlab.protect_environment(42, "champion", deployers=deployers)
    waiting = premium.gitlab.job(premium.opened().id)
    if plays:
        premium.gitlab.play(waiting, username)
    else:
        with pytest.raises(RefusedError):
            premium.gitlab.play(waiting, username)
    assert waiting.status == ("success" if plays else "manual")


def test_approval_rules_block_the_job_until_enough_people_approved(premium: World) -> None:
    premium.gitlab.protect_environment(42, "champion", approvals={MAINTAINER: 2})
    pipeline = premium.opened()
    deployment = premium.gitlab.deployment(pipeline.id)
    path = f"{PROJECT}/deployments/{deployment.id}"
    with pytest.raises(RefusedError, match="Unplayable"):
        premium.gitlab.play(deployment.job, "rita")

    for username, left, state in (("rita", 1, "blocked"), ("rita", 1, "blocked"), ("tom", 0, "created")):
        premium.gitlab.approve_deployment(deployment, username, comment=f"by {username}")
        answer = premium.call("GET", path).json()
        assert (answer["pending_approval_count"], answer["status"]) == (left, state)
    (rule,) = answer["approval_summary"]["rules"]
    assert rule["required_approvals"] == 2
    assert [(one["user"]["username"], one["comment"]) for one in rule["deployment_approvals"]] == [
        ("rita", "by rita"),
        ("tom", "by tom"),
    ]
    assert premium.gitlab.play(deployment.job, "tom").status == "success"
    assert premium.call("GET", path).json()["status"] == "success"


def test_a_rejected_deployment_can_never_run(premium: World) -> None:
    premium.gitlab.protect_environment(42, "champion", approvals={MAINTAINER: 1})
    pipeline = premium.opened()
    token = premium.gitlab.add_token("rita", ["api"])
    path = f"{PROJECT}/deployments/{premium.gitlab.deployment(pipeline.id).id}/approval"
    said = premium.call("POST", path, token, json={"status": "rejected", "comment": "f1 is off"})
    assert (said.status_code, said.json()["comment"]) == (201, "f1 is off")
    assert (status(premium, pipeline.id), job(premium, pipeline.id)["failure_reason"]) == (
        "failed",
        "deployment_rejected",
    )
    assert premium.call("POST", path, token, json={"status": "approved"}).status_code == 400


@pytest.mark.parametrize(
    ("username", "words"),
    [("svc", "your own deployment"), ("dev", "permission to approve"), ("stranger", "permission to approve")],
)
def test_who_may_not_approve_is_refused(premium: World, username: str, words: str) -> None:
    premium.gitlab.protect_environment(42, "champion", approvals={MAINTAINER: 1})
    premium.gitlab.add_user("stranger")
    deployment = premium.gitlab.deployment(premium.opened().id)
    with pytest.raises(RefusedError, match=words):
        premium.gitlab.approve_deployment(deployment, username)
    assert (deployment.status, deployment.approvals) == ("blocked", [])


def test_somebody_of_two_rules_counts_for_one(premium: World) -> None:
    premium.gitlab.protect_environment(42, "champion", approvals={"rita": 1, MAINTAINER: 1})
    deployment = premium.gitlab.deployment(premium.opened().id)
    premium.gitlab.approve_deployment(deployment, "rita")
    assert deployment.status == "blocked"
    premium.gitlab.approve_deployment(deployment, "tom")
    assert deployment.status == "created"


def test_a_retried_job_has_to_be_approved_anew(premium: World) -> None:
    premium.gitlab.protect_environment(42, "champion", approvals={MAINTAINER: 1})
    pipeline = premium.opened()
    premium.gitlab.approve_deployment(premium.gitlab.deployment(pipeline.id), "tom")
    first = premium.gitlab.play(premium.gitlab.job(pipeline.id), "rita")
    second = premium.gitlab.retry(first, "rita")
    assert second.status == "manual"
    assert second.deployment
    assert (second.deployment.status, second.deployment.approvals) == ("blocked", [])


def test_the_free_tier_has_neither_protected_environments_nor_approvals(free: World) -> None:
    free.gitlab.protect_environment(42, "champion", approvals={MAINTAINER: 1})
    deployment = free.gitlab.deployment(free.opened().id)
    assert deployment.status == "created"
    assert free.call("GET", f"{PROJECT}/protected_environments/champion").status_code == 404
    api = free.gitlab.add_token("rita", ["api"])
    path = f"{PROJECT}/deployments/{deployment.id}"
    assert free.call("POST", f"{path}/approval", api, json={"status": "approved"}).status_code == 404
    assert "approvals" not in free.call("GET", path).json()


# --- the rest --------------------------------------------------------------------------------------------


def test_it_lives_under_its_sub_path_only(free: World) -> None:
    outside = free.base.removesuffix("/gitlab")
    assert (
        requests.get(f"{outside}{PROJECT}", headers={"PRIVATE-TOKEN": free.reader}, timeout=10).status_code
        == 404
    )
    assert free.open().json()["web_url"].startswith(f"{free.base}/example/ml-deploy/-/pipelines/")


def test_faults_lose_answers_and_break_them(free: World) -> None:
    free.gitlab.faults.add("/trigger/pipeline$", drop=True, carry_out=True, times=1)
    with pytest.raises(requests.ConnectionError):
        free.open()
    assert len(free.gitlab.pipelines) == 1
    free.gitlab.faults.add("/user$", body="{broken")
    assert free.call("GET", "/api/v4/user").text == "{broken"
    free.gitlab.faults.add("/projects/42$", status=429, headers={"Retry-After": "7"})
    assert free.call("GET", PROJECT).headers["Retry-After"] == "7"
