"""kill -9 of the real process while MLflow is asked to copy: it is done once. `test_storms.py` has all other steps."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from flask import Flask, Response, request

from champion_gate_standins.common.server import serve
from integration.gate_models import MlflowModels
from integration.mlflow_server import MlflowServer, handed_on
from integration.process_world import process_world
from integration.whole_way import whole_way

pytest_plugins = ("integration.mlflow_fixtures",)

pytestmark = [pytest.mark.part("full"), pytest.mark.timeout(300)]


class HeldMlflow:
    """A proxy before MLflow that holds up the first call that copies, before or after it is carried out.

    Attributes:
        held: set while it does.
        let_go: ends it.
    """

    def __init__(self, uri: str, *, reaches: bool) -> None:
        self.held = threading.Event()
        self.let_go = threading.Event()
        self.app = Flask("held-mlflow")
        self._uri = uri
        self._reaches = reaches
        for rule in ("/", "/<path:_path>"):
            self.app.route(rule, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])(self._hand_on)

    def _hand_on(self, _path: str = "") -> Response:
        body = request.get_data()
        copies = request.path.endswith("/model-versions/create") and b'"models:/' in body
        if copies and not self.held.is_set() and not self._reaches:
            self.held.set()
            self.let_go.wait(120)
            return Response(status=503)
        answer = handed_on(self._uri)
        if copies and not self.held.is_set():
            self.held.set()
            self.let_go.wait(120)
        return answer


@pytest.mark.parametrize("reaches", [False, True])
def test_killed_while_mlflow_is_asked_to_copy(
    tmp_path: Path, running_mlflow: MlflowServer, *, reaches: bool
) -> None:
    proxy = HeldMlflow(running_mlflow.uri, reaches=reaches)
    with (
        serve(proxy.app) as url,
        process_world(tmp_path, "mlflow", MlflowServer(url, running_mlflow.database)) as world,
    ):
        way = whole_way(world)
        served = world.serve()
        world.train()
        way.approve_until(proxy.held.is_set)
        served.kill()
        proxy.let_go.set()
        world.serve()
        way.assert_all_done_once()
        destination = way.destination
        assert isinstance(destination, MlflowModels)
        copies = destination.client.search_model_versions(f"name='{destination.model}'")
        assert sorted(str(each.version) for each in copies) == ["1", "2"]
