"""The database of this process's environment: opened, made, copied and put back."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from champion_gate.store import Store

_SECRET_PARAMETERS = ("password", "sslpassword")
"""Of PostgreSQL's connection URIs (postgresql.org, "Parameter Key Words")."""


def local_database_url() -> str:
    """The database of this process's environment."""
    from champion_gate.bootstrap.configuration import load_environment

    return load_environment(os.environ).database_url.get_secret_value()


@contextmanager
def open_local_store() -> Iterator[Store]:
    """The store of this process's environment; needs no other setting than its address."""
    from champion_gate.errors import ConfigurationError
    from champion_gate.store.store import command_line_token, open_store

    url = local_database_url()
    file = sqlite_file(url)
    if file is not None and file.parent.is_dir() and not file.exists():  # SQLite would make an empty one
        raise ConfigurationError([f"the database {url} is not there; to make it: champion-gate migrate"])
    with usable(url), open_store(url, token=command_line_token) as store:
        store.check()
        yield store


def migrate_local() -> str:
    """Create or upgrade the tables of this process's environment, and return the database without a password."""
    url = local_database_url()
    migrate_database(url)
    return without_password(url)


def copy_store(source_url: str, target_url: str | None) -> tuple[str, int]:
    """Create the tables of a database, by default this environment's, and fill them from one of SQLite.

    Returns:
        The target without a password, and how many lines its ledger has.

    Raises:
        ConfigurationError, ConflictError: see `store.backup.copy_into`; or the source is no file of SQLite's.
    """
    from champion_gate.errors import ConfigurationError
    from champion_gate.store import open_store
    from champion_gate.store.backup import copy_into

    target_url = target_url or local_database_url()
    file = Path(source_url.removeprefix("sqlite:///"))
    if not source_url.startswith("sqlite:///") or not file.is_file():
        raise ConfigurationError(["SOURCE: expected sqlite:///FILE of a database that is there"])
    with usable(source_url), open_store(source_url) as store:
        store.check()
    migrate_database(target_url)
    with usable(target_url):
        return without_password(target_url), copy_into(file, target_url)


def back_up_local(target: Path) -> tuple[str, int | None, str | None]:
    """Copy the local database into a file; on PostgreSQL nothing is done.

    Returns:
        The database without a password; how many lines the copy's ledger has; and on PostgreSQL, instead of the
        lines, the command that makes the copy.
    """
    from champion_gate.store.backup import copy_whole

    url = local_database_url()
    shown = without_password(url)
    file = sqlite_file(url)
    if file is None:
        return (
            shown,
            None,
            f"pg_dump --format=custom --file={shlex.quote(str(target))} {shlex.quote(_libpq(url))}",
        )
    with usable(url):
        return shown, copy_whole(file, target), None


def restore_local(backup: Path) -> tuple[str, int, Path | None]:
    """Put a backup in the place of the local database.

    Returns:
        The database; how many lines its ledger has; and where the former one is now, if there was one.

    Raises:
        ConflictError: see `store.backup.put_back`; or the database is PostgreSQL.
    """
    from champion_gate.errors import ConflictError
    from champion_gate.store.backup import put_back

    url = local_database_url()
    file = sqlite_file(url)
    if file is None:
        raise ConflictError(
            "The database is PostgreSQL, which has its own way back.",
            # Into a newer release's tables --clean would leave those that the dump lacks, and no migration goes on then.
            hint="Stop every replica, and give this name to a new, empty database. Then: "
            f"pg_restore --exit-on-error --single-transaction --dbname={shlex.quote(_libpq(url))} {shlex.quote(str(backup))}",
        )
    with usable(f"sqlite:///{backup.absolute()}"):
        lines, former = put_back(backup, file)
    migrate_database(url)
    return without_password(url), lines, former


def sqlite_file(database_url: str) -> Path | None:
    """The database's file; None where it is no SQLite."""
    from sqlalchemy import make_url

    url = make_url(database_url)
    return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None


def _libpq(database_url: str) -> str:
    """The URL for PostgreSQL's own programs, without a password: they take it from PGPASSWORD or ~/.pgpass."""
    from sqlalchemy import make_url

    # `set` takes no None for "none".
    url = make_url(database_url)._replace(drivername="postgresql", password=None)
    return url.difference_update_query(_SECRET_PARAMETERS).render_as_string()


def without_password(database_url: str) -> str:
    """The address as it may be shown."""
    from sqlalchemy import make_url

    url = make_url(database_url).difference_update_query(_SECRET_PARAMETERS)
    return url.render_as_string(hide_password=True)


def migrate_database(database_url: str) -> None:
    """Create or upgrade the tables."""
    from champion_gate.store.schema import migrate

    with usable(database_url):
        migrate(database_url)


@contextmanager
def usable(database_url: str) -> Iterator[None]:
    """Say in words that a database cannot be used; its drivers raise whatever they like."""
    import sqlite3

    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    from champion_gate.errors import StoreUnavailableError

    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        why = str(error.orig if isinstance(error, DBAPIError) else error).strip().partition("\n")[0]
        raise StoreUnavailableError(
            f"The database {without_password(database_url)} cannot be used: {why}.",
            hint="Is CHAMPION_GATE_DATABASE_URL right, and may this user write there?",
        ) from error
