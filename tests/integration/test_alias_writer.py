"""One writer an alias: interrupted writes are finished once, refused ones leave nothing, moves by others are on record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from champion_gate.domain.aliases import AliasKey
from champion_gate.domain.promotion import Phase, Promotion
from integration.gate_crashes import Once, StoreBetween, start_with
from integration.gate_world import GateWorld, gate_world

KEY = AliasKey("databricks-uc", "main.ml.churn", "Champion")
MODEL = "/unity-catalog/models/main.ml.churn$"
PUT = "/aliases/Champion$"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path) as made:
        yield made


def approved(world: GateWorld) -> Promotion:
    pending = world.ask()
    world.approve(pending)
    return pending


def puts(world: GateWorld) -> int:
    return sum(1 for request in world.databricks.requests if request.method == "PUT")


# --- interrupted -----------------------------------------------------------------------------------------


def interrupted(world: GateWorld, *, carried_out: bool) -> Promotion:
    """A promotion whose write got no answer: sent and lost, or never sent."""
    pending = approved(world)
    world.break_databricks(PUT, method="PUT", times=1, lose_answer=carried_out, drop=not carried_out)
    world.look()
    now = world.again(pending)
    assert now.phase is Phase.APPROVED
    assert "there was no answer" in (now.retry.last_error or "")
    known = world.store.known_alias(KEY)
    assert known is not None
    assert known.intent is not None
    assert (known.intent.from_version, known.intent.to_version) == ("1", "2")
    world.crash()
    return pending


def test_a_write_whose_answer_was_lost_is_finished_and_not_sent_again(world: GateWorld) -> None:
    pending = interrupted(world, carried_out=True)
    world.wait(minutes=1)
    world.ended(pending, Phase.PROMOTED)
    assert puts(world) == 1
    assert world.moves()[1:] == [("1", "2", "reviewer-1")]
    assert world.models.tags("2")["champion_gate_approved_by"] == "reviewer-1"


def test_a_write_that_never_arrived_is_sent_again(world: GateWorld) -> None:
    pending = interrupted(world, carried_out=False)
    assert world.models.champion() == "1"
    world.wait(minutes=1)
    world.ended(pending, Phase.PROMOTED)
    assert world.databricks.catalog.alias_writes == [("main.ml.churn", "Champion", 2)]
    assert world.moves()[1:] == [("1", "2", "reviewer-1")]


@pytest.mark.parametrize("carried_out", [True, False], ids=["after the write", "before the write"])
def test_an_operator_who_moves_the_alias_elsewhere_meanwhile_is_not_overruled(
    world: GateWorld, *, carried_out: bool
) -> None:
    elsewhere = world.models.train(world.job_id, "2", {"f1": 0.95})
    pending = world.ask({"f1": 0.92})
    world.approve(pending)
    world.break_databricks(PUT, method="PUT", times=1, lose_answer=carried_out, drop=not carried_out)
    world.look()
    world.models.move_alias(elsewhere)
    world.crash()
    world.wait(minutes=1)
    reason = (
        "while champion-gate was writing v1 -> v3, somebody else put the alias on v2; "
        "the approval is not used again"
    )
    assert world.ended(pending, Phase.STALE) == reason
    assert ("alias_change", reason) in world.ledger()
    world.wait(days=1)
    world.sweep()
    assert world.models.champion() == elsewhere
    assert len(world.databricks.catalog.alias_writes) == int(carried_out)
    assert world.moves()[1:] == [("1", "2", "outside champion-gate")]


def test_a_version_that_was_replaced_after_the_write_was_lost_is_not_promoted(world: GateWorld) -> None:
    pending = interrupted(world, carried_out=False)
    world.models.remove("2")
    assert world.models.train(world.job_id, "9", {"f1": 0.99}) == "2"
    world.wait(minutes=1)
    assert "is another version now" in world.ended(pending, Phase.STALE)
    assert world.databricks.catalog.alias_writes == []
    assert world.models.champion() == "1"


def test_a_lost_write_is_not_sent_again_once_the_approval_settings_have_changed(world: GateWorld) -> None:
    pending = interrupted(world, carried_out=False)
    world.reconfigure(expires_after="30d")
    world.wait(minutes=1)
    assert "have changed" in world.ended(pending, Phase.STALE)
    assert world.models.champion() == "1"


def test_a_write_that_was_carried_out_stays_so_though_the_settings_have_changed_since(
    world: GateWorld,
) -> None:
    pending = interrupted(world, carried_out=True)
    world.reconfigure(expires_after="30d")
    world.wait(minutes=1)
    world.ended(pending, Phase.PROMOTED)
    assert world.moves()[1:] == [("1", "2", "reviewer-1")]


def test_a_lost_write_is_only_sent_again_in_its_own_promotions_turn(world: GateWorld) -> None:
    world.reconfigure(newer_version="keep")
    older, newer = world.ask(), world.ask({"f1": 0.93})
    world.approve(older)
    world.approve(newer)
    world.break_databricks(PUT, method="PUT", times=1, drop=True)
    world.look()
    assert {world.again(older).phase, world.again(newer).phase} == {Phase.APPROVED, Phase.PROMOTED}
    world.wait(minutes=1)
    assert {world.again(older).phase, world.again(newer).phase} == {Phase.STALE, Phase.PROMOTED}
    assert len(world.databricks.catalog.alias_writes) == 1
    assert len([move for move in world.moves() if move[2] == "reviewer-1"]) == 1


def given_up(world: GateWorld, *, carried_out: bool) -> Promotion:
    """A promotion that failed with its write begun."""
    pending = approved(world)
    world.break_databricks(PUT, method="PUT", times=1, lose_answer=carried_out, drop=not carried_out)
    world.look()
    world.break_databricks(MODEL, status=500)
    for _ in range(25):
        world.wait(hours=1)
    assert "500" in world.ended(pending, Phase.FAILED)
    world.databricks.faults.clear()
    return pending


def test_the_lost_write_of_a_promotion_that_failed_is_not_sent_by_another_ones_turn(world: GateWorld) -> None:
    failed = given_up(world, carried_out=False)
    newer = world.ask({"f1": 0.93})
    world.approve(newer)
    world.look()
    world.ended(newer, Phase.PROMOTED)
    assert world.databricks.catalog.alias_writes == [("main.ml.churn", "Champion", 3)]
    world.core.promotion_orders.retry(failed.id, actor="operator")
    world.settle()
    assert "stands on v3 now" in world.ended(failed, Phase.STALE)
    assert world.models.champion() == "3"


def test_moves_by_hand_are_seen_though_a_promotion_failed_in_the_middle_of_its_write(
    world: GateWorld,
) -> None:
    failed = given_up(world, carried_out=True)
    world.sweep()
    assert world.moves()[1:] == [("1", "2", "reviewer-1")]
    world.models.move_alias("1")
    world.sweep()
    assert world.moves()[2:] == [("2", "1", "outside champion-gate")]
    world.core.promotion_orders.retry(failed.id, actor="operator")
    world.settle()
    world.ended(failed, Phase.PROMOTED)
    assert world.models.champion() == "1"
    assert puts(world) == 1


# --- answered otherwise than hoped -----------------------------------------------------------------------


def test_a_refused_write_fails_and_a_retry_takes_it_up_again(world: GateWorld) -> None:
    pending = approved(world)
    world.break_databricks(
        PUT, method="PUT", status=403, error_code="PERMISSION_DENIED", message="User does not own the model"
    )
    world.look()
    reason = world.ended(pending, Phase.FAILED)
    for words in ("403", "User does not own the model", "permission", f"promotions retry {pending.id}"):
        assert words in reason
    assert world.models.champion() == "1"
    assert ("1", "2", "reviewer-1") not in world.moves()
    assert "champion_gate_status" not in world.models.tags("2")
    world.databricks.faults.clear()
    world.core.promotion_orders.retry(pending.id, actor="operator")
    world.settle()
    world.ended(pending, Phase.PROMOTED)
    assert world.moves()[1:] == [("1", "2", "reviewer-1")]
    assert [kind for kind, _ in world.ledger()].count("decision") == 1


def test_after_a_refused_write_moves_by_hand_are_still_noticed(world: GateWorld) -> None:
    pending = approved(world)
    world.break_databricks(PUT, method="PUT", status=403)
    world.look()
    world.ended(pending, Phase.FAILED)
    world.databricks.faults.clear()
    world.models.move_alias("2")
    world.sweep()
    assert world.moves()[1:] == [("1", "2", "outside champion-gate")]
    world.core.promotion_orders.retry(pending.id, actor="operator")
    world.settle()
    assert "stands on v2 now" in world.ended(pending, Phase.STALE)


def test_a_write_that_was_answered_well_but_is_not_there_is_no_promotion(world: GateWorld) -> None:
    pending = approved(world)
    world.break_databricks(PUT, method="PUT", body=b"{}")
    world.look()
    assert "is still shown on v1" in (world.again(pending).retry.last_error or "")
    world.ended(pending, Phase.APPROVED)
    assert world.models.champion() == "1"
    assert "champion_gate_approved_by" not in world.models.tags("2")
    assert ("1", "2", "reviewer-1") not in world.moves()


def test_a_read_back_that_fails_is_made_up_for(world: GateWorld) -> None:
    pending = approved(world)
    world.break_databricks(MODEL, skip=1, times=1, status=500)
    world.look()
    assert world.again(pending).phase is Phase.APPROVED
    assert world.models.champion() == "2"
    world.wait(minutes=1)
    world.ended(pending, Phase.PROMOTED)
    assert puts(world) == 1


def test_a_tag_that_cannot_be_written_does_not_undo_the_alias(world: GateWorld) -> None:
    pending = approved(world)
    world.break_databricks("/set-tag$", status=403)
    world.look()
    world.ended(pending, Phase.PROMOTED)
    assert world.models.champion() == "2"
    assert world.models.tags("2") == {}


def test_a_tag_is_tried_until_it_is_there(world: GateWorld) -> None:
    pending = approved(world)
    world.break_databricks("/set-tag$", status=500, times=2)
    world.look()
    world.ended(pending, Phase.PROMOTED)
    world.wait(seconds=10)
    world.wait(seconds=10)
    assert world.models.tags("2")["champion_gate_status"] == "promoted"


# --- several writers -------------------------------------------------------------------------------------


def test_a_second_writer_waits_for_the_first(world: GateWorld) -> None:
    pending = approved(world)
    first = world.store.lock_alias(KEY, world.clock.now(), 90)
    assert first is not None
    world.look()
    now = world.again(pending)
    assert now.phase is Phase.APPROVED
    assert now.retry.last_error == "Another change of main.ml.churn@Champion is under way."
    assert puts(world) == 0
    world.store.unlock_alias(first)
    world.wait(seconds=5)
    world.ended(pending, Phase.PROMOTED)


def outlive_the_lease(world: GateWorld) -> None:
    """The writer is frozen for longer than its leases, and another takes over the alias."""
    world.clock.move(seconds=91)
    taken = world.store.lock_alias(KEY, world.clock.now(), 90)
    assert taken is not None
    world.store.unlock_alias(taken)


def test_a_writer_that_lost_its_fence_does_not_write(world: GateWorld) -> None:
    pending = approved(world)
    frozen = Once("begin_alias_change", lambda: outlive_the_lease(world))
    start_with(world, StoreBetween(world.store, after=frozen))
    world.turn(pending)
    assert frozen.done
    assert puts(world) == 0
    world.start()
    world.wait(minutes=3)
    world.ended(pending, Phase.PROMOTED)
    assert puts(world) == 1
    assert world.moves()[1:] == [("1", "2", "reviewer-1")]


def test_a_writer_that_lost_its_fence_after_the_write_leaves_the_record_to_its_next_turn(
    world: GateWorld,
) -> None:
    pending = approved(world)
    frozen = Once("check_fence", lambda: outlive_the_lease(world))
    start_with(world, StoreBetween(world.store, after=frozen))
    world.turn(pending)
    assert world.again(pending).phase is Phase.APPROVED
    assert world.moves() == [(None, "1", "outside champion-gate")]
    world.start()
    world.wait(minutes=3)
    world.ended(pending, Phase.PROMOTED)
    assert puts(world) == 1
    assert [move for move in world.moves() if move[2] == "reviewer-1"] == [("1", "2", "reviewer-1")]


# --- moves by others -------------------------------------------------------------------------------------


def test_the_first_look_is_the_baseline_and_each_move_by_hand_is_recorded_once(world: GateWorld) -> None:
    world.sweep()
    world.sweep()
    assert world.ledger() == [("alias_change", "stood on v1 when champion-gate first looked")]
    world.models.train(world.job_id, "2", {"f1": 0.9})
    world.models.move_alias("2")
    world.sweep()
    world.sweep()
    world.models.move_alias(None)
    world.sweep()
    assert world.ledger()[1:] == [
        ("alias_change", "moved from v1 to v2 by somebody outside champion-gate"),
        ("alias_change", "moved from v2 to no version by somebody outside champion-gate"),
    ]


def test_a_first_look_at_an_alias_that_does_not_exist_is_no_move(world: GateWorld) -> None:
    world.models.move_alias(None)
    world.sweep()
    assert world.ledger() == []
    world.models.move_alias("1")
    world.sweep()
    assert world.moves() == [(None, "1", "outside champion-gate")]


def test_a_registry_that_does_not_answer_is_no_move(world: GateWorld) -> None:
    world.sweep()
    for status in (403, 404):
        fault = world.break_databricks(MODEL, status=status, error_code="RESOURCE_DOES_NOT_EXIST")
        with pytest.raises(Exception, match=str(status)):
            world.core.sweep.look("alias:main.ml.churn@Champion")
        assert fault.hits
        world.databricks.faults.clear()
    assert len(world.ledger()) == 1
