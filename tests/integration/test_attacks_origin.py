"""The attack list, 31: somebody else's files under an honest job run."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from champion_gate.domain.callers import Caller, Role
from champion_gate.domain.marks import RUN_TAG
from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.errors import ConflictError
from integration.gate_models import TRAINER, MlflowModels
from integration.gate_world import GateWorld, gate_world

pytestmark = pytest.mark.spread(4)

FOREIGN = "s3://somebody-elses/model"
MALLORY = "mallory@example.com"
OPERATOR = Caller("ops", Role.OPERATOR, "API token t1")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path) as made:
        yield made


@pytest.fixture
def mlflow_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GateWorld]:
    with gate_world(tmp_path, "mlflow") as made:
        # Where mlflow's store looks for a logged model that is registered.
        monkeypatch.setenv("MLFLOW_TRACKING_URI", made.models.registry)
        yield made


def mlflow(world: GateWorld) -> Any:
    assert isinstance(world.models, MlflowModels)
    return world.models.client


def honest_run(world: GateWorld, **tags: str) -> tuple[str, str, str]:
    """A job run that has made v2 and not ended, its task run, and v2's MLflow run."""
    run_id = world.databricks.jobs.start_run(world.job_id)
    task = world.databricks.jobs.task_run_id(run_id, "train")
    version = world.models.train(world.job_id, task, {"f1": 0.91})
    if isinstance(world.models, MlflowModels):
        made = mlflow(world).get_model_version(world.models.model, version).run_id
        for key, value in tags.items():
            mlflow(world).set_model_version_tag(world.models.model, version, key, value)
    else:
        made = world.databricks.catalog.version(world.models.model, version).run_id
    return run_id, task, str(made)


def end(world: GateWorld, run_id: str) -> None:
    world.databricks.jobs.finish_run(run_id, notify=False)
    world.notify(run_id)
    world.settle()


def asked(world: GateWorld) -> str:
    """The version that people are asked about, the only one."""
    return world.promotion(Phase.PENDING_APPROVAL).version.version


def told(world: GateWorld) -> str:
    world.live(minutes=5)
    assert world.promotions() == ()
    assert world.models.champion() == "1"
    return world.notification(NotificationPhase.UNRESOLVED).reason


# --- where creators are recorded --------------------------------------------------------------------------


def foreign_version(world: GateWorld, run_id: str, made_by: str, creator: str | None = MALLORY) -> str:
    """What somebody may register: the honest MLflow run, other files, and the tag."""
    return world.databricks.catalog.add_version(
        world.models.model, run_id=made_by, created_by=creator, tags={RUN_TAG: run_id}, source=FOREIGN
    )


def test_attack_31_tagged_version_of_somebody_else_is_not_asked_for_in_place_of_the_honest_one(
    world: GateWorld,
) -> None:
    run_id, _, made_by = honest_run(world)
    foreign_version(world, run_id, made_by)
    end(world, run_id)
    assert asked(world) == "2"


@pytest.mark.part("rest", "None")
@pytest.mark.parametrize("creator", [MALLORY, "", None])
def test_attack_31_nobody_else_may_have_created_the_version_whatever_else_fits(
    world: GateWorld, creator: str | None
) -> None:
    world.reconfigure(version="tag")
    run_id, _, made_by = honest_run(world)
    foreign_version(world, run_id, made_by, creator)
    end(world, run_id)
    reason = told(world)
    assert "v3: " in reason
    assert (f"{MALLORY} created it" if creator else "does not tell who created it") in reason


def test_attack_31_two_tagged_versions_of_which_one_is_linked_are_one(world: GateWorld) -> None:
    run_id, _, made_by = honest_run(world)
    world.databricks.catalog.version(world.models.model, "2").tags[RUN_TAG] = run_id
    foreign_version(world, run_id, made_by)
    end(world, run_id)
    assert asked(world) == "2"


def test_attack_31_task_output_or_operator_that_names_the_foreign_version_is_not_believed(
    world: GateWorld,
) -> None:
    run_id, task, made_by = honest_run(world)
    foreign_version(world, run_id, made_by)
    named = {"model": world.models.model, "version": "3"}
    world.databricks.jobs.set_output(task, {"champion_gate": named})
    end(world, run_id)
    assert f"{MALLORY} created it, who is none of the run's principals" in told(world)
    with pytest.raises(ConflictError, match="nothing shows that this run made it"):
        world.core.promotion_orders.ask("churn", "3", job_run_id=run_id, caller=OPERATOR, reason="please")
    assert world.promotions() == ()


