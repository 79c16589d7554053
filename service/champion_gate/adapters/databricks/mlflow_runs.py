"""MLflow runs and logged models of the workspace, as raw JSON: the SDK's classes drop a run's `outputs`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from champion_gate.adapters.databricks.connection import Operation, record, records, text
from champion_gate.adapters.databricks.errors import unreadable
from champion_gate.adapters.databricks.reading import instant
from champion_gate.domain.metrics import latest
from champion_gate.domain.versions import LoggedModel, MetricRow, TrainingRun, check_logged_model_id, measured
from champion_gate.errors import InvalidNameError, VendorRefusedError

_RUN = "/api/2.0/mlflow/runs/get"
_LOGGED_MODELS = "/api/2.0/mlflow/logged-models"
_PER_PAGE = 50
_MOST_PAGES = 4
_RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_INTEGER = re.compile(r"-?[0-9]{1,20}", re.ASCII)


def read_run(api: Operation, run_id: str) -> TrainingRun:
    """One MLflow run of the workspace.

    Raises:
        InvalidNameError: `run_id` cannot be the id of one.
        VendorNotFoundError: there is none, or we may not see it.
    """
    run = record(api.read(_RUN, {"run_id": checked_run_id(run_id)}).get("run"), _RUN)
    info, data = record(run.get("info"), _RUN), record(run.get("data", {}), _RUN)
    if run_id not in (info.get("run_id"), info.get("run_uuid")):
        raise unreadable(_RUN)
    tags = pairs(data.get("tags"), _RUN)
    experiment, host = text(info.get("experiment_id")), api.connection.host
    return TrainingRun(
        run_id=run_id,
        user=tags.get("mlflow.user") or text(info.get("user_id")) or text(info.get("user_name")),
        job_id=tags.get("mlflow.databricks.jobID") or None,
        job_run_id=tags.get("mlflow.databricks.jobRunID") or None,
        metrics=latest(_rows(data.get("metrics"), _RUN)),
        params=pairs(data.get("params"), _RUN),
        git_commit=tags.get("mlflow.source.git.commit")
        or tags.get("mlflow.databricks.gitRepoCommit")
        or None,
        started_at=instant(info.get("start_time")),
        url=f"{host}/ml/experiments/{quote(experiment, safe='')}/runs/{run_id}"
        if host and experiment
        else None,
        experiment_id=experiment,
        logged_models=_named_by(run),
        artifact_uri=text(info.get("artifact_uri")),
    )


def read_logged_model(api: Operation, model_id: str) -> LoggedModel:
    """One logged model of the workspace.

    Raises:
        InvalidNameError: `model_id` cannot be the id of one.
        VendorNotFoundError: there is none, or we may not see it.
    """
    path = f"{_LOGGED_MODELS}/{check_logged_model_id(model_id)}"
    model = record(api.read(path).get("model"), _LOGGED_MODELS)
    info, data = record(model.get("info"), _LOGGED_MODELS), record(model.get("data", {}), _LOGGED_MODELS)
    if info.get("model_id") != model_id:
        raise unreadable(_LOGGED_MODELS)
    creator = info.get("creator_id")
    return LoggedModel(
        model_id=model_id,
        run_id=text(info.get("source_run_id")),
        metrics=tuple(_rows(data.get("metrics"), _LOGGED_MODELS)),
        params=pairs(data.get("params"), _LOGGED_MODELS),
        tags=pairs(info.get("tags"), _LOGGED_MODELS),
        artifact_uri=text(info.get("artifact_uri")),
        status=text(info.get("status")),
        created_at=instant(info.get("creation_timestamp_ms")),
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
            page = api.search(path, query)
            for model in records(page.get("models"), path):
                info = record(model.get("info"), path)
                if info.get("source_run_id") == run.run_id:
                    found.add(str(info.get("model_id")))
            token = text(page.get("next_page_token"))
            if not token:
                return frozenset(found)
            query["page_token"] = token
    except VendorRefusedError as error:
        if error.concerns_all:
            raise
    return None


def checked_run_id(run_id: str) -> str:
    """Return the id of an MLflow run, or raise InvalidNameError: it goes into a query."""
    if not _RUN_ID.fullmatch(run_id):
        raise InvalidNameError(f"{run_id!r} is no MLflow run.")
    return run_id


def pairs(value: object, what: str) -> dict[str, str]:
    """A list of `{"key": …, "value": …}` as a dictionary."""
    return {str(raw.get("key")): str(raw.get("value") or "") for raw in records(value, what)}


def _rows(value: object, what: str) -> Iterable[MetricRow]:
    for raw in records(value, what):
        yield MetricRow(
            key=str(raw.get("key")),
            value=_number(raw.get("value")),
            step=_integer(raw.get("step"), what),
            timestamp=_integer(raw.get("timestamp"), what),
            dataset=text(raw.get("dataset_name")),
            run_id=text(raw.get("run_id")),
        )


def _named_by(run: Mapping[str, Any]) -> frozenset[str]:
    """The logged models that a run says it made, or read to measure them."""
    named = set()
    for part, models in (("outputs", "model_outputs"), ("inputs", "model_inputs")):
        for raw in records(record(run.get(part) or {}, _RUN).get(models), _RUN):
            named.add(str(raw.get("model_id")))
    return frozenset(named)


def _number(value: object) -> float:
    """A metric. Those that JSON has no number for come as "NaN", "Infinity" or "-Infinity"."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    try:
        return measured(float(value))
    except ValueError:
        return math.nan
    except OverflowError:
        return math.inf


def _integer(value: object, what: str) -> int:
    """A step or a time, which JSON has as a number or as digits; one that is left out is 0."""
    if value is None:
        return 0
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    raise unreadable(what)
