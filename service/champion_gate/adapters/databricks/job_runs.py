"""JobRuns on the Databricks Jobs API 2.2: re-reads a job run with all that hangs below it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from champion_gate.adapters.databricks.connection import (
    ME,
    DatabricksConnection,
    Operation,
    connect,
)
from champion_gate.adapters.databricks.errors import VENDOR
from champion_gate.adapters.databricks.jobs_api import (
    checked_id,
    job_of,
    read_job,
    read_output,
    read_run,
    run_as,
)
from champion_gate.adapters.databricks.models import JobList, Run, RunList, databricks
from champion_gate.adapters.databricks.reading import (
    Attempt,
    Repairs,
    TaskKind,
    attempts_of,
    latest_successes,
    repairs_of,
    retried_iterations,
    run_result,
    task_output,
    tells_of_versions,
)
from champion_gate.domain.job_runs import (
    GROUP_ROLE,
    EndedRun,
    JobRun,
    OpenRun,
    RunResult,
    TaskOutput,
    TaskRun,
    Trainer,
)
from champion_gate.domain.together import Together
from champion_gate.errors import VendorError, VendorNotFoundError, VendorRefusedError

__all__ = ["DatabricksConnection", "DatabricksJobRuns", "connect"]

_log = logging.getLogger(__name__)

_RUN_AS = "job run-as"
_RUNS_PER_PAGE = 25  # the most that the Jobs API lists at a time
_JOBS_PER_PAGE = 100
# What one run may make us read. More is refused: a part of a run proves nothing.
_MAX_DEPTH = 5
_MAX_JOB_RUNS = 50
_MAX_OUTPUTS = 300
_ENDED_WELL = frozenset({RunResult.SUCCEEDED, RunResult.SUCCEEDED_WITH_FAILURES})


class DatabricksJobRuns:
    """The Jobs API of the one workspace (port `JobRuns`).

    Needs CAN_VIEW on the watched jobs and on those that they start by run-job tasks.
    """

    def __init__(self, connection: DatabricksConnection, together: Together | None = None) -> None:
        """No call is made; None takes threads of its own."""
        self._connection = connection
        self._together = together or Together()

    def workspace_id(self) -> str | None:
        """The workspace's id: from DATABRICKS_WORKSPACE_ID, from discovery, or from the answers to our calls.

        None where none of them tells; that stops nothing, for what decides is read from this workspace anyway.

        Raises:
            VendorRefusedError: another workspace answers than DATABRICKS_WORKSPACE_ID says.
        """
        if self._connection.workspace_id is None:
            try:
                self._connection.begin().read(ME)
            except VendorError as error:
                _log.warning("the workspace's id is not known, as it could not be asked for: %s", error)
        known, heard = self._connection.workspace_id, self._connection.heard_workspace_id
        if known and heard and known != heard:
            raise VendorRefusedError(
                VENDOR,
                f"workspace {heard} answers our calls, not {known}, as DATABRICKS_WORKSPACE_ID or discovery say.",
                hint="Correct DATABRICKS_HOST or DATABRICKS_WORKSPACE_ID.",
                concerns_all=True,
            )
        return known

    def get_run(self, run_id: str, *, probably_of: str = "") -> JobRun:
        """Re-read a job run; given a task run's id, the job run that it belongs to.

        For-each iterations and the job runs that run-job tasks started are read only once the run ended well.

        Args:
            run_id: decimal string.
            probably_of: the job of which it is said to be a run; what is read of it counts only if it is.

        Raises:
            InvalidInputError: `run_id` is no number.
            VendorNotFoundError: no such run; Databricks deletes runs after 60 days.
            VendorRefusedError: also where more hangs below the run than we read.
        """
        tree, wanted = _RunTree(self._connection.begin()), checked_id(run_id)
        if probably_of:
            read_first, tree.ahead[probably_of] = self._together.outcomes(
                lambda: read_run(tree.api, wanted), lambda: _read_named(tree.api, checked_id(probably_of))
            )
            run = read_first()
        else:
            run = read_run(tree.api, wanted)
        if run.job_run_id not in {None, run.run_id}:
            run = read_run(tree.api, run.job_run_id or "")
        result, detail = run_result(run)
        repairs = repairs_of(run)
        tree.add_job_run(run, repairs, depth=0 if result in _ENDED_WELL else _MAX_DEPTH + 1)
        job_id = job_of(run)
        ends = _ends(run, repairs)
        return JobRun(
            run_id=run.run_id,
            job_id=job_id,
            job_name=tree.jobs[job_id].name,
            workspace_id=self._connection.workspace_id,
            result=result,
            result_detail=detail,
            tasks=tuple(tree.tasks.values()),
            earlier_task_run_ids=frozenset(tree.earlier - tree.tasks.keys()),
            trainers=tuple(dict.fromkeys(tree.trainers)),
            start=run.start_time,
            end=max(ends) if ends and result is not RunResult.RUNNING else None,
            latest_repair=repairs.latest,
            url=run.run_page_url or "",
            later_attempts=tree.later_attempts(),
            started_by=run.started_by,
            tells_of_versions=tells_of_versions(run.job_parameters),
        )

    def task_outputs(self, run: JobRun) -> tuple[TaskOutput, ...]:
        """Read what each of `run.tasks` said when it ended (`dbutils.notebook.exit`), one call a task, together.

        Tasks that are no notebooks, or say nothing of champion_gate, are left out; one whose word is not of
        the documented form too, with a warning in the log that says why.

        Raises:
            VendorRefusedError: the run has more tasks than we ask.
        """
        if len(run.tasks) > _MAX_OUTPUTS:
            raise VendorRefusedError(
                VENDOR,
                f"run {run.run_id} has {len(run.tasks)} tasks; we read the outputs of at most {_MAX_OUTPUTS}.",
                hint="Let the job tag its version and set `version: tag` in gates.yaml.",
            )
        api = self._connection.begin()
        ids = [task.run_id for task in run.tasks]
        read = self._together.each([partial(read_output, api, task_run_id) for task_run_id in ids])
        outputs = []
        for task_run_id, left in zip(ids, read, strict=True):
            output, problem = task_output(task_run_id, left)
            if problem:
                _log.warning("the output of task run %s does not count: %s", task_run_id, problem)
            if output:
                outputs.append(output)
        return tuple(outputs)

    def list_ended_runs(self, job_id: str, since: datetime) -> tuple[EndedRun, ...]:
        """The job's ended runs that *started* at `since` or later, newest first.

        Databricks filters by start: to see all that ended after some time, the caller looks back further by
        the longest that a run may take. A repair does not change the start, but the end.
        """
        query = {
            "job_id": checked_id(job_id),
            "completed_only": True,
            "limit": _RUNS_PER_PAGE,
            "start_time_from": int(since.timestamp() * 1000),
        }
        pages = self._connection.begin().pages(RunList, "/api/2.2/jobs/runs/list", query)
        return tuple(
            EndedRun(
                run_id=run.run_id,
                job_id=job_of(run),
                job_name=run.run_name or "",
                workspace_id=self._connection.workspace_id or "",
                end=max(ends),
            )
            for page in pages
            for run in page.runs
            if (ends := _ends(run, repairs_of(run)))
        )

    def list_open_runs(self, job_id: str) -> tuple[OpenRun, ...]:
        """The job's runs that have not ended, newest first."""
        query = {"job_id": checked_id(job_id), "active_only": True, "limit": _RUNS_PER_PAGE}
        pages = self._connection.begin().pages(RunList, "/api/2.2/jobs/runs/list", query)
        return tuple(OpenRun(run.run_id, run.start_time) for page in pages for run in page.runs)

    def jobs_named(self, name: str) -> tuple[str, ...]:
        """The ids of all jobs that bear exactly this name; Databricks' own filter ignores case."""
        if not name:
            return ()
        query = {"name": name, "limit": _JOBS_PER_PAGE}
        return tuple(
            databricks.told(job.job_id, "jobs/list.jobs.job_id")
            for page in self._connection.begin().pages(JobList, "/api/2.2/jobs/list", query)
            for job in page.jobs
            if job.name == name
        )


