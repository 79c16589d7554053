"""Job runs whose MLflow runs log models with numbers of their own, on every registry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from integration.gate_models import Row
from integration.gate_world import GateWorld

# The first test that needs MLflow's server waits until it has started.
EVERY_REGISTRY = [
    "uc",
    "mlflow",
    pytest.param("server", marks=[pytest.mark.timeout(300), pytest.mark.part("rest")]),
]


def log_models(world: GateWorld, *models: Sequence[Row]) -> tuple[str, list[str]]:
    """A job run that ends well, and whose MLflow run logs these models one after the other.

    Returns:
        The job run, and the ids of the logged models.
    """
    run_id = world.databricks.jobs.start_run(world.job_id)
    task = world.databricks.jobs.task_run_id(run_id, "train")
    training = world.models.run(world.job_id, task)
    made = []
    for rows in models:
        model_id = world.models.log_model(training)
        if rows:
            world.models.measure(model_id, *rows)
        made.append(model_id)
    world.databricks.jobs.finish_run(run_id, "SUCCESS", notify=False)
    return run_id, made


def train_models(world: GateWorld, *models: Sequence[Row], register: int = 0) -> str:
    """The same, with one of the models registered and the notification sent; the version."""
    run_id, made = log_models(world, *models)
    version = world.models.register(made[register])
    world.notify(run_id)
    return version


def row_of(world: GateWorld, name: str) -> dict[str, Any]:
    """The only promotion's frozen row of a metric that the gate has a rule on."""
    document: Any = world.evidence(world.promotion())
    (row,) = (each for each in document["gate_metrics"]["rows"] if each["name"] == name)
    return dict(row)
