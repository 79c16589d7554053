"""The attack list of facts/cicd.md as far as GitHub without OIDC goes: none of these ends in an alias that nobody approved.

Attacks that have a whole file: 4 (self-approval) in test_promotion_trainers.py, 16 (a repeated dispatch) in
test_promotion_asking.py, 19 (what changes meanwhile) in test_promotion_stale.py, 20 (approval after the end) in
test_promotion.py and below, 24 (answers that fail) in test_promotion_failures.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from champion_gate.domain.promotion import Phase, Promotion
from champion_gate_standins.github.accounts import RefusedError
from integration.gate_world import GATE, REPOSITORY, GateWorld, gate_world

pytestmark = pytest.mark.spread(4)

REVIEWERS = ["reviewer-1", "reviewer-2", "octo-trainer"]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path) as made:
        yield made
        assert made.models.champion() == "1" or made.moves()[-1][2] == "reviewer-1"


def unmoved(world: GateWorld) -> None:
    assert world.models.champion() == "1"
    assert world.databricks.catalog.alias_writes == []


def waits(world: GateWorld, promotion: Promotion) -> str:
    """Look, and assert that it still waits although its run may be green; returns the reason."""
    world.look()
    unmoved(world)
    return world.ended(promotion, Phase.PENDING_APPROVAL)


def spoil_run(world: GateWorld, promotion: Promotion, **fields: object) -> None:
    """Have GitHub answer otherwise when it is asked about the promotion's run."""
    path = f"/repos/{REPOSITORY}/actions/runs/{world.run_id_of(promotion)}"
    token = world.github.add_token("somebody")
    answer = requests.get(
        f"{world.github_url}{path}", headers={"Authorization": f"Bearer {token}"}, timeout=5
    )
    world.github.faults.add(f"{path}$", body=json.dumps({**answer.json(), **fields}))


# --- 1 to 3: the environment -----------------------------------------------------------------------------

WEAKENED: dict[str, tuple[dict[str, object], str]] = {
    "reviewers removed": ({"reviewers": []}, "has no required reviewers"),
    "another reviewer added": ({"reviewers": [*REVIEWERS, "accomplice"]}, "its users changed"),
    "bypass turned on": ({"can_admins_bypass": True}, "turn off `Allow administrators"),
    "any branch may deploy": ({"branch_policy": None}, "restrict its deployment branches"),
    "self-review allowed": ({"prevent_self_review": False}, "turn on `Prevent self-review`"),
}


@pytest.mark.part("rest", "any branch", "self-review")
@pytest.mark.parametrize(("rules", "words"), WEAKENED.values(), ids=WEAKENED)
def test_01_and_03_an_environment_weakened_while_people_are_asked(
    world: GateWorld, rules: dict[str, object], words: str
) -> None:
    pending = world.ask()
    world.github.protect_environment(REPOSITORY, "champion", **{"reviewers": REVIEWERS, **rules})  # type: ignore[arg-type]
    world.github.bypass(world.run_id_of(pending), "champion", "reviewer-1")
    assert world.ci_run(pending).conclusion == "success"
    assert words in waits(world, pending)
    world.wait(days=15)
    world.ended(pending, Phase.EXPIRED)
    unmoved(world)


def test_01_an_environment_deleted_and_made_anew_with_the_same_rules(world: GateWorld) -> None:
    pending = world.ask()
    world.approve(pending)
    world.github.delete_environment(REPOSITORY, "champion")
    world.github.protect_environment(REPOSITORY, "champion", REVIEWERS)
    assert "Environment champion: its id changed since approval was asked for" in waits(world, pending)


def test_01_an_environment_that_a_run_made_by_naming_it(world: GateWorld) -> None:
    world.github.delete_environment(REPOSITORY, "champion")
    world.github.dispatch(
        REPOSITORY,
        dict.fromkeys(("promotion_id", "model", "version", "alias", "evidence"), "x")
        | {"environments": '["champion"]'},
        login="stranger",
    )
    world.train()
    world.settle()
    assert "has no required reviewers" in world.promotion(Phase.REQUESTED).reason
    assert len(world.github.runs) == 1


