"""kill -9 of the real process at each call that does something around a promotion: it is done, and done once."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from flask import Flask, Response, request

from champion_gate_standins.common.server import serve
from champion_gate_standins.databricks.server import Fault
from integration.gate_models import MlflowModels
from integration.mlflow_server import MlflowServer
from integration.process_world import process_world, until
from integration.whole_way import CHALLENGER, whole_way

pytest_plugins = ("integration.mlflow_fixtures",)

pytestmark = [pytest.mark.part("full"), pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Call:
    """One of the calls of the way.

    Attributes:
        skip: how many calls like it pass before.
    """

    name: str
    path: str
    method: str
    skip: int = 0

    def __str__(self) -> str:
        return self.name


RUN_NOW = "/jobs/run-now$"
CALLS = [
    Call("validation", RUN_NOW, "POST"),
    Call("challenger", f"/aliases/{CHALLENGER}$", "PUT"),
    Call("copy", RUN_NOW, "POST", skip=1),
    Call("alias", "/aliases/Champion$", "PUT"),
    Call("challenger's removal", f"/aliases/{CHALLENGER}$", "DELETE"),
    Call("batch", RUN_NOW, "POST", skip=2),
    Call("endpoint", "/config$", "PUT"),
]
IN_CI = {("copy", True), ("endpoint", False)}


@pytest.mark.parametrize(
    ("call", "reaches"),
    [
        pytest.param(call, reaches, marks=[pytest.mark.part("rest")] if (call.name, reaches) in IN_CI else [])
        for call in CALLS
        for reaches in (False, True)
    ],
    ids=str,
)
def test_killed_while_a_call_is_on_its_way(tmp_path: Path, call: Call, *, reaches: bool) -> None:
    """It is lost, or it is carried out and nobody is there to hear of it."""
    with process_world(tmp_path) as world:
        way = whole_way(world)
        hang = threading.Event()
        fault = world.databricks.faults.add(
            Fault(call.path, call.method, skip=call.skip, hang=hang, drop=not reaches, times=1)
        )
        served = world.serve()
        world.train()
        way.approve_until(lambda: fault.hits)
        before = way.done()
        served.kill()
        hang.set()
        if reaches:
            until(lambda: way.done() > before, "what had been sent was not carried out")
        world.serve()
        way.assert_all_done_once()


@pytest.mark.parametrize(
    ("call", "look"),
    [
        *((call, "/jobs/runs/get$") for call in CALLS if call.path == RUN_NOW),
        (CALLS[-1], "/serving-endpoints/[^/]+$"),
    ],
    ids=str,
)
def test_killed_while_it_looks_what_a_call_has_come_to(tmp_path: Path, call: Call, look: str) -> None:
    """The call was answered, and what it has begun may have ended meanwhile."""
    with process_world(tmp_path) as world:
        way = whole_way(world)
        hang = threading.Event()
        fault = world.databricks.faults.add(Fault(call.path, call.method, skip=call.skip, hang=hang, times=1))
        served = world.serve()
        world.train()
        way.approve_until(lambda: fault.hits)
        hanging = world.databricks.faults.add(Fault(look, "GET", hang=threading.Event(), drop=True))
        hang.set()
        until(lambda: hanging.hits, way.story)
        served.kill()
        world.databricks.faults.clear()
        world.serve()
        way.assert_all_done_once()


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
        answer = requests.request(
            request.method,
            f"{self._uri}{request.full_path}",
            data=body,
            headers={"Content-Type": request.content_type or "application/json"},
            timeout=60,
        )
        if copies and not self.held.is_set():
            self.held.set()
            self.let_go.wait(120)
        return Response(answer.content, answer.status_code, content_type=answer.headers.get("Content-Type"))


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
