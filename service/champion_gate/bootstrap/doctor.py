"""Puts together what `champion-gate doctor` looks at: each vendor's checks, and ours."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from champion_gate import __version__
from champion_gate.adapters.databricks import checks as databricks
from champion_gate.bootstrap.core import SystemClock
from champion_gate.bootstrap.local import load_serving_settings
from champion_gate.bootstrap.vendors import VENDORS, approval_providers, vendor_of
from champion_gate.domain.findings import Check, Checkup
from champion_gate.domain.gates import Account, Gate
from champion_gate.domain.ports import Person
from champion_gate.domain.together import Together
from champion_gate.errors import ConfigurationError
from champion_gate.settings.loading import Settings

_CALL_SECONDS = 10.0  # less than a check may take, so that it says which call hangs

CHECKS: tuple[Check, ...] = (*databricks.CHECKS, *(check for vendor in VENDORS for check in vendor.checks))
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


def checkups(asked: Asked) -> Iterator[Checkup]:
    """All checks, in the order in which they are told."""
    yield from _databricks(asked)
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
            yield from vendor_of(host.server.kind).checkups(providers[name], host, theirs)


class _AnyAccount:
    """Accounts of whoever has the login now: nothing is remembered here, and no database is needed."""

    def account(self, provider: str, named: Account, find: Callable[[], Person]) -> Person:
        """See `Accounts`."""
        del provider, named
        return find()
