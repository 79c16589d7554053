"""MLflow's runs and logged models as its own client gives them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from champion_gate.adapters.mlflow.errors import is_refusal, is_unknown_call
from champion_gate.domain.metrics import counting
from champion_gate.domain.versions import LoggedModel, MetricRow, TrainingRun, measured

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel as Shown
    from mlflow.entities import Run

_PER_PAGE = 50
_MOST_PAGES = 4
_PAGES_MORE = 2  # than those that are looked for fill: newer ones may stand before them
_MOST_HISTORIES = 50  # each takes a call
_RUNS_A_SEARCH = 100  # the ids go into one filter, which has to stay short
_RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def training_run(run: Run, server: str | None) -> TrainingRun:
    """An MLflow run.

    Args:
        run: as `MlflowClient.get_run` gives it.
        server: its web pages' address; None where it has none.
    """
    tags = run.data.tags
    url = None
    if server:
        experiment, run_id = quote(str(run.info.experiment_id), safe=""), quote(run.info.run_id, safe="")
        url = f"{server}/#/experiments/{experiment}/runs/{run_id}"
    return TrainingRun(
        run_id=run.info.run_id,
        user=tags.get("mlflow.user") or run.info.user_id or None,
        job_id=tags.get("mlflow.databricks.jobID"),
        job_run_id=tags.get("mlflow.databricks.jobRunID"),
        metrics={name: measured(value) for name, value in run.data.metrics.items()},
        params=dict(run.data.params),
        git_commit=tags.get("mlflow.source.git.commit") or tags.get("mlflow.databricks.gitRepoCommit"),
        started_at=instant(run.info.start_time),
        url=url,
        experiment_id=str(run.info.experiment_id),
        logged_models=_named_by(run),
        artifact_uri=run.info.artifact_uri or None,
    )


def find_runs(client: MlflowClient, experiment_id: str, run_ids: Sequence[str]) -> Iterable[Run]:
    """Those of these runs that the experiment has and that are not deleted.

    Filters know `run_id IN` since MLflow 1.30 (mlflow/mlflow#6945). A run's id goes in only where it is of the form
    that MLflow's own have.
    """
    known = [each for each in run_ids if _RUN_ID.fullmatch(each)]
    found: list[Run] = []
    for start in range(0, len(known), _RUNS_A_SEARCH):
        some = known[start : start + _RUNS_A_SEARCH]
        names = ", ".join(f"'{each}'" for each in some)
        page = client.search_runs([experiment_id], f"attributes.run_id IN ({names})", max_results=len(some))
        found += [each for each in page if each.info.run_id in some]
    return found


def read_logged_model(client: MlflowClient, model_id: str) -> LoggedModel:
    """One logged model.

    MLflow's SQL store keeps a NaN of a logged model as 0 (sqlalchemy_store.py, _log_model_metrics), while the
    run that logged it has it as NaN: a 0 is looked up there.
    """
    found = _logged_model(client.get_logged_model(model_id))
    return replace(found, metrics=tuple(_with_nan(client, found.metrics)))


def find_logged_models(
    client: MlflowClient, experiment_id: str, model_ids: Sequence[str]
) -> dict[str, LoggedModel]:
    """Those of these logged models that are among the newest of an experiment, each with a NaN as the server keeps it.

    All are listed, newest first, for hardly more pages than these would fill: the filter cannot name several.
    """
    wanted, found, token = set(model_ids), dict[str, LoggedModel](), None
    for _ in range(len(wanted) // _PER_PAGE + _PAGES_MORE):
        page = client.search_logged_models(
            experiment_ids=[experiment_id],
            order_by=[{"field_name": "creation_timestamp", "ascending": False}],
            max_results=_PER_PAGE,
            page_token=token,
        )
        found |= {each.model_id: _logged_model(each) for each in page if each.model_id in wanted}
        token = page.token
        if not token or len(found) == len(wanted):
            break
    return found


def _logged_model(found: Shown) -> LoggedModel:
    rows = tuple(
        MetricRow(
            key=each.key,
            value=measured(float(each.value)),
            step=each.step or 0,
            timestamp=each.timestamp or 0,
            dataset=each.dataset_name or None,
            run_id=each.run_id or None,
        )
        for each in found.metrics or ()
    )
    return LoggedModel(
        model_id=found.model_id,
        run_id=found.source_run_id or None,
        metrics=rows,
        params=dict(found.params or {}),
        tags=dict(found.tags or {}),
        artifact_uri=found.artifact_location or None,
        status=str(found.status),
        created_at=instant(found.creation_timestamp),
    )


def logged_models_of(client: MlflowClient, run: TrainingRun) -> frozenset[str] | None:
    """The ids of the logged models of a run: those that it names, and those that name it; None if not known.

    An MLflow server of before 3.0 has no logged models, nor the call that searches them.
    """
    if run.experiment_id is None:
        return None
    found = set(run.logged_models or ())
    token = None
    try:
        for _ in range(_MOST_PAGES):
            page = client.search_logged_models(
                experiment_ids=[run.experiment_id],
                filter_string=f"source_run_id = '{run.run_id}'",
                max_results=_PER_PAGE,
                page_token=token,
            )
            found |= {each.model_id for each in page if each.source_run_id == run.run_id}
            token = page.token
            if not token:
                return frozenset(found)
    except Exception as error:
        if is_unknown_call(error):
            return frozenset(found)
        if is_refusal(error):
            return None
        raise
    return None


def instant(milliseconds: object) -> datetime | None:
    """A time in UTC out of milliseconds since 1970; None where there is none."""
    if not isinstance(milliseconds, int) or milliseconds <= 0:
        return None
    try:
        return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _named_by(run: Run) -> frozenset[str]:
    """The logged models that a run says it made, or read to measure them."""
    named = [] if run.outputs is None else [each.model_id for each in run.outputs.model_outputs]
    if run.inputs is not None:
        named += [each.model_id for each in run.inputs.model_inputs or ()]
    return frozenset(named)


def _with_nan(client: MlflowClient, rows: tuple[MetricRow, ...]) -> Iterable[MetricRow]:
    doubtful = {row for row in counting(rows) if row.value == 0}
    histories: dict[tuple[str, str], dict[tuple[int, int], float]] = {}
    for row in rows:
        if row not in doubtful:
            yield row
            continue
        where = (row.run_id or "", row.key)
        if where not in histories and len(histories) < _MOST_HISTORIES:
            histories[where] = _history(client, *where)
        value = histories.get(where, {}).get((row.step, row.timestamp), math.nan)
        yield row if value == 0 else replace(row, value=math.nan)


def _history(client: MlflowClient, run_id: str, key: str) -> dict[tuple[int, int], float]:
    """All that a run logged of a metric, by step and time; empty where it is not there any more."""
    try:
        history = client.get_metric_history(run_id, key) if run_id else []
    except Exception as error:
        if is_refusal(error):
            return {}
        raise
    found: dict[tuple[int, int], float] = {}
    for each in history:
        at = (each.step or 0, each.timestamp or 0)
        found[at] = math.nan if at in found and found[at] != each.value else each.value
    return found
