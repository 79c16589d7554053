"""A served gate of any registry, vendor and database that is killed again and again, and the world around it."""

from __future__ import annotations

import json
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.store import open_store
from champion_gate_standins.common.server import serve
from champion_gate_standins.databricks.server import DatabricksStandIn, Hook
from integration.gate_models import TRAINER, CatalogModels, MlflowModels, Models, empty_mlflow_database
from integration.gate_providers import PROVIDERS, Provider
from integration.gate_world import GATE, SECRETS
from integration.mlflow_server import MlflowServer, mlflow_server
from integration.process_world import IMPATIENT, Served, free_port

GREATEST_LAG_SECONDS = 3.0


@dataclass
class KillWorld:
    """Several gates, each with a model and a job, behind one service."""

    folder: Path
    databricks: DatabricksStandIn
    provider: Provider
    environ: dict[str, str]
    models: dict[str, Models] = field(default_factory=dict)
    started: list[Served] = field(default_factory=list)
    approved: set[str] = field(default_factory=set)

    def launch(self, **environ: str) -> Served:
        """Start `champion-gate serve`, with these variables too, and return when it answers."""
        log = self.folder / f"service-{len(self.started) + 1}.log"
        self.started.append(Served({**self.environ, **environ}, log, app=IMPATIENT, forked=True))
        return self.started[-1].wait_until_alive()

    def kill_all(self) -> None:
        """Leave no process."""
        for each in self.started:
            each.kill()

    def train(self, job_id: str) -> None:
        """A run that registers a version, ends well and tells about it; who does not listen has only the sweep."""
        jobs = self.databricks.jobs
        run_id = jobs.start_run(job_id)
        self.models[job_id].train(job_id, jobs.task_run_id(run_id, "train"), {"f1": 0.91})
        jobs.finish_run(run_id)

    def approve_all(self) -> None:
        """Reviewers approve whatever waits, whether or not the service is there to hear of it."""
        for request_id, status in self.provider.requests().items():
            if status == "open" and request_id not in self.approved and self.provider.waits(request_id):
                self.approved.add(request_id)
                self.provider.approve(request_id, "reviewer-1")

    def promotions(self) -> tuple[Promotion, ...]:
        """All promotions."""
        with open_store(self.environ["CHAMPION_GATE_DATABASE_URL"]) as store:
            return store.list_promotions(limit=200).items

    def story(self) -> str:
        """What the rows and the log say, for whoever reads a failed test."""
        with open_store(self.environ["CHAMPION_GATE_DATABASE_URL"]) as store:
            rows = [f"{n.phase}: {n.reason} {n.retry.last_error}" for n in store.list_notifications().items]
        rows += [f"{p.model} {p.phase}: {p.reason} {p.retry.last_error}" for p in self.promotions()]
        return "\n".join([*rows, *self.started[-1].output().splitlines()[-25:]])

    def moves(self) -> list[tuple[object, object, object]]:
        """(model, from, to) of every alias change that a reviewer stands for; the chain is whole."""
        with open_store(self.environ["CHAMPION_GATE_DATABASE_URL"]) as store:
            store.verify_ledger()
            lines = store.ledger_lines(limit=1000)
        changes = [line.entry for line in lines if line.entry.kind.value == "alias_change"]
        return [(e.model, e.facts["from"], e.facts["to"]) for e in changes if e.actor == "reviewer-1"]

    def let_pass(self, served: Served, requests: int, seconds: float) -> None:
        """Return after so many more requests to the vendors, or after so long."""
        until = self._asked() + requests
        deadline = time.monotonic() + seconds
        while self._asked() < until and time.monotonic() < deadline:
            assert served.process.poll() is None, served.output()
            time.sleep(0.005)

    def wait_until_promoted(self, seconds: float) -> None:
        """Go on approving until every model's version is Champion."""
        deadline = time.monotonic() + seconds
        while [p.phase for p in self.promotions()] != [Phase.PROMOTED] * len(self.models):
            assert time.monotonic() < deadline, self.story()
            self.approve_all()
            time.sleep(0.2)

    def _asked(self) -> int:
        return len(self.databricks.requests) + len(self.provider.faults.requests)


