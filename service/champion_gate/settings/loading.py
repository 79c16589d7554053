"""The environment, a directory of secrets and gates.yaml -> one frozen Settings, or every problem at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from pydantic import SecretStr

from champion_gate.domain.gates import Gate
from champion_gate.domain.managed import FurtherAlias
from champion_gate.errors import ConfigurationError
from champion_gate.settings.addresses import host_of
from champion_gate.settings.credentials import (
    BasicCredentials,
    GitHubCredentials,
    app_or_token,
    hook_credentials,
    host_tokens,
    present,
    secret_problems,
)
from champion_gate.settings.databricks import databricks_settings
from champion_gate.settings.environment import PREFIX, Environment, read_environment
from champion_gate.settings.gates_api import ApiOidc
from champion_gate.settings.gates_file import Gates, load_gates, read_gates
from champion_gate.settings.gates_servers import GITHUB, GITLAB, OidcIssuer
from champion_gate.settings.gitlab_credentials import (
    GitLabCredentials,
    gitlab_credentials,
    gitlab_secret_problems,
    hook_tokens,
)
from champion_gate.settings.stray import libraries_problems

_REACHED_BY_JOBS = re.compile(
    r"(https://[A-Za-z0-9.-]+(:[0-9]{1,5})?|http://127\.0\.0\.1:[0-9]{1,5})(/[A-Za-z0-9._~-]+)*"
)
"""What the input gate_url of deploy/gitlab/champion-gate.gitlab-ci.yml takes."""


@dataclass(frozen=True)
class GitHubHost:
    """A GitHub that gates ask for approval, and the credentials that are used there and nowhere else.

    Attributes:
        url: address of its API, without a slash at the end.
        ca_file: PEM file with the certificate authorities to trust; None for the usual ones.
        api_version: value of X-GitHub-Api-Version.
        credentials: an App or a token.
        previous_credentials: what to try where the current ones are refused, during a rotation.
    """

    url: str
    ca_file: str | None
    api_version: str
    credentials: GitHubCredentials
    previous_credentials: GitHubCredentials | None = None


@dataclass(frozen=True)
class GitLabHost:
    """The GitLab that gates ask for approval, and the credentials that are used there and nowhere else.

    Attributes:
        url: its address with its sub-path, without a slash at the end and without /api/v4.
        ca_file: PEM file with the certificate authorities to trust; None for the usual ones.
        gate_url: our own address, as the pipelines' jobs reach it.
        credentials: what starts, reads and perhaps cancels pipelines.
        previous_credentials: access tokens to try where the current ones are refused, during a rotation.
    """

    url: str
    ca_file: str | None
    gate_url: str
    credentials: GitLabCredentials
    previous_credentials: GitLabCredentials | None = None


@dataclass(frozen=True)
class Settings:
    """All that the service is told from outside; secrets never show in its repr.

    Attributes:
        registry: `databricks-uc`, an MLflow server's address, or `sqlite:///path`.
        databricks: what the SDK is given in place of its own variables: `host`, `workspace_id`, each where known.
        github_hosts: key of the ApprovalProvider (`github`, `github:<host[:port]>`) -> where and with what.
        gitlab_hosts: key of the ApprovalProvider (`gitlab`) -> where and with what; empty if no gate uses it.
        oidc: key of the ApprovalProvider -> whose ID tokens are taken from its jobs.
        further_aliases: what operators may change besides the gates' aliases.
        api_oidc: whose tokens admit people to the API; None: API tokens alone do.
        hook_credentials: the pairs that `POST /hooks/databricks` takes, the current one first.
        github_webhook_secrets: the keys of `X-Hub-Signature-256`, the current one first.
        gitlab_signing_tokens: `whsec_…`, the keys of GitLab's webhook signatures, the current one first.
        gitlab_webhook_tokens: what `X-Gitlab-Token` may hold; empty wherever there is a signing token, for
            a webhook that should be signed is never taken on a plain token.
        database_url: SQLAlchemy's; may hold a password.
        public_url: where others reach the service, without a slash at the end; None if it was not given.
        host, port: where to listen; port 0 takes any free one.
        sweep_seconds: how long the sweep rests between two rounds.
        proxy_hops: how many proxies in front are believed about the source address of a request.
        stop_seconds: how long the service may take to stop, open requests and steps in hand included.
    """

    gates: tuple[Gate, ...]
    registry: str
    databricks: Mapping[str, str]
    github_hosts: Mapping[str, GitHubHost]
    gitlab_hosts: Mapping[str, GitLabHost]
    oidc: Mapping[str, OidcIssuer]
    further_aliases: tuple[FurtherAlias, ...]
    api_oidc: ApiOidc | None
    hook_credentials: tuple[BasicCredentials, ...]
    github_webhook_secrets: tuple[SecretStr, ...]
    gitlab_signing_tokens: tuple[SecretStr, ...]
    gitlab_webhook_tokens: tuple[SecretStr, ...]
    database_url: str = field(repr=False)
    public_url: str | None
    host: str
    port: int
    sweep_seconds: float
    proxy_hops: int
    stop_seconds: int
    config: Path


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Read and check everything.

    Args:
        environ: the environment's variables; those with our prefix are read, and the workspace's address and id.

    Raises:
        ConfigurationError: naming every problem; secrets are never shown.
    """
    environment, problems = read_environment(environ)
    reading = read_gates(environment.config)
    gates = reading.gates
    problems += secret_problems(environment, reading.systems)
    problems += gitlab_secret_problems(environment, used=GITLAB in reading.systems)
    problems += reading.problems
    databricks, databricks_problems = databricks_settings(environ)
    problems += databricks_problems
    problems += libraries_problems(environ)
    github_hosts = _github_hosts(environment, gates, problems)
    gitlab_hosts = _gitlab_hosts(environment, gates, problems)
    if gates is not None and gates.api_oidc is not None:
        problems += _file_problems("api.oidc", gates.api_oidc.ca_file)
    if problems or gates is None:
        raise ConfigurationError(list(dict.fromkeys(problems)))
    signing_tokens, webhook_tokens = hook_tokens(environment)
    return Settings(
        gates=gates.gates,
        registry=gates.registry,
        databricks=MappingProxyType(databricks),
        github_hosts=MappingProxyType(github_hosts),
        gitlab_hosts=MappingProxyType(gitlab_hosts),
        oidc=gates.oidc,
        further_aliases=gates.further_aliases,
        api_oidc=gates.api_oidc,
        hook_credentials=hook_credentials(environment),
        github_webhook_secrets=present(
            environment.github_webhook_secret, environment.github_webhook_secret_previous
        ),
        gitlab_signing_tokens=signing_tokens,
        gitlab_webhook_tokens=webhook_tokens,
        database_url=environment.database_url.get_secret_value(),
        public_url=environment.public_url,
        host=environment.host,
        port=environment.port,
        sweep_seconds=environment.sweep_seconds,
        proxy_hops=environment.proxy_hops,
        stop_seconds=environment.stop_seconds,
        config=environment.config,
    )


