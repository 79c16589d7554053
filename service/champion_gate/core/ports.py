"""What the core needs from the outside, as Protocols. `bootstrap.py` picks who fulfils them.

Every call that leaves the process may raise `VendorUnavailableError` (retryable), `VendorRefusedError`
or `VendorNotFoundError` (final); only what is particular to a method is said there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from champion_gate.core.bodies import Ignored
from champion_gate.core.claims import VerifiedToken
from champion_gate.core.gates import ApprovalTarget
from champion_gate.core.promotion import (
    AliasIntent,
    AliasKey,
    AliasLock,
    EndedRun,
    EndRequest,
    FollowUp,
    JobNotification,
    JobRun,
    LedgerEntry,
    LedgerLine,
    ModelVersion,
    NotificationPhase,
    Phase,
    Promotion,
    RequestState,
    Resolution,
    StoredNotification,
    TaskOutput,
    TokenUse,
    TrainingRun,
    VersionDetails,
)

T = TypeVar("T")


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> datetime:
        """Now, aware, in UTC."""
        ...


class Chance(Protocol):
    """Where randomness comes from."""

    def token(self) -> str:
        """A fresh id of 16 characters `[a-z0-9]`, unguessable."""
        ...

    def fraction(self) -> float:
        """A number from 0 up to, not including, 1."""
        ...


class JobRuns(Protocol):
    """The Jobs API of the one workspace."""

    def workspace_id(self) -> str | None:
        """The workspace's own id; None where it does not tell."""
        ...

    def get_run(self, run_id: str) -> JobRun:
        """Re-read a whole job run (not a task run) with all that hangs below it."""
        ...

    def task_outputs(self, run: JobRun) -> tuple[TaskOutput, ...]:
        """What the run's `tasks` say of the version they registered; tasks that say nothing are left out."""
        ...

    def list_ended_runs(self, job_id: str, since: datetime) -> tuple[EndedRun, ...]:
        """The job's ended runs that started at `since` or later, newest first."""
        ...

    def jobs_named(self, name: str) -> tuple[str, ...]:
        """The ids of all jobs that bear exactly this name."""
        ...


class ModelRegistry(Protocol):
    """Unity Catalog, or an MLflow registry.

    Model names given here have been checked and, where the registry folds case, are lower-case.
    """

    @property
    def name(self) -> str:
        """Which registry: `databricks-uc`, or its URI without credentials."""
        ...

    @property
    def folds_case(self) -> bool:
        """Whether model names and aliases that differ only in case are the same."""
        ...

    @property
    def records_creators(self) -> bool:
        """Whether versions say who created them; where they should and one does not, nobody is excused."""
        ...

    def list_versions(self, model: str) -> tuple[ModelVersion, ...]:
        """All versions, newest (highest number) first."""
        ...

    def get_version(self, model: str, version: str) -> ModelVersion:
        """One version.

        Raises:
            VendorNotFoundError: there is none, or we may not see it.
        """
        ...

    def get_details(self, version: ModelVersion) -> VersionDetails:
        """The version's tags and its MLflow run."""
        ...

    def get_training_run(self, run_id: str) -> TrainingRun:
        """One MLflow run.

        Raises:
            VendorNotFoundError: there is none, or we may not see it.
        """
        ...

    def versions_tagged(self, model: str, key: str, value: str) -> tuple[ModelVersion, ...]:
        """The versions whose tag `key` is exactly `value`, newest first."""
        ...

    def get_alias(self, model: str, alias: str) -> str | None:
        """The version that holds the alias; None only after a successful read of the model itself."""
        ...

    def set_alias(self, model: str, alias: str, version: str) -> None:
        """Put the alias on a version: one write, last writer wins, nothing read back."""
        ...

    def delete_alias(self, model: str, alias: str) -> None:
        """Take the alias away; no error where there is none."""
        ...

    def set_version_tag(self, model: str, version: str, key: str, value: str) -> None:
        """Write one tag of a version."""
        ...

    def check(self) -> None:
        """A cheap call that shows that the registry answers us."""
        ...

    def version_url(self, version: ModelVersion) -> str | None:
        """A page for people, where there is one. No call is made."""
        ...


@dataclass(frozen=True)
class OpenedRequest:
    """A request found or made at the provider."""

    external_id: str
    url: str


