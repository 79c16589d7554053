"""The environment, a directory of secrets and gates.yaml -> one frozen Settings, or every problem at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from champion_gate.domain.canonical import canonical, sha256_of
from champion_gate.domain.ports.approval import Vendor
from champion_gate.domain.vendors import PREFIX, Host
from champion_gate.errors import ConfigurationError
from champion_gate.settings.credentials import (
    BasicCredentials,
    hook_credentials,
    hook_problems,
    webhook_problems,
    webhook_secrets,
)
from champion_gate.settings.databricks import databricks_settings
from champion_gate.settings.environment import Environment, libraries_problems, read_environment
from champion_gate.settings.gates import Gates, gates_form
from champion_gate.settings.gates_yaml import read_yaml
from champion_gate.settings.notices import Receiver, receivers
from champion_gate.settings.problems import problem, shown


@dataclass(frozen=True)
class Settings:
    """All that the service is told from outside; secrets never show in its repr.

    Attributes:
        databricks: what the SDK is given in place of its own variables: `host`, `workspace_id`, each where known.
        hosts: key of the ApprovalProvider (`github`, `github:<host[:port]>`, …) -> where and with what.
        hook_credentials: the pairs that `POST /hooks/databricks` takes, the current one first.
        receivers: the notices of gates.yaml with their secrets.
        gates_sha256: tells whether two processes read the same gates.yaml.
    """

    environment: Environment
    gates: Gates
    databricks: Mapping[str, str]
    hosts: Mapping[str, Host]
    hook_credentials: tuple[BasicCredentials, ...]
    receivers: tuple[Receiver, ...] = ()
    gates_sha256: str = ""

    @property
    def database_url(self) -> str:
        """SQLAlchemy's; may hold a password."""
        return self.environment.database_url.get_secret_value()

    @property
    def uses_databricks(self) -> bool:
        """Whether there is a workspace to call."""
        return self.gates.needs_databricks

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        """What the registry's webhooks may be signed with, the current secret first."""
        return webhook_secrets(self.environment)

    @property
    def hook_pairs(self) -> tuple[tuple[str, str], ...]:
        """User names and passwords of `hook_credentials`."""
        return tuple((each.username, each.password.get_secret_value()) for each in self.hook_credentials)


@dataclass(frozen=True)
class Reading:
    """What a look into gates.yaml brought.

    Attributes:
        gates: None if there is a problem.
        used: the vendors that gates name, as far as the file can be read.
        sha256: of what is written there, whatever its layout; another release's defaults do not change it.
    """

    gates: Gates | None
    used: frozenset[str]
    problems: list[str]
    sha256: str = ""


def load_gates(path: Path, vendors: tuple[Vendor, ...]) -> Gates:
    """Read and check gates.yaml.

    Raises:
        ConfigurationError: naming every problem: the key's path, what was found, what is expected.
    """
    reading = read_gates(path, vendors)
    if reading.gates is None:
        raise ConfigurationError(reading.problems)
    return reading.gates


def read_gates(path: Path, vendors: tuple[Vendor, ...]) -> Reading:
    """Read and check gates.yaml; whatever is wrong is in the answer, and so is what else can be told.

    Rules between several parts are told once those parts are right by themselves.
    """
    try:
        raw, problems = read_yaml(path)
    except ConfigurationError as error:
        return Reading(None, frozenset(), error.problems)
    if not isinstance(raw, dict):
        return Reading(
            None, frozenset(), [f"{path}: found {shown(raw)}; expected the keys registry and gates"]
        )
    used = frozenset(_named(raw.get("gates")))
    form = gates_form(vendors)
    gates = None
    try:
        gates = form.model_validate(raw).settled()
    except ValidationError as error:
        problems += [problem(form, detail) for detail in error.errors(include_url=False)]
    if problems or gates is None:
        return Reading(None, used, problems)
    return Reading(gates, used, problems, sha256_of(canonical(raw)))


