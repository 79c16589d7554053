"""A version is judged by its own numbers: those of its logged model, where it has one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from champion_gate.domain.evidence_markdown import render_markdown
from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.promotion import Phase
from integration.gate_models import MlflowModels
from integration.gate_world import GateWorld, gate_world
from integration.logged_models_world import EVERY_REGISTRY, log_models, row_of, train_models

pytestmark = [pytest.mark.part("full", "mlflow"), pytest.mark.spread(2)]

BOUND: dict[str, object] = {"f1": {"better": "higher", "at_least": 0.8}}
ON_EVAL: dict[str, object] = {"f1": {"better": "higher", "at_least": 0.8, "dataset": "eval"}}
COMPARED: dict[str, object] = {"f1": {"better": "higher", "max_worse": 0.01}}

pytest_plugins = ("integration.mlflow_fixtures",)


@pytest.fixture
def uc(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path, metrics=BOUND) as made:
        yield made


@pytest.fixture(params=["uc", "mlflow"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path, request.param, metrics=BOUND) as made:
        yield made


@pytest.fixture(params=EVERY_REGISTRY)
def every(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GateWorld]:
    server = request.getfixturevalue("running_mlflow") if request.param == "server" else None
    with gate_world(tmp_path, request.param, server=server, metrics=BOUND) as made:
        yield made


def ineligible(world: GateWorld) -> str:
    world.settle()
    reason = world.ended(world.promotion(), Phase.INELIGIBLE)
    assert world.github.runs == []
    assert world.models.champion() == "1"
    return reason


def unread(world: GateWorld) -> str:
    """It is looked for again first, and ten minutes later judged without; the reason."""
    world.settle()
    world.ended(world.promotion(), Phase.REQUESTED)
    world.live(minutes=30)
    return ineligible(world)


def asked(world: GateWorld) -> dict[str, Any]:
    """The frozen row of f1; people are asked."""
    world.settle()
    world.ended(world.promotion(), Phase.PENDING_APPROVAL)
    return row_of(world, "f1")


def test_the_number_of_a_better_model_of_the_same_run_does_not_count(every: GateWorld) -> None:
    train_models(every, [("f1", 0.55)], [("f1", 0.97)])
    assert ineligible(every) == "F1 is 0.55, and must be at least 0.8."


def test_the_number_of_a_worse_model_of_the_same_run_does_not_count(world: GateWorld) -> None:
    train_models(world, [("f1", 0.97)], [("f1", 0.55)])
    row = asked(world)
    assert row["candidate"] == 0.97
    assert row["candidate_from"]["kind"] == "logged_model"
    assert row["candidate_from"]["id"].startswith("m-")


def test_of_a_hundred_steps_the_highest_counts(every: GateWorld) -> None:
    steps = [("f1", 0.99 - 0.005 * step, step, None) for step in range(100)]
    train_models(every, [*steps[50:], *steps[:50]])
    assert "f1 is 0.495" in ineligible(every).casefold()


def test_of_one_step_the_newest_counts(uc: GateWorld) -> None:
    run_id, (model_id,) = log_models(uc, [("f1", 0.95, 3)])
    uc.clock.move(seconds=1)
    uc.models.measure(model_id, ("f1", 0.6, 3), ("f1", 0.99, 2))
    uc.models.register(model_id)
    uc.notify(run_id)
    assert "F1 is 0.6, " in ineligible(uc)


def test_two_numbers_of_the_same_step_and_moment_are_none(uc: GateWorld) -> None:
    train_models(uc, [("f1", 0.95), ("f1", 0.6)])
    assert "the metric f1 is nan, which is no number" in ineligible(uc).casefold()


def test_several_datasets_need_a_rule_that_names_one(every: GateWorld) -> None:
    train_models(every, [("f1", 0.99, 0, "train"), ("f1", 0.55, 0, "eval")])
    reason = ineligible(every)
    assert "different values on dataset eval (0.55), dataset train (0.99)" in reason
    assert "`f1: {dataset: eval, …}`" in reason


@pytest.mark.parametrize(
    ("dataset", "phase"), [("eval", Phase.INELIGIBLE), ("train", Phase.PENDING_APPROVAL)]
)
def test_the_dataset_that_the_rule_names_counts(world: GateWorld, dataset: str, phase: Phase) -> None:
    world.reconfigure(metrics={"f1": {"better": "higher", "at_least": 0.8, "dataset": dataset}})
    train_models(world, [("f1", 0.99, 0, "train"), ("f1", 0.55, 0, "eval")])
    world.settle()
    world.ended(world.promotion(), phase)


def test_the_evidence_shows_the_other_datasets_too(uc: GateWorld) -> None:
    uc.reconfigure(metrics=ON_EVAL)
    train_models(uc, [("f1", 0.55, 7, "train"), ("f1", 0.9, 7, "eval")])
    row = asked(uc)
    assert (row["candidate"], row["dataset"], row["candidate_from"]["dataset"]) == (0.9, "eval", "eval")
    assert row["candidate_from"]["datasets"]["rows"] == [
        {"name": "eval", "value": 0.9, "step": 7},
        {"name": "train", "value": 0.55, "step": 7},
    ]
    promotion = uc.promotion()
    shown = render_markdown(uc.evidence(promotion), promotion.evidence_sha256 or "")
    assert "of the candidate: logged model `m-" in shown
    assert "dataset `eval`, step `7`, besides `0.55` on `train`" in shown
    assert "of the Champion: no number, as" in shown


def test_a_dataset_that_it_was_not_measured_on(world: GateWorld) -> None:
    world.reconfigure(metrics=ON_EVAL)
    train_models(world, [("f1", 0.99, 0, "train")])
    assert "it was measured on dataset train (0.99), not on dataset eval" in ineligible(world)


def test_the_runs_number_names_no_dataset(world: GateWorld) -> None:
    world.reconfigure(metrics=ON_EVAL)
    world.train({"f1": 0.99})
    assert "it was measured on no dataset (0.99), not on dataset eval" in ineligible(world)


def test_the_number_that_names_no_dataset_can_be_asked_for(uc: GateWorld) -> None:
    uc.reconfigure(metrics={"f1": {"better": "higher", "at_least": 0.8, "dataset": ""}})
    train_models(uc, [("f1", 0.9), ("f1", 0.55, 0, "eval")])
    assert asked(uc)["candidate"] == 0.9


def test_the_same_value_on_several_datasets_needs_no_choice(uc: GateWorld) -> None:
    train_models(uc, [("f1", 0.9, 0, "eval"), ("f1", 0.9, 0, "test")])
    assert asked(uc)["candidate"] == 0.9


# --- the MLflow run's number ------------------------------------------------------------------------------


def log_to_run(world: GateWorld, model_id: str, name: str, value: float) -> None:
    """A number of the run alone, as `mlflow.log_metric` without a model gives it."""
    if hasattr(world.models, "client"):
        run_id = world.models.client.get_logged_model(model_id).source_run_id
        world.models.client.log_metric(run_id, name, value)
    else:
        mlflow = world.databricks.catalog.mlflow
        mlflow.log_run_metric(mlflow.run_of(model_id), name, value)


@pytest.mark.parametrize("tells_outputs", [True, False])
def test_the_runs_number_counts_for_its_only_model(world: GateWorld, tells_outputs: bool) -> None:
    world.databricks.catalog.mlflow.tells_outputs = tells_outputs
    run_id, (model_id,) = log_models(world, [("auc", 0.7)])
    log_to_run(world, model_id, "f1", 0.93)
    world.models.register(model_id)
    world.notify(run_id)
    row = asked(world)
    assert (row["candidate"], row["candidate_from"]["kind"]) == (0.93, "mlflow_run")


@pytest.mark.parametrize("tells_outputs", [True, False])
def test_the_runs_number_does_not_count_for_one_of_several(world: GateWorld, tells_outputs: bool) -> None:
    world.databricks.catalog.mlflow.tells_outputs = tells_outputs
    train_models(world, [("auc", 0.7)], [("f1", 0.97)])
    reason = ineligible(world)
    assert "The metric f1 is missing: the version's logged model m-" in reason
    assert "may be of m-" in reason


def test_a_model_that_only_names_its_run_counts_too(uc: GateWorld) -> None:
    run_id, (model_id,) = log_models(uc, [("auc", 0.7)])
    mlflow = uc.databricks.catalog.mlflow
    mlflow.log_metric(mlflow.log_model(mlflow.run_of(model_id), as_output=False), "f1", 0.97)
    uc.models.register(model_id)
    uc.notify(run_id)
    assert "may be of m-" in ineligible(uc)


def test_a_model_that_the_run_only_measured_counts_too(uc: GateWorld) -> None:
    _, (other,) = log_models(uc, [("f1", 0.97)])
    run_id, (model_id,) = log_models(uc, [("auc", 0.7)])
    log_to_run(uc, model_id, "f1", 0.97)
    mlflow = uc.databricks.catalog.mlflow
    mlflow.read_model(mlflow.run_of(model_id), other)
    uc.models.register(model_id)
    uc.notify(run_id)
    assert f"may be of {other}" in ineligible(uc)


def test_a_search_that_is_refused_means_more_than_one(uc: GateWorld) -> None:
    run_id, (model_id,) = log_models(uc, [("auc", 0.7)])
    log_to_run(uc, model_id, "f1", 0.93)
    uc.models.register(model_id)
    uc.break_databricks("logged-models/search", status=403)
    uc.notify(run_id)
    assert "which logged models that run has cannot be read" in unread(uc)


def put_off_because(world: GateWorld) -> str:
    """Why nobody has been asked yet."""
    (waiting,) = world.promotions()
    assert waiting.phase is Phase.REQUESTED, waiting.reason
    return waiting.retry.last_error or ""


def test_a_search_without_an_answer_is_made_again(uc: GateWorld) -> None:
    run_id, (model_id,) = log_models(uc, [("auc", 0.7)])
    log_to_run(uc, model_id, "f1", 0.93)
    uc.models.register(model_id)
    fault = uc.break_databricks("logged-models/search", status=500)
    uc.notify(run_id)
    uc.settle()
    assert "logged-models/search answered 500" in put_off_because(uc)
    assert fault.hits
    uc.databricks.faults.clear()
    uc.wait(minutes=1)
    assert asked(uc)["candidate"] == 0.93


@pytest.mark.parametrize("entry", ["{}", '{"info": null}', '{"info": {"status": "LOGGED_MODEL_READY"}}'])
def test_a_search_with_an_entry_that_cannot_be_read_is_made_again(uc: GateWorld, entry: str) -> None:
    """It may be another logged model of the run, whose numbers these then may be."""
    run_id, (model_id,) = log_models(uc, [("auc", 0.7)])
    log_to_run(uc, model_id, "f1", 0.93)
    uc.models.register(model_id)
    uc.break_databricks("logged-models/search", status=200, body=f'{{"models": [{entry}]}}'.encode())
    uc.notify(run_id)
    uc.settle()
    assert "an answer cannot be read" in put_off_because(uc)
    uc.databricks.faults.clear()
    uc.wait(minutes=1)
    assert asked(uc)["candidate"] == 0.93


def register_files(world: GateWorld, run_id: str) -> str:
    """A version of files of the run, as before there were logged models."""
    if hasattr(world.models, "client"):
        client = world.models.client
        source = f"{client.get_run(run_id).info.artifact_uri}/model"
        return str(client.create_model_version(world.models.model, source=source, run_id=run_id).version)
    return world.databricks.catalog.add_version(world.models.model, run_id=run_id)


def training_with_models(world: GateWorld, models: int, *, as_outputs: bool = True) -> tuple[str, str]:
    """A job run and its MLflow run, which has an f1 of 0.97 and so many logged models without numbers."""
    job_run = world.databricks.jobs.start_run(world.job_id)
    task = world.databricks.jobs.task_run_id(job_run, "train")
    training = world.models.run(world.job_id, task, {"f1": 0.97})
    for _ in range(models):
        if as_outputs:
            world.models.log_model(training)
        elif isinstance(world.models, MlflowModels):
            world.models.client.create_logged_model(world.models.experiment, source_run_id=training)
        else:
            world.databricks.catalog.mlflow.log_model(training, as_output=False)
    world.databricks.jobs.finish_run(job_run, "SUCCESS", notify=False)
    return job_run, training


@pytest.mark.parametrize("as_outputs", [True, False])
def test_a_version_that_names_none_of_the_runs_models(every: GateWorld, *, as_outputs: bool) -> None:
    job_run, training = training_with_models(every, 2, as_outputs=as_outputs)
    register_files(every, training)
    every.notify(job_run)
    assert "and the version does not say which of them it is" in ineligible(every)


@pytest.mark.parametrize("models", [0, 1])
def test_a_version_of_files_of_a_run_with_at_most_one_model_has_the_runs_numbers(
    world: GateWorld, models: int
) -> None:
    job_run, training = training_with_models(world, models, as_outputs=False)
    register_files(world, training)
    world.notify(job_run)
    assert asked(world)["candidate"] == 0.97


def test_a_search_that_is_refused_means_more_than_one_for_files_of_a_run_too(uc: GateWorld) -> None:
    job_run, training = training_with_models(uc, 0)
    register_files(uc, training)
    uc.break_databricks("logged-models/search", status=403)
    uc.notify(job_run)
    assert f"which logged models MLflow run {training} has cannot be read" in unread(uc)


def test_a_champion_of_files_of_a_run_with_several_models_is_no_yardstick(world: GateWorld) -> None:
    world.reconfigure(metrics=COMPARED)
    _, training = training_with_models(world, 2, as_outputs=False)
    world.models.move_alias(register_files(world, training))
    train_models(world, [("f1", 0.9)])
    row = asked(world)
    assert row["champion"] is None
    assert "does not say which of them it is" in row["champion_from"]["missing"]


SOURCES_OF_OTHERS = {
    "files of the run": "runs:/{run}/model",
    "another logged model": "models:/{other}",
    "a version of a model of that name": "models:/{own}/sub",
    "a folder that is only called so": "s3://somewhere-else/models/{own}/artifacts",
    "a folder beside": "dbfs:/databricks/mlflow-tracking/4711/logged_models/{own}/artifacts-2",
    "a folder of another": "dbfs:/databricks/mlflow-tracking/4711/logged_models/{other}/artifacts",
}


@pytest.mark.parametrize("source", SOURCES_OF_OTHERS.values(), ids=SOURCES_OF_OTHERS)
@pytest.mark.parametrize("told", [True, False])
def test_numbers_of_a_logged_model_whose_files_the_version_has_not(
    uc: GateWorld, source: str, *, told: bool
) -> None:
    run_id, (own, other) = log_models(uc, [("f1", 0.97)], [("f1", 0.55)])
    mlflow = uc.databricks.catalog.mlflow
    training = mlflow.run_of(own)
    uc.databricks.catalog.add_version(
        uc.models.model,
        run_id=training,
        source=source.format(run=training, own=own, other=other),
        model_id=own if told else "",
    )
    uc.notify(run_id)
    reason = ineligible(uc)
    if told:
        assert f"is said to be the logged model {own}, whose files are not those of its source" in reason


def test_a_field_that_the_source_bears_out(uc: GateWorld) -> None:
    run_id, (own, _) = log_models(uc, [("f1", 0.97)], [("f1", 0.55)])
    uc.databricks.catalog.add_version(uc.models.model, logged_model=own, model_id=own)
    uc.notify(run_id)
    assert asked(uc)["candidate"] == 0.97


def test_parameters_and_tags_of_a_logged_model_whose_files_it_has_not(uc: GateWorld) -> None:
    uc.reconfigure(metrics=None)
    job_run, training = training_with_models(uc, 1)
    mlflow = uc.databricks.catalog.mlflow
    own = mlflow.log_model(training, params={"depth": "3"}, tags={"team": "a"})
    uc.databricks.catalog.add_version(uc.models.model, run_id=training, source="s3://x/model", model_id=own)
    uc.notify(job_run)
    uc.settle()
    uc.ended(uc.promotion(), Phase.PENDING_APPROVAL)
    document: Any = uc.evidence(uc.promotion())
    assert document["parameters"]["rows"] == document["tags"]["rows"] == []


def test_a_folder_of_a_logged_model_names_it(uc: GateWorld) -> None:
    run_id, (worse, _) = log_models(uc, [("f1", 0.55)], [("f1", 0.97)])
    mlflow = uc.databricks.catalog.mlflow
    folder = f"dbfs:/databricks/mlflow-tracking/4711/logged_models/{worse}/artifacts"
    uc.databricks.catalog.add_version(uc.models.model, run_id=mlflow.run_of(worse), source=folder)
    uc.notify(run_id)
    assert ineligible(uc) == "F1 is 0.55, and must be at least 0.8."


# --- a logged model that cannot be read -------------------------------------------------------------------


def test_a_logged_model_that_was_deleted_leaves_no_numbers(uc: GateWorld) -> None:
    run_id, (model_id,) = log_models(uc, [("f1", 0.9)])
    uc.models.register(model_id)
    uc.models.forget(model_id)
    uc.notify(run_id)
    assert f"the version's logged model {model_id} cannot be read" in unread(uc)


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.parametrize("path", ["logged-models/m-", "logged-models/search"])
def test_numbers_that_could_not_be_read_once_are_read_again(uc: GateWorld, path: str, status: int) -> None:
    run_id, (model_id,) = log_models(uc, [("auc", 0.7)])
    log_to_run(uc, model_id, "f1", 0.93)
    uc.models.register(model_id)
    uc.break_databricks(path, status=status)
    uc.notify(run_id)
    uc.settle()
    waiting = uc.promotion(Phase.REQUESTED)
    assert "cannot be read" in (waiting.retry.last_error or "")
    uc.databricks.faults.clear()
    uc.wait(minutes=1)
    assert asked(uc)["candidate"] == 0.93


def test_a_logged_model_that_was_deleted_shows_no_origin_where_creators_are_not_recorded(
    tmp_path: Path,
) -> None:
    with gate_world(tmp_path, "mlflow", metrics=BOUND) as world:
        run_id, (model_id,) = log_models(world, [("f1", 0.9)])
        world.models.register(model_id)
        world.models.forget(model_id)
        world.notify(run_id)
        world.settle()
        assert world.promotions() == ()


def test_without_rules_a_deleted_logged_model_stops_nothing(uc: GateWorld) -> None:
    uc.reconfigure(metrics=None)
    run_id, (model_id,) = log_models(uc, [("f1", 0.9)])
    uc.models.register(model_id)
    uc.models.forget(model_id)
    uc.notify(run_id)
    uc.settle()
    uc.ended(uc.promotion(), Phase.PENDING_APPROVAL)


def test_a_logged_model_without_an_answer_is_read_again(uc: GateWorld) -> None:
    uc.break_databricks("logged-models/m-", status=503, times=50)
    train_models(uc, [("f1", 0.9)])
    uc.settle()
    assert "answered 503" in (uc.notification(NotificationPhase.WAITING).reason or "")
    uc.databricks.faults.clear()
    uc.wait(minutes=1)
    assert asked(uc)["candidate"] == 0.9


# --- the Champion -----------------------------------------------------------------------------------------


def champion(world: GateWorld, *models: Any, register: int = 0) -> None:
    """A Champion made of the first of these models, by a job run that nobody was told of."""
    _, made = log_models(world, *models)
    world.models.move_alias(world.models.register(made[register]))


def test_the_champion_is_judged_by_its_own_numbers(every: GateWorld) -> None:
    every.reconfigure(metrics=COMPARED)
    champion(every, [("f1", 0.97)], [("f1", 0.5)])
    train_models(every, [("f1", 0.9)])
    every.settle()
    reason = every.ended(every.promotion(), Phase.INELIGIBLE)
    assert "worse by 0.07" in reason


def test_a_better_model_of_the_champions_run_is_no_yardstick(world: GateWorld) -> None:
    world.reconfigure(metrics=COMPARED)
    champion(world, [("f1", 0.85)], [("f1", 0.99)])
    train_models(world, [("f1", 0.9)])
    row = asked(world)
    assert (row["champion"], row["champion_from"]["kind"]) == (0.85, "logged_model")


def test_a_champion_with_several_datasets_needs_a_rule_that_names_one(world: GateWorld) -> None:
    world.reconfigure(metrics=COMPARED)
    champion(world, [("f1", 0.99, 0, "train"), ("f1", 0.85, 0, "eval")])
    train_models(world, [("f1", 0.9, 0, "eval")])
    world.settle()
    reason = world.ended(world.promotion(), Phase.INELIGIBLE)
    assert "cannot be compared with the version that holds the alias: it has different values" in reason
    assert "`f1: {dataset: eval, …}`" in reason


def test_champion_and_candidate_are_compared_on_the_dataset_of_the_rule(world: GateWorld) -> None:
    world.reconfigure(metrics={"f1": {"better": "higher", "max_worse": 0.01, "dataset": "eval"}})
    champion(world, [("f1", 0.99, 0, "train"), ("f1", 0.85, 0, "eval")])
    train_models(world, [("f1", 0.5, 0, "train"), ("f1", 0.845, 0, "eval")])
    row = asked(world)
    assert (row["candidate"], row["champion"]) == (0.845, 0.85)


def test_a_champion_whose_run_is_gone_is_still_judged_by_its_logged_model(uc: GateWorld) -> None:
    uc.reconfigure(metrics=COMPARED)
    champion(uc, [("f1", 0.97)])
    training = next(iter(uc.databricks.catalog.mlflow.runs()))
    uc.databricks.catalog.mlflow.remove_run(training)
    train_models(uc, [("f1", 0.9)])
    uc.settle()
    assert "worse by 0.07" in uc.ended(uc.promotion(), Phase.INELIGIBLE)


@pytest.mark.parametrize("heals", [True, False])
def test_a_champion_whose_numbers_cannot_be_read_is_compared_with_once_they_can(
    uc: GateWorld, *, heals: bool
) -> None:
    uc.reconfigure(metrics=COMPARED)
    _, (theirs,) = log_models(uc, [("f1", 0.97)])
    uc.models.move_alias(uc.models.register(theirs))
    uc.break_databricks(f"logged-models/{theirs}", status=404)
    train_models(uc, [("f1", 0.9)])
    uc.settle()
    waiting = uc.promotion(Phase.REQUESTED)
    assert f"logged model {theirs} cannot be read" in (waiting.retry.last_error or "")
    if heals:
        uc.databricks.faults.clear()
        uc.wait(minutes=1)
        assert "worse by 0.07" in uc.ended(waiting, Phase.INELIGIBLE)
        return
    uc.live(minutes=30)
    row = asked(uc)
    assert row["champion"] is None
    assert "cannot be read" in row["champion_from"]["missing"]


# --- parameters and tags ----------------------------------------------------------------------------------


def test_parameters_are_the_logged_models_own(world: GateWorld) -> None:
    run_id = world.databricks.jobs.start_run(world.job_id)
    training = world.models.run(world.job_id, world.databricks.jobs.task_run_id(run_id, "train"))
    ours = world.models.log_model(training, params={"depth": "3"})
    world.models.log_model(training, params={"depth": "12"})
    world.models.measure(ours, ("f1", 0.9))
    world.databricks.jobs.finish_run(run_id, "SUCCESS", notify=False)
    world.models.register(ours)
    world.notify(run_id)
    asked(world)
    document: Any = world.evidence(world.promotion())
    assert document["parameters"]["rows"] == [
        {
            "name": "depth",
            "candidate": "3",
            "champion": None,
            "candidate_kind": "logged_model",
            "champion_kind": None,
        }
    ]
    assert document["candidate"]["logged_model"] == ours
