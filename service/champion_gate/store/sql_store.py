"""The Store on SQLite or PostgreSQL: every method is one transaction."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, func, select, update

from champion_gate.core.aliases import AliasIntent, AliasKey, AliasLock
from champion_gate.core.approval import TokenUse
from champion_gate.core.ledger import LedgerEntry, LedgerLine
from champion_gate.core.notifications import (
    JobNotification,
    NotificationPhase,
    Resolution,
    StoredNotification,
)
from champion_gate.core.promotion import EndRequest, FollowUp, Phase, Promotion
from champion_gate.core.store import Due, Page
from champion_gate.store import (
    aliases,
    follow_ups,
    job_tokens,
    leases,
    ledger,
    notifications,
    promotions,
    schema,
    tables,
)
from champion_gate.store.engine import Database


def _token() -> str:
    return secrets.token_hex(16)


def open_store(database_url: str, *, token: Callable[[], str] = _token) -> SqlStore:
    """Open a migrated database. Call it after a fork, once a process.

    Args:
        database_url: `sqlite:///relative/path`, `sqlite:////absolute/path` or `postgresql://…`; a relative
            path starts at the working directory.
        token: makes lease tokens and notifications' ids: unguessable, never the same twice.

    Raises:
        ConfigurationError: the URL cannot be used.
    """
    return SqlStore(Database(database_url), token)


def _append(connection: Connection, entries: Sequence[LedgerEntry], new: Sequence[FollowUp]) -> None:
    ledger.append(connection, entries)
    follow_ups.add(connection, new)


class SqlStore:
    """Fulfils `core.ports.Store`, where each method's contract is written down."""

    def __init__(self, database: Database, token: Callable[[], str]) -> None:
        self._database = database
        self._read = database.read
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

    # --- notifications ------------------------------------------------------------------------------------

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

    # --- promotions ---------------------------------------------------------------------------------------

    def create_promotion(self, promotion: Promotion) -> Promotion | None:
        """Insert it; None where one is open already for the same (registry, model, version, alias)."""
        with self._write() as connection:
            return promotions.create(connection, promotion)

    def get_promotion(self, promotion_id: str) -> Promotion:
        """One row; raises NotFoundError."""
        with self._read() as connection:
            return promotions.find(connection, promotion_id)

    def promotions_of_version(self, key: AliasKey, version: str) -> tuple[Promotion, ...]:
        """All promotions, open and ended, of one version for one alias, newest first."""
        with self._read() as connection:
            return promotions.of_version(connection, key, version)

    def open_promotions(self, key: AliasKey) -> tuple[Promotion, ...]:
        """All open promotions for one alias, oldest first."""
        with self._read() as connection:
            return promotions.open_for(connection, key)

    def pending_promotions(self) -> tuple[Promotion, ...]:
        """All promotions in `pending_approval`, oldest first."""
        with self._read() as connection:
            return promotions.pending(connection)

    def promotions_with_request(self, external_id: str) -> tuple[Promotion, ...]:
        """Open promotions whose request has this vendor's id, at whatever provider."""
        with self._read() as connection:
            return promotions.with_request(connection, external_id)

    def list_promotions(
        self,
        *,
        model: str | None = None,
        phase: Phase | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Promotion]:
        """Newest first."""
        with self._read() as connection:
            return promotions.find_page(connection, model, phase, cursor, limit)

    def take_promotion(self, promotion_id: str, at: datetime, lease_seconds: float) -> Promotion | None:
        """Lease an open, due row."""
        with self._write() as connection:
            return promotions.take(connection, promotion_id, at, lease_seconds, self._token())

    def save_promotion(
        self,
        taken: Promotion,
        at: datetime,
        *,
        release: bool = False,
        ledger: Sequence[LedgerEntry] = (),
        follow_ups: Sequence[FollowUp] = (),
    ) -> Promotion:
        """Write a taken promotion with its ledger lines and follow-ups, all or nothing.

        Raises:
            LeaseLostError: another holds it.
            ConflictError: its phase cannot follow the stored one (`core.promotion.TRANSITIONS`).
        """
        with self._write() as connection:
            saved = promotions.save(connection, taken, at, release=release)
            _append(connection, ledger, follow_ups)
            return saved

    def hint_promotion(self, promotion_id: str, at: datetime) -> None:
        """Due now, or as soon as the present holder gives it back; nothing for one that is not open."""
        with self._write() as connection:
            promotions.hint(connection, promotion_id, at)

    def request_end(self, promotion_id: str, end: EndRequest) -> bool:
        """Order the end of an open promotion that has not been ordered to end yet. False if not."""
        with self._write() as connection:
            return promotions.request_end(connection, promotion_id, end)

    def retry_promotion(self, promotion_id: str, at: datetime, reason: str) -> bool:
        """FAILED -> the phase it failed from, all counters reset, due at once. False if it is not FAILED.

        Raises:
            NotFoundError: there is no such promotion.
            ConflictError: another promotion of its version is open by now.
        """
        with self._write() as connection:
            return promotions.retry(connection, promotion_id, at, reason)

    # --- alias: one writer --------------------------------------------------------------------------------

    def lock_alias(self, key: AliasKey, at: datetime, lease_seconds: float) -> AliasLock | None:
        """Take the one-writer row with a higher fence; None while another holds it."""
        with self._write() as connection:
            return aliases.lock(connection, key, at, lease_seconds, self._token())

    def check_fence(self, lock: AliasLock, at: datetime) -> None:
        """Raise LeaseLostError unless this is still the holder and its lease still runs."""
        with self._read() as connection:
            aliases.check_fence(connection, lock, at)

    def begin_alias_change(
        self, lock: AliasLock, intent: AliasIntent, at: datetime, lease_seconds: float
    ) -> AliasLock:
        """Commit the intent before the registry is called, and lease the row anew; raises LeaseLostError."""
        with self._write() as connection:
            return aliases.begin(connection, lock, intent, at, lease_seconds)

    def finish_alias_change(
        self,
        lock: AliasLock,
        at: datetime,
        *,
        known_version: str | None,
        ledger: Sequence[LedgerEntry] = (),
        promotion: Promotion | None = None,
        follow_ups: Sequence[FollowUp] = (),
    ) -> AliasLock:
        """Clear the intent and store where the alias stands, with all that goes with it, or nothing.

        Raises:
            LeaseLostError: the fence, or the promotion's lease, is lost.
            ConflictError: the promotion's phase cannot follow the stored one.
        """
        with self._write() as connection:
            finished = aliases.finish(connection, lock, at, known_version)
            if promotion is not None:
                promotions.save(connection, promotion, at, release=False)
            _append(connection, ledger, follow_ups)
            return finished

    def unlock_alias(self, lock: AliasLock) -> None:
        """Give the row back; nothing if it is lost already."""
        with self._write() as connection:
            aliases.unlock(connection, lock)

    def known_alias(self, key: AliasKey) -> AliasLock | None:
        """The row as it is, without taking it; None if nobody ever did."""
        with self._read() as connection:
            return aliases.find(connection, key)

    # --- ledger -------------------------------------------------------------------------------------------

    def append_ledger(self, entries: Sequence[LedgerEntry]) -> None:
        """Append lines."""
        with self._write() as connection:
            ledger.append(connection, entries)

    def ledger_lines(
        self, key: AliasKey | None = None, *, promotion_id: str | None = None, limit: int = 200
    ) -> tuple[LedgerLine, ...]:
        """Lines of one alias or of one promotion, newest first."""
        with self._read() as connection:
            return ledger.lines(connection, key, promotion_id, limit)

    def verify_ledger(self) -> int:
        """Recompute the whole chain and return how many lines there are.

        Raises:
            ConflictError: naming the first line that is not as it was written.
        """
        with self._read() as connection:
            return ledger.verify(connection)

    # --- follow-ups and the sweep -------------------------------------------------------------------------

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

    def bind_token(
        self, token: str, *, promotion_id: str, job: str, expires_at: datetime, at: datetime
    ) -> TokenUse:
        """Bind a CI job's token to the promotion and job that it is first posted for."""
        with self._write() as connection:
            return job_tokens.bind(
                connection, token, promotion_id=promotion_id, job=job, expires_at=expires_at, at=at
            )

    def release_all_leases(self) -> None:
        """Give back every lease. Only for a process that knows that all former holders are dead."""
        with self._write() as connection:
            # Whoever died may have left a due time that assumed its own return.
            leases.release_all(
                connection, tables.notifications, since=tables.notifications.c.last_received_at
            )
            leases.release_all(connection, tables.promotions, since=tables.promotions.c.updated_at)
            leases.release_all(connection, tables.follow_ups, since=tables.follow_ups.c.due_at)
            connection.execute(update(tables.aliases).values(lease="", lease_until=None))

    def check(self) -> None:
        """Make sure that the database can be read and written and that its schema is this version's.

        Raises:
            ConfigurationError: another schema, or none.
            sqlalchemy.exc.SQLAlchemyError: it cannot be read or written.
        """
        with self._write() as connection:
            schema.check_schema(connection)
            # Changes no row, and is refused all the same where nothing may be written.
            gates = tables.gates_seen
            connection.execute(update(gates).where(gates.c.gate.is_(None)).values(gate=gates.c.gate))
            connection.execute(select(func.count()).select_from(tables.ledger_head)).scalar_one()
