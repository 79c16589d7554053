"""MlflowRegistry on a real embedded registry and on a real MLflow server: the same promises on both."""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from champion_gate.adapters.http.deadline import Timeouts
from champion_gate.adapters.mlflow.registry import MlflowRegistry
from champion_gate.domain.versions import TaggedVersion, VersionStatus
from champion_gate.errors import (
    InvalidNameError,
    VendorNotFoundError,
    VendorRefusedError,
    VendorUnavailableError,
)
from integration.gate_models import empty_mlflow_database
from integration.mlflow_server import mlflow_server

# mlflow's tables use a loader that SQLAlchemy 2.1 is about to drop.
_names = (f"churn.{number}" for number in count(1))


@dataclass
class World:
    """A real registry, our adapter in front of it, and mlflow's own client to train with and to look."""

    registry: MlflowRegistry
    client: Any
    database: Path
    uri: str

    def model(self) -> str:
        name = next(_names)
        self.client.create_registered_model(name)
        return name

    def train(self, model: str, *, tags: dict[str, str] | None = None, **metrics: float) -> tuple[str, str]:
        """Log a run and register its version; the run's id and the version."""
        run = self.client.create_run("0", tags=tags or {})
        for name, value in metrics.items():
            self.client.log_metric(run.info.run_id, name, value)
        version = self.client.create_model_version(model, f"s3://bucket/{run.info.run_id}", run.info.run_id)
        return run.info.run_id, str(version.version)

    def sql(self, statement: str, *rows: tuple[object, ...]) -> None:
        connection = sqlite3.connect(self.database, timeout=30)
        with connection:
            connection.executemany(statement, rows)
        connection.close()


