"""Which replicas are at work, and what an older one among them keeps the others from writing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from champion_gate.domain.approval import Verdict
from champion_gate.domain.canonical import utc_text
from champion_gate.domain.ledger.chain import LedgerKind
from champion_gate.domain.promotion import Phase
from champion_gate.errors import ConfigurationError, OlderReplicaError
from champion_gate.flow.context import Waits
from champion_gate.store import Store, migrate, open_store, releases
from champion_gate.store.engine import Database
from champion_gate.store.exclusive import ExclusiveFile
from champion_gate.store.releases import let_all_read, oldest_that_may_run
from champion_gate.store.schema import MIGRATIONS
from integration.newer_release import RELEASE, SCHEMA, newer_release, run_newer
from integration.store_databases import Databases, SqliteDatabases, path_of
from integration.store_samples import T0, entry, promotion

pytest_plugins = ("integration.store_fixtures",)

NEW = {"0.1.0": (Phase.APPROVED, LedgerKind.HOLD)}


def execute(url: str, *statements: str) -> None:
    with closing(Database(url)) as database, database.write() as connection:
        for statement in statements:
            connection.execute(text(statement))


def older_replica(store: Store, url: str) -> None:
    """One of release 0.0.9 is at work, and the database is for it."""
    store.beat("old", "gate-1", lambda: T0)
    execute(url, "UPDATE replicas SET release = '0.0.9'", "UPDATE oldest_release SET release = '0.0.9'")


def write(url: str, *values: object) -> str | None:
    """Be about to write these; returns the oldest release that may run then."""
    with closing(Database(url)) as database, database.write() as connection:
        let_all_read(connection, *values, words=NEW)
        return oldest_that_may_run(connection)


def test_a_replica_is_at_work_until_it_stops_or_is_silent_for_two_minutes(
    store: Store, database_url: str
) -> None:
    for name in ("a", "b", "c"):
        store.beat(name, f"gate-{name}", lambda: T0)
    store.beat("c", "gate-c", lambda: T0)
    assert [(each.id, each.release, each.clock) for each in store.replicas()] == [
        (name, releases.RELEASE, T0) for name in ("a", "b", "c")
    ]
    store.leave("a")
    # Long ago, and by a clock that has been set back since.
    for silent, seen in (("b", "2025-01-01"), ("c", "2999-01-01")):
        execute(
            database_url, f"UPDATE replicas SET seen_at = '{seen}T00:00:00.000000Z' WHERE id = '{silent}'"
        )
    assert store.replicas() == ()
    store.beat("c", "gate-c", lambda: T0)
    assert [each.id for each in store.replicas()] == ["c"]


def test_who_reads_another_gates_yaml_is_told_while_it_may_hold_a_lease(
    store: Store, database_url: str
) -> None:
    for name in ("a", "b"):
        store.beat(name, f"gate-{name}", lambda: T0, name * 64)
    columns = "seen_at, clock FROM replicas WHERE id = 'a'"
    execute(  # as an earlier release does, which knows no such column
        database_url,
        f"INSERT INTO replicas (id, name, release, seen_at, clock) SELECT 'c', 'gate-c', '0.0.9', {columns}",
    )

    def others() -> list[str]:
        return [each.id for each in store.replicas_with_other_gates("a" * 64)]

    def last_seen(replica: str, seconds: float) -> None:
        at = utc_text(datetime.now(UTC) - timedelta(seconds=seconds))
        execute(database_url, f"UPDATE replicas SET seen_at = '{at}' WHERE id = '{replica}'")

    waits = Waits()
    last_seen("b", max(waits.lease_seconds, waits.alias_lease_seconds) + releases.BEAT_SECONDS)
    assert others() == ["b", "c"]
    last_seen("b", 121)
    assert others() == ["c"]
    store.leave("c")
    assert others() == []
    store.beat("b", "gate-b", lambda: T0, "a" * 64)
    assert others() == []


def test_a_new_word_is_written_only_once_every_older_replica_is_gone(store: Store, database_url: str) -> None:
    older_replica(store, database_url)
    store.beat("new", "gate-2", lambda: T0)
    for holds_it in (
        promotion(phase=Phase.APPROVED),
        replace(promotion(phase=Phase.FAILED), failed_from=Phase.APPROVED),
        [entry(kind=LedgerKind.DECISION), entry(kind=LedgerKind.HOLD)],
    ):
        with pytest.raises(OlderReplicaError, match=r"gate-1 \(release 0.0.9\)") as held_up:
            write(database_url, holds_it)
        assert held_up.value.retryable
    # What others call by the same name is as old as ever.
    assert write(database_url, promotion(), entry(), Verdict.APPROVED) == "0.0.9"
    store.leave("old")
    assert write(database_url, promotion(phase=Phase.APPROVED)) == "0.1.0"


def test_a_release_that_is_too_old_neither_starts_nor_goes_on(store: Store, database_url: str) -> None:
    store.beat("old", "gate-1", lambda: T0)
    execute(database_url, f"UPDATE oldest_release SET release = '{RELEASE}'")
    for may_it in (
        store.check,
        store.check_schema,
        lambda: store.beat("old", "gate-1", lambda: T0),
        lambda: migrate(database_url),
    ):
        with pytest.raises(ConfigurationError, match=f"for release {RELEASE} and later ones"):
            may_it()


def test_a_release_runs_on_newer_tables_that_are_made_for_it_too(store: Store, database_url: str) -> None:
    execute(database_url, "UPDATE alembic_version SET version_num = '9999'")
    store.check()
    store.beat("old", "gate-1", lambda: T0)
    migrate(database_url)
    assert store.newer_schema() == "9999"


def test_whoever_starts_meanwhile_is_seen_or_sees_that_it_may_not(databases: Databases) -> None:
    """A replica that starts while the oldest release is raised waits for what comes of that."""
    url = databases.migrated()
    raised, may_commit = threading.Event(), threading.Event()

    def raise_it(connection: Connection) -> None:
        assert releases.older_replicas(connection, RELEASE) == ()
        releases.raise_oldest(connection, RELEASE)
        raised.set()
        may_commit.wait(10)

    def upgrade() -> None:
        with closing(Database(url)) as database, database.write() as connection:
            raise_it(connection)

    def start() -> None:
        raised.wait(10)
        threading.Timer(0.1, may_commit.set).start()
        with open_store(url) as late:
            late.beat("late", "gate-3", lambda: T0)

    with ThreadPoolExecutor() as pool:
        upgraded, started = pool.submit(upgrade), pool.submit(start)
        upgraded.result()
        with pytest.raises(ConfigurationError, match=RELEASE):
            started.result()


def test_every_migration_names_the_oldest_release_that_may_run_on_it() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    for migration in ScriptDirectory.from_config(config).walk_revisions():
        assert releases.order(migration.module.oldest_release) <= releases.order(releases.RELEASE)


def test_a_candidate_counts_as_what_it_is_to_become() -> None:
    mixed = ["0.10", "0.2.1.dev3", "0.1.1", "0.2rc1", "0.1.0"]
    assert sorted(mixed, key=releases.order) == ["0.1.0", "0.1.1", "0.2rc1", "0.2.1.dev3", "0.10"]
    assert releases.order("0.2rc1") == releases.order("0.2.0")


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The newer release, with a migration beside which no older one may run."""
    return newer_release(tmp_path_factory.mktemp("strict"), oldest=RELEASE)


@pytest.mark.part("rest")
def test_no_migration_under_a_replica_that_could_not_go_on(
    strict: str, sqlite_databases: SqliteDatabases, tmp_path: Path
) -> None:
    url = sqlite_databases.migrated()
    environ = {"CHAMPION_GATE_DATABASE_URL": url}
    serving = ExclusiveFile(path_of(url))
    assert serving.try_to_acquire()
    with open_store(url) as store:
        store.beat("old", "gate-1", lambda: T0)
        # So that a slow machine does not take it for gone.
        execute(url, "UPDATE replicas SET seen_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', '+50 seconds')")
        code, told = run_newer(strict, "migrate", environ=environ, folder=tmp_path)
        assert code == 2
        assert "at work are gate-1 (release 0.1.0); stop those" in told
        store.check()
        assert store.newer_schema() is None
        # It was killed: its word counts no longer than its lock.
        serving.release()
        code, told = run_newer(strict, "migrate", environ=environ, folder=tmp_path)
        assert code == 0, told
        assert store.newer_schema() == SCHEMA
        with pytest.raises(ConfigurationError, match=f"run one of those, or .* before {RELEASE}"):
            store.check()
