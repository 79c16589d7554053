"""What everything comes to once nothing dies any more, vendors are well, and time goes on."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import event

from champion_gate.domain.callers import Caller, Role
from champion_gate.domain.ledger.chain import LedgerKind
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.domain.retry import BUDGET
from champion_gate.domain.steps import Step
from champion_gate.errors import GateError
from faults.machine_laws import Laws
from faults.machine_world import MachineWorld

OPERATOR = Caller("operator-1", Role.OPERATOR, "API token t1")
_MINUTES = 16
"""Longer than any pause between two tries."""
_ROUNDS = 7
"""Of three tries each: more than the twenty after which something is given up."""


def settle(laws: Laws) -> None:
    """Let the gate finish, first by itself, then with an operator's help, and at last by waiting; fails if something is stuck."""
    there = laws.there
    there.recover()
    _go_on(there)
    _check_at_rest(laws)
    _help(laws)
    _go_on(there)
    for _ in range(2):
        there.world.clock.move(days=15)
        _go_on(there)
    _exhaust(laws)
    _check_at_rest(laws)
    _check_over(laws)


def _go_on(there: MachineWorld) -> None:
    for _ in range(3):
        there.world.clock.move(minutes=_MINUTES)
        there.world.sweep()


def _exhaust(laws: Laws) -> None:
    """Let what fails be tried as often as it takes to be given up: time alone is not enough."""
    for _ in range(_ROUNDS):
        promotions: list[Promotion | Step] = [*laws.there.world.promotions()]
        if not any(each.phase.is_open for each in [*promotions, *_steps(laws)]):
            return
        _go_on(laws.there)


def _check_at_rest(laws: Laws) -> None:
    """Nobody holds a row, each thing has ended or says what it waits for, and the ledger stands where the alias stands."""
    there, world = laws.there, laws.there.world
    laws.check()
    for notification in world.notifications():
        assert not notification.phase.is_open, notification
        assert notification.reason, notification
        assert not notification.lease, notification
    for p in world.promotions():
        assert not p.lease, p
        assert p.reason, p
        assert p.due_at is not None or not p.phase.is_open, p
        assert p.phase is not Phase.PENDING_APPROVAL or _is_asked_about(laws, p), (
            p.reason,
            p.retry.last_error,
        )
        waits = p.phase.is_before_people or p.phase.is_applied
        assert not waits or laws.is_held(p.alias_key), (p.phase, p.reason, p.retry.last_error)
    pending = [p for p in world.promotions() if p.phase is Phase.PENDING_APPROVAL]
    assert there.keeps_older or len(pending) <= 1, pending
    for step in _steps(laws):
        assert not step.lease, step
        assert not step.phase.is_open or (step.due_at and (step.reason or step.retry.last_error)), step
    asked = {p.version.version for p in world.promotions()}
    assert set(laws.acknowledged) <= asked, (laws.acknowledged, world.notifications())
    key = there.key
    lines = [each.entry.facts for each in laws.lines(key) if each.entry.kind is LedgerKind.ALIAS_CHANGE]
    known = world.store.known_alias(key)
    assert known is not None
    unsettled = known.intent
    if unsettled is not None:  # an operator's, who was told that nobody knows: it may show for a day
        assert unsettled.promotion_id is None, unsettled
        assert world.clock.now() < unsettled.at + BUDGET, unsettled
    assert not lines or lines[-1]["to"] == there.stands(), (lines, there.stands())


def _is_asked_about(laws: Laws, pending: Promotion) -> bool:
    """Whether people can still decide."""
    waiting = [str(run.id) for run in laws.there.world.github.runs if run.waiting_jobs()]
    return pending.request is not None and pending.request.external_id in waiting


def _steps(laws: Laws) -> list[Step]:
    world = laws.there.world
    around = [step for p in world.promotions() for step in world.store.steps_of(p.id)]
    return [*around, *world.after_moves(), *world.after_drift()]


def _help(laws: Laws) -> None:
    """An operator takes up what has failed, and releases the alias."""
    world, key = laws.there.world, laws.there.key
    with suppress(GateError):
        world.core.alias_orders.release(key.model, key.alias, caller=OPERATOR, reason="over")
    for p in world.promotions():
        if p.phase is Phase.FAILED:
            laws.retried[p.id] += 1
            world.core.promotion_orders.retry(p.id, actor=OPERATOR.actor)


def _check_over(laws: Laws) -> None:
    """Everything has ended, and no approval was lost."""
    assert not [step for step in _steps(laws) if step.phase.is_open]
    for p in laws.there.world.promotions():
        event(f"a promotion ended as {p.phase}")
        assert not p.phase.is_open, (p.phase, p.reason, p.retry.last_error)
        assert p.phase is not Phase.FAILED, p.reason
        if p.phase is not Phase.PROMOTED:
            _check_not_lost(laws, p)


def _check_not_lost(laws: Laws, p: Promotion) -> None:
    """An approval that counts moves the alias, or something else is known to have happened."""
    request = p.request
    if request is None or request.external_id is None or request.external_id in laws.refused:
        return
    given = laws.approvals.get(request.external_id, [])
    counts = [a for a in given if a.is_asked and a.login in laws.allowed(p) and a.at <= request.expires_at]
    if not counts:
        return
    moved = [at for at, _ in laws.moves if request.opened_at is not None and at >= request.opened_at]
    assert p.phase not in {Phase.REJECTED, Phase.INELIGIBLE}, (p.reason, given)
    assert p.phase is not Phase.STALE or moved, (p.reason, given)
    assert p.phase is not Phase.CANCELLED or p.id in laws.cancelled, (p.reason, given)
    assert p.phase is not Phase.SUPERSEDED or laws.troubled, (p.reason, given)
    assert p.phase is not Phase.EXPIRED or laws.troubled or laws.has_held, (p.reason, given)
