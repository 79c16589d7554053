"""A project or repository that is transferred while people are asked: nothing fits there any more, so the request ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from champion_gate.domain.promotion import Phase
from integration.gate_providers import PROJECT
from integration.gate_world import REPOSITORY, GateWorld, gate_world


@pytest.fixture(
    params=["github", pytest.param("gitlab-branch", marks=pytest.mark.part("rest")), "gitlab-rules"]
)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path, provider=request.param) as made:
        yield made


def transfer(world: GateWorld) -> None:
    """Another owner has it from now on, under the same id."""
    standin = world.provider.standin  # type: ignore[attr-defined]
    if world.provider.key == "github":
        standin.repository(REPOSITORY).owner.id += 1
    else:
        standin.project(PROJECT).namespace_id += 1


def test_a_place_that_was_transferred_ends_the_request_as_stale(world: GateWorld) -> None:
    pending = world.ask()
    transfer(world)
    world.provider.approve(world.run_id_of(pending), "reviewer-1")
    world.look()
    assert "looked at again until" in world.ended(pending, Phase.PENDING_APPROVAL)
    world.live(minutes=6)
    reason = world.ended(pending, Phase.STALE)
    assert "when approval was asked for" in reason
    assert reason.endswith(f"champion-gate promotions retry {pending.id}")
    assert world.models.champion() == "1"


def test_a_place_that_is_given_back_at_once_goes_on(world: GateWorld) -> None:
    pending = world.ask()
    standin = world.provider.standin  # type: ignore[attr-defined]
    transfer(world)
    world.look()
    world.live(minutes=4)
    world.ended(pending, Phase.PENDING_APPROVAL)
    if world.provider.key == "github":
        standin.repository(REPOSITORY).owner.id -= 1
    else:
        standin.project(PROJECT).namespace_id -= 1
    world.provider.approve(world.run_id_of(pending), "reviewer-1")
    world.look()
    world.live(minutes=1)
    world.ended(pending, Phase.PROMOTED)
