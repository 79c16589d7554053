"""Makes databases for tests."""

from __future__ import annotations

import atexit
import fcntl
import os
import secrets
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Protocol

import psycopg
from alembic import command
from alembic.config import Config
from psycopg.sql import SQL, Composed, Identifier, Literal

from champion_gate.store import Store, migrate
from champion_gate.store.engine import Database
from champion_gate.store.schema import MIGRATIONS


def path_of(url: str) -> Path:
    """The file of an SQLite database."""
    return Path(url.removeprefix("sqlite:///"))


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Hold a lock that the other workers of this run wait for.

    Args:
        path: of the lock file, which stays.
    """
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def bring_to(url: str, revision: str) -> None:
    """Give a database this schema: a revision, or with "-" before it the one to take the migrations back to."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    with closing(Database(url)) as database, database.write() as connection:
        config.attributes["connection"] = connection
        if revision.startswith("-"):
            command.downgrade(config, revision[1:])
        else:
            command.upgrade(config, revision)


@contextmanager
def reused_store(url: str) -> Iterator[Store]:
    """The store on a database that one test after the other has for itself.

    Its engine is kept, for it compiles each statement once, which takes longer than what most tests do with it.
    """
    with closing(_database(url)) as database:
        yield Store(database, partial(secrets.token_hex, 16))


@cache
def _database(url: str) -> Database:
    return Database(url)


@cache
def _sqlite_databases() -> SqliteDatabases:
    folder = tempfile.mkdtemp(prefix="gates-", dir=os.environ.get("PYTEST_DEBUG_TEMPROOT"))
    atexit.register(shutil.rmtree, folder)
    return SqliteDatabases(Path(folder))


def new_sqlite() -> str:
    """The URL of a migrated SQLite database, which nobody uses after: others may keep it open."""
    return _sqlite_databases().migrated()


_unused: list[str] = []


@contextmanager
def sqlite_store() -> Iterator[tuple[str, Store]]:
    """The URL of a migrated SQLite database without rows, and its store."""
    url = _unused.pop() if _unused else _sqlite_databases().empty()
    _sqlite_databases().renew(url)
    with reused_store(url) as store:
        yield url, store
    _unused.append(url)


class Databases(Protocol):
    """Makes databases of one kind; they go with the folder or the server that they are in."""

    def empty(self) -> str:
        """URL of a database without tables."""
        ...

    def migrated(self) -> str:
        """URL of a new database with our tables and no rows."""
        ...

    def emptied(self) -> str:
        """The same, for one test at a time: what an earlier test left is gone."""
        ...


class SqliteDatabases:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._template = folder / "template.db"

    def empty(self) -> str:
        return f"sqlite:///{self._folder / uuid.uuid4().hex}.db"

    def migrated(self) -> str:
        url = self.empty()
        self.renew(url)
        return url

    def emptied(self) -> str:
        url = f"sqlite:///{self._folder}/shared.db"
        self.renew(url)
        return url

    def renew(self, url: str) -> None:
        """Put a migrated database without rows in the place of what is there."""
        if not self._template.exists():
            migrate(f"sqlite:///{self._template}")
        file = path_of(url)
        for old in file.parent.glob(f"{file.name}*"):
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        shutil.copy(self._template, file)


class PostgresqlDatabases:
    def __init__(self, server_url: str) -> None:
        self._server_url = server_url
        self._template: str | None = None
        self._shared: _Shared | None = None
        # Databases for tests need not outlive a power cut, and without this each takes a second to make.
        self._execute("ALTER SYSTEM SET fsync = off")
        self._execute("SELECT pg_reload_conf()")

    def empty(self, template: str = "template1") -> str:
        name = f"gate_{uuid.uuid4().hex}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self._server_url.replace("/postgres?", f"/{name}?")

    def migrated(self) -> str:
        if self._template is None:
            url = self.empty()
            migrate(url)
            self._template = url.partition("?")[0].rpartition("/")[2]
        return self.empty(self._template)

    def emptied(self) -> str:
        if self._shared is None or not self._shared.empty():
            self._shared = _Shared(self.migrated())
        return self._shared.url

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self._server_url, autocommit=True) as connection:
            connection.execute(statement.encode())


class _Shared:
    """A database that one test after the other has for itself: to make a new one takes far longer than to empty it."""

    def __init__(self, url: str) -> None:
        self.url = url
        with psycopg.connect(url) as connection:
            self._tables = [name for (name,) in connection.execute(_TABLES).fetchall()]
            self._rows = {name: connection.execute(_all_of(name)).fetchall() for name in self._tables}
            self._schema = connection.execute(_SCHEMA).fetchone()

    def empty(self) -> bool:
        """Bring it back to how it was when it was new; false where a test has changed more than rows."""
        with psycopg.connect(self.url) as connection:
            connection.execute(_END_OTHERS)
            if connection.execute(_SCHEMA).fetchone() != self._schema:
                return False
            # The ledger's triggers let nobody take lines away.
            connection.execute("SET LOCAL session_replication_role = replica")
            connection.execute(SQL("TRUNCATE {}").format(SQL(", ").join(map(Identifier, self._tables))))
            for name, rows in self._rows.items():
                for row in rows:
                    values = SQL(", ").join(map(Literal, row))
                    connection.execute(SQL("INSERT INTO {} VALUES ({})").format(Identifier(name), values))
        return True


def _all_of(table: str) -> Composed:
    return SQL("SELECT * FROM {}").format(Identifier(table))


_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
_END_OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_SCHEMA = """
    SELECT string_agg(line, ';' ORDER BY line) FROM (
        SELECT concat_ws(' ', table_name, column_name, data_type, is_nullable, column_default) AS line
            FROM information_schema.columns WHERE table_schema = 'public'
        UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
        UNION ALL SELECT concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid))
            FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        UNION ALL SELECT concat_ws(' ', pg_get_triggerdef(oid), tgenabled) FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL SELECT concat_ws(' ', proname, prosrc)
            FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    ) AS whole
"""
