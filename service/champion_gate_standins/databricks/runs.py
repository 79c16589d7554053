"""The Databricks stand-in's jobs and runs, and how the Jobs API 2.2 shows them.

Fields as in https://docs.databricks.com/api/workspace/jobs/getrun and databricks/sdk/service/jobs.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_LEGACY_RESULTS = {
    "SUCCESS": "SUCCESS",
    "SUCCESS_WITH_FAILURES": "SUCCESS_WITH_FAILURES",
    "USER_CANCELED": "CANCELED",
    "CANCELED": "TIMEDOUT",  # by Databricks, such as where a run took longer than it may
    "MAX_CONCURRENT_RUNS_EXCEEDED": "MAXIMUM_CONCURRENT_RUNS_REACHED",
    "MAX_JOB_QUEUE_SIZE_EXCEEDED": "MAXIMUM_CONCURRENT_RUNS_REACHED",
    "SKIPPED": "EXCLUDED",
}
_LEGACY_ENDS = {
    "INTERNAL_ERROR": "INTERNAL_ERROR",
    "MAX_CONCURRENT_RUNS_EXCEEDED": "SKIPPED",
    "MAX_JOB_QUEUE_SIZE_EXCEEDED": "SKIPPED",
}
_LEGACY_STATES = {"WAITING": "WAITING_FOR_RETRY"}
_TYPES = {
    "SUCCESS": "SUCCESS",
    "SUCCESS_WITH_FAILURES": "SUCCESS",
    "INTERNAL_ERROR": "INTERNAL_ERROR",
    "CLOUD_FAILURE": "CLOUD_FAILURE",
}


@dataclass(frozen=True)
class Hook:
    """A notification destination: a webhook with Basic auth.

    Attributes:
        ids_as_text: whether ids are sent as JSON strings, as Databricks' documentation shows them, or as
            numbers, as they have been seen.
        per_task: whether it is attached to the job's tasks too.
    """

    url: str
    username: str
    password: str = field(repr=False)
    ids_as_text: bool = False
    per_task: bool = False


@dataclass
class Job:
    """A job; `run_as` is None where Databricks would leave it out.

    Attributes:
        settings_run_as: its `settings.run_as`, such as {"group_name": …}; left out if None.
        parameters: the job parameters that it defines: name -> default.
        queue: its `settings.queue.enabled`; left out if None.
        most_runs: its `settings.max_concurrent_runs`.
        more: further keys of its `settings`, such as `webhook_notifications`, `deployment` or `tags`.
    """

    job_id: int
    name: str
    creator: str | None
    run_as: str | None
    hook: Hook | None = None
    settings_run_as: Mapping[str, str] | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    queue: bool | None = None
    most_runs: int = 1
    more: Mapping[str, Any] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        """As `jobs/get` and `jobs/list` show it."""
        settings = {
            "name": self.name,
            "max_concurrent_runs": self.most_runs,
            "format": "MULTI_TASK",
            "run_as": None if self.settings_run_as is None else dict(self.settings_run_as),
            "queue": None if self.queue is None else {"enabled": self.queue},
            "parameters": [{"name": name, "default": to} for name, to in self.parameters.items()] or None,
            **self.more,
        }
        return _present(
            {
                "job_id": self.job_id,
                "creator_user_name": self.creator,
                "run_as_user_name": self.run_as,
                "settings": _present(settings),
                "created_time": 1_700_000_000_000,
            }
        )


@dataclass
class Task:
    """One attempt of a task or of a for-each iteration.

    Attributes:
        kind: "notebook", "spark_python", "for_each" or "run_job".
        code: termination code; None while it runs.
        output: what the notebook said when it ended.
        error: why it failed, as `get-output` shows it.
        child_run_id: the job run that a run-job task started.
        iterations: attempts of iterations, if it is a for-each task.
        cluster_id: where it ran; None for serverless compute.
    """

    run_id: int
    key: str
    kind: str = "notebook"
    attempt: int = 0
    start: int = 0
    end: int = 0
    code: str | None = None
    output: str | None = None
    truncated: bool = False
    error: str | None = None
    child_run_id: int | None = None
    child_job_id: int | None = None
    iterations: list[Task] = field(default_factory=list)
    cluster_id: str | None = None

    def shown(self) -> dict[str, Any]:
        """As an item of `tasks` or `iterations`."""
        kinds: dict[str, dict[str, Any]] = {
            "notebook": {"notebook_task": {"notebook_path": f"/Jobs/{self.key}", "source": "WORKSPACE"}},
            "spark_python": {"spark_python_task": {"python_file": f"/Jobs/{self.key}.py"}},
            "for_each": {
                "for_each_task": {
                    "inputs": json.dumps(list(range(len(self.iterations)))),
                    "task": {"task_key": f"{self.key}_iteration"},
                }
            },
            "run_job": {"run_job_task": {"job_id": self.child_job_id or 0}},
        }
        return {
            "run_id": self.run_id,
            "task_key": self.key,
            "attempt_number": self.attempt,
            "start_time": self.start,
            "end_time": self.end,
            **kinds[self.kind],
            **({} if self.cluster_id is None else {"cluster_instance": {"cluster_id": self.cluster_id}}),
            **_state(self.code, ""),
        }


@dataclass
class Repair:
    """The original run or a repair of it."""

    repair_id: int | None
    start: int
    task_run_ids: list[int]
    end: int = 0
    code: str | None = None

    def shown(self) -> dict[str, Any]:
        """As an item of `repair_history`."""
        return _present(
            {
                "id": self.repair_id,
                "type": "ORIGINAL" if self.repair_id is None else "REPAIR",
                "start_time": self.start,
                "end_time": self.end,
                "task_run_ids": list(self.task_run_ids),
                **_state(self.code, ""),
            }
        )


@dataclass
class JobRun:
    """A job run; `code` is None while it runs.

    Attributes:
        parameters: the values of its job parameters.
        state: its life-cycle state while it goes on.
    """

    run_id: int
    job: Job
    creator: str | None
    start: int
    tasks: list[Task]
    repairs: list[Repair]
    end: int = 0
    code: str | None = None
    message: str = ""
    parent_task_run_id: int | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    state: str = "RUNNING"

    def latest(self, task_key: str) -> Task:
        """The task's latest attempt."""
        return next(task for task in reversed(self.tasks) if task.key == task_key)

    def page(self, base: str) -> str:
        """The run's page for people."""
        return f"{base}/#job/{self.job.job_id}/run/{self.run_id}"

    def head(self, base: str) -> dict[str, Any]:
        """What `runs/get` and `runs/list` have in common."""
        return _present(
            {
                "run_id": self.run_id,
                "job_id": self.job.job_id,
                "job_run_id": self.run_id,
                "number_in_job": self.run_id,
                "original_attempt_run_id": self.run_id,
                "run_name": self.job.name,
                "creator_user_name": self.creator,
                "run_page_url": self.page(base),
                "run_type": "JOB_RUN",
                "trigger": "RUN_JOB_TASK" if self.parent_task_run_id else "ONE_TIME",
                "trigger_info": {"run_id": self.parent_task_run_id} if self.parent_task_run_id else None,
                "start_time": self.start,
                "end_time": self.end,
                "job_parameters": self._parameters() or None,
                **_state(self.code, self.message, self.state),
            }
        )

    def _parameters(self) -> list[dict[str, str]]:
        defaults = self.job.parameters
        return [
            {"name": name, "default": defaults.get(name, ""), "value": value}
            for name, value in self.parameters.items()
        ]

    def shown(self, base: str, page: int, size: int, *, history: bool) -> dict[str, Any]:
        """As `runs/get` shows one page of it.

        Args:
            base: the workspace's URL.
            page: from 0.
            size: items of a list on one page.
            history: whether the repair history was asked for.
        """
        part = slice(page * size, (page + 1) * size)
        shown = {**self.head(base), "tasks": [task.shown() for task in self.tasks[part]]}
        if history:
            shown["repair_history"] = [repair.shown() for repair in self.repairs[part]]
        if len(self.tasks) > part.stop or (history and len(self.repairs) > part.stop):
            shown["next_page_token"] = str(page + 1)
        return shown

    def shown_task(self, task: Task, base: str, page: int, size: int) -> dict[str, Any]:
        """As `runs/get` shows one page of one of its task runs, with the iterations of a for-each task."""
        part = slice(page * size, (page + 1) * size)
        shown = {
            **self.head(base),
            "run_id": task.run_id,
            "number_in_job": task.run_id,
            "original_attempt_run_id": task.run_id,
            "run_name": task.key,
            "start_time": task.start,
            "end_time": task.end,
            **_state(task.code, ""),
            "tasks": [task.shown()],
        }
        if task.iterations:
            shown["iterations"] = [one.shown() for one in task.iterations[part]]
        if len(task.iterations) > part.stop:
            shown["next_page_token"] = str(page + 1)
        return shown


def _state(code: str | None, message: str, going_on: str = "RUNNING") -> dict[str, Any]:
    """`status`, and the deprecated `state` beside it."""
    if code is None:
        before = {"life_cycle_state": _LEGACY_STATES.get(going_on, going_on), "state_message": message}
        return {"status": {"state": going_on}, "state": before}
    ending = {"code": code, "type": _TYPES.get(code, "CLIENT_ERROR"), "message": message}
    return {
        "status": {"state": "TERMINATED", "termination_details": ending},
        "state": {
            "life_cycle_state": _LEGACY_ENDS.get(code, "TERMINATED"),
            "result_state": _LEGACY_RESULTS.get(code, "FAILED"),
            "state_message": message,
            "user_cancelled_or_timedout": code in {"USER_CANCELED", "CANCELED"},
        },
    }


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    """Without the fields that have no value, as Databricks leaves them out."""
    return {key: value for key, value in fields.items() if value is not None}