@pytest.fixture(scope="module", params=["sqlite", "server"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    from mlflow import MlflowClient  # noqa: PLC0415 - slow

    folder = tmp_path_factory.mktemp("mlflow")
    database = folder / "mlflow.db"
    if request.param == "server":
        database.write_bytes(empty_mlflow_database())
        with mlflow_server(folder) as uri:
            client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            yield World(MlflowRegistry(f"{uri}/"), client, database, uri)
        return
    database.touch()
    uri = f"sqlite:///{database}"
    registry = MlflowRegistry(uri)
    registry.check()
    yield World(registry, MlflowClient(tracking_uri=uri, registry_uri=uri), database, uri)


def test_versions_come_newest_first_as_text_with_run_source_and_time(world: World) -> None:
    model = world.model()
    runs = [world.train(model)[0] for _ in range(11)]

    versions = world.registry.list_versions(model)

    assert [version.version for version in versions] == [str(number) for number in range(11, 0, -1)]
    assert [version.run_id for version in versions] == runs[::-1]
    newest = versions[0]
    assert newest.source == f"s3://bucket/{runs[-1]}"
    assert newest.status is VersionStatus.READY
    assert newest.created_by is None
    assert newest.created_at is not None
    assert abs(datetime.now(UTC) - newest.created_at) < timedelta(minutes=5)
    assert world.registry.get_version(model, "11") == newest
    assert len({version.version_id for version in versions}) == 11


def test_all_of_thousands_of_versions_are_listed(world: World) -> None:
    model = world.model()
    world.sql(
        "INSERT INTO model_versions (name, version, creation_time, source, run_id, status, current_stage, workspace)"
        " VALUES (?, ?, 1700000000000, 's3://b/x', 'r', 'READY', 'None', 'default')",
        *[(model, number) for number in range(1, 2102)],
    )

    assert [each.number for each in world.registry.list_versions(model)] == list(range(2101, 0, -1))


def test_a_model_made_anew_does_not_pass_for_the_old_one(world: World) -> None:
    model = world.model()
    world.train(model)
    before = world.registry.get_version(model, "1")
    world.client.delete_registered_model(model)
    world.client.create_registered_model(model)
    world.train(model)

    after = world.registry.get_version(model, "1")

    assert after.version == before.version
    assert not after.same_as(before)
    assert after.version_id != before.version_id
    with pytest.raises(VendorNotFoundError, match="another made in its place"):
        world.registry.get_details(before)


def test_an_absent_alias_is_none_but_only_where_the_model_was_read(world: World) -> None:
    model = world.model()

    assert world.registry.get_alias(model, "Champion") is None
    with pytest.raises(VendorNotFoundError):
        world.registry.get_alias(f"{model}-not", "Champion")


def test_an_alias_is_set_moved_and_taken_away(world: World) -> None:
    model = world.model()
    world.train(model)
    world.train(model)

    world.registry.set_version_tag(model, "1", "team", "growth")
    world.registry.set_alias(model, "Champion", "1")
    assert world.registry.get_alias(model, "Champion") == "1"
    held = world.registry.get_holder(model, "Champion")
    assert held == TaggedVersion(world.registry.get_version(model, "1"), {"team": "growth"})
    world.registry.set_alias(model, "Champion", "2")
    assert world.registry.get_alias(model, "Champion") == "2"
    assert str(world.client.get_model_version_by_alias(model, "Champion").version) == "2"
    world.registry.delete_alias(model, "Champion")
    assert world.registry.get_alias(model, "Champion") is None
    assert world.registry.get_holder(model, "Champion") is None
    world.registry.delete_alias(model, "Champion")


def test_aliases_that_differ_in_case_are_two(world: World) -> None:
    model = world.model()
    world.train(model)
    world.train(model)
    world.registry.set_alias(model, "Champion", "1")
    world.registry.set_alias(model, "champion", "2")

    assert world.registry.get_alias(model, "Champion") == "1"
    assert world.registry.get_alias(model, "champion") == "2"
    assert not world.registry.folds_case


def test_an_alias_cannot_be_put_on_a_version_that_is_not_there(world: World) -> None:
    model = world.model()

    with pytest.raises(VendorNotFoundError):
        world.registry.set_alias(model, "Champion", "7")
    with pytest.raises(VendorNotFoundError):
        world.registry.get_version(model, "7")
    assert world.registry.get_alias(model, "Champion") is None


@pytest.mark.parametrize("model", ["a/b", "m?x=1", "m#", "m%2f", "m' OR name LIKE '%", "", ".."])
def test_a_model_name_that_could_leave_its_place_is_refused(world: World, model: str) -> None:
    for call in (
        lambda: world.registry.list_versions(model),
        lambda: world.registry.get_version(model, "1"),
        lambda: world.registry.get_alias(model, "Champion"),
        lambda: world.registry.set_alias(model, "Champion", "1"),
        lambda: world.registry.delete_alias(model, "Champion"),
        lambda: world.registry.set_version_tag(model, "1", "k", "v"),
    ):
        with pytest.raises(InvalidNameError):
            call()


def test_bad_versions_and_aliases_are_refused(world: World) -> None:
    model = world.model()
    for version in ("0", "01", "-1", "1.0", "x", "1/../2", ""):
        with pytest.raises(InvalidNameError):
            world.registry.get_version(model, version)
        with pytest.raises(InvalidNameError):
            world.registry.set_alias(model, "Champion", version)
    for alias in ("latest", "v1", "a b", "a/b", ""):
        with pytest.raises(InvalidNameError):
            world.registry.set_alias(model, alias, "1")


def test_versions_are_found_by_the_exact_value_of_a_tag(world: World) -> None:
    model = world.model()
    for _ in range(3):
        world.train(model)
    tag = "champion_gate_job_run_id"
    world.registry.set_version_tag(model, "1", tag, "77")
    world.registry.set_version_tag(model, "3", tag, "77")
    world.registry.set_version_tag(model, "2", tag, "777")

    versions = world.registry.list_versions(model)
    found = world.registry.with_tag(versions, tag, "77")
    assert [each.version for each in found] == ["3", "1"]
    assert world.registry.with_tag(versions[1:], tag, "77") == found[1:]
    for value in ("7", "' OR 1=1 --"):
        assert world.registry.with_tag(versions, tag, value) == ()
    assert world.client.get_model_version(model, "2").tags == {tag: "777"}


def test_details_hold_what_a_reviewer_and_the_policy_need(world: World) -> None:
    model = world.model()
    run_id, version = world.train(
        model,
        tags={
            "mlflow.user": "trainer@example.com",
            "mlflow.databricks.jobID": "123",
            "mlflow.databricks.jobRunID": "456789012345678901",
            "mlflow.source.git.commit": "c0ffee",
        },
        f1=0.91,
        broken=math.nan,
    )
    world.client.log_param(run_id, "depth", "7")
    world.client.set_model_version_tag(model, version, "team", "fraud")

    details = world.registry.get_details(world.registry.get_version(model, version))

    run = details.training_run
    assert details.tags == {"team": "fraud"}
    assert run is not None
    assert (run.run_id, run.user) == (run_id, "trainer@example.com")
    assert (run.job_id, run.job_run_id, run.git_commit) == ("123", "456789012345678901", "c0ffee")
    assert run.metrics["f1"] == 0.91
    assert math.isnan(run.metrics["broken"])
    assert run.params == {"depth": "7"}
    assert run.started_at is not None
    assert run.started_at.tzinfo is UTC


def test_a_run_that_is_gone_leaves_the_details_without_one(world: World) -> None:
    model = world.model()
    _, version = world.train(model)
    world.sql("UPDATE model_versions SET run_id = 'gone' WHERE name = ?", (model,))

    details = world.registry.get_details(world.registry.get_version(model, version))

    assert details.version.run_id == "gone"
    assert details.training_run is None
    with pytest.raises(VendorNotFoundError):
        world.registry.get_training_run("gone")


def test_runs_of_one_experiment_are_found_in_one_call(world: World) -> None:
    model = world.model()
    ids = [world.train(model)[0] for _ in range(3)]
    elsewhere = world.client.create_run(world.client.create_experiment(f"elsewhere-{model}")).info.run_id
    first = world.registry.get_training_run(ids[0])

    found = world.registry.find_training_runs(first.experiment_id or "", [*ids, elsewhere, "0" * 32, "a' OR"])

    assert found == {each: world.registry.get_training_run(each) for each in ids}


def test_logged_models_of_one_experiment_are_found_in_few_calls(world: World) -> None:
    experiment = world.client.create_experiment(f"models-{world.model()}")
    run_id = world.client.create_run(experiment).info.run_id
    ids = [world.client.create_logged_model(experiment, source_run_id=run_id).model_id for _ in range(3)]

    found = world.registry.find_logged_models(experiment, [*ids, "m-" + "0" * 32])

    assert found == {each: world.registry.get_logged_model(each) for each in ids}
    assert world.registry.find_logged_models("0", ids) == {}


def test_only_ready_is_ready(world: World) -> None:
    model = world.model()
    for status in ("PENDING_REGISTRATION", "FAILED_REGISTRATION", "READY"):
        _, version = world.train(model)
        world.sql(
            "UPDATE model_versions SET status = ? WHERE name = ? AND version = ?",
            (status, model, int(version)),
        )

    assert [each.status for each in world.registry.list_versions(model)] == [
        VersionStatus.READY,
        VersionStatus.FAILED,
        VersionStatus.PENDING,
    ]


def test_a_status_that_nobody_has_heard_of_is_never_ready(world: World) -> None:
    model = world.model()
    _, version = world.train(model)
    world.sql("UPDATE model_versions SET status = 'SUSPENDED' WHERE name = ?", (model,))

    try:
        status = world.registry.get_version(model, version).status
    except (VendorRefusedError, VendorUnavailableError):
        return  # the server itself cannot answer with it
    assert status is VersionStatus.UNKNOWN


def test_pages_for_people_exist_on_a_server_only(world: World) -> None:
    model = world.model()
    run_id, version = world.train(model)
    found = world.registry.get_version(model, version)
    run = world.registry.get_training_run(run_id)

    if world.uri.startswith("sqlite"):
        assert world.registry.version_url(found) is None
        assert run.url is None
    else:
        assert world.registry.version_url(found) == f"{world.uri}/#/models/{model}/versions/{version}"
        assert run.url == f"{world.uri}/#/experiments/0/runs/{run_id}"
    assert world.registry.name == world.uri


def test_many_threads_share_one_registry(world: World) -> None:
    model = world.model()
    for _ in range(4):
        world.train(model)

    def work(number: int) -> str | None:
        world.registry.set_alias(model, f"alias-{number}", str(number % 4 + 1))
        return world.registry.get_alias(model, f"alias-{number}")

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(work, range(16))) == [str(number % 4 + 1) for number in range(16)]


def test_many_threads_may_open_a_fresh_registry_at_once(tmp_path: Path) -> None:
    database = tmp_path / "fresh.db"
    database.touch()
    registry = MlflowRegistry(f"sqlite:///{database}")
    start = threading.Barrier(6)

    def work(_: int) -> int:
        start.wait()
        return len(registry.list_versions("churn"))

    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(work, range(6))) == [0] * 6


def test_a_mistyped_file_is_no_empty_registry(tmp_path: Path) -> None:
    registry = MlflowRegistry(f"sqlite:///{tmp_path}/typo.db")

    with pytest.raises(VendorUnavailableError, match=r"no registry file .*typo\.db"):
        registry.list_versions("churn")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.part("rest")
def test_a_file_that_is_no_database_is_an_error_of_ours(tmp_path: Path) -> None:
    file = tmp_path / "text.db"
    file.write_text("no database at all, but long enough to be taken for the header of one" * 20)

    with pytest.raises((VendorRefusedError, VendorUnavailableError)):
        MlflowRegistry(f"sqlite:///{file}", timeouts=Timeouts(total=30)).check()
