"""Asking by hand: the same question, by the same rules, to the same people."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from champion_gate.domain.aliases import Order
from champion_gate.domain.callers import Caller, Role
from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.errors import ConflictError, InvalidInputError, NotFoundError
from champion_gate.flow.operator_aliases import NoSuchVersionError
from integration.gate_world import GATE, GateWorld, gate_world

OPERATOR = Caller("ops", Role.OPERATOR, "API token t1")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path) as made:
        yield made


def ask(world: GateWorld, version: str, run_id: str | None = None, gate: str = "churn") -> Promotion:
    return world.core.promotion_orders.ask(gate, version, job_run_id=run_id, caller=OPERATOR, reason="please")


def test_a_version_that_nobody_told_about_is_asked_for_with_its_job_run(world: GateWorld) -> None:
    run_id, version = world.train_run()
    asked = ask(world, version, run_id)
    assert (asked.phase, asked.reason) == (Phase.REQUESTED, "ops asks by hand: please")
    assert {(each.role, each.name) for each in asked.trainers} >= {("job run creator", "trainer@example.com")}
    world.settle()
    pending = world.promotion(Phase.PENDING_APPROVAL)
    assert [each.login for each in pending.excluded] == ["octo-trainer"] * len(pending.excluded)
    assert pending.excluded
    world.approve(pending)
    world.look()
    world.ended(pending, Phase.PROMOTED)


def test_a_version_that_was_promoted_and_rolled_back_is_asked_for_afresh(world: GateWorld) -> None:
    pending = world.ask()
    world.approve(pending)
    world.look()
    orders = world.core.alias_orders
    orders.roll_back(world.models.model, "Champion", Order(OPERATOR, "slow"))
    orders.release(world.models.model, "Champion", caller=OPERATOR, reason="it was the network")
    fresh = ask(world, "2")
    assert fresh.id != pending.id
    assert fresh.trainers == world.again(pending).trainers
    world.settle()
    assert world.again(fresh).phase is Phase.PENDING_APPROVAL


def test_what_asks_already_is_not_asked_for_twice(world: GateWorld) -> None:
    pending = world.ask()
    with pytest.raises(ConflictError, match=pending.id):
        ask(world, "2")
    with pytest.raises(ConflictError, match=pending.id):
        ask(world, "2", pending.job_run_id)
    assert len(world.promotions()) == 1


def test_a_version_that_never_asked_needs_its_job_run(world: GateWorld) -> None:
    _, version = world.train_run()
    with pytest.raises(InvalidInputError, match="job_run_id"):
        ask(world, version)


def test_a_run_that_did_not_make_the_version_is_refused(world: GateWorld) -> None:
    _, version = world.train_run()
    other, _ = world.train_run()
    with pytest.raises(ConflictError, match="nothing shows that this run made it"):
        ask(world, version, other)
    assert world.promotions() == ()


def test_a_run_of_a_job_that_the_gate_does_not_watch_is_refused(world: GateWorld) -> None:
    job = world.databricks.jobs.add_job("other", creator="a@example.com", run_as="a@example.com")
    run_id = world.databricks.jobs.start_run(job)
    task = world.databricks.jobs.task_run_id(run_id, "train")
    version = world.models.train(job, task, {"f1": 0.9})
    world.databricks.jobs.finish_run(run_id, "SUCCESS", notify=False)
    with pytest.raises(ConflictError, match="does not watch job"):
        ask(world, version, run_id)


@pytest.mark.parametrize("result", ["FAILED", "CANCELED"])
def test_a_run_that_did_not_succeed_is_refused(world: GateWorld, result: str) -> None:
    run_id, version = world.train_run(result=result)
    with pytest.raises(ConflictError, match=r"did not succeed|not known to be a success"):
        ask(world, version, run_id)


def test_names_that_are_not_there_are_told_apart(world: GateWorld) -> None:
    with pytest.raises(NotFoundError, match="no gate 'fraud'"):
        ask(world, "1", gate="fraud")
    with pytest.raises(NoSuchVersionError):
        ask(world, "77")
    run_id, version = world.train_run()
    with pytest.raises(ConflictError, match="no job run"):
        ask(world, version, str(int(run_id) + 5000))


def test_the_metric_rules_hold_for_what_is_asked_by_hand(world: GateWorld) -> None:
    run_id, version = world.train_run({"f1": 0.1})
    asked = ask(world, version, run_id)
    world.settle()
    assert "f1" in world.ended(asked, Phase.INELIGIBLE)


def test_a_replayed_notification_is_resolved_once_more_and_reopens_nothing(world: GateWorld) -> None:
    pending = world.ask()
    world.reject(pending)
    world.look()
    world.ended(pending, Phase.REJECTED)
    (before,) = world.notifications()
    assert world.core.promotion_orders.replay(before.id).phase is NotificationPhase.RECEIVED
    world.settle()
    (after,) = world.notifications()
    assert (after.count, after.phase) == (before.count + 1, NotificationPhase.RESOLVED)
    assert [p.phase for p in world.promotions()] == [Phase.REJECTED]
    with pytest.raises(NotFoundError):
        world.core.promotion_orders.replay("nothing")


def untagged_version(world: GateWorld, user: str = "trainer@example.com") -> str:
    """A version without job tags, which only its maker and its time link to a run."""
    catalog = world.databricks.catalog
    run = catalog.add_mlflow_run(metrics={"f1": 0.95}, user=user, tags={})
    return catalog.add_version(world.models.model, run_id=run, created_by=user)


def test_another_run_does_not_change_who_stands_behind_a_version(world: GateWorld) -> None:
    jobs = world.databricks.jobs
    first, second = jobs.start_run(world.job_id), jobs.start_run(world.job_id)
    version = untagged_version(world)
    for run in (first, second):
        jobs.finish_run(run, "SUCCESS", notify=False)
    asked = ask(world, version, first)
    world.settle()
    world.core.promotion_orders.cancel(asked.id, actor="ops", reason="again")
    world.settle()
    with pytest.raises(ConflictError, match=f"came from job run {first}"):
        ask(world, version, second)


def test_a_version_that_belongs_to_one_gate_is_not_asked_for_through_a_laxer_one(world: GateWorld) -> None:
    jobs = world.databricks.jobs
    other_job = jobs.add_job("lax", creator="trainer@example.com", run_as="trainer@example.com")
    strict = {**GATE, "approval": world.approval, "model": world.models.model, "jobs": [int(world.job_id)]}
    world.write_gates([strict, {**strict, "name": "lax", "jobs": [int(other_job)]}])
    runs = jobs.start_run(world.job_id), jobs.start_run(other_job)
    version = untagged_version(world)
    for run in runs:
        jobs.finish_run(run, "SUCCESS", notify=False)
    asked = ask(world, version, runs[0])
    world.settle()
    world.reject(asked)
    world.look()
    world.ended(asked, Phase.REJECTED)
    with pytest.raises(ConflictError, match="belongs to gate churn"):
        ask(world, version, runs[1], gate="lax")


def test_a_job_that_the_gate_has_dropped_is_not_asked_for_again(world: GateWorld) -> None:
    pending = world.ask()
    world.reject(pending)
    world.look()
    other = world.databricks.jobs.add_job("other", creator="a@example.com", run_as="a@example.com")
    world.reconfigure(jobs=[int(other)])
    with pytest.raises(ConflictError, match="does not watch job"):
        ask(world, "2")
    with pytest.raises(ConflictError, match="does not watch job"):
        world.core.promotion_orders.retry(pending.id, actor="ops")
