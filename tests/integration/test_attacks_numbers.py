"""The attack list, 27 and 28: numbers that are not those of the model, and numbers that are none."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from champion_gate.domain.promotion import Phase
from integration.gate_models import Row
from integration.gate_world import GateWorld, gate_world
from integration.logged_models_world import EVERY_REGISTRY, train_models

pytestmark = pytest.mark.part("full", "mlflow")

pytest_plugins = ("integration.mlflow_fixtures",)


@pytest.fixture(params=EVERY_REGISTRY)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GateWorld]:
    server = request.getfixturevalue("running_mlflow") if request.param == "server" else None
    with gate_world(tmp_path, request.param, server=server) as made:
        yield made


def refused(world: GateWorld) -> str:
    """Nobody was asked, and the alias stands where it stood."""
    world.settle()
    reason = world.ended(world.promotion(), Phase.INELIGIBLE)
    assert world.github.runs == []
    assert world.models.champion() == "1"
    assert world.ledger() == []
    return reason


def test_attack_27_the_numbers_of_a_better_model_of_the_same_run(world: GateWorld) -> None:
    train_models(world, [("f1", 0.55)], [("f1", 0.97)])
    assert "F1 is 0.55, and must be at least 0.8" in refused(world)


WORN: dict[str, list[Row]] = {
    "an early step": [("f1", 0.97, 1), ("f1", 0.55, 100)],
    "the data it was trained on": [("f1", 0.55, 0, "eval"), ("f1", 0.99, 0, "train")],
}


@pytest.mark.parametrize("rows", WORN.values(), ids=WORN)
def test_attack_27_a_number_of_the_model_that_is_not_the_one(world: GateWorld, rows: list[Row]) -> None:
    train_models(world, rows)
    assert "0.55" in refused(world)


@pytest.mark.parametrize("value", [math.inf, 1.7976931348623157e308, math.nan])
def test_attack_28_a_score_without_an_end(world: GateWorld, value: float) -> None:
    world.train({"f1": value})
    assert "which is no number to judge by" in refused(world)


@pytest.mark.parametrize("value", [-math.inf, math.nan])
def test_attack_28_a_loss_without_an_end(world: GateWorld, value: float) -> None:
    world.reconfigure(metrics={"loss": {"better": "lower", "at_most": 0.5}})
    train_models(world, [("loss", value)])
    assert "which is no number to judge by" in refused(world)
