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
    Integer,
    Row,
    Table,
    Text,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    or_,
    select,
    update,
)

from champion_gate.domain.notifications import StoredNotification
from champion_gate.domain.promotion import Promotion
from champion_gate.domain.steps import Step
from champion_gate.errors import LeaseLostError
from champion_gate.store.values import UtcTime

Taken = StoredNotification | Promotion | Step
"""A row as its holder has it, with the lease's token."""
# One that ends later was written by a clock that has been set back since.
_LONGEST_LEASE = timedelta(minutes=5)
_LATEST_OF = 10  # one in so many of those that are listed at a time


def free_at(table: Table, at: datetime) -> ColumnElement[bool]:
    """Nobody holds the row, or the holder's lease has run out."""
    return or_(table.c.lease == "", _has_run_out(table, at, at + _LONGEST_LEASE))


def _has_run_out(
    table: Table, at: datetime | ColumnElement[datetime], beyond: datetime | ColumnElement[datetime]
) -> ColumnElement[bool]:
    return or_(table.c.lease_until <= at, table.c.lease_until > beyond)


def lease_until(at: datetime, lease_seconds: float) -> datetime:
    """When a lease that is taken at `at` runs out; ValueError where it is longer than any may be."""
    lease = timedelta(seconds=lease_seconds)
    if lease > _LONGEST_LEASE:
        raise ValueError(f"a lease of {lease_seconds} s is longer than {_LONGEST_LEASE}")
    return at + lease


class Leases:
    """The leases on one table's rows. Statements are built once: that takes longer than to carry one out."""

    def __init__(self, table: Table, *open_rows: ColumnElement[bool], **when_taken: Column[Any]) -> None:
        """Set up.

        Args:
            table: one with leases.
            open_rows: which of its rows have not ended.
            when_taken: column -> the column whose value it is to keep whenever the row is taken.
        """
        self._table = table
        at, beyond = bindparam("at", type_=UtcTime), bindparam("beyond", type_=UtcTime)
        # A row whose holder died is due whatever it wrote as its next time.
        is_due = or_(
            and_(table.c.lease == "", table.c.due_at <= at),
            and_(table.c.lease != "", _has_run_out(table, at, beyond)),
        )
        is_it = table.c.id == bindparam("row")
        token, until = bindparam("token", type_=Text), bindparam("until", type_=UtcTime)
        self._taking = (
            update(table)
            .where(is_it, is_due, *open_rows)
            .values(lease=token, lease_until=until, **when_taken)
            .returning(table)
        )
        self._holding = select(table).where(is_it).with_for_update()
        self._keeping = (
            update(table).where(is_it, table.c.lease == token, table.c.lease != "").values(lease_until=until)
        )
        since = func.coalesce(table.c.due_at, table.c.lease_until)
        due, most = select(table.c.id).where(is_due, *open_rows), bindparam("most", type_=Integer)
        self._due = due.order_by(since, table.c.id).limit(most)
        self._latest_due = due.order_by(since.desc(), table.c.id).limit(most)

    def take(
        self, connection: Connection, row_id: str, *, at: datetime, lease_seconds: float, token: str
    ) -> Row[Any] | None:
        """Lease the row in one compare-and-set; None where it is not due, held, or has ended."""
        given = {"row": row_id, "token": token, "until": lease_until(at, lease_seconds), **_now(at)}
        return connection.execute(self._taking, given).one_or_none()

    def held_row(self, connection: Connection, taken: Taken) -> Row[Any]:
        """The row, locked until the transaction ends, if whoever took it still holds it.

        Raises:
            LeaseLostError: another holds it, nobody does, or it is done and gone.
        """
        row = connection.execute(self._holding, {"row": taken.id}).one_or_none()
        if row is None or not taken.lease or row.lease != taken.lease:
            raise self._lost(taken)
        return row

    def keep(self, connection: Connection, taken: Taken, *, at: datetime, lease_seconds: float) -> None:
        """Lease the row anew for its holder; raises LeaseLostError."""
        given = {"row": taken.id, "token": taken.lease, "until": lease_until(at, lease_seconds)}
        if connection.execute(self._keeping, given).rowcount != 1:
            raise self._lost(taken)

    def due_ids(self, connection: Connection, at: datetime, limit: int) -> tuple[str, ...]:
        """Ids of rows that can be taken, the longest overdue first; of more than `limit` also the latest ones.

        What another process has just ordered must not wait behind all that a vendor holds up which hangs.
        """
        oldest = tuple(connection.scalars(self._due, {"most": limit, **_now(at)}))
        if len(oldest) < limit:
            return oldest
        latest = connection.scalars(self._latest_due, {"most": limit // _LATEST_OF, **_now(at)})
        return tuple(dict.fromkeys([*oldest, *latest]))

    def release_all(self, connection: Connection, *, since: Column[datetime]) -> None:
        """Give back every leased row of the table; those that are open become due.

        Args:
            connection: an open transaction.
            since: a time in the past, from which the row counts as due.
        """
        due_at = self._table.c.due_at
        connection.execute(
            update(self._table)
            .where(
                self._table.c.lease != literal_column("''")
            )  # written out, so that a partial index is used
            .values(lease="", lease_until=None, due_at=case((due_at < since, due_at), else_=since))
        )

    def _lost(self, taken: Taken) -> LeaseLostError:
        return LeaseLostError(f"The lease on {taken.id} in {self._table.name} is lost.")


def _now(at: datetime) -> dict[str, datetime]:
    return {"at": at, "beyond": at + _LONGEST_LEASE}
