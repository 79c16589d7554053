"""Finds the pipelines that we started for a promotion, whatever the call was answered with."""

from __future__ import annotations

from collections.abc import Sequence

from champion_gate.adapters.gitlab.api import ProjectApi
from champion_gate.adapters.gitlab.models import ListedPipeline
from champion_gate.adapters.gitlab.reading import ENDED
from champion_gate.adapters.pending import CLOCKS_DIFFER, asked_between, last_asked, starts_of
from champion_gate.domain.correlation import bears, bears_nothing, bears_promotion
from champion_gate.domain.ports import FoundRequests, OpenedRequest
from champion_gate.domain.promotion import Promotion
from champion_gate.errors import VendorError, VendorRefusedError

_UNNAMED_LOOKED_UP = 50
_NEWEST = 100
_NAMED = 3


def find(api: ProjectApi, promotion: Promotion, starter: tuple[str, str]) -> FoundRequests:
    """The pipelines that we started for this promotion, known by the id in their name.

    Args:
        api: calls about the project.
        promotion: with its request.
        starter: as whom and in which way its pipelines were started: username and source.

    Raises:
        VendorError: the lists could not be read.
    """
    ours, whole = started_by_us(api, promotion, starter)
    found = _with_this_evidence(ours, promotion)
    return FoundRequests(
        ours=tuple(OpenedRequest(one.id, one.web_url) for one in found),
        outdated=tuple(
            one.id for one in started_for(promotion, ours) if one not in found and one.status not in ENDED
        ),
        remark=_remark(ours, promotion, whole=whole),
    )


def started_by_us(
    api: ProjectApi, promotion: Promotion, starter: tuple[str, str]
) -> tuple[list[ListedPipeline], bool]:
    """The pipelines that we started in the promotion's time, with their names.

    First those that GitLab lists for our account and time; where one of the promotion's own is not there, the
    newest of the ref besides: the account may have another username by now, and our clocks may differ. Where
    the first list cannot be read, the other is enough if it shows the promotion's own.

    Returns:
        The pipelines, for whatever promotion, and whether they are all.

    Raises:
        VendorError: neither list could be read to the end.
    """
    ours: list[ListedPipeline] = []
    unread: VendorError | None = None
    try:
        ours = _of_account(api, promotion, starter)
    except VendorError as error:
        unread = error
    if _with_this_evidence(ours, promotion) and len(started_for(promotion, ours)) >= starts_of(promotion):
        return ours, True
    since = asked_between(promotion)[0] - CLOCKS_DIFFER
    try:
        newest, whole = api.newest_pipelines(most=_NEWEST)
        known = {one.id for one in ours}
        others = [one for one in newest if one.id not in known and one.created_at >= since]
        ours += _ours_of(api, _named(api, others), promotion)
    except VendorError as error:
        raise unread or error from None
    if unread is not None and not whole and not _with_this_evidence(ours, promotion):
        raise unread
    return ours, whole


def _of_account(api: ProjectApi, promotion: Promotion, starter: tuple[str, str]) -> list[ListedPipeline]:
    return _named(api, api.pipelines(*starter, *asked_between(promotion)))


def _named(api: ProjectApi, listed: Sequence[ListedPipeline]) -> list[ListedPipeline]:
    """The pipelines with their names, which older versions of GitLab do not list."""
    unnamed = [one for one in listed if not _has_name(one)]
    if len(unnamed) > _UNNAMED_LOOKED_UP:
        raise VendorRefusedError("GitLab", f"{len(unnamed)} pipelines are listed without their names.")
    return [one if _has_name(one) else api.pipeline(one.id) for one in listed]


def _has_name(pipeline: ListedPipeline) -> bool:
    """Whether a name is told, be it null."""
    return "name" in pipeline.model_fields_set


def started_for(promotion: Promotion, ours: Sequence[ListedPipeline]) -> list[ListedPipeline]:
    """Those of our own pipelines that ask for this promotion, whatever evidence they show."""
    return [one for one in ours if bears_promotion(_name(one), promotion)]


def _ours_of(api: ProjectApi, listed: Sequence[ListedPipeline], promotion: Promotion) -> list[ListedPipeline]:
    """Those that ask for this promotion and were started by us: anybody may write its id into a name."""
    pins = promotion.request.pins if promotion.request else {}
    whole = [api.pipeline(one.id) for one in started_for(promotion, listed)]
    return [
        one
        for one in whole
        if one.user is not None and one.user.id == pins.get("bot_id") and one.source == pins.get("source")
    ]


def _name(pipeline: ListedPipeline) -> str:
    return pipeline.name or ""


def _with_this_evidence(ours: Sequence[ListedPipeline], promotion: Promotion) -> list[ListedPipeline]:
    found = [one for one in ours if bears(_name(one), promotion)]
    return sorted(found, key=lambda one: int(one.id))


def _remark(ours: Sequence[ListedPipeline], promotion: Promotion, *, whole: bool) -> str:
    since = last_asked(promotion)
    nameless = [one.web_url for one in ours if one.created_at >= since and bears_nothing(_name(one))]
    if nameless:
        return (
            f"GitLab has started {len(nameless)} pipelines for us since then whose name bears no promotion's id "
            f"({', '.join(nameless[:_NAMED])}): `workflow: name` of the CI file has lost it. Put it back as in champion-gate's "
            "template, and cancel those pipelines."
        )
    return "" if whole else f"Besides our account's pipelines, only the newest {_NEWEST} were looked at."
