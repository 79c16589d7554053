"""Killed before or after any of its writes, the service makes one validation run of a version, and goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from champion_gate.domain.promotion import Phase
from integration.gate_crashes import DiesAtWrite, StoreBetween, start_with
from integration.gate_world import GateWorld, gate_world
from integration.test_validation import NAMES, VALIDATOR, said

pytestmark = pytest.mark.spread(4)

LAST = 26
"""How many writes a validated promotion takes; one more is never reached."""
QUICK = {("before", 8), ("after", 8), ("before", 9), ("after", 9)}
"""Around the call that starts the run."""


def job_of(world: GateWorld) -> str:
    jobs = world.databricks.jobs
    job = jobs.add_job("validate-churn", run_as=VALIDATOR, parameters=dict.fromkeys(NAMES, ""))
    world.databricks.starts.set_course(job, said=lambda _given: {"main": said()})
    world.reconfigure(validation={"job": int(job), "parameters": {"sample": "full"}})
    return job


def approve_what_waits(world: GateWorld) -> None:
    for promotion in world.store.pending_promotions():
        if world.ci_run(promotion).status == "waiting":
            world.approve(promotion)


@pytest.mark.parametrize(
    ("when", "number"),
    [
        pytest.param(when, number, marks=[] if (when, number) in QUICK else [pytest.mark.part("rest")])
        for when in ("before", "after")
        for number in range(1, LAST + 2)
    ],
)
def test_a_crash_at_any_write_leads_to_one_run(tmp_path: Path, when: str, number: int) -> None:
    with gate_world(tmp_path) as world:
        job = job_of(world)
        run_id, _ = world.train_run()
        world.notify(run_id)
        dies = DiesAtWrite(number)
        start_with(world, StoreBetween(world.store, **{when: dies}))
        try:
            world.settle()
            approve_what_waits(world)
            world.wait(seconds=5)
        except SystemExit:
            world.start()
            world.store.release_all_leases()
        for _ in range(3):
            world.settle()
            approve_what_waits(world)
            world.wait(minutes=11)

        assert dies.died is (number <= LAST), dies.left
        promoted = world.promotion(Phase.PROMOTED)
        assert len(world.databricks.starts.runs_of(job)) == 1
        assert world.models.champion() == "2"
        assert world.databricks.catalog.alias_writes == [("main.ml.churn", "Champion", 2)]
        assert [run.conclusion for run in world.github.runs] == ["success"]
        kinds = sorted(kind for kind, _ in world.ledger())
        assert kinds == ["alias_change", "alias_change", "decision", "step"]
        assert world.store.open_steps(promoted.id) == ()


@pytest.mark.parametrize("path", ["run-now", pytest.param("runs/get$", marks=pytest.mark.part("rest"))])
@pytest.mark.parametrize("how", [{"lose_answer": True}, {"status": 503}, {"status": 429}], ids=str)
def test_a_call_whose_answer_is_lost_leads_to_one_run(
    tmp_path: Path, path: str, how: dict[str, object]
) -> None:
    with gate_world(tmp_path) as world:
        job = job_of(world)
        world.train()
        world.break_databricks(path, times=1, **how)
        world.live(minutes=5)
        assert world.promotion().phase is Phase.PENDING_APPROVAL
        assert len(world.databricks.starts.runs_of(job)) == 1
