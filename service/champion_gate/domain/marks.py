"""The marks by which a version is tied to a job run, each by itself. No calls are made here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from champion_gate.domain.job_runs import JobRun, TaskRun
from champion_gate.domain.text import one_line
from champion_gate.domain.versions import (
    LoggedModel,
    ModelVersion,
    TrainingRun,
    is_of_logged_model,
    lies_under,
)

RUN_TAG = "champion_gate_job_run_id"
"""The version tag in which a training job writes its job run's id."""

_JOB_ID, _JOB_RUN_ID = "mlflow.databricks.jobID", "mlflow.databricks.jobRunID"
_AFTER_TASK = timedelta(minutes=10)  # registering goes on a little after the task's end, and clocks differ
_LONGEST_NAME = 100
_MOST_PRINCIPALS = 5


class MarkFailedError(Exception):
    """Why a version is not tied to a run; a clause about "it"."""


@dataclass(frozen=True)
class JobTags:
    """The tags with which MLflow marks what was made inside a Databricks job.

    Attributes:
        holder: what bears them, in words.
        job_id, task_run_id: empty where they are absent, but not both.
    """

    holder: str
    job_id: str
    task_run_id: str


def creator_mark(version: ModelVersion, run: JobRun) -> str:
    """That one of the run's principals created the version.

    Raises:
        MarkFailedError: somebody else did, or nobody tells who.
    """
    creator = (version.created_by or "").strip()
    told = ((each.name or "").strip() for each in run.trainers)
    names = list(dict.fromkeys(name for name in told if name))
    if not creator:
        raise MarkFailedError("the registry does not tell who created it")
    shown = one_line(creator, _LONGEST_NAME)
    if creator.casefold() not in {name.casefold() for name in names}:
        known = ", ".join(one_line(name, _LONGEST_NAME) for name in names[:_MOST_PRINCIPALS])
        raise MarkFailedError(
            f"{shown} created it, who is none of the run's principals ({known or 'none is told'})"
        )
    return f"{shown}, a principal of the job run, created it."


def files_mark(version: ModelVersion, training: TrainingRun | None, logged: LoggedModel | None) -> str:
    """That the version's files are those of its MLflow run, so that its numbers are theirs.

    Args:
        version: its `source` names its files.
        training: its MLflow run, if it has one.
        logged: its logged model, if it has one that can be read; a registrant may name another one's.

    Raises:
        MarkFailedError: they are not.
    """
    source = version.source or ""
    if training is None:
        raise MarkFailedError("it has no MLflow run")
    if logged is not None and logged.run_id != training.run_id:
        raise MarkFailedError(
            f"its logged model {logged.model_id} is one of MLflow run {one_line(str(logged.run_id), 64)}, not of"
            f" its own ({one_line(training.run_id, 64)})"
        )
    if lies_under(source, training.artifact_uri) or lies_under(source, f"runs:/{training.run_id}"):
        return "Its source lies under the artifacts of its MLflow run."
    if logged is not None and is_of_logged_model(source, logged):
        return f"Its files are those of the logged model {logged.model_id} of its MLflow run."
    raise MarkFailedError(
        f"its source {one_line(source, 200) or '(none)'} is neither under the artifacts of its MLflow run nor a"
        " logged model of that run"
    )


def job_tags(training: TrainingRun | None, logged: LoggedModel | None) -> JobTags | None:
    """The job tags of what was registered; empty ones are absent.

    Those of the logged model go first: its MLflow run may have been begun by another attempt or job run.
    """
    if logged is not None and (logged.tags.get(_JOB_ID) or logged.tags.get(_JOB_RUN_ID)):
        return JobTags("its logged model", logged.tags.get(_JOB_ID) or "", logged.tags.get(_JOB_RUN_ID) or "")
    if training is not None and (training.job_id or training.job_run_id):
        return JobTags("its MLflow run", training.job_id or "", training.job_run_id or "")
    return None


def is_made_in(version: ModelVersion, run: JobRun, task: TaskRun) -> bool:
    """Whether the version was made while one of the run's tasks ran, or up to ten minutes after."""
    at, start, end = version.created_at, task.start or run.start, task.end or run.end
    if task.is_wrapper or at is None or start is None or end is None:
        return False
    return start <= at <= end + _AFTER_TASK


def is_its_own(version: ModelVersion, tags: JobTags, other: JobRun, *, of_same_job: bool) -> bool:
    """Whether the job run that trained the version registered it too, so that no other did.

    Args:
        version: as the registry has it.
        tags: name the task that trained it.
        other: the job run of that task.
        of_same_job: whether both are runs of one job: then another of its tasks registers as well.
    """
    named = None if of_same_job else tags.task_run_id
    task = next((task for task in other.tasks if task.run_id == named), None)
    start, end = (other.start, other.end) if task is None else (task.start, task.end)
    at = version.created_at
    if at is None or start is None:
        return of_same_job
    return start <= at and (end is None or at < end or (of_same_job and at == end))
