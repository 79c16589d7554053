"""A registry that refused to let the service move an alias: nobody is asked for what would be refused again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from champion_gate.domain.findings import Verdict
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.flow.write_probe import WriteProbe
from integration.gate_world import GateWorld, gate_world

PUT = r"/models/main\.ml\.churn/aliases/"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path) as made:
        yield made


def refused(world: GateWorld) -> Promotion:
    """A promotion that failed after people had approved it, as the service does not own the model."""
    pending = world.ask()
    world.approve(pending)
    world.break_databricks(PUT, method="PUT", status=403, error_code="PERMISSION_DENIED", message="not owner")
    world.look()
    world.ended(pending, Phase.FAILED)
    return pending


def test_nobody_is_asked_after_a_refused_write_until_one_is_carried_out(world: GateWorld) -> None:
    failed = refused(world)
    asked = len(world.github.runs)
    version = world.train()
    world.settle()
    (waiting,) = (each for each in world.promotions() if each.version.version == version)
    assert waiting.phase is Phase.REQUESTED
    for words in ("Nobody is asked", "not owner", "own the model", "doctor --write-probe", "rights: assume"):
        assert words in waiting.reason
    world.wait(minutes=30)
    assert len(world.github.runs) == asked
    world.databricks.faults.clear()
    world.wait(minutes=30)
    assert world.again(waiting).phase is Phase.REQUESTED
    world.core.promotion_orders.retry(failed.id, actor="operator")
    world.wait(minutes=3)
    world.ended(failed, Phase.PROMOTED)
    assert world.again(waiting).phase is Phase.PENDING_APPROVAL
    assert len(world.github.runs) == asked + 1


@pytest.mark.part("rest")
def test_a_gate_may_ask_all_the_same(world: GateWorld) -> None:
    refused(world)
    world.reconfigure(rights="assume")
    world.ask()


@pytest.mark.part("rest")
def test_a_write_that_is_refused_for_another_reason_says_nothing_of_rights(world: GateWorld) -> None:
    pending = world.ask()
    world.approve(pending)
    world.break_databricks(PUT, method="PUT", status=400)
    world.look()
    world.ended(pending, Phase.FAILED)
    world.ask()


@pytest.mark.parametrize("registry", ["uc", pytest.param("mlflow", marks=pytest.mark.part("full"))])
def test_a_probe_that_is_carried_out_has_people_asked_again(tmp_path: Path, registry: str) -> None:
    with gate_world(tmp_path, registry) as world:
        context = world.core.context
        (key,) = context.managed.all()
        context.store.note_refusal(key, "403: not owner.")
        world.train()
        world.settle()
        assert world.promotion().phase is Phase.REQUESTED
        (found,) = WriteProbe(context.registry, key, context.store, [key.alias]).run()
        assert found.verdict is Verdict.OK
        assert context.registry.get_alias(key.model, "champion-gate-doctor") is None
        assert world.models.champion() == "1"
        world.wait(minutes=3)
        assert world.promotion().phase is Phase.PENDING_APPROVAL
