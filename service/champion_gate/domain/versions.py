"""What the registry says of a model version."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from urllib.parse import unquote

from champion_gate.errors import InvalidNameError, VendorUnavailableError

_LOGGED_MODEL_URI = re.compile(r"models:/+(m-[A-Za-z0-9_-]{1,64})/?")
_IN_LOGGED_MODEL = re.compile(r"models:/+(m-[0-9a-f]{32})/")
_LOGGED_MODEL_FOLDER = re.compile(r"/(?:logged_)?models/(m-[0-9a-f]{32})(?:/|$)")
_LOGGED_MODEL_ID = re.compile(r"m-[A-Za-z0-9_-]{1,64}")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_ID = "created_at "
_EDGE = 1.797e308  # MLflow's SQL store keeps infinity as the largest float


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
        logged_model_id: the logged model (MLflow 3) whose files it has, `m-…`, as far as the registry tells.
            Rows of before it was read do not have it, so it is no part of who the version is.
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
    logged_model_id: str | None = None

    @property
    def number(self) -> int:
        """The version as a number, for ordering."""
        return int(self.version)

    @property
    def lacks_id(self) -> bool:
        """Whether the registry, which has ids, has not told this one's: see `instead_of_id`."""
        return self.version_id.startswith(_NO_ID)

    def check_told(self, before: ModelVersion, registry: str) -> None:
        """Make sure that what the registry told of this version before it tells now too, in words that we know.

        One that was made at another time is another one, of which nothing was told.

        Args:
            before: as it was told then.
            registry: its name.

        Raises:
            VendorUnavailableError: it does not.
        """
        if self.created_at not in {None, before.created_at}:
            return
        known = {"run": before.run_id, "source": before.source}
        now = {"run": self.run_id, "source": self.source}
        untold = [what for what, value in known.items() if value is not None and now[what] is None]
        if self.lacks_id and not before.lacks_id:
            untold.append("id")
        if self.status is VersionStatus.UNKNOWN:
            untold.append("status")
        if untold:
            raise VendorUnavailableError(
                registry,
                f"it does not tell the {' and '.join(untold)} of {self.model} v{self.version} any more.",
            )

    def completes(self, before: ModelVersion) -> bool:
        """Whether it is that version, of which the registry told less before, and nothing else.

        One that is made anew under its number is made later. Where no id was told, the time tells it.
        """
        known = (before.created_at, before.run_id, before.source)
        now = (self.created_at, self.run_id, self.source)
        return (
            (self.model, self.version, self.status) == (before.model, before.version, before.status)
            and all(then in {None, told} for then, told in zip(known, now, strict=True))
            and (self.version_id == before.version_id or before._is_told_by_time)
        )

    @property
    def _is_told_by_time(self) -> bool:
        """Whether its time is told, and its id is only made of what is told of it."""
        if self.created_at is None:
            return False
        made_at = (self.created_at - _EPOCH) // timedelta(milliseconds=1)
        return self.lacks_id or self.version_id == hash_instead_of_id(made_at, self.run_id, self.source)

    def is_still(self, before: ModelVersion) -> bool:
        """Whether it is that version, of which as much was told before, or less."""
        return self.same_as(before) or self.completes(before)

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
class TaggedVersion:
    """A version and its tags, as the registry has shown both at once."""

    version: ModelVersion
    tags: Mapping[str, str]


def instead_of_id(created_at: object, run_id: object, source: object) -> str:
    """What tells a version of which no id is told from one with the same number of a model made anew."""
    return f"{_NO_ID}{created_at}; run_id {run_id}; source {source}"


def hash_instead_of_id(created_ms: int | None, run_id: str | None, source: str | None) -> str:
    """The same where a registry has no ids: what it never changes tells a version from another with its number.

    Args:
        created_ms: when it was made, in milliseconds since 1970.
        run_id: of its MLflow run.
        source: where its files are.
    """
    identity = json.dumps([created_ms, run_id, source])
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


def logged_model_of(source: str | None, told: object = None) -> str | None:
    """The id of the logged model that a version is said to be; None where neither registry nor source says.

    That it has that model's files is not said by this: see `metrics.own_model`.

    Args:
        source: the version's source: `models:/m-…`, or a folder `…/models/m-…` (`…/logged_models/m-…` on
            Databricks) in which MLflow keeps a logged model's files.
        told: the version's `model_id`, which servers may leave empty (MLflow's SQL store keeps none).
    """
    if isinstance(told, str) and _LOGGED_MODEL_ID.fullmatch(told):
        return told
    text = source or ""
    named = (
        _LOGGED_MODEL_URI.fullmatch(text) or _IN_LOGGED_MODEL.match(text) or _LOGGED_MODEL_FOLDER.search(text)
    )
    return named[1] if named else None


