"""Leases: who may take a row, and when.

All times are the caller's clock's, also on PostgreSQL: a lease is longer than clocks of replicas differ, and
every write compares the token, so a clock that is wrong makes work be done again but never by two at once.
A clock may be set back: what is then leased for longer than any lease is free, and `Store.note_time` makes every row due.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Row,
    Table,
    and_,
    case,
    func,
    literal_column,
    or_,
    select,
    update,
)

from champion_gate.domain.notifications import StoredNotification
from champion_gate.domain.promotion import FollowUp, Promotion
from champion_gate.errors import LeaseLostError

Taken = StoredNotification | Promotion | FollowUp
"""A row as its holder has it, with the lease's token."""
# One that ends later was written by a clock that has been set back since.
_LONGEST_LEASE = timedelta(minutes=5)


def free_at(table: Table, at: datetime) -> ColumnElement[bool]:
    """Nobody holds the row, or the holder's lease has run out."""
    return or_(table.c.lease == "", _has_run_out(table, at))


def due_at(table: Table, at: datetime) -> ColumnElement[bool]:
    """The row is due and free. One whose holder died is due whatever it wrote as its next time."""
    return or_(
        and_(table.c.lease == "", table.c.due_at <= at),
        and_(table.c.lease != "", _has_run_out(table, at)),
    )


def _has_run_out(table: Table, at: datetime) -> ColumnElement[bool]:
    return or_(table.c.lease_until <= at, table.c.lease_until > at + _LONGEST_LEASE)


def lease_until(at: datetime, lease_seconds: float) -> datetime:
    """When a lease that is taken at `at` runs out; ValueError where it is longer than any may be."""
    lease = timedelta(seconds=lease_seconds)
    if lease > _LONGEST_LEASE:
        raise ValueError(f"a lease of {lease_seconds} s is longer than {_LONGEST_LEASE}")
    return at + lease


def take(
    connection: Connection,
    table: Table,
    row_id: str,
    *conditions: ColumnElement[bool],
    at: datetime,
    lease_seconds: float,
    token: str,
    **values: Any,
) -> Row[Any] | None:
    """Lease the row in one compare-and-set; None where it is not due, held, or fails a condition."""
    until = lease_until(at, lease_seconds)
    return connection.execute(
        update(table)
        .where(table.c.id == row_id, due_at(table, at), *conditions)
        .values(lease=token, lease_until=until, **values)
        .returning(table)
    ).one_or_none()


def held_row(connection: Connection, table: Table, taken: Taken) -> Row[Any]:
    """The row, locked until the transaction ends, if whoever took it still holds it.

    Raises:
        LeaseLostError: another holds it, nobody does, or it is done and gone.
    """
    row = connection.execute(select(table).where(table.c.id == taken.id).with_for_update()).one_or_none()
    if row is None or not taken.lease or row.lease != taken.lease:
        raise LeaseLostError(f"The lease on {taken.id} in {table.name} is lost.")
    return row


def keep(connection: Connection, table: Table, taken: Taken, *, at: datetime, lease_seconds: float) -> None:
    """Lease the row anew for its holder; raises LeaseLostError."""
    held_row(connection, table, taken)
    until = lease_until(at, lease_seconds)
    connection.execute(update(table).where(table.c.id == taken.id).values(lease_until=until))


def due_ids(
    connection: Connection, table: Table, at: datetime, limit: int, *conditions: ColumnElement[bool]
) -> tuple[str, ...]:
    """Ids of rows that can be taken, the longest overdue first."""
    since = func.coalesce(table.c.due_at, table.c.lease_until)
    query = select(table.c.id).where(due_at(table, at), *conditions).order_by(since, table.c.id).limit(limit)
    return tuple(connection.scalars(query))


def release_all(connection: Connection, table: Table, *, since: Column[datetime]) -> None:
    """Give back every leased row of the table; those that are open become due.

    Args:
        connection: an open transaction.
        table: one with leases.
        since: a time in the past, from which the row counts as due.
    """
    connection.execute(
        update(table)
        .where(table.c.lease != literal_column("''"))  # written out, so that a partial index is used
        .values(
            lease="", lease_until=None, due_at=case((table.c.due_at < since, table.c.due_at), else_=since)
        )
    )
