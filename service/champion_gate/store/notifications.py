"""Job notifications, and what each came to for each gate."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from functools import cache
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Insert,
    Row,
    and_,
    bindparam,
    case,
    exists,
    literal_column,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.sql.dml import ReturningInsert

from champion_gate.domain.notifications import (
    FROM_REGISTRY,
    JobNotification,
    NotificationPhase,
    Resolution,
    StoredNotification,
)
from champion_gate.domain.retry import Retry
from champion_gate.domain.rows import Page
from champion_gate.domain.text import storable
from champion_gate.errors import InvalidInputError, NotFoundError
from champion_gate.store.engine import Database, Transactions, upsert, upsert_for
from champion_gate.store.group_commit import GroupCommit
from champion_gate.store.leases import Leases
from champion_gate.store.pages import page
from champion_gate.store.releases import let_all_read
from champion_gate.store.tables import gates_seen, notifications, resolutions
from champion_gate.store.values import from_plain, to_json

_LONGEST_FIELD = 500
"""Characters; more than any of Databricks' ids and names, less than an index row can hold."""

# Written out, because SQLite uses a partial index only where it sees that the condition is the index's.
OPEN: ColumnElement[bool] = notifications.c.phase.in_(
    [literal_column(f"'{phase.value}'") for phase in NotificationPhase if phase.is_open]
)


LEASES = Leases(notifications, OPEN)
# Built once: to put a statement together takes longer than to carry it out.
_ONE = select(notifications).where(notifications.c.id == bindparam("row"))
_WRITING = update(notifications).where(notifications.c.id == bindparam("row")).returning(notifications)
_RESOLUTIONS = (
    select(resolutions)
    .where(resolutions.c.notification_id.in_(bindparam("rows", expanding=True)))
    .order_by(resolutions.c.gate)
)
_KEY = ("source", "workspace_id", "run_id", "event_type", "task_key")