@dataclass(frozen=True)
class Person:
    """Somebody with an account at the provider; the numeric id, as a string, decides who is who."""

    user_id: str
    login: str


class ApprovalProvider(Protocol):
    """A CI/CD system in which people approve."""

    def check_place(self, target: ApprovalTarget) -> Mapping[str, str]:
        """Make sure that the place protects an approval, and return the pins to be stored with a request.

        The pins hold the ids (repository, owner, environments, reviewers, our own account, …) that must
        be the same when the decision is read.

        Raises:
            UnsafeTargetError: it does not; the message says what to change and where.
        """
        ...

    def find_person(self, target: ApprovalTarget, login: str) -> Person:
        """Resolve a login.

        Raises:
            VendorNotFoundError: nobody has this login.
        """
        ...

    def open(self, target: ApprovalTarget, promotion: Promotion, evidence: str) -> OpenedRequest | None:
        """Ask for approval: one call that is never repeated here.

        Args:
            target: the gate's approval settings.
            promotion: with `request` set (the intent) and its id as the correlation id.
            evidence: Markdown shown to the reviewer.

        Returns:
            The request, or None where the vendor took the call without telling an id: then `find` it.

        Raises:
            VendorUnavailableError: with `outcome_unknown` where it may have been carried out.
        """
        ...

    def find(self, target: ApprovalTarget, promotion: Promotion) -> tuple[OpenedRequest, ...]:
        """The requests that we opened for this promotion since its intent, oldest first."""
        ...

    def read(self, target: ApprovalTarget, promotion: Promotion) -> RequestState:
        """Re-read everything that decides, as the vendor's API has it now."""
        ...

    def cancel(self, target: ApprovalTarget, external_id: str) -> None:
        """Cancel a request at the vendor; no error where it has ended already."""
        ...

    def with_news(
        self, pending: Sequence[Promotion], targets: Mapping[str, ApprovalTarget]
    ) -> tuple[str, ...]:
        """The ids of those pending promotions that are worth reading again.

        One list a place, not one call a promotion. Promotions of which the list says nothing count as news.

        Args:
            pending: promotions in `pending_approval` with a request at this provider.
            targets: gate name -> approval settings.
        """
        ...

    def check(self) -> None:
        """A cheap call that shows that the provider answers us and takes our credentials."""
        ...


class TokenVerifier(Protocol):
    """Checks the ID tokens of CI jobs."""

    def verify(self, unverified_token: str, promotion: Promotion) -> VerifiedToken:
        """Make sure that it is the token of this promotion's gated job.

        Args:
            unverified_token: as it was sent; at most 16 KiB.
            promotion: with the request whose job may post.

        Raises:
            NotAuthenticatedError: it is not, for whatever reason; the reason goes into the log.
            VendorUnavailableError: the issuer's keys cannot be read.
        """
        ...


class ProviderHook(Protocol):
    """How a CI/CD system's webhooks are checked and read: at `/hooks/<kind of provider>`.

    `header` gives the value of a header, whatever its case, or an empty text.
    """

    def is_authentic(self, header: Callable[[str], str], body: bytes) -> bool:
        """Whether it carries one of the secrets that we share with the system; in constant time."""
        ...

    def delivery_id(self, header: Callable[[str], str]) -> str:
        """What the system calls this delivery, the same for every try of it; empty where it does not say."""
        ...

    def request_id(self, header: Callable[[str], str], body: bytes) -> str | Ignored:
        """The vendor's id of the request that it tells about, or why it tells about none; raises nothing."""
        ...


class WakeUps(Protocol):
    """Tells workers that a row is due. May lose or repeat: the rows are the truth."""

    def notification(self, notification_id: str) -> None:
        """Have `resolve` called."""
        ...

    def promotion(self, promotion_id: str) -> None:
        """Have `advance` called."""
        ...

    def follow_up(self, follow_up_id: str) -> None:
        """Have `follow_up` called."""
        ...


@dataclass(frozen=True)
class Due:
    """Ids of rows that are due and held by nobody."""

    notifications: tuple[str, ...]
    promotions: tuple[str, ...]
    follow_ups: tuple[str, ...]


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

    def begin_alias_change(self, lock: AliasLock, intent: AliasIntent, at: datetime) -> AliasLock:
        """Commit the intent before the registry is called; raises LeaseLostError."""
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
