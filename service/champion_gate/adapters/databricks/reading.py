"""What the Jobs API's answers say of a run: result, attempts, repairs, outputs. No calls are made here.

Values: https://docs.databricks.com/api/workspace/jobs/getrun and databricks/sdk/service/jobs.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto

from champion_gate.adapters.databricks.errors import unreadable
from champion_gate.adapters.databricks.models import (
    Ending,
    Output,
    Parameter,
    Run,
    Task,
    databricks,
)
from champion_gate.domain.job_runs import RunResult, TaskOutput
from champion_gate.domain.names import check_version
from champion_gate.domain.secrets import cut_words
from champion_gate.errors import InvalidNameError

_MAX_DETAIL = 300
_NOT_STARTED = datetime.fromtimestamp(0, UTC)
_NOT_ENDED = frozenset({"BLOCKED", "PENDING", "QUEUED", "RUNNING", "TERMINATING", "WAITING"})
_NOT_ENDED_BEFORE = _NOT_ENDED - {"WAITING"} | {"WAITING_FOR_RETRY"}
_UNSUCCESSFUL_CODES = frozenset(
    {
        "BREAKING_CHANGE",
        "BUDGET_POLICY_LIMIT_EXCEEDED",
        "CANCELED",
        "CLOUD_FAILURE",
        "CLUSTER_ERROR",
        "CLUSTER_REQUEST_LIMIT_EXCEEDED",
        "CLUSTER_TERMINATED_BY_USER",
        "DISABLED",
        "DRIVER_ERROR",
        "FEATURE_DISABLED",
        "INTERNAL_ERROR",
        "INVALID_CLUSTER_REQUEST",
        "INVALID_RUN_CONFIGURATION",
        "LIBRARY_INSTALLATION_ERROR",
        "MAX_CONCURRENT_RUNS_EXCEEDED",
        "MAX_JOB_QUEUE_SIZE_EXCEEDED",
        "MAX_SPARK_CONTEXTS_EXCEEDED",
        "REPOSITORY_CHECKOUT_FAILED",
        "RESOURCE_NOT_FOUND",
        "RUN_EXECUTION_ERROR",
        "SKIPPED",
        "STORAGE_ACCESS_ERROR",
        "UNAUTHORIZED_ERROR",
        "USER_CANCELED",
        "WORKSPACE_RUN_LIMIT_EXCEEDED",
    }
)
_UNSUCCESSFUL_RESULTS = frozenset(
    {
        "CANCELED",
        "DISABLED",
        "EXCLUDED",
        "FAILED",
        "MAXIMUM_CONCURRENT_RUNS_REACHED",
        "TIMEDOUT",
        "UPSTREAM_CANCELED",
        "UPSTREAM_FAILED",
    }
)
_SUCCESSES = {
    "SUCCESS": RunResult.SUCCEEDED,
    "SUCCESS_WITH_FAILURES": RunResult.SUCCEEDED_WITH_FAILURES,
}


def run_result(of: Ending) -> tuple[RunResult, str]:
    """How a job run or task run ended, and the vendor's words for it.

    Args:
        of: a run or task. `state`, which is deprecated, is believed only where `status` is absent.
    """
    if of.status is None:
        return _result_before_status(of)
    state = of.status_state
    if state != "TERMINATED":
        known = isinstance(state, str) and state in _NOT_ENDED
        return RunResult.RUNNING if known else RunResult.UNKNOWN, _detail(state)
    if of.code is None:
        return RunResult.UNKNOWN, "TERMINATED without a reason"
    result = _result_of(of.code, _UNSUCCESSFUL_CODES)
    if result in _SUCCESSES.values() and of.kind not in (None, "SUCCESS"):
        return RunResult.UNKNOWN, _detail(f"{of.code}, yet of type {of.kind}")
    return result, _detail(of.code, of.message)


def _result_before_status(of: Ending) -> tuple[RunResult, str]:
    life, outcome = of.life_cycle_state, of.result_state
    detail = _detail(outcome or life, of.state_message)
    if life == "TERMINATED":
        return _result_of(outcome, _UNSUCCESSFUL_RESULTS), detail
    if life in ("SKIPPED", "INTERNAL_ERROR"):
        return RunResult.UNSUCCESSFUL, detail
    known = isinstance(life, str) and life in _NOT_ENDED_BEFORE
    return RunResult.RUNNING if known else RunResult.UNKNOWN, detail


def _result_of(code: object, unsuccessful: frozenset[str]) -> RunResult:
    if not isinstance(code, str):
        return RunResult.UNKNOWN
    if code in unsuccessful:
        return RunResult.UNSUCCESSFUL
    return _SUCCESSES.get(code, RunResult.UNKNOWN)


def _detail(code: object, message: str | None = None) -> str:
    return cut_words(f"{code}: {message}" if message else str(code or "no result"), _MAX_DETAIL)


def tells_of_versions(parameters: Iterable[Parameter]) -> bool:
    """Whether a run's parameter lists updates of models: the value of `{{job.trigger.model.updates}}`.

    That is a JSON list of `{"full_name", "version", "alias_name"}` (docs.databricks.com, "Trigger jobs when models are updated").
    """
    return any(_lists_models(each.value if each.value is not None else each.default) for each in parameters)


def _lists_models(value: object) -> bool:
    if not isinstance(value, str) or not value.lstrip().startswith("["):
        return False
    try:
        listed = json.loads(value)
    except (ValueError, RecursionError):
        return False
    return any(isinstance(each, dict) and "full_name" in each for each in listed)


class TaskKind(Enum):
    """What hangs below a task."""

    PLAIN = auto()
    FOR_EACH = auto()
    RUN_JOB = auto()


@dataclass(frozen=True)
class Attempt:
    """One attempt of a task.

    Attributes:
        run_id: empty where it never got one.
        order: later attempts compare higher.
    """

    run_id: str
    task_key: str
    number: int
    kind: TaskKind
    result: RunResult
    order: tuple[int, datetime, int, int]
    start: datetime | None = None
    end: datetime | None = None

    @property
    def succeeded(self) -> bool:
        """Whether it ended well; a wrapper may have done so in part."""
        return self.result in _SUCCESSES.values()


@dataclass(frozen=True)
class Repairs:
    """A run's repair history.

    Attributes:
        latest: id of the latest repair; None if there was none.
        generation: task run id -> 0 for the original run, 1 for the first repair, …
        ends: when the original run and each repair ended, as far as they have.
    """

    latest: str | None
    generation: Mapping[str, int]
    ends: tuple[datetime, ...]


def repairs_of(run: Run) -> Repairs:
    """Read `repair_history`; task run ids of a repair are those that ran in it, not those that were kept."""
    items = sorted(
        run.repair_history, key=lambda item: (item.type != "ORIGINAL", item.start_time or _NOT_STARTED)
    )
    generation = {run_id: index for index, item in enumerate(items) for run_id in item.task_run_ids}
    repaired = [item for item in items if item.type != "ORIGINAL"]
    latest = databricks.told(repaired[-1].id, "repair_history.id") if repaired else None
    return Repairs(latest, generation, tuple(item.end_time for item in items if item.end_time))


def attempts_of(tasks: Iterable[Task], repairs: Repairs | None = None) -> list[Attempt]:
    """Read `tasks` or `iterations`.

    Attempts are ordered by repair, then start, then attempt number: a task that has not started, or never
    will, has no start time, and whether a repair goes on counting attempts is not documented.
    """
    attempts = []
    for task in tasks:
        result, _ = run_result(task)
        run_id, number = task.run_id or "", task.attempt_number
        generation = repairs.generation.get(run_id, 0) if repairs else 0
        attempt = Attempt(
            run_id=run_id,
            task_key=task.task_key or "",
            number=number,
            kind=kind_of(task),
            result=result,
            order=(generation, task.start_time or _NOT_STARTED, number, int(run_id or 0)),
            start=task.start_time,
            end=task.end_time,
        )
        if attempt.succeeded and not run_id:
            raise unreadable("a task that succeeded without a run id")
        attempts.append(attempt)
    return attempts


def latest_successes(attempts: Iterable[Attempt]) -> tuple[list[Attempt], Mapping[str, str]]:
    """Split into the latest attempts that succeeded, and the run ids of the attempts before the latest.

    Where a task's latest attempt failed, an older success was replaced on purpose and does not count.

    Returns:
        The attempts that count; earlier attempt's run id -> the latest attempt's.
    """
    latest: dict[str, Attempt] = {}
    every = list(attempts)
    for attempt in every:
        known = latest.get(attempt.task_key)
        if known is None or attempt.order > known.order:
            latest[attempt.task_key] = attempt
    last_ids = {attempt.run_id for attempt in latest.values()}
    earlier = {
        attempt.run_id: latest[attempt.task_key].run_id
        for attempt in every
        if attempt.run_id and attempt.run_id not in last_ids
    }
    return [attempt for attempt in latest.values() if attempt.succeeded], earlier


def retried_iterations(iterations: Iterable[Attempt]) -> Mapping[str, tuple[str, ...]]:
    """Iterations that did not succeed, each with those that may be its retry.

    Which iteration a retry belongs to is not told: they share one task key. So any counts that succeeded, is a
    later attempt, and started after this one had ended.
    """
    every = list(iterations)
    return {
        failed.run_id: tuple(
            one.run_id
            for one in every
            if one.succeeded
            and one.number > failed.number
            and one.start is not None
            and one.start >= failed.end
        )
        for failed in every
        if failed.run_id and not failed.succeeded and failed.end is not None
    }


class _NoWordError(Exception):
    """Why an output that speaks of champion_gate does not count."""


def task_output(task_run_id: str, left: Output) -> tuple[TaskOutput | None, str | None]:
    """Read a task's own word for its model version out of `jobs/runs/get-output`.

    The notebook ends with `dbutils.notebook.exit('{"champion_gate": {"model": …, "version": …}}')`.

    Returns:
        The output, and why one that speaks of champion_gate was not taken; both None where it says nothing.
    """
    if left.result is None or "champion_gate" not in left.result:
        return None, None
    if left.truncated:
        return None, "it is longer than 5 MB, so it was cut"
    try:
        named = _named(left.result)
        return (TaskOutput(task_run_id, *named), None) if named else (None, None)
    except (_NoWordError, InvalidNameError) as problem:
        return None, str(problem)


def _named(result: str) -> tuple[str, str] | None:
    """Model and version out of a notebook's word; None where it does not speak of them after all."""
    try:
        said = json.loads(result)
    except (ValueError, RecursionError):
        raise _NoWordError("it is no JSON") from None
    if not isinstance(said, dict) or "champion_gate" not in said:
        return None
    named = said["champion_gate"]
    if not isinstance(named, dict):
        raise _NoWordError("`champion_gate` is no object")
    model, version = named.get("model"), named.get("version")
    if not isinstance(model, str) or not model:
        raise _NoWordError("`champion_gate.model` is no name")
    if isinstance(version, bool) or not isinstance(version, int | str):
        raise _NoWordError("`champion_gate.version` is neither a number nor digits")
    return model, check_version(str(version))


def kind_of(task: Task) -> TaskKind:
    """What hangs below it."""
    if task.for_each_task is not None:
        return TaskKind.FOR_EACH
    return TaskKind.RUN_JOB if task.run_job_task is not None else TaskKind.PLAIN
