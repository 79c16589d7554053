"""The Databricks stand-in's MLflow runs and logged models: state and routes.

Fields as in databricks/sdk/service/ml.py (GetLoggedModelResponse, Metric), and `outputs` as mlflow's
service.proto has it, which the SDK leaves out.
"""

from __future__ import annotations

import math
import re
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask, Response, abort, jsonify, request

_NEWEST_FIRST = [{"field_name": "creation_timestamp", "ascending": False}]
_MOST_A_PAGE = 50
_RUNS_NAMED = re.compile(r"attributes\.run_id IN \('[A-Za-z0-9_-]+'(?:, '[A-Za-z0-9_-]+')*\)")
_OF_RUN = re.compile(r"source_run_id\s*=\s*'([A-Za-z0-9_-]+)'")
EXPERIMENT = "4711"


class MlflowRuns:
    """MLflow runs and the models that they logged. Every method may be called from any thread.

    Attributes:
        tells_outputs: whether a run's answer says which models it logged.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self.tells_outputs = True
        self._now = now
        self._runs: dict[str, dict[str, Any]] = {}
        self._models: dict[str, dict[str, Any]] = {}
        self._logged: defaultdict[str, list[str]] = defaultdict(list)
        self._lock = threading.RLock()

    # what tests and the demo do
    def add_run(
        self,
        *,
        run_id: str | None = None,
        user: str | None = "trainer@example.com",
        metrics: Mapping[str, float | str] | None = None,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Log an MLflow run and return its id."""
        made = run_id or uuid.uuid4().hex
        now = self._now()
        every_tag = {**({"mlflow.user": user} if user else {}), **(tags or {})}
        info = {"run_id": made, "run_uuid": made, "experiment_id": EXPERIMENT, "status": "FINISHED"}
        run = {
            "info": {**info, "start_time": now, "end_time": now, "lifecycle_stage": "active"},
            "data": {
                "metrics": [
                    {"key": key, "value": value, "timestamp": now, "step": 0}
                    for key, value in (metrics or {}).items()
                ],
                "params": pairs(params or {}),
                "tags": pairs(every_tag),
            },
        }
        with self._lock:
            self._runs[made] = run
        return made

    def log_model(
        self,
        run_id: str,
        *,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        creator_id: int | None = 4242,
        as_output: bool = True,
    ) -> str:
        """Have a run log a model, which bears no numbers yet; returns its id.

        Args:
            run_id: the run.
            params: the model's own.
            tags: the model's own.
            creator_id: who made it, by number, as Databricks tells it; None where it does not.
            as_output: whether the run itself names it too.
        """
        made = f"m-{uuid.uuid4().hex}"
        now = self._now()
        info = {
            "model_id": made,
            "experiment_id": EXPERIMENT,
            "name": "model",
            "artifact_uri": f"dbfs:/databricks/mlflow-tracking/{EXPERIMENT}/logged_models/{made}/artifacts",
            "creation_timestamp_ms": now,
            "last_updated_timestamp_ms": now,
            "status": "LOGGED_MODEL_READY",
            "source_run_id": run_id,
            **({} if creator_id is None else {"creator_id": creator_id}),
            "tags": pairs(tags or {}),
        }
        with self._lock:
            self._models[made] = {"info": info, "data": {"params": pairs(params or {}), "metrics": []}}
            self._logged[run_id].append(made)
            if as_output:
                outputs = self._runs[run_id].setdefault("outputs", {}).setdefault("model_outputs", [])
                outputs.append({"model_id": made, "step": 0})
        return made

    def log_metric(
        self, model_id: str, key: str, value: float, *, step: int = 0, dataset: str | None = None
    ) -> None:
        """Log a number of a model, in the run that logged it: that run has it as its newest number then."""
        with self._lock:
            model = self._models[model_id]
            run_id = model["info"]["source_run_id"]
            row = {"key": key, "value": _shown(value), "timestamp": self._now(), "step": step}
            named = {"dataset_name": dataset, "dataset_digest": "0f1e2d"} if dataset else {}
            model["data"]["metrics"].append({**row, **named, "model_id": model_id, "run_id": run_id})
            self._log(run_id, row)

    def log_run_metric(self, run_id: str, key: str, value: float) -> None:
        """Log a number of a run alone."""
        with self._lock:
            self._log(run_id, {"key": key, "value": _shown(value), "timestamp": self._now(), "step": 0})

    def _log(self, run_id: str, row: dict[str, Any]) -> None:
        """A run shows one number of each metric: that of the highest step, then the newest."""
        data = self._runs[run_id]["data"]
        if any(each["key"] == row["key"] and each["step"] > row["step"] for each in data["metrics"]):
            return
        data["metrics"] = [each for each in data["metrics"] if each["key"] != row["key"]] + [row]

    def read_model(self, run_id: str, model_id: str) -> None:
        """Have a run say that it read a model, to measure it."""
        with self._lock:
            inputs = self._runs[run_id].setdefault("inputs", {})
            inputs.setdefault("model_inputs", []).append({"model_id": model_id})

    def remove_model(self, model_id: str) -> None:
        """Delete a logged model; the run goes on naming it."""
        with self._lock:
            self._logged[self._models.pop(model_id)["info"]["source_run_id"]].remove(model_id)

    def remove_run(self, run_id: str) -> None:
        """Delete a run; the models that it logged stay."""
        with self._lock:
            del self._runs[run_id]

    def runs(self) -> tuple[str, ...]:
        """The ids of all runs, newest first."""
        with self._lock:
            return tuple(reversed(self._runs))

    def run_of(self, model_id: str) -> str:
        """The run that logged a model."""
        with self._lock:
            return str(self._models[model_id]["info"]["source_run_id"])

    # what clients see
    def attach(self, app: Flask) -> None:
        """Add the routes."""
        app.get("/api/2.0/mlflow/runs/get")(self._get_mlflow_run)
        app.post("/api/2.0/mlflow/runs/search")(self._search_runs)
        app.get("/api/2.0/mlflow/logged-models/<model_id>")(self._get_logged_model)
        app.post("/api/2.0/mlflow/logged-models/search")(self._search_logged_models)

    def _get_mlflow_run(self) -> Response:
        with self._lock:
            run = self._runs.get(request.args.get("run_id", ""))
            if run is None:
                abort(404, f"Run '{request.args.get('run_id')}' not found.")
            return jsonify(run=self._shown_run(run))

    def _shown_run(self, run: Mapping[str, Any]) -> dict[str, Any]:
        hidden = () if self.tells_outputs else ("outputs", "inputs")
        return {key: value for key, value in run.items() if key not in hidden}

    def _search_runs(self) -> Response:
        body = request.get_json(silent=True) or {}
        wanted = str(body.get("filter", ""))
        if not body.get("experiment_ids") or _RUNS_NAMED.fullmatch(wanted) is None:
            abort(400, "experiment_ids or filter is invalid.")
        if EXPERIMENT not in body["experiment_ids"]:
            return jsonify({})
        names = re.findall(r"'([^']+)'", wanted)[: int(body.get("max_results", 1000))]
        with self._lock:
            return jsonify(runs=[self._shown_run(self._runs[each]) for each in names if each in self._runs])

    def _get_logged_model(self, model_id: str) -> Response:
        with self._lock:
            model = self._models.get(model_id)
            if model is None:
                abort(404, f"Logged model '{model_id}' not found.")
            return jsonify(model=model)

    def _search_logged_models(self) -> Response:
        body = request.get_json(silent=True) or {}
        wanted = str(body.get("filter", "")).strip()
        of_run = _OF_RUN.fullmatch(wanted)
        if not body.get("experiment_ids") or (wanted and of_run is None):
            abort(400, "experiment_ids or filter is invalid.")
        if EXPERIMENT not in body["experiment_ids"]:
            return jsonify({})
        most, start = (
            min(int(body.get("max_results", _MOST_A_PAGE)), _MOST_A_PAGE),
            int(body.get("page_token", 0)),
        )
        with self._lock:
            ids = list(self._models) if of_run is None else self._logged.get(of_run[1], ())
            found = [self._models[model_id] for model_id in ids]
        if body.get("order_by") == _NEWEST_FIRST:
            found.reverse()
        more = {"next_page_token": str(start + most)} if len(found) > start + most else {}
        return jsonify({"models": found[start : start + most], **more})


def pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    """As MLflow's answers have keys and values."""
    return [{"key": key, "value": value} for key, value in values.items()]


def _shown(value: float) -> float | str:
    """As protobuf's JSON has what JSON has no number for."""
    if math.isnan(value):
        return "NaN"
    return value if math.isfinite(value) else "Infinity" if value > 0 else "-Infinity"
