"""Which version a run made, and who stands behind it, in the whole gate."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from champion_gate.domain.callers import Caller, Role
from champion_gate.domain.marks import RUN_TAG
from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.promotion import Phase
from champion_gate.errors import ConflictError
from integration.gate_models import TRAINER, MlflowModels
from integration.gate_world import GATE, GateWorld, gate_world

GROUP = "ml-trainers"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path) as made:
        yield made


def started(world: GateWorld) -> tuple[str, str]:
    """A job run that goes on, and its task run."""
    run_id = world.databricks.jobs.start_run(world.job_id)
    return run_id, world.databricks.jobs.task_run_id(run_id, "train")


def end(world: GateWorld, run_id: str) -> None:
    """End it well and resolve what it made."""
    world.databricks.jobs.finish_run(run_id, notify=False)
    world.notify(run_id)
    world.settle()


def mlflow_run(world: GateWorld, task: str, f1: float = 0.91, user: str | None = TRAINER) -> str:
    """An MLflow run of a task run."""
    tags = {"mlflow.databricks.jobID": world.job_id, "mlflow.databricks.jobRunID": task}
    return world.databricks.catalog.add_mlflow_run(metrics={"f1": f1}, user=user, tags=tags)


def ask(world: GateWorld, version: str, run_id: str) -> None:
    """An operator asks for a version by hand."""
    caller = Caller("ops", Role.OPERATOR, "API token t1")
    world.core.promotion_orders.ask("churn", version, job_run_id=run_id, caller=caller, reason="please")


def asked(world: GateWorld) -> str:
    """The version that people are asked about, the only one."""
    return world.promotion(Phase.PENDING_APPROVAL).version.version


def told(world: GateWorld) -> str:
    """Why nobody is asked, once what is not listed has been looked for again."""
    world.live(minutes=5)
    assert world.promotions() == ()
    return world.notification(NotificationPhase.UNRESOLVED).reason


# --- what can never be meant ------------------------------------------------------------------------------


@pytest.mark.parametrize("tagged", [False, True])
@pytest.mark.parametrize("failed_first", [False, True])
def test_a_failed_registration_beside_the_ready_version_of_the_same_run_is_left_out(
    world: GateWorld, *, tagged: bool, failed_first: bool
) -> None:
    run_id, task = started(world)
    made_by = mlflow_run(world, task)
    statuses = ["FAILED_REGISTRATION", "READY"]
    tags = {RUN_TAG: run_id} if tagged else {}
    for status in statuses if failed_first else reversed(statuses):
        world.databricks.catalog.add_version(world.models.model, run_id=made_by, status=status, tags=tags)
    end(world, run_id)
    assert asked(world) == ("3" if failed_first else "2")


def test_outputs_that_name_a_failed_registration_and_the_ready_version_mean_the_latter(
    world: GateWorld,
) -> None:
    jobs, catalog = world.databricks.jobs, world.databricks.catalog
    run_id = jobs.start_run(world.job_id, tasks=("train", "register"))
    for key, status in (("train", "FAILED_REGISTRATION"), ("register", "READY")):
        task = jobs.task_run_id(run_id, key)
        version = catalog.add_version(world.models.model, run_id=mlflow_run(world, task), status=status)
        jobs.set_output(task, {"champion_gate": {"model": world.models.model, "version": version}})
    end(world, run_id)
    assert asked(world) == "3"


def test_an_upload_that_was_cut_short_beside_the_ready_version_is_waited_for_and_then_left_out(
    world: GateWorld,
) -> None:
    run_id, task = started(world)
    made_by = mlflow_run(world, task)
    for status in ("PENDING_REGISTRATION", "READY"):
        world.databricks.catalog.add_version(world.models.model, run_id=made_by, status=status)
    end(world, run_id)
    assert "v2 is pending; waiting" in world.notification(NotificationPhase.WAITING).reason
    world.live(minutes=63)
    assert asked(world) == "3"


def test_two_ready_versions_are_two_though_a_third_has_failed(world: GateWorld) -> None:
    run_id, task = started(world)
    made_by = mlflow_run(world, task)
    for status in ("READY", "FAILED_REGISTRATION", "READY"):
        world.databricks.catalog.add_version(world.models.model, run_id=made_by, status=status)
    end(world, run_id)
    assert "2 versions of main.ml.churn (v2, v4)" in told(world)


# --- searches that are cut --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [60, 130])
def test_the_third_version_of_a_sweep_is_found_by_its_tag(world: GateWorld, size: int) -> None:
    run_id, task = started(world)
    made_by = mlflow_run(world, task)
    for number in range(size):
        tags = {RUN_TAG: run_id} if number == 2 else {}
        world.databricks.catalog.add_version(world.models.model, run_id=made_by, tags=tags)
    end(world, run_id)
    assert asked(world) == "4"


# --- a job that runs as a group ---------------------------------------------------------------------------


@pytest.mark.parametrize("shown_as", [None, GROUP])
def test_a_job_that_runs_as_a_group_has_the_groups_people_kept_from_deciding(
    world: GateWorld, shown_as: str | None
) -> None:
    world.databricks.jobs.run_job_as(world.job_id, shown_as, {"group_name": GROUP})
    world.train()
    world.settle()
    waits = world.promotion(Phase.REQUESTED)
    assert f"who is in the group {GROUP}" in waits.reason
    world.reconfigure(identities={TRAINER: "octo-trainer", GROUP: ["reviewer-1", "reviewer-2"]})
    world.wait(minutes=3)
    pending = world.promotion(Phase.PENDING_APPROVAL)
    assert sorted({each.login for each in pending.excluded}) == ["octo-trainer", "reviewer-1", "reviewer-2"]
    world.approve(pending)
    world.look()
    assert "reviewer-1" in world.ended(pending, Phase.REJECTED)
    assert world.models.champion() == "1"


def test_a_group_is_not_made_nobody_by_an_empty_list(world: GateWorld) -> None:
    world.databricks.jobs.run_job_as(world.job_id, None, {"group_name": GROUP})
    world.reconfigure(identities={TRAINER: "octo-trainer", GROUP: []})
    world.train()
    world.settle()
    assert "an empty list would keep none of them from deciding" in world.promotion(Phase.REQUESTED).reason
    world.reconfigure(identities={TRAINER: "octo-trainer", GROUP: ["reviewer-2"]})
    world.wait(minutes=3)
    assert "reviewer-2" in {each.login for each in world.promotion(Phase.PENDING_APPROVAL).excluded}


def test_a_group_that_is_called_like_a_service_principal_is_not_nobody(world: GateWorld) -> None:
    name = "0f8fad5b-d9cb-469f-a165-70867728950e"
    world.databricks.jobs.run_job_as(world.job_id, None, {"group_name": name})
    world.train()
    world.settle()
    assert name in world.promotion(Phase.REQUESTED).reason


def test_a_run_as_of_a_kind_that_is_not_known_is_not_ignored(world: GateWorld) -> None:
    world.databricks.jobs.run_job_as(world.job_id, TRAINER, {"robot_name": "r2"})
    world.train()
    world.settle()
    assert "job run-as of this version was not told" in world.promotion(Phase.REQUESTED).reason


@pytest.mark.parametrize("key", ["user_name", "service_principal_name"])
def test_the_settings_and_the_job_may_name_two_people_and_both_are_meant(world: GateWorld, key: str) -> None:
    world.databricks.jobs.run_job_as(world.job_id, TRAINER, {key: "second@example.com"})
    world.train()
    world.settle()
    assert "second@example.com" in world.promotion(Phase.REQUESTED).reason


# --- a task that was retried and went on with the MLflow run of its first attempt -------------------------


def retried(world: GateWorld) -> tuple[str, str, str]:
    """A job run whose task failed and is tried again: the run, its second attempt, the first one's MLflow run."""
    run_id, first = started(world)
    resumed = mlflow_run(world, first)
    world.clock.move(minutes=20)
    second = world.databricks.jobs.retry_task(run_id, "train")
    return run_id, second, resumed


