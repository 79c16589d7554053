"""A folder as `champion-gate init` leaves it, and a Databricks workspace that knows nothing of it yet."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import databricks.sdk  # noqa: F401 - takes a second, which a small budget does not have

from champion_gate.settings.env_file import create_env_file, read_env_file
from champion_gate_standins.common.server import serve
from champion_gate_standins.databricks.server import DatabricksStandIn
from integration.commands import run_command

SERVICE = "0b7e8a52-3c1d-4f6e-9a2b-7c5d1e0f4a3b"
SECRET = "dose0123456789abcdef"
TRAINER = "trainer@example.com"
MODEL = "main.ml.churn"
PASSWORD = "CHAMPION_GATE_DATABRICKS_HOOK_PASSWORD"
GATES = """\
registry: databricks-uc
gates:
  - name: churn
    jobs: [{job}]
    model: main.ml.churn
    approval:
      gitlab: {{project: 42, environment: champion}}
"""


@dataclass
class SetupWorld:
    """Attributes:
    job: of the training, which runs as trainer@example.com, who owns the model.
    """

    folder: Path
    databricks: DatabricksStandIn
    url: str
    job: str
    admin: str
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, str]:
        return read_env_file(self.folder / "champion-gate.env")

    def setup(self, *arguments: str, token: str | None = None) -> subprocess.CompletedProcess[str]:
        environ = {"DATABRICKS_HOST": self.url, "DATABRICKS_TOKEN": token or self.admin, **self.environ}
        return run_command("setup", "databricks", *arguments, environ=environ, folder=self.folder)

    def attached(self) -> dict[str, list[str]]:
        """Event -> the names of the destinations that are attached to the job."""
        job = self.databricks.jobs.job(self.job)
        assert job is not None
        known = self.databricks.destinations.by_id
        told = job.more.get("webhook_notifications", {})
        return {event: [known[each["id"]].display_name for each in listed] for event, listed in told.items()}

    def writes(self) -> list[str]:
        return [
            f"{each.method} {each.path}"
            for each in self.databricks.requests
            if each.method != "GET" and each.path.startswith("/api/")
        ]


@contextmanager
def empty_workspace() -> Iterator[tuple[DatabricksStandIn, str, str, str]]:
    """A workspace in which a job has trained and registered a model, and nobody has heard of champion-gate.

    Yields:
        The stand-in, its address, the job's id, and the token of an administrator.
    """
    standin = DatabricksStandIn(user=SERVICE, client_id=SERVICE, client_secret=SECRET)
    standin.grants.guarded = True
    standin.grants.owners |= {("CATALOG", "main"): "data-platform", ("SCHEMA", "main.ml"): "data-platform"}
    admin = standin.add_principal("admin@example.com", admin=True)
    standin.add_principal(TRAINER)
    job = standin.jobs.add_job("churn-train", more={"tasks": [{"task_key": "train", "notebook_task": {}}]})
    standin.catalog.add_model(MODEL, owner=TRAINER)
    run = standin.jobs.start_run(job)
    standin.catalog.add_version(MODEL, run_id=standin.catalog.add_mlflow_run(metrics={"f1": 0.9}))
    standin.jobs.finish_run(run)
    with serve(standin.app) as url:
        yield standin, url, job, admin


@contextmanager
def setup_world(folder: Path) -> Iterator[SetupWorld]:
    with empty_workspace() as (standin, url, job, admin):
        (folder / "gates.yaml").write_text(GATES.format(job=job))
        create_env_file(
            folder / "champion-gate.env",
            f"CHAMPION_GATE_PUBLIC_URL=https://gate.example.com\nDATABRICKS_HOST={url}\n"
            f"DATABRICKS_CLIENT_ID={SERVICE}\nDATABRICKS_CLIENT_SECRET={SECRET}\n"
            f"CHAMPION_GATE_DATABRICKS_HOOK_USERNAME=databricks\n{PASSWORD}=the-first-password\n",
        )
        yield SetupWorld(folder, standin, url, job, admin)
