"""What the Jobs API says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class RunResult(StrEnum):
    """How a job run ended. UNKNOWN stands for every value that we have not heard of: never a success."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    SUCCEEDED_WITH_FAILURES = "succeeded_with_failures"
    UNSUCCESSFUL = "unsuccessful"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class TaskRun:
    """One attempt of one task (or for-each iteration) of a job run or of a job run that it started.

    Attributes:
        start, end: when it ran, as far as Databricks tells.
        is_wrapper: whether it only starts others (a run-job or for-each task), and makes nothing itself.
    """

    run_id: str
    job_id: str
    task_key: str
    attempt: int
    start: datetime | None = None
    end: datetime | None = None
    is_wrapper: bool = False


GROUP_ROLE = "job run-as group"
"""The role of a trainer that is a group of people, whatever its name looks like."""

LISTED_ROLE = "listed trainer"
"""The role of the people whom a gate's `trainers` list by their logins, who have no names at Databricks."""
LISTED_NAME = "trainers in gates.yaml"


@dataclass(frozen=True)
class Trainer:
    """Somebody behind a model version. `name` is None where the vendor should have said and did not.

    Attributes:
        role: "job run creator", "job run-as", GROUP_ROLE, "version creator" or "MLflow run user".
        name: a Databricks user name, a service principal's application id (UUID), or another name.
    """

    role: str
    name: str | None


def each_once(trainers: Iterable[Trainer]) -> tuple[Trainer, ...]:
    """The same people, each once a role; names match in any case."""
    distinct: dict[tuple[str, str], Trainer] = {}
    for each in trainers:
        distinct.setdefault((each.role, (each.name or "").casefold()), each)
    return tuple(distinct.values())


@dataclass(frozen=True)
class JobRun:
    """A job run as re-read through the Jobs API.

    Attributes:
        result_detail: the vendor's own words for the result, for people.
        tasks: each task's latest successful attempt, children of run-job and for-each tasks included.
        earlier_task_run_ids: attempts that a retry or repair has replaced; their versions are no candidates.
        later_attempts: earlier attempt -> the attempts among `tasks` that may have gone on with what it began,
            as far as that is known; each started after it had ended.
        trainers: creator and run-as of this run and of the job runs that it started.
        latest_repair: id of the latest repair, None if it was never repaired.
        started_by: the task run that started it as a run-job task; None where none did.
        tells_of_versions: whether a parameter of it lists updates of models, as a model update trigger gives them.
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
    later_attempts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    started_by: str | None = None
    tells_of_versions: bool = False

    def facts(self) -> RunFacts:
        """What is kept of it."""
        children = {task.job_id for task in self.tasks} - {self.job_id}
        return RunFacts(self.run_id, self.job_name, self.result, self.result_detail, tuple(sorted(children)))


@dataclass(frozen=True)
class RunFacts:
    """What a promotion keeps of the job run behind it, to be judged again later.

    Attributes:
        job_name: what the job was called when the run was read; empty where an earlier release did not keep it.
        result: how the run ended; None where an earlier release did not keep it.
        child_jobs: ids of the other jobs that it started and whose versions counted.
    """

    run_id: str = ""
    job_name: str = ""
    result: RunResult | None = None
    result_detail: str = ""
    child_jobs: tuple[str, ...] = ()


@dataclass(frozen=True)
class EndedRun:
    """A row of the list of a job's ended runs: just enough to know whether we have seen it."""

    run_id: str
    job_id: str
    job_name: str
    workspace_id: str
    end: datetime


@dataclass(frozen=True)
class OpenRun:
    """A run of a job that has not ended; `start` is None where it is not told."""

    run_id: str
    start: datetime | None


@dataclass(frozen=True)
class TaskOutput:
    """A task's own word for the version that it registered: `{"champion_gate": {"model": …, "version": …}}`."""

    task_run_id: str
    model: str
    version: str
