"""Which privilege a call to the Databricks stand-in takes; asked for only where `Grants.guarded` is set."""

from __future__ import annotations

import re

from flask import abort, request

from champion_gate_standins.databricks.grants import Grants
from champion_gate_standins.databricks.jobs import Jobs
from champion_gate_standins.databricks.mlflow import EXPERIMENT
from champion_gate_standins.databricks.principals import caller

_MODEL = re.compile(r"/api/2\.1/unity-catalog/models/(?P<model>[^/]+)(?P<below>/.*)?")


class Guard:
    """Refuses, as Databricks words it, what the caller has no privilege for."""

    def __init__(self, grants: Grants, jobs: Jobs) -> None:
        self._grants = grants
        self._jobs = jobs

    def __call__(self) -> None:
        """Abort with 403 unless the call is permitted."""
        if not self._grants.guarded or not request.path.startswith("/api/"):
            return
        self._check_job()
        self._check_experiment()
        found = _MODEL.fullmatch(request.path)
        if found is not None:
            self._check_model(found["model"], "aliases" in (found["below"] or "") and request.method != "GET")
        elif request.path.startswith("/api/2.0/mlflow/unity-catalog/"):
            given = request.args if request.method == "GET" else request.get_json(silent=True) or {}
            self._check_model(str(given.get("name", "")), writes=False)

    def _check_job(self) -> None:
        job_id = None
        if request.path == "/api/2.2/jobs/run-now":
            wanted = str((request.get_json(silent=True) or {}).get("job_id", ""))
            if not self._grants.permitted(caller(), "jobs", wanted, runs=True):
                abort(403, f"User {caller().name} does not have Manage Run permissions on job {wanted}")
        elif request.path in {"/api/2.2/jobs/get", "/api/2.2/jobs/runs/list"}:
            job_id = request.args.get("job_id")
        elif request.path == "/api/2.2/jobs/runs/get":
            run = self._jobs.run(request.args.get("run_id", "0"))
            job_id = None if run is None else str(run.job.job_id)
        if job_id and not self._grants.permitted(caller(), "jobs", job_id):
            abort(
                403,
                f"User {caller().name} does not have View or Admin or Manage Run or Owner permissions on job {job_id}",
            )

    def _check_experiment(self) -> None:
        if request.path.startswith("/api/2.0/mlflow/runs/") and not self._grants.permitted(
            caller(), "experiments", EXPERIMENT
        ):
            abort(403, f"{caller().name} does not have CAN_READ on experiment {EXPERIMENT}.")

    def _check_model(self, model: str, writes: bool) -> None:
        who = caller()
        if (
            len(model.split(".")) != len(("catalog", "schema", "model"))
            or self._grants.owner("FUNCTION", model) is None
        ):
            return
        if not self._grants.reaches(who, model):
            abort(403, f"User does not have USE SCHEMA on Schema '{model.rpartition('.')[0]}'.")
        if writes and not who.admin and self._grants.owner("FUNCTION", model) not in who.names:
            abort(403, f"User is not an owner of Model '{model}'.")
        if not writes and not self._grants.holds(who, "EXECUTE", "FUNCTION", model):
            abort(403, f"User does not have EXECUTE on Model '{model}'.")