def test_01_a_pinned_environment_that_is_another_one_now(world: GateWorld) -> None:
    place = world.github.repository(REPOSITORY).environments["champion"]
    pinned = {
        "repository": REPOSITORY,
        "environments": ["champion"],
        "environment_ids": {"champion": place.id + 1},
    }
    world.reconfigure(approval={"github": pinned})
    world.train()
    world.settle()
    assert "gates.yaml demands" in world.promotion(Phase.REQUESTED).reason
    assert world.github.runs == []
    pinned["environment_ids"] = {"champion": place.id}
    world.reconfigure(approval={"github": pinned})
    world.wait(minutes=3)
    world.promotion(Phase.PENDING_APPROVAL)


def test_02_rules_that_are_shown_and_ignored_on_a_lower_plan(world: GateWorld) -> None:
    world.github.repository(REPOSITORY).rules_ignored = True
    pending = world.ask()
    assert world.ci_run(pending).conclusion == "success"
    waits(world, pending)
    world.wait(minutes=15)
    world.look()
    waits(world, pending)
    world.wait(minutes=1)
    assert "nobody reviewed it" in world.ended(pending, Phase.REJECTED)
    unmoved(world)


def test_03_a_bypass_by_an_administrator_who_is_no_reviewer(world: GateWorld) -> None:
    pending = world.ask()
    world.github.bypass(world.run_id_of(pending), "champion", "administrator", "urgent")
    world.look()
    unmoved(world)
    world.wait(minutes=1)
    assert "administrator does not count, who is not among the listed reviewers" in world.ended(
        pending, Phase.REJECTED
    )
    unmoved(world)


# --- 4: the service's own token --------------------------------------------------------------------------


def test_04_the_services_own_token_cannot_approve_what_it_opened(world: GateWorld) -> None:
    pending = world.ask()
    with pytest.raises(RefusedError, match="not one of the required reviewers"):
        world.approve(pending, "champion-gate-bot")
    token = world.environ["CHAMPION_GATE_GITHUB_TOKEN"]
    place = world.github.repository(REPOSITORY).environments["champion"]
    answer = requests.post(
        f"{world.github_url}/repos/{REPOSITORY}/actions/runs/{world.run_id_of(pending)}/pending_deployments",
        headers={"Authorization": f"Bearer {token}"},
        json={"environment_ids": [place.id], "state": "approved", "comment": ""},
        timeout=5,
    )
    assert answer.status_code == 422
    waits(world, pending)


# --- 5, 17: other runs -----------------------------------------------------------------------------------

OTHER_RUNS: dict[str, dict[str, object]] = {
    "another branch": {"head_branch": "feature"},
    "another workflow": {"path": ".github/workflows/other.yml", "workflow_id": 4711},
    "the same file name on another ref": {"path": ".github/workflows/champion-gate.yml@refs/heads/feature"},
    "a tag": {"path": ".github/workflows/champion-gate.yml@refs/tags/main"},
    "another trigger": {"event": "push"},
    "another repository": {"repository": {"id": 4711, "name": "ml-deploy", "full_name": REPOSITORY}},
    "another starter": {"actor": {"id": 4711, "login": "stranger", "type": "User"}},
    "a second attempt": {"run_attempt": 2},
    "another run": {"id": 4711},
}


@pytest.mark.part("rest", "another workflow", "file name", "a tag", "another trigger", "another run")
@pytest.mark.parametrize("fields", OTHER_RUNS.values(), ids=OTHER_RUNS)
def test_05_a_run_that_is_not_the_one_that_was_asked_for(world: GateWorld, fields: dict[str, object]) -> None:
    pending = world.ask()
    world.approve(pending)
    spoil_run(world, pending, **fields)
    world.look()
    assert "can no longer be decided" in world.ended(pending, Phase.REJECTED)
    unmoved(world)


def test_17_a_run_that_somebody_else_starts_with_our_promotions_id(world: GateWorld) -> None:
    pending = world.ask()
    theirs = world.github.dispatch(REPOSITORY, dict(world.ci_run(pending).inputs), login="stranger")
    assert "Waiting for people to decide" in waits(world, pending)
    world.reject(pending)
    world.github.review(theirs.id, "champion", "reviewer-1", approve=True)
    world.look()
    world.ended(pending, Phase.REJECTED)
    unmoved(world)


