"""Where the tasks of a job run, and whether Unity Catalog can be reached from there.

Access modes: DataSecurityMode in databricks/sdk/service/compute.py. A job whose settings leave the mode out may all the
same run with one that a policy or the workspace fills in, so the clusters that ran are looked at first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from champion_gate.adapters.databricks.surroundings import Cluster, JobTask, Surroundings, WholeJob
from champion_gate.errors import VendorRefusedError

_REACH = frozenset(
    {
        *("DATA_SECURITY_MODE_STANDARD", "DATA_SECURITY_MODE_DEDICATED", "DATA_SECURITY_MODE_AUTO"),
        *("USER_ISOLATION", "SINGLE_USER"),
    }
)
_ONE_PRINCIPAL = frozenset({"DATA_SECURITY_MODE_DEDICATED", "SINGLE_USER"})
_DO_NOT = frozenset(
    {
        *("NONE", "LEGACY_TABLE_ACL", "LEGACY_PASSTHROUGH"),
        *("LEGACY_SINGLE_USER", "LEGACY_SINGLE_USER_STANDARD"),
    }
)
_MOST_JOBS = 10  # that one starts by its tasks, and those by theirs


@dataclass(frozen=True)
class Place:
    """Where a task runs.

    Attributes:
        reaches: whether Unity Catalog can be reached from there; None where that is not known.
    """

    task: str
    reaches: bool | None
    why: str


def places(around: Surroundings, job_id: str, run_as: frozenset[str]) -> Iterator[Place]:
    """Where the tasks of a job run, and of the jobs that it starts; tasks without compute of ours are left out.

    Args:
        around: what is read.
        job_id: the job.
        run_as: by what names a cluster of one principal may be theirs, without regard to case.
    """
    waiting, seen = [job_id], set[str]()
    while waiting and len(seen) < _MOST_JOBS:
        each = waiting.pop(0)
        if each in seen:
            continue
        seen.add(each)
        try:
            job, ran = around.job(each), around.last_run(each).runs
            ran_on = around.ran_on(ran[0].run_id) if ran else {}
        except VendorRefusedError as error:
            yield Place("", None, f"job {each}: {error.message}")
            continue
        for task in _plain(job.tasks):
            if task.run_job_task is not None and task.run_job_task.job_id:
                waiting.append(task.run_job_task.job_id)
            elif (found := _place(around, job, task, ran_on.get(task.task_key or ""), run_as)) is not None:
                yield found


def _plain(tasks: list[JobTask]) -> Iterator[JobTask]:
    """The tasks, and in place of a for-each task the one that it repeats."""
    for task in tasks:
        nested = task.for_each_task.task if task.for_each_task is not None else None
        yield nested or task


def _place(
    around: Surroundings, job: WholeJob, task: JobTask, ran_on: str | None, run_as: frozenset[str]
) -> Place | None:
    key = task.task_key or ""
    for cluster_id in filter(None, (ran_on, task.existing_cluster_id)):
        try:
            return _judged(around, key, around.cluster(cluster_id), run_as, f"cluster {cluster_id}")
        except VendorRefusedError as error:  # gone, or hidden from us: the settings may tell
            if task.existing_cluster_id:
                return Place(key, None, error.message)
    shared = {each.job_cluster_key: each.new_cluster for each in job.job_clusters}
    cluster = shared.get(task.job_cluster_key) if task.job_cluster_key else task.new_cluster
    if cluster is not None:
        return _judged(around, key, cluster, run_as, "its cluster, by the job's settings")
    if task.environment_key or task.notebook_task is not None:
        return Place(key, True, "serverless compute")
    return None


def _judged(around: Surroundings, task: str, cluster: Cluster, run_as: frozenset[str], where: str) -> Place:
    mode, by = cluster.data_security_mode, ""
    if mode is None and cluster.policy_id:
        by = f", by policy {cluster.policy_id}"
        try:
            mode = around.fixed_by_policy(cluster.policy_id)
        except VendorRefusedError as error:
            return Place(
                task, None, f"{where} has no access mode, and its policy cannot be read: {error.message}"
            )
    if mode is None:
        return Place(task, False, f"{where} has no access mode (Custom)")
    if mode in _DO_NOT:
        return Place(task, False, f"{where} has the access mode {mode}{by}")
    if mode not in _REACH:
        return Place(task, None, f"{where} has the access mode {mode!r}{by}, of which we have not heard")
    only = cluster.single_user_name
    if mode in _ONE_PRINCIPAL and only and run_as and only.casefold() not in run_as:
        return Place(task, False, f"{where} is dedicated to {only}, as whom the job does not run")
    return Place(task, True, f"{where} has the access mode {mode}{by}")
