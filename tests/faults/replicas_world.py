"""Several gates behind services that share their rows on one PostgreSQL, and a balancer before them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests
from flask import Flask, Response, request

from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.promotion import Phase
from champion_gate_standins.common.server import serve
from integration.gate_models import TRAINER, CatalogModels
from integration.process_world import ProcessWorld, Served, free_port, port_of, process_world, until


class Balancer:
    """Hands each request to the next replica; where that does not listen, to the one after it. Nothing is sticky."""

    def __init__(self) -> None:
        self.replicas: deque[str] = deque()
        self.statuses: list[int] = []
        self.app = Flask("balancer")
        self.app.add_url_rule("/<path:path>", view_func=self._hand_on, methods=["GET", "POST"])

    def _hand_on(self, path: str) -> Response:
        status, body, content_type = self._answer(path)
        self.statuses.append(status)
        return Response(body, status, content_type=content_type)

    def _answer(self, path: str) -> tuple[int, bytes, str]:
        headers = {name: value for name, value in request.headers if name != "Host"}
        for url in self._in_turn():
            try:
                answer = requests.request(
                    request.method, f"{url}/{path}", data=request.get_data(), headers=headers, timeout=30
                )
            except requests.ConnectionError:
                continue
            return answer.status_code, answer.content, answer.headers.get("Content-Type", "")
        return 502, b"no replica listens", "text/plain"

    def _in_turn(self) -> list[str]:
        self.replicas.rotate(-1)
        return list(self.replicas)


@dataclass
class Replicas:
    """Several gates behind services that share their rows.

    Attributes:
        jobs: a gate's job -> its model, whose Champion is v1.
        balancer: what Databricks and GitHub post to.
    """

    world: ProcessWorld
    jobs: dict[str, CatalogModels]
    balancer: Balancer = field(default_factory=Balancer)

    def launch(self, **environ: str) -> Served:
        """Start one more."""
        return self.world.launch(CHAMPION_GATE_PORT=str(free_port()), **environ)

    def join(self, replica: Served) -> Served:
        """Have the balancer send to it, once it works."""
        self.balancer.replicas.append(replica.wait_until_working().url)
        return replica

    def take_out(self, replica: Served) -> None:
        """Have the balancer send nothing more to it."""
        self.balancer.replicas.remove(replica.url)

    def finish_training(self, job_id: str) -> dict[str, object]:
        """A run that has registered a version and ended well; nobody has been told. Returns what Databricks would post."""
        jobs = self.world.databricks.jobs
        run_id = jobs.start_run(job_id)
        self.jobs[job_id].train(job_id, jobs.task_run_id(run_id, "train"), {"f1": 0.91})
        jobs.finish_run(run_id)
        return {**self.world.notification(run_id), "job": {"job_id": int(job_id), "name": "train"}}

    def tell(self, url: str, notification: dict[str, object]) -> int:
        """Notify a replica, or the balancer; the status of its answer."""
        return requests.post(
            f"{url}/hooks/databricks", json=notification, auth=self.world.hook_credentials, timeout=30
        ).status_code

    def approve_all(self) -> None:
        """Reviewers approve as soon as each promotion waits for them."""

        def all_wait() -> bool:
            waiting = [each for each in self.world.promotions() if each.phase is Phase.PENDING_APPROVAL]
            return len(waiting) == len(self.jobs)

        until(all_wait, self.world.story)
        for each in self.world.promotions():
            self.world.approve(each)

    def assert_each_promoted_once(self) -> None:
        """One promotion, one CI run and one write of the alias for each model, and a ledger that says so."""
        self.wait_until_promoted()
        models = sorted(each.model for each in self.jobs.values())
        assert sorted(each.model for each in self.world.promotions()) == models
        assert len(self.world.github.runs) == len(models)
        assert sorted(self.world.databricks.catalog.alias_writes) == [(m, "Champion", 2) for m in models]
        assert {each.champion() for each in self.jobs.values()} == {"2"}
        with self.world.store() as store:
            rows = store.list_notifications(limit=200).items
        # A sweep that came before the hook has a row of its own.
        told = [row.phase for row in rows if row.source == "hook"]
        assert told == [NotificationPhase.RESOLVED] * len(models)

    def wait_until_promoted(self) -> None:
        """Until every promotion that there is has come to its end well."""

        def all_promoted() -> bool:
            return {each.phase for each in self.world.promotions()} == {Phase.PROMOTED}

        until(all_promoted, self.world.story)

    def assert_ledger_tells_each_once(self) -> None:
        """The chain is whole, and has one move by a reviewer for each model."""
        ours = [move for move in self.world.moves() if move[2] == "reviewer-1"]
        assert ours == [("1", "2", "reviewer-1")] * len(self.jobs)


@contextmanager
def replicas_world(
    folder: Path, database_url: str, *, models: int = 4, sweep_seconds: int = 2
) -> Iterator[Replicas]:
    """So many models with a Champion v1, each with a job that is watched; no replica runs yet.

    Args:
        folder: for gates.yaml and logs.
        database_url: of a migrated PostgreSQL database.
        models: how many.
        sweep_seconds: between two sweeps of a replica.
    """
    with process_world(
        folder, CHAMPION_GATE_DATABASE_URL=database_url, CHAMPION_GATE_SWEEP_SECONDS=str(sweep_seconds)
    ) as world:
        world.impatient = world.forked = True
        jobs = {}
        for number in range(models):
            job = world.databricks.jobs.add_job(f"train-{number}", run_as=TRAINER, creator=TRAINER)
            jobs[job] = CatalogModels(world.databricks, f"main.ml.m{number}")
            jobs[job].move_alias(jobs[job].train(job, "1", {"f1": 0.9}))
        world.write_gates(
            *(
                world.gate(name=f"gate-{number}", jobs=[int(job)], model=made.model)
                for number, (job, made) in enumerate(jobs.items())
            )
        )
        replicas = Replicas(world, jobs)
        with serve(replicas.balancer.app, port=port_of(world.url)):
            yield replicas
