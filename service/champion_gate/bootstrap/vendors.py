"""Picks the adapters that fulfil the core's ports, and imports those alone that are used: they are slow to import."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from champion_gate import __version__
from champion_gate.domain.ports import (
    Accounts,
    ApprovalProvider,
    Clock,
    JobRuns,
    ModelRegistry,
    ProviderHook,
)
from champion_gate.settings import (
    AppCredentials,
    GitHubHost,
    GitLabCredentials,
    GitLabHost,
    Settings,
    TokenCredentials,
)

if TYPE_CHECKING:
    from pydantic import SecretStr

    from champion_gate.adapters.oidc.ci_jobs import OidcVerifier
    from champion_gate.adapters.oidc.people import OidcRoles

UNITY_CATALOG = "databricks-uc"


def approval_providers(
    settings: Settings, clock: Clock, sleep: Callable[[float], None], accounts: Accounts
) -> dict[str, ApprovalProvider]:
    """The CI/CD systems that gates name, by their keys."""
    return {
        **{name: _github(name, host, clock, sleep) for name, host in settings.github_hosts.items()},
        **{name: _gitlab(name, host, clock, sleep, accounts) for name, host in settings.gitlab_hosts.items()},
    }


def databricks_and_registry(
    settings: Settings, databricks: Mapping[str, str], sleep: Callable[[float], None]
) -> tuple[JobRuns, ModelRegistry]:
    """The Jobs API and the registry; on Unity Catalog they share a connection."""
    from champion_gate.adapters.databricks.job_runs import DatabricksJobRuns, connect

    overrides = {**settings.databricks, **databricks}
    connection = connect(product_version=__version__, config_overrides=overrides, sleep=sleep)
    return DatabricksJobRuns(connection), _registry(settings, connection)


def _registry(settings: Settings, connection: Any) -> ModelRegistry:
    if settings.registry == UNITY_CATALOG:
        from champion_gate.adapters.databricks.unity_catalog import UnityCatalog

        return UnityCatalog(connection)
    from champion_gate.adapters.mlflow.registry import MlflowRegistry

    return MlflowRegistry(settings.registry)


def _github(name: str, host: GitHubHost, clock: Clock, sleep: Callable[[float], None]) -> ApprovalProvider:
    from champion_gate.adapters.github.auth import GitHubApp, GitHubToken
    from champion_gate.adapters.github.provider import GitHub

    def credentials(given: AppCredentials | TokenCredentials) -> GitHubApp | GitHubToken:
        if isinstance(given, AppCredentials):
            return GitHubApp(given.client_id, given.private_key.get_secret_value())
        return GitHubToken(given.token.get_secret_value())

    return GitHub(
        url=host.url,
        credentials=credentials(host.credentials),
        previous=credentials(host.previous_credentials) if host.previous_credentials else None,
        clock=clock,
        api_version=host.api_version,
        ca_file=host.ca_file,
        sleep=sleep,
        name=name,
    )


def _gitlab(
    name: str, host: GitLabHost, clock: Clock, sleep: Callable[[float], None], accounts: Accounts
) -> ApprovalProvider:
    from champion_gate.adapters.gitlab.provider import GitLab, GitLabTokens

    def tokens(given: GitLabCredentials) -> GitLabTokens:
        return GitLabTokens(
            read_token=given.read_token.get_secret_value(),
            trigger_token=given.trigger_token.get_secret_value() if given.trigger_token else None,
            api_token=given.api_token.get_secret_value() if given.api_token else None,
        )

    return GitLab(
        url=host.url,
        credentials=tokens(host.credentials),
        previous=tokens(host.previous_credentials) if host.previous_credentials else None,
        clock=clock,
        gate_url=host.gate_url,
        accounts=accounts,
        ca_file=host.ca_file,
        sleep=sleep,
        name=name,
    )


def token_verifier(settings: Settings, clock: Clock) -> OidcVerifier:
    """Who checks the ID tokens of the jobs of every CI/CD system that gates use."""
    from champion_gate.adapters.github import id_token as github
    from champion_gate.adapters.gitlab import id_token as gitlab
    from champion_gate.adapters.oidc.ci_jobs import Issuer, OidcVerifier

    tables = {"github": github.TABLE, "gitlab": gitlab.TABLE}
    issuers = {
        provider: Issuer(found.issuer, found.audience, tables[found.kind], found.ca_file)
        for provider, found in settings.oidc.items()
    }
    return OidcVerifier(issuers, clock=clock)


def caller_verifier(settings: Settings, clock: Clock) -> OidcRoles | None:
    """Who checks the tokens with which people call the API; None where API tokens alone are taken."""
    if settings.api_oidc is None:
        return None
    from champion_gate.adapters.oidc.jwks import IssuerKeys
    from champion_gate.adapters.oidc.people import OidcRoles

    oidc = settings.api_oidc
    return OidcRoles(oidc, IssuerKeys(oidc.issuer, clock=clock, ca_file=oidc.ca_file), clock)


def provider_hooks(settings: Settings, clock: Clock) -> dict[str, ProviderHook]:
    """How webhooks are checked, for each CI/CD system that shares a secret with us."""
    from champion_gate.adapters.github.webhook import GitHubHook
    from champion_gate.adapters.gitlab.webhook import GitLabHook

    hooks: dict[str, ProviderHook] = {}
    if settings.github_webhook_secrets:
        hooks["github"] = GitHubHook(_plain(settings.github_webhook_secrets))
    if settings.gitlab_signing_tokens or settings.gitlab_webhook_tokens:
        hooks["gitlab"] = GitLabHook(
            signing_tokens=_plain(settings.gitlab_signing_tokens),
            tokens=_plain(settings.gitlab_webhook_tokens),
            clock=clock,
        )
    return hooks


def _plain(hidden: Sequence[SecretStr]) -> list[str]:
    return [each.get_secret_value() for each in hidden]
