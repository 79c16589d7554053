"""An alias that somebody moves outside the gate: recorded at once, told who it was, asked about again, put back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from champion_gate.domain.aliases import Order
from champion_gate.domain.callers import Caller, Role
from champion_gate.domain.promotion import Phase
from champion_gate.domain.steps import StepPhase
from integration.gate_crashes import DiesAtWrite, Once, StoreBetween, start_with
from integration.gate_world import GateWorld, gate_world
from integration.mlflow_server import MlflowServer

pytest_plugins = ("integration.mlflow_fixtures",)

pytestmark = pytest.mark.spread(4)

OPERATOR = Caller("operator-1", Role.OPERATOR, "token", "127.0.0.1")
SOMEBODY = "somebody@example.com"
WAREHOUSE = "abcdef0123456789"
WRITES_OF_A_RESTORE = 6


@pytest.fixture(params=["uc", pytest.param("server", marks=pytest.mark.part("rest"))])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GateWorld]:
    """A gate whose alias the sweep has seen on v1, with a v2 that nobody was asked about."""
    server: MlflowServer | None = None
    if request.param == "server":
        server = request.getfixturevalue("running_mlflow")
    with gate_world(tmp_path, "mlflow" if server else "uc", server=server) as made:
        made.sweep()
        made.models.train(made.job_id, "by-hand", {"f1": 0.5})
        yield made


def looked_up(world: GateWorld) -> None:
    """Restart with a SQL warehouse."""
    world.databricks.sql.warehouses.add(WAREHOUSE)
    world.extra["databricks"] = {"warehouse": WAREHOUSE}
    world.reconfigure()


def moved(world: GateWorld, version: str | None) -> None:
    """Somebody moves the alias outside, and the sweep sees it a minute later."""
    world.models.move_alias(version)
    world.clock.move(minutes=1)
    world.sweep()


def outside(world: GateWorld) -> str | None:
    return world.core.alias_orders.state(world.models.model, "Champion").outside


def lines(world: GateWorld, kind: str) -> list[Any]:
    world.store.verify_ledger()
    found = world.store.ledger_lines(limit=1000)
    return [line.entry for line in reversed(found) if line.entry.kind.value == kind]


# --- found, recorded, shown, counted ---


def test_a_move_is_recorded_and_shown_until_the_gate_moves_the_alias(world: GateWorld) -> None:
    moved(world, "2")
    assert world.moves()[-1] == ("1", "2", "outside champion-gate")
    is_catalog = world.models.registry == "databricks-uc"
    facts = lines(world, "alias_change")[-1].facts
    assert facts["who"] == ("not configured" if is_catalog else "not recorded there")
    assert outside(world) == "moved from v1 to v2 by somebody outside champion-gate"
    assert world.store.outside_moves() == {(world.models.model, "Champion"): 1}

    order = Order(OPERATOR, "back")
    world.core.alias_orders.put(world.models.model, "Champion", "1", order)
    world.sweep()
    assert outside(world) is None
    assert world.store.outside_moves() == {(world.models.model, "Champion"): 1}


def test_a_deleted_champion_is_drift_that_says_so(world: GateWorld) -> None:
    world.models.remove("1")
    world.sweep()
    told = outside(world) or ""
    assert told.startswith("v1 was deleted, or is hidden from us")
    assert lines(world, "alias_change")[-1].facts["version_gone"] is True
    assert world.moves()[-1] == ("1", None, "outside champion-gate")


# --- who it was ---


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path) as made:
        looked_up(made)
        made.sweep()
        made.models.train(made.job_id, "by-hand", {"f1": 0.5})
        yield made


def names(world: GateWorld, **more: str) -> dict[str, str]:
    return {"full_name_arg": world.models.model, "alias_arg": "champion", **more}


def test_who_it_was_comes_as_a_line_of_its_own_once_the_log_tells(catalog: GateWorld) -> None:
    sql = catalog.databricks.sql
    sql.late, sql.states = 12 * 60_000, ["PENDING"]
    sql.record("setRegisteredModelAlias", "other@example.com", **names(catalog, version_num="1"))
    catalog.clock.move(minutes=1)
    sql.record("setRegisteredModelAlias", SOMEBODY, **names(catalog, version_num="2"))
    moved(catalog, "2")
    assert lines(catalog, "drift") == []
    catalog.live(minutes=11)
    assert lines(catalog, "drift") == []
    catalog.live(minutes=5)
    (line,) = lines(catalog, "drift")
    number = next(n.number for n in catalog.store.ledger_lines() if n.entry.facts.get("to") == "2")
    assert (line.actor, line.facts["line"], line.facts["own_account"]) == (SOMEBODY, number, False)
    assert outside(catalog) == (
        "moved from v1 to v2 by somebody outside champion-gate; "
        f"{SOMEBODY} made the move outside, on {line.facts['event_time'][:10]} {line.facts['event_time'][11:19]} UTC "
        "(setRegisteredModelAlias)"
    )
    asked = len(sql.statements)
    catalog.live(hours=3)
    assert len(sql.statements) == asked


def test_our_own_account_is_told_apart(catalog: GateWorld) -> None:
    sql = catalog.databricks.sql
    sql.record("setRegisteredModelAlias", "champion-gate@example.com", **names(catalog))
    moved(catalog, "2")
    (line,) = lines(catalog, "drift")
    assert line.facts["own_account"] is True
    assert "the account of champion-gate itself" in line.reason


def test_who_deleted_the_champion_is_told(catalog: GateWorld) -> None:
    sql = catalog.databricks.sql
    catalog_name, schema, model = catalog.models.model.split(".")
    split = {"catalog_name": catalog_name, "schema_name": schema, "model_name": model}
    sql.record("deleteModelVersion", "other@example.com", **split, version="7")
    sql.record("deleteModelVersion", SOMEBODY, **split, version="1")
    catalog.models.remove("1")
    catalog.sweep()
    assert [line.actor for line in lines(catalog, "drift")] == [SOMEBODY]


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ("usable", "You do not have permission to use the SQL Warehouse"),
        ("selectable", "INSUFFICIENT_PERMISSIONS"),
    ],
)
@pytest.mark.part("rest")
def test_a_log_that_cannot_be_read_is_given_up_after_two_hours_visibly(
    catalog: GateWorld, broken: str, why: str
) -> None:
    setattr(catalog.databricks.sql, broken, False)
    moved(catalog, "2")
    pending = catalog.ask()  # nothing of it is in a promotion's way
    catalog.approve(pending)
    catalog.look()
    catalog.ended(pending, Phase.PROMOTED)
    catalog.live(hours=2, minutes=6)
    (line,) = lines(catalog, "drift")
    assert why in line.reason
    assert (line.actor, line.facts["phase"]) == ("champion-gate", "failed")


# --- asking again ---


def test_reopen_asks_again_once_a_version(world: GateWorld) -> None:
    world.reconfigure(drift="reopen")
    first = world.ask({"f1": 0.93})
    moved(world, "2")
    world.wait(seconds=10)
    assert "stands on v2 now" in world.ended(first, Phase.STALE)
    second = world.promotion(Phase.PENDING_APPROVAL)
    assert (second.version.version, second.champion_version) == ("3", "2")
    assert second.evidence_sha256 != first.evidence_sha256
    moved(world, "1")
    world.wait(seconds=10)
    world.ended(second, Phase.STALE)
    assert len(world.promotions()) == 2
    assert "asked again once before" in world.after_drift("reopen")[-1].reason


@pytest.mark.part("rest")
def test_reopen_leaves_alone_what_an_operators_move_made_stale(world: GateWorld) -> None:
    world.reconfigure(drift="reopen")
    first = world.ask({"f1": 0.93})
    world.core.alias_orders.put(world.models.model, "Champion", "2", Order(OPERATOR, "by hand"))
    world.sweep()
    world.ended(first, Phase.STALE)
    assert len(world.promotions()) == 1


# --- putting it back ---


def test_restore_puts_it_back_twice_a_day_and_then_shows_it_as_contested(world: GateWorld) -> None:
    world.reconfigure(drift="restore")
    for _ in range(2):
        moved(world, "2")
        assert world.models.champion() == "1"
        assert world.moves()[-1] == ("2", "1", "champion-gate")
        assert outside(world) is None
    moved(world, "2")
    assert world.models.champion() == "2"
    assert "contested: it was put back 2 times within a day" in (outside(world) or "")
    world.live(hours=30)
    world.sweep()
    assert world.models.champion() == "2"
    # A day later the next such move is put back, to where the gate had it.
    world.models.train(world.job_id, "by-hand-2", {"f1": 0.5})
    moved(world, "3")
    assert world.models.champion() == "1"
    assert len([m for m in lines(world, "alias_change") if m.facts["source"] == "restore"]) == 3


def test_a_rollback_after_a_restore_does_not_go_where_others_had_moved_it(world: GateWorld) -> None:
    world.reconfigure(drift="restore")
    pending = world.ask({"f1": 0.95})
    world.approve(pending)
    world.look()
    assert world.models.champion() == "3"
    moved(world, "2")
    assert world.models.champion() == "3"
    world.core.alias_orders.roll_back(world.models.model, "Champion", Order(OPERATOR, "worse"))
    assert world.models.champion() == "1"


def test_a_hold_keeps_it_where_it_is(world: GateWorld) -> None:
    world.reconfigure(drift="restore")
    world.core.alias_orders.hold(world.models.model, "Champion", caller=OPERATOR, reason="incident")
    moved(world, "2")
    assert world.models.champion() == "2"
    assert "on hold by operator-1" in lines(world, "drift")[-1].reason


def test_an_operator_who_was_faster_wins(world: GateWorld) -> None:
    world.reconfigure(drift="restore")
    world.models.move_alias("2")
    for look in world.core.sweep.run():
        world.core.sweep.look(look)
    world.models.train(world.job_id, "by-hand-2", {"f1": 0.5})
    world.core.alias_orders.put(world.models.model, "Champion", "3", Order(OPERATOR, "that one"))
    world.settle()
    assert world.models.champion() == "3"
    assert world.after_drift("restore")[0].phase is StepPhase.OVERTAKEN


@pytest.mark.part("rest")
def test_a_version_that_is_gone_is_not_put_back(world: GateWorld) -> None:
    world.reconfigure(drift="restore")
    world.models.remove("1")
    world.sweep()
    assert world.models.champion() is None
    assert "v1 is gone from the registry" in lines(world, "drift")[-1].reason


def test_another_version_under_its_number_is_not_put_back(catalog: GateWorld) -> None:
    catalog.reconfigure(drift="restore")
    catalog.core.alias_orders.put(catalog.models.model, "Champion", "2", Order(OPERATOR, "by hand"))
    catalog.models.move_alias("1")
    catalog.models.remove("2")
    assert catalog.models.train(catalog.job_id, "by-hand-2", {"f1": 0.5}) == "2"
    catalog.sweep()
    assert catalog.models.champion() == "1"
    assert "cannot be told to be the version" in lines(catalog, "drift")[-1].reason


def test_a_version_made_anew_by_those_who_move_it_is_not_put_back(catalog: GateWorld) -> None:
    """The number is the one on which the gate had it; the version is one that nobody was asked about."""
    catalog.core.alias_orders.put(catalog.models.model, "Champion", "2", Order(OPERATOR, "by hand"))
    catalog.core.alias_orders.hold(catalog.models.model, "Champion", caller=OPERATOR, reason="incident")
    catalog.reconfigure(drift="restore")
    moved(catalog, "1")
    catalog.models.remove("2")
    assert catalog.models.train(catalog.job_id, "by-hand-2", {"f1": 0.4}) == "2"
    moved(catalog, "2")
    catalog.core.alias_orders.release(catalog.models.model, "Champion", caller=OPERATOR, reason="over")
    moved(catalog, "1")
    assert catalog.models.champion() == "1"
    assert "cannot be told to be the version" in lines(catalog, "drift")[-1].reason


def test_whoever_moves_it_back_themselves_uses_up_no_restore(world: GateWorld) -> None:
    world.reconfigure(drift="restore")
    world.models.move_alias("2")
    for look in world.core.sweep.run():
        world.core.sweep.look(look)
    moved(world, "1")
    assert (world.models.champion(), restores(world)) == ("1", 0)
    assert "stands there again already" in lines(world, "drift")[-1].reason


def restores(world: GateWorld) -> int:
    return len([move for move in lines(world, "alias_change") if move.facts["source"] == "restore"])


@pytest.mark.parametrize(
    "number", [*range(1, 6), *(pytest.param(n, marks=pytest.mark.part("full")) for n in range(6, 9))]
)
@pytest.mark.part("rest")
def test_a_restore_that_dies_at_any_write_has_one_effect(world: GateWorld, number: int) -> None:
    world.reconfigure(drift="restore")
    world.models.move_alias("2")
    for look in world.core.sweep.run():
        world.core.sweep.look(look)
    dies = DiesAtWrite(number)
    start_with(world, StoreBetween(world.store, before=dies))
    with suppress(SystemExit):
        world.core.steps.carry_out(world.after_drift("restore")[0].id)
    assert dies.died is (number <= WRITES_OF_A_RESTORE)
    world.crash()
    world.sweep()
    world.wait(minutes=5)
    assert world.models.champion() == "1"
    assert world.moves()[-1] == ("2", "1", "champion-gate")
    assert restores(world) == 1
    assert world.after_drift("restore")[0].phase is StepPhase.SUCCEEDED


@pytest.mark.part("rest")
def test_two_replicas_put_it_back_once(world: GateWorld) -> None:
    world.reconfigure(drift="restore")
    world.models.move_alias("2")
    for look in world.core.sweep.run():
        world.core.sweep.look(look)
    (step,) = world.after_drift("restore")
    other = world.core.steps
    world.start()
    at_the_write = Once("begin_alias_change", lambda: other.carry_out(step.id))
    start_with(world, StoreBetween(world.store, before=at_the_write))
    world.core.steps.carry_out(step.id)
    assert at_the_write.done
    assert (world.models.champion(), restores(world)) == ("1", 1)
