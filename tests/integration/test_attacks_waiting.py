"""The attack list, 34: an approval that waits is withdrawn, or waits too long, and is applied all the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from champion_gate.domain.promotion import Phase, Promotion
from integration.gate_crashes import Once, StoreBetween, start_with
from integration.gate_world import GateWorld, gate_world
from integration.rules_world import OPERATOR, approve, assert_unmoved, post, shown

pytestmark = pytest.mark.spread(4)


@pytest.fixture(
    params=[
        pytest.param(("uc", "github"), id="uc-github"),
        pytest.param(("mlflow", "gitlab-rules"), id="mlflow-gitlab-rules", marks=pytest.mark.part("rest")),
    ]
)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GateWorld]:
    registry, provider = request.param
    with gate_world(tmp_path, registry, provider) as made:
        yield made


@pytest.fixture
def uc(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path) as made:
        yield made


def hold(world: GateWorld) -> None:
    world.core.alias_orders.hold(world.models.model, "Champion", caller=OPERATOR, reason="not now")


def release(world: GateWorld) -> None:
    world.core.alias_orders.release(world.models.model, "Champion", caller=OPERATOR, reason="now")


def held(world: GateWorld) -> Promotion:
    """Approved, and waiting for a hold's release."""
    pending = world.ask()
    hold(world)
    approve(world, pending)
    world.look()
    world.ended(pending, Phase.APPROVED)
    return pending


def cancel(world: GateWorld, promotion: Promotion) -> None:
    status, said = post(world, f"/promotions/{promotion.id}/cancel", reason="it is wrong")
    assert status == 202, said


# --- withdrawn --------------------------------------------------------------------------------------------


def test_attack_34_a_cancelled_approval_is_not_applied_when_the_hold_is_released(world: GateWorld) -> None:
    promotion = held(world)
    cancel(world, promotion)
    world.settle()
    assert_unmoved(world, promotion, Phase.CANCELLED, "Cancelled by operator-1: it is wrong")
    status, said = post(world, f"/promotions/{promotion.id}/cancel", reason="again")
    assert (status, said["code"]) == (409, "conflict")
    assert (
        "is cancelled; only one that is requested or validated, waits for approval, or is approved"
        in said["detail"]
    )
    release(world)
    world.clock.move(days=200)
    world.sweep()
    assert_unmoved(world, promotion, Phase.CANCELLED, "it is wrong")
    status, said = post(world, f"/promotions/{promotion.id}/retry")
    assert status == 202, "it may be asked for afresh"


def test_attack_34_an_approval_is_cancelled_while_the_registry_is_away(uc: GateWorld) -> None:
    promotion = held(uc)
    release_fault = uc.break_databricks("/unity-catalog/", status=500)
    cancel(uc, promotion)
    uc.settle()
    assert uc.ended(promotion, Phase.CANCELLED).startswith("Cancelled by operator-1")
    release_fault.times = 0
    release(uc)
    uc.wait(days=1)
    assert_unmoved(uc, promotion, Phase.CANCELLED, "it is wrong")


def test_attack_34_a_write_that_may_still_arrive_is_settled_before_the_end(uc: GateWorld) -> None:
    promotion = uc.ask()
    writes = uc.break_databricks("/aliases/", method="PUT", status=500)
    approve(uc, promotion)
    uc.look()
    sent = writes.hits
    cancel(uc, promotion)
    uc.settle()
    view = shown(uc, promotion)
    assert view["phase"] == "approved"
    assert "it ends once it is certain that this does not come to pass" in view["reason"]
    writes.times = 0
    uc.live(minutes=15)
    assert_unmoved(uc, promotion, Phase.CANCELLED, "it is wrong")
    assert writes.hits == sent
    assert uc.databricks.catalog.alias_writes == [], "nothing was sent after the order"
    known = uc.store.known_alias(promotion.alias_key)
    assert known is not None
    assert known.intent is None


