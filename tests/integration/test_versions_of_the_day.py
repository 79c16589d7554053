"""Looking for a run's version costs the same however many versions a day has, and holds its row as long as it takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.promotion import Phase
from integration.gate_crashes import StoreBetween, start_with
from integration.gate_models import TRAINER
from integration.gate_world import GateWorld, gate_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path) as made:
        yield made


def register(world: GateWorld, count: int) -> None:
    """Versions of other runs of the same job, made one a minute."""
    catalog = world.databricks.catalog
    tags = {"mlflow.databricks.jobID": world.job_id, "mlflow.databricks.jobRunID": "5"}
    for _ in range(count):
        run_id = catalog.add_mlflow_run(metrics={"f1": 0.9}, user=TRAINER, tags=tags)
        catalog.add_version(world.models.model, run_id=run_id, created_by=TRAINER)


def log_and_register(world: GateWorld, run_ids: list[str]) -> str:
    """Let each of these job runs log a model and register it; returns the last version."""
    jobs, models = world.databricks.jobs, world.models
    for run_id in run_ids:
        logged = models.log_model(models.run(world.job_id, jobs.task_run_id(run_id, "train"), {"f1": 0.95}))
        models.measure(logged, ("f1", 0.95))
        version = models.register(logged)
    return version


def calls_of_a_promotion(world: GateWorld, versions_of_the_day: int, hours: int = 2) -> int:
    """Calls to Databricks from the notification to the alias, of a run so long after those versions."""
    register(world, versions_of_the_day)
    world.clock.move(hours=hours)
    version = world.train({"f1": 0.95})
    before = len(world.databricks.requests)
    world.settle()
    pending = world.promotion(Phase.PENDING_APPROVAL)
    world.approve(pending)
    world.look()
    world.ended(pending, Phase.PROMOTED)
    assert world.models.champion() == version
    return len(world.databricks.requests) - before


def test_a_promotion_costs_as_many_calls_with_200_versions_of_the_day_as_with_two(tmp_path: Path) -> None:
    calls = {}
    for count in (2, 50, 200):
        (tmp_path / str(count)).mkdir()
        with gate_world(tmp_path / str(count)) as world:
            calls[count] = calls_of_a_promotion(world, count)
    assert calls[2] <= 24
    assert calls[200] == calls[50] == calls[2]


def test_versions_that_were_made_while_the_run_ran_cost_two_calls_more(tmp_path: Path) -> None:
    calls = {}
    for count in (0, 10, 90):
        (tmp_path / str(count)).mkdir()
        with gate_world(tmp_path / str(count)) as world:
            calls[count] = calls_of_a_promotion(world, count, hours=0)
    assert calls[10] == calls[90]
    assert calls[90] - calls[0] <= 2


def test_logged_models_of_the_same_time_cost_a_call_for_fifty(tmp_path: Path) -> None:
    calls = {}
    for count in (10, 90):
        (tmp_path / str(count)).mkdir()
        with gate_world(tmp_path / str(count)) as world:
            run_ids = [world.databricks.jobs.start_run(world.job_id) for _ in range(count)]
            version = log_and_register(world, run_ids)
            for run_id in run_ids:
                world.databricks.jobs.finish_run(run_id, "SUCCESS", notify=False)
            before = len(world.databricks.requests)
            world.notify(run_ids[-1])
            world.settle()
            assert world.promotion(Phase.PENDING_APPROVAL).version.version == version
            calls[count] = len(world.databricks.requests) - before
    assert calls[90] <= calls[10] + 2


@pytest.mark.part("rest", "drop", "body")
@pytest.mark.parametrize("fault", [{"status": 500}, {"drop": True}, {"body": b"<html>"}], ids=str)
def test_where_mlflow_runs_cannot_be_searched_they_are_read_one_by_one(
    world: GateWorld, fault: dict[str, object]
) -> None:
    run_id = world.databricks.jobs.start_run(world.job_id)
    searched = world.break_databricks("/mlflow/runs/search$", **fault)
    register(world, 10)
    version = world.models.train(
        world.job_id, world.databricks.jobs.task_run_id(run_id, "train"), {"f1": 0.95}
    )
    world.databricks.jobs.finish_run(run_id, "SUCCESS", notify=False)
    world.notify(run_id)
    world.settle()
    assert searched.hits
    assert world.promotion(Phase.PENDING_APPROVAL).version.version == version


def test_a_long_search_keeps_its_row(world: GateWorld) -> None:
    run_id = world.databricks.jobs.start_run(world.job_id)
    world.break_databricks("/mlflow/runs/search$", status=400)
    register(world, 120)
    version = world.models.train(
        world.job_id, world.databricks.jobs.task_run_id(run_id, "train"), {"f1": 0.95}
    )
    world.databricks.jobs.finish_run(run_id, "SUCCESS", notify=False)
    notification = world.notify(run_id)
    kept: list[object] = []

    def taken_by_another(name: str) -> None:
        if name == "keep_notification":
            kept.append(world.store.take_notification(notification, world.clock.now(), 60))

    start_with(world, StoreBetween(world.store, after=taken_by_another))
    answer = world.databricks.app.wsgi_app

    def a_second_later(*request: Any) -> Any:
        world.clock.move(seconds=1)
        return answer(*request)

    world.databricks.app.wsgi_app = a_second_later  # type: ignore[method-assign,assignment]
    world.core.resolver.resolve(notification)
    assert len(kept) >= 2
    assert set(kept) == {None}
    assert world.notification(NotificationPhase.RESOLVED).count == 1
    assert world.promotion().version.version == version


def test_a_long_turn_keeps_its_promotion(world: GateWorld) -> None:
    world.train()
    world.core.resolver.resolve(world.notification().id)
    requested = world.promotion(Phase.REQUESTED)
    kept: list[object] = []

    def a_while_later(name: str) -> None:
        if name in {"known_alias", "keep_promotion"}:
            world.clock.move(seconds=40)
        if name == "keep_promotion":
            kept.append(world.store.take_promotion(requested.id, world.clock.now(), 60))

    start_with(world, StoreBetween(world.store, after=a_while_later))
    world.core.promoter.advance(requested.id)
    world.ended(requested, Phase.PENDING_APPROVAL)
    assert len(kept) >= 3
    assert set(kept) == {None}
    assert len(world.github.runs) == 1


def test_an_attempt_goes_on_where_the_last_one_failed(world: GateWorld) -> None:
    run_id = world.databricks.jobs.start_run(world.job_id)
    world.break_databricks("/mlflow/runs/search$", status=400)
    register(world, 60)
    world.models.train(world.job_id, world.databricks.jobs.task_run_id(run_id, "train"), {"f1": 0.95})
    world.databricks.jobs.finish_run(run_id, "SUCCESS", notify=False)
    fault = world.break_databricks("/mlflow/runs/get$", skip=55, status=500)
    world.notify(run_id)
    world.settle()
    world.notification(NotificationPhase.WAITING)
    fault.times = 0
    before = len(world.databricks.requests)
    world.wait(seconds=5)
    world.notification(NotificationPhase.RESOLVED)
    reads = [each for each in world.databricks.requests[before:] if each.path.endswith("/mlflow/runs/get")]
    assert len(reads) < 15  # most were read before
