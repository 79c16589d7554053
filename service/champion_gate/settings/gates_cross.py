"""Rules of gates.yaml that hold between several keys, each broken one as a line with its path."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from champion_gate.domain.gates import Account
from champion_gate.domain.names import check_model
from champion_gate.errors import InvalidNameError
from champion_gate.settings.gates_api import alias_problems, oidc_problems
from champion_gate.settings.gates_model import (
    ApiOidcEntry,
    FurtherAliasEntry,
    GateEntry,
    GitHubEntry,
    GitLabEntry,
    MetricEntry,
)
from champion_gate.settings.gates_places import place_problems, twice
from champion_gate.settings.gates_servers import server_problems
from champion_gate.settings.gates_values import UNITY_CATALOG

_UNSAFE_IDENTITY = re.compile(r"^\s|\s$|[^\S ]|[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class UsableParts:
    """What is right by itself in a file, be it wrong elsewhere.

    Attributes:
        registry: as written; None where it is no text.
        github: as at the top; None where it is wrong.
        gitlab: likewise.
        gates: by their index in the file.
        aliases: likewise.
        api_oidc: None where it is absent or wrong.
    """

    registry: str | None
    github: GitHubEntry | None
    gitlab: GitLabEntry | None
    gates: Mapping[int, GateEntry]
    aliases: Mapping[int, FurtherAliasEntry] = field(default_factory=dict)
    api_oidc: ApiOidcEntry | None = None


def cross_problems(parts: UsableParts) -> list[str]:
    """Check what one key alone does not show."""
    registry, gates = parts.registry, parts.gates
    on_unity_catalog = registry == UNITY_CATALOG
    problems = list(_same_names(gates))
    for index, gate in gates.items():
        path = f"gates[{index}]"
        problems += _model_problem(f"{path}.model", gate.model, registry)
        problems += _job_problems(f"{path}.jobs", gate.jobs)
        problems += _identity_problems(f"{path}.identities", gate.identities)
        problems += _trainer_problems(path, gate, on_unity_catalog=on_unity_catalog)
        problems += place_problems(path, gate)
        for name, rule in gate.metrics.items():
            problems += _metric_problems(f"{path}.metrics.{name}", rule)
    problems += _same_claims(gates, on_unity_catalog=on_unity_catalog)
    if on_unity_catalog:
        problems += _spellings_of_one_alias(gates)
    problems += server_problems(gates, parts.github, parts.gitlab)
    problems += alias_problems(registry, gates, parts.aliases)
    if parts.api_oidc is not None and parts.github is not None and parts.gitlab is not None:
        problems += oidc_problems(parts.api_oidc, gates, parts.github, parts.gitlab)
    return problems


def _same_names(gates: Mapping[int, GateEntry]) -> Iterator[str]:
    seen: dict[str, int] = {}
    for index, gate in gates.items():
        first = seen.setdefault(gate.name.casefold(), index)
        if first != index:
            yield f"gates[{index}].name: found {gate.name!r}, as in gates[{first}]; expected a name of its own"


def _same_claims(gates: Mapping[int, GateEntry], *, on_unity_catalog: bool) -> Iterator[str]:
    seen: dict[tuple[int | str, str, str], int] = {}
    for index, gate in gates.items():
        for job in dict.fromkeys(gate.jobs):
            model, alias = gate.model, gate.alias
            if on_unity_catalog:
                model, alias = model.casefold(), alias.casefold()
            first = seen.setdefault((job, model, alias), index)
            if first != index:
                yield (
                    f"gates[{index}]: job {job!r}, model {gate.model} and alias {gate.alias} are those of "
                    f"gates[{first}] too; expected one gate for a job, model and alias"
                )


def _spellings_of_one_alias(gates: Mapping[int, GateEntry]) -> Iterator[str]:
    """To Unity Catalog they are one alias; to us each spelling would be an alias with a writer of its own."""
    seen: dict[tuple[str, str], tuple[int, str]] = {}
    for index, gate in gates.items():
        first, spelling = seen.setdefault((gate.model.casefold(), gate.alias.casefold()), (index, gate.alias))
        if spelling != gate.alias and not set(gate.jobs) & set(gates[first].jobs):
            yield (
                f"gates[{index}].alias: found {gate.alias!r}, and {spelling!r} in gates[{first}] for the same "
                "model; expected one spelling, as Unity Catalog does not tell them apart"
            )


def _model_problem(path: str, model: str, registry: str | None) -> Iterator[str]:
    if registry is None:
        return
    try:
        check_model(model, three_level=registry == UNITY_CATALOG)
    except InvalidNameError as error:
        yield f"{path}: {error}"


def _job_problems(path: str, jobs: list[int | str]) -> Iterator[str]:
    for index, job in enumerate(jobs):
        if job in jobs[:index]:
            yield f"{path}[{index}]: found {job!r} a second time; keep one"


def _identity_problems(path: str, identities: Mapping[str, tuple[Account, ...]]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for name, logins in identities.items():
        first = seen.setdefault(name.casefold(), name)
        if first != name:
            yield f"{path}.{name}: is the same as {first} but for upper and lower case; keep one"
        if not name or _UNSAFE_IDENTITY.search(name) or len(name) > 255:  # noqa: PLR2004 - longer than any user name
            yield f"{path}: found {name[:80]!r}; expected a Databricks user, service principal or group"
        elif "@" in name and not logins:
            yield f"{path}.{name}: found nobody; expected the login of this person ([] is for service principals)"


def _trainer_problems(path: str, gate: GateEntry, *, on_unity_catalog: bool) -> Iterator[str]:
    vendor = "GitHub" if gate.approval.github is not None else "GitLab"
    yield from twice(f"{path}.trainers", [each.login for each in gate.trainers], vendor)
    if gate.version != "trusted_tag":
        return
    if on_unity_catalog:
        yield (
            f"{path}.version: found 'trusted_tag', which is for MLflow registries; expected another way, as Unity"
            " Catalog records who created a version"
        )
    if not gate.trainers:
        yield (
            f"{path}.trainers: is missing; with version: trusted_tag nothing tells who trained a version, so"
            " expected the logins of all who may have"
        )


def _metric_problems(path: str, rule: MetricEntry) -> Iterator[str]:
    if rule.better == "higher" and rule.at_most is not None:
        yield f"{path}.at_most: found {rule.at_most:g}; expected at_least, because higher is better"
    if rule.better == "lower" and rule.at_least is not None:
        yield f"{path}.at_least: found {rule.at_least:g}; expected at_most, because lower is better"
