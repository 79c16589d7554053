"""The Store on SQLite or PostgreSQL: every method is one transaction."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, func, insert, select, update

from champion_gate.domain.promotion import FollowUp
from champion_gate.domain.store import Due
from champion_gate.store import clock, follow_ups, leases, notifications, promotions, schema, tables
from champion_gate.store.engine import ANSWER_SECONDS, BUSY_SECONDS, Database
from champion_gate.store.sql_aliases import SqlAliases
from champion_gate.store.sql_callers import SqlCallers
from champion_gate.store.sql_identities import SqlIdentities
from champion_gate.store.sql_ledger import SqlLedger
from champion_gate.store.sql_notifications import SqlNotifications
from champion_gate.store.sql_promotions import SqlPromotions

COMMAND_LINE = "command-line-"
"""Begins the lease tokens of commands, which come and go beside the serving process."""


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
) -> SqlStore:
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
    return SqlStore(Database(database_url, answer_seconds, busy_seconds), token)


class SqlStore(SqlNotifications, SqlPromotions, SqlAliases, SqlLedger, SqlIdentities, SqlCallers):
    """Fulfils `core.store.Store`, where each method's contract is written down."""

    def get_follow_ups(self, promotion_id: str) -> tuple[FollowUp, ...]:
        """Those of a promotion that are not done yet."""
        with self._read() as connection:
            return follow_ups.of_promotion(connection, promotion_id)

    def get_follow_up(self, follow_up_id: str) -> FollowUp:
        """One row; raises NotFoundError, also when it is done."""
        with self._read() as connection:
            return follow_ups.find(connection, follow_up_id)

    def take_follow_up(self, follow_up_id: str, at: datetime, lease_seconds: float) -> FollowUp | None:
        """Lease a due one."""
        with self._write() as connection:
            return follow_ups.take(connection, follow_up_id, at, lease_seconds, self._token())

    def release_follow_up(self, taken: FollowUp, *, done: bool) -> None:
        """Give it back, or delete it when it is done; raises LeaseLostError."""
        with self._write() as connection:
            follow_ups.release(connection, taken, done=done)

    def due(self, at: datetime, limit: int = 500) -> Due:
        """What can be taken at `at`, the longest overdue first.

        Args:
            at: now.
            limit: at most so many of each kind.
        """
        with self._read() as connection:
            return Due(
                notifications=leases.due_ids(connection, tables.notifications, at, limit, notifications.OPEN),
                promotions=leases.due_ids(connection, tables.promotions, at, limit, promotions.OPEN),
                follow_ups=leases.due_ids(connection, tables.follow_ups, at, limit),
            )

    def note_time(self, at: datetime) -> timedelta:
        """Note what the time is; where the clock was set back, make every open row due. Returns by how much it was."""
        with self._write() as connection:
            return clock.note(connection, at)

    def release_all_leases(self) -> None:
        """Give back every lease but the command line's, which may be at work while a service starts.

        Only for a process that knows that all other former holders are dead.
        """
        with self._write() as connection:
            # Whoever died may have left a due time that assumed its own return.
            leases.release_all(
                connection, tables.notifications, since=tables.notifications.c.last_received_at
            )
            leases.release_all(connection, tables.promotions, since=tables.promotions.c.updated_at)
            leases.release_all(connection, tables.follow_ups, since=tables.follow_ups.c.due_at)
            dead = tables.aliases.c.lease.not_like(f"{COMMAND_LINE}%")
            connection.execute(update(tables.aliases).where(dead).values(lease="", lease_until=None))

    def checkpoint(self) -> None:
        """Bring SQLite's write-ahead log into the database file; nothing on PostgreSQL."""
        self._database.checkpoint()

    def check(self) -> None:
        """Make sure that the database can be read and written and that its schema is this version's.

        Raises:
            ConfigurationError: another schema, or none.
            sqlalchemy.exc.SQLAlchemyError: it cannot be read or written.
        """
        with self._write() as connection:
            schema.check_schema(connection)
            # Leaves no row, and reaches the disk all the same, which may be full.
            gates = tables.gates_seen
            connection.execute(insert(gates).values(gate="", first_seen_at=datetime.fromtimestamp(0, UTC)))
            connection.execute(delete(gates).where(gates.c.gate == ""))
            connection.execute(select(func.count()).select_from(tables.ledger_head)).scalar_one()
