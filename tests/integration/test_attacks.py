"""The attack list, 1 to 7 and 17: places that protect nothing, people who must not decide, runs that are not ours.

Every attack is made on the running service over HTTP. After each, the alias has not moved, no approval is in the
ledger, and the operator reads why. `test_control_…` show that in the same world an honest approval is applied.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests

from champion_gate_standins.github.accounts import RefusedError
from champion_gate_standins.gitlab.state import DEVELOPER, MAINTAINER
from integration.attack_world import AttackWorld
from integration.attacked_gate import EACH_KIND, PEOPLE, ROBOT, Asked, AttackedGate
from integration.attacked_places import OnFreeGitLab, OnGitHub, OnGitLab

pytestmark = [pytest.mark.part("rest", "gitlab-free"), pytest.mark.spread(4)]

pytest_plugins = ("integration.attack_fixtures",)


@pytest.mark.parametrize("kind", EACH_KIND)
def test_control_an_honest_approval_is_applied(attacked: AttackWorld, kind: str) -> None:
    gate = attacked.gate(kind)
    asked = gate.ask()
    gate.waits(asked, "Waiting for people to decide")
    gate.approve(asked)
    gate.promotes(asked)


@pytest.mark.part("rest", "gitlab")
@pytest.mark.parametrize("kind", EACH_KIND)
def test_control_an_honest_jobs_token_has_the_approval_applied(attacked: AttackWorld, kind: str) -> None:
    gate = attacked.gate(kind)
    asked = gate.ask()
    gate.approve(asked)
    answer = gate.post(asked, gate.token(asked))
    assert (answer.status_code, answer.json()["phase"]) == (200, "promoted")
    gate.promotes(asked)


# --- 1 to 3: the place ------------------------------------------------------------------------------------

WEAKENED: dict[str, tuple[dict[str, Any], str]] = {
    "reviewers removed": ({"reviewers": ()}, "has no required reviewers"),
    "a reviewer added": ({"reviewers": (*PEOPLE, "accomplice")}, "its users changed"),
    "any branch may deploy": ({"branch_policy": None}, "restrict its deployment branches"),
    "self-review allowed": ({"prevent_self_review": False}, "turn on `Prevent self-review`"),
}


@pytest.mark.part("rest", "a reviewer added", "any branch", "self-review")
@pytest.mark.parametrize(("rules", "words"), WEAKENED.values(), ids=WEAKENED)
def test_attack_01_github_environment_weakened_while_people_are_asked(
    attacked: AttackWorld, rules: dict[str, Any], words: str
) -> None:
    gate: OnGitHub = attacked.gate("github")
    asked = gate.ask()
    gate.protect(**rules)
    gate.there.bypass(asked.external_id, "champion", "reviewer-1")
    gate.waits(asked, words)


@pytest.mark.part("rest")
def test_attack_01_github_environment_that_is_missing_or_that_a_run_made(attacked: AttackWorld) -> None:
    gate: OnGitHub = attacked.gate("github")
    gate.there.delete_environment(gate.repository, "champion")
    version = gate.train()
    view = gate.wait(lambda found: "has no environment champion" in found["reason"], version)
    assert (view["phase"], gate.open_runs()) == ("requested", [])
    other: OnGitHub = attacked.gate("github")
    inputs = other.inputs(other.ask())
    stranger = other.there.dispatch(gate.repository, inputs, login="stranger")
    assert stranger.latest_jobs()[-1].status == "in_progress", "it made the environment by naming it"
    version = gate.train()
    gate.wait(lambda found: "has no required reviewers" in found["reason"], version)
    gate.assert_unharmed()


@pytest.mark.part("rest")
def test_attack_01_github_environment_deleted_and_made_anew_with_the_same_rules(
    attacked: AttackWorld,
) -> None:
    gate: OnGitHub = attacked.gate("github")
    asked = gate.ask()
    gate.there.delete_environment(gate.repository, "champion")
    gate.protect()
    gate.approve(asked)
    gate.waits(asked, "Environment champion: its id changed since approval was asked for")


UNPROTECTED: dict[str, tuple[Callable[[OnGitLab], object], str]] = {
    "unprotected": (
        lambda gate: gate.there.unprotect_environment(gate.project, "champion"),
        "it is not protected",
    ),
    "open to Developers": (lambda gate: gate.protect((DEVELOPER,)), "every Developer may deploy"),
    "open to our own account": (lambda gate: gate.protect((*PEOPLE, ROBOT)), "may deploy to it"),
    "a deployer added": (lambda gate: gate.protect((*PEOPLE, "accomplice")), "changed since approval"),
    "branch unprotected": (
        lambda gate: gate.there.unprotect_branch(gate.project, "main"),
        "it is not protected",
    ),
    "branch open to Developers": (
        lambda gate: gate.there.protect_branch(
            gate.project, "main", push=(DEVELOPER,), merge=(MAINTAINER, ROBOT)
        ),
        "Developers may push to it",
    ),
}


@pytest.mark.part("rest", "open to", "a deployer added")
@pytest.mark.parametrize(("weaken", "words"), UNPROTECTED.values(), ids=UNPROTECTED)
def test_attack_01_gitlab_protection_weakened_while_people_are_asked(
    attacked: AttackWorld, weaken: Callable[[OnGitLab], object], words: str
) -> None:
    gate: OnGitLab = attacked.gate("gitlab")
    asked = gate.ask()
    weaken(gate)
    gate.approve(asked)
    gate.waits(asked, words)


@pytest.mark.part("rest")
def test_attack_01_gitlab_environment_that_was_never_protected(attacked: AttackWorld) -> None:
    gate: OnGitLab = attacked.gate("gitlab")
    gate.there.unprotect_environment(gate.project, "champion")
    version = gate.train()
    view = gate.wait(lambda found: "it is not protected" in found["reason"], version)
    assert (view["phase"], gate.open_runs()) == ("requested", [])
    gate.assert_unharmed()


@pytest.mark.part("rest")
def test_attack_02_github_rules_that_are_shown_and_ignored_on_a_lower_plan(attacked: AttackWorld) -> None:
    gate: OnGitHub = attacked.gate("github")
    gate.there.repository(gate.repository).rules_ignored = True
    asked = gate.ask()
    assert gate.there.run(asked.external_id).status == "in_progress", "nobody was asked"
    gate.waits(asked, "GitHub lists no review of it yet")


def test_attack_02_gitlab_tier_lowered_while_people_are_asked(attacked: AttackWorld) -> None:
    gate: OnGitLab = attacked.gate("gitlab")
    asked = gate.ask()
    gate.project.tier = "free"
    gate.approve(asked)
    gate.waits(asked, "the project's tier has no protected environments")


@pytest.mark.part("rest")
def test_attack_03_github_bypass_by_an_administrator(attacked: AttackWorld) -> None:
    gate: OnGitHub = attacked.gate("github")
    asked = gate.ask()
    gate.there.bypass(asked.external_id, "champion", "administrator", "urgent")
    gate.ends_when_seen_twice(
        asked, "rejected", "administrator does not count, who is not among the listed reviewers"
    )


@pytest.mark.part("rest", "allowed")
@pytest.mark.parametrize("allowed", [True, None], ids=["allowed", "not told"])
def test_attack_03_github_bypass_by_a_reviewer_who_is_administrator(
    attacked: AttackWorld, *, allowed: bool | None
) -> None:
    gate: OnGitHub = attacked.gate("github")
    asked = gate.ask()
    gate.protect(can_admins_bypass=allowed)
    gate.there.bypass(asked.external_id, "champion", "reviewer-1")
    gate.waits(asked, "a bypass cannot be told from an approval")


@pytest.mark.parametrize("kind", ["gitlab", "gitlab-free"])
def test_attack_03_gitlab_job_played_by_an_administrator_past_the_rules(
    attacked: AttackWorld, kind: str
) -> None:
    gate: OnGitLab = attacked.gate(kind)
    asked = gate.ask()
    gate.there.add_member(gate.project, "administrator", MAINTAINER)
    gate.protect((*PEOPLE, "administrator"))
    gate.approve(asked, "administrator")
    gate.protect()
    gate.there.add_member(gate.project, "administrator", 0)
    gate.ends_when_seen_twice(
        asked, "rejected", "administrator does not count, who is not among the listed reviewers"
    )


# --- 4: people who must not decide ------------------------------------------------------------------------


@pytest.mark.part("rest", "gitlab")
@pytest.mark.parametrize("kind", EACH_KIND)
def test_attack_04_the_trainer_approves(attacked: AttackWorld, kind: str) -> None:
    gate = attacked.gate(kind)
    asked = gate.ask()
    gate.approve(asked, "octo-trainer")
    gate.ends(asked, "rejected", "octo-trainer does not count, who is behind this version")


@pytest.mark.part("rest", "champion-gate-script")
@pytest.mark.parametrize("login", ["octo-trainer", "champion-gate-script"])
def test_attack_04_github_a_script_approves_with_a_personal_token(attacked: AttackWorld, login: str) -> None:
    gate: OnGitHub = attacked.gate("github")
    asked = gate.ask()
    place = gate.there.repository(gate.repository).environments["champion"]
    answer = requests.post(
        f"{gate.issuer.issuer}/repos/{gate.repository}/actions/runs/{asked.external_id}/pending_deployments",
        headers={"Authorization": f"Bearer {gate.there.add_token(login)}"},
        json={"environment_ids": [place.id], "state": "approved", "comment": "by script"},
        timeout=10,
    )
    if login in PEOPLE:
        assert answer.ok
        gate.ends(asked, "rejected", "is behind this version")
    else:
        assert answer.status_code == 422
        gate.waits(asked, "Waiting for people to decide")


def test_attack_04_github_the_app_that_asked_approves(attacked: AttackWorld) -> None:
    gate: OnGitHub = attacked.gate("github")
    asked = gate.ask()
    with pytest.raises(RefusedError, match="not one of the required reviewers"):
        gate.approve(asked, "champion-gate[bot]")
    gate.there.bypass(asked.external_id, "champion", "champion-gate[bot]")
    gate.ends(asked, "rejected", "champion-gate[bot] does not count, who is no person")


@pytest.mark.parametrize("kind", ["gitlab", "gitlab-free"])
def test_attack_04_gitlab_the_account_that_asked_plays_the_job(attacked: AttackWorld, kind: str) -> None:
    gate: OnGitLab = attacked.gate(kind)
    asked = gate.ask()
    gate.protect((*PEOPLE, ROBOT))
    answer = requests.post(
        f"{gate.issuer.issuer}/api/v4/projects/{gate.project.id}/jobs/{gate.job(asked).id}/play",
        headers={"PRIVATE-TOKEN": attacked.environ["CHAMPION_GATE_GITLAB_API_TOKEN"]},
        timeout=10,
    )
    assert answer.ok
    gate.protect()
    gate.ends(asked, "rejected", "was run by our own account, which is nobody's decision")


def test_attack_04_gitlab_the_trainer_approves_the_deployment_and_another_plays(
    attacked: AttackWorld,
) -> None:
    gate: OnGitLab = attacked.gate("gitlab")
    gate.protect(approvals={"octo-trainer": 1})
    asked = gate.ask()
    gate.there.approve_deployment(gate.there.deployment(asked.external_id), "octo-trainer")
    gate.approve(asked, "reviewer-1")
    gate.ends(asked, "rejected", "octo-trainer does not count, who is behind this version")


# --- 5, 17: other runs ------------------------------------------------------------------------------------

OTHER_RUNS: dict[str, dict[str, Any]] = {
    "another branch": {"head_branch": "feature"},
    "another workflow": {"path": ".github/workflows/other.yml", "workflow_id": 4711},
    "another ref of the file": {"path": ".github/workflows/champion-gate.yml@refs/heads/feature"},
    "a tag": {"path": ".github/workflows/champion-gate.yml@refs/tags/main"},
    "another trigger": {"event": "push"},
    "another repository": {"repository": {"id": 4711, "name": "x", "full_name": "example/x"}},
    "another starter": {"actor": {"id": 4711, "login": "stranger", "type": "User"}},
}
OTHER_PIPELINES: dict[str, dict[str, Any]] = {
    "another branch": {"ref": "feature"},
    "a tag": {"tag": True},
    "another trigger": {"source": "push"},
    "another project": {"project_id": 4711},
    "another starter": {"user": {"id": 4711, "username": "stranger", "name": "x", "state": "active"}},
}


def spoil(gate: AttackedGate, path: str, token: dict[str, str], changed: dict[str, Any]) -> None:
    """Have the vendor answer with other values when it is asked for this path."""
    at = f"{gate.issuer.issuer}{path}"
    answer = requests.get(at, headers=token, timeout=10).json()
    gate.faults.add(f"{path}$", body=json.dumps({**answer, **changed}))


@pytest.mark.part(
    "rest",
    "another workflow",
    "another ref",
    "a tag",
    "another trigger",
    "another repository",
    "another starter",
)
@pytest.mark.parametrize("changed", OTHER_RUNS.values(), ids=OTHER_RUNS)
def test_attack_05_github_run_of_something_else_that_names_the_environment(
    attacked: AttackWorld, changed: dict[str, Any]
) -> None:
    gate: OnGitHub = attacked.gate("github")
    asked = gate.ask()
    token = {"Authorization": f"Bearer {gate.there.add_token('somebody')}"}
    spoil(gate, f"/repos/{gate.repository}/actions/runs/{asked.external_id}", token, changed)
    gate.approve(asked)
    gate.ends(asked, "rejected", "The request can no longer be decided")


@pytest.mark.part("rest", "a tag", "another trigger", "another starter")
@pytest.mark.parametrize("changed", OTHER_PIPELINES.values(), ids=OTHER_PIPELINES)
def test_attack_05_gitlab_pipeline_of_something_else_that_names_the_environment(
    attacked: AttackWorld, changed: dict[str, Any]
) -> None:
    gate: OnGitLab = attacked.gate("gitlab")
    asked = gate.ask()
    token = {"PRIVATE-TOKEN": attacked.environ["CHAMPION_GATE_GITLAB_READ_TOKEN"]}
    # Behind the sub-path, which the stand-in's faults do not see.
    spoil(gate, f"/api/v4/projects/{gate.project.id}/pipelines/{asked.external_id}", token, changed)
    gate.approve(asked)
    gate.ends(asked, "rejected", "The request can no longer be decided")


@pytest.mark.part("rest", "stranger")
@pytest.mark.parametrize("login", ["stranger", "reviewer-1"])
def test_attack_17_github_somebody_starts_a_run_with_our_promotions_id(
    attacked: AttackWorld, login: str
) -> None:
    gate: OnGitHub = attacked.gate("github")
    asked = gate.ask()
    theirs = gate.start(asked, login)
    gate.waits(asked, "Waiting for people to decide")
    gate.cancel(asked)
    gate.there.review(theirs, "champion", "reviewer-2", approve=True)
    gate.refused_post(asked, gate.token(Asked(asked.id, asked.version, theirs)), "claim actor_id")
    gate.ends(asked, "rejected", "cancelled before every gated job was let start")


@pytest.mark.parametrize("kind", ["gitlab", "gitlab-free"])
def test_attack_17_gitlab_somebody_starts_a_pipeline_with_our_promotions_id(
    attacked: AttackWorld, kind: str
) -> None:
    gate: OnFreeGitLab = attacked.gate(kind)
    asked = gate.ask()
    theirs = Asked(asked.id, asked.version, gate.start(asked, "reviewer-2"))
    gate.approve(theirs)
    gate.refused_post(asked, gate.token(theirs), "claim pipeline_id")
    assert gate.hint(theirs.external_id).json() == {"hinted": 0}
    gate.waits(asked, "Waiting for people to decide")


# --- 7: run again -----------------------------------------------------------------------------------------


def test_attack_07_github_cancelled_run_is_rerun_and_approved(attacked: AttackWorld) -> None:
    gate: OnGitHub = attacked.gate("github")
    asked = gate.ask()
    gate.cancel(asked)
    gate.there.rerun(asked.external_id, "stranger")
    gate.approve(asked)
    gate.refused_post(asked, gate.token(asked), "claim run_attempt")
    gate.ends(asked, "rejected", "was run a second time; only the first attempt is believed")


@pytest.mark.part("rest")
def test_attack_07_github_rerun_with_the_stale_approval_of_the_first_attempt(attacked: AttackWorld) -> None:
    gate: OnGitHub = attacked.gate("github")
    asked = gate.ask()
    gate.approve(asked)
    gate.there.end_job(asked.external_id, "champion", "failure")
    gate.there.rerun(asked.external_id, "stranger")
    gate.refused_post(asked, gate.token(asked), "claim run_attempt")
    gate.ends(asked, "rejected", "was run a second time; only the first attempt is believed")


@pytest.mark.parametrize("kind", ["gitlab", "gitlab-free"])
def test_attack_07_gitlab_retry_makes_another_job(attacked: AttackWorld, kind: str) -> None:
    gate: OnGitLab = attacked.gate(kind)
    asked = gate.ask()
    first = gate.job(asked)
    gate.approve(asked, "octo-trainer")
    gate.there.end_job(first, "failed")
    gate.there.retry(first, "reviewer-1")
    assert gate.job(asked).id != first.id
    gate.ends(asked, "rejected", "was retried; only a pipeline with a single one is believed")
