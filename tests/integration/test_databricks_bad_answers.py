"""Ids that are none, and answers of the Jobs API that make no sense."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from champion_gate.adapters.databricks.job_runs import DatabricksJobRuns
from champion_gate.errors import (
    InvalidInputError,
    VendorNotFoundError,
    VendorRefusedError,
    VendorUnavailableError,
)
from champion_gate_standins.databricks.server import Fault
from integration.databricks_fixtures import Workspace, workspace

NOW = datetime.fromtimestamp(1_764_000_000, UTC)


@pytest.fixture
def databricks() -> Iterator[Workspace]:
    with workspace() as found:
        yield found


@pytest.fixture
def job_runs(databricks: Workspace) -> DatabricksJobRuns:
    return DatabricksJobRuns(databricks.connection())


@pytest.mark.parametrize("bad", ["", "abc", "1/../2", "1?x=1", "-1", "1 ", "²", "9" * 20])
def test_an_id_that_is_no_number_never_leaves_the_house(
    databricks: Workspace, job_runs: DatabricksJobRuns, bad: str
) -> None:
    with pytest.raises(InvalidInputError):
        job_runs.list_ended_runs(bad, NOW)
    with pytest.raises(InvalidInputError):
        job_runs.get_run(bad)
    assert not any("runs" in path for path in databricks.paths())


def test_a_run_that_is_not_there_is_not_found(job_runs: DatabricksJobRuns) -> None:
    with pytest.raises(VendorNotFoundError, match="does not exist"):
        job_runs.get_run("12345")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b'"text"',
        b"[]",
        b"{}",
        b"null",
        b'{"run_id": 1}',
        b'{"run_id": "../x", "job_id": 1}',
        b'{"run_id": 5, "job_id": 1, "tasks": {"a": 1}}',
        b'{"run_id": 5, "job_id": 1, "tasks": ["a"]}',
        b'{"run_id": 5, "job_id": 1, "tasks": [{"run_id": "x"}]}',
        b'{"run_id": 5, "job_id": 1, "tasks": [{"run_id": 10000000000000000000}]}',
        b'{"run_id": 5, "job_id": true}',
        b'{"run_id": 5, "job_id": 1, "end_time": "soon"}',
        b'{"run_id": 5, "job_id": 1, "status": {"state": "TERMINATED"}, "repair_history": [{"type": "REPAIR"}]}',
    ],
)
def test_an_answer_that_makes_no_sense_is_retried_later(
    databricks: Workspace, job_runs: DatabricksJobRuns, body: bytes
) -> None:
    databricks.standin.jobs.add_job("train", job_id=1)
    databricks.standin.faults.add(Fault(path="runs/get$", body=body))
    with pytest.raises(VendorUnavailableError):
        job_runs.get_run("5")


def test_pages_that_never_end_are_refused(databricks: Workspace, job_runs: DatabricksJobRuns) -> None:
    databricks.standin.faults.add(Fault(path="jobs/list", body=b'{"next_page_token": "1"}'))
    with pytest.raises(VendorRefusedError, match="same page as its next one again"):
        job_runs.jobs_named("train")


def test_no_permission_on_the_job_is_final_and_says_what_to_do(
    databricks: Workspace, job_runs: DatabricksJobRuns
) -> None:
    jobs = databricks.standin.jobs
    run_id = jobs.start_run(jobs.add_job("train"))
    words = "User x does not have View or Admin or Manage Run or Owner permissions on job 1"
    databricks.standin.faults.add(
        Fault(path="runs/get$", status=403, error_code="PERMISSION_DENIED", message=words)
    )
    with pytest.raises(VendorRefusedError, match="does not have View") as caught:
        job_runs.get_run(run_id)
    assert "Config:" not in str(caught.value)
    assert "permission" in caught.value.hint


def test_a_workspace_that_nowhere_tells_its_id_has_none(databricks: Workspace) -> None:
    databricks.standin.tells_workspace = False
    databricks.standin.faults.add(Fault(path="databricks-config", status=404))
    assert DatabricksJobRuns(databricks.connection()).workspace_id() is None
