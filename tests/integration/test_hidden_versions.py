"""Registries leave out of lists what we may not use: an empty list of a model that can be read says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.promotion import Phase
from integration.api_world import VIEWER, api_world
from integration.gate_world import GateWorld, gate_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path) as found:
        yield found


def unresolved(world: GateWorld) -> str:
    world.train()
    world.live(minutes=5)
    assert world.promotions() == ()
    return world.notification(NotificationPhase.UNRESOLVED).reason


@pytest.mark.parametrize("version", ["auto", "mlflow_run", "tag"])
def test_versions_that_unity_catalog_hides_are_not_called_absent(world: GateWorld, version: str) -> None:
    world.reconfigure(version=version)
    catalog = world.databricks.catalog
    catalog.set_executable(world.models.model, executable=False)
    reason = unresolved(world)
    assert "although the model can be read, and Champion stands on v1" in reason
    assert "has EXECUTE on" in reason
    catalog.set_executable(world.models.model, executable=True)
    if version != "tag":
        world.notify(world.notification().notification.run_id)
        world.settle()
        world.promotion(Phase.PENDING_APPROVAL)


def test_the_api_says_so_of_an_empty_list_too(tmp_path: Path) -> None:
    with api_world(tmp_path) as api:
        shown = api.call("GET", "/api/v1/models/main.ml.churn", token=VIEWER).json()
        assert (len(shown["versions"]), shown["note"]) == (1, None)
        api.gate.databricks.catalog.set_executable("main.ml.churn", executable=False)
        hidden = api.call("GET", "/api/v1/models/main.ml.churn", token=VIEWER).json()
    assert hidden["versions"] == []
    assert "although the model can be read, and Champion stands on v1" in hidden["note"]
    assert "has EXECUTE on" in hidden["note"]


def test_a_model_that_is_hidden_too_is_told_from_one_without_versions(world: GateWorld) -> None:
    world.databricks.catalog.set_executable(world.models.model, executable=False)
    world.break_databricks("/models/main.ml.churn$", status=403, error_code="PERMISSION_DENIED", message="no")
    assert "the model itself cannot be read" in unresolved(world)


def test_where_versions_are_listed_nothing_is_said_of_it(world: GateWorld) -> None:
    world.reconfigure(version="tag")
    assert "although the model can be read" not in unresolved(world)


def test_an_mlflow_model_without_versions_says_what_may_be_missing(tmp_path: Path) -> None:
    with gate_world(tmp_path, "mlflow") as world:
        world.models.client.create_registered_model("empty")  # type: ignore[attr-defined]
        world.reconfigure(model="empty")
        reason = unresolved(world)
    assert "although the model can be read. " in reason
    assert "may READ" in reason