@pytest.mark.parametrize("named", ["mlflow_run", "tag", "task_output"])
def test_a_version_of_a_resumed_mlflow_run_is_the_attempts_that_was_running(
    world: GateWorld, named: str
) -> None:
    run_id, second, resumed = retried(world)
    world.clock.move(minutes=5)
    tags = {RUN_TAG: run_id} if named == "tag" else {}
    version = world.databricks.catalog.add_version(world.models.model, run_id=resumed, tags=tags)
    if named == "task_output":
        said = {"champion_gate": {"model": world.models.model, "version": version}}
        world.databricks.jobs.set_output(second, said)
    end(world, run_id)
    assert asked(world) == "2"
    assert "resumed by" in " ".join(world.promotion().origin)


def test_what_the_attempt_registered_that_was_replaced_is_left_out(world: GateWorld) -> None:
    run_id, first = started(world)
    resumed = mlflow_run(world, first)
    world.databricks.catalog.add_version(world.models.model, run_id=resumed, tags={RUN_TAG: run_id})
    world.clock.move(minutes=20)
    second = world.databricks.jobs.retry_task(run_id, "train")
    world.clock.move(minutes=5)
    world.databricks.catalog.add_version(world.models.model, run_id=resumed, tags={RUN_TAG: run_id})
    end(world, run_id)
    assert asked(world) == "3"
    assert second in " ".join(world.promotion().origin)