def test_attack_31_forged_job_tags_of_an_mlflow_run_of_ones_own_do_not_help(world: GateWorld) -> None:
    run_id, task, _ = honest_run(world)
    tags = {"mlflow.databricks.jobID": world.job_id, "mlflow.databricks.jobRunID": task}
    own = world.databricks.catalog.add_mlflow_run(metrics={"f1": 0.99}, tags=tags)
    foreign_version(world, run_id, own)
    end(world, run_id)
    assert asked(world) == "2"


def of_an_earlier_release(world: GateWorld, promotion: Promotion) -> None:
    """What showed the version's origin was not kept, and somebody else had registered it."""
    with closing(sqlite3.connect(world.database)) as rows, rows:
        rows.execute("UPDATE promotions SET details = json_remove(details, '$.origin')")
    assert world.again(promotion).origin == ()
    world.databricks.catalog.version(world.models.model, "2").created_by = MALLORY


def test_attack_31_what_an_earlier_release_believed_is_not_asked_for_afresh(world: GateWorld) -> None:
    pending = world.ask()
    world.reject(pending)
    world.look()
    of_an_earlier_release(world, pending)
    with pytest.raises(ConflictError, match="none of the run's principals"):
        world.core.promotion_orders.retry(pending.id, actor="ops", reason="again")
    with pytest.raises(ConflictError, match="none of the run's principals"):
        world.core.promotion_orders.ask("churn", "2", job_run_id=None, caller=OPERATOR, reason="again")
    world.databricks.catalog.version(world.models.model, "2").created_by = TRAINER
    afresh = world.core.promotion_orders.retry(pending.id, actor="ops", reason="again")
    assert world.store.get_promotion(afresh).origin


@pytest.mark.part("rest")
def test_attack_31_what_an_earlier_release_believed_is_not_taken_up_again_where_it_failed(
    world: GateWorld,
) -> None:
    pending = world.ask()
    world.approve(pending)
    fault = world.break_databricks("/aliases/", method="PUT", status=403)
    world.look()
    world.live(hours=25)
    assert fault.hits
    world.ended(pending, Phase.FAILED)
    world.databricks.faults.clear()
    of_an_earlier_release(world, pending)
    with pytest.raises(ConflictError, match="none of the run's principals"):
        world.core.promotion_orders.retry(pending.id, actor="ops", reason="again")
    world.databricks.catalog.version(world.models.model, "2").created_by = TRAINER
    assert world.core.promotion_orders.retry(pending.id, actor="ops", reason="again") == pending.id


def test_attack_31_what_an_earlier_release_believed_is_not_asked_for_where_it_waited(
    world: GateWorld,
) -> None:
    orders, model = world.core.alias_orders, world.models.model
    orders.hold(model, "Champion", caller=OPERATOR, reason="not now")
    world.train()
    world.settle()
    waiting = world.promotion(Phase.REQUESTED)
    of_an_earlier_release(world, waiting)
    orders.release(model, "Champion", caller=OPERATOR, reason="now")
    world.look()
    reason = world.ended(waiting, Phase.REQUESTED)
    assert f"{MALLORY} created it, who is none of the run's principals" in reason
    assert f"champion-gate promotions cancel {waiting.id}" in reason
    assert world.github.runs == []
    world.databricks.catalog.version(model, "2").created_by = TRAINER
    world.wait(minutes=11)
    assert world.again(waiting).origin
    world.approve(world.promotion(Phase.PENDING_APPROVAL))
    world.look()
    assert world.models.champion() == "2"


# --- where they are not -----------------------------------------------------------------------------------


def logged_model(world: GateWorld, of_run: str | None) -> str:
    client, models = mlflow(world), world.models
    assert isinstance(models, MlflowModels)
    made: str = client.create_logged_model(models.experiment, source_run_id=of_run).model_id
    return made


def register(world: GateWorld, source: str, made_by: str, **tags: str) -> str:
    """Register a version as a server does that is asked to; mlflow's client looks a source up first, elsewhere."""
    store, model = mlflow(world)._get_registry_client().store, world.models.model  # noqa: SLF001
    version = str(store.create_model_version(model, source, made_by).version)
    for key, value in tags.items():
        mlflow(world).set_model_version_tag(model, version, key, value)
    return version


def other_run(world: GateWorld) -> Any:
    assert isinstance(world.models, MlflowModels)
    return mlflow(world).create_run(world.models.experiment, tags={"mlflow.user": MALLORY})


