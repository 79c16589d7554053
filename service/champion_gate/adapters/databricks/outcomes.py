"""How a run that we started ended, for the one who has to go on: yes, no, or not at all. No calls are made here.

Codes: TerminationCodeCode and RunResultState in databricks/sdk/service/jobs.py, which say that there will be more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from champion_gate.adapters.databricks.models import Ending, Run, Task, word
from champion_gate.adapters.databricks.reading import Attempt, Repairs, attempts_of, repairs_of, run_result
from champion_gate.domain.job_runs import RunResult
from champion_gate.domain.jobs import JobOutcome
from champion_gate.domain.secrets import cut_words

_MAX_MESSAGE = 1_000
_ENDED_BEFORE_STATUS = ("TERMINATED", "SKIPPED", "INTERNAL_ERROR")
_TASKS_FAILED = "RUN_EXECUTION_ERROR"
_OF_THE_CODE_THAT_RAN = (None, "SUCCESS", "CLIENT_ERROR")
"""Types of an end that neither Databricks nor the cloud is to blame for."""


@dataclass(frozen=True)
class End:
    """The first end of a run, or that there is none yet.

    Attributes:
        code, message: the vendor's words for it, or for the state in which it is.
        tasks: the latest attempt of each task until then.
    """

    outcome: JobOutcome | None
    code: str
    message: str
    at: datetime | None
    repaired: bool
    tasks: tuple[Task, ...]


def first_end(run: Run) -> End:
    """How a run ended at first; what a repair made of it later does not count.

    It failed only where one of its tasks says so of itself: a job that got no compute for a task is told in the
    same words as one whose task failed.
    """
    repairs = repairs_of(run)
    ending: Ending | None = run
    if repairs.latest is not None:
        ending = next((item for item in run.repair_history if item.type == "ORIGINAL"), None)
    if ending is None:
        words = "it was repaired, and how it ended before is not told"
        return End(JobOutcome.COULD_NOT_RUN, "UNKNOWN", words, None, repaired=True, tasks=())
    tasks, told = _latest_of_first(run, repairs), ending
    outcome = _outcome(ending)
    if outcome is JobOutcome.FAILED:
        outcome, told = _by_tasks(ending, tasks)
    return End(
        outcome=outcome,
        code=_code(told),
        message=cut_words(_message(told), _MAX_MESSAGE),
        at=ending.end_time if outcome else None,
        repaired=repairs.latest is not None,
        tasks=tasks,
    )


def _outcome(of: Ending) -> JobOutcome | None:
    """How a run or task ended by its own words; None while it goes on, in whatever state."""
    result, _ = run_result(of)
    ended = (
        of.status_state == "TERMINATED"
        if of.status is not None
        else of.life_cycle_state in _ENDED_BEFORE_STATUS
    )
    if not ended:
        return None
    if result is RunResult.SUCCEEDED:
        return JobOutcome.SUCCEEDED
    failed = result is RunResult.SUCCEEDED_WITH_FAILURES or _failed(of)
    return JobOutcome.FAILED if failed and of.was_cancelled is not True else JobOutcome.COULD_NOT_RUN


def _failed(of: Ending) -> bool:
    if of.status is None:
        return of.life_cycle_state == "TERMINATED" and of.result_state == "FAILED"
    return of.code == _TASKS_FAILED and of.kind in _OF_THE_CODE_THAT_RAN


def _by_tasks(run: Ending, tasks: tuple[Task, ...]) -> tuple[JobOutcome, Ending]:
    ends = [(_outcome(task), task) for task in tasks]
    if any(outcome is JobOutcome.FAILED for outcome, _ in ends):
        return JobOutcome.FAILED, run
    kept_from_running = [task for outcome, task in ends if outcome is JobOutcome.COULD_NOT_RUN]
    return JobOutcome.COULD_NOT_RUN, kept_from_running[0] if kept_from_running else run


def _latest_of_first(run: Run, repairs: Repairs) -> tuple[Task, ...]:
    latest: dict[str, tuple[Attempt, Task]] = {}
    for task, attempt in zip(run.tasks, attempts_of(run.tasks, repairs), strict=True):
        known = latest.get(attempt.task_key)
        if repairs.generation.get(attempt.run_id, 0) == 0 and (
            known is None or attempt.order > known[0].order
        ):
            latest[attempt.task_key] = attempt, task
    return tuple(task for _, task in latest.values())


def _code(of: Ending) -> str:
    """The vendor's code for the end, else for the state."""
    if of.status is None:
        return word(of.result_state) or word(of.life_cycle_state) or "UNKNOWN"
    return word(of.code) or word(of.status_state) or "UNKNOWN"


def _message(of: Ending) -> str:
    """The vendor's words; ours where it has none for an end that does not fit together."""
    result, words = run_result(of)
    return of.message or of.state_message or (words if result is RunResult.UNKNOWN else "")