def test_only_what_was_replaced_is_there_and_the_reason_says_when_it_was_made(world: GateWorld) -> None:
    run_id, first = started(world)
    resumed = mlflow_run(world, first)
    world.databricks.catalog.add_version(world.models.model, run_id=resumed)
    at = world.clock.now().isoformat(timespec="seconds")
    world.clock.move(minutes=20)
    second = world.databricks.jobs.retry_task(run_id, "train")
    end(world, run_id)
    words = f"which a retry or repair has replaced, and it was made at {at}, not while attempt {second} ran"
    assert f"v2: its MLflow run belongs to task run {first} of job {world.job_id}, {words}" in told(world)


def test_a_repair_may_resume_the_mlflow_run_of_the_original_run(world: GateWorld) -> None:
    run_id, first = started(world)
    resumed = mlflow_run(world, first)
    world.databricks.catalog.add_version(world.models.model, run_id=resumed)
    world.databricks.jobs.finish_run(run_id, "RUN_EXECUTION_ERROR", notify=False)
    world.clock.move(minutes=30)
    world.databricks.jobs.repair_run(run_id)
    world.clock.move(minutes=5)
    world.databricks.catalog.add_version(world.models.model, run_id=resumed)
    end(world, run_id)
    assert asked(world) == "3"


def test_another_tasks_time_does_not_make_up_for_the_attempt_that_was_replaced(world: GateWorld) -> None:
    run_id = world.databricks.jobs.start_run(world.job_id, tasks=("train", "report"))
    resumed = mlflow_run(world, world.databricks.jobs.task_run_id(run_id, "train"))
    world.clock.move(minutes=1)
    world.databricks.catalog.add_version(world.models.model, run_id=resumed, tags={RUN_TAG: run_id})
    world.clock.move(minutes=20)
    world.databricks.jobs.retry_task(run_id, "train")
    end(world, run_id)
    assert "which a retry or repair has replaced" in told(world)


@pytest.mark.parametrize("begun_by", ["an earlier attempt", "another run of the job", "nobody told"])
def test_a_logged_models_own_job_tags_go_before_those_of_the_run_that_was_resumed(
    world: GateWorld, begun_by: str
) -> None:
    run_id, second, resumed = retried(world)
    if begun_by != "an earlier attempt":
        resumed = mlflow_run(world, "1" if begun_by == "another run of the job" else "")
    tags = {"mlflow.databricks.jobID": world.job_id, "mlflow.databricks.jobRunID": second}
    model = world.databricks.catalog.mlflow.log_model(resumed, tags=tags)
    world.databricks.catalog.mlflow.log_metric(model, "f1", 0.91)
    world.databricks.catalog.add_version(world.models.model, logged_model=model)
    end(world, run_id)
    assert asked(world) == "2"
    assert "Its logged model bears the job tags" in " ".join(world.promotion().origin)