# --- 7: run again ----------------------------------------------------------------------------------------


def test_07_a_cancelled_run_that_is_run_again_and_approved(world: GateWorld) -> None:
    pending = world.ask()
    world.github.cancel(world.run_id_of(pending))
    world.github.rerun(world.run_id_of(pending), "stranger")
    world.approve(pending)
    assert world.ci_run(pending).conclusion == "success"
    world.look()
    assert "was run a second time; only the first attempt is believed" in world.ended(pending, Phase.REJECTED)
    unmoved(world)


def test_07_a_rejected_run_that_is_run_again_and_approved(world: GateWorld) -> None:
    pending = world.ask()
    world.reject(pending)
    world.github.rerun(world.run_id_of(pending), "stranger")
    world.approve(pending, "reviewer-2")
    world.look()
    assert world.ended(pending, Phase.REJECTED) == "Rejected by reviewer-1 (champion): not yet"
    unmoved(world)


def test_07_an_earlier_attempts_approval_does_not_release_a_later_one(world: GateWorld) -> None:
    world.github.workflow_runs.jobs_finish = False
    pending = world.ask()
    world.approve(pending)
    world.github.end_job(world.run_id_of(pending), "champion", "failure")
    world.github.rerun(world.run_id_of(pending), "stranger")
    world.look()
    assert "run a second time" in world.ended(pending, Phase.REJECTED)
    unmoved(world)


# --- 15: green without an approval -----------------------------------------------------------------------


def test_15_a_green_run_whose_gated_job_was_skipped(world: GateWorld) -> None:
    pending = world.ask()
    world.github.end_job(world.run_id_of(pending), "champion", "skipped")
    assert world.ci_run(pending).conclusion == "success"
    world.look()
    assert "ended without a decision for champion" in world.ended(pending, Phase.REJECTED)
    unmoved(world)


def test_15_a_gated_job_that_fails_after_the_approval_was_still_approved(world: GateWorld) -> None:
    world.github.workflow_runs.jobs_finish = False
    pending = world.ask()
    world.approve(pending)
    world.github.end_job(world.run_id_of(pending), "champion", "failure")
    world.look()
    world.ended(pending, Phase.PROMOTED)


# --- 16, 20: orphans, and too late -----------------------------------------------------------------------


def test_16_the_approval_of_an_orphaned_run_moves_nothing(world: GateWorld) -> None:
    pending = world.ask()
    orphan = world.github.dispatch(REPOSITORY, dict(world.ci_run(pending).inputs), login="champion-gate-bot")
    world.github.cancel(world.run_id_of(pending))
    world.github.review(orphan.id, "champion", "reviewer-1", approve=True)
    world.look()
    assert "cancelled before every gated job was let start" in world.ended(pending, Phase.REJECTED)
    world.live(days=1)
    unmoved(world)


@pytest.mark.part("rest", "superseded", "stale")
@pytest.mark.parametrize("end", ["expired", "rejected", "cancelled", "superseded", "stale"])
def test_20_an_approval_after_the_end_moves_nothing(world: GateWorld, end: str) -> None:
    pending = world.ask()
    world.github.faults.add("/cancel$", status=500)
    ways: dict[str, Callable[[], object]] = {
        "expired": lambda: world.clock.move(days=14, hours=1),
        "rejected": lambda: world.github.end_job(world.run_id_of(pending), "champion", "skipped"),
        "cancelled": lambda: world.core.promotion_orders.cancel(pending.id, actor="operator", reason="no"),
        "superseded": lambda: world.ask({"f1": 0.92}),
        "stale": lambda: world.reconfigure(expires_after="30d"),
    }
    ways[end]()
    world.look()
    world.ended(pending, Phase(end))
    if world.ci_run(pending).status == "waiting":
        world.approve(pending)
    world.sweep()
    world.wait(minutes=20)
    world.ended(pending, Phase(end))
    unmoved(world)
    assert "reviewer-1" not in [actor for _, _, actor in world.moves()]


