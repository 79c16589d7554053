"""What the registry says of a model version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


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
