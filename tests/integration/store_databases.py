"""Makes databases for tests."""

from __future__ import annotations

import shutil
import uuid
from contextlib import closing
from pathlib import Path
from typing import Protocol

import psycopg
from alembic import command
from alembic.config import Config

from champion_gate.store import migrate
from champion_gate.store.engine import Database
from champion_gate.store.schema import MIGRATIONS


def bring_to(url: str, revision: str) -> None:
    """Give a database this schema: a revision, or "-1" for the one before."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    with closing(Database(url)) as database, database.write() as connection:
        config.attributes["connection"] = connection
        if revision.startswith("-"):
            command.downgrade(config, revision)
        else:
            command.upgrade(config, revision)


class Databases(Protocol):
    """Makes databases of one kind; they go with the folder or the server that they are in."""

    def empty(self) -> str:
        """URL of a database without tables."""
        ...

    def migrated(self) -> str:
        """URL of a database with our tables and no rows."""
        ...


class SqliteDatabases:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._template = folder / "template.db"

    def empty(self) -> str:
        return f"sqlite:///{self._folder / uuid.uuid4().hex}.db"

    def migrated(self) -> str:
        if not self._template.exists():
            migrate(f"sqlite:///{self._template}")
        url = self.empty()
        shutil.copy(self._template, url.removeprefix("sqlite:///"))
        return url


class PostgresqlDatabases:
    def __init__(self, server_url: str) -> None:
        self._server_url = server_url
        self._template: str | None = None
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

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self._server_url, autocommit=True) as connection:
            connection.execute(statement.encode())