# --- 18: texts -------------------------------------------------------------------------------------------

NASTY = "${{ secrets.TOKEN }}\n::set-env name=PATH::x\n| fake | row |\n</table><!-- `$(id)`"


def test_18_texts_from_outside_cannot_fake_a_row_or_a_command(world: GateWorld) -> None:
    run_id = world.databricks.jobs.start_run(world.job_id)
    task = world.databricks.jobs.task_run_id(run_id, "train")
    tags = {"mlflow.databricks.jobID": world.job_id, "mlflow.databricks.jobRunID": task}
    catalog = world.databricks.catalog
    mlflow_run = catalog.add_mlflow_run(
        metrics={"f1": 0.91, NASTY: 1.0},
        params={NASTY: NASTY},
        tags={**tags, "mlflow.source.git.commit": NASTY},
    )
    catalog.add_version(world.models.model, run_id=mlflow_run, tags={"note": NASTY, NASTY: "x"})
    world.databricks.jobs.finish_run(run_id, notify=False)
    world.notify(run_id)
    world.settle()
    pending = world.promotion(Phase.PENDING_APPROVAL)
    shown = world.ci_run(pending).inputs["evidence"]
    lines = shown.splitlines()
    assert not [line for line in lines if line.startswith(("::", "| fake"))]
    assert "</table>" not in shown
    assert "<!--" not in shown
    assert world.ci_run(pending).display_title == f"Champion main.ml.churn v2 [{pending.correlation_id}]"


# --- 23: people who leave --------------------------------------------------------------------------------


def test_23_the_account_of_who_approved_is_deleted(world: GateWorld) -> None:
    pending = world.ask()
    world.approve(pending)
    world.github.delete_user("reviewer-1")
    assert "its users changed since approval was asked for" in waits(world, pending)


# --- 25: more than one page ------------------------------------------------------------------------------


def test_25_a_rejection_behind_many_other_reviews_is_seen(world: GateWorld) -> None:
    world.github.protect_environment(REPOSITORY, "other", REVIEWERS)
    pending = world.ask()
    run = world.ci_run(pending)
    world.reject(pending)
    rejection = run.approvals.pop()
    other = world.github.repository(REPOSITORY).environments["other"]
    noise = type(rejection)((other,), "approved", rejection.user, "", rejection.at)
    run.approvals += [noise] * 250 + [rejection]
    world.look()
    world.ended(pending, Phase.REJECTED)
    unmoved(world)


@pytest.mark.part("rest")
def test_25_our_run_is_found_behind_a_hundred_newer_ones(world: GateWorld) -> None:
    world.github.faults.add("/dispatches$", drop=True, carry_out=True, times=1)
    world.train()
    world.settle()
    inputs = dict(world.github.runs[0].inputs)
    for number in range(120):
        other = {**inputs, "promotion_id": f"p-other{number}"}
        world.github.dispatch(REPOSITORY, other, login="champion-gate-bot")
    world.wait(seconds=5)
    pending = world.promotion(Phase.PENDING_APPROVAL)
    assert world.ci_run(pending) is world.github.runs[0]
    world.approve(pending)
    world.look()
    world.ended(pending, Phase.PROMOTED)


def test_a_page_that_lies_about_its_length_decides_nothing(world: GateWorld) -> None:
    pending = world.ask()
    world.approve(pending)
    world.github.faults.add("/jobs$", body=json.dumps({"total_count": 2, "jobs": []}))
    waits(world, pending)
    assert "gave 0 of 2 entries" in (world.again(pending).retry.last_error or "")


def test_gates_on_other_jobs_do_not_share_an_approval(world: GateWorld) -> None:
    other_job = world.databricks.jobs.add_job("train-other")
    world.databricks.catalog.add_model("main.ml.other")
    world.write_gates(
        [
            {**GATE, "jobs": [int(world.job_id)], "model": world.models.model},
            {**GATE, "name": "other", "jobs": [int(other_job)], "model": "main.ml.other"},
        ]
    )
    pending = world.ask()
    world.approve(pending)
    world.look()
    world.ended(pending, Phase.PROMOTED)
    assert world.databricks.catalog.alias("main.ml.other", "Champion") is None
