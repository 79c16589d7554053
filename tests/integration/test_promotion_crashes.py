"""Killed before any of its writes, the service takes the work up again, and each effect is had once."""

from __future__ import annotations

from pathlib import Path

import pytest

from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.promotion import Phase
from integration.gate_crashes import DiesAtWrite, StoreBetween, start_with
from integration.gate_world import GateWorld, gate_world

pytestmark = [pytest.mark.part("rest", "restarted"), pytest.mark.spread(4)]

LAST = 19
"""How many writes a promotion takes; one more is never reached."""


def approve_what_waits(world: GateWorld) -> None:
    for promotion in world.store.pending_promotions():
        if world.ci_run(promotion).status == "waiting":
            world.approve(promotion)


def let_others_take_it_up(world: GateWorld) -> None:
    """Within two minutes of a kill all that was begun has come as far as it would have: to people, or to its end."""
    for _ in range(24):
        world.wait(seconds=4.9)
    (promotion,) = world.promotions()
    if promotion.phase is not Phase.PROMOTED:
        assert (promotion.phase, promotion.lease) == (Phase.PENDING_APPROVAL, "")
        assert world.ci_run(promotion).status in {"waiting", "queued", "in_progress"}
    assert world.notification().phase is NotificationPhase.RESOLVED
    assert world.store.open_steps(promotion.id) == ()
    lock = world.store.known_alias(promotion.alias_key)
    assert lock is None or lock.intent is None


@pytest.mark.parametrize("knows_of_the_crash", [True, False], ids=["restarted", "lease runs out"])
@pytest.mark.parametrize("number", range(1, LAST + 2))
def test_a_crash_before_any_write_loses_nothing_and_repeats_nothing(
    tmp_path: Path, number: int, *, knows_of_the_crash: bool
) -> None:
    with gate_world(tmp_path) as world:
        run_id, _ = world.train_run()
        world.notify(run_id)
        dies = DiesAtWrite(number)
        start_with(world, StoreBetween(world.store, before=dies))
        try:
            world.settle()
            approve_what_waits(world)
            world.wait(seconds=5)
        except SystemExit:
            world.start()
            if knows_of_the_crash:
                world.store.release_all_leases()
            else:
                let_others_take_it_up(world)
        for _ in range(3):
            world.settle()
            approve_what_waits(world)
            world.look()
            world.wait(minutes=11)

        assert dies.died is (number <= LAST), dies.left
        promoted = world.promotion(Phase.PROMOTED)
        assert world.notification().phase is NotificationPhase.RESOLVED
        assert world.models.champion() == "2"
        assert world.databricks.catalog.alias_writes == [("main.ml.churn", "Champion", 2)]
        assert [run.conclusion for run in world.github.runs] == ["success"]
        assert sorted(kind for kind, _ in world.ledger()) == ["alias_change", "alias_change", "decision"]
        assert world.moves() == [(None, "1", "outside champion-gate"), ("1", "2", "reviewer-1")]
        assert world.models.tags("2")["champion_gate_promotion"] == promoted.id
        assert world.store.open_steps(promoted.id) == ()
