"""From a notification to a promotion: which runs count, which version they made, and what a person is told if none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from champion_gate.domain.marks import RUN_TAG
from champion_gate.domain.notifications import JobNotification, NotificationPhase
from champion_gate.domain.promotion import Phase
from champion_gate_standins.databricks.server import Fault
from integration.gate_crashes import Once, StoreBetween, start_with
from integration.gate_models import TRAINER
from integration.gate_world import GATE, GateWorld, gate_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path) as made:
        yield made


def told(world: GateWorld, phase: NotificationPhase) -> str:
    world.settle()
    if phase is NotificationPhase.UNRESOLVED:
        world.live(minutes=5)  # in which a version that is not listed yet is looked for again
    return world.notification(phase).reason


# --- repeats ---------------------------------------------------------------------------------------------


def test_repeats_count_on_one_row_and_give_one_promotion(world: GateWorld) -> None:
    run_id, _ = world.train_run()
    for _ in range(5):
        world.notify(run_id)
    world.settle()
    for _ in range(5):
        world.notify(run_id)
        world.settle()
    assert world.notification(NotificationPhase.RESOLVED).count == 10
    world.promotion(Phase.PENDING_APPROVAL)
    assert len(world.github.runs) == 1


def test_a_repeat_does_not_reopen_what_has_ended(world: GateWorld) -> None:
    run_id, _ = world.train_run()
    world.notify(run_id)
    world.settle()
    world.reject(world.promotion())
    world.look()
    world.notify(run_id)
    world.settle()
    assert world.promotion(Phase.REJECTED).id in world.notification(NotificationPhase.RESOLVED).reason
    assert len(world.github.runs) == 1


@pytest.mark.parametrize("what", ["source", "version_id"])
def test_a_repeat_that_is_told_less_of_the_version_asks_for_no_other_one(world: GateWorld, what: str) -> None:
    run_id, _ = world.train_run()
    world.notify(run_id)
    world.settle()
    world.reject(world.promotion())
    world.look()
    version = world.databricks.catalog.version("main.ml.churn", "2")
    told = getattr(version, what)
    setattr(version, what, None)
    world.notify(run_id)
    world.settle()
    assert "does not tell" in world.notification(NotificationPhase.WAITING).resolutions[0].reason
    setattr(version, what, told)
    world.live(minutes=1)
    assert world.promotion(Phase.REJECTED).id in world.notification(NotificationPhase.RESOLVED).reason
    assert len(world.github.runs) == 1


@pytest.mark.parametrize(
    ("what", "phase"),
    [("version_id", Phase.REJECTED), ("version_id", Phase.CANCELLED), ("run_id", Phase.INELIGIBLE)],
)
def test_a_repeat_that_is_told_more_of_the_version_reopens_nothing(
    world: GateWorld, what: str, phase: Phase
) -> None:
    run_id, number = world.train_run()
    version = world.databricks.catalog.version("main.ml.churn", number)
    version.tags[RUN_TAG] = run_id
    told = getattr(version, what)
    setattr(version, what, None)
    world.notify(run_id)
    world.settle()
    if phase is Phase.REJECTED:
        world.reject(world.promotion())
    elif phase is Phase.CANCELLED:
        world.core.promotion_orders.cancel(world.promotion().id, actor="operator-1", reason="not this one")
    world.live(minutes=20)
    first = world.promotion(phase)
    setattr(version, what, told)
    world.notify(run_id)
    world.live(minutes=20)
    assert world.promotion(phase).id == first.id
    assert first.id in world.notification(NotificationPhase.RESOLVED).reason


def test_a_notification_that_comes_while_its_row_is_worked_on_is_worked_on_again(world: GateWorld) -> None:
    run_id, _ = world.train_run()
    notification_id = world.notify(run_id)
    again = Once("create_promotion", lambda: world.notify(run_id))
    start_with(world, StoreBetween(world.store, after=again))
    world.core.resolver.resolve(notification_id)
    assert world.notification(NotificationPhase.RECEIVED).count == 2
    told(world, NotificationPhase.RESOLVED)
    assert world.notification().resolutions[0].count == 2
    world.promotion(Phase.PENDING_APPROVAL)


def test_a_repaired_run_asks_for_its_new_version(world: GateWorld) -> None:
    run_id, _ = world.train_run({"f1": 0.85})
    world.notify(run_id)
    world.settle()
    first = world.promotion(Phase.INELIGIBLE)
    world.clock.move(minutes=10)
    world.databricks.jobs.repair_run(run_id)
    task = world.databricks.jobs.task_run_id(run_id, "train")
    assert world.models.train(world.job_id, task, {"f1": 0.93}) == "3"
    world.databricks.jobs.finish_run(run_id, notify=False)
    world.notify(run_id)
    world.settle()
    second = world.promotion(Phase.PENDING_APPROVAL)
    assert (first.version.version, second.version.version) == ("2", "3")
    assert world.notification(NotificationPhase.RESOLVED).count == 2


# --- which runs ------------------------------------------------------------------------------------------


def test_a_task_notification_resolves_through_its_job_run(world: GateWorld) -> None:
    run_id, _ = world.train_run()
    task = world.databricks.jobs.task_run_id(run_id, "train")
    world.notify(task, task_key="train", parent_run_id=run_id)
    told(world, NotificationPhase.RESOLVED)
    assert world.promotion(Phase.PENDING_APPROVAL).job_run_id == run_id


def test_a_task_notification_of_a_run_that_failed_as_a_whole_is_ignored(world: GateWorld) -> None:
    run_id, _ = world.train_run(result="RUN_EXECUTION_ERROR")
    world.notify(world.databricks.jobs.task_run_id(run_id, "train"), task_key="train", parent_run_id=run_id)
    assert "did not succeed" in told(world, NotificationPhase.IGNORED)
    assert world.promotions() == ()


def test_a_run_that_has_not_ended_is_waited_for(world: GateWorld) -> None:
    run_id = world.databricks.jobs.start_run(world.job_id)
    world.notify(run_id)
    assert f"Run {run_id} has not ended yet" in told(world, NotificationPhase.WAITING)
    world.wait(hours=3)
    world.notification(NotificationPhase.WAITING)
    task = world.databricks.jobs.task_run_id(run_id, "train")
    world.models.train(world.job_id, task, {"f1": 0.91})
    world.databricks.jobs.finish_run(run_id, notify=False)
    world.wait(minutes=2)
    world.notification(NotificationPhase.RESOLVED)
    world.promotion(Phase.PENDING_APPROVAL)


@pytest.mark.parametrize("result", ["RUN_EXECUTION_ERROR", "USER_CANCELED", "SUCCESS_WITH_FAILURES"])
def test_a_run_that_did_not_end_well_is_ignored_whatever_the_notification_says(
    world: GateWorld, result: str
) -> None:
    run_id, _ = world.train_run(result=result)
    world.notify(run_id)
    assert result in told(world, NotificationPhase.IGNORED)
    assert world.promotions() == ()


def test_a_run_of_which_it_is_not_known_how_it_ended_is_ignored_after_a_while(world: GateWorld) -> None:
    run_id, _ = world.train_run(result="BRAND_NEW")
    world.notify(run_id)
    assert f"How run {run_id} ended is not known (BRAND_NEW" in told(world, NotificationPhase.WAITING)
    world.live(minutes=59)
    world.notification(NotificationPhase.WAITING)
    world.live(minutes=4)
    assert "not known to be a success (BRAND_NEW" in told(world, NotificationPhase.IGNORED)
    assert world.promotions() == ()


def test_a_run_whose_ending_is_told_a_moment_later_is_not_lost(world: GateWorld) -> None:
    run_id, _ = world.train_run()
    headers = {"Authorization": "Bearer standin-token"}
    url = f"{world.databricks_url}/api/2.2/jobs/runs/get"
    answer = requests.get(url, {"run_id": run_id}, headers=headers, timeout=10).json()
    del answer["status"]["termination_details"]
    untold = world.break_databricks("/jobs/runs/get$", body=json.dumps(answer).encode())
    world.notify(run_id)
    assert "(TERMINATED without a reason)" in told(world, NotificationPhase.WAITING)
    untold.times = 0
    world.wait(minutes=2)
    world.promotion(Phase.PENDING_APPROVAL)


def test_a_gate_may_take_runs_that_succeeded_with_failures(world: GateWorld) -> None:
    world.reconfigure(accept_success_with_failures=True)
    run_id, _ = world.train_run(result="SUCCESS_WITH_FAILURES")
    world.notify(run_id)
    told(world, NotificationPhase.RESOLVED)


def test_a_job_that_no_gate_watches_causes_no_call(world: GateWorld) -> None:
    other = world.databricks.jobs.add_job("other")
    run_id = world.databricks.jobs.start_run(other)
    world.notify(run_id, job_id=other, job_name="other")
    assert told(world, NotificationPhase.IGNORED) == f"No gate watches job {other} (other)."
    assert world.databricks.requests == []


def test_a_notification_cannot_pass_another_jobs_run_off_as_a_watched_one(world: GateWorld) -> None:
    other = world.databricks.jobs.add_job("other")
    run_id = world.databricks.jobs.start_run(other)
    world.models.train(other, world.databricks.jobs.task_run_id(run_id, "train"), {"f1": 0.99})
    world.databricks.jobs.finish_run(run_id, notify=False)
    world.notify(run_id)
    assert f"belongs to job {other} (other), which no gate watches" in told(world, NotificationPhase.IGNORED)
    assert world.promotions() == ()


def test_another_workspaces_run_is_not_read(world: GateWorld) -> None:
    run_id, _ = world.train_run()
    world.notify(run_id, workspace_id="999")
    assert "It is from workspace 999" in told(world, NotificationPhase.IGNORED)
    assert world.promotions() == ()


def test_a_name_that_two_jobs_bear_says_nothing(world: GateWorld) -> None:
    world.reconfigure(jobs=["train-churn"])
    run_id, _ = world.train_run()
    twin = world.databricks.jobs.add_job("train-churn")
    world.notify(run_id)
    reason = told(world, NotificationPhase.UNRESOLVED)
    assert "2 jobs bear the name 'train-churn'" in reason
    assert twin in reason
    assert "Put the job's id into gates.yaml." in reason
    world.databricks.jobs.remove_job(twin)
    world.notify(run_id)
    told(world, NotificationPhase.RESOLVED)


# --- which version ---------------------------------------------------------------------------------------


def run_that_says(world: GateWorld, said: object) -> str:
    run_id = world.databricks.jobs.start_run(world.job_id)
    world.databricks.jobs.set_output(world.databricks.jobs.task_run_id(run_id, "train"), said)
    return run_id


def end(world: GateWorld, run_id: str) -> None:
    world.databricks.jobs.finish_run(run_id, notify=False)
    world.notify(run_id)


def test_a_tasks_output_names_the_version(world: GateWorld) -> None:
    said = {"champion_gate": {"model": "main.ml.churn", "version": "2"}}
    run_id = run_that_says(world, said)
    catalog = world.databricks.catalog
    catalog.add_version(world.models.model, run_id=catalog.add_mlflow_run(metrics={"f1": 0.9}))
    end(world, run_id)
    told(world, NotificationPhase.RESOLVED)
    assert world.promotion(Phase.PENDING_APPROVAL).found_by == "task_output"


def test_a_tag_names_the_version(world: GateWorld) -> None:
    run_id = world.databricks.jobs.start_run(world.job_id)
    catalog = world.databricks.catalog
    tags = {"champion_gate_job_run_id": run_id}
    catalog.add_version(world.models.model, run_id=catalog.add_mlflow_run(metrics={"f1": 0.9}), tags=tags)
    end(world, run_id)
    told(world, NotificationPhase.RESOLVED)
    assert world.promotion(Phase.PENDING_APPROVAL).found_by == "tag"


def test_the_mlflow_run_tells_the_version(world: GateWorld) -> None:
    world.train()
    told(world, NotificationPhase.RESOLVED)
    assert world.promotion(Phase.PENDING_APPROVAL).found_by == "mlflow_run"


def test_a_version_that_others_made_is_not_believed_to_be_this_runs(world: GateWorld) -> None:
    catalog = world.databricks.catalog
    theirs = catalog.add_mlflow_run(user="other@example.com", metrics={"f1": 0.99})
    catalog.add_version(world.models.model, run_id=theirs, created_by="other@example.com")
    run_id = run_that_says(world, {"champion_gate": {"model": "main.ml.churn", "version": "2"}})
    end(world, run_id)
    assert "nothing shows that this run made it" in told(world, NotificationPhase.UNRESOLVED)
    assert world.promotions() == ()


def test_several_versions_of_one_run_are_shown_and_none_is_promoted(world: GateWorld) -> None:
    run_id = world.databricks.jobs.start_run(world.job_id)
    task = world.databricks.jobs.task_run_id(run_id, "train")
    for value in (0.91, 0.92):
        world.models.train(world.job_id, task, {"f1": value})
    end(world, run_id)
    reason = told(world, NotificationPhase.UNRESOLVED)
    assert "2 versions of main.ml.churn (v2, v3)" in reason
    assert "champion_gate_job_run_id" in reason
    assert world.promotions() == ()


def test_a_run_without_a_version_says_so(world: GateWorld) -> None:
    end(world, world.databricks.jobs.start_run(world.job_id))
    assert "No version of main.ml.churn was found" in told(world, NotificationPhase.UNRESOLVED)


def lists_versions_later(world: GateWorld) -> Fault:
    """From now on the list of versions is one of before the run."""
    nothing = json.dumps({"model_versions": []})
    return world.break_databricks("/models/main.ml.churn/versions$", body=nothing)


def test_a_version_that_is_not_listed_yet_is_looked_for_again(world: GateWorld) -> None:
    late = lists_versions_later(world)
    world.train()
    said = told(world, NotificationPhase.WAITING)
    assert "No version of main.ml.churn was found" in said
    assert "looked for again until" in said
    world.live(minutes=4)
    assert world.promotions() == ()
    assert 3 < late.hits < 30, "less and less often"
    world.databricks.faults.clear()
    world.live(minutes=1)
    world.notification(NotificationPhase.RESOLVED)
    world.promotion(Phase.PENDING_APPROVAL)


def test_a_version_that_a_task_names_and_is_not_there_yet_is_looked_for_again(world: GateWorld) -> None:
    run_id = world.databricks.jobs.start_run(world.job_id)
    task = world.databricks.jobs.task_run_id(run_id, "train")
    version = world.models.train(world.job_id, task, {"f1": 0.91})
    world.databricks.jobs.set_output(task, {"champion_gate": {"model": "main.ml.churn", "version": version}})
    world.break_databricks(f"/versions/{version}$", status=404)
    lists_versions_later(world)
    end(world, run_id)
    assert "looked for again until" in told(world, NotificationPhase.WAITING)
    world.databricks.faults.clear()
    world.live(minutes=2)
    world.promotion(Phase.PENDING_APPROVAL)


def test_a_run_that_is_told_of_late_has_its_version_looked_for_again(world: GateWorld) -> None:
    run_id, _ = world.train_run()
    world.clock.move(hours=2)
    world.notify(run_id)
    lists_versions_later(world).times = 1
    assert "looked for again until" in told(world, NotificationPhase.WAITING)
    world.live(minutes=1)
    world.promotion(Phase.PENDING_APPROVAL)


def test_what_was_not_listed_when_the_registry_came_back_is_looked_for_again(world: GateWorld) -> None:
    away = world.break_databricks("/models/main.ml.churn/versions$", status=403)
    world.train()
    world.live(minutes=20)
    assert away.hits
    world.databricks.faults.clear()
    lists_versions_later(world).times = 1
    world.live(minutes=16)
    world.promotion(Phase.PENDING_APPROVAL)


def test_a_run_that_is_told_of_late_and_made_no_version_says_so_after_minutes(world: GateWorld) -> None:
    run_id = world.databricks.jobs.start_run(world.job_id)
    world.databricks.jobs.finish_run(run_id, "SUCCESS", notify=False)
    world.clock.move(hours=2)
    world.notify(run_id)
    assert "No version of main.ml.churn was found" in told(world, NotificationPhase.UNRESOLVED)


def pending_version(world: GateWorld) -> None:
    run_id = world.databricks.jobs.start_run(world.job_id)
    task = world.databricks.jobs.task_run_id(run_id, "train")
    version = world.models.train(world.job_id, task, {"f1": 0.91})
    world.databricks.catalog.set_status(world.models.model, version, "PENDING_REGISTRATION")
    end(world, run_id)


def test_a_version_that_is_still_uploaded_is_waited_for(world: GateWorld) -> None:
    pending_version(world)
    assert "v2 is pending; waiting until it is ready" in told(world, NotificationPhase.WAITING)
    world.live(minutes=30)
    assert world.promotions() == ()
    world.databricks.catalog.set_status(world.models.model, "2", "READY")
    world.live(minutes=2)
    world.notification(NotificationPhase.RESOLVED)
    world.promotion(Phase.PENDING_APPROVAL)


def test_a_version_that_never_gets_ready_is_given_up(world: GateWorld) -> None:
    pending_version(world)
    world.live(minutes=63)
    reason = told(world, NotificationPhase.UNRESOLVED)
    assert "v2 is pending, not ready. Was the upload cut short? Run the job again." in reason


def test_a_version_that_is_not_ready_is_not_asked_about(world: GateWorld) -> None:
    pending_version(world)
    world.databricks.catalog.set_status(world.models.model, "2", "FAILED_REGISTRATION")
    assert "not ready" in told(world, NotificationPhase.UNRESOLVED)
    assert world.promotions() == ()


def test_a_version_whose_status_is_not_known_is_waited_for(world: GateWorld) -> None:
    pending_version(world)
    world.databricks.catalog.set_status(world.models.model, "2", "BRAND_NEW")
    assert "v2 is unknown; waiting until it is ready" in told(world, NotificationPhase.WAITING)
    world.live(minutes=30)
    assert world.promotions() == ()
    world.databricks.catalog.set_status(world.models.model, "2", "READY")
    world.live(minutes=2)
    world.promotion(Phase.PENDING_APPROVAL)


def test_a_version_whose_status_stays_unknown_is_given_up(world: GateWorld) -> None:
    pending_version(world)
    world.databricks.catalog.set_status(world.models.model, "2", "BRAND_NEW")
    world.live(minutes=63)
    assert "v2 is unknown, not ready" in told(world, NotificationPhase.UNRESOLVED)
    assert world.promotions() == ()


# --- several gates ---------------------------------------------------------------------------------------


def test_a_gate_that_cannot_be_resolved_holds_up_no_other(world: GateWorld) -> None:
    world.databricks.catalog.add_model("main.ml.aaa")
    gate = {**GATE, "jobs": [int(world.job_id)], "identities": {TRAINER: "octo-trainer"}}
    world.write_gates(
        [{**gate, "name": "aaa", "model": "main.ml.aaa"}, {**gate, "name": "churn", "model": "main.ml.churn"}]
    )
    fault = world.break_databricks("main.ml.aaa", status=500)
    world.train()
    reason = told(world, NotificationPhase.WAITING)
    assert fault.hits
    assert "aaa: Trying again" in reason
    assert "churn: main.ml.churn v2 asks for Champion" in reason
    world.promotion(Phase.PENDING_APPROVAL)
    world.databricks.faults.clear()
    world.wait(minutes=1)
    assert "aaa: No version of main.ml.aaa" in told(world, NotificationPhase.UNRESOLVED)
    world.promotion(Phase.PENDING_APPROVAL)


def test_one_run_may_feed_two_gates(world: GateWorld) -> None:
    gate = {**GATE, "jobs": [int(world.job_id)], "model": "main.ml.churn"}
    world.write_gates([{**gate, "name": "one"}, {**gate, "name": "two", "alias": "Shadow"}])
    world.train()
    told(world, NotificationPhase.RESOLVED)
    assert sorted(p.alias for p in world.promotions()) == ["Champion", "Shadow"]
    assert len(world.github.runs) == 2


def test_a_child_jobs_version_goes_to_the_gate_that_watches_the_child(world: GateWorld) -> None:
    jobs = world.databricks.jobs
    parent = jobs.add_job("nightly", run_as=TRAINER, creator=TRAINER)
    strict = {**GATE, "jobs": [int(world.job_id)], "model": world.models.model}
    lax = {**strict, "name": "lax", "jobs": [int(parent)], "allow_trainer_approval": True}
    world.write_gates([strict, lax])
    started = jobs.start_run(parent, tasks={"go": "run_job"})
    child = jobs.start_child(started, "go", world.job_id)
    world.models.train(world.job_id, jobs.task_run_id(child, "train"), {"f1": 0.91})
    for run_id in (child, started):
        jobs.finish_run(run_id, notify=False)
    world.store.record_notification(
        "hook",
        JobNotification("jobs.on_success", world.databricks.workspace_id, parent, started, "nightly"),
        world.clock.now(),
    )
    assert "No version" in told(world, NotificationPhase.UNRESOLVED)
    assert world.promotions() == ()
    world.notify(child)
    world.settle()
    assert world.promotion(Phase.PENDING_APPROVAL).gate == "churn"


def test_a_gate_that_names_its_job_does_not_trust_the_notifications_word_for_the_name(
    world: GateWorld,
) -> None:
    world.reconfigure(jobs=["train-churn"])
    run_id, _ = world.train_run()
    for name in ("", "an older name", "x" * 4000):
        world.store.record_notification(
            "hook",
            JobNotification("jobs.on_success", world.databricks.workspace_id, world.job_id, run_id, name),
            world.clock.now(),
        )
        world.settle()
        world.notification(NotificationPhase.RESOLVED)
    assert world.promotion(Phase.PENDING_APPROVAL).job_run_id == run_id
