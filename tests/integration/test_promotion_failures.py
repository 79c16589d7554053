"""Vendors that fail: nothing is approved by it, nothing is lost by it, and a person sees what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.promotion import Phase
from integration.gate_world import GateWorld, gate_world

pytestmark = pytest.mark.spread(2)

MODEL = "/unity-catalog/models/main.ml.churn$"

FAULTS: dict[str, dict[str, object]] = {
    "403": {"status": 403},
    "404": {"status": 404},
    "500": {"status": 500},
    "rate limit": {"status": 403, "headers": {"x-ratelimit-remaining": "0"}},
    "secondary limit": {"status": 429, "headers": {"Retry-After": "120"}},
    "broken JSON": {"body": '{"id": 1'},
    "a page for people": {"body": "<html>Unicorn!</html>"},
    "an empty object": {"body": "{}"},
    "an empty list": {"body": "[]"},
    "null": {"body": "null"},
    "no answer": {"drop": True},
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path) as made:
        yield made


# --- GitHub ----------------------------------------------------------------------------------------------

READ_TO_OPEN = (
    "/repos/example/ml-deploy$",
    "/environments/champion$",
    "/workflows/champion-gate.yml$",
    "/user$",
)


@pytest.mark.part("rest", "an empty", "null", "403", "a page", "broken", "secondary")
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_github_fails_while_the_place_is_checked(world: GateWorld, fault: dict[str, object]) -> None:
    for path in READ_TO_OPEN:
        world.github.faults.add(path, **fault)
    world.train()
    world.settle()
    waiting = world.promotion(Phase.REQUESTED)
    assert waiting.retry.last_error or "is not safe" in waiting.reason
    assert world.github.runs == []
    world.github.faults.clear()
    world.wait(minutes=16)
    pending = world.promotion(Phase.PENDING_APPROVAL)
    assert pending.retry.last_error is None
    assert len(world.github.runs) == 1


READ_TO_DECIDE = (
    "/actions/runs/[0-9]+$",
    "/approvals$",
    "/jobs$",
    "/environments/champion$",
    "/repos/example/ml-deploy$",
    "/workflows/champion-gate.yml$",
)


@pytest.mark.part("rest", "an empty", "null", "403", "a page", "broken", "secondary")
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_github_fails_while_a_decision_is_read(world: GateWorld, fault: dict[str, object]) -> None:
    pending = world.ask()
    world.approve(pending)
    for path in READ_TO_DECIDE:
        hit = world.github.faults.add(path, **fault)
        world.look()
        now = world.again(pending)
        assert hit.hits, path
        assert now.phase is Phase.PENDING_APPROVAL, (path, now.reason)
        assert now.retry.last_error or "cannot be judged" in now.reason, path
        assert world.models.champion() == "1"
        world.github.faults.clear()
    world.look()
    world.ended(pending, Phase.PROMOTED)


def test_a_rate_limit_is_waited_for(world: GateWorld) -> None:
    pending = world.ask()
    world.github.faults.add("/approvals$", status=429, headers={"Retry-After": "300"})
    world.look()
    now = world.again(pending)
    assert now.due_at == world.clock.now() + timedelta(seconds=300)
    assert "The rate limit is used up." in (now.retry.last_error or "")


# --- Databricks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 429, "retry_after": 90},
        {"body": b'{"run_id": 1'},
        {"body": b"[]"},
        {"body": b"{}"},
        {"location": "https://elsewhere.example.com/login"},
    ],
    ids=["500", "429", "broken JSON", "a list", "an empty object", "a redirect"],
)
def test_databricks_fails_while_a_run_is_read(world: GateWorld, fault: dict[str, object]) -> None:
    hit = world.break_databricks("/jobs/runs/get$", **fault)
    world.train()
    world.settle()
    assert hit.hits
    waiting = world.notification(NotificationPhase.WAITING)
    assert waiting.reason.startswith("Trying again: Databricks: ")
    assert waiting.retry.last_error
    assert waiting.due_at is not None
    assert waiting.due_at >= world.clock.now() + timedelta(seconds=fault.get("retry_after", 1))  # type: ignore[arg-type]
    assert world.promotions() == ()
    world.databricks.faults.clear()
    world.wait(minutes=2)
    world.notification(NotificationPhase.RESOLVED)
    world.promotion(Phase.PENDING_APPROVAL)


@pytest.mark.part("rest", "404")
@pytest.mark.parametrize("status", [403, 404])
def test_a_run_that_we_may_not_read_for_a_day_fails_and_can_be_replayed(
    world: GateWorld, status: int
) -> None:
    world.break_databricks(
        "/jobs/runs/get$", status=status, error_code="PERMISSION_DENIED", message="No CAN_VIEW"
    )
    world.train()
    world.live(hours=23)
    assert "No CAN_VIEW" in world.notification(NotificationPhase.WAITING).reason
    world.live(hours=2)
    failed = world.notification(NotificationPhase.FAILED)
    assert "No CAN_VIEW" in failed.reason
    assert f"champion-gate notifications replay {failed.id}" in failed.reason
    world.databricks.faults.clear()
    world.core.promotion_orders.replay(failed.id)
    world.settle()
    assert world.notification(NotificationPhase.RESOLVED).count == 2
    world.promotion(Phase.PENDING_APPROVAL)


def test_a_run_that_is_unreadable_for_a_day_fails(world: GateWorld) -> None:
    world.break_databricks("/jobs/runs/get$", status=500)
    world.train()
    world.live(hours=23)
    world.notification(NotificationPhase.WAITING)
    world.live(hours=2)
    assert "500" in world.notification(NotificationPhase.FAILED).reason


@pytest.mark.part("rest", "html", "{}")
@pytest.mark.parametrize(
    "path",
    [
        "/registered-models/alias$",
        "/models/main.ml.churn/versions/1$",
        "/model-versions/get$",
        "/mlflow/runs/get$",
    ],
)
@pytest.mark.parametrize(
    "fault", [{"status": 500}, {"body": b"{}"}, {"body": b"<html>"}], ids=["500", "{}", "html"]
)
def test_the_registry_fails_before_anybody_is_asked(
    world: GateWorld, path: str, fault: dict[str, object]
) -> None:
    world.reconfigure(identities={})
    world.train()
    world.settle()
    waiting = world.promotion(Phase.REQUESTED)
    world.reconfigure()
    hit = world.break_databricks(path, **fault)
    world.wait(minutes=3)
    assert hit.hits
    assert world.again(waiting).phase is Phase.REQUESTED
    assert world.again(waiting).retry.last_error
    assert world.github.runs == []
    world.databricks.faults.clear()
    world.wait(minutes=1)
    world.promotion(Phase.PENDING_APPROVAL)


def test_the_registry_fails_while_people_are_asked(world: GateWorld) -> None:
    pending = world.ask()
    world.break_databricks(MODEL, status=403)
    world.look()
    assert world.again(pending).phase is Phase.PENDING_APPROVAL
    assert "403" in (world.again(pending).retry.last_error or "")
    world.databricks.faults.clear()
    world.approve(pending)
    world.look()
    world.ended(pending, Phase.PROMOTED)


# --- an approval that cannot be applied ------------------------------------------------------------------


def test_tries_come_at_growing_intervals_while_the_registry_is_away(world: GateWorld) -> None:
    pending = world.ask()
    world.approve(pending)
    world.break_databricks(MODEL, status=500)
    world.look()
    intervals = []
    for _ in range(13):
        now = world.again(pending)
        assert now.phase is Phase.APPROVED
        assert now.due_at is not None
        intervals.append((now.due_at - world.clock.now()).total_seconds())
        world.clock.time = now.due_at
        world.settle()
    assert intervals == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]
    assert world.again(pending).retry.attempts == 14
    world.databricks.faults.clear()
    world.wait(minutes=15)
    world.ended(pending, Phase.PROMOTED)
    assert world.again(pending).retry.attempts == 0


def test_an_approval_that_cannot_be_applied_for_a_day_fails_and_is_not_lost(world: GateWorld) -> None:
    pending = world.ask()
    world.approve(pending)
    world.break_databricks(MODEL, status=500)
    world.look()
    world.live(hours=23)
    world.ended(pending, Phase.APPROVED)
    world.live(hours=2)
    reason = world.ended(pending, Phase.FAILED)
    assert "500" in reason
    assert "Failed while approved" in reason
    world.databricks.faults.clear()
    world.core.promotion_orders.retry(pending.id, actor="operator")
    assert world.again(pending).reason == "Taken up again by operator."
    world.settle()
    world.ended(pending, Phase.PROMOTED)
    assert [kind for kind, _ in world.ledger()].count("decision") == 1


def test_days_in_which_nothing_was_tried_are_no_days_of_failing(world: GateWorld) -> None:
    """The service stood still, or its clock leapt ahead, in the middle of a moment's outage."""
    pending = world.ask()
    world.approve(pending)
    world.break_databricks(MODEL, status=500)
    world.look()
    world.clock.move(days=3)
    world.live(hours=1)
    world.ended(pending, Phase.APPROVED)
    world.databricks.faults.clear()
    world.wait(minutes=15)
    world.ended(pending, Phase.PROMOTED)


