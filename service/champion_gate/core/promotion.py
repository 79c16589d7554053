"""The data that flows through the service, and the phases that a notification and a promotion go through.

All times are aware datetimes in UTC; all ids are strings (the vendors' int64 ids exceed 2**53).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from champion_gate.core.gates import ApprovalTarget

# --- 1. what Databricks tells us -------------------------------------------------------------------------


@dataclass(frozen=True)
class JobNotification:
    """A job notification as it was posted: unsigned, so a hint and nothing more.

    `run_id` is the task run's id when `task_key` is set; the job run is then `parent_run_id`.
    """

    event_type: str
    workspace_id: str
    job_id: str
    run_id: str
    job_name: str
    task_key: str | None = None
    parent_run_id: str | None = None

    @property
    def job_run_id(self) -> str:
        """The id of the whole job run that this notification belongs to."""
        return self.parent_run_id or self.run_id


class NotificationPhase(StrEnum):
    """Where a notification, or its resolution for one gate, stands."""

    RECEIVED = "received"
    WAITING = "waiting"
    RESOLVED = "resolved"
    UNRESOLVED = "unresolved"
    IGNORED = "ignored"
    FAILED = "failed"

    @property
    def is_open(self) -> bool:
        """Whether work is left to do."""
        return self in {NotificationPhase.RECEIVED, NotificationPhase.WAITING}


@dataclass(frozen=True)
class Resolution:
    """What one notification came to for one gate.

    Attributes:
        count: the notification's count when this was written; a higher count means it must be done again.
    """

    gate: str
    count: int
    phase: NotificationPhase
    reason: str
    promotion_id: str | None = None
    attempts: int = 0
    failing_since: datetime | None = None
    last_error: str | None = None


@dataclass(frozen=True)
class StoredNotification:
    """One row of `notifications`: the notification, how often it came, and how far it got.

    Attributes:
        source: "hook", "sweep" (found by listing runs) or "cli".
        job_run: the run as it was when it was last re-read; None before.
        lease: token of the worker that holds the row; empty where nobody does.
    """

    id: str
    source: str
    notification: JobNotification
    count: int
    phase: NotificationPhase
    reason: str
    first_received_at: datetime
    last_received_at: datetime
    due_at: datetime | None
    attempts: int = 0
    failing_since: datetime | None = None
    last_error: str | None = None
    resolutions: tuple[Resolution, ...] = ()
    job_run: JobRun | None = None
    lease: str = ""


# --- 2. what the Jobs API says ---------------------------------------------------------------------------


class RunResult(StrEnum):
    """How a job run ended. UNKNOWN stands for every value that we have not heard of: never a success."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    SUCCEEDED_WITH_FAILURES = "succeeded_with_failures"
    UNSUCCESSFUL = "unsuccessful"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class TaskRun:
    """One attempt of one task (or for-each iteration) of a job run or of a job run that it started."""

    run_id: str
    job_id: str
    task_key: str
    attempt: int


@dataclass(frozen=True)
class Trainer:
    """Somebody behind a model version. `name` is None where the vendor should have said and did not.

    Attributes:
        role: "job run creator", "job run-as", "version creator" or "MLflow run user".
        name: a Databricks user name, a service principal's application id (UUID), or another name.
    """

    role: str
    name: str | None


@dataclass(frozen=True)
class JobRun:
    """A job run as re-read through the Jobs API.

    Attributes:
        result_detail: the vendor's own words for the result, for people.
        tasks: each task's latest successful attempt, children of run-job and for-each tasks included.
        earlier_task_run_ids: attempts that a retry or repair has replaced; their versions are no candidates.
        trainers: creator and run-as of this run and of the job runs that it started.
        latest_repair: id of the latest repair, None if it was never repaired.
    """

    run_id: str
    job_id: str
    job_name: str
    workspace_id: str | None
    result: RunResult
    result_detail: str
    tasks: tuple[TaskRun, ...]
    earlier_task_run_ids: frozenset[str]
    trainers: tuple[Trainer, ...]
    start: datetime | None
    end: datetime | None
    latest_repair: str | None
    url: str


