"""What a person is told about each answer of an MLflow server, and about each registry file that is not in order."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from champion_gate.adapters.github.settings import GitHubPlace
from champion_gate.adapters.http.deadline import Timeouts
from champion_gate.adapters.mlflow.checks import HookFacts, checkups
from champion_gate.adapters.mlflow.registry import MlflowRegistry
from champion_gate.domain.findings import Finding, Verdict
from champion_gate.domain.gates import ApprovalTarget, Gate
from champion_gate.domain.together import Together
from champion_gate.errors import (
    ForbiddenError,
    VendorError,
    VendorNotFoundError,
    VendorRefusedError,
    VendorUnavailableError,
)
from champion_gate.flow.doctor import examine
from integration.gate_models import empty_mlflow_database
from integration.mlflow_server import MlflowServer, mlflow_server
from integration.test_mlflow_registry_failures import MODEL, Stub, answering, reply, stub

pytest_plugins = ("integration.mlflow_fixtures",)

PATIENT = Timeouts(connect=2, read=5, total=30)
LOGIN = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>'</body></html>"
AUTH = "You are not authenticated. Please see https://www.mlflow.org/docs/latest/auth/index.html"
HOST = "Invalid Host header - possible DNS rebinding attack detected"


@dataclass(frozen=True)
class Row:
    """An answer and what is made of it; `waits`: work waits for the mending, as every call is answered so."""

    status: str
    body: str
    kind: type[VendorError]
    advice: str
    waits: bool = False
    headers: tuple[str, ...] = ()

    @property
    def sent(self) -> bytes:
        return reply(self.status, self.body, *self.headers)


def said(code: str) -> str:
    return json.dumps({"error_code": code, "message": "because of it"})


READING = {
    "no credentials": Row(
        "401 Unauthorized", AUTH, VendorRefusedError, "MLFLOW_TRACKING_USERNAME", waits=True
    ),
    "401 JSON": Row(
        "401 Unauthorized", said("UNAUTHENTICATED"), VendorRefusedError, "MLFLOW_TRACKING_TOKEN", waits=True
    ),
    "401 page": Row("401 Unauthorized", LOGIN, VendorRefusedError, "a login or a proxy", waits=True),
    "no permission": Row("403 Forbidden", "Permission denied", ForbiddenError, "permission READ"),
    "no permission, JSON": Row("403 Forbidden", said("PERMISSION_DENIED"), ForbiddenError, "permission READ"),
    "host": Row("403 Forbidden", HOST, VendorRefusedError, "--allowed-hosts 127.0.0.1:", waits=True),
    "origin": Row(
        "403 Forbidden", "Cross-origin request blocked", VendorRefusedError, "header Origin", waits=True
    ),
    "403 page": Row("403 Forbidden", LOGIN, VendorRefusedError, "a login or a proxy", waits=True),
    "404 page": Row("404 Not Found", LOGIN, VendorRefusedError, "a login or a proxy", waits=True),
    "404 text": Row("404 Not Found", "default backend", VendorRefusedError, "a proxy stands", waits=True),
    "404 of nobody": Row("404 Not Found", "", VendorRefusedError, "old MLflow server", waits=True),
    "proxy's login": Row(
        "407 Proxy Authentication Required", "no", VendorRefusedError, "HTTPS_PROXY", waits=True
    ),
    "proxy's login, page": Row(
        "407 Proxy Authentication Required", LOGIN, VendorRefusedError, "HTTPS_PROXY", waits=True
    ),
    "too large": Row(
        "413 Request Entity Too Large", "no", VendorRefusedError, "client_max_body_size", waits=True
    ),
    "no such call": Row("404 Not Found", said("ENDPOINT_NOT_FOUND"), VendorRefusedError, "old MLflow server"),
    "absent": Row("404 Not Found", said("RESOURCE_DOES_NOT_EXIST"), VendorNotFoundError, "may not see it"),
    "bad value": Row(
        "400 Bad Request", said("INVALID_PARAMETER_VALUE"), VendorRefusedError, "its words say what"
    ),
    "database": Row("400 Bad Request", said("BAD_REQUEST"), VendorUnavailableError, "MLflow server's log"),
    "plain HTTP": Row("400 Bad Request", LOGIN, VendorRefusedError, "a login or a proxy", waits=True),
    "method": Row("405 Method Not Allowed", "no", VendorRefusedError, "`registry` in gates.yaml"),
    "switched off": Row("400 Bad Request", said("FEATURE_DISABLED"), VendorRefusedError, "switch it on"),
    "conflict": Row("409 Conflict", said("RESOURCE_CONFLICT"), VendorUnavailableError, ""),
    "limit": Row(
        "429 Too Many Requests", said("REQUEST_LIMIT_EXCEEDED"), VendorUnavailableError, "rate limit"
    ),
    "broken": Row("500 Internal Server Error", said("INTERNAL_ERROR"), VendorUnavailableError, "tried again"),
    "not known": Row("501 Not Implemented", said("NOT_IMPLEMENTED"), VendorRefusedError, "a newer one may"),
    "proxy": Row("502 Bad Gateway", LOGIN, VendorUnavailableError, "tried again"),
    "away": Row(
        "503 Service Unavailable", said("TEMPORARILY_UNAVAILABLE"), VendorUnavailableError, "tried again"
    ),
    "slow": Row("504 Gateway Timeout", "", VendorUnavailableError, "tried again"),
    "login page": Row("200 OK", LOGIN, VendorUnavailableError, "a login or a proxy"),
    "redirect": Row(
        "302 Found",
        "",
        VendorUnavailableError,
        "a login or a proxy",
        headers=("Location: http://127.0.0.1:1/login",),
    ),
}
WRITING = {
    "no permission": Row("403 Forbidden", "Permission denied", ForbiddenError, "EDIT or MANAGE"),
    "host": Row("403 Forbidden", HOST, VendorRefusedError, "--allowed-hosts", waits=True),
    "404 text": Row("404 Not Found", "default backend", VendorRefusedError, "a proxy stands", waits=True),
    "too large": Row("413 Request Entity Too Large", LOGIN, VendorRefusedError, "max_body_size", waits=True),
    "database": Row("400 Bad Request", said("BAD_REQUEST"), VendorUnavailableError, "tried again"),
    "403 page": Row("403 Forbidden", LOGIN, VendorRefusedError, "a login or a proxy", waits=True),
    "login page": Row("200 OK", LOGIN, VendorUnavailableError, "a login or a proxy"),
    "proxy": Row("502 Bad Gateway", LOGIN, VendorUnavailableError, "tried again"),
}


@pytest.fixture
def failing() -> Iterator[Callable[[Row], MlflowRegistry]]:
    """A registry behind a server that answers every read of a model well, and all else with one row."""
    opened: list[Stub] = []

    def at(row: Row) -> MlflowRegistry:
        opened.append(Stub(answering(row.sent)))
        return MlflowRegistry(opened[-1].uri, timeouts=PATIENT)

    yield at
    for each in opened:
        each.close()


def checked(error: VendorError, row: Row) -> None:
    assert type(error) is row.kind, error
    assert row.advice in error.hint, error
    assert getattr(error, "concerns_all", False) is row.waits, error
    assert "<" not in str(error)
    assert len(str(error)) < 700
    if row.body == LOGIN and row.status[0] in "24":
        assert "with a web page in place of JSON" in error.message
    if row.body.startswith("{") and row.status[0] == "4" and row.status[:3] != "429":
        assert "because of it" in error.message


@pytest.mark.parametrize("row", READING.values(), ids=READING)
def test_each_answer_to_a_read_has_its_kind_and_its_advice(
    failing: Callable[[Row], MlflowRegistry], row: Row
) -> None:
    registry = failing(row)
    with pytest.raises(VendorError) as caught:
        registry.get_version("churn", "1")
    checked(caught.value, row)


@pytest.mark.parametrize("row", WRITING.values(), ids=WRITING)
def test_each_answer_to_a_write_has_its_kind_and_its_advice(row: Row) -> None:
    def answer(connection: Any, request: str) -> None:
        connection.sendall(reply("200 OK", MODEL) if request.startswith("GET") else row.sent)
        connection.close()

    with stub(answer) as server, pytest.raises(VendorError) as caught:
        MlflowRegistry(server.uri, timeouts=PATIENT).set_alias("churn", "Champion", "3")
    checked(caught.value, row)
    assert caught.value.outcome_unknown is (row.kind is VendorUnavailableError)


def test_a_slow_server_is_not_told_to_have_its_time_out_raised() -> None:
    """mlflow names a variable of its own, which the service sets itself."""

    def hanging(connection: Any, _request: str) -> None:
        connection.recv(1)

    with stub(hanging) as server, pytest.raises(VendorUnavailableError, match="no answer in time") as caught:
        MlflowRegistry(server.uri, timeouts=Timeouts(connect=1, read=1, total=20)).get_version("churn", "1")
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT" not in str(caught.value)


@pytest.mark.part("rest")
def test_a_server_that_knows_another_name_for_itself_says_what_to_start_it_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_SERVER_ALLOWED_HOSTS", "mlflow.example.com")
    with mlflow_server(tmp_path) as uri, pytest.raises(VendorRefusedError) as caught:
        MlflowRegistry(uri).get_alias("churn", "Champion")
    assert caught.value.concerns_all
    assert f"--allowed-hosts {uri.removeprefix('http://')} " in caught.value.hint
    assert "edit the model" not in caught.value.hint


def test_a_real_server_tells_what_is_not_there(running_mlflow: MlflowServer) -> None:
    registry = MlflowRegistry(running_mlflow.uri)
    for call in (
        lambda: registry.get_version("no such model", "1"),
        lambda: registry.get_alias("no such model", "Champion"),
        lambda: registry.set_alias("no such model", "Champion", "1"),
        lambda: registry.get_training_run("0" * 32),
    ):
        with pytest.raises(VendorNotFoundError) as caught:
            call()
        assert "may not see it" in caught.value.hint


# --- files ------------------------------------------------------------------------------------------------


def spoiled(statement: str) -> Callable[[Path], None]:
    def spoil(file: Path) -> None:
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute(statement)

    return spoil


FILES: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "absent": (lambda file: file.unlink(), "there is no registry file", "`registry`"),
    "junk": (
        lambda file: file.write_bytes(b"this is no database at all" * 99),
        "file is not a database",
        "no SQLite database",
    ),
    "older": (
        spoiled("UPDATE alembic_version SET version_num = '451aebb31d03'"),
        "out-of-date database schema",
        "mlflow db upgrade",
    ),
    "newer": (
        spoiled("UPDATE alembic_version SET version_num = 'ffffffffffff'"),
        "out-of-date database schema",
        "of another version",
    ),
    "half": (spoiled("DROP TABLE registered_model_aliases"), "no such table", "mlflow db upgrade"),
}


@pytest.mark.parametrize(("spoil", "words", "advice"), FILES.values(), ids=FILES)
def test_each_file_that_is_not_in_order_has_its_advice(
    tmp_path: Path, spoil: Callable[[Path], Any], words: str, advice: str
) -> None:
    file = tmp_path / "mlflow.db"
    file.write_bytes(empty_mlflow_database())
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(
            "INSERT INTO registered_models (name, workspace, creation_time) VALUES ('churn', 'default', 1)"
        )
    spoil(file)
    with pytest.raises(VendorUnavailableError) as caught:
        MlflowRegistry(f"sqlite:///{file}").get_alias("churn", "Champion")
    assert words in caught.value.message
    assert advice in caught.value.hint
    assert "SELECT" not in str(caught.value)


# --- the doctor -------------------------------------------------------------------------------------------


def examined(uri: str) -> list[Finding]:
    place = GitHubPlace(repository="example/ml-deploy", environments=("champion",))
    gate = Gate(name="churn", jobs=(1,), model="churn", approval=ApprovalTarget("github", place))
    return examine(
        checkups(
            MlflowRegistry(uri, timeouts=PATIENT), [gate], HookFacts(None, has_secret=False, arrived=None)
        ),
        Together(),
    )


def told_by_doctor(uri: str) -> list[tuple[str, Verdict]]:
    return [(each.check, each.verdict) for each in examined(uri)]


def test_the_doctor_reads_model_run_and_experiment_of_a_real_server(running_mlflow: MlflowServer) -> None:
    from mlflow import MlflowClient  # noqa: PLC0415 - slow

    client = MlflowClient(running_mlflow.uri, running_mlflow.uri)
    assert told_by_doctor(running_mlflow.uri) == [
        ("mlflow.registry", Verdict.OK),
        ("mlflow.model", Verdict.WARNING),  # there is no model yet
    ]
    client.create_registered_model("churn")
    run = client.create_run(client.create_experiment("doctor"))
    client.create_model_version("churn", "s3://bucket/model", run.info.run_id, await_creation_for=0)
    registry, model = examined(running_mlflow.uri)
    assert registry.found == f"MLflow {version('mlflow-skinny')} answers at {running_mlflow.uri}"
    assert model.found == "Champion of churn stands on none; version 1 and its run can be read"
    client.delete_run(run.info.run_id)
    client.delete_registered_model("churn")


@pytest.mark.parametrize(
    ("path", "row", "check", "verdict"),
    [
        ("registered-models/search", READING["host"], "mlflow.registry", Verdict.FAIL),
        ("registered-models/search", READING["401 page"], "mlflow.registry", Verdict.FAIL),
        ("registered-models/search", READING["away"], "mlflow.registry", Verdict.FAIL),
        ("registered-models/get", READING["no permission"], "mlflow.model", Verdict.FAIL),
        ("runs/get", READING["no permission, JSON"], "mlflow.model", Verdict.FAIL),
        ("runs/get", READING["absent"], "mlflow.model", Verdict.WARNING),
        ("runs/search", READING["no permission"], "mlflow.model", Verdict.FAIL),
    ],
)
def test_the_doctor_says_what_is_wrong_with_an_mlflow_server(
    path: str, row: Row, check: str, verdict: Verdict
) -> None:
    listed = {"name": "churn", "version": "1", "creation_timestamp": 1, "run_id": "a" * 32, "status": "READY"}
    run = {
        "run_id": "a" * 32,
        "experiment_id": "1",
        "status": "FINISHED",
        "start_time": 1,
        "artifact_uri": "s3://b",
    }
    well = {
        "registered-models/search": {},
        "registered-models/get": {"registered_model": {"name": "churn", "creation_timestamp": 1}},
        "model-versions/search": {"model_versions": [listed]},
        "runs/get": {"run": {"info": run, "data": {}}},
        "runs/search": {},
    }

    def answer(connection: Any, request: str) -> None:
        asked = next((each for each in well if each in request), "")
        sent = row.sent if asked == path else reply("200 OK", json.dumps(well.get(asked, "3.17.2")))
        connection.sendall(sent)
        connection.close()

    with stub(answer) as server:
        bad = [each for each in examined(server.uri) if each.verdict is not Verdict.OK]
    assert [(each.check, each.verdict) for each in bad] == [(check, verdict)]
    assert row.advice in bad[0].remedy
