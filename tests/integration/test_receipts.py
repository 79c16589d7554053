"""Receipts of promotions as the running gate makes them, checked against an export of its ledger."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from champion_gate.domain.ledger.export import read_jsonl, write_jsonl
from champion_gate.domain.ledger.receipt import NotEndedError, Receipt, read_receipt
from champion_gate.domain.ledger.receipt_check import ReceiptCheck, check_receipt
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.errors import NotFoundError
from champion_gate.web.api.promotions import make_receipt
from integration.gate_world import GateWorld, gate_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path) as made:
        yield made


def receipt_of(world: GateWorld, promotion: Promotion) -> Receipt:
    return read_receipt(json.dumps(make_receipt(world.store, promotion.id, world.clock.now())).encode())


def checked(world: GateWorld, receipt: Receipt, evidence: str | None = None) -> ReceiptCheck:
    export = "".join(write_jsonl(world.store.ledger_export())).encode()
    return check_receipt(receipt, read_jsonl(io.BytesIO(export)), evidence.encode() if evidence else None)


def test_what_people_approved_is_borne_out_by_the_ledger_and_the_evidence(world: GateWorld) -> None:
    pending = world.ask()
    world.approve(pending)
    world.look()
    world.ended(pending, Phase.PROMOTED)
    receipt = receipt_of(world, pending)
    found = checked(world, receipt, world.again(pending).evidence_json)
    assert found.problems == ()
    assert [line.entry.kind.value for line in receipt.lines] == ["decision", "alias_change"]
    assert [each["login"] for each in receipt.who.deciders] == ["reviewer-1"]
    assert "The evidence is the one that was decided on." in found.confirmed
    assert "who trained it and who was excluded" in " ".join(found.confirmed)
    assert "who was excluded" not in " ".join(found.unproven)
    world.models.move_alias("1")
    world.sweep()
    assert checked(world, receipt).problems == ()


def test_a_rejection_and_an_expiry_are_borne_out(world: GateWorld) -> None:
    rejected = world.ask()
    world.reject(rejected)
    world.look()
    world.ended(rejected, Phase.REJECTED)
    expired = world.ask()
    world.wait(days=15)
    world.ended(expired, Phase.EXPIRED)
    for each in (rejected, expired):
        assert checked(world, receipt_of(world, each)).problems == ()


def test_an_approval_that_came_too_late_to_count_is_borne_out(world: GateWorld) -> None:
    pending = world.ask()
    world.models.move_alias(None)
    world.approve(pending)
    world.look()
    world.ended(pending, Phase.STALE)
    receipt = receipt_of(world, pending)
    assert (receipt.who.verdict, checked(world, receipt).problems) == ("approved", ())


@pytest.mark.part("rest")
def test_a_failed_one_whose_change_was_found_later_is_told_as_promoted_once_it_is_taken_up_again(
    world: GateWorld,
) -> None:
    pending = world.ask()
    world.approve(pending)
    world.break_databricks("/aliases/Champion$", method="PUT", times=10_000, status=503)
    world.look()
    world.live(hours=30)
    world.ended(pending, Phase.FAILED)
    early = receipt_of(world, pending)
    assert checked(world, early).problems == ()
    world.databricks.faults.clear()
    world.models.move_alias("2")
    world.sweep()
    told = checked(world, early)
    assert (told.problems, "the alias WAS moved from v1 to v2" in " ".join(told.since)) == ((), True)
    assert "promotions retry" in " ".join(checked(world, receipt_of(world, pending)).problems)
    world.core.promotion_orders.retry(pending.id, actor="ops")
    world.settle()
    world.ended(pending, Phase.PROMOTED)
    assert checked(world, receipt_of(world, pending)).problems == ()


def test_what_was_never_decided_is_believed_and_not_borne_out(world: GateWorld) -> None:
    pending = world.ask()
    world.core.promotion_orders.cancel(pending.id, actor="ops", reason="a slip")
    world.settle()
    world.ended(pending, Phase.CANCELLED)
    found = checked(world, receipt_of(world, pending), world.again(pending).evidence_json)
    assert (found.problems, found.in_ledger) == ((), False)
    assert f"No line of the ledger speaks of promotion {pending.id}" in " ".join(found.unproven)


def test_while_people_decide_there_is_none(world: GateWorld) -> None:
    with pytest.raises(NotEndedError, match="pending_approval"):
        make_receipt(world.store, world.ask().id, world.clock.now())
    with pytest.raises(NotFoundError):
        make_receipt(world.store, "p-none", world.clock.now())