@pytest.mark.parametrize("named", ["mlflow_run", "tag"])
def test_a_retried_iteration_may_resume_the_mlflow_run_of_the_one_that_failed(
    world: GateWorld, named: str
) -> None:
    jobs, catalog = world.databricks.jobs, world.databricks.catalog
    run_id = jobs.start_run(world.job_id, tasks={"sweep": "for_each"})
    first = jobs.add_iteration(run_id, "sweep", code="RUN_EXECUTION_ERROR")
    resumed = mlflow_run(world, first)
    world.clock.move(minutes=1)
    tags = {RUN_TAG: run_id} if named == "tag" else {}
    catalog.add_version(world.models.model, run_id=resumed, tags=tags)
    world.clock.move(minutes=20)
    second = jobs.add_iteration(run_id, "sweep", attempt=1)
    world.clock.move(minutes=1)
    catalog.add_version(world.models.model, run_id=resumed, tags=tags)
    end(world, run_id)
    assert asked(world) == "3"
    assert f"resumed by {second}" in " ".join(world.promotion().origin)


def test_an_iteration_that_ran_beside_the_failed_one_or_is_no_retry_did_not_resume_it(
    world: GateWorld,
) -> None:
    jobs = world.databricks.jobs
    run_id = jobs.start_run(world.job_id, tasks={"sweep": "for_each"})
    first = jobs.add_iteration(run_id, "sweep", code="RUN_EXECUTION_ERROR")
    resumed = mlflow_run(world, first)
    world.clock.move(minutes=20)
    jobs.add_iteration(run_id, "sweep")
    world.clock.move(minutes=1)
    world.databricks.catalog.add_version(world.models.model, run_id=resumed, tags={RUN_TAG: run_id})
    end(world, run_id)
    assert "which did not succeed" in told(world)


def test_a_logged_model_of_another_run_is_not_this_runs_though_the_mlflow_run_is(world: GateWorld) -> None:
    run_id, task = started(world)
    tags = {"mlflow.databricks.jobID": world.job_id, "mlflow.databricks.jobRunID": "1"}
    model = world.databricks.catalog.mlflow.log_model(mlflow_run(world, task), tags=tags)
    world.databricks.catalog.add_version(world.models.model, logged_model=model)
    end(world, run_id)
    assert f"v2: its logged model bears the job tags of task run 1 of job {world.job_id}" in told(world)


# --- a registration job apart from the training job -------------------------------------------------------


def trained_elsewhere(world: GateWorld, person: str = "second@example.com") -> tuple[str, str, str]:
    """Another job has trained, which this person started: its job, its task run and its MLflow run."""
    jobs = world.databricks.jobs
    job = jobs.add_job("experiments", creator=person, run_as=person)
    run = jobs.start_run(job, creator=person)
    task = jobs.task_run_id(run, "train")
    tags = {"mlflow.databricks.jobID": job, "mlflow.databricks.jobRunID": task}
    best = world.databricks.catalog.add_mlflow_run(metrics={"f1": 0.95}, tags=tags)
    world.clock.move(minutes=30)
    jobs.finish_run(run, notify=False)
    world.clock.move(hours=2)
    return job, task, best


def registered(world: GateWorld, best: str, named: str, creator: str = TRAINER) -> str:
    """The watched job registers it and names it; returns the job run."""
    run_id, task = started(world)
    world.clock.move(minutes=1)
    tags = {RUN_TAG: run_id} if named == "tag" else {}
    version = world.databricks.catalog.add_version(
        world.models.model, run_id=best, tags=tags, created_by=creator
    )
    if named == "task_output":
        said = {"champion_gate": {"model": world.models.model, "version": version}}
        world.databricks.jobs.set_output(task, said)
    end(world, run_id)
    return run_id


