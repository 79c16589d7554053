"""Nobody approves their own model: who counts as the people behind a version, and whose approval does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.promotion import Phase, Promotion
from integration.gate_models import TRAINER
from integration.gate_world import GATE, REPOSITORY, GateWorld, gate_world

PRINCIPAL = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path) as made:
        yield made


def refused(world: GateWorld, promotion: Promotion) -> str:
    """Look, a minute later again, and assert that the approval came to nothing; returns the reason."""
    world.look()
    world.wait(minutes=1)
    reason = world.ended(promotion, Phase.REJECTED)
    assert world.models.champion() == "1"
    assert world.databricks.catalog.alias_writes == []
    assert ("decision", reason) in world.ledger()
    assert "champion_gate_approved_by" not in world.models.tags(promotion.version.version)
    return reason


def test_the_trainers_own_approval_does_not_count(world: GateWorld) -> None:
    pending = world.ask()
    world.approve(pending, "octo-trainer")
    assert refused(world, pending) == (
        "Released, but not by an approval that counts: champion: the approval of octo-trainer does not count, "
        "who is behind this version (job run creator)."
    )
    assert world.ci_run(pending).conclusion == "success"


def test_the_trainer_is_known_by_number_and_not_by_login(world: GateWorld) -> None:
    pending = world.ask()
    world.github.state.user("octo-trainer").login = "renamed-since"
    world.approve(pending, "octo-trainer")
    assert "renamed-since does not count, who is behind this version" in refused(world, pending)


def test_the_account_that_opened_the_request_cannot_approve_it(world: GateWorld) -> None:
    world.github.protect_environment(REPOSITORY, "champion", ["reviewer-1", "champion-gate-bot"])
    pending = world.ask()
    world.github.review(world.run_id_of(pending), "champion", "champion-gate-bot", approve=True, force=True)
    assert "champion-gate-bot does not count, who is the account that opened" in refused(world, pending)


def test_a_bot_cannot_approve(world: GateWorld) -> None:
    world.github.add_user("helpful[bot]", type="Bot")
    world.github.protect_environment(REPOSITORY, "champion", ["reviewer-1", "helpful[bot]"])
    pending = world.ask()
    world.approve(pending, "helpful[bot]")
    assert "helpful[bot] does not count, who is no person" in refused(world, pending)


def test_somebody_who_is_not_listed_cannot_approve(world: GateWorld) -> None:
    pending = world.ask()
    world.github.bypass(world.run_id_of(pending), "champion", "an-administrator")
    assert "an-administrator does not count, who is not among the listed reviewers" in refused(world, pending)


def test_the_account_of_who_approved_is_deleted_before_it_is_read(world: GateWorld) -> None:
    pending = world.ask()
    place = world.github.repository(REPOSITORY).environments["champion"]
    said = {
        "state": "approved",
        "comment": "",
        "user": None,
        "environments": [{"id": place.id, "name": "champion"}],
    }
    world.approve(pending)
    world.github.faults.add("/approvals$", body=json.dumps([said]))
    assert "a deleted account does not count, who is no person" in refused(world, pending)


# --- how the people behind a version are found -----------------------------------------------------------


def ask_as(
    world: GateWorld,
    *,
    run_as: str = TRAINER,
    creator: str = TRAINER,
    version: str | None = TRAINER,
    user: str = TRAINER,
) -> None:
    """Train with these four people behind the version."""
    world.job_id = world.databricks.jobs.add_job("train-churn", run_as=run_as)
    world.reconfigure(identities={TRAINER: "octo-trainer", "second@example.com": "reviewer-1", PRINCIPAL: []})
    run_id = world.databricks.jobs.start_run(world.job_id, creator=creator)
    task = world.databricks.jobs.task_run_id(run_id, "train")
    tags = {"mlflow.databricks.jobID": world.job_id, "mlflow.databricks.jobRunID": task}
    mlflow_run = world.databricks.catalog.add_mlflow_run(metrics={"f1": 0.91}, user=user, tags=tags)
    world.databricks.catalog.add_version(world.models.model, run_id=mlflow_run, created_by=version)
    world.databricks.jobs.finish_run(run_id, notify=False)
    world.notify(run_id)
    world.settle()


ROLES = {
    "run_as": "job run-as",
    "creator": "job run creator",
    "user": "MLflow run user",
}


@pytest.mark.parametrize(("role", "words"), ROLES.items(), ids=ROLES.values())
def test_everybody_behind_a_version_is_kept_from_approving(world: GateWorld, role: str, words: str) -> None:
    ask_as(world, **{role: "Second@Example.com"})
    pending = world.promotion(Phase.PENDING_APPROVAL)
    world.approve(pending, "reviewer-1")
    assert f"reviewer-1 does not count, who is behind this version ({words})" in refused(world, pending)


@pytest.mark.parametrize(("role", "words"), ROLES.items(), ids=ROLES.values())
def test_a_trainer_without_an_entry_keeps_the_request_until_the_line_is_added(
    world: GateWorld, role: str, words: str
) -> None:
    ask_as(world, **{role: "new@example.com"})
    waiting = world.promotion(Phase.REQUESTED)
    assert waiting.reason == (
        f"No login at the provider is known for new@example.com ({words}): "
        "add `identities: {new@example.com: <login at the provider>}` to gate 'churn'."
    )
    assert world.github.runs == []
    world.wait(days=2)
    assert world.again(waiting).phase is Phase.REQUESTED
    world.reconfigure(identities={TRAINER: "octo-trainer", "new@example.com": "reviewer-2"})
    world.wait(minutes=3)
    pending = world.promotion(Phase.PENDING_APPROVAL)
    assert {person.login for person in pending.excluded} == {"octo-trainer", "reviewer-2"}


def test_an_entry_that_names_nobody_keeps_the_request(world: GateWorld) -> None:
    world.reconfigure(identities={TRAINER: "no-such-login"})
    world.train()
    world.settle()
    assert "maps trainer@example.com to no-such-login, whom nobody knows there" in world.promotion().reason
    assert world.promotion().phase is Phase.REQUESTED


def test_a_trainer_that_databricks_does_not_tell_is_not_excused(world: GateWorld) -> None:
    world.databricks.jobs.finish_run(world.databricks.jobs.start_run(world.job_id), notify=False)
    world.train(user=None)
    world.settle()
    waiting = world.promotion(Phase.REQUESTED)
    assert "The MLflow run user of this version was not told" in waiting.reason
    assert world.github.runs == []


@pytest.mark.parametrize("creator", ["second@example.com", "new@example.com", None])
def test_a_version_that_none_of_the_runs_principals_created_is_not_asked_about(
    world: GateWorld, creator: str | None
) -> None:
    ask_as(world, version=creator)
    world.live(minutes=5)
    assert world.promotions() == ()
    reason = world.notification(NotificationPhase.UNRESOLVED).reason
    said = f"{creator} created it, who is none of the run's principals ({TRAINER})"
    assert (said if creator else "the registry does not tell who created it") in reason


def test_a_service_principal_is_nobody_and_the_reviewer_is_told(world: GateWorld) -> None:
    ask_as(world, run_as=PRINCIPAL, creator=PRINCIPAL, version=PRINCIPAL)
    pending = world.promotion(Phase.PENDING_APPROVAL)
    assert PRINCIPAL in json.dumps(world.evidence(pending))
    shown = world.ci_run(pending).inputs["evidence"]
    assert PRINCIPAL in shown
    world.approve(pending, "reviewer-2")
    world.look()
    world.ended(pending, Phase.PROMOTED)


def test_a_service_principal_may_stand_for_people(world: GateWorld) -> None:
    world.job_id = world.databricks.jobs.add_job("train-churn", run_as=PRINCIPAL)
    world.reconfigure(identities={TRAINER: "octo-trainer", PRINCIPAL: ["reviewer-1", "reviewer-2"]})
    pending = world.ask()
    assert {person.login for person in pending.excluded} == {"octo-trainer", "reviewer-1", "reviewer-2"}
    world.approve(pending, "reviewer-2")
    assert "behind this version (job run-as)" in refused(world, pending)


def test_a_gate_may_let_trainers_approve(world: GateWorld) -> None:
    world.reconfigure(allow_trainer_approval=True, identities={})
    pending = world.ask()
    world.approve(pending, "octo-trainer")
    world.look()
    world.ended(pending, Phase.PROMOTED)
    assert world.moves()[-1] == ("1", "2", "octo-trainer")


# --- several people --------------------------------------------------------------------------------------


def with_two_environments(world: GateWorld) -> Promotion:
    world.github.protect_environment(REPOSITORY, "second", ["reviewer-1", "reviewer-2"])
    approval = {"github": {"repository": REPOSITORY, "environments": ["champion", "second"]}}
    world.reconfigure(approval=approval)
    return world.ask()


def test_two_environments_need_two_people(world: GateWorld) -> None:
    pending = with_two_environments(world)
    world.approve(pending, "reviewer-1", "champion")
    world.look()
    assert world.ended(pending, Phase.PENDING_APPROVAL) == "1 of 2 approved; second is missing."
    world.approve(pending, "reviewer-2", "second")
    world.look()
    world.ended(pending, Phase.PROMOTED)
    assert world.moves()[-1] == ("1", "2", "reviewer-1, reviewer-2")
    assert world.models.tags("2")["champion_gate_approved_by"] == "reviewer-1, reviewer-2"


@pytest.mark.parametrize("at_once", [True, False])
def test_one_person_cannot_approve_for_two(world: GateWorld, *, at_once: bool) -> None:
    pending = with_two_environments(world)
    for environments in [("champion", "second")] if at_once else [("champion",), ("second",)]:
        world.approve(pending, "reviewer-1", environments)
    assert "champion and second need a different person each, and only reviewer-1 approved" in refused(
        world, pending
    )


def test_a_rejection_in_one_environment_outweighs_an_approval_in_the_other(world: GateWorld) -> None:
    pending = with_two_environments(world)
    world.approve(pending, "reviewer-2", "second")
    world.reject(pending)
    assert refused(world, pending) == "Rejected by reviewer-1 (champion): not yet"


# --- teams -----------------------------------------------------------------------------------------------


def with_a_team(world: GateWorld) -> Promotion:
    team = world.github.add_team("example", "ml-owners", ["reviewer-1"])
    world.github.protect_environment(REPOSITORY, "champion", [team])
    return world.ask()


def test_a_member_of_a_listed_team_may_approve(world: GateWorld) -> None:
    pending = with_a_team(world)
    world.approve(pending)
    world.look()
    world.ended(pending, Phase.PROMOTED)


def test_who_has_left_the_team_before_the_approval_is_read_does_not_count(world: GateWorld) -> None:
    pending = with_a_team(world)
    world.approve(pending)
    world.github.add_team("example", "ml-owners", ["reviewer-2"])
    assert "is not among the listed reviewers" in refused(world, pending)


def test_a_team_that_cannot_be_read_keeps_the_request_waiting(world: GateWorld) -> None:
    pending = with_a_team(world)
    world.approve(pending)
    world.github.faults.add("/memberships/", status=403)
    world.look()
    assert "is in the team ml-owners cannot be read" in world.ended(pending, Phase.PENDING_APPROVAL)
    world.github.faults.clear()
    world.look()
    world.ended(pending, Phase.PROMOTED)


def test_identities_of_other_people_do_not_matter(world: GateWorld) -> None:
    world.reconfigure(identities={**GATE["identities"], "unrelated@example.com": "nobody-here"})  # type: ignore[dict-item]
    world.ask()
