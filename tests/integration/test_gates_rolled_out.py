"""A changed gates.yaml is rolled out: replicas that read the former and the new one work on one database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from champion_gate.bootstrap import build_service
from champion_gate.bootstrap.configuration import load_settings
from champion_gate.bootstrap.core import Core
from champion_gate.domain.callers import Caller, Role
from champion_gate.domain.notifications import JobNotification, NotificationPhase
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.domain.steps import StepPhase
from integration.gate_models import TRAINER
from integration.gate_world import GATE, GateWorld, gate_world

OPERATOR = Caller("operator-1", Role.OPERATOR, "token")


@dataclass
class Rollout:
    """A world in which an older and a newer replica are at work; the world's own core is the newer one's."""

    world: GateWorld
    older: Core

    @contextmanager
    def by_older(self) -> Iterator[GateWorld]:
        """What is done in it, the older replica does."""
        newer, self.world.core = self.world.core, self.older
        yield self.world
        self.world.core = newer

    def end(self) -> None:
        """The older replica stops."""
        self.world.store.leave("older")


def beat(world: GateWorld, name: str) -> None:
    world.store.beat(name, f"gate-{name}", world.clock.now, world.settings.gates_sha256)


def roll_out(world: GateWorld, *gates: dict[str, object]) -> Rollout:
    """Start a newer replica with these gates, each told by its changes (None removes a key), beside the one of the world."""
    beat(world, "older")
    older = world.core
    usual = {**GATE, "jobs": [int(world.job_id)], "model": world.models.model}
    changed = [{**usual, **gate} for gate in gates]
    world.write_gates([{key: value for key, value in gate.items() if value is not None} for gate in changed])
    beat(world, "newer")
    return Rollout(world, older)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path) as made:
        yield made


def second_job(world: GateWorld) -> str:
    return world.databricks.jobs.add_job("train-shadow", run_as=TRAINER, creator=TRAINER)


def waits(world: GateWorld, promotion: Promotion, phase: Phase, other: str) -> str:
    """Assert that it waits in this phase for the other replica's end; returns its reason."""
    reason = world.ended(promotion, phase)
    assert f"another one than here is read by gate-{other} (release" in reason
    assert "goes on by itself" in reason
    assert "champion-gate doctor" in reason
    return reason


# --- promotions ------------------------------------------------------------------------------------------


def test_a_promotion_of_a_new_gate_is_not_lost_to_a_replica_that_does_not_know_it(world: GateWorld) -> None:
    rollout = roll_out(world, {}, {"name": "shadow", "alias": "Shadow"})
    run_id, version = world.train_run()
    asked = world.core.promotion_orders.ask(
        "shadow", version, job_run_id=run_id, caller=OPERATOR, reason="it is new"
    )
    with rollout.by_older():
        world.settle()
    waits(world, asked, Phase.REQUESTED, "newer")
    world.wait(minutes=1)
    world.ended(asked, Phase.PENDING_APPROVAL)
    with rollout.by_older():
        world.look()
        waits(world, asked, Phase.PENDING_APPROVAL, "newer")
        world.approve(asked)
        world.look()
    reason = waits(world, asked, Phase.PENDING_APPROVAL, "newer")
    assert reason.endswith("it would end as stale: Gate shadow is not configured any more.")
    rollout.end()
    world.wait(minutes=1)
    world.ended(asked, Phase.PROMOTED)
    assert world.models.champion() == "1"
    assert [to for _, to, _ in world.moves()] == [version]


def test_an_approval_that_waits_to_be_applied_is_not_lost_either(world: GateWorld) -> None:
    world.reconfigure()
    pending = world.ask()
    world.approve(pending)
    world.break_databricks("/unity-catalog/models/main.ml.churn$", status=500)
    world.look()
    world.ended(pending, Phase.APPROVED)
    world.databricks.faults.clear()
    rollout = roll_out(world, {"jobs": [int(second_job(world))]})
    world.look()
    reason = waits(world, pending, Phase.APPROVED, "older")
    assert "Gate churn does not watch job" in reason
    with rollout.by_older():
        world.look()
    world.ended(pending, Phase.PROMOTED)


@pytest.mark.parametrize("killed", [False, True])
def test_once_the_older_replica_is_gone_promotions_end_as_the_new_file_says(
    world: GateWorld, killed: bool
) -> None:
    pending = world.ask()
    rollout = roll_out(world, {"name": "other", "alias": "Other"})
    world.look()
    waits(world, pending, Phase.PENDING_APPROVAL, "older")
    if killed:
        world.store.release_all_leases()  # as a process does that starts on SQLite
        beat(world, "newer")
    else:
        rollout.end()
    world.wait(minutes=1)
    assert world.ended(pending, Phase.STALE) == "Gate churn is not configured any more."