def load_database_url(environ: Mapping[str, str]) -> str:
    """Only the database's address, for commands that need nothing else.

    Args:
        environ: the environment's variables.

    Raises:
        ConfigurationError: naming what is wrong with the variables; missing secrets do not matter here.
    """
    environment, problems = read_environment(environ)
    if problems:
        raise ConfigurationError(problems)
    return environment.database_url.get_secret_value()


def load_environments_gates(environ: Mapping[str, str]) -> Gates:
    """Only gates.yaml, for commands that ask no vendor.

    Args:
        environ: the environment's variables.

    Raises:
        ConfigurationError: naming what is wrong with them or the file; missing secrets do not matter here.
    """
    environment, problems = read_environment(environ)
    if problems:
        raise ConfigurationError(problems)
    return load_gates(environment.config)


def _github_hosts(
    environment: Environment, gates: Gates | None, problems: list[str]
) -> dict[str, GitHubHost]:
    """Give each GitHub its own credentials; a host without any is a problem, never served with another's."""
    current = app_or_token(environment, "", problems)
    previous = app_or_token(environment, "_previous", problems)
    tokens = host_tokens(environment, "", problems)
    previous_tokens = host_tokens(environment, "_previous", problems)
    hosts = {}
    for provider, server in (gates.github_servers if gates else {}).items():
        problems += _file_problems(provider, server.ca_file)
        host = host_of(server.url)
        if provider == GITHUB and host in tokens:
            problems.append(
                f"{PREFIX}GITHUB_HOST_TOKENS: has a token for {host}, which is github.url; "
                f"expected that in {PREFIX}GITHUB_TOKEN, or the App"
            )
        credentials = current if provider == GITHUB else tokens.get(host)
        older = previous if provider == GITHUB else previous_tokens.get(host)
        if older is not None and credentials is not None and type(older) is not type(credentials):
            problems.append(f"{PREFIX}GITHUB_*_PREVIOUS: expected what {host} has now, an App or a token")
        if credentials is not None:
            hosts[provider] = GitHubHost(server.url, server.ca_file, server.api_version, credentials, older)
        elif provider != GITHUB:
            problems.append(
                f"{PREFIX}GITHUB_HOST_TOKENS: has no token for {host}, where a gate asks for approval"
            )
        elif not _is_app_begun(environment):
            problems.append(
                f"{PREFIX}GITHUB_APP_CLIENT_ID and {PREFIX}GITHUB_APP_PRIVATE_KEY (or instead of both, "
                f"{PREFIX}GITHUB_TOKEN): are missing; {host} asks for credentials"
            )
    return hosts