@pytest.mark.parametrize("named", ["tag", "task_output"])
def test_what_another_job_trained_is_asked_for_and_its_people_may_not_decide(
    world: GateWorld, named: str
) -> None:
    world.reconfigure(identities={TRAINER: "octo-trainer", "second@example.com": "reviewer-1"})
    _, _, best = trained_elsewhere(world)
    registered(world, best, named)
    pending = world.promotion(Phase.PENDING_APPROVAL)
    assert pending.found_by == named
    assert ("job run creator", "second@example.com") in {(t.role, t.name) for t in pending.trainers}
    assert "whose people count as trainers too" in world.ci_run(pending).inputs["evidence"]
    world.approve(pending)
    world.look()
    assert "reviewer-1 does not count, who is behind this version" in world.ended(pending, Phase.REJECTED)


def test_people_of_the_training_job_without_an_entry_keep_the_request(world: GateWorld) -> None:
    _, _, best = trained_elsewhere(world)
    registered(world, best, "tag")
    assert "known for second@example.com" in world.promotion(Phase.REQUESTED).reason


@pytest.mark.parametrize("named", ["tag", "task_output"])
def test_somebody_elses_version_of_what_another_job_trained_is_not_believed(
    world: GateWorld, named: str
) -> None:
    _, _, best = trained_elsewhere(world)
    registered(world, best, named, creator="second@example.com")
    assert "second@example.com created it, who is none of the run's principals" in told(world)


def test_what_nobody_names_is_not_looked_for_among_other_jobs_runs(world: GateWorld) -> None:
    job, task, best = trained_elsewhere(world)
    registered(world, best, "nothing")
    assert f"v2: its MLflow run bears the job tags of task run {task} of job {job}" in told(world)


def test_a_training_run_that_cannot_be_read_is_said(world: GateWorld) -> None:
    tags = {"mlflow.databricks.jobID": "77", "mlflow.databricks.jobRunID": "9999"}
    registered(world, world.databricks.catalog.add_mlflow_run(metrics={"f1": 0.95}, tags=tags), "tag")
    assert "task run 9999 of job 77, which cannot be read" in told(world)
    assert "so it is not known who trained it" in told(world)


def test_job_tags_that_contradict_the_job_are_not_believed(world: GateWorld) -> None:
    _, task, _ = trained_elsewhere(world)
    tags = {"mlflow.databricks.jobID": "77", "mlflow.databricks.jobRunID": task}
    registered(world, world.databricks.catalog.add_mlflow_run(metrics={"f1": 0.95}, tags=tags), "tag")
    assert "and that run is one of job" in told(world)


def test_a_training_job_that_another_gate_watches_keeps_its_versions_for_that_gate(world: GateWorld) -> None:
    job, _, best = trained_elsewhere(world)
    ours = {**GATE, "jobs": [int(world.job_id)], "model": world.models.model}
    world.write_gates([ours, {**ours, "name": "strict", "jobs": [int(job)]}])
    registered(world, best, "tag")
    assert "a job that another gate watches" in told(world)


def test_a_version_that_the_training_run_registered_itself_is_not_the_registration_jobs(
    world: GateWorld,
) -> None:
    jobs = world.databricks.jobs
    job = jobs.add_job("experiments", creator=TRAINER, run_as=TRAINER)
    other = jobs.start_run(job)
    run_id, _ = started(world)
    tags = {"mlflow.databricks.jobID": job, "mlflow.databricks.jobRunID": jobs.task_run_id(other, "train")}
    made_by = world.databricks.catalog.add_mlflow_run(metrics={"f1": 0.95}, tags=tags)
    world.databricks.catalog.add_version(world.models.model, run_id=made_by, tags={RUN_TAG: run_id})
    world.clock.move(minutes=1)
    jobs.finish_run(other, notify=False)
    end(world, run_id)
    assert "and it was made while that ran itself" in told(world)


@pytest.mark.part("rest")
@pytest.mark.parametrize("metrics", [{}, {"f1": {"better": "higher", "at_least": 0.8}}])
def test_a_copy_out_of_another_model_is_asked_for_where_no_number_is_wanted(
    world: GateWorld, metrics: dict[str, object]
) -> None:
    world.reconfigure(
        metrics=metrics, identities={TRAINER: "octo-trainer", "second@example.com": "reviewer-1"}
    )
    _, _, best = trained_elsewhere(world)
    run_id, task = started(world)
    catalog = world.databricks.catalog
    version = catalog.add_version(
        world.models.model,
        run_id=best,
        source="models:/staging.ml.churn/3",
        model_id=catalog.mlflow.log_model(best),
    )
    said = {"champion_gate": {"model": world.models.model, "version": version}}
    world.databricks.jobs.set_output(task, said)
    end(world, run_id)
    if metrics:
        assert "f1" in world.promotion(Phase.INELIGIBLE).reason
    else:
        trainers = world.promotion(Phase.PENDING_APPROVAL).trainers
        assert {TRAINER, "second@example.com"} <= {each.name for each in trainers}


