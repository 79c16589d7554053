"""Versions that no watched job made: a laptop, another job or a copy did (`source: registry | both`)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from champion_gate.domain.notifications import NotificationPhase, StoredNotification, of_version
from champion_gate.domain.promotion import Phase
from champion_gate.flow.made_elsewhere import Elsewhere
from integration.gate_models import TRAINER, CatalogModels, MlflowModels
from integration.gate_world import GateWorld, gate_world

LAPTOP = "laptop@example.com"
WHO = {TRAINER: "octo-trainer", LAPTOP: "reviewer-1"}
UPDATES = json.dumps([{"full_name": "main.ml.churn", "version": 2}])


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GateWorld]:
    """On Unity Catalog, with a gate that looks at the registry alone, and has begun to."""
    with gate_world(tmp_path, source="registry", jobs=None, identities=WHO) as made:
        made.sweep()
        made.clock.move(minutes=1)
        yield made


@pytest.fixture
def both(world: GateWorld) -> GateWorld:
    """Beside the job, and looked at from the same time on."""
    world.reconfigure(source="both", identities=WHO)
    world.sweep()
    return world


def register(
    world: GateWorld,
    tags: Mapping[str, str] | None = None,
    *,
    created_by: str | None = LAPTOP,
    **version: object,
) -> str:
    """Somebody logs a run and registers a version."""
    assert isinstance(world.models, CatalogModels)
    run_id = world.models.catalog.add_mlflow_run(metrics={"f1": 0.93}, user=created_by, tags=tags or {})
    return world.models.catalog.add_version(
        world.models.model,
        run_id=run_id,
        created_by=created_by,
        **version,  # type: ignore[arg-type]
    )


def job_tags(world: GateWorld, job_id: str, run_id: str) -> dict[str, str]:
    task = world.databricks.jobs.task_run_id(run_id, "train")
    return {"mlflow.databricks.jobID": job_id, "mlflow.databricks.jobRunID": task}


def told(world: GateWorld) -> StoredNotification:
    """The only notification of a version."""
    (found,) = (each for each in world.notifications() if each.source == "registry")
    return found


def test_a_version_from_a_laptop_is_found_asked_about_and_promoted(world: GateWorld) -> None:
    version = register(world)
    world.sweep()
    pending = world.promotion(Phase.PENDING_APPROVAL)
    assert (pending.version.version, pending.job_run_id) == (version, "")
    assert [(each.role, each.name) for each in pending.trainers] == [
        ("version creator", LAPTOP),
        ("MLflow run user", LAPTOP),
    ]
    world.approve(pending, "reviewer-2")
    world.look()
    world.ended(pending, Phase.PROMOTED)
    assert world.models.champion() == version
    # Doubled and late news of it change nothing, and what was there before is none of the gate's business.
    elsewhere = Elsewhere(world.core.context)
    for number in (version, "1", version):
        elsewhere.told("MAIN.ml.churn", number)
    world.sweep()
    assert world.promotion().id == pending.id
    old = next(
        each for each in world.notifications() if each.notification.told_version == ("main.ml.churn", "1")
    )
    assert old.phase is NotificationPhase.IGNORED
    assert "was made before gate churn began to look" in old.reason


def test_whoever_registered_it_does_not_approve_it(world: GateWorld) -> None:
    register(world)
    world.sweep()
    pending = world.promotion()
    world.approve(pending, "reviewer-1")
    world.look()
    assert "reviewer-1 does not count, who is behind this version (version creator)" in world.ended(
        pending, Phase.REJECTED
    )
    assert world.models.champion() == "1"


@pytest.mark.part("rest")
def test_a_creator_who_is_not_told_keeps_it_waiting(world: GateWorld) -> None:
    register(world, created_by=None)
    world.sweep()
    pending = world.promotion(Phase.REQUESTED)
    assert "The version creator of this version was not told" in pending.reason


@pytest.mark.parametrize("stands_for", [None, [], ["octo-trainer"]])
def test_a_service_principal_stands_for_nobody_until_somebody_says_so(
    world: GateWorld, stands_for: list[str] | None
) -> None:
    principal = "11111111-2222-3333-4444-555555555555"
    said = {} if stands_for is None else {principal: stands_for}
    world.reconfigure(source="registry", jobs=None, identities={**WHO, **said})
    assert isinstance(world.models, CatalogModels)
    run_id = world.models.catalog.add_mlflow_run(metrics={"f1": 0.93}, user=LAPTOP)
    world.models.catalog.add_version(world.models.model, run_id=run_id, created_by=principal)
    world.sweep()
    (found,) = world.store.list_promotions().items
    assert (found.phase is Phase.REQUESTED) == (stands_for is None), found.reason
    assert ("person behind its service principal" in found.reason) == (stands_for is None)


@pytest.mark.parametrize(
    "result", ["SUCCESS", pytest.param("RUN_EXECUTION_ERROR", marks=pytest.mark.part("rest"))]
)
def test_a_version_of_a_watched_jobs_run_is_left_to_that_run(both: GateWorld, result: str) -> None:
    run_id, version = both.train_run(result=result)
    Elsewhere(both.core.context).told(both.models.model, version)
    both.settle()
    assert told(both).phase is NotificationPhase.IGNORED
    assert f"so it is left to that run: gate churn watches job {both.job_id}" in told(both).reason
    assert both.promotions() == ()
    both.notify(run_id)
    both.settle()
    assert [each.job_run_id for each in both.promotions()] == ([run_id] if result == "SUCCESS" else [])


@pytest.mark.parametrize("with_run", [True, pytest.param(False, marks=pytest.mark.part("rest"))])
def test_a_copy_of_a_version_of_a_watched_jobs_run_is_left_to_that_run(
    both: GateWorld, *, with_run: bool
) -> None:
    """Whoever copies a version may leave out its MLflow run; the people behind the original are not got rid of so."""
    run_id, version = both.train_run()
    both.notify(run_id)
    both.settle()
    original = both.core.context.registry.get_version(both.models.model, version)
    assert isinstance(both.models, CatalogModels)
    copy = both.models.catalog.add_version(
        both.models.model,
        run_id=original.run_id if with_run else None,
        created_by=LAPTOP,
        source=f"models:/{both.models.model}/{version}",
    )
    both.sweep()
    of_copy = of_version(both.models.model, copy).run_id
    (left,) = (each for each in both.notifications() if each.notification.run_id == of_copy)
    assert left.phase is NotificationPhase.IGNORED
    assert f"gate churn watches job {both.job_id}" in left.reason
    assert [each.version.version for each in both.promotions()] == [version]


@pytest.mark.part("rest")
def test_whoever_made_what_was_copied_counts_without_its_run(world: GateWorld) -> None:
    original = register(world, created_by=TRAINER)
    assert isinstance(world.models, CatalogModels)
    world.clock.move(minutes=1)
    copy = world.models.catalog.add_version(
        world.models.model, created_by=LAPTOP, source=f"models:/{world.models.model}/{original}"
    )
    world.sweep()
    (asked,) = (each for each in world.promotions() if each.version.version == copy)
    assert ("creator of what it is a copy of", TRAINER) in [(each.role, each.name) for each in asked.trainers]


@pytest.mark.part("rest")
def test_a_version_of_a_job_that_another_gate_watches_is_left_to_it(world: GateWorld) -> None:
    gate = {"model": world.models.model, "approval": world.approval, "identities": WHO}
    world.write_gates(
        [
            {**gate, "name": "churn", "source": "registry"},
            {**gate, "name": "jobs", "jobs": [int(world.job_id)]},
        ]
    )
    _, version = world.train_run()
    Elsewhere(world.core.context).told(world.models.model, version)
    world.settle()
    assert "gate jobs watches job" in told(world).reason


def test_a_gate_that_watches_the_job_by_now_makes_the_approval_of_its_version_stale(world: GateWorld) -> None:
    """Else whoever approves at the first gate decides about what is for the people of the second."""
    gate: dict[str, object] = {
        "model": world.models.model,
        "approval": world.approval,
        "identities": WHO,
    }
    first = {**gate, "name": "churn", "source": "registry"}
    world.write_gates([first])
    _, version = world.train_run()
    world.sweep()
    pending = world.promotion(Phase.PENDING_APPROVAL)
    assert pending.version.version == version
    world.approve(pending)
    world.write_gates([first, {**gate, "name": "jobs", "jobs": [int(world.job_id)]}])
    world.look()
    assert f"so it is left to that run: gate jobs watches job {world.job_id}" in world.ended(
        pending, Phase.STALE
    )
    assert world.models.champion() == "1"


@pytest.mark.part("rest")
def test_a_version_of_a_job_that_a_watched_job_started_is_left_to_that_run(both: GateWorld) -> None:
    jobs = both.databricks.jobs
    child = jobs.add_job("child", run_as=TRAINER)
    parent = jobs.start_run(both.job_id, tasks={"call": "run_job"})
    run_id = jobs.start_child(parent, "call", child)
    version = register(both, job_tags(both, child, run_id), created_by=TRAINER)
    Elsewhere(both.core.context).told(both.models.model, version)
    both.settle()
    assert f"gate churn watches job {both.job_id}" in told(both).reason


@pytest.mark.part("rest")
def test_beside_jobs_it_is_looked_at_once_no_run_of_them_is_open(both: GateWorld) -> None:
    """A run may name a version by its output alone; the run's people must not be missed then."""
    jobs = both.databricks.jobs
    run_id = jobs.start_run(both.job_id, creator="starter@example.com")
    both.reconfigure(source="both", identities={**WHO, "starter@example.com": "reviewer-2"})
    version = register(both, created_by=TRAINER)
    both.sweep()
    assert (told(both).phase, both.promotions()) == (NotificationPhase.WAITING, ())
    assert (
        f"Run {run_id} of job {both.job_id}, which may have made it, has not ended yet." in told(both).reason
    )
    jobs.set_output(
        jobs.task_run_id(run_id, "train"),
        {"champion_gate": {"model": both.models.model, "version": version}},
    )
    jobs.finish_run(run_id, notify=False)
    both.wait(minutes=3)
    assert "is not worked off yet" in told(both).reason
    both.sweep()
    both.wait(minutes=3)
    found = both.promotion()
    assert ("job run creator", "starter@example.com") in [(each.role, each.name) for each in found.trainers]
    assert told(both).resolutions[0].promotion_id == found.id


