"""The marks of origin, each by itself."""

from dataclasses import replace

import pytest

from champion_gate.domain.marks import JobTags, MarkFailedError, files_mark, job_tags
from champion_gate.domain.versions import LoggedModel, ModelVersion, TrainingRun, VersionStatus, lies_under

ROOT = "s3://bucket/churn/run-1/artifacts"
RUN = TrainingRun("run-1", "ann", None, None, {}, {}, None, None, artifact_uri=ROOT)
MODEL = LoggedModel("m-1", "run-1", (), {}, {}, artifact_uri="s3://bucket/churn/models/m-1/artifacts")
VERSION = ModelVersion("churn", "3", "id", "run-1", None, VersionStatus.READY, None, None)


@pytest.mark.parametrize(
    ("source", "root", "inside"),
    [
        (f"{ROOT}/model", ROOT, True),
        (ROOT, f"{ROOT}/", True),
        (f"{ROOT}/a model", ROOT, True),
        ("file:///data/run/artifacts/model", "/data/run/artifacts", True),
        ("/data/run/artifacts/model", "file:///data/run/artifacts", True),
        ("runs:/run-1/model", "runs:/run-1", True),
        ("runs:/run-12/model", "runs:/run-1", False),
        (f"{ROOT}-2/model", ROOT, False),
        (f"{ROOT}/../../run-2/artifacts/model", ROOT, False),
        (f"{ROOT}/%2e%2E/model", ROOT, False),
        (f"{ROOT}/%252e%252e/model", ROOT, False),
        (f"{ROOT}/..\\model", ROOT, False),
        (f"{ROOT}/model?versionId=1", ROOT, False),
        (f"{ROOT}/model#x", ROOT, False),
        (f"{ROOT}/mo\ndel", ROOT, False),
        ("s3://bucket/churn/run-1", ROOT, False),
        (ROOT.upper(), ROOT, False),
        ("", ROOT, False),
        (f"{ROOT}/model", None, False),
        (f"{ROOT}/model", "", False),
        ("/anything", "/", False),
    ],
)
def test_a_source_lies_in_a_folder_or_not(source: str, root: str | None, *, inside: bool) -> None:
    assert lies_under(source, root) is inside


@pytest.mark.parametrize("source", [f"{ROOT}/model", "models:/m-1", f"{MODEL.artifact_uri}/model"])
def test_a_runs_own_files_or_logged_model_are_its(source: str) -> None:
    assert files_mark(replace(VERSION, source=source), RUN, MODEL)


@pytest.mark.parametrize("source", [f"{ROOT}/model", "models:/m-1"])
def test_another_runs_logged_model_beside_own_files_lends_no_numbers(source: str) -> None:
    with pytest.raises(MarkFailedError, match="one of MLflow run run-2, not of its own"):
        files_mark(replace(VERSION, source=source), RUN, replace(MODEL, run_id="run-2"))


def test_without_mlflow_run_nothing_tells_whose_files_they_are() -> None:
    with pytest.raises(MarkFailedError, match="has no MLflow run"):
        files_mark(replace(VERSION, source="models:/m-1"), None, MODEL)


def test_job_tags_of_the_logged_model_go_first_and_empty_ones_are_absent() -> None:
    job, run = "mlflow.databricks.jobID", "mlflow.databricks.jobRunID"
    tagged = replace(RUN, job_id="1", job_run_id="701")
    assert job_tags(tagged, MODEL) == JobTags("its MLflow run", "1", "701")
    assert job_tags(tagged, replace(MODEL, tags={job: "", run: ""})) == JobTags("its MLflow run", "1", "701")
    assert job_tags(tagged, replace(MODEL, tags={job: "2"})) == JobTags("its logged model", "2", "")
    assert job_tags(replace(RUN, job_id="", job_run_id=""), MODEL) is None
    assert job_tags(None, None) is None
