"""Builds the service out of Settings: the one place that picks adapters and reads the environment."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from champion_gate import __version__
from champion_gate.core.alias_writer import AliasWriter
from champion_gate.core.ports import (
    ApprovalProvider,
    Chance,
    Clock,
    JobRuns,
    ModelRegistry,
    Store,
    WakeUps,
)
from champion_gate.core.promoter import Promoter
from champion_gate.core.promotion import FollowUpKind
from champion_gate.core.requesting import Requesting
from champion_gate.core.resolver import Resolver
from champion_gate.core.sweep import Sweep
from champion_gate.core.turn import Turn
from champion_gate.settings import AppCredentials, GitHubHost, Settings, TokenCredentials, load_settings

if TYPE_CHECKING:
    from flask import Flask

    from champion_gate.serving import Background
    from champion_gate.store.sql_store import SqlStore
    from champion_gate.web.auth import Access
    from champion_gate.web.health import Check

UNITY_CATALOG = "databricks-uc"

_DATABRICKS_LANE = "databricks"
_REGISTRY_LANE = "registry"
_DUE_SECONDS = 2.0


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
        sleep: pauses between the tries of a call to GitHub.
    """
    clock, chance = clock or SystemClock(), chance or SystemChance()
    gates = {gate.name: gate for gate in settings.gates}
    job_runs, registry = _databricks_and_registry(settings, databricks or {})
    providers: dict[str, ApprovalProvider] = {
        name: _github(name, host, clock, sleep) for name, host in settings.github_hosts.items()
    }
    alias_writer = AliasWriter(store=store, registry=registry, clock=clock)
    turn = Turn(store=store, wake_ups=wake_ups, clock=clock, chance=chance)
    requesting = Requesting(
        gates=gates,
        store=store,
        registry=registry,
        providers=providers,
        alias_writer=alias_writer,
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
        alias_writer=alias_writer,
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
        registry=registry,
        providers=providers,
        alias_writer=alias_writer,
        wake_ups=wake_ups,
        clock=clock,
    )
    return Core(store, job_runs, registry, providers, resolver, promoter, sweep)


@dataclass(frozen=True)
class Service:
    """Everything that one process serves with."""

    app: Flask
    worker: Background
    core: Core


def build_service(environ: Mapping[str, str]) -> Service:
    """Build the service; after the fork, for connections and threads do not survive one.

    Raises:
        ConfigurationError: naming every problem.
    """
    from champion_gate.serving import Background
    from champion_gate.store.sql_store import open_store
    from champion_gate.web.app import create_app
    from champion_gate.worker import Every, HueyWakeUps, Jobs, Worker, create_queue

    settings = load_settings(environ)
    store = open_store(settings.database_url)
    wake_ups = HueyWakeUps(create_queue(settings.database_url))
    core = build_core(settings, store=store, wake_ups=wake_ups)
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
        ],
    )
    app = create_app(
        store=store, wake_ups=wake_ups, clock=SystemClock(), access=_access(settings), checks=_checks(core)
    )
    return Service(app, Background(worker, store, settings.database_url), core)


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


def _send_looks(core: Core, wake_ups: Any) -> None:
    for name in core.sweep.run():
        wake_ups.look(name)


def _databricks_and_registry(
    settings: Settings, databricks: Mapping[str, str]
) -> tuple[JobRuns, ModelRegistry]:
    from champion_gate.adapters.databricks import DatabricksJobRuns, connect

    connection = connect(product_version=__version__, config_overrides=databricks)
    return DatabricksJobRuns(connection), _registry(settings, connection)


def _registry(settings: Settings, connection: Any) -> ModelRegistry:
    if settings.registry == UNITY_CATALOG:
        from champion_gate.adapters.unity_catalog import UnityCatalog

        return UnityCatalog(connection)
    from champion_gate.adapters.mlflow_registry import MlflowRegistry

    return MlflowRegistry(settings.registry)


