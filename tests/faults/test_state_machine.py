"""Promotions among interleaved notifications, decisions, orders, moves by hand, crashes and expiries: the laws hold throughout."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import ClassVar, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from champion_gate.domain.aliases import Order
from champion_gate.flow.operator_steps import StepOrders
from champion_gate.store import Store
from champion_gate_standins.github.state import Run
from faults.machine_ends import OPERATOR, settle
from faults.machine_laws import Laws
from faults.machine_world import COLLEAGUE, PEOPLE, Interruption, MachineWorld, machine_world
from integration.gate_models import TRAINER
from integration.gate_providers import BOT
from integration.store_databases import Databases, reused_store

pytest_plugins = ("integration.store_fixtures",)

T = TypeVar("T")

WHICH = st.integers(0, 5)
"""Of those that there are, in turn."""
LOGINS = st.sampled_from([*["reviewer-1", "reviewer-2"] * 3, PEOPLE[TRAINER], BOT, "stranger"])
GOES_ON = st.sampled_from([True, True, False])
"""Whether the gate does at once what is due within a minute."""
TIMES = (
    *({"seconds": 10}, {"minutes": 3}, {"minutes": 3}, {"minutes": 12}, {"minutes": 12}),
    *({"hours": 2}, {"hours": 2}, {"days": 1, "minutes": 5}, {"days": 8}, {"days": 15}),
)
TROUBLES: dict[str, dict[str, object]] = {
    "not carried out": {"drop": True},
    "answer lost": {"drop": True, "carry_out": True},
    "500": {"status": 500},
    "503": {"status": 503, "headers": {"Retry-After": "30"}},
    "429": {"status": 429, "headers": {"Retry-After": "60"}},
    "403": {"status": 403},
}


class GateMachine(RuleBasedStateMachine):
    """Rules are what the world does. After most of them the gate does what is due."""

    opened: ClassVar[Callable[..., AbstractContextManager[MachineWorld]]]
    """Makes its world."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self.runs: list[tuple[str, str]] = []

    @initialize(whole=st.booleans(), newer=st.sampled_from(["supersede", "keep"]))
    def begin(self, *, whole: bool, newer: str) -> None:
        """There is a gate, and a version about which people are asked."""
        self.there = self._stack.enter_context(type(self).opened(whole=whole, newer=newer))
        self.world = self.there.world
        self.laws = Laws(self.there)
        self.laws.moved(self.there.stands())
        self.there.wrote, self.there.stored = self.laws.wrote, self.laws.stored
        self.train(user=TRAINER, f1=0.91, told=1, goes_on=True)

    def teardown(self) -> None:
        """At the end everything comes to rest; unless something has gone wrong already."""
        with self._stack:
            if sys.exc_info()[0] is None and hasattr(self, "laws"):
                settle(self.laws)

    @invariant()
    def laws_hold(self) -> None:
        """After each step."""
        self.laws.check()

    # --- what is trained, and told ---

    @rule(
        user=st.sampled_from([TRAINER, TRAINER, COLLEAGUE]),
        f1=st.sampled_from([0.91, 0.92, 0.7]),
        told=st.integers(0, 2),
        goes_on=GOES_ON,
    )
    def train(self, *, user: str, f1: float, told: int, goes_on: bool) -> None:
        """A run makes a version; it is told of once, twice or never."""
        run_id, version = self.world.train_run({"f1": f1, "auc": 0.95}, user=user)
        self.laws.trainers[version] = {PEOPLE[TRAINER], PEOPLE[user]}
        self.runs.append((run_id, version))
        for _ in range(told):
            self.tell(which=len(self.runs) - 1, goes_on=goes_on)

    @rule(which=WHICH, goes_on=GOES_ON)
    def tell(self, *, which: int, goes_on: bool) -> None:
        """A notification comes, perhaps once more."""
        run_id, version = self.runs[which % len(self.runs)]
        self.world.notify(run_id)
        self.laws.acknowledged.add(version)
        if goes_on:
            self.work()

    # --- what people do ---

    @precondition(lambda self: self._waiting())
    @rule(which=WHICH, login=LOGINS)
    def approve(self, *, which: int, login: str) -> None:
        """Somebody lets a run's job start, and GitHub's webhook comes."""
        self._told(self._approve(which, login))

    @precondition(lambda self: self._waiting())
    @rule(which=WHICH, login=LOGINS)
    def approve_unheard(self, *, which: int, login: str) -> None:
        """The same, and the webhook is lost."""
        self._approve(which, login)

    @precondition(lambda self: self._waiting())
    @rule(which=WHICH, how=st.sampled_from(["reject", "cancel", "delete"]), told=st.booleans())
    def refuse(self, *, which: int, how: str, told: bool) -> None:
        """Somebody rejects, cancels or deletes a run."""
        for run in self._nth(self.world.github.runs if how == "delete" else self._waiting(), which):
            if how == "reject":
                self.world.github.review(run.id, "champion", "octo-trainer", approve=False)
            elif how == "cancel":
                self.world.github.cancel(run.id)
            else:
                self.world.github.delete_run(run.id)
            self.laws.refused.add(str(run.id))
            if told:
                self._told(run)

    @rule(version=st.integers(0, 3))
    def move_by_hand(self, *, version: int) -> None:
        """Somebody moves the alias outside the gate; 0 takes it away."""
        there = self.there.destination.catalog.versions(self.there.destination.model)
        to = there[version % len(there)] if version else None
        if to != self.there.stands():
            self.there.destination.move_alias(to)
            self.laws.moved(to)

    # --- what the gate does ---

    @rule()
    def work(self) -> None:
        """Everything that is due within a minute."""
        with self.there.turn():
            for seconds in (0, 6, 40):
                self.world.wait(seconds=seconds)

    @rule(which=WHICH)
    def work_at_one(self, *, which: int) -> None:
        """One thing that is due."""
        due, core = self.world.store.due(self.world.clock.now()), self.world.core
        turns = [partial(core.resolver.resolve, each) for each in due.notifications]
        turns += [partial(core.promoter.advance, each) for each in due.promotions]
        turns += [partial(core.steps.carry_out, each) for each in due.steps]
        for turn in self._nth(turns, which):
            with self.there.turn():
                turn()

    @rule()
    def sweep(self) -> None:
        """A sweep with all its looks, and what it has woken."""
        with self.there.turn():
            self.world.sweep()

    @rule(time=st.sampled_from(TIMES), goes_on=GOES_ON)
    def wait(self, *, time: dict[str, float], goes_on: bool) -> None:
        """Time passes."""
        self.world.clock.move(**time)
        if goes_on:
            self.sweep()

    # --- what befalls it ---

    @rule(
        how=st.sampled_from(["call", "call carried out", "write", "stands still"]),
        number=st.integers(1, 12),
        frees_leases=st.booleans(),
    )
    def interrupt(self, *, how: str, number: int, frees_leases: bool) -> None:
        """It dies at one of its next calls or writes, or stands still before that write until another has done its work."""
        self.there.interrupt(
            Interruption(
                "call" if how.startswith("call") else "write",
                number,
                carried_out=how == "call carried out",
                stands_still=how == "stands still",
                frees_leases=frees_leases,
            )
        )

    @rule(
        vendor=st.sampled_from(["databricks", "github"]),
        how=st.sampled_from(sorted(TROUBLES)),
        times=st.integers(1, 8),
    )
    def trouble(self, *, vendor: str, how: str, times: int) -> None:
        """A vendor is unwell for some calls."""
        self.laws.troubled = True
        self.there.vendors[vendor].add(".", times=times, **TROUBLES[how])

    @rule(times=st.integers(1, 4))
    def list_late(self, *, times: int) -> None:
        """GitHub's list of runs is behind."""
        listing, nothing = self.world.provider.listing, self.world.provider.nothing_listed
        self.there.vendors["github"].add(listing, method="GET", body=nothing, times=times)

    # --- what operators order ---

    @rule(
        what=st.sampled_from(["put", "delete", "roll back", "hold", "release"]),
        version=WHICH,
        overrides=st.booleans(),
    )
    def order(self, *, what: str, version: int, overrides: bool) -> None:
        """An operator moves the alias, holds it, or releases it."""
        orders, names = self.world.core.alias_orders, (self.there.key.model, self.there.key.alias)
        to = self._nth(self.there.destination.catalog.versions(self.there.destination.model), version)[0]
        order = Order(OPERATOR, "it answers nonsense", override_hold=overrides)
        before = {where for _, where in self.laws.moves if where is not None}
        allowed: dict[str, set[str | None]] = {"put": {to}, "delete": {None}, "roll back": {*before}}
        if overrides or not self.laws.is_held(self.there.key):
            self.laws.ordered = allowed.get(what)
        self.laws.has_held |= what in {"roll back", "hold"}
        with self.there.turn():
            match what:
                case "put":
                    orders.put(*names, to, order)
                case "delete":
                    orders.delete(*names, order)
                case "roll back":
                    orders.roll_back(*names, order)
                case "hold":
                    orders.hold(*names, caller=OPERATOR, reason="audit")
                case _:
                    orders.release(*names, caller=OPERATOR, reason="over")
        self.laws.ordered = None

    @rule(which=WHICH, is_cancelled=st.booleans())
    def order_promotion(self, *, which: int, is_cancelled: bool) -> None:
        """An operator cancels a promotion, takes it up again, or asks afresh."""
        for promotion in self._nth(self.world.promotions(), which):
            orders, actor = self.world.core.promotion_orders, OPERATOR.actor
            with self.there.turn():
                if is_cancelled:
                    self.laws.cancelled.add(promotion.id)
                    orders.cancel(promotion.id, actor=actor, reason="wrong")
                else:
                    self.laws.retried[promotion.id] += 1
                    orders.retry(promotion.id, actor=actor)

    @rule(which=WHICH, is_skipped=st.booleans())
    def order_step(self, *, which: int, is_skipped: bool) -> None:
        """An operator takes a step up again, or skips it."""
        steps = [step for p in self.world.promotions() for step in self.world.store.steps_of(p.id)]
        for step in self._nth(steps, which):
            self.laws.retried[step.id] += 1
            context, actor = self.world.core.context, OPERATOR.actor
            orders = StepOrders(context.store, context.wake_ups, context.clock)
            with self.there.turn():
                if is_skipped:
                    orders.skip(step.id, actor=actor, reason="not needed")
                else:
                    orders.retry(step.id, actor=actor)

    # ---

    def _waiting(self) -> list[Run]:
        """The runs in which people can decide; some of promotions that have ended."""
        return [run for run in self.world.github.runs if run.waiting_jobs()]

    def _approve(self, which: int, login: str) -> Run:
        """Past the rules, as administrators do, where GitHub would not let this account."""
        run = self._nth(self._waiting(), which)[0]
        self.world.github.review(run.id, "champion", login, approve=True, force=True)
        self.laws.approve(run, login)
        return run

    def _told(self, run: Run) -> None:
        """GitHub's webhook comes."""
        self.world.store.hint_request(str(run.id), self.world.clock.now())
        self.work()

    @staticmethod
    def _nth(those: Sequence[T], which: int) -> Sequence[T]:
        """One of them, if there are any."""
        return [those[which % len(those)]] if those else []


@contextmanager
def rows(databases: Databases) -> Iterator[tuple[str, Store]]:
    url = databases.emptied()
    with reused_store(url) as store:
        yield url, store


@pytest.mark.part("rest")
@pytest.mark.timeout(3600)
def test_whatever_happens_the_laws_hold(
    databases: Databases, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    class Machine(GateMachine):
        @staticmethod
        def opened(*, whole: bool, newer: str) -> AbstractContextManager[MachineWorld]:
            return machine_world(tmp_path, rows(databases), whole=whole, newer=newer)

    examples = 8 if request.config.getoption("part") else 150  # of a second each
    run_state_machine_as_test(Machine, settings=settings(max_examples=examples, stateful_step_count=20))