@dataclass(frozen=True)
class EndedRun:
    """A row of the list of a job's ended runs: just enough to know whether we have seen it."""

    run_id: str
    job_id: str
    job_name: str
    workspace_id: str
    end: datetime


@dataclass(frozen=True)
class TaskOutput:
    """A task's own word for the version that it registered: `{"champion_gate": {"model": …, "version": …}}`."""

    task_run_id: str
    model: str
    version: str


# --- 3. what the registry says ---------------------------------------------------------------------------


class VersionStatus(StrEnum):
    """Whether a model version can be served. UNKNOWN is never ready."""

    READY = "ready"
    PENDING = "pending"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class ModelVersion:
    """One version of a registered model.

    Attributes:
        version: decimal string without leading zeros.
        version_id: the registry's own id of this version, or what stands for it: two versions with the
            same number (of a model deleted and made anew) never share it.
        run_id: the MLflow run that made it, if any.
    """

    model: str
    version: str
    version_id: str
    run_id: str | None
    source: str | None
    status: VersionStatus
    created_at: datetime | None
    created_by: str | None
    workspace_id: str | None = None

    @property
    def number(self) -> int:
        """The version as a number, for ordering."""
        return int(self.version)

    def same_as(self, other: ModelVersion) -> bool:
        """Whether both are one and the same version: name, number, id, run and source."""
        return (self.model, self.version, self.version_id, self.run_id, self.source) == (
            other.model,
            other.version,
            other.version_id,
            other.run_id,
            other.source,
        )


@dataclass(frozen=True)
class TrainingRun:
    """The MLflow run behind a version.

    Attributes:
        job_id, job_run_id: the MLflow tags `mlflow.databricks.jobID` and `…jobRunID`; the latter holds a
            task run's id (mlflow/mlflow#14266).
        git_commit: from `mlflow.source.git.commit` or `mlflow.databricks.gitRepoCommit`.
    """

    run_id: str
    user: str | None
    job_id: str | None
    job_run_id: str | None
    metrics: Mapping[str, float]
    params: Mapping[str, str]
    git_commit: str | None
    started_at: datetime | None
    url: str | None = None


@dataclass(frozen=True)
class VersionDetails:
    """A version with all that a reviewer wants to know of it."""

    version: ModelVersion
    tags: Mapping[str, str]
    training_run: TrainingRun | None


# --- 4. to 7. a promotion --------------------------------------------------------------------------------


class Phase(StrEnum):
    """Where a promotion stands. Only the first three are open."""

    REQUESTED = "requested"
    PENDING_APPROVAL = "pending_approval"
    APPROVED = "approved"
    PROMOTED = "promoted"
    INELIGIBLE = "ineligible"
    REJECTED = "rejected"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"
    STALE = "stale"
    FAILED = "failed"

    @property
    def is_open(self) -> bool:
        """Whether work is left to do."""
        return self in {Phase.REQUESTED, Phase.PENDING_APPROVAL, Phase.APPROVED}


TRANSITIONS: Mapping[Phase, frozenset[Phase]] = {
    Phase.REQUESTED: frozenset(
        {
            Phase.PENDING_APPROVAL,
            Phase.INELIGIBLE,
            Phase.SUPERSEDED,
            Phase.CANCELLED,
            Phase.STALE,
            Phase.FAILED,
        }
    ),
    Phase.PENDING_APPROVAL: frozenset(
        {Phase.APPROVED, Phase.REJECTED, Phase.EXPIRED, Phase.SUPERSEDED, Phase.CANCELLED, Phase.STALE}
    ),
    Phase.APPROVED: frozenset({Phase.PROMOTED, Phase.STALE, Phase.FAILED}),
    Phase.FAILED: frozenset({Phase.REQUESTED, Phase.APPROVED}),
}
"""Which phase may follow which; a phase without an entry is an end. Leaving FAILED takes an operator."""