@contextmanager
def kill_world(
    folder: Path, registry: str, provider: str, database_url: str, *, models: int
) -> Iterator[KillWorld]:
    """So many models with a Champion v1, each with a job that is watched.

    Args:
        folder: for gates.yaml, logs and MLflow's databases.
        registry: "uc", or "mlflow": its own server, which reads from a replica that lags up to 3 s.
        provider: one of PROVIDERS.
        database_url: of the service.
        models: how many.
    """
    databricks, there = DatabricksStandIn(), PROVIDERS[provider](lambda: datetime.now(UTC))
    port = free_port()
    hook = Hook(
        f"http://127.0.0.1:{port}/hooks/databricks",
        SECRETS["CHAMPION_GATE_DATABRICKS_HOOK_USERNAME"],
        SECRETS["CHAMPION_GATE_DATABRICKS_HOOK_PASSWORD"],
    )
    with ExitStack() as stack:
        databricks_url = stack.enter_context(serve(databricks.app))
        provider_url = stack.enter_context(serve(there.app))
        world = KillWorld(
            folder=folder,
            databricks=databricks,
            provider=there,
            environ={
                **SECRETS,
                **there.environ(),
                "CHAMPION_GATE_CONFIG": f"{folder}/gates.yaml",
                "CHAMPION_GATE_DATABASE_URL": database_url,
                "CHAMPION_GATE_PORT": str(port),
                "CHAMPION_GATE_SWEEP_SECONDS": "2",
                "DATABRICKS_HOST": databricks_url,
                "DATABRICKS_TOKEN": "standin-token",
            },
        )
        served_registry = stack.enter_context(_mlflow(folder)) if registry == "mlflow" else None
        gates = []
        for number in range(models):
            job = databricks.jobs.add_job(f"train-{number}", run_as=TRAINER, creator=TRAINER, hook=hook)
            made = _model(folder, databricks, number, on_mlflow=served_registry is not None)
            made.move_alias(made.train(job, "1", {"f1": 0.9}))
            world.models[job] = made
            gate = {**GATE, "approval": there.approval(), "name": f"gate-{number}"}
            gates.append({**gate, "jobs": [int(job)], "model": made.model})
        file = {"registry": served_registry or CatalogModels.registry, "gates": gates}
        (folder / "gates.yaml").write_text(json.dumps({**file, there.key: there.server(provider_url)}))
        stack.callback(there.stop)
        stack.callback(world.kill_all)
        yield world


def _model(folder: Path, databricks: DatabricksStandIn, number: int, *, on_mlflow: bool) -> Models:
    if not on_mlflow:
        return CatalogModels(databricks, f"main.ml.m{number}")
    # Trainers write where the server writes; only the service reads by way of the replica.
    primary = folder / "mlflow.db"
    return MlflowModels(folder, MlflowServer(f"sqlite:///{primary}", primary), f"m{number}")


@contextmanager
def _mlflow(folder: Path) -> Iterator[str]:
    primary, replica = folder / "mlflow.db", folder / "replica.db"
    primary.write_bytes(empty_mlflow_database())
    stop, lag = threading.Event(), random.Random(20261130)

    def replicate() -> None:
        while not stop.wait(lag.uniform(0, GREATEST_LAG_SECONDS)):
            _copy(primary, replica)

    _copy(primary, replica)
    thread = threading.Thread(target=replicate)
    thread.start()
    try:
        with mlflow_server(folder, replica) as uri:
            yield uri
    finally:
        stop.set()
        thread.join()


def _copy(primary: Path, replica: Path) -> None:
    with closing(sqlite3.connect(primary)) as here, closing(sqlite3.connect(replica)) as there:
        here.backup(there)
