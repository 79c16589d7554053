"""The notebooks of `deploy/databricks` against MLflow's own server, with a small model of scikit-learn."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from champion_gate.adapters.databricks.models import Output
from champion_gate.adapters.databricks.reading import task_output
from integration.databricks_fixtures import TOKEN, Workspace, workspace
from integration.mlflow_server import MlflowServer
from integration.notebooks import NOTEBOOKS, Cluster, cluster

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytest_plugins = ("integration.mlflow_fixtures",)
pytestmark = pytest.mark.part("rest")

RUN_AS = "champion-gate@example.com"
"""As whom the notebooks run: the workspace's one user."""
_names = count(1)


@dataclass
class World:
    """What a team has around the notebooks: a registry, and the workspace that tells versions' ids."""

    running: Cluster
    client: MlflowClient
    registry: MlflowServer
    workspace: Workspace
    model: str = "dev.ml.churn"

    def run(self, notebook: str, **parameters: str) -> dict[str, Any]:
        said = self.running.run(
            notebook,
            {
                "registry_uri": self.registry.uri,
                "model_name": self.model,
                "experiment": "churn",
                **parameters,
            },
        )
        assert said is not None
        answer: dict[str, Any] = json.loads(said)
        return answer

    def train(self) -> str:
        """Train a version, and show it to Unity Catalog as well."""
        said = self.run("train.py")
        catalog = self.workspace.standin.catalog
        if said["champion_gate"]["version"] == "1":
            catalog.add_model(self.model)
        catalog.add_version(self.model)
        return str(said["champion_gate"]["version"])

    def version_id(self, version: str) -> str:
        return str(self.workspace.standin.catalog.version(self.model, version).version_id)

    def copy(self, version: str, destination: str, created_by: str = RUN_AS) -> dict[str, Any]:
        """Copy it, and show to Unity Catalog what was made, as this one's."""
        said = self.run("copy_version.py", model_version=version, destination=destination)
        catalog = self.workspace.standin.catalog
        while len(catalog.versions(destination)) < int(said["champion_gate"]["version"]):
            catalog.add_version(destination, created_by=created_by)
        return said

    def tags(self, model: str, version: str) -> dict[str, str]:
        tags: dict[str, str] = self.client.get_model_version(model, version).tags
        return tags


@pytest.fixture(scope="module")
def shared_world(running_mlflow: MlflowServer) -> Iterator[World]:
    from mlflow import MlflowClient  # noqa: PLC0415 - slow

    with workspace() as databricks:
        signed_in = {"DATABRICKS_HOST": databricks.url, "DATABRICKS_TOKEN": TOKEN}
        with cluster({"MLFLOW_TRACKING_URI": running_mlflow.uri, **signed_in}) as running:
            client = MlflowClient(tracking_uri=running_mlflow.uri, registry_uri=running_mlflow.uri)
            yield World(running, client, running_mlflow, databricks)


@pytest.fixture
def world(shared_world: World) -> World:
    """With a model of its own."""
    shared_world.model = f"staging.ml.churn{next(_names)}"
    return shared_world


def test_training_registers_a_version_and_names_it_to_the_gate(world: World) -> None:
    said = world.running.run(
        "train.py", {"registry_uri": world.registry.uri, "model_name": world.model, "experiment": "churn"}
    )
    output, problem = task_output("11", Output.model_validate({"notebook_output": {"result": said}}))
    assert problem is None
    assert output is not None
    assert (output.model, output.version) == (world.model, "1")

    (version,) = world.client.search_model_versions(f"name='{world.model}'")
    assert version.run_id is not None
    assert version.status == "READY"
    assert set(own_metrics(world, "1")) == {"f1", "accuracy"}


