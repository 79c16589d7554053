"""The gate in this process, as one that may die at any call and at any write, or stand still until others take its work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Flask

from champion_gate.domain.aliases import AliasKey
from champion_gate.domain.together import Together
from champion_gate.errors import GateError
from champion_gate.flow.context import Waits
from champion_gate.store import Store
from champion_gate_standins.common.faults import Faults
from integration.gate_crashes import WRITES, StoreBetween, start_with
from integration.gate_models import TRAINER, CatalogModels
from integration.gate_world import GateWorld, gate_world
from integration.whole_way import around

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

COLLEAGUE = "colleague@example.com"
PEOPLE = {TRAINER: "octo-trainer", COLLEAGUE: "reviewer-2"}
"""Who may be behind a version, and their logins."""
CHANGES = {"create_promotion", "save_promotion", "retry_promotion", "finish_alias_change"}
"""The writes that may change a promotion's phase."""
STANDS_STILL_SECONDS = 200
"""Longer than any lease of a row or an alias."""


@dataclass
class Interruption:
    """What befalls the gate's process.

    Attributes:
        at: "call" to a vendor, or "write" into the database.
        number: at which one from now on.
        carried_out: whether the call at which it dies is carried out.
        stands_still: whether it stands still before that write, and then goes on, instead of dying.
        frees_leases: whether the process that follows knows that all others are dead.
    """

    at: str
    number: int
    carried_out: bool = False
    stands_still: bool = False
    frees_leases: bool = True

    def comes_at(self, what: str) -> bool:
        """Count a call or write; whether it is the one."""
        if what != self.at:
            return False
        self.number -= 1
        return self.number == 0


@dataclass(frozen=True)
class Write:
    """A write to an alias that the registry carried out."""

    model: str
    alias: str
    before: str | None
    to: str | None


@dataclass
class _Process:
    """One life of the gate."""

    interruption: Interruption | None = None
    is_dead: bool = False

    def call(self) -> tuple[bool, bool]:
        """One to a vendor: whether it is carried out, and whether its answer arrives."""
        if self.is_dead:
            return False, False
        if self.interruption is not None and self.interruption.comes_at("call"):
            self.is_dead = True
            return self.interruption.carried_out, False
        return True, True


