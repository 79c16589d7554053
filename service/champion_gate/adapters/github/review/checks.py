"""What `champion-gate doctor` looks at where people approve by pull-request review."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from champion_gate.adapters.github import app_checks
from champion_gate.adapters.github.review.settings import GitHubReviewPlace
from champion_gate.domain.findings import Check, Checkup, Finding
from champion_gate.domain.gates import Gate
from champion_gate.domain.together import Together
from champion_gate.domain.vendors import Host

if TYPE_CHECKING:
    from champion_gate.adapters.github.review.provider import GitHubReview
    from champion_gate.adapters.github.review.surroundings import SurroundingsApi

_REPOSITORY = Check(
    "github_review.repository",
    "the repository in which people approve is private, holds nothing else, and has no workflows",
    "The service may write to it, and so may whoever gets its key.",
)
_APPROVERS = Check(
    "github_review.approvers",
    "each person whom `approvers` or `roles` names may write to the repository",
    "An approval by who may not write to the repository does not count.",
)
CHECKS = (*app_checks.CHECKS, _REPOSITORY, _APPROVERS)


def checkups(
    provider: GitHubReview, host: Host, gates: Sequence[Gate], public_url: str | None
) -> Iterator[Checkup]:
    """The checks of one GitHub and the gates that ask there; no call is made yet."""
    from champion_gate.adapters.github.review.surroundings import SurroundingsApi  # noqa: PLC0415 - slow to import

    together = Together()
    places = [(gate.name, GitHubReviewPlace.of(gate.approval.place)) for gate in gates]
    yield from app_checks.checkups(provider.client, provider.access, host, places, public_url)
    for name, place in places:
        api = SurroundingsApi(provider.client, provider.access, place, together)
        yield Checkup(_REPOSITORY, partial(_repository, api), name)
        yield Checkup(_APPROVERS, partial(_approvers, api), name)


def _repository(api: SurroundingsApi) -> Iterator[Finding]:
    from champion_gate.adapters.github.review.surroundings import holdings  # noqa: PLC0415 - slow to import

    yield from _REPOSITORY.warnings(
        holdings(api), f"{api.spot.repository} is private, and holds nothing else"
    )


def _approvers(api: SurroundingsApi) -> Iterator[Finding]:
    from champion_gate.adapters.github.review.surroundings import unable  # noqa: PLC0415 - slow to import

    yield from _APPROVERS.warnings(unable(api), f"all who are named may write to {api.spot.repository}")