SOURCES: dict[str, Callable[[GateWorld, str], str]] = {
    "elsewhere": lambda _world, _run: FOREIGN,
    "beside the run": lambda _world, run: f"s3://bucket/churn/{run}/artifacts-2/model",
    "above the run": lambda _world, run: f"s3://bucket/churn/{run}",
    "out of the run again": lambda _world, run: f"s3://bucket/churn/{run}/artifacts/%2e%2e/%2e%2e/x",
    "another run": lambda world, _run: f"{other_run(world).info.artifact_uri}/model",
    "another run's URI": lambda world, _run: f"runs:/{other_run(world).info.run_id}/model",
    "another run's logged model": lambda world, _run: (
        f"models:/{logged_model(world, other_run(world).info.run_id)}"
    ),
    "a logged model of no run": lambda world, _run: f"models:/{logged_model(world, None)}",
    "called like the run's logged model": lambda world, run: (
        f"s3://somebody-elses/models/{logged_model(world, run)}/artifacts"
    ),
}


@pytest.mark.part("rest", "beside", "above", "URI", "no run", "called like")
@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_attack_31_mlflow_foreign_source_under_the_honest_run_is_not_asked_for(
    mlflow_world: GateWorld, source: Callable[[GateWorld, str], str]
) -> None:
    world = mlflow_world
    run_id, _, made_by = honest_run(world)
    registered = register(world, source(world, made_by), made_by, **{RUN_TAG: run_id})
    end(world, run_id)
    assert asked(world) == "2"
    with pytest.raises(ConflictError, match="nothing shows that this run made it"):
        world.core.promotion_orders.ask(
            "churn", registered, job_run_id=run_id, caller=OPERATOR, reason="please"
        )


@pytest.mark.part("rest", "True")
@pytest.mark.parametrize("tagged_too", [False, True])
def test_attack_31_mlflow_reason_names_the_source(mlflow_world: GateWorld, *, tagged_too: bool) -> None:
    world = mlflow_world
    world.reconfigure(version="tag")
    run_id, _, made_by = honest_run(world, **({RUN_TAG: "1"} if tagged_too else {}))
    register(world, FOREIGN, made_by, **{RUN_TAG: run_id})
    end(world, run_id)
    assert f"v3: its source {FOREIGN} is neither under the artifacts of its MLflow run" in told(world)


@pytest.mark.part("rest", "True")
@pytest.mark.parametrize("tagged", [False, True])
def test_attack_31_mlflow_honest_version_is_asked_for_and_its_evidence_says_whose_word_it_is(
    mlflow_world: GateWorld, *, tagged: bool
) -> None:
    world = mlflow_world
    run_id, _, made_by = honest_run(world)
    if tagged:
        mlflow(world).set_model_version_tag(world.models.model, "2", RUN_TAG, run_id)
    register(world, FOREIGN, made_by, **{RUN_TAG: run_id})
    end(world, run_id)
    pending = world.promotion(Phase.PENDING_APPROVAL)
    assert pending.version.version == "2"
    shown = world.ci_run(pending).inputs["evidence"]
    assert "the word of whoever registered it" in shown
    assert "Its source lies under the artifacts of its MLflow run." in shown


@pytest.mark.part("rest", "True")
@pytest.mark.parametrize("by_folder", [False, True])
def test_attack_31_mlflow_logged_model_of_the_honest_run_is_its_own(
    mlflow_world: GateWorld, *, by_folder: bool
) -> None:
    world = mlflow_world
    run_id = world.databricks.jobs.start_run(world.job_id)
    task = world.databricks.jobs.task_run_id(run_id, "train")
    assert isinstance(world.models, MlflowModels)
    tags = {"mlflow.user": "trainer@example.com", "mlflow.databricks.jobID": world.job_id}
    made = mlflow(world).create_run(
        world.models.experiment, tags={**tags, "mlflow.databricks.jobRunID": task}
    )
    mlflow(world).log_metric(made.info.run_id, "f1", 0.91)
    model_id = logged_model(world, made.info.run_id)
    folder = mlflow(world).get_logged_model(model_id).artifact_location
    register(world, folder if by_folder else f"models:/{model_id}", made.info.run_id)
    end(world, run_id)
    pending = world.promotion(Phase.PENDING_APPROVAL)
    assert f"logged model {model_id} of its MLflow run" in world.ci_run(pending).inputs["evidence"]