# --- the best run of the experiment, made by an earlier run of the same job ---------------------------------


def trained_before(world: GateWorld, person: str = "second@example.com") -> tuple[str, str]:
    """An earlier run of the watched job, which this person started: its task run and its MLflow run."""
    jobs = world.databricks.jobs
    earlier = jobs.start_run(world.job_id, creator=person)
    task = jobs.task_run_id(earlier, "train")
    best = mlflow_run(world, task, 0.95)
    world.clock.move(minutes=30)
    jobs.finish_run(earlier, notify=False)
    world.clock.move(hours=2)
    return task, best


@pytest.mark.parametrize("named", ["tag", "task_output"])
def test_what_an_earlier_run_of_the_job_trained_is_asked_for_and_its_people_may_not_decide(
    world: GateWorld, named: str
) -> None:
    world.reconfigure(identities={TRAINER: "octo-trainer", "second@example.com": "reviewer-1"})
    _, best = trained_before(world)
    registered(world, best, named)
    pending = world.promotion(Phase.PENDING_APPROVAL)
    assert "whose people count as trainers too" in " ".join(pending.origin)
    world.approve(pending)
    world.look()
    assert "reviewer-1 does not count, who is behind this version" in world.ended(pending, Phase.REJECTED)
    assert world.models.champion() == "1"


def test_what_an_earlier_run_trained_and_nobody_names_is_told_how_to_be_named(world: GateWorld) -> None:
    task, best = trained_before(world)
    registered(world, best, "nothing")
    reason = told(world)
    assert f"v2: its MLflow run bears the job tags of task run {task} of job {world.job_id}" in reason
    assert f"if this run is to register it, let a task's output or the tag {RUN_TAG} say so" in reason


def test_what_an_earlier_run_of_the_job_registered_is_not_a_later_ones(world: GateWorld) -> None:
    _, best = trained_before(world)
    version = world.databricks.catalog.add_version(world.models.model, run_id=best)
    world.clock.move(hours=1)
    run_id, task = started(world)
    said = {"champion_gate": {"model": world.models.model, "version": version}}
    world.databricks.jobs.set_output(task, said)
    world.clock.move(minutes=1)
    end(world, run_id)
    assert "not while a task ran that counts in this run" in told(world)


@pytest.mark.parametrize("goes_on", [True, False])
def test_what_another_run_of_the_job_registers_beside_this_one_is_not_this_ones(
    world: GateWorld, *, goes_on: bool
) -> None:
    jobs = world.databricks.jobs
    other = jobs.start_run(world.job_id, tasks=("train", "register"))
    best = mlflow_run(world, jobs.task_run_id(other, "train"), 0.95)
    world.clock.move(minutes=5)
    jobs.end_task(other, "train")
    run_id, _ = started(world)
    world.clock.move(minutes=1)
    world.databricks.catalog.add_version(world.models.model, run_id=best, tags={RUN_TAG: run_id})
    world.clock.move(minutes=1)
    if not goes_on:
        jobs.finish_run(other, notify=False)
    end(world, run_id)
    assert "and it was made while that ran itself" in told(world)


def test_what_a_task_trained_that_failed_in_this_run_does_not_count(world: GateWorld) -> None:
    world.reconfigure(accept_success_with_failures=True)
    jobs = world.databricks.jobs
    run_id = jobs.start_run(world.job_id, tasks=("train", "register"))
    failed = mlflow_run(world, jobs.task_run_id(run_id, "train"))
    jobs.end_task(run_id, "train", code="RUN_EXECUTION_ERROR")
    world.clock.move(minutes=1)
    world.databricks.catalog.add_version(world.models.model, run_id=failed, tags={RUN_TAG: run_id})
    jobs.finish_run(run_id, "SUCCESS_WITH_FAILURES", notify=False)
    world.notify(run_id)
    world.settle()
    assert "which did not succeed" in told(world)


