"""An approval is for one thing: whatever changes under it makes the promotion stale, before or after people approve."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from champion_gate.bootstrap.core import build_core
from champion_gate.domain.marks import RUN_TAG
from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate_standins.databricks.catalog import Version
from integration.gate_models import TRAINER
from integration.gate_world import GATE, GateWorld, SilentWakeUps, gate_world

PROMOTABLE = {"f1": 0.91}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path) as made:
        yield made


@pytest.fixture(params=["uc", "mlflow"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path, request.param) as made:
        yield made


def approved_but_not_applied(world: GateWorld) -> Promotion:
    """A promotion that is approved while the registry cannot be reached."""
    pending = world.ask()
    world.approve(pending)
    world.break_databricks("/unity-catalog/models/main.ml.churn$", status=500)
    world.look()
    world.ended(pending, Phase.APPROVED)
    world.databricks.faults.clear()
    return pending


# --- the alias moves -------------------------------------------------------------------------------------


def test_the_alias_is_moved_by_hand_while_people_are_asked(either: GateWorld) -> None:
    other = either.models.train(either.job_id, "2", PROMOTABLE)
    pending = either.ask({"f1": 0.92})
    either.models.move_alias(other)
    either.look()
    assert either.ended(pending, Phase.STALE) == (
        f"{either.models.model}@Champion stands on v2 now; approval was asked for replacing v1. "
        f"To ask afresh: champion-gate promotions retry {pending.id}"
    )
    assert either.ci_run(pending).conclusion == "cancelled"
    assert either.models.champion() == "2"
    assert either.models.tags("3")["champion_gate_status"] == "stale"


def test_the_alias_is_moved_by_the_gate_itself_while_people_are_asked(world: GateWorld) -> None:
    world.reconfigure(newer_version="keep")
    asked, other = world.ask(), world.ask({"f1": 0.93})
    world.live(seconds=6)
    world.approve(other)
    world.sweep()
    world.ended(other, Phase.PROMOTED)
    assert "stands on v3 now" in world.ended(asked, Phase.STALE)
    assert world.ci_run(asked).conclusion == "cancelled"


def test_the_alias_is_taken_away_while_people_are_asked(world: GateWorld) -> None:
    pending = world.ask()
    world.models.move_alias(None)
    world.look()
    assert "stands on no version now" in world.ended(pending, Phase.STALE)
    assert world.models.champion() is None


def test_the_alias_is_moved_by_hand_after_the_approval(world: GateWorld) -> None:
    other = world.models.train(world.job_id, "2", PROMOTABLE)
    pending = world.ask({"f1": 0.92})
    world.approve(pending)
    world.models.move_alias(other)
    world.look()
    assert "stands on v2 now" in world.ended(pending, Phase.STALE)
    assert world.models.champion() == "2"
    kinds = [kind for kind, _ in world.ledger()]
    assert "decision" in kinds
    assert world.databricks.catalog.alias_writes == []


def test_the_alias_is_moved_by_hand_while_the_registry_was_away(world: GateWorld) -> None:
    pending = approved_but_not_applied(world)
    other = world.models.train(world.job_id, "3", PROMOTABLE)
    world.models.move_alias(other)
    world.wait(minutes=1)
    assert "stands on v3 now" in world.ended(pending, Phase.STALE)
    assert world.models.champion() == "3"


# --- the version changes ---------------------------------------------------------------------------------


def test_a_version_deleted_before_anybody_is_asked(world: GateWorld) -> None:
    world.reconfigure(identities={})
    world.train()
    world.settle()
    waiting = world.promotion(Phase.REQUESTED)
    world.models.remove("2")
    world.reconfigure()
    world.wait(minutes=3)
    world.ended(waiting, Phase.REQUESTED)
    world.wait(minutes=11)
    assert "is gone from the registry" in world.ended(waiting, Phase.STALE)
    assert world.github.runs == []


def test_people_are_not_asked_any_longer_about_a_version_that_is_deleted(either: GateWorld) -> None:
    pending = either.ask()
    either.models.remove("2")
    either.look()
    either.wait(minutes=9)
    either.look()
    either.ended(pending, Phase.PENDING_APPROVAL)
    assert "v2 is not there" in (either.again(pending).retry.last_error or "")
    either.wait(minutes=1)
    assert "v2 is gone from the registry" in either.ended(pending, Phase.STALE)
    assert either.ci_run(pending).conclusion == "cancelled"


def test_a_version_deleted_after_the_approval_is_not_promoted(world: GateWorld) -> None:
    pending = approved_but_not_applied(world)
    world.models.remove("2")
    world.wait(minutes=1)
    world.ended(pending, Phase.APPROVED)
    world.wait(minutes=10)
    assert "is gone from the registry" in world.ended(pending, Phase.STALE)
    assert world.models.champion() == "1"


def test_another_version_with_the_same_number_does_not_inherit_the_approval(world: GateWorld) -> None:
    pending = world.ask()
    world.approve(pending)
    world.models.remove("2")
    assert world.models.train(world.job_id, "9", {"f1": 0.99}) == "2"
    world.look()
    assert "is another version now than the one approval was asked for" in world.ended(pending, Phase.STALE)
    assert world.models.champion() == "1"


def test_another_version_with_the_same_number_gets_a_promotion_of_its_own(world: GateWorld) -> None:
    first = world.ask()
    world.models.remove("2")
    assert world.train({"f1": 0.95}) == "2"
    world.settle()
    world.wait(minutes=1)
    world.ended(first, Phase.STALE)
    second = world.promotion(Phase.PENDING_APPROVAL)
    assert second.id != first.id
    assert second.version.version == "2"
    world.approve(second)
    world.look()
    world.ended(second, Phase.PROMOTED)
    assert {n.phase for n in world.notifications()} == {NotificationPhase.RESOLVED}


def test_a_version_that_is_no_longer_ready_is_not_promoted(world: GateWorld) -> None:
    pending = approved_but_not_applied(world)
    world.databricks.catalog.set_status(world.models.model, "2", "FAILED_REGISTRATION")
    world.wait(minutes=1)
    assert "is failed now, no longer ready" in world.ended(pending, Phase.STALE)
    assert world.models.champion() == "1"


# --- the gate changes ------------------------------------------------------------------------------------

OTHER_SETTINGS: dict[str, dict[str, object]] = {
    "identities": {"identities": {TRAINER: ["octo-trainer", "reviewer-2"]}},
    "trainers may approve": {"allow_trainer_approval": True},
    "expiry": {"expires_after": "30d"},
    "environments": {
        "approval": {
            "github": {"repository": "example/ml-deploy", "environments": ["champion", "second"]},
        }
    },
}


@pytest.mark.parametrize("changes", OTHER_SETTINGS.values(), ids=OTHER_SETTINGS)
def test_the_gates_approval_settings_change_while_people_are_asked(
    world: GateWorld, changes: dict[str, object]
) -> None:
    pending = world.ask()
    world.approve(pending)
    world.reconfigure(**changes)
    world.look()
    assert "approval settings of gate churn have changed" in world.ended(pending, Phase.STALE)
    assert world.models.champion() == "1"
    assert not [kind for kind, _ in world.ledger() if kind == "decision"]


def test_other_settings_of_the_gate_may_change_meanwhile(world: GateWorld) -> None:
    pending = world.ask()
    world.approve(pending)
    world.reconfigure(metrics=None, newer_version="keep")
    world.look()
    world.ended(pending, Phase.PROMOTED)


def test_the_approval_settings_change_after_the_approval(world: GateWorld) -> None:
    pending = approved_but_not_applied(world)
    world.reconfigure(expires_after="30d")
    world.wait(minutes=1)
    assert "have changed" in world.ended(pending, Phase.STALE)
    assert world.models.champion() == "1"


def other_gate(world: GateWorld) -> dict[str, object]:
    return {**GATE, "name": "other", "jobs": [1], "model": world.models.model}


@pytest.mark.parametrize("moment", ["requested", "pending", "approved"])
def test_a_gate_that_is_removed_promotes_nothing(world: GateWorld, moment: str) -> None:
    if moment == "requested":
        world.reconfigure(identities={})
        world.train()
        world.settle()
    elif moment == "pending":
        world.approve(world.ask())
    else:
        approved_but_not_applied(world)
    world.write_gates([other_gate(world)])
    world.look()
    world.wait(minutes=3)
    ended = world.promotion()
    assert world.ended(ended, Phase.STALE) == "Gate churn is not configured any more."
    assert world.models.champion() == "1"


@pytest.mark.parametrize("changes", [{"model": "main.ml.other"}, {"alias": "Challenger"}])
def test_a_gate_that_is_for_something_else_now_promotes_nothing(
    world: GateWorld, changes: dict[str, object]
) -> None:
    pending = world.ask()
    world.approve(pending)
    world.reconfigure(**changes)
    world.look()
    assert "not configured any more" in world.ended(pending, Phase.STALE)
    assert world.models.champion() == "1"


def test_another_registry_is_configured_while_people_are_asked(world: GateWorld, tmp_path: Path) -> None:
    pending = world.ask()
    world.store.hint_promotion(pending.id, world.clock.now())
    copy = f"sqlite:///{tmp_path}/copy.db"
    elsewhere = build_core(
        replace(world.settings, gates=world.settings.gates.model_copy(update={"registry": copy})),
        store=world.store,
        wake_ups=SilentWakeUps(),
        clock=world.clock,
    )
    world.approve(pending)
    elsewhere.promoter.advance(pending.id)
    ended = world.store.get_promotion(pending.id)
    assert (ended.phase, ended.decision) == (Phase.STALE, None)
    assert world.models.champion() == "1"


# --- the registry tells less than before ------------------------------------------------------------------


def test_a_status_that_is_not_known_ends_nothing(world: GateWorld) -> None:
    pending = world.ask()
    world.databricks.catalog.set_status("main.ml.churn", "2", "REPLICATION_STATUS_OF_TOMORROW")
    world.look()
    world.ended(pending, Phase.PENDING_APPROVAL)
    assert "does not tell the status of main.ml.churn v2" in (world.again(pending).retry.last_error or "")
    world.approve(pending)
    world.look()
    world.ended(pending, Phase.APPROVED)
    assert world.models.champion() == "1"
    world.databricks.catalog.set_status("main.ml.churn", "2", "READY")
    world.wait(minutes=20)
    world.ended(pending, Phase.PROMOTED)


def test_a_version_that_a_replica_shows_as_it_was_before_it_was_ready_is_waited_for(world: GateWorld) -> None:
    pending = world.ask()
    world.databricks.catalog.set_status("main.ml.churn", "2", "PENDING_REGISTRATION")
    world.look()
    world.ended(pending, Phase.PENDING_APPROVAL)
    world.approve(pending)
    world.look()
    world.ended(pending, Phase.APPROVED)
    assert "main.ml.churn v2 is pending now" in (world.again(pending).retry.last_error or "")
    assert world.models.champion() == "1"
    world.databricks.catalog.set_status("main.ml.churn", "2", "READY")
    world.wait(minutes=20)
    world.ended(pending, Phase.PROMOTED)


@pytest.mark.parametrize("what", ["run_id", "source", "version_id"])
def test_a_version_of_which_less_is_told_than_before_is_no_other_version(world: GateWorld, what: str) -> None:
    pending = world.ask()
    version = world.databricks.catalog.version("main.ml.churn", "2")
    told = getattr(version, what)
    setattr(version, what, None)
    world.approve(pending)
    world.look()
    world.ended(pending, Phase.APPROVED)
    assert world.models.champion() == "1"
    setattr(version, what, told)
    world.wait(minutes=20)
    world.ended(pending, Phase.PROMOTED)


@pytest.mark.parametrize("what", ["run_id", "source", "version_id"])
def test_a_version_of_which_less_was_told_at_first_asks_with_all_of_it(world: GateWorld, what: str) -> None:
    run_id, number = world.train_run()
    version = world.databricks.catalog.version("main.ml.churn", number)
    version.tags[RUN_TAG] = run_id
    told = getattr(version, what)
    setattr(version, what, None)
    world.notify(run_id)
    world.core.resolver.resolve(world.notification().id)
    assert world.promotion().phase is Phase.REQUESTED
    setattr(version, what, told)
    world.live(minutes=20)
    pending = world.promotion(Phase.PENDING_APPROVAL)
    shown = world.core.context.registry.get_version("main.ml.churn", number)
    assert pending.version.same_as(shown)
    assert ("MLflow run user", TRAINER) in {(each.role, each.name) for each in pending.trainers}
    assert world.evidence(pending)["candidate"]["version_id"] == shown.version_id  # type: ignore[index]
    world.approve(pending)
    world.look()
    assert (world.again(pending).phase, world.models.champion()) == (Phase.PROMOTED, number)


@pytest.mark.parametrize("moment", [Phase.PENDING_APPROVAL, Phase.APPROVED])
def test_a_version_of_which_more_is_told_once_people_are_asked_is_asked_about_anew_once(
    world: GateWorld, moment: Phase
) -> None:
    run_id, number = world.train_run()
    version = world.databricks.catalog.version("main.ml.churn", number)
    told, version.version_id = version.version_id, None
    world.notify(run_id)
    world.settle()
    first = world.promotion(Phase.PENDING_APPROVAL)
    if moment is Phase.APPROVED:
        world.break_databricks("/unity-catalog/models/main.ml.churn$", status=500)
        world.approve(first)
        world.look()
        world.databricks.faults.clear()
    world.ended(first, moment)
    version.version_id = told
    world.notify(run_id)
    world.live(minutes=20)
    assert "tells more of main.ml.churn v2 now" in world.ended(first, Phase.STALE)
    second = world.promotion(Phase.PENDING_APPROVAL)
    assert world.evidence(second)["candidate"]["version_id"] == told  # type: ignore[index]
    assert world.models.champion() == "1"
    world.reject(second)
    world.look()
    world.notify(run_id)
    world.live(minutes=20)
    assert [each.phase for each in world.promotions()] == [Phase.REJECTED, Phase.STALE]


def test_a_run_that_cannot_be_read_for_a_moment_is_asked_about_anew_all_the_same(world: GateWorld) -> None:
    version = world.databricks.catalog.version("main.ml.churn", world.train())
    told, version.version_id = version.version_id, None
    world.settle()
    first = world.promotion(Phase.PENDING_APPROVAL)
    version.version_id = told
    world.break_databricks("/jobs/runs/get$", status=404, error_code="RESOURCE_DOES_NOT_EXIST")
    world.look()
    world.ended(first, Phase.STALE)
    world.databricks.faults.clear()
    world.live(minutes=20)
    assert world.promotion(Phase.PENDING_APPROVAL).version.version_id == told


def told_of_without_its_run(world: GateWorld) -> tuple[Version, str | None]:
    """A version whose MLflow run the registry leaves out, and that run; the job's notification has come."""
    run_id, number = world.train_run()
    version = world.databricks.catalog.version("main.ml.churn", number)
    version.tags[RUN_TAG] = run_id
    told, version.run_id = version.run_id, None
    world.notify(run_id)
    return version, told


def test_an_operator_may_ask_afresh_for_a_version_of_which_less_was_told_when_it_ended(
    world: GateWorld,
) -> None:
    version, told = told_of_without_its_run(world)
    world.settle()
    ended = world.promotion(Phase.INELIGIBLE)
    version.run_id = told
    fresh = world.core.promotion_orders.retry(ended.id, actor="operator-1")
    world.settle()
    asked = world.promotion(Phase.PENDING_APPROVAL)
    assert (asked.id, asked.version.run_id) == (fresh, told)
    assert ("MLflow run user", TRAINER) in {(each.role, each.name) for each in asked.trainers}


def test_a_run_that_cannot_be_read_for_a_moment_ends_no_promotion_of_which_more_is_told(
    world: GateWorld,
) -> None:
    version, told = told_of_without_its_run(world)
    world.core.resolver.resolve(world.notification().id)
    version.run_id = told
    world.break_databricks("/jobs/runs/get$", status=404, error_code="RESOURCE_DOES_NOT_EXIST")
    world.settle()
    assert "There is no job run" in world.promotion(Phase.REQUESTED).reason
    world.databricks.faults.clear()
    world.live(minutes=20)
    assert world.promotion(Phase.PENDING_APPROVAL).version.run_id == told
