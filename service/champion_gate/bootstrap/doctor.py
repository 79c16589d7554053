"""Puts together what `champion-gate doctor` looks at: each vendor's checks, and ours."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

from champion_gate import __version__
from champion_gate.adapters import public_url as public_address
from champion_gate.adapters.databricks import checks as databricks
from champion_gate.adapters.mlflow import checks as mlflow
from champion_gate.adapters.notices import checks as notices
from champion_gate.adapters.oidc import checks as sign_in
from champion_gate.bootstrap.core import SystemChance, SystemClock
from champion_gate.bootstrap.databases import sqlite_file, usable
from champion_gate.bootstrap.starting import load_serving_settings
from champion_gate.bootstrap.vendors import (
    VENDORS,
    approval_providers,
    issuer_sign_in,
    registry_of,
    vendor_of,
)
from champion_gate.domain import ping
from champion_gate.domain.aliases import ManagedAliases
from champion_gate.domain.findings import Check, Checkup
from champion_gate.domain.gates import Account, Gate
from champion_gate.domain.ports.approval import Person
from champion_gate.domain.ports.registry import ModelRegistry
from champion_gate.domain.together import Together
from champion_gate.errors import ConfigurationError, GateError
from champion_gate.flow import approval_checks, own_checks, write_probe
from champion_gate.flow.identities import check_same
from champion_gate.settings import secret_ages
from champion_gate.settings.loading import Settings

if TYPE_CHECKING:
    from champion_gate.adapters.databricks.connection import DatabricksConnection
    from champion_gate.adapters.mlflow.registry import MlflowRegistry
    from champion_gate.store import Store

_CONNECT, _READ, _TOTAL = 2.0, 5.0, 10.0
"""Seconds. A write begins only where there is time to connect and to read, and a check may take longer than a call."""

CHECKS: tuple[Check, ...] = (
    *databricks.CHECKS,
    *mlflow.CHECKS,
    *write_probe.CHECKS,
    *(check for vendor in VENDORS for check in vendor.checks),
    *approval_checks.CHECKS,
    secret_ages.SECRETS,
    *public_address.CHECKS,
    *sign_in.CHECKS,
    *notices.CHECKS,
    *own_checks.CHECKS,
)
"""Every kind of check that there is, as service/docs/doctor.md lists them."""


@dataclass(frozen=True)
class Asked:
    """What a run of the doctor is asked for.

    Attributes:
        write_probe: whether a write may be tried, of an alias that nobody else has.
        store: of a running service; None opens the database where it is there.
    """

    settings: Settings
    gates: tuple[Gate, ...]
    together: Together
    write_probe: bool = False
    store: Store | None = None


def local_checkups(gate: str | None, *, write_probe: bool, together: Together) -> list[Checkup]:
    """The checks of this process's environment, for one gate or all. No call leaves the process.

    Raises:
        ConfigurationError: naming every problem; or there is no such gate.
    """
    settings = load_serving_settings()
    gates = tuple(each for each in settings.gates.gates if gate in {None, each.name})
    if not gates:
        names = ", ".join(each.name for each in settings.gates.gates)
        raise ConfigurationError([f"--gate: found {gate!r}; expected one of {names}"])
    return list(checkups(Asked(settings, gates, together, write_probe)))


def identity_checkups(together: Together) -> list[Checkup]:
    """Those alone that tell whose accounts the logins in gates.yaml are."""
    every = local_checkups(None, write_probe=False, together=together)
    return [each for each in every if each.check is approval_checks.IDENTITIES]


def service_checkups(settings: Settings, store: Store) -> list[Checkup]:
    """The quick checks, for a running service: with connections of their own, so that what hangs keeps no work waiting."""
    every = checkups(Asked(settings, settings.gates.gates, Together(), store=store))
    return [each for each in every if each.check.cheap]


def checkups(asked: Asked) -> Iterator[Checkup]:
    """All checks, in the order in which they are told."""
    from champion_gate.adapters.mlflow.client import import_mlflow

    connection = _connection(asked.settings) if asked.settings.uses_databricks else None
    store = asked.store or _store_if_there(asked.settings.database_url)
    registry = registry_of(asked.settings, connection, asked.together)
    on_unity_catalog = asked.settings.gates.on_unity_catalog
    if connection is not None:
        yield from databricks.checkups(
            connection,
            asked.gates,
            asked.settings.environment.public_url,
            on_unity_catalog=on_unity_catalog,
            write_probe=asked.write_probe,
            warehouse=asked.settings.gates.databricks.warehouse,
        )
    if not on_unity_catalog:
        import_mlflow(with_database=registry.name.startswith("sqlite:"))
        hook = mlflow.HookFacts(
            asked.settings.environment.public_url,
            bool(asked.settings.webhook_secrets),
            None if store is None else partial(store.webhooks_of, "mlflow"),
        )
        yield from mlflow.checkups(cast("MlflowRegistry", registry), asked.gates, hook)
    yield from _writes(asked, registry, store)
    yield from _providers(asked, store)
    yield from _ourselves(asked.settings, store)


def _connection(settings: Settings) -> DatabricksConnection:
    from champion_gate.adapters.databricks.connection import connect, import_sdk
    from champion_gate.adapters.http.deadline import Timeouts

    import_sdk()  # whose seconds are none of a call's
    return connect(
        product_version=__version__,
        config_overrides=settings.databricks,
        timeouts=Timeouts(_CONNECT, _READ, _TOTAL),
    )


def _writes(asked: Asked, registry: ModelRegistry, store: Store | None) -> Iterator[Checkup]:
    """What the registry lets us write, for each alias that a gate moves."""
    gates = asked.settings.gates
    managed = ManagedAliases(
        gates.gates, gates.aliases, registry=registry.name, folds_case=registry.folds_case
    )
    named = [name for gate in gates.gates for name in (gate.alias, gate.challenger) if name]
    named += [each.alias for each in gates.aliases]
    for gate in asked.gates:
        key = managed.key(gate.destination, gate.alias)
        if asked.write_probe:
            yield write_probe.WriteProbe(registry, key, store, named).checkup(gate.name)
        elif store is not None:
            yield Checkup(write_probe.REFUSED, partial(write_probe.refusal, store, key, gate), gate.name)


def _store_if_there(database_url: str) -> Store | None:
    """The service's database; None where it is not there, or cannot be used: what says so is another check."""
    from sqlalchemy.exc import SQLAlchemyError

    from champion_gate.store.store import command_line_token, open_store

    file = sqlite_file(database_url)
    if file is not None and not file.is_file():  # which opening would make
        return None
    try:
        with ExitStack() as unless_usable:
            store = unless_usable.enter_context(open_store(database_url, token=command_line_token))
            store.check()
            unless_usable.pop_all()
    except (SQLAlchemyError, GateError):
        return None
    return store


