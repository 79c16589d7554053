"""MLflow runs and logged models of the workspace."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Annotated
from urllib.parse import quote

from pydantic import AliasPath, BeforeValidator, Field

from champion_gate.adapters.databricks.connection import Operation
from champion_gate.adapters.databricks.errors import unreadable
from champion_gate.adapters.databricks.models import (
    Instant,
    Listed,
    Nested,
    Page,
    Pair,
    Word,
    at,
    databricks,
    list_at,
    pairs,
)
from champion_gate.adapters.http.models import Answered
from champion_gate.domain.metrics import latest
from champion_gate.domain.versions import LoggedModel, MetricRow, TrainingRun, check_logged_model_id, measured
from champion_gate.errors import InvalidNameError, VendorRefusedError

_RUN = "/api/2.0/mlflow/runs/get"
_SEARCH_RUNS = "/api/2.0/mlflow/runs/search"
_RUNS_A_SEARCH = 100  # the ids go into one filter, which has to stay short
_LOGGED_MODELS = "/api/2.0/mlflow/logged-models"
_SEARCH_MODELS = f"{_LOGGED_MODELS}/search"
_PER_PAGE = 50
_MOST_PAGES = 4
_PAGES_MORE = 2  # than those that are looked for fill: newer ones may stand before them
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


class _NamedModel(Answered):
    model_id: object = None


class _MlflowRun(Nested):
    run_id: object = at("run", "info", "run_id")
    run_uuid: object = at("run", "info", "run_uuid")
    experiment_id: Word = at("run", "info", "experiment_id")
    user_id: Word = at("run", "info", "user_id")
    user_name: Word = at("run", "info", "user_name")
    start_time: Instant = at("run", "info", "start_time")
    artifact_uri: Word = at("run", "info", "artifact_uri")
    metrics: Listed[_Metric] = list_at("run", "data", "metrics")
    params: Listed[Pair] = list_at("run", "data", "params")
    tags: Listed[Pair] = list_at("run", "data", "tags")
    model_outputs: Listed[_NamedModel] = list_at("run", "outputs", "model_outputs")
    model_inputs: Listed[_NamedModel] = list_at("run", "inputs", "model_inputs")


class _RunList(Answered):
    runs: Listed[dict[str, object]] = Field(default_factory=list)


class _LoggedModel(Nested):
    model_id: object = at("model", "info", "model_id")
    source_run_id: Word = at("model", "info", "source_run_id")
    tags: Listed[Pair] = list_at("model", "info", "tags")
    artifact_uri: Word = at("model", "info", "artifact_uri")
    status: Word = at("model", "info", "status")
    creation_timestamp_ms: Instant = at("model", "info", "creation_timestamp_ms")
    creator_id: object = at("model", "info", "creator_id")
    metrics: Listed[_Metric] = list_at("model", "data", "metrics")
    params: Listed[Pair] = list_at("model", "data", "params")


class _ListedModel(Nested):
    model_id: str = Field(validation_alias=AliasPath("info", "model_id"))
    source_run_id: Word = at("info", "source_run_id")


class _LoggedModelList(Page):
    models: Listed[_ListedModel] = Field(default_factory=list)


class _WholeModelList(Page):
    models: Listed[dict[str, object]] = Field(default_factory=list)


# --- reading ----------------------------------------------------------------------------------------------


def read_run(api: Operation, run_id: str) -> TrainingRun:
    """One MLflow run of the workspace.

    Raises:
        InvalidNameError: `run_id` cannot be the id of one.
        VendorNotFoundError: there is none, or we may not see it.
    """
    run = api.get(_MlflowRun, _RUN, {"run_id": checked_run_id(run_id)})
    if run_id not in (run.run_id, run.run_uuid):
        raise unreadable(_RUN)
    return _training_run(api, run_id, run)


def find_runs(api: Operation, experiment_id: str, run_ids: Sequence[str]) -> dict[str, TrainingRun]:
    """Those of these MLflow runs that the experiment has and that are not deleted.

    Filters know `run_id IN` since MLflow 1.30 (mlflow/mlflow#6945).
    """
    found: dict[str, TrainingRun] = {}
    for start in range(0, len(run_ids), _RUNS_A_SEARCH):
        some = [checked_run_id(each) for each in run_ids[start : start + _RUNS_A_SEARCH]]
        names = ", ".join(f"'{each}'" for each in some)
        query: dict[str, object] = {
            "experiment_ids": [experiment_id],
            "filter": f"attributes.run_id IN ({names})",
            "max_results": len(some),
        }
        for shown in api.post(_RunList, _SEARCH_RUNS, query).runs:
            run = databricks.one(_MlflowRun, {"run": shown}, _SEARCH_RUNS)
            if run.run_id in some:
                found[str(run.run_id)] = _training_run(api, str(run.run_id), run)
    return found


def _training_run(api: Operation, run_id: str, run: _MlflowRun) -> TrainingRun:
    tags = pairs(run.tags)
    experiment, host = run.experiment_id, api.connection.host
    return TrainingRun(
        run_id=run_id,
        user=tags.get("mlflow.user") or run.user_id or run.user_name,
        job_id=tags.get("mlflow.databricks.jobID") or None,
        job_run_id=tags.get("mlflow.databricks.jobRunID") or None,
        metrics=latest(_rows(run.metrics)),
        params=pairs(run.params),
        git_commit=tags.get("mlflow.source.git.commit")
        or tags.get("mlflow.databricks.gitRepoCommit")
        or None,
        started_at=run.start_time,
        url=f"{host}/ml/experiments/{quote(experiment, safe='')}/runs/{run_id}"
        if host and experiment
        else None,
        experiment_id=experiment,
        # The logged models that it says it made, or read to measure them.
        logged_models=frozenset(str(each.model_id) for each in (*run.model_outputs, *run.model_inputs)),
        artifact_uri=run.artifact_uri,
    )


def read_logged_model(api: Operation, model_id: str) -> LoggedModel:
    """One logged model of the workspace.

    Raises:
        InvalidNameError: `model_id` cannot be the id of one.
        VendorNotFoundError: there is none, or we may not see it.
    """
    path = f"{_LOGGED_MODELS}/{check_logged_model_id(model_id)}"
    model = api.get(_LoggedModel, path)
    if model.model_id != model_id:
        raise unreadable(_LOGGED_MODELS)
    return _logged_model(model_id, model)


def find_logged_models(
    api: Operation, experiment_id: str, model_ids: Sequence[str]
) -> dict[str, LoggedModel]:
    """Those of these logged models that are among the newest of an experiment.

    The search's filter joins comparisons with AND only, so it cannot name several: all are listed, newest first, for
    hardly more pages than these would fill.
    """
    wanted, found = set(model_ids), dict[str, LoggedModel]()
    query: dict[str, object] = {
        "experiment_ids": [experiment_id],
        "order_by": [{"field_name": "creation_timestamp", "ascending": False}],
        "max_results": _PER_PAGE,
    }
    for _ in range(len(wanted) // _PER_PAGE + _PAGES_MORE):
        page = api.post(_WholeModelList, _SEARCH_MODELS, query)
        for shown in page.models:
            model = databricks.one(_LoggedModel, {"model": shown}, _SEARCH_MODELS)
            if model.model_id in wanted:
                found[str(model.model_id)] = _logged_model(str(model.model_id), model)
        if not page.next_page_token or len(found) == len(wanted):
            break
        query["page_token"] = page.next_page_token
    return found


def _logged_model(model_id: str, model: _LoggedModel) -> LoggedModel:
    creator = model.creator_id
    return LoggedModel(
        model_id=model_id,
        run_id=model.source_run_id,
        metrics=tuple(_rows(model.metrics)),
        params=pairs(model.params),
        tags=pairs(model.tags),
        artifact_uri=model.artifact_uri,
        status=model.status,
        created_at=model.creation_timestamp_ms,
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
    try:
        for _ in range(_MOST_PAGES):
            page = api.post(_LoggedModelList, _SEARCH_MODELS, query)
            found |= {each.model_id for each in page.models if each.source_run_id == run.run_id}
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
