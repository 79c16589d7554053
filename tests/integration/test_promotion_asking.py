"""Asking for approval: only where it is protected, and exactly once, whatever becomes of the call."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from champion_gate.domain.promotion import Phase
from integration.gate_world import REPOSITORY, GateWorld, gate_world

DISPATCH = "/dispatches$"
LIST = "/workflows/champion-gate.yml/runs$"
REVIEWERS = ["reviewer-1", "reviewer-2", "octo-trainer"]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path) as made:
        yield made


def dispatches(world: GateWorld) -> int:
    return sum(
        1 for method, path in world.github.faults.requests if (method, path[-10:]) == ("POST", "dispatches")
    )


# --- the place -------------------------------------------------------------------------------------------

UNSAFE: dict[str, tuple[dict[str, object], str]] = {
    "no reviewers": ({"reviewers": []}, "has no required reviewers"),
    "only the bot": (
        {"reviewers": ["champion-gate-bot"]},
        "nobody but champion-gate-bot, who asks, could approve",
    ),
    "bypass": ({"can_admins_bypass": True}, "turn off `Allow administrators to bypass"),
    "bypass not told": ({"can_admins_bypass": None}, "turn off `Allow administrators to bypass"),
    "any branch": ({"branch_policy": None}, "restrict its deployment branches"),
    "another branch": ({"branch_policy": "release"}, "restrict its deployment branches"),
    "self-review": ({"prevent_self_review": False}, "turn on `Prevent self-review`"),
}


def protect(world: GateWorld, reviewers: object = REVIEWERS, **rules: object) -> None:
    world.github.protect_environment(REPOSITORY, "champion", reviewers, **rules)  # type: ignore[arg-type]


@pytest.mark.parametrize(("rules", "words"), UNSAFE.values(), ids=UNSAFE)
def test_nobody_is_asked_where_the_approval_is_not_protected(
    world: GateWorld, rules: dict[str, object], words: str
) -> None:
    protect(world, **{"reviewers": REVIEWERS, **rules})
    world.train()
    world.settle()
    waiting = world.promotion(Phase.REQUESTED)
    assert words in waiting.reason
    assert "champion" in waiting.reason
    assert REPOSITORY in waiting.reason
    assert world.github.runs == []
    protect(world)
    world.wait(minutes=3)
    world.promotion(Phase.PENDING_APPROVAL)
    assert len(world.github.runs) == 1


def test_nobody_is_asked_where_the_environment_does_not_exist(world: GateWorld) -> None:
    world.github.delete_environment(REPOSITORY, "champion")
    world.train()
    world.settle()
    assert "has no environment champion: make it" in world.promotion(Phase.REQUESTED).reason
    assert world.github.runs == []
    assert world.github.repository(REPOSITORY).environments == {}


# --- asked once ------------------------------------------------------------------------------------------


def to_champion(world: GateWorld) -> None:
    """The one request that is open leads to the alias."""
    pending = world.promotion(Phase.PENDING_APPROVAL)
    world.approve(pending)
    world.look()
    world.ended(pending, Phase.PROMOTED)


def test_the_api_of_2026_tells_the_runs_id(tmp_path: Path) -> None:
    with gate_world(tmp_path) as world:
        world.github_settings["api_version"] = "2026-03-10"
        world.reconfigure()
        world.train()
        world.settle()
        to_champion(world)
        assert dispatches(world) == 1


@pytest.mark.parametrize("older_server", ["ignored", "refused"])
def test_a_server_that_does_not_tell_the_runs_id_has_it_found_by_its_title(
    world: GateWorld, older_server: str
) -> None:
    world.github.api.run_details = older_server
    world.train()
    world.settle()
    pending = world.promotion(Phase.PENDING_APPROVAL)
    assert world.ci_run(pending).display_title.endswith(f" [{pending.correlation_id}]")
    assert len(world.github.runs) == 1
    to_champion(world)


def test_a_run_that_was_started_though_the_answer_was_lost_is_adopted(world: GateWorld) -> None:
    world.github.faults.add(DISPATCH, drop=True, carry_out=True)
    world.train()
    world.settle()
    asked = world.promotion(Phase.REQUESTED)
    assert "the connection broke" in (asked.retry.last_error or "")
    assert asked.request is not None
    world.github.faults.clear()
    world.wait(seconds=5)
    pending = world.promotion(Phase.PENDING_APPROVAL)
    assert [str(run.id) for run in world.github.runs] == [world.run_id_of(pending)]
    assert dispatches(world) == 1
    to_champion(world)


def test_a_run_that_was_started_though_github_answered_500_is_adopted(world: GateWorld) -> None:
    world.github.faults.add(DISPATCH, status=500, carry_out=True, times=1)
    world.train()
    world.settle()
    world.wait(seconds=5)
    world.promotion(Phase.PENDING_APPROVAL)
    assert (len(world.github.runs), dispatches(world)) == (1, 1)


def test_a_call_that_was_lost_on_its_way_is_repeated_once_it_is_certain(world: GateWorld) -> None:
    world.github.faults.add(DISPATCH, drop=True, times=1)
    world.train()
    world.settle()
    for _ in range(4):
        world.wait(seconds=20)
    assert world.github.runs == []
    world.wait(seconds=30)
    world.wait(seconds=10)
    world.promotion(Phase.PENDING_APPROVAL)
    assert (len(world.github.runs), dispatches(world)) == (1, 2)


def test_a_run_that_appears_too_late_is_the_one_and_its_double_is_cancelled(world: GateWorld) -> None:
    world.github.faults.add(DISPATCH, drop=True, carry_out=True, times=1)
    world.github.faults.add(LIST, body=json.dumps({"total_count": 0, "workflow_runs": []}))
    world.train()
    world.settle()
    for _ in range(14):
        world.wait(seconds=10)
    assert dispatches(world) == 2
    world.github.faults.clear()
    world.wait(seconds=20)
    world.look()
    pending = world.promotion(Phase.PENDING_APPROVAL)
    first, second = world.github.runs
    assert {first.conclusion, second.conclusion} == {None, "cancelled"}
    assert world.ci_run(pending).conclusion is None
    if world.ci_run(pending).status == "waiting":
        to_champion(world)
        assert world.models.champion() == "2"


def test_the_approval_of_a_doubled_run_is_not_believed(world: GateWorld) -> None:
    pending = world.ask()
    inputs = world.ci_run(pending).inputs
    double = world.github.dispatch(REPOSITORY, {**inputs}, login="champion-gate-bot")
    assert double.status == "pending", "nobody can decide in it while the first one waits"
    world.look()
    world.ended(pending, Phase.PENDING_APPROVAL)
    to_champion(world)
    assert world.github.run(double.id).conclusion == "cancelled"


def test_a_run_that_somebody_else_started_with_our_id_is_not_adopted(world: GateWorld) -> None:
    world.github.faults.add(DISPATCH, drop=True, times=1)
    world.train()
    world.settle()
    asked = world.promotion(Phase.REQUESTED)
    inputs = {
        "promotion_id": asked.id,
        "model": asked.model,
        "version": "2",
        "alias": "Champion",
        "evidence": "Looks great.",
        "environments": '["champion"]',
    }
    theirs = world.github.dispatch(REPOSITORY, inputs, login="stranger")
    world.github.review(theirs.id, "champion", "reviewer-1", approve=True)
    for _ in range(16):
        world.wait(seconds=10)
    pending = world.promotion(Phase.PENDING_APPROVAL)
    assert world.run_id_of(pending) != str(theirs.id)
    assert world.models.champion() == "1"


# --- refused, or never answered --------------------------------------------------------------------------


def test_a_refused_request_fails_with_the_reason_and_a_retry_asks_anew(world: GateWorld) -> None:
    workflow = world.github.repository(REPOSITORY).workflows["champion-gate.yml"]
    workflow.inputs = (*workflow.inputs, "ticket")
    world.train()
    world.settle()
    failed = world.promotion(Phase.FAILED)
    assert "Required input 'ticket' not provided" in failed.reason
    assert f"promotions retry {failed.id}" in failed.reason
    workflow.inputs = workflow.inputs[:-1]
    world.core.promotion_orders.retry(failed.id, actor="operator")
    world.settle()
    to_champion(world)
    assert len(world.github.runs) == 1


def test_a_cancel_that_comes_while_the_run_is_looked_for_cancels_it_too(world: GateWorld) -> None:
    world.github.faults.add(DISPATCH, drop=True, carry_out=True, times=1)
    world.train()
    world.settle()
    asked = world.promotion(Phase.REQUESTED)
    world.core.promotion_orders.cancel(asked.id, actor="operator", reason="Not this one.")
    world.settle()
    world.look()
    assert world.ended(asked, Phase.CANCELLED) == "Not this one."
    assert [run.conclusion for run in world.github.runs] == ["cancelled"]
