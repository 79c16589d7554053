"""What is looked for when a job run has ended, and what may be found: one version of the gate's model, or none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto

from champion_gate.domain.gates import Gate, VersionSource
from champion_gate.domain.job_runs import JobRun, Trainer
from champion_gate.domain.ports.registry import ModelRegistry
from champion_gate.domain.ports.workspace import JobRuns
from champion_gate.domain.together import Together
from champion_gate.domain.versions import LoggedModel, ModelVersion, TrainingRun

READY_WITHIN = timedelta(hours=1)
"""How long after a run's end a version of its may still be uploaded."""

LISTED_WITHIN = timedelta(minutes=5)
"""How long a registry's answers may lack a run's version, from the first look: replicas lag behind."""


class Word(Enum):
    """Who names a version as the run's; what else must be there depends on it."""

    NOBODY = auto()
    RUN = auto()
    """The run itself, by the output of a task of its own."""
    REGISTRANT = auto()
    """A tag of the version, or an operator: they may be mistaken or lie."""
    TRUSTED = auto()
    """A tag of the version at a gate that trusts it."""


@dataclass(frozen=True)
class Read:
    """What has been read of versions of a run's time, kept from one attempt to the next; refusals are not.

    Attributes:
        tagged: id of a version -> whether it bears the tag of the run.
    """

    tagged: dict[str, bool] = field(default_factory=dict)
    training_runs: dict[str, TrainingRun] = field(default_factory=dict)
    logged_models: dict[str, LoggedModel] = field(default_factory=dict)


@dataclass(frozen=True)
class Sought:
    """What is looked for: versions of the gate's model that the run made; and where.

    Attributes:
        gate: its `model` has been checked and, where the registry folds case, is lower-case.
        run: ended, with the task runs that count for this gate.
        gates: all gates; a job that a rival watches is its.
        at: now.
        read: what earlier attempts have read.
        go_on: called between calls of which there may be many: who looks must not be taken for dead.
        together: makes calls at the same time that do not need each other.
    """

    gate: Gate
    run: JobRun
    gates: tuple[Gate, ...]
    job_runs: JobRuns
    registry: ModelRegistry
    at: datetime
    read: Read = field(default_factory=Read)
    go_on: Callable[[], None] = lambda: None
    together: Together = field(default_factory=Together)


@dataclass(frozen=True)
class Linked:
    """A version that comes from the run.

    Attributes:
        marks: what shows it, in whole sentences for the evidence.
        people: those behind another job run that trained it.
        training: the MLflow run that it has, or that its logged model has; None where there is none.
    """

    version: ModelVersion
    marks: tuple[str, ...]
    people: tuple[Trainer, ...] = ()
    training: TrainingRun | None = None


@dataclass(frozen=True)
class Unlinked:
    """A version of which nothing shows that it comes from the run; `why` names the mark that failed."""

    version: ModelVersion
    why: str


@dataclass(frozen=True)
class Found:
    """The one version of the gate's model that the run made, and what shows it."""

    linked: Linked
    by: VersionSource

    @property
    def version(self) -> ModelVersion:
        """The version."""
        return self.linked.version


@dataclass(frozen=True)
class NotFound:
    """There is no version, or not exactly one, or none that can be believed.

    Attributes:
        reason: for people.
        may_appear: whether it rests on what the registry's answers lacked.
    """

    reason: str
    may_appear: bool = False
