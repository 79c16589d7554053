"""Writes that were given up and arrive all the same: the ledger names who sent them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from champion_gate.domain.aliases import AliasKey, OnlyIf, Order
from champion_gate.domain.callers import Caller, Role
from champion_gate.domain.ledger.chain import LedgerLine
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.errors import GateError, PreconditionFailedError, VendorUnavailableError
from integration.gate_world import GateWorld, gate_world

pytestmark = pytest.mark.spread(2)

KEY = AliasKey("databricks-uc", "main.ml.churn", "Champion")
PUT = "/aliases/Champion$"
OPS = Caller("ops", Role.OPERATOR, "API token t1")
MOVED = ("1", "2", "reviewer-1")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path, newer_version="keep") as made:
        made.sweep()
        yield made


def order(reason: str = "v3 is better", **how: object) -> Order:
    return Order(OPS, reason, **how)  # type: ignore[arg-type]


def unanswered(world: GateWorld) -> Promotion:
    """Approved for v2; its write is on its way, and nobody knows whether it arrives."""
    pending = world.ask()
    world.approve(pending)
    world.break_databricks(PUT, method="PUT", times=1, drop=True)
    world.look()
    assert world.again(pending).phase is Phase.APPROVED
    assert intent(world) == ("1", "2")
    return pending


def intent(world: GateWorld) -> tuple[str | None, str | None] | None:
    known = world.store.known_alias(KEY)
    assert known is not None
    return None if known.intent is None else (known.intent.from_version, known.intent.to_version)


def arrives(world: GateWorld, version: str = "2") -> None:
    """The write comes out of the network, or of the registry's own queue."""
    world.models.move_alias(version)


def newest(world: GateWorld) -> LedgerLine:
    return world.store.ledger_lines(KEY, limit=1)[0]


# --- the alias still stands where it did: it is the move that was meant ------------------------------------


def put_on_hold(world: GateWorld, _sent: Promotion) -> None:
    world.core.alias_orders.hold(world.models.model, "Champion", caller=OPS, reason="an incident")
    world.look()


def order_refused(world: GateWorld, _sent: Promotion) -> None:
    with pytest.raises(PreconditionFailedError):
        world.core.alias_orders.put(
            world.models.model, "Champion", "2", order(only_if=OnlyIf(frozenset({"9"})))
        )


@pytest.mark.parametrize("dropped", [put_on_hold, order_refused])
def test_the_move_of_an_approval_that_still_counts_is_its_promotions(
    world: GateWorld, dropped: Callable[[GateWorld, Promotion], None]
) -> None:
    sent = unanswered(world)
    dropped(world, sent)
    assert intent(world) is None
    arrives(world)
    world.sweep()
    assert world.moves()[1:] == [MOVED]
    assert newest(world).entry.promotion_id == sent.id
    world.look()
    world.ended(sent, Phase.PROMOTED)
    assert world.moves()[1:] == [MOVED]


def test_the_move_that_an_operator_ordered_is_the_operators(world: GateWorld) -> None:
    world.models.train(world.job_id, "9", {"f1": 0.9})
    world.break_databricks(PUT, method="PUT", times=1, drop=True)
    with pytest.raises(VendorUnavailableError):
        world.core.alias_orders.put(world.models.model, "Champion", "2", order())
    order_refused(world, world.ask({"f1": 0.93}))
    arrives(world)
    world.sweep()
    assert world.moves()[1:] == [("1", "2", "ops")]


def test_a_write_whose_second_try_was_refused_may_still_show(world: GateWorld) -> None:
    sent = unanswered(world)
    world.break_databricks(PUT, method="PUT", status=403)
    world.look()
    world.ended(sent, Phase.FAILED)
    arrives(world)
    world.sweep()
    assert world.moves()[1:] == [MOVED]
    world.core.promotion_orders.retry(sent.id, actor="operator")
    world.settle()
    world.ended(sent, Phase.PROMOTED)


# --- it counts no longer, or the alias has been moved since: it is told as late ----------------------------


def settings_changed(world: GateWorld, sent: Promotion) -> None:
    world.reconfigure(newer_version="keep", expires_after="30d")
    world.look()
    world.ended(sent, Phase.STALE)


def another_promoted(world: GateWorld, sent: Promotion) -> None:
    newer = world.ask({"f1": 0.95})
    world.approve(newer)
    world.store.hint_promotion(newer.id, world.clock.now())
    world.core.promoter.advance(newer.id)
    world.ended(newer, Phase.PROMOTED)
    world.look()
    world.ended(sent, Phase.STALE)


def another_ordered(world: GateWorld, _sent: Promotion) -> None:
    world.models.train(world.job_id, "9", {"f1": 0.95})
    world.core.alias_orders.put(world.models.model, "Champion", "3", order())


