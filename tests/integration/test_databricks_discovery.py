"""Discovery (`/.well-known/databricks-config`) is best effort, to us as to the SDK: no run waits for it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from champion_gate.adapters.databricks.job_runs import DatabricksConnection, DatabricksJobRuns
from champion_gate.adapters.http.deadline import Timeouts
from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.promotion import Phase
from champion_gate.errors import VendorError, VendorRefusedError
from champion_gate_standins.databricks.server import Fault
from integration.databricks_fixtures import Workspace, workspace
from integration.gate_world import GateWorld, gate_world

DISCOVERY = "/.well-known/databricks-config$"
LOGIN = b"<!DOCTYPE html><html><head><title>Databricks - Sign In</title></head></html>"
PATIENT = Timeouts(connect=0.5, read=0.5, total=20)

FAULTS: dict[str, Callable[[], Fault]] = {
    "redirect": lambda: Fault(DISCOVERY, location="http://127.0.0.1:1/login.html"),
    "web page": lambda: Fault(DISCOVERY, body=LOGIN, content_type="text/html"),
    "web page with 403": lambda: Fault(DISCOVERY, status=403, body=LOGIN, content_type="text/html"),
    "403": lambda: Fault(DISCOVERY, status=403, error_code="PERMISSION_DENIED"),
    "404": lambda: Fault(DISCOVERY, status=404, error_code="ENDPOINT_NOT_FOUND"),
    "500": lambda: Fault(DISCOVERY, status=500),
    "another shape": lambda: Fault(DISCOVERY, body=b"[1]"),
    "nothing known": lambda: Fault(DISCOVERY, body=b"{}"),
    "dropped": lambda: Fault(DISCOVERY, drop=True),
    "hanging": lambda: Fault(DISCOVERY, hang=threading.Event()),
}
faults = pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)


@pytest.fixture
def databricks() -> Iterator[Workspace]:
    with workspace() as found:
        yield found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path) as found:
        yield found


def read_a_run(databricks: Workspace, connection: DatabricksConnection) -> str | None:
    jobs = databricks.standin.jobs
    run_id = jobs.start_run(jobs.add_job("train"))
    jobs.finish_run(run_id, notify=False)
    return DatabricksJobRuns(connection).get_run(run_id).workspace_id


@pytest.mark.part("rest", "token-", "redirect")
@faults
@pytest.mark.parametrize("signs_in", [False, True], ids=["token", "service principal"])
def test_a_run_is_read_and_the_workspace_is_known(
    databricks: Workspace, fault: Callable[[], Fault], *, signs_in: bool
) -> None:
    databricks.standin.faults.add(fault())
    connect = databricks.as_service_principal if signs_in else databricks.connection
    connection = connect(timeouts=PATIENT)
    begun = time.monotonic()
    assert read_a_run(databricks, connection) == databricks.standin.workspace_id
    assert time.monotonic() - begun < PATIENT.total / 2
    assert DatabricksJobRuns(connection).workspace_id() == databricks.standin.workspace_id


def test_the_workspace_is_asked_for_where_no_answer_told_it_yet(databricks: Workspace) -> None:
    databricks.standin.faults.add(Fault(DISCOVERY, status=403))
    job_runs = DatabricksJobRuns(databricks.connection())
    assert job_runs.workspace_id() == databricks.standin.workspace_id
    assert job_runs.workspace_id() == databricks.standin.workspace_id
    assert databricks.paths() == ["/api/2.0/preview/scim/v2/Me"]


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_a_workspace_that_cannot_be_asked_for_its_id_has_none(databricks: Workspace, status: int) -> None:
    databricks.standin.faults.add(Fault(DISCOVERY, status=404))
    databricks.standin.faults.add(Fault("/scim/v2/Me$", status=status))
    assert DatabricksJobRuns(databricks.connection()).workspace_id() is None


def test_a_workspaces_id_that_is_given_needs_no_discovery(databricks: Workspace) -> None:
    databricks.standin.tells_workspace = False
    databricks.standin.faults.add(Fault(DISCOVERY, status=403))
    connection = databricks.connection(workspace_id="77")
    assert read_a_run(databricks, connection) == "77"
    assert DatabricksJobRuns(connection).workspace_id() == "77"


def test_an_id_that_is_not_the_workspaces_is_refused_in_words(databricks: Workspace) -> None:
    job_runs = DatabricksJobRuns(databricks.connection(workspace_id="77"))
    job_runs.jobs_named("train")
    with pytest.raises(
        VendorRefusedError, match="workspace 1234567890123456 answers our calls, not 77"
    ) as said:
        job_runs.workspace_id()
    assert "DATABRICKS_WORKSPACE_ID" in said.value.hint


def test_a_profile_with_a_browsers_address_is_refused_in_words(databricks: Workspace, tmp_path: Path) -> None:
    profile = tmp_path / "databrickscfg"
    profile.write_text(f"[copied]\nhost = {databricks.url}/?o=1\ntoken = standin-token\n")
    connection = Workspace.at(databricks.url).connection(
        token=None, host=None, config_file=str(profile), profile="copied"
    )
    with pytest.raises(VendorError) as said:
        connection.begin().read("/api/2.0/preview/scim/v2/Me")
    assert "as in a browser" in str(said.value)
    assert "DATABRICKS_WORKSPACE_ID" in str(said.value)


# --- the whole gate ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", [FAULTS["redirect"], FAULTS["web page"], FAULTS["403"]], ids=["302", "html", "403"]
)
def test_a_run_becomes_a_champion_although_discovery_fails(
    world: GateWorld, fault: Callable[[], Fault]
) -> None:
    world.databricks.faults.add(fault())
    pending = world.ask()
    world.approve(pending)
    world.look()
    world.ended(pending, Phase.PROMOTED)
    assert world.models.champion() == pending.version.version
    assert "not compared" not in world.notification(NotificationPhase.RESOLVED).reason


def test_a_run_of_another_workspace_is_ignored_although_discovery_fails(world: GateWorld) -> None:
    world.databricks.faults.add(Fault(DISCOVERY, status=403))
    run_id, _ = world.train_run()
    world.notify(run_id, workspace_id="99")
    world.settle()
    assert "from workspace 99" in world.notification(NotificationPhase.IGNORED).reason


def test_where_nothing_tells_the_workspace_that_is_said_and_stops_nothing(world: GateWorld) -> None:
    world.databricks.faults.add(Fault(DISCOVERY, status=404))
    world.databricks.tells_workspace = False
    pending = world.ask()
    assert "set DATABRICKS_WORKSPACE_ID" in world.notification(NotificationPhase.RESOLVED).reason
    world.approve(pending)
    world.look()
    world.ended(pending, Phase.PROMOTED)


def test_a_run_that_the_sweep_found_before_the_workspace_was_known_is_not_ignored(world: GateWorld) -> None:
    world.databricks.faults.add(Fault(DISCOVERY, status=404))
    world.databricks.tells_workspace = False
    world.sweep()
    world.clock.move(minutes=1)
    world.train_run()
    for look in world.core.sweep.run():
        world.core.sweep.look(look)
    world.databricks.faults.clear()
    world.databricks.tells_workspace = True
    world.settle()
    world.promotion(Phase.PENDING_APPROVAL)


def test_the_service_does_not_start_with_the_account_consoles_address(world: GateWorld) -> None:
    environ = {**world.environ, "DATABRICKS_HOST": "https://accounts.azuredatabricks.net", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-m", "champion_gate", "serve"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "DATABRICKS_HOST: found 'https://accounts.azuredatabricks.net'" in done.stderr