@pytest.mark.parametrize("registered_by", ["the child that failed", "the child that counts"])
def test_a_child_job_run_that_was_retried(world: GateWorld, registered_by: str) -> None:
    jobs, catalog = world.databricks.jobs, world.databricks.catalog
    child = jobs.add_job("train-child", creator=TRAINER, run_as=TRAINER)
    run_id = jobs.start_run(world.job_id, tasks={"go": "run_job"})
    failed = jobs.start_child(run_id, "go", child)
    tags = {
        "mlflow.databricks.jobID": child,
        "mlflow.databricks.jobRunID": jobs.task_run_id(failed, "train"),
    }
    begun = catalog.add_mlflow_run(metrics={"f1": 0.95}, tags=tags)
    world.clock.move(minutes=1)
    if registered_by == "the child that failed":
        catalog.add_version(world.models.model, run_id=begun, tags={RUN_TAG: run_id})
    world.clock.move(minutes=1)
    jobs.finish_run(failed, "RUN_EXECUTION_ERROR", notify=False)
    jobs.retry_task(run_id, "go")
    world.clock.move(minutes=1)
    again = jobs.start_child(run_id, "go", child)
    world.clock.move(minutes=1)
    if registered_by == "the child that counts":
        catalog.add_version(world.models.model, run_id=begun, tags={RUN_TAG: run_id})
    jobs.finish_run(again, "SUCCESS", notify=False)
    end(world, run_id)
    if registered_by == "the child that counts":
        assert asked(world) == "2"
    else:
        assert "v2: its MLflow run bears the job tags of task run" in told(world)


# --- no job tags ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("named", ["tag", "task_output"])
def test_empty_job_tags_are_absent(world: GateWorld, named: str) -> None:
    tags = {"mlflow.databricks.jobID": "", "mlflow.databricks.jobRunID": ""}
    registered(world, world.databricks.catalog.add_mlflow_run(metrics={"f1": 0.95}, tags=tags), named)
    assert asked(world) == "2"


# --- an MLflow server whose runs bear no job tags ---------------------------------------------------------


@pytest.fixture
def mlflow_world(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path, "mlflow") as made:
        # A real registry dates versions by the machine's clock.
        made.clock.time = datetime.now(UTC) - timedelta(seconds=1)
        yield made


def untagged(world: GateWorld, run_id: str | None, source: str = "", user: str = TRAINER) -> str:
    """Register a version whose MLflow run bears no job tags."""
    assert isinstance(world.models, MlflowModels)
    client = world.models.client
    run = client.create_run(world.models.experiment, tags={"mlflow.user": user})
    client.log_metric(run.info.run_id, "f1", 0.95)
    made = client.create_model_version(
        world.models.model,
        source=source or f"{run.info.artifact_uri}/model",
        run_id=run.info.run_id,
        tags={RUN_TAG: run_id} if run_id else {},
    )
    return str(made.version)


@pytest.mark.parametrize("way", ["auto", "tag"])
def test_without_job_tags_a_tag_alone_is_not_enough_and_the_way_out_is_named(
    mlflow_world: GateWorld, way: str
) -> None:
    world = mlflow_world
    world.reconfigure(version=way)
    run_id, _ = started(world)
    untagged(world, run_id)
    end(world, run_id)
    reason = told(world)
    assert "v2: its MLflow run bears no job tags" in reason
    assert "`version: trusted_tag`, with `trainers`" in reason


