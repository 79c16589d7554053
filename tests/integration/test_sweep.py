"""The sweep: what it finds when no message arrives, and that it asks no more than it must."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from champion_gate.bootstrap import build_service
from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.promotion import Phase
from champion_gate.errors import VendorUnavailableError
from integration.gate_world import GateWorld, gate_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path) as made:
        made.core.sweep.run()
        made.clock.move(minutes=1)
        yield made


@pytest.mark.parametrize("registry", ["uc", "mlflow"])
def test_with_no_hook_at_all_a_finished_run_gets_to_champion(tmp_path: Path, registry: str) -> None:
    with gate_world(tmp_path, registry) as world:
        world.sweep()
        world.train_run()
        world.clock.move(minutes=1)
        world.sweep()
        world.approve(world.promotion(Phase.PENDING_APPROVAL))
        world.clock.move(minutes=1)
        world.sweep()
        world.promotion(Phase.PROMOTED)
        assert world.models.champion() == "2"
        assert world.notification(NotificationPhase.RESOLVED).source == "sweep"


def test_a_rejection_is_found_with_no_hook(world: GateWorld) -> None:
    pending = world.ask()
    world.reject(pending)
    world.sweep()
    world.ended(pending, Phase.REJECTED)


def test_a_run_is_found_once(world: GateWorld) -> None:
    world.train_run()
    for _ in range(3):
        world.sweep()
    assert world.notification(NotificationPhase.RESOLVED).count == 1


def test_a_run_that_a_notification_told_about_is_left_to_it(world: GateWorld) -> None:
    world.train()
    world.core.sweep.look("runs:churn")
    world.settle()
    world.sweep()
    assert world.notification(NotificationPhase.RESOLVED).source == "hook"


def test_a_repaired_run_is_found_again(world: GateWorld) -> None:
    run_id, _ = world.train_run({"f1": 0.85})
    world.sweep()
    world.promotion(Phase.INELIGIBLE)
    world.clock.move(hours=1)
    world.databricks.jobs.repair_run(run_id)
    world.sweep()
    assert len(world.promotions()) == 1
    world.models.train(world.job_id, world.databricks.jobs.task_run_id(run_id, "train"), {"f1": 0.93})
    world.clock.move(minutes=5)
    world.databricks.jobs.finish_run(run_id, notify=False)
    world.sweep()
    assert world.promotion(Phase.PENDING_APPROVAL).version.version == "3"
    world.sweep()
    assert len(world.promotions()) == 2


def test_runs_that_ended_before_the_gate_was_first_seen_are_left_alone(tmp_path: Path) -> None:
    with gate_world(tmp_path) as world:
        world.train_run()
        world.clock.move(seconds=1)
        world.sweep()
        assert world.notifications() == ()
        world.train_run()
        world.sweep()
        assert world.promotion(Phase.PENDING_APPROVAL).version.version == "3"


def test_a_gate_is_seen_before_the_service_listens(tmp_path: Path) -> None:
    with gate_world(tmp_path) as world:
        service = build_service(
            world.environ,
            clock=world.clock,
            databricks={"host": world.databricks_url, "token": "standin-token"},
        )
        service.core.context.store.close()
        world.clock.move(seconds=1)
        world.train_run()
        world.clock.move(minutes=1)
        world.sweep()
        world.promotion(Phase.PENDING_APPROVAL)


def test_a_gate_that_names_its_job_is_swept_too(world: GateWorld) -> None:
    world.reconfigure(jobs=["train-churn"])
    world.train_run()
    world.sweep()
    world.promotion(Phase.PENDING_APPROVAL)


def test_a_wrong_workspace_in_a_notification_does_not_hide_the_run(world: GateWorld) -> None:
    run_id, _ = world.train_run()
    world.notify(run_id, workspace_id="999")
    world.settle()
    world.notification(NotificationPhase.IGNORED)
    world.sweep()
    world.promotion(Phase.PENDING_APPROVAL)


def test_requests_without_news_cost_one_list_a_repository(world: GateWorld) -> None:
    world.reconfigure(newer_version="keep")
    pending = [world.ask({"f1": 0.91 + number / 100}) for number in range(3)]
    world.clock.move(seconds=6)
    world.sweep()
    world.github.faults.requests.clear()
    world.clock.move(minutes=1)
    world.sweep()
    assert world.github.faults.requests == [
        ("GET", "/repos/example/ml-deploy/actions/workflows/champion-gate.yml/runs")
    ]
    world.approve(pending[0])
    world.sweep()
    world.ended(pending[0], Phase.PROMOTED)


def test_a_request_is_read_by_itself_no_more_often_than_hourly(world: GateWorld) -> None:
    pending = world.ask()
    world.live(seconds=6)
    world.github.faults.requests.clear()
    world.databricks.requests.clear()
    for _ in range(59):
        world.clock.move(minutes=1)
        world.sweep()
    lists = {("GET", "/repos/example/ml-deploy/actions/workflows/champion-gate.yml/runs")}
    assert set(world.github.faults.requests) == lists
    assert not [each for each in world.databricks.requests if "/versions/2" in each.path]
    world.clock.move(hours=1)
    world.sweep()
    assert ("GET", f"/repos/example/ml-deploy/actions/runs/{world.run_id_of(pending)}") in set(
        world.github.faults.requests
    )


def test_an_older_request_ends_with_the_first_sweep_that_sees_a_newer_one(world: GateWorld) -> None:
    world.reconfigure(newer_version="keep")
    older, newer = world.ask(), world.ask({"f1": 0.93})
    world.live(seconds=6)
    world.reconfigure(newer_version="supersede")
    world.sweep()
    world.ended(older, Phase.SUPERSEDED)
    world.ended(newer, Phase.PENDING_APPROVAL)


def test_a_request_whose_gate_asks_others_since_a_start_ends_with_the_first_sweep(world: GateWorld) -> None:
    pending = world.ask()
    world.live(seconds=6)
    world.reconfigure(allow_trainer_approval=True)
    world.sweep()
    assert "have changed" in world.ended(pending, Phase.STALE)


def test_a_move_of_the_alias_ends_the_requests_that_it_concerns_with_the_next_sweep(world: GateWorld) -> None:
    pending = world.ask()
    world.sweep()
    _, other = world.train_run()
    world.models.move_alias(other)
    world.clock.move(minutes=1)
    world.core.sweep.look("alias:main.ml.churn@Champion")
    world.settle()
    world.ended(pending, Phase.STALE)


def test_each_vendor_fails_in_its_own_look(world: GateWorld) -> None:
    pending = world.ask()
    world.train_run({"f1": 0.92})
    world.github.faults.add("/runs$", status=500)
    failed = []
    for look in world.core.sweep.run():
        try:
            world.core.sweep.look(look)
        except VendorUnavailableError:
            failed.append(look)
    assert failed == ["decisions:github"]
    assert len(world.notifications()) == 2
    assert world.moves() == [(None, "1", "outside champion-gate")]
    world.github.faults.clear()
    world.sweep()
    world.ended(pending, Phase.SUPERSEDED)


def test_a_list_of_runs_that_fails_is_made_up_for_by_the_next_sweep(world: GateWorld) -> None:
    world.train_run()
    world.break_databricks("/jobs/runs/list$", status=500)
    with pytest.raises(VendorUnavailableError):
        world.core.sweep.look("runs:churn")
    world.databricks.faults.clear()
    world.sweep()
    world.promotion(Phase.PENDING_APPROVAL)


def test_while_the_list_of_requests_fails_each_is_read_every_ten_minutes(world: GateWorld) -> None:
    pending = world.ask()
    world.live(seconds=6)
    world.approve(pending)
    world.github.faults.add("/workflows/.*/runs$", status=500)
    for minutes in (9, 1):
        world.ended(pending, Phase.PENDING_APPROVAL)
        world.clock.move(minutes=minutes)
        with pytest.raises(VendorUnavailableError):
            world.core.sweep.look("decisions:github")
        world.settle()
    world.ended(pending, Phase.PROMOTED)


class Recording:
    """Notes what workers are told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def notification(self, notification_id: str) -> None:
        self.told.append(("notification", notification_id))

    def promotion(self, promotion_id: str) -> None:
        self.told.append(("promotion", promotion_id))

    def step(self, step_id: str) -> None:
        self.told.append(("step", step_id))


