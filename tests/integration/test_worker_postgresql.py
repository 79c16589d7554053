"""The same workers on PostgreSQL, where several replicas share one queue."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from champion_gate.work.queue import HueyWakeUps, create_queue, prepare_queue
from champion_gate.work.worker import Jobs, Worker

pytest_plugins = ("integration.store_fixtures",)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


@pytest.fixture
def url(request: pytest.FixtureRequest) -> str:
    empty: str = request.getfixturevalue("postgresql_databases").empty()
    return empty


def test_several_may_make_the_tables_at_once(url: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: prepare_queue(url), range(8)))
    queue = create_queue(url)
    HueyWakeUps(queue).promotion("p1")
    assert queue.pending_count() == 1
    queue.storage.close()


def test_the_addresses_that_sqlalchemy_takes_are_taken(url: str) -> None:
    prepare_queue(url.replace("postgresql://", "postgresql+psycopg://"))


def test_replicas_share_the_work_and_leave_no_connection_open(url: str) -> None:
    prepare_queue(url)
    done: list[str] = []
    jobs = Jobs(done.append, done.append, done.append, done.append)
    replicas = [
        Worker(
            HueyWakeUps(create_queue(url)),
            jobs,
            lane_of=lambda _, row_id: row_id,
            lane_caps={},
            timers=(),
            threads=2,
        )
        for _ in range(2)
    ]
    for replica in replicas:
        replica.start()
    sender = HueyWakeUps(create_queue(url))
    for number in range(50):
        sender.promotion(f"p{number}")
    until(lambda: len(done) >= 50)
    assert sorted(done) == sorted(f"p{number}" for number in range(50))
    for replica in replicas:
        assert replica.stop(20)
    sender.queue.storage.close()
    gc.collect()  # a connection that was forgotten warns now
    with psycopg.connect(url) as connection:
        others = connection.execute(
            "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        ).fetchone()
    assert others == (0,)
