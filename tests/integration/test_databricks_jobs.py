"""Jobs that the gate starts, over real HTTP with the real SDK: what each answer of the vendor comes to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import InvalidParameterValue

from champion_gate.adapters.databricks.jobs import DatabricksJobs
from champion_gate.domain.jobs import JobOutcome, Principal, RunState, TaskResult
from champion_gate.domain.ports.workspace import Jobs
from champion_gate.errors import (
    InvalidInputError,
    VendorNotFoundError,
    VendorRefusedError,
    VendorUnavailableError,
)
from champion_gate_standins.databricks.server import Fault
from integration.databricks_fixtures import TOKEN, Workspace, workspace

NOW = datetime.fromtimestamp(1_764_000_000, UTC)
GIVEN = {"model_name": "main.ml.churn", "model_version": "7"}
SAID = {"champion_gate_validation": {"passed": True}}


def rest(*variants: object) -> list[Any]:
    return [pytest.param(each, marks=pytest.mark.part("rest")) for each in variants]


@pytest.fixture(scope="module")
def served() -> Iterator[Workspace]:
    with workspace() as found:
        yield found


@pytest.fixture
def databricks(served: Workspace) -> Iterator[Workspace]:
    yield served
    served.standin.faults.clear()
    served.standin.starts.queue_is_full = False
    served.standin.starts.cancel_seconds = 0.0


@pytest.fixture(scope="module")
def connected(served: Workspace) -> Jobs:
    return DatabricksJobs(served.connection())


@pytest.fixture
def jobs(databricks: Workspace, connected: Jobs) -> Jobs:
    return connected


def add_job(databricks: Workspace, **settings: Any) -> str:
    return databricks.standin.jobs.add_job(
        "validate-churn", parameters={"model_name": "", "model_version": "", "sample": "small"}, **settings
    )


def token(databricks: Workspace) -> str:
    return f"t{len(databricks.standin.starts.started)}"


def begin(databricks: Workspace, jobs: Jobs, **course: object) -> str:
    job = add_job(databricks)
    databricks.standin.starts.set_course(job, **course)
    return jobs.start(job, GIVEN, token(databricks)).run_id


def test_a_secret_in_a_runs_words_is_blotted_before_they_are_cut(databricks: Workspace, jobs: Jobs) -> None:
    words = f"{'.' * 985}https://svc:tr0ub4dor@example.com"
    code = "RUN_EXECUTION_ERROR"
    state = jobs.read(
        begin(databricks, jobs, code=code, message=words, tasks={"main": code}, errors={"main": words})
    )
    assert state.message.startswith("...")
    assert "svc:" not in f"{state.message}{state.tasks[0].error}"


# --- starting ---------------------------------------------------------------------------------------------


def test_a_job_is_described_with_what_starting_it_needs(databricks: Workspace, jobs: Jobs) -> None:
    job = add_job(databricks, queue=True, run_as="7c0b5f2e-0000-4000-8000-000000000001")
    found = jobs.describe(job)
    assert (found.job_id, found.name, found.queue) == (job, "validate-churn", True)
    assert found.parameters == ("model_name", "model_version", "sample")
    assert found.run_as == (Principal("7c0b5f2e-0000-4000-8000-000000000001"),)
    assert found.url == f"{databricks.url}/jobs/{job}?o={databricks.standin.workspace_id}"


def test_a_job_that_runs_as_a_group_says_so(databricks: Workspace, jobs: Jobs) -> None:
    job = databricks.standin.jobs.add_job("plain")
    databricks.standin.jobs.run_job_as(job, None, {"group_name": "validators"})
    found = jobs.describe(job)
    assert (found.run_as, found.parameters, found.queue) == (
        (Principal("validators", is_group=True),),
        (),
        False,
    )


def test_a_run_is_started_with_its_parameters_and_queued(databricks: Workspace, jobs: Jobs) -> None:
    job = add_job(databricks)
    databricks.standin.starts.set_course(job, seconds=60, said=lambda given: {"main": given})
    started = jobs.start(job, GIVEN, "of-a-run")
    assert databricks.standin.requests[-1].body == {
        "job_id": int(job),
        "job_parameters": GIVEN,
        "idempotency_token": "of-a-run",
        "queue": {"enabled": True},
    }
    assert started.url.startswith(f"{databricks.url}/jobs/{job}/runs/{started.run_id}?o=")
    going_on = jobs.read(started.run_id)
    assert (going_on.outcome, going_on.code, going_on.tasks) == (None, "RUNNING", ())

    begun = datetime.fromtimestamp(databricks.time.ms / 1000, UTC)
    databricks.time.pass_seconds(60)
    task = databricks.standin.jobs.task_run_id(started.run_id, "main")
    given = {**GIVEN, "sample": "small"}
    assert jobs.read(started.run_id) == RunState(
        run_id=started.run_id,
        job_id=job,
        parameters=given,
        creator="champion-gate@example.com",
        started_at=begun,
        ended_at=begun + timedelta(seconds=60),
        url=f"{databricks.url}/#job/{job}/run/{started.run_id}",
        outcome=JobOutcome.SUCCEEDED,
        code="SUCCESS",
        message="",
        repaired=False,
        tasks=(TaskResult("main", task, 0, "SUCCESS", output=json.dumps(given)),),
    )


def test_an_answer_that_is_lost_is_asked_for_again_with_the_same_token(
    databricks: Workspace, jobs: Jobs
) -> None:
    job = add_job(databricks)
    databricks.standin.faults.add(Fault(path="run-now", lose_answer=True, times=1))
    with pytest.raises(VendorUnavailableError) as lost:
        jobs.start(job, GIVEN, "lost-answer")
    assert lost.value.outcome_unknown
    found = jobs.start(job, GIVEN, "lost-answer").run_id
    assert [each.run_id for each in databricks.standin.starts.runs_of(job)] == [found]


def test_an_answer_without_a_run_leaves_open_whether_there_is_one(databricks: Workspace, jobs: Jobs) -> None:
    databricks.standin.faults.add(Fault(path="run-now", body=b"{}"))
    with pytest.raises(VendorUnavailableError) as unreadable:
        jobs.start(add_job(databricks), GIVEN, "unreadable")
    assert unreadable.value.outcome_unknown


def test_a_token_leads_to_the_run_that_has_it_also_of_another_job(databricks: Workspace, jobs: Jobs) -> None:
    theirs, ours = add_job(databricks), add_job(databricks)
    taken = jobs.start(theirs, GIVEN, "taken").run_id
    assert jobs.start(ours, GIVEN, "taken").run_id == taken
    assert jobs.read(taken).job_id == theirs
    assert databricks.standin.starts.runs_of(ours) == []


def test_the_token_of_a_deleted_run_starts_none(databricks: Workspace, jobs: Jobs) -> None:
    job = add_job(databricks)
    databricks.standin.jobs.delete_run(jobs.start(job, GIVEN, "deleted").run_id)
    with pytest.raises(VendorRefusedError, match="was deleted"):
        jobs.start(job, GIVEN, "deleted")


@pytest.mark.parametrize("unfit", ["t" * 65, *rest("", "a token", "t\n")])
def test_a_token_that_databricks_would_refuse_is_not_sent(
    databricks: Workspace, jobs: Jobs, unfit: str
) -> None:
    with pytest.raises(InvalidInputError, match="token"):
        jobs.start("1", GIVEN, unfit)


def test_a_value_that_databricks_would_refuse_is_not_sent(jobs: Jobs) -> None:
    with pytest.raises(InvalidInputError, match="'sample'"):
        jobs.start("1", {"sample": "x" * 10_001}, "long")


def test_the_standin_refuses_what_databricks_refuses(databricks: Workspace) -> None:
    client = WorkspaceClient(host=databricks.url, token=TOKEN)
    job = int(add_job(databricks))
    with pytest.raises(InvalidParameterValue, match="at most 64"):
        client.jobs.run_now(job, idempotency_token="t" * 65)
    with pytest.raises(InvalidParameterValue, match="does not define"):
        client.jobs.run_now(job, job_parameters={"smaple": "full"})
    run = client.jobs.run_now(job, job_parameters=GIVEN)
    with pytest.raises(InvalidParameterValue, match="multiple tasks"):
        client.jobs.get_run_output(run.run_id)


# --- reading ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state",
    ["QUEUED", "NEVER_HEARD_OF", *rest("BLOCKED", "PENDING", "RUNNING", "TERMINATING", "WAITING")],
)
def test_a_run_goes_on_in_every_state_but_the_last(databricks: Workspace, jobs: Jobs, state: str) -> None:
    found = jobs.read(begin(databricks, jobs, seconds=None, state=state))
    assert (found.outcome, found.code, found.ended_at) == (None, state, None)


@dataclass(frozen=True)
class Row:
    """A way for a run to end, and what `read` says of it."""

    code: str
    outcome: JobOutcome
    tasks: dict[str, str] = field(default_factory=dict)
    told: str = ""

    def __str__(self) -> str:
        return "-".join([self.code, *self.tasks.values()])


YES, NO, NEITHER = JobOutcome.SUCCEEDED, JobOutcome.FAILED, JobOutcome.COULD_NOT_RUN
ENDS = [
    Row("SUCCESS", YES),
    Row("SUCCESS_WITH_FAILURES", NO, {"a": "SUCCESS", "b": "RUN_EXECUTION_ERROR"}),
    Row("RUN_EXECUTION_ERROR", NO),
    Row("RUN_EXECUTION_ERROR", NO, {"a": "CLUSTER_ERROR", "b": "RUN_EXECUTION_ERROR"}),
    # Said of the whole run too where no task could say anything:
    Row("RUN_EXECUTION_ERROR", NEITHER, {"a": "CLUSTER_ERROR", "b": "SKIPPED"}, "CLUSTER_ERROR"),
    Row("RUN_EXECUTION_ERROR", NEITHER, {"a": "SUCCESS", "b": "CANCELED"}, "CANCELED"),
    Row(
        "SUCCESS_WITH_FAILURES",
        NEITHER,
        {"a": "SUCCESS", "b": "LIBRARY_INSTALLATION_ERROR"},
        "LIBRARY_INSTALLATION_ERROR",
    ),
    Row("CANCELED", NEITHER),
    Row("MAX_CONCURRENT_RUNS_EXCEEDED", NEITHER),
    Row("NEVER_HEARD_OF", NEITHER),
    *rest(
        *(
            Row(code, NEITHER)
            for code in (
                "BREAKING_CHANGE",
                "BUDGET_POLICY_LIMIT_EXCEEDED",
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
                "MAX_JOB_QUEUE_SIZE_EXCEEDED",
                "MAX_SPARK_CONTEXTS_EXCEEDED",
                "REPOSITORY_CHECKOUT_FAILED",
                "RESOURCE_NOT_FOUND",
                "SKIPPED",
                "STORAGE_ACCESS_ERROR",
                "UNAUTHORIZED_ERROR",
                "USER_CANCELED",
                "WORKSPACE_RUN_LIMIT_EXCEEDED",
            )
        )
    ),
]


@pytest.mark.parametrize("row", ENDS, ids=str)
def test_how_a_run_ended(databricks: Workspace, jobs: Jobs, row: Row) -> None:
    tasks = row.tasks or {"main": row.code}
    found = jobs.read(begin(databricks, jobs, code=row.code, message="why", tasks=tasks))
    assert (found.outcome, found.code) == (row.outcome, row.told or row.code)
    assert found.message == ("" if row.told else "why")
    assert [task.code for task in found.tasks] == list(tasks.values())
    assert found.ended_at == datetime.fromtimestamp(databricks.time.ms / 1000, UTC)


def answer(**shown: object) -> bytes:
    task = {"run_id": 2, "task_key": "main", **shown}
    return json.dumps({"run_id": 1, "job_id": 3, "tasks": [task], **shown}).encode()


def terminated(**details: object) -> dict[str, object]:
    return {"state": "TERMINATED", "termination_details": details}


@pytest.mark.parametrize(
    ("shown", "outcome", "code"),
    [
        ({"status": {"state": "TERMINATED"}}, NEITHER, "TERMINATED"),
        ({"status": terminated(code=None)}, NEITHER, "TERMINATED"),
        ({"status": terminated(code="SUCCESS", type="NEVER_HEARD_OF")}, NEITHER, "SUCCESS"),
        (
            {"status": terminated(code="RUN_EXECUTION_ERROR", type="CLOUD_FAILURE")},
            NEITHER,
            "RUN_EXECUTION_ERROR",
        ),
        (
            {
                "status": terminated(code="RUN_EXECUTION_ERROR", type="CLIENT_ERROR"),
                "state": {"user_cancelled_or_timedout": True},
            },
            NEITHER,
            "RUN_EXECUTION_ERROR",
        ),
        ({"status": {}}, None, "UNKNOWN"),
        ({"status": {"state": 7}}, None, "UNKNOWN"),
        ({}, None, "UNKNOWN"),
        ({"state": {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"}}, YES, "SUCCESS"),
        ({"state": {"life_cycle_state": "TERMINATED", "result_state": "FAILED"}}, NO, "FAILED"),
        ({"state": {"life_cycle_state": "TERMINATED", "result_state": "TIMEDOUT"}}, NEITHER, "TIMEDOUT"),
        ({"state": {"life_cycle_state": "INTERNAL_ERROR", "result_state": "FAILED"}}, NEITHER, "FAILED"),
        ({"state": {"life_cycle_state": "SKIPPED"}}, NEITHER, "SKIPPED"),
        ({"state": {"life_cycle_state": "WAITING_FOR_RETRY"}}, None, "WAITING_FOR_RETRY"),
    ],
)
def test_how_a_run_ended_that_is_told_in_other_ways(
    databricks: Workspace, jobs: Jobs, shown: dict[str, object], outcome: JobOutcome | None, code: str
) -> None:
    databricks.standin.faults.add(Fault(path="runs/get$", body=answer(**shown)))
    databricks.standin.faults.add(Fault(path="runs/get-output$", body=b"{}"))
    found = jobs.read("1")
    assert (found.outcome, found.code) == (outcome, code)
    if code == "SUCCESS" and outcome is NEITHER:
        assert found.message == "SUCCESS, yet of type NEVER_HEARD_OF"


def test_a_busy_job_queues_the_run_and_skips_it_where_the_queue_is_full(
    databricks: Workspace, jobs: Jobs
) -> None:
    job = add_job(databricks)
    databricks.standin.starts.set_course(job, seconds=60)
    first = jobs.start(job, GIVEN, token(databricks)).run_id
    second = jobs.start(job, GIVEN, token(databricks)).run_id
    databricks.standin.starts.queue_is_full = True
    third = jobs.read(jobs.start(job, GIVEN, token(databricks)).run_id)
    assert jobs.read(second).code == "QUEUED"
    assert (third.outcome, third.code) == (NEITHER, "MAX_JOB_QUEUE_SIZE_EXCEEDED")
    databricks.time.pass_seconds(60)
    assert jobs.read(first).outcome is YES
    assert jobs.read(second).code == "RUNNING"
    databricks.time.pass_seconds(60)
    assert jobs.read(second).outcome is YES


def test_a_busy_job_skips_a_run_that_does_not_ask_for_the_queue(databricks: Workspace, jobs: Jobs) -> None:
    job = add_job(databricks)
    databricks.standin.jobs.start_run(job)
    client = WorkspaceClient(host=databricks.url, token=TOKEN)
    run = client.jobs.run_now(int(job), job_parameters=GIVEN)
    found = jobs.read(str(run.run_id))
    assert (found.outcome, found.code) == (NEITHER, "MAX_CONCURRENT_RUNS_EXCEEDED")


def test_the_first_end_of_a_run_stands_whatever_a_repair_makes_of_it(
    databricks: Workspace, jobs: Jobs
) -> None:
    run_id = begin(
        databricks,
        jobs,
        code="RUN_EXECUTION_ERROR",
        tasks={"a": "SUCCESS", "b": "RUN_EXECUTION_ERROR"},
        said=lambda _: {"a": SAID},
        errors={"b": "AssertionError: f1 is 0.2"},
    )
    first = jobs.read(run_id)
    standin = databricks.standin.jobs
    standin.repair_run(run_id, ["b"])
    under_way = jobs.read(run_id)
    standin.finish_run(run_id)
    repaired = jobs.read(run_id)

    assert (first.outcome, first.repaired) == (NO, False)
    assert [(task.task_key, task.output, task.error) for task in first.tasks] == [
        ("a", json.dumps(SAID), None),
        ("b", None, "AssertionError: f1 is 0.2"),
    ]
    for later in (under_way, repaired):
        assert (later.outcome, later.repaired) == (NO, True)
        assert (later.tasks, later.ended_at) == (first.tasks, first.ended_at)


def test_a_success_stands_too(databricks: Workspace, jobs: Jobs) -> None:
    run_id = begin(databricks, jobs, said=lambda _: {"main": SAID})
    first = jobs.read(run_id)
    databricks.standin.jobs.repair_run(run_id)
    databricks.standin.jobs.finish_run(run_id, "RUN_EXECUTION_ERROR")
    later = jobs.read(run_id)
    assert (later.outcome, later.tasks) == (YES, first.tasks)


def test_a_repaired_run_that_does_not_tell_its_first_end_has_come_to_nothing(
    databricks: Workspace, jobs: Jobs
) -> None:
    shown = {"status": terminated(code="SUCCESS", type="SUCCESS")}
    repair = {"id": 9, "type": "REPAIR", **shown}
    databricks.standin.faults.add(Fault(path="runs/get$", body=answer(**shown, repair_history=[repair])))
    found = jobs.read("1")
    assert (found.outcome, found.repaired, found.tasks) == (NEITHER, True, ())


def test_of_a_retried_task_the_latest_attempt_counts(databricks: Workspace, jobs: Jobs) -> None:
    run_id = begin(databricks, jobs, seconds=None)
    standin = databricks.standin.jobs
    standin.set_output(standin.task_run_id(run_id, "main"), "first")
    standin.retry_task(run_id, "main")
    standin.set_output(standin.task_run_id(run_id, "main"), "second")
    standin.finish_run(run_id)
    found = jobs.read(run_id)
    assert found.outcome is YES
    assert [(task.attempt, task.output) for task in found.tasks] == [(1, "second")]


def test_an_output_that_was_cut_says_so(databricks: Workspace, jobs: Jobs) -> None:
    cut = jobs.read(begin(databricks, jobs, said=lambda _: {"main": SAID}, truncated=True))
    too_long = jobs.read(begin(databricks, jobs, said=lambda _: {"main": "x" * 200_001}))
    assert cut.tasks[0].truncated
    assert too_long.tasks[0].truncated
    assert len(too_long.tasks[0].output or "") == 200_000


def test_a_task_that_can_have_no_output_has_none(databricks: Workspace, jobs: Jobs) -> None:
    standin = databricks.standin.jobs
    run_id = standin.start_run(add_job(databricks), tasks={"each": "for_each", "script": "spark_python"})
    standin.finish_run(run_id)
    assert [task.output for task in jobs.read(run_id).tasks] == [None, None]


def test_a_run_that_is_gone_is_not_found(databricks: Workspace, jobs: Jobs) -> None:
    run_id = begin(databricks, jobs)
    databricks.standin.jobs.delete_run(run_id)
    with pytest.raises(VendorNotFoundError):
        jobs.read(run_id)
    with pytest.raises(VendorRefusedError):
        jobs.cancel(run_id)


def test_outputs_that_cannot_be_read_are_no_empty_ones(databricks: Workspace, jobs: Jobs) -> None:
    run_id = begin(databricks, jobs, said=lambda _: {"main": SAID})
    databricks.standin.faults.add(Fault(path="get-output", status=403, error_code="PERMISSION_DENIED"))
    with pytest.raises(VendorRefusedError, match="403"):
        jobs.read(run_id)


def test_a_job_of_more_tasks_than_are_read_is_refused(databricks: Workspace, jobs: Jobs) -> None:
    run_id = begin(databricks, jobs, tasks={f"t{index}": "SUCCESS" for index in range(101)})
    with pytest.raises(VendorRefusedError, match="101 tasks"):
        jobs.read(run_id)


# --- cancelling -------------------------------------------------------------------------------------------


def test_a_cancelled_run_goes_on_for_a_while(databricks: Workspace, jobs: Jobs) -> None:
    databricks.standin.starts.cancel_seconds = 30
    run_id = begin(databricks, jobs, seconds=600)
    jobs.cancel(run_id)
    assert jobs.read(run_id).code == "TERMINATING"
    databricks.time.pass_seconds(30)
    found = jobs.read(run_id)
    assert (found.outcome, found.code) == (NEITHER, "USER_CANCELED")


def test_cancelling_an_ended_run_changes_nothing(databricks: Workspace, jobs: Jobs) -> None:
    run_id = begin(databricks, jobs)
    before = jobs.read(run_id)
    jobs.cancel(run_id)
    assert jobs.read(run_id) == before


def test_whoever_may_not_start_a_job_is_told_the_permission(databricks: Workspace, jobs: Jobs) -> None:
    databricks.standin.faults.add(Fault(path="run-now", status=403, error_code="PERMISSION_DENIED"))
    with pytest.raises(VendorRefusedError, match="CAN MANAGE RUN") as refused:
        jobs.start(add_job(databricks), GIVEN, token(databricks))
    assert not refused.value.outcome_unknown
