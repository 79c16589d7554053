"""The bundle of `deploy/databricks`, as far as it can be checked without a workspace."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import yaml

if TYPE_CHECKING:
    from databricks.bundles.jobs import JobDict

BUNDLE = Path(__file__).resolve().parents[2] / "deploy" / "databricks"
ROOT_FILE = BUNDLE / "databricks.yml"
RESOURCES = BUNDLE / "resources" / "jobs.yml"
DECLARED: dict[str, Any] = yaml.safe_load(ROOT_FILE.read_text())
SHARED: dict[str, Any] = yaml.safe_load(RESOURCES.read_text())["resources"]
PROD: dict[str, Any] = DECLARED["targets"]["prod"]["resources"]

JOBS: dict[str, tuple[Path, dict[str, Any]]] = {
    name: (file, job)
    for file, resources in ((RESOURCES, SHARED), (ROOT_FILE, PROD))
    for name, job in resources["jobs"].items()
}
each_job = pytest.mark.parametrize("name", JOBS)


def job_of(name: str) -> dict[str, Any]:
    return JOBS[name][1]


def notebook_of(name: str) -> Path:
    file, job = JOBS[name]
    (task,) = job["tasks"]
    path: str = task["notebook_task"]["notebook_path"]
    return (file.parent / path).resolve()


def given_to(name: str) -> dict[str, str]:
    """The parameters of the job and of its task, with their defaults."""
    (task,) = job_of(name)["tasks"]
    parameters = {each["name"]: each["default"] for each in job_of(name)["parameters"]}
    return {**parameters, **task["notebook_task"].get("base_parameters", {})}


def widgets_of(notebook: Path) -> set[str]:
    """The names that a notebook declares by `dbutils.widgets.text`."""
    calls = (node for node in ast.walk(ast.parse(notebook.read_text())) if isinstance(node, ast.Call))
    declared = (call for call in calls if ast.unparse(call.func) == "dbutils.widgets.text")
    return {ast.literal_eval(call.args[0]) for call in declared}


def test_databricks_own_models_take_the_job_that_tells_of_new_versions() -> None:
    from databricks.bundles.jobs import Job  # noqa: PLC0415 - takes most of a second

    page = (BUNDLE.parents[1] / "service" / "docs" / "versions.md").read_text()
    (block,) = re.findall(r"```yaml\n(resources:.*?)```", page, re.DOTALL)
    job = Job.from_dict(yaml.safe_load(block)["resources"]["jobs"]["churn_changed"])
    assert [each.default for each in job.parameters] == ["{{job.trigger.model.updates}}"]  # type: ignore[union-attr]


def test_databricks_own_models_take_every_resource() -> None:
    from databricks.bundles.experiments import MlflowExperiment  # noqa: PLC0415 - takes most of a second
    from databricks.bundles.jobs import Job  # noqa: PLC0415

    for _, job in JOBS.values():
        Job.from_dict(cast("JobDict", job))
    for experiment in SHARED["experiments"].values():
        MlflowExperiment.from_dict(experiment)
    with pytest.raises(ValueError, match="Unexpected field"):
        Job.from_dict(cast("JobDict", {**job_of("train"), "retries": 0}))


@pytest.mark.part("rest")
def test_bundles_still_cannot_grant_what_the_readme_grants_by_hand() -> None:
    from databricks.bundles.registered_models import Privilege  # noqa: PLC0415 - as above

    assert "EXECUTE" in Privilege.__members__
    assert "CREATE_MODEL_VERSION" not in Privilege.__members__


@each_job
def test_no_run_is_skipped_and_no_task_retried(name: str) -> None:
    job = job_of(name)
    assert job["queue"] == {"enabled": True}
    assert (job["max_concurrent_runs"], job["timeout_seconds"] > 0) == (1, True)
    for task in job["tasks"]:
        assert (task["max_retries"], task["disable_auto_optimization"]) == (0, True)


@each_job
def test_notebooks_are_in_source_format_and_get_what_they_ask_for(name: str) -> None:
    notebook = notebook_of(name)
    assert notebook.read_text().startswith("# Databricks notebook source\n# MAGIC %md\n")
    assert widgets_of(notebook) == set(given_to(name)) | {"registry_uri"}


@pytest.mark.parametrize(
    ("name", "promised"),
    [
        ("validate", {"model_name", "model_version"}),
        ("batch_inference", {"model_name", "model_version", "alias", "promotion_id"}),
        ("copy_version", {"model_name", "model_version"}),
    ],
)
def test_jobs_take_the_parameters_that_are_promised(name: str, promised: set[str]) -> None:
    assert promised <= {each["name"] for each in job_of(name)["parameters"]}


def test_every_notebook_has_its_job() -> None:
    assert {notebook_of(name) for name in JOBS} == set(BUNDLE.glob("*.py"))


def test_each_job_runs_as_somebody_else() -> None:
    run_as = [job["run_as"]["service_principal_name"] for _, job in JOBS.values()]
    assert len(set(run_as)) == len(JOBS)


def test_only_training_tells_the_gate_and_only_of_success() -> None:
    told = {name: job.get("webhook_notifications") for name, (_, job) in JOBS.items()}
    assert told.pop("train") == {"on_success": [{"id": "${var.gate_destination}"}]}
    assert set(told.values()) == {None}


def test_every_variable_is_declared_and_used() -> None:
    text = ROOT_FILE.read_text() + RESOURCES.read_text()
    assert set(re.findall(r"\$\{var\.(\w+)\}", text)) == set(DECLARED["variables"])
    for target in DECLARED["targets"].values():
        assert set(target.get("variables", {})) <= set(DECLARED["variables"])


def test_no_target_puts_a_prefix_before_names() -> None:
    assert set(DECLARED["targets"]) == {"dev", "staging", "prod"}
    assert [target.get("mode") for target in DECLARED["targets"].values()] == [
        None,
        "production",
        "production",
    ]


def test_a_model_is_loaded_where_it_was_pickled() -> None:
    environments = [job["environments"] for job in SHARED["jobs"].values()]
    assert all(each == environments[0] for each in environments)


def test_no_secret_and_no_workspace_is_written_down() -> None:
    assert "host" not in set(keys_of(DECLARED)) | set(keys_of(SHARED))
    assert not re.search(r"https?://|token|password", ROOT_FILE.read_text() + RESOURCES.read_text())


def keys_of(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield key
            yield from keys_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys_of(inner)
