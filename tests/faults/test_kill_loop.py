"""kill -9 again and again, at moments that nobody chose, with several promotions under way."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from champion_gate.domain.promotion import Phase
from champion_gate_standins.databricks.server import Hook
from integration.gate_models import TRAINER
from integration.process_world import PATIENCE, ProcessWorld, Served, process_world

MODELS = 6
QUIET_SECONDS = 0.5


def add_model(world: ProcessWorld, number: int) -> tuple[str, str]:
    """A model with a Champion v1, and the job that trains it: (model, job id)."""
    model, catalog = f"main.ml.m{number}", world.databricks.catalog
    catalog.add_model(model)
    catalog.set_alias(model, "Champion", catalog.add_version(model))
    hook = Hook(f"{world.url}/hooks/databricks", *world.hook_credentials)
    job = world.databricks.jobs.add_job(f"train-{number}", run_as=TRAINER, creator=TRAINER, hook=hook)
    return model, job


def train(world: ProcessWorld, model: str, job_id: str) -> None:
    """A run that ends well and tells about it; who does not listen has only the sweep."""
    jobs, catalog = world.databricks.jobs, world.databricks.catalog
    run_id = jobs.start_run(job_id)
    tags = {
        "mlflow.databricks.jobID": job_id,
        "mlflow.databricks.jobRunID": jobs.task_run_id(run_id, "train"),
    }
    catalog.add_version(model, run_id=catalog.add_mlflow_run(metrics={"f1": 0.91}, tags=tags))
    jobs.finish_run(run_id)


def approve_all(world: ProcessWorld) -> None:
    """Reviewers approve whatever waits, whether or not the service is there to hear of it."""
    for run in world.github.runs:
        if run.waiting_jobs() and not run.cancelled:
            world.github.review(run.id, "champion", "reviewer-1", approve=True)


def let_pass(world: ProcessWorld, served: Served, requests: int) -> None:
    """Return after so many more requests to the vendors, or when nothing more happens after the first."""

    def count() -> int:
        return len(world.databricks.requests) + len(world.github.faults.requests)

    begun = seen = count()
    moved_at = time.monotonic()
    while seen - begun < requests:
        assert served.process.poll() is None, served.output()
        if time.monotonic() - moved_at > (QUIET_SECONDS if seen > begun else PATIENCE):
            return
        time.sleep(0.005)
        if (now := count()) != seen:
            seen, moved_at = now, time.monotonic()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "kills",
    [pytest.param(3, marks=pytest.mark.part("rest")), pytest.param(8, marks=pytest.mark.part("full"))],
)
def test_no_promotion_is_lost_under_many_kills(tmp_path: Path, kills: int) -> None:
    chosen = random.Random(20261122)
    with process_world(tmp_path) as world:
        jobs = dict(add_model(world, number) for number in range(MODELS))
        world.write_gates(
            *(world.gate(name=m.replace(".", "-"), jobs=[int(job)], model=m) for m, job in jobs.items())
        )
        world.impatient = True
        served = world.serve()
        waiting = list(jobs.items())
        for _ in range(kills):
            for model, job_id in waiting[:1]:
                train(world, model, job_id)
            del waiting[:1]
            let_pass(world, served, chosen.randrange(2, 60))
            served.kill()
            if chosen.random() < 0.5:
                approve_all(world)
            served = world.launch().wait_until_alive()
        for model, job_id in waiting:
            train(world, model, job_id)
        deadline = time.monotonic() + 200
        while [p.phase for p in world.promotions()] != [Phase.PROMOTED] * MODELS:
            assert time.monotonic() < deadline, world.story()
            approve_all(world)
            time.sleep(0.2)
        assert {p.model for p in world.promotions()} == set(jobs)
        for model in jobs:
            assert world.databricks.catalog.alias(model, "Champion") == "2"
        assert sorted(world.databricks.catalog.alias_writes) == [(model, "Champion", 2) for model in jobs]
        assert len([run for run in world.github.runs if not run.cancelled]) == MODELS
        assert [move[:2] for move in world.moves() if move[2] == "reviewer-1"] == [("1", "2")] * MODELS
