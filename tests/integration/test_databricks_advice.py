"""What a person is told about each answer of a Databricks workspace: one table of (answer, kind, advice)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from champion_gate.adapters.databricks.errors import InvalidRequestError
from champion_gate.adapters.databricks.job_runs import DatabricksConnection, DatabricksJobRuns
from champion_gate.adapters.databricks.unity_catalog import UnityCatalog
from champion_gate.domain.promotion import Phase
from champion_gate.errors import (
    ForbiddenError,
    VendorError,
    VendorNotFoundError,
    VendorRefusedError,
    VendorUnavailableError,
)
from champion_gate_standins.databricks.server import Fault
from integration.databricks_fixtures import Workspace, workspace
from integration.gate_world import gate_world

pytestmark = pytest.mark.spread(2)

MODEL = "main.ml.churn"
LOGIN = "<!DOCTYPE html>\n<html><head><title>Databricks - Sign In</title></head><body></body></html>"
OWNER, EXECUTE, EXPERIMENT, JOB = (
    "own the model",
    "EXECUTE on the model",
    "CAN READ on the MLflow experiment",
    "CAN VIEW on the job",
)
Call = Callable[[DatabricksConnection], object]

read_run: Call = lambda c: DatabricksJobRuns(c).get_run("5")  # noqa: E731
list_jobs: Call = lambda c: DatabricksJobRuns(c).jobs_named("train")  # noqa: E731
list_runs: Call = lambda c: DatabricksJobRuns(c).list_ended_runs("1", datetime.now(UTC))  # noqa: E731
list_versions: Call = lambda c: UnityCatalog(c).list_versions(MODEL)  # noqa: E731
read_alias: Call = lambda c: UnityCatalog(c).get_alias(MODEL, "Champion")  # noqa: E731
set_alias: Call = lambda c: UnityCatalog(c).set_alias(MODEL, "Champion", "1")  # noqa: E731
drop_alias: Call = lambda c: UnityCatalog(c).delete_alias(MODEL, "Champion")  # noqa: E731
set_tag: Call = lambda c: UnityCatalog(c).set_version_tag(MODEL, "1", "status", "x")  # noqa: E731
read_mlflow_run: Call = lambda c: UnityCatalog(c).get_training_run("abc")  # noqa: E731
ask_who: Call = lambda c: UnityCatalog(c).check()  # noqa: E731


@dataclass(frozen=True)
class Row:
    """An answer and what is made of it.

    Attributes:
        advice: stands in the hint.
        waits: work waits for the mending, as every call is answered so.
    """

    name: str
    call: Call
    status: int
    body: Any
    kind: type[VendorError]
    advice: str
    waits: bool = False

    @property
    def sent(self) -> bytes:
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()


def said(code: object, message: str) -> dict[str, object]:
    return {"error_code": code, "message": message}


DENIED = said("PERMISSION_DENIED", "User does not have the right")
LOST = said(403, "Source IP address: 192.0.2.7 is blocked by Databricks IP ACL for workspace: 1 [ReqId: d3]")
TABLE = [
    Row("owner", set_alias, 403, DENIED, ForbiddenError, OWNER),
    Row("owner, removing", drop_alias, 403, DENIED, ForbiddenError, OWNER),
    Row("tag", set_tag, 403, DENIED, ForbiddenError, "APPLY TAG"),
    Row("versions", list_versions, 403, DENIED, ForbiddenError, EXECUTE),
    Row("alias", read_alias, 403, DENIED, ForbiddenError, EXECUTE),
    Row("experiment", read_mlflow_run, 403, DENIED, ForbiddenError, EXPERIMENT),
    Row("run", read_run, 403, DENIED, ForbiddenError, JOB),
    Row("runs", list_runs, 403, DENIED, ForbiddenError, JOB),
    Row("jobs", list_jobs, 403, DENIED, ForbiddenError, JOB),
    Row("who", ask_who, 403, DENIED, ForbiddenError, "credentials"),
    Row("IP list", read_run, 403, LOST, VendorRefusedError, "IP access list", waits=True),
    Row("IP list, registry", set_alias, 403, LOST, VendorRefusedError, "IP access list", waits=True),
    Row(
        "token", read_run, 403, said(403, "Invalid access token."), VendorRefusedError, "expired", waits=True
    ),
    Row(
        "token, registry",
        set_alias,
        403,
        said(403, "Invalid access token. [ReqId: 1]"),
        VendorRefusedError,
        "expired",
        waits=True,
    ),
    Row(
        "no token",
        read_run,
        401,
        said("UNAUTHENTICATED", "Credential was not sent or was of an unsupported type for this API."),
        VendorRefusedError,
        "DATABRICKS_* credentials",
        waits=True,
    ),
    Row("401", read_alias, 401, {}, VendorRefusedError, "DATABRICKS_* credentials", waits=True),
    Row(
        "another workspace",
        read_run,
        403,
        said(403, "Invalid access to Org: 12"),
        VendorRefusedError,
        "not of this workspace",
        waits=True,
    ),
    Row(
        "not in the workspace",
        list_versions,
        403,
        said(403, "Unauthorized access to workspace: 12"),
        VendorRefusedError,
        "assigned to the workspace",
        waits=True,
    ),
    Row(
        "no such call",
        read_run,
        404,
        said("ENDPOINT_NOT_FOUND", "No API found for 'GET /jobs/runs/get'"),
        VendorRefusedError,
        "not the account's",
        waits=True,
    ),
    Row(
        "no metastore",
        list_versions,
        404,
        said("METASTORE_DOES_NOT_EXIST", "No metastore assigned for the current workspace."),
        VendorRefusedError,
        "assign a metastore",
        waits=True,
    ),
    Row(
        "switched off",
        list_versions,
        400,
        said("FEATURE_DISABLED", "Unity Catalog is not enabled."),
        VendorRefusedError,
        "switch it on",
        waits=True,
    ),
    Row(
        "gone run",
        read_run,
        400,
        said("INVALID_PARAMETER_VALUE", "Run 5 does not exist."),
        VendorNotFoundError,
        "may not see it",
    ),
    Row(
        "no model",
        list_versions,
        404,
        said("RESOURCE_DOES_NOT_EXIST", "Registered model 'main.ml.churn' does not exist."),
        VendorNotFoundError,
        "may not see it",
    ),
    Row(
        "no schema",
        read_alias,
        404,
        said("SCHEMA_DOES_NOT_EXIST", "Schema 'main.ml' does not exist."),
        VendorNotFoundError,
        "may not see it",
    ),
    Row(
        "bad value",
        set_alias,
        400,
        said("INVALID_PARAMETER_VALUE", "Alias is too long"),
        InvalidRequestError,
        "its words say what",
    ),
    Row(
        "malformed", set_tag, 400, said("MALFORMED_REQUEST", "no"), InvalidRequestError, "its words say what"
    ),
    Row("405", set_alias, 405, {}, VendorRefusedError, "DATABRICKS_HOST"),
    Row("407", read_run, 407, {}, VendorRefusedError, "HTTPS_PROXY", waits=True),
    Row("413", set_tag, 413, {}, VendorRefusedError, "client_max_body_size", waits=True),
    Row(
        "409",
        set_alias,
        409,
        said("RESOURCE_CONFLICT", "changed"),
        VendorUnavailableError,
        "tried again by itself",
    ),
    Row(
        "409 aborted",
        set_tag,
        409,
        said("ABORTED", "changed"),
        VendorUnavailableError,
        "tried again by itself",
    ),
    Row(
        "limit, writing",
        set_alias,
        429,
        said("REQUEST_LIMIT_EXCEEDED", "too many"),
        VendorUnavailableError,
        "rate limit",
    ),
    Row(
        "exhausted, writing",
        set_tag,
        429,
        said("RESOURCE_EXHAUSTED", "too many"),
        VendorUnavailableError,
        "rate limit",
    ),
    Row("500", read_run, 500, said("INTERNAL_ERROR", "oh"), VendorUnavailableError, "tried again by itself"),
    Row("501", read_run, 501, said("NOT_IMPLEMENTED", "oh"), VendorUnavailableError, "tried again"),
    Row("502 of a proxy", read_run, 502, LOGIN, VendorUnavailableError, "a login or a proxy"),
    Row(
        "503, writing",
        set_alias,
        503,
        said("TEMPORARILY_UNAVAILABLE", "oh"),
        VendorUnavailableError,
        "tried again by itself",
    ),
    Row("504", read_alias, 504, said("DEADLINE_EXCEEDED", "oh"), VendorUnavailableError, "tried again"),
    Row("login page", read_run, 200, LOGIN, VendorUnavailableError, "a login or a proxy"),
    Row("login page, registry", read_alias, 200, LOGIN, VendorUnavailableError, "a login or a proxy"),
    Row("login page, writing", set_alias, 200, LOGIN, VendorUnavailableError, "a login or a proxy"),
    Row("403 page", set_alias, 403, LOGIN, VendorRefusedError, "a login or a proxy", waits=True),
    Row("401 page", read_run, 401, LOGIN, VendorRefusedError, "a login or a proxy", waits=True),
    Row("404 of nobody", list_versions, 404, "", VendorRefusedError, "bare address", waits=True),
    Row("404 of a proxy", read_run, 404, "default backend - 404", VendorRefusedError, "bare", waits=True),
    Row("404 page", list_versions, 404, LOGIN, VendorRefusedError, "bare address", waits=True),
]


@pytest.fixture(scope="module")
def databricks() -> Iterator[Workspace]:
    with workspace() as found:
        yield found


@pytest.fixture(scope="module")
def connection(databricks: Workspace) -> DatabricksConnection:
    found = databricks.connection()
    found.begin().read("/api/2.0/preview/scim/v2/Me")
    return found


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_each_answer_has_its_kind_and_its_advice(
    databricks: Workspace, connection: DatabricksConnection, row: Row
) -> None:
    databricks.standin.faults.clear()
    databricks.standin.faults.add(Fault(".*", status=row.status, body=row.sent))
    with pytest.raises(VendorError) as caught:
        row.call(connection)
    error = caught.value
    assert type(error) is row.kind, error
    assert row.advice in error.hint, error
    assert getattr(error, "concerns_all", False) is row.waits
    assert "<" not in str(error)
    if row.body == LOGIN:
        assert f"was answered {row.status} with a web page in place of JSON" in error.message
    elif isinstance(row.body, dict) and "message" in row.body:
        assert str(row.body["message"]).rstrip(".") in error.message


@pytest.mark.parametrize(
    ("location", "advice"),
    [
        (
            "https://adb-1.2.azuredatabricks.net/login.html?o=1&error=private-link-validation-error:1",
            "Private Link",
        ),
        ("https://login.example.com/", "a login or a proxy"),
        ("/login.html", "a login or a proxy"),
    ],
)
def test_a_redirect_is_called_one(
    databricks: Workspace, connection: DatabricksConnection, location: str, advice: str
) -> None:
    databricks.standin.faults.clear()
    databricks.standin.faults.add(Fault(".*", location=location))
    with pytest.raises(VendorUnavailableError, match="answered with a redirect") as caught:
        read_run(connection)
    assert advice in caught.value.hint


def test_a_login_page_met_while_signing_in_is_called_one(databricks: Workspace) -> None:
    databricks.standin.faults.clear()
    databricks.standin.faults.add(Fault(".*", body=LOGIN.encode(), content_type="text/html"))
    with pytest.raises(VendorUnavailableError, match="a web page in place of JSON") as caught:
        databricks.as_service_principal().begin().read("/api/2.0/preview/scim/v2/Me")
    assert "DATABRICKS_HOST" in caught.value.hint


@pytest.mark.parametrize(
    ("host", "words"),
    [("http://127.0.0.1:1", "no connection"), ("http://gate.invalid", "host name is not known")],
)
def test_a_workspace_that_is_not_reached_is_told_from_one_that_is_slow(host: str, words: str) -> None:
    connection = Workspace.at(host).connection()
    with pytest.raises(VendorUnavailableError, match=words) as caught:
        connection.begin().write("PUT", "/api/2.0/x", {})
    assert caught.value.hint


# --- what becomes of the work meanwhile -------------------------------------------------------------------

GATE_PATHS = {
    "jobs": "/jobs/runs/get$",
    "versions": "/unity-catalog/models/main.ml.churn/versions$",
    "MLflow run": "/mlflow/runs/get$",
}


@pytest.mark.part("rest", "401", "404", "versions")
@pytest.mark.parametrize("path", GATE_PATHS.values(), ids=GATE_PATHS)
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 403, "body": json.dumps(LOST).encode()},
        {"status": 401},
        {"status": 404, "body": LOGIN.encode()},
    ],
    ids=["IP list", "401", "404 page"],
)
def test_a_closed_door_fails_no_run_before_it_is_opened_again(
    tmp_path: Path, path: str, fault: dict[str, Any]
) -> None:
    with gate_world(tmp_path) as world:
        world.break_databricks(path, **fault)
        world.train()
        world.live(hours=2)
        assert world.promotions() == ()
        assert "Trying again" in world.notifications()[0].reason
        world.databricks.faults.clear()
        world.live(minutes=16)
        world.promotion(Phase.PENDING_APPROVAL)


@pytest.mark.part("rest", "404")
@pytest.mark.parametrize("status", [401, 404])
def test_a_closed_door_takes_no_approval_away(tmp_path: Path, status: int) -> None:
    with gate_world(tmp_path) as world:
        pending = world.ask()
        world.approve(pending)
        world.break_databricks("/unity-catalog/", status=status, body=LOGIN.encode())
        world.look()
        world.live(hours=3)
        assert "web page" in (world.again(pending).retry.last_error or "")
        assert world.again(pending).phase is Phase.APPROVED
        world.databricks.faults.clear()
        world.live(minutes=16)
        world.ended(pending, Phase.PROMOTED)
        assert world.models.champion() == "2"
