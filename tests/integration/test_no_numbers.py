"""NaN and infinity are no numbers to judge by, however a registry keeps them, and on either side of a comparison."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from champion_gate.domain.promotion import Phase
from integration.gate_world import GateWorld, gate_world
from integration.logged_models_world import EVERY_REGISTRY, row_of, train_models

pytestmark = pytest.mark.part("full", "mlflow")

EDGE = 1.7976931348623157e308

pytest_plugins = ("integration.mlflow_fixtures",)


@pytest.fixture(params=["uc", "mlflow"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path, request.param) as made:
        yield made


@pytest.fixture(params=EVERY_REGISTRY)
def every(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GateWorld]:
    server = request.getfixturevalue("running_mlflow") if request.param == "server" else None
    with gate_world(tmp_path, request.param, server=server) as made:
        yield made


def ineligible(world: GateWorld) -> str:
    world.settle()
    reason = world.ended(world.promotion(), Phase.INELIGIBLE)
    assert world.github.runs == []
    return reason


def test_an_infinite_score_of_a_run_meets_no_rule(every: GateWorld) -> None:
    every.train({"f1": math.inf})
    assert ineligible(every) == "The metric f1 is inf, which is no number to judge by."


@pytest.mark.parametrize("value", [EDGE, 1.797e308])
def test_a_number_at_the_edge_is_infinite(world: GateWorld, value: float) -> None:
    world.train({"f1": value})
    assert ineligible(world) == "The metric f1 is inf, which is no number to judge by."


def test_a_loss_at_the_other_edge_is_infinite(world: GateWorld) -> None:
    world.reconfigure(metrics={"loss": {"better": "lower", "at_most": 0.5}})
    world.train({"loss": -math.inf})
    assert ineligible(world) == "The metric loss is -inf, which is no number to judge by."


def test_a_large_number_is_still_a_number(world: GateWorld) -> None:
    world.reconfigure(metrics={"f1": {"better": "higher", "at_least": 0.8}})
    world.train({"f1": 1.7e308})
    world.settle()
    world.ended(world.promotion(), Phase.PENDING_APPROVAL)


@pytest.mark.parametrize("kept", [-math.inf, math.inf])
def test_an_infinite_champion_leaves_the_bounds_and_is_shown_so(every: GateWorld, kept: float) -> None:
    every.reconfigure(metrics={"f1": {"better": "higher", "at_least": 0.8}})
    every.models.move_alias(every.models.train(every.job_id, "9", {"f1": kept, "auc": kept}))
    every.train({"f1": 0.81, "auc": 0.5})
    every.settle()
    every.ended(every.promotion(), Phase.PENDING_APPROVAL)
    row = row_of(every, "f1")
    assert (row["candidate"], row["champion"], row["change"]) == (0.81, str(kept), None)
    document = every.evidence(every.promotion())
    (auc,) = document["other_metrics"]["rows"]  # type: ignore[index]
    assert (auc["champion"], auc["change"]) == (str(kept), None)


@pytest.mark.parametrize("better", ["higher", "lower"])
@pytest.mark.parametrize("kept", [-math.inf, math.inf, EDGE, math.nan])
def test_nothing_is_compared_with_a_champion_that_is_no_number(
    world: GateWorld, kept: float, better: str
) -> None:
    world.reconfigure(metrics={"f1": {"better": better, "max_worse": 0.01}})
    champion = world.models.train(world.job_id, "9", {"f1": kept})
    world.models.move_alias(champion)
    world.train({"f1": 0.81})
    reason = ineligible(world)
    assert "in the version that holds the alias, which is no number to compare with" in reason
    assert world.models.champion() == champion


def test_a_rule_that_compares_nothing_gets_past_a_champion_that_is_no_number(world: GateWorld) -> None:
    world.models.move_alias(world.models.train(world.job_id, "9", {"f1": math.inf}))
    world.train({"f1": 0.81})
    ineligible(world)
    ended = world.promotion()
    world.reconfigure(metrics={"f1": {"better": "higher", "at_least": 0.8}})
    world.core.promotion_orders.retry(ended.id, actor="ops")
    world.settle()
    world.promotion(Phase.PENDING_APPROVAL)


# --- of a logged model ------------------------------------------------------------------------------------

NO_NUMBERS = {"nan": math.nan, "inf": math.inf}


@pytest.mark.parametrize("value", NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_nan_and_infinity_of_a_logged_model_meet_no_rule(every: GateWorld, value: float) -> None:
    every.reconfigure(metrics={"f1": {"better": "higher", "at_least": -1}})
    train_models(every, [("f1", 0.9, 1), ("f1", value, 2)])
    assert f"The metric f1 is {value}, which is no number" in ineligible(every)


def test_nan_is_not_taken_for_a_loss_of_zero(every: GateWorld) -> None:
    every.reconfigure(metrics={"loss": {"better": "lower", "at_most": 0.5}})
    train_models(every, [("loss", math.nan)])
    assert "The metric loss is nan, which is no number" in ineligible(every)


def test_a_loss_of_zero_is_taken_for_what_it_is(world: GateWorld) -> None:
    world.reconfigure(metrics={"loss": {"better": "lower", "at_most": 0.5}})
    train_models(world, [("loss", 0.9, 0), ("loss", 0.0, 1)])
    world.settle()
    world.ended(world.promotion(), Phase.PENDING_APPROVAL)
    assert row_of(world, "loss")["candidate"] == 0
