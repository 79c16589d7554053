"""Jobs that the gate starts, on the Databricks Jobs API 2.2 (port `Jobs`)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from champion_gate.adapters.databricks.connection import ME, DatabricksConnection, Operation
from champion_gate.adapters.databricks.errors import VENDOR, unreadable
from champion_gate.adapters.databricks.jobs_api import (
    checked_id,
    job_of,
    read_job,
    read_output,
    read_run,
    run_as,
)
from champion_gate.adapters.databricks.models import Me, Output, Run, RunNow, Task, databricks, word
from champion_gate.adapters.databricks.outcomes import first_end
from champion_gate.adapters.databricks.reading import TaskKind, kind_of, run_result
from champion_gate.domain.job_runs import RunResult
from champion_gate.domain.jobs import Job, RunState, StartedRun, TaskResult
from champion_gate.domain.secrets import cut_words
from champion_gate.domain.together import Together
from champion_gate.errors import InvalidInputError, VendorRefusedError

_TOKEN = re.compile(r"[0-9A-Za-z_-]{1,64}")
_MAX_VALUE = 10_000  # characters of a job parameter (https://docs.databricks.com/aws/en/jobs/job-parameters)
_MAX_OUTPUTS = 100
_MAX_DEPTH = 5
# Databricks keeps 5 MB of each. What a job tells the gate is far shorter, and is held in memory for every task.
_MAX_OUTPUT = 200_000
_MAX_ERROR = 1_000


class DatabricksJobs:
    """The jobs of the one workspace that the gate starts.

    Needs CAN MANAGE RUN on them.
    """

    def __init__(self, connection: DatabricksConnection, together: Together | None = None) -> None:
        """No call is made; None takes threads of its own."""
        self._connection = connection
        self._together = together or Together()
        self._principal: str | None = None

    def principal(self) -> str:
        """Who we are, read once and kept: the connection has one principal as long as it lives."""
        if self._principal is None:
            me = self._connection.begin().get(Me, ME)
            self._principal = databricks.told(me.name or None, f"{ME}.userName")
        return self._principal

    def describe(self, job_id: str) -> Job:
        """A job as it is set now."""
        wanted = checked_id(job_id)
        job = read_job(self._connection.begin(), wanted)
        return Job(
            job_id=wanted,
            name=job.name or "",
            run_as=run_as(job),
            parameters=tuple(each.name for each in job.parameters if each.name),
            queue=job.queue is True,
            url=self._connection.page(f"jobs/{wanted}"),
        )

    def start(self, job_id: str, parameters: Mapping[str, str], token: str) -> StartedRun:
        """Start a run with run-now, which promises one run a token (databricks/sdk/service/jobs.py, JobsAPI.run_now).

        The queue is asked for, as a run beyond the job's limit is skipped without it.
        """
        wanted = checked_id(job_id)
        if not _TOKEN.fullmatch(token):
            raise InvalidInputError("A job is started with a token of 1 to 64 letters and digits.")
        too_long = [name for name, value in parameters.items() if len(value) > _MAX_VALUE]
        if too_long:
            raise InvalidInputError(
                f"The job parameter {too_long[0]!r} has more than {_MAX_VALUE} characters, more than Databricks takes."
            )
        body = {
            "job_id": int(wanted),
            "job_parameters": dict(parameters),
            "idempotency_token": token,
            "queue": {"enabled": True},
        }
        try:
            run_id = self._connection.begin().post(RunNow, "/api/2.2/jobs/run-now", body).run_id
        except VendorRefusedError as error:
            error.of_write = True
            raise
        return StartedRun(run_id, self._connection.page(f"jobs/{wanted}/runs/{run_id}"))

    def read(self, run_id: str, *, with_tasks: bool = True) -> RunState:
        """What has become of a run; once it has ended, what its tasks and those below them left is read together.

        Raises:
            InvalidInputError: `run_id` is no number.
            VendorNotFoundError: no such run; Databricks deletes runs after 60 days.
            VendorRefusedError: also where it has more tasks than we read.
        """
        run = read_run(self._connection.begin(), checked_id(run_id))
        end = first_end(run)
        return RunState(
            run_id=run.run_id,
            job_id=job_of(run),
            parameters=_parameters(run),
            creator=run.creator_user_name,
            started_at=run.start_time,
            ended_at=end.at,
            url=run.run_page_url or "",
            outcome=end.outcome,
            code=end.code,
            message=end.message,
            repaired=end.repaired,
            tasks=self._results(run.run_id, end.tasks) if end.outcome and with_tasks else (),
        )

    def cancel(self, run_id: str) -> None:
        """Ask for a run to be cancelled; it may still be running when this returns."""
        body = {"run_id": int(checked_id(run_id))}
        self._connection.begin().write("POST", "/api/2.2/jobs/runs/cancel", body)

    def _results(self, run_id: str, tasks: tuple[Task, ...]) -> tuple[TaskResult, ...]:
        """What the tasks left, and what the iterations and tasks left that they started, level by level."""
        api, found = self._connection.begin(), list[TaskResult]()
        level = _keyed(tasks)
        for _ in range(_MAX_DEPTH):
            if len(found) + len(level) > _MAX_OUTPUTS:
                raise VendorRefusedError(
                    VENDOR,
                    f"run {run_id} has {len(found) + len(level)} tasks or more, iterations among them; of a job that the gate "
                    f"starts it reads at most {_MAX_OUTPUTS}.",
                    hint="Put what the gate has to hear into a job of its own.",
                )
            read = self._together.each([partial(_left_by, api, task) for task in level.values()])
            below = dict[str, Task]()
            for (key, task), (left, started) in zip(level.items(), read, strict=True):
                found.append(_result(key, task, left))
                below |= _keyed(started, f"{key}/")
            if not below:
                return tuple(found)
            level = below
        raise VendorRefusedError(VENDOR, f"tasks of run {run_id} are nested deeper than {_MAX_DEPTH} levels.")


def _keyed(tasks: Iterable[Task], before: str = "") -> dict[str, Task]:
    """Tasks by their keys; iterations of one task share theirs, and are counted."""
    keyed: dict[str, Task] = {}
    for task in tasks:
        key = f"{before}{task.task_key or ''}"
        keyed[f"{key}[{len(keyed)}]" if key in keyed else key] = task
    return keyed


def _left_by(api: Operation, task: Task) -> tuple[Output, Sequence[Task]]:
    """What a task left, with the iterations or tasks that it started."""
    if not task.run_id:
        return Output(), ()
    kind = kind_of(task)
    if kind is TaskKind.FOR_EACH:
        return Output(), read_run(api, task.run_id).iterations
    left = read_output(api, task.run_id)
    if kind is TaskKind.PLAIN:
        return left, ()
    if left.child_run_id is not None:
        return left, first_end(read_run(api, left.child_run_id)).tasks
    if run_result(task)[0] is RunResult.SUCCEEDED:
        raise unreadable("a run-job task that succeeded, and does not tell which run it started")
    return left, ()


def _parameters(run: Run) -> dict[str, str]:
    """The run's own values, else the job's defaults; what is no text is left out, and so is like nothing asked for."""
    given = {each.name: each.value if each.value is not None else each.default for each in run.job_parameters}
    return {name: value for name, value in given.items() if name and isinstance(value, str)}


def _result(key: str, task: Task, left: Output) -> TaskResult:
    output, error = left.result, left.error
    return TaskResult(
        task_key=key,
        task_run_id=task.run_id or "",
        attempt=task.attempt_number,
        code=word(task.code) or word(task.result_state) or "",
        output=output[:_MAX_OUTPUT] if output else None,
        truncated=left.truncated is True or len(output or "") > _MAX_OUTPUT,
        error=cut_words(error, _MAX_ERROR) if error else None,
    )
