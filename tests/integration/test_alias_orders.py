"""What operators order: on both registries, attributed, refused where it must be, and never half done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from champion_gate.domain.aliases import AliasKey, AliasState, NotManagedError, OnlyIf, Order
from champion_gate.domain.callers import Caller, Role
from champion_gate.domain.ledger.chain import LedgerEntry
from champion_gate.domain.promotion import Phase
from champion_gate.errors import (
    ConflictError,
    InvalidInputError,
    LeaseLostError,
    NotFoundError,
    OnHoldError,
    PreconditionFailedError,
    VendorUnavailableError,
)
from champion_gate.flow.alias_writer import AliasBusyError
from champion_gate.flow.operator_aliases import AliasNotSetError, NoSuchVersionError
from integration.gate_crashes import DiesAtWrite, Once, StoreBetween, start_with
from integration.gate_world import GateWorld, gate_world

pytestmark = pytest.mark.part("rest", "mlflow")

OPERATOR = Caller("ops", Role.OPERATOR, "API token t1", "192.0.2.7")
OTHER = Caller("night-shift", Role.OPERATOR, "API token t2")
PUT = "/aliases/Champion$"


@pytest.fixture(params=["uc", "mlflow"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path, request.param) as made:
        yield made


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path) as made:
        yield made


def order(reason: str = "because", **how: object) -> Order:
    return Order(OPERATOR, reason, **how)  # type: ignore[arg-type]


def put(world: GateWorld, version: str, **how: object) -> AliasState:
    return world.core.alias_orders.put(world.models.model, "Champion", version, order(**how)).state  # type: ignore[arg-type]


def roll_back(world: GateWorld, reason: str = "it is bad", **how: object) -> str | None:
    change = world.core.alias_orders.roll_back(world.models.model, "Champion", order(reason, **how))
    return change.state.version


def hold(world: GateWorld, reason: str = "an incident") -> AliasState:
    return world.core.alias_orders.hold(world.models.model, "Champion", caller=OTHER, reason=reason)


def release(world: GateWorld) -> AliasState:
    return world.core.alias_orders.release(world.models.model, "Champion", caller=OTHER, reason="it is over")


def versions(world: GateWorld, count: int) -> None:
    """Register so many more versions; nobody is told."""
    for number in range(count):
        world.models.train(world.job_id, f"by-hand-{number}", {"f1": 0.9})


def newest(world: GateWorld, number: int = 1) -> list[LedgerEntry]:
    return [line.entry for line in world.store.ledger_lines(limit=number)]


# --- put and delete --------------------------------------------------------------------------------------


def test_a_version_is_put_and_the_ledger_says_who_why_and_from_where(both: GateWorld) -> None:
    versions(both, 1)
    change = both.core.alias_orders.put(both.models.model, "Champion", "2", order("v2 is better"))
    assert (change.from_version, change.state.version, change.changed) == ("1", "2", True)
    assert both.models.champion() == "2"
    (line,) = newest(both)
    assert (line.actor, line.reason, line.promotion_id) == ("ops", "v2 is better", None)
    assert dict(line.facts) == {
        "from": "1",
        "to": "2",
        "source": "manual",
        "authenticated_by": "API token t1",
        "address": "192.0.2.7",
        "to_version_id": both.core.context.registry.get_version(both.models.model, "2").version_id,
    }
    both.store.verify_ledger()


def test_a_version_that_is_there_already_is_no_change_and_no_line(both: GateWorld) -> None:
    put(both, "1")
    before = both.ledger()
    change = both.core.alias_orders.put(both.models.model, "Champion", "1", order())
    assert (change.changed, change.state.version) == (False, "1")
    assert both.ledger() == before


def test_an_alias_is_taken_away_and_put_back(both: GateWorld) -> None:
    change = both.core.alias_orders.delete(both.models.model, "Champion", order("retired"))
    assert (change.from_version, change.state.version) == ("1", None)
    assert both.models.champion() is None
    assert both.moves()[-1] == ("1", None, "ops")
    with pytest.raises(AliasNotSetError):
        both.core.alias_orders.delete(both.models.model, "Champion", order("retired"))
    assert put(both, "1").version == "1"
    assert both.moves()[-1] == (None, "1", "ops")


def test_a_version_that_does_not_exist_is_named(both: GateWorld) -> None:
    with pytest.raises(NoSuchVersionError, match="no v99"):
        put(both, "99")
    assert both.models.champion() == "1"


@pytest.mark.parametrize("version", ["0", "-1", "1.5", "latest", "", "1" * 30, "1/../2"])
def test_what_is_no_version_is_refused_before_anything_is_called(world: GateWorld, version: str) -> None:
    calls = len(world.databricks.requests)
    with pytest.raises(InvalidInputError):
        put(world, version)
    assert len(world.databricks.requests) == calls


def test_models_and_aliases_that_no_gate_names_are_refused(world: GateWorld) -> None:
    with pytest.raises(NotManagedError):
        world.core.alias_orders.put("main.ml.churn", "Shadow", "1", order())
    with pytest.raises(NotManagedError):
        world.core.alias_orders.put("main.ml.fraud", "Champion", "1", order())
    with pytest.raises(InvalidInputError):
        world.core.alias_orders.put("main.ml", "Champion", "1", order())


def test_another_spelling_on_unity_catalog_is_the_same_alias(world: GateWorld) -> None:
    versions(world, 1)
    state = world.core.alias_orders.put("Main.ML.Churn", "CHAMPION", "2", order()).state
    assert state.key == AliasKey("databricks-uc", "main.ml.churn", "Champion")
    assert world.models.champion() == "2"


@pytest.mark.parametrize("reason", ["", " \n\t", "x" * 2001])
def test_an_order_without_a_reason_is_none(reason: str) -> None:
    with pytest.raises(InvalidInputError, match="needs a reason"):
        order(reason)


def test_an_order_that_is_only_for_one_version_is_refused_when_the_alias_has_moved(both: GateWorld) -> None:
    versions(both, 2)
    put(both, "2", only_if=OnlyIf(frozenset({"1"})))
    with pytest.raises(PreconditionFailedError, match="stands on v2"):
        put(both, "3", only_if=OnlyIf(frozenset({"1"})))
    assert both.models.champion() == "2"
    put(both, "3", only_if=OnlyIf(any_version=True))
    both.core.alias_orders.delete(both.models.model, "Champion", order())
    with pytest.raises(PreconditionFailedError, match="no version"):
        put(both, "2", only_if=OnlyIf(any_version=True))


def test_a_move_by_hand_is_on_record_before_the_order(both: GateWorld) -> None:
    versions(both, 2)
    put(both, "2")
    both.models.move_alias("1")
    put(both, "3")
    assert both.moves()[-2:] == [("2", "1", "outside champion-gate"), ("1", "3", "ops")]


# --- crashes, lost answers, other writers ----------------------------------------------------------------


@pytest.mark.parametrize("carried_out", [True, False], ids=["arrived", "lost"])
def test_a_write_without_an_answer_is_settled_by_the_next_look(
    world: GateWorld, *, carried_out: bool
) -> None:
    versions(world, 1)
    world.break_databricks(PUT, method="PUT", times=1, lose_answer=carried_out, drop=not carried_out)
    with pytest.raises(VendorUnavailableError):
        put(world, "2")
    known = world.store.known_alias(AliasKey("databricks-uc", "main.ml.churn", "Champion"))
    assert known is not None
    assert known.intent is not None
    world.sweep()
    assert world.moves()[-1] == (("1", "2", "ops") if carried_out else (None, "1", "outside champion-gate"))
    assert world.models.champion() == ("2" if carried_out else "1")


def test_a_rollback_whose_answer_was_lost_is_not_done_twice_when_it_is_asked_for_again(
    world: GateWorld,
) -> None:
    versions(world, 2)
    put(world, "2")
    put(world, "3")
    world.break_databricks(PUT, method="PUT", times=1, lose_answer=True)
    with pytest.raises(VendorUnavailableError):
        roll_back(world)
    assert roll_back(world) == "2"
    assert world.models.champion() == "2"
    assert world.moves()[-1] == ("3", "2", "ops")
    assert world.core.alias_orders.state("main.ml.churn", "Champion").hold is not None


def test_the_hold_of_a_rollback_survives_its_writer(world: GateWorld) -> None:
    versions(world, 1)
    put(world, "2")
    world.break_databricks(PUT, method="PUT", times=1, lose_answer=True)
    with pytest.raises(VendorUnavailableError):
        roll_back(world)
    world.crash()
    world.sweep()
    state = world.core.alias_orders.state("main.ml.churn", "Champion")
    assert state.version == "1"
    assert str(state.hold) == "on hold by ops because it is bad"


@pytest.mark.parametrize("number", range(1, 5))
def test_a_process_that_dies_in_the_middle_of_a_rollback_leaves_one_story(
    world: GateWorld, number: int
) -> None:
    versions(world, 1)
    put(world, "2")
    dies = DiesAtWrite(number)
    start_with(world, StoreBetween(world.store, before=dies))
    with pytest.raises(SystemExit):
        roll_back(world)
    assert dies.died
    world.crash()
    world.sweep()
    state = world.core.alias_orders.state("main.ml.churn", "Champion")
    assert world.moves()[-1][1] == state.version == world.models.champion()
    assert (state.version == "1") == (state.hold is not None)


def test_an_order_waits_for_another_writer_and_then_says_that_it_is_busy(world: GateWorld) -> None:
    versions(world, 1)
    key = AliasKey("databricks-uc", "main.ml.churn", "Champion")
    held = world.store.lock_alias(key, world.clock.now(), 90)
    assert held is not None
    with pytest.raises(AliasBusyError):
        put(world, "2")
    world.store.unlock_alias(held)
    assert put(world, "2").version == "2"


@pytest.mark.parametrize(("seconds", "in_time"), [(29.5, True), (40, False)])
def test_an_order_waits_half_a_minute_for_another_writer(
    world: GateWorld, seconds: float, *, in_time: bool
) -> None:
    versions(world, 1)
    held = world.store.lock_alias(
        AliasKey("databricks-uc", "main.ml.churn", "Champion"), world.clock.now(), 90
    )
    assert held is not None
    waited = [0.0]

    def wait(pause: float) -> None:
        waited[0] += pause
        if waited[0] >= seconds:
            world.store.unlock_alias(held)

    world.sleep = wait
    world.start()
    if in_time:
        assert put(world, "2").version == "2"
    else:
        with pytest.raises(AliasBusyError):
            put(world, "2")
        assert waited[0] >= 30


def test_a_refused_write_leaves_nothing_behind(world: GateWorld) -> None:
    versions(world, 1)
    world.break_databricks(PUT, method="PUT", times=1, status=403)
    with pytest.raises(Exception, match="Databricks"):
        put(world, "2")
    known = world.store.known_alias(AliasKey("databricks-uc", "main.ml.churn", "Champion"))
    assert known is not None
    assert known.intent is None
    assert put(world, "2").version == "2"


# --- rollback --------------------------------------------------------------------------------------------


def test_a_rollback_returns_to_the_version_before_and_holds_it(both: GateWorld) -> None:
    versions(both, 1)
    put(both, "2")
    assert roll_back(both, "it is slow") == "1"
    assert both.models.champion() == "1"
    held, moved = newest(both, 2)
    assert (moved.kind.value, moved.actor, moved.reason) == ("alias_change", "ops", "it is slow")
    assert (moved.facts["from"], moved.facts["to"], moved.facts["source"]) == ("2", "1", "rollback")
    assert (held.kind.value, held.actor, held.reason, held.facts["version"]) == (
        "hold",
        "ops",
        "it is slow",
        "1",
    )


def test_a_rollback_never_returns_to_a_version_that_was_rolled_back(both: GateWorld) -> None:
    versions(both, 3)
    for version in "234":
        put(both, version)
    gone_to = [roll_back(both, only_if=OnlyIf(frozenset({version}))) for version in "432"]
    assert gone_to == ["3", "2", "1"]
    with pytest.raises(ConflictError, match="No version before v1"):
        roll_back(both, override_hold=True)
    assert both.models.champion() == "1"


def test_a_version_that_was_rolled_back_once_is_passed_over_for_good(world: GateWorld) -> None:
    versions(world, 2)
    put(world, "2")
    assert roll_back(world) == "1"
    put(world, "2", override_hold=True)
    put(world, "3", override_hold=True)
    assert roll_back(world, override_hold=True) == "1"


def test_a_rollback_after_a_move_by_hand_records_it_first_and_returns_to_where_the_alias_was(
    both: GateWorld,
) -> None:
    versions(both, 2)
    put(both, "2")
    both.models.move_alias("3")
    assert roll_back(both) == "2"
    assert both.moves()[-2:] == [("2", "3", "outside champion-gate"), ("3", "2", "ops")]


def test_a_rollback_to_a_version_that_is_gone_says_so_and_changes_nothing(both: GateWorld) -> None:
    versions(both, 2)
    put(both, "2")
    put(both, "3")
    both.models.remove("2")
    before = both.ledger()
    with pytest.raises(ConflictError, match="version before was v2, and it is gone"):
        roll_back(both)
    assert both.models.champion() == "3"
    assert both.ledger() == before
    assert both.core.alias_orders.state(both.models.model, "Champion").hold is None


def test_without_a_version_before_nothing_is_guessed(both: GateWorld) -> None:
    versions(both, 1)
    both.models.move_alias("2")
    with pytest.raises(ConflictError, match="No version before v2 is on record"):
        roll_back(both)
    assert both.models.champion() == "2"


def test_a_promotion_is_rolled_back_in_one_command_and_the_next_run_does_not_displace_it(
    world: GateWorld,
) -> None:
    pending = world.ask()
    world.approve(pending)
    world.look()
    world.ended(pending, Phase.PROMOTED)
    assert roll_back(world) == "1"
    world.train({"f1": 0.95})
    world.settle()
    waiting = world.promotion(Phase.REQUESTED)
    assert waiting.reason == "Champion of main.ml.churn is on hold by ops because it is bad."
    assert world.models.champion() == "1"


def test_of_two_operators_who_roll_back_at_once_one_is_refused(both: GateWorld) -> None:
    versions(both, 2)
    put(both, "2")
    put(both, "3")
    assert roll_back(both, only_if=OnlyIf(frozenset({"3"}))) == "2"
    with pytest.raises(PreconditionFailedError):
        roll_back(both, only_if=OnlyIf(frozenset({"3"})))
    with pytest.raises(OnHoldError) as refused:
        roll_back(both)
    assert "say from which version" in refused.value.hint
    with pytest.raises(OnHoldError):
        roll_back(both, only_if=OnlyIf(any_version=True))
    assert both.models.champion() == "2"


def test_a_rollback_leaves_a_hold_that_somebody_placed(world: GateWorld) -> None:
    versions(world, 2)
    put(world, "2")
    put(world, "3")
    hold(world, "freeze")
    assert roll_back(world, override_hold=True) == "2"
    state = world.core.alias_orders.state("main.ml.churn", "Champion")
    assert str(state.hold) == "on hold by night-shift because freeze"
    with pytest.raises(OnHoldError, match="freeze"):
        roll_back(world, only_if=OnlyIf(frozenset({"2"})))


def test_a_rollback_that_another_had_begun_is_not_taken_for_ones_own(world: GateWorld) -> None:
    versions(world, 2)
    put(world, "2")
    put(world, "3")
    world.break_databricks(PUT, method="PUT", times=1, lose_answer=True)
    with pytest.raises(VendorUnavailableError):
        roll_back(world)
    with pytest.raises(ConflictError, match="A rollback by ops was under way and is finished now"):
        world.core.alias_orders.roll_back("main.ml.churn", "Champion", Order(OTHER, "mine"))
    assert world.models.champion() == "2"
    assert world.moves()[-1] == ("3", "2", "ops")


def test_a_rollback_does_not_take_a_version_made_anew_for_the_one_before(tmp_path: Path) -> None:
    with gate_world(tmp_path, "mlflow") as world:
        versions(world, 1)
        put(world, "2")
        client = world.models.client  # type: ignore[attr-defined]
        client.delete_registered_model("churn")
        client.create_registered_model("churn")
        versions(world, 2)
        world.models.move_alias("2")
        with pytest.raises(ConflictError, match="bears this number now is another one"):
            roll_back(world)
        assert world.models.champion() == "2"


# --- an approval for one thing ---------------------------------------------------------------------------


def there_and_back(world: GateWorld) -> None:
    """v2 is put by hand, found bad and rolled back, and nobody looks at promotions meanwhile."""
    put(world, "2", override_hold=True)
    roll_back(world, override_hold=True)
    release(world)


def test_an_approval_is_not_spent_after_the_alias_has_been_elsewhere_and_back(world: GateWorld) -> None:
    pending = world.ask()
    world.approve(pending)
    hold(world)
    world.look()
    assert world.again(pending).phase is Phase.APPROVED
    there_and_back(world)
    world.settle()
    assert "moved away from v1 and back" in world.ended(pending, Phase.STALE)
    assert world.models.champion() == "1"


def test_a_failed_promotions_approval_is_not_spent_after_the_alias_has_been_elsewhere(
    world: GateWorld,
) -> None:
    pending = world.ask()
    world.approve(pending)
    refusal = world.break_databricks(PUT, method="PUT", times=100_000, status=403)
    world.look()
    world.live(hours=25)
    world.ended(pending, Phase.FAILED)
    world.databricks.faults.clear()
    del refusal
    there_and_back(world)
    world.core.promotion_orders.retry(pending.id, actor="ops")
    world.settle()
    assert "moved away from v1 and back" in world.ended(pending, Phase.STALE)
    assert world.models.champion() == "1"


def test_a_request_is_stale_after_the_alias_has_been_elsewhere_and_back(world: GateWorld) -> None:
    pending = world.ask()
    there_and_back(world)
    world.approve(pending)
    world.look()
    world.ended(pending, Phase.STALE)
    assert world.models.champion() == "1"


def test_an_approval_is_not_spent_after_moves_by_hand_that_were_seen(world: GateWorld) -> None:
    versions(world, 1)
    pending = world.ask()
    world.approve(pending)
    hold(world)
    world.look()
    for version in ("2", "1"):
        world.models.move_alias(version)
        for name in world.core.sweep.run():
            if name.startswith("alias:"):
                world.core.sweep.look(name)
    release(world)
    world.settle()
    assert "moved away from v1 and back" in world.ended(pending, Phase.STALE)


def test_a_move_that_was_seen_late_does_not_make_a_good_approval_stale(world: GateWorld) -> None:
    versions(world, 1)
    world.sweep()
    world.models.move_alias("2")
    world.models.move_alias("1")
    pending = world.ask({"f1": 0.95})
    world.approve(pending)
    world.look()
    world.ended(pending, Phase.PROMOTED)


# --- late writers ----------------------------------------------------------------------------------------


def test_a_writer_that_is_overtaken_leaves_the_history_in_order(world: GateWorld) -> None:
    versions(world, 2)
    put(world, "1")
    overtaken: list[AliasState] = []

    def overtake(name: str) -> None:
        if name == "finish_alias_change" and not overtaken:
            world.clock.move(seconds=120)
            core = world.core
            world.start()
            overtaken.append(put(world, "3"))
            world.core = core

    start_with(world, StoreBetween(world.store, before=overtake))
    with pytest.raises(LeaseLostError):
        put(world, "2")
    world.start()
    world.sweep()
    assert world.moves()[-2:] == [("1", "2", "ops"), ("2", "3", "ops")]
    assert world.models.champion() == "3"
    assert roll_back(world) == "2"


def test_a_write_that_arrives_after_another_ones_is_told_where_it_belongs(world: GateWorld) -> None:
    versions(world, 2)
    put(world, "1")

    def overtake() -> None:
        world.clock.move(seconds=120)
        core = world.core
        world.start()
        put(world, "3")
        world.core = core

    start_with(world, StoreBetween(world.store, after=Once("check_fence", overtake)))
    with pytest.raises(LeaseLostError):
        put(world, "2")
    world.start()
    world.sweep()
    assert world.moves()[-2:] == [("1", "3", "ops"), ("3", "2", "champion-gate")]
    (line,) = newest(world)
    assert "by a late write that ops had ordered" in line.reason
    assert line.facts["late_actor"] == "ops"
    assert world.models.champion() == "2"


# --- holds -----------------------------------------------------------------------------------------------


def test_a_hold_keeps_operators_out_unless_they_override_it(both: GateWorld) -> None:
    versions(both, 2)
    put(both, "2")
    state = hold(both)
    assert (state.version, str(state.hold)) == ("2", "on hold by night-shift because an incident")
    for attempt in (
        lambda: put(both, "3"),
        lambda: roll_back(both),
        lambda: both.core.alias_orders.delete(both.models.model, "Champion", order()),
    ):
        with pytest.raises(OnHoldError, match="on hold by night-shift because an incident"):
            attempt()
    assert both.models.champion() == "2"
    assert put(both, "3", override_hold=True).version == "3"
    (line,) = newest(both)
    assert line.facts["hold"] == "on hold by night-shift because an incident"
    assert both.core.alias_orders.state(both.models.model, "Champion").hold is not None


def test_holds_and_releases_are_in_the_ledger_and_a_repeated_hold_is_not_twice(both: GateWorld) -> None:
    hold(both)
    hold(both)
    hold(both, "another reason")
    assert release(both).hold is None
    kinds = [line for line in both.ledger() if line[0] in {"hold", "release"}]
    assert kinds == [("hold", "an incident"), ("hold", "another reason"), ("release", "it is over")]
    (line,) = newest(both)
    assert (line.facts["held_by"], line.facts["held_because"]) == ("night-shift", "another reason")
    with pytest.raises(NotFoundError, match="no hold"):
        release(both)


def test_a_hold_needs_no_registry(world: GateWorld) -> None:
    world.break_databricks(".*", times=1000, drop=True)
    assert str(hold(world).hold) == "on hold by night-shift because an incident"


def test_an_approved_promotion_waits_under_a_hold_and_is_applied_when_it_is_released(
    world: GateWorld,
) -> None:
    pending = world.ask()
    world.approve(pending)
    hold(world)
    world.look()
    waiting = world.again(pending)
    assert waiting.phase is Phase.APPROVED
    assert (
        waiting.reason == "Approved; Champion of main.ml.churn is on hold by night-shift because an incident."
    )
    world.live(hours=3)
    assert world.again(pending).phase is Phase.APPROVED
    assert world.models.champion() == "1"
    release(world)
    world.settle()
    world.ended(pending, Phase.PROMOTED)
    assert world.models.champion() == "2"


def test_a_hold_that_comes_just_before_the_write_is_seen_under_the_lock(world: GateWorld) -> None:
    pending = world.ask()
    world.approve(pending)
    held: list[AliasState] = []

    def place_it(name: str) -> None:
        if name == "lock_alias" and not held:
            held.append(hold_elsewhere(world))

    start_with(world, StoreBetween(world.store, before=place_it))
    world.look()
    assert held
    assert world.again(pending).phase is Phase.APPROVED
    assert world.models.champion() == "1"


def hold_elsewhere(world: GateWorld) -> AliasState:
    """Another process places the hold."""
    core = world.core
    world.start()
    try:
        return hold(world)
    finally:
        world.core = core


def test_a_new_version_waits_under_a_hold_and_is_taken_up_when_it_is_released(world: GateWorld) -> None:
    hold(world)
    world.train()
    world.settle()
    waiting = world.promotion()
    assert waiting.phase is Phase.REQUESTED
    assert waiting.reason == "Champion of main.ml.churn is on hold by night-shift because an incident."
    assert world.github.runs == []
    release(world)
    world.settle()
    assert world.again(waiting).phase is Phase.PENDING_APPROVAL


def test_an_approval_whose_champion_was_replaced_by_hand_is_stale_at_once(world: GateWorld) -> None:
    pending = world.ask()
    versions(world, 1)
    put(world, "3")
    world.settle()
    assert "stands on v3 now" in world.ended(pending, Phase.STALE)


def test_a_lost_write_of_an_approved_promotion_is_not_sent_again_under_a_hold(world: GateWorld) -> None:
    pending = world.ask()
    world.approve(pending)
    world.break_databricks(PUT, method="PUT", times=1, drop=True)
    world.look()
    assert world.again(pending).phase is Phase.APPROVED
    hold(world)
    world.wait(minutes=5)
    assert world.again(pending).phase is Phase.APPROVED
    assert world.models.champion() == "1"
    release(world)
    world.settle()
    world.ended(pending, Phase.PROMOTED)
