"""Replicas on one PostgreSQL database share its rows: nothing is done twice, and one that is killed loses nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from champion_gate_standins.databricks.server import Fault
from faults.replicas_world import Replicas, replicas_world
from impatient import LEASE_SECONDS
from integration.process_world import PATIENCE, until
from integration.store_databases import PostgresqlDatabases

pytest_plugins = ("integration.store_fixtures",)

pytestmark = pytest.mark.part("rest")

MODELS = 4


@pytest.fixture
def replicas(tmp_path: Path, postgresql_databases: PostgresqlDatabases) -> Iterator[Replicas]:
    with replicas_world(tmp_path, postgresql_databases.migrated(), models=MODELS) as world:
        yield world


@pytest.mark.parametrize("number", [2, pytest.param(4, marks=pytest.mark.part("full"))])
def test_whichever_is_told_all_is_done_once(replicas: Replicas, number: int) -> None:
    every = [replicas.join(each) for each in [replicas.launch() for _ in range(number)]]
    for turn, job in enumerate(replicas.jobs):
        posted = replicas.finish_training(job)
        # Databricks sends some of them twice.
        for told in (every[turn % number], every[(turn + 1) % number]):
            assert replicas.tell(told.url, posted) == 202
    replicas.approve_all()
    replicas.assert_each_promoted_once()
    replicas.assert_ledger_tells_each_once()


def test_what_a_killed_replica_had_taken_the_other_one_does(replicas: Replicas) -> None:
    """It dies with rows in its hands, which are free again once their leases have run out."""
    world = replicas.world
    hanging = world.databricks.faults.add(Fault("/jobs/runs/get$", "GET", hang=threading.Event(), drop=True))
    dies = replicas.launch().wait_until_working()
    for job in replicas.jobs:
        assert replicas.tell(dies.url, replicas.finish_training(job)) == 202
    until(lambda: hanging.hits, world.story)
    lives = replicas.join(replicas.launch())
    assert world.promotions() == ()
    dies.kill()
    world.databricks.faults.clear()
    until(lambda: len(world.promotions()) == MODELS, world.story, LEASE_SECONDS + PATIENCE)
    until(lambda: lives.output().count("is resolved") == MODELS, world.story)
    replicas.approve_all()
    replicas.assert_each_promoted_once()
    replicas.assert_ledger_tells_each_once()
