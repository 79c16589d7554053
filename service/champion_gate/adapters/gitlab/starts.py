"""Finds the pipelines that we started for a promotion, whatever the call was answered with, or none any more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from champion_gate.adapters.gitlab.api import ProjectApi, read_listed
from champion_gate.adapters.gitlab.models import ListedPipeline
from champion_gate.adapters.gitlab.reading import ENDED
from champion_gate.adapters.starts import SeenRun, Started, started_by_us
from champion_gate.domain.approval import ApprovalRequest
from champion_gate.domain.promotion import Promotion, bears_promotion
from champion_gate.errors import RequestGoneError, VendorNotFoundError, VendorRefusedError

_UNNAMED_LOOKED_UP = 50  # each takes a call
_NEWEST = 100  # one page
_NAMED = 3
_AROUND_START = timedelta(hours=1)  # GitLab's clock, and a call that was slow to take effect


def created_by_us(api: ProjectApi, promotion: Promotion, starter: tuple[str, str]) -> Started[ListedPipeline]:
    """The pipelines that we started in the promotion's time, known by the id in their name.

    Those that GitLab lists for our account and time may not be all: the account may have another username by now,
    and our clocks may differ.

    Raises:
        VendorError: the lists could not be read.
    """

    def newest(since: datetime, known: Mapping[str, object]) -> tuple[list[ListedPipeline], bool]:
        listed, whole = api.newest_pipelines(most=_NEWEST)
        others = [one for one in listed if one.id not in known and one.created_at >= since]
        return _ours_of(api, _named(api, others), promotion), whole

    return started_by_us(
        promotion,
        ENDED,
        lambda since, until: _named(api, api.pipelines(*starter, since, until, read_listed)),
        newest,
    )


def with_names(api: ProjectApi, waiting: Sequence[SeenRun]) -> list[SeenRun]:
    """The pipelines with their names, which older versions of GitLab do not list.

    Raises:
        VendorRefusedError: too many are without.
    """
    _check_unnamed([run for run in waiting if run.title is None])
    return [
        run if run.title is not None else replace(run, title=api.pipeline(run.id).title) for run in waiting
    ]


def _check_unnamed(unnamed: Sequence[object]) -> None:
    if len(unnamed) > _UNNAMED_LOOKED_UP:
        raise VendorRefusedError("GitLab", f"{len(unnamed)} pipelines are listed without their names.")


def _named(api: ProjectApi, listed: Sequence[ListedPipeline]) -> list[ListedPipeline]:
    """The pipelines with their names, which older versions of GitLab do not list."""
    _check_unnamed([one for one in listed if not _has_name(one)])
    return [one if _has_name(one) else api.pipeline(one.id) for one in listed]


def _has_name(pipeline: ListedPipeline) -> bool:
    """Whether a name is told, be it null."""
    return "title" in pipeline.model_fields_set


def _ours_of(api: ProjectApi, listed: Sequence[ListedPipeline], promotion: Promotion) -> list[ListedPipeline]:
    """Those that ask for this promotion and were started by us: anybody may write its id into a name."""
    pins = promotion.request.pins if promotion.request else {}
    whole = [api.pipeline(one.id) for one in listed if bears_promotion(one.title, promotion)]
    return [
        one
        for one in whole
        if one.user is not None and one.user.id == pins.get("bot_id") and one.source == pins.get("source")
    ]


def remark(started: Started[ListedPipeline]) -> str:
    """What a person should know about where they were looked for."""
    nameless = started.nameless()
    if nameless:
        return (
            f"GitLab has started {len(nameless)} pipelines for us since then whose name bears no promotion's id "
            f"({', '.join(nameless[:_NAMED])}): `workflow: name` of the CI file has lost it. Put it back as in champion-gate's "
            "template, and cancel those pipelines."
        )
    return (
        "" if started.whole else f"Besides our account's pipelines, only the newest {_NEWEST} were looked at."
    )


def check_gone(api: ProjectApi, pipeline_id: str, request: ApprovalRequest) -> None:
    """Raise RequestGoneError if the pipeline is not there, nor in the list of its project's pipelines.

    Raises:
        VendorError: the project or its pipelines cannot be read.
    """
    try:
        api.pipeline(pipeline_id)
    except VendorNotFoundError:
        if api.project().id != request.pins.get("project_id"):
            return
        since = request.intent_at - _AROUND_START
        until = (request.opened_at or request.intent_at) + _AROUND_START
        if all(one.id != pipeline_id for one in api.all_pipelines(since, until)):
            raise RequestGoneError(
                "GitLab",
                f"pipeline {pipeline_id} is gone: it was deleted, and project {api.spot.project} does not list it "
                "any more.",
            ) from None
