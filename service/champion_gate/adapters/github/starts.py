"""Finds the workflow runs that we dispatched for a promotion, whatever the dispatch was answered with."""

from __future__ import annotations

from collections.abc import Sequence

from champion_gate.adapters.github.api import RepositoryApi
from champion_gate.adapters.github.models import ListedRun
from champion_gate.adapters.pending import CLOCKS_DIFFER, asked_between, last_asked, starts_of
from champion_gate.domain.correlation import bears, bears_nothing, bears_promotion
from champion_gate.domain.ports import FoundRequests, OpenedRequest
from champion_gate.domain.promotion import Promotion
from champion_gate.errors import VendorError

_PAGES = 5
_NAMED = 3


def find(api: RepositoryApi, promotion: Promotion) -> FoundRequests:
    """The runs that we dispatched for this promotion, known by the id in their title.

    Raises:
        VendorError: the lists could not be read.
    """
    ours, whole = started_by_us(api, promotion)
    found = _with_this_evidence(ours, promotion)
    return FoundRequests(
        ours=tuple(OpenedRequest(run.id, run.html_url) for run in found),
        outdated=tuple(
            run.id
            for run in dispatched_for(promotion, ours)
            if run not in found and run.status != "completed"
        ),
        remark=_remark(api, ours, promotion, whole=whole),
    )


def started_by_us(api: RepositoryApi, promotion: Promotion) -> tuple[list[ListedRun], bool]:
    """The runs that we dispatched in the promotion's time, for whatever promotion.

    First out of the list that GitHub filters, which is short; where that lacks one of the promotion's own, out
    of all the workflow's runs besides, for the filtered list has been seen empty for more than a day while the
    other was right. Where the filtered one cannot be read, the other is enough.

    Returns:
        The runs, and whether they are all.

    Raises:
        VendorError: neither list could be read to the end.
    """
    since, until = asked_between(promotion)
    ours: list[ListedRun] = []
    unread: VendorError | None = None
    try:
        ours = _ours(api, api.dispatched_runs(since, until), promotion)
    except VendorError as error:
        unread = error
    if _with_this_evidence(ours, promotion) and len(dispatched_for(promotion, ours)) >= starts_of(promotion):
        return ours, True
    try:
        newest, whole = api.newest_runs(since - CLOCKS_DIFFER, most=_PAGES)
    except VendorError as error:
        raise unread or error from None
    both = {run.id: run for run in [*ours, *_ours(api, newest, promotion)]}
    ours = list(both.values())
    if unread is not None and not whole and not _with_this_evidence(ours, promotion):
        raise unread
    return ours, whole


def dispatched_for(promotion: Promotion, ours: Sequence[ListedRun]) -> list[ListedRun]:
    """Those of our own runs that ask for this promotion, whatever evidence they show."""
    return [run for run in ours if bears_promotion(run.display_title, promotion)]


def _is_ours(run: ListedRun, bot_id: str) -> bool:
    """Whether this account dispatched the run; anybody may write a promotion's id into a title."""
    return run.actor is not None and run.actor.id == bot_id and run.event == "workflow_dispatch"


def _ours(api: RepositoryApi, runs: Sequence[ListedRun], promotion: Promotion) -> list[ListedRun]:
    pinned = promotion.request.pins.get("bot_id") if promotion.request else None
    bot_id = pinned or api.own_account().user_id
    return [run for run in runs if _is_ours(run, bot_id)]


def _with_this_evidence(ours: Sequence[ListedRun], promotion: Promotion) -> list[ListedRun]:
    found = [run for run in ours if bears(run.display_title, promotion)]
    return sorted(found, key=lambda run: (run.created_at, int(run.id)))


def _remark(api: RepositoryApi, ours: Sequence[ListedRun], promotion: Promotion, *, whole: bool) -> str:
    since = last_asked(promotion)
    nameless = [run.html_url for run in ours if run.created_at >= since and bears_nothing(run.display_title)]
    said = []
    if nameless:
        said.append(
            f"GitHub has started {len(nameless)} runs for us since then whose title bears no promotion's id "
            f"({', '.join(nameless[:_NAMED])}): the `run-name` of {api.spot.workflow} has lost it. Put it back as in "
            "champion-gate's template, and cancel those runs."
        )
    if not whole:
        said.append(f"Only the newest {_PAGES * 100} runs of {api.spot.workflow} were looked at.")
    return " ".join(said)