def test_changed_approval_settings_end_a_request_that_the_older_replica_has_looked_at_since(
    world: GateWorld,
) -> None:
    pending = world.ask()
    rollout = roll_out(world, {"allow_trainer_approval": True})
    world.sweep()
    waits(world, pending, Phase.PENDING_APPROVAL, "older")
    with rollout.by_older():
        world.wait(minutes=1)
    assert world.ended(pending, Phase.PENDING_APPROVAL) == "Waiting for people to decide in champion."
    rollout.end()
    world.wait(minutes=1)
    world.sweep()
    assert "approval settings of gate churn have changed" in world.ended(pending, Phase.STALE)


def test_an_operator_cancels_what_waits(world: GateWorld) -> None:
    pending = world.ask()
    roll_out(world, {"name": "other", "alias": "Other"})
    world.look()
    world.core.promotion_orders.cancel(pending.id, actor="operator-1", reason="not this one")
    world.settle()
    assert world.ended(pending, Phase.CANCELLED) == "not this one"
    assert world.ci_run(pending).conclusion == "cancelled"


def test_an_older_version_is_not_superseded_by_the_former_file(world: GateWorld) -> None:
    world.ask()
    run_id, version = world.train_run({"f1": 0.93})
    rollout = roll_out(world, {"newer_version": "keep"})
    world.core.promotion_orders.ask("churn", version, job_run_id=run_id, caller=OPERATOR, reason="it is new")
    with rollout.by_older():
        world.settle()
        world.look()
    rollout.end()
    world.wait(minutes=1)
    world.look()
    assert [each.phase for each in world.promotions()] == [Phase.PENDING_APPROVAL] * 2


# --- notifications ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [True, False])
def test_a_run_of_a_new_gate_is_not_lost_to_a_replica_that_does_not_know_it(
    world: GateWorld, shared: bool
) -> None:
    watched = world.job_id
    if not shared:
        world.job_id = second_job(world)
    rollout = roll_out(world, {"jobs": [int(watched)]}, {"name": "shadow", "alias": "Shadow"})
    world.sweep()
    world.clock.move(seconds=1)
    world.train()
    for _ in range(3):
        with rollout.by_older():
            world.wait(minutes=2)
        world.sweep()
    assert "gate-" in world.notification(NotificationPhase.WAITING).reason
    assert world.promotions() == ()
    rollout.end()
    world.wait(minutes=2)
    world.notification(NotificationPhase.RESOLVED)
    asking = {each.gate: each.phase for each in world.promotions()}
    assert asking == dict.fromkeys(["churn", "shadow"] if shared else ["shadow"], Phase.PENDING_APPROVAL)


def test_a_version_of_a_new_gate_is_not_lost_either(world: GateWorld) -> None:
    rollout = roll_out(world, {}, {"name": "shadow", "alias": "Shadow", "source": "registry", "jobs": None})
    world.sweep()
    world.clock.move(minutes=1)
    world.models.train("", "", {"f1": 0.91})
    for look in world.core.sweep.run():
        world.core.sweep.look(look)
    with rollout.by_older():
        world.settle()
    world.notification(NotificationPhase.WAITING)
    rollout.end()
    world.wait(minutes=2)
    assert [each.gate for each in world.notification().resolutions] == ["shadow"]


def test_a_hook_of_a_job_that_no_gate_watches_is_kept_until_all_read_the_same(world: GateWorld) -> None:
    hint = JobNotification("jobs.on_success", world.databricks.workspace_id, second_job(world), "77", "x")
    rollout = roll_out(world, {}, {"name": "shadow", "alias": "Shadow", "jobs": [int(hint.job_id)]})
    assert rollout.older.resolver.unwatched(hint) is None
    world.store.leave("newer")
    assert "No gate watches job" in str(rollout.older.resolver.unwatched(hint))


# --- steps -----------------------------------------------------------------------------------------------


def test_what_the_new_file_has_done_about_a_move_is_not_skipped_by_the_former(world: GateWorld) -> None:
    second = world.models.train(world.job_id, "2", {"f1": 0.92})
    world.sweep()
    rollout = roll_out(world, {"drift": "restore"})
    world.models.move_alias(second)
    for look in world.core.sweep.run():
        world.core.sweep.look(look)
    with rollout.by_older():
        world.settle()
    (planned,) = world.after_drift("restore")
    assert (planned.phase, planned.reason[:32]) == (StepPhase.PLANNED, "Replicas read different gates.ya")
    rollout.end()
    world.wait(minutes=1)
    assert world.models.champion() == "1"


# --- what tells them apart -------------------------------------------------------------------------------


def test_a_service_says_what_it_reads_before_it_notes_its_gates(world: GateWorld) -> None:
    service = build_service(world.environ, databricks={"host": world.databricks_url, "token": "t"})
    service.core.context.store.close()
    assert [each.gates_sha256 for each in world.store.replicas()] == [world.settings.gates_sha256]


def test_only_what_is_written_in_gates_yaml_tells_replicas_apart(world: GateWorld) -> None:
    file, before = world.folder / "gates.yaml", world.settings.gates_sha256
    assert len(before) == 64
    file.write_text(f"# A remark.\n{file.read_text()}\n")
    assert load_settings(world.environ).gates_sha256 == before
    file.write_text(f"{file.read_text()}dashboard: false\n")
    assert load_settings(world.environ).gates_sha256 not in {before, ""}
