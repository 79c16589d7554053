"""kill -9 of the real process, at the worst moments: nothing is lost, and nothing happens twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from champion_gate.domain.promotion import Phase
from champion_gate_standins.databricks.server import Fault
from integration.gate_world import REPOSITORY
from integration.process_world import ProcessWorld, process_world, until

pytestmark = pytest.mark.part("rest")

MODEL = "main.ml.churn"
RECOVERY_SECONDS = 45.0
"""From the restart, on a machine with other things to do; measured 4 s on an idle one. A lease is 90 s."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ProcessWorld]:
    with process_world(tmp_path) as made:
        yield made


def assert_promoted_once(world: ProcessWorld, version: str) -> None:
    """One promotion, one CI run that counts, one write of the alias, and a ledger that says so."""
    world.wait_for(Phase.PROMOTED, version, RECOVERY_SECONDS)
    assert len(world.promotions()) == 1
    assert len(world.open_runs()) == 1
    assert world.alias_writes() == [int(version)]
    assert world.models.champion() == version
    ours = [move for move in world.moves() if move[2] == "reviewer-1"]
    assert ours == [("1", version, "reviewer-1")]


def test_killed_while_the_dispatch_hangs(world: ProcessWorld) -> None:
    """The run was started and its id never came; somebody had even started a second one for us."""
    hanging = world.github.faults.add("/dispatches$", method="POST", hang=60, carry_out=True, drop=True)
    served = world.serve()
    version = world.train()
    until(lambda: hanging.hits and world.github.runs, world.story)
    first = world.github.runs[0]
    world.github.dispatch(REPOSITORY, first.inputs, login="champion-gate-bot")
    served.kill()
    world.github.faults.clear()
    world.serve()
    pending = world.wait_for(Phase.PENDING_APPROVAL, version, RECOVERY_SECONDS)
    assert world.run_id_of(pending) == str(first.id)
    until(lambda: len(world.open_runs()) == 1, world.story)
    world.approve(pending)
    assert_promoted_once(world, version)
    assert [run.cancelled for run in world.github.runs] == [False, True]


def begin_hanging_write(world: ProcessWorld, fault: Fault) -> str:
    """Come as far as the alias' PUT, which meets the fault; returns the version."""
    world.databricks.faults.add(fault)
    world.serve()
    version = world.train()
    world.approve(world.wait_for(Phase.PENDING_APPROVAL, version))
    until(lambda: fault.hits, world.story)
    return version


def kill_between_write_and_record(world: ProcessWorld) -> str:
    """The PUT was answered, the read-back hangs: our result row is not written yet. Returns the version."""
    hang = threading.Event()
    version = begin_hanging_write(world, Fault("/aliases/", "PUT", hang=hang, times=1))
    read_back = world.databricks.faults.add(Fault(f"/models/{MODEL}$", "GET", hang=threading.Event()))
    hang.set()
    until(lambda: world.alias_writes() and read_back.hits, world.story)
    world.started[0].kill()
    world.databricks.faults.clear()
    assert world.promotions()[0].phase is Phase.APPROVED
    return version


@pytest.mark.part("quick")
def test_killed_between_the_put_and_our_record_of_it(world: ProcessWorld) -> None:
    version = kill_between_write_and_record(world)
    world.serve()
    assert_promoted_once(world, version)


def test_an_approval_is_not_spent_again_when_an_operator_moved_the_alias_after_the_crash(
    world: ProcessWorld,
) -> None:
    version = kill_between_write_and_record(world)
    other = world.databricks.catalog.add_version(MODEL)
    world.models.move_alias(other)
    world.serve()
    stale = world.wait_for(Phase.STALE, version, RECOVERY_SECONDS)
    assert world.models.champion() == other
    assert world.alias_writes() == [int(version)]
    assert f"v{other}" in stale.reason
    decision, change = world.ledger()[-2:]
    assert decision.entry.kind.value == "decision"
    facts = {"from": "1", "intended": version, "to": other, "source": "outside"}
    assert facts.items() <= change.entry.facts.items()
    assert change.entry.promotion_id == stale.id
    assert "the approval is not used again" in change.entry.reason


def test_a_service_that_hung_in_a_step_works_on_within_seconds_of_its_restart(world: ProcessWorld) -> None:
    """A dead worker's lease would run for two more minutes; the next process of this database gives it back."""
    hanging = world.databricks.faults.add(Fault("/jobs/runs/get", "GET", hang=threading.Event()))
    served = world.serve()
    version = world.train()
    until(lambda: hanging.hits, world.story)
    served.kill()
    world.databricks.faults.clear()
    begun = time.monotonic()
    world.serve()
    world.wait_for(Phase.PENDING_APPROVAL, version)
    assert time.monotonic() - begun < RECOVERY_SECONDS