@dataclass(frozen=True)
class _Job:
    name: str
    run_as: tuple[Trainer, ...]


@dataclass
class _RunTree:
    """What is gathered while walking from a job run down to its iterations and child job runs.

    Attributes:
        ahead: job id -> what reading that job came to, where it was read before it was asked for.
    """

    api: Operation
    ahead: dict[str, Callable[[], _Job]] = field(default_factory=dict)
    tasks: dict[str, TaskRun] = field(default_factory=dict)
    earlier: set[str] = field(default_factory=set)
    later: dict[str, tuple[str, ...]] = field(default_factory=dict)
    trainers: list[Trainer] = field(default_factory=list)
    jobs: dict[str, _Job] = field(default_factory=dict)
    job_runs: set[str] = field(default_factory=set)

    def add_job_run(self, run: Run, repairs: Repairs, *, depth: int) -> None:
        """Take in a job run; with a depth beyond the limit, without what hangs below its tasks."""
        job_id = job_of(run)
        if run.run_id in self.job_runs:
            return
        if len(self.job_runs) >= _MAX_JOB_RUNS:
            raise VendorRefusedError(
                VENDOR, f"the run started more than {_MAX_JOB_RUNS} job runs, more than we read."
            )
        self.job_runs.add(run.run_id)
        job = self._job(job_id)
        self.trainers.append(Trainer("job run creator", run.creator_user_name))
        self.trainers += job.run_as
        latest, earlier = latest_successes(attempts_of(run.tasks, repairs))
        self.earlier |= earlier.keys() | repairs.generation.keys()
        self.later |= {attempt: (by,) for attempt, by in earlier.items()}
        self._add(latest, job_id, depth)

    def later_attempts(self) -> dict[str, tuple[str, ...]]:
        """Earlier attempts, with those that count and may have gone on with what they began."""
        counting = {
            earlier: tuple(by for by in later if by in self.tasks) for earlier, later in self.later.items()
        }
        return {earlier: later for earlier, later in counting.items() if later}

    def _add(self, attempts: Iterable[Attempt], job_id: str, depth: int) -> None:
        for attempt in attempts:
            self.tasks[attempt.run_id] = TaskRun(
                attempt.run_id,
                job_id,
                attempt.task_key,
                attempt.number,
                start=attempt.start,
                end=attempt.end,
                is_wrapper=attempt.kind is not TaskKind.PLAIN,
            )
            if attempt.kind is TaskKind.PLAIN or depth > _MAX_DEPTH:
                continue
            if depth == _MAX_DEPTH:
                raise VendorRefusedError(
                    VENDOR, f"tasks are nested deeper than {_MAX_DEPTH} levels, deeper than we read."
                )
            if attempt.kind is TaskKind.FOR_EACH:
                self._add_iterations(attempt, job_id, depth + 1)
            else:
                self._add_child(attempt, depth + 1)

    def _add_iterations(self, wrapper: Attempt, job_id: str, depth: int) -> None:
        # Iterations share one task key, so each that succeeded counts: two that registered are ambiguous.
        iterations = attempts_of(read_run(self.api, wrapper.run_id).iterations)
        self.earlier |= {one.run_id for one in iterations if one.run_id and not one.succeeded}
        self.later |= retried_iterations(iterations)
        self._add([one for one in iterations if one.succeeded], job_id, depth)

    def _add_child(self, wrapper: Attempt, depth: int) -> None:
        child = read_output(self.api, wrapper.run_id).child_run_id
        if child is None:
            # Whoever trained there is unknown, and must not go unnoticed.
            self.trainers += [Trainer("job run creator", None), Trainer(_RUN_AS, None)]
            return
        run = read_run(self.api, child)
        self.add_job_run(run, repairs_of(run), depth=depth)

    def _job(self, job_id: str) -> _Job:
        if job_id not in self.jobs:
            ahead = self.ahead.get(job_id)
            self.jobs[job_id] = _read_named(self.api, job_id) if ahead is None else ahead()
        return self.jobs[job_id]


def _read_named(api: Operation, job_id: str) -> _Job:
    """The job's name and the principals that it runs as now; neither is told where the job is gone.

    A run's own name is not taken instead: whoever submits a run may choose it.
    """
    try:
        job = read_job(api, job_id)
    except VendorNotFoundError:
        return _Job("", (Trainer(_RUN_AS, None),))
    people = [Trainer(GROUP_ROLE if each.is_group else _RUN_AS, each.name) for each in run_as(job)]
    return _Job(job.name or "", tuple(people))


def _ends(run: Run, repairs: Repairs) -> list[datetime]:
    return [*repairs.ends, *([run.end_time] if run.end_time else [])]
