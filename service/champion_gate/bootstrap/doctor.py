"""Puts together what `champion-gate doctor` looks at: each vendor's checks, and ours."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from champion_gate import __version__
from champion_gate.adapters.databricks import checks as databricks
from champion_gate.adapters.mlflow import checks as mlflow
from champion_gate.bootstrap.core import SystemClock
from champion_gate.bootstrap.local import load_serving_settings, sqlite_file
from champion_gate.bootstrap.vendors import VENDORS, approval_providers, vendor_of
from champion_gate.domain.findings import Check, Checkup
from champion_gate.domain.gates import Account, Gate
from champion_gate.domain.ports import Person
from champion_gate.domain.rows import RememberedLogin
from champion_gate.domain.together import Together
from champion_gate.errors import ConfigurationError, GateError
from champion_gate.flow import approval_checks
from champion_gate.settings.loading import Settings

_CALL_SECONDS = 10.0  # less than a check may take, so that it says which call hangs

CHECKS: tuple[Check, ...] = (
    *databricks.CHECKS,
    *mlflow.CHECKS,
    *(check for vendor in VENDORS for check in vendor.checks),
    *approval_checks.CHECKS,
)
"""Every kind of check that there is, as service/docs/doctor.md lists them."""


@dataclass(frozen=True)
class Asked:
    """What a run of the doctor is asked for.

    Attributes:
        settings: of the service.
        gates: those that are looked at.
        together: threads for calls that do not need each other.
        write_probe: whether a write may be tried, of an alias that nobody else has.
    """

    settings: Settings
    gates: tuple[Gate, ...]
    together: Together
    write_probe: bool = False


def local_checkups(gate: str | None, *, write_probe: bool, together: Together) -> list[Checkup]:
    """The checks of this process's environment. No call leaves the process.

    Args:
        gate: the one gate that is looked at; all if None.
        write_probe: whether a write may be tried.
        together: the threads.

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


def checkups(asked: Asked) -> Iterator[Checkup]:
    """All checks, in the order in which they are told."""
    yield from _databricks(asked)
    yield from _registry(asked)
    yield from _providers(asked)


def _databricks(asked: Asked) -> Iterable[Checkup]:
    from champion_gate.adapters.databricks.connection import connect
    from champion_gate.adapters.http.deadline import Timeouts

    connection = connect(
        product_version=__version__,
        config_overrides=asked.settings.databricks,
        timeouts=Timeouts(total=_CALL_SECONDS),
    )
    return databricks.checkups(
        connection,
        asked.gates,
        on_unity_catalog=asked.settings.gates.on_unity_catalog,
        write_probe=asked.write_probe,
    )


def _providers(asked: Asked) -> Iterator[Checkup]:
    providers = approval_providers(asked.settings, SystemClock(), time.sleep, _AnyAccount(), asked.together)
    for name, host in asked.settings.hosts.items():
        theirs = [each for each in asked.gates if each.approval.provider == name]
        if theirs:
            public_url = asked.settings.environment.public_url
            yield from vendor_of(host.server.kind).checkups(providers[name], host, theirs, public_url)
    remembered = _Remembered(asked.settings.environment.database_url.get_secret_value())
    for gate in asked.gates:
        provider = providers[gate.approval.provider]
        yield from approval_checks.checkups(gate, provider, remembered, asked.together)


def _registry(asked: Asked) -> Iterable[Checkup]:
    """Unity Catalog's checks are Databricks'."""
    from champion_gate.adapters.mlflow.registry import MlflowRegistry

    if asked.settings.gates.on_unity_catalog:
        return ()
    return mlflow.checkups(
        MlflowRegistry(asked.settings.gates.registry, together=asked.together), asked.gates
    )


class _Remembered:
    """Which accounts logins were found to be before; none where the database does not tell, which is said elsewhere."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url

    def __call__(self, provider: str, login: str) -> RememberedLogin | None:
        from sqlalchemy.exc import SQLAlchemyError

        from champion_gate.store import open_store

        file = sqlite_file(self._url)
        if file is not None and not file.is_file():  # which opening would make
            return None
        try:
            with open_store(self._url) as store:
                return store.remembered_login(provider, login)
        except (SQLAlchemyError, GateError):
            return None


class _AnyAccount:
    """Accounts of whoever has the login now: nothing is remembered here, and no database is needed."""

    def account(self, provider: str, named: Account, find: Callable[[], Person]) -> Person:
        """See `Accounts`."""
        del provider, named
        return find()
