"""Our own database goes away under load, each time in another way: what was acknowledged is there, and all goes on by itself."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil
import psycopg
import pytest
import requests

from champion_gate.domain.promotion import Phase
from champion_gate.store import open_store
from champion_gate_standins.databricks.server import Fault
from faults.kill_world import KillWorld, kill_world
from faults.own_postgresql import OwnPostgresql, fill, own_postgresql, small_disk
from integration.gate_world import SECRETS
from integration.process_world import Served, until
from integration.store_databases import SqliteDatabases, path_of

MODELS = 3
POSTERS = 4
AFTERWARDS = 240.0
"""Seconds. Whatever held an alias when the database went away holds it for 90 s more."""
BUSY = 90.0
"""Seconds until an outage shows: a writer waits half a minute for SQLite's file, and twice that where another is before it."""

pytestmark = pytest.mark.timeout(500)


@dataclass
class Load:
    """Notifications that come without a pause, and what each was answered with."""

    url: str
    taken: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    @contextmanager
    def posted(self) -> Iterator[Load]:
        """Notifications keep coming until the block ends."""
        over = threading.Event()
        with ThreadPoolExecutor(POSTERS) as pool:
            posters = [pool.submit(self._post, number, over) for number in range(POSTERS)]
            try:
                yield self
            finally:
                over.set()
            for poster in posters:
                poster.result()

    def _post(self, number: int, over: threading.Event) -> None:
        auth = (
            SECRETS["CHAMPION_GATE_DATABRICKS_HOOK_USERNAME"],
            SECRETS["CHAMPION_GATE_DATABRICKS_HOOK_PASSWORD"],
        )
        run = 10**6 * (number + 1)
        with requests.Session() as session:
            while not over.is_set():
                run += 1
                body = {
                    "event_type": "jobs.on_success",
                    "workspace_id": 1,
                    "run": {"run_id": run},
                    "job": {"job_id": 1, "name": "nobody-watches-it"},
                }
                answer = session.post(f"{self.url}/hooks/databricks", json=body, auth=auth, timeout=120)
                self.statuses[answer.status_code] += 1
                if answer.status_code == 202:
                    self.taken.append(str(run))
                over.wait(0.02)


def is_ready(served: Served) -> bool:
    return requests.get(f"{served.url}/readyz", timeout=30).status_code == 200


def runs_on_record(database: str) -> set[str]:
    """The job runs of all notifications that are stored."""
    found: set[str] = set()
    with open_store(database) as store:
        cursor = None
        while True:
            page = store.list_notifications(cursor=cursor, limit=200)
            found |= {each.notification.run_id for each in page.items}
            cursor = page.cursor
            if cursor is None:
                return found


def assert_each_promoted_once(world: KillWorld) -> None:
    """Whatever the rows say: the vendors' own records are asked too."""
    models = sorted(each.model for each in world.models.values())
    assert sorted(world.moves()) == [(model, "1", "2") for model in models]
    assert sorted(world.databricks.catalog.alias_writes) == [(model, "Champion", 2) for model in models]
    assert {each.champion() for each in world.models.values()} == {"2"}
    assert len([status for status in world.provider.requests().values() if status != "cancelled"]) == len(
        models
    )


def phases(world: KillWorld) -> dict[str, Phase]:
    return {each.model: each.phase for each in world.promotions()}


Outage = Callable[[], AbstractContextManager[None]]


def assert_nothing_is_lost(world: KillWorld, outage: Outage) -> None:
    """One promotion waits for people, of one the notification has just come, and one run ends in the outage."""
    asked, told, missed = world.models
    served = world.launch().wait_until_working()
    world.train(asked)
    until(lambda: list(phases(world).values()) == [Phase.PENDING_APPROVAL], world.story)
    load = Load(served.url)
    with load.posted():
        until(lambda: load.taken, "no hook was taken before the outage")
        world.train(told)
        with outage():
            before = load.statuses[503]
            until(lambda: load.statuses[503] > before, lambda: dict(load.statuses), BUSY)
            until(lambda: not is_ready(served), "it says that it is ready")
            world.approve_all()
            world.train(missed)
        until(lambda: is_ready(served), world.story)
        taken = len(load.taken)
        until(lambda: len(load.taken) > taken + POSTERS, "no hook was taken after the outage", BUSY)
    world.wait_until_promoted(AFTERWARDS)
    assert_each_promoted_once(world)
    assert load.statuses.keys() == {202, 503}
    assert set(load.taken) <= runs_on_record(world.environ["CHAMPION_GATE_DATABASE_URL"])
    assert served.process.poll() is None


# --- PostgreSQL ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[OwnPostgresql]:
    with own_postgresql() as made:
        yield made


@pytest.fixture
def world(tmp_path: Path, server: OwnPostgresql) -> Iterator[KillWorld]:
    with kill_world(tmp_path, "uc", "github", server.databases.migrated(), models=MODELS) as made:
        yield made


