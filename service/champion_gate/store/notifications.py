"""Job notifications, and what each came to for each gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    case,
    exists,
    literal_column,
    null,
    or_,
    select,
    update,
)

from champion_gate.domain.job_runs import JobRun
from champion_gate.domain.notifications import (
    JobNotification,
    NotificationPhase,
    Resolution,
    StoredNotification,
)
from champion_gate.domain.store import Page
from champion_gate.errors import InvalidInputError, NotFoundError
from champion_gate.store import leases
from champion_gate.store.pages import page
from champion_gate.store.tables import gates_seen, notifications, resolutions
from champion_gate.store.upsert import upsert
from champion_gate.store.values import from_json, to_json

_LONGEST_FIELD = 500
"""Characters; more than any of Databricks' ids and names, less than an index row can hold."""

# Written out, because SQLite uses a partial index only where it sees that the condition is the index's.
OPEN: ColumnElement[bool] = notifications.c.phase.in_(
    [literal_column(f"'{phase.value}'") for phase in NotificationPhase if phase.is_open]
)


def record(
    connection: Connection, source: str, notification: JobNotification, at: datetime, new_id: str
) -> str:
    """Insert it, or count it on its row and make that due again; one that had ended starts afresh.

    A job's name may be longer than what is kept of it: the run is re-read before the name counts.

    Raises:
        InvalidInputError: a field is longer than any that Databricks sends.
    """
    notification = replace(notification, job_name=notification.job_name[:_LONGEST_FIELD])
    if any(isinstance(value, str) and len(value) > _LONGEST_FIELD for value in astuple(notification)):
        raise InvalidInputError(f"A field of the notification has more than {_LONGEST_FIELD} characters.")
    table = notifications.c
    latest = {
        "job_id": notification.job_id,
        "job_name": notification.job_name,
        "parent_run_id": notification.parent_run_id,
        "job_run_id": notification.job_run_id,
        "phase": NotificationPhase.RECEIVED.value,
        "last_received_at": at,
        "due_at": at,
    }
    again = {
        "times": table.times + 1,
        "reason": "Received again.",
        "attempts": case((OPEN, table.attempts), else_=0),
        "failing_since": case((OPEN, table.failing_since), else_=null()),
        "last_error": case((OPEN, table.last_error), else_=null()),
    }
    insert = upsert(connection, notifications).values(
        id=new_id,
        source=source,
        event_type=notification.event_type,
        workspace_id=notification.workspace_id,
        run_id=notification.run_id,
        task_key=notification.task_key or "",
        times=1,
        reason="Received.",
        first_received_at=at,
        **latest,
    )
    statement = insert.on_conflict_do_update(
        index_elements=["source", "workspace_id", "run_id", "event_type", "task_key"],
        set_={**latest, **again},
    )
    return str(connection.execute(statement.returning(table.id)).scalar_one())


def find(connection: Connection, notification_id: str) -> StoredNotification:
    """One row; raises NotFoundError."""
    row = connection.execute(select(notifications).where(notifications.c.id == notification_id)).one_or_none()
    if row is None:
        raise NotFoundError(f"There is no notification {notification_id}.")
    return _load(connection, [row])[0]


def find_page(
    connection: Connection, phase: NotificationPhase | None, cursor: str | None, limit: int
) -> Page[StoredNotification]:
    """Part of the list, newest first by when each came for the first time."""
    query = select(notifications)
    if phase is not None:
        query = query.where(notifications.c.phase == phase.value)
    return page(
        connection,
        query,
        (notifications.c.first_received_at, notifications.c.id),
        cursor=cursor,
        limit=limit,
        load=lambda rows: _load(connection, rows),
    )


def take(
    connection: Connection, notification_id: str, at: datetime, lease_seconds: float, token: str
) -> StoredNotification | None:
    """Lease an open, due row."""
    row = leases.take(
        connection, notifications, notification_id, OPEN, at=at, lease_seconds=lease_seconds, token=token
    )
    return None if row is None else _load(connection, [row])[0]


def save_resolution(connection: Connection, taken: StoredNotification, resolution: Resolution) -> None:
    """Insert or replace what it came to for one gate; raises LeaseLostError."""
    leases.held_row(connection, notifications, taken.id, taken.lease)
    values = {
        "times": resolution.count,
        "phase": resolution.phase.value,
        "reason": resolution.reason,
        "promotion_id": resolution.promotion_id,
        "attempts": resolution.attempts,
        "failing_since": resolution.failing_since,
        "last_error": resolution.last_error,
    }
    insert = upsert(connection, resolutions).values(notification_id=taken.id, gate=resolution.gate, **values)
    connection.execute(insert.on_conflict_do_update(index_elements=["notification_id", "gate"], set_=values))


