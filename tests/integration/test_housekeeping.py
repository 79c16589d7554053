"""What decides nothing stops no decision: doubles of a request are looked for apart from it, and still cancelled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from champion_gate.domain.promotion import Phase
from champion_gate.errors import VendorUnavailableError
from integration.gate_providers import EVERY_KIND, Provider
from integration.gate_world import GateWorld, gate_world

pytestmark = [pytest.mark.part("rest", "gitlab"), pytest.mark.spread(2)]

UNREADABLE = [
    {"status": 500},
    {"status": 403},
    {"status": 404},
    {"status": 429, "headers": {"Retry-After": "3600"}},
    {"body": "<html>down for maintenance</html>"},
    {"body": "{}"},
    {"drop": True},
]


@pytest.fixture(params=EVERY_KIND)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path, provider=request.param) as made:
        yield made


@pytest.fixture
def there(world: GateWorld) -> Provider:
    return world.provider


@pytest.mark.parametrize("fault", UNREADABLE, ids=str)
def test_an_approval_counts_while_the_list_that_finds_doubles_cannot_be_read(
    world: GateWorld, there: Provider, fault: dict[str, Any]
) -> None:
    pending = world.ask()
    there.faults.add(there.listing, **fault)
    there.approve(world.run_id_of(pending), "reviewer-1")
    world.look()
    world.ended(pending, Phase.PROMOTED)
    assert world.models.champion() == "2"
    assert world.moves()[-1][2] == "reviewer-1"


def test_a_no_counts_while_that_list_cannot_be_read(world: GateWorld, there: Provider) -> None:
    pending = world.ask()
    there.faults.add(there.listing, status=500)
    there.reject(world.run_id_of(pending), "reviewer-1")
    world.look()
    world.ended(pending, Phase.REJECTED)


def test_the_other_ends_come_while_that_list_cannot_be_read(world: GateWorld, there: Provider) -> None:
    pending = world.ask()
    there.faults.add(there.listing, status=500)
    world.core.promotion_orders.cancel(pending.id, actor="operator", reason="Trained on the wrong table.")
    world.settle()
    assert world.ended(pending, Phase.CANCELLED) == "Trained on the wrong table."
    other = world.ask({"f1": 0.92})
    world.wait(days=14, seconds=2)
    world.ended(other, Phase.EXPIRED)


def test_while_people_are_waited_for_a_double_is_cancelled_by_the_first_sweep_that_sees_it(
    world: GateWorld, there: Provider
) -> None:
    pending = world.ask()
    double = there.open_double(world.run_id_of(pending))
    shown = there.waits(double)  # not where it waits for the first in its concurrency group
    there.faults.add(there.listing, status=500)
    with pytest.raises(VendorUnavailableError):
        world.core.sweep.look(f"decisions:{there.key}")
    there.faults.clear()
    for _ in range(2):
        world.core.sweep.look(f"decisions:{there.key}")
    world.settle()
    seen = "cancelled" if shown else "open"
    assert there.requests() == {world.run_id_of(pending): "open", double: seen}
    world.ended(pending, Phase.PENDING_APPROVAL)


def test_a_double_that_could_not_be_found_before_the_decision_is_cancelled_after_it(
    world: GateWorld, there: Provider
) -> None:
    pending = world.ask()
    there.open_double(world.run_id_of(pending))
    there.faults.add(there.listing, status=500)
    there.approve(world.run_id_of(pending), "reviewer-1")
    world.look()
    world.ended(pending, Phase.PROMOTED)
    assert "open" in there.requests().values()
    there.faults.clear()
    world.wait(minutes=20)
    assert sorted(there.requests().values()) == ["cancelled", "success"]
    assert there.requests()[world.run_id_of(pending)] == "success"
