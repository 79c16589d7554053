"""gates.yaml -> the core's frozen gates, with every problem of the file in one error."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from champion_gate.domain.gates import Direction, Gate, MetricRule, NewerVersion, VersionSource
from champion_gate.domain.managed import FurtherAlias
from champion_gate.domain.names import check_model
from champion_gate.errors import ConfigurationError
from champion_gate.settings.gates_api import ApiOidc, api_oidc, further_aliases
from champion_gate.settings.gates_cross import UsableParts, cross_problems
from champion_gate.settings.gates_model import (
    ApiOidcEntry,
    FurtherAliasEntry,
    GateEntry,
    GatesEntry,
    GitHubEntry,
    GitLabEntry,
)
from champion_gate.settings.gates_places import choice_problems, has_one_place, named_systems, target_of
from champion_gate.settings.gates_problems import problem, shown
from champion_gate.settings.gates_servers import (
    GitHubServer,
    GitLabServer,
    OidcIssuer,
    github_servers,
    gitlab_servers,
    oidc_issuers,
)
from champion_gate.settings.gates_values import UNITY_CATALOG
from champion_gate.settings.gates_yaml import read_yaml


@dataclass(frozen=True)
class Gates:
    """gates.yaml, checked.

    Attributes:
        registry: `databricks-uc`, an MLflow server's address, or `sqlite:///path`.
        github_servers: the GitHubs that gates use; provider key (`github`, `github:<host[:port]>`) -> server.
        gitlab_servers: the GitLab, if a gate uses it; provider key (`gitlab`) -> server.
        oidc: provider key -> whose ID tokens are taken from its jobs.
        further_aliases: what operators may change besides the gates' aliases.
        api_oidc: whose tokens admit people to the API; None: API tokens alone do.
    """

    registry: str
    gates: tuple[Gate, ...]
    github_servers: Mapping[str, GitHubServer]
    gitlab_servers: Mapping[str, GitLabServer]
    oidc: Mapping[str, OidcIssuer]
    further_aliases: tuple[FurtherAlias, ...] = ()
    api_oidc: ApiOidc | None = None

    @property
    def on_unity_catalog(self) -> bool:
        """Whether the registry is Unity Catalog, where names are the same in upper and lower case."""
        return self.registry == UNITY_CATALOG


@dataclass(frozen=True)
class Reading:
    """What a look into gates.yaml brought.

    Attributes:
        gates: None if there is a problem.
        systems: `github`, `gitlab`: what gates name, as far as the file can be read.
        problems: the key's path, what was found, what is expected.
    """

    gates: Gates | None
    systems: frozenset[str]
    problems: list[str]


def load_gates(path: Path) -> Gates:
    """Read and check gates.yaml.

    Raises:
        ConfigurationError: naming every problem: the key's path, what was found, what is expected.
    """
    reading = read_gates(path)
    if reading.gates is None:
        raise ConfigurationError(reading.problems)
    return reading.gates


def read_gates(path: Path) -> Reading:
    """Read and check gates.yaml; whatever is wrong is in the answer, and so is what else can be told."""
    try:
        raw, problems = read_yaml(path)
    except ConfigurationError as error:
        return Reading(None, frozenset(), error.problems)
    if not isinstance(raw, dict):
        return Reading(
            None, frozenset(), [f"{path}: found {shown(raw)}; expected the keys registry and gates"]
        )
    systems = named_systems(raw.get("gates"))
    entry = None
    try:
        entry = GatesEntry.model_validate(raw)
    except ValidationError as error:
        problems += [problem(detail) for detail in error.errors(include_url=False)]
    problems += choice_problems(raw.get("gates"))
    problems += cross_problems(_usable_parts(raw))
    gates = _gates(entry) if entry is not None and not problems else None
    return Reading(gates, systems, problems)


def gates_json_schema() -> dict[str, Any]:
    """JSON Schema of gates.yaml, for editors; rules that need two keys at once are left to `load_gates`."""
    schema = GatesEntry.model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


Entry = TypeVar("Entry", bound=BaseModel)


def _usable_parts(raw: Mapping[str, object]) -> UsableParts:
    """What is right in a file, be it wrong elsewhere, so that one error can name all that is wrong."""
    registry, api = raw.get("registry"), raw.get("api")
    gates = _usable_items(GateEntry, raw.get("gates"))
    return UsableParts(
        registry if isinstance(registry, str) else None,
        _usable(GitHubEntry, raw.get("github", {})),
        _usable(GitLabEntry, raw.get("gitlab", {})),
        {index: gate for index, gate in gates.items() if has_one_place(gate)},
        _usable_items(FurtherAliasEntry, raw.get("aliases")),
        _usable(ApiOidcEntry, api.get("oidc") if isinstance(api, dict) else None),
    )


def _usable(form: type[Entry], raw: object) -> Entry | None:
    with suppress(ValidationError):
        return form.model_validate(raw)
    return None


def _usable_items(form: type[Entry], raw: object) -> dict[int, Entry]:
    """The entries of a list that are right, by their index."""
    items = enumerate(raw if isinstance(raw, list) else [])
    found = ((index, _usable(form, item)) for index, item in items)
    return {index: entry for index, entry in found if entry is not None}


def _gates(entry: GatesEntry) -> Gates:
    hubs, labs = github_servers(entry.gates, entry.github), gitlab_servers(entry.gates, entry.gitlab)
    return Gates(
        registry=entry.registry,
        gates=tuple(_gate(gate, entry) for gate in entry.gates),
        github_servers=MappingProxyType(hubs),
        gitlab_servers=MappingProxyType(labs),
        oidc=MappingProxyType(oidc_issuers(hubs, labs, entry.github, entry.gitlab)),
        further_aliases=further_aliases(entry.aliases, entry.registry),
        api_oidc=api_oidc(entry.api.oidc),
    )


def _gate(entry: GateEntry, file: GatesEntry) -> Gate:
    return Gate(
        name=entry.name,
        job_ids=frozenset(str(job) for job in entry.jobs if isinstance(job, int)),
        job_names=frozenset(job for job in entry.jobs if isinstance(job, str)),
        model=check_model(entry.model, three_level=file.registry == UNITY_CATALOG),
        alias=entry.alias,
        approval=target_of(entry, file.github),
        version=VersionSource(entry.version),
        accept_success_with_failures=entry.accept_success_with_failures,
        identities=entry.identities,
        trainers=tuple(entry.trainers),
        allow_trainer_approval=entry.allow_trainer_approval,
        expires_after=entry.expires_after,
        apply_within=entry.apply_within,
        newer_version=NewerVersion(entry.newer_version),
        metrics=tuple(
            MetricRule(
                name, Direction(rule.better), rule.max_worse, rule.at_least, rule.at_most, rule.dataset
            )
            for name, rule in entry.metrics.items()
        ),
    )