@dataclass(frozen=True)
class ExcludedPerson:
    """A person who may not decide on this promotion.

    Attributes:
        name: who it is to Databricks, e.g. trainer@example.com.
        role: why: a Trainer's role.
        login, user_id: who that is at the provider; the id decides, the login is shown.
    """

    name: str
    role: str
    login: str
    user_id: str


@dataclass(frozen=True)
class ApprovalRequest:
    """The question put to people at a provider.

    Attributes:
        provider: key of the ApprovalProvider.
        intent_at: when we were about to open it; written before the vendor is called.
        pins: what the provider's adapter stored about the place when it opened: ids that must be the same
            when it decides. Opaque to `core`, except that it is part of the promotion.
        external_id: the vendor's id; None while it is not known whether the call was carried out.
        opened_at: when the vendor's id was stored.
        expires_at: until when people may decide.
        place, seats: the gate's approval settings as they were, so that the request can be read and
            cancelled where it was opened whatever gates.yaml says by then.
        asked_at: when the vendor was last about to be called to open it.
    """

    provider: str
    intent_at: datetime
    expires_at: datetime
    pins: Mapping[str, str]
    external_id: str | None = None
    url: str | None = None
    opened_at: datetime | None = None
    place: Mapping[str, str] = field(default_factory=dict)
    seats: tuple[str, ...] = ()
    asked_at: datetime | None = None

    @property
    def target(self) -> ApprovalTarget:
        """Where it was opened."""
        return ApprovalTarget(provider=self.provider, place=self.place, seats=self.seats)


class Verdict(StrEnum):
    """What the reviewers said."""

    APPROVED = "approved"
    REJECTED = "rejected"


@dataclass(frozen=True)
class Decider:
    """One person of a decision; the vendor's numeric user id decides who is who."""

    user_id: str
    login: str
    seat: str
    comment: str


@dataclass(frozen=True)
class Decision:
    """What the reviewers said, from the vendor's API."""

    verdict: Verdict
    deciders: tuple[Decider, ...]
    reason: str
    source: str
    decided_at: datetime


@dataclass(frozen=True)
class Review:
    """One vote as the vendor's API gives it.

    Attributes:
        seat: the approval that it fills (GitHub: the environment).
        is_person: False for bots and deleted users.
        is_opener: whether this is the account with which we opened the request.
        is_listed: whether this person is among those whom the place names as reviewers.
    """

    seat: str
    verdict: Verdict
    user_id: str
    login: str
    comment: str
    is_person: bool
    is_opener: bool
    is_listed: bool


@dataclass(frozen=True)
class RequestState:
    """An approval request as re-read through the vendor's API.

    Attributes:
        problems: why nothing of this can be trusted at the moment (protection removed, ids changed, …);
            while there is one the promotion waits.
        void: why this request can never yield a decision any more (cancelled, run a second time); ends it.
        reviews: every vote, also of people who may not decide.
        released_at: seat -> when the vendor let the gated job of this seat start; a seat that was
            skipped or still waits is absent.
        finished: whether the vendor will not change this any more.
        duplicates: ids of other runs that carry the same promotion id; they are cancelled, never believed.
    """

    problems: tuple[str, ...]
    void: str | None
    reviews: tuple[Review, ...]
    released_at: Mapping[str, datetime]
    finished: bool
    duplicates: tuple[str, ...] = ()


@dataclass(frozen=True)
class EndRequest:
    """An order to end a promotion, carried out by whoever advances it next, after re-reading the decision.

    Attributes:
        phase: CANCELLED or SUPERSEDED.
        actor: who ordered it.
    """

    phase: Phase
    actor: str
    reason: str
    at: datetime