def test_a_dead_workers_rows_are_taken_up_when_their_lease_has_run_out(world: GateWorld) -> None:
    pending = world.ask()
    world.clock.move(seconds=6)
    assert world.store.take_promotion(pending.id, world.clock.now(), 120) is not None
    world.wake_ups = Recording()
    world.start()
    world.core.sweep.wake_due()
    assert world.wake_ups.told == []
    world.clock.move(seconds=121)
    world.core.sweep.wake_due()
    assert world.wake_ups.told == [("promotion", pending.id)]


def test_an_unknown_look_is_nothing(world: GateWorld) -> None:
    before = len(world.databricks.requests)
    for name in ("runs:removed-gate", "decisions:gitlab", "alias:removed-gate", "nonsense", ""):
        world.core.sweep.look(name)
    assert len(world.databricks.requests) == before


def test_what_failed_at_a_vendor_is_tried_again_once_another_replica_finds_it_back(world: GateWorld) -> None:
    world.break_databricks("/jobs/", drop=True)
    world.train()
    world.live(hours=1)
    due_at = world.notification().due_at
    assert due_at is not None
    assert due_at > world.clock.now() + timedelta(minutes=2)
    with pytest.raises(VendorUnavailableError):
        world.core.sweep.look("runs:churn")
    world.start()
    world.databricks.faults.clear()
    world.core.sweep.look("runs:churn")
    world.settle()
    world.promotion(Phase.PENDING_APPROVAL)