def test_attack_34_a_write_that_has_arrived_is_told_before_the_end(uc: GateWorld) -> None:
    promotion = uc.ask()
    uc.break_databricks("/aliases/", method="PUT", lose_answer=True)
    approve(uc, promotion)
    uc.look()
    uc.ended(promotion, Phase.APPROVED)
    cancel(uc, promotion)
    uc.databricks.faults.clear()
    uc.live(minutes=15)
    uc.ended(promotion, Phase.PROMOTED)
    assert uc.models.champion() == "2"
    assert [to for _, to, _ in uc.moves()] == ["1", "2"]


def test_attack_34_a_write_that_arrives_late_is_told_before_the_end(uc: GateWorld) -> None:
    promotion = uc.ask()
    uc.break_databricks("/aliases/", method="PUT", status=500)
    approve(uc, promotion)
    uc.look()
    cancel(uc, promotion)
    uc.settle()
    uc.ended(promotion, Phase.APPROVED)
    uc.clock.move(seconds=45)
    uc.models.move_alias("2")  # the registry carries out only now what it was sent
    uc.databricks.faults.clear()
    uc.live(minutes=15)
    uc.ended(promotion, Phase.PROMOTED)


def test_attack_34_nothing_ends_while_nobody_knows_what_came_of_its_write(uc: GateWorld) -> None:
    promotion = uc.ask()
    uc.break_databricks("/aliases/", method="PUT", lose_answer=True)
    approve(uc, promotion)
    uc.look()
    uc.databricks.faults.clear()
    uc.break_databricks("/unity-catalog/", status=500)
    cancel(uc, promotion)
    uc.live(hours=2)
    uc.ended(promotion, Phase.APPROVED)
    uc.databricks.faults.clear()
    uc.live(minutes=20)
    uc.ended(promotion, Phase.PROMOTED)


MOMENTS = (
    *("take_promotion", "save_promotion", "lock_alias", "ledger_lines", "get_promotion"),
    *("begin_alias_change", "check_fence", "finish_alias_change", "unlock_alias"),
)


@pytest.mark.part("rest", "take_promotion", "lock_alias", "ledger_lines", "get_promotion", "check_fence")
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_attack_34_a_cancel_that_comes_at_any_moment_of_the_write(
    uc: GateWorld, moment: str, when: str
) -> None:
    promotion = uc.ask()
    approve(uc, promotion)
    canceller = uc.core.promotion_orders

    def order() -> None:
        if uc.again(promotion).phase.is_open:
            canceller.cancel(promotion.id, actor="operator-1", reason="it is wrong")

    once = Once(moment, order)
    start_with(uc, StoreBetween(uc.store, **{when: once}))
    uc.look()
    uc.live(minutes=15)
    assert once.done
    ended = uc.again(promotion)
    assert (ended.phase, uc.models.champion()) in {(Phase.PROMOTED, "2"), (Phase.CANCELLED, "1")}
    assert uc.databricks.catalog.alias_writes == (
        [(uc.models.model, "Champion", 2)] if ended.phase is Phase.PROMOTED else []
    )


def test_attack_34_a_cancel_before_the_decision_was_read_ends_what_has_to_wait(uc: GateWorld) -> None:
    promotion = uc.ask()
    hold(uc)
    approve(uc, promotion)
    cancel(uc, promotion)
    uc.settle()
    uc.live(minutes=1)
    assert_unmoved(uc, promotion, Phase.CANCELLED, "it is wrong")


def test_a_cancel_is_no_reason_not_to_apply_what_was_decided_before(world: GateWorld) -> None:
    promotion = world.ask()
    approve(world, promotion)
    cancel(world, promotion)
    world.settle()
    world.ended(promotion, Phase.PROMOTED)


def test_a_retry_takes_back_an_order_to_end(uc: GateWorld) -> None:
    promotion = uc.ask()
    uc.break_databricks("/aliases/", method="PUT", lose_answer=True, times=3)
    approve(uc, promotion)
    uc.look()
    uc.databricks.faults.clear()
    uc.break_databricks("/unity-catalog/", status=500)
    cancel(uc, promotion)
    uc.live(hours=25)
    uc.ended(promotion, Phase.FAILED)
    uc.databricks.faults.clear()
    uc.models.move_alias("1")
    status, _ = post(uc, f"/promotions/{promotion.id}/retry")
    assert status == 202
    assert uc.again(promotion).end_request is None


# --- too long ---------------------------------------------------------------------------------------------


