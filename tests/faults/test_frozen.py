"""A replica that is frozen (SIGSTOP) until another has taken its work, and goes on: it writes nothing that is not its own any more."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from champion_gate.domain.ledger.chain import LedgerLine
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.domain.steps import StepPhase
from champion_gate_standins.databricks.server import Fault
from faults import brief
from faults.replicas_world import Replicas, replicas_world
from integration.process_world import ProcessWorld, Served, free_port, process_world, until
from integration.silent_relay import SilentRelay, through, to_server
from integration.store_databases import PostgresqlDatabases

pytest_plugins = ("integration.store_fixtures",)

pytestmark = [pytest.mark.part("full"), pytest.mark.timeout(300)]

FENCE_CHECK = b"SELECT aliases.fence"
GIVEN_UP = ("is in another worker's hands now", "met an error of our own", "a step failed unexpectedly")
"""What it says; the last ones where it is frozen for so long that the database has hung up."""


@dataclass
class Freezer:
    """Freezes a service at a moment of its work, once."""

    pids: list[int] = field(default_factory=list)
    frozen: threading.Event = field(default_factory=threading.Event)
    thawed: threading.Event = field(default_factory=threading.Event)

    def watch(self, served: Served) -> Served:
        """Have it be this one."""
        self.pids = [each.pid for each in served.wait_until_working().processes()]
        return served

    def freeze(self) -> None:
        """Stop all its processes where they are."""
        if not self.frozen.is_set():
            self.signal(signal.SIGSTOP)
            self.frozen.set()

    def thaw(self) -> None:
        """Let it go on."""
        self.signal(signal.SIGCONT)
        self.thawed.set()

    def signal(self, number: signal.Signals) -> None:
        for pid in self.pids:
            os.kill(pid, number)


class Trap(SilentRelay):
    """A relay that calls `spring` once, before it hands on the first bytes that hold a text."""

    def __init__(
        self, connect: Callable[[], socket.socket], text: bytes, spring: Callable[[], object]
    ) -> None:
        self._text, self._spring, self._sprung = text, spring, False
        super().__init__(connect)

    def _passing(self, data: bytes) -> None:
        if not self._sprung and self._text in data:
            self._sprung = True
            self._spring()


@dataclass
class Frozen:
    """One model; a replica that will be frozen, and the one that takes its work over."""

    replicas: Replicas
    freezer: Freezer
    url: str

    @property
    def world(self) -> ProcessWorld:
        return self.replicas.world

    def launch(self, **environ: str) -> Served:
        """Start one whose leases are short."""
        given = {**self.world.environ, "CHAMPION_GATE_PORT": str(free_port()), **environ}
        log = self.world.folder / f"service-{len(self.world.started) + 1}.log"
        served = Served(given, log, app=brief.APP, forked=True)
        self.world.started.append(served)
        return served

    def freeze_where(self, text: bytes, spring: Callable[[], object]) -> Served:
        """Start the one that is frozen when it sends the database this text."""
        trap = Trap(lambda: to_server(self.url), text, spring)
        self.world.stack.callback(trap.close)
        return self.first(CHAMPION_GATE_DATABASE_URL=through(trap, self.url))

    def freeze_at(self, path: str, method: str | None) -> Served:
        """Start the one that is frozen when it calls Databricks there; the answer comes while it is."""
        fault = hanging(self.world, path, method)
        threading.Thread(target=freeze_when_hit, args=(self.freezer, fault), daemon=True).start()
        return self.first()

    def first(self, **environ: str) -> Served:
        """Start the one that is to be frozen."""
        served = self.freezer.watch(self.launch(**environ))
        self.replicas.balancer.replicas.append(served.url)
        return served

    def train(self) -> None:
        """A run ends, and is told of."""
        (job,) = self.replicas.jobs
        posted = self.replicas.finish_training(job)
        assert self.replicas.tell(self.world.url, posted) == 202

    def approve(self) -> None:
        """A reviewer approves what waits."""
        self.world.approve(self.world.wait_for(Phase.PENDING_APPROVAL))

    def take_over(self) -> Served:
        """Once it is frozen, another one does all of its work."""
        until(self.freezer.frozen.is_set, self.world.story)
        self.replicas.balancer.replicas.clear()
        return self.replicas.join(self.launch())

    def told(self) -> tuple[tuple[Promotion, ...], list[LedgerLine]]:
        """What rows and ledger say."""
        return self.world.promotions(), self.world.ledger()

    def assert_another_promotes(self, first: Served) -> None:
        """It is frozen on the way of a promotion, which another one brings to its end."""
        self.train()
        self.approve()
        self.take_over()
        self.world.wait_for(Phase.PROMOTED)
        self.assert_writes_nothing_more(first)

    def assert_writes_nothing_more(self, first: Served) -> None:
        """The frozen one goes on, and all is as the other one has left it."""
        before = self.told()
        self.go_on(first)
        assert self.told() == before
        self.replicas.assert_each_promoted_once()
        self.replicas.assert_ledger_tells_each_once()

    def go_on(self, first: Served) -> None:
        """Let the frozen one go on, until it has seen that its work is another's."""
        self.freezer.thaw()
        until(lambda: any(each in first.output() for each in GIVEN_UP), first.output)


