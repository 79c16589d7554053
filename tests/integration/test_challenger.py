"""A gate's `challenger`: the alias that stands on a version while people decide."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.domain.steps import Step, StepPhase
from champion_gate.flow.operator_steps import StepOrders
from integration.gate_crashes import DiesAtWrite, StoreBetween, start_with
from integration.gate_world import GateWorld, gate_world

pytestmark = pytest.mark.spread(4)

PUT = r"aliases/Challenger$"
LAST = 32
"""How many writes a promotion with a challenger takes; one more is never reached."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path, challenger="Challenger") as made:
        yield made


def challenger(world: GateWorld) -> str | None:
    return world.databricks.catalog.alias(world.models.model, "Challenger")


def put(world: GateWorld, version: str) -> None:
    """Somebody else moves it."""
    world.databricks.catalog.set_alias(world.models.model, "Challenger", version)


def step(world: GateWorld, promotion: Promotion, kind: str = "challenger") -> Step:
    return world.store.get_step(f"{promotion.id}-{kind}")


def moves(world: GateWorld) -> list[tuple[object, object, object]]:
    """(from, to, source) of every change of it in the ledger, oldest first."""
    world.store.verify_ledger()
    return [
        (line.entry.facts["from"], line.entry.facts["to"], line.entry.facts["source"])
        for line in reversed(world.store.ledger_lines(limit=1000))
        if line.entry.kind.value == "alias_change" and line.entry.alias == "Challenger"
    ]


def test_it_stands_on_the_version_until_people_have_decided(world: GateWorld) -> None:
    promotion = world.ask()
    assert (challenger(world), world.models.champion()) == ("2", "1")
    assert step(world, promotion).phase is StepPhase.SUCCEEDED
    world.sweep()
    world.approve(promotion)
    world.look()
    world.ended(promotion, Phase.PROMOTED)
    world.sweep()
    assert (challenger(world), world.models.champion()) == (None, "2")
    assert step(world, promotion, "challenger-removal").phase is StepPhase.SUCCEEDED
    assert moves(world) == [(None, "2", "challenger"), ("2", None, "challenger")]
    own = {line.entry.alias for line in world.store.ledger_lines(promotion_id=promotion.id)}
    assert own == {"Champion"}  # or its receipt would tell of another alias


def test_a_newer_candidate_takes_it_over_and_an_older_one_neither_takes_it_back_nor_away(
    world: GateWorld,
) -> None:
    world.reconfigure(challenger="Challenger", newer_version="keep")
    older, newer = world.ask(), world.ask({"f1": 0.92})
    assert challenger(world) == "3"
    world.reject(older)
    world.look()
    world.ended(older, Phase.REJECTED)
    assert challenger(world) == "3"
    assert newer.id in step(world, older, "challenger-removal").reason

    put(world, "1")
    late, newest = world.ask({"f1": 0.93}), world.ask({"f1": 0.94})
    assert (step(world, late).phase, step(world, newest).phase) == (StepPhase.FAILED, StepPhase.FAILED)
    world.databricks.catalog.drop_alias(world.models.model, "Challenger")
    orders = StepOrders(world.store, world.wake_ups, world.clock)
    for each in (newest, late):
        orders.retry(step(world, each).id, actor="operator-1")
        world.settle()
    assert (challenger(world), step(world, late).phase) == ("5", StepPhase.OVERTAKEN)


def test_an_alias_that_others_set_is_left_alone_and_people_are_asked_all_the_same(world: GateWorld) -> None:
    put(world, "1")
    promotion = world.ask()
    assert challenger(world) == "1"
    failed = step(world, promotion)
    assert failed.phase is StepPhase.FAILED
    assert "stands on v1, where champion-gate did not put it, and is left there" in failed.reason
    world.approve(promotion)
    world.look()
    world.ended(promotion, Phase.PROMOTED)
    assert challenger(world) == "1"