@pytest.mark.part("rest")
def test_the_people_of_another_job_count_as_trainers(world: GateWorld) -> None:
    jobs = world.databricks.jobs
    job_id = jobs.add_job("nightly", run_as="robot@example.com")
    run_id = jobs.start_run(job_id, creator="starter@example.com")
    jobs.finish_run(run_id, notify=False)
    register(world, job_tags(world, job_id, run_id))
    world.sweep()
    waiting = world.promotion(Phase.REQUESTED)
    assert {("job run creator", "starter@example.com"), ("job run-as", "robot@example.com")} <= {
        (each.role, each.name) for each in waiting.trainers
    }
    assert "No login at the provider is known for starter@example.com (job run creator)" in waiting.reason
    jobs.delete_run(run_id)
    world.clock.move(minutes=1)
    gone = register(world, {"mlflow.databricks.jobID": job_id, "mlflow.databricks.jobRunID": run_id})
    world.sweep()
    (unknown,) = (each for each in world.promotions() if each.version.version == gone)
    assert "The job run-as of this version was not told" in unknown.reason


@pytest.mark.parametrize("source", ["registry", pytest.param("both", marks=pytest.mark.part("rest"))])
def test_the_run_of_a_model_update_trigger_tells_of_versions(world: GateWorld, source: str) -> None:
    world.reconfigure(source=source, identities=WHO)
    register(world)
    run_id = world.databricks.jobs.start_run(world.job_id, tasks=["tell"], parameters={"updates": UPDATES})
    world.databricks.jobs.finish_run(run_id, notify=False)
    world.clock.move(minutes=1)
    world.notify(run_id)
    world.settle()
    pending = world.promotion(Phase.PENDING_APPROVAL)
    assert pending.found_by == "registry"
    by_hook = next(each for each in world.notifications() if each.source == "hook")
    assert by_hook.phase is NotificationPhase.IGNORED
    assert "new versions of it are looked at by themselves" in by_hook.reason


