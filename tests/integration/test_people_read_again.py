"""People who could not be read once are read again: by themselves, at a replay, a retry and an ask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from champion_gate.domain.callers import Caller, Role
from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.errors import ConflictError
from integration.gate_models import TRAINER
from integration.gate_world import GateWorld, gate_world

OPERATOR = Caller("ops", Role.OPERATOR, "API token t1")
JOB = "/api/2.2/jobs/get$"
SECOND = "second@example.com"


@pytest.fixture(params=["uc", pytest.param("mlflow", marks=pytest.mark.part("rest"))])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path, request.param) as made:
        made.databricks.jobs.run_job_as(made.job_id, SECOND)
        made.reconfigure(identities={TRAINER: "octo-trainer", SECOND: "reviewer-1"})
        yield made


def unread(world: GateWorld) -> Promotion:
    """A request that waits because the job cannot be read."""
    world.break_databricks(JOB, status=404)
    world.train()
    world.settle()
    waiting = world.promotion(Phase.REQUESTED)
    assert "The job run-as of this version was not told" in waiting.reason
    assert world.github.runs == []
    return waiting


def assert_second_may_not_decide(world: GateWorld, asked: Promotion) -> None:
    """People are asked, and whoever the job runs as is told apart and kept from deciding."""
    assert {each.login for each in world.again(asked).excluded} == {"octo-trainer", "reviewer-1"}
    world.approve(asked, "reviewer-1")
    world.look()
    assert "reviewer-1" in world.ended(asked, Phase.REJECTED)
    assert world.models.champion() == "1"


def test_a_job_that_was_not_there_once_holds_nothing_up(world: GateWorld) -> None:
    fault = world.break_databricks(JOB, status=404, times=1)
    world.train()
    world.settle()
    assert fault.hits == 1
    assert_second_may_not_decide(world, world.promotion(Phase.PENDING_APPROVAL))


def test_who_was_not_told_is_asked_for_again_while_it_waits(world: GateWorld) -> None:
    waiting = unread(world)
    world.wait(minutes=11)
    world.ended(waiting, Phase.REQUESTED)
    world.databricks.faults.clear()
    world.wait(minutes=11)
    world.ended(waiting, Phase.PENDING_APPROVAL)
    assert_second_may_not_decide(world, waiting)


def test_a_replay_reads_the_people_anew(world: GateWorld) -> None:
    waiting = unread(world)
    world.databricks.faults.clear()
    world.core.promotion_orders.replay(world.notification().id)
    world.settle()
    world.ended(waiting, Phase.PENDING_APPROVAL)
    assert_second_may_not_decide(world, waiting)


@pytest.mark.parametrize("by", ["retry", "ask"])
def test_whoever_asks_afresh_has_the_people_read_anew(world: GateWorld, by: str) -> None:
    waiting = unread(world)
    world.core.promotion_orders.cancel(waiting.id, actor="ops", reason="it waits")
    world.settle()
    world.ended(waiting, Phase.CANCELLED)
    world.databricks.faults.clear()
    if by == "retry":
        world.core.promotion_orders.retry(waiting.id, actor="ops", reason="again")
    else:
        world.core.promotion_orders.ask("churn", "2", job_run_id=None, caller=OPERATOR, reason="again")
    world.settle()
    assert_second_may_not_decide(world, world.promotion(Phase.PENDING_APPROVAL))


def test_who_was_known_is_not_forgotten_where_another_is_read_anew(world: GateWorld) -> None:
    waiting = unread(world)
    assert TRAINER in {each.name for each in waiting.trainers}
    world.databricks.faults.clear()
    world.wait(minutes=11)
    names = {each.name for each in world.again(waiting).trainers}
    assert {TRAINER, SECOND} <= names
    assert None not in names


def test_people_who_cannot_be_read_because_the_run_is_gone_are_said_to_be_so(world: GateWorld) -> None:
    waiting = unread(world)
    world.break_databricks("/api/2.2/jobs/runs/get$", status=404)
    world.wait(minutes=11)
    reason = world.ended(waiting, Phase.REQUESTED)
    assert f"There is no job run {waiting.job_run_id}" in reason
    assert f"champion-gate promotions cancel {waiting.id}" in reason
    world.core.promotion_orders.cancel(waiting.id, actor="ops", reason="it waits")
    world.settle()
    with pytest.raises(ConflictError, match="There is no job run"):
        world.core.promotion_orders.retry(waiting.id, actor="ops", reason="again")
    world.databricks.faults.clear()
    world.core.promotion_orders.retry(waiting.id, actor="ops", reason="again")


def test_a_gate_that_names_its_job_waits_for_a_job_whose_name_is_not_told(world: GateWorld) -> None:
    world.reconfigure(jobs=["train-churn"], identities={TRAINER: "octo-trainer", SECOND: "reviewer-1"})
    world.break_databricks(JOB, status=404, times=1)
    world.train()
    world.settle()
    waiting = world.notification(NotificationPhase.WAITING)
    assert "does not tell the name of job" in waiting.reason
    world.wait(minutes=3)
    assert_second_may_not_decide(world, world.promotion(Phase.PENDING_APPROVAL))


def test_a_job_that_stays_without_a_name_is_watched_by_no_gate(world: GateWorld) -> None:
    world.reconfigure(jobs=["train-churn"])
    world.break_databricks(JOB, status=404)
    world.train()
    world.live(hours=2)
    assert "which no gate watches" in world.notification(NotificationPhase.IGNORED).reason
