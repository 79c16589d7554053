"""The Store's part that keeps job notifications."""

from __future__ import annotations

from datetime import datetime

from champion_gate.domain.notifications import (
    JobNotification,
    NotificationPhase,
    Resolution,
    StoredNotification,
)
from champion_gate.domain.store import Page
from champion_gate.store import leases, notifications, tables
from champion_gate.store.sql_base import SqlBase


class SqlNotifications(SqlBase):
    """Job notifications and what each came to."""

    def record_notification(self, source: str, notification: JobNotification, at: datetime) -> str:
        """Insert it, or count it on its row and make that due again. Returns the row's id."""
        with self._write() as connection:
            return notifications.record(connection, source, notification, at, self._token())

    def get_notification(self, notification_id: str) -> StoredNotification:
        """One row; raises NotFoundError."""
        with self._read() as connection:
            return notifications.find(connection, notification_id)

    def list_notifications(
        self, *, phase: NotificationPhase | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[StoredNotification]:
        """Newest first, by when each came for the first time."""
        with self._read() as connection:
            return notifications.find_page(connection, phase, cursor, limit)

    def take_notification(
        self, notification_id: str, at: datetime, lease_seconds: float
    ) -> StoredNotification | None:
        """Lease an open, due row."""
        with self._write() as connection:
            return notifications.take(connection, notification_id, at, lease_seconds, self._token())

    def keep_notification(self, taken: StoredNotification, at: datetime, lease_seconds: float) -> None:
        """Lease the row anew for who holds it; raises LeaseLostError."""
        with self._write() as connection:
            leases.keep(
                connection,
                tables.notifications,
                taken.id,
                token=taken.lease,
                at=at,
                lease_seconds=lease_seconds,
            )

    def save_resolution(self, taken: StoredNotification, resolution: Resolution) -> None:
        """Insert or replace what it came to for one gate; raises LeaseLostError."""
        with self._write() as connection:
            notifications.save_resolution(connection, taken, resolution)

    def release_notification(self, taken: StoredNotification, at: datetime) -> StoredNotification:
        """Write how far it got and give it back; one that came again meanwhile is due at once."""
        with self._write() as connection:
            return notifications.release(connection, taken, at)

    def run_is_known(self, run_id: str, end: datetime) -> bool:
        """Whether a notification of this job run is open, or was worked off when the run had ended at `end`."""
        with self._read() as connection:
            return notifications.run_is_known(connection, run_id, end)

    def gate_first_seen(self, gate: str, at: datetime) -> datetime:
        """When this gate was first seen; `at` if it is now."""
        with self._read() as connection:
            seen = notifications.gate_seen(connection, gate)
        if seen is not None:
            return seen
        with self._write() as connection:
            notifications.note_gate(connection, gate, at)
            return notifications.gate_seen(connection, gate) or at