@pytest.mark.part("rest")
def test_an_upload_is_waited_for_and_a_version_that_is_not_there_is_unresolved(world: GateWorld) -> None:
    version = register(world, status="PENDING_REGISTRATION")
    elsewhere = Elsewhere(world.core.context)
    elsewhere.told(world.models.model, "77")
    world.sweep()
    assert [each.phase for each in world.notifications()] == [NotificationPhase.WAITING] * 2
    world.live(hours=2)
    reasons = {each.notification.run_id.rpartition("/")[2]: each for each in world.notifications()}
    assert reasons["77"].phase is NotificationPhase.UNRESOLVED
    assert "v77 of main.ml.churn is not there" in reasons["77"].reason
    assert reasons[version].phase is NotificationPhase.UNRESOLVED
    assert "Was the upload cut short? Register it again." in reasons[version].reason


@pytest.mark.part("rest")
def test_a_gate_that_watches_jobs_alone_again_ends_what_it_asked(world: GateWorld) -> None:
    register(world)
    world.sweep()
    pending = world.promotion(Phase.PENDING_APPROVAL)
    world.approve(pending, "reviewer-2")
    world.reconfigure(identities=WHO)
    world.look()
    assert "Gate churn asks only about versions of its jobs (source: jobs)." in world.ended(
        pending, Phase.STALE
    )


