"""Two requests that show the same evidence: a no in either of them wins, and a yes in either of them is heard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from champion_gate.domain.promotion import Phase, Promotion
from integration.gate_world import GateWorld, gate_world
from integration.start_world import BOTH, list_after, lose_answers, pass_time

pytestmark = pytest.mark.part("rest", "gitlab")

WITH_REJECTIONS = ("github", "gitlab-rules")


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path, provider=request.param) as made:
        yield made


everywhere = pytest.mark.parametrize("world", BOTH, indirect=True)
where_people_reject = pytest.mark.parametrize("world", WITH_REJECTIONS, indirect=True)
on_github = pytest.mark.parametrize("world", ["github"], indirect=True)


def asked_twice(world: GateWorld) -> tuple[Promotion, str, str]:
    """The first start's answer is lost and nothing lists it yet; the second one's id is told.

    Returns:
        The promotion, its twin and the request that was adopted.
    """
    lose_answers(world, times=1)
    list_after(world, minutes=4)
    world.train()
    pass_time(world, minutes=3)
    twin, adopted = world.provider.requests()
    pending = world.promotion(Phase.PENDING_APPROVAL)
    assert world.run_id_of(pending) == adopted
    list_after(world)
    return pending, twin, adopted


def listed_without(world: GateWorld, request_id: str) -> None:
    """Filtered lists lag behind: they lack this request, and the list of all has it."""
    world.provider.standin.api.not_searched = {request_id}  # type: ignore[attr-defined]


@everywhere
def test_an_approval_in_the_twin_is_heard_where_the_adopted_request_is_gone(world: GateWorld) -> None:
    pending, twin, adopted = asked_twice(world)
    world.provider.approve(twin, "reviewer-1")
    world.provider.delete(adopted)
    world.look()
    world.live(minutes=11)
    world.ended(pending, Phase.PROMOTED)
    assert world.run_id_of(pending) == twin
    assert world.models.champion() == "2"


@everywhere
def test_without_a_word_in_the_twin_what_is_gone_ends_it(world: GateWorld) -> None:
    pending, twin, adopted = asked_twice(world)
    world.provider.delete(adopted)
    world.look()
    world.live(minutes=11)
    assert "is gone" in world.ended(pending, Phase.REJECTED)
    world.live(minutes=1)
    assert world.provider.requests()[twin] == "cancelled"


@where_people_reject
def test_a_rejection_in_the_twin_goes_before_an_approval_of_the_adopted_request(world: GateWorld) -> None:
    pending, twin, adopted = asked_twice(world)
    world.provider.reject(twin, "reviewer-2")
    world.provider.approve(adopted, "reviewer-1")
    world.look()
    assert "Rejected by reviewer-2" in world.ended(pending, Phase.REJECTED)
    assert world.models.champion() == "1"


@where_people_reject
def test_a_rejection_in_the_twin_goes_before_an_approval_also_where_the_adopted_request_is_gone(
    world: GateWorld,
) -> None:
    pending, twin, adopted = asked_twice(world)
    third = world.provider.open_double(adopted)
    world.provider.approve(twin, "reviewer-1")
    world.provider.reject(third, "reviewer-2")
    world.provider.delete(adopted)
    world.look()
    assert "Rejected by reviewer-2" in world.ended(pending, Phase.REJECTED)
    assert world.models.champion() == "1"


@everywhere
def test_an_approval_waits_while_the_twin_cannot_be_read(world: GateWorld) -> None:
    pending, twin, adopted = asked_twice(world)
    world.provider.cancel(twin)
    world.provider.approve(adopted, "reviewer-1")
    fault = world.provider.faults.add(world.provider.reading(twin), status=500)
    world.look()
    world.ended(pending, Phase.PENDING_APPROVAL)
    assert fault.hits
    assert world.models.champion() == "1"
    world.provider.faults.clear()
    world.live(minutes=20)
    world.ended(pending, Phase.PROMOTED)


@where_people_reject
def test_a_twin_that_the_filtered_list_lacks_is_heard(world: GateWorld) -> None:
    pending, twin, adopted = asked_twice(world)
    listed_without(world, twin)
    world.provider.reject(twin, "reviewer-2")
    world.provider.approve(adopted, "reviewer-1")
    world.look()
    assert "Rejected by reviewer-2" in world.ended(pending, Phase.REJECTED)
    assert world.models.champion() == "1"


@everywhere
def test_a_twin_that_the_filtered_list_lacks_is_cancelled(world: GateWorld) -> None:
    pending, twin, _ = asked_twice(world)
    listed_without(world, twin)
    pass_time(world, minutes=15)
    assert world.provider.requests()[twin] == "cancelled"
    world.ended(pending, Phase.PENDING_APPROVAL)


@everywhere
def test_what_was_started_once_costs_no_list_at_its_looks(world: GateWorld) -> None:
    pending = world.ask()
    before = len(world.provider.faults.requests)
    world.live(hours=5)
    asked = [path for _, path in world.provider.faults.requests[before:]]
    assert not [path for path in asked if path.endswith(("/runs", "/pipelines"))]
    looks = [path for path in asked if re.search(world.provider.reading(world.run_id_of(pending)), path)]
    assert len(looks) == 4, "soon after it was opened, then every hour or two"
    world.ended(pending, Phase.PENDING_APPROVAL)
