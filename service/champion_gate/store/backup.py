"""Copies of a SQLite database that are whole, their way back, and the way to PostgreSQL, which has its own tools for the rest."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from sqlalchemy import URL, delete, func, insert, select

from champion_gate.errors import ConfigurationError, ConflictError
from champion_gate.store import open_store
from champion_gate.store.engine import Database
from champion_gate.store.exclusive import ExclusiveFile
from champion_gate.store.releases import check_schema, schema_of
from champion_gate.store.tables import SCHEMA_VERSION, ledger_head, metadata, oldest_release, replicas

_BESIDE = ("-wal", "-shm")
_CHUNK = 500  # rows
_MADE_WITH_A_ROW = (ledger_head, oldest_release)


def copy_whole(database: Path, target: Path) -> int:
    """Copy a database, also beside a running service, into one file that needs no other beside it.

    A copy of the file alone lacks what is still in its write-ahead log (sqlite.org/wal.html), in the worst case
    everything.

    Args:
        database: the file to copy.
        target: where to; it must not be there yet, and appears under its name only when it is whole.

    Returns:
        How many lines the copy's ledger has, each of them verified.

    Raises:
        ConflictError: the target is there already or cannot be written, or the copy's ledger does not verify.
        OSError, sqlite3.Error: the database cannot be read.
    """
    if target.exists():
        raise ConflictError(f"{target} is there already.", hint="Name a file that is not.")
    part = target.with_name(f"{target.name}.part")
    try:
        _remove(part)
        part.touch()
    except OSError as error:
        raise ConflictError(
            f"{target} cannot be written: {error.strerror}.", hint="Name a file where this user may write."
        ) from None
    try:
        lines = _copy(database, part)
        # Not `replace`: another backup may have come first meanwhile.
        os.link(part, target)
    except FileExistsError:
        raise ConflictError(f"{target} is there already.", hint="Name a file that is not.") from None
    finally:
        _remove(part)
    _sync(target.parent)
    return lines


def put_back(backup: Path, database: Path, *, wait_seconds: float = 5) -> tuple[int, Path | None]:
    """Put a backup in the place of a database that nobody serves. What was there is kept beside it.

    Args:
        backup: a file that `copy_whole` made.
        database: the file to put in place.
        wait_seconds: for how long others may keep it in use before that is an error.

    Returns:
        How many lines its ledger has, each of them verified, and where the former database is now, if there was one.

    Raises:
        ConflictError: a service is up, somebody else still has the database in use, the former one of an earlier
            restore is still there, or the backup's ledger does not verify.
        OSError, sqlite3.Error: it cannot be read or written.
    """
    former = database.with_name(f"{database.name}.before-restore")
    serving = ExclusiveFile(database)
    if not serving.try_to_acquire():
        raise ConflictError(f"A service is up on {database}.", hint="Stop it first.")
    try:
        if former.exists():
            raise ConflictError(
                f"{former} of an earlier restore is still there.", hint="Move it away or delete it first."
            )
        part = database.with_name(f"{database.name}.part")
        _remove(part)
        lines = _copy(backup, part)
        kept = _put_aside(database, former, wait_seconds)
        for each in _beside(database):
            each.unlink(missing_ok=True)
        part.replace(database)
        _sync(database.parent)
        return lines, kept
    finally:
        serving.release()


def copy_into(database: Path, target_url: str) -> int:
    """Copy every row of a SQLite database that nobody serves into another database, whose tables are empty.

    Args:
        database: the file to copy; it is only read.
        target_url: a migrated database of either kind.

    Returns:
        How many lines the ledger has. They are verified before, and in the target.

    Raises:
        ConfigurationError: one of the two has not this version's schema.
        ConflictError: a service is up on the file, the target holds rows, or a ledger does not verify.
    """
    serving = ExclusiveFile(database)
    if not serving.try_to_acquire():
        raise ConflictError(f"A service is up on {database}.", hint="Stop it first.")
    source_url = URL.create("sqlite", database=str(database.absolute())).render_as_string()
    try:
        with open_store(source_url) as store:
            store.verify_ledger()
        with (
            closing(Database(source_url)) as source,
            closing(Database(target_url, answer_seconds=None)) as target,
        ):
            _copy_rows(source, target)
    finally:
        serving.release()
    with open_store(target_url) as store:
        return store.verify_ledger()


def _copy_rows(source: Database, target: Database) -> None:
    with source.snapshot() as read, target.write() as written:
        for connection in (read, written):
            check_schema(connection)
            if (found := schema_of(connection)) != SCHEMA_VERSION:
                raise ConfigurationError(
                    [
                        f"the database has schema {found} of a newer release, whose rows only that one copies whole"
                    ]
                )
        # A migration writes the head alone; whoever appends to the ledger waits for it.
        written.execute(select(ledger_head).with_for_update())
        for table in metadata.sorted_tables:
            new = 1 if table in _MADE_WITH_A_ROW else 0
            if (written.scalar(select(func.count()).select_from(table)) or 0) > new:
                raise ConflictError(
                    f"The database to copy into is not empty: there are rows in {table.name}.",
                    hint="Name a new, empty one.",
                )
        for table in _MADE_WITH_A_ROW:
            written.execute(delete(table))
        for table in (each for each in metadata.sorted_tables if each is not replicas):
            for rows in (
                read.execute(select(table).execution_options(yield_per=_CHUNK)).mappings().partitions()
            ):
                written.execute(insert(table), [dict(row) for row in rows])


def _copy(source: Path, target: Path) -> int:
    with (
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as read,
        closing(sqlite3.connect(target)) as written,
    ):
        read.backup(written)
        written.execute("PRAGMA journal_mode = DELETE").close()
    url = URL.create("sqlite", database=str(target.absolute())).render_as_string()
    with open_store(url) as store:
        lines = store.verify_ledger()
    with target.open("rb") as file:
        os.fsync(file.fileno())
    return lines


def _put_aside(database: Path, former: Path, wait_seconds: float) -> Path | None:
    if not database.exists():
        return None
    # Once its log is in the file, that can be kept alone.
    with closing(sqlite3.connect(database, timeout=wait_seconds)) as connection:
        (is_busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if is_busy:
        raise ConflictError(
            f"{database} is still in use: not all of its log goes into the file.",
            hint="Let other commands on it end first.",
        )
    os.link(database, former)
    return former


def _with_beside(path: Path) -> tuple[Path, ...]:
    return (path, *_beside(path))


def _beside(path: Path) -> tuple[Path, ...]:
    return tuple(path.with_name(path.name + ending) for ending in _BESIDE)


def _remove(path: Path) -> None:
    for each in _with_beside(path):
        each.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Have the folder's entry on disk too, where the file system can do that."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
