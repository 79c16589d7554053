"""Builds the service out of Settings: the one place that picks adapters and reads the environment."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from champion_gate.bootstrap.vendors import (
    UNITY_CATALOG,
    approval_providers,
    caller_verifier,
    databricks_and_registry,
    provider_hooks,
    token_verifier,
)
from champion_gate.core.alias_orders import AliasOrders
from champion_gate.core.alias_writer import AliasWriter
from champion_gate.core.asking import Asking
from champion_gate.core.ledger_head import log_ledger_head
from champion_gate.core.managed import ManagedAliases
from champion_gate.core.ports import ApprovalProvider, Chance, Clock, JobRuns, ModelRegistry, WakeUps
from champion_gate.core.posted_decision import PostedDecision
from champion_gate.core.promoter import Promoter
from champion_gate.core.promotion import FollowUpKind
from champion_gate.core.requesting import Requesting
from champion_gate.core.resolver import Resolver
from champion_gate.core.spending import Spending
from champion_gate.core.store import Store
from champion_gate.core.sweep import Sweep
from champion_gate.core.turn import Turn
from champion_gate.settings import (
    Settings,
    load_settings,
)

if TYPE_CHECKING:
    from flask import Flask

    from champion_gate.serving import Background
    from champion_gate.web.auth import Access
    from champion_gate.web.health import Check

_DATABRICKS_LANE = "databricks"
_REGISTRY_LANE = "registry"
_DUE_SECONDS = 2.0
_OUTCOME_SECONDS = 0.1
_BUSY_SECONDS = 0.1
_HEAD_SECONDS = 86400.0


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
    sweep: Sweep
    alias_orders: AliasOrders
    asking: Asking


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
        sleep: pauses between the tries of a call to GitHub or GitLab, and while an alias is busy.
    """
    clock, chance = clock or SystemClock(), chance or SystemChance()
    gates = {gate.name: gate for gate in settings.gates}
    job_runs, registry = databricks_and_registry(settings, databricks or {})
    providers = approval_providers(settings, clock, sleep)
    alias_writer = AliasWriter(store=store, registry=registry, clock=clock)
    spending = Spending(store=store, registry=registry, alias_writer=alias_writer, clock=clock)
    managed = ManagedAliases(
        settings.gates, settings.further_aliases, registry=registry.name, folds_case=registry.folds_case
    )
    turn = Turn(store=store, wake_ups=wake_ups, clock=clock, chance=chance)
    requesting = Requesting(
        gates=gates,
        store=store,
        registry=registry,
        providers=providers,
        spending=spending,
        wake_ups=wake_ups,
        clock=clock,
        turn=turn,
    )
    promoter = Promoter(
        gates=gates,
        store=store,
        registry=registry,
        providers=providers,
        requesting=requesting,
        spending=spending,
        wake_ups=wake_ups,
        clock=clock,
        chance=chance,
        turn=turn,
    )
    resolver = Resolver(
        gates=gates,
        store=store,
        job_runs=job_runs,
        registry=registry,
        wake_ups=wake_ups,
        clock=clock,
        chance=chance,
    )
    sweep = Sweep(
        gates=gates,
        store=store,
        job_runs=job_runs,
        providers=providers,
        alias_writer=alias_writer,
        managed=managed,
        wake_ups=wake_ups,
        clock=clock,
    )
    alias_orders = AliasOrders(
        store=store,
        registry=registry,
        alias_writer=alias_writer,
        managed=managed,
        wake_ups=wake_ups,
        clock=clock,
        pause=lambda: sleep(_BUSY_SECONDS),
    )
    asking = Asking(
        gates=gates,
        store=store,
        job_runs=job_runs,
        registry=registry,
        wake_ups=wake_ups,
        clock=clock,
        chance=chance,
    )
    return Core(store, job_runs, registry, providers, resolver, promoter, sweep, alias_orders, asking)


@dataclass(frozen=True)
class Service:
    """Everything that one process serves with."""

    app: Flask
    worker: Background
    core: Core