def _named(raw_gates: object) -> Iterable[str]:
    """The keys below `approval`, in a file that may be wrong elsewhere."""
    for gate in raw_gates if isinstance(raw_gates, list) else []:
        approval = gate.get("approval") if isinstance(gate, dict) else None
        yield from approval if isinstance(approval, dict) else ()


def gates_json_schema(vendors: tuple[Vendor, ...]) -> dict[str, Any]:
    """JSON Schema of gates.yaml, for editors; rules that need two keys at once are left to `load_gates`."""
    schema = gates_form(vendors).model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def load_settings(environ: Mapping[str, str], vendors: tuple[Vendor, ...]) -> Settings:
    """Read and check everything.

    Args:
        environ: the environment's variables; those with our prefix are read, and the workspace's address and id.
        vendors: the CI/CD systems that there are.

    Raises:
        ConfigurationError: naming every problem; secrets are never shown.
    """
    environment, problems = read_environment(environ, vendors)
    reading = read_gates(environment.config, vendors)
    gates = reading.gates
    uses_databricks = gates is None or gates.needs_databricks
    problems += hook_problems(environment, needed=uses_databricks)
    problems += webhook_problems(environment)
    for kind, secrets in environment.vendors.items():
        named = (vendor.kind for vendor in vendors if vendor.server.kind == kind)
        problems += secrets.problems(used=not reading.used.isdisjoint(named))
    problems += reading.problems
    databricks, databricks_problems = databricks_settings(environ) if uses_databricks else ({}, [])
    problems += databricks_problems
    problems += libraries_problems(environ)
    hosts: dict[str, Host] = {}
    servers = {} if gates is None else gates.servers
    for kind, secrets in environment.vendors.items():
        places = [gate.approval.place for gate in gates.gates] if gates is not None else []
        theirs = {key: server for key, server in servers.items() if server.kind == kind}
        hosts |= secrets.hosts(theirs, places, environment.public_url, problems)
    told = () if gates is None else receivers(gates.notices, environment.notices, problems)
    for provider, server in servers.items():
        problems += _file_problems(provider, server.ca_file)
    if gates is not None and gates.api.oidc is not None:
        problems += _file_problems("api.oidc", gates.api.oidc.ca_file)
        if gates.dashboard and gates.api.oidc.client_id and environment.public_url is None:
            problems.append(
                f"{PREFIX}PUBLIC_URL: is missing; the issuer sends people back to it (api.oidc.client_id in gates.yaml)"
            )
    if problems or gates is None:
        raise ConfigurationError(list(dict.fromkeys(problems)))
    return Settings(
        environment,
        gates,
        MappingProxyType(databricks),
        MappingProxyType(hosts),
        hook_credentials(environment),
        told,
        reading.sha256,
    )


def load_environment(environ: Mapping[str, str], vendors: tuple[Vendor, ...]) -> Environment:
    """Only the variables, for commands that need no more than the database's address or the port.

    Raises:
        ConfigurationError: naming what is wrong with the variables; missing secrets do not matter here.
    """
    environment, problems = read_environment(environ, vendors)
    if problems:
        raise ConfigurationError(problems)
    return environment


def load_environments_gates(environ: Mapping[str, str], vendors: tuple[Vendor, ...]) -> Gates:
    """Only gates.yaml, for commands that ask no vendor.

    Raises:
        ConfigurationError: naming what is wrong with them or the file; missing secrets do not matter here.
    """
    return load_gates(load_environment(environ, vendors).config, vendors)


def _file_problems(provider: str, ca_file: str | None) -> list[str]:
    if ca_file is None:
        return []
    try:
        with Path(ca_file).open("rb") as file:
            found = b"-----BEGIN CERTIFICATE-----" in file.read(1024 * 1024)
    except OSError as error:
        return [f"ca_file of {provider}: found {ca_file!r}; it cannot be read ({error.strerror})"]
    return [] if found else [f"ca_file of {provider}: found {ca_file!r}; expected certificates as PEM"]
