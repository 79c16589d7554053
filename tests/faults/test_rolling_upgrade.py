"""Two replicas under load are replaced, one by one, by those of a newer release with another schema and a new word."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import psycopg
import pytest
import requests

from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.promotion import Phase
from faults.replicas_world import Replicas, replicas_world
from integration.newer_release import RELEASE, SCHEMA, WORD, newer_release, run_newer
from integration.process_world import until
from integration.store_databases import PostgresqlDatabases

pytest_plugins = ("integration.store_fixtures",)

pytestmark = [pytest.mark.part("full"), pytest.mark.timeout(400)]

PACE_SECONDS = 0.5
MODELS = 6


class Load:
    """Each model's job ends again once its last version is Champion; reviewers approve whatever waits for them.

    Attributes:
        told: the jobs that Databricks has told of, in their order.
        answers: of the hook, to each.
    """

    def __init__(self, replicas: Replicas) -> None:
        self.replicas = replicas
        self.told: list[str] = []
        self.answers: list[int] = []
        self._approved: set[str] = set()
        self._stopping = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Go on until the block ends."""
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            thread.join()

    def _run(self) -> None:
        for job in cycle(self.replicas.jobs):
            if self._stopping.wait(PACE_SECONDS):
                return
            if self.told.count(job) == self.approve_all().count(self.replicas.jobs[job].model):
                self.told.append(job)
                posted = self.replicas.finish_training(job)
                self.answers.append(self.replicas.tell(self.replicas.world.url, posted))

    def approve_all(self) -> list[str]:
        """Press Approve wherever that is waited for; the models of all that are promoted."""
        every = self.replicas.world.promotions()
        for each in every:
            if each.phase is Phase.PENDING_APPROVAL and each.id not in self._approved:
                self.replicas.world.approve(each)
                self._approved.add(each.id)
        return [each.model for each in every if each.phase is Phase.PROMOTED]

    def assert_nothing_is_lost_or_doubled(self) -> None:
        """Every run that was told of was answered, asked about once, and its version made Champion once, in order."""
        world, models = self.replicas.world, self.replicas.jobs
        assert self.answers == [202] * len(self.told)
        until(lambda: len(self.approve_all()) == len(self.told), world.story)
        assert len(world.promotions()) == len(world.github.runs) == len(self.told)
        for job, model in models.items():
            moves = [each for each in world.databricks.catalog.alias_writes if each[0] == model.model]
            assert moves == [(model.model, "Champion", 2 + each) for each in range(self.told.count(job))]
        with world.store() as store:
            rows = store.list_notifications(limit=200).items
        # Where a hook comes late the sweep has found the run before, which makes no other promotion.
        assert sum(row.source == "hook" for row in rows) == len(self.told)
        assert {row.phase for row in rows} == {NotificationPhase.RESOLVED}


def lines_with_the_word(url: str) -> int:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT count(*) FROM ledger WHERE kind = %s", (WORD,)).fetchone()
    assert found is not None
    return int(found[0])


def test_a_rolling_upgrade_loses_nothing(tmp_path: Path, postgresql_databases: PostgresqlDatabases) -> None:
    url = postgresql_databases.migrated()
    newer = newer_release(tmp_path)
    with replicas_world(tmp_path, url, models=MODELS, sweep_seconds=10) as replicas:
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
        assert set(replicas.balancer.statuses) <= {200, 202}
        load.assert_nothing_is_lost_or_doubled()
        code, told = run_newer(newer, "ledger", "verify", environ=world.environ, folder=tmp_path)
        assert code == 0, told

        late = world.run("serve", CHAMPION_GATE_PORT="0")
        assert late.returncode == 2
        assert f"the database is for release {RELEASE} and later ones" in late.stderr
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (SCHEMA,)
