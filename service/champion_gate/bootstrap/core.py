"""Builds the core: all that works on rows, with its adapters in place."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from champion_gate.adapters.http.deadline import Timeouts
from champion_gate.bootstrap.vendors import approval_providers, databricks_and_registry, notice_senders
from champion_gate.domain.aliases import ManagedAliases
from champion_gate.domain.notice_messages import Messages
from champion_gate.domain.ports.runtime import Chance, Clock, WakeUps
from champion_gate.domain.together import Together
from champion_gate.flow.context import Context, Waits
from champion_gate.flow.identities import Identities
from champion_gate.flow.operator_aliases import AliasOrders
from champion_gate.flow.operator_promotions import PromotionOrders
from champion_gate.flow.promoter import Promoter
from champion_gate.flow.resolver import Resolver
from champion_gate.flow.steps import Steps
from champion_gate.flow.sweep import Sweep
from champion_gate.meters import Meters
from champion_gate.settings.loading import Settings
from champion_gate.store import Store


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
    """All that works on rows, with its adapters in place: the context, and what is made of it."""

    context: Context
    resolver: Resolver
    promoter: Promoter
    steps: Steps
    sweep: Sweep
    alias_orders: AliasOrders
    promotion_orders: PromotionOrders


def build_core(
    settings: Settings,
    *,
    store: Store,
    wake_ups: WakeUps,
    clock: Clock | None = None,
    chance: Chance | None = None,
    databricks: Mapping[str, str] | None = None,
    sleep: Callable[[float], None] = time.sleep,
    waits: Waits | None = None,
    timeouts: Timeouts | None = None,
    together: Together | None = None,
) -> Core:
    """Put the core together. No call leaves the process.

    Args:
        settings: what the operator configured.
        store: an open store.
        wake_ups: tells workers that a row is due.
        clock: where the time comes from; the machine's by default.
        chance: where randomness comes from; the machine's by default.
        databricks: settings of the SDK that stand before its own environment variables.
        sleep: pauses between the tries of a call to a vendor, between looks at an alias, and while one is busy.
        waits: how long is waited for what; as in production by default.
        timeouts: of each call to a vendor; as in production by default.
        together: makes calls that do not need each other; in threads of its own by default.
    """
    clock = clock or SystemClock()
    together = together or Together()
    meters = Meters()
    identities = Identities(store, clock, together)
    workspace, registry = databricks_and_registry(
        settings, databricks or {}, sleep, together, timed=meters.call, timeouts=timeouts
    )
    context = Context(
        gates={gate.name: gate for gate in settings.gates.gates},
        store=store,
        registry=registry,
        job_runs=workspace.job_runs,
        jobs=workspace.jobs,
        serving=workspace.serving,
        providers=approval_providers(
            settings, clock, sleep, identities, together, timed=meters.call, timeouts=timeouts
        ),
        managed=ManagedAliases(
            settings.gates.gates,
            settings.gates.aliases,
            registry=registry.name,
            folds_case=registry.folds_case,
        ),
        identities=identities,
        wake_ups=wake_ups,
        clock=clock,
        chance=chance or SystemChance(),
        sleep=sleep,
        together=together,
        meters=meters,
        audit=workspace.audit,
        waits=waits or Waits(),
        notices=settings.gates.notices,
        notice_senders=notice_senders(settings, clock),
        messages=Messages(settings.environment.public_url),
        gates_sha256=settings.gates_sha256,
    )
    return Core(
        context=context,
        resolver=Resolver(context),
        promoter=Promoter(context),
        steps=Steps(context),
        sweep=Sweep(context),
        alias_orders=AliasOrders(context),
        promotion_orders=PromotionOrders(context),
    )
