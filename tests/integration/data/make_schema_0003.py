"""Makes schema_0003.sql: the SQLite database of a service before schema 0004, with work under way at both vendors.

It is to be run on the code of that time, at its last commit, with the tests' folder on the path:

    git worktree add /tmp/before 40fd2c4
    cp tests/integration/upgrade_world.py /tmp/before/tests/integration/
    cd /tmp/before && PYTHONPATH=service:tests python …/make_schema_0003.py > …/schema_0003.sql
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

from champion_gate.domain.callers import Caller, Role
from champion_gate.domain.promotion import Phase
from champion_gate.store.schema import migrate
from champion_gate_standins.databricks.server import Fault
from integration.upgrade_world import VENDORS, UpgradeWorld, model_of, upgrade_world

OPERATOR = Caller("operator-1", Role.OPERATOR, "API token t1")


def fail(world: UpgradeWorld, vendor: str) -> None:
    """Approved, and the registry is away for longer than a day."""
    world.train(vendor, "failed")
    world.databricks.faults.add(Fault(f"/models/{model_of(vendor, 'failed')}/aliases/", status=500))
    world.approve(vendor, "failed")


def refuse(world: UpgradeWorld, vendor: str) -> None:
    """The vendor does not take the call."""
    place = world.places[vendor]
    place.faults.add(f"{place.opening}$", status=422 if vendor == "github" else 400)
    world.train(vendor, "refused")
    place.faults.clear()


def lose(world: UpgradeWorld, vendor: str) -> None:
    """The run is started, and nobody is told its id."""
    place = world.places[vendor]
    place.faults.add(f"{place.opening}$", drop=True, carry_out=True)
    world.train(vendor, "lost")
    place.faults.clear()


def hold(world: UpgradeWorld, vendor: str) -> None:
    """Approved while the alias is on hold."""
    world.train(vendor, "held")
    model = model_of(vendor, "held")
    world.core.alias_orders.hold(model, "Champion", caller=OPERATOR, reason="the shop is closed")
    world.approve(vendor, "held")


def write(world: UpgradeWorld, vendor: str) -> None:
    """Approved, and the write of the alias has begun."""
    world.train(vendor, "writing")
    world.databricks.faults.add(Fault(f"/models/{model_of(vendor, 'writing')}/aliases/", status=500))
    world.approve(vendor, "writing")


def run(world: UpgradeWorld) -> None:
    """Everything that comes to pass before the upgrade."""
    for vendor in VENDORS:
        fail(world, vendor)
        refuse(world, vendor)
    world.wait(hours=25)
    for vendor in VENDORS:
        world.train(vendor, "waiting")
        hold(world, vendor)
        write(world, vendor)
        lose(world, vendor)
    expected = {
        "failed": Phase.FAILED,
        "refused": Phase.FAILED,
        "lost": Phase.REQUESTED,
        "waiting": Phase.PENDING_APPROVAL,
        "held": Phase.APPROVED,
        "writing": Phase.APPROVED,
    }
    for vendor in VENDORS:
        for situation, phase in expected.items():
            found = world.promotion(vendor, situation)
            assert found.phase is phase, (found.model, found.phase, found.reason, found.retry.last_error)
    world.clock.time += timedelta(seconds=1)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gate.db"
        migrate(f"sqlite:///{path}")
        with upgrade_world(Path(folder), f"sqlite:///{path}") as world:
            run(world)
        with sqlite3.connect(path) as connection:
            sys.stdout.writelines(f"{line}\n" for line in connection.iterdump())


if __name__ == "__main__":
    main()