@dataclass
class MachineWorld:
    """A world whose gate is interrupted, and is there again after each turn.

    Attributes:
        destination: the model whose alias is asked for.
        wrote: called with each write to an alias, while the gate waits for its answer.
        stored: called after each write into the database that may change a promotion.
        jobs: that the gate runs: for validation, for the copy, after a move.
        keeps_older: whether a newer version leaves an older one's request open.
        has_changed: whether the gate has written anything since this was last set to False.
        vendors: a vendor's name -> what may go wrong in front of it.
    """

    world: GateWorld
    destination: CatalogModels
    jobs: list[str]
    keeps_older: bool
    has_changed: bool = True
    wrote: Callable[[Write], object] = lambda _write: None
    stored: Callable[[], object] = lambda: None
    vendors: dict[str, Faults] = field(default_factory=dict)
    _process: _Process = field(default_factory=_Process)

    def begin(self) -> None:
        """Start the gate's process on the rows that are there."""
        process = self._process = _Process()

        def before(name: str) -> None:
            if process.is_dead:
                raise SystemExit  # a dead process writes nothing more, whatever its `finally` says
            due = process.interruption
            if name not in WRITES or due is None or not due.comes_at("write"):
                return
            if due.stands_still:
                self._stand_still()
                return
            process.is_dead = True
            raise SystemExit

        def after(name: str) -> None:
            self.has_changed |= name in WRITES
            if name in CHANGES:
                self.stored()

        start_with(self.world, StoreBetween(self.world.store, before=before, after=after))

    def interrupt(self, interruption: Interruption) -> None:
        """Have this befall the process in its next turn, or in a later one."""
        self._process.interruption = interruption

    @contextmanager
    def turn(self) -> Iterator[None]:
        """What the process does; where it dies of that, another has started when this ends.

        That it refuses an order, or that a vendor has not answered it, is an answer.
        """
        process = self._process
        with suppress(SystemExit, GateError):
            yield
        if process.is_dead and process.interruption is not None:
            if process.interruption.frees_leases:
                self.world.store.release_all_leases()
            self.begin()

    def _stand_still(self) -> None:
        """Another process of the gate does what is due, after the leases of this one have run out."""
        interrupted, core = self._process, self.world.core
        self.world.clock.move(seconds=STANDS_STILL_SECONDS)
        self.begin()
        self.world.settle()
        self._process, self.world.core = interrupted, core

    def recover(self) -> None:
        """Vendors are well again, and nothing befalls the process any more."""
        for vendor in self.vendors.values():
            vendor.clear()
        self._process.interruption = None

    @property
    def key(self) -> AliasKey:
        """The alias."""
        return self.world.core.context.managed.key(self.destination.model, "Champion")

    def stands(self) -> str | None:
        """Where the alias stands."""
        return self.destination.champion()

    def listen(self, **apps: Flask) -> None:
        """Stand between the gate and these vendors."""
        for name, app in apps.items():
            self.vendors[name] = Faults(app.wsgi_app)
            app.wsgi_app = self._before(self.vendors[name])  # type: ignore[assignment,method-assign]

    def _before(self, vendor: Faults) -> WSGIApplication:
        inner = vendor.app

        def answering(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            carried_out, answered = self._process.call()
            asked = vendor if answered else Faults(inner)
            if not answered:
                asked.add(".", drop=True, carry_out=carried_out)
            if environ["REQUEST_METHOD"] not in {"PUT", "DELETE"}:
                return asked(environ, start_response)
            return self._told_of_writes(asked, environ, start_response)

        return answering

    def _told_of_writes(self, asked: WSGIApplication, environ: Any, start_response: Any) -> Iterable[bytes]:
        catalog = self.world.databricks.catalog
        known = len(catalog.alias_writes)
        stood = {
            (model, alias): catalog.alias(model, alias)
            for model in (self.world.models.model, self.destination.model)
            for alias in ("Champion", "Challenger")
        }
        try:
            return asked(environ, start_response)
        finally:
            for model, alias, number in catalog.alias_writes[known:]:
                to = None if number is None else str(number)
                self.wrote(Write(model, alias, stood[(model, alias)], to))


@contextmanager
def machine_world(
    folder: Path, rows: AbstractContextManager[tuple[str, Store]], *, whole: bool, newer: str
) -> Iterator[MachineWorld]:
    """A Champion v1 and a gate before it.

    Args:
        folder: for gates.yaml.
        rows: the database.
        whole: whether the gate validates, has a challenger, copies, and runs a job and moves an endpoint afterwards.
        newer: what a newer version does with an older one's request: "supersede" or "keep".
    """
    settings: dict[str, object] = {"identities": PEOPLE, "newer_version": newer}
    with gate_world(folder, rows=rows) as world:
        assert isinstance(world.models, CatalogModels)
        made = MachineWorld(world, world.models, [], keeps_older=newer == "keep")
        if whole:
            more = around(world.databricks)
            made.destination, made.jobs = more.destination, more.jobs
            settings |= more.keys
            made.destination.move_alias(made.destination.train("1", "1", {"f1": 0.9}))
        made.listen(databricks=world.databricks.app, github=world.github.app)
        world.sleep = lambda seconds: world.clock.move(seconds=seconds)
        # An operator's order waits a few tries for the alias of a process that has died, instead of hundreds.
        world.waits = Waits(alias_busy_seconds=10.0)
        # One call after the other, so that the same one is hit each time that this is played.
        world.together = Together(0)
        world.reconfigure(**settings)
        made.begin()
        yield made
