"""Job runs, re-read over real HTTP with the real SDK."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from databricks.sdk.service.jobs import BaseRun, Job, Run, RunOutput

from champion_gate.adapters.databricks.job_runs import DatabricksJobRuns
from champion_gate.domain.job_runs import RunResult, Trainer
from champion_gate.domain.ports.workspace import JobRuns
from champion_gate.errors import (
    VendorRefusedError,
)
from champion_gate_standins.databricks.server import Fault
from integration.databricks_fixtures import Workspace, workspace

NOW = datetime.fromtimestamp(1_764_000_000, UTC)


@pytest.fixture
def databricks() -> Iterator[Workspace]:
    with workspace() as found:
        yield found


@pytest.fixture
def job_runs(databricks: Workspace) -> DatabricksJobRuns:
    return DatabricksJobRuns(databricks.connection())


def test_a_finished_run_is_read_with_everything_that_matters(
    databricks: Workspace, job_runs: DatabricksJobRuns
) -> None:
    jobs = databricks.standin.jobs
    job = jobs.add_job("train-churn", run_as="7c0b5f2e-0000-4000-8000-000000000001")
    run_id = jobs.start_run(job, creator="ada@example.com", tasks=["fit", "report"])
    databricks.time.pass_seconds(90)
    jobs.finish_run(run_id)

    run = job_runs.get_run(run_id)

    assert (run.run_id, run.job_id, run.job_name) == (run_id, job, "train-churn")
    assert int(run.run_id) > 2**53
    assert run.workspace_id == databricks.standin.workspace_id
    assert (run.result, run.result_detail) == (RunResult.SUCCEEDED, "SUCCESS")
    assert [(task.task_key, task.job_id, task.attempt) for task in run.tasks] == [
        ("fit", job, 0),
        ("report", job, 0),
    ]
    assert run.earlier_task_run_ids == frozenset()
    assert run.trainers == (
        Trainer("job run creator", "ada@example.com"),
        Trainer("job run-as", "7c0b5f2e-0000-4000-8000-000000000001"),
    )
    assert (run.start, run.end) == (NOW, NOW + timedelta(seconds=90))
    assert run.latest_repair is None
    assert run.url == f"{databricks.url}/#job/{job}/run/{run_id}"


def test_requests_name_our_product(databricks: Workspace) -> None:
    job_runs: JobRuns = DatabricksJobRuns(databricks.connection())
    job_runs.jobs_named("train-churn")
    assert databricks.standin.requests[-1].user_agent.startswith("champion-gate/0.1.0 ")


def test_a_run_that_goes_on_has_no_end(databricks: Workspace, job_runs: DatabricksJobRuns) -> None:
    jobs = databricks.standin.jobs
    run_id = jobs.start_run(jobs.add_job("train-churn"))
    run = job_runs.get_run(run_id)
    assert (run.result, run.end, run.tasks) == (RunResult.RUNNING, None, ())


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("RUN_EXECUTION_ERROR", RunResult.UNSUCCESSFUL),
        ("USER_CANCELED", RunResult.UNSUCCESSFUL),
        ("SUCCESS_WITH_FAILURES", RunResult.SUCCEEDED_WITH_FAILURES),
        ("BRAND_NEW_CODE", RunResult.UNKNOWN),
    ],
)
def test_a_run_that_did_not_simply_succeed_is_told_apart(
    databricks: Workspace, job_runs: DatabricksJobRuns, code: str, expected: RunResult
) -> None:
    jobs = databricks.standin.jobs
    run_id = jobs.start_run(jobs.add_job("train-churn"))
    jobs.finish_run(run_id, code, message="why")
    run = job_runs.get_run(run_id)
    assert (run.result, run.result_detail) == (expected, f"{code}: why")


def test_a_task_runs_id_leads_to_its_job_run(databricks: Workspace, job_runs: DatabricksJobRuns) -> None:
    jobs = databricks.standin.jobs
    run_id = jobs.start_run(jobs.add_job("train-churn"), tasks=["fit", "report"])
    jobs.finish_run(run_id)
    run = job_runs.get_run(jobs.task_run_id(run_id, "fit"))
    assert run.run_id == run_id
    assert len(run.tasks) == 2


def test_retries_and_repairs_leave_only_the_latest_attempts(
    databricks: Workspace, job_runs: DatabricksJobRuns
) -> None:
    jobs = databricks.standin.jobs
    run_id = jobs.start_run(jobs.add_job("train-churn"), tasks=["fit", "report"])
    first = jobs.task_run_id(run_id, "fit")
    databricks.time.pass_seconds(10)
    second = jobs.retry_task(run_id, "fit")
    jobs.finish_run(run_id)
    before = job_runs.get_run(run_id)
    databricks.time.pass_seconds(10)
    repair = jobs.repair_run(run_id, ["fit"])
    third = jobs.task_run_id(run_id, "fit")
    while_repairing = job_runs.get_run(run_id)
    databricks.time.pass_seconds(10)
    jobs.finish_run(run_id)

    run = job_runs.get_run(run_id)

    report = jobs.task_run_id(run_id, "report")
    assert {task.run_id for task in before.tasks} == {second, report}
    assert before.earlier_task_run_ids == {first}
    assert while_repairing.result is RunResult.RUNNING
    assert {task.run_id for task in run.tasks} == {third, report}
    assert run.earlier_task_run_ids == {first, second}
    assert run.latest_repair == repair
    assert before.end is not None
    assert run.end == before.end + timedelta(seconds=20)


def test_more_than_a_page_of_tasks_is_read_whole(databricks: Workspace, job_runs: DatabricksJobRuns) -> None:
    jobs = databricks.standin.jobs
    run_id = jobs.start_run(jobs.add_job("many"), tasks=[f"t{index}" for index in range(230)])
    jobs.finish_run(run_id)
    assert len(job_runs.get_run(run_id).tasks) == 230
    assert databricks.paths().count("/api/2.2/jobs/runs/get") == 3


def test_iterations_that_succeeded_are_included_page_by_page(
    databricks: Workspace, job_runs: DatabricksJobRuns
) -> None:
    jobs = databricks.standin.jobs
    run_id = jobs.start_run(jobs.add_job("sweep"), tasks={"fits": "for_each"})
    failed = jobs.add_iteration(run_id, "fits", code="RUN_EXECUTION_ERROR")
    good = {jobs.add_iteration(run_id, "fits") for _ in range(120)}
    unheard_of = jobs.add_iteration(run_id, "fits", code="NEW_CODE")
    jobs.finish_run(run_id)
    run = job_runs.get_run(run_id)
    assert {task.run_id for task in run.tasks} == good | {jobs.task_run_id(run_id, "fits")}
    assert run.earlier_task_run_ids == {failed, unheard_of}


def test_job_runs_started_by_tasks_are_included_with_their_people(
    databricks: Workspace, job_runs: DatabricksJobRuns
) -> None:
    jobs = databricks.standin.jobs
    outer, middle = (
        jobs.add_job("nightly", run_as="bot@example.com"),
        jobs.add_job("prepare", run_as="bot@example.com"),
    )
    inner = jobs.add_job("train", run_as="eve@example.com")
    run_id = jobs.start_run(outer, creator="ada@example.com", tasks={"go": "run_job"})
    child = jobs.start_child(run_id, "go", middle, creator="bot@example.com", tasks={"deeper": "run_job"})
    grandchild = jobs.start_child(child, "deeper", inner, creator=None, tasks=["fit"])
    jobs.retry_task(grandchild, "fit")
    for each in (grandchild, child, run_id):
        jobs.finish_run(each)

    run = job_runs.get_run(run_id)

    assert {(task.task_key, task.job_id) for task in run.tasks} == {
        ("go", outer),
        ("deeper", middle),
        ("fit", inner),
    }
    assert run.trainers == (
        Trainer("job run creator", "ada@example.com"),
        Trainer("job run-as", "bot@example.com"),
        Trainer("job run creator", "bot@example.com"),
        Trainer("job run creator", None),
        Trainer("job run-as", "eve@example.com"),
    )
    assert len(run.earlier_task_run_ids) == 1


def test_a_child_that_is_not_told_leaves_unknown_people_behind(
    databricks: Workspace, job_runs: DatabricksJobRuns
) -> None:
    jobs = databricks.standin.jobs
    run_id = jobs.start_run(jobs.add_job("nightly"), tasks={"go": "run_job"})
    jobs.finish_run(run_id)
    trainers = job_runs.get_run(run_id).trainers
    assert Trainer("job run creator", None) in trainers
    assert Trainer("job run-as", None) in trainers


def test_a_job_that_is_gone_has_no_name_and_an_unknown_run_as(
    databricks: Workspace, job_runs: DatabricksJobRuns
) -> None:
    jobs = databricks.standin.jobs
    job = jobs.add_job("train-churn")
    run_id = jobs.start_run(job)
    jobs.finish_run(run_id)
    jobs.remove_job(job)
    run = job_runs.get_run(run_id)
    assert run.job_name == ""
    assert Trainer("job run-as", None) in run.trainers


def test_jobs_nested_without_end_are_refused(databricks: Workspace, job_runs: DatabricksJobRuns) -> None:
    jobs = databricks.standin.jobs
    job = jobs.add_job("nightly")
    run_id = current = jobs.start_run(job, tasks={"go": "run_job"})
    chain = [current]
    for _ in range(7):
        current = jobs.start_child(current, "go", job, tasks={"go": "run_job"})
        chain.append(current)
    for each in reversed(chain):
        jobs.finish_run(each)
    with pytest.raises(VendorRefusedError, match="nested deeper"):
        job_runs.get_run(run_id)


def test_a_job_run_that_leads_to_itself_is_read_once(
    databricks: Workspace, job_runs: DatabricksJobRuns
) -> None:
    jobs = databricks.standin.jobs
    job = jobs.add_job("nightly")
    run_id = jobs.start_run(job, tasks={"a": "run_job", "b": "run_job"})
    child = jobs.start_child(run_id, "a", job, tasks=["fit"])
    jobs.finish_run(child)
    jobs.finish_run(run_id)
    databricks.standin.faults.add(
        Fault(path="get-output", body=b'{"run_job_output": {"run_id": %d}}' % int(child))
    )
    assert [task.task_key for task in job_runs.get_run(run_id).tasks] == ["a", "fit", "b"]


# --- outputs ----------------------------------------------------------------------------------------------


def test_notebooks_that_name_a_version_are_heard_and_others_left_out(
    databricks: Workspace, job_runs: DatabricksJobRuns, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = databricks.standin.jobs
    kinds = {
        "fit": "notebook",
        "silent": "notebook",
        "odd": "notebook",
        "script": "spark_python",
        "fits": "for_each",
    }
    run_id = jobs.start_run(jobs.add_job("train"), tasks=kinds)
    fit, odd = jobs.task_run_id(run_id, "fit"), jobs.task_run_id(run_id, "odd")
    jobs.set_output(fit, {"champion_gate": {"model": "main.ml.churn", "version": 12}})
    jobs.set_output(odd, {"champion_gate": {"model": "main.ml.churn", "version": "the-new-one"}})
    jobs.set_output(jobs.task_run_id(run_id, "script"), {"champion_gate": {"model": "m", "version": "1"}})
    one = jobs.add_iteration(run_id, "fits")
    jobs.set_output(one, '{"champion_gate": {"model": "main.ml.churn", "version": "13"}}')
    jobs.finish_run(run_id)

    with caplog.at_level(logging.WARNING, logger="champion_gate"):
        outputs = job_runs.task_outputs(job_runs.get_run(run_id))

    assert [(out.task_run_id, out.model, out.version) for out in outputs] == [
        (fit, "main.ml.churn", "12"),
        (one, "main.ml.churn", "13"),
    ]
    assert odd in caplog.text
    assert "the-new-one" in caplog.text


def test_a_failed_tasks_word_is_not_heard(databricks: Workspace, job_runs: DatabricksJobRuns) -> None:
    jobs = databricks.standin.jobs
    run_id = jobs.start_run(jobs.add_job("train"), tasks=["fit", "report"])
    jobs.set_output(jobs.task_run_id(run_id, "fit"), {"champion_gate": {"model": "a.b.c", "version": 1}})
    jobs.finish_run(run_id, "SUCCESS_WITH_FAILURES", tasks={"fit": "RUN_EXECUTION_ERROR"})
    assert job_runs.task_outputs(job_runs.get_run(run_id)) == ()


def test_more_outputs_than_we_read_are_refused_with_a_way_out(
    databricks: Workspace, job_runs: DatabricksJobRuns
) -> None:
    jobs = databricks.standin.jobs
    run_id = jobs.start_run(jobs.add_job("many"), tasks=[f"t{index}" for index in range(301)])
    jobs.finish_run(run_id)
    with pytest.raises(VendorRefusedError, match="version: tag"):
        job_runs.task_outputs(job_runs.get_run(run_id))


# --- lists ------------------------------------------------------------------------------------------------


def test_ended_runs_are_listed_over_pages_newest_first(
    databricks: Workspace, job_runs: DatabricksJobRuns
) -> None:
    jobs = databricks.standin.jobs
    job, other = jobs.add_job("train"), jobs.add_job("other")
    old = jobs.start_run(job)
    jobs.finish_run(old)
    databricks.time.pass_seconds(3600)
    made = []
    for _ in range(27):
        databricks.time.pass_seconds(60)
        made.append(jobs.start_run(job))
        jobs.finish_run(made[-1], "RUN_EXECUTION_ERROR" if len(made) % 2 else "SUCCESS")
    jobs.start_run(job)
    jobs.finish_run(jobs.start_run(other))

    found = job_runs.list_ended_runs(job, NOW + timedelta(seconds=1))

    assert [run.run_id for run in found] == made[::-1]
    newest = found[0]
    assert (newest.job_id, newest.job_name, newest.workspace_id) == (
        job,
        "train",
        databricks.standin.workspace_id,
    )
    assert newest.end == NOW + timedelta(seconds=3600 + 27 * 60)


def test_a_job_without_runs_has_an_empty_list(databricks: Workspace, job_runs: DatabricksJobRuns) -> None:
    assert job_runs.list_ended_runs(databricks.standin.jobs.add_job("train"), NOW) == ()


def test_the_list_and_the_run_agree_on_the_end_after_a_repair(
    databricks: Workspace, job_runs: DatabricksJobRuns
) -> None:
    jobs = databricks.standin.jobs
    job = jobs.add_job("train")
    run_id = jobs.start_run(job)
    jobs.finish_run(run_id)
    databricks.time.pass_seconds(500)
    jobs.repair_run(run_id)
    jobs.finish_run(run_id)
    (listed,) = job_runs.list_ended_runs(job, NOW)
    assert listed.end == job_runs.get_run(run_id).end == NOW + timedelta(seconds=500)


def test_only_exactly_this_name_counts(databricks: Workspace, job_runs: DatabricksJobRuns) -> None:
    jobs = databricks.standin.jobs
    wanted = {jobs.add_job("train & test/#1") for _ in range(2)}
    jobs.add_job("Train & Test/#1")
    jobs.add_job("train")
    assert set(job_runs.jobs_named("train & test/#1")) == wanted
    assert job_runs.jobs_named("nobody") == ()
    assert job_runs.jobs_named("") == ()


def test_a_name_that_hundreds_bear_is_read_over_pages(
    databricks: Workspace, job_runs: DatabricksJobRuns
) -> None:
    ids = {databricks.standin.jobs.add_job("copy") for _ in range(205)}
    assert set(job_runs.jobs_named("copy")) == ids


# --- the stand-in against the SDK's own classes -----------------------------------------------------------


def test_the_sdks_classes_lose_nothing_of_the_standins_answers(databricks: Workspace) -> None:
    jobs = databricks.standin.jobs
    job = jobs.add_job("train")
    tasks = {"fit": "notebook", "py": "spark_python", "fits": "for_each", "go": "run_job"}
    run_id = jobs.start_run(job, tasks=tasks)
    jobs.add_iteration(run_id, "fits")
    jobs.finish_run(jobs.start_child(run_id, "go", job))
    jobs.set_output(jobs.task_run_id(run_id, "fit"), "OK")
    jobs.finish_run(run_id)
    jobs.repair_run(run_id, ["fit"])
    jobs.finish_run(run_id, "USER_CANCELED")
    api = databricks.connection().begin()

    whole = api.read("/api/2.2/jobs/runs/get", {"run_id": run_id, "include_history": True})
    assert Run.from_dict(whole).as_dict() == whole
    for key in tasks:
        one = api.read("/api/2.2/jobs/runs/get", {"run_id": jobs.task_run_id(run_id, key)})
        assert Run.from_dict(one).as_dict() == one
    for key in ("fit", "py", "go"):
        output = api.read("/api/2.2/jobs/runs/get-output", {"run_id": jobs.task_run_id(run_id, key)})
        assert RunOutput.from_dict(output).as_dict() == output
    shown = api.read("/api/2.2/jobs/get", {"job_id": job})
    assert Job.from_dict(shown).as_dict() == shown
    (listed, *_) = api.read("/api/2.2/jobs/runs/list", {"job_id": job})["runs"]
    assert BaseRun.from_dict(listed).as_dict() == listed