def _is_app_begun(environment: Environment) -> bool:
    """Whether half of an App is given, which is a problem that has been named already."""
    return bool(environment.github_app_client_id or environment.github_app_private_key)


def _gitlab_hosts(
    environment: Environment, gates: Gates | None, problems: list[str]
) -> dict[str, GitLabHost]:
    """Give the GitLab its credentials; its jobs have to reach us, so it also needs our own address."""
    hosts: dict[str, GitLabHost] = {}
    if gates is None:
        return hosts
    for provider, server in gates.gitlab_servers.items():
        problems += _file_problems(provider, server.ca_file)
        places = [gate.approval.place for gate in gates.gates if gate.approval.provider == provider]
        projects = sorted({place["project"] for place in places}, key=int)
        if environment.gitlab_trigger_token is not None and len(projects) > 1:
            problems.append(
                f"{PREFIX}GITLAB_TRIGGER_TOKEN: starts pipelines of one project, and gates name "
                f"{', '.join(projects)}; expected {PREFIX}GITLAB_API_TOKEN instead of it"
            )
        url = environment.public_url
        if url is None or not _REACHED_BY_JOBS.fullmatch(url):
            problems.append(
                f"{PREFIX}PUBLIC_URL: {'is missing' if url is None else f'found {url!r}'}; expected the https:// "
                "address where GitLab's jobs reach this service, of letters, digits and . - in its host, and of "
                "letters, digits and . _ ~ - in its path"
            )
        credentials, previous = gitlab_credentials(environment)
        if credentials is not None and url is not None:
            hosts[provider] = GitLabHost(server.url, server.ca_file, url, credentials, previous)
    return hosts


def _file_problems(provider: str, ca_file: str | None) -> list[str]:
    if ca_file is None:
        return []
    try:
        with Path(ca_file).open("rb") as file:
            found = b"-----BEGIN CERTIFICATE-----" in file.read(1024 * 1024)
    except OSError as error:
        return [f"ca_file of {provider}: found {ca_file!r}; it cannot be read ({error.strerror})"]
    return [] if found else [f"ca_file of {provider}: found {ca_file!r}; expected certificates as PEM"]
