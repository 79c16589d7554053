"""From a notification to a model that serves: one gate with everything around a promotion, as a served process."""

from __future__ import annotations

from pathlib import Path

import pytest

from champion_gate.domain.steps import StepKind
from integration.mlflow_server import MlflowServer
from integration.process_world import process_world
from integration.whole_way import CHALLENGER, whole_way

pytest_plugins = ("integration.mlflow_fixtures",)

pytestmark = pytest.mark.part("rest")


def test_on_unity_catalog_a_notification_leads_to_a_batch_run_and_an_endpoint(tmp_path: Path) -> None:
    with process_world(tmp_path) as world:
        way = whole_way(world)
        world.serve()
        world.train()
        way.assert_all_done_once()
        kinds = list(way.steps())
        order = [StepKind.VALIDATE, StepKind.CHALLENGER, StepKind.COPY, StepKind.JOB, StepKind.ENDPOINT]
        assert [kind for kind in kinds if kind in order] == order
        steps = [line.entry.facts["kind"] for line in world.ledger() if line.entry.kind.value == "step"]
        assert {"validate", "copy", "job", "endpoint"} <= set(steps)


def test_on_an_mlflow_server_all_but_the_endpoint(tmp_path: Path, running_mlflow: MlflowServer) -> None:
    with process_world(tmp_path, "mlflow", running_mlflow) as world:
        way = whole_way(world)
        world.serve()
        world.train()
        way.assert_all_done_once()
        assert StepKind.ENDPOINT not in way.steps()
        assert StepKind.COPY in way.steps()
        registered = world.models.client.get_registered_model(world.models.model)  # type: ignore[attr-defined]
        assert CHALLENGER not in registered.aliases
