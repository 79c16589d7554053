"""The Store on SQLite or PostgreSQL: each group of tables' methods, and what concerns all of them."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from champion_gate.domain.retry import LONGEST_OWN
from champion_gate.domain.rows import Due
from champion_gate.store import aliases, notifications, promotions, releases, steps, tables
from champion_gate.store.aliases import Aliases
from champion_gate.store.callers import Callers
from champion_gate.store.condition import Condition
from champion_gate.store.engine import ANSWER_SECONDS, BUSY_SECONDS, Database, upsert
from champion_gate.store.figures import FiguresOfRows
from champion_gate.store.identities import Identities
from champion_gate.store.ledger import Ledger
from champion_gate.store.notifications import Notifications
from champion_gate.store.promotions import Promotions
from champion_gate.store.releases import Replicas
from champion_gate.store.steps import Steps

COMMAND_LINE = "command-line-"
"""Begins the lease tokens of commands, which come and go beside the serving process."""
_CLOCKS_DIFFER = timedelta(minutes=1)  # between machines that share the database


def command_line_token() -> str:
    """A lease token of a command."""
    return f"{COMMAND_LINE}{_token()}"


def _token() -> str:
    return secrets.token_hex(16)


def open_store(
    database_url: str,
    *,
    token: Callable[[], str] = _token,
    answer_seconds: float = ANSWER_SECONDS,
    busy_seconds: float = BUSY_SECONDS,
) -> Store:
    """Open a migrated database. Call it after a fork, once a process.

    Args:
        database_url: `sqlite:///relative/path`, `sqlite:////absolute/path` or `postgresql://…`; a relative
            path starts at the working directory.
        token: makes lease tokens and notifications' ids: unguessable, never the same twice.
        answer_seconds: how long PostgreSQL's answer is waited for.
        busy_seconds: how long a writer of SQLite waits for its turn, and then for other processes.

    Raises:
        ConfigurationError: the URL cannot be used.
    """
    return Store(Database(database_url, answer_seconds, busy_seconds), token)


class Store(
    Notifications, Promotions, Steps, Aliases, Ledger, Identities, Callers, Condition, FiguresOfRows, Replicas
):
    """The rows. Every method is one transaction, durable when it returns.

    A *taken* row carries a lease token; whoever holds it writes with it, and `LeaseLostError` tells that
    the lease ran out and another has the row. `take_*` returns None where the row is not open, not due
    or held by somebody.
    """

    def due(self, at: datetime, limit: int = 500) -> Due:
        """What can be taken at `at`, because it is due and unleased or its lease ran out, the longest overdue first.

        Args:
            at: now.
            limit: so many of each kind that are longest overdue; of more, also some of the latest.
        """
        with self._read() as connection:
            return Due(
                notifications=notifications.LEASES.due_ids(connection, at, limit),
                promotions=promotions.LEASES.due_ids(connection, at, limit),
                steps=steps.LEASES.due_ids(connection, at, limit),
            )

    def note_time(self, clock: Callable[[], datetime]) -> timedelta:
        """Note the time; where the clock was set back, make every open row due, and let nothing have begun later.

        Else what was planned or begun by it would wait for as long as it was ahead. An hour's leap ahead looks
        like an hour's standstill, and is taken for one.

        Args:
            clock: tells the time; asked while nobody else can note it, or a process that was frozen would note an old one.

        Returns:
            By how much the clock was set back; zero where it was not, or by no more than replicas' clocks differ.
        """
        times = tables.clock
        with self._write() as connection:
            noted: datetime | None = connection.scalar(select(times.c.noted_at).with_for_update())
            at = clock()
            note = upsert(connection, times).values(id=1, noted_at=at)
            connection.execute(note.on_conflict_do_update(index_elements=["id"], set_={"noted_at": at}))
            if noted is None or noted <= at + _CLOCKS_DIFFER:
                return timedelta()
            _make_due(connection, at, notifications.OPEN, promotions.OPEN, steps.OPEN)
            for failing in (tables.notifications, tables.resolutions, tables.promotions, tables.steps):
                since = failing.c.failing_since
                connection.execute(update(failing).where(since > at).values(failing_since=at))
            promotions.let_begin_by(connection, at)
            steps.let_begin_by(connection, at)
            aliases.let_begin_by(connection, at)
            ahead = tables.gates_seen.c.first_seen_at > at
            connection.execute(update(tables.gates_seen).where(ahead).values(first_seen_at=at))
            return noted - at

    def look_failed(self, name: str, vendor: str) -> None:
        """Note, for all replicas, that a look at this vendor has failed.

        Args:
            name: the look's.
            vendor: its name in words, with which its errors begin.
        """
        if self._failed_at(name) != vendor:
            with self._write() as connection:
                noted = upsert(connection, tables.failing_looks).values(name=name, vendor=vendor)
                changed = {"vendor": noted.excluded.vendor}
                connection.execute(noted.on_conflict_do_update(index_elements=["name"], set_=changed))

    def look_succeeded(self, name: str, at: datetime) -> None:
        """Where it had failed, make due whatever waits for another try because of its vendor, which answers again.

        That is done once for all looks at the vendor that had failed: one that answers by turns is not to be asked
        for each. What is due so late that the vendor must have asked for that pause is left alone.
        """
        vendor = self._failed_at(name)
        if vendor is not None:
            failing = tables.failing_looks
            with self._write() as connection:
                if connection.execute(delete(failing).where(failing.c.vendor == vendor)).rowcount:
                    _hasten_failing(connection, vendor, at)

    def _failed_at(self, look: str) -> str | None:
        """The vendor at which this look failed, if it did when it was made last."""
        failing = tables.failing_looks
        with self._read() as connection:
            return connection.scalar(select(failing.c.vendor).where(failing.c.name == look))

    def release_all_leases(self) -> None:
        """Give back every lease but the command line's, which may be at work while a service starts; forget all replicas.

        Only for a process that knows that all other former holders are dead.
        """
        with self._write() as connection:
            # Whoever died may have left a due time that assumed its own return.
            notifications.LEASES.release_all(connection, since=tables.notifications.c.last_received_at)
            promotions.LEASES.release_all(connection, since=tables.promotions.c.updated_at)
            steps.LEASES.release_all(connection, since=tables.steps.c.due_at)
            dead = tables.aliases.c.lease.not_like(f"{COMMAND_LINE}%")
            connection.execute(update(tables.aliases).where(dead).values(lease="", lease_until=None))
            releases.forget_all(connection)

    def check_schema(self) -> None:
        """The part of `check` that only reads."""
        with self._read() as connection:
            releases.check_schema(connection)

    def checkpoint(self) -> None:
        """Bring SQLite's write-ahead log into the database file; nothing on PostgreSQL."""
        self._database.checkpoint()

    def check(self) -> None:
        """Make sure that the database can be read and written, and that this release may run on it.

        Raises:
            ConfigurationError: it may not.
            sqlalchemy.exc.SQLAlchemyError: it cannot be read or written.
        """
        with self._write() as connection:
            releases.check_schema(connection)
            # Leaves no row, and reaches the disk all the same, which may be full.
            gates = tables.gates_seen
            connection.execute(insert(gates).values(gate="", first_seen_at=datetime.fromtimestamp(0, UTC)))
            connection.execute(delete(gates).where(gates.c.gate == ""))
            connection.execute(select(func.count()).select_from(tables.ledger_head)).scalar_one()


