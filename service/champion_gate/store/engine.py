"""Connections, transactions and what SQLAlchemy offers for each database apart, on SQLite and on PostgreSQL."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from types import TracebackType
from typing import Any, Self

from sqlalchemy import URL, Connection, Engine, Row, Select, Table, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError

from champion_gate.errors import ConfigurationError, StoreUnavailableError
from champion_gate.store.turns import Turns

BUSY_SECONDS = 30.0
"""How long a writer waits for SQLite's file."""
_MOST_WAITING = 100  # far fewer than the web's threads, so that some are left for what needs no write
_POOL_SECONDS = 10.0  # a web thread that waits longer is better answered 503
_IS_BUSY = "The database is busy with other writes."
ANSWER_SECONDS = 25.0
"""How long PostgreSQL's answer to a statement is waited for."""
_CHECKPOINT_MILLISECONDS = 500
_CACHE_KIBIBYTES = 512
_LARGEST_LOG = 16 * 1024 * 1024  # else the file beside the database keeps the size of its busiest hour
_OLDEST_SQLITE = (3, 35)  # the first with RETURNING
_POSTGRESQL = {"postgres", "postgresql", "postgresql+psycopg"}


class Database:
    """One database: a small pool, and transactions that either read or write.

    It must be made after a fork, never before: connections are not shared between processes.

    Args:
        database_url: `sqlite:///relative/path`, `sqlite:////absolute/path` or `postgresql://…`.
        answer_seconds: how long PostgreSQL's answer is waited for; None sets no bound, for migrations.
        busy_seconds: how long a writer of SQLite waits for others of this process, and then for other processes.

    Raises:
        ConfigurationError: the URL is of another kind.
    """

    def __init__(
        self,
        database_url: str,
        answer_seconds: float | None = ANSWER_SECONDS,
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        url = _checked(database_url)
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self.engine = (
            _sqlite_engine(url, busy_seconds) if self.is_sqlite else _postgresql_engine(url, answer_seconds)
        )
        self._writing = self.engine.execution_options(begin="BEGIN IMMEDIATE")
        # In SQLite every transaction reads as of one moment; PostgreSQL has to be asked.
        repeatable = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        self._as_of_one_moment = self.engine.execution_options(**repeatable)
        self._busy_seconds = busy_seconds
        self._shared = threading.local()
        self._writer = Turns()
        self._places = threading.BoundedSemaphore(_MOST_WAITING)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads; within `at_once` that one."""
        shared: Connection | None = getattr(self._shared, "connection", None)
        with nullcontext(shared) if shared is not None else self.engine.begin() as connection:
            yield connection

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Have all that this thread reads within the block read in one transaction: each takes PostgreSQL three answers more.

        Not around a call that may take long: a connection is held.
        """
        with self.engine.begin() as connection:
            self._shared.connection = connection
            try:
                yield
            finally:
                del self._shared.connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A transaction that only reads, and sees nothing that is committed after its first statement."""
        with self._as_of_one_moment.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes; committed, and on disk, when the block ends without an error."""
        with self.place(), self.turn() as connection:
            yield connection

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place to wait in for the writer's turn. PostgreSQL has no such turns: its pool is bounded.

        Raises:
            StoreUnavailableError: there is none; where another process holds SQLite's file, the queue must not grow.
        """
        if not self.is_sqlite:
            yield
            return
        if not self._places.acquire(blocking=False):
            raise StoreUnavailableError(_IS_BUSY, hint="Send it again later.")
        try:
            yield
        finally:
            self._places.release()

    @contextmanager
    def turn(self, *, of_group: bool = False) -> Iterator[Connection]:
        """A transaction that writes, for who has a place; committed when the block ends without an error.

        SQLite has one writer at a time and makes the others poll; threads queue here instead.

        Args:
            of_group: go before who waits alone, and have one turn at a time on PostgreSQL too, so that what comes
                meanwhile can be written together.

        Raises:
            StoreUnavailableError: the turn did not come in time.
        """
        if not self.is_sqlite and not of_group:
            with self.engine.begin() as connection:
                yield connection
            return
        seconds = self._busy_seconds if self.is_sqlite else _POOL_SECONDS
        if not self._writer.acquire(seconds, of_group=of_group):
            raise StoreUnavailableError(_IS_BUSY, hint="Send it again later.")
        try:
            with self._writing.begin() as connection:
                yield connection
        finally:
            self._writer.release()

    def use_wal(self) -> None:
        """Switch a SQLite file to write-ahead logging, which it remembers.

        SQLite does not wait for a lock here (sqlite.org/wal.html: the change needs the file exclusively and
        fails at once), so two processes that start together need the repetition.
        """
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            connection = self.engine.raw_connection()
            try:
                connection.cursor().execute("PRAGMA journal_mode = WAL").close()
            except sqlite3.OperationalError:
                if time.monotonic() > deadline:
                    raise
            else:
                return
            finally:
                connection.close()
            time.sleep(0.05)

    def checkpoint(self) -> None:
        """Bring the write-ahead log into the file and empty it, as far as readers allow; nothing on PostgreSQL."""
        if not self.is_sqlite:
            return
        connection = self.engine.raw_connection()
        try:
            # The usual half minute is more than there is at a stop.
            connection.cursor().execute(f"PRAGMA busy_timeout = {_CHECKPOINT_MILLISECONDS}").close()
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
        finally:
            connection.invalidate()  # nobody else should be as impatient

    def close(self) -> None:
        """Close every connection of the pool."""
        self.engine.dispose()


class Transactions:
    """An open database, over which each group of tables is a class; `store.Store` is all of them in one.

    Args:
        database: migrated, and opened by this process.
        token: makes lease tokens and notifications' ids: unguessable, never the same twice.
    """

    def __init__(self, database: Database, token: Callable[[], str]) -> None:
        self._database = database
        self._read = database.read
        self._snapshot = database.snapshot
        self.at_once = database.at_once
        self._write = database.write
        self._token = token

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._database.close()

    def _row(self, query: Select[Any], **given: object) -> Row[Any] | None:
        """The one row, read in a transaction of its own; None if there is none."""
        with self._read() as connection:
            return connection.execute(query, given).one_or_none()

    def _rows(self, query: Select[Any], **given: object) -> Sequence[Row[Any]]:
        """All rows, read in a transaction of their own."""
        with self._read() as connection:
            return connection.execute(query, given).all()


def upsert(connection: Connection, table: Table) -> sqlite.Insert:
    """An INSERT that takes `on_conflict_do_update` and `on_conflict_do_nothing`."""
    return upsert_for(connection.dialect.name, table)


def upsert_for(dialect: str, table: Table) -> sqlite.Insert:
    """The same by the dialect's name, for statements that are built once.

    The PostgreSQL one is given out under SQLite's type: what both offer is alike.
    """
    if dialect == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)  # type: ignore[return-value]


def _checked(database_url: str) -> URL:
    try:
        url = make_url(database_url)
    except (ArgumentError, ValueError):
        # The text may hold a password, so it is not repeated.
        raise ConfigurationError(
            ["the database URL cannot be read; write sqlite:///champion-gate.db or postgresql://…"]
        ) from None
    if url.drivername in _POSTGRESQL:
        return url.set(drivername="postgresql+psycopg")
    if url.drivername != "sqlite":
        raise ConfigurationError(
            [f"the database URL begins with {url.drivername}://; write sqlite:///… or postgresql://…"]
        )
    if not url.database or ":memory:" in url.database or url.query.get("mode") == "memory":
        raise ConfigurationError(
            ["the database URL names no file; a database in memory loses what it was given"]
        )
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise ConfigurationError([f"SQLite {sqlite3.sqlite_version} is too old; 3.35 or later is needed"])
    return url


def _sqlite_engine(url: URL, busy_seconds: float) -> Engine:
    engine = create_engine(
        url,
        connect_args={"timeout": busy_seconds},
        pool_size=5,
        max_overflow=5,
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: Any) -> None:
        # The driver's own transactions begin too late and never immediately; `_begin` takes over.
        connection.isolation_level = None
        # A text that was edited by hand may be no UTF-8: it must not keep `verify` from naming its line.
        connection.text_factory = partial(str, encoding="utf-8", errors="replace")
        for pragma in (
            "synchronous = FULL",
            "foreign_keys = ON",
            "recursive_triggers = ON",
            # Of each connection; what it leaves out the system keeps anyway, once for all of them.
            f"cache_size = -{_CACHE_KIBIBYTES}",
            # The log grows while a long reader holds it, and would keep that size for good.
            f"journal_size_limit = {_LARGEST_LOG}",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))

    return engine


def _postgresql_engine(url: URL, answer_seconds: float | None) -> Engine:
    engine = create_engine(
        url,
        pool_size=5,
        max_overflow=15,
        pool_timeout=_POOL_SECONDS,
        pool_pre_ping=True,
        hide_parameters=True,
    )
    if answer_seconds is not None:

        @event.listens_for(engine, "do_connect")
        def _connect(_dialect: Any, _record: Any, args: list[Any], parameters: dict[str, Any]) -> Any:
            from champion_gate.store.postgresql import connect  # noqa: PLC0415 - few have PostgreSQL

            return connect(*args, answer_seconds=answer_seconds, **parameters)

    return engine