def test_a_good_version_passes_validation(world: World) -> None:
    version = world.train()
    before = own_metrics(world, version)
    address = "https://adb-1234567890123456.16.azuredatabricks.net/"
    said = world.run("validate.py", model_version=version, workspace_url=address)
    assert set(said) == {"champion_gate_validation"}
    answer = said["champion_gate_validation"]
    assert set(answer) == {"passed", "checks", "metrics", "report_url"}
    assert answer["passed"] is True
    assert all(set(check) == {"name", "passed", "value", "limit"} for check in answer["checks"])
    assert answer["metrics"]["f1"] > 0.9

    run_id = answer["report_url"].rsplit("/", 1)[1]
    assert answer["report_url"].startswith(f"{address}ml/experiments/")
    assert world.client.get_run(run_id).data.metrics == answer["metrics"]
    # The numbers by which the gate judges the version are the trainer's.
    assert own_metrics(world, version) == before


def test_a_version_below_its_limit_is_answered_with_no(world: World) -> None:
    said = world.run("validate.py", model_version=world.train(), f1_at_least="1.01")
    answer = said["champion_gate_validation"]
    assert answer["passed"] is False
    assert [check["name"] for check in answer["checks"] if not check["passed"]] == ["f1"]
    assert answer["report_url"] is None


@pytest.mark.parametrize("notebook", ["validate.py", "copy_version.py"])
@pytest.mark.parametrize("version", ["", "Champion", "latest"])
def test_a_version_is_taken_by_its_number_alone(world: World, notebook: str, version: str) -> None:
    with pytest.raises(ValueError, match="model_version has to be a number"):
        world.run(notebook, model_version=version)


def test_batch_inference_scores_by_the_version_that_the_alias_stands_on(world: World) -> None:
    input_table = make_input_table(world)
    first, second = world.train(), world.train()
    world.client.set_registered_model_alias(world.model, "Champion", first)
    tables = {"input_table": input_table, "output_table": f"{world.model}_predictions"}
    said = world.run("batch_inference.py", model_version=first, promotion_id="p-1", **tables)
    rows = world.running.rows(tables["output_table"])
    assert said["champion_gate_batch"] == {
        "model": world.model,
        "version": first,
        "alias": "Champion",
        "promotion_id": "p-1",
        "rows": len(rows),
    }
    assert set(rows[0]) == {"id", "prediction", "model_version", "promotion_id"}
    assert {row["prediction"] for row in rows} == {0.0, 1.0}
    assert {(row["model_version"], row["promotion_id"]) for row in rows} == {(first, "p-1")}

    world.client.set_registered_model_alias(world.model, "Champion", second)
    overtaken = world.run("batch_inference.py", model_version=first, promotion_id="p-1", **tables)
    assert "stands on v2" in overtaken["champion_gate_batch"]["skipped"]
    assert {row["model_version"] for row in world.running.rows(tables["output_table"])} == {first}

    world.run("batch_inference.py", **tables)
    again = world.running.rows(tables["output_table"])
    assert len(again) == len(rows)
    assert {(row["model_version"], row["promotion_id"]) for row in again} == {(second, "")}


def test_a_copy_is_told_with_what_both_sides_hold(world: World) -> None:
    version, destination = world.train(), destination_of(world)
    for key, value in {
        "team": "risk",
        "champion_gate_job_run_id": "5",
        "champion_gate_copied_from": "dev/1/x",
    }.items():
        world.client.set_model_version_tag(world.model, version, key, value)
    said = world.copy(version, destination)
    copied_from = f"{world.model}/{version}/{world.version_id(version)}"
    output, _ = task_output("11", Output.model_validate({"notebook_output": {"result": json.dumps(said)}}))
    assert output is not None
    assert (output.model, output.version) == (destination, "1")
    assert world.tags(destination, "1") == {"team": "risk", "champion_gate_copied_from": copied_from}

    told = said["champion_gate_copy"]
    assert (told["copied_from"], told["reused"]) == (copied_from, False)
    source, made = told["source"], told["destination"]
    assert (source.pop("model"), source.pop("version")) == (world.model, version)
    assert (made.pop("model"), made.pop("version")) == (destination, "1")
    assert source == made
    assert source["model_uuid"]
    assert set(source["signature"]) >= {"inputs", "outputs"}
    files = {file["path"]: file for file in source["files"]}
    assert {"MLmodel", "model.pkl", "requirements.txt"} <= set(files)
    assert "registered_model_meta" not in files
    assert all(re.fullmatch(r"[0-9a-f]{64}", file["sha256"]) and file["size"] > 0 for file in files.values())


