"""What the service makes of `approval.github_review`: it is at GitHub's server, and shares its secrets and its webhook."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from champion_gate.adapters.github.review.checks import CHECKS, checkups
from champion_gate.adapters.github.review.settings import GitHubReviewPlace
from champion_gate.adapters.github.secrets import GitHubSecrets
from champion_gate.adapters.github.settings import GitHubServer
from champion_gate.adapters.github.vendor import hook
from champion_gate.adapters.http.deadline import Timed, Timeouts, untimed
from champion_gate.domain.ports.approval import Accounts, ApprovalProvider, Vendor
from champion_gate.domain.ports.runtime import Clock
from champion_gate.domain.together import Together
from champion_gate.domain.vendors import Host


def provider(
    name: str,
    host: Host,
    *,
    clock: Clock,
    sleep: Callable[[float], None],
    accounts: Accounts,
    together: Together,
    timed: Timed = untimed,
    timeouts: Timeouts | None = None,
    public_url: str | None,  # noqa: ARG001 - nobody posts to us from there but GitHub's webhook
) -> ApprovalProvider:
    """The adapter of one server."""
    from champion_gate.adapters.github.review.provider import GitHubReview

    server = cast("GitHubServer", host.server)
    return GitHubReview(
        url=server.url,
        credentials=host.credentials,
        previous=host.previous,
        clock=clock,
        api_version=server.api_version,
        ca_file=server.ca_file,
        sleep=sleep,
        accounts=accounts,
        together=together,
        name=name,
        timed=timed,
        timeouts=timeouts,
    )


def claims() -> None:
    """No job of its own posts a token."""


VENDOR = Vendor(GitHubServer, GitHubReviewPlace, GitHubSecrets, provider, hook, claims, CHECKS, checkups)
