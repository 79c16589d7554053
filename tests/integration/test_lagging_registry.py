"""A registry whose reads lag behind its writes, or that takes a write without effect: nobody else is blamed for it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from champion_gate.domain.aliases import AliasKey, Order
from champion_gate.domain.callers import Caller, Role
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.errors import VendorRefusedError, VendorUnavailableError
from champion_gate_standins.databricks.server import Fault
from integration.gate_crashes import StoreBetween, start_with
from integration.gate_models import MlflowModels
from integration.gate_world import GateWorld, gate_world
from integration.mlflow_server import mlflow_server

pytestmark = pytest.mark.spread(2)

KEY = AliasKey("databricks-uc", "main.ml.churn", "Champion")
MODEL = "/unity-catalog/models/main.ml.churn$"
PUT = "/aliases/Champion$"
MOVED = [("1", "2", "reviewer-1")]
BY_OPERATOR = [("1", "2", "ops")]
ORDER = Order(Caller("ops", Role.OPERATOR, "API token t1", "192.0.2.7"), "v2 is better")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path) as made:
        made.sweep()
        yield made


def approved(world: GateWorld) -> Promotion:
    pending = world.ask()
    world.approve(pending)
    return pending


def lagging(world: GateWorld, reads: int | None = None, *, skip: int = 1) -> Fault:
    """So many reads after the write (all of them, by default) still show the alias where it stood."""
    url = f"{world.databricks_url}/api/2.1/unity-catalog/models/main.ml.churn"
    before = requests.get(
        url, {"include_aliases": "true"}, headers={"Authorization": "Bearer standin-token"}, timeout=10
    ).json()
    assert [each["version_num"] for each in before["aliases"]] == [1]
    return world.break_databricks(MODEL, skip=skip, times=reads, body=json.dumps(before).encode())


def puts(world: GateWorld) -> int:
    return sum(1 for request in world.databricks.requests if request.method == "PUT")


def intent(world: GateWorld) -> tuple[str | None, str | None] | None:
    known = world.store.known_alias(KEY)
    assert known is not None
    return None if known.intent is None else (known.intent.from_version, known.intent.to_version)


# --- Unity Catalog ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("reads", "sent"), [(1, 1), (4, 1), (5, 2), (9, 2)])
def test_a_write_that_shows_after_a_while_is_a_promotion(world: GateWorld, reads: int, sent: int) -> None:
    pauses: list[float] = []
    world.sleep = pauses.append
    world.start()
    pending = approved(world)
    lagging(world, reads)
    world.look()
    world.ended(pending, Phase.PROMOTED)
    assert puts(world) == sent
    assert world.moves()[1:] == MOVED
    assert pauses == [0.5, 1, 2, 4, 0.5, 1, 2, 4][: reads - sent + 1]
    world.sweep()
    assert world.moves()[1:] == MOVED


def test_a_first_write_without_effect_is_made_up_for_by_the_second(world: GateWorld) -> None:
    pending = approved(world)
    world.break_databricks(PUT, method="PUT", times=1, body=b"{}")
    world.look()
    world.ended(pending, Phase.PROMOTED)
    assert (puts(world), world.moves()[1:]) == (2, MOVED)


def test_a_write_that_does_not_show_is_kept_and_told_when_it_does(world: GateWorld) -> None:
    pending = approved(world)
    lagging(world)
    world.look()
    world.ended(pending, Phase.APPROVED)
    assert "was put on v2 twice, and is still shown on v1" in (world.again(pending).retry.last_error or "")
    assert (puts(world), intent(world)) == (2, ("1", "2"))
    world.sweep()
    world.databricks.faults.clear()
    world.wait(minutes=1)
    world.ended(pending, Phase.PROMOTED)
    assert world.moves()[1:] == MOVED
    assert world.models.tags("2")["champion_gate_approved_by"] == "reviewer-1"


@pytest.mark.part("rest")
def test_writes_without_effect_are_tried_for_a_day(world: GateWorld) -> None:
    pending = approved(world)
    world.break_databricks(PUT, method="PUT", body=b"{}")
    world.look()
    world.live(hours=23)
    world.ended(pending, Phase.APPROVED)
    world.live(hours=2)
    assert "is still shown on v1" in world.ended(pending, Phase.FAILED)
    world.databricks.faults.clear()
    world.sweep()
    assert world.moves()[1:] == []
    world.core.promotion_orders.retry(pending.id, actor="operator")
    world.settle()
    world.ended(pending, Phase.PROMOTED)
    assert world.moves()[1:] == MOVED


def test_somebody_else_is_named_where_the_alias_stands_on_neither(world: GateWorld) -> None:
    other = world.models.train(world.job_id, "9", {"f1": 0.9})
    pending = world.ask({"f1": 0.95})
    world.approve(pending)
    world.break_databricks(PUT, method="PUT", body=b"{}")
    world.look()
    world.ended(pending, Phase.APPROVED)
    world.models.move_alias(other)
    world.wait(minutes=1)
    assert "somebody else put the alias on v2" in world.ended(pending, Phase.STALE)
    assert world.moves()[1:] == [("1", "2", "outside champion-gate")]


def test_a_writer_whose_lease_ran_out_while_it_looked_sends_nothing_more(world: GateWorld) -> None:
    pending = approved(world)
    world.sleep = lambda seconds: world.clock.move(seconds=91) if seconds == 0.5 else None
    world.start()
    lagging(world)
    world.turn(pending)
    assert puts(world) == 1
    world.ended(pending, Phase.APPROVED)
    world.databricks.faults.clear()
    world.sleep = lambda _seconds: None
    world.start()
    world.wait(minutes=3)
    world.ended(pending, Phase.PROMOTED)
    assert (puts(world), world.moves()[1:]) == (1, MOVED)


# --- refused ----------------------------------------------------------------------------------------------


def test_a_refused_write_after_which_the_alias_cannot_be_read_is_kept(world: GateWorld) -> None:
    pending = approved(world)
    world.break_databricks(PUT, method="PUT", times=1, status=403)
    world.break_databricks(MODEL, skip=1, times=1, status=403)
    world.look()
    world.ended(pending, Phase.APPROVED)
    assert intent(world) == ("1", "2")
    world.wait(minutes=2)
    world.ended(pending, Phase.PROMOTED)
    assert world.moves()[1:] == MOVED


def test_a_read_back_that_is_refused_is_no_failed_promotion(world: GateWorld) -> None:
    pending = approved(world)
    world.break_databricks(MODEL, skip=1, times=1, status=403)
    world.look()
    assert (world.again(pending).phase, world.models.champion()) == (Phase.APPROVED, "2")
    world.wait(minutes=2)
    world.ended(pending, Phase.PROMOTED)
    assert (puts(world), world.moves()[1:]) == (1, MOVED)


def after_the_fence(world: GateWorld, work: Callable[[], object]) -> StoreBetween:
    """Something happens while the call is on its way."""
    return StoreBetween(world.store, after=lambda name: work() if name == "check_fence" else None)


def test_a_write_that_is_refused_although_it_was_carried_out_is_a_promotion(world: GateWorld) -> None:
    """As through a proxy that answers for a registry that was too slow for it."""
    pending = approved(world)
    world.break_databricks(PUT, method="PUT", status=403)
    start_with(world, after_the_fence(world, lambda: world.models.move_alias("2")))
    world.look()
    world.ended(pending, Phase.PROMOTED)
    assert world.moves()[1:] == MOVED


def test_a_refused_write_beside_somebody_elses_is_stale(world: GateWorld) -> None:
    other = world.models.train(world.job_id, "9", {"f1": 0.9})
    pending = world.ask({"f1": 0.95})
    world.approve(pending)
    world.break_databricks(PUT, method="PUT", status=403)
    start_with(world, after_the_fence(world, lambda: world.models.move_alias(other)))
    world.look()
    assert "somebody else put the alias on v2" in world.ended(pending, Phase.STALE)
    assert world.moves()[1:] == [("1", "2", "outside champion-gate")]


# --- operators --------------------------------------------------------------------------------------------


def put_by_hand(world: GateWorld) -> None:
    world.core.alias_orders.put(world.models.model, "Champion", "2", ORDER)


def test_an_order_that_does_not_show_has_an_unknown_outcome_and_is_on_record_once_it_does(
    world: GateWorld,
) -> None:
    world.models.train(world.job_id, "9", {"f1": 0.9})
    fault = lagging(world)
    with pytest.raises(VendorUnavailableError, match="look at the alias before you try again") as caught:
        put_by_hand(world)
    assert caught.value.outcome_unknown
    for _ in range(5):
        world.clock.move(hours=1)
        world.sweep()
    assert (world.moves()[1:], intent(world)) == ([], ("1", "2"))
    fault.times = 0
    world.sweep()
    assert (world.moves()[1:], intent(world)) == (BY_OPERATOR, None)


def test_an_order_without_effect_is_forgotten_after_a_day(world: GateWorld) -> None:
    world.models.train(world.job_id, "9", {"f1": 0.9})
    world.break_databricks(PUT, method="PUT", body=b"{}")
    with pytest.raises(VendorUnavailableError, match="is still shown on v1"):
        put_by_hand(world)
    world.clock.move(hours=25)
    world.sweep()
    assert (world.moves()[1:], intent(world)) == ([], None)


def test_an_order_may_be_given_again_at_once(world: GateWorld) -> None:
    world.models.train(world.job_id, "9", {"f1": 0.9})
    world.break_databricks(PUT, method="PUT", times=2, body=b"{}")
    with pytest.raises(VendorUnavailableError):
        put_by_hand(world)
    put_by_hand(world)
    assert (world.models.champion(), world.moves()[1:]) == ("2", BY_OPERATOR)


def test_a_refused_order_leaves_nothing(world: GateWorld) -> None:
    world.models.train(world.job_id, "9", {"f1": 0.9})
    world.break_databricks(PUT, method="PUT", status=403)
    with pytest.raises(VendorRefusedError, match="own the model") as caught:
        put_by_hand(world)
    assert not caught.value.outcome_unknown
    assert (world.models.champion(), intent(world)) == ("1", None)


# --- a read that is wrong once ----------------------------------------------------------------------------


def reads_wrongly_once(world: GateWorld, shown: int | None, times: int = 1) -> Fault:
    """The next read of the alias (or so many) shows it on this version, or on none."""
    aliases = [] if shown is None else [{"alias_name": "Champion", "version_num": shown}]
    body = json.dumps({"full_name": "main.ml.churn", "aliases": aliases}).encode()
    return world.break_databricks(MODEL, times=times, body=body)


@pytest.mark.parametrize("shown", [None, 2])
@pytest.mark.parametrize("decided", [False, True])
def test_one_read_that_shows_the_alias_elsewhere_ends_nothing(
    world: GateWorld, shown: int | None, decided: bool
) -> None:
    world.models.train(world.job_id, "9", {"f1": 0.9})
    pending = world.ask({"f1": 0.95})
    if decided:
        world.approve(pending)
    fault = reads_wrongly_once(world, shown)
    world.look()
    assert fault.hits == 1
    world.ended(pending, Phase.PROMOTED if decided else Phase.PENDING_APPROVAL)
    assert world.moves()[1:] == ([("1", "3", "reviewer-1")] if decided else [])


@pytest.mark.parametrize("shown", [None, 2])
def test_reads_that_show_the_alias_elsewhere_for_a_moment_are_no_drift(
    world: GateWorld, shown: int | None
) -> None:
    world.models.train(world.job_id, "9", {"f1": 0.9})
    pending = world.ask({"f1": 0.95})
    reads_wrongly_once(world, shown, 2)
    world.sweep()
    world.look()
    world.ended(pending, Phase.PENDING_APPROVAL)
    assert world.moves()[1:] == []


def test_one_read_back_that_shows_the_alias_elsewhere_blames_nobody(world: GateWorld) -> None:
    world.models.train(world.job_id, "9", {"f1": 0.9})
    pending = world.ask({"f1": 0.95})
    world.approve(pending)
    body = json.dumps({"full_name": "main.ml.churn", "aliases": []}).encode()
    world.break_databricks(MODEL, skip=1, times=1, body=body)
    world.look()
    world.ended(pending, Phase.PROMOTED)
    assert world.moves()[1:] == [("1", "3", "reviewer-1")]


def test_one_read_without_the_alias_does_not_hide_the_champion_from_reviewers(world: GateWorld) -> None:
    world.train({"f1": 0.81})
    reads_wrongly_once(world, None)
    world.settle()
    assert "max_worse" in world.ended(world.promotion(), Phase.INELIGIBLE)


def test_an_order_goes_by_where_the_alias_stands_and_not_by_one_wrong_read(world: GateWorld) -> None:
    world.models.train(world.job_id, "9", {"f1": 0.9})
    reads_wrongly_once(world, None)
    put_by_hand(world)
    assert world.moves()[1:] == BY_OPERATOR


# --- MLflow's own server, which reads from a replica ------------------------------------------------------


@dataclass
class Replica:
    """What the server reads: as the primary was when it last caught up."""

    primary: Path
    file: Path
    lag: float = 3.0
    behind: float = 0.0

    def catch_up(self) -> None:
        with closing(sqlite3.connect(self.primary)) as here, closing(sqlite3.connect(self.file)) as there:
            here.backup(there)
        self.behind = 0.0

    def sleep(self, seconds: float) -> None:
        """Time goes on without anybody waiting for it."""
        self.behind += seconds
        if self.behind >= self.lag:
            self.catch_up()


@pytest.fixture
def replicated(tmp_path: Path) -> Iterator[tuple[GateWorld, Replica]]:
    """A gate on such a server; trainers and the test look at the primary."""
    with gate_world(tmp_path, "mlflow") as world:
        assert isinstance(world.models, MlflowModels)
        replica = Replica(world.models.database, tmp_path / "replica.db")
        replica.catch_up()
        with mlflow_server(world.models.database.parent, replica.file) as uri:
            world.models.registry = uri
            world.sleep = replica.sleep
            world.reconfigure()
            yield world, replica


@pytest.mark.part("rest")
def test_approvals_are_applied_on_a_server_that_reads_from_a_replica(
    replicated: tuple[GateWorld, Replica],
) -> None:
    world, replica = replicated
    world.sweep()
    for number in range(2, 5):
        version = world.train({"f1": 0.9 + number / 100})
        replica.catch_up()
        world.live(minutes=2)
        pending = world.promotion(Phase.PENDING_APPROVAL)
        world.approve(pending)
        world.look()
        world.ended(pending, Phase.PROMOTED)
        assert world.models.champion() == version == str(number)
        world.sweep()
    moved = [(str(number - 1), str(number), "reviewer-1") for number in range(2, 5)]
    assert world.moves()[1:] == moved


@pytest.mark.part("rest")
def test_a_replica_that_lags_for_minutes_only_keeps_an_approval_waiting(
    replicated: tuple[GateWorld, Replica],
) -> None:
    world, replica = replicated
    world.sweep()
    replica.lag = 1000
    world.train()
    replica.catch_up()
    world.settle()
    pending = world.promotion(Phase.PENDING_APPROVAL)
    world.approve(pending)
    world.look()
    world.ended(pending, Phase.APPROVED)
    world.sweep()
    replica.catch_up()
    world.wait(minutes=1)
    world.ended(pending, Phase.PROMOTED)
    assert world.moves()[1:] == MOVED