class Notifications(Transactions):
    """Job notifications, what each came to, and since when gates have been watched."""

    def __init__(self, database: Database, token: Callable[[], str]) -> None:
        super().__init__(database, token)
        self._recorded: GroupCommit[dict[str, Any], str] = GroupCommit(database, _record)

    def record_notification(
        self, source: str, notification: JobNotification, at: datetime, *, ignored: str | None = None
    ) -> str:
        """Insert it, or count it on its row and make that due again; one that had ended starts afresh.

        A job's name may be longer than what is kept of it: the run is re-read before the name counts.
        Notifications that come at the same moment share a transaction.

        Args:
            source: who told: "hook", "sweep" or "cli".
            notification: what was told.
            at: now.
            ignored: why it comes to nothing, where that is known already: the row is ended by that.

        Returns:
            The row's id.

        Raises:
            InvalidInputError: a field is longer than any that Databricks sends.
        """
        notification = replace(notification, job_name=notification.job_name[:_LONGEST_FIELD])
        if any(value is not None and len(value) > _LONGEST_FIELD for value in vars(notification).values()):
            raise InvalidInputError(f"A field of the notification has more than {_LONGEST_FIELD} characters.")
        phase = NotificationPhase.RECEIVED if ignored is None else NotificationPhase.IGNORED
        return self._recorded.add(
            {
                **vars(notification),
                "id": self._token(),
                "source": source,
                "task_key": notification.task_key or "",
                "job_run_id": notification.job_run_id,
                "times": 1,
                "phase": phase.value,
                "reason": "Received." if ignored is None else ignored,
                "first_received_at": at,
                "last_received_at": at,
                "due_at": at if phase.is_open else None,
            }
        )

    def are_many_coming(self) -> bool:
        """Whether several notifications wait until they are committed, or came at this moment."""
        return self._recorded.is_pressed

    def get_notification(self, notification_id: str) -> StoredNotification:
        """One row; raises NotFoundError."""
        with self._read() as connection:
            row = connection.execute(_ONE, {"row": notification_id}).one_or_none()
            if row is None:
                raise NotFoundError(f"There is no notification {notification_id}.")
            return _load(connection, [row])[0]

    def list_notifications(
        self, *, phase: NotificationPhase | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[StoredNotification]:
        """Newest first, by when each came for the first time."""
        query = select(notifications)
        if phase is not None:
            query = query.where(notifications.c.phase == phase.value)
        newest = (notifications.c.first_received_at, notifications.c.id)
        with self._read() as connection:
            return page(
                connection,
                query,
                newest,
                cursor=cursor,
                limit=limit,
                load=lambda rows: _load(connection, rows),
            )

    def take_notification(
        self, notification_id: str, at: datetime, lease_seconds: float
    ) -> StoredNotification | None:
        """Lease an open, due row."""
        with self._write() as connection:
            row = LEASES.take(
                connection, notification_id, at=at, lease_seconds=lease_seconds, token=self._token()
            )
            return None if row is None else _load(connection, [row])[0]

    def keep_notification(self, taken: StoredNotification, at: datetime, lease_seconds: float) -> None:
        """Lease the row anew for who holds it; raises LeaseLostError."""
        with self._write() as connection:
            LEASES.keep(connection, taken, at=at, lease_seconds=lease_seconds)

    def save_resolution(self, taken: StoredNotification, resolution: Resolution) -> None:
        """Insert or replace what it came to for one gate; raises LeaseLostError."""
        values = {
            "notification_id": taken.id,
            "gate": resolution.gate,
            "times": resolution.count,
            "phase": resolution.phase.value,
            "reason": resolution.reason,
            "promotion_id": resolution.promotion_id,
            **asdict(resolution.retry),
        }
        with self._write() as connection:
            LEASES.held_row(connection, taken)
            let_all_read(connection, resolution)
            connection.execute(_saving(connection.dialect.name), values)

    def release_notification(self, taken: StoredNotification, at: datetime) -> StoredNotification:
        """Write phase, reason, due_at, retry and job_run, and give it back.

        If the row's count has grown since it was taken, it stays `received` and is due at once.

        Raises:
            LeaseLostError: another holds it.
            ValueError: it stays open and nothing says when it is due.
        """
        with self._write() as connection:
            row = LEASES.held_row(connection, taken)
            let_all_read(connection, taken)
            values = _release_values(taken) if row.times == taken.count else _again_values(taken, at)
            given_back = {
                "row": taken.id,
                "job_run": None if taken.job_run is None else to_json(taken.job_run),
                "job_run_end": None if taken.job_run is None else taken.job_run.end,
                "lease": "",
                "lease_until": None,
                **values,
            }
            return _load(connection, [connection.execute(_WRITING, given_back).one()])[0]

    def run_is_known(self, run_id: str, end: datetime) -> bool:
        """Whether a notification of this job run is open, or was worked off when the run had ended at `end`.

        One that failed since then waits for a person: looking again every minute would not mend it.
        """
        row = notifications.c
        failed = and_(row.phase == NotificationPhase.FAILED.value, row.last_received_at >= end)
        known = and_(row.job_run_id == run_id, or_(OPEN, failed, row.job_run_end >= end))
        with self._read() as connection:
            return bool(connection.scalar(select(exists().where(known))))

    def run_is_settled(self, run_id: str, end: datetime) -> bool:
        """Whether notifications of this job run were worked off when it had ended at `end`, and nothing is left to do."""
        row = notifications.c
        of_run = row.job_run_id == run_id
        worked_off = and_(of_run, row.job_run_end >= end, row.phase != NotificationPhase.FAILED.value)
        query = select(exists().where(worked_off) & ~exists().where(and_(of_run, OPEN)))
        with self._read() as connection:
            return bool(connection.scalar(query))

    def told_versions(self, told: Sequence[JobNotification]) -> Mapping[str, datetime]:
        """When each of these versions was told of last, by the notification's run_id; those that never were are not there."""
        row = notifications.c
        query = select(row.run_id, row.last_received_at).where(
            row.source == FROM_REGISTRY,
            row.workspace_id == "",
            row.run_id.in_([each.run_id for each in told]),
        )
        with self._read() as connection:
            return {found.run_id: found.last_received_at for found in connection.execute(query)}

    def gate_first_seen(self, gate: str, at: datetime) -> datetime:
        """When this gate was first seen; `at` if it is now."""
        query = select(gates_seen.c.first_seen_at).where(gates_seen.c.gate == gate)
        with self._read() as connection:
            seen: datetime | None = connection.scalar(query)
        if seen is not None:
            return seen
        with self._write() as connection:
            first = upsert(connection, gates_seen).values(gate=gate, first_seen_at=at)
            connection.execute(first.on_conflict_do_nothing(index_elements=["gate"]))
            seen = connection.scalar(query)
            return seen or at


@cache
def _recording(dialect: str) -> ReturningInsert[Any]:
    table, first = notifications.c, upsert_for(dialect, notifications)
    is_due = first.excluded.phase == NotificationPhase.RECEIVED.value
    # Anybody with the hook's password can name another job: what ends nothing may not end another's row either.
    stays = and_(~is_due, table.phase != NotificationPhase.IGNORED.value)
    goes_on = or_(and_(OPEN, is_due), stays)
    latest = (
        *("job_id", "job_name", "parent_run_id", "job_run_id"),
        *("phase", "last_received_at", "due_at"),
    )
    again = {
        "times": table.times + 1,
        "reason": case((is_due, "Received again."), (stays, table.reason), else_=first.excluded.reason),
        "attempts": case((goes_on, table.attempts), else_=0),
        "failing_since": case((goes_on, table.failing_since), else_=null()),
        "last_error": case((goes_on, table.last_error), else_=null()),
    }
    told = {name: case((stays, table[name]), else_=first.excluded[name]) for name in latest}
    statement = first.on_conflict_do_update(index_elements=_KEY, set_={**told, **again})
    return statement.returning(table.id, *(table[name] for name in _KEY))


@cache
def _saving(dialect: str) -> Insert:
    first = upsert_for(dialect, resolutions)
    values = {column.name: first.excluded[column.name] for column in resolutions.c if not column.primary_key}
    return first.on_conflict_do_update(index_elements=["notification_id", "gate"], set_=values)


def _record(connection: Connection, rows: Sequence[dict[str, Any]]) -> list[str]:
    """The ids of the rows, in their order. PostgreSQL takes no key twice in one statement, hence the rounds."""
    keys = [_key(row) for row in rows]
    rounds: list[list[dict[str, Any]]] = []
    met: Counter[tuple[str, ...]] = Counter()
    # Always in one order, so that two transactions never wait for each other's rows.
    for key, row in sorted(zip(keys, rows, strict=True), key=itemgetter(0)):
        if met[key] == len(rounds):
            rounds.append([])
        rounds[met[key]].append(row)
        met[key] += 1
    recording = _recording(connection.dialect.name)
    ids: dict[tuple[str, ...], str] = {}
    for each in rounds:
        given = each if len(each) > 1 else each[0]  # which SQLAlchemy need not put together anew
        ids.update({tuple(key): row_id for row_id, *key in connection.execute(recording, given)})
    return [ids[key] for key in keys]


def _key(row: dict[str, Any]) -> tuple[str, ...]:
    """What makes it one row, as the database has it."""
    return tuple(storable(row[name]) for name in _KEY)


def _release_values(taken: StoredNotification) -> dict[str, Any]:
    if taken.phase.is_open and taken.due_at is None:
        raise ValueError(f"notification {taken.id} stays {taken.phase.value} and is never due")
    return {
        "phase": taken.phase.value,
        "reason": taken.reason,
        "due_at": taken.due_at if taken.phase.is_open else None,
        **asdict(taken.retry),
    }


def _again_values(taken: StoredNotification, at: datetime) -> dict[str, Any]:
    """What ended before it came again counts no longer, so its failures do not either."""
    still_open = taken.phase.is_open
    return {
        "phase": NotificationPhase.RECEIVED.value,
        "reason": "Received again while it was worked on.",
        "due_at": at,
        **asdict(taken.retry if still_open else Retry()),
    }


def _load(connection: Connection, rows: Sequence[Row[Any]]) -> tuple[StoredNotification, ...]:
    found: dict[str, list[Resolution]] = {}
    for row in connection.execute(_RESOLUTIONS, {"rows": [row.id for row in rows]}):
        found.setdefault(row.notification_id, []).append(_resolution(row))
    return tuple(_notification(row, tuple(found.get(row.id, ()))) for row in rows)


def _resolution(row: Row[Any]) -> Resolution:
    return from_plain(Resolution, {**row._asdict(), "count": row.times, "retry": row._asdict()})


def _notification(row: Row[Any], resolved: tuple[Resolution, ...]) -> StoredNotification:
    columns = row._asdict()
    return from_plain(
        StoredNotification,
        {
            **columns,
            "notification": {**columns, "task_key": row.task_key or None},
            "count": row.times,
            "retry": row._asdict(),
            "resolutions": resolved,
            "job_run": row.job_run and json.loads(row.job_run),
        },
    )
