"""What a repository has to have so that people can approve by review there: the base branch, and people who may write."""

from __future__ import annotations

from collections.abc import Iterator

from champion_gate.adapters.github.review.settings import GitHubReviewPlace
from champion_gate.adapters.github.review.surroundings import SurroundingsApi, holdings, unable
from champion_gate.errors import VendorNotFoundError, VendorRefusedError
from champion_gate.setup.changes import Change
from champion_gate.setup.github_api import SetupCalls


def plan_reviews(
    api: SetupCalls[GitHubReviewPlace], around: SurroundingsApi, remarks: list[str]
) -> Iterator[Change]:
    """What is to be changed in the repository. Who may write to it is for its owner to say, so that is only told.

    Args:
        api: of the person who sets it up.
        around: the same person's.
        remarks: takes what is only told.

    Raises:
        VendorRefusedError: it is not there, or has no commit yet.
    """
    spot = api.spot
    try:
        home = api.home()
    except VendorNotFoundError as missing:
        raise VendorRefusedError(
            "GitHub",
            f"there is no repository {spot.repository}, or your token does not show it.",
            hint="Make it, private and with a README and nothing else, and run this again.",
        ) from missing
    remarks += [f"{found} {remedy}" for found, remedy in (*holdings(around), *unable(around))]
    try:
        api.head(spot.base)
    except VendorNotFoundError:
        yield Change(
            f"branch {spot.base} of {spot.repository}",
            (f"+ begins where {home.default_branch} is",),
            lambda: api.make_branch(spot.base, home.default_branch),
        )
