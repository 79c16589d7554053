"""The reads of the Jobs API 2.2 that runs which notify us and runs that we start have in common."""

from __future__ import annotations

from champion_gate.adapters.databricks.connection import Operation
from champion_gate.adapters.databricks.errors import InvalidRequestError, unreadable
from champion_gate.adapters.databricks.models import Job, Output, Run, databricks
from champion_gate.domain.jobs import Principal
from champion_gate.domain.names import vendor_id
from champion_gate.errors import InvalidInputError

RUN = "/api/2.2/jobs/runs/get"
JOB = "/api/2.2/jobs/get"
_OUTPUT = "/api/2.2/jobs/runs/get-output"


def checked_id(given: str) -> str:
    """The id of a run or job; raises InvalidInputError."""
    found = vendor_id(given)
    if found is None:
        raise InvalidInputError(f"{given!r} is no id of a run or job.", hint="It is a number.")
    return found


def read_job(api: Operation, job_id: str) -> Job:
    """A job as it is set now.

    Raises:
        VendorNotFoundError: it is gone, or hidden from us.
    """
    return api.get(Job, JOB, {"job_id": job_id})


def run_as(job: Job) -> tuple[Principal, ...]:
    """As whom a job runs; two where its settings and what Databricks shows differ.

    `settings.run_as` has one of the keys of JobRunAs in databricks/sdk/service/jobs.py. What `run_as_user_name`
    says of a job that runs as a group is documented nowhere.
    """
    chosen, shown = job.run_as, job.run_as_user_name
    person = (chosen.user_name or chosen.service_principal_name) if chosen else None
    if chosen and chosen.group_name:
        known = [Principal(chosen.group_name, is_group=True)]
    elif person or not chosen:
        known = [Principal(person or shown)]
    else:
        known = [Principal(None)]
    if shown and shown.casefold() not in {(each.name or "").casefold() for each in known}:
        known.append(Principal(shown))
    return tuple(known)


def read_run(api: Operation, run_id: str) -> Run:
    """A run with the pages of its lists put together (at most 100 items a page)."""
    pages = list(api.pages(Run, RUN, {"run_id": run_id, "include_history": True}))
    if any(page.run_id != run_id for page in pages):
        raise unreadable(RUN)
    first = pages[0]
    # Every page of a for-each task's run repeats the one task.
    with_tasks = pages if not first.iterations else pages[:1]
    return first.model_copy(
        update={
            "tasks": [task for page in with_tasks for task in page.tasks],
            "iterations": [one for page in pages for one in page.iterations],
            "repair_history": [repair for page in pages for repair in page.repair_history],
            "job_parameters": [each for page in pages for each in page.job_parameters],
        }
    )


def job_of(run: Run) -> str:
    """The id of the job that it is a run of."""
    return databricks.told(run.job_id, f"{RUN}.job_id")


def read_output(api: Operation, task_run_id: str) -> Output:
    """A task run's output; empty for the kinds of task that have none, which Databricks answers with 400."""
    try:
        return api.get(Output, _OUTPUT, {"run_id": task_run_id})
    except InvalidRequestError:
        return Output()