def test_a_copy_that_is_there_is_found_again(world: World) -> None:
    version, destination = world.train(), destination_of(world)
    other = world.train()
    made = world.copy(version, destination)
    assert world.copy(other, destination)["champion_gate"]["version"] == "2"
    again = world.copy(version, destination)
    assert again["champion_gate"] == made["champion_gate"]
    assert again["champion_gate_copy"]["reused"] is True
    assert len(world.client.search_model_versions(f"name='{destination}'")) == 2


def test_a_version_that_only_says_that_it_is_the_copy_is_not_taken(world: World) -> None:
    version, other, destination = world.train(), world.train(), destination_of(world)
    copied_from = f"{world.model}/{version}/{world.version_id(version)}"
    foreign = world.client.get_model_version(world.model, other)
    world.client.create_model_version(
        destination,
        f"models:/{world.model}/{other}",
        run_id=foreign.run_id,
        tags={"champion_gate_copied_from": copied_from},
    )
    said = world.copy(version, destination)
    assert said["champion_gate"]["version"] == "2"
    assert said["champion_gate_copy"]["reused"] is False


def test_a_copy_that_somebody_else_made_is_not_taken(world: World) -> None:
    version, destination = world.train(), destination_of(world)
    world.copy(version, destination, created_by="trainer@example.com")
    assert world.copy(version, destination)["champion_gate"]["version"] == "2"
    assert world.copy(version, destination)["champion_gate"]["version"] == "2"


def test_what_a_killed_run_left_half_made_is_left_alone(world: World) -> None:
    version, destination = world.train(), destination_of(world)
    world.copy(version, destination)
    with closing(sqlite3.connect(world.registry.database)) as database, database:
        half = "UPDATE model_versions SET status = 'PENDING_REGISTRATION' WHERE name = ?"
        assert database.execute(half, [destination]).rowcount == 1
    assert world.copy(version, destination)["champion_gate"]["version"] == "2"


def test_a_version_of_a_model_made_anew_is_another_one(world: World) -> None:
    version, destination = world.train(), destination_of(world)
    world.copy(version, destination)
    catalog = world.workspace.standin.catalog
    catalog.remove_version(world.model, version)
    catalog.add_model(world.model)
    catalog.add_version(world.model)
    assert world.copy(version, destination)["champion_gate"]["version"] == "2"


def test_a_destination_that_is_not_there_is_not_made(world: World) -> None:
    version = world.train()
    with pytest.raises(Exception, match="not found"):
        world.copy(version, f"prod.{world.model}")
    assert [model.name for model in world.client.search_registered_models(f"name='prod.{world.model}'")] == []


def own_metrics(world: World, version: str) -> dict[str, float]:
    """The numbers of the version's logged model."""
    (model,) = [
        model
        for model in world.client.search_logged_models([experiment_id(world)])
        if model.source_run_id == world.client.get_model_version(world.model, version).run_id
    ]
    return {metric.key: metric.value for metric in model.metrics or []}


def experiment_id(world: World) -> str:
    experiment = world.client.get_experiment_by_name("churn")
    assert experiment is not None
    return str(experiment.experiment_id)


def destination_of(world: World) -> str:
    name = world.model.replace("staging.", "prod.")
    world.workspace.standin.catalog.add_model(name)
    world.client.create_registered_model(name)
    return name


def make_input_table(world: World) -> str:
    """The table that README.md shows how to make."""
    (code,) = re.findall(
        r"^```python\n(.*?)^```", (NOTEBOOKS / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )
    world.running.run_code(code.replace("dev.ml.churn_input", f"{world.model}_input"))
    return f"{world.model}_input"
