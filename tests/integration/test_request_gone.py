"""A run or pipeline that is gone at the vendor: the promotion ends, and can be asked for afresh."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from champion_gate.core.promotion import Phase, Promotion
from integration.gate_world import GateWorld, gate_world
from integration.rules_world import approve, assert_unmoved, post, shown


@pytest.fixture(params=["github", "gitlab-rules"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path, provider=request.param) as made:
        yield made


def delete(world: GateWorld, promotion: Promotion) -> None:
    world.provider.delete(world.run_id_of(promotion))


def cancel(world: GateWorld, promotion: Promotion) -> None:
    status, said = post(world, f"/promotions/{promotion.id}/cancel", reason="not this one")
    assert status == 202, said


# --- gone -------------------------------------------------------------------------------------------------


def test_a_request_that_is_gone_is_void_after_ten_minutes(world: GateWorld) -> None:
    pending = world.ask()
    delete(world, pending)
    world.look()
    view = shown(world, pending)
    assert view["phase"] == "pending_approval"
    assert "is gone: it was deleted" in view["reason"]
    assert "Looked for again at" in view["reason"]
    world.live(minutes=9, seconds=59)
    world.ended(pending, Phase.PENDING_APPROVAL)
    world.live(seconds=2)
    assert_unmoved(world, pending, Phase.REJECTED, "The request can no longer be decided")
    assert world.again(pending).reason.endswith(f"champion-gate promotions retry {pending.id}")
    status, said = post(world, f"/promotions/{pending.id}/retry")
    assert status == 202, said
    world.settle()
    fresh = world.promotion(Phase.PENDING_APPROVAL)
    approve(world, fresh)
    world.look()
    world.ended(fresh, Phase.PROMOTED)
    assert world.models.champion() == "2"


def test_that_it_is_gone_is_remembered_over_a_restart(world: GateWorld) -> None:
    pending = world.ask()
    delete(world, pending)
    world.look()
    since = world.again(pending).missing_since
    assert since == world.clock.now()
    world.clock.move(minutes=10)
    world.crash()
    world.settle()
    world.ended(pending, Phase.REJECTED)


def test_a_cancel_ends_what_is_gone(world: GateWorld) -> None:
    pending = world.ask()
    delete(world, pending)
    cancel(world, pending)
    world.live(minutes=15)
    assert_unmoved(world, pending, Phase.CANCELLED, "Cancelled by operator-1: not this one")
    assert post(world, f"/promotions/{pending.id}/retry")[0] == 202


def test_a_newer_version_supersedes_what_is_gone(world: GateWorld) -> None:
    pending = world.ask()
    delete(world, pending)
    newer = world.ask({"f1": 0.93})
    world.live(minutes=15)
    assert_unmoved(world, pending, Phase.SUPERSEDED, f"asks for Champion now ({newer.id})")
    approve(world, newer)
    world.look()
    assert world.models.champion() == "3"


def test_what_is_gone_when_nobody_can_decide_any_more_has_expired(world: GateWorld) -> None:
    pending = world.ask()
    delete(world, pending)
    world.clock.move(days=14, minutes=1)
    world.settle()
    world.ended(pending, Phase.PENDING_APPROVAL)
    world.live(minutes=11)
    assert "is gone" in world.ended(pending, Phase.EXPIRED)
