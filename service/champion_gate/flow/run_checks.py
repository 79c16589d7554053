"""Whether a job run's word may be taken for a gate."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from champion_gate.domain import policy
from champion_gate.domain.gates import Gate
from champion_gate.domain.job_runs import JobRun
from champion_gate.domain.ports import JobRuns


def without_rivals_tasks(run: JobRun, gate: Gate, gates: Iterable[Gate], job_runs: JobRuns) -> JobRun:
    """The run without the child jobs' tasks whose versions are for another gate to the same alias.

    Whoever may edit a job may have it start another one, and must not choose that one's approvers so.

    Raises:
        VendorError: the jobs cannot be listed by their names.
    """
    children = {task.job_id for task in run.tasks} - {run.job_id}
    if not children:
        return run
    theirs: set[str] = set()
    for rival in policy.rivals(gate, gates):
        theirs |= rival.job_ids
        theirs |= {job_id for name in rival.job_names for job_id in job_runs.jobs_named(name)}
    return replace(run, tasks=tuple(task for task in run.tasks if task.job_id not in children & theirs))


def is_rivals(job_id: str, gate: Gate, gates: Iterable[Gate], job_runs: JobRuns) -> bool:
    """Whether the job's versions are for another gate to the same alias, and not for this one.

    Raises:
        VendorError: the jobs cannot be listed by their names.
    """
    if job_id in gate.job_ids:
        return False
    rivals = policy.rivals(gate, gates)
    return any(
        job_id in rival.job_ids or any(job_id in job_runs.jobs_named(name) for name in rival.job_names)
        for rival in rivals
    )
