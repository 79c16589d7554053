"""The registry in Unity Catalog, over real HTTP with the real SDK."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from databricks.sdk.service.catalog import ModelVersionInfo, RegisteredModelInfo
from databricks.sdk.service.ml import Run

from champion_gate.adapters.databricks.unity_catalog import UnityCatalog
from champion_gate.domain.ports.registry import ModelRegistry
from champion_gate.domain.versions import VersionStatus
from champion_gate.errors import (
    InvalidInputError,
    InvalidNameError,
    VendorNotFoundError,
    VendorRefusedError,
    VendorUnavailableError,
)
from champion_gate_standins.databricks.server import Fault
from integration.databricks_fixtures import Workspace, workspace

MODEL = "main.ml.churn"
TWO_CHAMPIONS = (
    b'{"full_name": "main.ml.churn", "aliases": [{"alias_name": "champion", "version_num": 1},'
    b' {"alias_name": "Champion", "version_num": 2}]}'
)


@pytest.fixture
def databricks() -> Iterator[Workspace]:
    with workspace() as found:
        found.standin.catalog.add_model(MODEL)
        yield found


@pytest.fixture
def registry(databricks: Workspace) -> UnityCatalog:
    return UnityCatalog(databricks.connection())


def test_it_is_a_model_registry(databricks: Workspace) -> None:
    registry: ModelRegistry = UnityCatalog(databricks.connection())
    assert (registry.name, registry.folds_case, registry.records_creators) == ("databricks-uc", True, True)


# --- versions ---------------------------------------------------------------------------------------------


def test_a_version_is_read_with_everything_that_matters(
    databricks: Workspace, registry: UnityCatalog
) -> None:
    catalog = databricks.standin.catalog
    run_id = catalog.add_mlflow_run()
    number = catalog.add_version(MODEL, run_id=run_id, created_by="ada@example.com")

    version = registry.get_version(MODEL, number)

    assert (version.model, version.version, version.run_id) == (MODEL, "1", run_id)
    assert version.status is VersionStatus.READY
    assert version.created_by == "ada@example.com"
    assert version.created_at == datetime.fromtimestamp(1_764_000_000, UTC)
    assert version.workspace_id == databricks.standin.workspace_id
    assert version.source is not None
    assert len(version.version_id) == 36
    assert version == registry.list_versions(MODEL)[0]
    assert registry.version_url(version) == f"{databricks.url}/explore/data/models/main/ml/churn/version/1"


def test_versions_are_listed_over_pages_highest_first(databricks: Workspace, registry: UnityCatalog) -> None:
    for _ in range(205):
        databricks.standin.catalog.add_version(MODEL)
    assert [version.number for version in registry.list_versions(MODEL)] == list(range(205, 0, -1))


def test_a_model_without_versions_has_none(registry: UnityCatalog) -> None:
    assert registry.list_versions(MODEL) == ()


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("READY", VersionStatus.READY),
        ("PENDING_REGISTRATION", VersionStatus.PENDING),
        ("FAILED_REGISTRATION", VersionStatus.FAILED),
        ("MODEL_VERSION_STATUS_UNKNOWN", VersionStatus.UNKNOWN),
        ("READY_SOON", VersionStatus.UNKNOWN),
    ],
)
def test_only_ready_is_ready(
    databricks: Workspace, registry: UnityCatalog, status: str, expected: VersionStatus
) -> None:
    number = databricks.standin.catalog.add_version(MODEL, status=status)
    assert registry.get_version(MODEL, number).status is expected


def test_a_model_made_anew_has_other_version_ids_even_without_an_id(
    databricks: Workspace, registry: UnityCatalog
) -> None:
    catalog = databricks.standin.catalog
    catalog.add_version(MODEL, with_id=False)
    before = registry.get_version(MODEL, "1")
    databricks.time.pass_seconds(1)
    catalog.add_model(MODEL)
    catalog.add_version(MODEL, with_id=False)
    assert not registry.get_version(MODEL, "1").same_as(before)


@pytest.mark.parametrize(
    "body",
    [
        b'{"version": 2, "id": "x"}',
        b'{"version": 1}',
        b'{"version": "one", "id": "x"}',
        b'{"version": 0, "id": "x"}',
        b'{"version": true, "id": "x"}',
        b"{}",
        b"[]",
        b"{",
        b'{"version": 1, "id": "x", "run_workspace_id": "ours"}',
    ],
)
def test_a_version_that_makes_no_sense_is_not_believed(
    databricks: Workspace, registry: UnityCatalog, body: bytes
) -> None:
    databricks.standin.faults.add(Fault(path="versions/1$", body=body))
    with pytest.raises(VendorUnavailableError):
        registry.get_version(MODEL, "1")


def test_a_version_or_model_that_is_not_there_is_not_found(registry: UnityCatalog) -> None:
    with pytest.raises(VendorNotFoundError):
        registry.get_version(MODEL, "99")
    with pytest.raises(VendorNotFoundError, match="may not see"):
        registry.list_versions("main.ml.nobody")


# --- details ----------------------------------------------------------------------------------------------


def test_details_hold_tags_and_the_training_run(databricks: Workspace, registry: UnityCatalog) -> None:
    catalog = databricks.standin.catalog
    run_id = catalog.add_mlflow_run(
        user="ada@example.com",
        metrics={"f1": 0.91, "loss": "NaN", "auc": "Infinity", "odd": "many"},
        params={"depth": "6"},
        tags={
            "mlflow.databricks.jobID": "77",
            "mlflow.databricks.jobRunID": "88",
            "mlflow.source.git.commit": "abc123",
        },
    )
    number = catalog.add_version(MODEL, run_id=run_id, tags={"team": "growth", "empty": ""})

    details = registry.get_details(registry.get_version(MODEL, number))

    assert details.tags == {"team": "growth", "empty": ""}
    run = details.training_run
    assert run is not None
    assert (run.run_id, run.user, run.job_id, run.job_run_id) == (run_id, "ada@example.com", "77", "88")
    assert (run.git_commit, run.params) == ("abc123", {"depth": "6"})
    assert run.metrics["f1"] == 0.91
    assert run.metrics["auc"] == math.inf
    assert math.isnan(run.metrics["loss"])
    assert math.isnan(run.metrics["odd"])
    assert run.started_at == datetime.fromtimestamp(1_764_000_000, UTC)
    assert run.url == f"{databricks.url}/ml/experiments/4711/runs/{run_id}"
    assert registry.get_training_run(run_id).params == {"depth": "6"}


def test_a_run_outside_of_jobs_names_none_and_a_git_folder_names_its_commit(
    databricks: Workspace, registry: UnityCatalog
) -> None:
    run_id = databricks.standin.catalog.add_mlflow_run(
        user=None, tags={"mlflow.databricks.gitRepoCommit": "def"}
    )
    run = registry.get_training_run(run_id)
    assert (run.user, run.job_id, run.job_run_id, run.git_commit) == (None, None, None, "def")


def test_a_version_without_a_run_has_no_training_run(databricks: Workspace, registry: UnityCatalog) -> None:
    number = databricks.standin.catalog.add_version(MODEL)
    assert registry.get_details(registry.get_version(MODEL, number)).training_run is None


def test_a_run_of_another_workspace_is_refused_in_words(
    databricks: Workspace, registry: UnityCatalog
) -> None:
    catalog = databricks.standin.catalog
    number = catalog.add_version(MODEL, run_id=catalog.add_mlflow_run(), run_workspace_id=987)
    with pytest.raises(VendorRefusedError, match="workspace 987"):
        registry.get_details(registry.get_version(MODEL, number))


def test_a_run_that_is_gone_is_not_found(registry: UnityCatalog) -> None:
    with pytest.raises(VendorNotFoundError):
        registry.get_training_run("0" * 32)
    with pytest.raises(InvalidNameError):
        registry.get_training_run("a/../b")


def test_runs_of_one_experiment_are_found_a_hundred_a_call(
    databricks: Workspace, registry: UnityCatalog
) -> None:
    ids = [databricks.standin.catalog.add_mlflow_run(params={"n": str(number)}) for number in range(120)]
    known = {each: registry.get_training_run(each) for each in ids[:3]}
    before = len(databricks.standin.requests)

    found = registry.find_training_runs("4711", [*ids, "0" * 32])

    assert len(databricks.standin.requests) - before == 2
    assert set(found) == set(ids)
    assert {each: found[each] for each in ids[:3]} == known
    with pytest.raises(InvalidNameError):
        registry.find_training_runs("4711", ["a') OR"])


def test_logged_models_of_one_experiment_are_found_fifty_a_call(
    databricks: Workspace, registry: UnityCatalog
) -> None:
    catalog = databricks.standin.catalog
    run_id = catalog.add_mlflow_run()
    ids = [catalog.mlflow.log_model(run_id, params={"n": str(number)}) for number in range(120)]
    known = {each: registry.get_logged_model(each) for each in ids[:3]}
    before = len(databricks.standin.requests)

    found = registry.find_logged_models("4711", [*ids, "m-" + "0" * 32])

    assert len(databricks.standin.requests) - before == 3
    assert set(found) == set(ids)
    assert {each: found[each] for each in ids[:3]} == known
    assert registry.find_logged_models("4712", ids) == {}


def test_another_runs_answer_is_not_believed(databricks: Workspace, registry: UnityCatalog) -> None:
    databricks.standin.faults.add(Fault(path="runs/get", body=b'{"run": {"info": {"run_id": "other"}}}'))
    with pytest.raises(VendorUnavailableError):
        registry.get_training_run("mine")


def test_versions_are_found_by_tag_among_all_that_are_given(
    databricks: Workspace, registry: UnityCatalog
) -> None:
    catalog, key = databricks.standin.catalog, "champion_gate_job_run_id"
    for index in range(130):
        catalog.add_version(MODEL, tags={key: "5" if index in {1, 20, 129} else "6"})
    versions = registry.list_versions(MODEL)
    found = registry.with_tag(versions, key, "5")
    assert [version.version for version in found] == ["130", "21", "2"]
    assert registry.with_tag(versions[1:], key, "5") == found[1:]
    assert registry.with_tag(versions[:60], key, "55") == ()
    assert registry.with_tag((), key, "5") == ()


def test_a_version_that_goes_while_tags_are_read_hides_no_other(
    databricks: Workspace, registry: UnityCatalog
) -> None:
    catalog = databricks.standin.catalog
    kept = catalog.add_version(MODEL, tags={"goes": "v"})
    gone = catalog.add_version(MODEL, tags={"goes": "v"})
    versions = registry.list_versions(MODEL)
    catalog.remove_version(MODEL, gone)
    assert [each.version for each in registry.with_tag(versions, "goes", "v")] == [kept]


def test_a_listed_version_whose_tags_are_not_there_for_a_moment_may_be_the_one(
    databricks: Workspace, registry: UnityCatalog
) -> None:
    databricks.standin.catalog.add_version(MODEL, tags={"hides": "v"})
    versions = registry.list_versions(MODEL)
    databricks.standin.faults.add(
        Fault("/model-versions/get", times=1, status=404, error_code="RESOURCE_DOES_NOT_EXIST")
    )
    with pytest.raises(VendorNotFoundError):
        registry.with_tag(versions, "hides", "v")
    assert len(registry.with_tag(versions, "hides", "v")) == 1


# --- tags and the rest ------------------------------------------------------------------------------------


def test_a_version_is_tagged(databricks: Workspace, registry: UnityCatalog) -> None:
    catalog = databricks.standin.catalog
    number = catalog.add_version(MODEL)
    registry.set_version_tag(MODEL, number, "champion_gate_status", "promoted")
    registry.set_version_tag(MODEL, number, "champion_gate_status", "promoted: again")
    assert catalog.tags(MODEL, number) == {"champion_gate_status": "promoted: again"}


@pytest.mark.parametrize(("key", "value"), [("a.b", "x"), ("", "x"), ("a" * 256, "x"), ("a", "x" * 1001)])
def test_a_tag_that_unity_catalog_does_not_take_is_not_sent(
    databricks: Workspace, registry: UnityCatalog, key: str, value: str
) -> None:
    with pytest.raises(InvalidInputError):
        registry.set_version_tag(MODEL, "1", key, value)
    assert databricks.standin.requests == []


def test_the_check_shows_that_our_credentials_are_taken(
    databricks: Workspace, registry: UnityCatalog
) -> None:
    registry.check()
    with pytest.raises(VendorRefusedError):
        UnityCatalog(databricks.connection(token="wrong")).check()


CALLS: list[Callable[[UnityCatalog, str], object]] = [
    lambda registry, model: registry.list_versions(model),
    lambda registry, model: registry.get_version(model, "1"),
    lambda registry, model: registry.get_alias(model, "Champion"),
    lambda registry, model: registry.set_alias(model, "Champion", "1"),
    lambda registry, model: registry.delete_alias(model, "Champion"),
    lambda registry, model: registry.set_version_tag(model, "1", "k", "v"),
]
BAD_MODELS = [
    "a.b.c/../../../../2.2/jobs/get",
    "a.b.c?x=1",
    "a.b.c#x",
    "a.b.c%2f",
    "a.b",
    "a.b.c d",
    "a..c",
    "a.b.c\n",
]


def test_a_model_name_that_would_change_the_path_is_refused_before_any_request(
    databricks: Workspace, registry: UnityCatalog
) -> None:
    for bad in BAD_MODELS:
        for call in CALLS:
            with pytest.raises(InvalidNameError):
                call(registry, bad)
    assert databricks.standin.requests == []


def test_aliases_and_versions_that_are_none_are_refused_before_any_request(
    databricks: Workspace, registry: UnityCatalog
) -> None:
    for alias in ("a/b", "..", "a?b", "latest", "v1", "", "Ch%61mpion", "Chämpion", "a\n"):
        with pytest.raises(InvalidNameError):
            registry.set_alias(MODEL, alias, "1")
        with pytest.raises(InvalidNameError):
            registry.get_alias(MODEL, alias)
        with pytest.raises(InvalidNameError):
            registry.delete_alias(MODEL, alias)
    for version in ("1/../2", "1?x", "01", "0", "-1", "v1", "", "1\n", "²"):
        with pytest.raises(InvalidNameError):
            registry.set_alias(MODEL, "Champion", version)
        with pytest.raises(InvalidNameError):
            registry.get_version(MODEL, version)
    assert databricks.standin.requests == []


def test_unusual_but_allowed_names_arrive_as_they_are(databricks: Workspace, registry: UnityCatalog) -> None:
    name = "main.ml+x.größe-(1)"
    databricks.standin.catalog.add_model(name)
    databricks.standin.catalog.add_version(name)
    registry.set_alias(name, "Champion", "1")
    assert registry.get_alias(name.replace("main", "MAIN"), "champion") == "1"
    assert registry.list_versions(name)[0].model == name


def test_the_sdks_classes_lose_nothing_of_the_standins_answers(databricks: Workspace) -> None:
    catalog = databricks.standin.catalog
    run_id = catalog.add_mlflow_run(metrics={"f1": 0.5}, params={"a": "b"})
    catalog.add_version(MODEL, run_id=run_id)
    catalog.set_alias(MODEL, "Champion", "1")
    api = databricks.connection().begin()
    model = api.read(f"/api/2.1/unity-catalog/models/{MODEL}", {"include_aliases": True})
    assert RegisteredModelInfo.from_dict(model).as_dict() == model
    assert model["aliases"] == [{"alias_name": "champion", "version_num": 1}]
    (version,) = api.read(f"/api/2.1/unity-catalog/models/{MODEL}/versions")["model_versions"]
    assert ModelVersionInfo.from_dict(version).as_dict() == version
    run = api.read("/api/2.0/mlflow/runs/get", {"run_id": run_id})["run"]
    assert Run.from_dict(run).as_dict() == run
