"""Two replicas under load are replaced, one by one, by those of a newer release with another schema and a new word."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import requests

from champion_gate.domain.promotion import Phase
from faults.replicas_world import Replicas, replicas_world
from integration.newer_release import RELEASE, SCHEMA, WORD, newer_release, run_newer
from integration.process_world import until
from integration.store_databases import PostgresqlDatabases

pytest_plugins = ("integration.store_fixtures",)

pytestmark = [pytest.mark.part("full"), pytest.mark.timeout(400)]

PACE_SECONDS = 1.0
MODELS = 80
"""More than are trained meanwhile."""


class Load:
    """Jobs that end one after the other, each told of once, and reviewers who approve whatever waits for them."""

    def __init__(self, replicas: Replicas) -> None:
        self.replicas = replicas
        self.told: list[str] = []
        self.answers: list[int] = []
        self.approved: set[str] = set()
        self.stopping = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Go on until the block ends."""
        threads = [threading.Thread(target=each) for each in (self.train, self.review)]
        for each in threads:
            each.start()
        try:
            yield
        finally:
            self.stopping.set()
            for each in threads:
                each.join()

    def train(self) -> None:
        for job in self.replicas.jobs:
            if self.stopping.wait(PACE_SECONDS):
                return
            self.told.append(job)
            posted = self.replicas.finish_training(job)
            self.answers.append(self.replicas.tell(self.replicas.world.url, posted))

    def review(self) -> None:
        while not self.stopping.wait(PACE_SECONDS / 2):
            self.approve_all()

    def approve_all(self) -> None:
        for each in self.replicas.world.promotions():
            if each.phase is Phase.PENDING_APPROVAL and each.id not in self.approved:
                self.replicas.world.approve(each)
                self.approved.add(each.id)


def lines_with_the_word(url: str) -> int:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT count(*) FROM ledger WHERE kind = %s", (WORD,)).fetchone()
    assert found is not None
    return int(found[0])


def test_a_rolling_upgrade_loses_nothing(tmp_path: Path, postgresql_databases: PostgresqlDatabases) -> None:
    url = postgresql_databases.migrated()
    newer = newer_release(tmp_path)
    with replicas_world(tmp_path, url, models=MODELS) as replicas:
        world = replicas.world
        older = [replicas.join(each) for each in (replicas.launch(), replicas.launch())]
        load = Load(replicas)
        with load.running():
            until(lambda: Phase.PROMOTED in {each.phase for each in world.promotions()}, world.story)

            code, told = run_newer(newer, "migrate", environ=world.environ, folder=tmp_path)
            assert code == 0, told
            for each in older:
                assert requests.get(f"{each.url}/readyz", timeout=10).status_code == 200

            first = replicas.join(replicas.launch(PYTHONPATH=newer))
            replicas.take_out(older[0])
            older[0].stop()
            # One of both releases works now. What only the newer one knows waits, and says why.
            until(lambda: f"'{WORD}' is not written yet" in first.output(), world.story)
            assert lines_with_the_word(url) == 0

            replicas.join(replicas.launch(PYTHONPATH=newer))
            replicas.take_out(older[1])
            assert lines_with_the_word(url) == 0
            older[1].stop()
            until(lambda: lines_with_the_word(url), world.story)
        assert [each.process.returncode for each in older] == [0, 0]
        assert load.answers == [202] * len(load.told)
        assert set(replicas.balancer.statuses) <= {200, 202}

        asked = {job: replicas.jobs[job] for job in load.told}
        replicas.jobs.clear()
        replicas.jobs.update(asked)

        def all_promoted() -> bool:
            load.approve_all()
            return [each.phase for each in world.promotions()] == [Phase.PROMOTED] * len(asked)

        until(all_promoted, world.story)
        replicas.assert_each_promoted_once()
        code, told = run_newer(newer, "ledger", "verify", environ=world.environ, folder=tmp_path)
        assert code == 0, told

        late = world.run("serve", CHAMPION_GATE_PORT="0")
        assert late.returncode == 2
        assert f"the database is for release {RELEASE} and later ones" in late.stderr
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (SCHEMA,)
