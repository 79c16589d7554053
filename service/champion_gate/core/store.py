"""What the core needs of the database, as a Protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

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


@dataclass(frozen=True)
class Due:
    """Ids of rows that are due and held by nobody."""

    notifications: tuple[str, ...]
    promotions: tuple[str, ...]
    follow_ups: tuple[str, ...]


T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    """Part of a list, newest first. `cursor` asks for the next part; None at the end."""

    items: tuple[T, ...]
    cursor: str | None


class Store(Protocol):
    """The rows. Every method is one transaction, durable when it returns.

    A *taken* row carries a lease token; whoever holds it writes with it, and `LeaseLostError` tells that
    the lease ran out and another has the row. `take_*` returns None where the row is not open, not due
    or held by somebody.
    """

    # notifications
    def record_notification(self, source: str, notification: JobNotification, at: datetime) -> str:
        """Insert it, or count it on its row and make that due again. Returns the row's id."""
        ...

    def get_notification(self, notification_id: str) -> StoredNotification:
        """One row; raises NotFoundError."""
        ...

    def list_notifications(
        self, *, phase: NotificationPhase | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[StoredNotification]:
        """Newest first."""
        ...

    def take_notification(
        self, notification_id: str, at: datetime, lease_seconds: float
    ) -> StoredNotification | None:
        """Lease an open, due row."""
        ...

    def save_resolution(self, taken: StoredNotification, resolution: Resolution) -> None:
        """Insert or replace what this notification came to for one gate."""
        ...

    def release_notification(self, taken: StoredNotification, at: datetime) -> StoredNotification:
        """Write phase, reason, due_at, attempts, failing_since, last_error and job_run, and give it back.

        If the row's count has grown since it was taken, it stays `received` and is due at once.
        """
        ...

    def run_is_known(self, run_id: str, end: datetime) -> bool:
        """Whether some notification of this job run is open, or was resolved on a run that ended at `end` or later."""
        ...

    def gate_first_seen(self, gate: str, at: datetime) -> datetime:
        """When this gate was first seen; `at` if it is now."""
        ...

    # promotions
    def create_promotion(self, promotion: Promotion) -> Promotion | None:
        """Insert it; None where one is open already for the same (registry, model, version, alias)."""
        ...

    def get_promotion(self, promotion_id: str) -> Promotion:
        """One row; raises NotFoundError."""
        ...

    def promotions_of_version(self, key: AliasKey, version: str) -> tuple[Promotion, ...]:
        """All promotions, open and ended, of one version for one alias, newest first."""
        ...

    def open_promotions(self, key: AliasKey) -> tuple[Promotion, ...]:
        """All open promotions for one alias, oldest first."""
        ...

    def pending_promotions(self) -> tuple[Promotion, ...]:
        """All promotions in `pending_approval`, oldest first."""
        ...

    def promotions_with_request(self, external_id: str) -> tuple[Promotion, ...]:
        """Open promotions whose request has this vendor's id, at whatever provider."""
        ...

    def list_promotions(
        self,
        *,
        model: str | None = None,
        phase: Phase | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Promotion]:
        """Newest first."""
        ...

    def take_promotion(self, promotion_id: str, at: datetime, lease_seconds: float) -> Promotion | None:
        """Lease an open, due row."""
        ...

    def save_promotion(
        self,
        taken: Promotion,
        at: datetime,
        *,
        release: bool = False,
        ledger: Sequence[LedgerEntry] = (),
        follow_ups: Sequence[FollowUp] = (),
    ) -> Promotion:
        """Write all but `end_request` and `hints`, with ledger lines and follow-ups in the same transaction.

        With `release` the lease is given back, and if the row's hints have grown since it was taken and it
        is still open, it is due at once.
        """
        ...

    def hint_promotion(self, promotion_id: str, at: datetime) -> None:
        """Somebody says that there is news: due now, or as soon as the present holder gives it back."""
        ...

    def request_end(self, promotion_id: str, end: EndRequest) -> bool:
        """Order the end of an open promotion that has not been ordered to end yet; also a hint. False if not."""
        ...

    def retry_promotion(self, promotion_id: str, at: datetime, reason: str) -> bool:
        """FAILED -> the phase it failed from, all counters reset, due at once. False if it is not FAILED."""
        ...

    # alias: one writer
    def lock_alias(self, key: AliasKey, at: datetime, lease_seconds: float) -> AliasLock | None:
        """Take the one-writer row with a higher fence; None while another holds it."""
        ...

    def check_fence(self, lock: AliasLock, at: datetime) -> None:
        """Raise LeaseLostError unless this is still the holder and its lease still runs."""
        ...

    def begin_alias_change(
        self, lock: AliasLock, intent: AliasIntent, at: datetime, lease_seconds: float
    ) -> AliasLock:
        """Commit the intent before the registry is called, and lease the row anew; raises LeaseLostError."""
        ...

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
        """Clear the intent and store where the alias stands, all in one transaction.

        With it go the ledger lines and the promotion (written as by `save_promotion`, its lease kept).
        Raises LeaseLostError if the fence is lost.
        """
        ...

    def unlock_alias(self, lock: AliasLock) -> None:
        """Give the row back; nothing if it is lost already."""
        ...

    def known_alias(self, key: AliasKey) -> AliasLock | None:
        """The row as it is, without taking it; None if nobody ever did."""
        ...

    # ledger
    def append_ledger(self, entries: Sequence[LedgerEntry]) -> None:
        """Append lines."""
        ...

    def ledger_lines(
        self, key: AliasKey | None = None, *, promotion_id: str | None = None, limit: int = 200
    ) -> tuple[LedgerLine, ...]:
        """Lines of one alias or of one promotion, newest first."""
        ...

    def verify_ledger(self) -> int:
        """Recompute the whole chain and return how many lines there are.

        Raises:
            ConflictError: naming the first line that is not as it was written.
        """
        ...

    # follow-ups and the sweep
    def get_follow_ups(self, promotion_id: str) -> tuple[FollowUp, ...]:
        """Those of a promotion that are not done yet."""
        ...

    def get_follow_up(self, follow_up_id: str) -> FollowUp:
        """One row; raises NotFoundError, also when it is done."""
        ...

    def take_follow_up(self, follow_up_id: str, at: datetime, lease_seconds: float) -> FollowUp | None:
        """Lease a due one."""
        ...

    def release_follow_up(self, taken: FollowUp, *, done: bool) -> None:
        """Give it back with its attempts, failing_since, last_error and due_at; a done one is deleted."""
        ...

    def due(self, at: datetime, limit: int = 500) -> Due:
        """What is due and unleased (or whose lease ran out), the longest overdue first."""
        ...

    def bind_token(
        self, token: str, *, promotion_id: str, job: str, expires_at: datetime, at: datetime
    ) -> TokenUse:
        """Bind a CI job's token to the promotion and job that it is first posted for.

        Args:
            token: issuer and token id, made one text.
            promotion_id: which promotion it is posted for.
            job: which CI job posts it.
            expires_at: until when the token could be posted again; forgotten then.
            at: now.
        """
        ...

    def release_all_leases(self) -> None:
        """Give back every lease. Only for a process that knows that all former holders are dead."""
        ...

    def check(self) -> None:
        """Raise unless the database can be read and written and its schema is this version's."""
        ...