@contextmanager
def stopped(server: OwnPostgresql, mode: Literal["fast", "immediate"]) -> Iterator[None]:
    server.stop(mode)
    try:
        yield
    finally:
        server.start()


@contextmanager
def only_readable(server: OwnPostgresql) -> Iterator[None]:
    """As a standby is, to which the address has been moved too early."""
    server.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    server.execute("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        server.execute("ALTER SYSTEM RESET default_transaction_read_only")
        server.execute("SELECT pg_reload_conf()")


@contextmanager
def locked(server: OwnPostgresql, database: str) -> Iterator[None]:
    """Another session holds what every hook and every turn needs, for longer than anybody waits."""
    del server
    with psycopg.connect(database) as other:
        other.execute("LOCK TABLE notifications, promotions, gates_seen IN ACCESS EXCLUSIVE MODE")
        yield


POSTGRESQL = {
    "shut down": lambda server, _: stopped(server, "fast"),
    "crash": lambda server, _: stopped(server, "immediate"),
    "only readable": lambda server, _: only_readable(server),
    "locked": locked,
}


@pytest.mark.parametrize(
    "outage",
    [
        pytest.param(each, marks=pytest.mark.part("rest" if each == "crash" else "full"))
        for each in POSTGRESQL
    ],
)
def test_postgresql_is_away(world: KillWorld, server: OwnPostgresql, outage: str) -> None:
    database = world.environ["CHAMPION_GATE_DATABASE_URL"]
    assert_nothing_is_lost(world, lambda: POSTGRESQL[outage](server, database))


@contextmanager
def filled(disk: Path, server: OwnPostgresql) -> Iterator[None]:
    filler = fill(disk)
    try:
        yield
    finally:
        filler.unlink()
        server.start()


@pytest.mark.part("full")
def test_postgresqls_disk_is_full(tmp_path: Path) -> None:
    with (
        small_disk(300) as disk,
        own_postgresql(disk) as server,
        kill_world(tmp_path, "uc", "github", server.databases.migrated(), models=MODELS) as world,
    ):
        assert_nothing_is_lost(world, lambda: filled(disk, server))


# --- SQLite ----------------------------------------------------------------------------------------------------


def no_file_grows(process: psutil.Process) -> None:
    """As on a full disk, but for the number of the error."""
    process.rlimit(psutil.RLIMIT_FSIZE, (0, psutil.RLIM_INFINITY))


@contextmanager
def full_disk(served: Served) -> Iterator[None]:
    for each in served.processes():
        no_file_grows(each)
    try:
        yield
    finally:
        for each in served.processes():
            each.rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))


@contextmanager
def held_file(database: str) -> Iterator[None]:
    """Another process writes, for longer than anybody waits."""
    with closing(sqlite3.connect(path_of(database), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest.mark.parametrize(
    "outage",
    [
        pytest.param("full disk", marks=pytest.mark.part("rest")),
        pytest.param("held file", marks=pytest.mark.part("full")),
    ],
)
def test_sqlites_file_cannot_be_written(tmp_path: Path, outage: str) -> None:
    database = SqliteDatabases(tmp_path).migrated()
    with kill_world(tmp_path, "uc", "github", database, models=MODELS) as world:
        assert_nothing_is_lost(
            world, lambda: full_disk(world.started[-1]) if outage == "full disk" else held_file(database)
        )


# --- at the worst moments --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arrives",
    [
        pytest.param(True, id="the write arrives", marks=pytest.mark.part("full")),
        pytest.param(False, id="the write is lost", marks=pytest.mark.part("full")),
    ],
)
@pytest.mark.parametrize("database", ["postgresql", "sqlite"])
def test_it_goes_away_between_the_write_and_our_record_of_it(
    request: pytest.FixtureRequest, tmp_path: Path, database: str, *, arrives: bool
) -> None:
    """The intent is on record, the registry is being asked, and nothing more can be written down."""
    if database == "sqlite":
        url = SqliteDatabases(tmp_path).migrated()
    else:
        server: OwnPostgresql = request.getfixturevalue("server")
        url = server.databases.migrated()
    with kill_world(tmp_path, "uc", "github", url, models=1) as world:
        hang = threading.Event()
        put = world.databricks.faults.add(Fault("/aliases/", "PUT", hang=hang, drop=not arrives, times=1))
        served = world.launch().wait_until_working()
        world.train(next(iter(world.models)))
        until(lambda: list(phases(world).values()) == [Phase.PENDING_APPROVAL], world.story)
        world.approve_all()
        until(lambda: put.hits, world.story)
        with full_disk(served) if database == "sqlite" else stopped(server, "immediate"):
            hang.set()
            until(lambda: bool(world.databricks.catalog.alias_writes) is arrives, "the write")
            until(lambda: not is_ready(served), "it says that it is ready")
            # Long enough for what went on to meet the database.
            begun = time.monotonic()
            until(lambda: time.monotonic() > begun + 10, "")
        world.wait_until_promoted(AFTERWARDS)
        assert_each_promoted_once(world)