@pytest.mark.part("rest")
def test_where_somebody_else_moves_it_meanwhile_it_stays_there(world: GateWorld) -> None:
    promotion = world.ask()
    put(world, "1")
    world.reject(promotion)
    world.look()
    world.ended(promotion, Phase.REJECTED)
    assert challenger(world) == "1"
    assert moves(world) == [(None, "2", "challenger"), ("2", "1", "outside")]


def test_a_registry_that_refuses_it_is_told_and_stops_nothing(world: GateWorld) -> None:
    world.break_databricks(PUT, method="PUT", status=403, error_code="PERMISSION_DENIED", message="no owner")
    promotion = world.ask()
    assert "no owner" in (step(world, promotion).retry.last_error or "")
    assert challenger(world) is None
    world.databricks.faults.clear()
    world.live(minutes=20)
    assert (challenger(world), step(world, promotion).phase) == ("2", StepPhase.SUCCEEDED)


@pytest.mark.part("rest")
def test_a_promotion_that_ends_before_it_could_be_set_has_it_never_set(world: GateWorld) -> None:
    world.break_databricks(PUT, method="PUT", status=503)
    promotion = world.ask()
    world.reject(promotion)
    world.look()
    world.databricks.faults.clear()
    world.live(hours=2)
    assert (challenger(world), step(world, promotion).phase) == (None, StepPhase.OVERTAKEN)


@pytest.mark.part("rest")
def test_a_write_that_was_taken_and_may_still_arrive_is_waited_for(world: GateWorld) -> None:
    world.break_databricks(PUT, method="PUT", status=503)
    promotion = world.ask()
    world.reject(promotion)
    world.look()
    world.ended(promotion, Phase.REJECTED)
    put(world, "2")  # as it arrives
    world.databricks.faults.clear()
    world.live(minutes=20)
    assert challenger(world) is None


def test_an_alias_that_a_gate_asks_for_by_then_is_not_set(world: GateWorld) -> None:
    world.break_databricks(PUT, method="PUT", status=503)
    promotion = world.ask()
    world.databricks.faults.clear()
    world.reconfigure(alias="challenger")
    world.live(minutes=20)
    assert challenger(world) is None
    assert step(world, promotion).phase in {StepPhase.FAILED, StepPhase.OVERTAKEN}


def test_a_gate_without_it_makes_no_call_for_it(world: GateWorld) -> None:
    world.reconfigure()
    promotion = world.ask()
    assert [each.kind.value for each in world.store.steps_of(promotion.id)] == []


@pytest.mark.part("rest")
def test_it_works_on_mlflow_too(tmp_path: Path) -> None:
    with gate_world(tmp_path, "mlflow", challenger="Challenger", trainers=["octo-trainer"]) as world:
        promotion = world.ask()
        registry = world.core.context.registry
        assert registry.get_alias(world.models.model, "Challenger") == "2"
        world.approve(promotion)
        world.look()
        world.ended(promotion, Phase.PROMOTED)
        assert registry.get_alias(world.models.model, "Challenger") is None


@pytest.mark.part("rest")
@pytest.mark.parametrize("number", range(1, LAST + 2))
def test_a_crash_before_any_write_leaves_it_where_it_belongs(tmp_path: Path, number: int) -> None:
    with gate_world(tmp_path, challenger="Challenger") as world:
        world.train()
        dies = DiesAtWrite(number)
        start_with(world, StoreBetween(world.store, before=dies))
        try:
            world.settle()
            for promotion in world.store.pending_promotions():
                world.approve(promotion)
            world.wait(seconds=5)
        except SystemExit:
            world.crash()
        for _ in range(4):
            world.settle()
            for promotion in world.store.pending_promotions():
                if world.ci_run(promotion).status == "waiting":
                    world.approve(promotion)
            world.wait(minutes=11)

        assert dies.died is (number <= LAST), dies.left
        world.promotion(Phase.PROMOTED)
        assert (challenger(world), world.models.champion()) == (None, "2")
        assert [source for _, _, source in moves(world)] == ["challenger", "challenger"]