def _hasten_failing(connection: Connection, vendor: str, at: datetime) -> None:
    def is_its(table: Table) -> ColumnElement[bool]:
        return table.c.last_error.startswith(f"{vendor}: ", autoescape=True)

    def is_soon(table: Table) -> ColumnElement[bool]:
        return table.c.due_at <= at + LONGEST_OWN

    told, resolved = tables.notifications, tables.resolutions
    of_a_gate = exists().where(resolved.c.notification_id == told.c.id, is_its(resolved))
    _make_due(
        connection,
        at,
        and_(notifications.OPEN, is_soon(told), or_(is_its(told), of_a_gate)),
        and_(promotions.OPEN, is_soon(tables.promotions), is_its(tables.promotions)),
        and_(steps.OPEN, is_soon(tables.steps), is_its(tables.steps)),
    )


def _make_due(
    connection: Connection,
    at: datetime,
    of_notifications: ColumnElement[bool],
    of_promotions: ColumnElement[bool],
    of_steps: ColumnElement[bool],
) -> None:
    """Make due at once what these conditions find in each table."""
    for table, these in (
        (tables.notifications, of_notifications),
        (tables.promotions, of_promotions),
        (tables.steps, of_steps),
    ):
        connection.execute(update(table).where(table.c.due_at > at, these).values(due_at=at))