def hanging(world: ProcessWorld, path: str, method: str | None) -> Fault:
    """Have one such call of Databricks be answered late."""
    return world.databricks.faults.add(Fault(path, method, hang=threading.Event(), times=1))


def freeze_when_hit(freezer: Freezer, fault: Fault) -> None:
    """Freeze it once it waits for that answer, which comes then."""
    until(lambda: fault.hits, f"{fault.path} is not called", 120)
    freezer.freeze()
    assert fault.hang is not None
    fault.hang.set()


@pytest.fixture
def frozen(tmp_path: Path, postgresql_databases: PostgresqlDatabases) -> Iterator[Frozen]:
    url = postgresql_databases.migrated()
    with replicas_world(tmp_path, url, models=1) as replicas:
        yield Frozen(replicas, Freezer(), url)


def test_frozen_before_its_fence_is_checked(frozen: Frozen) -> None:
    """The check comes too late: no second write."""

    def hold() -> None:
        frozen.freezer.freeze()
        frozen.freezer.thawed.wait(60)

    first = frozen.freeze_where(FENCE_CHECK, hold)
    frozen.assert_another_promotes(first)


def test_frozen_while_its_put_is_on_the_way(frozen: Frozen) -> None:
    """It arrives after others have moved the alias on: the ledger tells of it, as its promotion's."""
    world = frozen.world
    put = hanging(world, "/aliases/", "PUT")
    first = frozen.first()
    frozen.train()
    frozen.approve()
    until(lambda: put.hits, world.story)
    frozen.freezer.freeze()
    frozen.take_over()
    promotion = world.wait_for(Phase.PROMOTED)
    back = world.run("alias", "set", "main.ml.m0", "Champion", "1", "--reason", "worse for new customers")
    assert back.returncode == 0, back.stderr
    before = world.ledger()
    assert put.hang is not None
    put.hang.set()
    until(lambda: len(world.ledger()) > len(before), world.story)
    frozen.go_on(first)
    (model,) = frozen.replicas.jobs.values()
    assert (world.alias_writes(), model.champion()) == ([2, 1, 2], "2")
    (late,) = world.ledger()[len(before) :]
    assert {"from": "1", "to": "2", "source": "late"}.items() <= late.entry.facts.items()
    assert late.entry.promotion_id == promotion.id
    assert world.promotions() == (promotion,)


def test_frozen_between_put_and_result(frozen: Frozen) -> None:
    """The write was carried out, and the other one records it."""
    first = frozen.freeze_at("/aliases/", "PUT")
    frozen.assert_another_promotes(first)


@pytest.mark.parametrize("at", ["notification", "promotion", "step"])
def test_frozen_with_a_row_in_its_hands(frozen: Frozen, at: str) -> None:
    """The answer that it waited for comes when the row is another's."""
    world = frozen.world
    path, method = {
        "notification": ("/jobs/runs/get$", "GET"),
        "promotion": ("/mlflow/runs/get$", "GET"),
        "step": ("/model-versions/set-tag$", "POST"),
    }[at]
    first = frozen.freeze_at(path, method)
    frozen.train()
    if at == "step":
        frozen.approve()
    frozen.take_over()
    if at != "step":
        frozen.approve()
    promotion = world.wait_for(Phase.PROMOTED)

    def all_is_done() -> bool:
        with world.store() as store:
            return not store.open_steps(promotion.id)

    until(all_is_done, world.story)
    frozen.assert_writes_nothing_more(first)
    with world.store() as store:
        assert {each.phase for each in store.steps_of(promotion.id)} == {StepPhase.SUCCEEDED}


def test_frozen_alone_on_sqlite(tmp_path: Path) -> None:
    """Nobody takes its work; it goes on where it was, and finds its own lease over."""
    freezer = Freezer()
    with process_world(tmp_path) as world:
        served = Served(world.environ, tmp_path / "service.log", app=brief.APP, forked=True)
        world.started.append(served)
        freezer.watch(served)
        put = hanging(world, "/aliases/", "PUT")
        version = world.train()
        world.approve(world.wait_for(Phase.PENDING_APPROVAL, version))
        freeze_when_hit(freezer, put)
        over = time.monotonic() + brief.LEASE_SECONDS + 1
        until(lambda: time.monotonic() > over, "")
        freezer.thaw()
        world.wait_for(Phase.PROMOTED, version)
        assert world.alias_writes() == [int(version)]
        assert [move for move in world.moves() if move[2] == "reviewer-1"] == [("1", version, "reviewer-1")]
