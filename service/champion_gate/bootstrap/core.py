"""Builds the core: all that works on rows, with its adapters in place."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from champion_gate.bootstrap.vendors import approval_providers, databricks_and_registry
from champion_gate.domain.gates import Gate
from champion_gate.domain.managed import ManagedAliases
from champion_gate.domain.ports import ApprovalProvider, Chance, Clock, JobRuns, ModelRegistry, WakeUps
from champion_gate.domain.store import Store
from champion_gate.flow.alias_writer import AliasWriter
from champion_gate.flow.apply_approval import Spending
from champion_gate.flow.follow_ups import FollowUps
from champion_gate.flow.gate_rules import GateRules
from champion_gate.flow.identities import Identities
from champion_gate.flow.lease import Turn
from champion_gate.flow.open_request import Requesting
from champion_gate.flow.operator_aliases import AliasOrders
from champion_gate.flow.operator_promotions import Asking
from champion_gate.flow.promoter import Promoter
from champion_gate.flow.resolver import Resolver
from champion_gate.flow.subjects import Subjects
from champion_gate.flow.sweep import Sweep
from champion_gate.settings import Settings

_BUSY_SECONDS = 0.1


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Now, in UTC."""
        return datetime.now(UTC)


class SystemChance:
    """The machine's source of randomness."""

    _ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"

    def token(self) -> str:
        """16 characters, 82 bits."""
        return "".join(secrets.choice(self._ALPHABET) for _ in range(16))

    def fraction(self) -> float:
        """From 0 up to, not including, 1."""
        return secrets.randbelow(2**53) / 2**53


@dataclass(frozen=True)
class Core:
    """The core with its adapters in place: all that works on rows."""

    store: Store
    job_runs: JobRuns
    registry: ModelRegistry
    providers: Mapping[str, ApprovalProvider]
    resolver: Resolver
    promoter: Promoter
    follow_ups: FollowUps
    sweep: Sweep
    alias_orders: AliasOrders
    asking: Asking
    identities: Identities


@dataclass(frozen=True)
class _Parts:
    """What most of the core is made of."""

    gates: Mapping[str, Gate]
    rules: GateRules
    store: Store
    job_runs: JobRuns
    registry: ModelRegistry
    providers: Mapping[str, ApprovalProvider]
    alias_writer: AliasWriter
    managed: ManagedAliases
    identities: Identities
    wake_ups: WakeUps
    clock: Clock
    chance: Chance


def build_core(
    settings: Settings,
    *,
    store: Store,
    wake_ups: WakeUps,
    clock: Clock | None = None,
    chance: Chance | None = None,
    databricks: Mapping[str, str] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Core:
    """Put the core together. No call leaves the process.

    Args:
        settings: what the operator configured.
        store: an open store.
        wake_ups: tells workers that a row is due.
        clock: where the time comes from; the machine's by default.
        chance: where randomness comes from; the machine's by default.
        databricks: settings of the SDK that stand before its own environment variables.
        sleep: pauses between the tries of a call to GitHub or GitLab, between looks at an alias, and while one is busy.
    """
    clock = clock or SystemClock()
    identities = Identities(store, clock)
    job_runs, registry = databricks_and_registry(settings, databricks or {})
    gates = {gate.name: gate for gate in settings.gates}
    parts = _Parts(
        gates=gates,
        rules=GateRules(gates=gates, identities=identities, job_runs=job_runs, registry=registry),
        store=store,
        job_runs=job_runs,
        registry=registry,
        providers=approval_providers(settings, clock, sleep, identities),
        alias_writer=AliasWriter(store=store, registry=registry, clock=clock, sleep=sleep),
        managed=ManagedAliases(
            settings.gates, settings.further_aliases, registry=registry.name, folds_case=registry.folds_case
        ),
        identities=identities,
        wake_ups=wake_ups,
        clock=clock,
        chance=chance or SystemChance(),
    )
    asking = _asking(parts)
    return Core(
        store=store,
        job_runs=job_runs,
        registry=registry,
        providers=parts.providers,
        resolver=_resolver(parts),
        promoter=_promoter(parts, asking),
        follow_ups=_follow_ups(parts),
        sweep=_sweep(parts),
        alias_orders=_alias_orders(parts, sleep),
        asking=asking,
        identities=identities,
    )


def _resolver(parts: _Parts) -> Resolver:
    return Resolver(
        gates=parts.gates,
        rules=parts.rules,
        store=parts.store,
        job_runs=parts.job_runs,
        registry=parts.registry,
        wake_ups=parts.wake_ups,
        clock=parts.clock,
        chance=parts.chance,
    )


def _promoter(parts: _Parts, asking: Asking) -> Promoter:
    turn = Turn(store=parts.store, wake_ups=parts.wake_ups, clock=parts.clock, chance=parts.chance)
    spending = Spending(
        store=parts.store, registry=parts.registry, alias_writer=parts.alias_writer, clock=parts.clock
    )
    requesting = Requesting(
        gates=parts.gates,
        rules=parts.rules,
        store=parts.store,
        registry=parts.registry,
        providers=parts.providers,
        subjects=_subjects(parts),
        spending=spending,
        alias_writer=parts.alias_writer,
        identities=parts.identities,
        wake_ups=parts.wake_ups,
        clock=parts.clock,
        turn=turn,
    )
    return Promoter(
        gates=parts.gates,
        rules=parts.rules,
        store=parts.store,
        providers=parts.providers,
        asking=asking,
        requesting=requesting,
        spending=spending,
        wake_ups=parts.wake_ups,
        clock=parts.clock,
        turn=turn,
    )


def _follow_ups(parts: _Parts) -> FollowUps:
    return FollowUps(
        store=parts.store,
        registry=parts.registry,
        providers=parts.providers,
        clock=parts.clock,
        chance=parts.chance,
    )


def _sweep(parts: _Parts) -> Sweep:
    return Sweep(
        gates=parts.gates,
        store=parts.store,
        job_runs=parts.job_runs,
        providers=parts.providers,
        alias_writer=parts.alias_writer,
        managed=parts.managed,
        wake_ups=parts.wake_ups,
        clock=parts.clock,
    )


def _alias_orders(parts: _Parts, sleep: Callable[[float], None]) -> AliasOrders:
    return AliasOrders(
        store=parts.store,
        registry=parts.registry,
        alias_writer=parts.alias_writer,
        managed=parts.managed,
        wake_ups=parts.wake_ups,
        clock=parts.clock,
        pause=lambda: sleep(_BUSY_SECONDS),
    )


def _subjects(parts: _Parts) -> Subjects:
    return Subjects(
        gates=parts.gates,
        rules=parts.rules,
        job_runs=parts.job_runs,
        registry=parts.registry,
        clock=parts.clock,
    )


def _asking(parts: _Parts) -> Asking:
    return Asking(
        gates=parts.gates,
        rules=parts.rules,
        store=parts.store,
        subjects=_subjects(parts),
        registry=parts.registry,
        wake_ups=parts.wake_ups,
        clock=parts.clock,
        chance=parts.chance,
    )