# --- MLflow, which records nobody ----------------------------------------------------------------------------


@pytest.fixture
def mlflow(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(
        tmp_path,
        "mlflow",
        source="registry",
        jobs=None,
        trainers=["reviewer-1"],
        identities={"trainer": "octo-trainer"},
    ) as made:
        made.clock.time = datetime.now(UTC)  # by which a real registry dates
        made.sweep()
        yield made


def from_a_laptop(world: GateWorld, source: str | None = None) -> str:
    assert isinstance(world.models, MlflowModels)
    client = world.models.client
    run = client.create_run(world.models.experiment, tags={"mlflow.user": "trainer"})
    client.log_metric(run.info.run_id, "f1", 0.93)
    made = client.create_model_version(
        world.models.model, source or f"{run.info.artifact_uri}/model", run_id=run.info.run_id
    )
    return str(made.version)


def test_on_mlflow_a_registrant_cannot_put_another_in_their_place(mlflow: GateWorld) -> None:
    """reviewer-1 registers, and says that `trainer` did: whoever may register is excluded, and the one they name too."""
    from_a_laptop(mlflow)
    mlflow.sweep()
    pending = mlflow.promotion(Phase.PENDING_APPROVAL)
    assert {each.login for each in pending.excluded} == {"octo-trainer", "reviewer-1"}
    mlflow.approve(pending, "reviewer-1")
    mlflow.look()
    assert "reviewer-1 does not count, who is behind this version (listed trainer)" in mlflow.ended(
        pending, Phase.REJECTED
    )
    assert mlflow.models.champion() == "1"


@pytest.mark.part("rest")
def test_on_mlflow_a_version_without_a_run_is_asked_about_where_no_number_is_judged(
    mlflow: GateWorld,
) -> None:
    assert isinstance(mlflow.models, MlflowModels)
    mlflow.reconfigure(source="registry", jobs=None, trainers=["reviewer-1"], metrics=None)
    made = mlflow.models.client.create_model_version(mlflow.models.model, "s3://bucket/by-hand")
    mlflow.sweep()
    pending = mlflow.promotion(Phase.PENDING_APPROVAL)
    assert "Nothing shows that its numbers are its own" in pending.origin[1]
    mlflow.approve(pending, "reviewer-2")
    mlflow.look()
    mlflow.ended(pending, Phase.PROMOTED)
    assert mlflow.models.champion() == str(made.version)


@pytest.mark.part("rest")
def test_on_mlflow_numbers_of_another_runs_files_are_not_judged_by(mlflow: GateWorld) -> None:
    from_a_laptop(mlflow, "s3://elsewhere/worse-model")
    mlflow.sweep()
    assert told(mlflow).phase is NotificationPhase.UNRESOLVED
    assert "is judged by numbers that may be another model's" in told(mlflow).reason


@pytest.mark.part("rest")
def test_on_mlflow_a_copy_has_the_numbers_of_what_it_is_a_copy_of(mlflow: GateWorld) -> None:
    assert isinstance(mlflow.models, MlflowModels)
    client, model = mlflow.models.client, mlflow.models.model
    client.create_registered_model("staging")
    run = client.create_run(mlflow.models.experiment, tags={"mlflow.user": "trainer"})
    client.log_metric(run.info.run_id, "f1", 0.95)
    client.create_model_version("staging", f"{run.info.artifact_uri}/model", run_id=run.info.run_id)
    client.create_model_version(model, "models:/staging/1", run_id=run.info.run_id)
    mlflow.sweep()
    pending = mlflow.promotion(Phase.PENDING_APPROVAL)
    assert pending.origin[1].startswith("It is a copy of v1 of staging. Of that one: Its source lies under")
