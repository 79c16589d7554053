from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from champion_gate.domain.notifications import NotificationPhase
from champion_gate.errors import ConfigurationError
from champion_gate.store import migrate, open_store
from champion_gate.store.engine import Database
from champion_gate.store.schema import MIGRATIONS
from champion_gate.store.tables import SCHEMA_VERSION, metadata
from integration.store_databases import Databases
from integration.store_samples import KEY, T0, append_ledger, entry, notification, promotion

pytest_plugins = ("integration.store_fixtures",)


def test_the_migrations_make_exactly_the_tables_of_the_code(database_url: str) -> None:
    database = Database(database_url)
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    database.close()


def test_the_code_names_the_newest_migration() -> None:
    script = ScriptDirectory(str(MIGRATIONS))
    assert script.get_heads() == [SCHEMA_VERSION]


def test_migrating_a_populated_database_again_keeps_every_row(databases: Databases) -> None:
    url = databases.empty()
    migrate(url)
    with open_store(url) as store:
        row = store.record_notification("hook", notification(), T0)
        store.create_promotion(promotion())
        append_ledger(store, [entry("a"), entry("b")])
        store.lock_alias(KEY, T0, 60)
        lock = store.known_alias(KEY)
    migrate(url)
    with open_store(url) as store:
        store.check()
        assert store.get_notification(row).phase is NotificationPhase.RECEIVED
        assert store.get_promotion("p-1") == promotion()
        assert store.verify_ledger() == 2
        assert store.known_alias(KEY) == lock


@pytest.mark.part("rest")
def test_two_processes_may_migrate_at_once(databases: Databases) -> None:
    url = databases.empty()
    program = (
        "import sys; from champion_gate.store import migrate; sys.stdin.readline(); migrate(sys.argv[1])"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program, url], stdin=subprocess.PIPE) for _ in range(3)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0, 0, 0]
    with open_store(url) as store:
        store.check()


def test_a_database_without_our_schema_is_not_used(databases: Databases) -> None:
    with (
        open_store(databases.empty()) as store,
        pytest.raises(ConfigurationError, match="champion-gate migrate"),
    ):
        store.check()


def test_a_database_of_an_older_schema_is_not_used(database_url: str) -> None:
    database = Database(database_url)
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0014'"))
    database.close()
    with (
        open_store(database_url) as store,
        pytest.raises(ConfigurationError, match="run: champion-gate migrate"),
    ):
        store.check()


def test_a_database_that_cannot_be_written_does_not_pass_the_check(database_url: str) -> None:
    database = Database(database_url)
    if database.is_sqlite:
        read_only = f"sqlite:///file:{database_url.removeprefix('sqlite:///')}?mode=ro&uri=true"
    else:
        read_only = f"{database_url}&options=-c%20default_transaction_read_only%3Don"
    database.close()
    with open_store(read_only) as store, pytest.raises(DBAPIError):
        store.check()


def test_sqlite_writes_reach_the_disk_before_they_are_acknowledged(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/gate.db"
    migrate(url)
    database = Database(url)
    with database.write() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    database.close()
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}


def test_a_sqlite_write_holds_the_lock_from_its_beginning(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/gate.db"
    migrate(url)
    database = Database(url)
    other = sqlite3.connect(tmp_path / "gate.db", timeout=0, isolation_level=None)
    with database.write(), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    with database.read():
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
    other.close()
    database.close()


def test_a_failed_write_leaves_nothing_behind(database_url: str) -> None:
    database = Database(database_url)

    def write_and_fail() -> None:
        with database.write() as connection:
            connection.execute(text("INSERT INTO gates_seen VALUES ('g', 't')"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_fail()
    with database.write() as connection:
        assert connection.scalar(text("SELECT count(*) FROM gates_seen")) == 0
    database.close()


def test_a_relative_path_starts_at_the_working_directory(tmp_path: Path) -> None:
    program = "from champion_gate.store import migrate; migrate('sqlite:///gate.db')"
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, timeout=60)
    assert (tmp_path / "gate.db").exists()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "gate.db",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:x?mode=memory&uri=true",
        "mysql://root:hunter2@localhost/gate",
        "postgresql+asyncpg://u:hunter2@localhost/gate",
        "postgresql://u:hunter2@localhost:port/gate",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_its_password(url: str) -> None:
    for use in (open_store, migrate):
        with pytest.raises(ConfigurationError) as refused:
            use(url)
        assert "hunter2" not in str(refused.value)


def test_the_password_of_an_unreachable_database_stays_secret() -> None:
    url = "postgresql://gate:hunter2@127.0.0.1:1/gate"
    with open_store(url) as store, pytest.raises(DBAPIError) as refused:
        store.check()
    assert "hunter2" not in str(refused.value)
    assert "hunter2" not in repr(store)


def test_alembic_is_not_loaded_by_a_service_that_only_serves(tmp_path: Path) -> None:
    program = "import sys, champion_gate.store; sys.exit('alembic' in sys.modules)"
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    assert subprocess.run([sys.executable, "-c", program], check=False, env=environment).returncode == 0
