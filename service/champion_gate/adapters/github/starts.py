"""Finds the workflow runs that we dispatched for a promotion, whatever the dispatch was answered with, or none any more."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from champion_gate.adapters.github.api import RepositoryApi, as_listed
from champion_gate.adapters.github.models import ListedRun, github
from champion_gate.adapters.starts import SeenRun, Started, asked_between, started_by_us
from champion_gate.domain.promotion import Promotion
from champion_gate.errors import RequestGoneError, VendorNotFoundError

_PAGES = 5  # ours is among the newest; each page is a call
_PAGES_IF_GONE = 10  # all that GitHub lists: a run is gone only if no page has it
_NAMED = 3


def dispatched_by_us(api: RepositoryApi, promotion: Promotion) -> Started[ListedRun]:
    """The runs that we dispatched in the promotion's time, known by the id in their title.

    GitHub's filtered list has been seen empty for more than a day while that of all runs was right.

    Raises:
        VendorError: the lists could not be read.
    """
    pinned = promotion.request.pins.get("bot_id") if promotion.request else None

    def ours(runs: Iterable[ListedRun]) -> list[ListedRun]:
        """Those that this account dispatched; anybody may write a promotion's id into a title."""
        bot_id = pinned or api.own_account().user_id
        found = [
            run
            for run in runs
            if run.actor is not None and run.actor.id == bot_id and run.event == "workflow_dispatch"
        ]
        for run in found:
            github.told(run.status, "run.status")  # without it, one that has ended would count as open
        return found

    def newest(since: datetime, _known: object) -> tuple[list[ListedRun], bool]:
        runs, whole = api.newest_runs(since, as_listed, most=_PAGES)
        return ours(runs), whole

    return started_by_us(
        promotion,
        {"completed"},
        lambda since, until: ours(api.dispatched_runs(since, until, as_listed)),
        newest,
    )


def remark(api: RepositoryApi, started: Started[ListedRun]) -> str:
    """What a person should know about where they were looked for."""
    nameless = started.nameless()
    said = []
    if nameless:
        said.append(
            f"GitHub has started {len(nameless)} runs for us since then whose title bears no promotion's id "
            f"({', '.join(nameless[:_NAMED])}): the `run-name` of {api.spot.workflow} has lost it. Put it back as in "
            "champion-gate's template, and cancel those runs."
        )
    if not started.whole:
        said.append(f"Only the newest {_PAGES * 100} runs of {api.spot.workflow} were looked at.")
    return " ".join(said)


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
        runs, complete = api.newest_runs(since, SeenRun.of, most=_PAGES_IF_GONE)
        if complete and all(run.id != run_id for run in runs):
            raise RequestGoneError(
                "GitHub",
                f"workflow run {run_id} is gone: it was deleted, and {api.spot.workflow} of {api.spot.repository} "
                "does not list it any more.",
            ) from None