def release(connection: Connection, taken: StoredNotification, at: datetime) -> StoredNotification:
    """Write how far it got and give it back; one that came again meanwhile stays `received`, due at once.

    Raises:
        LeaseLostError: another holds it.
        ValueError: it stays open and nothing says when it is due.
    """
    row = leases.held_row(connection, notifications, taken.id, taken.lease)
    values = _release_values(taken) if row.times == taken.count else _again_values(taken, at)
    connection.execute(
        update(notifications)
        .where(notifications.c.id == taken.id)
        .values(
            job_run=None if taken.job_run is None else to_json(taken.job_run),
            job_run_end=None if taken.job_run is None else taken.job_run.end,
            lease="",
            lease_until=None,
            **values,
        )
    )
    return find(connection, taken.id)


def run_is_known(connection: Connection, run_id: str, end: datetime) -> bool:
    """Whether a notification of this job run is open, or was worked off when the run had ended at `end`.

    One that failed since then waits for a person: looking again every minute would not mend it.
    """
    failed = and_(
        notifications.c.phase == NotificationPhase.FAILED.value, notifications.c.last_received_at >= end
    )
    known = and_(notifications.c.job_run_id == run_id, or_(OPEN, failed, notifications.c.job_run_end >= end))
    return bool(connection.scalar(select(exists().where(known))))


def gate_seen(connection: Connection, gate: str) -> datetime | None:
    """When the gate was first seen; None if never."""
    return connection.scalar(select(gates_seen.c.first_seen_at).where(gates_seen.c.gate == gate))


def note_gate(connection: Connection, gate: str, at: datetime) -> None:
    """Note when a gate was first seen, unless that is noted already."""
    insert = upsert(connection, gates_seen).values(gate=gate, first_seen_at=at)
    connection.execute(insert.on_conflict_do_nothing(index_elements=["gate"]))


def _release_values(taken: StoredNotification) -> dict[str, Any]:
    if taken.phase.is_open and taken.due_at is None:
        raise ValueError(f"notification {taken.id} stays {taken.phase.value} and is never due")
    return {
        "phase": taken.phase.value,
        "reason": taken.reason,
        "due_at": taken.due_at if taken.phase.is_open else None,
        "attempts": taken.attempts,
        "failing_since": taken.failing_since,
        "last_error": taken.last_error,
    }


def _again_values(taken: StoredNotification, at: datetime) -> dict[str, Any]:
    """What ended before it came again counts no longer, so its failures do not either."""
    still_open = taken.phase.is_open
    return {
        "phase": NotificationPhase.RECEIVED.value,
        "reason": "Received again while it was worked on.",
        "due_at": at,
        "attempts": taken.attempts if still_open else 0,
        "failing_since": taken.failing_since if still_open else None,
        "last_error": taken.last_error if still_open else None,
    }


def _load(connection: Connection, rows: Sequence[Row[Any]]) -> tuple[StoredNotification, ...]:
    query = select(resolutions).where(resolutions.c.notification_id.in_([row.id for row in rows]))
    found: dict[str, list[Resolution]] = {}
    for row in connection.execute(query.order_by(resolutions.c.gate)):
        found.setdefault(row.notification_id, []).append(_resolution(row))
    return tuple(_notification(row, tuple(found.get(row.id, ()))) for row in rows)


def _resolution(row: Row[Any]) -> Resolution:
    return Resolution(
        gate=row.gate,
        count=row.times,
        phase=NotificationPhase(row.phase),
        reason=row.reason,
        promotion_id=row.promotion_id,
        attempts=row.attempts,
        failing_since=row.failing_since,
        last_error=row.last_error,
    )


def _notification(row: Row[Any], resolved: tuple[Resolution, ...]) -> StoredNotification:
    return StoredNotification(
        id=row.id,
        source=row.source,
        notification=JobNotification(
            event_type=row.event_type,
            workspace_id=row.workspace_id,
            job_id=row.job_id,
            run_id=row.run_id,
            job_name=row.job_name,
            task_key=row.task_key or None,
            parent_run_id=row.parent_run_id,
        ),
        count=row.times,
        phase=NotificationPhase(row.phase),
        reason=row.reason,
        first_received_at=row.first_received_at,
        last_received_at=row.last_received_at,
        due_at=row.due_at,
        attempts=row.attempts,
        failing_since=row.failing_since,
        last_error=row.last_error,
        resolutions=resolved,
        job_run=None if row.job_run is None else from_json(JobRun, row.job_run),
        lease=row.lease,
    )
