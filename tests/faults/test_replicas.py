"""Two replicas on one PostgreSQL database share its rows: nothing is done twice, and one that is killed loses nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.promotion import Phase
from champion_gate_standins.databricks.server import Fault
from impatient import LEASE_SECONDS
from integration.gate_models import TRAINER, CatalogModels
from integration.process_world import (
    PATIENCE,
    ProcessWorld,
    Served,
    free_port,
    process_world,
    until,
)
from integration.store_databases import PostgresqlDatabases

pytest_plugins = ("integration.store_fixtures",)

pytestmark = pytest.mark.part("rest")

MODELS = 4


@dataclass
class Replicas:
    """Several gates behind two services that share their rows.

    Attributes:
        jobs: a gate's job -> its model, whose Champion is v1.
    """

    world: ProcessWorld
    jobs: dict[str, CatalogModels]

    def launch(self) -> Served:
        """Start one more."""
        return self.world.launch(CHAMPION_GATE_PORT=str(free_port()))

    def finish_training(self, job_id: str) -> dict[str, object]:
        """A run that has registered a version and ended well; nobody has been told. Returns what Databricks would post."""
        jobs = self.world.databricks.jobs
        run_id = jobs.start_run(job_id)
        self.jobs[job_id].train(job_id, jobs.task_run_id(run_id, "train"), {"f1": 0.91})
        jobs.finish_run(run_id)
        return {**self.world.notification(run_id), "job": {"job_id": int(job_id), "name": "train"}}

    def tell(self, replica: Served, notification: dict[str, object]) -> None:
        """Notify a replica, as a load balancer would have it."""
        answer = requests.post(
            f"{replica.url}/hooks/databricks",
            json=notification,
            auth=self.world.hook_credentials,
            timeout=30,
        )
        assert answer.status_code == 202, answer.text

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

        def all_promoted() -> bool:
            return {each.phase for each in self.world.promotions()} == {Phase.PROMOTED}

        until(all_promoted, self.world.story)
        models = sorted(each.model for each in self.jobs.values())
        assert sorted(each.model for each in self.world.promotions()) == models
        assert len(self.world.github.runs) == len(models)
        assert sorted(self.world.databricks.catalog.alias_writes) == [(m, "Champion", 2) for m in models]
        ours = [move for move in self.world.moves() if move[2] == "reviewer-1"]
        assert ours == [("1", "2", "reviewer-1")] * len(models)
        assert {each.champion() for each in self.jobs.values()} == {"2"}
        with self.world.store() as store:
            rows = store.list_notifications(limit=100).items
        assert [row.phase for row in rows] == [NotificationPhase.RESOLVED] * len(models)


@pytest.fixture
def replicas(tmp_path: Path, postgresql_databases: PostgresqlDatabases) -> Iterator[Replicas]:
    database = postgresql_databases.migrated()
    with process_world(
        tmp_path, CHAMPION_GATE_DATABASE_URL=database, CHAMPION_GATE_SWEEP_SECONDS="2"
    ) as world:
        world.impatient = True
        jobs = {}
        for number in range(MODELS):
            job = world.databricks.jobs.add_job(f"train-{number}", run_as=TRAINER, creator=TRAINER)
            jobs[job] = CatalogModels(world.databricks, f"main.ml.m{number}")
            jobs[job].move_alias(jobs[job].train(job, "1", {"f1": 0.9}))
        world.write_gates(
            *(
                world.gate(name=f"gate-{number}", jobs=[int(job)], model=models.model)
                for number, (job, models) in enumerate(jobs.items())
            )
        )
        yield Replicas(world, jobs)


def test_whichever_is_told_all_is_done_once(replicas: Replicas) -> None:
    both = [each.wait_until_working() for each in (replicas.launch(), replicas.launch())]
    for number, job in enumerate(replicas.jobs):
        posted = replicas.finish_training(job)
        # Databricks sends some of them twice.
        replicas.tell(both[number % 2], posted)
        replicas.tell(both[1 - number % 2], posted)
    replicas.approve_all()
    replicas.assert_each_promoted_once()


def test_what_a_killed_replica_had_taken_the_other_one_does(replicas: Replicas) -> None:
    """It dies with rows in its hands, which are free again once their leases have run out."""
    world = replicas.world
    hanging = world.databricks.faults.add(Fault("/jobs/runs/get$", "GET", hang=threading.Event(), drop=True))
    dies = replicas.launch().wait_until_working()
    for job in replicas.jobs:
        replicas.tell(dies, replicas.finish_training(job))
    until(lambda: hanging.hits, world.story)
    lives = replicas.launch().wait_until_working()
    assert world.promotions() == ()
    dies.kill()
    world.databricks.faults.clear()
    until(lambda: len(world.promotions()) == MODELS, world.story, LEASE_SECONDS + PATIENCE)
    until(lambda: lives.output().count("is resolved") == MODELS, world.story)
    replicas.approve_all()
    replicas.assert_each_promoted_once()