def build_service(
    environ: Mapping[str, str],
    *,
    clock: Clock | None = None,
    databricks: Mapping[str, str] | None = None,
) -> Service:
    """Build the service; after the fork, for connections and threads do not survive one.

    Args:
        environ: the environment's variables.
        clock: where the time comes from; the machine's by default.
        databricks: settings of the SDK that stand before its own environment variables.

    Raises:
        ConfigurationError: naming every problem.
    """
    from champion_gate.serving import Background
    from champion_gate.store.sql_store import open_store
    from champion_gate.web.app import Operations, create_app
    from champion_gate.worker import Every, HueyWakeUps, Jobs, Worker, create_queue

    settings = load_settings(environ)
    store = open_store(settings.database_url)
    wake_ups = HueyWakeUps(create_queue(settings.database_url))
    clock = clock or SystemClock()
    core = build_core(settings, store=store, wake_ups=wake_ups, clock=clock, databricks=databricks)
    worker = Worker(
        wake_ups,
        Jobs(
            notification=core.resolver.resolve,
            promotion=core.promoter.advance,
            follow_up=core.promoter.follow_up,
            look=core.sweep.look,
        ),
        lane_of=Lane(core, {gate.name: gate.approval.provider for gate in settings.gates}),
        lane_caps={_DATABRICKS_LANE: 3},
        timers=[
            Every("sweep", settings.sweep_seconds, lambda: _send_looks(core, wake_ups)),
            Every("due rows", _DUE_SECONDS, core.sweep.wake_due),
            Every("ledger head", _HEAD_SECONDS, lambda: log_ledger_head(store)),
        ],
    )
    posted_decision = PostedDecision(
        store=store,
        verifier=token_verifier(settings, clock),
        wake_ups=wake_ups,
        clock=clock,
        pause=lambda: time.sleep(_OUTCOME_SECONDS),
    )
    app = create_app(
        store=store,
        wake_ups=wake_ups,
        clock=clock,
        access=_access(settings, store, clock),
        checks=_checks(core),
        posted_decision=posted_decision,
        operations=Operations(
            store=store,
            clock=clock,
            registry=core.registry,
            promoter=core.promoter,
            asking=core.asking,
            alias_orders=core.alias_orders,
        ),
        proxy_hops=settings.proxy_hops,
    )
    background = Background(worker, store, settings.database_url, lambda: _warm_up(settings))
    return Service(app, background, core)


class Lane:
    """Which vendor a job is about to keep busy, so that one that hangs stops nothing else."""

    def __init__(self, core: Core, providers: Mapping[str, str]) -> None:
        self._store = core.store
        self._providers = providers

    def __call__(self, kind: str, row_id: str) -> str:
        """The lane of a row, or of one of the sweep's looks."""
        if kind == "notification":
            return _DATABRICKS_LANE
        if kind == "promotion":
            return self._of_promotion(row_id)
        if kind == "follow_up":
            return self._of_follow_up(row_id)
        look, _, subject = row_id.partition(":")
        return {"runs": _DATABRICKS_LANE, "decisions": subject}.get(look, _REGISTRY_LANE)

    def _of_promotion(self, promotion_id: str) -> str:
        promotion = self._store.get_promotion(promotion_id)
        if promotion.request is not None:
            return promotion.request.provider
        return self._providers.get(promotion.gate, _REGISTRY_LANE)

    def _of_follow_up(self, follow_up_id: str) -> str:
        follow_up = self._store.get_follow_up(follow_up_id)
        if follow_up.kind is FollowUpKind.CANCEL_REQUEST:
            return self._of_promotion(follow_up.promotion_id)
        return _REGISTRY_LANE


def _warm_up(settings: Settings) -> None:
    """Import the vendors' clients, which takes seconds, before the first notification needs them."""
    from champion_gate.adapters.databricks_api import import_sdk
    from champion_gate.adapters.mlflow_client import import_mlflow

    import_sdk()
    if settings.registry != UNITY_CATALOG:
        import_mlflow(with_database=settings.registry.startswith("sqlite:"))


def _send_looks(core: Core, wake_ups: Any) -> None:
    for name in core.sweep.run():
        wake_ups.look(name)


def _access(settings: Settings, store: Store, clock: Clock) -> Access:
    from champion_gate.core.api_tokens import ApiTokens, api_caller
    from champion_gate.web.auth import Access

    return Access(
        databricks_pairs=tuple(
            (pair.username, pair.password.get_secret_value()) for pair in settings.hook_credentials
        ),
        provider_hooks=provider_hooks(settings, clock),
        authenticate=api_caller(ApiTokens(store, clock, SystemChance()), caller_verifier(settings, clock)),
    )


def _checks(core: Core) -> list[Check]:
    from champion_gate.web.health import Check

    checks = [
        Check("database", core.store.check, "Is the disk full, or the database away?"),
        Check("registry", core.registry.check, "Check the registry's address and the service's credentials."),
    ]
    for name, provider in core.providers.items():
        checks.append(Check(name, provider.check, "Check the address and the App or token of this host."))
    return checks
