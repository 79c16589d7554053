"""From the notification to the alias, and the ends that people bring about."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.promotion import Phase
from champion_gate.errors import ConflictError
from integration.gate_world import GateWorld, gate_world


@pytest.fixture(params=["uc", "mlflow"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path, request.param) as made:
        yield made


@pytest.fixture
def uc(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path) as made:
        yield made


def test_an_approved_version_becomes_champion(world: GateWorld) -> None:
    version = world.train()
    world.settle()
    pending = world.promotion(Phase.PENDING_APPROVAL)
    assert world.models.champion() == "1"
    world.approve(pending)
    world.sweep()
    world.promotion(Phase.PROMOTED)
    assert world.notification().phase is NotificationPhase.RESOLVED
    assert world.models.champion() == version == "2"
    assert world.moves()[-1] == ("1", "2", "reviewer-1")
    tags = world.models.tags(version)
    assert tags["champion_gate_status"] == "promoted"
    assert tags["champion_gate_approved_by"] == "reviewer-1"
    assert tags["champion_gate_promotion"] == pending.id


def test_the_first_version_ever_needs_no_champion_beside_it(world: GateWorld) -> None:
    world.models.move_alias(None)
    pending = world.ask()
    assert pending.champion_version is None
    world.approve(pending)
    world.look()
    assert world.ended(pending, Phase.PROMOTED) == (
        f"Champion of {world.models.model} moved from no version to v2"
    )
    assert world.moves() == [(None, "2", "reviewer-1")]


def test_a_rejection_ends_it_and_is_on_record(world: GateWorld) -> None:
    pending = world.ask()
    world.reject(pending)
    world.look()
    assert world.ended(pending, Phase.REJECTED) == "Rejected by reviewer-1 (champion): not yet"
    assert world.models.champion() == "1"
    assert ("decision", "Rejected by reviewer-1 (champion): not yet") in world.ledger()
    assert world.models.tags("2")["champion_gate_status"] == "rejected"
    assert world.ci_run(pending).conclusion == "failure"
    assert "champion_gate_approved_by" not in world.models.tags("2")


def test_nothing_of_an_ended_promotion_is_left_to_do(uc: GateWorld) -> None:
    pending = uc.ask()
    uc.approve(pending)
    uc.look()
    before = len(uc.databricks.requests), len(uc.github.faults.requests)
    uc.wait(days=3)
    uc.core.promoter.advance(pending.id)
    assert (len(uc.databricks.requests), len(uc.github.faults.requests)) == before
    assert uc.store.open_steps(pending.id) == ()


# --- expiry ----------------------------------------------------------------------------------------------


def test_nobody_decides_and_the_request_expires(uc: GateWorld) -> None:
    pending = uc.ask()
    assert pending.request is not None
    uc.wait(days=13, hours=23)
    assert uc.again(pending).phase is Phase.PENDING_APPROVAL
    uc.wait(hours=1, seconds=2)
    assert uc.ended(pending, Phase.EXPIRED) == (
        f"Nobody decided before {pending.request.expires_at:%Y-%m-%d %H:%M} UTC."
    )
    assert uc.ci_run(pending).conclusion == "cancelled"
    assert uc.models.champion() == "1"
    assert uc.models.tags("2")["champion_gate_status"] == "expired"


def test_a_decision_given_in_time_counts_when_it_is_seen_after_the_expiry(uc: GateWorld) -> None:
    pending = uc.ask()
    uc.clock.move(days=13, hours=23, minutes=59)
    uc.approve(pending)
    uc.wait(days=2)
    uc.ended(pending, Phase.PROMOTED)
    assert uc.models.champion() == "2"


def test_a_decision_given_after_the_expiry_does_not_count(uc: GateWorld) -> None:
    pending = uc.ask()
    uc.clock.move(days=14, minutes=1)
    uc.approve(pending)
    uc.settle()
    uc.ended(pending, Phase.EXPIRED)
    assert uc.models.champion() == "1"
    assert not [kind for kind, _ in uc.ledger() if kind == "decision"]


def test_a_vendor_that_stumbles_at_the_expiry_does_not_lose_a_decision_given_in_time(uc: GateWorld) -> None:
    pending = uc.ask()
    uc.clock.move(days=13, hours=23, minutes=59)
    uc.approve(pending)
    fault = uc.github.faults.add("/approvals$", status=502)
    uc.wait(minutes=2)
    assert fault.hits
    assert uc.again(pending).phase is Phase.PENDING_APPROVAL
    assert "502" in (uc.again(pending).retry.last_error or "")
    uc.github.faults.clear()
    uc.wait(minutes=1)
    uc.ended(pending, Phase.PROMOTED)


def test_a_request_that_cannot_be_read_long_after_its_expiry_ends(uc: GateWorld) -> None:
    pending = uc.ask()
    uc.github.faults.add("/approvals$", status=502)
    uc.clock.move(days=14)
    for _ in range(26):
        uc.wait(hours=1)
    reason = uc.ended(pending, Phase.EXPIRED)
    assert "It could not be read" in reason
    assert "502" in reason
    uc.github.faults.clear()
    uc.wait(minutes=20)
    assert uc.ci_run(pending).conclusion == "cancelled"
    assert uc.models.champion() == "1"


# --- cancelled by an operator ----------------------------------------------------------------------------


def test_an_operator_cancels_before_anybody_is_asked(uc: GateWorld) -> None:
    uc.reconfigure(identities={})
    uc.train()
    uc.settle()
    waiting = uc.promotion(Phase.REQUESTED)
    uc.core.promotion_orders.cancel(waiting.id, actor="operator", reason="Trained on the wrong table.")
    uc.settle()
    assert uc.ended(waiting, Phase.CANCELLED) == "Trained on the wrong table."
    assert uc.github.runs == []


def test_an_operator_cancels_while_people_are_asked(uc: GateWorld) -> None:
    pending = uc.ask()
    uc.core.promotion_orders.cancel(pending.id, actor="operator", reason="Trained on the wrong table.")
    uc.settle()
    assert uc.ended(pending, Phase.CANCELLED) == "Trained on the wrong table."
    assert uc.ci_run(pending).conclusion == "cancelled"
    assert uc.models.champion() == "1"
    with pytest.raises(ConflictError, match="is cancelled"):
        uc.core.promotion_orders.cancel(pending.id, actor="operator", reason="again")


def test_an_approval_that_came_before_the_cancel_wins(uc: GateWorld) -> None:
    pending = uc.ask()
    uc.approve(pending)
    uc.core.promotion_orders.cancel(pending.id, actor="operator", reason="Too late.")
    uc.settle()
    uc.ended(pending, Phase.PROMOTED)
    assert uc.models.champion() == "2"


def test_a_cancel_waits_for_a_vendor_that_cannot_be_read(uc: GateWorld) -> None:
    pending = uc.ask()
    uc.approve(pending)
    uc.github.faults.add("/approvals$", status=500)
    uc.core.promotion_orders.cancel(pending.id, actor="operator", reason="Perhaps too late.")
    uc.settle()
    assert uc.again(pending).phase is Phase.PENDING_APPROVAL
    uc.github.faults.clear()
    uc.wait(minutes=1)
    uc.ended(pending, Phase.PROMOTED)


def test_cancelling_the_ci_run_is_tried_until_it_works(uc: GateWorld) -> None:
    pending = uc.ask()
    uc.github.faults.add("/cancel$", status=500)
    uc.core.promotion_orders.cancel(pending.id, actor="operator", reason="Not this one.")
    uc.settle()
    uc.ended(pending, Phase.CANCELLED)
    assert uc.ci_run(pending).status == "waiting"
    uc.github.faults.clear()
    uc.wait(minutes=1)
    assert uc.ci_run(pending).conclusion == "cancelled"


def test_a_run_that_somebody_cancels_in_github_ends_the_promotion(uc: GateWorld) -> None:
    pending = uc.ask()
    uc.github.cancel(uc.run_id_of(pending))
    uc.sweep()
    assert "cancelled before every gated job was let start" in uc.ended(pending, Phase.REJECTED)
    assert uc.models.champion() == "1"


# --- a newer version -------------------------------------------------------------------------------------


def test_a_newer_version_supersedes_an_older_request(world: GateWorld) -> None:
    older = world.ask()
    newer = world.ask({"f1": 0.92})
    assert world.ended(older, Phase.SUPERSEDED) == (f"The newer v3 asks for Champion now ({newer.id}).")
    assert world.ci_run(older).conclusion == "cancelled"
    assert world.models.tags("2")["champion_gate_status"] == "superseded"
    world.approve(newer)
    world.look()
    world.ended(newer, Phase.PROMOTED)
    assert world.models.champion() == "3"


def test_both_are_asked_for_where_the_gate_keeps_older_requests(uc: GateWorld) -> None:
    uc.reconfigure(newer_version="keep")
    older, newer = uc.ask(), uc.ask({"f1": 0.92})
    assert uc.again(older).phase is Phase.PENDING_APPROVAL
    uc.approve(older)
    uc.look()
    uc.ended(older, Phase.PROMOTED)
    assert "stands on v2 now; approval was asked for replacing v1" in uc.ended(newer, Phase.STALE)
    assert uc.ci_run(newer).conclusion == "cancelled"


def test_an_older_version_that_arrives_after_a_newer_one_is_not_asked_about(uc: GateWorld) -> None:
    run_id, _ = uc.train_run()
    newer = uc.ask({"f1": 0.92})
    uc.notify(run_id)
    uc.settle()
    (older,) = (p for p in uc.promotions() if p.version.version == "2")
    assert uc.ended(older, Phase.SUPERSEDED) == "v3 asks for Champion already."
    assert len(uc.github.runs) == 1
    assert uc.again(newer).phase is Phase.PENDING_APPROVAL


def test_an_approval_of_the_older_version_that_came_first_is_applied(uc: GateWorld) -> None:
    older = uc.ask()
    uc.approve(older)
    uc.train({"f1": 0.92})
    uc.settle()
    uc.look()
    uc.ended(older, Phase.PROMOTED)
    assert uc.models.champion() == "2"
    (newer,) = (p for p in uc.promotions() if p.version.version == "3")
    assert "stands on v2 now" in uc.ended(newer, Phase.STALE)


class _DyingWakeUps:
    """The process is killed just when the first older request is told to end."""

    def notification(self, notification_id: str) -> None: ...
    def step(self, step_id: str) -> None: ...

    def promotion(self, promotion_id: str) -> None:
        raise SystemExit(promotion_id)


def test_a_crash_while_superseding_leaves_no_older_request_open(uc: GateWorld) -> None:
    uc.reconfigure(newer_version="keep")
    oldest, older = uc.ask(), uc.ask({"f1": 0.92})
    uc.reconfigure()
    version = uc.train({"f1": 0.93})
    uc.core.resolver.resolve(uc.store.due(uc.clock.now()).notifications[0])
    (newest,) = (p for p in uc.promotions() if p.version.version == version)
    uc.wake_ups = _DyingWakeUps()
    uc.start()
    with pytest.raises(SystemExit):
        uc.core.promoter.advance(newest.id)
    uc.crash()
    uc.wait(minutes=11)
    assert uc.again(newest).phase is Phase.PENDING_APPROVAL
    uc.ended(oldest, Phase.SUPERSEDED)
    uc.ended(older, Phase.SUPERSEDED)
