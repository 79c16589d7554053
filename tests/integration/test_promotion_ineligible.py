"""Versions about which nobody is asked: already Champion, older than it, or not good enough."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from champion_gate.domain.promotion import Phase
from integration.gate_world import GateWorld, gate_world

HIGHER: dict[str, object] = {"f1": {"better": "higher", "max_worse": 0.01, "at_least": 0.8}}
LOWER: dict[str, object] = {"loss": {"better": "lower", "max_worse": 0.05, "at_most": 0.5}}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path) as made:
        yield made


@pytest.fixture(params=["uc", "mlflow"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path, request.param) as made:
        yield made


def ineligible(world: GateWorld) -> str:
    world.settle()
    promotion = world.promotion()
    reason = world.ended(promotion, Phase.INELIGIBLE)
    assert world.github.runs == []
    assert world.models.tags(promotion.version.version)["champion_gate_status"] == "ineligible"
    assert [kind for kind, _ in world.ledger()] == []
    return reason


def test_a_version_that_is_champion_already(either: GateWorld) -> None:
    version = either.train()
    either.models.move_alias(version)
    assert ineligible(either) == f"Version 2 of {either.models.model} is Champion already."


def test_a_version_older_than_the_champion(either: GateWorld) -> None:
    either.train()
    either.models.move_alias(either.models.train(either.job_id, "9", {"f1": 0.9}))
    assert ineligible(either) == "Version 2 is older than version 3, which is Champion now."


BAD: dict[str, tuple[dict[str, object], dict[str, float], str]] = {
    "much worse": (HIGHER, {"f1": 0.85}, "worse by 0.05, and max_worse is 0.01"),
    "below the bound": (HIGHER, {"f1": 0.79}, "f1 is 0.79, and must be at least 0.8"),
    "above the bound": (LOWER, {"loss": 0.6}, "loss is 0.6, and must be at most 0.5"),
    "missing": (HIGHER, {"auc": 0.99}, "the metric f1 is missing"),
    "not a number": (HIGHER, {"f1": math.nan}, "the metric f1 is nan, which is no number"),
    "infinite": (HIGHER, {"f1": math.inf}, "the metric f1 is inf, which is no number"),
    "another name": (HIGHER, {"F1": 0.95}, "the metric f1 is missing"),
}


@pytest.mark.parametrize(("rules", "metrics", "words"), BAD.values(), ids=BAD)
def test_a_version_that_is_not_good_enough(
    world: GateWorld, rules: dict[str, object], metrics: dict[str, float], words: str
) -> None:
    world.reconfigure(metrics=rules)
    world.train(metrics)
    assert words.casefold() in ineligible(world).casefold()


GOOD: dict[str, tuple[dict[str, object], dict[str, float]]] = {
    "just good enough": (HIGHER, {"f1": 0.89}),
    "the champion has no such metric": (LOWER, {"loss": 0.5}),
    "no rules": ({}, {"f1": 0.1}),
}


@pytest.mark.parametrize(("rules", "metrics"), GOOD.values(), ids=GOOD)
def test_a_version_that_is_good_enough(
    world: GateWorld, rules: dict[str, object], metrics: dict[str, float]
) -> None:
    world.reconfigure(metrics=rules)
    world.ask(metrics)


def test_an_ineligible_version_is_not_asked_about_when_its_run_is_told_again(world: GateWorld) -> None:
    run_id, _ = world.train_run({"f1": 0.1})
    world.notify(run_id)
    world.settle()
    world.notify(run_id)
    world.reconfigure(metrics=None)
    ineligible(world)
