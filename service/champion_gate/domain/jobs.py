"""Jobs that the gate starts itself, and what the Jobs API says of their runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from champion_gate.domain.text import one_line

CLOCKS_DIFFER = timedelta(minutes=5)
"""So much earlier than we planned it a run of ours may have begun, by the vendor's clock."""


@dataclass(frozen=True)
class Principal:
    """As whom a job runs.

    Attributes:
        name: a user name, a service principal's application id or a group's name; None where Databricks should
            have said and did not.
        is_group: whether it is a group of people, whatever its name looks like.
    """

    name: str | None
    is_group: bool = False


@dataclass(frozen=True)
class Job:
    """A job as it is set now.

    Attributes:
        run_as: as whom it runs; two where its settings and what Databricks shows differ.
        parameters: the names of the parameters that it defines; what it makes of others is documented nowhere.
        queue: whether it is set to queue runs beyond its limit. `Jobs.start` asks for that whatever is set.
        url: its page, for people.
    """

    job_id: str
    name: str
    run_as: tuple[Principal, ...]
    parameters: tuple[str, ...]
    queue: bool
    url: str


@dataclass(frozen=True)
class StartedRun:
    """A run that a call of ours started, or had started before."""

    run_id: str
    url: str


class JobOutcome(StrEnum):
    """How a run ended.

    SUCCEEDED: with the code SUCCESS, and nothing else.
    FAILED: it ran to its end, and a task failed: the job said no.
    COULD_NOT_RUN: everything else, also what we have not heard of: skipped, cancelled, timed out, no compute, …
    """

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    COULD_NOT_RUN = "could_not_run"


@dataclass(frozen=True)
class TaskResult:
    """What a task of an ended run left; its latest attempt.

    Attributes:
        task_key: unique in its run; below another task, both keys with a stroke between.
        task_run_id: empty where it never got one.
        code: the vendor's code for how it ended.
        output: what a notebook said when it ended (`dbutils.notebook.exit`); None for other kinds of task, and
            where it said nothing.
        truncated: the output is not whole, and so must not be read.
        error: the vendor's words for why it failed, or why there is no output.
    """

    task_key: str
    task_run_id: str
    attempt: int
    code: str
    output: str | None = None
    truncated: bool = False
    error: str | None = None


@dataclass(frozen=True)
class RunState:
    """A job run, as far as whoever started it has to know.

    Attributes:
        job_id: the job that it is a run of; a token that was used before may have led to another's.
        parameters: the values that it was given, as Databricks has them.
        creator: who started it; None where Databricks does not tell.
        started_at: None while it is queued.
        outcome: how it ended at first, whatever a repair came to later; None while it goes on.
        code: the vendor's code for the outcome, or for the state in which it is.
        message: the vendor's words for it; may be empty.
        repaired: whether it was run again, in part or whole, after its first end.
        tasks: what the tasks left until the first end; empty while it goes on, and where nobody wants them. Behind
            them come the iterations of for-each tasks and the tasks of job runs that it started.
    """

    run_id: str
    job_id: str
    parameters: Mapping[str, str]
    creator: str | None
    started_at: datetime | None
    ended_at: datetime | None
    url: str
    outcome: JobOutcome | None
    code: str
    message: str
    repaired: bool
    tasks: tuple[TaskResult, ...]


def not_ours_because(
    run: RunState, job_id: str, given: Mapping[str, str], *, we: str, planned_at: datetime
) -> str | None:
    """Why this is not the run that we started after `planned_at`; None if it is. It may have more parameters than `given`."""
    return next(_contradictions(run, job_id, given, we, planned_at), None)


def _contradictions(
    run: RunState, job_id: str, given: Mapping[str, str], we: str, planned_at: datetime
) -> Iterator[str]:
    what = f"run {run.run_id}"
    if run.job_id != job_id:
        yield f"{what} is one of job {run.job_id}, not of job {job_id}."
    for name, value in given.items():
        if run.parameters.get(name) != value:
            yield f"{what} was given another {name} than {value!r}."
    if not run.creator:
        yield f"{what} does not tell who started it."
    elif run.creator.casefold() != we.casefold():
        yield f"{what} was started by {one_line(run.creator)}, and not by {one_line(we)}, who we are."
    has_run = run.outcome in {JobOutcome.SUCCEEDED, JobOutcome.FAILED}
    if run.started_at is None and has_run:
        yield f"{what} does not tell when it began."
    if run.started_at is not None and run.started_at < planned_at - CLOCKS_DIFFER:
        yield f"{what} began before this was planned."
