"""The world around a service that is measured: Databricks and GitHub in a process of their own, and many gates.

The stand-ins share no interpreter with whoever sends the load, and their work is not counted as the service's.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from flask import request

from champion_gate.bootstrap.databases import migrate_database
from champion_gate_standins.common.server import serve
from champion_gate_standins.databricks.server import DatabricksStandIn
from champion_gate_standins.github.server import GitHubStandIn
from integration.gate_models import TRAINER, CatalogModels
from integration.gate_world import GATE, SECRETS
from integration.own_process import in_own_process
from integration.process_world import Served, free_port, until

BOT, REVIEWER = "champion-gate-bot", "reviewer-1"


class FarEnds:
    """Databricks and GitHub, with one watched job, one model and one Champion a gate."""

    def __init__(self, gates: int, repositories: int) -> None:
        """Begin to serve.

        Args:
            gates: how many.
            repositories: in how many repositories their approvals are asked for.
        """
        self._databricks, self._github = DatabricksStandIn(), GitHubStandIn()
        self._made: set[str] = set()
        self._making = threading.Lock()
        self._turn = self._seen = 0
        self._models = [CatalogModels(self._databricks, f"main.ml.m{number}") for number in range(gates)]
        self._jobs = [
            self._databricks.jobs.add_job(f"train-{number}", run_as=TRAINER, creator=TRAINER)
            for number in range(gates)
        ]
        for job, models in zip(self._jobs, self._models, strict=True):
            models.move_alias(models.train(job, "1", {"f1": 0.9}))
        self._token = self._github.add_token(BOT)
        self._repositories = [
            self._repository(f"example/ml-deploy-{number}") for number in range(repositories)
        ]
        self._databricks.app.before_request(self._make)
        self._servers = ExitStack()  # never left: they end with their process
        self._databricks_url = self._servers.enter_context(serve(self._databricks.app))
        self._github_url = self._servers.enter_context(serve(self._github.app))

    def _repository(self, name: str) -> str:
        self._github.add_repository(name)
        self._github.protect_branch(name)
        for login in ("octo-trainer", REVIEWER):
            self._github.add_user(login)
        self._github.protect_environment(name, "champion", [REVIEWER, "octo-trainer"])
        return name

    def environ(self) -> dict[str, str]:
        """What the service has to be told of them."""
        return {
            **SECRETS,
            "CHAMPION_GATE_GITHUB_TOKEN": self._token,
            "DATABRICKS_HOST": self._databricks_url,
            "DATABRICKS_TOKEN": "standin-token",
        }

    def gates(self) -> dict[str, Any]:
        """As gates.yaml has them. Newer versions end no request, so that all of them stay open."""
        gates = [
            {
                **GATE,
                "name": f"gate-{number}",
                "jobs": [int(job)],
                "model": models.model,
                "newer_version": "keep",
                "approval": _approval(self._repositories[number % len(self._repositories)]),
            }
            for number, (job, models) in enumerate(zip(self._jobs, self._models, strict=True))
        ]
        return {"registry": CatalogModels.registry, "github": {"url": self._github_url}, "gates": gates}

    def watched_job(self) -> str:
        """The first gate's."""
        return self._jobs[0]

    def train(self, times: int) -> list[tuple[str, str]]:
        """Job and run of so many runs, each of which has registered a version and ended well; one gate after another."""
        made = []
        for _ in range(times):
            gate, self._turn = self._turn % len(self._jobs), self._turn + 1
            made.append((self._jobs[gate], self._run(gate)))
        return made

    def _run(self, gate: int, run_id: str | None = None) -> str:
        jobs, job = self._databricks.jobs, self._jobs[gate]
        run_id = jobs.start_run(job, run_id=run_id)
        self._made.add(run_id)
        self._models[gate].train(job, jobs.task_run_id(run_id, "train"), {"f1": 0.91})
        jobs.finish_run(run_id, notify=False)
        return run_id

    def _make(self) -> None:
        """Whatever run of the first gate's job somebody asks for has just ended well."""
        if request.path != "/api/2.2/jobs/runs/get":
            return
        with self._making:
            if (run_id := request.args["run_id"]) not in self._made:
                self._run(0, run_id)

    def send_webhooks(self, url: str) -> None:
        """Have GitHub tell the service."""
        self._github.webhooks.url = url
        self._github.webhooks.secret = SECRETS["CHAMPION_GATE_GITHUB_WEBHOOK_SECRET"]

    def approve(self) -> int:
        """A person approves everything that waits; returns how much that was."""
        runs, before = self._github.runs, self._seen
        self._seen = len(runs)
        for run in runs[before:]:
            self._github.review(run.id, "champion", REVIEWER, approve=True, comment="Looks good.")
        self._github.webhooks.deliveries.clear()
        return len(runs) - before

    def asked(self) -> int:
        """How many calls have come until now."""
        return len(self._databricks.requests) + len(self._github.faults.requests)

    def opened(self) -> int:
        """How many requests there are at GitHub."""
        return len(self._github.runs)

    def promoted(self) -> int:
        """How often an alias was set."""
        return len(self._databricks.catalog.alias_writes)


def _approval(repository: str) -> dict[str, Any]:
    place = {"repository": repository, "workflow": "champion-gate.yml", "ref": "main"}
    return {"github": {**place, "environments": ["champion"]}}


@dataclass
class World:
    """Services between the far ends.

    Attributes:
        far: calls into the other process.
    """

    folder: Path
    far: FarEnds
    environ: dict[str, str]
    served: list[Served] = field(default_factory=list)

    def serve(self, database_url: str) -> Served:
        """One more service, once its workers run and the first sweep on its database is under way."""
        environ = {
            **self.environ,
            "CHAMPION_GATE_DATABASE_URL": database_url,
            "CHAMPION_GATE_PORT": str(free_port()),
        }
        served = Served(environ, self.folder / f"service-{len(self.served)}.log")
        self.served.append(served)
        served.wait_until_working()
        if self.served == [served]:
            until(lambda: "first looked" in served.output(), served.output, served.patience)
        return served

    def kill_all(self) -> None:
        """End the services that run."""
        for each in self.served:
            each.kill()
        self.served.clear()

    def processes(self) -> list[psutil.Process]:
        """All of the services'."""
        return [process for each in self.served for process in each.processes()]


def hook(served: Served) -> str:
    """Where a service takes notifications."""
    return f"{served.url}/hooks/databricks"


@contextmanager
def world(folder: Path, gates: int = 1, repositories: int = 1) -> Iterator[World]:
    """See `FarEnds`; nothing that was started outlives the block."""
    with in_own_process(FarEnds, gates, repositories) as far:
        (folder / "gates.yaml").write_text(json.dumps(far.gates()))
        made = World(folder, far, {**far.environ(), "CHAMPION_GATE_CONFIG": f"{folder}/gates.yaml"})
        try:
            yield made
        finally:
            made.kill_all()


def migrated(url: str) -> str:
    """The database, with our tables."""
    migrate_database(url)
    return url