def test_an_operator_cancels_what_cannot_be_read_although_it_should_have_expired(world: GateWorld) -> None:
    """The service stood still, and has not tried often enough since to end by itself what cannot be read."""
    pending = world.ask()
    world.github.faults.add(".", status=500)
    world.clock.move(days=30)
    world.live(minutes=5)
    world.ended(pending, Phase.PENDING_APPROVAL)
    world.core.promotion_orders.cancel(pending.id, actor="operator", reason="Nobody needs it now.")
    world.live(minutes=11)
    assert world.ended(pending, Phase.CANCELLED).startswith("Nobody needs it now.")


def test_a_promotion_that_has_not_failed_cannot_be_taken_up_again(world: GateWorld) -> None:
    pending = world.ask()
    with pytest.raises(Exception, match="is pending_approval: there is nothing to retry"):
        world.core.promotion_orders.retry(pending.id, actor="operator")


def test_an_operator_asks_afresh_for_a_version_whose_promotion_ended(world: GateWorld) -> None:
    first = world.ask()
    world.reject(first)
    world.sweep()
    assert world.store.get_promotion(first.id).phase is Phase.REJECTED
    fresh = world.core.promotion_orders.retry(first.id, actor="operator")
    assert fresh != first.id
    with pytest.raises(Exception, match="asks for Champion already"):
        world.core.promotion_orders.retry(first.id, actor="operator")
    world.settle()
    again = world.store.get_promotion(fresh)
    assert again.phase is Phase.PENDING_APPROVAL
    world.approve(again)
    world.sweep()
    assert world.models.champion() == "2"
    assert world.store.get_promotion(first.id).phase is Phase.REJECTED
    with pytest.raises(Exception, match="nothing to retry"):
        world.core.promotion_orders.retry(fresh, actor="operator")
