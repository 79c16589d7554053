"""What the core needs of the database, as a Protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

from champion_gate.domain.aliases import AliasIntent, AliasKey, AliasLock, Hold
from champion_gate.domain.approval import TokenUse
from champion_gate.domain.callers import ApiToken
from champion_gate.domain.ledger.chain import ChainedText, LedgerEntry, LedgerHead, LedgerLine
from champion_gate.domain.notifications import (
    JobNotification,
    NotificationPhase,
    Resolution,
    StoredNotification,
)
from champion_gate.domain.ports import Person
from champion_gate.domain.promotion import EndRequest, FollowUp, Phase, Promotion


@dataclass(frozen=True)
class Due:
    """Ids of rows that are due and held by nobody."""

    notifications: tuple[str, ...]
    promotions: tuple[str, ...]
    follow_ups: tuple[str, ...]


@dataclass(frozen=True)
class RepeatableRequest:
    """A request with an `Idempotency-Key`: the same one sent again gets the same answer and does nothing.

    Attributes:
        key: the caller, the path and the header's value, made one text.
        fingerprint: lower-case hex sha256 of what is asked for; the same key must not ask for something else.
        status: HTTP status of the answer; None while the first one is being carried out, or was cut off.
        answer: its body.
    """

    key: str
    fingerprint: str
    status: int | None = None
    answer: str = ""


@dataclass(frozen=True)
class TrainerAccount:
    """An account that a trainer was resolved to; it stays excluded until it is forgotten.

    Attributes:
        provider: key of the ApprovalProvider.
        trainer: casefolded name at Databricks.
        alias: MODEL@ALIAS, casefolded, whose gates say so; empty for people, who are the same everywhere.
        login, user_id: the account, under its login of then.
    """

    provider: str
    trainer: str
    alias: str
    login: str
    user_id: str


@dataclass(frozen=True)
class RememberedLogin:
    """Which account a login stands for.

    Attributes:
        provider: key of the ApprovalProvider.
        login: as the vendor wrote it; no two differ only in case.
        user_id: the account.
        first_resolved_at: since when it stands for it.
        last_resolved_at: when the vendor last said so, to the hour.
        other_id: the account that has the login now, until an operator accepts it; else None.
        accounts: all that it was ever resolved to for trainers.
    """

    provider: str
    login: str
    user_id: str
    first_resolved_at: datetime
    last_resolved_at: datetime
    other_id: str | None = None
    accounts: tuple[TrainerAccount, ...] = ()


EntryOf = Callable[[RememberedLogin], LedgerEntry]
"""Makes the ledger's line about a login out of what was remembered of it before."""

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

    def keep_notification(self, taken: StoredNotification, at: datetime, lease_seconds: float) -> None:
        """Lease the row anew for who holds it; raises LeaseLostError."""
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

    def keep_promotion(self, taken: Promotion, at: datetime, lease_seconds: float) -> None:
        """Lease the row anew for who holds it; raises LeaseLostError."""
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
        hold: Hold | None = None,
        dropped: AliasIntent | None = None,
    ) -> AliasLock:
        """Clear the intent and store where the alias stands, all in one transaction.

        With it go the ledger lines, the promotion (written as by `save_promotion`, its lease kept) and, if
        one is given, a hold that is placed in lieu of the one there may be. A write that was `dropped` is
        remembered with those before it until none of them can arrive any more.
        Raises LeaseLostError if the fence is lost.
        """
        ...

    def set_hold(
        self, lock: AliasLock, at: datetime, hold: Hold | None, *, ledger: Sequence[LedgerEntry] = ()
    ) -> AliasLock:
        """Place a hold, or with None release the one that stands; raises LeaseLostError.

        With a release every open promotion for the alias is hinted, in the same transaction.
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
        self,
        key: AliasKey | None = None,
        *,
        promotion_id: str | None = None,
        after: int = 0,
        before: int | None = None,
        limit: int | None = 200,
    ) -> tuple[LedgerLine, ...]:
        """Lines of one alias or of one promotion, newest first.

        Args:
            key: which alias; None: all.
            promotion_id: which promotion; None: all.
            after: only lines with a higher number.
            before: only lines with a lower number.
            limit: how many at most; None: all there are.
        """
        ...

    def ledger_head(self) -> LedgerHead:
        """The number and hash of the newest line; number 0 and GENESIS where there is none."""
        ...

    def ledger_export(self, since: datetime | None = None) -> Iterator[ChainedText]:
        """Every line as it is kept, oldest first, from the first one that was written at `since` or later.

        The rows are read in pieces, as of one moment.
        """
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

    def checkpoint(self) -> None:
        """Bring a database's own log of writes into its file, where it has one."""
        ...

    def note_time(self, at: datetime) -> timedelta:
        """Note what the time is; where the clock was set back, make every open row due. Returns by how much it was."""
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

    # logins and accounts
    def remember_login(self, provider: str, login: str, found: Person, at: datetime) -> RememberedLogin:
        """Remember who has a login: the first account stays, another one is noted beside it.

        Returns:
            What is remembered then, without `accounts`.
        """
        ...

    def remembered_login(self, provider: str, login: str) -> RememberedLogin | None:
        """What is remembered of a login, in any case of its letters."""
        ...

    def remembered_logins(self) -> tuple[RememberedLogin, ...]:
        """All of them, by provider and login."""
        ...

    def remember_trainer_account(self, account: TrainerAccount, at: datetime) -> None:
        """Remember that an account is a trainer's."""
        ...

    def trainer_accounts(self, provider: str, trainer: str, alias: str) -> tuple[TrainerAccount, ...]:
        """All accounts that were ever a trainer's."""
        ...

    def accept_login(
        self, provider: str, login: str, user_id: str | None, at: datetime, line: EntryOf
    ) -> RememberedLogin:
        """Let the login stand for its other account; whatever waits to be asked is due, in the same transaction.

        Raises:
            NotFoundError: it is not remembered.
            ConflictError: there is no other account, or it is not `user_id`.
        """
        ...

    def forget_login(self, provider: str, login: str, line: EntryOf) -> RememberedLogin:
        """Forget the login and the trainers' accounts that it was resolved to; returns what was remembered.

        Raises:
            NotFoundError: it is not remembered.
        """
        ...

    # API tokens and repeated requests
    def create_api_token(self, token: ApiToken) -> None:
        """Keep a new one; raises ConflictError where its name is borne by another that counts at `created_at`."""
        ...

    def api_token(self, token_id: str) -> ApiToken | None:
        """One by its id."""
        ...

    def list_api_tokens(self) -> tuple[ApiToken, ...]:
        """All of them, also expired and revoked ones, newest first."""
        ...

    def revoke_api_token(self, token_id: str, at: datetime) -> bool:
        """It admits nobody from now on; False where there is none, or it has been revoked before."""
        ...

    def note_api_token_use(self, token_id: str, at: datetime) -> None:
        """Remember when it was last used."""
        ...

    def begin_request(self, request: RepeatableRequest, at: datetime) -> RepeatableRequest | None:
        """Remember that a request is being carried out; one that is known already is returned as it is kept.

        Those older than a day are forgotten.
        """
        ...

    def finish_request(self, request: RepeatableRequest) -> None:
        """Keep the answer of a request that was begun."""
        ...

    def forget_request(self, request: RepeatableRequest) -> None:
        """The request did nothing: it may be carried out when it comes again."""
        ...

    def release_all_leases(self) -> None:
        """Give back every lease. Only for a process that knows that all former holders are dead."""
        ...

    def check(self) -> None:
        """Raise unless the database can be read and written and its schema is this version's."""
        ...