def test_attack_34_an_approval_that_waits_for_a_hold_expires(world: GateWorld) -> None:
    promotion = held(world)
    world.clock.move(days=6, hours=23)
    world.settle()
    world.ended(promotion, Phase.APPROVED)
    world.clock.move(hours=2)
    world.settle()
    assert_unmoved(world, promotion, Phase.EXPIRED, "Approved, and not applied before ")
    assert "apply_within of gate churn" in world.again(promotion).reason
    release(world)
    world.sweep()
    assert_unmoved(world, promotion, Phase.EXPIRED, f"champion-gate promotions retry {promotion.id}")
    status, _ = post(world, f"/promotions/{promotion.id}/retry")
    assert status == 202


@pytest.mark.part("rest")
def test_attack_34_a_release_200_days_later_applies_nothing(uc: GateWorld) -> None:
    promotion = held(uc)
    uc.clock.move(days=200)
    release(uc)
    uc.settle()
    assert_unmoved(uc, promotion, Phase.EXPIRED, "Approved, and not applied before ")


def test_attack_34_the_time_counts_from_the_release_of_the_last_hold(uc: GateWorld) -> None:
    promotion = held(uc)
    uc.clock.move(days=5)
    fault = uc.break_databricks("/unity-catalog/", status=500)
    release(uc)
    uc.settle()
    hold(uc)
    fault.times = 0
    uc.clock.move(days=6)
    uc.settle()
    uc.ended(promotion, Phase.APPROVED)
    uc.clock.move(days=1, hours=1)
    uc.settle()
    assert_unmoved(uc, promotion, Phase.EXPIRED, "Approved, and not applied before ")


def test_attack_34_the_gate_says_how_long(uc: GateWorld) -> None:
    uc.reconfigure(apply_within="90m")
    promotion = held(uc)
    uc.live(minutes=89)
    uc.ended(promotion, Phase.APPROVED)
    uc.live(minutes=2)
    assert_unmoved(uc, promotion, Phase.EXPIRED, "apply_within of gate churn")


def test_attack_34_what_has_failed_meanwhile_is_not_applied_long_after(uc: GateWorld) -> None:
    promotion = uc.ask()
    refusal = uc.break_databricks("/aliases/", method="PUT", status=403)
    approve(uc, promotion)
    uc.look()
    uc.ended(promotion, Phase.FAILED)
    refusal.times = 0
    uc.clock.move(days=8)
    post(uc, f"/promotions/{promotion.id}/retry")
    uc.settle()
    assert_unmoved(uc, promotion, Phase.EXPIRED, "Approved, and not applied before ")


def test_attack_34_a_write_of_its_own_is_settled_before_it_expires(uc: GateWorld) -> None:
    uc.reconfigure(apply_within="1h")
    promotion = uc.ask()
    uc.break_databricks("/aliases/", method="PUT", lose_answer=True)
    approve(uc, promotion)
    uc.look()
    uc.clock.move(hours=2)
    uc.databricks.faults.clear()
    uc.live(minutes=15)
    uc.ended(promotion, Phase.PROMOTED)


def test_attack_34_a_write_begun_after_the_time_was_over_is_settled_too(uc: GateWorld) -> None:
    promotion = uc.ask()
    fault = uc.break_databricks("/unity-catalog/", status=500)
    approve(uc, promotion)
    uc.look()
    uc.clock.move(hours=2)
    fault.times = 0
    uc.break_databricks("/aliases/", method="PUT", drop=True, times=1)
    uc.settle()
    uc.reconfigure(apply_within="1h")
    uc.wait(seconds=30)
    uc.ended(promotion, Phase.APPROVED)
    uc.models.move_alias("2")  # the write arrives
    uc.wait(minutes=2)
    uc.ended(promotion, Phase.PROMOTED)
    assert uc.moves()[-1] == ("1", "2", "reviewer-1")


def test_an_approval_that_is_read_late_is_applied(uc: GateWorld) -> None:
    uc.reconfigure(apply_within="1h")
    promotion = uc.ask()
    approve(uc, promotion)
    uc.clock.move(days=2)
    uc.settle()
    uc.ended(promotion, Phase.PROMOTED)
