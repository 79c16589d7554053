"""Which CI/CD systems the gates use, where those are, and whose ID tokens of theirs are taken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from champion_gate.settings.addresses import host_of, web_address
from champion_gate.settings.gates_model import GateEntry, GitHubEntry, GitLabEntry

GITHUB = "github"
"""Provider key of the GitHub at the top of gates.yaml."""
GITLAB = "gitlab"
"""Provider key of the GitLab at the top of gates.yaml: the only one."""
Kind = Literal["github", "gitlab"]

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
class GitLabServer:
    """The GitLab that gates ask for approval.

    Attributes:
        url: its address with its sub-path, without a slash at the end and without /api/v4.
        ca_file: PEM file with the certificate authorities to trust; None for the usual ones.
    """

    url: str
    ca_file: str | None


@dataclass(frozen=True)
class OidcIssuer:
    """Who signs the ID tokens of a CI/CD system's jobs.

    Attributes:
        issuer: the claim `iss`, letter by letter; its keys are found below this address.
        audience: the claim `aud`.
        ca_file: PEM file with the certificate authorities to trust; None for the usual ones.
        kind: which system's claims its tokens hold.
    """

    issuer: str
    audience: str
    ca_file: str | None
    kind: Kind


def kind_of(provider: str) -> Kind:
    """The kind of CI/CD system behind a provider key."""
    return "gitlab" if provider == GITLAB else "github"


def provider_of(gate: GateEntry, top: GitHubEntry) -> str:
    """The key of the approval provider that a gate uses: `github`, `github:<host[:port]>` or `gitlab`."""
    if gate.approval.github is None:
        return GITLAB
    url = gate.approval.github.url
    return GITHUB if url in {None, top.url} else f"{GITHUB}:{host_of(url or '')}"


def github_servers(gates: Iterable[GateEntry], top: GitHubEntry) -> dict[str, GitHubServer]:
    """The GitHubs that gates use: provider key -> server."""
    servers = {}
    for gate in gates:
        github = gate.approval.github
        if github is None:
            continue
        key = provider_of(gate, top)
        servers[key] = (
            GitHubServer(top.url, top.ca_file, top.api_version)
            if key == GITHUB
            else GitHubServer(github.url or top.url, github.ca_file, OTHER_SERVERS_API_VERSION)
        )
    return servers


def gitlab_servers(gates: Iterable[GateEntry], top: GitLabEntry) -> dict[str, GitLabServer]:
    """The GitLab, if a gate uses it: provider key -> server."""
    used = any(gate.approval.gitlab is not None for gate in gates)
    return {GITLAB: GitLabServer(top.url, top.ca_file)} if used else {}


def oidc_issuers(
    github_servers: Mapping[str, GitHubServer],
    gitlab_servers: Mapping[str, GitLabServer],
    github: GitHubEntry,
    gitlab: GitLabEntry,
) -> dict[str, OidcIssuer]:
    """Whose tokens are taken: provider key -> issuer.

    Args:
        github_servers: those in use.
        gitlab_servers: likewise.
        github: as at the top of the file; an issuer given there is that of the top GitHub only.
        gitlab: likewise.
    """
    issuers = {}
    for key, server in github_servers.items():
        given = github.oidc.issuer if key == GITHUB else None
        issuer = given or _github_issuer(server.url)
        issuers[key] = OidcIssuer(issuer, github.oidc.audience, server.ca_file, "github")
    for key, lab in gitlab_servers.items():
        issuer = gitlab.oidc.issuer or lab.url
        issuers[key] = OidcIssuer(issuer, gitlab.oidc.audience, lab.ca_file, "gitlab")
    return issuers


def ci_issuers(gates: Iterable[GateEntry], github: GitHubEntry, gitlab: GitLabEntry) -> dict[str, str]:
    """Who signs for CI jobs: those of the systems at the top, whether or not a gate uses them, and of all others.

    Args:
        gates: whose systems count.
        github: as at the top of the file.
        gitlab: likewise.
    """
    hubs = {GITHUB: GitHubServer(github.url, None, github.api_version), **github_servers(gates, github)}
    labs = {GITLAB: GitLabServer(gitlab.url, None)}
    return {key: found.issuer for key, found in oidc_issuers(hubs, labs, github, gitlab).items()}


def _github_issuer(api_url: str) -> str:
    """The issuer of a GitHub that is known by the address of its API (docs.github.com, "OpenID Connect reference").

    Where an enterprise has its own name put behind it, the operator has to say so.
    """
    host = host_of(api_url)
    if host == "api.github.com":
        return "https://token.actions.githubusercontent.com"
    if host.startswith("api.") and host.endswith(".ghe.com"):
        return f"https://token.actions.{host.removeprefix('api.')}"
    return f"{urlsplit(api_url).scheme}://{host}/_services/token"


def server_problems(
    gates: Mapping[int, GateEntry], github: GitHubEntry | None, gitlab: GitLabEntry | None
) -> Iterator[str]:
    """What is wrong between the systems that gates use, each as a line with its path.

    Args:
        gates: the gates that are right by themselves, by their index in the file.
        github: as at the top; None where it is wrong by itself.
        gitlab: likewise.
    """
    if github is not None:
        yield from _host_problems(gates, github)
    if github is not None and gitlab is not None:
        yield from _issuer_problems(gates, github, gitlab)


def _host_problems(gates: Mapping[int, GateEntry], top: GitHubEntry) -> Iterator[str]:
    """One host has one address and one set of certificates: else its credentials would be used at two places."""
    seen = {host_of(top.url): (top.url, top.ca_file, "github")}
    for index, gate in gates.items():
        github = gate.approval.github
        if github is None or github.url is None:
            continue
        path = f"gates[{index}].approval.github"
        mine = (github.url, github.ca_file, path)
        url, ca_file, first = seen.setdefault(host_of(github.url), mine)
        if github.url != url:
            yield f"{path}.url: found {github.url}; expected {url}, as in {first}.url for the same host"
        if github.ca_file not in {ca_file, None if first == "github" else ca_file}:
            yield f"{path}.ca_file: is not the one of {first}.ca_file for the same host; expected the same"


def _issuer_problems(
    gates: Mapping[int, GateEntry], github: GitHubEntry, gitlab: GitLabEntry
) -> Iterator[str]:
    """An issuer speaks for one system only: else one could sign for the jobs of another."""
    entries = gates.values()
    servers = github_servers(entries, github), gitlab_servers(entries, gitlab)
    seen: dict[str, str] = {}
    for key, found in oidc_issuers(*servers, github, gitlab).items():
        first = seen.setdefault(web_address(found.issuer), key)
        if first != key:
            yield (
                f"{kind_of(key)}.oidc.issuer: {found.issuer} would sign for {first} and for {key}; "
                "expected an issuer of its own for each"
            )
