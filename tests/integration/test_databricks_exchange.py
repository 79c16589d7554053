"""Token exchanges that are never answered, and clients that were made while the workspace was half away."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from champion_gate.adapters.databricks.job_runs import DatabricksConnection
from champion_gate.adapters.http.deadline import Timeouts
from champion_gate.errors import VendorUnavailableError
from champion_gate_standins.databricks.server import Fault
from integration.databricks_fixtures import TOKEN, Workspace, workspace

ME = "/api/2.0/preview/scim/v2/Me"
DISCOVERY = "/.well-known/databricks-config$"
EXCHANGE = "oidc/v1/token"
QUICK = Timeouts(connect=0.5, read=0.5, total=1.5)
UNHURRIED = Timeouts(connect=5, read=10, total=30)


@pytest.fixture
def databricks() -> Iterator[Workspace]:
    with workspace() as found:
        yield found


def get(connection: DatabricksConnection) -> None:
    connection.begin().read(ME)


def no_call_is_left() -> None:
    """Those that were given up have an end of their own soon after."""
    deadline = time.monotonic() + 10
    for thread in threading.enumerate():
        if thread.name == "Databricks call":
            thread.join(deadline - time.monotonic())
            assert not thread.is_alive()


def seconds_until_it_works(connection: DatabricksConnection) -> float:
    begun = time.monotonic()
    for _ in range(10):
        try:
            get(connection)
        except VendorUnavailableError:
            continue
        return time.monotonic() - begun
    raise AssertionError("it never works again")


@pytest.mark.parametrize("where", ["at the first call", "when the token has run out"])
def test_work_goes_on_after_an_exchange_that_is_never_answered(databricks: Workspace, where: str) -> None:
    connection = databricks.as_service_principal(timeouts=QUICK, half_made_seconds=0)
    if where != "at the first call":
        databricks.standin.token_seconds = 0
        get(connection)
    swallowed = databricks.standin.faults.add(Fault(EXCHANGE, hang=threading.Event(), times=1))
    # Many wait at once, as they do behind one token source.
    waiting = [threading.Thread(target=seconds_until_it_works, args=[connection]) for _ in range(8)]
    for thread in waiting:
        thread.start()
    for thread in waiting:
        thread.join()
    assert swallowed.hits == 1
    assert seconds_until_it_works(connection) < 5
    no_call_is_left()


def test_work_goes_on_while_an_exchange_drips(databricks: Workspace) -> None:
    connection = databricks.as_service_principal(timeouts=QUICK, half_made_seconds=0)
    databricks.standin.token_seconds = 0
    get(connection)
    dripping = databricks.standin.faults.add(Fault(EXCHANGE, drip=threading.Event(), times=1))
    waiting = [threading.Thread(target=seconds_until_it_works, args=[connection]) for _ in range(8)]
    for thread in waiting:
        thread.start()
    for thread in waiting:
        thread.join()
    assert dripping.hits == 1
    assert seconds_until_it_works(connection) < 5


def test_work_goes_on_after_a_command_that_gives_no_token(databricks: Workspace, tmp_path: Path) -> None:
    """As `databricks auth token` and `az account get-access-token` do where they hang."""
    command = tmp_path / "databricks"
    token = {"access_token": TOKEN, "token_type": "Bearer", "expiry": "2099-01-01T00:00:00Z"}
    hangs_once = (
        f"if [ $1 = auth ] && [ ! -e {command}.asked ]; then touch {command}.asked; exec sleep 60; fi"
    )
    command.write_text(f"#!/bin/sh\n{hangs_once}\necho '{json.dumps(token)}'\nexit\n{'#' * 2**20}\n")
    command.chmod(0o755)
    connection = databricks.connection(
        token=None,
        auth_type="databricks-cli",
        databricks_cli_path=str(command),
        timeouts=QUICK,
        half_made_seconds=0,
    )
    waiting = [threading.Thread(target=seconds_until_it_works, args=[connection]) for _ in range(8)]
    for thread in waiting:
        thread.start()
    for thread in waiting:
        thread.join()
    assert seconds_until_it_works(connection) < 5
    no_call_is_left()


def test_a_client_whose_call_was_given_up_is_not_used_again(databricks: Workspace) -> None:
    connection = databricks.connection(timeouts=Timeouts(connect=2, read=30, total=3))
    get(connection)
    host, given_up = connection.host, connection._client  # noqa: SLF001 - nobody outside can tell two clients apart
    databricks.standin.faults.add(Fault(ME, hang=threading.Event(), times=1))
    with pytest.raises(VendorUnavailableError):
        get(connection)
    assert connection.host == host
    get(connection)
    assert connection._client is not given_up  # noqa: SLF001


def test_a_discovery_that_failed_once_is_made_up_for(databricks: Workspace) -> None:
    connection = databricks.connection(timeouts=UNHURRIED, half_made_seconds=0)
    databricks.standin.tells_workspace = False
    databricks.standin.faults.add(Fault(DISCOVERY, status=503, times=1))
    get(connection)
    assert connection.workspace_id is None
    get(connection)
    assert connection.workspace_id == databricks.standin.workspace_id


def test_a_whole_client_is_kept(databricks: Workspace) -> None:
    connection = databricks.connection(timeouts=UNHURRIED, half_made_seconds=0)
    for _ in range(3):
        get(connection)
    asked = [each.path for each in databricks.standin.requests if each.path.startswith("/.well-known")]
    assert len(asked) == 1


def test_a_client_made_late_and_without_discovery_replaces_no_whole_one(databricks: Workspace) -> None:
    connection = databricks.as_service_principal(timeouts=UNHURRIED, half_made_seconds=0)
    slow = threading.Event()
    discovery = databricks.standin.faults.add(Fault(DISCOVERY, hang=slow, status=503, times=1))
    late = threading.Thread(target=get, args=[connection])
    late.start()
    while not discovery.hits:
        time.sleep(0.01)
    get(connection)
    whole = connection._client  # noqa: SLF001 - nobody outside can tell two clients apart
    slow.set()
    late.join()
    assert connection._client is whole  # noqa: SLF001
    assert connection.workspace_id == databricks.standin.workspace_id


@pytest.mark.part("rest")
def test_no_refresh_in_the_background_keeps_a_process_from_ending(databricks: Workspace) -> None:
    databricks.standin.token_seconds = 30  # stale at once, so that the SDK would refresh it beside the call
    script = f"""
from champion_gate.adapters.databricks.job_runs import connect
settings = {json.dumps({"host": databricks.url, "client_id": "standin-client", "client_secret": "standin-secret"})}
connection = connect(product_version="0", config_overrides=settings)
for _ in range(3):
    connection.begin().read({ME!r})
import threading
print([t.name for t in threading.enumerate() if t is not threading.main_thread() and not t.daemon])
"""
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout.strip() == "[]"