def _github(name: str, host: GitHubHost, clock: Clock, sleep: Callable[[float], None]) -> ApprovalProvider:
    from champion_gate.adapters.github import GitHub
    from champion_gate.adapters.github_auth import GitHubApp, GitHubToken

    def credentials(given: AppCredentials | TokenCredentials) -> GitHubApp | GitHubToken:
        if isinstance(given, AppCredentials):
            return GitHubApp(given.client_id, given.private_key.get_secret_value())
        return GitHubToken(given.token.get_secret_value())

    return GitHub(
        url=host.url,
        credentials=credentials(host.credentials),
        previous=credentials(host.previous_credentials) if host.previous_credentials else None,
        clock=clock,
        api_version=host.api_version,
        ca_file=host.ca_file,
        sleep=sleep,
        name=name,
    )


def _access(settings: Settings) -> Access:
    from champion_gate.web.auth import Access

    return Access(
        databricks_pairs=tuple(
            (pair.username, pair.password.get_secret_value()) for pair in settings.hook_credentials
        ),
        github_secrets=tuple(secret.get_secret_value() for secret in settings.github_webhook_secrets),
        api_tokens=tuple(token.get_secret_value() for token in settings.api_tokens),
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


# --- for the command line --------------------------------------------------------------------------------


def load_local_settings() -> Settings:
    """Settings out of this process's environment."""
    return load_settings(os.environ)


def _local_database_url() -> str:
    from champion_gate.settings import load_database_url

    return load_database_url(os.environ)


@contextmanager
def open_local_store() -> Iterator[SqlStore]:
    """The store of this process's environment; needs no other setting than its address."""
    from champion_gate.store.sql_store import open_store

    with open_store(_local_database_url()) as store:
        store.check()
        yield store


@contextmanager
def open_local_promoter() -> Iterator[Promoter]:
    """A promoter on the local store, for orders that a running service carries out."""
    from champion_gate.worker import HueyWakeUps, create_queue

    settings = load_local_settings()
    with open_local_store() as store:
        wake_ups = HueyWakeUps(create_queue(settings.database_url))
        yield build_core(settings, store=store, wake_ups=wake_ups).promoter


def open_local_registry() -> ModelRegistry:
    """The registry of this process's environment."""
    return _databricks_and_registry(load_local_settings(), {})[1]


def migrate_local() -> str:
    """Create or upgrade the tables of this process's environment, and say where, without a password."""
    from sqlalchemy import make_url

    url = _local_database_url()
    migrate_database(url)
    return make_url(url).render_as_string(hide_password=True)


def migrate_database(database_url: str) -> None:
    """Create or upgrade the tables of the rows and of the queue."""
    from champion_gate.store.schema import migrate
    from champion_gate.wake_ups import prepare_queue

    migrate(database_url)
    prepare_queue(database_url)


def check_local_config() -> str:
    """What the configuration does, in words.

    Raises:
        ConfigurationError: naming every problem.
    """
    from champion_gate.settings import explain, load_gates

    settings = load_local_settings()
    return explain(load_gates(settings.config))


def check_job_names(settings: Settings) -> None:
    """Make sure that each job name in gates.yaml means one job. Asks Databricks only if there are names.

    Raises:
        ConfigurationError: several jobs, or none, bear a name.
        VendorError: Databricks does not answer; the names are then checked whenever they are met.
    """
    from champion_gate.errors import ConfigurationError

    named = [(gate.name, name) for gate in settings.gates for name in sorted(gate.job_names)]
    if not named:
        return
    job_runs, _ = _databricks_and_registry(settings, {})
    problems = []
    for gate, name in named:
        ids = job_runs.jobs_named(name)
        if len(ids) != 1:
            found = (
                f"{len(ids)} jobs bear it ({', '.join(ids)})" if ids else "no job that we may see bears it"
            )
            problems.append(
                f"jobs of gate {gate}: {name!r}: {found}; expected exactly one. Write the job's id."
            )
    if problems:
        raise ConfigurationError(problems)
