"""Rules of gates.yaml that hold between several keys, each broken one as a line with its path."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from champion_gate.core.names import check_model
from champion_gate.errors import InvalidNameError
from champion_gate.settings.addresses import host_of
from champion_gate.settings.gates_model import GateEntry, GitHubApprovalEntry, GitHubEntry, MetricEntry
from champion_gate.settings.gates_values import UNITY_CATALOG

GITHUB = "github"
"""Provider key of the GitHub at the top of gates.yaml."""

_UNSAFE_IDENTITY = re.compile(r"[\s\x00-\x1f\x7f]")


def provider_of(gate: GateEntry, top: GitHubEntry) -> str:
    """The key of the approval provider that a gate uses: `github`, or `github:<host[:port]>`."""
    url = gate.approval.github.url
    return GITHUB if url in {None, top.url} else f"{GITHUB}:{host_of(url or '')}"


def cross_problems(
    registry: str | None, top: GitHubEntry | None, gates: Mapping[int, GateEntry]
) -> list[str]:
    """Check what one key alone does not show.

    Args:
        registry: as written; None where it is no text.
        top: `github:` at the top; None where it is wrong by itself.
        gates: the gates that are right by themselves, by their index in the file.
    """
    on_unity_catalog = registry == UNITY_CATALOG
    problems = list(_same_names(gates))
    for index, gate in gates.items():
        path = f"gates[{index}]"
        problems += _model_problem(f"{path}.model", gate.model, registry)
        problems += _job_problems(f"{path}.jobs", gate.jobs)
        problems += _identity_problems(f"{path}.identities", gate.identities)
        problems += _environment_problems(f"{path}.approval.github", gate.approval.github)
        for name, rule in gate.metrics.items():
            problems += _metric_problems(f"{path}.metrics.{name}", rule)
    problems += _same_claims(gates, on_unity_catalog=on_unity_catalog)
    if top is not None:
        problems += _server_problems(gates, top)
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


def _identity_problems(path: str, identities: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for name, logins in identities.items():
        first = seen.setdefault(name.casefold(), name)
        if first != name:
            yield f"{path}.{name}: is the same as {first} but for upper and lower case; keep one"
        if not name or _UNSAFE_IDENTITY.search(name) or len(name) > 255:  # noqa: PLR2004 - longer than any user name
            yield f"{path}: found {name[:80]!r}; expected a Databricks user or service principal, without white space"
        elif "@" in name and not logins:
            yield f"{path}.{name}: found nobody; expected the GitHub login of this person ([] is for service principals)"


def _environment_problems(path: str, github: GitHubApprovalEntry) -> Iterator[str]:
    folded = [environment.casefold() for environment in github.environments]
    for index, environment in enumerate(folded):
        if environment in folded[:index]:
            yield (
                f"{path}.environments[{index}]: found {github.environments[index]!r} a second time "
                "(GitHub ignores case); keep one"
            )
    for name in github.environment_ids:
        if name not in github.environments:
            yield f"{path}.environment_ids.{name}: is none of the environments {', '.join(github.environments)}"
    if github.ca_file is not None and github.url is None:
        yield f"{path}.ca_file: stands without url; expected it in github: at the top of the file"


def _metric_problems(path: str, rule: MetricEntry) -> Iterator[str]:
    if rule.better == "higher" and rule.at_most is not None:
        yield f"{path}.at_most: found {rule.at_most:g}; expected at_least, because higher is better"
    if rule.better == "lower" and rule.at_least is not None:
        yield f"{path}.at_least: found {rule.at_least:g}; expected at_most, because lower is better"


def _server_problems(gates: Mapping[int, GateEntry], top: GitHubEntry) -> Iterator[str]:
    """One host has one address and one set of certificates: else its credentials would be used at two places."""
    seen = {host_of(top.url): (top.url, top.ca_file, "github")}
    for index, gate in gates.items():
        github = gate.approval.github
        if github.url is None:
            continue
        path = f"gates[{index}].approval.github"
        mine = (github.url, github.ca_file, path)
        url, ca_file, first = seen.setdefault(host_of(github.url), mine)
        if github.url != url:
            yield f"{path}.url: found {github.url}; expected {url}, as in {first}.url for the same host"
        if github.ca_file not in {ca_file, None if first == "github" else ca_file}:
            yield f"{path}.ca_file: is not the one of {first}.ca_file for the same host; expected the same"
