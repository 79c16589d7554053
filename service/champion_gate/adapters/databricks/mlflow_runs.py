"""MLflow runs and logged models of the workspace."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Annotated
from urllib.parse import quote

from pydantic import BeforeValidator, Field

from champion_gate.adapters.databricks.connection import Operation
from champion_gate.adapters.databricks.errors import unreadable
from champion_gate.adapters.databricks.models import Instant, Listed, Page, Pair, Word, pairs
from champion_gate.adapters.http.models import Answered
from champion_gate.domain.metrics import latest
from champion_gate.domain.versions import LoggedModel, MetricRow, TrainingRun, check_logged_model_id, measured
from champion_gate.errors import InvalidNameError, VendorRefusedError

_RUN = "/api/2.0/mlflow/runs/get"
_LOGGED_MODELS = "/api/2.0/mlflow/logged-models"
_PER_PAGE = 50
_MOST_PAGES = 4
_INTEGER = re.compile(r"-?[0-9]{1,20}", re.ASCII)
_RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def _measure(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    try:
        return measured(float(value))
    except ValueError:
        return math.nan
    except OverflowError:
        return math.inf


def _integer(value: object) -> int:
    if value is None:
        return 0
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    raise ValueError("a whole number")


_Integer = Annotated[int, BeforeValidator(_integer)]
"""A step or a time, which JSON has as a number or as digits; 0 where it is left out."""

_Measure = Annotated[float, BeforeValidator(_measure)]
"""A metric. Those that JSON has no number for come as "NaN", "Infinity" or "-Infinity"."""


class _Metric(Answered):
    key: object = None
    value: _Measure = math.nan
    step: _Integer = 0
    timestamp: _Integer = 0
    dataset_name: Word = None
    run_id: Word = None


class _Measured(Answered):
    metrics: Listed[_Metric] = Field(default_factory=list)
    params: Listed[Pair] = Field(default_factory=list)
    tags: Listed[Pair] = Field(default_factory=list)


class _MlflowRunInfo(Answered):
    run_id: object = None
    run_uuid: object = None
    experiment_id: Word = None
    user_id: Word = None
    user_name: Word = None
    start_time: Instant = None
    artifact_uri: Word = None


class _NamedModel(Answered):
    model_id: object = None


class _NamedModels(Answered):
    model_outputs: Listed[_NamedModel] = Field(default_factory=list)
    model_inputs: Listed[_NamedModel] = Field(default_factory=list)


class _MlflowRun(Answered):
    info: _MlflowRunInfo
    data: _Measured = Field(default_factory=_Measured)
    outputs: Annotated[_NamedModels, BeforeValidator(lambda value: value or {})] = Field(
        default_factory=_NamedModels
    )
    inputs: Annotated[_NamedModels, BeforeValidator(lambda value: value or {})] = Field(
        default_factory=_NamedModels
    )


class _MlflowRunAnswer(Answered):
    run: _MlflowRun


class _LoggedModelInfo(Answered):
    model_id: object = None
    source_run_id: Word = None
    tags: Listed[Pair] = Field(default_factory=list)
    artifact_uri: Word = None
    status: Word = None
    creation_timestamp_ms: Instant = None
    creator_id: object = None


class _LoggedModelEntry(Answered):
    info: _LoggedModelInfo
    data: _Measured = Field(default_factory=_Measured)


class _LoggedModelAnswer(Answered):
    model: _LoggedModelEntry


class _LoggedModelList(Page):
    models: Listed[_LoggedModelEntry] = Field(default_factory=list)


# --- reading ----------------------------------------------------------------------------------------------


def read_run(api: Operation, run_id: str) -> TrainingRun:
    """One MLflow run of the workspace.

    Raises:
        InvalidNameError: `run_id` cannot be the id of one.
        VendorNotFoundError: there is none, or we may not see it.
    """
    run = api.get(_MlflowRunAnswer, _RUN, {"run_id": checked_run_id(run_id)}).run
    info, data = run.info, run.data
    if run_id not in (info.run_id, info.run_uuid):
        raise unreadable(_RUN)
    tags = pairs(data.tags)
    experiment, host = info.experiment_id, api.connection.host
    return TrainingRun(
        run_id=run_id,
        user=tags.get("mlflow.user") or info.user_id or info.user_name,
        job_id=tags.get("mlflow.databricks.jobID") or None,
        job_run_id=tags.get("mlflow.databricks.jobRunID") or None,
        metrics=latest(_rows(data.metrics)),
        params=pairs(data.params),
        git_commit=tags.get("mlflow.source.git.commit")
        or tags.get("mlflow.databricks.gitRepoCommit")
        or None,
        started_at=info.start_time,
        url=f"{host}/ml/experiments/{quote(experiment, safe='')}/runs/{run_id}"
        if host and experiment
        else None,
        experiment_id=experiment,
        # The logged models that it says it made, or read to measure them.
        logged_models=frozenset(
            str(each.model_id) for each in (*run.outputs.model_outputs, *run.inputs.model_inputs)
        ),
        artifact_uri=info.artifact_uri,
    )


def read_logged_model(api: Operation, model_id: str) -> LoggedModel:
    """One logged model of the workspace.

    Raises:
        InvalidNameError: `model_id` cannot be the id of one.
        VendorNotFoundError: there is none, or we may not see it.
    """
    path = f"{_LOGGED_MODELS}/{check_logged_model_id(model_id)}"
    model = api.get(_LoggedModelAnswer, path).model
    info, creator = model.info, model.info.creator_id
    if info.model_id != model_id:
        raise unreadable(_LOGGED_MODELS)
    return LoggedModel(
        model_id=model_id,
        run_id=info.source_run_id,
        metrics=tuple(_rows(model.data.metrics)),
        params=pairs(model.data.params),
        tags=pairs(info.tags),
        artifact_uri=info.artifact_uri,
        status=info.status,
        created_at=info.creation_timestamp_ms,
        created_by=str(creator) if isinstance(creator, int | str) and creator else None,
    )


def logged_models_of(api: Operation, run: TrainingRun) -> frozenset[str] | None:
    """The ids of the logged models of a run: those that it names, and those that name it; None if not known."""
    if run.experiment_id is None:
        return None
    found = set(run.logged_models or ())
    query: dict[str, object] = {
        "experiment_ids": [run.experiment_id],
        "filter": f"source_run_id = '{checked_run_id(run.run_id)}'",
        "max_results": _PER_PAGE,
    }
    path = f"{_LOGGED_MODELS}/search"
    try:
        for _ in range(_MOST_PAGES):
            page = api.search(_LoggedModelList, path, query)
            found |= {
                str(each.info.model_id) for each in page.models if each.info.source_run_id == run.run_id
            }
            if not page.next_page_token:
                return frozenset(found)
            query["page_token"] = page.next_page_token
    except VendorRefusedError as error:
        if error.concerns_all:
            raise
    return None


def checked_run_id(run_id: str) -> str:
    """Return the id of an MLflow run, or raise InvalidNameError: it goes into a query."""
    if not _RUN_ID.fullmatch(run_id):
        raise InvalidNameError(f"{run_id!r} is no MLflow run.")
    return run_id


def _rows(listed: Iterable[_Metric]) -> Iterable[MetricRow]:
    for metric in listed:
        yield MetricRow(
            key=str(metric.key),
            value=metric.value,
            step=metric.step,
            timestamp=metric.timestamp,
            dataset=metric.dataset_name,
            run_id=metric.run_id,
        )