def removed(world: GateWorld, _sent: Promotion) -> None:
    world.core.alias_orders.delete(world.models.model, "Champion", order())


def moved_outside(world: GateWorld, sent: Promotion) -> None:
    world.models.move_alias(world.models.train(world.job_id, "9", {"f1": 0.95}))
    world.look()
    world.ended(sent, Phase.STALE)


@pytest.mark.parametrize(
    ("dropped", "before"),
    [
        (settings_changed, "1"),
        (another_promoted, "3"),
        (another_ordered, "3"),
        (removed, None),
        (moved_outside, "3"),
    ],
)
def test_a_late_write_is_told_under_the_promotion_that_sent_it(
    world: GateWorld, dropped: Callable[[GateWorld, Promotion], None], before: str | None
) -> None:
    sent = unanswered(world)
    dropped(world, sent)
    arrives(world)
    world.sweep()
    assert world.moves()[-1] == (before, "2", "champion-gate")
    line = newest(world)
    assert line.entry.promotion_id == sent.id
    assert f"a late write of promotion {sent.id}" in line.entry.reason
    assert "sent as v1 -> v2" in line.entry.reason
    world.look()
    world.ended(sent, Phase.STALE)
    world.sweep()
    assert newest(world) == line


def test_a_write_that_was_sent_again_may_arrive_a_second_time(world: GateWorld) -> None:
    """As that of a replica which is frozen just before it, when another has gone on in its place."""
    sent = unanswered(world)
    world.look()
    world.ended(sent, Phase.PROMOTED)
    world.core.alias_orders.put(world.models.model, "Champion", "1", order("v2 is worse"))
    arrives(world)
    world.sweep()
    assert world.moves()[1:] == [MOVED, ("2", "1", "ops"), ("1", "2", "champion-gate")]
    line = newest(world)
    assert line.entry.promotion_id == sent.id
    assert f"a late write of promotion {sent.id}" in line.entry.reason


def test_a_late_order_is_told_under_the_operator_who_gave_it(world: GateWorld) -> None:
    for number in ("8", "9"):
        world.models.train(world.job_id, number, {"f1": 0.9})
    world.break_databricks(PUT, method="PUT", times=1, drop=True)
    with pytest.raises(VendorUnavailableError):
        world.core.alias_orders.put(world.models.model, "Champion", "2", order())
    world.core.alias_orders.put(world.models.model, "Champion", "3", order())
    arrives(world)
    world.sweep()
    assert world.moves()[1:] == [("1", "3", "ops"), ("3", "2", "champion-gate")]
    assert "a late write that ops had ordered" in newest(world).entry.reason


def test_a_late_write_that_comes_between_is_not_somebody_else(world: GateWorld) -> None:
    sent = unanswered(world)
    removed(world, sent)
    world.models.train(world.job_id, "9", {"f1": 0.95})
    world.break_databricks(PUT, method="PUT", times=1, drop=True)
    with pytest.raises(GateError):
        world.core.alias_orders.put(world.models.model, "Champion", "3", order())
    arrives(world)
    world.sweep()
    assert world.moves()[-1] == (None, "2", "champion-gate")
    assert f"a late write of promotion {sent.id}" in newest(world).entry.reason


# --- for how long ------------------------------------------------------------------------------------------


def test_what_is_moved_once_the_write_cannot_arrive_any_more_was_moved_outside(world: GateWorld) -> None:
    put_on_hold(world, unanswered(world))
    world.clock.move(minutes=3)
    world.sweep()
    arrives(world)
    world.sweep()
    assert world.moves()[1:] == [("1", "2", "outside champion-gate")]


def test_a_write_that_arrived_in_time_is_known_however_late_it_is_looked_for(world: GateWorld) -> None:
    sent = unanswered(world)
    put_on_hold(world, sent)
    arrives(world)
    world.crash()
    world.clock.move(hours=1)
    world.sweep()
    assert world.moves()[1:] == [MOVED]
    world.look()
    world.ended(sent, Phase.PROMOTED)


@pytest.mark.parametrize("arrived", [True, False])
def test_a_promotion_is_not_cancelled_while_a_write_of_it_that_was_given_up_may_arrive(
    world: GateWorld, *, arrived: bool
) -> None:
    sent = unanswered(world)
    order_refused(world, sent)
    world.core.promotion_orders.cancel(sent.id, actor="ops", reason="no")
    world.settle()
    assert "once it is certain" in world.ended(sent, Phase.APPROVED)
    if arrived:
        arrives(world)
    for _ in range(5):
        world.wait(seconds=30)
    world.ended(sent, Phase.PROMOTED if arrived else Phase.CANCELLED)
    assert world.moves()[1:] == [MOVED] * arrived