def test_a_gate_may_trust_the_tag_and_then_nobody_who_is_listed_may_approve(mlflow_world: GateWorld) -> None:
    world = mlflow_world
    world.reconfigure(version="trusted_tag", trainers=["reviewer-1", "octo-trainer"])
    run_id, _ = started(world)
    untagged(world, run_id)
    untagged(world, "1")
    untagged(world, None)
    end(world, run_id)
    pending = world.promotion(Phase.PENDING_APPROVAL)
    assert (pending.version.version, pending.found_by) == ("2", "trusted_tag")
    shown = world.ci_run(pending).inputs["evidence"]
    assert "the word of whoever registered it" in shown
    assert "`reviewer-1`, `octo-trainer` may not decide: `trainers in gates.yaml`" in shown
    world.approve(pending)
    world.look()
    assert "reviewer-1 does not count" in world.ended(pending, Phase.REJECTED)
    assert world.models.champion() == "1"


def test_a_trusted_tag_still_needs_the_files_of_the_versions_own_run(mlflow_world: GateWorld) -> None:
    world = mlflow_world
    world.reconfigure(version="trusted_tag", trainers=["octo-trainer"])
    run_id, _ = started(world)
    untagged(world, run_id, source="s3://elsewhere/model")
    end(world, run_id)
    assert "v2: its source s3://elsewhere/model is neither under the artifacts" in told(world)


def test_two_versions_with_a_trusted_tag_are_two(mlflow_world: GateWorld) -> None:
    world = mlflow_world
    world.reconfigure(version="trusted_tag", trainers=["octo-trainer"])
    run_id, _ = started(world)
    untagged(world, run_id)
    untagged(world, run_id)
    end(world, run_id)
    reason = told(world)
    assert "2 versions of churn (v2, v3) bear the tag" in reason
    assert f"champion-gate promotions ask --gate churn --version N --job {run_id}" in reason
    ask(world, "3", run_id)
    world.settle()
    pending = world.promotion(Phase.PENDING_APPROVAL)
    assert pending.version.version == "3"
    assert "the gate trusts tags" in " ".join(pending.origin)


def test_a_version_without_the_trusted_tag_is_not_asked_for_by_hand(mlflow_world: GateWorld) -> None:
    world = mlflow_world
    world.reconfigure(version="trusted_tag", trainers=["octo-trainer"])
    run_id, _ = started(world)
    version = untagged(world, None)
    end(world, run_id)
    with pytest.raises(ConflictError, match=f"trusts the tag {RUN_TAG}={run_id}, which it does not bear"):
        ask(world, version, run_id)
    assert isinstance(world.models, MlflowModels)
    world.models.client.set_model_version_tag(world.models.model, version, RUN_TAG, run_id)
    ask(world, version, run_id)
    world.settle()
    assert asked(world) == version


@pytest.mark.parametrize("way", ["auto", "tag"])
def test_a_gate_that_trusts_no_tags_does_not_do_so_by_hand(mlflow_world: GateWorld, way: str) -> None:
    world = mlflow_world
    world.reconfigure(version=way)
    run_id, _ = started(world)
    version = untagged(world, run_id)
    end(world, run_id)
    with pytest.raises(ConflictError, match="a gate may trust the version's tag"):
        ask(world, version, run_id)


def test_a_runs_own_output_names_a_version_without_job_tags_made_in_its_time(mlflow_world: GateWorld) -> None:
    world = mlflow_world
    run_id, task = started(world)
    version = untagged(world, None)
    world.databricks.jobs.set_output(
        task, {"champion_gate": {"model": world.models.model, "version": version}}
    )
    world.clock.move(minutes=1)
    end(world, run_id)
    assert asked(world) == "2"


def test_a_listed_trainer_whom_nobody_knows_keeps_the_request(world: GateWorld) -> None:
    world.reconfigure(trainers=["no-such-login"])
    world.train()
    world.settle()
    reason = world.promotion(Phase.REQUESTED).reason
    assert "`trainers` of gate churn lists no-such-login, whom nobody knows there" in reason


def test_listed_trainers_may_not_decide_where_those_behind_the_version_may(world: GateWorld) -> None:
    world.reconfigure(trainers=["reviewer-1"], allow_trainer_approval=True)
    pending = world.ask()
    assert "`reviewer-1` may not decide" in world.ci_run(pending).inputs["evidence"]
    world.approve(pending)
    world.look()
    assert "reviewer-1 does not count" in world.ended(pending, Phase.REJECTED)
