"""What the service makes of GitLab's settings; imports what it makes, which is slow."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from champion_gate.adapters.gitlab.checks import CHECKS, checkups
from champion_gate.adapters.gitlab.secrets import GitLabSecrets
from champion_gate.adapters.gitlab.settings import GitLabPlace, GitLabServer
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
    accounts: Accounts,
    together: Together,
    timed: Timed,
    timeouts: Timeouts | None = None,
    public_url: str | None,
) -> ApprovalProvider:
    """The adapter of the server."""
    from champion_gate.adapters.gitlab.provider import GitLab

    return GitLab(
        url=host.server.url,
        credentials=host.credentials,
        previous=host.previous,
        clock=clock,
        gate_url=public_url or "",
        accounts=accounts,
        ca_file=host.server.ca_file,
        sleep=sleep,
        together=together,
        timed=timed,
        timeouts=timeouts,
        name=name,
    )


def hook(secrets: GitLabSecrets, clock: Clock) -> ProviderHook | None:
    """How webhooks are checked; None without a secret that GitLab and we share."""
    from champion_gate.adapters.gitlab.webhook import GitLabHook

    signing, plain = secrets.of_webhooks()
    return GitLabHook(signing_tokens=signing, tokens=plain, clock=clock) if signing or plain else None


def claims() -> ClaimsTable:
    """What the ID tokens of its jobs must say."""
    from champion_gate.adapters.gitlab.id_token import TABLE

    return TABLE


VENDOR = Vendor(GitLabServer, GitLabPlace, GitLabSecrets, provider, hook, claims, CHECKS, checkups)
