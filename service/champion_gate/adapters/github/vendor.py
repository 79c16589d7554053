"""What the service makes of GitHub's settings; imports what it makes, which is slow."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from champion_gate.adapters.github.checks import CHECKS, checkups
from champion_gate.adapters.github.secrets import GitHubSecrets
from champion_gate.adapters.github.settings import GitHubPlace, GitHubServer
from champion_gate.adapters.http.deadline import Timed, Timeouts
from champion_gate.domain.ports.approval import Accounts, ApprovalProvider, ProviderHook, Vendor
from champion_gate.domain.ports.runtime import Clock
from champion_gate.domain.together import Together
from champion_gate.domain.vendors import Host

if TYPE_CHECKING:
    from champion_gate.adapters.oidc.ci_jobs import ClaimsTable


def provider(
    name: str,
    host: Host,
    *,
    clock: Clock,
    sleep: Callable[[float], None],
    accounts: Accounts,  # noqa: ARG001 - gates name no accounts in GitHub
    together: Together,
    timed: Timed,
    timeouts: Timeouts | None = None,
    public_url: str | None,  # noqa: ARG001 - the workflow file knows it
) -> ApprovalProvider:
    """The adapter of one server."""
    from champion_gate.adapters.github.provider import GitHub

    server = cast("GitHubServer", host.server)
    return GitHub(
        url=server.url,
        credentials=host.credentials,
        previous=host.previous,
        clock=clock,
        api_version=server.api_version,
        ca_file=server.ca_file,
        sleep=sleep,
        together=together,
        timed=timed,
        timeouts=timeouts,
        name=name,
    )


def hook(secrets: GitHubSecrets, clock: Clock) -> ProviderHook | None:  # noqa: ARG001 - signatures hold no time
    """How webhooks are checked; None without a secret that GitHub and we share."""
    from champion_gate.adapters.github.webhook import GitHubHook

    shared = secrets.texts("github_webhook_secret")
    return GitHubHook(shared) if shared else None


def claims() -> ClaimsTable:
    """What the ID tokens of its jobs must say."""
    from champion_gate.adapters.github.id_token import TABLE

    return TABLE


VENDOR = Vendor(GitHubServer, GitHubPlace, GitHubSecrets, provider, hook, claims, CHECKS, checkups)
