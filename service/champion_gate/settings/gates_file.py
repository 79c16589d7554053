"""gates.yaml -> the core's frozen gates, with every problem of the file in one error."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from champion_gate.core.gates import ApprovalTarget, Direction, Gate, MetricRule, NewerVersion, VersionSource
from champion_gate.core.names import check_model
from champion_gate.errors import ConfigurationError
from champion_gate.settings.gates_cross import GITHUB, cross_problems, provider_of
from champion_gate.settings.gates_model import GateEntry, GatesEntry, GitHubEntry
from champion_gate.settings.gates_problems import problem, shown
from champion_gate.settings.gates_values import UNITY_CATALOG
from champion_gate.settings.gates_yaml import read_yaml

OTHER_SERVERS_API_VERSION = "2022-11-28"
"""What every supported GitHub Enterprise Server speaks."""


@dataclass(frozen=True)
class GitHubServer:
    """A GitHub that gates ask for approval.

    Attributes:
        url: address of its API, without a slash at the end.
        ca_file: PEM file with the certificate authorities to trust; None for the usual ones.
        api_version: value of X-GitHub-Api-Version.
    """

    url: str
    ca_file: str | None
    api_version: str


@dataclass(frozen=True)
class Gates:
    """gates.yaml, checked.

    Attributes:
        registry: `databricks-uc`, an MLflow server's address, or `sqlite:///path`.
        github_servers: the GitHubs that gates use; provider key (`github`, `github:<host[:port]>`) -> server.
    """

    registry: str
    gates: tuple[Gate, ...]
    github_servers: Mapping[str, GitHubServer]

    @property
    def on_unity_catalog(self) -> bool:
        """Whether the registry is Unity Catalog, where names are the same in upper and lower case."""
        return self.registry == UNITY_CATALOG


def load_gates(path: Path) -> Gates:
    """Read and check gates.yaml.

    Raises:
        ConfigurationError: naming every problem: the key's path, what was found, what is expected.
    """
    raw, problems = read_yaml(path)
    if not isinstance(raw, dict):
        raise ConfigurationError([f"{path}: found {shown(raw)}; expected the keys registry and gates"])
    try:
        entry = GatesEntry.model_validate(raw)
    except ValidationError as error:
        problems += [problem(detail) for detail in error.errors(include_url=False)]
        problems += cross_problems(*_usable_parts(raw))
        raise ConfigurationError(problems) from None
    problems += cross_problems(entry.registry, entry.github, dict(enumerate(entry.gates)))
    if problems:
        raise ConfigurationError(problems)
    return _gates(entry)


def gates_json_schema() -> dict[str, Any]:
    """JSON Schema of gates.yaml, for editors; rules that need two keys at once are left to `load_gates`."""
    schema = GatesEntry.model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _usable_parts(raw: Mapping[str, object]) -> tuple[str | None, GitHubEntry | None, dict[int, GateEntry]]:
    """What is right in a file that is wrong elsewhere, so that one error can name all that is wrong."""
    registry = raw.get("registry")
    raw_gates = raw.get("gates")
    entries = {}
    for index, raw_gate in enumerate(raw_gates if isinstance(raw_gates, list) else []):
        with suppress(ValidationError):
            entries[index] = GateEntry.model_validate(raw_gate)
    github = None
    with suppress(ValidationError):
        github = GitHubEntry.model_validate(raw.get("github", {}))
    return (registry if isinstance(registry, str) else None), github, entries


def _gates(entry: GatesEntry) -> Gates:
    servers = {
        provider_of(gate, entry.github): GitHubServer(
            url=gate.approval.github.url or entry.github.url,
            ca_file=gate.approval.github.ca_file if gate.approval.github.url else None,
            api_version=OTHER_SERVERS_API_VERSION,
        )
        for gate in entry.gates
    }
    if GITHUB in servers:
        servers[GITHUB] = GitHubServer(entry.github.url, entry.github.ca_file, entry.github.api_version)
    gates = tuple(_gate(gate, entry) for gate in entry.gates)
    return Gates(entry.registry, gates, MappingProxyType(servers))


def _gate(entry: GateEntry, file: GatesEntry) -> Gate:
    return Gate(
        name=entry.name,
        job_ids=frozenset(str(job) for job in entry.jobs if isinstance(job, int)),
        job_names=frozenset(job for job in entry.jobs if isinstance(job, str)),
        model=check_model(entry.model, three_level=file.registry == UNITY_CATALOG),
        alias=entry.alias,
        approval=_target(entry, file.github),
        version=VersionSource(entry.version),
        accept_success_with_failures=entry.accept_success_with_failures,
        identities=entry.identities,
        allow_trainer_approval=entry.allow_trainer_approval,
        expires_after=entry.expires_after,
        newer_version=NewerVersion(entry.newer_version),
        metrics=tuple(
            MetricRule(name, Direction(rule.better), rule.max_worse, rule.at_least, rule.at_most)
            for name, rule in entry.metrics.items()
        ),
    )


def _target(entry: GateEntry, top: GitHubEntry) -> ApprovalTarget:
    github = entry.approval.github
    place = {"repository": github.repository, "workflow": github.workflow, "ref": github.ref}
    if github.repository_id is not None:
        place["repository_id"] = str(github.repository_id)
    if github.owner_id is not None:
        place["owner_id"] = str(github.owner_id)
    for environment, number in github.environment_ids.items():
        place[f"environment_id:{environment}"] = str(number)
    return ApprovalTarget(provider_of(entry, top), place, tuple(github.environments))
