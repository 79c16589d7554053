"""Whether a workflow run that GitHub answers 404 for was deleted, or is merely hidden from us."""

from __future__ import annotations

from champion_gate.adapters.github.api import RepositoryApi
from champion_gate.adapters.pending import asked_between
from champion_gate.domain.promotion import Promotion
from champion_gate.errors import RequestGoneError, VendorNotFoundError

_MOST_PAGES = 10


def check_gone(api: RepositoryApi, run_id: str, promotion: Promotion) -> None:
    """Raise RequestGoneError if the run is not there, nor in the list of its workflow's runs.

    The ids of repository and workflow are compared: after a move another repository may have taken the name.

    Raises:
        VendorError: one of them cannot be read.
    """
    try:
        api.run(run_id)
    except VendorNotFoundError:
        pins = promotion.request.pins if promotion.request else {}
        if api.repository().id != pins.get("repository_id"):
            return
        if api.workflow().id != pins.get("workflow_id"):
            return
        since, _ = asked_between(promotion)
        runs, complete = api.newest_runs(since, most=_MOST_PAGES)
        if complete and all(run.id != run_id for run in runs):
            raise RequestGoneError(
                "GitHub",
                f"workflow run {run_id} is gone: it was deleted, and {api.spot.workflow} of {api.spot.repository} "
                "does not list it any more.",
            ) from None
