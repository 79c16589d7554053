"""What Databricks tells us, and how far each notification got."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from champion_gate.domain.job_runs import JobRun
from champion_gate.domain.retry import Retry

VERSION_CREATED = "model_version.created"
FROM_REGISTRY = "registry"
"""The source of what tells of a version, whoever told it first: so there is one row a version."""


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
    def told_version(self) -> tuple[str, str] | None:
        """Model and number, where it tells of a version that appeared in the registry, and of no job run."""
        if self.event_type != VERSION_CREATED:
            return None
        model, _, version = self.run_id.rpartition("/")
        return model, version

    @property
    def job_run_id(self) -> str:
        """The id of the whole job run that this notification belongs to."""
        return self.parent_run_id or self.run_id


def of_version(model: str, version: str) -> JobNotification:
    """That the registry has a version that no notification of a job run tells of. It is a hint, too."""
    return JobNotification(VERSION_CREATED, "", "", f"{model}/{version}", "")


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
    retry: Retry = field(default_factory=Retry)


@dataclass(frozen=True)
class StoredNotification:
    """One row of `notifications`: the notification, how often it came, and how far it got.

    Attributes:
        source: "hook", "sweep" (found by listing runs), "cli", or FROM_REGISTRY.
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
    retry: Retry = field(default_factory=Retry)
    resolutions: tuple[Resolution, ...] = ()
    job_run: JobRun | None = None
    lease: str = ""
