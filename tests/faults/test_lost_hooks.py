"""Hooks are hints: with none delivered at all, the sweep alone takes a finished run to Champion."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from champion_gate.domain.promotion import Phase
from integration.process_world import process_world, until

pytestmark = pytest.mark.part("rest")


@pytest.mark.parametrize("registry", ["uc", pytest.param("mlflow", marks=pytest.mark.part("full"))])
def test_the_sweep_alone_takes_a_finished_run_to_champion(tmp_path: Path, registry: str) -> None:
    with process_world(tmp_path, registry, CHAMPION_GATE_SWEEP_SECONDS="1") as world:
        world.github.webhooks.lost = True
        world.serve()
        version = world.train(notify=False)
        pending = world.wait_for(Phase.PENDING_APPROVAL, version)
        world.approve(pending)
        begun = time.monotonic()
        world.wait_for(Phase.PROMOTED, version)
        assert time.monotonic() - begun < 15
        assert world.models.champion() == version
        until(lambda: "champion_gate_promotion" in world.models.tags(version), world.story)
        assert world.models.tags(version)["champion_gate_promotion"] == pending.id
        assert len(world.github.runs) == 1
        with world.store() as store:
            (row,) = store.list_notifications().items
        assert row.source == "sweep"
        assert not any("/hooks/" in str(line) for line in world.log_lines())
