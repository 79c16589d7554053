"""A world in which `champion-gate doctor` finds nothing wrong, until a test puts one thing wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask import Flask

from champion_gate.adapters.databricks.checks import destination_of
from champion_gate.bootstrap.core import SystemClock
from champion_gate.store import Store, open_store
from champion_gate.web.app import create_app
from champion_gate.web.auth import Access
from champion_gate.work.queue import HueyWakeUps
from champion_gate_standins.common.server import serve
from champion_gate_standins.databricks.mlflow import EXPERIMENT
from champion_gate_standins.databricks.server import DatabricksStandIn
from champion_gate_standins.github.server import GitHubStandIn
from integration.commands import run_command
from integration.gate_models import TRAINER
from integration.gate_world import GATE, SECRETS
from integration.process_world import set_up_github
from integration.store_databases import new_sqlite

MODEL = "main.ml.churn"
US = "0f0e0d0c-1111-2222-3333-444455556666"
VALIDATOR = "validator@example.com"
SERVING = "aaaaaaaa-1111-2222-3333-444455556666"
VALIDATION_PARAMETERS = {"model_name": "", "model_version": ""}


@dataclass
class DoctorWorld:
    """Stand-ins, the service's settings for them, and its web app at its public address; no worker runs.

    Attributes:
        store: its rows, in which a sweep was just noted.
    """

    folder: Path
    databricks: DatabricksStandIn
    github: GitHubStandIn
    environ: dict[str, str]
    job_id: str
    gate: dict[str, object]
    store: Store
    extra: dict[str, object] = field(default_factory=dict)

    def write_gates(self, **changes: object) -> None:
        """Write gates.yaml with the usual gate and these changes."""
        (self.folder / "gates.yaml").write_text(
            json.dumps(
                {
                    "registry": "databricks-uc",
                    "github": {"url": self.environ["GITHUB"]},
                    "gates": [{**self.gate, **changes}],
                    **self.extra,
                }
            )
        )

    def doctor(self, *arguments: str, code: int | None = 0, **environ: str) -> list[dict[str, Any]]:
        """Run it, and return its findings."""
        done = run_command(
            "doctor", "--json", *arguments, environ={**self.environ, **environ}, folder=self.folder
        )
        assert code in {None, done.returncode}, (done.returncode, done.stdout, done.stderr)
        return list(json.loads(done.stdout)["findings"])


@contextmanager
def doctor_world(folder: Path) -> Iterator[DoctorWorld]:
    """A world in which all is right."""
    databricks, github, database_url = DatabricksStandIn(user=US), GitHubStandIn(), new_sqlite()
    with (
        serve(databricks.app) as databricks_url,
        serve(github.app) as github_url,
        open_store(database_url) as store,
        serve(_service(store)) as public_url,
    ):
        store.note_time(lambda: datetime.now(UTC))
        set_up_github(github, f"{public_url}/hooks/github")
        job_id = databricks.jobs.add_job(
            "train-churn",
            run_as=TRAINER,
            more={
                "tasks": [{"task_key": "train", "notebook_task": {}, "job_cluster_key": "small"}],
                "job_clusters": [{"job_cluster_key": "small", "new_cluster": {"num_workers": 1}}],
            },
        )
        validation = databricks.jobs.add_job(
            "validate-churn", run_as=VALIDATOR, parameters=VALIDATION_PARAMETERS
        )
        databricks.grants.permit("jobs", validation, "ml-owners", "CAN_MANAGE_RUN", "group_name")
        _set_up_databricks(databricks, job_id, destination_of(public_url))
        world = DoctorWorld(
            folder,
            databricks,
            github,
            {
                **SECRETS,
                "CHAMPION_GATE_CONFIG": f"{folder}/gates.yaml",
                "CHAMPION_GATE_DATABASE_URL": database_url,
                "CHAMPION_GATE_PUBLIC_URL": public_url,
                "CHAMPION_GATE_GITHUB_TOKEN": github.add_token("champion-gate-bot"),
                "DATABRICKS_HOST": databricks_url,
                "DATABRICKS_TOKEN": "standin-token",
                "GITHUB": github_url,
            },
            job_id,
            {
                **GATE,
                "jobs": [int(job_id)],
                "model": MODEL,
                "validation": {"job": int(validation)},
                "after": [{"serving_endpoint": "churn"}],
            },
            store,
        )
        world.write_gates()
        yield world
        databricks.faults.clear()
        github.close()


def _service(store: Store) -> Flask:
    """Its web app, which knows the secrets."""
    names = ("CHAMPION_GATE_DATABRICKS_HOOK_USERNAME", "CHAMPION_GATE_DATABRICKS_HOOK_PASSWORD")
    username, password = (SECRETS[name] for name in names)
    access = Access(databricks_pairs=((username, password),))
    return create_app(store=store, wake_ups=HueyWakeUps(), clock=SystemClock(), access=access, checks=())


def _set_up_databricks(databricks: DatabricksStandIn, job_id: str, destination: str) -> None:
    """A run that has registered a version, what is around it, and who may do what."""
    grants, catalog = databricks.grants, databricks.catalog
    databricks.clusters.clusters["0101-small"] = {
        "data_security_mode": "SINGLE_USER",
        "single_user_name": TRAINER,
    }
    run_id = databricks.jobs.start_run(job_id)
    run = databricks.jobs.run(run_id)
    assert run is not None
    run.tasks[0].cluster_id = "0101-small"
    catalog.add_model(MODEL)
    mlflow_run = catalog.add_mlflow_run(metrics={"f1": 0.9})
    catalog.add_version(MODEL, run_id=mlflow_run, created_by=TRAINER)
    databricks.jobs.finish_run(run_id)
    attach(databricks, job_id, "ml-alerts", destination)
    databricks.add_principal(TRAINER, groups=("ml-trainers",))
    databricks.add_principal(SERVING)
    databricks.add_principal(VALIDATOR)
    grants.guarded = True
    grants.owners |= {("CATALOG", "main"): "data-platform", ("SCHEMA", "main.ml"): "data-platform"}
    grants.grant("CATALOG", "main", "ml-owners", "USE_CATALOG")
    grants.grant("SCHEMA", "main.ml", US, "USE_SCHEMA")
    grants.grant("FUNCTION", MODEL, "ml-trainers", "CREATE_MODEL_VERSION", "EXECUTE")
    for each in (SERVING, VALIDATOR):
        grants.grant("FUNCTION", MODEL, each, "EXECUTE")
    grants.permit("jobs", job_id, US, "CAN_VIEW", "service_principal_name")
    grants.permit("experiments", EXPERIMENT, US, "CAN_READ", "service_principal_name")
    entity = {"name": "churn", "entity_name": MODEL, "entity_version": "1", "workload_size": "Small"}
    databricks.serving.add_endpoint("churn", [entity], creator=SERVING)


def attach(databricks: DatabricksStandIn, job_id: str, *names: str) -> None:
    """Have these destinations, and no others, be told of the job's success."""
    job = databricks.jobs.job(job_id)
    assert job is not None
    webhook = {"generic_webhook": {"url": "https://gate.example.com/hooks/databricks"}}
    slack = {"slack": {"url": "https://x"}}
    ids = {each.display_name: each.id for each in databricks.destinations.by_id.values()}
    for name in names:
        if name not in ids:
            ids[name] = databricks.destinations.add(
                name, webhook if name.startswith("champion-gate") else slack
            )
    job.more = {**job.more, "webhook_notifications": {"on_success": [{"id": ids[name]} for name in names]}}


@dataclass(frozen=True)
class Wrong:
    """One thing that is wrong, and what the doctor says of it.

    Attributes:
        put: puts it wrong in a world in which all is right.
        check: the key of the one check that says so.
        remedy: part of what it says to do.
        verdict: what it is.
        also: what else follows from it.
        hides: whether other checks cannot be made then, which are not known.
        part: where it runs, if not always.
    """

    put: Callable[[DoctorWorld], object]
    check: str
    remedy: str
    verdict: str = "FAIL"
    also: Mapping[str, str] | None = None
    hides: bool = False
    part: str = "rest"