def logged_model_uri(source: str) -> str | None:
    """The id of the logged model where a version's source is its URI, `models:/m-…`."""
    named = _LOGGED_MODEL_URI.fullmatch(source)
    return named[1] if named else None


def check_logged_model_id(model_id: str) -> str:
    """Return the id of a logged model, or raise InvalidNameError: it goes into a URL."""
    if not _LOGGED_MODEL_ID.fullmatch(model_id):
        raise InvalidNameError(f"{model_id[:100]!r} is no logged model.")
    return model_id


@dataclass(frozen=True)
class MetricRow:
    """One number of a logged model.

    Attributes:
        value: may be NaN or infinite.
        timestamp: milliseconds since 1970.
        dataset: the name of the dataset that it was measured on; None where none was named.
        run_id: the MLflow run that logged it.
    """

    key: str
    value: float
    step: int = 0
    timestamp: int = 0
    dataset: str | None = None
    run_id: str | None = None


@dataclass(frozen=True)
class LoggedModel:
    """A model as MLflow 3 keeps it beside the runs, with numbers of its own.

    Attributes:
        run_id: the MLflow run that logged it (`source_run_id`).
        metrics: a row for each step and dataset.
        artifact_uri: the folder of its files.
        status: the vendor's own word, e.g. `READY` or `LOGGED_MODEL_READY`.
        created_by: as the vendor tells it, a number on Databricks (`creator_id`).
    """

    model_id: str
    run_id: str | None
    metrics: tuple[MetricRow, ...]
    params: Mapping[str, str]
    tags: Mapping[str, str]
    artifact_uri: str | None = None
    status: str | None = None
    created_at: datetime | None = None
    created_by: str | None = None


@dataclass(frozen=True)
class TrainingRun:
    """The MLflow run behind a version.

    Attributes:
        logged_models: ids of the logged models that it made or read; None where that is not known.
        job_id, job_run_id: the MLflow tags `mlflow.databricks.jobID` and `…jobRunID`; the latter holds a
            task run's id (mlflow/mlflow#14266).
        git_commit: from `mlflow.source.git.commit` or `mlflow.databricks.gitRepoCommit`.
        artifact_uri: the folder of its artifacts.
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
    experiment_id: str | None = None
    logged_models: frozenset[str] | None = None
    artifact_uri: str | None = None


@dataclass(frozen=True)
class VersionDetails:
    """A version with all that a reviewer wants to know of it.

    Attributes:
        version: as the registry shows it now.
        logged_model: None where there is none, and where it could not be read.
        unread_because: why the logged model that there is could not be read.
    """

    version: ModelVersion
    tags: Mapping[str, str]
    training_run: TrainingRun | None
    logged_model: LoggedModel | None = None
    unread_because: str | None = None


def measured(number: float) -> float:
    """The number that was logged: one at the edge of what a float holds stands for infinity.

    MLflow's SQL store keeps infinity so (sqlalchemy_store.py, sanitize_metric_value: 1.7976931348623157e308).
    """
    return math.copysign(math.inf, number) if abs(number) >= _EDGE else number


def is_number(number: float) -> bool:
    """Whether it can be judged by: neither NaN nor infinite nor at the edge of what a float holds."""
    return math.isfinite(measured(number))


def is_of_logged_model(source: str, logged: LoggedModel) -> bool:
    """Whether a version's source is this logged model, or a folder of its."""
    return logged_model_uri(source) == logged.model_id or lies_under(source, logged.artifact_uri)


def lies_under(source: str, root: str | None) -> bool:
    """Whether a URI or path is in a folder, or is it; one that climbs out again in any spelling is not."""
    inside, folder = source.removeprefix("file://"), (root or "").removeprefix("file://").rstrip("/")
    if not folder or not inside.startswith(folder):
        return False
    rest = inside.removeprefix(folder)
    plain = rest
    while (unquoted := unquote(plain)) != plain:
        plain = unquoted
    steps = re.split(r"[/\\]", plain)
    return rest[:1] in {"", "/"} and ".." not in steps and not re.search(r"[?#\x00-\x1f]", plain)
