"""Jobs that the gate starts, on the Databricks Jobs API 2.2 (port `Jobs`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial

from champion_gate.adapters.databricks.connection import DatabricksConnection
from champion_gate.adapters.databricks.errors import VENDOR
from champion_gate.adapters.databricks.jobs_api import (
    checked_id,
    job_of,
    read_job,
    read_output,
    read_run,
    run_as,
)
from champion_gate.adapters.databricks.models import Output, Run, RunNow, Task, word
from champion_gate.adapters.databricks.outcomes import first_end
from champion_gate.domain.jobs import Job, RunState, StartedRun, TaskResult
from champion_gate.domain.together import Together
from champion_gate.errors import InvalidInputError, VendorRefusedError

_TOKEN = re.compile(r"[0-9A-Za-z_-]{1,64}")
_MAX_VALUE = 10_000  # characters of a job parameter (https://docs.databricks.com/aws/en/jobs/job-parameters)
_MAX_OUTPUTS = 100
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
        run_id = self._connection.begin().post(RunNow, "/api/2.2/jobs/run-now", body).run_id
        return StartedRun(run_id, self._connection.page(f"jobs/{wanted}/runs/{run_id}"))

    def read(self, run_id: str) -> RunState:
        """What has become of a run; the outputs of its tasks are read together once it has ended.

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
            tasks=self._results(run.run_id, end.tasks) if end.outcome else (),
        )

    def cancel(self, run_id: str) -> None:
        """Ask for a run to be cancelled; it may still be running when this returns."""
        body = {"run_id": int(checked_id(run_id))}
        self._connection.begin().write("POST", "/api/2.2/jobs/runs/cancel", body)

    def _results(self, run_id: str, tasks: tuple[Task, ...]) -> tuple[TaskResult, ...]:
        if len(tasks) > _MAX_OUTPUTS:
            raise VendorRefusedError(
                VENDOR,
                f"run {run_id} has {len(tasks)} tasks; of a job that the gate starts it reads at most {_MAX_OUTPUTS}.",
                hint="Put what the gate has to hear into a job of its own.",
            )
        api = self._connection.begin()
        ids = [task.run_id for task in tasks if task.run_id]
        read = dict(
            zip(ids, self._together.each([partial(read_output, api, each) for each in ids]), strict=True)
        )
        return tuple(_result(task, read.get(task.run_id or "", Output())) for task in tasks)


def _parameters(run: Run) -> dict[str, str]:
    """The run's own values, else the job's defaults; what is no text is left out, and so is like nothing asked for."""
    given = {each.name: each.value if each.value is not None else each.default for each in run.job_parameters}
    return {name: value for name, value in given.items() if name and isinstance(value, str)}


def _result(task: Task, left: Output) -> TaskResult:
    output, error = left.result, left.error
    return TaskResult(
        task_key=task.task_key or "",
        task_run_id=task.run_id or "",
        attempt=task.attempt_number,
        code=word(task.code) or word(task.result_state) or "",
        output=output[:_MAX_OUTPUT] if output else None,
        truncated=left.truncated is True or len(output or "") > _MAX_OUTPUT,
        error=error[:_MAX_ERROR] if error else None,
    )