@dataclass(frozen=True)
class Promotion:
    """One model version asking for one alias.

    Attributes:
        id: also the correlation id at the provider; `[a-z0-9-]+`.
        job_run_id: the job run that it came from.
        trainers: everybody behind the version; none of them may decide.
        reason: why it is where it is, in words for people.
        found_by: in which way the version was found (a VersionSource).
        champion_version: the version that held the alias when the request opened; None if there was none.
        evidence_json: what the reviewer is shown, as canonical JSON; None before it is frozen.
        approval_sha256: hash of the gate's approval settings when the request opened.
        excluded: the trainers' logins and numeric ids at the provider.
        failing_since: when the current row of errors began; None while all goes well.
        failed_from: the phase in which it failed, to which `retry` returns it.
        outstanding: the seats that had not been released when the decision was last read.
        hints: how often somebody asked to look again; grows also while a worker holds the row.
        lease: token of the worker that holds the row; empty where nobody does.
    """

    id: str
    gate: str
    registry: str
    model: str
    alias: str
    version: ModelVersion
    job_id: str
    job_run_id: str
    job_url: str
    trainers: tuple[Trainer, ...]
    phase: Phase
    reason: str
    requested_at: datetime
    updated_at: datetime
    due_at: datetime | None
    champion_version: str | None = None
    found_by: str = ""
    evidence_json: str | None = None
    evidence_sha256: str | None = None
    approval_sha256: str | None = None
    excluded: tuple[ExcludedPerson, ...] = ()
    request: ApprovalRequest | None = None
    decision: Decision | None = None
    end_request: EndRequest | None = None
    ended_at: datetime | None = None
    attempts: int = 0
    failing_since: datetime | None = None
    last_error: str | None = None
    failed_from: Phase | None = None
    outstanding: tuple[str, ...] = ()
    hints: int = 0
    lease: str = ""

    @property
    def alias_key(self) -> AliasKey:
        """Which alias it asks for."""
        return AliasKey(self.registry, self.model, self.alias)


# --- the ledger, the alias's one writer, and work after an end -------------------------------------------


class LedgerKind(StrEnum):
    """What a line of the ledger says."""

    DECISION = "decision"
    ALIAS_CHANGE = "alias_change"
    HOLD = "hold"
    RELEASE = "release"


@dataclass(frozen=True)
class LedgerEntry:
    """A line to be appended. `facts` is JSON-able and holds what is particular to the kind."""

    kind: LedgerKind
    registry: str
    model: str
    alias: str
    actor: str
    reason: str
    at: datetime
    promotion_id: str | None = None
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class LedgerLine:
    """A line as it stands: numbered and chained to the one before it."""

    number: int
    entry: LedgerEntry
    previous_hash: str
    hash: str


@dataclass(frozen=True)
class AliasKey:
    """Which alias: the name of the one-writer row."""

    registry: str
    model: str
    alias: str


@dataclass(frozen=True)
class AliasIntent:
    """A write to an alias that was about to happen: committed before the registry is called.

    Attributes:
        from_version, to_version: None stands for "no alias".
        fence: the writer's number; a later writer has a higher one.
    """

    from_version: str | None
    to_version: str | None
    fence: int
    actor: str
    reason: str
    promotion_id: str | None
    at: datetime


@dataclass(frozen=True)
class AliasLock:
    """The leased, fenced row that every writer of an alias holds.

    Attributes:
        known_version: where the alias stood when the gate last looked or wrote; None = no alias.
        seen: whether the gate has ever looked; `known_version` means nothing before.
        intent: a write that somebody began and nobody finished yet.
    """

    key: AliasKey
    fence: int
    lease: str
    seen: bool
    known_version: str | None
    intent: AliasIntent | None


class TokenUse(StrEnum):
    """Whether a CI job's token was posted before."""

    FIRST = "first"
    AGAIN = "again"
    ELSEWHERE = "elsewhere"


class FollowUpKind(StrEnum):
    """Work that is left after a promotion's step and must survive a crash."""

    CANCEL_REQUEST = "cancel_request"
    TAG_VERSION = "tag_version"


@dataclass(frozen=True)
class FollowUp:
    """One piece of such work: retried like a promotion's step, never undoing anything.

    Attributes:
        facts: CANCEL_REQUEST: {"external_id"}; TAG_VERSION: the tags, key -> value.
    """

    id: str
    promotion_id: str
    kind: FollowUpKind
    facts: Mapping[str, str]
    due_at: datetime
    attempts: int = 0
    failing_since: datetime | None = None
    last_error: str | None = None
    lease: str = ""