def _providers(asked: Asked, store: Store | None) -> Iterator[Checkup]:
    remembered = store.remembered_login if store is not None else lambda *_: None
    accounts = _Accounts(remembered)
    providers = approval_providers(asked.settings, SystemClock(), time.sleep, accounts, asked.together)
    seen: set[tuple[str, str, str]] = set()  # several kinds of places share a server's credentials
    for name, host in asked.settings.hosts.items():
        theirs = [each for each in asked.gates if each.approval.provider == name]
        public_url = asked.settings.environment.public_url
        for one in vendor_of(name).checkups(providers[name], host, theirs, public_url) if theirs else ():
            key = (one.check.key, one.gate, host.server.url)
            if key not in seen:
                seen.add(key)
                yield one
    for gate in asked.gates:
        provider = providers[gate.approval.provider]
        yield from approval_checks.checkups(gate, provider, remembered, asked.together)


def _ourselves(settings: Settings, store: Store | None) -> Iterator[Checkup]:
    """What concerns all gates, whichever are asked for."""
    clock, gates, environment = SystemClock(), settings.gates, settings.environment
    yield Checkup(secret_ages.SECRETS, lambda: secret_ages.secret_ages(environment, clock.now()))
    yield from (notices.checkup(each.notice, each.url) for each in settings.receivers)
    hosts = {host.server.url: host.server.ca_file for host in settings.hosts.values()}
    others = (settings.databricks.get("host", ""), gates.registry)
    hosts |= {each: None for each in others if each.startswith("http")}
    pinged, token = ping.of_secrets(settings.hook_pairs, settings.webhook_secrets), SystemChance().token
    yield from public_address.checkups(environment.public_url, pinged, token, clock, hosts)
    if gates.dashboard:
        oidc = gates.api.oidc
        issuer = None if oidc is None else oidc.issuer
        yield from sign_in.checkups(environment.public_url, issuer, issuer_sign_in(settings, clock))
    yield from own_checks.checkups(
        own_checks.Installation(
            open=lambda: _opened(settings.database_url, store),
            file=sqlite_file(settings.database_url),
            clock=clock,
            sweep_seconds=environment.sweep_seconds,
            jobs=None
            if any(gate.job_names for gate in gates.gates)
            else {each for gate in gates.gates for each in gate.job_ids},
        )
    )


@contextmanager
def _opened(database_url: str, store: Store | None) -> Iterator[Store]:
    """The store that is open, or one that says why it cannot be used."""
    from champion_gate.store import open_store

    with usable(database_url):
        if store is not None:
            yield store
            return
        with open_store(database_url) as opened:
            yield opened


class _Accounts:
    """Whose logins are, as `Identities` has it, but nothing is written."""

    def __init__(self, remembered: approval_checks.Remembered) -> None:
        self._remembered = remembered

    def account(self, provider: str, named: Account, find: Callable[[], Person]) -> Person:
        """See `Accounts`."""
        found = find()
        check_same(named, found, self._remembered(provider, named.login))
        return found
