"""A world in which `champion-gate doctor` finds nothing wrong, until a test puts one thing wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from champion_gate_standins.common.server import serve
from champion_gate_standins.databricks.server import DatabricksStandIn
from champion_gate_standins.github.server import GitHubStandIn
from integration.commands import run_command
from integration.gate_models import TRAINER
from integration.gate_world import GATE, SECRETS
from integration.process_world import set_up_github

MODEL = "main.ml.churn"


@dataclass
class DoctorWorld:
    """Stand-ins, and the service's settings for them; no service runs."""

    folder: Path
    databricks: DatabricksStandIn
    github: GitHubStandIn
    environ: dict[str, str]
    job_id: str
    gate: dict[str, object]

    def write_gates(self, **changes: object) -> None:
        """Write gates.yaml with the usual gate and these changes."""
        (self.folder / "gates.yaml").write_text(
            json.dumps(
                {
                    "registry": "databricks-uc",
                    "github": {"url": self.environ["GITHUB"]},
                    "gates": [{**self.gate, **changes}],
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
    databricks, github = DatabricksStandIn(), GitHubStandIn()
    with serve(databricks.app) as databricks_url, serve(github.app) as github_url:
        set_up_github(github, "https://gate.example.com/hooks/github")
        job_id = databricks.jobs.add_job("train-churn", run_as=TRAINER)
        world = DoctorWorld(
            folder,
            databricks,
            github,
            {
                **SECRETS,
                "CHAMPION_GATE_CONFIG": f"{folder}/gates.yaml",
                "CHAMPION_GATE_DATABASE_URL": f"sqlite:///{folder}/gate.db",
                "CHAMPION_GATE_GITHUB_TOKEN": github.add_token("champion-gate-bot"),
                "DATABRICKS_HOST": databricks_url,
                "DATABRICKS_TOKEN": "standin-token",
                "GITHUB": github_url,
            },
            job_id,
            {**GATE, "jobs": [int(job_id)], "model": MODEL},
        )
        world.write_gates()
        yield world
        databricks.faults.clear()
        github.close()


@dataclass(frozen=True)
class Wrong:
    """One thing that is wrong, and what the doctor says of it.

    Attributes:
        put: puts it wrong in a world in which all is right.
        check: the key of the one check that says so.
        remedy: part of what it says to do.
        verdict: what it is.
        environ: further variables.
    """

    put: Callable[[DoctorWorld], object]
    check: str
    remedy: str
    verdict: str = "FAIL"
    environ: Mapping[str, str] | None = None
