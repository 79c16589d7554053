"""The keys of gates.yaml that are about the API: whose people may call it, and which further aliases they may change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from champion_gate.domain.managed import FurtherAlias
from champion_gate.domain.names import check_model
from champion_gate.errors import InvalidNameError
from champion_gate.settings.addresses import host_of, web_address
from champion_gate.settings.gates_model import (
    ApiOidcEntry,
    FurtherAliasEntry,
    GateEntry,
    GitHubEntry,
    GitLabEntry,
)
from champion_gate.settings.gates_servers import GITHUB, GITLAB, ci_issuers, kind_of
from champion_gate.settings.gates_values import UNITY_CATALOG

_GITHUB_COM = "token.actions.githubusercontent.com"
_GITLAB_COM = "gitlab.com"


@dataclass(frozen=True)
class ApiOidc:
    """Whose tokens admit people to the API, and what makes them viewers or operators.

    Attributes:
        issuer: the claim `iss`, letter by letter; its keys are found below this address.
        audience: the claim `aud`.
        name_claim: whose value is the actor in the ledger.
        role_claim: whose value, or one of whose values, makes the role.
        operator: the values that make an operator.
        viewer: the values that make a viewer.
        ca_file: PEM file with the certificate authorities to trust; None for the usual ones.
    """

    issuer: str
    audience: str
    name_claim: str
    role_claim: str
    operator: frozenset[str]
    viewer: frozenset[str]
    ca_file: str | None


def api_oidc(entry: ApiOidcEntry | None) -> ApiOidc | None:
    """What `api.oidc` says, where it is there."""
    if entry is None:
        return None
    return ApiOidc(
        issuer=entry.issuer,
        audience=entry.audience,
        name_claim=entry.name_claim,
        role_claim=entry.role_claim,
        operator=frozenset(entry.operator),
        viewer=frozenset(entry.viewer),
        ca_file=entry.ca_file,
    )


def further_aliases(entries: Sequence[FurtherAliasEntry], registry: str) -> tuple[FurtherAlias, ...]:
    """What `aliases` says; models of Unity Catalog in lower case."""
    on_unity_catalog = registry == UNITY_CATALOG
    return tuple(
        FurtherAlias(check_model(entry.model, three_level=on_unity_catalog), entry.alias) for entry in entries
    )


def alias_problems(
    registry: str | None, gates: Mapping[int, GateEntry], aliases: Mapping[int, FurtherAliasEntry]
) -> Iterator[str]:
    """What is wrong with the further aliases beside each other and beside the gates', each as a line with its path.

    Args:
        registry: as written; None where it is no text.
        gates: the gates that are right by themselves, by their index in the file.
        aliases: likewise.
    """
    on_unity_catalog = registry == UNITY_CATALOG
    seen: dict[tuple[str, str], str] = {}
    for index, gate in gates.items():
        seen.setdefault(_pair(gate, on_unity_catalog=on_unity_catalog), f"gates[{index}]")
    for index, entry in aliases.items():
        path = f"aliases[{index}]"
        if registry is not None:
            try:
                check_model(entry.model, three_level=on_unity_catalog)
            except InvalidNameError as error:
                yield f"{path}.model: {error}"
        first = seen.setdefault(_pair(entry, on_unity_catalog=on_unity_catalog), path)
        if first != path:
            yield (
                f"{path}: found {entry.model}@{entry.alias}, which {first} names already; expected a model and "
                "alias that no gate and no other entry names"
            )


def _pair(entry: GateEntry | FurtherAliasEntry, *, on_unity_catalog: bool) -> tuple[str, str]:
    if on_unity_catalog:
        return entry.model.casefold(), entry.alias.casefold()
    return entry.model, entry.alias


def oidc_problems(
    oidc: ApiOidcEntry, gates: Mapping[int, GateEntry], github: GitHubEntry, gitlab: GitLabEntry
) -> Iterator[str]:
    """What is wrong between the keys of `api.oidc` and the rest of the file, each as a line with its path.

    Args:
        oidc: right by itself.
        gates: the gates that are right by themselves, by their index in the file.
        github: as at the top.
        gitlab: likewise.
    """
    yield from _issuer_problems(oidc, gates, github, gitlab)
    if not oidc.operator and not oidc.viewer:
        yield (
            "api.oidc.operator: found a list of 0; expected at least 1 value here or under viewer, else the "
            "issuer's tokens would admit nobody"
        )
    for name, values in (("operator", oidc.operator), ("viewer", oidc.viewer)):
        for index, value in enumerate(values):
            if value in values[:index]:
                yield f"api.oidc.{name}[{index}]: found {value!r} a second time; keep one"
            elif name == "viewer" and value in oidc.operator:
                yield (
                    f"api.oidc.viewer[{index}]: found {value!r}, as under operator; keep one (an operator may do "
                    "all that a viewer may)"
                )


def _issuer_problems(
    oidc: ApiOidcEntry, gates: Mapping[int, GateEntry], github: GitHubEntry, gitlab: GitLabEntry
) -> Iterator[str]:
    """Whoever can start a CI job there can have it ask for a token with any audience."""
    for system in _signs_for(web_address(oidc.issuer).casefold(), ci_issuers(gates.values(), github, gitlab)):
        yield (
            f"api.oidc.issuer: found {oidc.issuer}, which signs for the CI jobs of {system}; expected an issuer "
            "that signs for people alone, else a CI job could become an operator"
        )


def _signs_for(issuer: str, configured: Mapping[str, str]) -> Iterator[str]:
    """For whose CI jobs it signs, also where no gate uses them.

    A GitHub signs for an enterprise below a path of its own, and for nobody but jobs (docs.github.com, "OpenID
    Connect reference"); beside a GitLab in a sub-path there may be issuers of people on the same host.

    Args:
        issuer: as `web_address` writes it, case-folded.
        configured: provider key -> issuer of its jobs.
    """
    host = host_of(issuer)
    if host == _GITHUB_COM or (host.startswith("token.actions.") and host.endswith(".ghe.com")):
        yield "GitHub"
        return
    if host == _GITLAB_COM:
        yield "GitLab"
        return
    for key, found in configured.items():
        address = web_address(found).casefold()
        if issuer == address or (kind_of(key) == GITHUB and host == host_of(address)):
            yield {GITHUB: "GitHub", GITLAB: "GitLab"}.get(key, key)
